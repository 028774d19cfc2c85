//! `countersign pki` as a process: what it writes is what OpenSSL and the engine accept, and what it refuses
//! it leaves as it was.

mod care;
mod estate;
mod revocation;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use countersign_tests::configuration::{
    Configuration, ConfigurationFile, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::engine::{Launch, program};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::tool::OPENSSL;
use serde_json::Value;

use self::estate::{Estate, has, mode, run};

#[test]
fn init_makes_two_cas_with_their_secrets_kept_from_others() {
    let estate = Estate::new();
    assert_eq!(mode(&estate.directory()), 0o700);
    for secret in ["root.key", "intermediate.key", "index.jsonl"] {
        assert_eq!(mode(&estate.file(secret)), 0o600, "{secret}");
    }
    let root = estate.text_of("root.pem");
    has(&root, &["CA:TRUE, pathlen:1", "Certificate Sign, CRL Sign", "Subject Key Identifier"]);
    let intermediate = estate.text_of("intermediate.pem");
    has(
        &intermediate,
        &["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Authority Key Identifier"],
    );
    assert_eq!(estate.read("clients-ca.pem"), estate.read("root.pem"));
    assert_eq!(estate.read("crl.pem").matches("BEGIN X509 CRL").count(), 2);
    // A second PKI has CAs of other names: nobody takes the one for the other.
    assert_ne!(estate.list(&[])[0]["names"], Estate::new().list(&[])[0]["names"]);
}

#[test]
fn each_kind_of_certificate_is_what_openssl_takes_it_for() {
    let estate = Estate::new();
    estate.does(&["issue", "server", "www.example.org", "*.example.org", "127.0.0.1", "::1"]);
    estate.does(&[
        "issue",
        "client",
        "alice",
        "--dns",
        "alice.example",
        "--uri",
        "urn:example:alice",
        "--email",
        "alice@example.org",
        "--ip",
        "192.0.2.1",
        "--o",
        "Example",
        "--ou",
        "Payments",
    ]);
    estate.does(&["issue", "spiffe", "spiffe://example.org/payments/1"]);

    let (server, client) = ("servers/www.example.org.pem", "clients/alice.pem");
    let workload = "spiffe/example.org/payments/1.pem";
    for (name, purpose, refused) in
        [(server, "sslserver", "sslclient"), (client, "sslclient", "sslserver")]
    {
        let (holds, said) = estate.openssl_verifies(name, purpose);
        assert!(holds, "{said}");
        assert!(!estate.openssl_verifies(name, refused).0, "{name} as {refused}");
    }
    for purpose in ["sslserver", "sslclient"] {
        let (holds, said) = estate.openssl_verifies(workload, purpose);
        assert!(holds, "{said}");
    }
    has(
        &estate.text_of(server),
        &[
            "CN = www.example.org",
            "DNS:www.example.org, DNS:*.example.org, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        ],
    );
    has(
        &estate.text_of(client),
        &[
            "O = Example, OU = Payments, CN = alice",
            "DNS:alice.example, URI:urn:example:alice, email:alice@example.org, IP Address:192.0.2.1",
            "Digital Signature",
            "CA:FALSE",
            "Subject Key Identifier",
            "Authority Key Identifier",
        ],
    );
    has(
        &estate.text_of(workload),
        &[
            "Subject: \n",
            "Alternative Name: critical\n                URI:spiffe://example.org/payments/1",
        ],
    );
    for name in [server, client, workload] {
        assert_eq!(
            estate.read(name).matches("BEGIN CERTIFICATE").count(),
            2,
            "with the intermediate"
        );
        assert_eq!(mode(&estate.file(&name.replace(".pem", ".key"))), 0o600);
        has(&estate.does(&["verify", &format!("pki/{name}")]), &["accepted"]);
    }
}

#[test]
fn every_kind_of_key_makes_a_pki_that_holds() {
    for kind in ["p256", "p384", "ed25519", "rsa2048"] {
        let estate = Estate::empty();
        estate.does(&["init", "--key-type", kind, "--name", "Example"]);
        estate.does(&["issue", "client", "alice", "--key-type", kind]);
        has(&estate.text_of("intermediate.pem"), &["CN = Example intermediate"]);
        let (holds, said) = estate.openssl_verifies("clients/alice.pem", "sslclient");
        assert!(holds, "{kind}: {said}");
        let check = OPENSSL.run(&["pkey", "-noout", "-in", &estate.path("clients/alice.key")]);
        assert!(check.status.success(), "{kind}: {check:?}");
        estate.does(&["verify", "pki/clients/alice.pem"]);
    }
}

#[test]
fn a_key_that_is_there_already_signs_from_where_it_is() {
    let estate = Estate::empty();
    let key = estate.folder.path().join("ca.key");
    let made = OPENSSL.run(&[
        "ecparam",
        "-genkey",
        "-noout",
        "-name",
        "prime256v1",
        "-out",
        &key.display().to_string(),
    ]);
    assert!(made.status.success(), "{made:?}");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("its mode");
    has(
        &estate.refuses(&["init", "--key", "pkcs11:token=ca"]),
        &["pkcs11:token=ca", "module-path="],
    );
    has(&estate.refuses(&["init", "--key", "nowhere.key"]), &["nowhere.key", "cannot be read"]);
    assert!(!estate.directory().exists(), "nothing is left behind");

    estate.does(&["init", "--key", "ca.key"]);
    assert!(!estate.file("intermediate.key").exists());
    estate.does(&["issue", "client", "alice"]);
    estate.does(&["verify", "pki/clients/alice.pem"]);
    fs::copy(estate.file("root.key"), &key).expect("another key in its place");
    has(
        &estate.refuses(&["issue", "client", "bob"]),
        &["intermediate.pem", "another certificate's"],
    );
}

#[test]
fn what_is_renewed_keeps_its_names_and_gets_a_new_key_and_number() {
    let estate = Estate::new();
    estate.does(&["issue", "client", "alice", "--dns", "alice.example", "--lifetime", "2h"]);
    let (client, key) = ("clients/alice.pem", "clients/alice.key");
    let (old_key, old_public) = (estate.read(key), estate.public_key_of(client));

    estate.does(&["renew", "alice"]);
    assert_ne!(estate.read(key), old_key);
    let new_public = estate.public_key_of(client);
    assert_ne!(new_public, old_public);
    estate.does(&["renew", "pki/clients/alice.pem", "--keep-key", "--lifetime", "3h"]);
    assert_eq!(estate.public_key_of(client), new_public);

    let all: Vec<Value> =
        estate.list(&[]).into_iter().filter(|one| one["kind"] == "client").collect();
    assert_eq!(all.len(), 3);
    for (old, new) in all.iter().zip(&all[1..]) {
        assert_eq!(old["names"], new["names"]);
        assert_eq!(new["renews"], old["serial"]);
        assert_ne!(new["serial"], old["serial"]);
    }
    estate.does(&["verify", "pki/clients/alice.pem"]);
    // The second and the third are of the same key; what a serial number names is still the first.
    estate.does(&["renew", all[0]["serial"].as_str().expect("a serial number")]);
    let first = all[0]["serial"].as_str().expect("a serial number");
    has(&estate.refuses(&["renew", first, "--keep-key"]), &["holds another certificate"]);
    has(&estate.refuses(&["renew", "pki/intermediate.pem"]), &["a CA is not renewed"]);
    has(&estate.refuses(&["renew", "nobody"]), &["does not know 'nobody'"]);
}

#[test]
fn verify_refuses_what_is_not_of_this_pki() {
    let (estate, other) = (Estate::new(), Estate::new());
    estate.does(&["issue", "server", "localhost"]);
    other.does(&["issue", "client", "alice"]);
    let foreign = other.path("clients/alice.pem");
    let ended = estate.run(&["verify", &foreign]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    has(&ended.stdout, &["no path to a trust anchor", "not in the index"]);

    let chain = estate.read("servers/localhost.pem");
    let end = "-----END CERTIFICATE-----\n";
    let alone = format!("{}{end}", chain.split(end).next().expect("a certificate"));
    fs::write(estate.folder.path().join("alone.pem"), alone).expect("a file");
    has(&estate.run(&["verify", "alone.pem"]).stdout, &["refused", "the intermediate is missing"]);
    has(
        &estate.run(&["verify", "pki/intermediate.pem"]).stdout,
        &["refused", "a CA's certificate"],
    );
    has(&estate.refuses(&["verify", "pki/root.key"]), &["root.key", "no certificate"]);
    has(&estate.refuses(&["verify", "nowhere.pem"]), &["nowhere.pem", "cannot be read"]);
}

#[test]
fn the_engine_serves_with_what_was_issued() {
    let estate = Estate::new();
    estate.does(&["issue", "server", "localhost", "127.0.0.1"]);
    estate.does(&["issue", "client", "alice"]);
    estate.does(&["issue", "client", "mallory"]);
    estate.does(&["issue", "spiffe", "spiffe://example.org/payments/1"]);

    let scratch = Pki::new(KeyKind::EcdsaP256);
    let identity = IdentitySection::without_clients(&scratch.server)
        .set("certificate", estate.path("servers/localhost.pem"))
        .set("key", estate.path("servers/localhost.key"))
        .set("client_ca", estate.path("clients-ca.pem"));
    let listener = ListenerSection::new("pki", own_address()).identity(identity);
    let file = ConfigurationFile::new(&scratch, &Configuration::new().listener(listener));
    let check = run(Command::new(program()).args(["check", "--config"]).arg(file.path()));
    assert!(check.status.success() && check.stdout.contains("is right"), "{check:?}");

    let engine = Launch::new(&scratch)
        .certificate(&estate.file("servers/localhost.pem"))
        .key(&estate.file("servers/localhost.key"))
        .client_ca(&estate.file("clients-ca.pem"))
        .rules(&["--allow", "cn=alice", "--allow", "uri=spiffe://example.org/**"])
        .start();
    for (client, comes_in) in [
        ("clients/alice", true),
        ("spiffe/example.org/payments/1", true),
        ("clients/mallory", false),
    ] {
        let chain = estate.path(&format!("{client}.pem"));
        let mut running = OPENSSL.start(&[
            "s_client",
            "-connect",
            &engine.address.to_string(),
            "-servername",
            "localhost",
            "-verify_hostname",
            "localhost",
            "-verify_return_error",
            "-CAfile",
            &estate.path("root.pem"),
            "-cert",
            &chain,
            "-cert_chain",
            &chain,
            "-key",
            &estate.path(&format!("{client}.key")),
        ]);
        running.wait_for_output("Verify return code: 0 (ok)");
        running.input("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let finished = running.outlast();
        assert_eq!(finished.said.contains("HTTP/1.1 200"), comes_in, "{client}: {finished:?}");
        assert_eq!(
            finished.said.contains("alert access denied"),
            !comes_in,
            "{client}: {finished:?}"
        );
    }
}
