//! The end of the engine's life: TERM and INT stop new connections and let the open ones finish, within a
//! deadline.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use countersign_tests::backend::{self, Backend};
use countersign_tests::client::{Client, Ending, Progress, Version, config};
use countersign_tests::deadline::wait_for;
use countersign_tests::engine::{Launch, is_idle};
use countersign_tests::http::{GET, GET_AND_CLOSE, names, read_response};
use countersign_tests::pki::{KeyKind, Pki};
use countersign_tests::seeded::Seeded;
use rustix::process::Signal;
use rustls::ClientConfig;

/// Time for a signal to be acted on. Too short, a test shows less; it never fails for it.
const SIGNAL_PAUSE: Duration = Duration::from_millis(300);

#[test]
fn term_without_connections() {
    ends_cleanly_without_connections(Signal::TERM);
}

#[test]
fn int_without_connections() {
    ends_cleanly_without_connections(Signal::INT);
}

#[test]
fn term_under_load_answers_every_open_request() {
    answers_every_open_request_under_load(Signal::TERM);
}

#[test]
fn int_under_load_answers_every_open_request() {
    answers_every_open_request_under_load(Signal::INT);
}

#[test]
fn requests_half_sent_at_term_are_answered() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).option("--drain-timeout", "60s").start();
    let mut clients: Vec<Client> =
        (0..20).map(|turn| established(engine.address, &pki, turn)).collect();
    let (first_half, second_half) = GET_AND_CLOSE.split_at(GET_AND_CLOSE.len() / 2);
    for client in &mut clients {
        client.send(first_half);
    }
    wait_for("all connections to be open", || {
        (engine.status()["connections_open"] == 20).then_some(())
    });
    engine.signal(Signal::TERM);
    thread::sleep(SIGNAL_PAUSE);
    for mut client in clients {
        client.send(second_half);
        let response = read_response(&mut client).expect("an answer after TERM");
        assert!(names(&response.json(), "alice"));
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
    let stopped = engine.wait();
    assert_eq!(stopped.code, Some(0));
    assert!(is_idle(&stopped.event), "{}", stopped.event);
}

#[test]
fn relayed_connections_open_at_term_finish() {
    const LENGTH: usize = 800_000;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine =
        Launch::new(&pki).upstream(&backend.upstream()).option("--drain-timeout", "60s").start();
    let bytes = Seeded::new(21).bytes(LENGTH);
    let mut clients: Vec<Client> =
        (0..20).map(|turn| established(engine.address, &pki, turn)).collect();
    for client in &mut clients {
        client.send(&bytes[..1000]);
        assert_eq!(client.receive_exactly(1000), bytes[..1000]);
    }
    engine.signal(Signal::TERM);
    thread::sleep(SIGNAL_PAUSE);
    for mut client in clients {
        // Pieces that fit into the sockets' buffers: this side does not read while it writes.
        for piece in bytes[1000..].chunks(50_000) {
            client.send(piece);
            assert_eq!(client.receive_exactly(piece.len()), piece);
        }
        client.close_notify();
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
    let stopped = engine.wait();
    assert_eq!(stopped.code, Some(0));
    assert!(is_idle(&stopped.event), "{}", stopped.event);
    let heard = backend.seen().wait_for_ended(20);
    assert!(heard.iter().all(|heard| heard.ending == backend::Ending::Eof), "{heard:?}");
}

#[test]
fn a_handshake_in_progress_at_term_is_completed() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).option("--drain-timeout", "60s").start();
    let clients: Vec<(Client, Vec<u8>)> = Version::ALL
        .into_iter()
        .map(|version| {
            let mut client =
                Client::connect(engine.address, &Arc::new(config(&pki, Some(&pki.alice), version)));
            let hello = client.take_pending();
            let (now, later) = hello.split_at(hello.len() / 2);
            client.write_raw(now);
            (client, later.to_vec())
        })
        .collect();
    wait_for("both connections to be accepted", || {
        (engine.status()["accepted"] == 2).then_some(())
    });
    engine.signal(Signal::TERM);
    thread::sleep(SIGNAL_PAUSE);
    for (mut client, rest_of_hello) in clients {
        client.write_raw(&rest_of_hello);
        client.handshake().expect("a handshake after TERM");
        client.send(GET_AND_CLOSE);
        assert!(names(&read_response(&mut client).expect("an answer after TERM").json(), "alice"));
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
    }
    assert_eq!(engine.wait().code, Some(0));
}

#[test]
fn a_connection_that_never_ends_is_cut_off_after_term() {
    is_cut_off(Signal::TERM);
}

#[test]
fn a_connection_that_never_ends_is_cut_off_after_int() {
    is_cut_off(Signal::INT);
}

