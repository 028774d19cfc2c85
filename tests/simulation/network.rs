//! A connected pair of sockets: bytes in flight, their end, and resets, as TCP has them.
//!
//! The cruel parts are on purpose: a reset destroys what its receiver has not read yet, and closing a
//! socket with unread input, or sending to a closed one, is answered with a reset.

use std::collections::VecDeque;

use crate::random::Random;

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The engine's.
    Near,
    /// The client's or the upstream's.
    Far,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }
}

/// How bad a link is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    /// Longest time of flight.
    pub(crate) delay_nanos: u64,
    /// What is written arrives in pieces no larger than this, each with a time of its own.
    pub(crate) fragment_bytes: usize,
    /// Written and not yet read in one direction; a writer waits for room.
    pub(crate) capacity_bytes: usize,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Bytes(Vec<u8>),
    /// The other end has closed its sending direction.
    Eof,
    Reset,
    NothingYet,
}

#[derive(Debug)]
enum Flight {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// One direction, named for its writer.
#[derive(Debug, Default)]
struct Pipe {
    flying: VecDeque<(u64, Flight)>,
    arrived: VecDeque<u8>,
    unread: usize,
    fin_sent: bool,
    fin_arrived: bool,
    /// The reader's socket is broken.
    reset: bool,
    last_due: u64,
}

#[derive(Debug)]
pub(crate) struct Link {
    quality: Quality,
    /// What the near end writes, what the far end writes.
    pipes: [Pipe; 2],
    closed: [bool; 2],
    random: Random,
    /// Something arrived in pieces, or later than it was sent.
    pub(crate) has_cut: bool,
    pub(crate) has_delayed: bool,
}

impl Link {
    pub(crate) fn new(quality: Quality, random: Random) -> Self {
        Self {
            quality,
            pipes: Default::default(),
            closed: [false; 2],
            random,
            has_cut: false,
            has_delayed: false,
        }
    }

    fn outgoing(&mut self, end: End) -> &mut Pipe {
        &mut self.pipes[end as usize]
    }

    fn incoming(&mut self, end: End) -> &mut Pipe {
        &mut self.pipes[end.other() as usize]
    }

    /// Takes as much of `bytes` as there is room for; `None` if the socket is broken.
    pub(crate) fn write(&mut self, end: End, now: u64, bytes: &[u8]) -> Option<usize> {
        if self.incoming(end).reset {
            return None;
        }
        let room = self.quality.capacity_bytes.saturating_sub(self.outgoing(end).unread);
        let taken = bytes.len().min(room);
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            let most = rest.len().min(self.quality.fragment_bytes);
            let (piece, behind) = rest.split_at(self.random.size(1..=most));
            self.send(end, now, Flight::Bytes(piece.to_vec()));
            self.has_cut |= !behind.is_empty();
            rest = behind;
        }
        self.outgoing(end).unread += taken;
        Some(taken)
    }

    /// Is there room for a byte, or a reason not to wait for it?
    pub(crate) fn is_writable(&mut self, end: End) -> bool {
        self.incoming(end).reset || self.outgoing(end).unread < self.quality.capacity_bytes
    }

    pub(crate) fn read(&mut self, end: End, most: usize) -> Read {
        let pipe = self.incoming(end);
        if pipe.reset {
            return Read::Reset;
        }
        let count = pipe.arrived.len().min(most);
        if count > 0 {
            pipe.unread -= count;
            return Read::Bytes(pipe.arrived.drain(..count).collect());
        }
        if pipe.fin_arrived { Read::Eof } else { Read::NothingYet }
    }

    pub(crate) fn is_readable(&mut self, end: End) -> bool {
        let pipe = self.incoming(end);
        pipe.reset || pipe.fin_arrived || !pipe.arrived.is_empty()
    }

    pub(crate) fn is_reset(&mut self, end: End) -> bool {
        self.incoming(end).reset
    }

