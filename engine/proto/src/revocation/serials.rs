//! A compact set of serial numbers: exact answers, a few bytes beside the serial numbers themselves.
//!
//! The serial numbers of one length stand in one sorted array of records of that length, each with a
//! byte for its reason. Above it lies an array with eight bytes of every 16th record, and above that
//! one with every 64th of those, which stays in a cache: a look-up searches the top, then 64 numbers,
//! then 16 records, and so waits for memory a few times only.

use std::fmt;
use std::ops::Range;

/// The longest serial number that can be held. RFC 5280 §4.1.2.2 allows 20 bytes; CAs have been seen
/// to forget that the sign needs one more.
pub const SERIAL_BYTES_MAX: usize = 24;

/// Records for each number above them.
const BLOCK: usize = 16;

/// Of those numbers, so many for each at the top.
const TOP_BLOCK: usize = 64;

/// An INTEGER's content in the fewest bytes: what DER asks for, and CAs not always give.
pub(crate) fn canonical(mut serial: &[u8]) -> &[u8] {
    while let [first, second, ..] = serial {
        let redundant =
            (*first == 0x00 && second & 0x80 == 0) || (*first == 0xff && second & 0x80 != 0);
        if !redundant {
            break;
        }
        serial = &serial[1..];
    }
    serial
}

/// Serial numbers, each with a number for its reason. Filled, then sealed, then asked.
#[derive(Default)]
pub(crate) struct Serials {
    /// By length, from 1.
    groups: [Option<Box<dyn Records>>; SERIAL_BYTES_MAX],
    /// Records that the first group makes room for.
    expected: usize,
}

impl Serials {
    /// About so many will come.
    pub(crate) fn expect(&mut self, count: usize) {
        self.expected = count;
    }

    /// Adds one; `false` if its length is none that can be held.
    pub(crate) fn push(&mut self, serial: &[u8], reason: u8) -> bool {
        let serial = canonical(serial);
        let Some(group) = serial.len().checked_sub(1).and_then(|at| self.groups.get_mut(at)) else {
            return false;
        };
        let expected = std::mem::take(&mut self.expected);
        group.get_or_insert_with(|| records(serial.len(), expected)).push(serial, reason);
        true
    }

    /// Everything has come.
    pub(crate) fn seal(&mut self) {
        self.groups.iter_mut().flatten().for_each(|group| group.seal());
    }

    /// The reasons with which a serial number stands in the set; none if it does not.
    pub(crate) fn find(&self, serial: &[u8]) -> Found<'_> {
        let serial = canonical(serial);
        let group = serial.len().checked_sub(1).and_then(|at| self.groups.get(at)?.as_deref());
        group.map_or(Found { records: &[], width: 1 }, |group| group.find(serial))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.iter().flatten().map(|group| group.len()).sum()
    }

    /// What they take of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.groups.iter().flatten().map(|group| group.bytes()).sum()
    }
}

impl fmt::Debug for Serials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serials({})", self.len())
    }
}

/// The records of one serial number: more than one only where the list is at odds with itself.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    records: &'a [u8],
    width: usize,
}

impl Found<'_> {
    pub(crate) fn reasons(&self) -> impl Iterator<Item = u8> {
        self.records.chunks_exact(self.width).filter_map(|record| record.last().copied())
    }
}

/// The serial numbers of one length.
trait Records: Send + Sync {
    fn push(&mut self, serial: &[u8], reason: u8);
    fn seal(&mut self);
    fn find(&self, serial: &[u8]) -> Found<'_>;
    fn len(&self) -> usize;
    fn bytes(&self) -> usize;
}

/// `N` is the length with the reason behind it.
struct Sorted<const N: usize> {
    records: Vec<[u8; N]>,
    /// Bytes that all records have in common, at their beginning.
    common: usize,
    /// Of every 16th record, the eight bytes behind what is common, as a number.
    above: Vec<u64>,
    /// Every 64th of those.
    top: Vec<u64>,
}

impl<const N: usize> Sorted<N> {
    fn window(&self, serial: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        for (byte, from) in bytes.iter_mut().zip(&serial[self.common..]) {
            *byte = *from;
        }
        u64::from_be_bytes(bytes)
    }

    fn above_or_last(&self, at: usize) -> u64 {
        self.above.get(at).or(self.above.last()).copied().unwrap_or(u64::MAX)
    }

