//! `countersign pki issue`: a chain and a key for a server, a client or a workload.

use std::net::IpAddr;
use std::path::Path;

use clap::{Args, Subcommand};
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;

use super::authority::{Content, Kind};
use super::directory::{CLIENTS_CA, ROOT, Readers};
use super::error::{PkiError, Result};
use super::estate::Estate;
use super::index::{Issued, Record, State};
use super::key::KeyKind;
use super::moment::{Lifetime, Moment};
use super::names::{self, Names};
use super::serial::Serial;
use super::{Report, add, command, typed};

/// Bytes of a file's name, with room for `.pem`, in what common file systems allow.
const FILE_NAME_BYTES_MAX: usize = 200;

#[derive(Debug, Subcommand)]
pub(super) enum IssueCommand {
    /// For a server: the names that clients call it by.
    Server(ServerArguments),
    /// For a client: the name that rules let in.
    Client(ClientArguments),
    /// For a workload, which is a client and a server: its SPIFFE ID (an X509-SVID).
    Spiffe(SpiffeArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The first name is the common name too, and names the files:
servers/NAME.pem (the chain, end entity first) and servers/NAME.key.

Example:
  countersign pki issue server www.example.org '*.example.org' 192.0.2.1")]
pub(super) struct ServerArguments {
    /// DNS names, whose first label may be *, and IP addresses.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// How long it lives.
    #[arg(long, value_name = "TIME", value_parser = Lifetime::parse, default_value = "90d")]
    lifetime: Lifetime,
    /// Its key.
    #[arg(long, value_name = "KIND", value_enum, default_value = "p256")]
    key_type: KeyKind,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Writes clients/NAME.pem (the chain, end entity first) and clients/NAME.key.

Example:
  countersign pki issue client alice --ou payments --email alice@example.org")]
pub(super) struct ClientArguments {
    /// Common name.
    name: String,
    /// A DNS name of it; may be given several times, as --uri, --email and --ip.
    #[arg(long, value_name = "NAME", value_parser = names::client_dns)]
    dns: Vec<String>,
    /// A URI of it.
    #[arg(long, value_parser = names::uri)]
    uri: Vec<String>,
    /// An email address of it.
    #[arg(long, value_name = "ADDRESS", value_parser = names::email)]
    email: Vec<String>,
    /// An IP address of it.
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// Its organization.
    #[arg(long, value_name = "NAME", value_parser = names::attribute)]
    o: Option<String>,
    /// Its organizational unit.
    #[arg(long, value_name = "NAME", value_parser = names::attribute)]
    ou: Option<String>,
    /// How long it lives. What lives short needs no revocation.
    #[arg(long, value_name = "TIME", value_parser = Lifetime::parse, default_value = "24h")]
    lifetime: Lifetime,
    /// Its key.
    #[arg(long, value_name = "KIND", value_enum, default_value = "p256")]
    key_type: KeyKind,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Writes spiffe/TRUST-DOMAIN/PATH.pem (the chain, end entity first) and .key.

Example:
  countersign pki issue spiffe spiffe://example.org/payments/1")]
pub(super) struct SpiffeArguments {
    /// SPIFFE ID, spiffe://TRUST-DOMAIN/PATH.
    id: String,
    /// How long it lives.
    #[arg(long, value_name = "TIME", value_parser = Lifetime::parse, default_value = "1h")]
    lifetime: Lifetime,
    /// Its key.
    #[arg(long, value_name = "KIND", value_enum, default_value = "p256")]
    key_type: KeyKind,
}

/// What is to be signed and where it goes.
pub(super) struct Order {
    pub(super) kind: Kind,
    pub(super) names: Names,
    pub(super) lifetime: Lifetime,
    pub(super) key: KeyPair,
    /// From the directory, without its ending.
    pub(super) file: String,
    pub(super) renews: Option<Serial>,
}

pub(super) fn issue(path: &Path, command: &IssueCommand, now: Moment) -> Result<Report> {
    let refused = PkiError::Refused;
    let (kind, names, lifetime, key_type, file) = match command {
        IssueCommand::Server(server) => {
            let names = Names::of_server(&server.names).map_err(refused)?;
            let file = format!("servers/{}", file_name(&names.first())?);
            (Kind::Server, names, server.lifetime, server.key_type, file)
        }
        IssueCommand::Client(client) => {
            let file = format!("clients/{}", file_name(&client.name)?);
            (Kind::Client, client.names().map_err(refused)?, client.lifetime, client.key_type, file)
        }
        IssueCommand::Spiffe(workload) => {
            let names = Names::of_workload(&workload.id).map_err(refused)?;
            let file = workload.id.replacen("://", "/", 1);
            (Kind::Spiffe, names, workload.lifetime, workload.key_type, file)
        }
    };
    let mut estate = Estate::change(path)?;
    check_place(&estate, &file, now)?;
    let key = key_type.generate()?;
    let order = Order { kind, names, lifetime, key, file, renews: None };
    let issued = carry_out(&mut estate, &order, now)?;
    Ok(Report::new(tell(path, "Issued", &issued, lifetime)))
}

impl ClientArguments {
    fn names(&self) -> std::result::Result<Names, String> {
        Ok(Names {
            cn: Some(names::attribute(&self.name)?),
            o: self.o.clone(),
            ou: self.ou.clone(),
            dns: self.dns.clone(),
            uri: self.uri.clone(),
            email: self.email.clone(),
            ip: self.ip.clone(),
        })
    }
}

/// Signs, records, writes: in this order, so that a certificate that somebody has is in the index.
pub(super) fn carry_out(estate: &mut Estate, order: &Order, now: Moment) -> Result<Issued> {
    let authority = estate.issuer(now)?;
    let mut content = Content::new(order.kind, order.names.clone(), now, order.lifetime)?;
    content.not_after = content.not_after.min(authority.not_after());
    let certificate = authority.sign(&content, &order.key)?;
    let issued = record(&content, now, order.file.clone(), order.renews);
    estate.index.add(vec![Record::Issued(issued.clone())])?;

    let chain = pem(&certificate) + &pem(authority.certificate());
    let key = order.key.serialize_pem();
    let directory = &estate.directory;
    directory.write(format!("{}.key", order.file), key.as_bytes(), Readers::Owner)?;
    directory.write(format!("{}.pem", order.file), chain.as_bytes(), Readers::Everybody)?;
    Ok(issued)
}

/// What the index will know of it.
pub(super) fn record(
    content: &Content,
    now: Moment,
    file: String,
    renews: Option<Serial>,
) -> Issued {
    Issued {
        time: now,
        serial: content.serial,
        kind: content.kind,
        names: content.names.clone(),
        not_before: content.not_before,
        not_after: content.not_after,
        file,
        renews,
    }
}

/// What to say of it; `wanted` is how long it was to live.
pub(super) fn tell(path: &Path, done: &str, issued: &Issued, wanted: Lifetime) -> String {
    let (now, end) = (issued.time, issued.not_after);
    let lives = end.since(now).map_or_else(|| "over".to_owned(), |left| left.to_string());
    let cut = if end < now.plus(wanted) { "; the intermediate ends then" } else { "" };
    let [chain, key] =
        ["pem", "key"].map(|end| typed(&path.join(format!("{}.{end}", issued.file))));

    let mut text = String::new();
    add(&mut text, format_args!("{done} {} {}", issued.kind.label(), issued.names.in_words()));
    add(&mut text, format_args!("  serial number {}, until {end} ({lives}{cut})", issued.serial));
    add(&mut text, format_args!("  {chain}  the chain, end entity first"));
    add(&mut text, format_args!("  {key}  its key, secret"));
    add(&mut text, format_args!("Next:"));
    if issued.kind == Kind::Server {
        let clients = typed(&path.join(CLIENTS_CA));
        add(
            &mut text,
            format_args!("  countersign run --listen 127.0.0.1:8443 --allow any-verified \\"),
        );
        add(
            &mut text,
            format_args!("      --certificate {chain} --key {key} --client-ca {clients}"),
        );
    } else {
        let root = typed(&path.join(ROOT));
        add(&mut text, format_args!("  {}", command(path, &format!("verify {chain}"))));
        add(
            &mut text,
            format_args!(
                "  curl --cacert {root} --cert {chain} --key {key} https://localhost:8443/"
            ),
        );
    }
    text
}

/// A certificate of ours that is still good is not written over; what is not ours never is.
fn check_place(estate: &Estate, file: &str, now: Moment) -> Result<()> {
    let there = ["pem", "key"].map(|end| estate.directory.file(format!("{file}.{end}")));
    let Some(there) = there.iter().find(|path| path.exists()) else { return Ok(()) };
    let known = estate.index.issued.iter().rfind(|issued| issued.file == file);
    let known = known.ok_or_else(|| {
        PkiError::Refused(format!(
            "{} is there and is not from this PKI; it is left as it is, move it away first",
            there.display()
        ))
    })?;
    if estate.index.state(known, now) == State::Valid {
        let at = estate.directory.path();
        return Err(PkiError::Refused(format!(
            "{} is there, with a certificate that is good until {}; replace it with `{}`, or take it back first with `{}`",
            there.display(),
            known.not_after,
            command(at, &format!("renew {}", known.serial)),
            command(at, &format!("revoke {}", known.serial)),
        )));
    }
    Ok(())
}

/// A name as a file's: what is neither a letter nor a digit nor one of `.-_@+` becomes `_`.
fn file_name(name: &str) -> Result<String> {
    let of_file = |c: char| c.is_alphanumeric() || ".-_@+".contains(c);
    let file: String = name.chars().map(|c| if of_file(c) { c } else { '_' }).collect();
    // `.`, `..` and what `ls` does not show.
    let file = file.strip_prefix('.').map(|rest| format!("_{rest}")).unwrap_or(file);
    if file.len() > FILE_NAME_BYTES_MAX {
        return Err(PkiError::Refused(format!("'{name}' is too long for a file's name")));
    }
    Ok(file)
}

/// In a text file.
pub(crate) fn pem(certificate: &CertificateDer<'_>) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate.to_vec()), lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        for (name, file) in [
            ("alice", "alice"),
            ("a/../../b", "a_.._.._b"),
            ("..", "_."),
            (".hidden", "_hidden"),
            ("*.example.org", "_.example.org"),
            ("Jörg Meier", "Jörg_Meier"),
            ("::1", "__1"),
        ] {
            assert_eq!(file_name(name).expect("a name"), file);
        }
    }
}
