//! Where the engine listens, and that no two sockets want the same connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::upstream::unix_path;
use crate::config::AdminAddress;
use crate::config::errors::{At, Problems, Spot, quoted};
use crate::config::raw::{Raw, RawListener};

/// The addresses of a listener.
pub(super) fn listen(raw: &RawListener, problems: &mut Problems<'_>) -> Vec<SocketAddr> {
    if raw.listen.is_empty() && raw.spot.span.is_none() {
        let spot = raw.spot.absent("listen");
        problems.missing(&spot, "no address to listen on; give one such as 0.0.0.0:8443");
    }
    raw.listen
        .iter()
        .filter_map(|at| {
            let address = at.value.parse::<SocketAddr>().map_err(|_| {
                format!(
                    "{} is not an IP address and port; write it like 0.0.0.0:8443 or [::]:8443",
                    quoted(&at.value)
                )
            });
            problems.keep(&at.spot, address)
        })
        .collect()
}

/// Where the admin endpoint listens: what it tells is for this host alone.
pub(super) fn admin(at: &At<String>, problems: &mut Problems<'_>) -> Option<AdminAddress> {
    if at.value.starts_with("unix:") {
        return problems.keep(&at.spot, unix_path(&at.value)?).map(AdminAddress::Unix);
    }
    let address = at.value.parse::<SocketAddr>().map_err(|_| {
        format!(
            "{} is neither a loopback address and port, such as 127.0.0.1:9100, nor unix:/path",
            quoted(&at.value)
        )
    });
    let address = problems.keep(&at.spot, address)?;
    if !address.ip().is_loopback() {
        problems.error(
            &at.spot,
            format_args!(
                "{address} is beyond loopback, and the admin endpoint asks nobody who they are; listen on 127.0.0.1:{} or on unix:/path",
                address.port()
            ),
        );
        return None;
    }
    Some(AdminAddress::Tcp(address))
}

/// Workers share their addresses by SO_REUSEPORT, so the kernel would not refuse a second listener on
/// one: it would share out the connections between the two.
pub(super) fn check_conflicts(raw: &Raw, problems: &mut Problems<'_>) {
    let wildcard_takes_both = !is_bound_to_v6_only();
    let listens = raw.listeners.iter().flat_map(|listener| &listener.listen);
    let mut by_port: HashMap<u16, Vec<(IpAddr, &Spot)>> = HashMap::new();
    for At { value, spot } in raw.admin.iter().chain(listens) {
        let Ok(address) = value.parse::<SocketAddr>() else { continue };
        // The kernel chooses another port for each.
        if address.port() == 0 {
            continue;
        }
        let others = by_port.entry(address.port()).or_default();
        let conflict = others
            .iter()
            .find(|(other, _)| overlap(address.ip(), *other, wildcard_takes_both))
            .copied();
        others.push((address.ip(), spot));
        let Some((other, first)) = conflict else { continue };
        let line = problems.line(first);
        if other == address.ip() {
            let wanted = "each listener needs an address of its own";
            problems.error(spot, format_args!("{address} is given twice{line}; {wanted}"));
            continue;
        }
        let other = SocketAddr::new(other, address.port());
        problems.error(
            spot,
            format_args!(
                "{address} and {other}{line} overlap: one of them stands for every address of the host; choose another port, or name single addresses"
            ),
        );
    }
}

fn overlap(one: IpAddr, other: IpAddr, wildcard_takes_both: bool) -> bool {
    let takes = |wide: IpAddr, narrow: IpAddr| {
        wide.is_unspecified()
            && (wide.is_ipv4() == narrow.is_ipv4() || wide.is_ipv6() && wildcard_takes_both)
    };
    one == other || takes(one, other) || takes(other, one)
}

/// Whether `[::]` leaves IPv4 alone (ipv6(7)).
fn is_bound_to_v6_only() -> bool {
    let setting: PathBuf = "/proc/sys/net/ipv6/bindv6only".into();
    std::fs::read_to_string(setting).is_ok_and(|text| text.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_overlaps_every_address_of_its_family() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (one, other, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0", "127.0.0.1", true),
            ("127.0.0.1", "0.0.0.0", true),
            ("::", "::1", true),
            ("0.0.0.0", "::1", false),
        ] {
            assert_eq!(overlap(ip(one), ip(other), true), expected, "{one} {other}");
        }
        assert!(overlap(ip("::"), ip("10.0.0.1"), true));
        assert!(!overlap(ip("::"), ip("10.0.0.1"), false));
    }
}
