//! HUP again and again under load: no handshake and no connection is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign_tests::backend::Backend;
use countersign_tests::client::{Client, Ending, Version};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use rustls::ClientConfig;

use crate::configured::{Configured, REFUSED, ask_whoami, tls};

const INTERVAL: Duration = Duration::from_secs(1);

/// Client threads of each listener, half of them for each version.
const THREADS: usize = 4;

#[test]
fn ten_hups_under_load() {
    hups_under_load(10);
}

#[test]
#[ignore = "takes 30 seconds; make soak"]
fn thirty_hups_under_load() {
    hups_under_load(30);
}

fn hups_under_load(hups: u64) {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let (relayed, built_in, passing) = (own_address(), own_address(), own_address());
    let servers = [pki.server_for(&[SERVER_NAME], 2040), pki.server_for(&[SERVER_NAME], 2041)];
    // Every reload changes certificates, rules, limits, the order of the listeners, and whether a third is there.
    let configuration = |generation: u64| {
        let odd = generation % 2 == 1;
        let identity = || IdentitySection::new(&servers[usize::from(odd)], &pki.client_root_file);
        let relaying = ListenerSection::new("relayed", relayed)
            .set("upstream", backend.upstream())
            .set("allow", [if odd { "cn=alice" } else { "any-verified" }])
            .identity(identity());
        let answering = ListenerSection::new("built-in", built_in)
            .limit("idle_timeout", if odd { "4m" } else { "5m" })
            .identity(identity());
        let third = ListenerSection::new("passing", passing).identity(identity());
        let all = Configuration::new();
        if odd {
            all.listener(relaying).listener(answering)
        } else {
            all.listener(third).listener(answering).listener(relaying)
        }
    };
    let configured = Configured::start(&pki, configuration(1));
    let mut long_lived: Vec<(Client, Client)> = Version::ALL
        .map(|version| {
            let config = tls(&pki, Some(&pki.alice), version);
            (Client::established(relayed, &config), Client::established(built_in, &config))
        })
        .into();

    let stop = AtomicBool::new(false);
    let served = AtomicU64::new(0);
    thread::scope(|scope| {
        let stopped = Stop(&stop);
        for thread in 0..THREADS {
            let config = tls(&pki, Some(&pki.alice), Version::ALL[thread % 2]);
            let (stop, served) = (&stop, &served);
            let relayed_config = Arc::clone(&config);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    echo_once(relayed, &relayed_config);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let answer = ask_whoami(SERVER_NAME, built_in, &config).expect("an answer");
                    assert!(names(&answer, "alice"));
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let begun = Instant::now();
        for turn in 0..hups {
            let due = begun + INTERVAL * u32::try_from(turn + 1).expect("few turns");
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let answer = configured.reload(configuration(turn + 2));
            assert_eq!(answer["generation"], turn + 2, "{answer}");
            for (relayed, built_in) in &mut long_lived {
                relayed.send(b"still here");
                assert_eq!(relayed.receive_exactly(10), b"still here");
                assert!(names(&whoami(built_in), "alice"));
            }
        }
        drop(stopped);
    });
    for (relayed, built_in) in &mut long_lived {
        for client in [relayed, built_in] {
            client.close_notify();
            assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        }
    }
    drop(long_lived);
    configured.engine.wait_until_idle();

    let served = served.into_inner() + 4;
    assert!(served > hups * THREADS as u64, "{served} connections are no load");
    let metrics = configured.metrics();
    assert_eq!(metrics.nonzero(REFUSED), []);
    assert_eq!(metrics.nonzero("countersign_connections_ended_total"), []);
    assert_eq!(metrics.count("countersign_handshakes_total", &[("resumed", "false")]), served);
    assert_eq!(metrics.count("countersign_connections_accepted_total", &[]), served);
    assert_eq!(metrics.count("countersign_connections_ended_cleanly_total", &[]), served);
    assert_eq!(metrics.count("countersign_reloads_total", &[("result", "published")]), hups);
    assert_eq!(metrics.count("countersign_reloads_total", &[("result", "refused")]), 0);
    configured.wait_for_count("countersign_config_generation_served", &[], hups + 1);
    assert_eq!(configured.engine.terminate().code, Some(0));
}

#[track_caller]
fn echo_once(address: std::net::SocketAddr, config: &Arc<ClientConfig>) {
    let mut client = Client::connect(address, config);
    client.handshake().expect("a handshake under load");
    client.send(b"one question");
    assert_eq!(client.receive_exactly(12), b"one question");
    client.close_notify();
    assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
}

/// Stops the clients, also where the test fails: else it would wait for them for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
