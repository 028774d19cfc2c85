//! A table that only grows, and is read without a lock by whoever likes.

use std::sync::OnceLock;

/// Places that are looked at for one key.
const PROBES: usize = 16;

/// Values by their hashes. When the places for a hash are taken, a value is not remembered.
pub(crate) struct OnceTable<T> {
    places: Box<[Place<T>]>,
}

/// A value with its hash, once there is one.
type Place<T> = OnceLock<([u8; 32], T)>;

impl<T> OnceTable<T> {
    /// With so many places, at least one.
    pub(crate) fn new(places: usize) -> Self {
        Self { places: (0..places.max(1)).map(|_| OnceLock::new()).collect() }
    }

    pub(crate) fn get(&self, key: &[u8; 32]) -> Option<&T> {
        let taken = self.probes(key).map_while(OnceLock::get);
        taken.filter(|(known, _)| known == key).map(|(_, value)| value).next()
    }

    /// Puts a value in, unless there is one.
    pub(crate) fn insert(&self, key: &[u8; 32], mut value: T) {
        for place in self.probes(key) {
            match place.set((*key, value)) {
                Ok(()) => return,
                Err((_, back)) => value = back,
            }
            if place.get().is_some_and(|(known, _)| known == key) {
                return;
            }
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(OnceLock::get).map(|(_, value)| value)
    }

    fn probes(&self, key: &[u8; 32]) -> impl Iterator<Item = &Place<T>> {
        let [a, b, c, d, ..] = *key;
        let first = u32::from_be_bytes([a, b, c, d]) as usize;
        let count = PROBES.min(self.places.len());
        (0..count).map(move |probe| &self.places[(first + probe) % self.places.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_out_of_a_full_table_is_not_found_and_nothing_is_lost() {
        let table = OnceTable::new(8);
        let key = |number: u8| [number; 32];
        for number in 0..20 {
            table.insert(&key(number), number);
            table.insert(&key(number), number + 100);
        }
        let found: Vec<_> = (0..20).filter_map(|number| table.get(&key(number))).collect();
        assert_eq!(found.len(), 8);
        assert!((0..20).all(|number| table.get(&key(number)).is_none_or(|value| *value == number)));
        assert_eq!(table.values().count(), 8);
    }
}
