//! One slot's connection on the ring, and who watches its time.
//!
//! tokio-uring has no connect timeout, and a dropped operation is not cancelled and keeps its descriptor. So no
//! operation is dropped: whoever cuts a connection shuts its socket down, and the operation ends by itself.

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio_uring::net::TcpStream;

use crate::failure::Failure;
use crate::socket::Sockets;

/// Room for what a server says in a handshake, as a rule in one read.
const INPUT_BYTES: usize = 8 << 10;

/// Why something did not come to its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The run is over: neither a success nor a failure.
    Over,
    /// It went wrong.
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What the one who looks at the time sees of a slot.
#[derive(Default)]
pub(crate) struct Watch {
    stream: RefCell<Option<Rc<TcpStream>>>,
    deadline: Cell<Option<Instant>>,
    cut: Cell<Option<Cut>>,
}

#[derive(Clone, Copy)]
enum Cut {
    Timeout,
    Over,
}

impl Watch {
    /// Cuts the connection if it is past its deadline.
    pub(crate) fn look(&self, now: Instant) {
        if self.deadline.get().is_some_and(|deadline| deadline <= now) {
            self.cut(Cut::Timeout);
        }
    }

    /// Cuts the connection because the run is over.
    pub(crate) fn end(&self) {
        self.cut(Cut::Over);
    }

    fn cut(&self, cut: Cut) {
        self.deadline.set(None);
        self.cut.set(Some(cut));
        if let Some(stream) = &*self.stream.borrow() {
            // Fails where the peer has gone already, and then the operation has ended too.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// A slot's connection and its buffers, which outlive it.
pub(crate) struct Wire {
    watch: Rc<Watch>,
    pub(crate) input: Vec<u8>,
    /// Sent and emptied by [`Wire::send`].
    pub(crate) output: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(watch: Rc<Watch>) -> Self {
        Self { watch, input: Vec::with_capacity(INPUT_BYTES), output: Vec::new() }
    }

    /// From now on, what is not done within `timeout` is cut.
    pub(crate) fn allow(&self, timeout: Duration) {
        self.watch.deadline.set(Some(Instant::now() + timeout));
    }

    /// From now on it may take as long as the run.
    pub(crate) fn allow_all_time(&self) {
        self.watch.deadline.set(None);
    }

    /// Connects; gives how long it took.
    pub(crate) async fn connect(&mut self, sockets: &Sockets) -> Result<Duration, Stopped> {
        let begun = Instant::now();
        if matches!(self.watch.cut.get(), Some(Cut::Over)) {
            return Err(Stopped::Over);
        }
        self.watch.cut.set(None);
        let (stream, connected) = sockets.begin()?;
        let stream = Rc::new(TcpStream::from_std(stream));
        *self.watch.stream.borrow_mut() = Some(Rc::clone(&stream));
        if !connected {
            // A write of nothing ends when the connection is made, or is not.
            let (result, _) = stream.write(Vec::new()).submit().await;
            if let Err(error) = result {
                return Err(
                    self.stopped(Failure::connecting(sockets.target(), &error), "connecting")
                );
            }
        }
        Ok(begun.elapsed())
    }

    /// Sends all of `output`.
    pub(crate) async fn send(&mut self, doing: &'static str) -> Result<(), Stopped> {
        let stream = self.stream();
        let mut output = std::mem::take(&mut self.output);
        let mut sent = 0;
        while sent < output.len() {
            let result;
            if sent == 0 {
                (result, output) = stream.write(output).submit().await;
            } else {
                let rest = tokio_uring::buf::BoundedBuf::slice(output, sent..);
                let slice;
                (result, slice) = stream.write(rest).submit().await;
                output = slice.into_inner();
            }
            match result {
                Ok(length) => sent += length,
                Err(error) => {
                    output.clear();
                    self.output = output;
                    return Err(self.stopped(Failure::transfer(doing, &error), doing));
                }
            }
        }
        output.clear();
        self.output = output;
        self.cut_short(doing)
    }

    /// Reads into `input`; false at the end of the stream.
    pub(crate) async fn receive(&mut self, doing: &'static str) -> Result<bool, Stopped> {
        let stream = self.stream();
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        let (result, input) = stream.read(input).await;
        self.input = input;
        self.cut_short(doing)?;
        match result {
            Ok(length) => Ok(length > 0),
            Err(error) => Err(Failure::transfer(doing, &error).into()),
        }
    }

    /// Closes with a reset (see [`Sockets`]), if there is a connection.
    pub(crate) fn reset(&self) {
        self.watch.deadline.set(None);
        drop(self.watch.stream.borrow_mut().take());
    }

    /// Gives buffers back that an idle connection does not need.
    pub(crate) fn shrink(&mut self, input_bytes: usize) {
        self.input = Vec::with_capacity(input_bytes);
        self.output = Vec::new();
    }

    fn stream(&self) -> Rc<TcpStream> {
        let stream = self.watch.stream.borrow();
        Rc::clone(stream.as_ref().expect("connect comes before send and receive"))
    }

    fn cut_short(&self, doing: &'static str) -> Result<(), Stopped> {
        match self.watch.cut.get() {
            None => Ok(()),
            Some(Cut::Over) => Err(Stopped::Over),
            Some(Cut::Timeout) => Err(Failure::timeout(doing).into()),
        }
    }

    /// The failure, unless it is the work of whoever cut the connection.
    fn stopped(&self, failure: Failure, doing: &'static str) -> Stopped {
        self.cut_short(doing).err().unwrap_or(Stopped::Failed(failure))
    }
}
