//! What OpenSSL calls things, and so do HAProxy and the backends that read its headers.

use rustls::SignatureScheme;
use x509_parser::asn1_rs::Oid;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// The name of a signature scheme, as `SSL_get0_signature_name` has it; `None` for one that this engine does not use.
#[must_use]
pub(crate) fn signature_scheme_name(scheme: SignatureScheme) -> Option<&'static str> {
    use SignatureScheme as S;
    Some(match scheme {
        S::ECDSA_NISTP256_SHA256 => "ecdsa_secp256r1_sha256",
        S::ECDSA_NISTP384_SHA384 => "ecdsa_secp384r1_sha384",
        S::ECDSA_NISTP521_SHA512 => "ecdsa_secp521r1_sha512",
        S::ED25519 => "ed25519",
        S::ED448 => "ed448",
        S::RSA_PSS_SHA256 => "rsa_pss_rsae_sha256",
        S::RSA_PSS_SHA384 => "rsa_pss_rsae_sha384",
        S::RSA_PSS_SHA512 => "rsa_pss_rsae_sha512",
        S::RSA_PKCS1_SHA256 => "rsa_pkcs1_sha256",
        S::RSA_PKCS1_SHA384 => "rsa_pkcs1_sha384",
        S::RSA_PKCS1_SHA512 => "rsa_pkcs1_sha512",
        _ => return None,
    })
}

/// What an upstream may be told of a server's own certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCertificate {
    signature: Option<&'static str>,
    key: Option<KeyAlgorithm>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyAlgorithm {
    /// Bits of the modulus.
    Rsa(usize),
    /// Bits of the field.
    Ec(usize),
    Ed25519,
}

impl ServerCertificate {
    /// Out of its DER; knows nothing of one that cannot be read.
    #[must_use]
    pub fn read(der: &[u8]) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Self::default() };
        Self {
            signature: signature_name(&certificate.signature_algorithm.algorithm),
            key: KeyAlgorithm::of(&certificate),
        }
    }

    /// What it is signed with, by OpenSSL's short name (`RSA-SHA256`, `ecdsa-with-SHA384`).
    #[must_use]
    pub fn signature_name(&self) -> Option<&'static str> {
        self.signature
    }

    /// The algorithm and the size of its key, as HAProxy writes them (`RSA2048`, `EC256`).
    #[must_use]
    pub fn key_name(&self) -> Option<String> {
        Some(match self.key? {
            KeyAlgorithm::Rsa(bits) => format!("RSA{bits}"),
            KeyAlgorithm::Ec(bits) => format!("EC{bits}"),
            // HAProxy has no name for it; this is OpenSSL's.
            KeyAlgorithm::Ed25519 => "ED25519".to_owned(),
        })
    }
}

impl KeyAlgorithm {
    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let spki = certificate.public_key();
        if spki.algorithm.algorithm.to_id_string() == "1.3.101.112" {
            return Some(Self::Ed25519);
        }
        match spki.parsed().ok()? {
            PublicKey::RSA(key) => Some(Self::Rsa(key.key_size())),
            PublicKey::EC(_) => {
                let curve = spki.algorithm.parameters.as_ref()?.as_oid().ok()?;
                Some(Self::Ec(match curve.to_id_string().as_str() {
                    "1.2.840.10045.3.1.7" => 256,
                    "1.3.132.0.34" => 384,
                    "1.3.132.0.35" => 521,
                    _ => return None,
                }))
            }
            _ => None,
        }
    }
}

/// OpenSSL's short name of a certificate's signatureAlgorithm.
fn signature_name(oid: &Oid<'_>) -> Option<&'static str> {
    Some(match oid.to_id_string().as_str() {
        "1.2.840.113549.1.1.5" => "RSA-SHA1",
        "1.2.840.113549.1.1.11" => "RSA-SHA256",
        "1.2.840.113549.1.1.12" => "RSA-SHA384",
        "1.2.840.113549.1.1.13" => "RSA-SHA512",
        "1.2.840.113549.1.1.14" => "RSA-SHA224",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.1" => "ecdsa-with-SHA224",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.3.101.112" => "ED25519",
        "1.3.101.113" => "ED448",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
        PKCS_ED25519, PKCS_RSA_SHA256, PKCS_RSA_SHA384, SignatureAlgorithm,
    };

    use super::*;

    fn names(
        issued_by: &'static SignatureAlgorithm,
        key: &'static SignatureAlgorithm,
    ) -> (Option<&'static str>, Option<String>) {
        let generate = |algorithm| KeyPair::generate_for(algorithm).expect("a key");
        let issuer = Issuer::new(CertificateParams::default(), generate(issued_by));
        let certificate = CertificateParams::default().signed_by(&generate(key), &issuer);
        let certificate = ServerCertificate::read(certificate.expect("a certificate").der());
        (certificate.signature_name(), certificate.key_name())
    }

    #[test]
    fn signature_and_key_are_told_apart() {
        for (issued_by, key, signature, name) in [
            (&PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P256_SHA256, "ecdsa-with-SHA384", "EC256"),
            (&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, "ecdsa-with-SHA256", "EC384"),
            (&PKCS_ED25519, &PKCS_RSA_SHA256, "ED25519", "RSA2048"),
            (&PKCS_RSA_SHA384, &PKCS_ED25519, "RSA-SHA384", "ED25519"),
        ] {
            assert_eq!(names(issued_by, key), (Some(signature), Some(name.to_owned())));
        }
    }

    #[test]
    fn of_what_is_no_certificate_nothing_is_known() {
        let nothing = ServerCertificate::read(b"no certificate");
        assert_eq!((nothing.signature_name(), nothing.key_name()), (None, None));
    }
}
