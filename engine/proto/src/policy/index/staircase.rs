//! Rules that are one comparison with a bound.

use crate::policy::bound::Relation;

/// Those of a policy, by what they compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Staircases {
    pub(super) lifetime: Staircase,
    pub(super) remaining: Staircase,
    pub(super) rsa_bits: Staircase,
}

/// Bounds on one value, of rules added in their order.
///
/// A rule is kept only if its bound is wider than those of all earlier ones: where a narrower one holds, an earlier rule
/// holds too. So the bounds of those that are kept widen from rule to rule, and the first that holds is found by halving.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Staircase {
    /// Most values, ascending, each with its rule.
    at_most: Vec<(i64, usize)>,
    /// Least values, descending, each with its rule.
    at_least: Vec<(i64, usize)>,
}

impl Staircase {
    pub(super) fn add(&mut self, relation: Relation, bound: i64, rule: usize) {
        match relation {
            Relation::AtMost => self.add_most(bound, rule),
            Relation::Below => self.add_most(bound - 1, rule),
            Relation::AtLeast => self.add_least(bound, rule),
            Relation::Above => self.add_least(bound + 1, rule),
        }
    }

    fn add_most(&mut self, most: i64, rule: usize) {
        if self.at_most.last().is_none_or(|(widest, _)| *widest < most) {
            self.at_most.push((most, rule));
        }
    }

    fn add_least(&mut self, least: i64, rule: usize) {
        if self.at_least.last().is_none_or(|(widest, _)| *widest > least) {
            self.at_least.push((least, rule));
        }
    }

    /// The first rule whose bound a value keeps.
    pub(super) fn first_that_holds(&self, value: i64) -> Option<usize> {
        let most = self.at_most.partition_point(|(most, _)| *most < value);
        let least = self.at_least.partition_point(|(least, _)| *least > value);
        let rule = |steps: &[(i64, usize)], place| steps.get(place).map(|(_, rule)| *rule);
        let rules = [rule(&self.at_most, most), rule(&self.at_least, least)];
        rules.into_iter().flatten().min()
    }

    /// The first rule.
    pub(super) fn first(&self) -> Option<usize> {
        let rules = [self.at_most.first(), self.at_least.first()];
        rules.into_iter().flatten().map(|(_, rule)| *rule).min()
    }
}
