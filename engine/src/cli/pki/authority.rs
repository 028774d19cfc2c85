//! A certification authority: what it puts into certificates and revocation lists, and its signature.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList,
    CertificateRevocationListParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SerialNumber,
    SigningKey,
};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_X509_COMMON_NAME;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::{PkiError, Result};
use super::key::{CaKey, CaSigning};
use super::moment::{Lifetime, Moment};
use super::names::Names;
use super::serial::Serial;

/// Intermediates below the root; none below the intermediate.
const INTERMEDIATES: u8 = 1;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Root,
    Intermediate,
    Server,
    Client,
    Spiffe,
}

impl Kind {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
            Self::Server => "server",
            Self::Client => "client",
            Self::Spiffe => "spiffe",
        }
    }

    pub(super) fn is_authority(self) -> bool {
        matches!(self, Self::Root | Self::Intermediate)
    }

    fn purposes(self) -> Vec<ExtendedKeyUsagePurpose> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        match self {
            Self::Root | Self::Intermediate => Vec::new(),
            Self::Server => vec![ServerAuth],
            Self::Client => vec![ClientAuth],
            // X509-SVID §4.4: a workload is both.
            Self::Spiffe => vec![ServerAuth, ClientAuth],
        }
    }
}

/// What one certificate says beside its key.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(super) serial: Serial,
    pub(super) kind: Kind,
    pub(super) names: Names,
    pub(super) not_before: Moment,
    pub(super) not_after: Moment,
}

impl Content {
    /// For a certificate that lives from `now` on, with a serial number of its own.
    pub(crate) fn new(kind: Kind, names: Names, now: Moment, lifetime: Lifetime) -> Result<Self> {
        Ok(Self {
            serial: Serial::random()?,
            kind,
            names,
            not_before: now.backdated(),
            not_after: now.plus(lifetime),
        })
    }

    /// For the root or the intermediate of the PKI of that name.
    pub(crate) fn of_authority(
        kind: Kind,
        name: &str,
        now: Moment,
        lifetime: Lifetime,
    ) -> Result<Self> {
        let names = Names { cn: Some(format!("{name} {}", kind.label())), ..Names::default() };
        Self::new(kind, names, now, lifetime)
    }

    fn params(&self) -> Result<CertificateParams> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(self.serial.number());
        params.distinguished_name = self.names.subject();
        params.subject_alt_names =
            self.names.alternative().map_err(PkiError::crypto("write the names"))?;
        params.not_before = self.not_before.date_time();
        params.not_after = self.not_after.date_time();
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = self.kind.purposes();
        let (is_ca, usages) = match self.kind {
            Kind::Root => (authority(INTERMEDIATES), of_authority()),
            Kind::Intermediate => (authority(0), of_authority()),
            _ => (IsCa::ExplicitNoCa, vec![KeyUsagePurpose::DigitalSignature]),
        };
        params.is_ca = is_ca;
        params.key_usages = usages;
        Ok(params)
    }
}

fn authority(path_length: u8) -> IsCa {
    IsCa::Ca(BasicConstraints::Constrained(path_length))
}

fn of_authority() -> Vec<KeyUsagePurpose> {
    vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
}

/// A CA's certificate and its key.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    /// As much of the certificate as rcgen wants to know of an issuer.
    params: CertificateParams,
    key: CaKey,
    not_after: Moment,
}

impl Authority {
    /// A root, signed by itself.
    pub(crate) fn root(content: &Content, key: CaKey) -> Result<Self> {
        let certificate =
            content.params()?.self_signed(&&*key).map_err(failed(&*key, "sign the root"))?;
        Self::new(certificate.into(), key).map_err(PkiError::Refused)
    }

    /// An intermediate below this one.
    pub(crate) fn intermediate(&self, content: &Content, key: CaKey) -> Result<Self> {
        let certificate = self.sign(content, &&*key)?;
        Self::new(certificate, key).map_err(PkiError::Refused)
    }

    /// A CA that was made before. Says what is wrong where the two do not belong together.
    pub(super) fn new(
        certificate: CertificateDer<'static>,
        key: CaKey,
    ) -> std::result::Result<Self, String> {
        let (params, not_after) = {
            let (_, parsed) = X509Certificate::from_der(&certificate)
                .map_err(|error| format!("cannot be parsed: {error}"))?;
            if parsed.public_key().raw != key.subject_public_key_info() {
                return Err(
                    "does not belong to the CA's key: the key is another certificate's".into()
                );
            }
            let after = Moment::from_timestamp(parsed.validity().not_after.timestamp());
            (issuer(&parsed)?, after.ok_or("ends at no time that a calendar has")?)
        };
        Ok(Self { certificate, params, key, not_after })
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) fn not_after(&self) -> Moment {
        self.not_after
    }

    /// Signs a certificate.
    pub(crate) fn sign(
        &self,
        content: &Content,
        public_key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>> {
        let signed = content.params()?.signed_by(public_key, &self.issuer());
        Ok(signed.map_err(failed(&*self.key, "sign the certificate"))?.into())
    }

    /// Signs a complete CRL of these certificates (RFC 5280 §5).
    pub(super) fn sign_revocations(
        &self,
        number: u64,
        this_update: Moment,
        next_update: Moment,
        revoked: Vec<RevokedCertParams>,
    ) -> Result<CertificateRevocationList> {
        let params = CertificateRevocationListParams {
            this_update: this_update.date_time(),
            next_update: next_update.date_time(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: self.params.key_identifier_method.clone(),
        };
        params.signed_by(&self.issuer()).map_err(failed(&*self.key, "sign the CRL"))
    }

    fn issuer(&self) -> Issuer<'_, &dyn SigningKey> {
        Issuer::from_params(&self.params, &*self.key)
    }
}

/// For `map_err` where a CA's key was to sign.
fn failed<'a>(
    key: &'a dyn CaSigning,
    doing: &'static str,
) -> impl FnOnce(rcgen::Error) -> PkiError + 'a {
    move |error| PkiError::Crypto {
        doing,
        problem: key.problem().unwrap_or_else(|| error.to_string()),
    }
}

/// What certificates below this one repeat of it. rcgen writes a name anew: one that it would write in
/// other bytes would lead nowhere, so only names as [`Names::subject`] makes them for a CA are taken.
fn issuer(certificate: &X509Certificate<'_>) -> std::result::Result<CertificateParams, String> {
    let attributes: Vec<_> = certificate.subject().iter_attributes().collect();
    let name = match attributes[..] {
        [one]
            if *one.attr_type() == OID_X509_COMMON_NAME
                && one.attr_value().tag() == Tag::Utf8String =>
        {
            one.as_str().map_err(|error| format!("its subject cannot be read: {error}"))?
        }
        _ => return Err(
            "was not made by `countersign pki init`: its subject is no single common name in UTF-8"
                .into(),
        ),
    };
    let identifier = certificate.iter_extensions().find_map(|one| match one.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
        _ => None,
    });
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_identifier_method =
        KeyIdMethod::PreSpecified(identifier.ok_or("has no subject key identifier")?);
    params.key_usages = of_authority();
    Ok(params)
}
