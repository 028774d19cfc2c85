//! `countersign pki verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use countersign_proto::{ChainLimits, Limits, TrustDomain};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use serde_json::json;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::directory::{CRLS, ROOT};
use super::error::{PkiError, Result};
use super::estate::{Estate, certificates};
use super::index::Issued;
use super::moment::Moment;
use super::serial::Serial;
use super::{Report, add, command, list};

#[derive(Debug, Args)]
#[command(after_help = "\
Asks whether the chain in FILE, as it stands there, leads to this PKI's root now,
for a client in the way in which the engine asks it; and whether the index or
crl.pem says that it, or a CA above it, is revoked.
Exit status: 0 if it would be accepted, 1 if not or if that cannot be said.")]
pub(super) struct VerifyArguments {
    /// Chain, PEM, end entity first.
    file: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// What speaks against a chain; and what does not yet, but somebody should know.
#[derive(Debug, Default)]
struct Verdict {
    problems: Vec<String>,
    warnings: Vec<String>,
}

pub(super) fn verify(path: &Path, arguments: &VerifyArguments, now: Moment) -> Result<Report> {
    let estate = Estate::look_at(path)?;
    let chain = certificates(&arguments.file)?;
    let verdict = examine(&estate, &arguments.file, &chain, now)?;
    let serial = Serial::from_der(parse(&arguments.file, &chain[0])?.raw_serial());
    let issued = serial.and_then(|serial| estate.index.by_serial(serial));
    let accepted = verdict.problems.is_empty();
    let text = if arguments.json {
        let certificate = issued.map(|issued| list::object(path, &estate.index, issued, now));
        let answer = json!({
            "file": arguments.file.display().to_string(),
            "accepted": accepted,
            "problems": verdict.problems,
            "warnings": verdict.warnings,
            "certificate": certificate,
        });
        format!("{answer}\n")
    } else {
        tell(&path.join(ROOT), &arguments.file, issued, &verdict)
    };
    let code = if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok(Report { text, code })
}

fn tell(root: &Path, file: &Path, issued: Option<&Issued>, verdict: &Verdict) -> String {
    let (file, root) = (file.display(), root.display());
    let mut text = String::new();
    if verdict.problems.is_empty() {
        add(&mut text, format_args!("{file}: accepted"));
        add(&mut text, format_args!("  it leads to {root}, and nothing in it is revoked"));
    } else {
        add(&mut text, format_args!("{file}: refused"));
    }
    for problem in &verdict.problems {
        add(&mut text, format_args!("  {problem}"));
    }
    if let Some(issued) = issued {
        let (kind, names) = (issued.kind.label(), issued.names.in_words());
        let (serial, end) = (issued.serial, issued.not_after);
        add(&mut text, format_args!("  {kind} {names}, serial number {serial}, until {end}"));
    }
    for warning in &verdict.warnings {
        add(&mut text, format_args!("  warning: {warning}"));
    }
    text
}

fn examine(
    estate: &Estate,
    file: &Path,
    chain: &[CertificateDer<'static>],
    now: Moment,
) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let root_file = estate.directory.file(ROOT);
    let root = estate.root_certificate()?;
    let mut dated = true;
    for (certificate, file) in chain.iter().map(|one| (one, file)).chain([(&root, &*root_file)]) {
        if let Some(problem) = out_of_date(&parse(file, certificate)?, now) {
            verdict.problems.push(problem);
            dated = false;
        }
    }
    // Of a chain that is out of date nothing else would be said.
    if dated && let Err(problem) = path_to(&root, chain, &parse(file, &chain[0])?, now) {
        verdict.problems.push(problem);
    }
    let published = revocations(estate, now, &mut verdict)?;
    for (place, certificate) in chain.iter().enumerate() {
        let parsed = parse(file, certificate)?;
        let what =
            if place == 0 { "it".to_owned() } else { format!("its CA '{}'", parsed.subject()) };
        let problem = revocation(estate, &published, &parsed);
        verdict.problems.extend(problem.map(|problem| format!("{what} {problem}")));
    }
    Ok(verdict)
}

/// Whether the index or the published CRLs speak against a certificate.
fn revocation(
    estate: &Estate,
    published: &[Serial],
    certificate: &X509Certificate<'_>,
) -> Option<String> {
    let serial = Serial::from_der(certificate.raw_serial());
    let Some(issued) = serial.and_then(|serial| estate.index.by_serial(serial)) else {
        return Some(format!(
            "(serial number {}) is not in the index: this PKI has not issued it",
            certificate.raw_serial_as_string()
        ));
    };
    if let Some(revoked) = estate.index.revocation(issued.serial) {
        return Some(format!("was revoked at {} ({})", revoked.time, revoked.reason.label()));
    }
    published.contains(&issued.serial).then(|| {
        format!("is revoked in {CRLS}, though not in the index: was the index put back from an old backup?")
    })
}

fn out_of_date(certificate: &X509Certificate<'_>, now: Moment) -> Option<String> {
    let validity = certificate.validity();
    let moment = |seconds| {
        Moment::from_timestamp(seconds).map_or_else(|| "no time".to_owned(), |at| at.to_string())
    };
    let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let subject = certificate.subject();
    if now.timestamp() > end {
        return Some(format!(
            "the certificate of '{subject}' ended at {}; it is {now}",
            moment(end)
        ));
    }
    (now.timestamp() < begin)
        .then(|| format!("the certificate of '{subject}' begins at {}; it is {now}", moment(begin)))
}

/// Whether the chain leads to the root, for what its end entity is for: a client's as the engine asks it, a server's
/// as rustls' clients do.
fn path_to(
    root: &CertificateDer<'static>,
    chain: &[CertificateDer<'static>],
    end_entity: &X509Certificate<'_>,
    now: Moment,
) -> std::result::Result<(), String> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.timestamp().unsigned_abs()));
    if end_entity.is_ca() {
        return Err("it begins with a CA's certificate; a chain begins with an end entity's".into());
    }
    let purposes = end_entity.extended_key_usage().ok().flatten();
    if purposes.is_none_or(|purposes| purposes.value.client_auth || purposes.value.any) {
        let limits = Limits::default();
        let limits =
            ChainLimits { certificates: limits.chain_certificates, bytes: limits.chain_bytes };
        let domain = TrustDomain::new(std::slice::from_ref(root), limits, false);
        let domain = domain.map_err(|error| format!("{ROOT}: {error}"))?;
        return domain.verify(chain, now).map(drop).map_err(|error| error.to_string());
    }
    let wrong = |error: webpki::Error| match error {
        webpki::Error::UnknownIssuer => {
            "no path to the root: it is of another CA, or the intermediate is missing in the file"
                .to_owned()
        }
        other => format!("the path to the root does not hold: {other:?}"),
    };
    let anchor = webpki::anchor_from_trusted_cert(root).map_err(wrong)?;
    let end_entity = EndEntityCert::try_from(&chain[0]).map_err(wrong)?;
    let usage = KeyUsage::server_auth();
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    end_entity
        .verify_for_usage(algorithms, &[anchor], &chain[1..], now, usage, None, None)
        .map(drop)
        .map_err(wrong)
}

