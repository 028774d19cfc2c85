//! HUP: a configuration is taken whole or not at all, and nobody who is connected or queued is hurt by it.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use countersign_tests::backend::Backend;
use countersign_tests::client::{Client, Ending, Version};
use countersign_tests::configuration::{
    Configuration, IdentitySection, ListenerSection, own_address,
};
use countersign_tests::deadline::wait_for;
use countersign_tests::http::{GET_AND_CLOSE, names, read_response, whoami};
use countersign_tests::pki::{KeyKind, Pki, SERVER_NAME, start_of_year};
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::CertificateDer;

use crate::configured::{Configured, ask_whoami, tls};

const NOT_AFTER: &str = "countersign_certificate_not_after_timestamp_seconds";
const RELOADS: &str = "countersign_reloads_total";
const GENERATION: &str = "countersign_config_generation";
const GENERATION_SERVED: &str = "countersign_config_generation_served";

#[test]
fn new_connections_see_the_new_certificate_and_old_ones_go_on() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let backend = Backend::echo();
    let old = pki.server_for(&[SERVER_NAME], 2040);
    let listener = ListenerSection::new("door", address)
        .set("upstream", backend.upstream())
        .identity(IdentitySection::new(&old, &pki.client_root_file));
    let configuration = Configuration::new().listener(listener);
    let configured = Configured::start(&pki, configuration.clone());
    let mut open: Vec<Client> = Version::ALL
        .into_iter()
        .map(|version| {
            let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), version));
            assert_eq!(shown(&client), old.chain);
            echoes(&mut client, b"before");
            client
        })
        .collect();
    assert_eq!(not_after(&configured), [start_of_year(2040)]);

    // As certbot and the like do it: other content in the same files.
    let new = pki.server_for(&[SERVER_NAME], 2041);
    fs::copy(&new.chain_file, &old.chain_file).expect("a new chain");
    fs::copy(&new.key_file, &old.key_file).expect("a new key");
    let client = Client::established(address, &tls(&pki, Some(&pki.alice), Version::Tls13));
    assert_eq!(shown(&client), old.chain, "files are read when told to, not when they change");
    drop(client);
    let answer = configured.reload(configuration);
    assert_eq!((&answer["generation"], &answer["listeners"]), (&2.into(), &1.into()), "{answer}");

    for version in Version::ALL {
        let mut client = Client::established(address, &tls(&pki, Some(&pki.alice), version));
        assert_eq!(shown(&client), new.chain);
        echoes(&mut client, b"new");
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
    for client in &mut open {
        echoes(client, b"still here");
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
    assert_eq!(not_after(&configured), [start_of_year(2041)]);
}

#[test]
fn rules_act_on_connections_new_and_open() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let bob = pki.client("bob");
    let allowing = |rule: &str| {
        Configuration::new()
            .listener(ListenerSection::of("door", address, &pki).set("allow", [rule]))
    };
    let configured = Configured::start(&pki, allowing("cn=alice"));
    let denied = Err(Ending::refused_with(AlertDescription::AccessDenied));
    for version in Version::ALL {
        let (alice, bob) = (tls(&pki, Some(&pki.alice), version), tls(&pki, Some(&bob), version));
        let mut open = Client::established(address, &alice);
        assert!(names(&whoami(&mut open), "alice"));
        assert_eq!(ask_whoami(SERVER_NAME, address, &bob), denied);
        configured.reload(allowing("cn=bob"));
        assert!(names(&ask_whoami(SERVER_NAME, address, &bob).expect("bob"), "bob"));
        assert_eq!(ask_whoami(SERVER_NAME, address, &alice), denied);
        // How it ends tests/wire/living.rs looks at.
        assert_ne!(open.ending().1, Ending::CloseNotify);
        configured.reload(allowing("cn=alice"));
    }
}

