//! What a listener negotiates: versions, suites, groups, application protocols.

use countersign_proto::{Groups, TlsVersion};
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite as suite, kx_group};
use rustls::{NamedGroup, ProtocolVersion, SupportedCipherSuite};

use crate::config::TlsConfig;
use crate::config::errors::{At, Problems, quoted};
use crate::config::raw::RawListener;

/// Application protocols of a listener.
const ALPN_MAX: usize = 32;

/// The length of a protocol's name is one byte on the wire (RFC 7301 §3.1).
const ALPN_BYTES_MAX: usize = 255;

/// Names of OpenSSL and of IANA; the suites of TLS 1.3 have only one.
static SUITES: [(&str, &str, SupportedCipherSuite); 9] = [
    ("TLS_AES_128_GCM_SHA256", "", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", "", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", "", suite::TLS13_CHACHA20_POLY1305_SHA256),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// The name that is shown first, then others that people use.
static GROUPS: [(&[&str], &dyn SupportedKxGroup); 4] = [
    (&["X25519MLKEM768"], kx_group::X25519MLKEM768),
    (&["X25519"], kx_group::X25519),
    (&["P-256", "secp256r1", "prime256v1"], kx_group::SECP256R1),
    (&["P-384", "secp384r1"], kx_group::SECP384R1),
];

/// What a listener negotiates; `None` if something is wrong with it.
pub(super) fn resolve(raw: &RawListener, problems: &mut Problems<'_>) -> Option<TlsConfig> {
    let mut tls = TlsConfig {
        ca_names: raw.ca_names.as_ref().is_none_or(|at| at.value == "all"),
        ..TlsConfig::default()
    };
    let versions = choose(raw.versions.as_ref(), "version", problems, |text| match text {
        "1.3" => Ok(TlsVersion::Tls13),
        "1.2" => Ok(TlsVersion::Tls12),
        _ => Err(format!("{} is no version that is spoken; there are 1.3 and 1.2", quoted(text))),
    });
    let suites = choose(raw.suites.as_ref(), "suite", problems, known_suite);
    let groups = choose(raw.groups.as_ref(), "group", problems, known_group);
    alpn(raw, &mut tls, problems);
    let (versions, suites, groups) = (versions?, suites?, groups?);
    if let Some(mut versions) = versions {
        versions.sort_by(|one, other| other.cmp(one));
        tls.versions = versions;
    }
    let defaults = (std::mem::take(&mut tls.suites), std::mem::take(&mut tls.groups));
    tls.suites = match suites {
        Some(suites) => {
            check_suites(raw, &tls, &suites, problems)?;
            suites
        }
        None => {
            defaults.0.into_iter().filter(|suite| tls.versions.contains(&version(suite))).collect()
        }
    };
    tls.groups = match groups {
        Some(groups) => {
            check_groups(raw, &tls, &groups, problems)?;
            groups
        }
        None => defaults.1.into_iter().filter(|group| is_usable(*group, &tls.versions)).collect(),
    };
    Some(tls)
}

/// The version that a suite is of.
pub(super) fn version(suite: &SupportedCipherSuite) -> TlsVersion {
    match suite {
        SupportedCipherSuite::Tls13(_) => TlsVersion::Tls13,
        SupportedCipherSuite::Tls12(_) => TlsVersion::Tls12,
    }
}

/// Reads a list of names without repetition. `Some(None)` if there is no list, `None` if one is wrong.
fn choose<T>(
    list: Option<&At<Vec<At<String>>>>,
    noun: &str,
    problems: &mut Problems<'_>,
    known: impl Fn(&str) -> Result<T, String>,
) -> Option<Option<Vec<T>>> {
    let Some(list) = list else { return Some(None) };
    if list.value.is_empty() {
        problems.error(
            &list.spot,
            format_args!("there is no {noun} in it; leave the key out to have the default"),
        );
        return None;
    }
    let mut chosen = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for at in &list.value {
        if names.contains(&at.value.as_str()) {
            problems.error(&at.spot, format_args!("{} stands twice; keep one", quoted(&at.value)));
            continue;
        }
        // Longer than everything that is known: the rest is not looked at.
        if names.len() > 2 * SUITES.len() {
            break;
        }
        names.push(&at.value);
        chosen.extend(problems.keep(&at.spot, known(&at.value)));
    }
    (chosen.len() == list.value.len()).then_some(Some(chosen))
}

fn known_suite(text: &str) -> Result<SupportedCipherSuite, String> {
    let found = SUITES.iter().find(|(openssl, iana, _)| {
        openssl.eq_ignore_ascii_case(text) || !text.is_empty() && iana.eq_ignore_ascii_case(text)
    });
    found.map(|(_, _, suite)| *suite).ok_or_else(|| {
        let names: Vec<_> = SUITES.iter().map(|(openssl, _, _)| *openssl).collect();
        format!("{} is no suite that is spoken; there are {}", quoted(text), names.join(", "))
    })
}

fn known_group(text: &str) -> Result<&'static dyn SupportedKxGroup, String> {
    let found =
        GROUPS.iter().find(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(text)));
    found.map(|(_, group)| *group).ok_or_else(|| {
        let names: Vec<_> = GROUPS.iter().map(|(names, _)| names[0]).collect();
        format!("{} is no group that is spoken; there are {}", quoted(text), names.join(", "))
    })
}

