//! One worker: a thread with its own ring, listeners, connections, stacks and counters.

mod clock;
mod event_loop;
mod inbox;
mod listening;
mod reconsideration;
mod shard;
mod table;
mod timers;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use countersign_proto::limits::{BULK_BYTES, RECEIVE_BYTES};
use countersign_proto::{ChainCacheLimits, Desk, Limits, TicketKeys};
use countersign_ring as ring;
use rustls::crypto::SecureRandom;

pub use inbox::{Address, InboxSender, Message, Publication};
pub use listening::{Bound, Served};

use crate::randomness::{self, WORKER_RANDOM};
use crate::signing::Performer;
use crate::telemetry::Recorder;

/// Operations handed to the kernel with one call.
const SUBMISSION_ENTRIES: u32 = 1_024;

/// Receives that can hold a buffer between two turns of the loop; more of them wait a turn.
const RECEIVE_BUFFERS: ring::BufferPool =
    ring::BufferPool { count: 1_024, bytes: RECEIVE_BYTES as u32 };

/// For connections with much to say; those that find none of these take one of the others. Few, so
/// that they stay in the CPU's cache.
const BULK_BUFFERS: ring::BufferPool = ring::BufferPool { count: 16, bytes: BULK_BYTES as u32 };

/// Everything a worker starts with.
pub struct WorkerPlan {
    /// Counted from 0.
    pub number: usize,
    /// How many workers there are.
    pub workers: usize,
    /// The CPU to run on.
    pub cpu: Option<usize>,
    /// Its own sockets, and what is served on them.
    pub sockets: Vec<Bound>,
    /// The limits of the worker's stacks, and how many drains there are at one time.
    pub limits: Limits,
    /// The verified chains that it remembers.
    pub chain_cache: ChainCacheLimits,
    /// Client connections at one time.
    pub max_connections: usize,
    /// Handshakes under way at one time.
    pub max_handshakes: usize,
    /// Slots of the direct descriptor table.
    pub slots: u32,
    /// Who does the work that leaves a handshake step.
    pub performer: Arc<dyn Performer>,
    /// What seals and opens its tickets, at first.
    pub ticket_keys: TicketKeys,
    /// Where counters and events go.
    pub recorder: Recorder,
}

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The ring.
    #[error("{0}")]
    Ring(#[from] ring::SetupError),
    /// The stacks.
    #[error("{0}")]
    Stacks(#[from] countersign_proto::StackError),
    /// The operating system or the CPU gives no randomness.
    #[error("no randomness can be had from the operating system")]
    Randomness,
    /// The thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The CPU.
    #[error("cannot pin a worker to CPU {0}")]
    Pin(usize),
    /// The ring, later.
    #[error("the ring failed: {0}")]
    Wait(std::io::Error),
    /// It panicked: a bug.
    #[error("a worker panicked; this is a bug, please report it with the lines above")]
    Panicked,
    /// It panicked while starting.
    #[error("a worker ended before it was ready")]
    Lost,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerEnd {
    /// Every connection had ended.
    Clean,
    /// Connections were cut off at the deadline.
    TimedOut,
}

/// Starts the worker's thread; once it serves, or could not, `started` is told.
///
/// # Errors
/// If there can be no thread.
pub fn spawn(
    plan: WorkerPlan,
    started: Sender<Result<InboxSender, WorkerError>>,
) -> Result<JoinHandle<Result<WorkerEnd, WorkerError>>, WorkerError> {
    std::thread::Builder::new()
        .name(format!("worker-{}", plan.number))
        .spawn(move || match prepare(plan) {
            Ok(shard) => {
                // Whoever started us waits for this; if it is gone, there is nothing to serve for.
                let _ = started.send(Ok(shard.inbox_sender()));
                event_loop::run(shard)
            }
            Err(error) => {
                let _ = started.send(Err(error));
                Ok(WorkerEnd::Clean)
            }
        })
        .map_err(WorkerError::Thread)
}

fn prepare(plan: WorkerPlan) -> Result<shard::Shard, WorkerError> {
    if let Some(cpu) = plan.cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
    {
        return Err(WorkerError::Pin(cpu));
    }
    randomness::prepare_thread().map_err(|_| WorkerError::Randomness)?;
    let mut nonce = [0; 8];
    WORKER_RANDOM.fill(&mut nonce).map_err(|_| WorkerError::Randomness)?;
    let desk = Desk::new(&plan.limits, plan.chain_cache, plan.workers, u64::from_be_bytes(nonce))?;
    let ring = ring::Ring::open(&ring::Settings {
        submission_entries: SUBMISSION_ENTRIES,
        slots: plan.slots,
        buffers: RECEIVE_BUFFERS,
        large_buffers: BULK_BUFFERS,
    })?;
    Ok(shard::Shard::new(plan, desk, ring))
}
