//! Streams, right and wrong, on which our verdict is that of rustls.

use rustls::AlertDescription as Alert;

use super::handshake::{Peers, SUITES};
use super::oracle::{End, In, Script, Verdict, by_ours, by_rustls};
use crate::record::traffic::framing::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};

const OPEN: Verdict = (End::Open, None);

const fn refused(alert: Alert) -> Verdict {
    (End::Error, Some(alert))
}

fn flipped(mut record: Vec<u8>) -> Vec<u8> {
    *record.last_mut().expect("a tag") ^= 0x40;
    record
}

/// A ClientHello that parses: version, random, no session, one suite, no compression.
pub(super) fn client_hello() -> Vec<u8> {
    let mut hello = vec![1, 0, 0, 41, 3, 3];
    hello.extend([0x5a; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    hello
}

const AGREED: &[(&str, In, Script, Verdict)] = &[
    ("data", In::Both, |f| vec![f.data(b"a"), f.data(&[1; 16_384]), f.data(b"b")], OPEN),
    ("a record without its end", In::Both, |f| vec![f.data(b"a")[..20].to_vec()], OPEN),
    (
        "32 empty records and data",
        In::Both,
        |f| (0..64).map(|n| if n % 33 == 32 { f.data(b"a") } else { f.data(b"") }).collect(),
        OPEN,
    ),
    (
        "an altered record",
        In::Both,
        |f| vec![f.data(b"a"), flipped(f.data(b"b")), f.data(b"c")],
        refused(Alert::BadRecordMac),
    ),
    (
        "a repeated record",
        In::Both,
        |f| {
            let record = f.data(b"a");
            vec![record.clone(), record]
        },
        refused(Alert::BadRecordMac),
    ),
    (
        "a dropped record",
        In::Both,
        |f| {
            f.data(b"a");
            vec![f.data(b"b")]
        },
        refused(Alert::BadRecordMac),
    ),
    (
        "records in another order",
        In::Both,
        |f| {
            let first = f.data(b"a");
            vec![f.data(b"b"), first]
        },
        refused(Alert::BadRecordMac),
    ),
    (
        "a record too short for its tag",
        In::Both,
        |_| vec![vec![23, 3, 3, 0, 3, 1, 2, 3]],
        refused(Alert::BadRecordMac),
    ),
    ("a record of nothing", In::Both, |_| vec![vec![23, 3, 3, 0, 0]], refused(Alert::BadRecordMac)),
    (
        "a version that is none",
        In::Both,
        |f| {
            let mut record = f.data(b"a");
            record[1] = 2;
            vec![record]
        },
        refused(Alert::DecodeError),
    ),
    (
        "more content than a record may have",
        In::Both,
        |f| vec![f.data(b"a"), f.data(&[1; 16_385])],
        refused(Alert::RecordOverflow),
    ),
    (
        "close_notify, and more behind it",
        In::Both,
        |f| vec![f.data(b"a"), f.sealed(ALERT, &[1, 0]), f.data(b"b"), b"garbage".to_vec()],
        (End::Complete, None),
    ),
    (
        "close_notify as a fatal alert",
        In::Both,
        |f| vec![f.sealed(ALERT, &[2, 0])],
        (End::Complete, None),
    ),
    (
        "a fatal alert",
        In::Both,
        |f| vec![f.data(b"a"), f.sealed(ALERT, &[2, 40])],
        (End::Error, None),
    ),
    (
        "a fatal alert that is unknown",
        In::Both,
        |f| vec![f.sealed(ALERT, &[2, 211])],
        (End::Error, None),
    ),
    (
        "an alert of a level that is none",
        In::Both,
        |f| vec![f.sealed(ALERT, &[3, 0])],
        refused(Alert::IllegalParameter),
    ),
    (
        "half an alert",
        In::Both,
        |f| vec![f.sealed(ALERT, &[1]), f.sealed(ALERT, &[0])],
        refused(Alert::DecodeError),
    ),
    (
        "two alerts in one record",
        In::Both,
        |f| vec![f.sealed(ALERT, &[1, 0, 1, 0])],
        refused(Alert::DecodeError),
    ),
    (
        "another Finished",
        In::Both,
        |f| vec![f.sealed(HANDSHAKE, &[20, 0, 0, 2, 1, 2])],
        refused(Alert::UnexpectedMessage),
    ),
    (
        "a ChangeCipherSpec",
        In::Both,
        |f| vec![f.data(b"a"), vec![CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1]],
        refused(Alert::UnexpectedMessage),
    ),
    (
        "padding",
        In::Tls13,
        |f| {
            vec![
                f.padded(APPLICATION_DATA, b"a", 1),
                f.padded(APPLICATION_DATA, b"", 100),
                f.padded(APPLICATION_DATA, &[2; 16_000], 384),
                f.padded(ALERT, &[1, 0], 31),
            ]
        },
        (End::Complete, None),
    ),
    (
        "more padding than a record may have",
        In::Tls13,
        |f| vec![f.padded(APPLICATION_DATA, &[2; 16_000], 385)],
        refused(Alert::RecordOverflow),
    ),
    (
        "a protected ChangeCipherSpec",
        In::Tls13,
        |f| vec![f.sealed(CHANGE_CIPHER_SPEC, &[1])],
        refused(Alert::UnexpectedMessage),
    ),
    (
        "KeyUpdates",
        In::Tls13,
        |f| (0..60).map(|n| if n % 3 == 2 { f.data(b"a") } else { f.key_update(n & 1) }).collect(),
        OPEN,
    ),
    (
        "a KeyUpdate byte by byte",
        In::Tls13,
        |f| {
            let mut pieces: Vec<_> =
                [24, 0, 0, 1, 1].map(|byte| f.sealed(HANDSHAKE, &[byte])).to_vec();
            f.move_keys();
            pieces.push(f.data(b"a"));
            pieces
        },
        OPEN,
    ),
    (
        "the old key after a KeyUpdate",
        In::Tls13,
        |f| vec![f.sealed(HANDSHAKE, &[24, 0, 0, 1, 0]), f.data(b"a")],
        refused(Alert::BadRecordMac),
    ),
    (
        "the next key without a KeyUpdate",
        In::Tls13,
        |f| {
            f.move_keys();
            vec![f.data(b"a")]
        },
        refused(Alert::BadRecordMac),
    ),
    (
        "a KeyUpdate that requests 2",
        In::Tls13,
        |f| vec![f.key_update(2)],
        refused(Alert::IllegalParameter),
    ),
    (
        "a KeyUpdate of two bytes",
        In::Tls13,
        |f| vec![f.sealed(HANDSHAKE, &[24, 0, 0, 2, 0, 0])],
        refused(Alert::DecodeError),
    ),
    (
        "a KeyUpdate of no bytes",
        In::Tls13,
        |f| vec![f.sealed(HANDSHAKE, &[24, 0, 0, 0])],
        refused(Alert::DecodeError),
    ),
    (
        "two KeyUpdates in one record",
        In::Tls13,
        |f| vec![f.sealed(HANDSHAKE, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0])],
        refused(Alert::UnexpectedMessage),
    ),
    (
        "a KeyUpdate and the start of another",
        In::Tls13,
        |f| vec![f.sealed(HANDSHAKE, &[24, 0, 0, 1, 0, 24])],
        refused(Alert::UnexpectedMessage),
    ),
    (
        "four times user_canceled",
        In::Tls13,
        |f| (0..5).map(|n| if n < 4 { f.sealed(ALERT, &[1, 90]) } else { f.data(b"a") }).collect(),
        OPEN,
    ),
    (
        "four warnings",
        In::Tls12,
        |f| {
            let mut pieces: Vec<_> = [90, 100, 41, 110].map(|a| f.sealed(ALERT, &[1, a])).to_vec();
            pieces.push(f.data(b"a"));
            pieces
        },
        OPEN,
    ),
    (
        "a wish to renegotiate",
        In::Tls12,
        |f| vec![f.sealed(HANDSHAKE, &client_hello()), f.data(b"a")],
        (End::Open, Some(Alert::NoRenegotiation)),
    ),
    (
        "a wish to renegotiate in pieces",
        In::Tls12,
        |f| {
            let hello = client_hello();
            let mut pieces: Vec<_> =
                hello.chunks(7).map(|part| f.sealed(HANDSHAKE, part)).collect();
            pieces.push(f.data(b"a"));
            pieces
        },
        (End::Open, Some(Alert::NoRenegotiation)),
    ),
    (
        "a HelloRequest",
        In::Tls12,
        |f| vec![f.sealed(HANDSHAKE, &[0, 0, 0, 0])],
        refused(Alert::UnexpectedMessage),
    ),
];

#[test]
fn right_or_wrong_the_verdict_is_that_of_rustls() {
    for suite in SUITES {
        let peers = Peers::new(suite);
        for (what, versions, script, expected) in AGREED {
            if !versions.suites().any(|one| one.version() == suite.version()) {
                continue;
            }
            let ours = by_ours(&peers, script);
            assert_eq!(ours.1, *expected, "{what}, {suite:?}");
            assert!(ours == by_rustls(&peers, script), "{what}, {suite:?}");
        }
    }
}
