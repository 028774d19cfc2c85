//! A ticket as a client offers it: one that none of our keys has sealed is declined into a full handshake.

use countersign_proto::limits::RECEIVE_BYTES;
use countersign_proto::{Side, ticket};

use crate::client::{self, Version};
use crate::outcome::note;
use crate::session::Worker;

/// pre_shared_key (RFC 9846 §4.2.11), which stands last.
const PRE_SHARED_KEY: u16 = 41;
const RECORD_HEADER_BYTES: usize = 5;
const BINDER_BYTES: usize = 32;

struct World {
    worker: Worker,
    /// A ClientHello's message up to its extensions, and those but the last.
    before: Vec<u8>,
    extensions: Vec<u8>,
    /// What the server has given.
    tickets: Vec<Vec<u8>>,
}

thread_local! {
    static WORLD: World = World::new();
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = WORLD.with(|world| world.tickets.clone());
    seeds.push(contents());
    seeds
}

pub(super) fn target(data: &[u8]) {
    if ticket::is_readable(data) {
        note("is readable");
    }
    WORLD.with(|world| {
        // An empty one is no ticket (RFC 9846 §4.2.11): rustls refuses it. The binder is of nobody who has a
        // session's secret: what opens is refused, what does not is declined into a full handshake.
        if world.is_declined(data) || data.is_empty() {
            return;
        }
        for at in [0, data.len() / 2, data.len() - 1] {
            let mut changed = data.to_vec();
            changed[at] ^= 1;
            assert!(world.is_declined(&changed), "it opens, and changed at {at} too");
        }
    });
}

impl World {
    fn new() -> Self {
        let mut worker = Worker::new();
        let config = client::config(&mut worker, Version::Tls13, true);
        let mut tickets = Vec::new();
        let (mut before, mut extensions) = (Vec::new(), Vec::new());
        // The first client has no ticket yet.
        for number in 0..3 {
            let (hello, _) = client::wire(&worker, &config);
            let (start, mut all) = split(&hello);
            if number > 0 {
                let (rest, offered) = last_extension(all);
                // A list of identities, each a ticket with an age.
                let length = usize::from(u16::from_be_bytes([offered[2], offered[3]]));
                tickets.push(offered[4..4 + length].to_vec());
                all = rest;
            }
            (before, extensions) = (start.to_vec(), all.to_vec());
        }
        Self { worker, before, extensions, tickets }
    }

    /// Whether a handshake goes on that began with this ticket.
    fn is_declined(&self, ticket: &[u8]) -> bool {
        let mut session = self.worker.accept();
        session.receive(Side::Client, &self.offering(ticket), RECEIVE_BYTES);
        let phase = session.phase();
        note(phase);
        note(session.end());
        phase == "expect_finished"
    }

    /// A ClientHello that offers this ticket, in as many records as it needs.
    fn offering(&self, ticket: &[u8]) -> Vec<u8> {
        let sized = |content: &[u8]| [&(content.len() as u16).to_be_bytes()[..], content].concat();
        let identity = [&sized(ticket)[..], &[0; 4]].concat();
        let binder = [&[BINDER_BYTES as u8][..], &[7; BINDER_BYTES]].concat();
        let offered = [sized(&identity), sized(&binder)].concat();
        let last = [&PRE_SHARED_KEY.to_be_bytes()[..], &sized(&offered)].concat();
        let mut message =
            [&self.before[..], &sized(&[&self.extensions[..], &last].concat())].concat();
        let length = (message.len() - 4) as u32;
        message[1..4].copy_from_slice(&length.to_be_bytes()[1..]);
        message.chunks(8_192).flat_map(|piece| [&[22, 3, 1][..], &sized(piece)].concat()).collect()
    }
}

/// A ClientHello's message up to the length of its extensions, and those.
fn split(record: &[u8]) -> (&[u8], &[u8]) {
    let message = &record[RECORD_HEADER_BYTES..];
    // Header, version, random.
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(message[at]);
    at += 2 + usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    at += 1 + usize::from(message[at]);
    (&message[..at], &message[at + 2..])
}

/// Every extension but the last, and what that one says.
fn last_extension(extensions: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    loop {
        let length = usize::from(u16::from_be_bytes([extensions[at + 2], extensions[at + 3]]));
        let end = at + 4 + length;
        if end == extensions.len() {
            return (&extensions[..at], &extensions[at + 4..]);
        }
        at = end;
    }
}

/// What could be sealed in a ticket.
fn contents() -> Vec<u8> {
    let session = b"a session with a certificate and a signer's in it";
    let times = [1_000_u64, 1_100, 1_200, 1_300].map(u64::to_be_bytes).concat();
    let terms = [&b"\x04door\x01\x09a.example"[..], &[7; 32], &[1, 4, 3]].concat();
    let places = [2, 0, 17, 0, 11, 0, 35, 0, 8];
    [&terms[..], &times, &places, session].concat()
}