    /// The blocks of records in which one may stand that begins with `window`.
    fn blocks(&self, window: u64) -> (usize, usize) {
        let begin = self.top.partition_point(|top| *top < window).saturating_sub(1) * TOP_BLOCK;
        let end = (begin + TOP_BLOCK).min(self.above.len());
        let numbers = &self.above[begin..end];
        let bounds = numbers.first().copied().unwrap_or(0)..self.above_or_last(end);
        let guess = interpolate(window, &bounds, numbers.len());
        let less = begin + walk(numbers, guess, |above| *above < window);
        let equal = match self.above.get(less) {
            Some(next) if *next == window => {
                self.above[less..].partition_point(|above| *above == window)
            }
            _ => 0,
        };
        (less.saturating_sub(1), less + equal)
    }
}

impl<const N: usize> Records for Sorted<N> {
    fn push(&mut self, serial: &[u8], reason: u8) {
        if self.records.len() == self.records.capacity() {
            // By half: doubling would cost as much again as there is.
            self.records.reserve_exact((self.records.len() / 2).max(1_024));
        }
        let mut record = [reason; N];
        record[..N - 1].copy_from_slice(serial);
        self.records.push(record);
    }

    fn seal(&mut self) {
        self.records.sort_unstable();
        self.records.dedup();
        if self.records.capacity() - self.records.len() > self.records.len() / 8 {
            self.records.shrink_to_fit();
        }
        let (Some(first), Some(last)) = (self.records.first(), self.records.last()) else { return };
        self.common = first[..N - 1].iter().zip(&last[..N - 1]).take_while(|(a, b)| a == b).count();
        self.above = self
            .records
            .iter()
            .step_by(BLOCK)
            .map(|record| self.window(&record[..N - 1]))
            .collect();
        self.top = self.above.iter().step_by(TOP_BLOCK).copied().collect();
    }

    fn find(&self, serial: &[u8]) -> Found<'_> {
        let nothing = Found { records: &[], width: N };
        let Some(first) = self.records.first() else { return nothing };
        if serial.len() != N - 1 || serial[..self.common] != first[..self.common] {
            return nothing;
        }
        let window = self.window(serial);
        // What is sought may stand in the block before the first that begins with it, and runs on
        // while blocks begin with it.
        let (from, to) = self.blocks(window);
        let block = &self.records[from * BLOCK..(to * BLOCK).min(self.records.len())];
        let bounds = self.above.get(from).copied().unwrap_or(0)..self.above_or_last(to);
        let guess = interpolate(window, &bounds, block.len());
        let begin = if block.len() > 2 * BLOCK {
            block.partition_point(|record| record[..N - 1] < *serial)
        } else {
            walk(block, guess, |record| record[..N - 1] < *serial)
        };
        let count = block[begin..].iter().take_while(|record| record[..N - 1] == *serial).count();
        Found { records: block[begin..begin + count].as_flattened(), width: N }
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn bytes(&self) -> usize {
        let numbers = self.above.capacity() + self.top.capacity();
        self.records.capacity() * N + numbers * size_of::<u64>()
    }
}

/// Where `window` should stand among `count` numbers that are spread evenly within `bounds`.
fn interpolate(window: u64, bounds: &Range<u64>, count: usize) -> usize {
    let width = u128::from(bounds.end.saturating_sub(bounds.start)).max(1);
    let at = u128::from(window.saturating_sub(bounds.start)) * count as u128 / width;
    usize::try_from(at).unwrap_or(count).min(count)
}

/// How many of `all`, which is a few, are `less`, looked for from `guess` on. Serial numbers are drawn by
/// chance: the guess is near, and neighbours come out of memory with it.
fn walk<T>(all: &[T], guess: usize, less: impl Fn(&T) -> bool) -> usize {
    let mut at = guess.min(all.len());
    while at > 0 && !less(&all[at - 1]) {
        at -= 1;
    }
    while at < all.len() && less(&all[at]) {
        at += 1;
    }
    at
}

/// An empty group for serial numbers of `length` bytes.
fn records(length: usize, expected: usize) -> Box<dyn Records> {
    fn sorted<const N: usize>(expected: usize) -> Box<dyn Records> {
        let records = Vec::with_capacity(expected);
        Box::new(Sorted::<N> { records, common: 0, above: Vec::new(), top: Vec::new() })
    }
    macro_rules! by_length {
        ($($length:literal)*) => {
            match length {
                $($length => sorted::<{ $length + 1 }>(expected),)*
                _ => sorted::<1>(0),
            }
        };
    }
    by_length!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24)
}

#[cfg(test)]
mod tests;