#[test]
fn the_upstream_of_new_connections() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let (first, second) = (Backend::echo(), Backend::echo());
    let going_to = |backend: &Backend| {
        let listener = ListenerSection::of("door", address, &pki);
        Configuration::new().listener(listener.set("upstream", backend.upstream()))
    };
    let configured = Configured::start(&pki, going_to(&first));
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);
    let mut old = Client::established(address, &alice);
    echoes(&mut old, b"one");
    configured.reload(going_to(&second));
    let mut new = Client::established(address, &alice);
    echoes(&mut new, b"two");
    echoes(&mut old, b"three");
    assert_eq!((first.seen().connections(), second.seen().connections()), (1, 1));
    assert_eq!((first.seen().received_bytes(), second.seen().received_bytes()), (8, 3));
}

#[test]
fn listeners_come_and_go_while_others_have_connections_queued() {
    const QUEUED: usize = 8;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (kept, leaving, coming) = (own_address(), own_address(), own_address());
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);
    let full = |name, address| ListenerSection::of(name, address, &pki).set("max_connections", 1);
    let before =
        Configuration::new().listener(full("leaving", leaving)).listener(full("kept", kept));
    let after = Configuration::new()
        .listener(full("kept", kept))
        .listener(ListenerSection::of("coming", coming, &pki));
    let configured = Configured::start(&pki, before);

    let mut holders: Vec<Client> =
        [kept, leaving].map(|address| Client::established(address, &alice)).into();
    for holder in &mut holders {
        assert!(names(&whoami(holder), "alice"));
    }
    // The kernel completes their TCP handshakes; the engine has no room for them.
    let mut queued: Vec<Client> = [kept, leaving]
        .into_iter()
        .flat_map(|address| (0..QUEUED).map(move |_| address))
        .map(|address| {
            let mut client = Client::connect(address, &alice);
            let hello = client.take_pending();
            client.write_raw(&hello);
            client
        })
        .collect();
    configured.reload(after);
    assert!(names(&ask_whoami(SERVER_NAME, coming, &alice).expect("the new listener"), "alice"));
    for holder in &mut holders {
        assert!(names(&whoami(holder), "alice"), "who is in stays in");
    }
    for mut holder in holders {
        holder.close_notify();
        assert_eq!(holder.ending(), (Vec::new(), Ending::CloseNotify));
    }
    for client in &mut queued {
        client.handshake().expect("a queued connection is served");
        client.send(GET_AND_CLOSE);
        let answer = read_response(client).expect("an answer to a queued connection");
        assert!(names(&answer.json(), "alice"));
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        client.close_notify();
        // There is room for the next as soon as this one is gone.
        client.truncate();
    }
    wait_until_gone(leaving);
    // Those who came only to see whether the listener is gone were let go too, and are not counted here.
    configured.engine.wait_until_idle();
    let everybody = 2 * (QUEUED + 1) as u64 + 1;
    let metrics = configured.metrics();
    assert_eq!(metrics.count("countersign_handshakes_total", &[("resumed", "false")]), everybody);
    assert_eq!(metrics.count("countersign_connections_ended_cleanly_total", &[]), everybody);
}

#[test]
fn a_connection_keeps_the_name_of_its_listener() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let addresses = [own_address(), own_address(), own_address()];
    let listener = |number: usize| {
        ListenerSection::of(["one", "two", "three"][number], addresses[number], &pki)
    };
    let all =
        Configuration::new().listener(listener(0)).listener(listener(1)).listener(listener(2));
    let configured = Configured::start(&pki, all);
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);
    let open: Vec<Client> = addresses
        .iter()
        .map(|address| {
            let mut client = Client::established(*address, &alice);
            assert!(names(&whoami(&mut client), "alice"));
            client
        })
        .collect();
    // The first is gone, the others stand elsewhere in the file.
    configured.reload(Configuration::new().listener(listener(2)).listener(listener(1)));
    for (mut client, name) in open.into_iter().zip(["one", "two", "three"]) {
        let address = client.address();
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        let record = configured.engine.connection_record(address);
        assert_eq!(record["listener"], name, "{record}");
    }
}

