//! What the built-in upstream says of its client.

use serde::Serialize;

use crate::connection::Authorized;
use crate::identity::{ClientIdentity, Printable};
use crate::report::Report;

/// Who the client is and how it got in; the fields in the order in which they are told.
#[derive(Serialize)]
pub(super) struct Facts<'a> {
    client: Client<'a>,
    tls: Tls<'a>,
    rule: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Client<'a> {
    Anonymous { address: String },
    Identified(Identified<'a>),
}

#[derive(Serialize)]
struct Identified<'a> {
    address: String,
    subject: &'a str,
    common_name: Option<Printable<'a>>,
    dns_names: &'a [String],
    uris: &'a [String],
    emails: &'a [String],
    ip_addresses: &'a [std::net::IpAddr],
    issuer: &'a str,
    serial: &'a str,
    not_after: i64,
    sha256: String,
    spki_sha256: String,
}

#[derive(Serialize)]
struct Tls<'a> {
    version: Option<&'static str>,
    cipher_suite: Option<&'static str>,
    group: Option<&'static str>,
    server_name: Option<&'a str>,
    alpn: Option<&'a str>,
    resumed: bool,
}

impl<'a> Facts<'a> {
    pub(super) fn of(report: &'a Report, authorized: &'a Authorized) -> Self {
        let address = report.client.to_string();
        let tls = report.tls.as_ref();
        Self {
            client: match authorized.client() {
                None => Client::Anonymous { address },
                Some(client) => Client::Identified(identified(address, client.identity())),
            },
            tls: Tls {
                version: tls.map(|tls| tls.version.name()),
                cipher_suite: tls.map(|tls| tls.suite_name()),
                group: tls.and_then(|tls| tls.group_name()),
                server_name: report.server_name.as_deref(),
                alpn: report.alpn.as_deref(),
                resumed: false,
            },
            rule: authorized.rule(),
        }
    }
}

fn identified(address: String, identity: &ClientIdentity) -> Identified<'_> {
    Identified {
        address,
        subject: identity.subject(),
        common_name: identity.common_names().first().map(|name| Printable(name)),
        dns_names: identity.dns_names(),
        uris: identity.uris(),
        emails: identity.emails(),
        ip_addresses: identity.ip_addresses(),
        issuer: identity.issuer(),
        serial: identity.serial(),
        not_after: identity.not_after(),
        sha256: identity.sha256_hex(),
        spki_sha256: identity.spki_sha256_hex(),
    }
}
