//! Where our verdict is not that of rustls, with the reason. The list is complete as far as
//! these streams look, and each entry fails when the two come to agree.

use rustls::AlertDescription as Alert;

use super::handshake::{Peers, SUITES};
use super::oracle::{End, In, Script, Verdict, by_ours, by_rustls};
use super::oracle_agreements::client_hello;
use crate::record::traffic::framing::{ALERT, HANDSHAKE};

struct Difference {
    what: &'static str,
    versions: In,
    script: Script,
    ours: Verdict,
    rustls: Verdict,
    why: &'static str,
}

const OPEN: Verdict = (End::Open, None);
const SILENT: Verdict = (End::Error, None);
const UNEXPECTED: Verdict = (End::Error, Some(Alert::UnexpectedMessage));
const MALFORMED: Verdict = (End::Error, Some(Alert::DecodeError));
const OVERFLOW: Verdict = (End::Error, Some(Alert::RecordOverflow));
const UNDECRYPTABLE: Verdict = (End::Error, Some(Alert::BadRecordMac));

const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "33 KeyUpdates without data from the client",
        versions: In::Tls13,
        script: |f| (0..33).map(|_| f.key_update(1)).collect(),
        ours: OPEN,
        rustls: SILENT,
        why: "a client may renew keys through a long download; our bound is 1,024, and data in either \
              direction resets it",
    },
    Difference {
        what: "33 empty records in a row",
        versions: In::Both,
        script: |f| (0..33).map(|_| f.data(b"")).collect(),
        ours: UNEXPECTED,
        rustls: SILENT,
        why: "we say why",
    },
    Difference {
        what: "five warnings",
        versions: In::Both,
        script: |f| (0..5).map(|_| f.sealed(ALERT, &[1, 90])).collect(),
        ours: UNEXPECTED,
        rustls: SILENT,
        why: "we say why",
    },
    Difference {
        what: "data within a handshake message",
        versions: In::Both,
        script: |f| {
            let start = if f.is_tls13() { 24 } else { 1 };
            vec![f.sealed(HANDSHAKE, &[start, 0]), f.data(b"a")]
        },
        ours: UNEXPECTED,
        rustls: SILENT,
        why: "we say why",
    },
    Difference {
        what: "close_notify within a handshake message",
        versions: In::Both,
        script: |f| {
            let start = if f.is_tls13() { 24 } else { 1 };
            vec![f.sealed(HANDSHAKE, &[start, 0]), f.sealed(ALERT, &[1, 0])]
        },
        ours: UNEXPECTED,
        rustls: SILENT,
        why: "we say why",
    },
    Difference {
        what: "nothing but padding",
        versions: In::Tls13,
        script: |f| vec![f.padded(0, b"", 40)],
        ours: UNEXPECTED,
        rustls: SILENT,
        why: "§5.4: MUST terminate the connection with an \"unexpected_message\" alert",
    },
    Difference {
        what: "a handshake record without content",
        versions: In::Both,
        script: |f| vec![f.sealed(HANDSHAKE, b"")],
        ours: UNEXPECTED,
        rustls: OPEN,
        why: "§5.4: MUST terminate the connection with an \"unexpected_message\" alert",
    },
    Difference {
        what: "an alert without content",
        versions: In::Both,
        script: |f| vec![f.sealed(ALERT, b"")],
        ours: UNEXPECTED,
        rustls: MALFORMED,
        why: "§5.4: MUST terminate the connection with an \"unexpected_message\" alert",
    },
    Difference {
        what: "a record of an unknown type",
        versions: In::Both,
        script: |_| vec![vec![80, 3, 3, 0, 1, 1]],
        ours: UNEXPECTED,
        rustls: MALFORMED,
        why: "§5: MUST terminate the connection with an \"unexpected_message\" alert",
    },
    Difference {
        what: "content of an unknown type",
        versions: In::Tls13,
        script: |f| vec![f.sealed(99, b"a")],
        ours: UNEXPECTED,
        rustls: MALFORMED,
        why: "§5: MUST terminate the connection with an \"unexpected_message\" alert",
    },
    Difference {
        what: "an opaque record that calls itself a handshake record",
        versions: In::Tls13,
        script: |f| {
            let mut record = f.data(b"a");
            record[0] = HANDSHAKE;
            vec![record]
        },
        ours: UNEXPECTED,
        rustls: OPEN,
        why: "§5.2: opaque_type is always 23; rustls does not look",
    },
    Difference {
        what: "an opaque record of version 3.1",
        versions: In::Tls13,
        script: |f| {
            let mut record = f.data(b"a");
            record[2] = 1;
            vec![record]
        },
        ours: UNDECRYPTABLE,
        rustls: OPEN,
        why: "§5.2: the additional data is the header, as received; rustls takes the one it should be",
    },
    Difference {
        what: "a header that promises more than TLS 1.3 allows",
        versions: In::Tls13,
        script: |_| vec![vec![23, 3, 3, 0x41, 0x01]],
        ours: OVERFLOW,
        rustls: OPEN,
        why: "§5.2: record_overflow; rustls waits for the record and finds it undecryptable",
    },
    Difference {
        what: "a header that promises more than TLS 1.2 allows",
        versions: In::Tls12,
        script: |_| vec![vec![23, 3, 3, 0x48, 0x01]],
        ours: OVERFLOW,
        rustls: MALFORMED,
        why: "RFC 5246 §7.2.2: record_overflow",
    },
    Difference {
        what: "the longest header that TLS 1.2 allows",
        versions: In::Tls12,
        script: |_| vec![vec![23, 3, 3, 0x48, 0x00]],
        ours: OPEN,
        rustls: MALFORMED,
        why: "RFC 5246 §6.2.3: 2^14 + 2048 is still allowed",
    },
    Difference {
        what: "a handshake record too short for its tag",
        versions: In::Tls12,
        script: |_| vec![vec![22, 3, 3, 0, 0]],
        ours: UNDECRYPTABLE,
        rustls: MALFORMED,
        why: "RFC 5246 §7.2.2: it cannot be decrypted; rustls knows it for empty",
    },
    Difference {
        what: "a warning that is neither close_notify nor user_canceled",
        versions: In::Tls13,
        script: |f| vec![f.sealed(ALERT, &[1, 40])],
        ours: SILENT,
        rustls: MALFORMED,
        why: "§6: an error alert regardless of its level; it is not answered",
    },
    Difference {
        what: "user_canceled as a fatal alert",
        versions: In::Tls13,
        script: |f| vec![f.sealed(ALERT, &[2, 90]), f.data(b"a")],
        ours: OPEN,
        rustls: SILENT,
        why: "§6.1: a closure alert; data may follow until close_notify",
    },
    Difference {
        what: "the start of a message that is not KeyUpdate",
        versions: In::Tls13,
        script: |f| vec![f.sealed(HANDSHAKE, &[1, 0, 1])],
        ours: UNEXPECTED,
        rustls: OPEN,
        why: "its first byte is enough; rustls collects up to 64 KiB of it",
    },
    Difference {
        what: "the start of a KeyUpdate that is too long",
        versions: In::Tls13,
        script: |f| vec![f.sealed(HANDSHAKE, &[24, 0, 1, 0])],
        ours: MALFORMED,
        rustls: OPEN,
        why: "its header is enough",
    },
    Difference {
        what: "a second wish to renegotiate",
        versions: In::Tls12,
        script: |f| (0..2).map(|_| f.sealed(HANDSHAKE, &client_hello())).collect(),
        ours: UNEXPECTED,
        rustls: (End::Error, Some(Alert::NoRenegotiation)),
        why: "we say why; rustls sends nothing after the first answer",
    },
    Difference {
        what: "a wish to renegotiate that does not parse",
        versions: In::Tls12,
        script: |f| vec![f.sealed(HANDSHAKE, &[1, 0, 0, 2, 9, 9])],
        ours: (End::Open, Some(Alert::NoRenegotiation)),
        rustls: MALFORMED,
        why: "it is declined without being read",
    },
];

#[test]
fn where_rustls_differs_is_known() {
    for suite in SUITES {
        let peers = Peers::new(suite);
        for difference in DIFFERENCES {
            if !difference.versions.suites().any(|one| one.version() == suite.version()) {
                continue;
            }
            let verdicts =
                (by_ours(&peers, difference.script).1, by_rustls(&peers, difference.script).1);
            let what = difference.what;
            assert_eq!(verdicts.0, difference.ours, "ours of {what}, {suite:?}");
            assert_eq!(verdicts.1, difference.rustls, "rustls' of {what}, {suite:?}");
            assert_ne!(verdicts.0, verdicts.1, "{what} differs: {}", difference.why);
        }
    }
}