#[test]
fn a_listener_that_was_removed_comes_back() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (kept, other) = (own_address(), own_address());
    let alone = || Configuration::new().listener(ListenerSection::of("kept", kept, &pki));
    let both = || alone().listener(ListenerSection::of("other", other, &pki));
    let configured = Configured::start(&pki, both());
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);
    for _ in 0..3 {
        assert!(names(&ask_whoami(SERVER_NAME, other, &alice).expect("both serve"), "alice"));
        configured.reload(alone());
        wait_until_gone(other);
        assert!(names(&ask_whoami(SERVER_NAME, kept, &alice).expect("one serves"), "alice"));
        configured.reload(both());
    }
    // At once, before the last socket can have gone.
    for _ in 0..10 {
        configured.reload(alone());
        configured.reload(both());
        assert!(names(&ask_whoami(SERVER_NAME, other, &alice).expect("both serve"), "alice"));
    }
}

#[test]
fn connections_of_a_listener_that_is_removed_live_on() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let (kept, leaving) = (own_address(), own_address());
    let backend = Backend::echo();
    let alone = Configuration::new().listener(ListenerSection::of("kept", kept, &pki));
    let relaying =
        ListenerSection::of("leaving", leaving, &pki).set("upstream", backend.upstream());
    let configured = Configured::start(&pki, alone.clone().listener(relaying));
    let mut open: Vec<Client> = Version::ALL
        .into_iter()
        .map(|version| Client::established(leaving, &tls(&pki, Some(&pki.alice), version)))
        .collect();
    for client in &mut open {
        echoes(client, b"before");
    }
    configured.reload(alone);
    wait_until_gone(leaving);
    for client in &mut open {
        echoes(client, b"after");
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
}

#[test]
fn what_is_broken_changes_nothing_and_says_why() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let taken = TcpListener::bind(own_address()).expect("a listener");
    let taken_address = taken.local_addr().expect("its address");
    let good = || Configuration::new().listener(ListenerSection::of("door", address, &pki));
    let door = || ListenerSection::of("door", address, &pki);
    let with = |identity| {
        Configuration::new().listener(ListenerSection::new("door", address).identity(identity))
    };
    let nowhere = pki.directory().join("nowhere.pem").display().to_string();
    let other_key = pki.unrelated_server_key_file().display().to_string();
    let other = || ListenerSection::of("other", taken_address, &pki);
    let configured = Configured::start(&pki, good());
    let alice = tls(&pki, Some(&pki.alice), Version::Tls13);
    let mut open = Client::established(address, &alice);
    assert!(names(&whoami(&mut open), "alice"));

    let broken: [(&str, String); 11] = [
        ("syntax", "this is no TOML".to_owned()),
        ("no_such_key", good().set("no_such_key", 1).text()),
        ("listener", Configuration::new().text()),
        ("nowhere.pem", with(IdentitySection::of(&pki).set("certificate", nowhere.clone())).text()),
        ("nowhere.pem", with(IdentitySection::of(&pki).set("client_ca", nowhere)).text()),
        ("unrelated.key", with(IdentitySection::of(&pki).set("key", other_key)).text()),
        ("`uuid`", Configuration::new().listener(door().set("allow", ["uuid=1"])).text()),
        ("allow", Configuration::new().listener(door().set("allow", Vec::<String>::new())).text()),
        ("idle_timeout", Configuration::new().listener(door().limit("idle_timeout", "0s")).text()),
        ("workers", good().set("workers", 2).text()),
        (&taken_address.to_string(), good().listener(other()).text()),
    ];
    let mut refused = 0;
    for (word, text) in broken {
        // All of them have the endpoint, or its absence would be what is refused.
        let admin = format!("\n[admin]\nlisten = {:?}\n", configured.admin.listen());
        configured.file.rewrite_text(&(text.clone() + &admin));
        let errors = configured.engine.reload_refused();
        refused += 1;
        assert!(errors.iter().any(|error| error.contains(word)), "no {word} in {errors:#?}");
        changes_nothing(&configured, address, &alice, refused);
        assert!(names(&whoami(&mut open), "alice"));
    }
    fs::remove_file(configured.file.path()).expect("the file");
    let errors = configured.engine.reload_refused();
    let path = configured.file.path().display().to_string();
    assert!(errors.iter().any(|error| error.contains(&path)), "{errors:?}");
    changes_nothing(&configured, address, &alice, refused + 1);

    // And what is good again is taken.
    let answer = configured.reload(good());
    assert_eq!(answer["generation"], 2, "{answer}");
    assert_eq!(configured.metrics().count(RELOADS, &[("result", "published")]), 1);
    configured.wait_for_count(GENERATION_SERVED, &[], 2);
    assert!(names(&whoami(&mut open), "alice"));
}

