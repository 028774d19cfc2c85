//! A client that holds the keys and keeps no rule.

use rustls::{AlertDescription, ExtractedSecrets};

use crate::record::traffic::aead::TrafficKey;
use crate::record::traffic::framing::{self, ALERT, APPLICATION_DATA, HANDSHAKE};
use crate::record::traffic::{KeyUpdates, TrafficRecords};
use crate::tls::TlsVersion;

pub(super) struct Forger {
    records: TrafficRecords,
}

impl Forger {
    pub(super) fn new(
        version: TlsVersion,
        secrets: ExtractedSecrets,
        updates: Box<dyn KeyUpdates>,
    ) -> Self {
        let records = TrafficRecords::new(version, secrets, Some(updates));
        Self { records: records.map_err(|error| error.detail).expect("traffic") }
    }

    pub(super) fn into_records(self) -> TrafficRecords {
        self.records
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.records.version == TlsVersion::Tls13
    }

    pub(super) fn data(&mut self, content: &[u8]) -> Vec<u8> {
        self.sealed(APPLICATION_DATA, content)
    }

    /// One record of any type and, up to what a header can say, any length.
    pub(super) fn sealed(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        seal(&mut self.records.sealing, content_type, content)
    }

    /// A TLS 1.3 record with zeros behind its content.
    pub(super) fn padded(&mut self, content_type: u8, content: &[u8], padding: usize) -> Vec<u8> {
        seal_padded(&mut self.records.sealing, content_type, content, padding)
    }

    /// A KeyUpdate that says `request`, after which the next keys seal.
    pub(super) fn key_update(&mut self, request: u8) -> Vec<u8> {
        let wire = self.sealed(HANDSHAKE, &[24, 0, 0, 1, request]);
        self.move_keys();
        wire
    }

    /// Seals under the next keys from now on.
    pub(super) fn move_keys(&mut self) {
        let updates = self.records.updates.as_mut().expect("TLS 1.3");
        let next = updates.next_sealing().expect("the next keys");
        let key = TrafficKey::new(TlsVersion::Tls13, next);
        self.records.sealing = key.map_err(|error| error.detail).expect("a key");
    }

    /// Opens all that the server sent, and follows its KeyUpdates: types and contents.
    pub(super) fn open(&mut self, mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let version = self.records.version;
        let mut contents = Vec::new();
        while !wire.is_empty() {
            let split = framing::split(version, wire).ok().flatten();
            let (record, rest) = split.expect("whole records");
            let mut content = Vec::new();
            let opened = self.records.opening.open(record.header, record.fragment, &mut content);
            assert!(opened.is_ok(), "the server seals what its client can open");
            let content_type = match version {
                TlsVersion::Tls13 => content.pop().expect("a content type"),
                TlsVersion::Tls12 => record.outer_type(),
            };
            if content_type == HANDSHAKE {
                let updates = self.records.updates.as_mut().expect("TLS 1.3");
                let key = TrafficKey::new(version, updates.next_opening().expect("keys"));
                self.records.opening = key.map_err(|error| error.detail).expect("a key");
            }
            contents.push((content_type, content));
            wire = rest;
        }
        contents
    }

    /// The last alert that the server sent.
    pub(super) fn alert(&mut self, wire: &[u8]) -> Option<AlertDescription> {
        let contents = self.open(wire);
        let alert = contents.iter().rev().find(|(content_type, _)| *content_type == ALERT)?;
        Some(AlertDescription::from(alert.1[1]))
    }
}

pub(super) fn seal(key: &mut TrafficKey, content_type: u8, content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    assert!(key.seal(content_type, content, &mut wire).is_ok());
    wire
}

/// The real type lies in what the sealer takes for content, and the sealer's is the last zero.
pub(super) fn seal_padded(
    key: &mut TrafficKey,
    content_type: u8,
    content: &[u8],
    padding: usize,
) -> Vec<u8> {
    if padding == 0 {
        return seal(key, content_type, content);
    }
    let mut inner = content.to_vec();
    inner.push(content_type);
    inner.resize(inner.len() + padding - 1, 0);
    seal(key, 0, &inner)
}
