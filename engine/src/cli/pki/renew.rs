//! `countersign pki renew`.

use std::path::Path;

use clap::Args;

use super::Report;
use super::error::{PkiError, Result};
use super::estate::{Estate, first_certificate, serial_of};
use super::index::{Issued, State};
use super::issue::{self, Order};
use super::key::{self, KeyKind};
use super::moment::{Lifetime, Moment};

#[derive(Debug, Args)]
#[command(after_help = "\
The files are replaced. The old certificate stays good until it ends or is
revoked; `countersign pki list` shows both.
A CA is not renewed: make a new PKI, and let client_ca name both roots for a while.")]
pub(super) struct RenewArguments {
    /// A certificate's file, its serial number, or a name in it; of several with that name the newest.
    #[arg(value_name = "FILE|SERIAL|NAME")]
    what: String,
    /// Keep the key; a client that is known by its key (spki-sha256) stays known.
    #[arg(long)]
    keep_key: bool,
    /// How long the new one lives [default: as long as the old one did].
    #[arg(long, value_name = "TIME", value_parser = Lifetime::parse)]
    lifetime: Option<Lifetime>,
}

pub(super) fn renew(path: &Path, arguments: &RenewArguments, now: Moment) -> Result<Report> {
    let mut estate = Estate::change(path)?;
    let old = newest(&estate, &arguments.what, now)?.clone();
    let file = estate.directory.file(format!("{}.key", old.file));
    let key = if arguments.keep_key {
        check_kept(&estate, &old)?;
        key::read(&file)?
    } else {
        // Of the kind that it was; whoever has moved the key away gets the usual one.
        let kind = if file.exists() { KeyKind::of(&key::read(&file)?) } else { None };
        kind.unwrap_or(KeyKind::P256).generate()?
    };
    let lifetime = arguments.lifetime.or_else(|| old.not_after.since(old.time));
    let order = Order {
        kind: old.kind,
        names: old.names.clone(),
        lifetime: lifetime.ok_or_else(|| {
            PkiError::Refused(format!("{} ended before it began; say --lifetime", old.serial))
        })?,
        key,
        file: old.file,
        renews: Some(old.serial),
    };
    let issued = issue::carry_out(&mut estate, &order, now)?;
    Ok(Report::new(issue::tell(path, "Renewed", &issued, order.lifetime)))
}

/// The files may hold a later certificate's key by now.
fn check_kept(estate: &Estate, old: &Issued) -> Result<()> {
    let chain = estate.directory.file(format!("{}.pem", old.file));
    if serial_of(&chain, &first_certificate(&chain)?)? == Some(old.serial) {
        return Ok(());
    }
    Err(PkiError::Refused(format!(
        "{} holds another certificate than {}, whose key is not kept any more; renew it without --keep-key",
        chain.display(),
        old.serial
    )))
}

fn newest<'a>(estate: &'a Estate, what: &str, now: Moment) -> Result<&'a Issued> {
    let found = estate.find(what)?;
    let refused = |problem: String| Err(PkiError::Refused(problem));
    let Some(newest) = found.last().copied() else {
        return refused(format!("nothing is found for '{what}'"));
    };
    if newest.kind.is_authority() {
        return refused(format!(
            "'{what}' is the {}: a CA is not renewed; make a new PKI with `countersign pki init` in another directory, and let client_ca name both roots for a while",
            newest.kind.label()
        ));
    }
    if estate.index.state(newest, now) == State::Revoked {
        return refused(format!(
            "{} ({}) is revoked and has no successor; if its subject is to come in again, issue a new one with `countersign pki issue {}`",
            newest.serial,
            newest.names.in_words(),
            newest.kind.label()
        ));
    }
    Ok(newest)
}
