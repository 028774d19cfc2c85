//! The text of a configuration file, without the files that it names: every error is one that can be shown.

use countersign::config::Config;

use crate::outcome::note;

pub(super) fn target(data: &[u8]) {
    match Config::check_text("countersign.toml", data.to_vec()) {
        Ok(()) => note("right"),
        Err(errors) => {
            assert!(!errors.0.is_empty(), "wrong for no reason");
            let shown = errors.to_string();
            let breaks_lines = |character: char| character.is_control() && character != '\n';
            assert!(!shown.contains(breaks_lines), "{shown:?}");
            // From the first backquote on it may be the file's own words.
            note(errors.0[0].problem.split('`').next().unwrap_or_default());
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    [FULL, SHORT, "", "\u{feff}[[listener]]\r\n"].map(|text| text.as_bytes().to_vec()).into()
}

const SHORT: &str = r#"
[[listener]]
listen = "127.0.0.1:8443"
upstream = "unix:/run/app.sock"
allow = "any-verified"
identity = [{ certificate = "server.pem", key = "server.key", client_ca = "ca.pem" }]
"#;

const FULL: &str = r#"
workers = 3
max_connections = 1_000
drain_timeout = "7s"
log_connections = "problems"
[admin]
listen = "unix:/run/admin.sock"
[[listener]]
name = "front"
listen = "[::1]:8443"
upstream = "192.0.2.1:80"
upstream_plaintext = true
proxy_protocol = "v2"
proxy_tlvs = ["ssl", "ssl_client_cert"]
proxy_from = ["192.0.2.0/24", "2001:db8::7"]
allow = ["cn=a", 'dns=*.example "and" more', "anonymous"] # who
deny = """cn=b"""
[listener.tls]
versions = ["1.3", "1.2"]
[listener.limits]
client_hello_bytes = 0x4000
handshake_timeout = "500ms"
[[listener.identity]]
server_names = ["a.example", "*.example"]
certificate = "server.pem"
key = "server.key"
client_ca = "ca.pem"
client_auth = "optional"
[listener.identity.revocation]
crl = ["lists/", "https://crl.example/a.crl"]
refresh = "1h"
[[listener.identity]]
certificate = "\u00e9\t.pem"
"#;
