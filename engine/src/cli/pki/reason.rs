//! Why a certificate was revoked.

use clap::ValueEnum;
use rcgen::RevocationReason;
use serde::{Deserialize, Serialize};

/// RFC 5280 §5.3.1, by its names. Not `certificateHold` and `removeFromCRL`: what is revoked here stays so;
/// nor `aACompromise`, which is about attribute certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[value(rename_all = "camelCase")]
pub(super) enum Reason {
    /// no reason given
    Unspecified,
    /// somebody else has, or may have, the key
    KeyCompromise,
    /// the same, for a CA
    #[serde(rename = "cACompromise")]
    #[value(name = "cACompromise")]
    CaCompromise,
    /// its names are no longer right
    AffiliationChanged,
    /// another certificate has taken its place
    Superseded,
    /// it is no longer needed
    CessationOfOperation,
    /// its subject may no longer do what it allowed
    PrivilegeWithdrawn,
}

impl Reason {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }

    pub(super) fn code(self) -> RevocationReason {
        match self {
            Self::Unspecified => RevocationReason::Unspecified,
            Self::KeyCompromise => RevocationReason::KeyCompromise,
            Self::CaCompromise => RevocationReason::CaCompromise,
            Self::AffiliationChanged => RevocationReason::AffiliationChanged,
            Self::Superseded => RevocationReason::Superseded,
            Self::CessationOfOperation => RevocationReason::CessationOfOperation,
            Self::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
        }
    }
}
