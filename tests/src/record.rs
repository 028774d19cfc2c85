//! Raw TLS records: taking a stream apart (RFC 8446 section 5.1) and making ClientHellos that no library
//! would send.

use rustls::AlertDescription;

/// `ContentType.alert`.
pub const ALERT: u8 = 21;
/// `ContentType.handshake`.
pub const HANDSHAKE: u8 = 22;
/// `ContentType.application_data`.
pub const APPLICATION_DATA: u8 = 23;
/// Bytes before a record's payload: type, legacy version, length.
pub const HEADER_BYTES: usize = 5;

const FATAL: u8 = 2;
const MAX_PAYLOAD_BYTES: usize = 1 << 14;
const PADDING_EXTENSION: u16 = 21;

/// One record of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `ContentType`.
    pub content_type: u8,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The complete records at the start of `stream`, and the bytes left over.
#[must_use]
pub fn records(mut stream: &[u8]) -> (Vec<Record<'_>>, &[u8]) {
    let mut records = Vec::new();
    while let Some((header, rest)) = stream.split_at_checked(HEADER_BYTES) {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        records.push(Record { content_type: header[0], payload });
        stream = rest;
    }
    (records, stream)
}

/// One record around `payload` (at most 2^14 bytes), with the legacy version 3.3.
#[must_use]
pub fn record(content_type: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= MAX_PAYLOAD_BYTES, "a record holds 2^14 bytes");
    let length = (payload.len() as u16).to_be_bytes();
    [&[content_type, 3, 3][..], &length, payload].concat()
}

/// The description, if `stream` is exactly one fatal alert in the clear and nothing else.
#[must_use]
pub fn lone_fatal_alert(stream: &[u8]) -> Option<AlertDescription> {
    match records(stream) {
        (records, []) => match records[..] {
            [Record { content_type: ALERT, payload: [FATAL, description] }] => {
                Some(AlertDescription::from(*description))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The handshake message inside `flight` (one or more records), padded with the padding extension
/// (RFC 7685) until the message is `message_bytes` long, in as many records as it needs.
///
/// The result is a ClientHello that a server may answer, but its sender cannot finish the handshake: the
/// transcript is not what it thinks.
#[must_use]
pub fn padded_client_hello(flight: &[u8], message_bytes: usize) -> Vec<u8> {
    let (records, rest) = records(flight);
    assert!(rest.is_empty(), "a flight of whole records");
    let mut message: Vec<u8> = records.iter().flat_map(|record| record.payload).copied().collect();
    let missing =
        message_bytes.checked_sub(message.len()).expect("a longer message than the one given");
    let padding = missing.checked_sub(4).expect("room for the extension's own header");

    let extensions_at = extensions_length_offset(&message);
    message.extend(PADDING_EXTENSION.to_be_bytes());
    message
        .extend(u16::try_from(padding).expect("an extension holds 2^16 - 1 bytes").to_be_bytes());
    message.resize(message_bytes, 0);

    let extensions =
        u16::try_from(message_bytes - extensions_at - 2).expect("extensions hold 2^16 - 1 bytes");
    message[extensions_at..extensions_at + 2].copy_from_slice(&extensions.to_be_bytes());
    let body = (message_bytes as u32 - 4).to_be_bytes();
    message[1..4].copy_from_slice(&body[1..]);
    message.chunks(MAX_PAYLOAD_BYTES).flat_map(|piece| record(HANDSHAKE, piece)).collect()
}

/// Where the two bytes of the extensions' length stand in a ClientHello message (RFC 8446 section 4.1.2).
fn extensions_length_offset(message: &[u8]) -> usize {
    const SESSION_ID_AT: usize = 4 + 2 + 32;
    let cipher_suites_at = SESSION_ID_AT + 1 + usize::from(message[SESSION_ID_AT]);
    let cipher_suites =
        usize::from(u16::from_be_bytes([message[cipher_suites_at], message[cipher_suites_at + 1]]));
    let compression_at = cipher_suites_at + 2 + cipher_suites;
    compression_at + 1 + usize::from(message[compression_at])
}

/// A well-formed ClientHello that offers TLS 1.1 at most (RFC 4346), with a suite every server of its
/// time had.
#[must_use]
pub fn client_hello_tls11() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([0x42; 32]);
    body.push(0); // no session ID
    body.extend([0, 4, 0xc0, 0x13, 0x00, 0x2f]); // ECDHE_RSA_WITH_AES_128_CBC_SHA, RSA_WITH_AES_128_CBC_SHA
    body.extend([1, 0]); // no compression
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // supported_groups: secp256r1
        0, 11, 0, 2, 1, 0, // ec_point_formats: uncompressed
    ];
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]][..], &body].concat();
    record(HANDSHAKE, &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_hello_has_the_length_asked_for_and_stays_parseable() {
        let plain = client_hello_tls11();
        for message_bytes in [200, 4096, 20_000, 60_000] {
            let padded = padded_client_hello(&plain, message_bytes);
            let (records, rest) = records(&padded);
            assert!(rest.is_empty());
            let message: Vec<u8> =
                records.iter().flat_map(|record| record.payload).copied().collect();
            assert_eq!(message.len(), message_bytes);
            let at = extensions_length_offset(&message);
            let extensions = usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
            assert_eq!(at + 2 + extensions, message_bytes);
        }
    }

    #[test]
    fn only_a_single_fatal_alert_counts_as_one() {
        assert_eq!(
            lone_fatal_alert(&record(ALERT, &[2, 70])),
            Some(AlertDescription::ProtocolVersion)
        );
        assert_eq!(lone_fatal_alert(&record(ALERT, &[1, 70])), None);
        assert_eq!(lone_fatal_alert(&[record(ALERT, &[2, 70]), vec![0]].concat()), None);
        assert_eq!(lone_fatal_alert(&record(HANDSHAKE, &[2, 70])), None);
    }
}
