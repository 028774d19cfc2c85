//! The built-in upstream `builtin:whoami`: an HTTP/1.1 server (RFC 9112) for one connection that answers every request
//! with the same JSON, who the client is and how it got in.
//!
//! It does no I/O. The caller brings the bytes of the client and takes away the bytes for it:
//!
//! 1. Give [`Whoami::receive`] what has arrived. It says how many bytes it took; keep the others.
//! 2. Write `out` to the client and remove from it what was written.
//! 3. If bytes were kept, give them again as soon as `out` has shrunk below [`MAX_PENDING_OUTPUT_BYTES`]; until then,
//!    read nothing more. This is how a client that asks and never reads is slowed down.
//! 4. When the client has shut down its sending side, and nothing is kept, call [`Whoami::end_of_stream`].
//! 5. Once [`Whoami::is_finished`], write what `out` still holds and close the connection.
//!
//! Timeouts are the caller's: a head or a body may take forever here.

use serde::Serialize;

use self::answer::Answers;
use self::body::{Body, BodyProgress};
use self::request::{HeadBuffer, HeadProgress, RequestHead};

mod answer;
mod body;
mod request;

/// Output waiting to be written at which [`Whoami::receive`] begins no further request.
///
/// What waits can pass this by one response, so that every request begun gets its answer.
pub const MAX_PENDING_OUTPUT_BYTES: usize = 64 * 1024;

/// Longest request line and header section together, in bytes; likewise the longest trailer section of a chunked body.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Most header fields of a request.
pub const MAX_HEADER_FIELDS: usize = 100;

/// The server's side of one connection. How to drive it stands at [the module](self).
#[derive(Debug)]
pub struct Whoami {
    answers: Answers,
    state: State,
    closes_after_current: bool,
}

#[derive(Debug)]
enum State {
    ReceivingHead(HeadBuffer),
    ReceivingBody { head: RequestHead, body: Body },
    Finished,
}

impl Whoami {
    /// A server for a connection about which there are these facts to tell.
    pub fn new(facts: &impl Serialize) -> Whoami {
        Whoami {
            answers: Answers::new(facts),
            state: State::ReceivingHead(HeadBuffer::default()),
            closes_after_current: false,
        }
    }

    /// Reads bytes the client sent, appends to `out` what to send, and says how many bytes it read.
    ///
    /// `out` is what waits to be written to the client, with what earlier calls left in it. Fewer bytes are read than
    /// given only if `out` holds [`MAX_PENDING_OUTPUT_BYTES`] or more; the rest must be given again. Once finished, it
    /// reads everything and answers nothing.
    ///
    /// How the bytes are cut into calls never changes what is answered.
    pub fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut read = 0;
        while read < bytes.len() {
            if self.awaits_request() && out.len() >= MAX_PENDING_OUTPUT_BYTES {
                return read;
            }
            read += self.step(&bytes[read..], out);
        }
        read
    }

    /// Reads at least one byte and at most to the end of the current head or body.
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        match &mut self.state {
            State::ReceivingHead(buffer) => {
                let (read, progress) = buffer.receive(bytes);
                match progress {
                    HeadProgress::Incomplete => {}
                    HeadProgress::Complete(head) => self.begin_body(head, out),
                    HeadProgress::Refused(refusal) => {
                        self.answers.refuse(refusal, out);
                        self.state = State::Finished;
                    }
                }
                read
            }
            State::ReceivingBody { head, body } => {
                let (read, progress) = body.discard(bytes);
                match progress {
                    BodyProgress::Incomplete => {}
                    BodyProgress::Complete => {
                        let head = *head;
                        self.answer(head, out);
                    }
                    BodyProgress::Refused(reason) => {
                        let refusal = head.refusal(reason);
                        self.answers.refuse(refusal, out);
                        self.state = State::Finished;
                    }
                }
                read
            }
            State::Finished => bytes.len(),
        }
    }

    fn begin_body(&mut self, head: RequestHead, out: &mut Vec<u8>) {
        let body = Body::new(head.framing);
        if body.is_complete() {
            // No 100 (Continue) where no content will follow (RFC 9110 section 10.1.1 lets it be omitted).
            self.answer(head, out);
            return;
        }
        if head.expects_continue {
            self.answers.proceed(out);
        }
        self.state = State::ReceivingBody { head, body };
    }

    fn answer(&mut self, head: RequestHead, out: &mut Vec<u8>) {
        let keeps_alive = head.keeps_alive && !self.closes_after_current;
        self.answers.tell(head, keeps_alive, out);
        self.state =
            if keeps_alive { State::ReceivingHead(HeadBuffer::default()) } else { State::Finished };
    }

    /// Whether no part of a request has been read since the last answer: closing now cuts nothing off.
    ///
    /// Bytes that [`Self::receive`] has not taken yet are the caller's knowledge.
    pub fn is_idle(&self) -> bool {
        match &self.state {
            State::ReceivingHead(buffer) => buffer.is_empty(),
            State::ReceivingBody { .. } => false,
            State::Finished => true,
        }
    }

    fn awaits_request(&self) -> bool {
        self.is_idle() && !self.is_finished()
    }

    /// Whether nothing more will be answered: the last response said `Connection: close`, the client broke the
    /// protocol and was told, or it went away.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Drains the connection: the request being read is answered with `Connection: close`; if none is being read, this
    /// finishes at once.
    pub fn close_after_current(&mut self) {
        self.closes_after_current = true;
        if self.is_idle() {
            self.state = State::Finished;
        }
    }

    /// The next answer carries `Connection: close` and is the last one; until a request comes, nothing changes.
    pub fn close_after_next(&mut self) {
        self.closes_after_current = true;
    }

    /// The client will send nothing more. A request it left incomplete gets no answer.
    pub fn end_of_stream(&mut self) {
        self.state = State::Finished;
    }
}

#[cfg(test)]
mod tests;
