//! Kinds of keys, as rules name them.

use std::fmt;
use std::str::FromStr;

use crate::identity::{KeyKind, shown};
use crate::policy::bound::Relation;
use crate::policy::rule::Action;

/// The kind of a certificate's key, perhaps with its size: `ec-p256`, `rsa`, `rsa>=3072`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyPattern {
    /// `rsa`, of whatever size.
    Rsa,
    /// `rsa>=3072`: RSA with a modulus of so many bits.
    RsaBits(Relation, u32),
    /// `ec`: any elliptic curve of RFC 5480.
    Ec,
    /// `ec-p256`
    EcP256,
    /// `ec-p384`
    EcP384,
    /// `ec-p521`
    EcP521,
    /// `ed25519`
    Ed25519,
    /// `ed448`
    Ed448,
}

const NAMES: [(&str, KeyPattern); 7] = [
    ("rsa", KeyPattern::Rsa),
    ("ec", KeyPattern::Ec),
    ("ec-p256", KeyPattern::EcP256),
    ("ec-p384", KeyPattern::EcP384),
    ("ec-p521", KeyPattern::EcP521),
    ("ed25519", KeyPattern::Ed25519),
    ("ed448", KeyPattern::Ed448),
];

impl KeyPattern {
    /// Whether a key is of this kind. One of a kind that we do not know is of none to an allow rule and of each to a
    /// deny rule.
    pub fn matches(self, action: Action, key: KeyKind) -> bool {
        match (self, key) {
            (_, KeyKind::Unknown) => action == Action::Deny,
            (KeyPattern::RsaBits(relation, bound), KeyKind::Rsa { bits }) => {
                relation.holds(bits.into(), bound.into())
            }
            _ => KeyPattern::of(key).contains(&Some(self)),
        }
    }

    /// The patterns without a size that a key fits.
    pub(super) fn of(key: KeyKind) -> [Option<KeyPattern>; 2] {
        match key {
            KeyKind::Rsa { .. } => [Some(KeyPattern::Rsa), None],
            KeyKind::EcP256 => [Some(KeyPattern::Ec), Some(KeyPattern::EcP256)],
            KeyKind::EcP384 => [Some(KeyPattern::Ec), Some(KeyPattern::EcP384)],
            KeyKind::EcP521 => [Some(KeyPattern::Ec), Some(KeyPattern::EcP521)],
            KeyKind::EcOther => [Some(KeyPattern::Ec), None],
            KeyKind::Ed25519 => [Some(KeyPattern::Ed25519), None],
            KeyKind::Ed448 => [Some(KeyPattern::Ed448), None],
            KeyKind::Unknown => [None, None],
        }
    }
}

impl FromStr for KeyPattern {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<KeyPattern, KeyError> {
        if let Some((_, pattern)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*pattern);
        }
        let refused = || KeyError { text: shown(text) };
        let (relation, bits) =
            text.strip_prefix("rsa").and_then(Relation::read).ok_or_else(refused)?;
        let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.parse().ok().filter(|_| is_number).ok_or_else(refused)?;
        Ok(KeyPattern::RsaBits(relation, bits))
    }
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let KeyPattern::RsaBits(relation, bits) = self {
            return write!(f, "rsa{relation}{bits}");
        }
        let name = NAMES.iter().find(|(_, pattern)| pattern == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// A text that is no kind of key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no kind of key: write ec-p256, ec-p384, ec-p521, ec (any curve), ed25519, ed448, rsa, or rsa with its bits as rsa>=3072"
)]
pub struct KeyError {
    /// The beginning of the text.
    text: String,
}
