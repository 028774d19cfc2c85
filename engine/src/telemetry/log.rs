//! The log: one JSON object a line on standard error, written by a thread of its own.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign_proto::{Report, Withdrawn};
use crossbeam::queue::ArrayQueue;
use serde_json::Value;

use super::counters::{Counters, Totals};
use super::line;
use super::recorder::{LoggedConnections, QUEUE_ENTRIES, Recorder};

/// How often the queues are looked at: workers do not wake the writer, which would cost them a lock.
const INTERVAL: Duration = Duration::from_millis(20);

/// Lines of the control plane that wait.
const CONTROL_LINES: usize = 1_024;

/// So much is written at once, if there is so much.
const WRITE_BYTES: usize = 32 * 1024;

/// How long a stop waits for a log that nobody reads.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// What a worker puts into its queue.
#[derive(Debug)]
pub(super) enum Entry {
    Connection(Box<Report>),
    Withdrawn(Box<Withdrawn>),
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
    /// As many handshakes are under way as may be.
    HandshakesFull {
        /// The worker.
        worker: usize,
        /// Its handshakes.
        under_way: usize,
    },
    /// A listener has as many connections as it may have.
    ListenerFull {
        /// The worker.
        worker: usize,
        /// The worker's connections, of all listeners.
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
    /// Lines of the control plane.
    control: ArrayQueue<Value>,
    control_lines_dropped: AtomicU64,
    stopping: AtomicBool,
}

impl Log {
    /// A log for so many workers, and the recorder of each.
    ///
    /// # Errors
    /// If the writer's thread cannot be started.
    pub fn start(
        workers: usize,
        connections: LoggedConnections,
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
                connections,
            })
            .collect();
        let shared = Arc::new(Shared {
            workers,
            control: ArrayQueue::new(CONTROL_LINES),
            control_lines_dropped: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let writer = std::thread::Builder::new().name("log".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_until_stopped(output)
        })?;
        Ok((Self { shared, writer: Some(writer) }, recorders))
    }

    /// Puts one line into the queue; it never blocks, whoever reads the log.
    pub fn write(&self, event: &str, fields: Value) {
        self.shared.write(event, fields);
    }

    /// Another hand that writes lines of the control plane.
    #[must_use]
    pub fn writer(&self) -> LogWriter {
        LogWriter { shared: Arc::clone(&self.shared) }
    }

    /// The counters of all workers.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.reader().totals()
    }

    /// A view of the counters for another thread.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader { shared: Arc::clone(&self.shared) }
    }

    /// Writes what is queued and ends the writer. If nobody reads the log, what is queued is given up
    /// after a while: a stop must not hang on it.
    pub fn flush(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        let Some(writer) = self.writer.take() else { return };
        writer.thread().unpark();
        let deadline = Instant::now() + FLUSH_PATIENCE;
        while !writer.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if writer.is_finished() {
            // A writer that panicked has nothing more to write.
            let _ = writer.join();
        }
    }
}

/// Writes lines of the control plane from other threads than the engine's own.
#[derive(Clone)]
pub struct LogWriter {
    shared: Arc<Shared>,
}

impl LogWriter {
    /// Puts one line into the queue; it never blocks.
    pub fn write(&self, event: &str, fields: Value) {
        self.shared.write(event, fields);
    }
}

/// Reads the counters of all workers.
pub struct LogReader {
    shared: Arc<Shared>,
}

impl LogReader {
    /// The counters of all workers.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.totals()
    }

    /// Lines that wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        let workers: usize = self.shared.workers.iter().map(|(_, queue)| queue.len()).sum();
        workers + self.shared.control.len()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Shared {
    fn write(&self, event: &str, fields: Value) {
        if self.control.push(line::event(event, fields)).is_err() {
            self.control_lines_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals::of(self.workers.iter().map(|(counters, _)| &**counters));
        totals.log_lines_dropped += self.control_lines_dropped.load(Ordering::Relaxed);
        totals
    }

    fn write_until_stopped(&self, mut output: Box<dyn Write + Send>) {
        loop {
            // Asked before the queues are emptied, so that what was queued until then is written.
            let stopping = self.stopping.load(Ordering::Acquire);
            self.write_queued(&mut *output);
            if stopping {
                return;
            }
            std::thread::park_timeout(INTERVAL);
        }
    }

    fn write_queued(&self, output: &mut dyn Write) {
        let mut lines = Vec::new();
        for (_, queue) in &self.workers {
            while let Some(entry) = queue.pop() {
                match entry {
                    Entry::Connection(report) => line::connection(&report, &mut lines),
                    Entry::Withdrawn(withdrawn) => append(&mut lines, &line::withdrawn(&withdrawn)),
                    Entry::Notice(notice) => append(&mut lines, &line::notice(&notice)),
                }
                if lines.len() >= WRITE_BYTES {
                    write_out(output, &mut lines);
                }
            }
        }
        // After the connections: what is said last of all, that the engine has stopped, stands last.
        while let Some(line) = self.control.pop() {
            append(&mut lines, &line);
        }
        write_out(output, &mut lines);
    }
}

fn append(lines: &mut Vec<u8>, line: &Value) {
    lines.extend_from_slice(line.to_string().as_bytes());
    lines.push(b'\n');
}

/// Writes whole lines and forgets them.
fn write_out(output: &mut dyn Write, lines: &mut Vec<u8>) {
    if !lines.is_empty() {
        // Nobody is left to be told that the log cannot be written.
        let _ = output.write_all(lines);
        let _ = output.flush();
        lines.clear();
    }
}
