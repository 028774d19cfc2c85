//! The PROXY protocol: what an upstream is told, and who may tell us.

use countersign_proto::policy::AddressPrefix;
use countersign_proto::proxy_protocol::{Format, Tlv, TlvSet};
use countersign_proto::{Announce, UpstreamAddress};

use crate::config::errors::{At, Problems, quoted};
use crate::config::raw::RawListener;

/// Balancers of a listener. Every connection's address is compared with each of them.
const BALANCERS_MAX: usize = 256;

/// How the upstream is told; `None` if something is wrong with it.
pub(super) fn announce(
    raw: &RawListener,
    upstream: Option<&UpstreamAddress>,
    problems: &mut Problems<'_>,
) -> Option<Announce> {
    let tlvs = tlvs(raw.proxy_tlvs.as_ref(), problems);
    let defaults = Format::default();
    let bytes = |at: &Option<At<usize>>, default| at.as_ref().map_or(default, |at| at.value);
    let format = Format {
        tlvs: tlvs?,
        header_bytes: bytes(&raw.proxy_header_bytes, defaults.header_bytes),
        tlv_bytes: bytes(&raw.proxy_tlv_bytes, defaults.tlv_bytes),
    };
    let announce = match raw.proxy_protocol.as_ref().map(|at| at.value.as_str()) {
        Some("v1") => Announce::ProxyV1,
        Some("v2") => Announce::ProxyV2(format),
        _ => Announce::Nothing,
    };
    if let (Some(at), Some(UpstreamAddress::Whoami)) = (&raw.proxy_protocol, upstream)
        && announce != Announce::Nothing
    {
        problems.warning(&at.spot, "the built-in upstream takes no PROXY protocol header");
    }
    if !matches!(announce, Announce::ProxyV2(_)) {
        let word = problems.setting("proxy_protocol", "\"v2\"");
        let spots = [
            raw.proxy_tlvs.as_ref().map(|at| &at.spot),
            raw.proxy_header_bytes.as_ref().map(|at| &at.spot),
            raw.proxy_tlv_bytes.as_ref().map(|at| &at.spot),
        ];
        for spot in spots.into_iter().flatten() {
            problems.warning(
                spot,
                format_args!("it has no effect without `{word}`: no other header has TLVs"),
            );
        }
    }
    Some(announce)
}

fn tlvs(list: Option<&At<Vec<At<String>>>>, problems: &mut Problems<'_>) -> Option<TlvSet> {
    let Some(list) = list else { return Some(TlvSet::usual()) };
    let mut chosen = TlvSet::default();
    let mut is_right = true;
    for At { value, spot } in &list.value {
        match Tlv::named(value) {
            Some(tlv) if chosen.contains(tlv) => {
                problems.error(spot, format_args!("{} stands twice; keep one", quoted(value)));
                is_right = false;
            }
            Some(tlv) => chosen.insert(tlv),
            None => {
                let names: Vec<_> = Tlv::ALL.iter().map(|tlv| tlv.name()).collect();
                problems.error(
                    spot,
                    format_args!(
                        "{} is nothing that can be told; there are {}",
                        quoted(value),
                        names.join(", ")
                    ),
                );
                is_right = false;
            }
        }
    }
    if !chosen.contains(Tlv::Ssl) {
        let of_ssl = |at: &&At<String>| Tlv::named(&at.value).is_some_and(Tlv::is_of_ssl);
        if let Some(At { value, spot }) = list.value.iter().find(of_ssl) {
            problems.error(
                spot,
                format_args!("{} stands within the TLV `ssl`; add \"ssl\" too", quoted(value)),
            );
            is_right = false;
        }
    }
    is_right.then_some(chosen)
}

/// Who may say on whose behalf it connects; `None` if something is wrong with it.
pub(super) fn balancers(
    raw: &RawListener,
    problems: &mut Problems<'_>,
) -> Option<Vec<AddressPrefix>> {
    let Some(list) = &raw.proxy_from else { return Some(Vec::new()) };
    let count = list.value.len();
    if count > BALANCERS_MAX {
        problems.error(
            &list.spot,
            format_args!(
                "there are {count}; there may be {BALANCERS_MAX}; ranges such as 10.0.0.0/24 stand for many addresses"
            ),
        );
        return None;
    }
    let mut balancers = Vec::with_capacity(count);
    for At { value, spot } in &list.value {
        balancers.extend(problems.keep(spot, value.parse::<AddressPrefix>()));
        if value.ends_with("/0") {
            problems.warning(
                spot,
                "everybody is within it: whoever reaches the listener can claim to be any address",
            );
        }
    }
    (balancers.len() == count).then_some(balancers)
}
