//! What was typed, in a file or on the command line: every value with its place, nothing resolved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_proto::Limits;

use super::errors::{At, Spot};
use super::section::{Section, TextOrSection};

/// A whole configuration.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) workers: Option<At<usize>>,
    pub(super) cpus: Option<At<String>>,
    pub(super) max_connections: Option<At<usize>>,
    pub(super) max_handshakes: Option<At<usize>>,
    pub(super) cached_chains: Option<At<usize>>,
    pub(super) cached_chain_bytes: Option<At<usize>>,
    pub(super) drain_timeout: Option<At<Duration>>,
    pub(super) log_connections: Option<At<String>>,
    pub(super) ticket_keys: Option<RawTicketKeys>,
    pub(super) ticket_key_lifetime: Option<At<Duration>>,
    pub(super) admin: Option<At<String>>,
    pub(super) tokens: RawTokens,
    pub(super) listeners: Vec<RawListener>,
}

/// Where ticket keys come from.
#[derive(Debug)]
pub(super) enum RawTicketKeys {
    File(At<PathBuf>),
    /// A `pkcs11:` URI where a path should be.
    Uri(Spot),
    Token {
        derive: Option<At<String>>,
        epoch: Option<At<Duration>>,
    },
}

/// How tokens are spoken to. Paths are as they are to be opened.
#[derive(Debug, Default)]
pub(super) struct RawTokens {
    pub(super) module: Option<At<PathBuf>>,
    pub(super) pin_source: Option<At<String>>,
    pub(super) isolation: Option<At<String>>,
    pub(super) environment: Option<At<Vec<At<String>>>>,
    pub(super) max_sessions: Option<At<usize>>,
    pub(super) lanes: Option<At<usize>>,
    pub(super) queue: Option<At<usize>>,
    pub(super) operation_timeout: Option<At<Duration>>,
    pub(super) hedge_after: Option<At<Duration>>,
    pub(super) verify_own: Option<At<String>>,
}

/// Where an identity's key is.
#[derive(Debug)]
pub(super) enum RawKey {
    File(PathBuf),
    /// URIs of PKCS#11 (RFC 7512), of the same key in one token or several.
    Tokens(Vec<At<String>>),
    /// Neither: several, of which this is no URI. Or none at all.
    Neither(Option<At<String>>),
}

/// A listener. On the command line it has several addresses.
#[derive(Debug, Default)]
pub(super) struct RawListener {
    pub(super) spot: Spot,
    pub(super) name: Option<At<String>>,
    pub(super) listen: Vec<At<String>>,
    pub(super) upstream: Option<At<String>>,
    pub(super) upstream_plaintext: bool,
    pub(super) proxy_protocol: Option<At<String>>,
    pub(super) proxy_tlvs: Option<At<Vec<At<String>>>>,
    pub(super) proxy_header_bytes: Option<At<usize>>,
    pub(super) proxy_tlv_bytes: Option<At<usize>>,
    pub(super) proxy_from: Option<At<Vec<At<String>>>>,
    pub(super) allow: Option<At<Vec<At<String>>>>,
    pub(super) deny: Option<At<Vec<At<String>>>>,
    pub(super) shadow_allow: Option<At<Vec<At<String>>>>,
    pub(super) shadow_deny: Option<At<Vec<At<String>>>>,
    pub(super) strict_sni: bool,
    pub(super) alpn: Option<At<Vec<At<String>>>>,
    pub(super) ca_names: Option<At<String>>,
    pub(super) versions: Option<At<Vec<At<String>>>>,
    pub(super) suites: Option<At<Vec<At<String>>>>,
    pub(super) groups: Option<At<Vec<At<String>>>>,
    pub(super) tickets: Option<At<usize>>,
    pub(super) ticket_lifetime: Option<At<Duration>>,
    pub(super) ticket_lineage: Option<At<Duration>>,
    pub(super) max_connections: Option<At<usize>>,
    pub(super) on_revoked: Option<At<String>>,
    pub(super) on_expired: Option<At<String>>,
    pub(super) limits: RawLimits,
    pub(super) identities: Vec<RawIdentity>,
}

/// Limits, and where those were said that are not the defaults.
#[derive(Debug, Default)]
pub(super) struct RawLimits {
    pub(super) values: Limits,
    pub(super) spots: BTreeMap<&'static str, Spot>,
}

/// An identity.
#[derive(Debug, Default)]
pub(super) struct RawIdentity {
    pub(super) spot: Spot,
    pub(super) server_names: Vec<At<String>>,
    pub(super) certificate: Option<At<PathBuf>>,
    pub(super) key: Option<At<RawKey>>,
    pub(super) client_ca: Option<At<PathBuf>>,
    pub(super) trust_domain: Option<At<String>>,
    pub(super) client_auth: Option<At<String>>,
    pub(super) revocation: RawRevocation,
    pub(super) ocsp: RawOcsp,
    /// Keys whose value is not known though they were written: nothing follows from their absence.
    pub(super) spoilt: Vec<&'static str>,
}

