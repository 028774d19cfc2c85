//! The index: what this PKI has issued, revoked and published, one JSON object a line, oldest first.
//!
//! A line is added before the file that it speaks of is written: whatever a command is cut short by, there is
//! no certificate and no CRL that the index does not know. The file is replaced as a whole, so a line is
//! never half there. docs/pki.md describes it.

use std::collections::HashMap;
use std::fs;

use serde::{Deserialize, Serialize};

use super::authority::Kind;
use super::command;
use super::directory::{Directory, INDEX, Readers};
use super::error::{PkiError, Result};
use super::moment::Moment;
use super::names::Names;
use super::reason::Reason;
use super::serial::Serial;

/// Of the format of the file.
const VERSION: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub(super) enum Record {
    Pki(Founded),
    Issued(Issued),
    Revoked(Revoked),
    Crl(Published),
}

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Founded {
    version: u32,
    pub(super) time: Moment,
    pub(super) name: String,
    /// Where the CAs' keys are: paths, from the directory if they are relative.
    pub(super) root_key: String,
    pub(super) intermediate_key: String,
}

/// A certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issued {
    pub(super) time: Moment,
    pub(super) serial: Serial,
    pub(super) kind: Kind,
    pub(super) names: Names,
    pub(super) not_before: Moment,
    pub(super) not_after: Moment,
    /// From the directory, without `.pem` and `.key`.
    pub(super) file: String,
    /// The certificate whose names it took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) renews: Option<Serial>,
}

/// A revocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoked {
    pub(super) time: Moment,
    pub(super) serial: Serial,
    pub(super) reason: Reason,
}

/// A CRL of each CA, of one number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Published {
    pub(super) time: Moment,
    pub(super) number: u64,
    pub(super) next_update: Moment,
}

/// What a certificate is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Valid,
    Expired,
    Revoked,
}

impl State {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Founded {
    pub(super) fn new(
        time: Moment,
        name: String,
        root_key: String,
        intermediate_key: String,
    ) -> Self {
        Self { version: VERSION, time, name, root_key, intermediate_key }
    }
}

#[derive(Debug)]
pub(super) struct Index {
    directory: Directory,
    text: String,
    pub(super) founded: Founded,
    pub(super) issued: Vec<Issued>,
    places: HashMap<Serial, usize>,
    revoked: HashMap<Serial, Revoked>,
    pub(super) published: Option<Published>,
}

impl Index {
    /// A new one; it is on disk with the first [`Self::add`].
    pub(super) fn new(directory: &Directory, founded: Founded) -> Result<Self> {
        let text = line(&Record::Pki(founded.clone()), directory)?;
        Ok(Self {
            directory: directory.clone(),
            text,
            founded,
            issued: Vec::new(),
            places: HashMap::new(),
            revoked: HashMap::new(),
            published: None,
        })
    }

    /// Reads it whole.
    pub(super) fn read(directory: &Directory) -> Result<Self> {
        let path = directory.file(INDEX);
        let text = fs::read_to_string(&path).map_err(|source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                let (at, init) = (directory.path().display(), command(directory.path(), "init"));
                return PkiError::Refused(format!(
                    "there is no PKI in {at} (no {INDEX}); make one with `{init}`, or say where it is with --directory"
                ));
            }
            PkiError::file("read", &path)(source)
        })?;
        let wrong =
            |line: usize, problem: String| PkiError::Index { path: path.clone(), line, problem };
        let mut records = text.lines().enumerate().map(|(number, line)| {
            let record = serde_json::from_str(line)
                .map_err(|error| wrong(number + 1, format!("is no record of the index: {error}")));
            record.map(|record: Record| (number + 1, record))
        });
        let founded = match records.next() {
            Some(Ok((_, Record::Pki(founded)))) if founded.version == VERSION => founded,
            Some(Ok((_, Record::Pki(founded)))) => {
                return Err(wrong(
                    1,
                    format!("version {} of the index is not known here", founded.version),
                ));
            }
            Some(Err(error)) => return Err(error),
            _ => return Err(wrong(1, "the first line is not the record 'pki'".into())),
        };
        let records: Vec<(usize, Record)> = records.collect::<Result<_>>()?;
        let mut index = Self::new(directory, founded)?;
        for (number, record) in records {
            index.take(record).map_err(|problem| wrong(number, problem))?;
        }
        index.text = text;
        if !index.text.ends_with('\n') {
            index.text.push('\n');
        }
        Ok(index)
    }

    /// Adds records: on disk all of them or none.
    pub(super) fn add(&mut self, records: Vec<Record>) -> Result<()> {
        for record in records {
            self.text.push_str(&line(&record, &self.directory)?);
            self.take(record).map_err(PkiError::Refused)?;
        }
        self.directory.write(INDEX, self.text.as_bytes(), Readers::Owner)
    }

    fn take(&mut self, record: Record) -> std::result::Result<(), String> {
        match record {
            Record::Pki(_) => return Err("a second record 'pki'".into()),
            Record::Issued(one) => {
                if self.by_serial(one.serial).is_some() {
                    return Err(format!("serial number {} is issued a second time", one.serial));
                }
                self.places.insert(one.serial, self.issued.len());
                self.issued.push(one);
            }
            Record::Revoked(one) => {
                if self.by_serial(one.serial).is_none() {
                    return Err(format!("{} is revoked and was never issued", one.serial));
                }
                if self.revoked.contains_key(&one.serial) {
                    return Err(format!("{} is revoked a second time", one.serial));
                }
                self.revoked.insert(one.serial, one);
            }
            Record::Crl(one) => {
                let before = self.published.as_ref().map_or(0, |published| published.number);
                if one.number <= before {
                    return Err(format!("CRL number {} comes after {before}", one.number));
                }
                self.published = Some(one);
            }
        }
        Ok(())
    }

    pub(super) fn by_serial(&self, serial: Serial) -> Option<&Issued> {
        self.places.get(&serial).map(|place| &self.issued[*place])
    }

    pub(super) fn revocation(&self, serial: Serial) -> Option<&Revoked> {
        self.revoked.get(&serial)
    }

    pub(super) fn state(&self, issued: &Issued, now: Moment) -> State {
        if self.revoked.contains_key(&issued.serial) {
            State::Revoked
        } else if now > issued.not_after {
            State::Expired
        } else {
            State::Valid
        }
    }
}

fn line(record: &Record, directory: &Directory) -> Result<String> {
    let json = serde_json::to_string(record)
        .map_err(|error| PkiError::content(&directory.file(INDEX), error.to_string()))?;
    Ok(json + "\n")
}
