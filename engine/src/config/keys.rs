//! Every key of the configuration file, in one table. It says what a file may have, which key was
//! probably meant by one that is not known, and what the documentation must speak of.

use std::ops::RangeInclusive;

use countersign_proto::limits::{PROXY_HEADER_BYTES, PROXY_TLV_BYTES};

/// One key.
#[derive(Debug)]
pub struct Key {
    /// From the top of the file, as `listener.limits.idle_timeout`.
    pub path: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What holds where it is left out, as it is written in a file or, where it cannot be, in words;
    /// `None` if it must not be left out.
    pub default: Option<&'static str>,
    /// What its value may be beyond its kind; empty if there is no more to say.
    pub bounds: &'static str,
    /// A value, as it is written in a file; for tables, words about what must be in them.
    pub example: &'static str,
}

/// What a value may be.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// An array of strings.
    Texts,
    /// A string, or an array of them.
    TextOrTexts,
    /// A string, or a table.
    TextOrTable,
    /// A string out of a few.
    Choice(&'static [&'static str]),
    /// A whole number.
    Count(RangeInclusive<usize>),
    /// `true` or `false`.
    Switch,
    /// A string such as `"10s"`.
    Duration,
    /// A table.
    Table,
    /// An array of tables; at most so many.
    Tables(usize),
}

impl Kind {
    /// The kind in words.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Text | Self::Choice(_) => "string",
            Self::Texts => "array of strings",
            Self::TextOrTexts => "string or array of strings",
            Self::TextOrTable => "string or table",
            Self::Count(_) => "integer",
            Self::Switch => "boolean",
            Self::Duration => "duration",
            Self::Table => "table",
            Self::Tables(_) => "array of tables",
        }
    }
}

impl Key {
    /// The path of the table that it stands in; empty at the top.
    #[must_use]
    pub fn table(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// The last part of its path: what is written before the `=`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }
}

/// The key of this name in the table of this path.
#[must_use]
pub fn find(table: &str, name: &str) -> Option<&'static Key> {
    in_table(table).find(|key| key.name() == name)
}

/// The keys of a table.
pub fn in_table(table: &str) -> impl Iterator<Item = &'static Key> {
    ALL.iter().filter(move |key| key.table() == table)
}

