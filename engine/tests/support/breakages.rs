//! A good configuration and many ways to break it, each with what must be said about it.

use std::path::Path;

/// Names the files that `certificates::write` makes.
pub(crate) const GOOD: &str = r#"workers = 2
max_connections = 1000
drain_timeout = "5s"

[admin]
listen = "127.0.0.1:9100"

[[listener]]
name = "partners"
listen = "127.0.0.1:8443"
upstream = "127.0.0.1:8080"
allow = ["cn=payments-*"]
alpn = ["http/1.1"]

[listener.limits]
idle_timeout = "1m"

[[listener.identity]]
server_names = ["partners.example.org"]
certificate = "partners.pem"
key = "partners.key"
client_ca = "clients-ca.pem"

[[listener]]
name = "internal"
listen = "127.0.0.1:8444"
upstream = "builtin:whoami"
allow = "any-verified"

[[listener.identity]]
certificate = "internal.pem"
key = "internal.key"
client_ca = "clients-ca.pem"
"#;

/// One way to break [`GOOD`].
pub(crate) struct Breakage {
    /// What is broken.
    pub(crate) name: &'static str,
    /// What stands in [`GOOD`], once.
    pub(crate) good: &'static str,
    /// What is put in its place.
    pub(crate) bad: &'static str,
    /// Every error, in order: `LINE:COLUMN: KEY: what`; `{dir}` is the configuration's folder, and a
    /// final `...` stands for whatever words.
    pub(crate) errors: &'static [&'static str],
}

impl Breakage {
    /// The broken configuration.
    pub(crate) fn apply(&self) -> String {
        assert_eq!(GOOD.matches(self.good).count(), 1, "{}: {:?}", self.name, self.good);
        GOOD.replacen(self.good, self.bad, 1)
    }

    /// Whether these are its errors: one line each, as they are shown, of the configuration `file`.
    pub(crate) fn is_described_by(&self, found: &[String], file: &Path) -> bool {
        let directory = file.parent().unwrap_or(Path::new("")).display().to_string();
        let is_alike = |(expected, found): (&&str, &String)| {
            let whole = format!("{}:{}", file.display(), expected.replace("{dir}", &directory));
            match whole.strip_suffix("...") {
                Some(beginning) => found.starts_with(beginning),
                None => whole == *found,
            }
        };
        self.errors.len() == found.len() && self.errors.iter().zip(found).all(is_alike)
    }
}

const fn breakage(
    name: &'static str,
    good: &'static str,
    bad: &'static str,
    errors: &'static [&'static str],
) -> Breakage {
    Breakage { name, good, bad, errors }
}

