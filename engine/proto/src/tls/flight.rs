//! rustls runs over what has arrived, one record at a time: it must not see a record behind the
//! client's Finished, since those are ours to open.

use rustls::Error;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

/// Header of a record (RFC 9846 §5.1).
const HEADER_BYTES: usize = 5;

/// What a run leaves behind.
#[derive(Default)]
pub(crate) struct Flight {
    /// To be sent, also after an error.
    pub(crate) output: Vec<u8>,
    /// Not used up: the start of a record, or what follows the client's Finished.
    pub(crate) rest: Vec<u8>,
    /// So many bytes of `rest` are records that rustls has read and still needs: fragments of a message that goes on.
    pub(crate) read: usize,
}

/// How far the handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// The client has to say more.
    Waiting,
    /// Both have said Finished.
    Finished,
    /// The client has said close_notify instead.
    ClientClosed,
}

/// Lets `tls` process the records of `input`, up to the client's Finished. It begins with what the last run has left,
/// of which rustls has read so many bytes: rustls must not see less than that again, and nobody else can tell where
/// records end in it, because rustls puts fragments together there.
pub(crate) fn run(
    tls: &mut UnbufferedServerConnection,
    mut input: Vec<u8>,
    read: usize,
) -> (Flight, Result<Advance, Error>) {
    let mut output = Vec::new();
    let mut start = 0;
    let (mut end, mut read) = reach(&input, read);
    let mut failure = None;
    let advance = loop {
        let UnbufferedStatus { discard, state, .. } =
            tls.process_tls_records(&mut input[start..end]);
        let turn = match state {
            Ok(state) => turn(state, &mut output),
            Err(error) => Turn::Failed(error),
        };
        start += discard;
        match turn {
            Turn::Again => {}
            // Its alert is to be encoded yet.
            Turn::Failed(error) if failure.is_none() => failure = Some(error),
            _ if failure.is_some() => break Advance::Waiting,
            Turn::Blocked if end < input.len() => (end, read) = reach(&input, end),
            Turn::Blocked | Turn::Failed(_) => break Advance::Waiting,
            Turn::Over(advance) => break advance,
        }
    };
    input.drain(..start);
    let flight = Flight { output, rest: input, read: read.saturating_sub(start) };
    (flight, failure.map_or(Ok(advance), Err))
}

/// What one state of rustls calls for.
enum Turn {
    /// Another one.
    Again,
    /// Another record.
    Blocked,
    Over(Advance),
    Failed(Error),
}

fn turn<Data>(state: ConnectionState<'_, '_, Data>, output: &mut Vec<u8>) -> Turn {
    match state {
        ConnectionState::EncodeTlsData(data) => {
            encode(data, output);
            Turn::Again
        }
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Turn::Again
        }
        ConnectionState::BlockedHandshake => Turn::Blocked,
        ConnectionState::WriteTraffic(_) => Turn::Over(Advance::Finished),
        ConnectionState::PeerClosed | ConnectionState::Closed => Turn::Over(Advance::ClientClosed),
        state => Turn::Failed(Error::General(format!("{state:?} in the middle of a handshake"))),
    }
}

/// How far rustls is to look where a record begins at `start`, and how far whole records reach: to its end; if that has
/// not come, or there cannot be a record of such a length, to the end of `input` and no further than its start.
fn reach(input: &[u8], start: usize) -> (usize, usize) {
    let end = input.get(start..start + HEADER_BYTES).map(|header| {
        start + HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]))
    });
    match end {
        Some(end) if end <= input.len() => (end, end),
        _ => (input.len(), start),
    }
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, output: &mut Vec<u8>) {
    // Asked with no room at all, rustls says how much it needs.
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        let start = output.len();
        output.resize(start + size.required_size, 0);
        let written = data.encode(&mut output[start..]).unwrap_or(0);
        debug_assert_eq!(written, size.required_size);
    }
}