/// The key that was probably meant by `name`.
#[must_use]
pub fn nearest(table: &str, name: &str) -> Option<&'static Key> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('-', "_");
    in_table(table)
        .map(|key| (strsim::damerau_levenshtein(key.name(), &name), key))
        .filter(|(distance, key)| {
            *distance <= 1 + key.name().len() / 4
                || name.len() >= 4 && (key.name().contains(&name) || name.contains(key.name()))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

/// Comparing costs the product of the lengths, and no key is longer than this.
const NAME_BYTES_MAX: usize = 64;

/// Listeners of a configuration.
pub(super) const LISTENERS_MAX: usize = 64;

/// Identities of a listener.
pub(super) const IDENTITIES_MAX: usize = 1_024;

/// Connections of a worker: as many as the largest table of direct descriptors has places
/// (`IORING_MAX_FIXED_FILES`).
pub(super) const CONNECTIONS: RangeInclusive<usize> = 1..=1_048_576;

/// Verified chains that a worker remembers.
pub(super) const CACHED_CHAINS: RangeInclusive<usize> = 0..=16_777_216;

/// Bytes that they may take.
pub(super) const CACHED_CHAIN_BYTES: RangeInclusive<usize> = 0..=1_099_511_627_776;

/// Sessions that a token is used with.
pub(super) const TOKEN_SESSIONS: RangeInclusive<usize> = 1..=1_024;

/// Operations that wait for a token.
pub(super) const TOKEN_QUEUE: RangeInclusive<usize> = 1..=65_536;

/// Bounds of the fields of `Limits` are known to it alone: `Limits::check`.
const CHECKED_BY_LIMITS: Kind = Kind::Count(0..=usize::MAX);

const fn key(
    path: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    bounds: &'static str,
    example: &'static str,
) -> Key {
    Key { path, kind, default, bounds, example }
}

/// Every key.
#[rustfmt::skip]
pub static ALL: &[Key] = &[
    key("workers", Kind::Count(1..=crate::cpus::WORKERS_MAX), Some("one a CPU"), "1 to 1024", "4"),
    key("cpus", Kind::Text, Some("the affinity mask"), "CPUs that the process may use", r#""0-3""#),
    key("max_connections", Kind::Count(CONNECTIONS), Some("16384, or what the limit of open files allows"), "1 to 1048576", "10000"),
    key("max_handshakes", Kind::Count(CONNECTIONS), Some("4096"), "1 to 1048576", "4096"),
    key("cached_chains", Kind::Count(CACHED_CHAINS), Some("16384"), "0 to 16777216", "16384"),
    key("cached_chain_bytes", Kind::Count(CACHED_CHAIN_BYTES), Some("67108864"), "0 to 1099511627776", "67108864"),
    key("drain_timeout", Kind::Duration, Some(r#""30s""#), "0s to 24h", r#""30s""#),
    key("log_connections", Kind::Choice(&["all", "problems"]), Some(r#""all""#), r#""all" or "problems""#, r#""all""#),

    key("ticket_keys", Kind::TextOrTable, Some("keys of the process' own, replaced and lost with it"), "a file of one key a line, which nobody else may read; or a table with `derive`", r#""ticket-keys""#),
    key("ticket_keys.derive", Kind::Text, None, "a pkcs11: URI of a secret key", r#""pkcs11:token=edge;object=tickets?module-path=/usr/lib/softhsm/libsofthsm2.so""#),
    key("ticket_keys.epoch", Kind::Duration, Some(r#""12h""#), "1s to 720h; the same on every node", r#""12h""#),
    key("ticket_key_lifetime", Kind::Duration, Some(r#""12h""#), "1s to 720h", r#""12h""#),

    key("admin", Kind::Table, Some("no admin endpoint"), "", ""),
    key("admin.listen", Kind::Text, None, "a loopback address and port, or unix:/PATH", r#""127.0.0.1:9100""#),

    key("tokens", Kind::Table, Some("every default"), "", ""),
    key("tokens.module", Kind::Text, Some("what each key's URI names"), "a PKCS#11 module, a shared library", r#""/usr/lib/softhsm/libsofthsm2.so""#),
    key("tokens.pin_source", Kind::Text, Some("what each key's URI names"), "a file, env:NAME or fd:NUMBER", r#""/run/secrets/pin""#),
    key("tokens.isolation", Kind::Choice(&["process", "thread"]), Some(r#""process""#), r#""process" or "thread""#, r#""process""#),
    key("tokens.environment", Kind::Texts, Some("[]"), "at most 64 names of variables", r#"["VENDOR_CONF"]"#),
    key("tokens.max_sessions", Kind::Count(TOKEN_SESSIONS), Some("64"), "1 to 1024", "64"),
    key("tokens.lanes", Kind::Count(TOKEN_SESSIONS), Some("4, or `max_sessions` if that is less"), "1 to `max_sessions`", "4"),
    key("tokens.queue", Kind::Count(TOKEN_QUEUE), Some("1024"), "1 to 65536", "1024"),
    key("tokens.operation_timeout", Kind::Duration, Some(r#""2s""#), "10ms to 60s; shorter than `listener.limits.operation_timeout`", r#""2s""#),
    key("tokens.hedge_after", Kind::Duration, Some("twice what 95 of 100 signatures take, at least 5ms, at most half of `operation_timeout`"), "1ms to `operation_timeout`", r#""20ms""#),
    key("tokens.verify_own", Kind::Choice(&["sampled", "always"]), Some(r#""sampled""#), r#""sampled" or "always""#, r#""always""#),

    key("listener", Kind::Tables(LISTENERS_MAX), None, "1 to 64", "a table [[listener]] with listen, upstream, allow and an identity"),
    key("listener.name", Kind::Text, Some("the text of `listen`"), "1 to 64 letters, digits, `.`, `_`, `-`; unique", r#""partners""#),
    key("listener.listen", Kind::Text, None, "an IP address and port; unique", r#""0.0.0.0:8443""#),
    key("listener.upstream", Kind::Text, None, "HOST:PORT, unix:/PATH or builtin:whoami", r#""127.0.0.1:8080""#),
    key("listener.upstream_plaintext", Kind::Switch, Some("false"), "", "true"),
    key("listener.proxy_protocol", Kind::Choice(&["none", "v1", "v2"]), Some(r#""none""#), r#""none", "v1" or "v2""#, r#""v2""#),
    key("listener.proxy_tlvs", Kind::Texts, Some(r#"["crc32c", "alpn", "authority", "unique_id", "ssl", "ssl_cn", "ssl_cipher", "ssl_sig_alg", "ssl_key_alg", "ssl_group", "ssl_sig_scheme", "identity"]"#), "these, and `ssl_client_cert`; those that begin with `ssl_` need `ssl`", r#"["crc32c", "unique_id", "ssl", "ssl_cn"]"#),
    key("listener.proxy_header_bytes", Kind::Count(PROXY_HEADER_BYTES), Some("4096"), "107 to 65535", "4096"),
    key("listener.proxy_tlv_bytes", Kind::Count(PROXY_TLV_BYTES), Some("1024"), "64 to 65535", "1024"),
    key("listener.proxy_from", Kind::Texts, Some("[]"), "at most 256 IP addresses and ranges of them", r#"["10.0.0.0/24", "2001:db8::7"]"#),
    key("listener.allow", Kind::TextOrTexts, None, "at least one rule; with `deny` at most 10000", r#"["cn=payments-*"]"#),
    key("listener.deny", Kind::TextOrTexts, Some("[]"), "with `allow` at most 10000 rules", r#"["cn=payments-test"]"#),
    key("listener.shadow_allow", Kind::TextOrTexts, Some("the rules of `allow`, where there is `shadow_deny`"), "at least one rule; with `shadow_deny` at most 10000", r#"["cn=payments-* && lifetime<=24h"]"#),
    key("listener.shadow_deny", Kind::TextOrTexts, Some("the rules of `deny`, where there is `shadow_allow`"), "with `shadow_allow` at most 10000 rules", r#"["lifetime>24h"]"#),
    key("listener.strict_sni", Kind::Switch, Some("false"), "", "true"),
    key("listener.alpn", Kind::Texts, Some("[]"), "at most 32 names of 1 to 255 bytes", r#"["http/1.1"]"#),
    key("listener.ca_names", Kind::Choice(&["all", "none"]), Some(r#""all""#), r#""all" or "none""#, r#""all""#),
    key("listener.versions", Kind::Texts, Some(r#"["1.3", "1.2"]"#), r#""1.3" and "1.2""#, r#"["1.3"]"#),
    key("listener.suites", Kind::Texts, Some("all, AES first where the CPU has instructions for it"), "names of OpenSSL or IANA, in the server's order", r#"["TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"]"#),
    key("listener.groups", Kind::Texts, Some(r#"["X25519MLKEM768", "X25519", "P-256", "P-384"]"#), "these four, in the server's order", r#"["X25519", "P-256"]"#),
    key("listener.tickets", Kind::Count(0..=countersign_proto::limits::TICKETS_MAX), Some("1"), "0 to 4", "1"),
    key("listener.ticket_lifetime", Kind::Duration, Some(r#""12h""#), "1s to 168h", r#""12h""#),
    key("listener.ticket_lineage", Kind::Duration, Some(r#""24h""#), "1s to 720h", r#""24h""#),
    key("listener.max_connections", Kind::Count(CONNECTIONS), Some("no bound of its own"), "1 to 1048576", "5000"),
    key("listener.on_revoked", Kind::Choice(&["close", "drain", "keep"]), Some(r#""close""#), r#""close", "drain" or "keep""#, r#""drain""#),
    key("listener.on_expired", Kind::Choice(&["close", "drain", "keep"]), Some(r#""close""#), r#""close", "drain" or "keep""#, r#""keep""#),

    key("listener.limits", Kind::Table, Some("every default"), "", ""),
    key("listener.limits.client_hello_bytes", CHECKED_BY_LIMITS, Some("16384"), "512 to 61440", "16384"),
    key("listener.limits.chain_certificates", CHECKED_BY_LIMITS, Some("8"), "1 to 16", "8"),
    key("listener.limits.chain_bytes", CHECKED_BY_LIMITS, Some("32768"), "1024 to 61440", "32768"),
    key("listener.limits.relay_bytes", CHECKED_BY_LIMITS, Some("65536"), "18437 to 4194304", "65536"),
    key("listener.limits.drain_bytes", CHECKED_BY_LIMITS, Some("65536"), "18437 to 4194304", "65536"),
    key("listener.limits.drains", CHECKED_BY_LIMITS, Some("1024"), "1 to 1048576", "1024"),
    key("listener.limits.signing_suspensions", CHECKED_BY_LIMITS, Some("512"), "1 to 4096", "512"),
    key("listener.limits.lookup_suspensions", CHECKED_BY_LIMITS, Some("256"), "1 to 4096", "256"),
    key("listener.limits.handshake_timeout", Kind::Duration, Some(r#""10s""#), "10ms to 600s", r#""10s""#),
    key("listener.limits.operation_timeout", Kind::Duration, Some(r#""5s""#), "10ms to 600s", r#""5s""#),
    key("listener.limits.connect_timeout", Kind::Duration, Some(r#""5s""#), "10ms to 600s", r#""5s""#),
    key("listener.limits.idle_timeout", Kind::Duration, Some(r#""5m""#), "10ms to 168h", r#""5m""#),
    key("listener.limits.half_closed_timeout", Kind::Duration, Some(r#""30s""#), "10ms to 168h", r#""30s""#),
    key("listener.limits.drain_timeout", Kind::Duration, Some(r#""2s""#), "10ms to 60s", r#""2s""#),
    key("listener.limits.withdrawal_timeout", Kind::Duration, Some(r#""30s""#), "10ms to 168h", r#""30s""#),

    key("listener.identity", Kind::Tables(IDENTITIES_MAX), None, "1 to 1024", "a table [[listener.identity]] with certificate, key and client_ca"),
    key("listener.identity.server_names", Kind::TextOrTexts, Some("[]"), "DNS names, `*` only as a whole first label; unique in a listener", r#"["partners.example.org"]"#),
    key("listener.identity.certificate", Kind::Text, None, "a PEM file", r#""partners.pem""#),
    key("listener.identity.key", Kind::TextOrTexts, None, "the certificate's key: a PEM file, or 1 to 16 pkcs11: URIs", r#""partners.key""#),
    key("listener.identity.client_ca", Kind::Text, Some(r#"none; required unless `client_auth = "none"`"#), "a PEM file", r#""clients-ca.pem""#),
    key("listener.identity.trust_domain", Kind::Text, Some("no name"), "1 to 64 letters, digits, `.`, `_`, `-`; of one `client_ca` only", r#""clients""#),
    key("listener.identity.client_auth", Kind::Choice(&["require", "optional", "none"]), Some(r#""require""#), r#""require", "optional" or "none""#, r#""require""#),
    key("listener.identity.crl", Kind::TextOrTexts, Some("[]"), "files, directories with a `/` at the end, http and https URLs; at most 64", r#"["crls/"]"#),
    key("listener.identity.crl_refresh", Kind::Duration, Some(r#""1h""#), "1s to 168h", r#""1h""#),
    key("listener.identity.crl_distribution_points", Kind::Switch, Some("false"), "", "true"),
    key("listener.identity.crl_unknown", Kind::Choice(&["refuse", "allow"]), Some(r#""refuse""#), r#""refuse" or "allow""#, r#""refuse""#),
    key("listener.identity.crl_expired", Kind::Choice(&["fail_closed", "fail_open"]), Some(r#""fail_closed""#), r#""fail_closed" or "fail_open""#, r#""fail_closed""#),
    key("listener.identity.crl_grace", Kind::Duration, Some(r#""0s""#), "0s to 720h", r#""24h""#),
    key("listener.identity.shadow_crl", Kind::TextOrTexts, Some("[]"), "as `crl`", r#"["next-crls/"]"#),
    key("listener.identity.ocsp", Kind::Choice(&["off", "on"]), Some(r#""off""#), r#""off" or "on""#, r#""on""#),
    key("listener.identity.ocsp_responder", Kind::Text, Some("who the client's certificate names, with `ocsp_from_certificate`"), "an http URL", r#""http://ocsp.example.org/""#),
    key("listener.identity.ocsp_from_certificate", Kind::Switch, Some("false"), "", "true"),
    key("listener.identity.ocsp_hash", Kind::Choice(&["sha1", "sha256"]), Some(r#""sha1""#), r#""sha1" or "sha256""#, r#""sha256""#),
    key("listener.identity.ocsp_nonce", Kind::Choice(&["off", "prefer", "require"]), Some(r#""off""#), r#""off", "prefer" or "require""#, r#""prefer""#),
    key("listener.identity.ocsp_timeout", Kind::Duration, Some(r#""3s""#), "10ms to 60s; shorter than `operation_timeout`", r#""2s""#),
    key("listener.identity.ocsp_no_answer", Kind::Choice(&["fail_closed", "fail_open"]), Some(r#""fail_closed""#), r#""fail_closed" or "fail_open""#, r#""fail_closed""#),
    key("listener.identity.ocsp_max_age", Kind::Duration, Some(r#""1h""#), "1s to 168h", r#""15m""#),
    key("listener.identity.ocsp_staple", Kind::Choice(&["off", "on"]), Some("on for a must-staple certificate, else off"), r#""off" or "on""#, r#""on""#),
    key("listener.identity.ocsp_staple_responder", Kind::Text, Some("who the certificate names"), "an http URL", r#""http://ocsp.example.org/""#),
    key("listener.identity.ocsp_staple_file", Kind::Text, Some("none; it is fetched"), "a file with an OCSPResponse, DER", r#""partners.ocsp""#),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_was_meant_is_found() {
        for (table, typed, meant) in [
            ("", "worker", "workers"),
            ("", "max-connections", "max_connections"),
            ("listener", "Listen", "listen"),
            ("listener", "allowed", "allow"),
            ("listener", "proxy_protcol", "proxy_protocol"),
            ("listener.identity", "cert", "certificate"),
            ("listener.identity", "server_name", "server_names"),
            ("listener.limits", "idel_timeout", "idle_timeout"),
        ] {
            assert_eq!(nearest(table, typed).map(Key::name), Some(meant), "{typed}");
        }
        assert!(nearest("listener", "colour").is_none());
        assert!(nearest("listener", &"l".repeat(100_000)).is_none());
    }

    #[test]
    fn every_table_of_a_key_is_a_key_itself() {
        for key in ALL.iter().filter(|key| !key.table().is_empty()) {
            let table = ALL.iter().find(|other| other.path == key.table()).expect(key.path);
            assert!(
                matches!(table.kind, Kind::Table | Kind::Tables(_) | Kind::TextOrTable),
                "{}",
                key.path
            );
        }
    }
}
