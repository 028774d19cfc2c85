//! The configuration file: what is refused, in which words and where; what is accepted; and that
//! everything a file may say is documented.

#[path = "support/breakages.rs"]
mod breakages;
#[path = "support/certificates.rs"]
mod certificates;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use breakages::{BREAKAGES, GOOD};
use countersign::config::keys::{self, Kind};
use countersign::config::{
    AdminAddress, Config, ConfigErrors, IdentityConfig, ListSource, RevocationConfig,
};
use countersign_proto::proxy_protocol::{Format, Tlv};
use countersign_proto::revocation::{OnExpired, OnUnknown, RevocationPolicy};
use countersign_proto::{
    Announce, ClientAuth, Consequence, Limits, Resumption, Rule, TlsVersion, UpstreamAddress,
    Withdrawal, default_suites,
};
use tempfile::TempDir;

/// A folder with certificates and keys.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a folder");
    certificates::write(directory.path());
    directory
}

fn load(directory: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let file = directory.join("countersign.toml");
    fs::write(&file, text).expect("a file");
    Config::load(&file)
}

/// The errors without the file's name, and with `{dir}` for its folder.
fn errors(directory: &Path, text: &str) -> Vec<String> {
    let prefix = format!("{}:", directory.join("countersign.toml").display());
    let errors = load(directory, text).expect_err("something is wrong");
    let shown = |text: String| {
        let text = text.strip_prefix(&prefix).unwrap_or(&text).to_owned();
        text.replace(&directory.display().to_string(), "{dir}")
    };
    errors.0.iter().map(|error| shown(error.to_string())).collect()
}

