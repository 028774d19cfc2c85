//! Patterns that are followed letter by letter, all of them at once.

use std::ops::Range;

use crate::policy::glob::Token;
use crate::policy::index::AtomId;

/// Patterns, those that begin alike sharing their beginning.
///
/// A name is followed from the root, in as many places at once as its beginning fits: behind a star a place is left and
/// kept. No place is taken twice for one letter, so that following costs at most the length of the name times the
/// places that there are, which are at most as many as the letters and stars of all patterns. Only the places that the
/// name's beginning fits are taken, and of patterns that begin or end differently those are few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trie {
    separator: Option<u8>,
    /// What no star takes.
    barrier: Option<u8>,
    /// The first is the root; none without patterns.
    nodes: Vec<Node>,
    /// The letters of all nodes.
    letters: Vec<u8>,
}

/// A run of letters, or a star, and what follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    star: Option<Star>,
    /// Its own of the trie's letters; none if it is a star.
    letters: Range<u32>,
    /// The pattern that ends behind it.
    atom: Option<AtomId>,
    /// What goes on with a letter, by that letter.
    next: Box<[(u8, u32)]>,
    /// What goes on with a star.
    stars: Box<[u32]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Star {
    WithinSegment,
    AcrossSegments,
}

impl Trie {
    pub(super) fn new(separator: Option<u8>, barrier: Option<u8>) -> Trie {
        Trie { separator, barrier, nodes: Vec::new(), letters: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Takes in these patterns, which are sorted and all different.
    pub(super) fn compile(&mut self, patterns: &[(&[Token], AtomId)]) {
        self.nodes.clear();
        self.letters.clear();
        if patterns.is_empty() {
            return;
        }
        self.nodes.push(Node::default());
        // Nodes whose letters and successors are still to be found: which one, its patterns, how much of them is done.
        let mut open = vec![(0, patterns, 0)];
        while let Some((number, patterns, mut done)) = open.pop() {
            if self.nodes[number].star.is_none() {
                let start = self.letters.len();
                let shared = shared_letters(patterns, done);
                self.letters.extend(shared);
                self.nodes[number].letters = narrow(start)..narrow(self.letters.len());
                done += self.letters.len() - start;
            }
            let (ended, going_on) = match patterns {
                [(tokens, atom), rest @ ..] if tokens.len() == done => (Some(*atom), rest),
                all => (None, all),
            };
            let (mut next, mut stars) = (Vec::new(), Vec::new());
            for group in going_on.chunk_by(|(one, _), (other, _)| one[done] == other[done]) {
                let child = self.nodes.len();
                let (star, done) = match group[0].0[done] {
                    Token::Byte(letter) => {
                        next.push((letter, narrow(child)));
                        (None, done)
                    }
                    Token::WithinSegment => (Some(Star::WithinSegment), done + 1),
                    Token::AcrossSegments => (Some(Star::AcrossSegments), done + 1),
                };
                if star.is_some() {
                    stars.push(narrow(child));
                }
                self.nodes.push(Node { star, ..Node::default() });
                open.push((child, group, done));
            }
            let node = &mut self.nodes[number];
            node.atom = ended;
            node.next = next.into();
            node.stars = stars.into();
        }
    }

    /// Tells of every pattern that the whole name fits, some of them perhaps more than once. Gives the steps that it takes.
    pub(super) fn follow(&self, name: &[u8], found: &mut impl FnMut(AtomId)) -> usize {
        if self.nodes.is_empty() {
            return 0;
        }
        let (mut now, mut then) = (Places::default(), Places::default());
        now.arrive(self, 0, 0, found);
        let mut steps = 1;
        for &letter in name {
            if now.runs.is_empty() && now.stars.is_empty() {
                return steps;
            }
            steps += now.runs.len() + now.stars.len();
            then.clear();
            for &(node, taken) in &now.runs {
                match self.letters_of(node).get(taken as usize) {
                    Some(expected) if *expected == letter => {
                        then.arrive(self, node, taken + 1, found);
                    }
                    Some(_) => {}
                    None => then.go_on(self, node, letter, found),
                }
            }
            for &node in &now.stars {
                then.go_on(self, node, letter, found);
                if self.takes(node, letter) {
                    then.stay(self, node);
                }
            }
            std::mem::swap(&mut now, &mut then);
        }
        let ends = |&&(node, taken): &&(u32, u32)| taken as usize == self.letters_of(node).len();
        let ended = now.runs.iter().filter(ends).map(|(node, _)| node).chain(&now.stars);
        ended.filter_map(|node| self.nodes[*node as usize].atom).for_each(found);
        steps
    }

    fn letters_of(&self, node: u32) -> &[u8] {
        let Range { start, end } = self.nodes[node as usize].letters;
        &self.letters[start as usize..end as usize]
    }

    fn takes(&self, star: u32, letter: u8) -> bool {
        let stops = match self.nodes[star as usize].star {
            Some(Star::WithinSegment) => self.separator == Some(letter),
            Some(Star::AcrossSegments) | None => false,
        };
        !stops && self.barrier != Some(letter)
    }

    /// Is it a star that takes all the rest, however long?
    fn takes_everything(&self, star: &Node) -> bool {
        star.star == Some(Star::AcrossSegments) && star.next.is_empty() && self.barrier.is_none()
    }
}

/// So many stars are looked through; more are known by a bit each.
const FEW: usize = 16;

/// The places that a name has come to.
#[derive(Default)]
struct Places {
    /// Within a run of letters: the node, and how many of them are taken. Each has one place before it, so that none
    /// comes twice.
    runs: Vec<(u32, u32)>,
    /// At a star. It can be come to anew and be stayed at.
    stars: Vec<u32>,
    /// A bit for each node that is among the stars, if these are more than a few.
    known: Vec<u64>,
}

impl Places {
    fn clear(&mut self) {
        self.runs.clear();
        if self.stars.len() > FEW {
            self.stars.iter().for_each(|star| self.known[*star as usize / 64] = 0);
        }
        self.stars.clear();
    }

    /// So many letters of a node are taken.
    fn arrive(&mut self, trie: &Trie, node: u32, taken: u32, found: &mut impl FnMut(AtomId)) {
        if taken as usize == trie.letters_of(node).len() {
            let end = &trie.nodes[node as usize];
            for &star in &end.stars {
                let next = &trie.nodes[star as usize];
                if trie.takes_everything(next) {
                    next.atom.into_iter().for_each(&mut *found);
                } else {
                    self.stay(trie, star);
                }
            }
            if end.next.is_empty() && end.atom.is_none() {
                return;
            }
        }
        self.runs.push((node, taken));
    }

    /// A node is behind, and its successor by this letter begins.
    fn go_on(&mut self, trie: &Trie, node: u32, letter: u8, found: &mut impl FnMut(AtomId)) {
        let next = &trie.nodes[node as usize].next;
        if let Ok(place) = next.binary_search_by_key(&letter, |(letter, _)| *letter) {
            self.arrive(trie, next[place].1, 1, found);
        }
    }

    fn stay(&mut self, trie: &Trie, star: u32) {
        if self.stars.len() <= FEW {
            if self.stars.contains(&star) {
                return;
            }
        } else if self.known[star as usize / 64] & bit(star) != 0 {
            return;
        }
        self.stars.push(star);
        if self.stars.len() == FEW + 1 {
            self.known.resize(trie.nodes.len().div_ceil(64), 0);
            self.stars.iter().for_each(|star| self.known[*star as usize / 64] |= bit(*star));
        } else if self.stars.len() > FEW {
            self.known[star as usize / 64] |= bit(star);
        }
    }
}

fn bit(star: u32) -> u64 {
    1 << (star % 64)
}

/// The letters that all patterns have in common, from a place on.
fn shared_letters<'a>(
    patterns: &[(&'a [Token], AtomId)],
    from: usize,
) -> impl Iterator<Item = u8> + use<'a> {
    // Sorted: what the first and the last have in common all have.
    let of = |pattern: Option<&(&'a [Token], AtomId)>| {
        pattern.map_or(&[][..], |(tokens, _)| &tokens[from..])
    };
    let (first, last) = (of(patterns.first()), of(patterns.last()));
    first.iter().zip(last).map_while(|pair| match pair {
        (Token::Byte(one), Token::Byte(other)) if one == other => Some(*one),
        _ => None,
    })
}

/// A configuration is no larger than a megabyte, and so are its patterns.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
