//! Clients by rustls: for what an honest one says, and for one that says anything under its own keys.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use countersign_proto::Side;
use countersign_proto::limits::RECEIVE_BYTES;
use rustls::client::{ClientConnectionData, Resumption, UnbufferedClientConnection};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::kernel::KernelConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore};

use crate::pki::{self, SERVER_NAME};
use crate::session::{Session, Worker};

/// The versions that clients speak here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// A client that a worker lets in.
pub(crate) fn config(worker: &mut Worker, version: Version, resumes: bool) -> Arc<ClientConfig> {
    let (suite, version) = match version {
        Version::Tls12 => (cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, &TLS12),
        Version::Tls13 => (cipher_suite::TLS13_AES_128_GCM_SHA256, &TLS13),
    };
    let provider = CryptoProvider {
        cipher_suites: vec![suite],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    };
    let pki = worker.pki();
    let own = pki.client("client.example");
    let mut roots = RootCertStore::empty();
    roots.add(pki.root().clone()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[version])
        .expect("suite and version go together")
        .with_root_certificates(roots)
        .with_client_auth_cert(pki.chain(&own), pki::key(&own))
        .expect("a key and its certificate");
    config.enable_secret_extraction = true;
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

/// What a client has said in a whole handshake: its ClientHello, and all of it.
pub(crate) fn wire(worker: &Worker, config: &Arc<ClientConfig>) -> (Vec<u8>, Vec<u8>) {
    shake(worker, config, RECEIVE_BYTES)
}

/// As [`wire`], with so many bytes arriving at a time.
fn shake(worker: &Worker, config: &Arc<ClientConfig>, at_a_time: usize) -> (Vec<u8>, Vec<u8>) {
    let name = SERVER_NAME.try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let mut session = worker.accept();
    let (mut hello, mut wire) = (Vec::new(), Vec::new());
    while client.is_handshaking() || client.wants_write() {
        let mut said = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut said).expect("memory");
        }
        session.receive(Side::Client, &said, at_a_time);
        wire.extend_from_slice(&said);
        if hello.is_empty() {
            hello = said;
        }
        let mut heard = &std::mem::take(&mut session.to_client)[..];
        while !heard.is_empty() {
            client.read_tls(&mut heard).expect("memory");
            client.process_new_packets().expect("an engine that speaks TLS");
        }
    }
    assert!(session.was_let_in, "{} is let in", session.phase());
    (hello, wire)
}

/// A client that has been let in, holds its keys, and keeps no rule from then on.
pub(crate) struct Liar {
    version: Version,
    kernel: KernelConnection<ClientConnectionData>,
    sealing: Sealing,
}

struct Sealing {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Liar {
    /// A whole handshake with the worker; both of its ends.
    pub(crate) fn let_in(
        worker: &Worker,
        config: &Arc<ClientConfig>,
        version: Version,
    ) -> (Self, Session) {
        let name = SERVER_NAME.try_into().expect("a name");
        let mut client =
            UnbufferedClientConnection::new(Arc::clone(config), name).expect("a client");
        let mut session = worker.accept();
        let mut heard = Vec::new();
        for _ in 0..4 {
            let said = step(&mut client, &mut heard);
            session.receive(Side::Client, &said, RECEIVE_BYTES);
            heard.extend(std::mem::take(&mut session.to_client));
        }
        assert!(session.was_let_in && heard.is_empty(), "{} is let in", session.phase());
        let (secrets, kernel) = client.dangerous_into_kernel_connection().expect("secrets");
        (Self { version, kernel, sealing: Sealing::new(secrets.tx) }, session)
    }

    /// A record of any type and content, as its keys seal it; in TLS 1.3 with zeros behind it. After a KeyUpdate the
    /// next keys seal.
    pub(crate) fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        match self.version {
            Version::Tls12 => self.sealing.tls12(kind, content),
            Version::Tls13 => {
                let record = self.sealing.tls13(kind, content, padding);
                if kind == HANDSHAKE && matches!(content, [24, 0, 0, 1, 0 | 1]) {
                    self.sealing = Sealing::new(self.kernel.update_tx_secret().expect("keys"));
                }
                record
            }
        }
    }
}

const APPLICATION_DATA: u8 = 23;
const HANDSHAKE: u8 = 22;
const TAG_BYTES: usize = 16;

impl Sealing {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            unreachable!("it offers no other suite")
        };
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).expect("16 bytes");
        let iv = iv.as_ref().try_into().expect("12 bytes");
        Self { key: LessSafeKey::new(key), iv, sequence }
    }

    fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        self.sequence += 1;
        nonce
    }

    /// RFC 9846 §5.2.
    fn tls13(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let mut inner = [content, &[kind]].concat();
        inner.resize(inner.len() + padding, 0);
        let header = header(APPLICATION_DATA, inner.len() + TAG_BYTES);
        let nonce = Nonce::assume_unique_for_key(self.nonce());
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut inner).expect("a record");
        [&header[..], &inner].concat()
    }

    /// RFC 5288 §3.
    fn tls12(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let sequence = self.sequence.to_be_bytes();
        let nonce = self.nonce();
        let additional = [&sequence[..], &header(kind, content.len())].concat();
        let mut sealed = content.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(unique, Aad::from(additional), &mut sealed)
            .expect("a record");
        let explicit = &nonce[4..];
        [&header(kind, explicit.len() + sealed.len())[..], explicit, &sealed].concat()
    }
}

/// Says whatever length fits into two bytes.
fn header(kind: u8, length: usize) -> [u8; 5] {
    let [high, low] = (length as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}

/// Takes what came; gives what is to be said.
fn step(client: &mut UnbufferedClientConnection, heard: &mut Vec<u8>) -> Vec<u8> {
    let mut said = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = client.process_tls_records(heard);
        let is_over = match state.expect("a handshake") {
            ConnectionState::EncodeTlsData(mut data) => {
                let mut buffer = vec![0; RECEIVE_BYTES];
                let length = data.encode(&mut buffer).expect("room");
                said.extend_from_slice(&buffer[..length]);
                false
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                false
            }
            ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake => true,
            other => panic!("{other:?}"),
        };
        heard.drain(..discard);
        if is_over {
            return said;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message may go on over many records, and each of them come by itself (RFC 9846 §5.1).
    #[test]
    fn a_client_with_small_records_is_let_in_however_they_come() {
        let mut worker = Worker::new();
        for version in [Version::Tls12, Version::Tls13] {
            let config = config(&mut worker, version, false);
            for record in [32, 64, 200, 512] {
                let mut small = ClientConfig::clone(&config);
                small.max_fragment_size = Some(record);
                let small = Arc::new(small);
                for at_a_time in [1, 5, 31, 69, 100, 205, 450, 517, RECEIVE_BYTES] {
                    shake(&worker, &small, at_a_time);
                }
            }
        }
    }
}
