//! The key of one direction. A nonce is made of the sequence number alone, and the sequence number
//! moves with every record and never wraps: no nonce is used twice under one key.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::ConnectionTrafficSecrets as Secrets;
use zeroize::Zeroizing;

use super::framing::{APPLICATION_DATA, HEADER_BYTES, LEGACY_VERSION};
use super::internal;
use crate::record::RecordError;
use crate::tls::TlsVersion;

/// All three AEADs have tags of this size.
pub(super) const TAG_BYTES: usize = 16;

/// The part of the nonce that TLS 1.2 sends with every GCM record (RFC 5288 §3).
const EXPLICIT_NONCE_BYTES: usize = 8;

/// A record is sealed into at most this much more than its content: header, explicit nonce (1.2) or
/// content type (1.3), tag.
pub(super) const SEALED_EXTRA_BYTES: usize = HEADER_BYTES + EXPLICIT_NONCE_BYTES + TAG_BYTES;

/// AES-GCM keeps a margin of 2^-57 for up to 2^24.5 full-size records (§5.5); this is the whole power
/// of two below, as in rustls.
const GCM_RECORDS: u64 = 1 << 24;

/// Records that one key may seal: "Implementations MUST either close the connection or do a key update
/// [...] prior to reaching these limits" (§5.5). With ChaCha20-Poly1305 the sequence number ends
/// first; what is left below its end is for alerts.
pub(super) fn records_per_key(secrets: &Secrets) -> u64 {
    match secrets {
        Secrets::Chacha20Poly1305 { .. } => u64::MAX - 0xffff,
        _ => GCM_RECORDS,
    }
}

/// How nonce and additional data are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Construction {
    /// §5.2, §5.3.
    Tls13,
    /// TLS 1.2 with GCM (RFC 5288 §3): four secret bytes and eight that are sent.
    Tls12Explicit,
    /// TLS 1.2 with ChaCha20-Poly1305 (RFC 7905 §2): nothing of the nonce is sent.
    Tls12Implicit,
}

/// The record did not authenticate, or the sequence numbers have come to their end.
pub(super) struct Unusable;

/// Key, IV and sequence number of one direction.
pub(super) struct TrafficKey {
    key: LessSafeKey,
    iv: Zeroizing<[u8; NONCE_LEN]>,
    sequence: u64,
    construction: Construction,
}

