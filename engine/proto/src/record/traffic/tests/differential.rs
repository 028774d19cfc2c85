//! rustls' client talks to our layer: whatever is sent arrives, however it is cut.

use std::io::{Read, Write};

use rustls::ClientConnection;

use super::forger::{seal, seal_padded};
use super::handshake::{Peers, SUITES, Suite, ours_and_ours};
use super::{Chance, Opened, RecordLayer, TrafficRecords};
use crate::record::traffic::framing::APPLICATION_DATA;
use crate::record::traffic::sealing::Request;

/// What one side has said and the other has heard.
#[derive(Default)]
struct Direction {
    said: Vec<u8>,
    heard: Vec<u8>,
    wire: Vec<u8>,
    records: usize,
}

impl Direction {
    /// A piece of what is under way, from one byte to everything.
    fn next_piece(&mut self, chance: &mut Chance) -> Vec<u8> {
        let length = match chance.below(8) {
            0 => 1,
            1 => 1 + chance.below(5),
            2 => 1 + chance.below(40),
            3..6 => 1 + chance.below(20_000),
            _ => self.wire.len(),
        };
        self.wire.drain(..length.min(self.wire.len())).collect()
    }

    fn count(&mut self, before: usize) {
        let mut at = before;
        while at < self.wire.len() {
            at += 5 + usize::from(u16::from_be_bytes([self.wire[at + 3], self.wire[at + 4]]));
            self.records += 1;
        }
        assert_eq!(at, self.wire.len(), "only whole records are sealed");
    }
}

struct Conversation {
    suite: Suite,
    chance: Chance,
    client: ClientConnection,
    server: TrafficRecords,
    up: Direction,
    down: Direction,
    server_saw_close: bool,
}

/// One connection; returns how many records it took.
pub(super) fn converse(peers: &Peers, suite: Suite, seed: u64, steps: usize) -> usize {
    let (client, server) = peers.rustls_and_ours();
    let mut conversation = Conversation {
        suite,
        chance: Chance(seed),
        client,
        server,
        up: Direction::default(),
        down: Direction::default(),
        server_saw_close: false,
    };
    // rustls renews keys after 2^24 records, ours here after a few.
    if suite.is_tls13() {
        conversation.server.key_records = 20;
    }
    for _ in 0..steps {
        conversation.step();
    }
    conversation.end();
    conversation.up.records + conversation.down.records
}

impl Conversation {
    fn step(&mut self) {
        match self.chance.below(12) {
            0 | 1 => self.client_says(),
            2 | 3 => self.server_says(),
            4 if self.suite.is_tls13() => self.renew(),
            5 if self.suite.is_tls13() => self.server_pads(),
            6 => self.server_says_nothing(),
            7..10 => self.carry_up(),
            _ => self.carry_down(),
        }
    }

    fn client_says(&mut self) {
        let length = self.chance.length();
        let data = self.chance.bytes(length);
        let mut left = &data[..];
        while !left.is_empty() {
            let taken = self.client.writer().write(left).expect("memory");
            left = &left[taken..];
            self.client_sends();
        }
        self.up.said.extend(data);
    }

    fn client_sends(&mut self) {
        let before = self.up.wire.len();
        while self.client.wants_write() {
            self.client.write_tls(&mut self.up.wire).expect("memory");
        }
        self.up.count(before);
    }

    fn server_says(&mut self) {
        let length = self.chance.length();
        let data = self.chance.bytes(length);
        let before = self.down.wire.len();
        self.server.seal(&data, &mut self.down.wire).expect("open");
        self.down.count(before);
        self.down.said.extend(data);
    }

    /// KeyUpdates of either side. Ours come with data: rustls' client ends at the 33rd without.
    fn renew(&mut self) {
        if self.chance.one_in(2) {
            self.client.refresh_traffic_keys().expect("TLS 1.3");
            return self.client_sends();
        }
        let request = if self.server.update_awaited || self.chance.one_in(2) {
            Request::NotRequested
        } else {
            Request::Requested
        };
        let updated = self.server.update_sealing(request, &mut self.down.wire);
        assert!(updated.is_ok());
        self.server.seal(b"!", &mut self.down.wire).expect("open");
        self.down.said.push(b'!');
    }

    fn server_pads(&mut self) {
        let length = self.chance.below(2_000);
        let data = self.chance.bytes(length);
        let padding = self.chance.below(2_000);
        let key = &mut self.server.sealing;
        self.down.wire.extend(seal_padded(key, APPLICATION_DATA, &data, padding));
        self.down.said.extend(data);
    }

