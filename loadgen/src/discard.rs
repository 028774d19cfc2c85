//! Bulk transfer at the least cost for the client (`--discard`), one blocking thread for each connection.
//!
//! A download is dropped in the kernel: recv(2) with MSG_TRUNC copies nothing, and nothing is decrypted. An
//! upload sends records that were sealed before the measurement; they cannot be sent twice, so when they
//! are used up the run is over.

use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};
use rustls::{ClientConnection, HandshakeKind};

use crate::board::Schedule;
use crate::failure::Failure;
use crate::plan::{Plan, Work};
use crate::runtime::Start;
use crate::socket::Sockets;
use crate::tally::{Negotiated, Tally};

/// How much is dropped, or sent, by one system call.
const PIECE_BYTES: usize = 1 << 20;

const SEALED_AT_ONCE_BYTES: usize = 64 << 10;

/// How often a transfer that stands still looks whether the run is over.
const LOOK: Duration = Duration::from_millis(50);

/// A connection, ready to be measured.
struct Prepared {
    stream: TcpStream,
    /// For an upload: all that will be sent.
    sealed: Vec<u8>,
    /// Application data in `sealed`.
    data_bytes: u64,
    tally: Tally,
}

/// Prepares, waits for the others, transfers; `None` if the run never began.
pub(crate) fn run(mut start: Start) -> Option<Tally> {
    let prepared = prepare(&mut start);
    let told = prepared.as_ref().map(|_| ()).map_err(Clone::clone);
    // Whoever asked is there until all have answered.
    drop(start.ready.send(told));
    let mut prepared = prepared.ok()?;
    let schedule = start.go.recv().ok()?;
    let ended = match start.plan.work {
        Work::Upload => upload(&mut prepared, &start, schedule),
        _ => download(&mut prepared, &start, schedule),
    };
    prepared.tally.alive = u64::from(ended.is_ok());
    if let Err(failure) = ended {
        start.live.errors.add(1);
        prepared.tally.second(schedule.since_start(Instant::now())).errors += 1;
        prepared.tally.count_error(failure);
    }
    Some(prepared.tally)
}

fn prepare(start: &mut Start) -> Result<Prepared, String> {
    start.pin()?;
    let plan = start.plan.clone();
    check_memory(&plan)?;
    let said = |failure: Failure| format!("no connection to transfer on: {}", failure.words);
    let timeout = plan.arguments.timeout;
    let stream =
        Sockets::new(plan.target, plan.arguments.connections).connect(timeout).map_err(said)?;
    let set = |result: io::Result<()>| result.map_err(|error| error.to_string());
    set(stream.set_read_timeout(Some(timeout)))?;
    set(stream.set_write_timeout(Some(timeout)))?;
    let mut tally = Tally { opened: 1, ..Tally::default() };
    let supply = start.supply()?;
    let secured = match (&plan.tls, supply) {
        (Some(tls), Some(mut supply)) => {
            let chosen = supply.choose().map_err(|_| "the pool of clients is used up")?;
            let connection = ClientConnection::new(chosen.config, tls.name.clone());
            let mut connection = connection.map_err(|error| said(Failure::tls(&error)))?;
            shake_hands(&mut connection, &stream).map_err(said)?;
            count_handshake(&mut tally, &connection);
            start.live.handshakes.add(1);
            Some(connection)
        }
        _ => None,
    };
    let (mut sealed, mut data_bytes) = (Vec::new(), 0);
    if plan.work == Work::Upload {
        let wanted = (plan.arguments.seal_ahead << 20) as usize;
        (sealed, data_bytes) = seal(secured, wanted).map_err(|error| error.to_string())?;
    }
    set(stream.set_read_timeout(Some(LOOK)))?;
    set(stream.set_write_timeout(Some(LOOK)))?;
    Ok(Prepared { stream, sealed, data_bytes, tally })
}

/// Sealed records wait in memory: said before the machine swaps.
fn check_memory(plan: &Plan) -> Result<(), String> {
    if plan.work != Work::Upload {
        return Ok(());
    }
    let wanted = (plan.arguments.seal_ahead << 10) * plan.arguments.connections as u64;
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available: Option<u64> =
        available.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    match available {
        Some(available) if wanted > available / 4 * 3 => Err(format!(
            "--seal-ahead for {} connections needs {} MiB, and {} are available: take fewer --connections or a smaller --seal-ahead",
            plan.arguments.connections,
            wanted >> 10,
            available >> 10,
        )),
        _ => Ok(()),
    }
}