#[test]
fn every_breakage_is_named_at_its_place() {
    let directory = directory();
    load(directory.path(), GOOD).expect("it is good");
    let mut differences = Vec::new();
    for breakage in BREAKAGES {
        let errors = load(directory.path(), &breakage.apply()).expect_err(breakage.name);
        let found: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        let file = directory.path().join("countersign.toml");
        if !breakage.is_described_by(&found, &file) {
            let name = breakage.name;
            differences.push(format!("{name}: {:#?}, not {found:#?}", breakage.errors));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_description_must_fit_whole() {
    let directory = directory();
    let file = directory.path().join("countersign.toml");
    let breakage = BREAKAGES.iter().find(|breakage| breakage.errors.len() == 1);
    let breakage = breakage.expect("there are such");
    let right = format!("{}:{}", file.display(), breakage.errors[0]);
    assert!(breakage.is_described_by(std::slice::from_ref(&right), &file));
    for wrong in [vec![], vec![format!("{right}!")], vec![right.clone(), right]] {
        assert!(!breakage.is_described_by(&wrong, &file), "{wrong:?}");
    }
}

#[test]
fn five_mistakes_show_five_with_the_lines() {
    let directory = directory();
    let broken = BREAKAGES.iter().find(|breakage| breakage.name == "five mistakes");
    let errors = load(directory.path(), &broken.expect("it is there").apply()).expect_err("broken");
    assert_eq!(errors.0.len(), 5, "{errors}");
    let file = directory.path().join("countersign.toml");
    let text = errors.to_string();
    let first: Vec<_> = text.lines().take(3).collect();
    let problem = "`127.0.0.1:8443` is not a value; a string stands in quotes: \"127.0.0.1:8443\"";
    assert_eq!(
        first,
        [
            format!("{}:10:10: syntax: {problem}", file.display()),
            "  10 | listen = 127.0.0.1:8443".to_owned(),
            "     |          ^^^^^^^^^^^^^^".to_owned(),
        ]
    );
}

#[test]
fn every_key_reaches_the_resolved_configuration() {
    let directory = directory();
    let text = r#"
workers = 3
max_connections = 1000
max_handshakes = 77
drain_timeout = "7s"
[admin]
listen = "unix:/run/admin.sock"
[[listener]]
listen = "[::1]:8443"
upstream = "192.0.2.1:80"
upstream_plaintext = true
proxy_protocol = "v2"
proxy_tlvs = ["ssl", "ssl_client_cert"]
proxy_header_bytes = 107
proxy_tlv_bytes = 65535
proxy_from = ["192.0.2.0/24", "2001:db8::7"]
allow = ["cn=a", "anonymous"]
deny = "cn=b"
shadow_allow = "trust-domain=partners && lifetime<=1d"
strict_sni = true
alpn = ["h2", "http/1.1"]
ca_names = "none"
versions = ["1.2", "1.3"]
suites = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]
groups = ["secp384r1", "x25519"]
max_connections = 9
on_revoked = "drain"
on_expired = "keep"
[listener.limits]
client_hello_bytes = 1024
chain_certificates = 2
chain_bytes = 2048
relay_bytes = 0x10000
drain_bytes = 20_000
drains = 5
signing_suspensions = 6
lookup_suspensions = 7
handshake_timeout = "11s"
operation_timeout = "12s"
connect_timeout = "13s"
idle_timeout = "14s"
half_closed_timeout = "15s"
drain_timeout = "16s"
withdrawal_timeout = "17s"
[[listener.identity]]
server_names = "*.Partners.example.org"
certificate = "partners.pem"
key = "partners.key"
client_ca = "clients-ca.pem"
trust_domain = "partners"
client_auth = "optional"
crl = ["https://crl.example.org/a.crl", "."]
crl_refresh = "2m"
crl_distribution_points = true
crl_unknown = "allow"
crl_expired = "fail_closed"
crl_grace = "3m"
shadow_crl = "clients-ca.pem"
[[listener.identity]]
server_names = ["internal.example.org"]
certificate = "internal.pem"
key = "internal.key"
client_auth = "none"
"#;
    let config = load(directory.path(), text).expect("it is good");
    assert_eq!(config.warnings, [] as [String; 0]);
    assert_eq!(
        (config.workers, config.max_connections, config.max_handshakes),
        (3, Some(1000), 77)
    );
    assert_eq!(config.drain_timeout, Duration::from_secs(7));
    assert_eq!(config.admin, Some(AdminAddress::Unix("/run/admin.sock".into())));
    let [listener] = config.listeners.as_slice() else { panic!("one listener") };
    assert_eq!(listener.name, "[::1]:8443");
    assert_eq!(listener.address, "[::1]:8443".parse().expect("an address"));
    assert_eq!(
        listener.upstream,
        UpstreamAddress::Tcp("192.0.2.1:80".parse().expect("an address"))
    );
    let tlvs = [Tlv::Ssl, Tlv::SslClientCert].into_iter().collect();
    let format = Format { tlvs, header_bytes: 107, tlv_bytes: 65_535 };
    assert_eq!(listener.announce, Announce::ProxyV2(format));
    let balancers: Vec<_> = listener.proxy_from.iter().map(ToString::to_string).collect();
    assert_eq!(balancers, ["192.0.2.0/24", "2001:db8::7"]);
    assert_eq!(listener.max_connections, Some(9));
    let rules: Vec<_> = listener.rules.iter().map(ToString::to_string).collect();
    assert_eq!(rules, ["allow cn=a", "allow anonymous", "deny cn=b"]);
    assert!(listener.strict_sni && !listener.tls.ca_names);
    assert_eq!(listener.tls.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(listener.tls.versions, [TlsVersion::Tls13, TlsVersion::Tls12], "the newest first");
    let suites: Vec<_> =
        listener.tls.suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    assert_eq!(suites, ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS13_AES_256_GCM_SHA384"]);
    let groups: Vec<_> =
        listener.tls.groups.iter().map(|group| format!("{:?}", group.name())).collect();
    assert_eq!(groups, ["secp384r1", "X25519"]);
    let expected = Limits {
        client_hello_bytes: 1024,
        chain_certificates: 2,
        chain_bytes: 2048,
        relay_bytes: 65_536,
        drain_bytes: 20_000,
        drains: 5,
        signing_suspensions: 6,
        lookup_suspensions: 7,
        handshake_timeout: Duration::from_secs(11),
        operation_timeout: Duration::from_secs(12),
        connect_timeout: Duration::from_secs(13),
        idle_timeout: Duration::from_secs(14),
        half_closed_timeout: Duration::from_secs(15),
        drain_timeout: Duration::from_secs(16),
        withdrawal_timeout: Duration::from_secs(17),
    };
    assert_eq!(listener.limits, expected);
    let withdrawal = Withdrawal { revoked: Consequence::Drain, expired: Consequence::Keep };
    assert_eq!(listener.withdrawal, withdrawal);
    let [optional, none] = listener.identities.as_slice() else { panic!("two identities") };
    assert_eq!(optional.server_names, ["*.partners.example.org"]);
    assert_eq!((optional.client_auth, optional.client_ca.len()), (ClientAuth::Optional, 1));
    assert_eq!((none.client_auth, none.client_ca.len()), (ClientAuth::None, 0));
    let expected = RevocationConfig {
        sources: vec![
            ListSource::Url("https://crl.example.org/a.crl".to_owned()),
            ListSource::Directory(directory.path().join(".")),
        ],
        shadow: vec![ListSource::File(directory.path().join("clients-ca.pem"))],
        refresh: Duration::from_secs(120),
        follows_points: true,
        policy: RevocationPolicy {
            unknown: OnUnknown::Allow,
            expired: OnExpired::FailClosed { grace_seconds: 180 },
        },
    };
    assert_eq!((&optional.revocation, &none.revocation), (&Some(expected), &None));
    let name = |identity: &IdentityConfig| identity.trust_domain.as_ref().map(ToString::to_string);
    assert_eq!((name(optional).as_deref(), name(none)), (Some("partners"), None));
    let shown = |rules: &[Rule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&listener.rules), ["allow cn=a", "allow anonymous", "deny cn=b"]);
    let shadow = listener.shadow_rules.as_deref().expect("shadow rules");
    let expected = ["allow trust-domain=partners && lifetime<=1d", "deny cn=b"];
    assert_eq!(shown(shadow), expected, "what is absent of the shadow is as it is live");
}

#[test]
fn a_shadow_has_the_live_list_where_it_has_none_of_its_own() {
    let directory = directory();
    let shadow = |keys: &str| {
        let live = "allow = \"any-verified\"";
        let all = format!("{live}\ndeny = \"cn=b\"\n{keys}");
        let config = load(directory.path(), &GOOD.replacen(live, &all, 1)).expect(keys);
        let rules = config.listeners[1].shadow_rules.clone();
        rules.map(|rules| rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    };
    assert_eq!(shadow(""), None);
    let both = "shadow_allow = \"cn=a\"\nshadow_deny = \"cn=c\"";
    assert_eq!(shadow(both).as_deref(), Some("allow cn=a, deny cn=c"));
    let allow = shadow("shadow_allow = \"cn=a\"");
    assert_eq!(allow.as_deref(), Some("allow cn=a, deny cn=b"));
    let deny = shadow("shadow_deny = \"cn=c\"");
    assert_eq!(deny.as_deref(), Some("allow any-verified, deny cn=c"));
    let none = shadow("shadow_deny = []");
    assert_eq!(none.as_deref(), Some("allow any-verified"), "an empty list is a list");
}

#[test]
fn a_trust_domain_is_of_one_bundle() {
    let directory = directory();
    let with = |first: &str, second: &str| {
        let text = GOOD.replacen(
            "client_ca = \"clients-ca.pem\"",
            &format!("client_ca = \"{first}\"\ntrust_domain = \"a\""),
            1,
        );
        let second =
            format!("key = \"internal.key\"\nclient_ca = \"{second}\"\ntrust_domain = \"a\"");
        text.replacen("key = \"internal.key\"\nclient_ca = \"clients-ca.pem\"", &second, 1)
    };
    load(directory.path(), &with("clients-ca.pem", "clients-ca.pem")).expect("it is the same");
    assert_eq!(
        errors(directory.path(), &with("clients-ca.pem", "old-ca.pem")),
        [
            "35:16: listener.identity.trust_domain: `a` is the name of another client_ca (line 23); give each bundle a name of its own"
        ]
    );
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let directory = directory();
    let config = load(directory.path(), GOOD).expect("it is good");
    let listener = &config.listeners[1];
    assert_eq!((config.max_handshakes, listener.max_connections), (4096, None));
    assert_eq!(listener.limits, Limits::default());
    assert_eq!(listener.withdrawal, Withdrawal::default());
    assert_eq!((listener.announce, listener.strict_sni), (Announce::Nothing, false));
    assert!(listener.proxy_from.is_empty());
    let v2 = GOOD.replacen("\"any-verified\"", "\"any-verified\"\nproxy_protocol = \"v2\"", 1);
    let v2 = load(directory.path(), &v2).expect("it is good");
    assert_eq!(v2.listeners[1].announce, Announce::ProxyV2(Format::default()));
    assert_eq!(listener.tls.suites, default_suites());
    assert_eq!(listener.tls.groups.len(), 4);
    assert!(listener.tls.alpn.is_empty() && listener.tls.ca_names);
    assert_eq!(listener.identities[0].client_auth, ClientAuth::Require);
    // Where a default can be written in a file, to write it changes nothing.
    for key in keys::ALL {
        let Some(default) = key.default.filter(|text| {
            text.starts_with(['"', '[']) || text.parse::<u64>().is_ok() || *text == "false"
        }) else {
            continue;
        };
        let line = format!("{} = {default}\n", key.name());
        let text = match key.table() {
            "" => GOOD.replacen("drain_timeout = \"5s\"\n", &line, 1),
            "listener" => GOOD.replacen(
                "allow = \"any-verified\"\n",
                &format!("allow = \"any-verified\"\n{line}"),
                1,
            ),
            "listener.limits" => GOOD.replacen(
                "allow = \"any-verified\"\n",
                &format!("allow = \"any-verified\"\n[listener.limits]\n{line}"),
                1,
            ),
            "tokens" => format!("{GOOD}\n[tokens]\n{line}"),
            "ticket_keys" => continue,
            _ => format!("{GOOD}{line}"),
        };
        let written = load(directory.path(), &text).expect(key.path);
        let shown = |config: &Config| {
            let listener = &config.listeners[1];
            let identity = &listener.identities[0];
            format!(
                "{:?} {:?} {:?} {:?} {:?} {:?}",
                (config.max_handshakes, &config.tokens),
                listener.tls,
                listener.limits,
                (listener.announce, listener.strict_sni, listener.max_connections),
                listener.rules,
                (&identity.server_names, identity.client_auth, &identity.revocation),
            )
        };
        assert_eq!(shown(&written), shown(&config), "{}", key.path);
        if key.path == "drain_timeout" {
            let without = GOOD.replacen("drain_timeout = \"5s\"\n", "", 1);
            let without = load(directory.path(), &without).expect("it is good");
            assert_eq!(without.drain_timeout, written.drain_timeout);
        }
    }
}

#[test]
fn what_is_not_wrong_but_worth_a_word_is_a_warning() {
    let directory = directory();
    let prefix = directory.path().display().to_string();
    for (good, bad, expected) in [
        (
            "\"partners.pem\"\nkey = \"partners.key\"",
            "\"soon.pem\"\nkey = \"soon.key\"",
            ":20:15: listener.identity.certificate: the certificate of `{dir}/soon.pem` expires soon: at ",
        ),
        (
            "\"partners.key\"",
            "\"readable.key\"",
            ":21:7: listener.identity.key: `{dir}/readable.key` has mode 0644: others than its owner may use the key; chmod 600 it",
        ),
        (
            "key = \"partners.key\"\nclient_ca = \"clients-ca.pem\"",
            "key = \"partners.key\"\nclient_ca = \"old-ca.pem\"",
            ":22:13: listener.identity.client_ca: CA certificate 1 of `{dir}/old-ca.pem` expired at 2020-01-31T00:00:00Z: its clients are refused",
        ),
        (
            "key = \"partners.key\"\nclient_ca = \"clients-ca.pem\"",
            "key = \"partners.key\"\nclient_ca = \"partners.pem\"",
            ":22:13: listener.identity.client_ca: `{dir}/partners.pem`: certificate 1: it is no CA certificate and another CA has issued it: it lets nobody in; trust that CA, and let rules choose the client",
        ),
        (
            "allow = \"any-verified\"",
            "allow = \"any-verified\"\nmax_connections = 1001",
            ":29:19: listener.max_connections: it is never reached: a worker has 1000 connections at most, for all listeners (line 2)",
        ),
        (
            "allow = \"any-verified\"",
            "allow = \"any-verified\"\nproxy_protocol = \"v2\"",
            ":29:18: listener.proxy_protocol: the built-in upstream takes no PROXY protocol header",
        ),
        (
            "allow = \"any-verified\"",
            "allow = \"any-verified\"\nproxy_tlv_bytes = 512",
            ":29:19: listener.proxy_tlv_bytes: it has no effect without `proxy_protocol = \"v2\"`: no other header has TLVs",
        ),
        (
            "allow = \"any-verified\"",
            "allow = \"any-verified\"\nproxy_from = [\"0.0.0.0/0\"]",
            ":29:15: listener.proxy_from: everybody is within it: whoever reaches the listener can claim to be any address",
        ),
    ] {
        let config = load(directory.path(), &GOOD.replacen(good, bad, 1)).expect(bad);
        let [warning] = config.warnings.as_slice() else { panic!("{bad}: {:?}", config.warnings) };
        let warning = warning.replace(&prefix, "{dir}");
        let warning = warning.strip_prefix("{dir}/countersign.toml").expect("the file's name");
        assert!(warning.starts_with(expected), "{warning}");
    }
}

#[test]
fn a_file_that_is_no_configuration_is_said_to_be_none() {
    let directory = directory();
    let path = directory.path().join("countersign.toml");
    let error = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a file");
        let errors = Config::load(&path).expect_err("it is none");
        errors.to_string().replace(&path.display().to_string(), "FILE")
    };
    let key = fs::read(directory.path().join("partners.key")).expect("a file");
    assert_eq!(
        error(&key),
        "FILE: it is a PEM file, not a configuration; name files with certificates and keys in the configuration"
    );
    let large = vec![b'#'; 1024 * 1024 + 1];
    assert!(error(&large).starts_with("FILE: it is larger than 1048576 bytes"));
    assert!(error(b"workers = 1\ncpus = \"\xff\"\n").starts_with("FILE:2:9: not UTF-8"));
    assert_eq!(
        error(b""),
        "FILE:1:1: listener: missing; add it, for example a table [[listener]] with listen, upstream, allow and an identity"
    );
    fs::remove_file(&path).expect("a file");
    let errors = Config::load(&path).expect_err("it is not there").to_string();
    assert!(
        errors.contains("countersign.toml: the configuration cannot be read: No such"),
        "{errors}"
    );
}

#[test]
fn numbers_of_things_are_bounded() {
    let directory = directory();
    let listener = GOOD.split_once("[[listener]]\nname = \"internal\"").expect("it is there").1;
    let of_port = |port: usize| {
        let listener = listener.replace("127.0.0.1:8444", &format!("127.0.0.1:{port}"));
        format!("[[listener]]{listener}")
    };
    let many: String = (1..=65).map(of_port).collect();
    assert_eq!(
        errors(directory.path(), &many),
        ["1:1: listener: there are 65 of them; there may be 64 at most"]
    );
    let shadow = "allow = \"any-verified\"\nshadow_deny = [";
    let rules = vec!["\"cn=a\""; 10_000].join(", ");
    let text = GOOD.replacen("allow = \"any-verified\"", &format!("{shadow}{rules}]"), 1);
    let found = errors(directory.path(), &text);
    assert!(
        found[0].starts_with("29:15: listener.shadow_deny: there are 10001 rules"),
        "{found:?}"
    );
    let text = GOOD.replacen("allow = \"any-verified\"", &format!("allow = [{rules}]"), 1);
    load(directory.path(), &text).expect("so many are good");
    let text = text.replacen("[\"cn=a\"", "[\"cn=b\", \"cn=a\"", 1);
    let found = errors(directory.path(), &text);
    assert!(found[0].starts_with("28:9: listener.allow: there are 10001 rules"), "{found:?}");
    let text: String = (0..5_000).map(|number| format!("k{number} = 1\n")).collect();
    let found = errors(directory.path(), &text);
    assert_eq!(found.len(), 201);
    assert!(found[200].ends_with("4801 more errors are not shown"), "{}", found[200]);
}

#[test]
fn documented_bounds_of_limits_are_the_real_ones() {
    let directory = directory();
    let mut looked_at = 0;
    for key in keys::in_table("listener.limits") {
        let (least, most) = key.bounds.split_once(" to ").expect(key.path);
        for (bound, step) in [(least, -1), (most, 1)] {
            let unit = bound.trim_start_matches(|c: char| c.is_ascii_digit());
            let number: i64 = bound.trim_end_matches(unit).parse().expect(key.path);
            let with = |number: i64| {
                let value = format!("{number}{unit}");
                let value = if unit.is_empty() { value } else { format!("\"{value}\"") };
                let text = format!("{} = {value}", key.name());
                load(directory.path(), &GOOD.replacen("idle_timeout = \"1m\"", &text, 1))
            };
            assert!(with(number).is_ok(), "{} may be {bound}", key.path);
            let beyond = with(number + step).expect_err(key.path);
            assert_eq!(beyond.0.len(), 1, "{beyond}");
            assert_eq!(beyond.0[0].what, key.path, "{beyond}");
            looked_at += 1;
        }
    }
    assert_eq!(looked_at, 30);
}

/// What the rest of the project says about a key is kept here.
const EXAMPLE: &str = "deploy/countersign.example.toml";
const REFERENCE: &str = "docs/configuration.md";

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    fs::read_to_string(root.join(path)).expect(path)
}

/// The example's folder, with the files that it names.
fn example_directory() -> TempDir {
    let directory = directory();
    let file = |name: &str| directory.path().join(name);
    fs::copy(file("clients-ca.pem"), file("internal-clients-ca.pem")).expect("a file");
    fs::write(file("ticket-keys"), "01".repeat(32)).expect("a file");
    fs::set_permissions(file("ticket-keys"), fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::create_dir(file("crls")).expect("a folder");
    directory
}

#[test]
fn the_example_is_right() {
    let directory = example_directory();
    let config = load(directory.path(), &read(EXAMPLE)).expect("it is right");
    assert_eq!(config.warnings, [] as [String; 0]);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].identities.len(), 2);
    assert_eq!(config.listeners[0].limits, Limits::default());
}

#[test]
fn the_example_is_right_with_every_key_set() {
    let directory = example_directory();
    let text: String = read(EXAMPLE).lines().map(|line| format!("{}\n", set(line))).collect();
    // The machine that tests may have fewer CPUs.
    let text = text.replace("cpus = \"0-3\"", "cpus = \"0\"");
    let config = load(directory.path(), &text).expect("it is right");
    assert_eq!(config.listeners[0].limits, Limits::default(), "the example shows defaults");
    assert_eq!(config.listeners[0].resumption, Resumption::default(), "the example shows defaults");
}

/// A line with the `#` taken away from its key.
fn set(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
        _ => line,
    }
}