    /// Closes the sending direction of `end`.
    pub(crate) fn shut_down(&mut self, end: End, now: u64) {
        let pipe = self.outgoing(end);
        if !pipe.fin_sent {
            pipe.fin_sent = true;
            self.send(end, now, Flight::Fin);
        }
    }

    /// Closes the socket of `end`: with a reset if it has unread input.
    pub(crate) fn close(&mut self, end: End, now: u64) {
        if !self.incoming(end).arrived.is_empty() {
            return self.reset(end, now);
        }
        self.shut_down(end, now);
        self.closed[end as usize] = true;
    }

    /// Closes the socket of `end` with a reset.
    pub(crate) fn reset(&mut self, end: End, now: u64) {
        if !self.closed[end as usize] {
            self.closed[end as usize] = true;
            self.send(end, now, Flight::Reset);
        }
    }

    /// When the next piece arrives, if one is in flight.
    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.pipes.iter().filter_map(|pipe| pipe.flying.front()).map(|(due, _)| *due).min()
    }

    /// Lets arrive what is due.
    pub(crate) fn arrive(&mut self, now: u64) {
        for end in [End::Near, End::Far] {
            while self.outgoing(end).flying.front().is_some_and(|(due, _)| *due <= now) {
                let Some((_, flight)) = self.outgoing(end).flying.pop_front() else { break };
                self.land(end, now, flight);
            }
        }
    }

    fn land(&mut self, writer: End, now: u64, flight: Flight) {
        let reader_is_gone = self.closed[writer.other() as usize];
        let pipe = self.outgoing(writer);
        match flight {
            Flight::Bytes(bytes) if reader_is_gone => {
                pipe.unread = pipe.unread.saturating_sub(bytes.len());
                if !self.incoming(writer).reset {
                    self.send(writer.other(), now, Flight::Reset);
                }
            }
            Flight::Bytes(bytes) => pipe.arrived.extend(bytes),
            Flight::Fin => pipe.fin_arrived = true,
            Flight::Reset => {
                pipe.reset = true;
                pipe.arrived.clear();
                pipe.flying.clear();
                pipe.unread = 0;
            }
        }
    }

    fn send(&mut self, writer: End, now: u64, flight: Flight) {
        let due = now + self.random.within(0..=self.quality.delay_nanos);
        self.has_delayed |= due > now;
        let pipe = self.outgoing(writer);
        if matches!(flight, Flight::Reset) {
            // It overtakes nothing, and nothing comes after it.
            pipe.fin_sent = true;
        }
        pipe.last_due = pipe.last_due.max(due);
        pipe.flying.push_back((pipe.last_due, flight));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let quality = Quality { delay_nanos: 10, fragment_bytes: 3, capacity_bytes: 8 };
        Link::new(quality, Random::from_seed(1))
    }

    #[test]
    fn bytes_arrive_in_order_and_the_end_after_them() {
        let mut link = link();
        assert_eq!(link.write(End::Near, 0, b"0123456789"), Some(8));
        link.shut_down(End::Near, 0);
        link.arrive(10);
        assert_eq!(link.read(End::Far, 100), Read::Bytes(b"01234567".to_vec()));
        assert_eq!(link.read(End::Far, 100), Read::Eof);
    }

    #[test]
    fn a_close_with_unread_input_destroys_what_was_sent_last() {
        let mut link = link();
        link.write(End::Far, 0, b"unread");
        link.arrive(10);
        link.write(End::Near, 10, b"alert");
        link.close(End::Near, 10);
        link.arrive(20);
        assert_eq!(link.read(End::Far, 100), Read::Reset);
    }

    #[test]
    fn sending_to_a_closed_socket_is_answered_with_a_reset() {
        let mut link = link();
        link.close(End::Far, 0);
        link.arrive(10);
        link.write(End::Near, 10, b"late");
        link.arrive(20);
        link.arrive(30);
        assert_eq!(link.read(End::Near, 100), Read::Reset);
    }
}
