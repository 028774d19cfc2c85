//! The worker's connections, by keys that do not outlive them.

use countersign_proto::limits::RECEIVE_BYTES;
use countersign_proto::{Connection, Moment, Side};
use countersign_ring::Socket;
use slab::Slab;

/// Names one connection of this worker, for ever: index and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

impl Key {
    fn new(index: usize, generation: u32) -> Self {
        // The table is bounded far below 2^32 connections.
        Self(index as u64 | u64::from(generation) << 32)
    }

    pub(super) fn from_tag(tag: u64) -> Self {
        Self(tag)
    }

    pub(super) fn tag(self) -> u64 {
        self.0
    }

    fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A connection and its sockets.
pub(super) struct Entry {
    pub(super) connection: Connection,
    pub(super) client: Option<Socket>,
    pub(super) upstream: Option<Socket>,
    /// The listening socket it came in through.
    pub(super) through: u64,
    /// Its last chunk from the client, from the upstream, was a full one: the next may be larger.
    pub(super) client_bulk: bool,
    pub(super) upstream_bulk: bool,
    /// Its handshake is still under way.
    pub(super) handshaking: bool,
    /// The time of its one live entry among the timers.
    pub(super) timer: Option<Moment>,
    generation: u32,
}

impl Entry {
    pub(super) fn receives_bulk(&self, side: Side) -> bool {
        match side {
            Side::Client => self.client_bulk,
            Side::Upstream => self.upstream_bulk,
        }
    }

    /// A chunk of `bytes` came from `side`.
    pub(super) fn note_received(&mut self, side: Side, bytes: usize) {
        let bulk = bytes >= RECEIVE_BYTES && !self.handshaking;
        match side {
            Side::Client => self.client_bulk = bulk,
            Side::Upstream => self.upstream_bulk = bulk,
        }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Table {
    entries: Slab<Entry>,
    generations: u32,
}

impl Table {
    pub(super) fn insert(&mut self, connection: Connection, client: Socket, through: u64) -> Key {
        self.generations = self.generations.wrapping_add(1);
        let generation = self.generations;
        let index = self.entries.insert(Entry {
            connection,
            client: Some(client),
            upstream: None,
            through,
            client_bulk: false,
            upstream_bulk: false,
            handshaking: true,
            timer: None,
            generation,
        });
        Key::new(index, generation)
    }

    /// The connection of that key, unless it is gone.
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(key.index())?;
        (entry.generation == key.generation()).then_some(entry)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Entry> {
        self.get(key)?;
        self.entries.try_remove(key.index())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Places, taken or empty.
    pub(super) fn places(&self) -> usize {
        self.entries.capacity()
    }

    /// The connection in a place.
    pub(super) fn key_at(&self, place: usize) -> Option<Key> {
        self.entries.get(place).map(|entry| Key::new(place, entry.generation))
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.entries.iter().map(|(index, entry)| Key::new(index, entry.generation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_keeps_index_and_generation_apart() {
        let key = Key::new(0xfedc_ba98, 0x8765_4321);
        assert_eq!((key.index(), key.generation()), (0xfedc_ba98, 0x8765_4321));
        assert_eq!(Key::from_tag(key.tag()), key);
    }
}
