//! Elements of DER: made, and found in what may be none.

use std::ops::Range;

/// An element with these parts as its content.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut element = vec![tag];
    element.extend(length(content.len()));
    element.extend(content);
    element
}

/// A length as DER writes it (X.690 §10.1).
pub(crate) fn length(length: usize) -> Vec<u8> {
    if length < 0x80 {
        return vec![length as u8];
    }
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    [&[0x80 | significant.len() as u8][..], significant].concat()
}

/// Where an element stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// From its tag to its end.
    pub(crate) whole: Range<usize>,
    pub(crate) length: Range<usize>,
    pub(crate) content: Range<usize>,
}

/// The elements in some bytes, outer ones before those in them, as far as they can be read; a few hundred at most.
/// Whatever an element holds that reads as elements is taken for such.
pub(crate) fn places(bytes: &[u8]) -> Vec<Place> {
    const PLACES_MAX: usize = 512;
    let mut found: Vec<Place> = Vec::new();
    let mut open = Vec::from([(0, bytes.len())]);
    while let Some((start, end)) = open.pop() {
        let mut at = start;
        while at < end && found.len() < PLACES_MAX {
            let Some(place) = read(bytes, at, end) else { break };
            at = place.whole.end;
            // A BIT STRING tells how many bits are unused before it holds anything.
            let unused = usize::from(bytes[place.whole.start] == 3);
            let content = place.content.clone();
            open.push(((content.start + unused).min(content.end), content.end));
            found.push(place);
        }
    }
    found
}

/// The element that begins at `at` and ends before `end`.
fn read(bytes: &[u8], at: usize, end: usize) -> Option<Place> {
    let first = usize::from(*bytes.get(at + 1)?);
    let (octets, length) = match first {
        0..=0x7f => (0, first),
        0x81..=0x84 => {
            let octets = bytes.get(at + 2..at + 2 + (first & 0x7f))?;
            (octets.len(), octets.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
        _ => return None,
    };
    let start = at + 2 + octets;
    let place =
        Place { whole: at..start + length, length: at + 1..start, content: start..start + length };
    (place.whole.end <= end).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_found() {
        for size in [0, 1, 127, 128, 255, 256, 70_000] {
            let inner = element(4, &[&vec![0xff; size]]);
            let outer = element(0x30, &[&inner, &element(3, &[&[0], &element(2, &[&[1]])])]);
            let places = places(&outer);
            assert_eq!(places[0].whole, 0..outer.len(), "{size}");
            assert_eq!(places[0].content.end, outer.len());
            assert!(places.iter().any(|place| outer[place.whole.clone()] == inner[..]));
            assert!(places.iter().any(|place| outer[place.whole.clone()] == [2, 1, 1]));
        }
        assert_eq!(places(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), []);
        assert_eq!(places(&[0x30, 0x80]), []);
    }
}
