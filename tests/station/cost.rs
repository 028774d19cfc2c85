//! What isolation costs: a figure, not a test.
//!
//!     cargo test --profile checked -p countersign-tests --test station cost -- --ignored --nocapture

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use countersign::signing::station::{Event, Isolation, LaneLimits, OnEvent, Station, StationSpec};

use crate::desk::{BOTH, KEY, SCHEME, Token};

/// One measured slice.
const SLICE: Duration = Duration::from_secs(2);

const ROUNDS: usize = 5;

#[test]
#[ignore = "a measurement"]
fn cost_of_isolation() {
    // Latency of the token, lanes, operations in flight.
    for (latency_us, lanes, in_flight) in [(0, 1, 1), (0, 2, 64), (2_000, 64, 64)] {
        let mut rows: BTreeMap<&str, Vec<[f64; 3]>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for isolation in BOTH {
                let name = if isolation == Isolation::Process { "process" } else { "thread" };
                rows.entry(name).or_default().push(slice(isolation, latency_us, lanes, in_flight));
            }
        }
        for (name, slices) in rows {
            let [rate, parent, child] = [0, 1, 2].map(|column| {
                let mut values: Vec<_> = slices.iter().map(|slice| slice[column]).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            });
            writeln!(
                std::io::stdout().lock(),
                "latency {latency_us:>4} us, {lanes:>2} lanes, {in_flight:>2} in flight, {name:>7}: \
                 {rate:>7.0} signatures/s; CPU for each: {parent:>5.1} us here, {child:>5.1} us in the child"
            )
            .expect("standard output");
        }
    }
}

/// Signatures per second, and microseconds of CPU for each here and in the child.
fn slice(isolation: Isolation, latency_us: u64, lanes: usize, in_flight: usize) -> [f64; 3] {
    let token = Token::new();
    token.token.change_token(|token| token.latency_us = latency_us);
    let lanes = LaneLimits { least: lanes, most: lanes };
    let spec = StationSpec { lanes, queue: 4_096, ..token.spec(isolation) };
    let (teller, answers) = mpsc::channel();
    let on_event: OnEvent = Arc::new(move |event| {
        if let Event::Answer { operation, result } = event {
            // What is in flight at the end is nobody's any more.
            let _ = teller.send((operation, result.is_ok()));
        }
    });
    let station = Station::open(spec, on_event).expect("the token is there");
    station.key(token.key_spec()).expect("the key is there");
    let message = [7; 130];
    let submit = |operation| station.submit(operation, KEY, SCHEME, &message).expect("room");
    (0..in_flight as u64).for_each(submit);
    let run = |length: Duration| {
        let (began, mut signed) = (Instant::now(), 0_u64);
        while began.elapsed() < length {
            let (operation, is_signed) = answers.recv().expect("an answer");
            assert!(is_signed, "a signature");
            submit(operation);
            signed += 1;
        }
        (signed as f64, began.elapsed().as_secs_f64())
    };
    run(Duration::from_millis(500));
    let child = token.child();
    let own = i32::try_from(std::process::id()).expect("a process' number");
    let before = (cpu_us(own), cpu_us(child));
    let (signed, seconds) = run(SLICE);
    let after = (cpu_us(own), cpu_us(child));
    let in_child = if isolation == Isolation::Process { after.1 - before.1 } else { 0.0 };
    [signed / seconds, (after.0 - before.0) / signed, in_child / signed]
}

/// What a process has used of the CPU, in user mode and in the kernel (proc(5): fields 14 and 15 of stat, 100 Hz).
fn cpu_us(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process");
    let fields = stat.rsplit_once(')').expect("its name").1.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).flat_map(str::parse).collect();
    ticks.iter().sum::<f64>() * 10_000.0
}