/// What an identity says of revocation lists. Paths are as they are to be opened.
#[derive(Debug, Default)]
pub(super) struct RawRevocation {
    pub(super) crl: Option<At<Vec<At<String>>>>,
    pub(super) shadow_crl: Option<At<Vec<At<String>>>>,
    pub(super) refresh: Option<At<Duration>>,
    pub(super) distribution_points: Option<At<bool>>,
    pub(super) unknown: Option<At<String>>,
    pub(super) expired: Option<At<String>>,
    pub(super) grace: Option<At<Duration>>,
}

/// What an identity says of OCSP.
#[derive(Debug, Default)]
pub(super) struct RawOcsp {
    pub(super) clients: Option<At<String>>,
    pub(super) responder: Option<At<String>>,
    pub(super) from_certificate: Option<At<bool>>,
    pub(super) hash: Option<At<String>>,
    pub(super) nonce: Option<At<String>>,
    pub(super) timeout: Option<At<Duration>>,
    pub(super) no_answer: Option<At<String>>,
    pub(super) max_age: Option<At<Duration>>,
    pub(super) staple: Option<At<String>>,
    pub(super) staple_responder: Option<At<String>>,
    pub(super) staple_file: Option<At<PathBuf>>,
}

impl Raw {
    /// Out of a file. Paths in it are relative to `directory`.
    pub(super) fn read(mut root: Section, directory: &Path) -> Self {
        Self {
            workers: root.count("workers"),
            cpus: root.text("cpus"),
            max_connections: root.count("max_connections"),
            max_handshakes: root.count("max_handshakes"),
            cached_chains: root.count("cached_chains"),
            cached_chain_bytes: root.count("cached_chain_bytes"),
            drain_timeout: root.duration("drain_timeout"),
            log_connections: root.text("log_connections"),
            ticket_keys: root
                .text_or_section("ticket_keys")
                .map(|value| RawTicketKeys::read(value, directory)),
            ticket_key_lifetime: root.duration("ticket_key_lifetime"),
            admin: root.sections("admin").pop().and_then(|mut admin| admin.text("listen")),
            tokens: root
                .sections("tokens")
                .pop()
                .map(|section| RawTokens::read(section, directory))
                .unwrap_or_default(),
            listeners: root
                .sections("listener")
                .into_iter()
                .map(|section| RawListener::read(section, directory))
                .collect(),
        }
    }
}

impl RawTicketKeys {
    fn read(value: TextOrSection, directory: &Path) -> Self {
        match value {
            TextOrSection::Text(at) if at.value.starts_with("pkcs11:") => Self::Uri(at.spot),
            TextOrSection::Text(at) => {
                Self::File(At { value: directory.join(at.value), spot: at.spot })
            }
            TextOrSection::Section(mut section) => {
                Self::Token { derive: section.text("derive"), epoch: section.duration("epoch") }
            }
        }
    }
}

impl RawTokens {
    fn read(mut section: Section, directory: &Path) -> Self {
        Self {
            module: section
                .text("module")
                .map(|at| At { value: absolute(directory, &at.value), spot: at.spot }),
            pin_source: section.text("pin_source").map(|mut at| {
                if !["env:", "fd:", "file:"].iter().any(|scheme| at.value.starts_with(scheme)) {
                    at.value = absolute(directory, &at.value).display().to_string();
                }
                at
            }),
            isolation: section.text("isolation"),
            environment: section.texts("environment"),
            max_sessions: section.count("max_sessions"),
            lanes: section.count("lanes"),
            queue: section.count("queue"),
            operation_timeout: section.duration("operation_timeout"),
            hedge_after: section.duration("hedge_after"),
            verify_own: section.text("verify_own"),
        }
    }
}

impl RawKey {
    /// The scheme by which a key in a token is told from a file.
    const SCHEME: &str = "pkcs11:";

    pub(super) fn of(mut written: Vec<At<String>>, directory: &Path) -> Self {
        let is_file = |at: &At<String>| {
            let scheme = at.value.get(..Self::SCHEME.len());
            !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(Self::SCHEME))
        };
        match (written.iter().position(is_file), written.len()) {
            (Some(_), 1) => Self::File(directory.join(written.swap_remove(0).value)),
            (Some(file), _) => Self::Neither(Some(written.swap_remove(file))),
            (None, 0) => Self::Neither(None),
            (None, _) => Self::Tokens(written),
        }
    }
}