    fn server_says_nothing(&mut self) {
        let before = self.down.wire.len();
        self.server.seal(b"", &mut self.down.wire).expect("open");
        assert_eq!(self.down.wire.len(), before, "no data, no record");
        self.down.wire.extend(seal(&mut self.server.sealing, APPLICATION_DATA, b""));
        self.down.wire.extend(seal(&mut self.server.sealing, APPLICATION_DATA, b"."));
        self.down.said.push(b'.');
    }

    fn carry_up(&mut self) {
        let piece = self.up.next_piece(&mut self.chance);
        let before = self.down.wire.len();
        let opened = self.server.open(&piece, &mut self.up.heard, &mut self.down.wire);
        let opened = opened.unwrap_or_else(|error| panic!("{}", error.detail));
        self.server_saw_close |= opened == Opened::Complete;
        self.down.count(before);
    }

    fn carry_down(&mut self) {
        let piece = self.down.next_piece(&mut self.chance);
        let mut left = &piece[..];
        while !left.is_empty() {
            self.client.read_tls(&mut left).expect("memory");
            self.client.process_new_packets().expect("rustls opens what we seal");
            let mut buffer = [0; 8_192];
            while let Ok(read @ 1..) = self.client.reader().read(&mut buffer) {
                self.down.heard.extend_from_slice(&buffer[..read]);
            }
        }
        self.client_sends();
    }

    fn end(&mut self) {
        if self.chance.one_in(2) {
            self.client.send_close_notify();
            self.client_sends();
        } else {
            self.server.close_notify(&mut self.down.wire);
        }
        while !self.up.wire.is_empty() || !self.down.wire.is_empty() {
            self.carry_up();
            self.carry_down();
        }
        self.client.send_close_notify();
        self.client_sends();
        self.server.close_notify(&mut self.down.wire);
        while !self.up.wire.is_empty() || !self.down.wire.is_empty() {
            self.carry_up();
            self.carry_down();
        }
        assert!(self.up.said == self.up.heard, "what the client said is what we opened");
        assert!(self.down.said == self.down.heard, "what we sealed is what the client heard");
        assert!(self.server_saw_close, "the client's close_notify arrived");
        let state = self.client.process_new_packets().expect("an orderly end");
        assert!(state.peer_has_closed(), "our close_notify arrived");
        assert_eq!(self.server.pending.capacity(), 0);
    }
}

/// A layer of ours at both ends: the client can pad too.
pub(super) fn converse_with_ourselves(suite: Suite, seed: u64, steps: usize) -> usize {
    let mut chance = Chance(seed);
    let (client, server) = ours_and_ours(suite);
    let mut ends = [client, server];
    for end in ends.iter_mut().filter(|_| suite.is_tls13()) {
        end.key_records = 15;
    }
    let mut ways = [Direction::default(), Direction::default()];
    for _ in 0..steps {
        let from = chance.below(2);
        let before = ways[from].wire.len();
        match chance.below(8) {
            0..2 => {
                let length = chance.length();
                let data = chance.bytes(length);
                ends[from].seal(&data, &mut ways[from].wire).expect("open");
                ways[from].said.extend(data);
            }
            2 if suite.is_tls13() => {
                let request = ends[from].wished();
                assert!(ends[from].update_sealing(request, &mut ways[from].wire).is_ok());
            }
            3 if suite.is_tls13() => {
                let length = chance.below(300);
                let data = chance.bytes(length);
                let padding = chance.below(16_384 - length);
                let key = &mut ends[from].sealing;
                ways[from].wire.extend(seal_padded(key, APPLICATION_DATA, &data, padding));
                ways[from].said.extend(data);
            }
            _ => deliver(&mut ends, &mut ways, from, &mut chance),
        }
        if ways[from].wire.len() > before {
            ways[from].count(before);
        }
    }
    for from in [0, 1, 0, 1, 0, 1] {
        while !ways[from].wire.is_empty() {
            deliver(&mut ends, &mut ways, from, &mut chance);
        }
    }
    for way in &ways {
        assert!(way.said == way.heard, "what was said is what was heard");
    }
    ways[0].records + ways[1].records
}

fn deliver(
    ends: &mut [TrafficRecords; 2],
    ways: &mut [Direction; 2],
    from: usize,
    chance: &mut Chance,
) {
    let piece = ways[from].next_piece(chance);
    let mut answers = Vec::new();
    let opened = ends[1 - from].open(&piece, &mut ways[from].heard, &mut answers);
    opened.unwrap_or_else(|error| panic!("{}", error.detail));
    ways[1 - from].wire.extend(answers);
}

#[test]
fn everything_arrives_as_it_was_said() {
    let mut records = 0;
    for suite in SUITES {
        let peers = Peers::new(suite);
        for seed in 0..12 {
            records += converse(&peers, suite, seed, 900);
            records += converse_with_ourselves(suite, seed, 600);
        }
    }
    assert!(records > 20_000, "only {records} records");
}
