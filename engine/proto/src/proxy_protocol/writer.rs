//! TLVs, nested and within bounds: nothing that is written can be longer than its length says.

use std::mem;

use super::TLV_HEAD_BYTES;

/// Appends TLVs up to a bound.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Nothing goes beyond this place in `out`.
    end: usize,
}

/// A TLV whose value is being written.
pub(super) struct Open {
    /// Where its head stands.
    start: usize,
    /// The end of what it stands in.
    outer_end: usize,
}

impl<'a> Writer<'a> {
    /// At most `bytes` more.
    pub(super) fn new(out: &'a mut Vec<u8>, bytes: usize) -> Self {
        let end = out.len() + bytes;
        Self { out, end }
    }

    /// Bytes that there is room for.
    pub(super) fn room(&self) -> usize {
        self.end.saturating_sub(self.out.len())
    }

    /// Where the next byte would stand.
    pub(super) fn place(&self) -> usize {
        self.out.len()
    }

    /// Appends a whole TLV, or nothing: `false` if there is no room for it.
    pub(super) fn tlv(&mut self, kind: u8, value: &[u8]) -> bool {
        let Ok(length) = u16::try_from(value.len()) else { return false };
        if TLV_HEAD_BYTES + value.len() > self.room() {
            return false;
        }
        self.out.push(kind);
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(value);
        true
    }

    /// Begins a TLV whose value has `least` bytes at least and `most` at most; `None` if there is no room for it.
    pub(super) fn open(&mut self, kind: u8, least: usize, most: usize) -> Option<Open> {
        if TLV_HEAD_BYTES + least > self.room() || least > most {
            return None;
        }
        let start = self.out.len();
        let most = most.min(usize::from(u16::MAX));
        let end = self.end.min(start + TLV_HEAD_BYTES + most);
        self.out.extend_from_slice(&[kind, 0, 0]);
        Some(Open { start, outer_end: mem::replace(&mut self.end, end) })
    }

    /// Appends bytes of the open TLV that are no TLV; nothing if there is no room for them.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if bytes.len() <= self.room() {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Ends the TLV that was begun last.
    pub(super) fn close(&mut self, open: Open) {
        self.end = open.outer_end;
        let value = open.start + TLV_HEAD_BYTES;
        let length = u16::try_from(self.out.len() - value).unwrap_or(u16::MAX);
        self.out[open.start + 1..value].copy_from_slice(&length.to_be_bytes());
    }

    /// Takes back the TLV that was begun last.
    pub(super) fn abandon(&mut self, open: Open) {
        self.end = open.outer_end;
        self.out.truncate(open.start);
    }

    /// Puts a TLV of `kind` at the end of the closed TLV that begins at `start`, before whatever follows it; `false`
    /// if it does not fit, or if that one's value would exceed `most` bytes.
    pub(super) fn insert(&mut self, start: usize, most: usize, kind: u8, value: &[u8]) -> bool {
        let &[high, low] = &self.out[start + 1..start + TLV_HEAD_BYTES] else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let added = TLV_HEAD_BYTES + value.len();
        let (Ok(whole), Ok(own)) = (u16::try_from(length + added), u16::try_from(value.len()))
        else {
            return false;
        };
        if added > self.room() || usize::from(whole) > most {
            return false;
        }
        let end = start + TLV_HEAD_BYTES + length;
        let [high, low] = own.to_be_bytes();
        self.out.splice(end..end, [kind, high, low].into_iter().chain(value.iter().copied()));
        self.out[start + 1..start + TLV_HEAD_BYTES].copy_from_slice(&whole.to_be_bytes());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_leaves_nothing_behind() {
        let mut out = vec![9];
        let mut writer = Writer::new(&mut out, 9);
        assert!(!writer.tlv(1, &[0; 7]));
        assert!(writer.open(2, 7, 7).is_none());
        assert!(writer.tlv(3, b"abc"));
        let open = writer.open(4, 0, 100).expect("room for its head");
        assert_eq!(writer.room(), 0);
        writer.bytes(b"x");
        assert!(!writer.tlv(5, b""));
        writer.close(open);
        assert!(!writer.insert(1, 100, 6, b""));
        assert_eq!(out, [9, 3, 0, 3, b'a', b'b', b'c', 4, 0, 0]);
    }

    #[test]
    fn a_tlv_can_be_put_into_another_afterwards() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, 100);
        let open = writer.open(1, 1, 10).expect("room");
        writer.bytes(&[7]);
        writer.close(open);
        assert!(writer.tlv(2, b"behind"));
        assert!(writer.insert(0, 6, 3, b"in"));
        assert!(!writer.insert(0, 8, 4, b""), "the outer one would be too long");
        assert_eq!(out, b"\x01\0\x06\x07\x03\0\x02in\x02\0\x06behind");
    }

    #[test]
    fn what_is_abandoned_is_gone() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, 20);
        let open = writer.open(1, 0, 10).expect("room");
        assert!(writer.tlv(2, b"abc"));
        writer.abandon(open);
        assert_eq!((writer.room(), out.len()), (20, 0));
    }

    #[test]
    fn no_value_is_longer_than_its_length_can_say() {
        let long = vec![0; usize::from(u16::MAX) + 1];
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, 1 << 20);
        assert!(!writer.tlv(1, &long));
        let open = writer.open(2, 0, 1 << 20).expect("room");
        assert_eq!(writer.room(), usize::from(u16::MAX));
        assert!(writer.tlv(3, &long[..60_000]));
        writer.close(open);
        assert!(!writer.insert(0, 1 << 20, 4, &long[..6_000]));
        assert_eq!(out[1..3], 60_003_u16.to_be_bytes());
    }
}
