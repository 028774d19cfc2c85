//! Epochs and their ticket keys: which there are, which are missing, which one seals. Knows no token and no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_proto::TicketKey;

/// Keys by the number of their epoch, which counts epochs since 1970.
#[derive(Default)]
pub(super) struct Epochs {
    keys: BTreeMap<u64, Held>,
    /// What [`Self::turn`] has told last: the epoch that seals, and all that open.
    told: (Option<u64>, Vec<u64>),
}

struct Held {
    key: TicketKey,
    /// The last epoch in which it sealed: its own, or a later one whose key was not to be had.
    sealed_in: u64,
}

/// An epoch, and how many before it still have tickets that are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) now: u64,
    pub(super) past: u64,
}

impl Window {
    /// `unix_time` since 1970; `longest` is how long a ticket may be good.
    pub(super) fn at(unix_time: Duration, epoch: Duration, longest: Duration) -> Self {
        let length = epoch.as_secs().max(1);
        // One more: a node whose clock is behind seals with the key of the epoch before.
        let past = longest.as_secs().div_ceil(length) + 1;
        Self { now: unix_time.as_secs() / length, past }
    }

    /// Those whose keys open, the most urgent first. The next one's too: a node whose clock is ahead seals with it.
    fn epochs(self) -> impl Iterator<Item = u64> {
        let before = (1..=self.past).map_while(move |back| self.now.checked_sub(back));
        [self.now, self.now.saturating_add(1)].into_iter().chain(before)
    }

    fn contains(self, epoch: u64) -> bool {
        epoch <= self.now.saturating_add(1) && epoch.saturating_add(self.past) >= self.now
    }
}

impl Epochs {
    pub(super) fn insert(&mut self, epoch: u64, key: TicketKey) {
        self.keys.entry(epoch).or_insert(Held { key, sealed_in: epoch });
    }

    /// The epochs whose keys are not there, the most urgent first.
    pub(super) fn missing(&self, window: Window) -> Vec<u64> {
        window.epochs().filter(|epoch| !self.keys.contains_key(epoch)).collect()
    }

    /// Time has passed, or keys have come: drops what opens nothing any more. Says whether the keys, or which of them
    /// seals, are others than it said last.
    pub(super) fn turn(&mut self, window: Window) -> bool {
        let sealing = self.sealing(window.now);
        if let Some(held) = sealing.and_then(|epoch| self.keys.get_mut(&epoch)) {
            held.sealed_in = held.sealed_in.max(window.now);
        }
        self.keys.retain(|epoch, held| {
            let opens = window.contains(*epoch)
                || *epoch <= window.now && window.contains(held.sealed_in.min(window.now));
            Some(*epoch) == sealing || opens
        });
        let is = (sealing, self.keys.keys().copied().collect());
        let changed = self.told != is;
        self.told = is;
        changed
    }

    /// The one that seals stands first.
    pub(super) fn keys(&self, window: Window) -> Vec<TicketKey> {
        let sealing = self.sealing(window.now);
        let first = sealing.and_then(|epoch| self.keys.get(&epoch));
        let others = self.keys.iter().rev().filter(|(epoch, _)| Some(**epoch) != sealing);
        first.into_iter().chain(others.map(|(_, held)| held)).map(|held| held.key.clone()).collect()
    }

    /// The epoch of now, or where its key is not there, the last one before it: others keep that the longest. Where a clock was
    /// set back so far that there is none, the first after it.
    fn sealing(&self, now: u64) -> Option<u64> {
        let last = self.keys.range(..=now).next_back();
        last.or_else(|| self.keys.iter().next()).map(|(epoch, _)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn key(epoch: u64) -> TicketKey {
        let byte = u8::try_from(epoch).expect("a small epoch");
        TicketKey::new(Zeroizing::new(vec![byte; 32])).expect("a key")
    }

    fn keys(epochs: &[u64]) -> Vec<TicketKey> {
        epochs.iter().map(|epoch| key(*epoch)).collect()
    }

    fn derive(epochs: &mut Epochs, window: Window) {
        for epoch in epochs.missing(window) {
            epochs.insert(epoch, key(epoch));
        }
    }

    #[test]
    fn as_many_epochs_open_as_their_tickets_may_live_and_one_more_on_either_side() {
        let seconds = Duration::from_secs;
        let window = Window::at(seconds(7 * 60 + 59), seconds(60), seconds(120));
        assert_eq!(window, Window { now: 7, past: 3 });
        assert_eq!(window.epochs().collect::<Vec<_>>(), [7, 8, 6, 5, 4]);
        assert_eq!(Window::at(seconds(60), seconds(60), seconds(61)), Window { now: 1, past: 3 });
        let none = Window::at(seconds(0), seconds(60), Duration::ZERO);
        assert_eq!(none.epochs().collect::<Vec<_>>(), [0, 1], "1970 is the first");
    }

    #[test]
    fn the_key_of_the_next_epoch_is_there_before_it_begins() {
        let mut epochs = Epochs::default();
        let at = |now| Window { now, past: 1 };
        derive(&mut epochs, at(5));
        assert!(epochs.turn(at(5)));
        assert!(!epochs.turn(at(5)), "it was told");
        assert_eq!(epochs.keys(at(5)), keys(&[5, 6, 4]));
        assert!(epochs.turn(at(6)));
        assert_eq!(epochs.keys(at(6)), keys(&[6, 5]));
        assert_eq!(epochs.missing(at(6)), [7]);
        derive(&mut epochs, at(6));
        assert!(epochs.turn(at(6)));
        assert_eq!(epochs.keys(at(6)), keys(&[6, 7, 5]));
    }

    #[test]
    fn without_a_new_key_the_last_one_goes_on_and_opens_as_long_as_it_has_sealed() {
        let mut epochs = Epochs::default();
        let at = |now| Window { now, past: 1 };
        derive(&mut epochs, at(5));
        for now in 5..=20 {
            epochs.turn(at(now));
        }
        assert_eq!(epochs.keys(at(20)), keys(&[6]), "the token has been away since 5");
        derive(&mut epochs, at(20));
        assert!(epochs.turn(at(20)));
        assert_eq!(epochs.keys(at(20)), keys(&[20, 21, 19, 6]));
        assert!(epochs.turn(at(21)));
        assert!(epochs.keys(at(21)).contains(&key(6)), "it sealed in 20");
        assert!(epochs.turn(at(22)));
        assert!(!epochs.keys(at(22)).contains(&key(6)));
    }

    #[test]
    fn a_clock_that_is_set_back_finds_keys_again() {
        let mut epochs = Epochs::default();
        let at = |now| Window { now, past: 1 };
        derive(&mut epochs, at(20));
        epochs.turn(at(20));
        assert!(epochs.turn(at(5)));
        assert_eq!(epochs.keys(at(5)).len(), 1, "something seals");
        derive(&mut epochs, at(5));
        assert!(epochs.turn(at(5)));
        assert_eq!(epochs.keys(at(5)), keys(&[5, 6, 4]));
    }
}
