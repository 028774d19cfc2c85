//! `countersign pki`: a small CA, for development and small estates.

pub(super) mod authority;
mod crl;
mod directory;
mod error;
mod estate;
mod index;
mod init;
pub(super) mod issue;
pub(super) mod key;
mod list;
pub(super) mod moment;
pub(super) mod names;
mod reason;
mod renew;
mod revoke;
mod serial;
mod verify;

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::moment::Moment;
use super::fail;

#[derive(Debug, Args)]
#[command(after_help = "\
Five minutes, from nothing to a client that is let in and then revoked:
  countersign pki init
  countersign pki issue server localhost
  countersign pki issue client alice
  countersign run --listen 127.0.0.1:8443 --allow cn=alice \\
      --certificate pki/servers/localhost.pem --key pki/servers/localhost.key \\
      --client-ca pki/clients-ca.pem
  curl --cacert pki/root.pem --cert pki/clients/alice.pem \\
      --key pki/clients/alice.key https://localhost:8443/
  countersign pki revoke alice --reason keyCompromise
  countersign pki verify pki/clients/alice.pem
docs/pki.md says more.")]
pub(super) struct PkiArguments {
    /// Where the PKI is.
    #[arg(long, short, value_name = "DIR", default_value = "pki", global = true)]
    directory: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a PKI: a root, an intermediate that issues, and an empty CRL of each.
    Init(init::InitArguments),
    /// Issue a certificate and its key.
    #[command(subcommand)]
    Issue(issue::IssueCommand),
    /// Issue a successor: the same names and files, a new key, a new serial number, a new lifetime.
    Renew(renew::RenewArguments),
    /// Revoke certificates and write new CRLs at once.
    Revoke(revoke::RevokeArguments),
    /// Write the CRLs anew, before they run out.
    Crl(crl::CrlArguments),
    /// Show what was issued, oldest first.
    List(list::ListArguments),
    /// Say whether a certificate would be accepted now, and if not, why.
    Verify(verify::VerifyArguments),
}

pub(super) fn pki(arguments: &PkiArguments) -> ExitCode {
    let (directory, now) = (arguments.directory.as_path(), Moment::now());
    let said = match &arguments.command {
        Command::Init(arguments) => init::init(directory, arguments, now),
        Command::Issue(command) => issue::issue(directory, command, now),
        Command::Renew(arguments) => renew::renew(directory, arguments, now),
        Command::Revoke(arguments) => revoke::revoke(directory, arguments, now),
        Command::Crl(arguments) => crl::crl(directory, arguments, now),
        Command::List(arguments) => list::list(directory, arguments, now),
        Command::Verify(arguments) => verify::verify(directory, arguments, now),
    };
    match said {
        Ok(report) => report.print(),
        Err(error) => fail(error),
    }
}

/// What a command has to say when it is done.
struct Report {
    text: String,
    code: ExitCode,
}

impl Report {
    fn new(text: String) -> Self {
        Self { text, code: ExitCode::SUCCESS }
    }

    fn print(self) -> ExitCode {
        match std::io::stdout().lock().write_all(self.text.as_bytes()) {
            Ok(()) => self.code,
            // Whoever read it has seen enough (`| head`).
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.code,
            Err(error) => fail(format_args!("cannot write the answer: {error}")),
        }
    }
}

/// Adds a line.
fn add(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to memory does not fail");
}

/// A further command of this program, on the same PKI, as it is typed.
fn command(directory: &Path, words: &str) -> String {
    match directory.to_str() {
        Some("pki") => format!("countersign pki {words}"),
        _ => format!("countersign pki {words} --directory {}", typed(directory)),
    }
}

/// A path as a shell takes it.
fn typed(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/.-_@+".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}
