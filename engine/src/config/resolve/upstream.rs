//! Where clients go.

use std::net::ToSocketAddrs;
use std::path::PathBuf;

use countersign_proto::UpstreamAddress;

use crate::config::errors::{Problems, quoted};
use crate::config::raw::RawListener;

/// The longest path of a unix socket (unix(7)).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// The upstream of a listener. A name is resolved once.
pub(super) fn resolve(raw: &RawListener, problems: &mut Problems<'_>) -> Option<UpstreamAddress> {
    let at = raw.upstream.as_ref()?;
    let text = at.value.as_str();
    if text.starts_with("builtin:") {
        if text == "builtin:whoami" {
            return Some(UpstreamAddress::Whoami);
        }
        let problem = "there is no such built-in upstream; there is builtin:whoami";
        problems.error(&at.spot, format_args!("{}: {problem}", quoted(text)));
        return None;
    }
    if let Some(path) = unix_path(text) {
        return problems.keep(&at.spot, path).map(UpstreamAddress::Unix);
    }
    let resolved = text.to_socket_addrs().map_err(|error| {
        format!(
            "{} is not HOST:PORT, unix:/path or builtin:whoami, or cannot be resolved ({error})",
            quoted(text)
        )
    });
    let Some(address) = problems.keep(&at.spot, resolved)?.next() else {
        problems.error(&at.spot, format_args!("{} has no address", quoted(text)));
        return None;
    };
    if address.port() == 0 {
        problems.error(&at.spot, "port 0 cannot be connected to; name the upstream's port");
        return None;
    }
    if !address.ip().is_loopback() && !raw.upstream_plaintext {
        let word = problems.setting("upstream_plaintext", "true");
        problems.error(
            &at.spot,
            format_args!(
                "{address} is beyond loopback and what goes there is not encrypted; say `{word}` if that is meant"
            ),
        );
        return None;
    }
    Some(UpstreamAddress::Tcp(address))
}

/// The path behind `unix:`; `None` if the text is of another form.
pub(super) fn unix_path(text: &str) -> Option<Result<PathBuf, String>> {
    let path = text.strip_prefix("unix:")?;
    Some(if !path.starts_with('/') {
        Err(format!(
            "the path of a unix socket must be absolute, such as unix:/run/app.sock, not {}",
            quoted(path)
        ))
    } else if path.len() > UNIX_PATH_BYTES_MAX {
        Err(format!(
            "the path has {} bytes; that of a unix socket has {UNIX_PATH_BYTES_MAX} at most",
            path.len()
        ))
    } else if path.contains('\0') {
        Err("the path has a zero byte in it".into())
    } else {
        Ok(PathBuf::from(path))
    })
}
