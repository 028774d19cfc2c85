//! What a connection is called, in our log and in an upstream's.

use std::cell::Cell;
use std::fmt;

/// The name of one connection: 128 bits that no other connection of any worker or any boot has. Its `Display` is 32
/// hexadecimal digits.
///
/// It is no secret, and cannot be one: whoever has seen one can guess others of the same worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    nonce: u64,
    number: u64,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.nonce, self.number)
    }
}

/// A worker's connections, numbered.
pub(crate) struct ConnectionNumbers {
    nonce: u64,
    next: Cell<u64>,
}

impl ConnectionNumbers {
    /// Of a worker with a nonce of its own.
    pub(crate) fn new(nonce: u64) -> Self {
        Self { nonce, next: Cell::new(0) }
    }

    pub(crate) fn take(&self) -> ConnectionId {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        ConnectionId { nonce: self.nonce, number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_has_its_own() {
        let (one, other) = (ConnectionNumbers::new(0xab), ConnectionNumbers::new(0xcd));
        assert_eq!(one.take().to_string(), "00000000000000ab0000000000000000");
        assert_eq!(one.take().to_string(), "00000000000000ab0000000000000001");
        assert_eq!(other.take().to_string(), "00000000000000cd0000000000000000");
    }
}
