use std::collections::BTreeSet;

use super::*;

/// A generator of numbers from a seed (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn serial(&mut self, length: usize, kind: u64) -> Vec<u8> {
        let mut serial = vec![0x41; length];
        // Random, counted up behind a common beginning, or few values of which many collide in eight bytes.
        let random = match kind {
            0 => length,
            1 => length.min(2),
            _ => 1,
        };
        for byte in &mut serial[length - random..] {
            *byte = self.next() as u8;
        }
        if kind == 2 {
            serial[0] = (self.next() & 3) as u8;
        }
        serial
    }
}

#[test]
fn answers_are_those_of_a_tree() {
    for seed in 1..=60 {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let kind = seed % 3;
        let count = [0, 1, 2, 63, 64, 65, 500, 3_000][(numbers.next() % 8) as usize];
        let longest = 1 + (numbers.next() as usize) % SERIAL_BYTES_MAX;
        let (mut ours, mut tree) = (Serials::default(), BTreeSet::new());
        for _ in 0..count {
            let length = longest - (numbers.next() as usize % longest).min(3);
            let serial = numbers.serial(length.max(1), kind);
            assert!(ours.push(&serial, 0));
            tree.insert(canonical(&serial).to_vec());
        }
        ours.seal();
        assert_eq!(ours.len(), tree.len());
        for serial in &tree {
            assert_eq!(ours.find(serial).reasons().collect::<Vec<_>>(), [0], "{serial:x?}");
        }
        for _ in 0..2_000 {
            let length = 1 + numbers.next() as usize % (SERIAL_BYTES_MAX + 4);
            let serial = numbers.serial(length, kind);
            let found = ours.find(&serial).reasons().next().is_some();
            assert_eq!(found, tree.contains(canonical(&serial)), "{serial:x?}");
        }
    }
}

#[test]
fn numbers_are_compared_as_numbers_with_their_sign() {
    let mut serials = Serials::default();
    assert!(serials.push(&[0x00, 0x00, 0xff], 1) && serials.push(&[0xff, 0xff, 0x80], 2));
    serials.seal();
    let reasons = |serial: &[u8]| serials.find(serial).reasons().collect::<Vec<u8>>();
    const NONE: [u8; 0] = [];
    // 255 is not -1, and -128 is not 128 (PKITS 4.4.14 and 4.4.15).
    assert_eq!(reasons(&[0x00, 0xff]), [1]);
    assert_eq!(reasons(&[0xff]), NONE);
    assert_eq!(reasons(&[0x80]), [2]);
    assert_eq!(reasons(&[0x00, 0x80]), NONE);
    assert_eq!(reasons(&[]), NONE);
}

#[test]
fn a_serial_number_that_stands_twice_has_both_reasons() {
    let mut serials = Serials::default();
    for reason in [8, 1, 1] {
        assert!(serials.push(&[7; 20], reason));
    }
    serials.seal();
    assert_eq!(serials.find(&[7; 20]).reasons().collect::<Vec<_>>(), [1, 8]);
    assert!(!serials.push(&[1; SERIAL_BYTES_MAX + 1], 0) && !serials.push(&[], 0));
}
