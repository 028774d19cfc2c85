//! The ticket keys that one worker has: one that seals, and those that still open.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce};
use zeroize::Zeroizing;

use super::Declined;
use super::contents::Contents;
use super::key::{DOMAIN_TAG_BYTES, Derivation, DomainTag, NAME_BYTES, TicketKey};

/// What tells the lives of workers apart: random, drawn anew for every [`TicketKeys`].
pub const WORKER_BYTES: usize = 16;

const VERSION: u8 = 1;
const NUMBER_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + NAME_BYTES + WORKER_BYTES + DOMAIN_TAG_BYTES + NUMBER_BYTES;
const TAG_BYTES: usize = 16;

/// Tickets that are sealed under one key: with as many of 1.5 KB, AES-GCM still has a margin of 2^-34
/// (2^47 blocks), and no nonce ever comes twice. At ten thousand a second that is three years.
const NUMBERS_END: u64 = 1 << 40;

/// Derived keys that are kept, of each kind; one more, and all are derived anew as they are needed.
const KEPT_MAX: usize = 256;

/// An immutable set of ticket keys for one worker. What is derived from them is kept as it is needed.
pub struct TicketKeys {
    generation: u64,
    worker: [u8; WORKER_BYTES],
    /// The first one seals.
    keys: Vec<Derivation>,
    /// The next ticket's, over all trust domains.
    number: Cell<u64>,
    sealing: RefCell<HashMap<[u8; 32], Sealing>>,
    opening: RefCell<HashMap<Opening, LessSafeKey>>,
    /// By key and trust domain.
    tags: RefCell<HashMap<(usize, [u8; 32]), DomainTag>>,
}

struct Sealing {
    key: LessSafeKey,
    tag: DomainTag,
}

/// Whose tickets a key opens.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Opening {
    key: usize,
    worker: [u8; WORKER_BYTES],
    domain: [u8; 32],
}

impl TicketKeys {
    /// The first of `keys` seals, all of them open. `worker` is drawn at random for this very set: two
    /// sets of one would repeat nonces.
    #[must_use]
    pub fn new(generation: u64, keys: &[TicketKey], worker: [u8; WORKER_BYTES]) -> Self {
        Self {
            generation,
            worker,
            keys: keys.iter().map(TicketKey::derive).collect(),
            number: Cell::new(0),
            sealing: RefCell::default(),
            opening: RefCell::default(),
            tags: RefCell::default(),
        }
    }

    /// Grows by one with every change of the keys.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A ticket of at most `most` bytes; `None` if it would be larger, there is no key, or the key has
    /// sealed as many as it may.
    pub(crate) fn seal(&self, contents: &Contents<'_>, most: usize) -> Option<Vec<u8>> {
        let first = self.keys.first()?;
        let number = self.number.get();
        if number >= NUMBERS_END {
            return None;
        }
        let mut sealing = self.sealing.borrow_mut();
        if sealing.len() >= KEPT_MAX && !sealing.contains_key(&contents.domain) {
            sealing.clear();
        }
        let Sealing { key, tag } = sealing.entry(contents.domain).or_insert_with(|| Sealing {
            key: first.sealing_key(&self.worker, &contents.domain),
            tag: first.domain_tag(&contents.domain),
        });
        // Terms, and a certificate's place each, take less than this.
        let room = HEADER_BYTES + 1_024 + contents.session.len() + TAG_BYTES;
        let mut ticket = Zeroizing::new(Vec::with_capacity(room));
        ticket.push(VERSION);
        ticket.extend_from_slice(&first.name);
        ticket.extend_from_slice(&self.worker);
        ticket.extend_from_slice(tag);
        ticket.extend_from_slice(&number.to_be_bytes());
        contents.encode(&mut ticket)?;
        if ticket.len() + TAG_BYTES > most {
            return None;
        }
        // Spent before it is used: whatever happens from here on, it does not come again.
        self.number.set(number + 1);
        let (header, sealed) = ticket.split_at_mut(HEADER_BYTES);
        let tag =
            key.seal_in_place_separate_tag(nonce(number), Aad::from(&*header), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(std::mem::take(&mut *ticket))
    }

    /// The contents of a ticket that one of these keys has sealed, for a client of the trust domain
    /// `domain`. Nobody else could have made it.
    pub(crate) fn open(
        &self,
        domain: &[u8; 32],
        ticket: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Declined> {
        let (header, sealed) = ticket.split_at_checked(HEADER_BYTES).ok_or(Declined::UnknownKey)?;
        let mut fields = header;
        let mut take = |length: usize| {
            let (field, rest) = fields.split_at(length);
            fields = rest;
            field
        };
        if take(1) != [VERSION] {
            return Err(Declined::UnknownKey);
        }
        let name = take(NAME_BYTES);
        let index =
            self.keys.iter().position(|key| key.name == name).ok_or(Declined::UnknownKey)?;
        let worker = take(WORKER_BYTES).try_into().map_err(|_| Declined::Malformed)?;
        if take(DOMAIN_TAG_BYTES) != self.tag(index, domain) {
            return Err(Declined::TrustChanged);
        }
        let number = take(NUMBER_BYTES).try_into().map_err(|_| Declined::Malformed)?;
        let nonce = || nonce(u64::from_be_bytes(number));
        if sealed.len() < AES_256_GCM.tag_len() {
            return Err(Declined::Malformed);
        }
        let mut contents = Zeroizing::new(sealed.to_vec());
        let mut kept = self.opening.borrow_mut();
        let opening = Opening { key: index, worker, domain: *domain };
        let opened = match kept.get(&opening) {
            Some(key) => key.open_in_place(nonce(), Aad::from(header), &mut contents).map(drop),
            None => {
                let key = self.keys[index].sealing_key(&worker, domain);
                let opened = key.open_in_place(nonce(), Aad::from(header), &mut contents).map(drop);
                // A worker that somebody made up leaves nothing behind.
                if opened.is_ok() {
                    if kept.len() >= KEPT_MAX {
                        kept.clear();
                    }
                    kept.insert(opening, key);
                }
                opened
            }
        };
        opened.map_err(|_| Declined::Malformed)?;
        contents.truncate(sealed.len() - TAG_BYTES);
        Ok(contents)
    }

    fn tag(&self, index: usize, domain: &[u8; 32]) -> DomainTag {
        let mut tags = self.tags.borrow_mut();
        if tags.len() >= KEPT_MAX && !tags.contains_key(&(index, *domain)) {
            tags.clear();
        }
        *tags.entry((index, *domain)).or_insert_with(|| self.keys[index].domain_tag(domain))
    }

    #[cfg(test)]
    pub(super) fn spend_all_numbers_but(&self, left: u64) {
        self.number.set(NUMBERS_END - left);
    }
}

/// Without a key: nothing is sealed or opened.
impl Default for TicketKeys {
    fn default() -> Self {
        Self::new(0, &[], [0; WORKER_BYTES])
    }
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketKeys({} keys, generation {})", self.keys.len(), self.generation)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - NUMBER_BYTES..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