#[test]
fn errors_of_a_file_are_all_said_at_once_with_their_places() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let address = own_address();
    let configured = Configured::start(
        &pki,
        Configuration::new().listener(ListenerSection::of("door", address, &pki)),
    );
    let broken = ListenerSection::of("door", address, &pki)
        .set("allow", ["uuid=1"])
        .set("colour", "red")
        .set("versions", ["1.1"])
        .limit("handshake_timeout", "1h");
    configured.rewrite(Configuration::new().listener(broken));
    let errors = configured.engine.reload_refused();
    let path = configured.file.path().display().to_string();
    for word in ["`uuid`", "colour", "1.1", "handshake_timeout"] {
        let found: Vec<&String> = errors.iter().filter(|error| error.contains(word)).collect();
        assert_eq!(found.len(), 1, "{word}: {errors:#?}");
        assert!(has_place(found[0], &path), "no FILE:LINE:COLUMN: in {found:?}");
    }
    assert_eq!(errors.len(), 4, "{errors:#?}");
}

/// Does it begin with `FILE:LINE:COLUMN: `?
fn has_place(error: &str, path: &str) -> bool {
    let Some(rest) = error.strip_prefix(path).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    let mut numbers = rest.split(": ").next().unwrap_or_default().split(':');
    let is_number = |text: Option<&str>| text.is_some_and(|text| text.parse::<u32>().is_ok());
    is_number(numbers.next()) && is_number(numbers.next()) && numbers.next().is_none()
}

#[track_caller]
fn changes_nothing(
    configured: &Configured,
    address: SocketAddr,
    client: &Arc<ClientConfig>,
    refused: u64,
) {
    assert!(names(&ask_whoami(SERVER_NAME, address, client).expect("the old one serves"), "alice"));
    let metrics = configured.metrics();
    assert_eq!(metrics.count(RELOADS, &[("result", "refused")]), refused);
    assert_eq!(metrics.count(RELOADS, &[("result", "published")]), 0);
    assert_eq!((metrics.count(GENERATION, &[]), metrics.count(GENERATION_SERVED, &[])), (1, 1));
}

fn not_after(configured: &Configured) -> Vec<i64> {
    let metrics = configured.metrics();
    metrics.families[NOT_AFTER].samples.iter().map(|sample| sample.value as i64).collect()
}

fn shown(client: &Client) -> Vec<CertificateDer<'static>> {
    let shown = client.tls().peer_certificates().expect("the server's certificates");
    shown.iter().map(|der| der.clone().into_owned()).collect()
}

#[track_caller]
fn echoes(client: &mut Client, bytes: &[u8]) {
    client.send(bytes);
    assert_eq!(client.receive_exactly(bytes.len()), bytes);
}

/// Waits until nobody listens there. A connection that comes while the engine looks whether its queue is empty
/// is still taken in.
#[track_caller]
fn wait_until_gone(address: SocketAddr) {
    wait_for("a removed listener to be gone", || match TcpStream::connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(()),
        _ => None,
    });
}
