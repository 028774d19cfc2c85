//! What the built-in upstream says of its client.

use serde_json::{Value, json};

use crate::connection::Authorized;
use crate::identity::{ClientIdentity, Printable};
use crate::report::Report;

/// Who the client is and how it got in.
pub(super) fn facts(report: &Report, authorized: &Authorized) -> Value {
    let tls = report.tls.as_ref();
    json!({
        "client": authorized.client().map_or_else(
            || json!({ "address": report.client.to_string() }),
            |client| identified(report, client.identity()),
        ),
        "tls": {
            "version": tls.map(|tls| tls.version.name()),
            "cipher_suite": tls.map(|tls| tls.suite_name()),
            "group": tls.and_then(|tls| tls.group_name()),
            "server_name": report.server_name,
            "alpn": report.alpn,
            "resumed": false,
        },
        "rule": &**authorized.rule(),
    })
}

fn identified(report: &Report, identity: &ClientIdentity) -> Value {
    json!({
            "address": report.client.to_string(),
            "subject": identity.subject(),
            "common_name": identity.common_names().first().map(|name| Printable(name).to_string()),
            "dns_names": identity.dns_names(),
            "uris": identity.uris(),
            "emails": identity.emails(),
            "ip_addresses": identity.ip_addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "issuer": identity.issuer(),
            "serial": identity.serial(),
            "not_after": identity.not_after(),
            "sha256": identity.sha256_hex(),
            "spki_sha256": identity.spki_sha256_hex(),
    })
}
