//! Metrics in the Prometheus text format (version 0.0.4). docs/metrics.md describes each.

mod tokens;

use std::fmt::{Display, Write};

use countersign_proto::revocation::{LOOKUPS, Lookups};
use countersign_proto::{Comparison, Declined, Reason};

use super::counters::{HANDSHAKE_BUCKETS_US, LIMITS, Totals};

pub use tokens::{TOKEN_BUCKETS_US, TOKEN_RESULTS, TokenFact};

/// What is told beside the counters.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// How many workers there are.
    pub workers: usize,
    /// The configuration published last.
    pub generation: u64,
    /// Reloads that were published.
    pub reloads: u64,
    /// Reloads that changed nothing.
    pub reloads_failed: u64,
    /// When the configuration was loaded that is served now: seconds since the epoch.
    pub loaded_at: u64,
    /// Lines that wait to be written into the log.
    pub log_queue: usize,
    /// Keys that open tickets.
    pub ticket_keys: usize,
    /// How often a changed file of ticket keys could not be taken.
    pub ticket_keys_refused: u64,
    /// Client connections of a worker at one time.
    pub max_connections: usize,
    /// Handshakes under way on a worker at one time.
    pub max_handshakes: usize,
    /// The certificates that are served.
    pub certificates: Vec<Certificate>,
    /// Timeouts and sizes by listener: listener, name as in the configuration, seconds or bytes.
    pub limits: Vec<(String, &'static str, f64)>,
    /// Revocation lists.
    pub revocation: RevocationFacts,
    /// OCSP, but for what workers remember.
    pub ocsp: OcspFacts,
    /// The tokens that are configured.
    pub tokens: Vec<TokenFact>,
}

/// What is told of revocation lists.
#[derive(Clone, Debug, Default)]
pub struct RevocationFacts {
    /// Lists that are loaded.
    pub lists: u64,
    /// Serial numbers in them.
    pub entries: u64,
    /// What they take of memory.
    pub memory_bytes: u64,
    /// Files and URLs that could not be read, each time one more.
    pub failures: u64,
    /// Grows by one with every publish.
    pub generation: u64,
    /// What was found for certificates.
    pub lookups: Lookups,
    /// Those that run out first, the first of them first.
    pub shown: Vec<ListFact>,
}

/// A revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFact {
    /// The file or URL.
    pub source: String,
    /// The CA that it says to be from.
    pub issuer: String,
    /// Does it build upon another?
    pub is_delta: bool,
    /// Serial numbers.
    pub entries: u64,
    /// When it was made: seconds since the epoch.
    pub this_update: i64,
    /// When it is out of date: seconds since the epoch.
    pub next_update: i64,
}

/// What may come of a question to an OCSP responder, in the order in which they are counted.
pub const OCSP_RESULTS: [&str; 7] =
    ["good", "revoked", "unknown", "not_answered", "invalid", "not_asked", "skipped"];

/// Upper bounds of the buckets of OCSP answers, in milliseconds; one more has no bound.
pub const OCSP_BUCKETS_MS: [u64; 8] = [5, 20, 50, 100, 300, 1_000, 3_000, 10_000];

/// What is told of OCSP.
#[derive(Clone, Debug, Default)]
pub struct OcspFacts {
    /// Questions of handshakes by what came of them, in the order of [`OCSP_RESULTS`].
    pub questions: [u64; OCSP_RESULTS.len()],
    /// Questions of handshakes that were answered by an answer to another worker.
    pub shared_answers: u64,
    /// Questions of handshakes that were under way already.
    pub joined: u64,
    /// Questions under way now.
    pub in_flight: u64,
    /// How long responders took, by bucket, not cumulated.
    pub duration_buckets: [u64; OCSP_BUCKETS_MS.len() + 1],
    /// The sum, in microseconds.
    pub duration_sum_us: u64,
    /// Staples that were fetched or read and hold.
    pub staples_taken: u64,
    /// Attempts to have one that came to nothing.
    pub staples_failed: u64,
    /// One for each certificate that is served with a staple, or should be.
    pub staples: Vec<StapleFact>,
}

