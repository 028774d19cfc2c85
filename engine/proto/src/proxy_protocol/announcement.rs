//! What an upstream is told, as a header of version 2 (proxy-protocol.txt section 2.2).

use std::net::{IpAddr, SocketAddr};

use super::addresses::Addresses;
use super::client_identity;
use super::crc32c;
use super::format::{Format, Tlv, TlvSet};
use super::writer::Writer;
use super::{FIXED_BYTES, PP2_TYPE_CRC32C, SIGNATURE, TLV_HEAD_BYTES};
use crate::connection_id::ConnectionId;
use crate::identity::ClientIdentity;

/// Longest CN that is told of, in bytes. X.520 ends common names at 64 characters.
pub const MAX_COMMON_NAME_BYTES: usize = 768;

/// Longest name of ours that is told of, such as a cipher suite's, in bytes. They have about 30.
const MAX_NAME_BYTES: usize = 64;

/// Longest server name or application protocol, in bytes: HAProxy takes no longer authority (RFC 1035 section 2.3.4
/// ends names at 253), and the length of a protocol has one byte (RFC 7301 section 3.1).
const MAX_NEGOTIATED_BYTES: usize = 255;

/// Version 2, command PROXY: on behalf of another, as opposed to LOCAL.
const VERSION_2_PROXY: u8 = 0x21;

const PP2_TYPE_ALPN: u8 = 0x01;
const PP2_TYPE_AUTHORITY: u8 = 0x02;
const PP2_TYPE_UNIQUE_ID: u8 = 0x05;
const PP2_TYPE_SSL: u8 = 0x20;
const PP2_SUBTYPE_SSL_VERSION: u8 = 0x21;
const PP2_SUBTYPE_SSL_CN: u8 = 0x22;
const PP2_SUBTYPE_SSL_CIPHER: u8 = 0x23;
const PP2_SUBTYPE_SSL_SIG_ALG: u8 = 0x24;
const PP2_SUBTYPE_SSL_KEY_ALG: u8 = 0x25;
const PP2_SUBTYPE_SSL_GROUP: u8 = 0x26;
const PP2_SUBTYPE_SSL_SIG_SCHEME: u8 = 0x27;
const PP2_SUBTYPE_SSL_CLIENT_CERT: u8 = 0x28;

/// The client connected over TLS.
const PP2_CLIENT_SSL: u8 = 0x01;
/// It presented a certificate over this connection.
const PP2_CLIENT_CERT_CONN: u8 = 0x02;
/// It presented one at least once over the TLS session.
const PP2_CLIENT_CERT_SESS: u8 = 0x04;

/// "zero if the client presented a certificate and it was successfully verified, and non-zero otherwise"
const VERIFIED: u32 = 0;
const NOT_VERIFIED: u32 = 1;

/// The bit field `client` and `verify`.
const SSL_FIXED_BYTES: usize = 1 + 4;

/// All that an upstream may be told of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Announcement<'a> {
    /// Who connected.
    pub source: SocketAddr,
    /// Whereto.
    pub destination: SocketAddr,
    /// What the log calls the connection.
    pub connection: Option<ConnectionId>,
    /// The server name that the client asked for.
    pub authority: Option<&'a str>,
    /// The application protocol that was agreed on.
    pub alpn: Option<&'a str>,
    /// What was negotiated.
    pub tls: Option<ProxyTls<'a>>,
}

/// What was negotiated with a client, and who it is. Every name is in OpenSSL's style.
#[derive(Clone, Copy, Debug)]
pub struct ProxyTls<'a> {
    /// `TLSv1.3`.
    pub version: &'a str,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'a str,
    /// What keys were agreed on with: `x25519`.
    pub group: Option<&'a str>,
    /// What our certificate is signed with: `ecdsa-with-SHA256`.
    pub certificate_signature: Option<&'a str>,
    /// The key of our certificate: `RSA2048`.
    pub certificate_key: Option<&'a str>,
    /// What we signed the handshake with: `ecdsa_secp256r1_sha256`. Not told of a resumed session.
    pub signature_scheme: Option<&'a str>,
    /// What the client presented.
    pub certificate: CertificateState,
    /// Who the client is; told only where its certificate was verified.
    pub client: ProxyClient<'a>,
}

