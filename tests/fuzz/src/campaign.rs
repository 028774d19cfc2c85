//! Inputs without an end: from the seeds, and from whatever came to something that was not seen before.

use std::collections::BTreeMap;

use crate::mutation::mutate;
use crate::random::Random;
use crate::{Outcome, Target};

/// Inputs that are gone on from.
const INPUTS_MAX: usize = 4_096;

/// Outcomes that are told apart: a target that repeats its input in its words must not fill the memory.
const OUTCOMES_MAX: usize = 65_536;

/// The mutations of one target's inputs. The same target, seed and inputs give the same ones, as far as the
/// target's outcomes do.
pub struct Campaign {
    target: &'static Target,
    random: Random,
    inputs: Vec<Vec<u8>>,
    outcomes: BTreeMap<String, u64>,
    hungriest: (u64, Vec<u8>),
}

impl Campaign {
    /// Begins with these inputs; each is to be [`Self::saw`] once before others are made of them.
    #[must_use]
    pub fn new(target: &'static Target, inputs: Vec<Vec<u8>>, seed: u64) -> Self {
        Self {
            target,
            random: Random::new(seed),
            inputs,
            outcomes: BTreeMap::new(),
            hungriest: Default::default(),
        }
    }

    /// The inputs that are gone on from.
    #[must_use]
    pub fn inputs(&self) -> &[Vec<u8>] {
        &self.inputs
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let none = Vec::new();
        let from = self.inputs.get(self.random.below(self.inputs.len())).unwrap_or(&none);
        mutate(from, &self.inputs, self.target.bytes_max, &mut self.random)
    }

    /// What became of an input. One with an outcome that is new is gone on from.
    pub fn saw(&mut self, input: &[u8], outcome: Outcome) {
        if outcome.allocated > self.hungriest.0 {
            self.hungriest = (outcome.allocated, input.to_vec());
        }
        if self.outcomes.len() >= OUTCOMES_MAX && !self.outcomes.contains_key(&outcome.words) {
            return;
        }
        let times = self.outcomes.entry(outcome.words).or_default();
        *times += 1;
        if *times == 1 && !self.inputs.iter().any(|known| known == input) {
            if self.inputs.len() < INPUTS_MAX {
                self.inputs.push(input.to_vec());
            } else {
                let at = self.random.below(INPUTS_MAX);
                self.inputs[at] = input.to_vec();
            }
        }
    }

    /// What inputs came to, and how many did.
    #[must_use]
    pub fn outcomes(&self) -> &BTreeMap<String, u64> {
        &self.outcomes
    }

    /// The most bytes that were allocated for an input, and the input.
    #[must_use]
    pub fn hungriest(&self) -> (u64, &[u8]) {
        (self.hungriest.0, &self.hungriest.1)
    }
}
