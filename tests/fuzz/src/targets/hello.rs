//! All that somebody sends who holds no key: nobody is let in, and everything is released.

use countersign_proto::Side;
use countersign_proto::limits::RECEIVE_BYTES;

use crate::client::{self, Version};
use crate::outcome::note;
use crate::session::Worker;

struct World {
    worker: Worker,
    seeds: Vec<Vec<u8>>,
}

thread_local! {
    static WORLD: World = World::new();
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    WORLD.with(|world| world.seeds.clone())
}

pub(super) fn target(data: &[u8]) {
    WORLD.with(|world| {
        for at_a_time in [RECEIVE_BYTES, 1 + data.len() / 7] {
            let mut session = world.worker.accept();
            session.receive(Side::Client, data, at_a_time);
            // Shares and randoms are others each time: no Finished and no signature fits.
            assert!(!session.was_let_in, "somebody without a key was let in");
            note(session.phase());
            note(session.end());
        }
    });
}

impl World {
    fn new() -> Self {
        let mut worker = Worker::new();
        let mut seeds = Vec::new();
        for version in [Version::Tls13, Version::Tls12] {
            let config = client::config(&mut worker, version, true);
            // The second offers the ticket of the first.
            for _ in 0..2 {
                let (hello, wire) = client::wire(&worker, &config);
                seeds.extend([in_records_of(&hello, 50), hello, wire]);
            }
        }
        seeds.push(b"GET / HTTP/1.1\r\nHost: engine.example\r\n\r\n".to_vec());
        seeds.push(b"\x15\x03\x01\x00\x02\x02\x00".to_vec());
        Self { worker, seeds }
    }
}

/// The message of one record in many.
fn in_records_of(record: &[u8], bytes: usize) -> Vec<u8> {
    let header = |piece: &[u8]| [22, 3, 1, 0, piece.len() as u8];
    record[5..].chunks(bytes).flat_map(|piece| [&header(piece)[..], piece].concat()).collect()
}
