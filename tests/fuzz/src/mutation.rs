//! How an input becomes another: by bits and bytes, by pieces of others, and by what formats are made of.

use crate::element::{self, Place};
use crate::random::Random;

/// Bytes at which readers turn: signs, ends, long lengths, tags, separators.
const TELLING: &[u8] = &[
    0, 1, 2, 3, 4, 5, 6, 0x0a, 0x0d, b' ', b'"', b'[', 0x17, 0x18, 0x2d, 0x30, 0x31, 0x3d, 0x7f,
    0x80, 0x81, 0x82, 0x84, 0x88, 0xa0, 0xa1, 0xa3, 0xfe, 0xff,
];

/// Lengths that no format means, as DER writes them.
const HUGE: [&[u8]; 8] = [
    &[0x80],
    &[0x81, 0x00],
    &[0x82, 0x00, 0x01],
    &[0x82, 0xff, 0xff],
    &[0x84, 0x7f, 0xff, 0xff, 0xff],
    &[0x84, 0xff, 0xff, 0xff, 0xff],
    &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xff],
];

/// Makes one to four changes to an input; `others` lend pieces. No more than `bytes_max` bytes remain.
#[must_use]
pub fn mutate(input: &[u8], others: &[Vec<u8>], bytes_max: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            bytes.push(random.byte());
        }
        match random.below(12) {
            0..=4 => change_bytes(&mut bytes, random),
            5 | 6 => change_pieces(&mut bytes, others, random),
            7 => change_length(&mut bytes, random),
            _ => change_elements(&mut bytes, others, random),
        }
        bytes.truncate(bytes_max);
    }
    bytes
}

fn change_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = *random.one(TELLING),
        2 => bytes[at] = random.byte(),
        3 => bytes[at] = bytes[at].wrapping_add(*random.one(&[1, 0xff])),
        4 => drop(bytes.remove(at)),
        5 => bytes.insert(at, *random.one(TELLING)),
        _ => bytes.truncate(at),
    }
}

/// A piece is cut, repeated, or taken from another input.
fn change_pieces(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len());
    let piece = at..at + random.below((bytes.len() - at).min(64)) + 1;
    match random.below(4) {
        0 => drop(bytes.drain(piece)),
        1 => {
            let times = *random.one(&[1, 2, 8, 256]);
            let repeated = bytes[piece.clone()].repeat(times);
            drop(bytes.splice(piece.end..piece.end, repeated));
        }
        2 => {
            let noise: Vec<_> = piece.clone().map(|_| random.byte()).collect();
            drop(bytes.splice(piece, noise));
        }
        // The beginning of one, and the end of another.
        _ if !others.is_empty() => {
            let other = random.one(others);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[random.below(other.len())..]);
        }
        _ => {}
    }
}

/// A number of two or three bytes, as TLS and PROXY have them, says more or less than there is.
fn change_length(bytes: &mut [u8], random: &mut Random) {
    let at = random.below(bytes.len());
    let rest = bytes.len() - at;
    let claims = [0, 1, rest - 1, rest, rest + 1, rest.saturating_sub(2), 0x4000, 0x4001, 0xffff];
    let claim = (*random.one(&claims) as u64).to_be_bytes();
    let size = 2 + random.below(2);
    for (byte, claimed) in bytes[at..].iter_mut().zip(&claim[claim.len() - size..]) {
        *byte = *claimed;
    }
}

/// An element of DER changes its length, its place or its content, and what it stands in follows or does not.
fn change_elements(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let places = element::places(bytes);
    if places.is_empty() {
        return change_bytes(bytes, random);
    }
    let place = random.one(&places).clone();
    let own = bytes[place.whole.clone()].to_vec();
    match random.below(8) {
        // The length alone lies.
        0 => drop(bytes.splice(place.length, random.one(&HUGE).iter().copied())),
        1 => {
            let wrong = place.content.len().wrapping_add(*random.one(&[1, usize::MAX, 128, 256]));
            drop(bytes.splice(place.length, element::length(wrong & 0xff_ffff)));
        }
        2 => bytes[place.whole.start] = *random.one(TELLING),
        // All that it stands in remains right.
        3 => replace(bytes, &places, &place, &[]),
        4 => replace(bytes, &places, &place, &own.repeat(*random.one(&[2, 3, 40]))),
        5 => {
            let other = random.one(&places).whole.clone();
            let other = bytes[other].to_vec();
            replace(bytes, &places, &place, &other);
        }
        6 if !others.is_empty() => {
            let other = random.one(others);
            let lent = element::places(other);
            if !lent.is_empty() {
                replace(bytes, &places, &place, &other[random.one(&lent).whole.clone()]);
            }
        }
        _ => {
            let mut content = bytes[place.content.clone()].to_vec();
            match random.below(4) {
                0 => content.clear(),
                1 => content.truncate(random.below(content.len())),
                2 => content.extend((0..1 + random.below(40)).map(|_| random.byte())),
                _ if content.is_empty() => content.push(random.byte()),
                _ => change_bytes(&mut content, random),
            }
            let changed = element::element(bytes[place.whole.start], &[&content]);
            replace(bytes, &places, &place, &changed);
        }
    }
}

/// Puts something else in the place of an element and mends the lengths of all that it stands in.
fn replace(bytes: &mut Vec<u8>, places: &[Place], place: &Place, by: &[u8]) {
    let mut changed = place.whole.clone();
    let mut new = by.to_vec();
    // Inner ones stand behind those that they are in.
    let around = |outer: &&Place| {
        outer.content.start <= place.whole.start && place.whole.end <= outer.content.end
    };
    let mut outers: Vec<_> = places.iter().filter(around).filter(|outer| *outer != place).collect();
    outers.sort_by_key(|outer| outer.content.len());
    for outer in outers {
        let content = [
            &bytes[outer.content.start..changed.start],
            &new,
            &bytes[changed.end..outer.content.end],
        ]
        .concat();
        new = element::element(bytes[outer.whole.start], &[&content]);
        changed = outer.whole.clone();
    }
    drop(bytes.splice(changed, new));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::element;

    #[test]
    fn what_an_element_stands_in_follows_its_size() {
        let leaf = element(4, &[&[7; 100]]);
        let before = element(0x30, &[&element(0x31, &[&leaf]), &element(2, &[&[1]])]);
        let places = element::places(&before);
        let place =
            places.iter().find(|place| before[place.whole.clone()] == leaf[..]).expect("it");
        for by in [&[][..], &element(4, &[&[8; 300]])] {
            let mut bytes = before.clone();
            replace(&mut bytes, &places, place, by);
            assert_eq!(bytes, element(0x30, &[&element(0x31, &[by]), &element(2, &[&[1]])]));
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_inputs_of_bounded_size() {
        let seeds = [element(0x30, &[&[2, 1, 1]]), b"PROXY UNKNOWN\r\n".to_vec(), Vec::new()];
        let of = |seed| {
            let mut random = Random::new(seed);
            let mut next = || {
                let seed = &seeds[random.below(seeds.len())];
                mutate(seed, &seeds[..2], 200, &mut random)
            };
            (0..5_000).map(|_| next()).collect::<Vec<_>>()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert!(of(1).iter().all(|input| input.len() <= 200));
        assert!(of(1).iter().any(|input| input.len() == 200));
    }
}
