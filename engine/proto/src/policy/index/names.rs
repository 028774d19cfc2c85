//! Names and patterns of one kind.

use std::collections::HashMap;

use crate::policy::glob::Token;
use crate::policy::index::trie::Trie;
use crate::policy::index::{Atom, AtomId, new_atom};

/// What stands between the two parts of a mailbox here, since an at sign may also stand in the first: no address has
/// such a character.
const BARRIER: u8 = 1;

/// The same as a token of a pattern.
pub(super) const AT: Token = Token::Byte(BARRIER);

/// Names that are looked up, and patterns that are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    exact: HashMap<String, AtomId>,
    /// Patterns with stars, by what they are made of; only while rules are added, unless their texts are kept.
    starred: HashMap<Box<[Token]>, AtomId>,
    trie: Trie,
}

impl Names {
    pub(super) fn new(separator: Option<u8>) -> Names {
        Names { exact: HashMap::new(), starred: HashMap::new(), trie: Trie::new(separator, None) }
    }

    /// Of mailboxes in the form of [`mailbox_key`].
    pub(super) fn of_mailboxes() -> Names {
        Names { trie: Trie::new(Some(b'.'), Some(BARRIER)), ..Names::new(None) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.trie.is_empty()
    }

    /// The atom of the only name that fits, or else of a pattern. Names that compare equal are written equal.
    pub(super) fn atom(
        &mut self,
        literal: Option<String>,
        tokens: impl Iterator<Item = Token>,
        atoms: &mut Vec<Atom>,
    ) -> AtomId {
        match literal {
            Some(name) => *self.exact.entry(name).or_insert_with(|| new_atom(atoms)),
            None => *self.starred.entry(tokens.collect()).or_insert_with(|| new_atom(atoms)),
        }
    }

    /// Makes what was added ready to be looked up; by [`Self::with_text`] too if `keeps_texts`.
    pub(super) fn compile(&mut self, keeps_texts: bool) {
        let mut patterns: Vec<_> =
            self.starred.iter().map(|(tokens, atom)| (&**tokens, *atom)).collect();
        patterns.sort_unstable();
        self.trie.compile(&patterns);
        if !keeps_texts {
            self.starred = HashMap::new();
        }
    }

    /// Tells of every atom that a name fits. Gives the steps that it takes.
    pub(super) fn look_up(&self, name: &str, found: &mut impl FnMut(AtomId)) -> usize {
        if let Some(atom) = self.exact.get(name) {
            found(*atom);
        }
        1 + self.trie.follow(name.as_bytes(), found)
    }

    /// The atom of the pattern that has this very text, stars and all.
    pub(super) fn with_text(&self, text: &str) -> Option<AtomId> {
        let tokens: Box<[Token]> = crate::policy::glob::tokens(text, false).into();
        self.starred.get(&tokens).copied()
    }
}

/// A mailbox, folded, in the form in which it is looked up.
pub(super) fn mailbox_key(mailbox: &str) -> String {
    let (local, domain) = mailbox.rsplit_once('@').unwrap_or(("", mailbox));
    format!("{local}{}{domain}", char::from(BARRIER))
}
