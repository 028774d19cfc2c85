//! What became of an input, in words: inputs with an outcome that is new are worth going on from.

use std::cell::RefCell;
use std::fmt::Write;

/// What became of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In the target's words, without numbers: places and sizes differ, and say nothing.
    pub words: String,
    /// Bytes that were allocated.
    pub allocated: u64,
}

thread_local! {
    static WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Says what became of the input; more than once if there is more to say.
pub(crate) fn note(what: impl std::fmt::Display) {
    WORDS.with_borrow_mut(|words| {
        if !words.is_empty() {
            words.push_str(", ");
        }
        let _ = write!(words, "{what}");
    });
}

pub(crate) fn forget() {
    WORDS.with_borrow_mut(String::clear);
}

pub(crate) fn take(allocated: u64) -> Outcome {
    let words = WORDS.with_borrow_mut(std::mem::take);
    Outcome { words: words.replace(|character: char| character.is_ascii_digit(), ""), allocated }
}
