//! KeyUpdate (RFC 9846 §4.6.3): any number of them while data flows, few of them without.

use std::sync::Arc;

use countersign_tests::backend::Backend;
use countersign_tests::client::{Client, Ending, StreamEnd, Version, config};
use countersign_tests::engine::{Engine, Launch};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::seeded::{Digest, Fingerprint};
use rustls::AlertDescription;

const UPDATES: usize = 10_000;

#[test]
fn ten_thousand_survive_while_data_flows_in_both_directions() {
    let scene = Scene::new(Backend::echo());
    let mut client = scene.client();
    for turn in 0..UPDATES {
        client.update_keys();
        let word = (turn as u32).to_be_bytes();
        client.send(&word);
        assert_eq!(client.receive_exactly(word.len()), word);
    }
    scene.ends_well(client);
}

#[test]
fn ten_thousand_survive_a_pure_download() {
    const LENGTH: u64 = 100_000_000;
    let scene = Scene::new(Backend::source(7, LENGTH));
    let mut client = scene.client();
    let mut digest = Digest::default();
    let mut buffer = [0; 16 * 1024];
    let mut updates = 0;
    while digest.length() < LENGTH {
        let length = client.receive(&mut buffer).expect("the rest");
        digest.update(&buffer[..length]);
        // Evenly over the whole of it.
        while updates * LENGTH < digest.length() * UPDATES as u64 {
            client.update_keys();
            updates += 1;
        }
    }
    assert_eq!(updates, UPDATES as u64);
    assert_eq!(digest.finish(), Fingerprint::of_seed(7, LENGTH));
    scene.ends_well(client);
}

#[test]
fn a_flood_of_them_without_data_is_closed() {
    let scene = Scene::new(Backend::recording());
    let mut client = scene.client();
    for _ in 0..UPDATES {
        client.update_keys();
    }
    // rustls, too, counts what it is answered, so that either may have given up first.
    let (said, ending) = client.ending();
    assert!(said.is_empty());
    let refused =
        Ending::Alert { description: AlertDescription::UnexpectedMessage, then: StreamEnd::Eof };
    assert!(ending == refused || matches!(ending, Ending::Broken(_) | Ending::Reset), "{ending:?}");
    let address = client.address();
    drop(client);
    let record = scene.engine.connection_record(address);
    assert_eq!(record["reason"], "protocol_violation", "{record}");
    assert!(record["detail"].as_str().is_some_and(|it| it.contains("KeyUpdate")), "{record}");
    scene.engine.wait_until_idle();
}

struct Scene {
    pki: Pki,
    engine: Engine,
    _backend: Backend,
}

impl Scene {
    fn new(backend: Backend) -> Self {
        let pki = Pki::new(KeyKind::EcdsaP256);
        let engine = Launch::new(&pki).upstream(&backend.upstream()).start();
        Self { pki, engine, _backend: backend }
    }

    fn client(&self) -> Client {
        let config = config(&self.pki, Some(&self.pki.alice), Version::Tls13);
        Client::established(self.engine.address, &Arc::new(config))
    }

    #[track_caller]
    fn ends_well(&self, mut client: Client) {
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        let record = self.engine.connection_record(client.address());
        assert_eq!(record["reason"], serde_json::Value::Null, "{record}");
        self.engine.wait_until_idle();
    }
}
