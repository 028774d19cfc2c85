//! Addresses and ranges of them.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::policy::AddressPrefix;
use crate::policy::address::{bits, mask, shortest};
use crate::policy::index::{Atom, AtomId, Values, value};
use crate::policy::rule::Action;

/// Ranges by their length and the bits that count: an address is looked up once for each length that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// Ascending.
    lengths: Vec<u32>,
    atoms: Values<(u32, u128)>,
}

impl Ranges {
    pub(super) fn is_empty(&self) -> bool {
        HashMap::is_empty(&self.atoms)
    }

    pub(super) fn atom(&mut self, prefix: &AddressPrefix, atoms: &mut Vec<Atom>) -> AtomId {
        let (length, bits) = prefix.parts();
        if let Err(place) = self.lengths.binary_search(&length) {
            self.lengths.insert(place, length);
        }
        value(&mut self.atoms, (length, bits), atoms)
    }

    /// Tells of every range that the address lies in. Gives the steps that it takes: no more than 129.
    pub(super) fn look_up(
        &self,
        action: Action,
        address: IpAddr,
        found: &mut impl FnMut(AtomId),
    ) -> usize {
        let start = self.lengths.partition_point(|length| *length < shortest(action, address));
        let bits = bits(address);
        for length in &self.lengths[start..] {
            if let Some(atom) = self.atoms.get(&(*length, bits & mask(*length))) {
                found(*atom);
            }
        }
        self.lengths.len() - start
    }
}
