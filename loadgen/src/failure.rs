//! What can go wrong with one connection: a kind to count under, and words for the first of each kind.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use rustls::AlertDescription;

/// Why a handshake, a request or a transfer failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What it is counted under: `connect_refused`, `tls_alert:access_denied`.
    pub(crate) kind: Cow<'static, str>,
    /// What happened, for a person.
    pub(crate) words: String,
}

impl Failure {
    pub(crate) fn new(kind: impl Into<Cow<'static, str>>, words: impl Into<String>) -> Self {
        Self { kind: kind.into(), words: words.into() }
    }

    /// No socket could be made.
    pub(crate) fn no_socket(error: &io::Error) -> Self {
        let words = format!("no socket could be made: {error}");
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => Self::new("out_of_descriptors", words),
            _ => Self::new("no_socket", words),
        }
    }

    /// No connection came about.
    pub(crate) fn connecting(target: SocketAddr, error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::CONNREFUSED) => Self::new(
                "connect_refused",
                format!("{target} refuses connections: does anything listen there?"),
            ),
            Some(Errno::CONNRESET) => {
                Self::new("connect_reset", format!("{target} reset the connection as it was made"))
            }
            Some(Errno::ADDRNOTAVAIL) => Self::new(
                "out_of_ports",
                format!("no local port is free for another connection to {target}"),
            ),
            Some(Errno::HOSTUNREACH | Errno::NETUNREACH) => {
                Self::new("unreachable", format!("{target} cannot be reached: {error}"))
            }
            Some(Errno::TIMEDOUT) => Self::new("timeout", format!("{target} does not answer")),
            _ => Self::new("connect", format!("no connection to {target}: {error}")),
        }
    }

    /// A read or a write failed on a connection that had come about.
    pub(crate) fn transfer(doing: &str, error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::CONNRESET | Errno::PIPE) => {
                Self::new("reset", format!("the server reset the connection while {doing}"))
            }
            Some(Errno::CONNREFUSED) => {
                Self::new("connect_refused", format!("the connection was refused while {doing}"))
            }
            Some(Errno::TIMEDOUT) => Self::timeout(doing),
            _ => Self::new("io", format!("{error} while {doing}")),
        }
    }

    /// `--timeout` went by.
    pub(crate) fn timeout(doing: &str) -> Self {
        Self::new("timeout", format!("no answer within --timeout while {doing}"))
    }

    /// The server ended the stream too early.
    pub(crate) fn closed(doing: &str) -> Self {
        Self::new("closed", format!("the server closed the connection while {doing}"))
    }

    /// rustls gave up.
    pub(crate) fn tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => {
                let name = alert_name(*alert);
                Self::new(format!("tls_alert:{name}"), format!("the server sent the alert {name}"))
            }
            rustls::Error::InvalidCertificate(problem) => Self::new(
                "server_certificate",
                format!(
                    "the server's certificate is not accepted: {problem} (--ca, --server-name, or --no-verify)"
                ),
            ),
            other => Self::new("tls", format!("TLS failed: {other}")),
        }
    }
}

/// `AccessDenied` is `access_denied` in RFC 9846, section 6; `UnknownCA` is `unknown_ca`.
fn alert_name(alert: AlertDescription) -> String {
    let mut name = String::new();
    let mut after_lower = false;
    for c in format!("{alert:?}").chars() {
        if c.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = !c.is_ascii_uppercase();
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_rfc() {
        for (alert, name) in [
            (AlertDescription::AccessDenied, "access_denied"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::CertificateRequired, "certificate_required"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }
}
