//! After something was published every open connection is asked again whether its client would still be
//! let in: a slice of the table in each turn of the loop, so that no turn takes long.

use super::table::{Key, Table};

/// What one turn may cost, in connections that are asked and live on.
const SLICE: usize = 256;

/// What the end of a connection costs more than asking it: its sockets are cancelled, reset and closed.
const END: usize = 15;

/// So many empty places of the table are as much as a connection that is asked.
const PLACES: usize = 64;

/// A walk through the table, while there is one.
#[derive(Debug, Default)]
pub(super) struct Reconsideration {
    walk: Option<Walk>,
}

#[derive(Debug)]
struct Walk {
    /// The place in the table that is looked at next.
    place: usize,
    /// What this turn may still cost, in places.
    left: usize,
}

impl Reconsideration {
    /// From the first connection on. One that came meanwhile knows what is published and is not asked.
    pub(super) fn begin(&mut self) {
        self.walk = Some(Walk { place: 0, left: 0 });
    }

    /// Is there more to ask, so that the next turn must come at once?
    pub(super) fn is_under_way(&self) -> bool {
        self.walk.is_some()
    }

    /// Connections, and empty places, that are not looked at yet.
    pub(super) fn outstanding(&self, table: &Table) -> usize {
        self.walk.as_ref().map_or(0, |walk| table.places().saturating_sub(walk.place))
    }

    /// Another turn of the loop.
    pub(super) fn next_slice(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.left = SLICE * PLACES;
        }
    }

    /// The next connection to ask; `None` when the slice, or the walk, is over.
    pub(super) fn next(&mut self, table: &Table) -> Option<Key> {
        self.advance(table.places(), |place| table.key_at(place))
    }

    fn advance(&mut self, places: usize, key_at: impl Fn(usize) -> Option<Key>) -> Option<Key> {
        let walk = self.walk.as_mut()?;
        while walk.left > 0 {
            if walk.place >= places {
                self.walk = None;
                return None;
            }
            let key = key_at(walk.place);
            walk.place += 1;
            let cost = if key.is_some() { PLACES } else { 1 };
            walk.left = walk.left.saturating_sub(cost);
            if key.is_some() {
                return key;
            }
        }
        None
    }

    /// The connection that was asked last has ended for it.
    pub(super) fn note_end(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.left = walk.left.saturating_sub(END * PLACES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are asked in each turn of a walk through `places`, of which those that `is_taken` says
    /// have a connection; each of them ends if `all_end`.
    fn turns(places: usize, is_taken: impl Fn(usize) -> bool, all_end: bool) -> Vec<usize> {
        let mut reconsideration = Reconsideration::default();
        let mut turns = Vec::new();
        let mut asked = Vec::new();
        reconsideration.begin();
        while reconsideration.is_under_way() {
            let before = asked.len();
            reconsideration.next_slice();
            let key_at = |place| is_taken(place).then(|| Key::from_tag(place as u64));
            while let Some(key) = reconsideration.advance(places, key_at) {
                asked.push(key);
                if all_end {
                    reconsideration.note_end();
                }
            }
            turns.push(asked.len() - before);
        }
        let all: Vec<_> = (0..places).filter(|place| is_taken(*place)).collect();
        let all: Vec<_> = all.into_iter().map(|place| Key::from_tag(place as u64)).collect();
        assert_eq!(asked, all, "each is asked once");
        turns
    }

    #[test]
    fn a_turn_asks_a_slice_and_the_walk_asks_everybody_once() {
        assert_eq!(turns(0, |_| true, false), [0]);
        assert_eq!(turns(SLICE - 1, |_| true, false), [SLICE - 1]);
        assert_eq!(turns(2 * SLICE + 1, |_| true, false), [SLICE, SLICE, 1]);
    }

    #[test]
    fn ends_make_a_slice_shorter() {
        let most = SLICE / (END + 1);
        let turns = turns(1_000, |_| true, true);
        assert!(turns.iter().all(|asked| *asked <= most), "{turns:?}");
    }

    #[test]
    fn empty_places_cost_little_and_not_nothing() {
        let turns = turns(100 * SLICE * PLACES, |place| place == 0, false);
        assert_eq!(turns.iter().sum::<usize>(), 1);
        assert!((100..=102).contains(&turns.len()), "{}", turns.len());
    }

    #[test]
    fn what_is_published_during_a_walk_begins_another() {
        let mut reconsideration = Reconsideration::default();
        assert!(!reconsideration.is_under_way());
        let key_at = |place| Some(Key::from_tag(place as u64));
        reconsideration.begin();
        reconsideration.next_slice();
        assert_eq!(reconsideration.advance(3, key_at), Some(Key::from_tag(0)));
        assert_eq!(reconsideration.advance(3, key_at), Some(Key::from_tag(1)));
        reconsideration.begin();
        assert_eq!(reconsideration.advance(3, key_at), None, "in the next turn");
        reconsideration.next_slice();
        assert_eq!(reconsideration.advance(3, key_at), Some(Key::from_tag(0)));
    }
}
