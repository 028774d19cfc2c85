use std::ops::Range;

use rustls::SignatureScheme;
use zeroize::Zeroizing;

use super::*;
use crate::tls::ClientAuth;

const DOMAIN: [u8; 32] = [7; 32];
const MOST: usize = 32 * 1024;
const SESSION: &[u8] = b"a session with a certificate and a signer's in it";

fn key(byte: u8) -> TicketKey {
    TicketKey::new(Zeroizing::new(vec![byte; 32])).expect("a key")
}

fn keys(keys: &[TicketKey], worker: u8) -> TicketKeys {
    TicketKeys::new(1, keys, [worker; WORKER_BYTES])
}

fn places() -> Vec<Range<usize>> {
    vec![17..28, 35..43]
}

fn contents() -> Contents<'static> {
    Contents {
        listener: "door",
        server_name: Some("a.example"),
        domain: DOMAIN,
        client_auth: ClientAuth::Require,
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        authenticated_at: 1_000,
        issued_at: 1_100,
        expires_at: 1_200,
        lineage_ends_at: 1_300,
        chain: places(),
        session: SESSION,
    }
}

fn encoded(contents: &Contents<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    contents.encode(&mut bytes).expect("within the bounds");
    bytes
}

/// A linear congruential generator: the tests are the same at every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

#[test]
fn what_is_written_is_read() {
    for client_auth in [ClientAuth::Require, ClientAuth::Optional, ClientAuth::None] {
        for server_name in [None, Some(""), Some("a.example")] {
            let contents = Contents { client_auth, server_name, ..contents() };
            assert_eq!(Contents::decode(&encoded(&contents)).as_ref(), Some(&contents));
        }
    }
    let certificates = contents();
    let certificates: Vec<_> = certificates.certificates().collect();
    assert_eq!(certificates, [&b"certificate"[..], b"signer's"]);
}

#[test]
fn what_is_too_large_is_not_written() {
    let long = "x".repeat(256);
    let session = vec![1; 70_000];
    for contents in [
        Contents { listener: &long, ..contents() },
        Contents { server_name: Some(&long), ..contents() },
        Contents { chain: Vec::new(), ..contents() },
        Contents { chain: vec![0..1; 17], ..contents() },
        Contents {
            chain: std::iter::once(65_536..65_540).collect(),
            session: &session,
            ..contents()
        },
        Contents { chain: std::iter::once(0..65_536).collect(), session: &session, ..contents() },
    ] {
        assert_eq!(contents.encode(&mut Vec::new()), None);
    }
}

#[test]
fn times_and_places_out_of_order_are_not_read() {
    for wrong in [
        Contents { issued_at: 999, ..contents() },
        Contents { expires_at: 1_099, ..contents() },
        Contents { lineage_ends_at: 1_199, ..contents() },
        Contents { chain: vec![35..43, 17..28], ..contents() },
        Contents { chain: vec![17..28, 27..43], ..contents() },
        Contents { chain: vec![17..28, 35..50], ..contents() },
        Contents { chain: std::iter::once(17..17).collect(), ..contents() },
    ] {
        assert_eq!(Contents::decode(&encoded(&wrong)), None, "{wrong:?}");
    }
}

#[test]
fn any_bytes_can_be_asked_about() {
    let whole = encoded(&contents());
    assert!(is_readable(&whole));
    let terms = whole.len() - SESSION.len();
    for end in 0..terms + 43 {
        assert!(!is_readable(&whole[..end]), "cut at {end}");
    }
    let mut chance = Chance(1);
    for _ in 0..200_000 {
        let mut bytes = whole.clone();
        for _ in 0..=chance.below(4) {
            let place = chance.below(bytes.len());
            bytes[place] = u8::try_from(chance.below(256)).expect("a byte");
        }
        bytes.truncate(1 + chance.below(bytes.len()));
        if let Some(read) = Contents::decode(&bytes) {
            assert_eq!(encoded(&read), bytes);
            assert!(read.certificates().all(|certificate| !certificate.is_empty()));
        }
    }
}

#[test]
fn certificates_are_found_one_behind_the_other() {
    let find = |chain: &[&[u8]]| locate(SESSION, chain.iter().copied());
    assert_eq!(find(&[b"certificate", b"signer's"]), Some(places()));
    // Twice the same is found twice, or not at all.
    assert_eq!(locate(b"..one.one", [&b"one"[..], b"one"].into_iter()), Some(vec![2..5, 6..9]));
    let wrong: [&[&[u8]]; 6] = [
        &[],
        &[b""],
        &[b"certificates"],
        &[b"signer's", b"certificate"],
        &[b"certificate", b"certificate"],
        &[b"certificate", b""],
    ];
    for chain in wrong {
        assert_eq!(find(chain), None, "{chain:?}");
    }
}