/// Every way.
#[rustfmt::skip]
pub(crate) const BREAKAGES: &[Breakage] = &[
    breakage("a value that is missing",
        "workers = 2", "workers =",
        &["1:10: syntax: there is no value behind the `=`; write one, or take the line out"]),
    breakage("a string without quotes",
        r#""5s""#, "5s",
        &[r#"3:17: syntax: `5s` is not a value; a string stands in quotes: "5s""#]),
    breakage("a string that is not closed",
        r#""127.0.0.1:9100""#, r#""127.0.0.1:9100"#,
        &[r#"6:25: syntax: the string does not end on its line; close it with a `"`"#]),
    breakage("a key that stands twice",
        "workers = 2", r#"workers = 2
workers = 4"#,
        &["2:1: syntax: `workers` stands here for the second time; keep one"]),
    breakage("a header that is not closed",
        "[admin]", "[admin",
        &["5:7: syntax: the table's header is not closed; add a `]`"]),
    breakage("an array that is not closed",
        r#"alpn = ["http/1.1"]"#, r#"alpn = ["http/1.1""#,
        &["15:1: syntax: the array before this is not closed; add a `]` (or a comma, if more of it follows)"]),
    breakage("one bracket where there may be several",
        r#"[[listener]]
name = "internal""#, r#"[listener]
name = "internal""#,
        &["24:2: syntax: `listener` stands here for the second time; where there may be several, each header has two brackets, such as [[listener]]"]),
    breakage("a key that is misspelt",
        "max_connections", "max_conections",
        &["2:1: max_conections: unknown key; did you mean `max_connections`?"]),
    breakage("a key that is unknown",
        "workers = 2", r#"workers = 2
colour = "red""#,
        &["2:1: colour: unknown key; known here are workers, cpus, max_connections, max_handshakes, cached_chains, cached_chain_bytes, drain_timeout, log_connections, ticket_keys, ticket_key_lifetime, admin, tokens, listener"]),
    breakage("a key that is required and misspelt",
        r#"upstream = "127.0.0.1:8080""#, r#"upstraem = "127.0.0.1:8080""#,
        &["11:1: listener.upstraem: unknown key; did you mean `upstream`?"]),
    breakage("a key of another table",
        "alpn =", r#"client_auth = "none"
alpn ="#,
        &["13:1: listener.client_auth: unknown key here; `client_auth` belongs in [[listener.identity]]"]),
    breakage("a number in quotes",
        "workers = 2", r#"workers = "2""#,
        &["1:11: workers: it is a string; it must be a number without quotes, such as `workers = 4`"]),
    breakage("a duration without a unit",
        r#"idle_timeout = "1m""#, "idle_timeout = 60",
        &[r#"16:16: listener.limits.idle_timeout: it is a number without a unit; write it in quotes with one, such as `idle_timeout = "60s"`"#]),
    breakage("a duration of an unknown unit",
        r#""1m""#, r#""1 minute""#,
        &[r#"16:16: listener.limits.idle_timeout: `1 minute` is not a duration; write it like "500ms", "10s", "2m" or "1h""#]),
    breakage("an array in place of a string",
        r#""127.0.0.1:8443""#, r#"["127.0.0.1:8443"]"#,
        &[r#"10:10: listener.listen: it is an array; it must be a string, such as `listen = "0.0.0.0:8443"`"#]),
    breakage("a number among strings",
        r#"["http/1.1"]"#, r#"["http/1.1", 2]"#,
        &[r#"13:21: listener.alpn: it has an integer in it; write strings in quotes, such as ["http/1.1"]"#]),
    breakage("a table that is one",
        r#"[[listener.identity]]
certificate"#, r#"[listener.identity]
certificate"#,
        &["30:11: listener.identity: it is one table, and there may be several; write its header with two brackets, [[listener.identity]]"]),
    breakage("an array of tables that is none",
        "[listener.limits]", "[[listener.limits]]",
        &["15:1: listener.limits: it is an array; it must be a table: [listener.limits]"]),
    breakage("a number out of its bounds",
        "workers = 2", "workers = 0",
        &["1:11: workers: it is `0`; it must be 1 to 1024"]),
    breakage("a number below zero",
        "max_connections = 1000", "max_connections = -1",
        &["2:19: max_connections: it is `-1`; it must be 1 to 1048576"]),
    breakage("a limit out of its bounds",
        r#"idle_timeout = "1m""#, r#"idle_timeout = "1ms""#,
        &["16:16: listener.limits.idle_timeout: it is 1ms; it must be between 10ms and 604800s"]),
    breakage("a size out of its bounds",
        r#"idle_timeout = "1m""#, "relay_bytes = 1024",
        &["16:15: listener.limits.relay_bytes: it is 1024; it must be between 18437 and 4194304"]),
    breakage("a stop that takes days",
        r#""5s""#, r#""48h""#,
        &["3:17: drain_timeout: it is 172800s; it must be 24h at most"]),
    breakage("CPUs that are none",
        "workers = 2", r#"cpus = "0-""#,
        &["1:8: cpus: '0-' is not a CPU or a range; write a list such as 0-3,8"]),
    breakage("an address without a port",
        r#""127.0.0.1:8443""#, r#""127.0.0.1""#,
        &["10:10: listener.listen: `127.0.0.1` is not an IP address and port; write it like 0.0.0.0:8443 or [::]:8443"]),
    breakage("an address given twice",
        r#""127.0.0.1:8444""#, r#""127.0.0.1:8443""#,
        &["26:10: listener.listen: 127.0.0.1:8443 is given twice (line 10); each listener needs an address of its own"]),
    breakage("an address within another",
        r#""127.0.0.1:8444""#, r#""0.0.0.0:8443""#,
        &["26:10: listener.listen: 0.0.0.0:8443 and 127.0.0.1:8443 (line 10) overlap: one of them stands for every address of the host; choose another port, or name single addresses"]),
    breakage("the admin endpoint's address for a listener",
        r#""127.0.0.1:8444""#, r#""127.0.0.1:9100""#,
        &["26:10: listener.listen: 127.0.0.1:9100 is given twice (line 6); each listener needs an address of its own"]),
    breakage("an admin endpoint for everybody",
        r#""127.0.0.1:9100""#, r#""0.0.0.0:9100""#,
        &["6:10: admin.listen: 0.0.0.0:9100 is beyond loopback, and the admin endpoint asks nobody who they are; listen on 127.0.0.1:9100 or on unix:/path"]),
    breakage("a name given twice",
        r#""internal""#, r#""partners""#,
        &["25:8: listener.name: `partners` is the name of another listener (line 9); each needs its own"]),
    breakage("a name that is none",
        r#""internal""#, r#""inter nal""#,
        &["25:8: listener.name: `inter nal` cannot be a name; a name has 1 to 64 letters, digits, `.`, `_` and `-`"]),
    breakage("no name and no address",
        r#"listen = "127.0.0.1:8444"
"#, "",
        &[r#"24:1: listener.listen: missing; add it, for example `listen = "0.0.0.0:8443"`"#]),
    breakage("no identity",
        r#"
[[listener.identity]]
certificate = "internal.pem"
key = "internal.key"
client_ca = "clients-ca.pem"
"#, "",
        &["24:1: listener.identity: missing; add it, for example a table [[listener.identity]] with certificate, key and client_ca"]),
    breakage("an upstream beyond loopback",
        r#""127.0.0.1:8080""#, r#""192.0.2.1:80""#,
        &["11:12: listener.upstream: 192.0.2.1:80 is beyond loopback and what goes there is not encrypted; say `upstream_plaintext = true` if that is meant"]),
    breakage("a built-in upstream that there is not",
        "builtin:whoami", "builtin:whoareyou",
        &["27:12: listener.upstream: `builtin:whoareyou`: there is no such built-in upstream; there is builtin:whoami"]),
    breakage("a unix socket with a relative path",
        r#""127.0.0.1:8080""#, r#""unix:app.sock""#,
        &["11:12: listener.upstream: the path of a unix socket must be absolute, such as unix:/run/app.sock, not `app.sock`"]),
    breakage("an upstream without a port",
        r#""127.0.0.1:8080""#, r#""127.0.0.1""#,
        &["11:12: listener.upstream: `127.0.0.1` is not HOST:PORT, unix:/path or builtin:whoami, or cannot be resolved (invalid socket address)"]),
    breakage("a choice that there is not",
        r#"upstream = "127.0.0.1:8080""#, r#"upstream = "127.0.0.1:8080"
proxy_protocol = "v3""#,
        &[r#"12:18: listener.proxy_protocol: `v3` is not known here; it must be "none", "v1" or "v2""#]),
    breakage("things that cannot be told",
        r#"upstream = "127.0.0.1:8080""#, r#"upstream = "127.0.0.1:8080"
proxy_protocol = "v2"
proxy_tlvs = ["alpn", "netns", "alpn"]"#,
        &["13:23: listener.proxy_tlvs: `netns` is nothing that can be told; there are crc32c, alpn, authority, unique_id, ssl, ssl_cn, ssl_cipher, ssl_sig_alg, ssl_key_alg, ssl_group, ssl_sig_scheme, ssl_client_cert, identity",
          "13:32: listener.proxy_tlvs: `alpn` stands twice; keep one"]),
    breakage("something within what is not told",
        r#"upstream = "127.0.0.1:8080""#, r#"upstream = "127.0.0.1:8080"
proxy_protocol = "v2"
proxy_tlvs = ["crc32c", "ssl_cn", "ssl_cipher"]"#,
        &[r#"13:25: listener.proxy_tlvs: `ssl_cn` stands within the TLV `ssl`; add "ssl" too"#]),
    breakage("a receiver that takes too little",
        r#"upstream = "127.0.0.1:8080""#, r#"upstream = "127.0.0.1:8080"
proxy_header_bytes = 106
proxy_tlv_bytes = 65536"#,
        &["12:22: listener.proxy_header_bytes: it is `106`; it must be 107 to 65535",
          "13:19: listener.proxy_tlv_bytes: it is `65536`; it must be 64 to 65535"]),
    breakage("balancers that are none",
        r#"upstream = "127.0.0.1:8080""#, r#"upstream = "127.0.0.1:8080"
proxy_from = ["balancer.example", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8"]"#,
        &["12:15: listener.proxy_from: `balancer.example` is no IP address: write one as 192.0.2.7 or 2001:db8::7, a range as 10.0.0.0/8 or 2001:db8::/32",
          "12:35: listener.proxy_from: `/33` is no length of a prefix: write a number from 0 to 32, a netmask in bits",
          "12:50: listener.proxy_from: `10.0.0.1/8` sets bits beyond its prefix: write 10.0.0.0/8 for the range, 10.0.0.1 for the one address"]),
    breakage("a log that there is not",
        r#"drain_timeout = "5s""#, r#"drain_timeout = "5s"
log_connections = "some""#,
        &[r#"4:19: log_connections: `some` is not known here; it must be "all" or "problems""#]),
    breakage("no rule",
        r#"allow = "any-verified"
"#, "",
        &[r#"24:1: listener.allow: missing; nobody could get in; add `allow = ["cn=payments-*"]` with rules for those who may, or `allow = "any-verified"` for every client whose certificate leads to client_ca"#]),
    breakage("no rule in it",
        r#"allow = "any-verified""#, "allow = []",
        &[r#"28:9: listener.allow: no rule lets anybody in; give one such as 'cn=payments-*', 'dns=*.example.org', 'uri=spiffe://example.org/**', or `allow = "any-verified"` for every client whose certificate leads to client_ca"#]),
    breakage("a rule about no field",
        r#""cn=payments-*""#, r#""payments-*""#,
        &["12:10: listener.allow: `payments-*` names no field: ..."]),
    breakage("a rule about an unknown field",
        r#""cn=payments-*""#, r#""cn=a", "subject=b""#,
        &["12:18: listener.allow: unknown field `subject`: ..."]),
    breakage("a rule that denies everybody",
        r#"allow = "any-verified""#, r#"allow = "any-verified"
deny = "any-verified""#,
        &["29:8: listener.deny: deny any-verified would keep everyone out..."]),
    breakage("a term of a rule that is none",
        r#""cn=payments-*""#, r#""cn=a", "cn=payments-* && lifetime<=24""#,
        &["12:18: listener.allow: term 2: lifetime: `24` is no time: write a whole number and a unit, as 90s, 30m, 24h or 7d"]),
    breakage("a rule on a trust domain that there is not",
        r#""cn=payments-*""#, r#""cn=a && trust-domain=prod""#,
        &[r#"12:10: listener.allow: no identity of the listener has the trust domain `prod`; give it to one by `trust_domain = "prod"` beside its client_ca"#]),
    breakage("a rule on the trust domain of another name",
        r#"key = "partners.key""#, r#"key = "partners.key"
trust_domain = "a b""#,
        &["22:16: listener.identity.trust_domain: `a b` cannot be the name of a trust domain: it has 1 to 64 letters, digits, `.`, `_` and `-`"]),
    breakage("a trust domain where no client is asked",
        r#"allow = "any-verified"

[[listener.identity]]"#, r#"allow = "anonymous"

[[listener.identity]]
trust_domain = "a"
client_auth = "none""#,
        &[
        r#"31:16: listener.identity.trust_domain: it has no effect: with client_auth = "none" no client is asked for a certificate; take one of the two out"#,
        r#"35:13: listener.identity.client_ca: it has no effect: with client_auth = "none" no client is asked for a certificate; take one of the two out"#,
    ]),
    breakage("a shadow without a rule",
        r#"allow = "any-verified""#, r#"allow = "any-verified"
shadow_allow = []"#,
        &[r#"29:16: listener.shadow_allow: no rule lets anybody in; give one such as 'cn=payments-*', 'dns=*.example.org', 'uri=spiffe://example.org/**', or `shadow_allow = "any-verified"` for every client whose certificate leads to client_ca"#]),
    breakage("a shadow rule that denies by a hash",
        r#"allow = "any-verified""#, r#"allow = "any-verified"
shadow_deny = ["cn=a", "cn=b && sha256=00"]"#,
        &["29:24: listener.shadow_deny: term 2: deny sha256= can be evaded: ..."]),
    breakage("a version that is not spoken",
        "alpn =", r#"versions = ["1.3", "1.1"]
alpn ="#,
        &["13:20: listener.versions: `1.1` is no version that is spoken; there are 1.3 and 1.2"]),
    breakage("a suite that is not known",
        "alpn =", r#"suites = ["AES128-SHA"]
alpn ="#,
        &["13:11: listener.suites: `AES128-SHA` is no suite that is spoken; there are TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-RSA-AES128-GCM-SHA256, ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-RSA-AES256-GCM-SHA384, ECDHE-ECDSA-CHACHA20-POLY1305, ECDHE-RSA-CHACHA20-POLY1305"]),
    breakage("a suite of a version that is not spoken",
        "alpn =", r#"versions = ["1.3"]
suites = ["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]
alpn ="#,
        &[r#"14:37: listener.suites: `ECDHE-RSA-AES128-GCM-SHA256` is a suite of TLS 1.2, which is not among the versions; take it out, or add "1.2" to versions"#]),
    breakage("a version without a suite",
        "alpn =", r#"suites = ["ECDHE-ECDSA-AES128-GCM-SHA256"]
alpn ="#,
        &[r#"13:10: listener.suites: there is no suite of TLS 1.3 in it; add one such as TLS_AES_128_GCM_SHA256, or say `versions = ["1.2"]`"#]),
    breakage("a suite that the key cannot serve",
        "alpn =", r#"suites = ["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]
alpn ="#,
        &[r#"22:7: listener.identity.key: no TLS 1.2 suite of the listener (line 13) works with this key (ECDSA); add ECDHE-ECDSA-AES128-GCM-SHA256 to suites, or take "1.2" out of versions"#]),
    breakage("a group that is not known",
        "alpn =", r#"groups = ["P-521"]
alpn ="#,
        &["13:11: listener.groups: `P-521` is no group that is spoken; there are X25519MLKEM768, X25519, P-256, P-384"]),
    breakage("a version without a group",
        "alpn =", r#"groups = ["X25519MLKEM768"]
alpn ="#,
        &["13:10: listener.groups: there is no group for TLS 1.2 in it (X25519MLKEM768 is for TLS 1.3 alone); add X25519 or P-256"]),
    breakage("an empty protocol",
        r#"["http/1.1"]"#, r#"[""]"#,
        &[r#"13:9: listener.alpn: it has 0 bytes; a protocol's name has 1 to 255, as "h2" or "http/1.1""#]),
    breakage("a server name that is none",
        r#"["partners.example.org"]"#, r#"["https://partners.example.org"]"#,
        &["19:17: listener.identity.server_names: `https://partners.example.org` is not a DNS name; write it like www.example.org or *.example.org, without scheme or port"]),
    breakage("a wildcard within a label",
        r#"["partners.example.org"]"#, r#"["a*.partners.example.org"]"#,
        &["19:17: listener.identity.server_names: `a*.partners.example.org`: a `*` can only be the whole first label, as in *.example.org"]),
    breakage("a server name given twice",
        r#"["partners.example.org"]"#, r#"["partners.example.org", "Partners.example.org"]"#,
        &["19:41: listener.identity.server_names: `partners.example.org` stands twice in this listener (line 19); keep one"]),
    breakage("a server name that the certificate lacks",
        r#"["partners.example.org"]"#, r#"["partners.example.com"]"#,
        &["19:17: listener.identity.server_names: the certificate `{dir}/partners.pem` does not speak for `partners.example.com`: it has `partners.example.org`, `*.partners.example.org`; take the name out, or use a certificate that has it"]),
    breakage("a second identity that nobody reaches",
        r#"[[listener]]
name = "internal""#, r#"[[listener.identity]]
certificate = "internal.pem"
key = "internal.key"
client_ca = "clients-ca.pem"

[[listener]]
name = "internal""#,
        &[r#"24:1: listener.identity.server_names: missing; no client reaches this identity: only the first one of a listener answers to other names and to none; add `server_names = ["www.example.org"]`"#]),
    breakage("an identity that strict_sni leaves without a name",
        r#"upstream = "builtin:whoami""#, r#"upstream = "builtin:whoami"
strict_sni = true"#,
        &["31:1: listener.identity.server_names: missing; with `strict_sni = true` no client reaches an identity without names; name it, or take strict_sni out"]),
    breakage("a certificate that is not there",
        r#""partners.pem""#, r#""nowhere.pem""#,
        &["20:15: listener.identity.certificate: `{dir}/nowhere.pem` cannot be read: No such file or directory (os error 2)"]),
    breakage("a certificate file without a certificate",
        r#""partners.pem""#, r#""empty.pem""#,
        &["20:15: listener.identity.certificate: `{dir}/empty.pem` has no certificate in it (a section '-----BEGIN CERTIFICATE-----')"]),
    breakage("a certificate that cannot be parsed",
        r#""partners.pem""#, r#""broken.pem""#,
        &["20:15: listener.identity.certificate: certificate 1 of `{dir}/broken.pem` is not a certificate: its DER cannot be parsed"]),
    breakage("a certificate that has expired",
        r#"certificate = "partners.pem"
key = "partners.key""#, r#"certificate = "expired.pem"
key = "expired.key""#,
        &["20:15: listener.identity.certificate: the certificate of `{dir}/expired.pem` expired at 2020-01-31T00:00:00Z; renew it, and put the new one there"]),
    breakage("a folder in place of a file",
        r#""internal.pem""#, r#""/""#,
        &["31:15: listener.identity.certificate: `/` is not a regular file"]),
    breakage("a key that is not there",
        r#""partners.key""#, r#""nowhere.key""#,
        &["21:7: listener.identity.key: `{dir}/nowhere.key` cannot be read: No such file or directory (os error 2)"]),
    breakage("a key file without a key",
        r#""partners.key""#, r#""partners.pem""#,
        &["21:7: listener.identity.key: `{dir}/partners.pem` has no private key in it (PKCS#8 'PRIVATE KEY', SEC1 'EC PRIVATE KEY' or PKCS#1 'RSA PRIVATE KEY')"]),
    breakage("a key that is encrypted",
        r#""partners.key""#, r#""encrypted.key""#,
        &["21:7: listener.identity.key: `{dir}/encrypted.key` has an encrypted key; decrypt it, and protect the file by its mode"]),
    breakage("a key of another certificate",
        r#""partners.key""#, r#""internal.key""#,
        &["21:7: listener.identity.key: the private key in `{dir}/internal.key` does not match the certificate in `{dir}/partners.pem` (their public keys differ)"]),
    breakage("a chain that begins with the CA",
        r#""partners.pem""#, r#""reversed.pem""#,
        &[
        "19:17: listener.identity.server_names: the certificate `{dir}/reversed.pem` does not speak for `partners.example.org`: it has no DNS names at all; take the name out, or use a certificate that has it",
        "20:15: listener.identity.certificate: the key in `{dir}/partners.key` belongs to certificate 2 of `{dir}/reversed.pem`; put the server's own certificate first, then its issuers",
    ]),
    breakage("a CA file that is not there",
        r#"key = "partners.key"
client_ca = "clients-ca.pem""#, r#"key = "partners.key"
client_ca = "nowhere.pem""#,
        &["22:13: listener.identity.client_ca: `{dir}/nowhere.pem` cannot be read: No such file or directory (os error 2)"]),
    breakage("a CA that cannot be parsed",
        r#"key = "partners.key"
client_ca = "clients-ca.pem""#, r#"key = "partners.key"
client_ca = "broken.pem""#,
        &["22:13: listener.identity.client_ca: certificate 1 of `{dir}/broken.pem` is not a certificate: its DER cannot be parsed"]),
    breakage("CA names of more than 64 KiB",
        r#"key = "partners.key"
client_ca = "clients-ca.pem""#, r#"key = "partners.key"
client_ca = "many-cas.pem""#,
        &[r#"22:13: listener.identity.client_ca: `{dir}/many-cas.pem`: the names of its 600 certificates take 69000 bytes; a CertificateRequest carries 65,535 at most; say `ca_names = "none"`"#]),
    breakage("no CA",
        r#"key = "partners.key"
client_ca = "clients-ca.pem""#, r#"key = "partners.key""#,
        &[r#"18:1: listener.identity.client_ca: missing; clients are asked for a certificate; name the PEM file with the CA certificates that it must lead to, such as `client_ca = "clients-ca.pem"`"#]),
    breakage("no client is asked, and none may be anonymous",
        r#"key = "partners.key"
client_ca = "clients-ca.pem""#, r#"key = "partners.key"
client_auth = "none""#,
        &[r#"22:15: listener.identity.client_auth: nobody could get in: with client_auth = "none" every client is anonymous, and no rule allows that; add "anonymous" to allow if that is meant"#]),
    breakage("no client is asked, but there is a CA",
        r#"allow = "any-verified"

[[listener.identity]]"#, r#"allow = "anonymous"

[[listener.identity]]
client_auth = "none""#,
        &[r#"34:13: listener.identity.client_ca: it has no effect: with client_auth = "none" no client is asked for a certificate; take one of the two out"#]),
    breakage("only anonymous clients, and none may be",
        r#""any-verified""#, r#""anonymous""#,
        &["30:1: listener.identity: nobody could get in: every client must have a certificate, and the rules allow only those without; add a rule such as 'cn=payments-*' to allow, or choose another client_auth"]),
    breakage("the client's CA misspelt",
        r#"key = "partners.key"
client_ca ="#, r#"key = "partners.key"
clientca ="#,
        &["22:1: listener.identity.clientca: unknown key; did you mean `client_ca`?"]),
    breakage("an array without a comma",
        r#"["http/1.1"]"#, r#"["http/1.1" "h2"]"#,
        &["13:20: syntax: there is no comma between this and the element before it"]),
    breakage("a wrong number and no CA",
        r#"key = "partners.key"
client_ca = "clients-ca.pem"
"#, r#"key = "partners.key"
server_name = 2
"#,
        &[
        r#"18:1: listener.identity.client_ca: missing; clients are asked for a certificate; name the PEM file with the CA certificates that it must lead to, such as `client_ca = "clients-ca.pem"`"#,
        "22:1: listener.identity.server_name: unknown key; did you mean `server_names`?",
    ]),
    breakage("five mistakes",
        r#"listen = "127.0.0.1:8443"
upstream = "127.0.0.1:8080"
allow = ["cn=payments-*"]
alpn = ["http/1.1"]

[listener.limits]
idle_timeout = "1m"

[[listener.identity]]
server_names = ["partners.example.org"]
certificate = "partners.pem"
key = "partners.key""#, r#"listen = 127.0.0.1:8443
upstream = "10.0.0.7:8080"
allow = ["cn=payments-*", "payments"]
alpn = ["http/1.1"]

[listener.limits]
idel_timeout = "1m"

[[listener.identity]]
server_names = ["partners.example.org"]
certificate = "partners.pem"
key = "internal.key""#,
        &[
        r#"10:10: syntax: `127.0.0.1:8443` is not a value; a string stands in quotes: "127.0.0.1:8443""#,
        "11:12: listener.upstream: 10.0.0.7:8080 is beyond loopback and what goes there is not encrypted; say `upstream_plaintext = true` if that is meant",
        "12:27: listener.allow: `payments` names no field: ...",
        "16:1: listener.limits.idel_timeout: unknown key; did you mean `idle_timeout`?",
        "21:7: listener.identity.key: the private key in `{dir}/internal.key` does not match the certificate in `{dir}/partners.pem` (their public keys differ)",
    ]),
];
