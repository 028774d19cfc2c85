//! Why a connection ended, who is to blame, and what either side is told.
//!
//! One mapping to the alert, one to the metric label. A client learns nothing beyond the alert; the
//! operator learns the reason and its detail.

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

/// Whose fault an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client.
    Peer,
    /// What stands behind us.
    Upstream,
    /// What keeps the private key.
    Token,
    /// A limit of ours, or the operator's wish to stop.
    Limit,
    /// This program.
    Bug,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $blame:ident, $alert:expr;)*) => {
        /// Why a connection was refused or ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name in metrics and logs.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self { $(Self::$name => Blame::$blame,)* }
            }

            /// The alert that the engine itself sends while it still may in plaintext; `None` where
            /// the client gets no alert. Once the handshake is encrypted rustls chooses: the same
            /// one for what the client did wrong, handshake_failure for what failed on our side.
            #[must_use]
            pub const fn alert(self) -> Option<AlertDescription> {
                match self { $(Self::$name => $alert,)* }
            }
        }
    };
}

use AlertDescription as Alert;

reasons! {
    /// A balancer that has to say on whose behalf it connects has not: the PROXY header is missing or malformed.
    ProxyHeader = "proxy_header", Peer, None;
    /// The ClientHello is larger than the limit.
    ClientHelloTooLarge = "client_hello_too_large", Peer, Some(Alert::DecodeError);
    /// What arrived is not TLS, or TLS that cannot be parsed or decrypted.
    MalformedMessage = "malformed_message", Peer, Some(Alert::DecodeError);
    /// The client asked for a server name that no identity answers to (RFC 6066 §3).
    UnknownServerName = "unknown_server_name", Peer, Some(Alert::UnrecognisedName);
    /// No application protocol in common (RFC 7301 §3.2).
    NoApplicationProtocol = "no_application_protocol", Peer, Some(Alert::NoApplicationProtocol);
    /// The client speaks no version that we do.
    ProtocolVersion = "protocol_version", Peer, Some(Alert::ProtocolVersion);
    /// No suite, group, signature scheme or extension in common.
    NothingInCommon = "nothing_in_common", Peer, Some(Alert::HandshakeFailure);
    /// The client broke the protocol.
    ProtocolViolation = "protocol_violation", Peer, Some(Alert::UnexpectedMessage);
    /// No client certificate where one is required.
    ClientCertificateMissing = "client_certificate_missing", Peer, Some(Alert::CertificateRequired);
    /// A certificate of the path has expired.
    ClientCertificateExpired = "client_certificate_expired", Peer, Some(Alert::CertificateExpired);
    /// A certificate of the path is not valid yet.
    ClientCertificateNotYetValid = "client_certificate_not_yet_valid", Peer, Some(Alert::CertificateExpired);
    /// No path to a trust anchor: another CA, or an intermediate that the client did not send.
    UnknownIssuer = "unknown_issuer", Peer, Some(Alert::UnknownCA);
    /// Extended key usage does not allow clientAuth.
    ClientCertificatePurpose = "client_certificate_purpose", Peer, Some(Alert::UnsupportedCertificate);
    /// Key usage forbids what the certificate was used for (RFC 5280 §4.2.1.3).
    ClientCertificateKeyUsage = "client_certificate_key_usage", Peer, Some(Alert::CertificateUnknown);
    /// More certificates, or more bytes of them, than the limit.
    ClientChainTooLarge = "client_chain_too_large", Peer, Some(Alert::CertificateUnknown);
    /// A certificate cannot be parsed.
    ClientCertificateMalformed = "client_certificate_malformed", Peer, Some(Alert::BadCertificate);
    /// A signature in the path is wrong.
    ClientCertificateBadSignature = "client_certificate_bad_signature", Peer, Some(Alert::DecryptError);
    /// Another rule of path validation is broken.
    ClientCertificateInvalid = "client_certificate_invalid", Peer, Some(Alert::CertificateUnknown);
    /// A certificate of the path is on its CA's revocation list (RFC 5280 §5), or OCSP says that it is
    /// revoked.
    ClientCertificateRevoked = "client_certificate_revoked", Peer, Some(Alert::CertificateRevoked);
    /// No revocation list speaks for a certificate of the path, and policy wants one; or the OCSP responder
    /// does not know it.
    RevocationUnknown = "revocation_unknown", Limit, Some(Alert::CertificateUnknown);
    /// The revocation list that speaks for a certificate of the path is out of date.
    RevocationListExpired = "revocation_list_expired", Limit, Some(Alert::CertificateUnknown);
    /// No OCSP responder gave an answer that holds, and policy wants one.
    RevocationNotAnswered = "revocation_not_answered", Limit, Some(Alert::CertificateUnknown);
    /// The client could not prove possession of its certificate's key.
    PossessionNotProven = "possession_not_proven", Peer, Some(Alert::DecryptError);
    /// Verified, but no rule lets it in or a rule keeps it out.
    DeniedByRule = "denied_by_rule", Peer, Some(Alert::AccessDenied);
    /// It was let in, and by the policy of now it would not be.
    ClientNoLongerAllowed = "client_no_longer_allowed", Limit, None;
    /// It was let in, and the CA that its path leads to is not trusted any more.
    ClientCaNoLongerTrusted = "client_ca_no_longer_trusted", Limit, None;
    /// The handshake took too long.
    HandshakeTimeout = "handshake_timeout", Peer, Some(Alert::HandshakeFailure);
    /// The client's connection broke.
    ClientReset = "client_reset", Peer, None;
    /// The client closed in the middle of the handshake.
    ClientClosed = "client_closed", Peer, None;
    /// The client refused us with an alert.
    ClientAlert = "client_alert", Peer, None;
    /// The client's data ended without close_notify (RFC 9846 §6.1): it may be cut short.
    ClientTruncated = "client_truncated", Peer, None;
    /// Neither side sent anything for too long.
    IdleTimeout = "idle_timeout", Peer, None;
    /// The upstream could not be reached.
    UpstreamConnectFailed = "upstream_connect_failed", Upstream, None;
    /// The upstream did not answer in time.
    UpstreamConnectTimeout = "upstream_connect_timeout", Upstream, None;
    /// The upstream's connection broke.
    UpstreamReset = "upstream_reset", Upstream, None;
    /// The private-key operation failed.
    SigningFailed = "signing_failed", Token, Some(Alert::InternalError);
    /// The token with the key cannot be reached, or does not do what it is told.
    TokenUnavailable = "token_unavailable", Token, Some(Alert::InternalError);
    /// As many operations wait for the token as may.
    TokenBusy = "token_busy", Token, Some(Alert::InternalError);
    /// The token gave a signature that does not hold; it was not sent.
    TokenWrongSignature = "token_wrong_signature", Token, Some(Alert::InternalError);
    /// A suspended operation did not come back in time.
    OperationTimeout = "operation_timeout", Token, Some(Alert::InternalError);
    /// Too many handshakes are suspended already.
    SuspensionsExhausted = "suspensions_exhausted", Limit, Some(Alert::InternalError);
    /// The engine stops and the connection did not end by itself in time.
    Stopped = "stopped", Limit, None;
    /// No room for the connection to the upstream.
    ConnectionTableFull = "connection_table_full", Limit, None;
    /// So much was sent under one key that more would weaken it, and the version cannot change keys.
    KeyExhausted = "key_exhausted", Limit, None;
    /// A fault of this program; please report it.
    Internal = "internal", Bug, Some(Alert::InternalError);
}

