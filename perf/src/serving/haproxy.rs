//! HAProxy's configuration file.

use std::fmt::Write as _;

use super::{BACKLOG, CONNECTIONS_MAX, IDLE_S, Setup};

/// One ticket for each handshake, for every context that OpenSSL makes in the process. Other libraries do
/// not read it.
pub(super) const OPENSSL_CONF: &str = "openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = every_context
[every_context]
NumTickets = 1
";

/// The file.
pub(super) fn text(setup: &Setup<'_>) -> String {
    let threads = setup.cpus.len();
    let cpus: Vec<String> = setup.cpus.iter().map(ToString::to_string).collect();
    let key = setup.variant.server_key();
    let bind = format!(
        "ssl crt {} ca-file {} verify required ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.3 \
         ciphersuites TLS_AES_128_GCM_SHA256 curves {} backlog {BACKLOG}",
        setup.pki.server_pair(key).display(),
        setup.pki.client_root().display(),
        setup.variant.group(),
    );
    // It reckons with two descriptors for each connection, where one is used here: not so strictly.
    let mut text = format!(
        "global
    nbthread {threads}
    cpu-map auto:1/1-{threads} {}
    maxconn {CONNECTIONS_MAX}
    no strict-limits
    tune.ssl.cachesize {CONNECTIONS_MAX}
    tune.ssl.lifetime 3600
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
defaults
    maxconn {CONNECTIONS_MAX}
    timeout connect 5s
    timeout client {IDLE_S}s
    timeout server {IDLE_S}s
    timeout http-request 10s
    timeout http-keep-alive {IDLE_S}s
",
        cpus.join(" "),
    );
    for (number, (listen, upstream)) in setup.service.listeners().into_iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = match upstream {
            None => write!(
                text,
                "frontend f{number}
    mode http
    bind {listen} {bind}
    http-request return status 200 content-type text/plain string \"ok\\n\"
"
            ),
            Some(upstream) => write!(
                text,
                "listen l{number}
    mode tcp
    bind {listen} {bind}
    server backend {upstream}
"
            ),
        };
    }
    text
}
