//! A client that goes away at every step of the handshake, by a reset or by a FIN: nothing reaches the
//! backend, nothing stays behind, and the engine goes on serving.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_tests::backend::Backend;
use countersign_tests::client::{
    Client, Ending, Progress, StreamEnd, Version, config, read_to_end,
};
use countersign_tests::engine::{Engine, Launch};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::record::{HEADER_BYTES, records};
use rustls::ClientConfig;

/// Besides the ends and beginnings of records, every so-manieth byte of the client's stream is a cut.
const STRIDE_BYTES: usize = 7;

#[test]
fn resets_in_tls13() {
    cut_everywhere(Version::Tls13, |client| client.reset());
}

#[test]
fn resets_in_tls12() {
    cut_everywhere(Version::Tls12, |client| client.reset());
}

#[test]
fn resets_in_tls13_with_the_servers_flight_unread() {
    cut_everywhere_unread(Version::Tls13);
}

#[test]
fn resets_in_tls12_with_the_servers_flight_unread() {
    cut_everywhere_unread(Version::Tls12);
}

#[test]
fn ends_of_stream_in_tls13() {
    cut_everywhere(Version::Tls13, leave_with_fin);
}

#[test]
fn ends_of_stream_in_tls12() {
    cut_everywhere(Version::Tls12, leave_with_fin);
}

#[test]
fn a_reset_within_the_handshake_is_called_so() {
    let scene = Scene::new(Version::Tls13);
    let mut client = Client::connect(scene.engine.address, &scene.config);
    let address = client.address();
    assert_eq!(client.handshake_up_to(scene.hello_bytes + HEADER_BYTES), Ok(Progress::Cut));
    client.reset();
    let record = scene.engine.connection_record(address);
    assert_eq!(
        (&record["result"], &record["reason"]),
        (&"refused".into(), &"client_reset".into()),
        "{record}"
    );
    scene.is_unharmed();
}

/// FIN, then whatever the engine still says; it must let go too.
fn leave_with_fin(client: Client) {
    let mut client = client;
    client.truncate();
    let (_, end) = read_to_end(&client.socket);
    assert!(
        matches!(end, StreamEnd::Eof | StreamEnd::Reset),
        "the engine holds on to a client that is gone"
    );
}

fn cut_everywhere(version: Version, leave: fn(Client)) {
    let scene = Scene::new(version);
    for &cut in &scene.cuts {
        let mut client = Client::connect(scene.engine.address, &scene.config);
        match client.handshake_up_to(cut) {
            Ok(Progress::Cut) => leave(client),
            other => panic!("cut at {cut}: {other:?}\n{}", scene.engine.log().tail()),
        }
    }
    scene.is_unharmed();
}

/// Like [`cut_everywhere`], but within the first flight and just behind it, and without reading a byte.
fn cut_everywhere_unread(version: Version) {
    let scene = Scene::new(version);
    for &cut in scene.cuts.range(..=scene.hello_bytes) {
        let mut client = Client::connect(scene.engine.address, &scene.config);
        let hello = client.take_pending();
        client.write_raw(&hello[..cut.min(hello.len())]);
        if cut == scene.hello_bytes {
            // The answer has come and lies unread.
            assert_ne!(client.socket.peek(&mut [0]).expect("an answer"), 0);
        }
        client.reset();
    }
    scene.is_unharmed();
}

struct Scene {
    pki: Pki,
    backend: Backend,
    engine: Engine,
    config: Arc<ClientConfig>,
    hello_bytes: usize,
    /// Numbers of bytes after which to leave, all short of a complete handshake.
    cuts: BTreeSet<usize>,
}

impl Scene {
    fn new(version: Version) -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let backend = Backend::recording();
        let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
        let config = Arc::new(config(&pki, Some(&pki.alice), version));
        let hello = Client::connect(engine.address, &config).take_pending();
        let cuts = cuts_of(&client_stream(&pki, version));
        Self { pki, backend, engine, config, hello_bytes: hello.len(), cuts }
    }

    /// No handshake was completed, so nothing reached the backend; a good client does.
    #[track_caller]
    fn is_unharmed(&self) {
        self.engine.wait_until_idle();
        assert_eq!(
            (self.backend.seen().connections(), self.backend.seen().received_bytes()),
            (0, 0)
        );
        let config = Arc::new(config(&self.pki, Some(&self.pki.alice), Version::Tls13));
        let mut client = Client::established(self.engine.address, &config);
        client.send(b"hello");
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        assert_eq!(self.backend.seen().wait_for_ended(1)[0].received.length, 5);
        self.engine.wait_until_idle();
    }
}

/// Everything a client says in a complete handshake, in the order in which it says it.
fn client_stream(pki: &Pki, version: Version) -> Vec<u8> {
    let engine = Launch::new(pki).start();
    let mut client =
        Client::connect(engine.address, &Arc::new(config(pki, Some(&pki.alice), version)));
    client.recorded_handshake().expect("a handshake")
}

/// Before the first byte; around every record's header and end; and every few bytes between. The last bytes
/// are left out: a shorter signature than this time's would make them a whole handshake.
fn cuts_of(stream: &[u8]) -> BTreeSet<usize> {
    const SIGNATURE_SLACK_BYTES: usize = 8;
    let end = stream.len() - SIGNATURE_SLACK_BYTES;
    let mut cuts: BTreeSet<usize> = (0..end).step_by(STRIDE_BYTES).collect();
    let mut at = 0;
    for record in records(stream).0 {
        let next = at + HEADER_BYTES + record.payload.len();
        cuts.extend([
            at,
            at + 1,
            at + HEADER_BYTES - 1,
            at + HEADER_BYTES,
            at + HEADER_BYTES + 1,
            next - 1,
            next,
        ]);
        at = next;
    }
    cuts.retain(|&cut| cut < end);
    cuts
}
