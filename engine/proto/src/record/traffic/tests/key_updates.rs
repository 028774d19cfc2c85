//! KeyUpdates, as many as a transfer brings along; and not as many as an attacker likes.

use std::io::{Read, Write};

use rustls::{AlertDescription, ClientConnection};

use super::handshake::{Peers, SUITES, Suite};
use super::{RecordLayer, TrafficRecords, open};
use crate::record::traffic::framing::{APPLICATION_DATA, HANDSHAKE};
use crate::record::traffic::messages::KEY_UPDATES_MAX;

const MANY: usize = 10_000;

fn tls13() -> impl Iterator<Item = Suite> {
    SUITES.into_iter().filter(|suite| suite.is_tls13())
}

fn key_update(request: u8) -> (u8, Vec<u8>) {
    (HANDSHAKE, vec![24, 0, 0, 1, request])
}

/// Sends all that the client has; returns what was answered.
fn pass_up(
    client: &mut ClientConnection,
    server: &mut TrafficRecords,
    data: &mut Vec<u8>,
) -> Vec<u8> {
    let (mut wire, mut answers) = (Vec::new(), Vec::new());
    while client.wants_write() {
        client.write_tls(&mut wire).expect("memory");
    }
    let opened = server.open(&wire, data, &mut answers);
    opened.unwrap_or_else(|error| panic!("{}", error.detail));
    answers
}

fn pass_down(client: &mut ClientConnection, wire: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut left = wire;
    while !left.is_empty() {
        client.read_tls(&mut left).expect("memory");
        client.process_new_packets().expect("rustls follows");
        let mut buffer = [0; 256];
        while let Ok(read @ 1..) = client.reader().read(&mut buffer) {
            data.extend_from_slice(&buffer[..read]);
        }
    }
    data
}

#[test]
fn ten_thousand_through_a_download() {
    for suite in tls13() {
        let (mut client, mut server) = Peers::new(suite).rustls_and_ours();
        for n in 0..MANY {
            client.refresh_traffic_keys().expect("TLS 1.3");
            let mut wire = pass_up(&mut client, &mut server, &mut Vec::new());
            server.seal(&n.to_be_bytes(), &mut wire).expect("open");
            assert_eq!(pass_down(&mut client, &wire), n.to_be_bytes());
        }
    }
}

#[test]
fn ten_thousand_of_both_kinds_through_a_download() {
    for suite in tls13() {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        for n in 0..MANY {
            let request = u8::from(n % 3 == 0);
            let (mut data, mut wire) = (Vec::new(), Vec::new());
            server.open(&client.key_update(request), &mut data, &mut wire).expect("allowed");
            server.seal(b"down", &mut wire).expect("open");
            let contents = client.open(&wire);
            let answers = contents.iter().filter(|content| **content == key_update(0)).count();
            assert_eq!(answers, usize::from(request));
            assert_eq!(contents.last(), Some(&(APPLICATION_DATA, b"down".to_vec())));
        }
    }
}

#[test]
fn ten_thousand_through_an_upload_are_answered_once() {
    for suite in tls13() {
        let (mut client, mut server) = Peers::new(suite).rustls_and_ours();
        let mut answers = Vec::new();
        server.seal(b"go", &mut answers).expect("open");
        assert_eq!(pass_down(&mut client, &std::mem::take(&mut answers)), b"go");
        let (mut sent, mut data) = (Vec::new(), Vec::new());
        for n in 0..MANY {
            client.refresh_traffic_keys().expect("TLS 1.3");
            client.writer().write_all(&n.to_be_bytes()).expect("memory");
            sent.extend(n.to_be_bytes());
            answers.extend(pass_up(&mut client, &mut server, &mut data));
        }
        assert!(sent == data);
        // A client that reads nothing makes us queue no more than this.
        assert_eq!(answers.len(), 5 + 5 + 1 + 16, "one KeyUpdate");
        server.seal(b"thanks", &mut answers).expect("open");
        assert_eq!(pass_down(&mut client, &answers), b"thanks");
    }
}

#[test]
fn ten_thousand_in_the_middle_of_everything() {
    for suite in tls13() {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        let (mut data, mut wire) = (Vec::new(), Vec::new());
        for n in 0..MANY {
            let mut sent = client.key_update((n & 1) as u8);
            sent.extend(client.data(b"up"));
            sent.extend(client.key_update(0));
            server.open(&sent, &mut data, &mut wire).expect("allowed");
            if n % 7 == 0 {
                server.seal(b"down", &mut wire).expect("open");
                client.open(&wire);
                wire.clear();
            }
        }
        assert_eq!(data.len(), 2 * MANY);
    }
}

#[test]
fn a_flood_without_data_is_ended() {
    for suite in tls13() {
        let (mut client, mut server) = Peers::new(suite).forger_and_ours();
        let (mut data, mut wire) = (Vec::new(), Vec::new());
        for n in 0..KEY_UPDATES_MAX {
            server.open(&client.key_update((n & 1) as u8), &mut data, &mut wire).expect("allowed");
        }
        let error = server.open(&client.key_update(1), &mut data, &mut wire).expect_err("a flood");
        assert!(error.detail.contains("1024 KeyUpdates without data"), "{}", error.detail);
        assert_eq!(client.alert(&wire), Some(AlertDescription::UnexpectedMessage));
    }
}

#[test]
fn data_in_either_direction_and_nothing_else_ends_the_count() {
    for (sends, receives, empty) in
        [(true, false, false), (false, true, false), (false, false, true), (false, false, false)]
    {
        let (mut client, mut server) = Peers::new(SUITES[0]).forger_and_ours();
        let mut wire = Vec::new();
        let most = KEY_UPDATES_MAX;
        for _ in 0..most {
            assert!(open(&mut server, &client.key_update(0)).1.is_ok());
        }
        if sends {
            server.seal(b"a", &mut wire).expect("open");
        } else {
            server.seal(b"", &mut wire).expect("open");
        }
        if receives {
            assert_eq!(open(&mut server, &client.data(b"a")).0, b"a");
        }
        if empty {
            assert_eq!(open(&mut server, &client.data(b"")).0, b"");
        }
        let further = open(&mut server, &client.key_update(0)).1;
        assert_eq!(further.is_ok(), sends || receives);
    }
}

#[test]
fn requests_that_come_together_are_answered_together() {
    let (mut client, mut server) = Peers::new(SUITES[0]).forger_and_ours();
    let (mut data, mut wire) = (Vec::new(), Vec::new());
    server.seal(b"before", &mut wire).expect("open");
    let mut receive = Vec::new();
    while receive.len() + 27 <= crate::limits::RECEIVE_BYTES {
        receive.extend(client.key_update(1));
    }
    server.open(&receive, &mut data, &mut wire).expect("one receive full of them is allowed");
    server.seal(b"after", &mut wire).expect("open");
    let said = |bytes: &[u8]| (APPLICATION_DATA, bytes.to_vec());
    assert_eq!(client.open(&wire), [said(b"before"), key_update(0), said(b"after")]);
}

/// A key that has sealed nothing is not changed until there is something to seal.
#[test]
fn an_answer_waits_for_data_if_its_key_is_fresh() {
    let (mut client, mut server) = Peers::new(SUITES[0]).forger_and_ours();
    let (mut data, mut wire) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        server.open(&client.key_update(1), &mut data, &mut wire).expect("allowed");
        assert!(wire.is_empty());
    }
    server.seal(b"data", &mut wire).expect("open");
    assert_eq!(client.open(&wire), [key_update(0), (APPLICATION_DATA, b"data".to_vec())]);
}
