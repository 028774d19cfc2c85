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

/// Lets `tls` process the records of `input`, up to the client's Finished.
pub(crate) fn run(
    tls: &mut UnbufferedServerConnection,
    mut input: Vec<u8>,
) -> (Flight, Result<Advance, Error>) {
    let mut output = Vec::new();
    let (mut start, mut end) = (0, record_end(&input, 0));
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
            Turn::Blocked if end < input.len() => end = record_end(&input, end),
            Turn::Blocked | Turn::Failed(_) => break Advance::Waiting,
            Turn::Over(advance) => break advance,
        }
    };
    input.drain(..start);
    (Flight { output, rest: input }, failure.map_or(Ok(advance), Err))
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

/// The end of the record that begins at `start`; the end of `input` if that is in its middle, or if
/// there cannot be a record of such a length: rustls then says so.
fn record_end(input: &[u8], start: usize) -> usize {
    let Some(&[_, _, _, high, low]) = input.get(start..start + HEADER_BYTES) else {
        return input.len();
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    input.len().min(start + HEADER_BYTES + length)
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
