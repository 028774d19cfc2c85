//! How fast the module itself is: what measurements with it can be measured against.

use std::io::{Write as _, stdout};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::caller::{Caller, OneKey, key};

const SECONDS: u64 = 3;

/// Signatures per second on P-256, and the processor's time for each (the caller's too), at latency 0 with as many sessions as processors, and at 2 ms with 64.
#[test]
#[ignore = "a measurement: cargo test --profile checked -p countersign-tests --test pkcs11 -- --ignored --nocapture"]
fn ceiling() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    for (latency_us, sessions, cheap) in [
        (0, processors, false),
        (0, processors, true),
        (0, 64, false),
        (2_000, 64, false),
        (2_000, 64, true),
    ] {
        let (rate, cpu_us) = rate(latency_us, sessions, cheap);
        let kind = if cheap { "cheap" } else { "ordinary" };
        writeln!(
            stdout(),
            "latency {latency_us} us, {sessions} sessions, {kind}: {rate:.0} signatures/s, {cpu_us:.1} us of processor time each"
        )
        .expect("a line");
    }
}

fn rate(latency_us: u64, sessions: usize, cheap: bool) -> (f64, f64) {
    let one = OneKey::new();
    one.token.change_token(|token| (token.latency_us, token.cheap) = (latency_us, cheap));
    let caller = Caller::new(&one.token);
    let sessions: Vec<_> = (0..sessions).map(|_| caller.session()).collect();
    let handle = key(&sessions[0], "server");
    let (start, cpu_start) = (Instant::now(), cpu_seconds());
    thread::scope(|scope| {
        for session in sessions {
            let one = &one;
            scope.spawn(move || {
                while start.elapsed() < Duration::from_secs(SECONDS) {
                    one.sign(&session, handle).expect("a signature");
                }
            });
        }
    });
    let (took, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu_start);
    let signatures = one.token.counters().signatures as f64;
    (signatures / took, cpu * 1e6 / signatures)
}

/// Of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
