//! An engine whose one identity has its key in tokens, and who is connected to it all the time.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_tests::client::{Client, Version};
use countersign_tests::configuration::{Configuration, ListenerSection, own_address};
use countersign_tests::deadline::wait_for;
use countersign_tests::http::{names, whoami};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME};
use countersign_tests::test_token::{Counters, TestToken};
use rustls::ClientConfig;

use super::trouble::{Shows, Trouble};
use crate::configured::{Configured, REFUSED, ask_whoami, tls};
use crate::tokens::identity;

/// Reasons that are a token's, by their labels.
const OF_TOKENS: [&str; 5] = [
    "signing_failed",
    "token_unavailable",
    "token_busy",
    "token_wrong_signature",
    "operation_timeout",
];

/// Where the engine has the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    Process,
    Thread,
}

impl Isolation {
    fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Thread => "thread",
        }
    }
}

pub(super) struct Scene {
    // First, so that it ends before the PKI's folder goes.
    pub(super) configured: Configured,
    pub(super) address: SocketAddr,
    /// Each has the key, in a module of its own.
    pub(super) tokens: Vec<TestToken>,
    pub(super) pki: Pki,
    config: Arc<ClientConfig>,
    kept: Client,
}

impl Scene {
    pub(super) fn new(
        kind: KeyKind,
        isolation: Isolation,
        tokens: usize,
        configure: impl Fn(Configuration) -> Configuration,
    ) -> Self {
        let pki = Pki::new(kind);
        let tokens: Vec<_> = (0..tokens)
            .map(|number| {
                let token = TestToken::new(&pki.directory().join(label(number)));
                token.change_token(|token| token.label = label(number));
                token.with_key("server", &pki.server.key_file)
            })
            .collect();
        let keys: Vec<_> = tokens.iter().map(|token| token.uri("server")).collect();
        let address = own_address();
        let listener = ListenerSection::new("door", address)
            .limit("idle_timeout", "5m")
            .identity(identity(&pki, &pki.server, "").set("key", keys));
        let configuration = Configuration::new()
            .tokens("isolation", isolation.name())
            .tokens("operation_timeout", "500ms")
            .listener(listener);
        let configured = Configured::start(&pki, configure(configuration));
        let config = tls(&pki, Some(&pki.alice), Version::Tls13);
        let mut kept = Client::connect(address, &config);
        kept.handshake().expect("let in");
        Self { configured, address, tokens, pki, config, kept }
    }

    /// The first token, which goes wrong.
    pub(super) fn token(&self) -> &TestToken {
        &self.tokens[0]
    }

    /// Who was let in before all trouble is served.
    #[track_caller]
    pub(super) fn serves_who_is_in(&mut self, trouble: &str) {
        assert!(names(&whoami(&mut self.kept), "alice"), "{trouble}: who was in stays");
    }

    /// Whoever comes is let in.
    #[track_caller]
    pub(super) fn lets_in(&self, trouble: &str) {
        let answer = ask_whoami(SERVER_NAME, self.address, &self.config);
        assert!(answer.is_ok(), "{trouble}: is over: {answer:?}");
    }

    /// Begins a trouble of the first token, and waits until it has struck. `failures` counts what comes of one that lasts.
    #[track_caller]
    pub(super) fn strike(&self, trouble: &Trouble, failures: impl Fn() -> u64) {
        let token = self.token();
        let (did, failed) = (token.counters(), failures());
        (trouble.begin)(token);
        match trouble.shows {
            Shows::Failures => wait_for(&format!("failures while {}", trouble.name), || {
                (failures() > failed).then_some(())
            }),
            Shows::Repair(of) => {
                token.wait_for(trouble.name, |now: &Counters| of(now) > of(&did));
            }
        }
    }

    /// A number that is counted of the first token.
    #[track_caller]
    pub(super) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let token = format!("pkcs11:token={}", label(0));
        let labels: Vec<_> = [("token", token.as_str())].iter().chain(labels).copied().collect();
        self.configured.metrics().count(name, &labels)
    }

    /// Handshakes that were refused for a token's sake.
    #[track_caller]
    pub(super) fn refused(&self) -> u64 {
        let metrics = self.configured.metrics();
        OF_TOKENS.iter().map(|reason| metrics.count(REFUSED, &[("reason", reason)])).sum()
    }

    /// What was refused for other reasons.
    #[track_caller]
    pub(super) fn refused_otherwise(&self) -> Vec<(String, u64)> {
        let mut counted = self.configured.metrics().nonzero(REFUSED);
        counted.retain(|(reason, _)| !OF_TOKENS.contains(&reason.as_str()));
        counted
    }

    /// As many were refused for a token's sake as is said, and nobody otherwise; the engine ends well.
    #[track_caller]
    pub(super) fn close(mut self, refused: u64) {
        assert_eq!(self.refused_otherwise(), []);
        let counted = self.configured.metrics().nonzero(REFUSED);
        assert_eq!(self.refused(), refused, "each one, and no other: {counted:?}");
        self.kept.close_notify();
        self.kept.ending();
        assert_eq!(self.configured.engine.terminate().code, Some(0));
    }
}

fn label(number: usize) -> String {
    format!("edge-{number}")
}