/// What the published CRLs revoke; what is wrong with them becomes a warning.
fn revocations(estate: &Estate, now: Moment, verdict: &mut Verdict) -> Result<Vec<Serial>> {
    let path = estate.directory.file(CRLS);
    let again = command(estate.directory.path(), "crl");
    let recorded = estate.index.published.as_ref().map_or(0, |published| published.number);
    let crls: Vec<_> = match CertificateRevocationListDer::pem_file_iter(&path)
        .and_then(|crls| crls.collect::<std::result::Result<Vec<_>, _>>())
    {
        Ok(crls) => crls,
        Err(error) => {
            verdict.warnings.push(format!(
                "{} cannot be read ({error}); `{again}` writes it anew",
                path.display()
            ));
            return Ok(Vec::new());
        }
    };
    let mut revoked = Vec::new();
    let mut oldest = None;
    for crl in &crls {
        let (_, crl) = x509_parser::parse_x509_crl(crl).map_err(|error| {
            PkiError::content(&path, format!("a CRL cannot be parsed: {error}"))
        })?;
        revoked.extend(
            crl.iter_revoked_certificates().filter_map(|one| Serial::from_der(one.raw_serial())),
        );
        let number = crl.crl_number().and_then(|number| u64::try_from(number).ok());
        oldest = Some(oldest.map_or(number, |oldest: Option<u64>| oldest.min(number)));
        if crl.next_update().is_none_or(|next| next.timestamp() < now.timestamp()) {
            verdict.warnings.push(format!(
                "the CRL of '{}' in {} has run out: verifiers that fail closed refuse everybody; `{again}` writes it anew",
                crl.issuer(),
                path.display()
            ));
        }
    }
    if oldest.flatten() != Some(recorded) {
        verdict.warnings.push(format!(
            "{} is not the newest, number {recorded}: a command was cut short, or it was replaced; `{again}` writes it anew",
            path.display()
        ));
    }
    Ok(revoked)
}

