//! Log lines. Every text of a peer is escaped.

use countersign_proto::identity::{Printable, hex};
use countersign_proto::proxy_protocol::Tlv;
use countersign_proto::revocation::Standing;
use countersign_proto::{
    ClientIdentity, Comparison, Evidence, OcspFact, Report, ShadowReport, TlsFacts, Withdrawn,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::log::Notice;

/// The version of [`ConnectionLine`]: grows when a field goes or means something else.
const CONNECTION_SCHEMA: u32 = 1;

/// A line about the engine itself.
pub(super) fn event(name: &str, fields: Value) -> Value {
    let mut line = Map::new();
    line.insert("time".into(), json!(timestamp()));
    line.insert("event".into(), json!(name));
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    Value::Object(line)
}

pub(super) fn notice(notice: &Notice) -> Value {
    match notice {
        Notice::ConnectionTableFull { worker, open } => event(
            "connection_table_full",
            json!({
                "worker": worker,
                "connections_open": open,
                "message": "no room for more connections; new ones wait in the kernel's queue until others end",
            }),
        ),
        Notice::HandshakesFull { worker, under_way } => event(
            "handshakes_full",
            json!({
                "worker": worker,
                "handshakes": under_way,
                "message": "too many handshakes are under way; new connections wait in the kernel's queue",
            }),
        ),
        Notice::ListenerFull { worker, open } => event(
            "listener_full",
            json!({
                "worker": worker,
                "connections_open": open,
                "message": "a listener has as many connections as it may have; new ones wait in the kernel's queue",
            }),
        ),
        Notice::AcceptFailed { worker, error } => event(
            "accept_failed",
            json!({ "worker": worker, "error": error, "message": "accepting pauses for a moment and is tried again" }),
        ),
        Notice::ConnectFailed { worker, error } => {
            event("upstream_socket_failed", json!({ "worker": worker, "error": error }))
        }
        Notice::CutOff { worker, open } => {
            event("drain_timed_out", json!({ "worker": worker, "connections_cut": open }))
        }
    }
}

/// The client of a connection that lives on would not be let in any more.
pub(super) fn withdrawn(withdrawn: &Withdrawn) -> Value {
    event(
        "client_withdrawn",
        json!({
            "listener": &*withdrawn.listener,
            "client": withdrawn.client.to_string(),
            "identity": withdrawn.identity.as_deref().map(IdentityFields::of),
            "reason": withdrawn.reason.label(),
            "detail": Printable(&withdrawn.detail),
            "consequence": withdrawn.consequence.label(),
        }),
    )
}

/// Appends the line of one connection to `out`.
pub(super) fn connection(report: &Report, out: &mut Vec<u8>) {
    let tls = report.tls.as_ref();
    let line = ConnectionLine {
        time: timestamp(),
        event: "connection",
        schema: CONNECTION_SCHEMA,
        connection: report.connection.to_string(),
        listener: &report.listener,
        client: report.client.to_string(),
        balancer: report.balancer.map(|balancer| balancer.to_string()),
        server_name: report.server_name.as_deref().map(Printable),
        alpn: report.alpn.as_deref().map(Printable),
        result: if report.allowed { "allowed" } else { "refused" },
        withdrawn: report.withdrawn.map(|reason| reason.label()),
        reason: report.reason.map(|reason| reason.label()),
        detail: report.detail.as_deref().map(Printable),
        tls_version: tls.map(|tls| tls.version.name()),
        cipher_suite: tls.map(TlsFacts::suite_name),
        group: tls.and_then(TlsFacts::group_name),
        identity: report.identity.as_deref().map(IdentityFields::of),
        trust_anchor: report.evidence.as_deref().and_then(trust_anchor),
        chain: report.chain_cached.map(|cached| if cached { "cached" } else { "verified" }),
        revocation: report.evidence.as_deref().map_or_else(Vec::new, standings),
        shadow_revocation: report
            .evidence
            .as_deref()
            .and_then(|evidence| Some(evidence.revocation().shadow?.to_string())),
        ocsp: report.ocsp.map(OcspFields::of),
        rule: report.rule.as_deref().map(Printable),
        shadow: report.shadow.as_ref().map(ShadowFields::of),
        proxy_tlvs_left_out: (!report.untold.is_empty())
            .then(|| report.untold.iter().map(Tlv::name).collect()),
        resumed: report.resumed,
        authenticated_at: report.authenticated_at,
        handshake_us: report.established_at.map(|at| micros(at - report.accepted_at)),
        duration_us: micros(report.ended_at - report.accepted_at),
        client_bytes_received: report.client_traffic.received,
        client_bytes_sent: report.client_traffic.sent,
        upstream_bytes_received: report.upstream_traffic.received,
        upstream_bytes_sent: report.upstream_traffic.sent,
    };
    // Writing to memory does not fail, and nothing in the line refuses to be written.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
}

/// In the order in which they are written.
#[derive(Serialize)]
struct ConnectionLine<'a> {
    time: String,
    event: &'static str,
    schema: u32,
    connection: String,
    listener: &'a str,
    client: String,
    balancer: Option<String>,
    server_name: Option<Printable<'a>>,
    alpn: Option<Printable<'a>>,
    result: &'static str,
    withdrawn: Option<&'static str>,
    reason: Option<&'static str>,
    detail: Option<Printable<'a>>,
    tls_version: Option<&'static str>,
    cipher_suite: Option<&'static str>,
    group: Option<&'static str>,
    identity: Option<IdentityFields<'a>>,
    trust_anchor: Option<String>,
    chain: Option<&'static str>,
    revocation: Vec<StandingFields>,
    shadow_revocation: Option<String>,
    ocsp: Option<OcspFields>,
    rule: Option<Printable<'a>>,
    shadow: Option<ShadowFields<'a>>,
    proxy_tlvs_left_out: Option<Vec<&'static str>>,
    resumed: bool,
    authenticated_at: Option<u64>,
    handshake_us: Option<u64>,
    duration_us: u64,
    client_bytes_received: u64,
    client_bytes_sent: u64,
    upstream_bytes_received: u64,
    upstream_bytes_sent: u64,
}

