//! The module stays in its process once it is loaded: threads that have called it keep destructors in it.
#![forbid(unsafe_code)]

use std::io::{self, Write};

fn main() -> io::Result<()> {
    writeln!(io::stdout().lock(), "cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete")
}
