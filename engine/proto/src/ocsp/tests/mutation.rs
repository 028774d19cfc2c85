//! Answers with damage: none panics, and none that was changed is believed.

use super::super::{Answer, OcspError, verify};
use super::responder::NOW;
use super::{NonceUse, World, expected};

/// xorshift64*: the same damage in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound as u64) as usize
    }
}

fn answers(world: &World) -> [Vec<u8>; 2] {
    let delegate = world.ca.delegate("responder");
    let saying = || world.saying().with(|saying| saying.nonce = Some(vec![7; 32]));
    [saying().by(&world.ca), saying().by_delegate(&delegate)]
}

#[test]
fn what_is_cut_short_is_an_error() {
    let world = World::new();
    for response in answers(&world) {
        for length in 0..response.len() {
            assert!(world.verify(&response[..length]).is_err());
        }
        assert!(world.verify(&response).is_ok());
    }
}

#[test]
fn damage_is_never_a_panic_and_never_another_answer() {
    let world = World::new();
    let mut random = Random(0x0c5b_0c5b);
    for response in answers(&world) {
        let whole = world.verify(&response).expect("an answer");
        for _ in 0..4_000 {
            let mut damaged = response.clone();
            for _ in 0..1 + random.below(3) {
                damage(&mut damaged, &mut random);
            }
            // What is not signed (certificates that nobody needs, a length's place) may differ; what it
            // says may not.
            if let Ok(answer) = world.verify(&damaged) {
                assert_eq!(answer, whole);
            }
        }
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0x84, 0xa0, 0xff][random.below(7)],
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, random.below(256) as u8),
        _ => {
            let end = (at + random.below(64)).min(bytes.len());
            let copied = bytes[at..end].to_vec();
            let into = random.below(bytes.len());
            bytes.splice(into..into, copied);
        }
    }
}

#[test]
fn noise_is_an_error() {
    let world = World::new();
    let mut random = Random(1);
    for _ in 0..20_000 {
        let noise: Vec<u8> = (0..random.below(80)).map(|_| random.below(256) as u8).collect();
        let verdict: Result<Answer, OcspError> =
            verify(&noise, &world.question, &expected(NonceUse::Prefer, NOW));
        assert!(verdict.is_err());
    }
}