/// Who a client is, out of its certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProxyClient<'a> {
    /// Its CN: only where its certificate has exactly one.
    pub common_name: Option<&'a str>,
    /// SAN entries of kind dNSName.
    pub dns_names: &'a [String],
    /// SAN entries of kind uniformResourceIdentifier.
    pub uris: &'a [String],
    /// SAN entries of kind rfc822Name.
    pub emails: &'a [String],
    /// SAN entries of kind iPAddress.
    pub ip_addresses: &'a [IpAddr],
    /// SHA-256 over the certificate.
    pub sha256: [u8; 32],
    /// SHA-256 over its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// What the client signed the handshake with. Not told of a resumed session.
    pub signature_scheme: Option<&'a str>,
    /// The certificate, DER.
    pub certificate: Option<&'a [u8]>,
}

/// What became of the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateState {
    /// It presented none.
    None,
    /// It presented one over this connection, which was verified.
    Verified,
    /// It presented one over an earlier connection of the TLS session that it resumed, where it was verified.
    Resumed,
}

impl CertificateState {
    /// The fields `client` and `verify` of PP2_TYPE_SSL.
    const fn fields(self) -> (u8, u32) {
        match self {
            Self::None => (PP2_CLIENT_SSL, NOT_VERIFIED),
            Self::Verified => {
                (PP2_CLIENT_SSL | PP2_CLIENT_CERT_CONN | PP2_CLIENT_CERT_SESS, VERIFIED)
            }
            Self::Resumed => (PP2_CLIENT_SSL | PP2_CLIENT_CERT_SESS, VERIFIED),
        }
    }
}

impl<'a> ProxyClient<'a> {
    /// What a certificate says.
    #[must_use]
    pub fn of(identity: &'a ClientIdentity) -> Self {
        Self {
            common_name: match identity.common_names() {
                [only] => Some(only),
                _ => None,
            },
            dns_names: identity.dns_names(),
            uris: identity.uris(),
            emails: identity.emails(),
            ip_addresses: identity.ip_addresses(),
            sha256: identity.sha256(),
            spki_sha256: identity.spki_sha256(),
            signature_scheme: None,
            certificate: None,
        }
    }
}

/// Appends a header of version 2 that tells what `format` asks for, as far as it is known. Gives what is known and
/// asked for and nevertheless not told, or not whole: there was no room for it, or it is a text with control
/// characters, which an upstream in C would see end at a NUL.
///
/// Two IPv4 addresses go as such, also where they are written as IPv4-mapped; of two families the IPv4 address is
/// mapped. Room is given out in this order: checksum; TLS with its details; connection; server name; protocol;
/// identity; the certificate itself.
pub fn write_v2(out: &mut Vec<u8>, told: &Announcement<'_>, format: &Format) -> TlvSet {
    let format = format.bounded();
    let start = out.len();
    let addresses = Addresses::new(told.source, told.destination);
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&[VERSION_2_PROXY, addresses.family(), 0, 0]);
    addresses.write(out);
    let room = format.header_bytes.saturating_sub(out.len() - start);
    let mut teller = Teller { writer: Writer::new(out, room), format, untold: TlvSet::default() };
    let checksum = teller.tell_all(told);
    let untold = teller.untold;
    let header = &mut out[start..];
    // At most `header_bytes`, which its two bytes can say: see `PROXY_HEADER_BYTES`.
    let length = u16::try_from(header.len() - FIXED_BYTES).unwrap_or(u16::MAX);
    header[FIXED_BYTES - 2..FIXED_BYTES].copy_from_slice(&length.to_be_bytes());
    if let Some(place) = checksum {
        let value = crc32c::checksum(&[header]).to_be_bytes();
        out[place..place + value.len()].copy_from_slice(&value);
    }
    untold
}

struct Teller<'a> {
    writer: Writer<'a>,
    format: Format,
    untold: TlvSet,
}