impl RawListener {
    fn read(mut section: Section, directory: &Path) -> Self {
        Self {
            name: section.text("name"),
            listen: section.text("listen").into_iter().collect(),
            upstream: section.text("upstream"),
            upstream_plaintext: section.switch("upstream_plaintext").is_some_and(|at| at.value),
            proxy_protocol: section.text("proxy_protocol"),
            proxy_tlvs: section.texts("proxy_tlvs"),
            proxy_header_bytes: section.count("proxy_header_bytes"),
            proxy_tlv_bytes: section.count("proxy_tlv_bytes"),
            proxy_from: section.texts("proxy_from"),
            allow: section.texts("allow"),
            deny: section.texts("deny"),
            shadow_allow: section.texts("shadow_allow"),
            shadow_deny: section.texts("shadow_deny"),
            strict_sni: section.switch("strict_sni").is_some_and(|at| at.value),
            alpn: section.texts("alpn"),
            ca_names: section.text("ca_names"),
            versions: section.texts("versions"),
            suites: section.texts("suites"),
            groups: section.texts("groups"),
            tickets: section.count("tickets"),
            ticket_lifetime: section.duration("ticket_lifetime"),
            ticket_lineage: section.duration("ticket_lineage"),
            max_connections: section.count("max_connections"),
            on_revoked: section.text("on_revoked"),
            on_expired: section.text("on_expired"),
            limits: section.sections("limits").pop().map(RawLimits::read).unwrap_or_default(),
            identities: section
                .sections("identity")
                .into_iter()
                .map(|section| RawIdentity::read(section, directory))
                .collect(),
            spot: section.spot,
        }
    }
}

impl RawIdentity {
    fn read(mut section: Section, directory: &Path) -> Self {
        let path = |at: At<String>| At { value: directory.join(at.value), spot: at.spot };
        Self {
            server_names: section.texts("server_names").map(|at| at.value).unwrap_or_default(),
            certificate: section.text("certificate").map(path),
            key: section
                .texts("key")
                .map(|at| At { value: RawKey::of(at.value, directory), spot: at.spot }),
            client_ca: section.text("client_ca").map(path),
            trust_domain: section.text("trust_domain"),
            client_auth: section.text("client_auth"),
            revocation: RawRevocation::read(&mut section, directory),
            ocsp: RawOcsp::read(&mut section, directory),
            spoilt: section.spoilt,
            spot: section.spot,
        }
    }
}

impl RawRevocation {
    fn read(section: &mut Section, directory: &Path) -> Self {
        Self {
            crl: section.texts("crl").map(|at| places(at, directory)),
            shadow_crl: section.texts("shadow_crl").map(|at| places(at, directory)),
            refresh: section.duration("crl_refresh"),
            distribution_points: section.switch("crl_distribution_points"),
            unknown: section.text("crl_unknown"),
            expired: section.text("crl_expired"),
            grace: section.duration("crl_grace"),
        }
    }
}

impl RawOcsp {
    fn read(section: &mut Section, directory: &Path) -> Self {
        Self {
            clients: section.text("ocsp"),
            responder: section.text("ocsp_responder"),
            from_certificate: section.switch("ocsp_from_certificate"),
            hash: section.text("ocsp_hash"),
            nonce: section.text("ocsp_nonce"),
            timeout: section.duration("ocsp_timeout"),
            no_answer: section.text("ocsp_no_answer"),
            max_age: section.duration("ocsp_max_age"),
            staple: section.text("ocsp_staple"),
            staple_responder: section.text("ocsp_staple_responder"),
            staple_file: section
                .text("ocsp_staple_file")
                .map(|at| At { value: directory.join(at.value), spot: at.spot }),
        }
    }
}

/// Whoever is told of it may be in another directory.
fn absolute(directory: &Path, path: &str) -> PathBuf {
    let path = directory.join(path);
    std::path::absolute(&path).unwrap_or(path)
}

/// Paths among URLs, relative to `directory`.
fn places(mut at: At<Vec<At<String>>>, directory: &Path) -> At<Vec<At<String>>> {
    for place in &mut at.value {
        if !place.value.contains("://") {
            place.value = directory.join(&place.value).display().to_string();
        }
    }
    at
}

impl RawLimits {
    fn read(mut section: Section) -> Self {
        let mut values = Limits::default();
        // Without `..`: a limit that is new there is missed here.
        let Limits {
            client_hello_bytes,
            chain_certificates,
            chain_bytes,
            relay_bytes,
            drain_bytes,
            drains,
            signing_suspensions,
            lookup_suspensions,
            handshake_timeout,
            operation_timeout,
            connect_timeout,
            idle_timeout,
            half_closed_timeout,
            drain_timeout,
            withdrawal_timeout,
        } = &mut values;
        let mut spots = BTreeMap::new();
        for (name, limit) in [
            ("client_hello_bytes", client_hello_bytes),
            ("chain_certificates", chain_certificates),
            ("chain_bytes", chain_bytes),
            ("relay_bytes", relay_bytes),
            ("drain_bytes", drain_bytes),
            ("drains", drains),
            ("signing_suspensions", signing_suspensions),
            ("lookup_suspensions", lookup_suspensions),
        ] {
            if let Some(At { value, spot }) = section.count(name) {
                *limit = value;
                spots.insert(name, spot);
            }
        }
        for (name, limit) in [
            ("handshake_timeout", handshake_timeout),
            ("operation_timeout", operation_timeout),
            ("connect_timeout", connect_timeout),
            ("idle_timeout", idle_timeout),
            ("half_closed_timeout", half_closed_timeout),
            ("drain_timeout", drain_timeout),
            ("withdrawal_timeout", withdrawal_timeout),
        ] {
            if let Some(At { value, spot }) = section.duration(name) {
                *limit = value;
                spots.insert(name, spot);
            }
        }
        Self { values, spots }
    }
}