impl TrafficKey {
    /// rustls' copies of key and IV are overwritten when they are dropped here.
    pub(super) fn new(
        version: TlsVersion,
        (sequence, secrets): (u64, Secrets),
    ) -> Result<Self, RecordError> {
        let gcm = match version {
            TlsVersion::Tls13 => Construction::Tls13,
            TlsVersion::Tls12 => Construction::Tls12Explicit,
        };
        let chacha = match version {
            TlsVersion::Tls13 => Construction::Tls13,
            TlsVersion::Tls12 => Construction::Tls12Implicit,
        };
        let (algorithm, key, secret_iv, construction) = match &secrets {
            Secrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, gcm),
            Secrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, gcm),
            Secrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, chacha),
            _ => return Err(internal("traffic secrets of an AEAD that is not known here")),
        };
        let key = UnboundKey::new(algorithm, key.as_ref())
            .map_err(|_| internal("a traffic key of the wrong length"))?;
        let mut iv = Zeroizing::new([0; NONCE_LEN]);
        if secret_iv.as_ref().len() != NONCE_LEN {
            return Err(internal("a traffic IV of the wrong length"));
        }
        iv.copy_from_slice(secret_iv.as_ref());
        Ok(Self { key: LessSafeKey::new(key), iv, sequence, construction })
    }

    /// The sequence number of the next record, which is how many this key has seen.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Appends one record. `content` is at most 2^14 bytes.
    pub(super) fn seal(
        &mut self,
        content_type: u8,
        content: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), Unusable> {
        let nonce = self.nonce()?;
        // "The outer opaque_type field of a TLSCiphertext record is always set to the value 23" (§5.2);
        // the real one is sealed behind the content.
        let (outer, hidden) = match self.construction {
            Construction::Tls13 => (APPLICATION_DATA, &[content_type][..]),
            _ => (content_type, &[][..]),
        };
        let fragment = self.explicit_bytes() + content.len() + hidden.len() + TAG_BYTES;
        let [high, low] = u16::try_from(fragment).map_err(|_| Unusable)?.to_be_bytes();
        let header = [outer, LEGACY_VERSION[0], LEGACY_VERSION[1], high, low];
        let data = AdditionalData::new(self.construction, self.sequence, header, content.len())?;

        let start = wire.len();
        wire.extend_from_slice(&header);
        wire.extend_from_slice(&nonce[NONCE_LEN - self.explicit_bytes()..]);
        let body = wire.len();
        wire.resize(body + content.len() + hidden.len() + TAG_BYTES, 0);
        let (sealed, tail) = wire[body..].split_at_mut(content.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let key = &self.key;
        if key.seal_out_of_place_scatter(nonce, data.aad(), content, sealed, hidden, tail).is_err()
        {
            wire.truncate(start);
            return Err(Unusable);
        }
        self.sequence += 1;
        Ok(())
    }

    /// Appends the plaintext of a record, in TLS 1.3 with its content type and padding. Of a record that
    /// does not authenticate nothing is appended.
    pub(super) fn open(
        &mut self,
        header: [u8; HEADER_BYTES],
        fragment: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), Unusable> {
        let (explicit, sealed) =
            fragment.split_at_checked(self.explicit_bytes()).ok_or(Unusable)?;
        let length = sealed.len().checked_sub(TAG_BYTES).ok_or(Unusable)?;
        let (sealed, tag) = sealed.split_at(length);
        let mut nonce = self.nonce()?;
        // In TLS 1.2 with GCM the peer chooses these bytes; the additional data holds the sequence.
        nonce[NONCE_LEN - explicit.len()..].copy_from_slice(explicit);
        let data = AdditionalData::new(self.construction, self.sequence, header, length)?;

        let start = plaintext.len();
        plaintext.resize(start + length, 0);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened =
            self.key.open_separate_gather(nonce, data.aad(), sealed, tag, &mut plaintext[start..]);
        if opened.is_err() {
            plaintext.truncate(start);
            return Err(Unusable);
        }
        self.sequence += 1;
        Ok(())
    }

    /// The IV with the sequence number folded into its end (§5.3; RFC 7905 §2). TLS 1.2 with GCM leaves
    /// open how the bytes that are sent are chosen (RFC 5288 §3): rustls does it this way, and has
    /// sealed Finished so under the same key.
    ///
    /// "Sequence numbers do not wrap" (RFC 5246 §6.1; §5.3): at the last one there is none.
    fn nonce(&self) -> Result<[u8; NONCE_LEN], Unusable> {
        if self.sequence == u64::MAX {
            return Err(Unusable);
        }
        let mut nonce = *self.iv;
        for (byte, sequence) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        Ok(nonce)
    }

    fn explicit_bytes(&self) -> usize {
        match self.construction {
            Construction::Tls12Explicit => EXPLICIT_NONCE_BYTES,
            _ => 0,
        }
    }
}

/// What is authenticated beside the content. TLS 1.3: the header (§5.2), as it came, so that no byte of it
/// can be changed. TLS 1.2: sequence number, type, version, length of the plaintext (RFC 5246 §6.2.3.3).
struct AdditionalData {
    bytes: [u8; 13],
    length: usize,
}

impl AdditionalData {
    fn new(
        construction: Construction,
        sequence: u64,
        header: [u8; HEADER_BYTES],
        plaintext: usize,
    ) -> Result<Self, Unusable> {
        let mut bytes = [0; 13];
        if construction == Construction::Tls13 {
            bytes[..HEADER_BYTES].copy_from_slice(&header);
            return Ok(Self { bytes, length: HEADER_BYTES });
        }
        let plaintext = u16::try_from(plaintext).map_err(|_| Unusable)?;
        bytes[..8].copy_from_slice(&sequence.to_be_bytes());
        bytes[8..11].copy_from_slice(&header[..3]);
        bytes[11..].copy_from_slice(&plaintext.to_be_bytes());
        Ok(Self { bytes, length: bytes.len() })
    }

    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(&self.bytes[..self.length])
    }
}