impl Teller<'_> {
    /// Gives the place of the checksum, which is all zeros yet.
    fn tell_all(&mut self, told: &Announcement<'_>) -> Option<usize> {
        let checksum = self.writer.place() + TLV_HEAD_BYTES;
        let is_checked = self.wants(Tlv::Crc32c)
            && self.tell(Tlv::Crc32c, PP2_TYPE_CRC32C, &0_u32.to_be_bytes());
        let ssl = told.tls.as_ref().and_then(|tls| self.tell_ssl(tls));
        if let Some(connection) = told.connection {
            let text = connection.to_string();
            self.text(Tlv::UniqueId, PP2_TYPE_UNIQUE_ID, Some(&text), MAX_NAME_BYTES);
        }
        self.text(Tlv::Authority, PP2_TYPE_AUTHORITY, told.authority, MAX_NEGOTIATED_BYTES);
        self.text(Tlv::Alpn, PP2_TYPE_ALPN, told.alpn, MAX_NEGOTIATED_BYTES);
        if let Some(tls) = &told.tls {
            self.tell_identity(tls);
            self.tell_certificate(ssl, tls);
        }
        is_checked.then_some(checksum)
    }

    /// PP2_TYPE_SSL (section 2.2.6), all but the client's certificate. Gives its place.
    fn tell_ssl(&mut self, tls: &ProxyTls<'_>) -> Option<usize> {
        if !self.wants(Tlv::Ssl) {
            return None;
        }
        let place = self.writer.place();
        let most = self.format.tlv_bytes;
        let Some(ssl) = self.writer.open(PP2_TYPE_SSL, SSL_FIXED_BYTES, most) else {
            self.untold.insert(Tlv::Ssl);
            return None;
        };
        let (client, verify) = tls.certificate.fields();
        self.writer.bytes(&[client]);
        self.writer.bytes(&verify.to_be_bytes());
        let is_known = tls.certificate != CertificateState::None;
        let common_name = tls.client.common_name.filter(|_| is_known);
        // Of a resumed handshake nobody has signed anything.
        let is_full = tls.certificate != CertificateState::Resumed;
        let scheme = tls.signature_scheme.filter(|_| is_full);
        let name = MAX_NAME_BYTES;
        self.text(Tlv::Ssl, PP2_SUBTYPE_SSL_VERSION, Some(tls.version), name);
        self.text(Tlv::SslCn, PP2_SUBTYPE_SSL_CN, common_name, MAX_COMMON_NAME_BYTES);
        self.text(Tlv::SslCipher, PP2_SUBTYPE_SSL_CIPHER, Some(tls.cipher), name);
        self.text(Tlv::SslGroup, PP2_SUBTYPE_SSL_GROUP, tls.group, name);
        self.text(Tlv::SslSigScheme, PP2_SUBTYPE_SSL_SIG_SCHEME, scheme, name);
        self.text(Tlv::SslKeyAlg, PP2_SUBTYPE_SSL_KEY_ALG, tls.certificate_key, name);
        self.text(Tlv::SslSigAlg, PP2_SUBTYPE_SSL_SIG_ALG, tls.certificate_signature, name);
        self.writer.close(ssl);
        Some(place)
    }

    fn tell_identity(&mut self, tls: &ProxyTls<'_>) {
        if self.wants(Tlv::Identity)
            && tls.certificate != CertificateState::None
            && !client_identity::write(&mut self.writer, tls, self.format.tlv_bytes)
        {
            self.untold.insert(Tlv::Identity);
        }
    }

    /// Comes last though it stands within PP2_TYPE_SSL: it is the largest by far, and everything else more useful.
    fn tell_certificate(&mut self, ssl: Option<usize>, tls: &ProxyTls<'_>) {
        let certificate =
            tls.client.certificate.filter(|_| tls.certificate != CertificateState::None);
        if !self.wants(Tlv::SslClientCert) {
            return;
        }
        let Some(certificate) = certificate else { return };
        let most = self.format.tlv_bytes;
        let is_told = ssl.is_some_and(|place| {
            self.writer.insert(place, most, PP2_SUBTYPE_SSL_CLIENT_CERT, certificate)
        });
        if !is_told {
            self.untold.insert(Tlv::SslClientCert);
        }
    }

    fn wants(&self, tlv: Tlv) -> bool {
        self.format.tlvs.contains(tlv)
    }

    /// A TLV of a text in UTF-8, if there is one: whole or not at all.
    fn text(&mut self, tlv: Tlv, kind: u8, text: Option<&str>, longest: usize) {
        let Some(text) = text.filter(|text| !text.is_empty() && self.wants(tlv)) else { return };
        if text.len() > longest || text.chars().any(char::is_control) {
            self.untold.insert(tlv);
        } else {
            self.tell(tlv, kind, text.as_bytes());
        }
    }

    fn tell(&mut self, tlv: Tlv, kind: u8, value: &[u8]) -> bool {
        let is_told = value.len() <= self.format.tlv_bytes && self.writer.tlv(kind, value);
        if !is_told {
            self.untold.insert(tlv);
        }
        is_told
    }
}
