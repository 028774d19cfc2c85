//! The log: one JSON object a line on standard error, written by a thread of its own.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use countersign_proto::Report;
use crossbeam::queue::ArrayQueue;
use serde_json::Value;

use super::counters::{Counters, Totals};
use super::line;
use super::recorder::{QUEUE_ENTRIES, Recorder};

/// How often the queues are looked at: workers do not wake the writer, which would cost them a lock.
const INTERVAL: Duration = Duration::from_millis(20);

/// What a worker puts into its queue.
#[derive(Debug)]
pub(super) enum Entry {
    Connection(Box<Report>),
    Notice(Notice),
}

/// Something about the engine rather than about one connection.
#[derive(Clone, Debug)]
pub enum Notice {
    /// No more connections are accepted until others end.
    ConnectionTableFull {
        /// The worker.
        worker: usize,
        /// Its connections.
        open: usize,
    },
    /// Accepting failed; it is tried again after a pause.
    AcceptFailed {
        /// The worker.
        worker: usize,
        /// What the kernel said.
        error: String,
    },
    /// No socket could be made for an upstream.
    ConnectFailed {
        /// The worker.
        worker: usize,
        /// What the kernel said.
        error: String,
    },
    /// Connections were cut off at the end of a drain.
    CutOff {
        /// The worker.
        worker: usize,
        /// How many.
        open: usize,
    },
}

/// The log and the workers' counters.
pub struct Log {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    workers: Vec<(Arc<Counters>, Arc<ArrayQueue<Entry>>)>,
    output: Mutex<Box<dyn Write + Send>>,
    stopping: AtomicBool,
}

impl Log {
    /// A log for so many workers, and the recorder of each.
    ///
    /// # Errors
    /// If the writer's thread cannot be started.
    pub fn start(
        workers: usize,
        output: Box<dyn Write + Send>,
    ) -> std::io::Result<(Self, Vec<Recorder>)> {
        let workers: Vec<_> = (0..workers)
            .map(|_| (Arc::new(Counters::new()), Arc::new(ArrayQueue::new(QUEUE_ENTRIES))))
            .collect();
        let recorders = workers
            .iter()
            .map(|(counters, queue)| Recorder {
                counters: Arc::clone(counters),
                queue: Arc::clone(queue),
            })
            .collect();
        let shared = Arc::new(Shared {
            workers,
            output: Mutex::new(output),
            stopping: AtomicBool::new(false),
        });
        let writer = std::thread::Builder::new().name("log".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_until_stopped()
        })?;
        Ok((Self { shared, writer: Some(writer) }, recorders))
    }

    /// Writes one line now.
    pub fn write(&self, event: &str, fields: Value) {
        self.shared.write_line(&line::event(event, fields));
    }

    /// The counters of all workers.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(self.shared.workers.iter().map(|(counters, _)| &**counters))
    }

    /// Writes what is queued and ends the writer.
    pub fn flush(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            // A writer that panicked has nothing more to write.
            let _ = writer.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Shared {
    fn write_until_stopped(&self) {
        loop {
            // Asked before the queues are emptied, so that what was queued until then is written.
            let stopping = self.stopping.load(Ordering::Acquire);
            self.write_queued();
            if stopping {
                return;
            }
            std::thread::park_timeout(INTERVAL);
        }
    }

    fn write_queued(&self) {
        for (_, queue) in &self.workers {
            while let Some(entry) = queue.pop() {
                self.write_line(&match entry {
                    Entry::Connection(report) => line::connection(&report),
                    Entry::Notice(notice) => line::notice(&notice),
                });
            }
        }
    }

    fn write_line(&self, line: &Value) {
        let mut text = line.to_string();
        text.push('\n');
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to be told that the log cannot be written.
        let _ = output.write_all(text.as_bytes());
        let _ = output.flush();
    }
}