#[test]
fn every_worker_with_the_key_opens_a_ticket_and_nobody_else() {
    let ticket = keys(&[key(1)], 1).seal(&contents(), MOST).expect("a ticket");
    for (ring, worker) in [(vec![key(1)], 1), (vec![key(1)], 2), (vec![key(2), key(1)], 3)] {
        let keys = keys(&ring, worker);
        // The second time with what was derived the first.
        for _ in 0..2 {
            let opened = keys.open(&DOMAIN, &ticket).expect("it opens");
            assert_eq!(Contents::decode(&opened), Some(contents()));
        }
    }
    let open =
        |ring: &[TicketKey], domain, ticket: &[u8]| keys(ring, 1).open(domain, ticket).map(drop);
    assert_eq!(open(&[], &DOMAIN, &ticket), Err(Declined::UnknownKey));
    assert_eq!(open(&[key(2)], &DOMAIN, &ticket), Err(Declined::UnknownKey));
    assert_eq!(open(&[key(1)], &[8; 32], &ticket), Err(Declined::TrustChanged));
    assert_eq!(TicketKeys::default().open(&DOMAIN, &ticket).map(drop), Err(Declined::UnknownKey));
}

#[test]
fn no_bit_of_a_ticket_can_be_changed() {
    let keys = keys(&[key(1)], 1);
    let ticket = keys.seal(&contents(), MOST).expect("a ticket");
    for bit in 0..ticket.len() * 8 {
        let mut changed = ticket.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(keys.open(&DOMAIN, &changed).is_err(), "bit {bit}");
    }
    for end in 0..ticket.len() {
        assert!(keys.open(&DOMAIN, &ticket[..end]).is_err(), "cut at {end}");
    }
    let longer = [&ticket[..], &[0]].concat();
    assert!(keys.open(&DOMAIN, &longer).is_err());
}

#[test]
fn no_two_tickets_are_alike_and_none_shows_what_is_in_it() {
    let keys = keys(&[key(1)], 1);
    let tickets: Vec<_> =
        (0..100).map(|_| keys.seal(&contents(), MOST).expect("a ticket")).collect();
    for (index, ticket) in tickets.iter().enumerate() {
        assert!(!tickets[..index].contains(ticket));
        assert!(!ticket.windows(8).any(|window| SESSION.windows(8).any(|part| part == window)));
    }
    // Another trust domain takes its numbers from the same row.
    let other = keys.seal(&Contents { domain: [8; 32], ..contents() }, MOST).expect("a ticket");
    assert_eq!(other[41..49], 100_u64.to_be_bytes());
}

#[test]
fn a_key_that_has_sealed_enough_seals_no_more() {
    let keys = keys(&[key(1)], 1);
    keys.spend_all_numbers_but(1);
    let last = keys.seal(&contents(), MOST).expect("the last one");
    assert_eq!(keys.seal(&contents(), MOST), None);
    assert!(keys.open(&DOMAIN, &last).is_ok());
}

#[test]
fn a_ticket_past_its_bound_is_not_made_and_spends_no_number() {
    let keys = keys(&[key(1)], 1);
    let length = keys.seal(&contents(), MOST).expect("a ticket").len();
    assert_eq!(keys.seal(&contents(), length - 1), None);
    let second = keys.seal(&contents(), length).expect("it fits");
    assert_eq!(second[41..49], 1_u64.to_be_bytes());
}

#[test]
fn many_domains_and_workers_leave_a_bounded_trace() {
    let here = keys(&[key(1)], 1);
    for number in 0..2_000_u16 {
        let mut domain = DOMAIN;
        domain[..2].copy_from_slice(&number.to_be_bytes());
        let contents = Contents { domain, ..contents() };
        let mut worker = [0; WORKER_BYTES];
        worker[..2].copy_from_slice(&number.to_be_bytes());
        let there = TicketKeys::new(1, &[key(1)], worker);
        let ticket = there.seal(&contents, MOST).expect("a ticket");
        assert!(here.open(&domain, &ticket).is_ok());
        let ours = here.seal(&contents, MOST).expect("a ticket");
        // What is derived anew goes on with the numbers where they were.
        assert_eq!(ours[41..49], u64::from(number).to_be_bytes());
        assert!(here.open(&domain, &ours).is_ok());
    }
}

#[test]
fn keys_have_a_least_and_a_greatest_size() {
    for (length, is_good) in [(0, false), (31, false), (32, true), (128, true), (129, false)] {
        let made = TicketKey::new(Zeroizing::new(vec![1; length]));
        assert_eq!(made.is_ok(), is_good, "{length}");
    }
}

#[test]
fn labels_are_unique_and_fit_for_metrics() {
    let mut seen = std::collections::BTreeSet::new();
    for declined in Declined::ALL {
        let label = declined.label();
        assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{label}");
        assert!(seen.insert(label), "{label} stands twice");
    }
}
