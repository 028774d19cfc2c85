//! What a key may be used for, as rules name it.

use std::fmt;
use std::str::FromStr;

use crate::identity::{Listed, ObjectIdentifier, shown};
use crate::policy::rule::Action;

/// A purpose of the extended key usage (RFC 5280 section 4.2.1.12), by its name or by its OID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Purpose(ObjectIdentifier);

/// The names are OpenSSL's; those of RFC 5280 that it shortens are read too.
const NAMES: [(&[u8], &str, &str); 11] = [
    (&[0x2b, 6, 1, 5, 5, 7, 3, 1], "serverAuth", ""),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 2], "clientAuth", ""),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 3], "codeSigning", ""),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 4], "emailProtection", ""),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 8], "timeStamping", ""),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 9], "OCSPSigning", ""),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 17], "ipsecIKE", ""),
    (&[0x2b, 6, 1, 5, 2, 3, 4], "pkInitClientAuth", "kerberosClientAuth"),
    (&[0x2b, 6, 1, 5, 2, 3, 5], "pkInitKDC", ""),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 2], "msSmartcardLogin", "smartcardLogon"),
    (ANY_PURPOSE, "anyExtendedKeyUsage", "any"),
];

/// anyExtendedKeyUsage.
pub(super) const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 37, 0];

/// anyPolicy (RFC 5280 section 4.2.1.4).
pub(super) const ANY_POLICY: &[u8] = &[0x55, 0x1d, 32, 0];

impl Purpose {
    /// Its OID.
    pub fn oid(&self) -> &ObjectIdentifier {
        &self.0
    }

    /// Whether a key may be used for this. To an allow rule only where it is said in so many words; to a deny rule also
    /// where nothing is said, which leaves every use open.
    pub(super) fn matches(&self, action: Action, purposes: &Listed) -> bool {
        match (action, purposes) {
            (_, Listed::These(these)) if these.contains(&self.0) => true,
            (Action::Allow, _) => false,
            (Action::Deny, purposes) => is_open(purposes),
        }
    }
}

/// Whether every use is open, or what is not could not be read.
pub(super) fn is_open(purposes: &Listed) -> bool {
    match purposes {
        Listed::Absent | Listed::Unreadable => true,
        Listed::These(these) => these.iter().any(|oid| oid == ANY_PURPOSE),
    }
}

/// Whether a certificate was issued under a policy, by what it says itself.
pub(super) fn has_policy(action: Action, policies: &Listed, policy: &ObjectIdentifier) -> bool {
    match (action, policies) {
        (_, Listed::These(these)) if these.contains(policy) => true,
        (Action::Allow, _) => false,
        (Action::Deny, policies) => has_every_policy(policies),
    }
}

/// Whether it claims every policy, or what it claims could not be read.
pub(super) fn has_every_policy(policies: &Listed) -> bool {
    match policies {
        Listed::Absent => false,
        Listed::Unreadable => true,
        Listed::These(these) => these.iter().any(|oid| oid == ANY_POLICY),
    }
}

impl FromStr for Purpose {
    type Err = PurposeError;

    fn from_str(text: &str) -> Result<Purpose, PurposeError> {
        let named = NAMES.iter().find(|(_, name, alias)| {
            name.eq_ignore_ascii_case(text) || !alias.is_empty() && alias.eq_ignore_ascii_case(text)
        });
        match named {
            Some((oid, _, _)) => Ok(Purpose((*oid).into())),
            None => text.parse().map(Purpose).map_err(|_| PurposeError { text: shown(text) }),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(oid, _, _)| *oid == self.0.as_bytes()) {
            Some((_, name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// A text that is no purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no extended key usage: write clientAuth, serverAuth, codeSigning, emailProtection or another one's OID as 1.3.6.1.5.5.7.3.2"
)]
pub struct PurposeError {
    /// The beginning of the text.
    text: String,
}
