//! The one source of chance: xoshiro256** (Blackman and Vigna), seeded by SplitMix64.

use std::ops::RangeInclusive;

/// A stream of numbers that depends on nothing but its seed. Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut spread = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut spread)) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Evenly one of the range's numbers, but for a bias that no test can see.
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = range.into_inner();
        assert!(first <= last, "an empty range");
        first + self.next() % (last - first).saturating_add(1)
    }

    pub(crate) fn size(&mut self, range: RangeInclusive<usize>) -> usize {
        let (first, last) = range.into_inner();
        usize::try_from(self.within(first as u64..=last as u64)).expect("between two sizes")
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    /// One of `choices`, each as likely as its weight.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let total: u64 = choices.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.next() % total;
        for (weight, choice) in choices {
            if drawn < *weight {
                return *choice;
            }
            drawn -= weight;
        }
        unreachable!("drawn below the total of the weights")
    }

    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for piece in buffer.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }

    /// A stream of its own, so that more draws in one place do not move another's.
    pub(crate) fn fork(&mut self) -> Self {
        Self::from_seed(self.next())
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Application data that both ends can make by themselves, from any offset on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    key: u64,
}

impl Stream {
    pub(crate) fn new(key: u64) -> Self {
        Self { key }
    }

    pub(crate) fn bytes(self, offset: u64, length: usize) -> Vec<u8> {
        (offset..offset + length as u64).map(|at| self.at(at)).collect()
    }

    /// Where `bytes`, which begin at `offset`, differ first from the stream.
    pub(crate) fn first_difference(self, offset: u64, bytes: &[u8]) -> Option<u64> {
        (offset..).zip(bytes).find(|(at, byte)| self.at(*at) != **byte).map(|(at, _)| at)
    }

    fn at(self, offset: u64) -> u8 {
        let mut mixed = self.key ^ (offset / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 29;
        mixed.to_le_bytes()[(offset % 8) as usize]
    }
}
