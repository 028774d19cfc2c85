//! What stands behind the engine: upstreams of every manner, which keep account of what they hear.

use crate::network::{End, Link, Read};
use crate::random::{Random, Stream};

/// How an upstream behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    /// Gives back what it gets.
    Echo,
    /// Takes everything and says nothing.
    Sink,
    /// Sends its own bytes and ends its stream, then reads to the end.
    Source,
    /// Ends its stream early and reads on.
    HalfClosesEarly,
    /// Breaks off in the middle.
    Resets,
    /// Reads nothing, sends nothing.
    Hoards,
    /// Cannot be reached.
    Refuses,
    /// The driver has no room for the socket.
    FindsNoRoom,
    /// Does not answer the dial, or too late.
    AnswersTooLate,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamPlan {
    pub(crate) manner: Manner,
    /// Bytes of its own that it sends, or after which it breaks off.
    pub(crate) bytes: u64,
    pub(crate) key: u64,
    /// Longest pause between two turns.
    pub(crate) pause_nanos: u64,
    /// Bytes that it reads or writes in a turn.
    pub(crate) turn_bytes: usize,
}

/// How the stream from the engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Clean,
    Reset,
}

pub(crate) struct Upstream {
    pub(crate) plan: UpstreamPlan,
    expected: Stream,
    own: Stream,
    to_echo: Vec<u8>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) ended: Option<Ending>,
    /// It has closed its sending direction.
    pub(crate) finished: bool,
    /// It broke off.
    pub(crate) has_reset: bool,
    is_gone: bool,
}

impl Upstream {
    /// An upstream that expects to hear `expected` from the client.
    pub(crate) fn new(plan: UpstreamPlan, expected: Stream) -> Self {
        Self {
            plan,
            expected,
            own: Stream::new(plan.key),
            to_echo: Vec::new(),
            received: 0,
            sent: 0,
            ended: None,
            finished: false,
            has_reset: false,
            is_gone: false,
        }
    }

    /// What the client should hear.
    pub(crate) fn stream(&self) -> Stream {
        if self.plan.manner == Manner::Echo { self.expected } else { self.own }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Reads and writes once. Gives the nanoseconds after which it wants to go on by itself; `None` if
    /// it waits for the link.
    ///
    /// # Errors
    /// What it hears is not what the client said.
    pub(crate) fn step(
        &mut self,
        random: &mut Random,
        link: &mut Link,
        now: u64,
    ) -> Result<Option<u64>, String> {
        if self.is_gone {
            return Ok(None);
        }
        let mut again = false;
        if self.plan.manner != Manner::Hoards && self.ended.is_none() {
            let echo_is_full =
                self.plan.manner == Manner::Echo && self.to_echo.len() > 4 * self.plan.turn_bytes;
            if !echo_is_full {
                again |= self.read(random, link)?;
            }
        } else if link.is_reset(End::Far) {
            self.ended = Some(Ending::Reset);
        }
        if self.ended != Some(Ending::Reset) && !self.finished {
            again |= self.write(link, now);
        }
        let enough = self.received + self.sent >= self.plan.bytes;
        if self.plan.manner == Manner::Resets && enough {
            self.has_reset = true;
            self.is_gone = true;
            link.reset(End::Far, now);
            return Ok(None);
        }
        if self.ended.is_some() && (self.finished || self.ended == Some(Ending::Reset)) {
            self.is_gone = true;
            link.close(End::Far, now);
            return Ok(None);
        }
        Ok(again.then(|| random.within(0..=self.plan.pause_nanos)))
    }

    fn read(&mut self, random: &mut Random, link: &mut Link) -> Result<bool, String> {
        match link.read(End::Far, random.size(1..=self.plan.turn_bytes)) {
            Read::Bytes(bytes) => {
                if let Some(at) = self.expected.first_difference(self.received, &bytes) {
                    return Err(format!("the upstream got another byte than the client's at {at}"));
                }
                self.received += bytes.len() as u64;
                if self.plan.manner == Manner::Echo {
                    self.to_echo.extend_from_slice(&bytes);
                }
                Ok(true)
            }
            Read::Eof => {
                self.ended = Some(Ending::Clean);
                Ok(true)
            }
            Read::Reset => {
                self.ended = Some(Ending::Reset);
                Ok(true)
            }
            Read::NothingYet => Ok(false),
        }
    }

    fn write(&mut self, link: &mut Link, now: u64) -> bool {
        let turn = self.plan.turn_bytes;
        let left = usize::try_from(self.plan.bytes.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let bytes = match self.plan.manner {
            Manner::Echo => self.to_echo[..self.to_echo.len().min(turn)].to_vec(),
            Manner::Source | Manner::HalfClosesEarly | Manner::Resets => {
                self.own.bytes(self.sent, left.min(turn))
            }
            _ => Vec::new(),
        };
        let taken = link.write(End::Far, now, &bytes).unwrap_or(0);
        self.sent += taken as u64;
        if self.plan.manner == Manner::Echo {
            self.to_echo.drain(..taken);
        }
        let has_all = self.ended == Some(Ending::Clean);
        let done = match self.plan.manner {
            Manner::Source | Manner::HalfClosesEarly => self.sent == self.plan.bytes,
            Manner::Echo => has_all && self.to_echo.is_empty(),
            _ => has_all,
        };
        if done {
            self.finished = true;
            link.shut_down(End::Far, now);
        }
        taken > 0 || done
    }
}
