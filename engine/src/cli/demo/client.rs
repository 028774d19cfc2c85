//! The demo's own client: one request over mutual TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, Stream};
use rustls_pki_types::{CertificateDer, ServerName};

use super::Result;
use super::pki::Client;
use crate::cli::alert_name;

const PATIENCE: Duration = Duration::from_secs(10);

/// More than the built-in upstream ever answers.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// How the engine answered.
pub(super) enum Answer {
    /// With a response.
    Response { status: u16, body: String },
    /// With an alert.
    Alert(AlertDescription),
    /// In another way.
    Failed(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response { status, body } => write!(f, "HTTP status {status}\n{body}"),
            Self::Alert(alert) => write!(f, "refused with the TLS alert {}", alert_name(*alert)),
            Self::Failed(problem) => write!(f, "failed: {problem}"),
        }
    }
}

/// Asks for `/`.
pub(super) fn request(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    client: &Client,
) -> Answer {
    match try_request(address, root, client) {
        Ok(answer) => answer,
        Err(error) => {
            let alert = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match alert {
                Some(rustls::Error::AlertReceived(alert)) => Answer::Alert(*alert),
                _ => Answer::Failed(error.to_string()),
            }
        }
    }
}

fn try_request(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    client: &Client,
) -> Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone())?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(client.chain.clone(), client.key.clone_key())?;
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = Stream::new(&mut tls, &mut socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no HTTP response")?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    Ok(Answer::Response { status, body: body.to_owned() })
}