#[derive(Serialize)]
struct IdentityFields<'a> {
    subject: &'a str,
    common_name: Option<Printable<'a>>,
    dns_names: &'a [String],
    uris: &'a [String],
    issuer: &'a str,
    serial: &'a str,
    not_after: i64,
    sha256: String,
    spki_sha256: String,
}

#[derive(Serialize)]
struct ShadowFields<'a> {
    result: &'static str,
    rule: Option<Printable<'a>>,
    differs: bool,
}

impl<'a> ShadowFields<'a> {
    fn of(shadow: &'a ShadowReport) -> Self {
        Self {
            result: if shadow.verdict.allowed { "allowed" } else { "refused" },
            rule: shadow.verdict.rule.as_deref().map(Printable),
            differs: shadow.comparison != Comparison::Agrees,
        }
    }
}

#[derive(Serialize)]
struct OcspFields {
    status: &'static str,
    source: Option<&'static str>,
    this_update: Option<i64>,
}

impl OcspFields {
    fn of(fact: OcspFact) -> Self {
        let (source, answer) = match fact {
            OcspFact::Asked(answer) => ("asked", answer),
            OcspFact::Cached(answer) => ("cached", answer),
            OcspFact::NotAnswered => {
                return Self { status: "not_answered", source: None, this_update: None };
            }
        };
        let (status, this_update) = (answer.status.label(), Some(answer.this_update));
        Self { status, source: Some(source), this_update }
    }
}

impl<'a> IdentityFields<'a> {
    fn of(identity: &'a ClientIdentity) -> Self {
        Self {
            subject: identity.subject(),
            common_name: identity.common_names().first().map(|name| Printable(name)),
            dns_names: identity.dns_names(),
            uris: identity.uris(),
            issuer: identity.issuer(),
            serial: identity.serial(),
            not_after: identity.not_after(),
            sha256: identity.sha256_hex(),
            spki_sha256: identity.spki_sha256_hex(),
        }
    }
}

#[derive(Serialize)]
struct StandingFields {
    verdict: &'static str,
    crl_number: Option<String>,
    this_update: Option<i64>,
    next_update: Option<i64>,
}

/// What revocation lists said of each certificate of the path, end entity first.
fn standings(evidence: &Evidence) -> Vec<StandingFields> {
    let fields = |standing: &Standing| StandingFields {
        verdict: standing.verdict.label(),
        crl_number: standing.list.and_then(|list| Some(list.number?.to_string())),
        this_update: standing.list.map(|list| list.this_update),
        next_update: standing.list.map(|list| list.next_update),
    };
    evidence.revocation().standings.iter().map(fields).collect()
}

/// The CA at the path's end, by its key.
fn trust_anchor(evidence: &Evidence) -> Option<String> {
    Some(hex(&evidence.issued().last()?.issuer.key))
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn timestamp() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}
