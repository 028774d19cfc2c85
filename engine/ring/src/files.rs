//! The table of direct descriptors: which slot is free, and what is in flight on the others.

use crate::closing::Closing;
use crate::user_data::UserData;

/// A connection of one ring: a slot of its direct descriptor table, and the generation of the slot
/// in which this connection had it.
///
/// It is a name, not an owner: copying is free, and once the connection is closed the name is stale
/// and every operation on it is refused.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Socket {
    slot: u32,
    generation: u32,
}

impl Socket {
    /// The slot of the direct descriptor table, below [`Settings::slots`](crate::Settings::slots).
    /// No two open connections of a ring share one, so it serves as an index.
    pub fn slot(self) -> u32 {
        self.slot
    }
}

/// Every slot of the direct descriptor table is in use.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("every slot of the ring's descriptor table is in use")]
pub struct Full;

/// What the connection speaks below TLS: decides how it is reset.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Family {
    Tcp,
    Unix,
}

#[derive(Copy, Clone, Debug)]
pub(crate) enum State {
    Free,
    /// Kept for an armed accept or for a connect that is being prepared; it has no [`Socket`] yet.
    Reserved,
    Open,
    Closing(Closing),
}

/// The kinds of operation that can be in flight on a socket, at most one of each.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Connect = 1,
    Receive = 2,
    Send = 4,
    Shutdown = 8,
    Cancel = 16,
}

#[derive(Debug)]
pub(crate) struct Slot {
    generation: u32,
    pub(crate) state: State,
    pub(crate) family: Family,
    pending: u8,
    /// The receive that is in flight, or was last.
    receive: UserData,
}

impl Slot {
    /// The receive that is in flight, if nothing else is.
    pub(crate) fn lone_receive(&self) -> Option<UserData> {
        (self.pending == Kind::Receive as u8).then_some(self.receive)
    }

    pub(crate) fn note_receive(&mut self, receive: UserData) {
        self.receive = receive;
    }

    /// # Panics
    ///
    /// If one of this kind is in flight already: the worker has lost count, which is our bug.
    pub(crate) fn begin(&mut self, kind: Kind) {
        assert!(self.pending & kind as u8 == 0, "two operations in flight on one socket: {kind:?}");
        self.pending |= kind as u8;
    }

    pub(crate) fn end(&mut self, kind: Kind) {
        debug_assert!(self.pending & kind as u8 != 0, "an operation ended twice: {kind:?}");
        self.pending &= !(kind as u8);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.pending == 0
    }
}

/// The slots, their generations, and the list of free ones.
pub(crate) struct Files {
    slots: Vec<Slot>,
    /// Last freed, first reserved: the kernel's part of a slot is warmest then.
    free: Vec<u32>,
}

impl Files {
    pub(crate) fn new(slots: u32) -> Files {
        let empty = || Slot {
            generation: 0,
            state: State::Free,
            family: Family::Tcp,
            pending: 0,
            receive: UserData::from_u64(0),
        };
        Files {
            slots: std::iter::repeat_with(empty).take(slots as usize).collect(),
            free: (0..slots).rev().collect(),
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn free(&self) -> u32 {
        self.free.len() as u32
    }

    pub(crate) fn reserve(&mut self) -> Result<u32, Full> {
        let slot = self.free.pop().ok_or(Full)?;
        debug_assert!(matches!(self.slots[slot as usize].state, State::Free));
        self.slots[slot as usize].state = State::Reserved;
        Ok(slot)
    }

    /// Names the connection that now lies in a reserved slot.
    pub(crate) fn open(&mut self, slot: u32, family: Family) -> Socket {
        let entry = &mut self.slots[slot as usize];
        debug_assert!(matches!(entry.state, State::Reserved));
        entry.state = State::Open;
        entry.family = family;
        let generation = entry.generation;
        Socket { slot, generation }
    }

    /// Makes the slot free and every name for it stale.
    pub(crate) fn release(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        debug_assert!(!matches!(entry.state, State::Free), "a slot was released twice");
        debug_assert!(entry.is_idle(), "a slot was released with an operation in flight");
        entry.state = State::Free;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
    }

    /// The slot of an open connection; `None` if it is being closed, or if the name is stale.
    pub(crate) fn open_slot(&mut self, socket: Socket) -> Option<&mut Slot> {
        self.slot(socket).filter(|slot| matches!(slot.state, State::Open))
    }

    pub(crate) fn is_open(&self, socket: Socket) -> bool {
        self.slots.get(socket.slot as usize).is_some_and(|slot| {
            slot.generation == socket.generation && matches!(slot.state, State::Open)
        })
    }

    /// The slot of a connection that is open or being closed; `None` if the name is stale.
    pub(crate) fn slot(&mut self, socket: Socket) -> Option<&mut Slot> {
        self.slots
            .get_mut(socket.slot as usize)
            .filter(|slot| slot.generation == socket.generation)
            .filter(|slot| !matches!(slot.state, State::Free | State::Reserved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_stale_once_its_slot_is_released() {
        let mut files = Files::new(1);
        let slot = files.reserve().unwrap();
        let first = files.open(slot, Family::Tcp);
        assert!(files.slot(first).is_some());
        files.release(slot);
        assert!(files.slot(first).is_none());

        let slot = files.reserve().unwrap();
        assert!(files.slot(first).is_none(), "reserved for the next connection");
        let second = files.open(slot, Family::Tcp);
        assert_eq!(second.slot(), first.slot());
        assert!(files.slot(first).is_none());
        assert!(files.slot(second).is_some());
    }

    #[test]
    fn no_slot_is_handed_out_twice() {
        let mut files = Files::new(3);
        let mut taken = [files.reserve(), files.reserve(), files.reserve()].map(Result::unwrap);
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
        assert_eq!(files.reserve(), Err(Full));
        assert_eq!(files.free(), 0);
    }

    #[test]
    #[should_panic(expected = "two operations in flight on one socket: Receive")]
    fn a_second_receive_on_a_socket_is_our_bug() {
        let mut files = Files::new(1);
        let slot = files.reserve().unwrap();
        let socket = files.open(slot, Family::Tcp);
        let slot = files.slot(socket).unwrap();
        slot.begin(Kind::Send);
        slot.begin(Kind::Receive);
        slot.begin(Kind::Receive);
    }
}
