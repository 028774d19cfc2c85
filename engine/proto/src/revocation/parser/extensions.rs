//! The extensions of a list and of its entries. What is critical and not known here is refused: the
//! list would say something that is not understood (RFC 5280 §5.2, §5.3).

use std::borrow::Cow;

use super::{CrlNumber, Only, RevocationReason, Scope};
use crate::identity::Der;
use crate::revocation::distribution;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;

const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 24];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];

type Problem = Cow<'static, str>;

const INDIRECT: Problem = Cow::Borrowed(
    "it is an indirect CRL: it speaks of certificates of other CAs than the one that signed it, which is not supported; ask the CA for a list of its own",
);

/// What stands behind the entries.
#[derive(Default)]
pub(super) struct ListExtensions {
    pub(super) number: Option<CrlNumber>,
    pub(super) base: Option<CrlNumber>,
    pub(super) authority_key: Box<[u8]>,
    pub(super) scope: Scope,
}

impl ListExtensions {
    /// From within the \[0\].
    pub(super) fn read(content: &[u8]) -> Result<Self, Problem> {
        let mut explicit = Der(content);
        let all = explicit.expect(SEQUENCE, "its extensions are malformed")?;
        explicit.end("its extensions are malformed")?;
        let mut this = Self::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        each(all, "an extension of the list is malformed", |oid, critical, value| {
            if seen.contains(&oid) {
                return Err("an extension stands in it twice".into());
            }
            seen.push(oid);
            match oid {
                CRL_NUMBER => this.number = Some(number(value, "its CRL number is malformed")?),
                DELTA_CRL_INDICATOR => {
                    this.base = Some(number(value, "its delta CRL indicator is malformed")?);
                }
                ISSUING_DISTRIBUTION_POINT => this.scope = scope(value)?,
                // Which key signed it is found out by verifying, not by what it says.
                AUTHORITY_KEY_IDENTIFIER => this.authority_key = value.into(),
                _ if critical => return Err(unknown("of the list", oid)),
                _ => {}
            }
            Ok(())
        })?;
        if this.base.is_some() && this.number.is_none() {
            return Err(
                "it is a delta without a CRL number (RFC 5280 section 5.2.3 requires it)".into()
            );
        }
        Ok(this)
    }
}

/// One revoked certificate.
pub(super) struct Entry<'a> {
    pub(super) serial: &'a [u8],
    pub(super) reason: RevocationReason,
}

impl<'a> Entry<'a> {
    pub(super) fn read(content: &'a [u8]) -> Result<Self, Problem> {
        const MALFORMED: &str = "an entry is malformed";
        let mut entry = Der(content);
        let serial = entry.expect(INTEGER, "an entry has no serial number")?.0;
        match entry.element() {
            Some((UTC_TIME | GENERALIZED_TIME, _, _)) => {}
            _ => return Err("an entry has no revocation date".into()),
        }
        let mut reason = RevocationReason::Unspecified;
        if entry.next_tag().is_some() {
            let extensions = entry.expect(SEQUENCE, MALFORMED)?;
            each(extensions, "an extension of an entry is malformed", |oid, critical, value| {
                match oid {
                    REASON_CODE => reason = self::reason(value)?,
                    INVALIDITY_DATE => {}
                    CERTIFICATE_ISSUER => return Err(INDIRECT),
                    _ if critical => return Err(unknown("of an entry", oid)),
                    _ => {}
                }
                Ok(())
            })?;
        }
        entry.end(MALFORMED)?;
        Ok(Self { serial, reason })
    }
}

fn each<'a>(
    mut extensions: Der<'a>,
    malformed: &'static str,
    mut take: impl FnMut(&'a [u8], bool, &'a [u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    while extensions.next_tag().is_some() {
        let mut extension = extensions.expect(SEQUENCE, malformed)?;
        let oid = extension.expect(OBJECT_IDENTIFIER, malformed)?.0;
        let mut critical = false;
        if extension.next_tag() == Some(BOOLEAN) {
            critical = extension.expect(BOOLEAN, malformed)?.0 != [0];
        }
        let value = extension.expect(OCTET_STRING, malformed)?.0;
        extension.end(malformed)?;
        take(oid, critical, value)?;
    }
    Ok(())
}

fn number(value: &[u8], malformed: &'static str) -> Result<CrlNumber, Problem> {
    let mut value = Der(value);
    let content = value.expect(INTEGER, malformed)?.0;
    value.end(malformed)?;
    CrlNumber::read(content).ok_or_else(|| malformed.into())
}

fn reason(value: &[u8]) -> Result<RevocationReason, Problem> {
    const MALFORMED: &str = "the reason of an entry is malformed";
    let mut value = Der(value);
    let content = value.expect(ENUMERATED, MALFORMED)?.0;
    value.end(MALFORMED)?;
    match content {
        [number] => RevocationReason::read(*number)
            .ok_or_else(|| format!("an entry has the unknown reason {number}").into()),
        _ => Err(MALFORMED.into()),
    }
}

fn scope(value: &[u8]) -> Result<Scope, Problem> {
    const MALFORMED: &str = "its issuing distribution point is malformed";
    let mut outer = Der(value);
    let mut point = outer.expect(SEQUENCE, MALFORMED)?;
    outer.end(MALFORMED)?;
    let mut scope = Scope::default();
    let mut only = Vec::new();
    let mut last = None;
    while let Some(tag) = point.next_tag() {
        if last.is_some_and(|last| last & 0x1f >= tag & 0x1f) {
            return Err(MALFORMED.into());
        }
        last = Some(tag);
        let content = point.expect(tag, MALFORMED)?.0;
        let is_true = content != [0];
        match tag {
            0xa0 => {
                scope.points = distribution::point_names(content).ok_or(
                    "the name of its issuing distribution point is malformed, or relative to the issuer, which is not supported",
                )?;
            }
            0x81 if is_true => only.push(Only::EndEntities),
            0x82 if is_true => only.push(Only::Authorities),
            0x83 => {
                return Err("it is for some reasons only (onlySomeReasons), which is not supported: a certificate revoked for another reason would come in".into());
            }
            0x84 if is_true => return Err(INDIRECT),
            0x85 if is_true => only.push(Only::Attributes),
            0x81 | 0x82 | 0x84 | 0x85 => {}
            _ => return Err(MALFORMED.into()),
        }
    }
    match only[..] {
        [] => {}
        [one] => scope.only = one,
        _ => {
            return Err("its issuing distribution point contradicts itself: it is only for two kinds of certificates at a time".into());
        }
    }
    Ok(scope)
}

fn unknown(of: &str, oid: &[u8]) -> Problem {
    format!("a critical extension {of} is not known here: {}", dotted(oid)).into()
}

/// An object identifier in its dotted form; as far as it can be read.
fn dotted(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in oid.iter().take(32) {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.extend([first, number - first * 40]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}