#[test]
fn a_handshake_that_never_ends_is_cut_off_too() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki)
        .option("--drain-timeout", "1s")
        .option("--handshake-timeout", "10m")
        .start();
    let mut client =
        Client::connect(engine.address, &Arc::new(config(&pki, Some(&pki.alice), Version::Tls13)));
    assert_eq!(client.handshake_up_to(100), Ok(Progress::Cut));
    wait_for("the connection to be accepted", || (engine.status()["accepted"] == 1).then_some(()));
    assert_eq!(engine.terminate().code, Some(1));
    drop(client);
}

#[test]
fn the_port_is_free_at_once() {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let mut engine = Launch::new(&pki).option("--drain-timeout", "1s").start();
    for turn in 0..5 {
        let address = engine.address;
        let mut client = established(address, &pki, turn);
        client.send(GET);
        read_response(&mut client).expect("an answer");
        // Even turns leave a connection to be cut off, which leaves a TIME_WAIT here or there.
        if turn % 2 == 1 {
            client.close_notify();
            client.ending();
            drop(client);
        }
        drop(engine.terminate());
        drop(TcpListener::bind(address).expect("the port of an engine that has ended"));
        engine =
            Launch::new(&pki).listen(&address.to_string()).option("--drain-timeout", "1s").start();
        assert_eq!(engine.address, address);
    }
}

fn ends_cleanly_without_connections(signal: Signal) {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).start();
    engine.signal(signal);
    let stopped = engine.wait();
    assert_eq!(stopped.code, Some(0));
    assert!(is_idle(&stopped.event), "{}", stopped.event);
}

/// Clients come and go as fast as they can while the signal comes. Whoever has had one byte of the engine's
/// gets a whole answer.
fn answers_every_open_request_under_load(signal: Signal) {
    const CLIENTS: usize = 8;
    const ANSWERS_BEFORE_SIGNAL: u64 = 100;
    let pki = Pki::new(KeyKind::EcdsaP256);
    let engine = Launch::new(&pki).option("--drain-timeout", "60s").start();
    let answers = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|turn| {
            let (address, answers) = (engine.address, Arc::clone(&answers));
            let config = client_config(&pki, turn);
            thread::spawn(move || ask_until_refused(address, &config, &answers))
        })
        .collect();
    wait_for("answers", || (answers.load(Ordering::SeqCst) >= ANSWERS_BEFORE_SIGNAL).then_some(()));
    engine.signal(signal);
    for client in clients {
        client.join().expect("every request that was begun is answered");
    }
    let stopped = engine.wait();
    assert_eq!(stopped.code, Some(0));
    assert!(is_idle(&stopped.event), "{}", stopped.event);
    assert!(
        stopped.event["accepted"].as_u64() >= Some(answers.load(Ordering::SeqCst)),
        "{}",
        stopped.event
    );
}

fn ask_until_refused(address: SocketAddr, config: &Arc<ClientConfig>, answers: &AtomicU64) {
    loop {
        let socket = match TcpStream::connect(address) {
            Ok(socket) => socket,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            Err(error) => panic!("connect: {error}"),
        };
        let mut client = Client::over(socket, config);
        if let Err(ending) = client.handshake() {
            // The kernel had taken this connection, the engine had not: nothing of it was ever answered.
            let unanswered = client.tls().protocol_version().is_none();
            assert!(
                unanswered && matches!(ending, Ending::Reset | Ending::Truncated),
                "{ending:?}"
            );
            return;
        }
        client.send(GET_AND_CLOSE);
        let response = read_response(&mut client).expect("an answer");
        assert!(names(&response.json(), "alice"));
        assert_eq!(client.ending(), (Vec::new(), Ending::CloseNotify));
        answers.fetch_add(1, Ordering::SeqCst);
    }
}

fn is_cut_off(signal: Signal) {
    let pki = Pki::new(KeyKind::EcdsaP256);
    let backend = Backend::echo();
    let engine =
        Launch::new(&pki).upstream(&backend.upstream()).option("--drain-timeout", "1s").start();
    let mut client = established(engine.address, &pki, 0);
    client.send(b"stay");
    assert_eq!(client.receive_exactly(4), b"stay");
    engine.signal(signal);
    let stopped = engine.wait();
    assert_eq!(stopped.code, Some(1));
    // Cut off, but not left behind.
    assert!(is_idle(&stopped.event), "{}", stopped.event);
    let (_, ending) = client.ending();
    assert!(
        matches!(ending, Ending::Truncated | Ending::Reset),
        "a clean end would be a lie: {ending:?}"
    );
    assert_eq!(backend.seen().wait_for_ended(1)[0].ending, backend::Ending::Reset);
}

fn established(address: SocketAddr, pki: &Pki, turn: usize) -> Client {
    Client::established(address, &client_config(pki, turn))
}

/// TLS 1.3 and 1.2 in turn.
fn client_config(pki: &Pki, turn: usize) -> Arc<ClientConfig> {
    Arc::new(config(pki, Some(&pki.alice), Version::ALL[turn % Version::ALL.len()]))
}
