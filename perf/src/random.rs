//! Chance from a seed, so that an order can be had again.

/// SplitMix64 (Steele, Lea, Flood 2014): good enough to shuffle and to resample.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `bound` - 1; `bound` is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // Lemire's multiplication: the bias is below 2^-50 for the small bounds used here.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_order_and_every_place_its_turn() {
        let order = |seed| {
            let mut items = [0, 1, 2, 3];
            Random::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(order(7), order(7));
        for item in 0..4 {
            assert!((0..64).any(|seed| order(seed)[0] == item), "{item} comes first for some seed");
        }
    }
}