fn parse<'a>(file: &Path, certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>> {
    let parsed = X509Certificate::from_der(certificate);
    parsed.map(|(_, certificate)| certificate).map_err(|error| {
        PkiError::content(file, format!("a certificate cannot be parsed: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::index::State;
    use super::super::moment::Lifetime;
    use super::super::{Command, PkiArguments, init, issue};
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        pki: PkiArguments,
    }

    const CLIENT: &str = "clients/alice.pem";

    /// A PKI with one client, made at `now`.
    fn pki(now: Moment) -> tempfile::TempDir {
        let temporary = tempfile::tempdir().expect("a directory");
        for words in
            [&["init", "--intermediate-lifetime", "30d"][..], &["issue", "client", "alice"]]
        {
            let line = Line::parse_from([&["pki"], words].concat());
            match &line.pki.command {
                Command::Init(arguments) => init::init(temporary.path(), arguments, now),
                Command::Issue(command) => issue::issue(temporary.path(), command, now),
                _ => unreachable!("one of the two above"),
            }
            .expect("a PKI");
        }
        temporary
    }

    fn verdict(path: &Path, now: Moment) -> Verdict {
        let estate = Estate::look_at(path).expect("a PKI");
        let file = path.join(CLIENT);
        examine(&estate, &file, &certificates(&file).expect("a chain"), now).expect("a verdict")
    }

    #[test]
    fn time_is_asked_of_the_whole_chain_and_of_the_crls() {
        let now = Moment::from_timestamp(1_790_000_000).expect("a moment");
        let pki = pki(now);
        let at = |days| verdict(pki.path(), now.plus(Lifetime::days(days)));

        let first = verdict(pki.path(), now);
        assert!(first.problems.is_empty() && first.warnings.is_empty(), "{first:?}");
        let ended = at(2);
        assert!(ended.problems.len() == 1 && ended.problems[0].contains("CN=alice"), "{ended:?}");
        assert!(ended.warnings.is_empty(), "{ended:?}");
        let all_ended = at(40);
        assert_eq!(all_ended.problems.len(), 2, "{all_ended:?}");
        assert!(all_ended.problems[1].contains("intermediate"), "{all_ended:?}");
        assert_eq!(all_ended.warnings.len(), 2, "both CRLs have run out: {all_ended:?}");
        let before = Moment::from_timestamp(now.timestamp() - 3_600).expect("a moment");
        assert!(verdict(pki.path(), before).problems[0].contains("begins at"));
    }

    #[test]
    fn what_has_ended_is_listed_as_such_and_an_ended_intermediate_issues_nothing() {
        let now = Moment::from_timestamp(1_790_000_000).expect("a moment");
        let pki = pki(now);
        let estate = Estate::look_at(pki.path()).expect("a PKI");
        let client = estate.index.issued.last().expect("alice");
        assert_eq!(estate.index.state(client, now), State::Valid);
        assert_eq!(estate.index.state(client, now.plus(Lifetime::days(2))), State::Expired);
        assert!(estate.issuer(now).is_ok());
        assert!(estate.issuer(now.plus(Lifetime::days(31))).is_err());
    }

    #[test]
    fn nothing_outlives_the_intermediate() {
        let now = Moment::from_timestamp(1_790_000_000).expect("a moment");
        let pki = pki(now);
        let line = Line::parse_from(["pki", "issue", "client", "bob", "--lifetime", "1y"]);
        let Command::Issue(command) = &line.pki.command else { unreachable!("as it was typed") };
        let report = issue::issue(pki.path(), command, now).expect("a client");
        assert!(report.text.contains("(30d; the intermediate ends then)"), "{}", report.text);
    }
}
