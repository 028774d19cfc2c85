//! Clients that come again and again, for as long as they are wanted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use countersign_tests::client::Version;
use countersign_tests::deadline::wait_for;
use countersign_tests::pki::SERVER_NAME;
use rustls::ClientConfig;

use super::scene::Scene;
use crate::configured::{ask_whoami, tls};

/// Who is refused does not come again at once: an engine that refuses quickly would be asked nothing else.
const COME_AGAIN: Duration = Duration::from_millis(10);

pub(super) struct Crowd {
    address: SocketAddr,
    configs: [Arc<ClientConfig>; 2],
    is_over: AtomicBool,
    served: AtomicU64,
    refused: AtomicU64,
}

impl Crowd {
    /// Has so many clients of each version come until `while_they_come` has returned. Gives how many handshakes failed.
    pub(super) fn visits(
        scene: &mut Scene,
        of_each: usize,
        while_they_come: impl FnOnce(&mut Scene, &Self),
    ) -> u64 {
        let crowd = Self {
            address: scene.address,
            configs: Version::ALL.map(|version| tls(&scene.pki, Some(&scene.pki.alice), version)),
            is_over: AtomicBool::new(false),
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        thread::scope(|scope| {
            let leaving = Leaving(&crowd.is_over);
            for _ in 0..of_each {
                crowd.visit(scope);
            }
            crowd.wait_for_served(5);
            while_they_come(scene, &crowd);
            drop(leaving);
        });
        crowd.refused()
    }

    fn visit<'scope>(&'scope self, scope: &'scope thread::Scope<'scope, '_>) {
        for config in &self.configs {
            scope.spawn(move || {
                while !self.is_over.load(Ordering::SeqCst) {
                    // Each a full handshake: nobody keeps tickets here.
                    if ask_whoami(SERVER_NAME, self.address, config).is_ok() {
                        self.served.fetch_add(1, Ordering::SeqCst);
                    } else {
                        self.refused.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(COME_AGAIN);
                    }
                }
            });
        }
    }

    #[track_caller]
    pub(super) fn wait_for_served(&self, count: u64) {
        let before = self.served.load(Ordering::SeqCst);
        wait_for("clients to be let in", || {
            (self.served.load(Ordering::SeqCst) >= before + count).then_some(())
        });
    }

    /// Handshakes that failed so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }
}

/// Sends the crowd home, also where the test fails.
struct Leaving<'a>(&'a AtomicBool);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
