//! Which operation a completion belongs to.
//!
//! The kernel hands back 64 bits of ours with every completion. They are an index into the slab of
//! in-flight operations and the generation of that entry, never an address: a completion that comes
//! twice, late or from nowhere finds no entry instead of freed memory.

use crate::operation::Operation;

/// The 64 bits that travel through the kernel: generation above, index below.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct UserData {
    index: u32,
    generation: u32,
}

impl UserData {
    pub(crate) fn from_u64(bits: u64) -> UserData {
        let (generation, index) = ((bits >> 32) as u32, bits as u32);
        UserData { index, generation }
    }

    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

/// The slab of operations that the kernel holds, or will once they are submitted.
#[derive(Default)]
pub(crate) struct InFlight {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

struct Entry {
    /// Moves on whenever the entry is emptied, so that the user data of a completed operation
    /// never matches again (until 2^32 operations later in the same entry).
    generation: u32,
    operation: Option<Operation>,
}

impl InFlight {
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Takes ownership of the operation's memory until [`InFlight::complete`] gives it back.
    pub(crate) fn insert(&mut self, operation: Operation) -> UserData {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.entries.len()).expect("a few operations for each slot");
            let (generation, operation) = (0, None);
            self.entries.push(Entry { generation, operation });
            index
        });
        let entry = &mut self.entries[index as usize];
        debug_assert!(entry.operation.is_none(), "the free list holds empty entries only");
        entry.operation = Some(operation);
        let generation = entry.generation;
        UserData { index, generation }
    }

    /// The operation this user data was given for, once; `None` if there is none (any more).
    pub(crate) fn complete(&mut self, user_data: UserData) -> Option<Operation> {
        let entry = self.entries.get_mut(user_data.index as usize)?;
        if entry.generation != user_data.generation {
            return None;
        }
        let operation = entry.operation.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(user_data.index);
        Some(operation)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (UserData, &Operation)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let user_data = UserData { index: index as u32, generation: entry.generation };
            entry.operation.as_ref().map(|operation| (user_data, operation))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::CancelTarget;

    fn operation() -> Operation {
        Operation::Cancel { target: CancelTarget::Accept(UserData::from_u64(0)) }
    }

    #[test]
    fn user_data_survives_the_way_through_the_kernel() {
        let user_data = UserData { index: 0xfedc_ba98, generation: 0x8765_4321 };
        assert_eq!(user_data.to_u64(), 0x8765_4321_fedc_ba98);
        assert_eq!(UserData::from_u64(user_data.to_u64()), user_data);
    }

    #[test]
    fn a_completion_is_taken_once_and_never_for_the_next_operation_in_its_entry() {
        let mut in_flight = InFlight::default();
        let first = in_flight.insert(operation());
        assert!(in_flight.complete(first).is_some());
        assert!(in_flight.complete(first).is_none());

        let second = in_flight.insert(operation());
        assert_eq!(second.index, first.index, "the entry is used again");
        assert!(in_flight.complete(first).is_none());
        assert_eq!(in_flight.len(), 1);
        assert!(in_flight.complete(second).is_some());
        assert_eq!(in_flight.len(), 0);
    }

    #[test]
    fn a_completion_from_nowhere_is_refused() {
        let mut in_flight = InFlight::default();
        assert!(in_flight.complete(UserData::from_u64(u64::MAX)).is_none());
    }
}