/// The staple of a certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StapleFact {
    /// The certificate's subject.
    pub subject: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Until when the staple holds, seconds since the epoch; 0 if there is none.
    pub until: i64,
}

/// A certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The listener's name.
    pub listener: String,
    /// The end entity's subject.
    pub subject: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// The earliest notAfter of its chain: seconds since the epoch.
    pub not_after: i64,
}

/// The whole page.
#[must_use]
pub fn render(totals: &Totals, facts: &Facts) -> String {
    let mut page = Page::default();
    page.counter(
        "countersign_connections_accepted_total",
        "Connections accepted.",
        totals.accepted,
    );
    page.counter(
        "countersign_connections_released_total",
        "Connections over, their sockets released.",
        totals.released,
    );
    page.gauge(
        "countersign_connections_open",
        "Connections whose sockets are not released yet.",
        totals.connections_open,
    );
    page.head("countersign_handshakes_total", "Handshakes that let a client in.", "counter");
    let full = totals.established.saturating_sub(totals.resumed);
    page.sample("countersign_handshakes_total", &[("resumed", "false")], full);
    page.sample("countersign_handshakes_total", &[("resumed", "true")], totals.resumed);
    page.tickets(totals, facts);
    page.by_reason(
        "countersign_handshakes_refused_total",
        "Handshakes that came to nothing, by reason.",
        &totals.refused,
    );
    page.head(
        "countersign_shadow_decisions_total",
        "Clients that a shadow policy was asked about, by how its answer compares with what was done.",
        "counter",
    );
    for (comparison, count) in Comparison::ALL.iter().zip(totals.shadow) {
        page.sample("countersign_shadow_decisions_total", &[("result", comparison.label())], count);
    }
    page.handshake_seconds(totals);
    page.gauge("countersign_handshakes_in_flight", "Handshakes under way.", totals.handshakes);
    page.counter(
        "countersign_connections_ended_cleanly_total",
        "Connections of clients that were let in, ended by both sides.",
        totals.ended_cleanly,
    );
    page.by_reason(
        "countersign_connections_ended_total",
        "Connections of clients that were let in, ended otherwise, by reason.",
        &totals.ended,
    );
    page.counter(
        "countersign_connections_reconsidered_total",
        "How often an open connection was asked whether its client would still be let in.",
        totals.reconsidered,
    );
    page.gauge(
        "countersign_reconsiderations_outstanding",
        "Places of the connection tables still to be looked at since something was published.",
        totals.reconsiderations_outstanding,
    );
    page.by_reason(
        "countersign_connections_withdrawn_total",
        "Open connections whose clients would not be let in any more, by reason.",
        &totals.withdrawn,
    );
    page.by_reason(
        "countersign_connections_kept_total",
        "Those of them that lived on all the same, as configured, by reason.",
        &totals.kept,
    );
    page.head(
        "countersign_client_bytes_total",
        "Bytes on the wire to and from clients, of connections that are over.",
        "counter",
    );
    page.sample(
        "countersign_client_bytes_total",
        &[("direction", "received")],
        totals.client_bytes_received,
    );
    page.sample(
        "countersign_client_bytes_total",
        &[("direction", "sent")],
        totals.client_bytes_sent,
    );
    page.gauge(
        "countersign_stacks_suspended",
        "Handshakes that wait for an operation on a stack of their own.",
        totals.stacks_suspended,
    );
    page.gauge(
        "countersign_drains",
        "Refused clients that are still reading their alert.",
        totals.drains,
    );
    let chains = &totals.chain_cache;
    page.head(
        "countersign_chain_cache_lookups_total",
        "Client chains looked up among those that were verified before.",
        "counter",
    );
    page.sample("countersign_chain_cache_lookups_total", &[("result", "hit")], chains.hits);
    page.sample("countersign_chain_cache_lookups_total", &[("result", "miss")], chains.misses);
    page.counter(
        "countersign_chain_cache_evictions_total",
        "Verified chains dropped to make room.",
        chains.evictions,
    );
    page.gauge(
        "countersign_chain_cache_entries",
        "Verified chains held by all workers.",
        chains.chains,
    );
    page.gauge("countersign_chain_cache_bytes", "Bytes that they take, estimated.", chains.bytes);
    page.gauge(
        "countersign_slots_free",
        "Free slots of the direct descriptor tables.",
        totals.slots_free,
    );
    page.gauge(
        "countersign_ring_operations_in_flight",
        "Operations that the rings have.",
        totals.operations_in_flight,
    );
    page.head(
        "countersign_limit_reached_total",
        "How often a limit began to hold back new connections.",
        "counter",
    );
    for ((_, name), count) in LIMITS.iter().zip(totals.limits_reached) {
        page.sample("countersign_limit_reached_total", &[("limit", name)], count);
    }
    page.head("countersign_limit", "Limits of a worker.", "gauge");
    page.sample("countersign_limit", &[("limit", "max_connections")], facts.max_connections);
    page.sample("countersign_limit", &[("limit", "max_handshakes")], facts.max_handshakes);
    page.head(
        "countersign_listener_limit",
        "Limits of a listener's connections, in seconds, bytes or a number.",
        "gauge",
    );
    for (listener, name, value) in &facts.limits {
        page.sample(
            "countersign_listener_limit",
            &[("listener", listener), ("limit", name)],
            value,
        );
    }
    page.gauge(
        "countersign_log_queue_lines",
        "Lines that wait to be written into the log.",
        facts.log_queue,
    );
    page.counter(
        "countersign_log_lines_dropped_total",
        "Lines that did not fit into the log's queue.",
        totals.log_lines_dropped,
    );
    page.head("countersign_reloads_total", "Reloads of the configuration by result.", "counter");
    page.sample("countersign_reloads_total", &[("result", "published")], facts.reloads);
    page.sample("countersign_reloads_total", &[("result", "refused")], facts.reloads_failed);
    page.gauge(
        "countersign_config_generation",
        "The configuration that was published last.",
        facts.generation,
    );
    page.gauge(
        "countersign_config_generation_served",
        "The oldest configuration that a worker still serves.",
        totals.generation,
    );
    page.gauge(
        "countersign_config_loaded_timestamp_seconds",
        "When the configuration was loaded that is served now.",
        facts.loaded_at,
    );
    page.head(
        "countersign_certificate_not_after_timestamp_seconds",
        "The earliest notAfter of a served certificate's chain.",
        "gauge",
    );
    for certificate in &facts.certificates {
        page.sample(
            "countersign_certificate_not_after_timestamp_seconds",
            &[
                ("listener", &certificate.listener),
                ("subject", &certificate.subject),
                ("serial", &certificate.serial),
            ],
            certificate.not_after,
        );
    }
    page.revocation(&facts.revocation);
    page.ocsp(totals, &facts.ocsp);
    page.tokens(&facts.tokens);
    page.gauge("countersign_workers", "Workers.", facts.workers);
    page.head("countersign_build_info", "Always 1; the version is a label.", "gauge");
    page.sample("countersign_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.text.push_str(if index == 0 { "{" } else { "," });
            let _ = write!(self.text, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        self.sample(name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.sample(name, &[], value);
    }

    /// Every reason has its line, also when it has not happened yet: a series that appears with its
    /// first event hides that event from rate().
    fn by_reason(&mut self, name: &str, help: &str, counts: &[(Reason, u64)]) {
        self.head(name, help, "counter");
        for reason in Reason::ALL {
            let count =
                counts.iter().find(|(counted, _)| counted == reason).map_or(0, |(_, count)| *count);
            self.sample(name, &[("reason", reason.label())], count);
        }
    }

    /// As with reasons, every cause has its line from the start.
    fn tickets(&mut self, totals: &Totals, facts: &Facts) {
        self.counter(
            "countersign_tickets_issued_total",
            "Session tickets given to clients.",
            totals.tickets_issued,
        );
        self.counter(
            "countersign_tickets_offered_total",
            "Session tickets offered by clients and looked at.",
            totals.tickets_offered,
        );
        self.head(
            "countersign_tickets_declined_total",
            "Offered tickets that did not resume, by reason; the handshake went on as a full one.",
            "counter",
        );
        for (declined, count) in Declined::ALL.iter().zip(totals.tickets_declined) {
            self.sample(
                "countersign_tickets_declined_total",
                &[("reason", declined.label())],
                count,
            );
        }
        self.gauge("countersign_ticket_keys", "Keys that open tickets.", facts.ticket_keys);
        self.counter(
            "countersign_ticket_keys_refused_total",
            "Changes of the file of ticket keys that could not be taken.",
            facts.ticket_keys_refused,
        );
    }

    fn revocation(&mut self, facts: &RevocationFacts) {
        self.gauge("countersign_crls", "Revocation lists that are loaded.", facts.lists);
        self.gauge("countersign_crl_entries", "Serial numbers in them.", facts.entries);
        self.gauge("countersign_crl_memory_bytes", "What they take of memory.", facts.memory_bytes);
        self.gauge(
            "countersign_crl_generation",
            "Grows by one each time that lists are published.",
            facts.generation,
        );
        self.counter(
            "countersign_crl_failures_total",
            "Files and URLs that could not be read.",
            facts.failures,
        );
        self.head(
            "countersign_revocation_checks_total",
            "Certificates looked up in revocation lists, by what was found.",
            "counter",
        );
        for (mode, counts) in [("live", facts.lookups.live), ("shadow", facts.lookups.shadow)] {
            for (verdict, count) in LOOKUPS.iter().zip(counts) {
                self.sample(
                    "countersign_revocation_checks_total",
                    &[("lists", mode), ("verdict", verdict)],
                    count,
                );
            }
        }
        if facts.shown.is_empty() {
            return;
        }
        let kind = |list: &ListFact| if list.is_delta { "delta" } else { "complete" };
        self.head(
            "countersign_crl_next_update_timestamp_seconds",
            "When a revocation list is out of date.",
            "gauge",
        );
        for list in &facts.shown {
            self.sample(
                "countersign_crl_next_update_timestamp_seconds",
                &[("issuer", &list.issuer), ("source", &list.source), ("kind", kind(list))],
                list.next_update,
            );
        }
        self.head(
            "countersign_crl_this_update_timestamp_seconds",
            "When a revocation list was made.",
            "gauge",
        );
        for list in &facts.shown {
            self.sample(
                "countersign_crl_this_update_timestamp_seconds",
                &[("issuer", &list.issuer), ("source", &list.source), ("kind", kind(list))],
                list.this_update,
            );
        }
    }

    fn ocsp(&mut self, totals: &Totals, facts: &OcspFacts) {
        self.head(
            "countersign_ocsp_questions_total",
            "Questions to OCSP responders about clients, by what came of them.",
            "counter",
        );
        for (result, count) in OCSP_RESULTS.iter().zip(facts.questions) {
            self.sample("countersign_ocsp_questions_total", &[("result", result)], count);
        }
        self.head(
            "countersign_ocsp_answers_used_total",
            "Handshakes for which an answer was there, or under way, without a question of their own.",
            "counter",
        );
        for (source, count) in [
            ("worker", totals.ocsp_answers_used),
            ("process", facts.shared_answers),
            ("under_way", facts.joined),
        ] {
            self.sample("countersign_ocsp_answers_used_total", &[("source", source)], count);
        }
        self.gauge(
            "countersign_ocsp_answers",
            "OCSP answers that workers remember.",
            totals.ocsp_answers,
        );
        self.gauge(
            "countersign_ocsp_questions_in_flight",
            "Questions to OCSP responders under way.",
            facts.in_flight,
        );
        self.ocsp_seconds(facts);
        self.head(
            "countersign_ocsp_staple_fetches_total",
            "Attempts to have an OCSP staple for a certificate of ours.",
            "counter",
        );
        for (result, count) in [("taken", facts.staples_taken), ("failed", facts.staples_failed)] {
            self.sample("countersign_ocsp_staple_fetches_total", &[("result", result)], count);
        }
        if facts.staples.is_empty() {
            return;
        }
        self.head(
            "countersign_ocsp_staple_next_update_timestamp_seconds",
            "Until when the OCSP staple of a certificate holds; 0 while there is none.",
            "gauge",
        );
        for staple in &facts.staples {
            self.sample(
                "countersign_ocsp_staple_next_update_timestamp_seconds",
                &[("subject", &staple.subject), ("serial", &staple.serial)],
                staple.until,
            );
        }
    }

    fn ocsp_seconds(&mut self, facts: &OcspFacts) {
        const NAME: &str = "countersign_ocsp_answer_duration_seconds";
        self.head(NAME, "From the question to the verified answer.", "histogram");
        let mut cumulated = 0;
        let bounds = OCSP_BUCKETS_MS.iter().map(|bound| seconds(*bound * 1_000).to_string());
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(facts.duration_buckets) {
            cumulated += count;
            self.sample(&format!("{NAME}_bucket"), &[("le", &bound)], cumulated);
        }
        self.sample(&format!("{NAME}_sum"), &[], seconds(facts.duration_sum_us));
        self.sample(&format!("{NAME}_count"), &[], cumulated);
    }

    fn handshake_seconds(&mut self, totals: &Totals) {
        const NAME: &str = "countersign_handshake_duration_seconds";
        self.head(
            NAME,
            "From accept to Finished, of handshakes that let a client in.",
            "histogram",
        );
        let distribution = &totals.handshake_seconds;
        let mut cumulated = 0;
        let bounds = HANDSHAKE_BUCKETS_US.iter().map(|bound| seconds(*bound).to_string());
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(distribution.buckets) {
            cumulated += count;
            self.sample(&format!("{NAME}_bucket"), &[("le", &bound)], cumulated);
        }
        self.sample(&format!("{NAME}_sum"), &[], seconds(distribution.sum_us));
        self.sample(&format!("{NAME}_count"), &[], cumulated);
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// A label's value: backslash, quote and line feed are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_line_from_the_start() {
        let page = render(&Totals::default(), &Facts::default());
        for reason in Reason::ALL {
            let line =
                format!("countersign_handshakes_refused_total{{reason=\"{}\"}} 0", reason.label());
            assert!(page.contains(&line), "{line}");
        }
    }

    #[test]
    fn buckets_are_cumulated_and_end_with_the_count() {
        let mut totals = Totals::default();
        totals.handshake_seconds.buckets[0] = 2;
        totals.handshake_seconds.buckets[3] = 5;
        totals.handshake_seconds.sum_us = 9_000;
        let page = render(&totals, &Facts::default());
        assert!(
            page.contains("countersign_handshake_duration_seconds_bucket{le=\"0.0005\"} 2\n"),
            "{page}"
        );
        assert!(page.contains("countersign_handshake_duration_seconds_bucket{le=\"0.005\"} 7\n"));
        assert!(page.contains("countersign_handshake_duration_seconds_bucket{le=\"+Inf\"} 7\n"));
        assert!(page.contains("countersign_handshake_duration_seconds_sum 0.009\n"));
        assert!(page.contains("countersign_handshake_duration_seconds_count 7\n"));
    }

    #[test]
    fn label_values_cannot_break_out() {
        let certificate = Certificate {
            listener: "a\"b".into(),
            subject: "CN=x\\y\nz".into(),
            serial: "01".into(),
            not_after: 5,
        };
        let facts = Facts { certificates: vec![certificate], ..Facts::default() };
        let page = render(&Totals::default(), &facts);
        assert!(page.contains(r#"{listener="a\"b",subject="CN=x\\y\nz",serial="01"} 5"#), "{page}");
    }
}
