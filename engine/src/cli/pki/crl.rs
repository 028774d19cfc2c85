//! `countersign pki crl`.

use std::path::Path;

use clap::Args;

use super::directory::{CRLS, INTERMEDIATE_CRL_DER, ROOT_CRL_DER};
use super::error::Result;
use super::estate::Estate;
use super::moment::{Lifetime, Moment};
use super::{Report, add};

#[derive(Debug, Args)]
#[command(after_help = "\
crl.pem holds the CRL of each CA. Past its nextUpdate, verifiers that fail
closed refuse everybody: have this run well before, from cron or a timer.")]
pub(super) struct CrlArguments {
    /// From now to nextUpdate [default: as long as the ones before, at first 7d].
    #[arg(long, value_name = "TIME", value_parser = Lifetime::parse)]
    lifetime: Option<Lifetime>,
    /// Write them in DER too, as root.crl and intermediate.crl, now and whenever they change.
    #[arg(long)]
    der: bool,
}

pub(super) fn crl(path: &Path, arguments: &CrlArguments, now: Moment) -> Result<Report> {
    let mut estate = Estate::change(path)?;
    let published = estate.publish(Vec::new(), now, arguments.lifetime, arguments.der)?;
    let mut text = String::new();
    let mut files = vec![CRLS];
    let in_der = [ROOT_CRL_DER, INTERMEDIATE_CRL_DER];
    files.extend(in_der.into_iter().filter(|name| estate.directory.file(name).exists()));
    for name in files {
        add(&mut text, format_args!("Wrote {}", path.join(name).display()));
    }
    add(
        &mut text,
        format_args!("  number {}, good until {}", published.number, published.next_update),
    );
    Ok(Report::new(text))
}
