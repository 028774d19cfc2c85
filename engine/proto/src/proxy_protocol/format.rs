//! What a header of version 2 tells, and what its receiver takes.

use std::fmt;

use crate::limits::{PROXY_HEADER_BYTES, PROXY_TLV_BYTES};

macro_rules! tlvs {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// One thing that a header of version 2 may tell. The names are those of proxy-protocol.txt.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Tlv {
            $($(#[$doc])* $name,)*
        }

        impl Tlv {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in configurations and logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

tlvs! {
    /// PP2_TYPE_CRC32C: a checksum of the header.
    Crc32c = "crc32c";
    /// PP2_TYPE_ALPN: the application protocol that was agreed on.
    Alpn = "alpn";
    /// PP2_TYPE_AUTHORITY: the server name that the client asked for.
    Authority = "authority";
    /// PP2_TYPE_UNIQUE_ID: the connection, as the log has it.
    UniqueId = "unique_id";
    /// PP2_TYPE_SSL: whether there is a verified certificate, and PP2_SUBTYPE_SSL_VERSION.
    Ssl = "ssl";
    /// PP2_SUBTYPE_SSL_CN: the client's common name.
    SslCn = "ssl_cn";
    /// PP2_SUBTYPE_SSL_CIPHER: the cipher suite.
    SslCipher = "ssl_cipher";
    /// PP2_SUBTYPE_SSL_SIG_ALG: what our certificate is signed with.
    SslSigAlg = "ssl_sig_alg";
    /// PP2_SUBTYPE_SSL_KEY_ALG: the key of our certificate.
    SslKeyAlg = "ssl_key_alg";
    /// PP2_SUBTYPE_SSL_GROUP: what keys were agreed on with.
    SslGroup = "ssl_group";
    /// PP2_SUBTYPE_SSL_SIG_SCHEME: what we signed the handshake with.
    SslSigScheme = "ssl_sig_scheme";
    /// PP2_SUBTYPE_SSL_CLIENT_CERT: the client's certificate, DER.
    SslClientCert = "ssl_client_cert";
    /// A TLV of our own, type 0xe0: who the client is.
    Identity = "identity";
}

impl Tlv {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tlv| tlv.name() == name)
    }

    /// Does it stand within PP2_TYPE_SSL?
    #[must_use]
    pub fn is_of_ssl(self) -> bool {
        self != Self::Ssl && self.name().starts_with("ssl_")
    }
}

/// Some of [`Tlv::ALL`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct TlvSet(u16);

impl TlvSet {
    /// Everything but the certificate itself, which few receivers have room for.
    #[must_use]
    pub fn usual() -> Self {
        Tlv::ALL.iter().copied().filter(|tlv| *tlv != Tlv::SslClientCert).collect()
    }

    /// Is it among them?
    #[must_use]
    pub const fn contains(self, tlv: Tlv) -> bool {
        self.0 & (1 << tlv as u8) != 0
    }

    /// Is there none?
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one.
    pub const fn insert(&mut self, tlv: Tlv) {
        self.0 |= 1 << tlv as u8;
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Tlv> {
        Tlv::ALL.iter().copied().filter(move |tlv| self.contains(*tlv))
    }
}

const _: () = assert!(Tlv::ALL.len() <= u16::BITS as usize);

impl FromIterator<Tlv> for TlvSet {
    fn from_iter<I: IntoIterator<Item = Tlv>>(tlvs: I) -> Self {
        let mut set = Self::default();
        tlvs.into_iter().for_each(|tlv| set.insert(tlv));
        set
    }
}

impl fmt::Debug for TlvSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Tlv::name)).finish()
    }
}

/// What a header of version 2 tells, and what its receiver takes. What does not fit is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// What is told.
    pub tlvs: TlvSet,
    /// The longest header that the receiver takes, in bytes: within [`PROXY_HEADER_BYTES`].
    pub header_bytes: usize,
    /// The longest value of a TLV that the receiver takes, in bytes: within [`PROXY_TLV_BYTES`].
    pub tlv_bytes: usize,
}

impl Default for Format {
    /// What both HAProxy (1,024 bytes a TLV) and nginx since 1.23.3 (4,096 bytes a header) take.
    fn default() -> Self {
        Self { tlvs: TlvSet::usual(), header_bytes: 4_096, tlv_bytes: 1_024 }
    }
}

impl Format {
    /// The same, within the bounds whatever was asked for: so every length fits its two bytes.
    pub(super) fn bounded(self) -> Self {
        let (header, tlv) = (PROXY_HEADER_BYTES, PROXY_TLV_BYTES);
        Self {
            header_bytes: self.header_bytes.clamp(*header.start(), *header.end()),
            tlv_bytes: self.tlv_bytes.clamp(*tlv.start(), *tlv.end()),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for tlv in Tlv::ALL {
            assert_eq!(Tlv::named(tlv.name()), Some(*tlv));
        }
        assert_eq!(Tlv::named("netns"), None);
        assert!(Tlv::SslCn.is_of_ssl() && !Tlv::Ssl.is_of_ssl() && !Tlv::Identity.is_of_ssl());
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let mut set: TlvSet = [Tlv::Alpn, Tlv::Identity].into_iter().collect();
        assert!(set.contains(Tlv::Alpn) && !set.contains(Tlv::Ssl));
        set.insert(Tlv::Ssl);
        set.insert(Tlv::Ssl);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Tlv::Alpn, Tlv::Ssl, Tlv::Identity]);
        assert_eq!(format!("{set:?}"), r#"{"alpn", "ssl", "identity"}"#);
        assert!(TlvSet::default().is_empty() && !set.is_empty());
    }
}