/// In TLS 1.2 rustls has no other error for a client that takes signatures of our key's kind, and none that it makes
/// (`rustls::server::tls12`, `emit_server_kx`). A test notices when the words change.
const NO_SCHEME_OF_OUR_KEY: &str = "incompatible signing key";

impl Reason {
    /// The reason behind an error that rustls met while it processed what the client sent. What the
    /// verifier refused it has reported itself, with more detail than fits into rustls' error.
    #[must_use]
    pub fn of(error: &rustls::Error) -> Self {
        use rustls::Error as E;
        match error {
            E::NoCertificatesPresented => Self::ClientCertificateMissing,
            E::InvalidCertificate(error) => Self::of_certificate(error),
            E::InvalidMessage(_) | E::DecryptError | E::PeerSentOversizedRecord => {
                Self::MalformedMessage
            }
            E::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            ) => Self::ProtocolVersion,
            E::NoApplicationProtocol => Self::NoApplicationProtocol,
            E::PeerIncompatible(_) => Self::NothingInCommon,
            E::PeerMisbehaved(_)
            | E::InappropriateMessage { .. }
            | E::InappropriateHandshakeMessage { .. } => Self::ProtocolViolation,
            E::AlertReceived(_) => Self::ClientAlert,
            E::General(words) if words == NO_SCHEME_OF_OUR_KEY => Self::NothingInCommon,
            _ => Self::Internal,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => Self::ClientCertificateExpired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::ClientCertificateNotYetValid,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::ClientCertificatePurpose,
            E::BadEncoding => Self::ClientCertificateMalformed,
            E::Revoked => Self::ClientCertificateRevoked,
            E::BadSignature => Self::PossessionNotProven,
            E::ApplicationVerificationFailure => Self::DeniedByRule,
            _ => Self::ClientCertificateInvalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_fit_for_metrics() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            let label = reason.label();
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{label}");
            assert!(seen.insert(label), "{label} stands twice");
        }
    }

    #[test]
    fn only_peers_limits_and_tokens_have_alerts_of_their_own_kind() {
        for reason in Reason::ALL {
            let internal = reason.alert() == Some(AlertDescription::InternalError);
            if reason.blame() == Blame::Peer {
                assert!(!internal, "{reason:?} blames the peer and says internal_error");
            }
        }
    }
}
