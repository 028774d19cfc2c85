//! The PROXY protocol, version 2: how an upstream is told of the client (HAProxy's proxy-protocol.txt, section 2.2).
//!
//! One header goes before the first byte of the relay:
//!
//! ```text
//! signature (12)  0x21  family  length (2)  addresses (12 or 36)  PP2_TYPE_SSL
//! ```
//!
//! and PP2_TYPE_SSL (section 2.2.6) holds what the client's TLS came to:
//!
//! ```text
//! 0x20  length (2)  client (1)  verify (4)  VERSION  CN  CIPHER
//! ```
//!
//! All integers are in network byte order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest TLV, its own head included. HAProxy as a receiver fails on a longer one.
pub(crate) const MAX_TLV_BYTES: usize = 1024;

/// Longest header. nginx as a receiver fails on a longer one.
pub(crate) const MAX_HEADER_BYTES: usize = 4096;

/// Longest CN that is told of, in bytes. X.520 ends common names at 64 characters.
pub(crate) const MAX_COMMON_NAME_BYTES: usize = 768;

/// Longest name of a version or a cipher suite that is told of, in bytes. They are our own, and about 30.
const MAX_NAME_BYTES: usize = 64;

/// What was negotiated with a client, and who it is.
#[derive(Clone, Copy, Debug)]
pub struct ProxyTls<'a> {
    /// As OpenSSL writes it: `TLSv1.3`.
    pub version: &'a str,
    /// As OpenSSL writes it: `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'a str,
    /// The client's CN: only where its certificate has exactly one.
    pub common_name: Option<&'a str>,
    /// What the client presented.
    pub certificate: CertificateState,
}

/// What became of the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateState {
    /// It presented none.
    None,
    /// It presented one over this connection, which was verified.
    Verified,
}

/// Appends the header for a connection that `source` made to `destination`.
///
/// Two IPv4 addresses go as such, also where they are written as IPv4-mapped; of two families the IPv4 address is
/// mapped. A CN is left out unless the certificate was verified, and also where it is empty, longer than
/// [`MAX_COMMON_NAME_BYTES`], or has control characters: an upstream in C would see it end at a NUL.
pub fn header(
    out: &mut Vec<u8>,
    source: SocketAddr,
    destination: SocketAddr,
    tls: Option<&ProxyTls<'_>>,
) {
    let addresses = Addresses::new(source, destination);
    let tlvs = tls.map(ssl).unwrap_or_default();
    // Both are bounded by constants: see the assertions below.
    let length = addresses.len() + tlvs.len();
    debug_assert!(length <= MAX_HEADER_BYTES - FIXED_BYTES, "{length}");
    out.reserve(FIXED_BYTES + length);
    out.extend_from_slice(&SIGNATURE);
    out.push(VERSION_2_PROXY);
    out.push(addresses.family());
    out.extend_from_slice(&two_bytes(length));
    addresses.write(out);
    out.extend_from_slice(&tlvs);
}

/// "\r\n\r\n\0\r\nQUIT\n": no protocol in use begins so.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY: on behalf of another, as opposed to LOCAL.
const VERSION_2_PROXY: u8 = 0x21;
/// AF_INET, STREAM.
const TCP_OVER_IPV4: u8 = 0x11;
/// AF_INET6, STREAM.
const TCP_OVER_IPV6: u8 = 0x21;

const PP2_TYPE_SSL: u8 = 0x20;
const PP2_SUBTYPE_SSL_VERSION: u8 = 0x21;
const PP2_SUBTYPE_SSL_CN: u8 = 0x22;
const PP2_SUBTYPE_SSL_CIPHER: u8 = 0x23;

/// The client connected over TLS.
const PP2_CLIENT_SSL: u8 = 0x01;
/// It presented a certificate over this connection.
const PP2_CLIENT_CERT_CONN: u8 = 0x02;
/// It presented one at least once over the TLS session.
const PP2_CLIENT_CERT_SESS: u8 = 0x04;

/// "zero if the client presented a certificate and it was successfully verified, and non-zero otherwise"
const VERIFIED: u32 = 0;
const NOT_VERIFIED: u32 = 1;

