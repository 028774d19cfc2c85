//! What the metrics tell of tokens.

use serde_json::{Value, json};

use super::{Page, seconds};

/// What may come of giving an operation to a token, in the order in which they are counted.
pub const TOKEN_RESULTS: [&str; 7] =
    ["signed", "failed", "lost", "key_missing", "busy", "timed_out", "wrong_signature"];

/// Upper bounds of the buckets of tokens' answers, in microseconds; one more has no bound.
pub const TOKEN_BUCKETS_US: [u64; 13] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000,
];

/// What is told of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFact {
    /// Its URI.
    pub token: String,
    /// Does it take operations?
    pub is_up: bool,
    /// Sessions that are open.
    pub sessions_open: u64,
    /// Sessions that an operation is in.
    pub sessions_busy: u64,
    /// Sessions at most.
    pub sessions_most: u64,
    /// Operations that wait for a session.
    pub waiting: u64,
    /// Operations that it has, those that wait included.
    pub in_flight: u64,
    /// 0 for closed, 1 for half open, 2 for open.
    pub breaker: u64,
    /// Operations that it was given, by what came of them, in the order of [`TOKEN_RESULTS`].
    pub results: [u64; TOKEN_RESULTS.len()],
    /// Answers that came too late.
    pub late: u64,
    /// Operations that it was given though another token had them.
    pub hedges: u64,
    /// Signatures that were verified before they were sent.
    pub verified: u64,
    /// How often it has come up.
    pub came_up: u64,
    /// How long signatures took, by bucket, not cumulated.
    pub duration_buckets: [u64; TOKEN_BUCKETS_US.len() + 1],
    /// The sum, in microseconds.
    pub duration_sum_us: u64,
}

impl TokenFact {
    /// For the line `status` of the log.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "token": self.token,
            "is_up": self.is_up,
            "sessions_open": self.sessions_open,
            "sessions_busy": self.sessions_busy,
            "operations_in_flight": self.in_flight,
            "operations_waiting": self.waiting,
            "is_left_alone": self.breaker != 0,
        })
    }
}

impl Page {
    pub(super) fn tokens(&mut self, tokens: &[TokenFact]) {
        if tokens.is_empty() {
            return;
        }
        self.head("countersign_token_up", "Whether a token takes operations.", "gauge");
        for fact in tokens {
            let up = u64::from(fact.is_up);
            self.sample("countersign_token_up", &[("token", &fact.token)], up);
        }
        self.head("countersign_token_came_up_total", "How often a token has come up.", "counter");
        for fact in tokens {
            let labels = [("token", &*fact.token)];
            self.sample("countersign_token_came_up_total", &labels, fact.came_up);
        }
        self.head("countersign_token_sessions", "Sessions with a token.", "gauge");
        for fact in tokens {
            for (state, count) in [
                ("open", fact.sessions_open),
                ("busy", fact.sessions_busy),
                ("most", fact.sessions_most),
            ] {
                self.sample(
                    "countersign_token_sessions",
                    &[("token", &fact.token), ("state", state)],
                    count,
                );
            }
        }
        self.head(
            "countersign_token_operations_in_flight",
            "Operations that a token has, those that wait for a session included.",
            "gauge",
        );
        for fact in tokens {
            self.sample(
                "countersign_token_operations_in_flight",
                &[("token", &fact.token)],
                fact.in_flight,
            );
        }
        self.head(
            "countersign_token_operations_waiting",
            "Operations that wait for a session with a token.",
            "gauge",
        );
        for fact in tokens {
            self.sample(
                "countersign_token_operations_waiting",
                &[("token", &fact.token)],
                fact.waiting,
            );
        }
        self.head(
            "countersign_token_breaker",
            "Whether a token is left alone: 0 no, 1 it is probed, 2 yes.",
            "gauge",
        );
        for fact in tokens {
            self.sample("countersign_token_breaker", &[("token", &fact.token)], fact.breaker);
        }
        self.token_results(tokens);
        self.token_seconds(tokens);
    }

    fn token_results(&mut self, tokens: &[TokenFact]) {
        self.head(
            "countersign_token_operations_total",
            "Operations given to a token, by what came of them.",
            "counter",
        );
        for fact in tokens {
            for (result, count) in TOKEN_RESULTS.iter().zip(fact.results) {
                self.sample(
                    "countersign_token_operations_total",
                    &[("token", &fact.token), ("result", result)],
                    count,
                );
            }
        }
        self.head(
            "countersign_token_answers_late_total",
            "Answers of a token that nobody waited for any more.",
            "counter",
        );
        for fact in tokens {
            self.sample(
                "countersign_token_answers_late_total",
                &[("token", &fact.token)],
                fact.late,
            );
        }
        self.head(
            "countersign_token_hedges_total",
            "Operations given to a token because another one was slow.",
            "counter",
        );
        for fact in tokens {
            self.sample("countersign_token_hedges_total", &[("token", &fact.token)], fact.hedges);
        }
        self.head(
            "countersign_token_signatures_verified_total",
            "Signatures of a token that were verified before they were sent.",
            "counter",
        );
        for fact in tokens {
            self.sample(
                "countersign_token_signatures_verified_total",
                &[("token", &fact.token)],
                fact.verified,
            );
        }
    }

    fn token_seconds(&mut self, tokens: &[TokenFact]) {
        const NAME: &str = "countersign_token_signature_duration_seconds";
        self.head(NAME, "From giving an operation to a token to its signature.", "histogram");
        for fact in tokens {
            let token = &*fact.token;
            let mut cumulated = 0;
            let bounds = TOKEN_BUCKETS_US.iter().map(|bound| seconds(*bound).to_string());
            for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(fact.duration_buckets) {
                cumulated += count;
                let labels = [("token", token), ("le", &*bound)];
                self.sample(&format!("{NAME}_bucket"), &labels, cumulated);
            }
            let sum = seconds(fact.duration_sum_us);
            self.sample(&format!("{NAME}_sum"), &[("token", token)], sum);
            self.sample(&format!("{NAME}_count"), &[("token", token)], cumulated);
        }
    }
}
