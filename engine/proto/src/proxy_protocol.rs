//! The PROXY protocol (HAProxy's proxy-protocol.txt): how an upstream is told of the client, and how a balancer
//! in front tells us. docs/proxy-protocol.md says which byte stands where.
//!
//! A header of version 2 goes before the first byte of the relay:
//!
//! ```text
//! signature (12)  0x21  family  length (2)  addresses (12 or 36)  TLVs
//! ```
//!
//! and a TLV is a type of one byte, a length of two, and a value. All integers are in network byte order. A header
//! of version 1 is a line of text, with the addresses alone.

mod addresses;
mod announcement;
mod client_identity;
mod crc32c;
mod format;
mod received;
mod spiffe;
#[cfg(test)]
mod tests;
mod writer;

pub use self::addresses::{V1_BYTES_MAX, write_v1};
pub use self::announcement::{
    Announcement, CertificateState, MAX_COMMON_NAME_BYTES, ProxyClient, ProxyTls, write_v2,
};
pub use self::format::{Format, Tlv, TlvSet};
pub use self::received::{Malformed, Received, parse};

/// "\r\n\r\n\0\r\nQUIT\n": no protocol in use begins so.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// AF_INET, STREAM.
const TCP_OVER_IPV4: u8 = 0x11;
/// AF_INET6, STREAM.
const TCP_OVER_IPV6: u8 = 0x21;

const PP2_TYPE_CRC32C: u8 = 0x03;

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = SIGNATURE.len() + 4;
const IPV4_BYTES: usize = 4 + 4 + 2 + 2;
const IPV6_BYTES: usize = 16 + 16 + 2 + 2;
const TLV_HEAD_BYTES: usize = 3;

/// The longest header of version 2 without TLVs.
pub(crate) const ADDRESSES_BYTES_MAX: usize = FIXED_BYTES + IPV6_BYTES;
