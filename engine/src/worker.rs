//! One worker: a thread with its own ring, listeners, connections, stacks and counters.

mod clock;
mod event_loop;
mod inbox;
mod shard;
mod table;
mod timers;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use countersign_proto::limits::RECEIVE_BYTES;
use countersign_proto::{Desk, Identity, Listener, Snapshot, TlsParameters};
use countersign_ring as ring;

pub use inbox::{Address, InboxSender, Message};

use crate::config::ListenerConfig;
use crate::randomness::WORKER_RANDOM;
use crate::signing::Performer;
use crate::telemetry::Recorder;

/// Operations handed to the kernel with one call.
const SUBMISSION_ENTRIES: u32 = 1_024;

/// Receives that can hold a buffer between two turns of the loop; more of them wait a turn.
const RECEIVE_BUFFERS: u16 = 1_024;

/// Everything a worker starts with.
pub struct WorkerPlan {
    /// Counted from 0.
    pub number: usize,
    /// How many workers there are.
    pub workers: usize,
    /// The CPU to run on.
    pub cpu: Option<usize>,
    /// Its own sockets, one for each listener of the configuration.
    pub sockets: Vec<ring::Listener>,
    /// The configuration of each.
    pub listeners: Arc<Vec<ListenerConfig>>,
    /// Client connections at one time.
    pub max_connections: usize,
    /// Slots of the direct descriptor table.
    pub slots: u32,
    /// Who does the work that leaves a handshake step.
    pub performer: Arc<dyn Performer>,
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
    /// An identity.
    #[error("{0}")]
    Credentials(#[from] countersign_proto::CredentialsError),
    /// A trust domain.
    #[error("{0}")]
    TrustDomain(#[from] countersign_proto::TrustDomainError),
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
    let snapshot = snapshot(&plan)?;
    // The stacks are the worker's; the first listener's limits stand for it.
    let desk = Desk::new(&plan.listeners[0].limits, plan.workers)?;
    let ring = ring::Ring::open(&ring::Settings {
        submission_entries: SUBMISSION_ENTRIES,
        slots: plan.slots,
        buffers: RECEIVE_BUFFERS,
        buffer_bytes: RECEIVE_BYTES as u32,
    })?;
    Ok(shard::Shard::new(plan, snapshot, desk, ring))
}

/// The worker's own snapshot: keys, configurations and trust domains are built anew for each worker,
/// so that not even a reference count is shared.
fn snapshot(plan: &WorkerPlan) -> Result<Snapshot, WorkerError> {
    let mut listeners = Vec::with_capacity(plan.listeners.len());
    for (index, config) in plan.listeners.iter().enumerate() {
        let parameters = TlsParameters {
            handoff: plan.performer.handoff(),
            ..TlsParameters::new(&WORKER_RANDOM)
        };
        let domain = Arc::new(config.trust_domain()?);
        listeners.push(std::rc::Rc::new(Listener {
            index,
            identity: Identity::new(&config.credentials, domain, &parameters)?,
            policy: config.policy(),
            upstream: config.upstream.clone(),
            limits: config.limits.clone(),
        }));
    }
    Ok(Snapshot { generation: 1, listeners })
}