const FIXED_BYTES: usize = SIGNATURE.len() + 4;
const IPV4_BYTES: usize = 4 + 4 + 2 + 2;
const IPV6_BYTES: usize = 16 + 16 + 2 + 2;
const TLV_HEAD_BYTES: usize = 3;
const SSL_FIXED_BYTES: usize = 1 + 4;
const MAX_SSL_BYTES: usize = TLV_HEAD_BYTES
    + SSL_FIXED_BYTES
    + (TLV_HEAD_BYTES + MAX_NAME_BYTES)
    + (TLV_HEAD_BYTES + MAX_COMMON_NAME_BYTES)
    + (TLV_HEAD_BYTES + MAX_NAME_BYTES);

const _: () = assert!(MAX_SSL_BYTES <= MAX_TLV_BYTES);
const _: () = assert!(FIXED_BYTES + IPV6_BYTES + MAX_SSL_BYTES <= MAX_HEADER_BYTES);
const _: () = assert!(MAX_HEADER_BYTES <= u16::MAX as usize, "every length fits its two bytes");

/// Both ends of a connection, in one family.
enum Addresses {
    V4([(Ipv4Addr, u16); 2]),
    V6([(Ipv6Addr, u16); 2]),
}

impl Addresses {
    fn new(source: SocketAddr, destination: SocketAddr) -> Addresses {
        let ports = (source.port(), destination.port());
        match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Addresses::V4([(source, ports.0), (destination, ports.1)])
            }
            (source, destination) => {
                Addresses::V6([(in_ipv6(source), ports.0), (in_ipv6(destination), ports.1)])
            }
        }
    }

    fn family(&self) -> u8 {
        match self {
            Addresses::V4(_) => TCP_OVER_IPV4,
            Addresses::V6(_) => TCP_OVER_IPV6,
        }
    }

    fn len(&self) -> usize {
        match self {
            Addresses::V4(_) => IPV4_BYTES,
            Addresses::V6(_) => IPV6_BYTES,
        }
    }

    /// Both addresses, then both ports.
    fn write(&self, out: &mut Vec<u8>) {
        let ports = match self {
            Addresses::V4([source, destination]) => {
                out.extend_from_slice(&source.0.octets());
                out.extend_from_slice(&destination.0.octets());
                [source.1, destination.1]
            }
            Addresses::V6([source, destination]) => {
                out.extend_from_slice(&source.0.octets());
                out.extend_from_slice(&destination.0.octets());
                [source.1, destination.1]
            }
        };
        for port in ports {
            out.extend_from_slice(&port.to_be_bytes());
        }
    }
}

fn in_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// PP2_TYPE_SSL.
fn ssl(tls: &ProxyTls<'_>) -> Vec<u8> {
    let (client, verify) = match tls.certificate {
        CertificateState::None => (PP2_CLIENT_SSL, NOT_VERIFIED),
        CertificateState::Verified => {
            (PP2_CLIENT_SSL | PP2_CLIENT_CERT_CONN | PP2_CLIENT_CERT_SESS, VERIFIED)
        }
    };
    let mut value = vec![client];
    value.extend_from_slice(&verify.to_be_bytes());
    text(&mut value, PP2_SUBTYPE_SSL_VERSION, tls.version, MAX_NAME_BYTES);
    if let (CertificateState::Verified, Some(name)) = (tls.certificate, tls.common_name) {
        text(&mut value, PP2_SUBTYPE_SSL_CN, name, MAX_COMMON_NAME_BYTES);
    }
    text(&mut value, PP2_SUBTYPE_SSL_CIPHER, tls.cipher, MAX_NAME_BYTES);
    let mut ssl = Vec::with_capacity(TLV_HEAD_BYTES + value.len());
    tlv(&mut ssl, PP2_TYPE_SSL, &value);
    debug_assert!(ssl.len() <= MAX_SSL_BYTES, "{}", ssl.len());
    ssl
}

/// A TLV of a text in UTF-8; nothing where the text is empty, too long, or has control characters.
fn text(out: &mut Vec<u8>, kind: u8, text: &str, longest: usize) {
    if !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control) {
        tlv(out, kind, text.as_bytes());
    }
}

fn tlv(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&two_bytes(value.len()));
    out.extend_from_slice(value);
}

/// A length; every one here is at most [`MAX_HEADER_BYTES`].
fn two_bytes(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests;