#[test]
fn every_key_stands_in_the_example_and_in_the_reference() {
    let example = read(EXAMPLE);
    let mut table = String::new();
    let mut shown = Vec::new();
    for line in example.lines().map(set).filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
            shown.push(table.clone());
        } else if let Some((name, _)) = line.split_once(" = ") {
            shown.push(if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") });
        }
    }
    let reference = read(REFERENCE);
    let mut problems = Vec::new();
    for key in keys::ALL {
        // The table that may stand in place of a file is shown in words: both cannot be set.
        let in_words =
            key.table() == "ticket_keys" && example.contains(&format!("{} = ", key.name()));
        if !in_words && !shown.iter().any(|path| path == key.path) {
            problems.push(format!("{EXAMPLE} does not show {}", key.path));
        }
        let row = row(key);
        if !reference.contains(&row) {
            problems.push(format!("{REFERENCE} lacks a row '{row}MEANING |'"));
        }
    }
    let rows = reference.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, keys::ALL.len(), "{REFERENCE} has a row for each key and for no other");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The beginning of a key's row in the reference.
fn row(key: &keys::Key) -> String {
    let is_code = |text: &str| {
        text.starts_with(['"', '[']) && text.ends_with(['"', ']'])
            || text.parse::<u64>().is_ok()
            || text == "false"
    };
    let default = match key.default {
        None => "required".to_owned(),
        Some(text) if is_code(text) => format!("`{text}`"),
        Some(text) => text.to_owned(),
    };
    format!("| `{}` | {} | {default} | {} | ", key.path, key.kind.name(), key.bounds)
}

