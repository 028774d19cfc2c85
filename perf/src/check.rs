//! Before anything is measured: one real handshake with every signature checked, which says what was
//! negotiated and how many tickets came; and one without a certificate, which must not be served.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, RootCertStore,
};
use rustls_pki_types::ServerName;

use crate::experiment::Variant;
use crate::pki::{Pki, SERVER_NAME};
use crate::problem::{During, Problem, Result};

const PATIENCE: Duration = Duration::from_secs(10);
/// Tickets that come at all come with the response or right behind the handshake.
const TICKETS_WITHIN: Duration = Duration::from_millis(100);

/// What a server is asked, once its handshake is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// An HTTP request, to be answered with 200.
    Http,
    /// Nothing: the backend behind it speaks first.
    Source,
    /// Nothing: the backend behind it only listens.
    Sink,
}

/// Checks a server, and says how many tickets it sent.
pub(crate) fn check(
    address: SocketAddr,
    pki: &Pki,
    variant: Variant,
    question: Question,
) -> Result<usize> {
    let tickets = Arc::new(Tickets::default());
    let config = config(pki, variant, Some(Arc::clone(&tickets)), true)?;
    let answer = converse(address, config, variant, question)?;
    let served = match question {
        Question::Http => answer.starts_with(b"HTTP/1.1 200"),
        Question::Source => !answer.is_empty(),
        Question::Sink => true,
    };
    if !served {
        let start = String::from_utf8_lossy(&answer[..answer.len().min(64)]).into_owned();
        return Err(Problem::new(format!("answers the check with {start:?}")));
    }
    let stranger = converse(address, config_without_certificate(pki, variant)?, variant, question);
    if !matches!(question, Question::Sink)
        && stranger.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
    {
        return Err(Problem::new("serves a client without a certificate"));
    }
    Ok(tickets.count.load(Ordering::Relaxed))
}

fn config_without_certificate(pki: &Pki, variant: Variant) -> Result<ClientConfig> {
    config(pki, variant, None, false)
}

fn config(
    pki: &Pki,
    variant: Variant,
    tickets: Option<Arc<Tickets>>,
    with_certificate: bool,
) -> Result<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![match variant {
        Variant::MlKem => aws_lc_rs::kx_group::X25519MLKEM768,
        Variant::Base | Variant::Rsa => aws_lc_rs::kx_group::X25519,
    }];
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut roots = RootCertStore::empty();
    roots.add(pki.server_root.clone()).during("the root of the check")?;
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .during("the configuration of the check")?
        .with_root_certificates(roots);
    let mut config = if with_certificate {
        let (chain, key) = (pki.client_chain.clone(), pki.client_key.clone_key());
        builder.with_client_auth_cert(chain, key).during("the client of the check")?
    } else {
        builder.with_no_client_auth()
    };
    // A client is told of tickets only if it keeps them.
    config.resumption =
        tickets.map_or(Resumption::disabled(), |tickets| Resumption::store(tickets));
    Ok(config)
}

/// Shakes hands, asks, and reads what comes until there is something and tickets had their time.
fn converse(
    address: SocketAddr,
    config: ClientConfig,
    variant: Variant,
    question: Question,
) -> Result<Vec<u8>> {
    let name = ServerName::try_from(SERVER_NAME).during("the server's name")?;
    let mut tls =
        ClientConnection::new(Arc::new(config), name).during("the client of the check")?;
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).during("cannot connect")?;
    socket.set_read_timeout(Some(PATIENCE)).during("a timeout")?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).during("the handshake of the check")?;
    }
    let negotiated = (
        tls.protocol_version(),
        tls.negotiated_cipher_suite().map(|suite| suite.suite()),
        tls.negotiated_key_exchange_group().map(|group| group.name()),
    );
    let group = match variant {
        Variant::MlKem => NamedGroup::X25519MLKEM768,
        Variant::Base | Variant::Rsa => NamedGroup::X25519,
    };
    let suite = CipherSuite::TLS13_AES_128_GCM_SHA256;
    if negotiated != (Some(ProtocolVersion::TLSv1_3), Some(suite), Some(group)) {
        return Err(Problem::new(format!("negotiated {negotiated:?}")));
    }
    if matches!(question, Question::Http) {
        let request = format!("GET / HTTP/1.1\r\nHost: {SERVER_NAME}\r\n\r\n");
        tls.writer().write_all(request.as_bytes()).during("the request of the check")?;
    }
    while tls.wants_write() {
        tls.write_tls(&mut socket).during("the request of the check")?;
    }
    read_answer(&mut tls, &mut socket, question)
}

fn read_answer(
    tls: &mut ClientConnection,
    socket: &mut TcpStream,
    question: Question,
) -> Result<Vec<u8>> {
    let begun = Instant::now();
    let mut answer = Vec::new();
    socket.set_read_timeout(Some(TICKETS_WITHIN)).during("a timeout")?;
    loop {
        match tls.read_tls(socket) {
            Ok(0) => return Ok(answer),
            Ok(_) => {
                let state = tls.process_new_packets().during("the answer to the check")?;
                let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
                tls.reader().read_exact(&mut plaintext).during("the answer to the check")?;
                answer.extend(plaintext);
                if matches!(question, Question::Source) && !answer.is_empty() {
                    return Ok(answer);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let expects_more = answer.is_empty() && !matches!(question, Question::Sink);
                if !expects_more || begun.elapsed() > PATIENCE {
                    return Ok(answer);
                }
            }
            Err(error) => return Err(Problem::new(format!("the answer to the check: {error}"))),
        }
    }
}

/// Counts the tickets of TLS 1.3 and keeps nothing.
#[derive(Debug, Default)]
struct Tickets {
    count: AtomicUsize,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}
