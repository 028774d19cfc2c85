//! What a client cannot do without, to judge `countersign-loadgen` by:
//!
//! ```text
//! cargo run --release -p countersign-loadgen --example floor -- client
//!     CPU time of rustls' client alone for a full mutual TLS 1.3 handshake in memory
//! cargo run --release -p countersign-loadgen --example floor -- serve 127.0.0.1:9000 517,2100,1400,600
//!     the other side of `countersign-loadgen --mode tcp --script 517,2100,1400,600 127.0.0.1:9000`
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustix::time::{ClockId, clock_gettime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: u32 = 2_000;
const WARM_UP: u32 = 200;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["client"] => client(),
        ["serve", address, script] => serve(address, script),
        _ => Err("say 'client', or 'serve ADDRESS SIZES'".into()),
    }
}

fn client() -> Result<()> {
    let (client, server) = configurations()?;
    let name = ServerName::try_from("localhost")?;
    let mut used = Duration::ZERO;
    for round in 0..WARM_UP + ROUNDS {
        let of_client = handshake(&client, &server, &name)?;
        if round >= WARM_UP {
            used += of_client;
        }
    }
    let each = used.as_secs_f64() * 1e6 / f64::from(ROUNDS);
    writeln!(
        io::stdout().lock(),
        "client: {each:.1} us of CPU time a full handshake, {ROUNDS} handshakes"
    )?;
    Ok(())
}

/// A handshake up to the server's tickets, without a network; the CPU time of the client's part.
fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &ServerName<'static>,
) -> Result<Duration> {
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut wire = Vec::with_capacity(8 << 10);
    let begun = cpu_time();
    let mut client = ClientConnection::new(Arc::clone(client), name.clone())?;
    client.write_tls(&mut wire)?;
    let mut used = cpu_time() - begun;
    while client.is_handshaking() || server.is_handshaking() {
        let mut input = &wire[..];
        while !input.is_empty() {
            server.read_tls(&mut input)?;
            server.process_new_packets()?;
        }
        let mut answer = Vec::with_capacity(8 << 10);
        while server.wants_write() {
            server.write_tls(&mut answer)?;
        }
        wire.clear();
        let begun = cpu_time();
        let mut input = &answer[..];
        while !input.is_empty() {
            client.read_tls(&mut input)?;
            client.process_new_packets()?;
        }
        while client.wants_write() {
            client.write_tls(&mut wire)?;
        }
        used += cpu_time() - begun;
    }
    Ok(used)
}

fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

fn configurations() -> Result<(Arc<ClientConfig>, Arc<ServerConfig>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let root = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);
    let issue = || -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = KeyPair::generate()?;
        let end_entity =
            CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &issuer)?;
        Ok((vec![end_entity.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    };
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519];
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone())?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build()?;
    let (chain, key) = issue()?;
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    server.send_tls13_tickets = 0;
    let (chain, key) = issue()?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unquestioning))
        .with_client_auth_cert(chain, key)?;
    Ok((Arc::new(client), Arc::new(server)))
}

/// What `--no-verify` is.
#[derive(Debug)]
struct Unquestioning;

impl ServerCertVerifier for Unquestioning {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Plays the server's side of a script, a thread for each connection.
fn serve(address: &str, script: &str) -> Result<()> {
    let turns: std::result::Result<Vec<usize>, _> = script.split(',').map(str::parse).collect();
    let turns = Arc::new(turns?);
    let listener = TcpListener::bind(address)?;
    loop {
        let (stream, _) = listener.accept()?;
        let turns = Arc::clone(&turns);
        // A client that goes away ends its own conversation and nothing else.
        thread::spawn(move || drop(play(stream, &turns)));
    }
}

fn play(mut stream: TcpStream, turns: &[usize]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = vec![b'.'; turns.iter().copied().max().unwrap_or_default()];
    for (number, size) in turns.iter().enumerate() {
        if number % 2 == 0 {
            stream.read_exact(&mut bytes[..*size])?;
        } else {
            stream.write_all(&bytes[..*size])?;
        }
    }
    // The client resets.
    stream.read(&mut bytes[..1]).map(|_| ())
}
