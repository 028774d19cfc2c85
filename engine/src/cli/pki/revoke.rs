//! `countersign pki revoke`.

use std::path::Path;

use clap::Args;

use super::authority::Kind;
use super::directory::CRLS;
use super::error::{PkiError, Result};
use super::estate::Estate;
use super::index::{Issued, Revoked, State};
use super::moment::Moment;
use super::reason::Reason;
use super::{Report, add, command, typed};

#[derive(Debug, Args)]
#[command(after_help = "\
A file or a serial number means that certificate; a name means every
certificate with it that is still good, so that nobody stays in by an older one.
crl.pem is written anew at once, and lives as long as the one before did. It
takes effect where it is read: hand it to whoever verifies.
Nothing takes a revocation back. What is revoked already is left as it is, and
crl.pem is written all the same.")]
pub(super) struct RevokeArguments {
    /// A certificate's file, its serial number, or a name in it.
    #[arg(value_name = "FILE|SERIAL|NAME")]
    what: String,
    /// Why (RFC 5280, section 5.3.1).
    #[arg(long, value_enum, default_value = "unspecified")]
    reason: Reason,
}

pub(super) fn revoke(path: &Path, arguments: &RevokeArguments, now: Moment) -> Result<Report> {
    let mut estate = Estate::change(path)?;
    let chosen = choose(&estate, &arguments.what, now)?;
    let (mut text, mut last) = (String::new(), String::new());
    let mut revoked = Vec::new();
    for issued in chosen {
        last.clone_from(&issued.file);
        let who =
            format!("{} {} ({})", issued.kind.label(), issued.serial, issued.names.in_words());
        if let Some(known) = estate.index.revocation(issued.serial) {
            add(
                &mut text,
                format_args!(
                    "Revoked already, at {} ({}): {who}",
                    known.time,
                    known.reason.label()
                ),
            );
        } else {
            add(&mut text, format_args!("Revoked ({}): {who}", arguments.reason.label()));
            revoked.push(Revoked { time: now, serial: issued.serial, reason: arguments.reason });
        }
    }
    let published = estate.publish(revoked, now, None, false)?;
    let crls = path.join(CRLS);
    add(
        &mut text,
        format_args!(
            "Wrote {}, number {}, good until {}",
            crls.display(),
            published.number,
            published.next_update
        ),
    );
    add(&mut text, format_args!("Next: put it where it is read, and look:"));
    let file = path.join(format!("{}.pem", last));
    add(&mut text, format_args!("  {}", command(path, &format!("verify {}", typed(&file)))));
    Ok(Report::new(text))
}

/// Those that are to be revoked, and those that are already.
fn choose(estate: &Estate, what: &str, now: Moment) -> Result<Vec<Issued>> {
    let found = estate.find(what)?;
    if found.iter().any(|issued| issued.kind == Kind::Root) {
        return Err(PkiError::Refused(
            "nobody asks a CRL about a root: take it out of client_ca and of every client's CA file instead".into(),
        ));
    }
    let state = |issued: &&Issued| estate.index.state(issued, now);
    let mut chosen: Vec<&Issued> =
        found.iter().copied().filter(|issued| state(issued) == State::Valid).collect();
    if chosen.is_empty() {
        chosen = found.iter().copied().filter(|issued| state(issued) == State::Revoked).collect();
    }
    match (chosen.is_empty(), found.last()) {
        (true, Some(last)) => Err(PkiError::Refused(format!(
            "'{what}' ended at {}: nobody accepts it any more, there is nothing to revoke",
            last.not_after
        ))),
        _ => Ok(chosen.into_iter().cloned().collect()),
    }
}
