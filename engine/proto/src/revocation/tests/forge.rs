//! Lists as one likes, to the byte: what a CA's software would not make.

use rcgen::{KeyPair, SigningKey};

/// An element of DER.
pub(crate) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        0x100..=0xffff => vec![tag, 0x82, (length >> 8) as u8, length as u8],
        _ => vec![tag, 0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8],
    };
    out.extend_from_slice(content);
    out
}

/// An extension: the last byte of its id-ce OID, whether it is critical, its value.
pub(crate) fn extension(id: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut content = der(0x06, &[0x55, 0x1d, id]);
    if critical {
        content.extend_from_slice(&[1, 1, 0xff]);
    }
    content.extend(der(0x04, value));
    der(0x30, &content)
}

/// A name with one attribute, CN.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let attribute = [der(0x06, &[0x55, 0x04, 3]), der(0x0c, common_name.as_bytes())].concat();
    der(0x30, &der(0x31, &der(0x30, &attribute)))
}

/// A full name with one URI, as it stands in a distribution point's \[0\].
pub(crate) fn point(uri: &str) -> Vec<u8> {
    der(0xa0, &der(0x86, uri.as_bytes()))
}

/// A list to be signed.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) version: Option<u8>,
    pub(crate) issuer: Vec<u8>,
    /// Seconds since 1970, in 2020.
    pub(crate) this_update: u32,
    pub(crate) next_update: Option<u32>,
    /// The DER of each entry.
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

/// 2020-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_577_836_800;

/// A time so many minutes after [`START`], in January.
fn time(minutes: u32) -> Vec<u8> {
    let (day, hour, minute) = (1 + minutes / 1_440, minutes / 60 % 24, minutes % 60);
    der(0x17, format!("2001{day:02}{hour:02}{minute:02}00Z").as_bytes())
}

impl Forge {
    /// An empty list of version 2 with this number, good for an hour from its making.
    pub(crate) fn new(issuer: &str, number: u8, made: u32) -> Self {
        Self {
            version: Some(1),
            issuer: name(issuer),
            this_update: made,
            next_update: Some(made + 60),
            entries: Vec::new(),
            extensions: vec![extension(20, false, &[2, 1, number])],
        }
    }

    pub(crate) fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    pub(crate) fn delta(self, base: u8) -> Self {
        self.with(extension(27, true, &[2, 1, base]))
    }

    pub(crate) fn until(mut self, next_update: u32) -> Self {
        self.next_update = Some(next_update);
        self
    }

    pub(crate) fn only(self, content: &[u8]) -> Self {
        self.with(extension(28, true, &der(0x30, content)))
    }

    /// An entry without a reason.
    pub(crate) fn revoke(self, serial: &[u8]) -> Self {
        self.entry(&[der(0x02, serial), time(0)].concat())
    }

    /// An entry with one.
    pub(crate) fn revoke_for(self, serial: &[u8], reason: u8) -> Self {
        let extensions = der(0x30, &extension(21, false, &[0x0a, 1, reason]));
        self.entry(&[der(0x02, serial), time(0), extensions].concat())
    }

    pub(crate) fn entry(mut self, content: &[u8]) -> Self {
        self.entries.push(der(0x30, content));
        self
    }

    /// Signed with ECDSA on P-256 and SHA-256.
    pub(crate) fn sign(&self, key: &KeyPair) -> Vec<u8> {
        let algorithm = der(0x30, &der(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
        let mut tbs = Vec::new();
        if let Some(version) = self.version {
            tbs.extend([2, 1, version]);
        }
        tbs.extend_from_slice(&algorithm);
        tbs.extend_from_slice(&self.issuer);
        tbs.extend(time(self.this_update));
        if let Some(next_update) = self.next_update {
            tbs.extend(time(next_update));
        }
        if !self.entries.is_empty() {
            tbs.extend(der(0x30, &self.entries.concat()));
        }
        if !self.extensions.is_empty() {
            tbs.extend(der(0xa0, &der(0x30, &self.extensions.concat())));
        }
        let tbs = der(0x30, &tbs);
        let signature = key.sign(&tbs).unwrap();
        let value = der(0x03, &[&[0], &signature[..]].concat());
        der(0x30, &[tbs, algorithm, value].concat())
    }
}
