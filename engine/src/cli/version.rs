//! `countersign --version`: the program, its cryptography, and what the kernel offers.

#![allow(clippy::print_stdout, reason = "this is what was asked for")]

use std::process::ExitCode;

pub(super) fn print() -> ExitCode {
    println!("countersign {}", env!("CARGO_PKG_VERSION"));
    println!("crypto: AWS-LC {}, by rustls with aws-lc-rs", aws_lc_rs::awslc_version());
    match countersign_ring::features() {
        Ok(features) => println!("kernel: {features}"),
        // The version is told all the same; a script that asks for it must not fail here.
        Err(error) => println!("kernel: cannot serve on it: {error}"),
    }
    ExitCode::SUCCESS
}
