//! Where an identity's revocation lists come from. They are read when the engine starts, not here.

use std::path::PathBuf;
use std::time::Duration;

use countersign_proto::ClientAuth;
use countersign_proto::revocation::{OnExpired, OnUnknown, RevocationPolicy};

use super::credentials;
use crate::config::errors::{At, Problems, quoted};
use crate::config::raw::RawRevocation;
use crate::config::{ListSource, RevocationConfig};

/// Sources of an identity, of either kind.
const SOURCES_MAX: usize = 64;

/// The longest URL.
const URL_BYTES_MAX: usize = 2_048;

const REFRESH: Duration = Duration::from_secs(3_600);
const REFRESH_MIN: Duration = Duration::from_secs(1);
const REFRESH_MAX: Duration = Duration::from_secs(168 * 3_600);
const GRACE_MAX: Duration = Duration::from_secs(720 * 3_600);

/// `Some(None)` if revocation is not checked, `None` if something is wrong.
pub(super) fn resolve(
    raw: &RawRevocation,
    client_auth: ClientAuth,
    problems: &mut Problems<'_>,
) -> Option<Option<RevocationConfig>> {
    let live = sources(raw.crl.as_ref(), problems);
    let shadow = sources(raw.shadow_crl.as_ref(), problems);
    let refresh = within(raw.refresh.as_ref(), REFRESH, REFRESH_MIN, REFRESH_MAX, problems);
    let grace = within(raw.grace.as_ref(), Duration::ZERO, Duration::ZERO, GRACE_MAX, problems);
    let says = |at: &Option<At<String>>, word: &str| at.as_ref().is_some_and(|at| at.value == word);
    let fails_open = says(&raw.expired, "fail_open");
    if let Some(at) = raw.grace.as_ref().filter(|at| fails_open && !at.value.is_zero()) {
        problems.warning(
            &at.spot,
            "it has no effect: with crl_expired = \"fail_open\" a list that is out of date is not waited for",
        );
    }
    let config = RevocationConfig {
        sources: live?,
        shadow: shadow?,
        refresh: refresh?,
        follows_points: raw.distribution_points.as_ref().is_some_and(|at| at.value),
        policy: RevocationPolicy {
            unknown: if says(&raw.unknown, "allow") { OnUnknown::Allow } else { OnUnknown::Refuse },
            expired: match grace? {
                _ if fails_open => OnExpired::FailOpen,
                grace => OnExpired::FailClosed { grace_seconds: grace.as_secs() },
            },
        },
    };
    let is_asked = config.decides() || !config.shadow.is_empty();
    warn_without_effect(raw, is_asked, client_auth, problems);
    Some((is_asked && client_auth != ClientAuth::None).then_some(config))
}

fn warn_without_effect(
    raw: &RawRevocation,
    is_asked: bool,
    client_auth: ClientAuth,
    problems: &mut Problems<'_>,
) {
    let lists = [&raw.crl, &raw.shadow_crl].into_iter().flatten().map(|at| &at.spot);
    let further = [&raw.unknown, &raw.expired].into_iter().flatten().map(|at| &at.spot);
    let times = [&raw.refresh, &raw.grace].into_iter().flatten().map(|at| &at.spot);
    if client_auth == ClientAuth::None {
        for spot in lists {
            problems.warning(
                spot,
                "it has no effect: with client_auth = \"none\" no client is asked for a certificate",
            );
        }
    } else if !is_asked {
        for spot in further.chain(times) {
            problems.warning(spot, "it has no effect: there is no `crl` to check clients against");
        }
    }
}

fn sources(
    at: Option<&At<Vec<At<String>>>>,
    problems: &mut Problems<'_>,
) -> Option<Vec<ListSource>> {
    let Some(at) = at else { return Some(Vec::new()) };
    if at.value.len() > SOURCES_MAX {
        problems.error(
            &at.spot,
            format_args!(
                "there are {} of them; there may be {SOURCES_MAX} at most",
                at.value.len()
            ),
        );
        return None;
    }
    let sources: Vec<_> = at.value.iter().filter_map(|at| source(at, problems)).collect();
    (sources.len() == at.value.len()).then_some(sources)
}

fn source(at: &At<String>, problems: &mut Problems<'_>) -> Option<ListSource> {
    let text = &at.value;
    if text.contains("://") {
        let has_scheme = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !has_scheme || !is_plain || text.len() > URL_BYTES_MAX {
            problems.error(
                &at.spot,
                format_args!(
                    "{} cannot be fetched; write http://HOST/PATH or https://HOST/PATH, {URL_BYTES_MAX} bytes at most, without spaces",
                    quoted(text)
                ),
            );
            return None;
        }
        return Some(ListSource::Url(text.clone()));
    }
    let path = PathBuf::from(text);
    match path.metadata() {
        Ok(found) if found.is_dir() => Some(ListSource::Directory(path)),
        Ok(found) if found.is_file() && !text.ends_with('/') => Some(ListSource::File(path)),
        Ok(_) => {
            let path = credentials::path(&path);
            problems.error(&at.spot, format_args!("{path} is neither a file nor a directory"));
            None
        }
        Err(error) => {
            let path = credentials::path(&path);
            problems.error(
                &at.spot,
                format_args!(
                    "{path} cannot be read: {error}; name a CRL file, a directory of them, or a URL"
                ),
            );
            None
        }
    }
}

fn within(
    at: Option<&At<Duration>>,
    default: Duration,
    least: Duration,
    most: Duration,
    problems: &mut Problems<'_>,
) -> Option<Duration> {
    let Some(at) = at else { return Some(default) };
    if at.value < least || at.value > most {
        problems.error(
            &at.spot,
            format_args!(
                "it is {:?}; it must be {least:?} to {}h",
                at.value,
                most.as_secs() / 3_600
            ),
        );
        return None;
    }
    Some(at.value)
}