/// Every suite is of a version that is spoken, and every version has a suite.
fn check_suites(
    raw: &RawListener,
    tls: &TlsConfig,
    suites: &[SupportedCipherSuite],
    problems: &mut Problems<'_>,
) -> Option<()> {
    let list = raw.suites.as_ref()?;
    let mut together = Some(());
    for (at, suite) in list.value.iter().zip(suites) {
        let of = version(suite);
        if !tls.versions.contains(&of) {
            let number = number(of);
            problems.error(
                &at.spot,
                format_args!(
                    "{} is a suite of TLS {number}, which is not among the versions; take it out, or add \"{number}\" to versions",
                    quoted(&at.value)
                ),
            );
            together = None;
        }
    }
    for of in &tls.versions {
        if suites.iter().any(|suite| version(suite) == *of) {
            continue;
        }
        let number = number(*of);
        let example = match of {
            TlsVersion::Tls13 => "TLS_AES_128_GCM_SHA256",
            TlsVersion::Tls12 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        };
        let versions: Vec<_> = tls.versions.iter().filter(|other| *other != of).collect();
        let without: Vec<_> =
            versions.iter().map(|version| format!("\"{}\"", self::number(**version))).collect();
        let or = match without.as_slice() {
            [] => String::new(),
            names => format!(", or say `versions = [{}]`", names.join(", ")),
        };
        problems.error(
            &list.spot,
            format_args!("there is no suite of TLS {number} in it; add one such as {example}{or}"),
        );
        together = None;
    }
    together
}

/// Every version has a group, and every group a version.
fn check_groups(
    raw: &RawListener,
    tls: &TlsConfig,
    groups: &Groups,
    problems: &mut Problems<'_>,
) -> Option<()> {
    let list = raw.groups.as_ref()?;
    let mut together = Some(());
    for of in &tls.versions {
        if !groups.iter().any(|group| is_usable(*group, &[*of])) {
            problems.error(
                &list.spot,
                format_args!(
                    "there is no group for TLS {} in it (X25519MLKEM768 is for TLS 1.3 alone); add X25519 or P-256",
                    number(*of)
                ),
            );
            together = None;
        }
    }
    together?;
    for (at, group) in list.value.iter().zip(groups) {
        if !is_usable(*group, &tls.versions) {
            problems.error(
                &at.spot,
                format_args!(
                    "{} is for TLS 1.3, which is not among the versions; take it out, or add \"1.3\" to versions",
                    quoted(&at.value)
                ),
            );
            together = None;
        }
    }
    together
}

/// The hybrid group exists in TLS 1.3 only.
fn is_usable(group: &dyn SupportedKxGroup, versions: &[TlsVersion]) -> bool {
    let is_hybrid = group.name() == NamedGroup::X25519MLKEM768;
    versions.iter().any(|version| match version {
        TlsVersion::Tls13 => group.usable_for_version(ProtocolVersion::TLSv1_3),
        TlsVersion::Tls12 => !is_hybrid && group.usable_for_version(ProtocolVersion::TLSv1_2),
    })
}

fn alpn(raw: &RawListener, tls: &mut TlsConfig, problems: &mut Problems<'_>) {
    let Some(list) = &raw.alpn else { return };
    if list.value.len() > ALPN_MAX {
        let count = list.value.len();
        problems.error(&list.spot, format_args!("there are {count}; there may be {ALPN_MAX}"));
        return;
    }
    for At { value, spot } in &list.value {
        let name = value.as_bytes();
        if name.is_empty() || name.len() > ALPN_BYTES_MAX {
            let count = name.len();
            problems.error(
                spot,
                format_args!("it has {count} bytes; a protocol's name has 1 to {ALPN_BYTES_MAX}, as \"h2\" or \"http/1.1\""),
            );
        } else if tls.alpn.iter().any(|known| known == name) {
            problems.error(spot, format_args!("{} stands twice; keep one", quoted(value)));
        } else {
            tls.alpn.push(name.to_vec());
        }
    }
}

/// The version as it is written in a file.
fn number(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls13 => "1.3",
        TlsVersion::Tls12 => "1.2",
    }
}