#[test]
fn every_example_value_of_a_key_is_of_its_kind() {
    for key in keys::ALL.iter().filter(|key| !matches!(key.kind, Kind::Table | Kind::Tables(_))) {
        let text = format!("{} = {}", key.name(), key.example);
        let is_string = key.example.starts_with('"');
        let expected = match key.kind {
            Kind::Text | Kind::Choice(_) | Kind::Duration | Kind::TextOrTable => is_string,
            Kind::Texts => key.example.starts_with('['),
            Kind::TextOrTexts => is_string || key.example.starts_with('['),
            Kind::Count(_) => key.example.parse::<usize>().is_ok(),
            Kind::Switch => ["true", "false"].contains(&key.example),
            Kind::Table | Kind::Tables(_) => false,
        };
        assert!(expected, "{text}");
    }
}

#[test]
fn no_mutation_of_a_file_panics() {
    const ROUNDS: usize = 10_000;
    const INSERTED: &[u8] = b"\"'[]{}=.,#\n\t\\ 0-xz\0\x7f\xc3\xff";
    let directory = directory();
    // No name is looked up: that would take its time.
    let good = GOOD.replace("\"127.0.0.1:8080\"", "\"unix:/run/app.sock\"");
    let file = directory.path().join("countersign.toml");
    let mut random = Random(0x5eed);
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..ROUNDS {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.drain(at..bytes.len().min(at + 1 + random.below(20)))),
                3 => bytes.insert(at, INSERTED[random.below(INSERTED.len())]),
                _ => {
                    let from = random.below(bytes.len());
                    let piece = bytes[from..bytes.len().min(from + random.below(40))].to_vec();
                    drop(bytes.splice(at..at, piece));
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        fs::write(&file, &bytes).expect("a file");
        match Config::load(&file) {
            Ok(_) => right += 1,
            Err(errors) => {
                wrong += 1;
                assert!(!errors.0.is_empty());
                let shown = errors.to_string();
                assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
            }
        }
    }
    assert!(right > 0 && wrong > ROUNDS / 2, "{right} right, {wrong} wrong");
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