fn shake_hands(tls: &mut ClientConnection, mut stream: &TcpStream) -> Result<(), Failure> {
    const DOING: &str = "shaking hands";
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock => Failure::timeout(DOING),
        _ => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Failure::tls(error),
            None => Failure::transfer(DOING, &error),
        },
    };
    while tls.is_handshaking() || tls.wants_write() {
        if tls.wants_write() {
            tls.write_tls(&mut stream).map_err(failed)?;
        } else if tls.read_tls(&mut stream).map_err(failed)? == 0 {
            return Err(Failure::closed(DOING));
        } else {
            tls.process_new_packets().map_err(|error| Failure::tls(&error))?;
        }
    }
    Ok(())
}

fn count_handshake(tally: &mut Tally, tls: &ClientConnection) {
    let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    *if resumed { &mut tally.resumed } else { &mut tally.full } += 1;
    let negotiated = Negotiated {
        version: tls.protocol_version(),
        suite: tls.negotiated_cipher_suite().map(|suite| suite.suite()),
        group: tls.negotiated_key_exchange_group().map(|group| group.name()),
    };
    tally.count_negotiated(negotiated, 1);
}

/// Seals so many bytes of application data; plain ones where there is no TLS.
fn seal(tls: Option<ClientConnection>, wanted: usize) -> io::Result<(Vec<u8>, u64)> {
    let Some(mut tls) = tls else { return Ok((vec![b'.'; wanted], wanted as u64)) };
    let chunk = vec![b'.'; SEALED_AT_ONCE_BYTES];
    let mut sealed = Vec::with_capacity(wanted + wanted / 100);
    let mut data_bytes = 0;
    while data_bytes < wanted as u64 {
        tls.writer().write_all(&chunk)?;
        while tls.wants_write() {
            tls.write_tls(&mut sealed)?;
        }
        data_bytes += chunk.len() as u64;
    }
    Ok((sealed, data_bytes))
}

fn upload(prepared: &mut Prepared, start: &Start, schedule: Schedule) -> Result<(), Failure> {
    let total = prepared.sealed.len();
    let share = prepared.data_bytes as f64 / total.max(1) as f64;
    let mut sent = 0;
    while sent < total {
        let now = Instant::now();
        if now >= schedule.end || start.signal.is_stopped() {
            return Ok(());
        }
        let piece = &prepared.sealed[sent..total.min(sent + PIECE_BYTES)];
        match prepared.stream.write(piece) {
            Ok(length) => {
                sent += length;
                let bytes = (length as f64 * share) as u64;
                count(&mut prepared.tally, start, schedule, (bytes, 0));
            }
            Err(error) if is_look(&error) => {}
            Err(error) => return Err(Failure::transfer("uploading", &error)),
        }
    }
    start.signal.stop_early(USED_UP);
    Ok(())
}

/// Why an upload of sealed records ends; nothing is wrong with that.
pub(crate) const USED_UP: &str =
    "what was sealed ahead is sent; a larger --seal-ahead lasts longer";

fn download(prepared: &mut Prepared, start: &Start, schedule: Schedule) -> Result<(), Failure> {
    // Never written to, so never really there.
    let mut room = vec![0_u8; PIECE_BYTES];
    loop {
        let now = Instant::now();
        if now >= schedule.end || start.signal.is_stopped() {
            return Ok(());
        }
        match recv(&prepared.stream, &mut room[..], RecvFlags::TRUNC) {
            Ok((_, 0)) => return Err(Failure::closed("downloading")),
            Ok((_, length)) => count(&mut prepared.tally, start, schedule, (0, length as u64)),
            Err(error) if is_look(&error.into()) => {}
            Err(error) => return Err(Failure::transfer("downloading", &error.into())),
        }
    }
}

fn count(tally: &mut Tally, start: &Start, schedule: Schedule, (sent, received): (u64, u64)) {
    let now = Instant::now();
    start.live.bytes.add(sent + received);
    tally.second(schedule.since_start(now)).bytes += sent + received;
    if schedule.is_steady(now) {
        tally.sent_bytes += sent;
        tally.received_bytes += received;
    }
}

fn is_look(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
