//! The trace of a world: what happened to whom, how much of it, and when. Two runs of a seed have the
//! same hash or something outside the seed has had its say.

use std::fmt;

use aws_lc_rs::digest;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    Accepted,
    Received,
    ReceiveFailed,
    SendAsked,
    Sent,
    SendFailed,
    ReceiveAsked,
    ShutdownAsked,
    ShutDown,
    ConnectAsked,
    Connected,
    ConnectFailed,
    PerformAsked,
    Performed,
    CloseAsked,
    Closed,
    TimedOut,
    Stopped,
    Aborted,
    Published,
    Withdrawn,
    Established,
    Refused,
    Ended,
}

pub(crate) struct Trace {
    hash: digest::Context,
    entries: u64,
    aloud: bool,
}

impl Trace {
    /// `aloud` also writes every entry to standard error, for whoever replays a seed.
    pub(crate) fn new(aloud: bool) -> Self {
        Self { hash: digest::Context::new(&digest::SHA256), entries: 0, aloud }
    }

    #[expect(clippy::print_stderr, reason = "asked for by whoever replays a seed")]
    pub(crate) fn note(
        &mut self,
        nanos: u64,
        connection: usize,
        kind: Kind,
        length: usize,
        more: &dyn fmt::Debug,
    ) {
        self.hash.update(&[kind as u8]);
        for number in [connection as u64, length as u64, nanos] {
            self.hash.update(&number.to_be_bytes());
        }
        self.entries += 1;
        if self.aloud {
            let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
            eprintln!("{seconds:>4}.{rest:09} #{connection:<3} {kind:?} {length} {more:?}");
        }
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}
