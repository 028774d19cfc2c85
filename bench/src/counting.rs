//! What valgrind counts.

/// Does `operation` so many `times`. callgrind counts from this function's entry to its exit and knows it
/// by its name, which therefore no other function may contain.
#[inline(never)]
pub fn counted_section(operation: &mut dyn FnMut(), times: u32) {
    for _ in 0..times {
        operation();
    }
}
