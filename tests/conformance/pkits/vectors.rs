//! The suite's table: what each test shows, and what it says.

/// One test of the suite.
pub(crate) struct Vector {
    /// As the suite's document counts.
    pub(crate) number: &'static str,
    pub(crate) end_entity: &'static str,
    /// The CAs, from the anchor down, with those that only sign revocation lists.
    pub(crate) authorities: &'static [&'static str],
    /// Revocation lists that it brings; empty where it is not about them.
    pub(crate) lists: &'static [&'static str],
    pub(crate) says: Says,
}

/// What the suite says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Valid,
    Invalid,
    /// Valid with its lists.
    ValidByLists,
    /// The path would hold; the lists revoke it, or say nothing that can be relied on.
    InvalidByLists,
}

impl Says {
    pub(crate) fn is_for_revocation(self) -> bool {
        matches!(self, Self::ValidByLists | Self::InvalidByLists)
    }
}

const fn vector(
    number: &'static str,
    end_entity: &'static str,
    authorities: &'static [&'static str],
    lists: &'static [&'static str],
    says: Says,
) -> Vector {
    Vector { number, end_entity, authorities, lists, says }
}

use Says::{Invalid, InvalidByLists, Valid, ValidByLists};

/// In the order of the document.
#[rustfmt::skip]
pub(crate) const VECTORS: &[Vector] = &[
    vector("4.1.1", "ValidCertificatePathTest1EE", &["GoodCACert"], &[], Valid),
    vector("4.1.2", "InvalidCASignatureTest2EE", &["BadSignedCACert"], &[], Invalid),
    vector("4.1.3", "InvalidEESignatureTest3EE", &["GoodCACert"], &[], Invalid),
    vector("4.1.4", "ValidDSASignaturesTest4EE", &["DSACACert"], &[], Valid),
    vector("4.1.5", "ValidDSAParameterInheritanceTest5EE", &["DSACACert", "DSAParametersInheritedCACert"], &[], Valid),
    vector("4.1.6", "InvalidDSASignatureTest6EE", &["DSACACert"], &[], Invalid),
    vector("4.2.1", "InvalidCAnotBeforeDateTest1EE", &["BadnotBeforeDateCACert"], &[], Invalid),
    vector("4.2.2", "InvalidEEnotBeforeDateTest2EE", &["GoodCACert"], &[], Invalid),
    vector("4.2.3", "Validpre2000UTCnotBeforeDateTest3EE", &["GoodCACert"], &[], Valid),
    vector("4.2.4", "ValidGeneralizedTimenotBeforeDateTest4EE", &["GoodCACert"], &[], Valid),
    vector("4.2.5", "InvalidCAnotAfterDateTest5EE", &["BadnotAfterDateCACert"], &[], Invalid),
    vector("4.2.6", "InvalidEEnotAfterDateTest6EE", &["GoodCACert"], &[], Invalid),
    vector("4.2.7", "Invalidpre2000UTCEEnotAfterDateTest7EE", &["GoodCACert"], &[], Invalid),
    vector("4.2.8", "ValidGeneralizedTimenotAfterDateTest8EE", &["GoodCACert"], &[], Valid),
    vector("4.3.1", "InvalidNameChainingTest1EE", &["GoodCACert"], &[], Invalid),
    vector("4.3.2", "InvalidNameChainingOrderTest2EE", &["NameOrderingCACert"], &[], Invalid),
    vector("4.3.3", "ValidNameChainingWhitespaceTest3EE", &["GoodCACert"], &[], Valid),
    vector("4.3.4", "ValidNameChainingWhitespaceTest4EE", &["GoodCACert"], &[], Valid),
    vector("4.3.5", "ValidNameChainingCapitalizationTest5EE", &["GoodCACert"], &[], Valid),
    vector("4.3.6", "ValidNameUIDsTest6EE", &["UIDCACert"], &[], Valid),
    vector("4.3.7", "ValidRFC3280MandatoryAttributeTypesTest7EE", &["RFC3280MandatoryAttributeTypesCACert"], &[], Valid),
    vector("4.3.8", "ValidRFC3280OptionalAttributeTypesTest8EE", &["RFC3280OptionalAttributeTypesCACert"], &[], Valid),
    vector("4.3.9", "ValidUTF8StringEncodedNamesTest9EE", &["UTF8StringEncodedNamesCACert"], &[], Valid),
    vector("4.3.10", "ValidRolloverfromPrintableStringtoUTF8StringTest10EE", &["RolloverfromPrintableStringtoUTF8StringCACert"], &[], Valid),
    vector("4.3.11", "ValidUTF8StringCaseInsensitiveMatchTest11EE", &["UTF8StringCaseInsensitiveMatchCACert"], &[], Valid),
    vector("4.4.1", "InvalidMissingCRLTest1EE", &["NoCRLCACert"], &["TrustAnchorRootCRL"], InvalidByLists),
    vector("4.4.2", "InvalidRevokedCATest2EE", &["GoodCACert", "RevokedsubCACert"], &["TrustAnchorRootCRL", "GoodCACRL", "RevokedsubCACRL"], InvalidByLists),
    vector("4.4.3", "InvalidRevokedEETest3EE", &["GoodCACert"], &["TrustAnchorRootCRL", "GoodCACRL"], InvalidByLists),
    vector("4.4.4", "InvalidBadCRLSignatureTest4EE", &["BadCRLSignatureCACert"], &["TrustAnchorRootCRL", "BadCRLSignatureCACRL"], InvalidByLists),
    vector("4.4.5", "InvalidBadCRLIssuerNameTest5EE", &["BadCRLIssuerNameCACert"], &["TrustAnchorRootCRL", "BadCRLIssuerNameCACRL"], InvalidByLists),
    vector("4.4.6", "InvalidWrongCRLTest6EE", &["WrongCRLCACert"], &["TrustAnchorRootCRL", "WrongCRLCACRL"], InvalidByLists),
    vector("4.4.7", "ValidTwoCRLsTest7EE", &["TwoCRLsCACert"], &["TrustAnchorRootCRL", "TwoCRLsCAGoodCRL", "TwoCRLsCABadCRL"], ValidByLists),
    vector("4.4.8", "InvalidUnknownCRLEntryExtensionTest8EE", &["UnknownCRLEntryExtensionCACert"], &["TrustAnchorRootCRL", "UnknownCRLEntryExtensionCACRL"], InvalidByLists),
    vector("4.4.9", "InvalidUnknownCRLExtensionTest9EE", &["UnknownCRLExtensionCACert"], &["TrustAnchorRootCRL", "UnknownCRLExtensionCACRL"], InvalidByLists),
    vector("4.4.10", "InvalidUnknownCRLExtensionTest10EE", &["UnknownCRLExtensionCACert"], &["TrustAnchorRootCRL", "UnknownCRLExtensionCACRL"], InvalidByLists),
    vector("4.4.11", "InvalidOldCRLnextUpdateTest11EE", &["OldCRLnextUpdateCACert"], &["TrustAnchorRootCRL", "OldCRLnextUpdateCACRL"], InvalidByLists),
    vector("4.4.12", "Invalidpre2000CRLnextUpdateTest12EE", &["pre2000CRLnextUpdateCACert"], &["TrustAnchorRootCRL", "pre2000CRLnextUpdateCACRL"], InvalidByLists),
    vector("4.4.13", "ValidGeneralizedTimeCRLnextUpdateTest13EE", &["GeneralizedTimeCRLnextUpdateCACert"], &["TrustAnchorRootCRL", "GeneralizedTimeCRLnextUpdateCACRL"], ValidByLists),
    vector("4.4.14", "ValidNegativeSerialNumberTest14EE", &["NegativeSerialNumberCACert"], &["TrustAnchorRootCRL", "NegativeSerialNumberCACRL"], ValidByLists),
    vector("4.4.15", "InvalidNegativeSerialNumberTest15EE", &["NegativeSerialNumberCACert"], &["TrustAnchorRootCRL", "NegativeSerialNumberCACRL"], InvalidByLists),
    vector("4.4.16", "ValidLongSerialNumberTest16EE", &["LongSerialNumberCACert"], &["TrustAnchorRootCRL", "LongSerialNumberCACRL"], ValidByLists),
    vector("4.4.17", "ValidLongSerialNumberTest17EE", &["LongSerialNumberCACert"], &["TrustAnchorRootCRL", "LongSerialNumberCACRL"], ValidByLists),
    vector("4.4.18", "InvalidLongSerialNumberTest18EE", &["LongSerialNumberCACert"], &["TrustAnchorRootCRL", "LongSerialNumberCACRL"], InvalidByLists),
    vector("4.4.19", "ValidSeparateCertificateandCRLKeysTest19EE", &["SeparateCertificateandCRLKeysCRLSigningCert", "SeparateCertificateandCRLKeysCertificateSigningCACert"], &["TrustAnchorRootCRL", "SeparateCertificateandCRLKeysCRL"], ValidByLists),
    vector("4.4.20", "InvalidSeparateCertificateandCRLKeysTest20EE", &["SeparateCertificateandCRLKeysCRLSigningCert", "SeparateCertificateandCRLKeysCertificateSigningCACert"], &["TrustAnchorRootCRL", "SeparateCertificateandCRLKeysCRL"], InvalidByLists),
    vector("4.4.21", "InvalidSeparateCertificateandCRLKeysTest21EE", &["SeparateCertificateandCRLKeysCA2CRLSigningCert", "SeparateCertificateandCRLKeysCA2CertificateSigningCACert"], &["TrustAnchorRootCRL", "SeparateCertificateandCRLKeysCA2CRL"], InvalidByLists),
    vector("4.5.1", "ValidBasicSelfIssuedOldWithNewTest1EE", &["BasicSelfIssuedNewKeyCACert", "BasicSelfIssuedNewKeyOldWithNewCACert"], &[], Valid),
    vector("4.5.3", "ValidBasicSelfIssuedNewWithOldTest3EE", &["BasicSelfIssuedOldKeyCACert", "BasicSelfIssuedOldKeyNewWithOldCACert"], &[], Valid),
    vector("4.5.4", "ValidBasicSelfIssuedNewWithOldTest4EE", &["BasicSelfIssuedOldKeyCACert", "BasicSelfIssuedOldKeyNewWithOldCACert"], &[], Valid),
    vector("4.5.6", "ValidBasicSelfIssuedCRLSigningKeyTest6EE", &["BasicSelfIssuedCRLSigningKeyCACert", "BasicSelfIssuedCRLSigningKeyCRLCert"], &[], Valid),
    vector("4.5.8", "InvalidBasicSelfIssuedCRLSigningKeyTest8EE", &["BasicSelfIssuedCRLSigningKeyCACert", "BasicSelfIssuedCRLSigningKeyCRLCert"], &[], Invalid),
    vector("4.6.1", "InvalidMissingbasicConstraintsTest1EE", &["MissingbasicConstraintsCACert"], &[], Invalid),
    vector("4.6.2", "InvalidcAFalseTest2EE", &["basicConstraintsCriticalcAFalseCACert"], &[], Invalid),
    vector("4.6.3", "InvalidcAFalseTest3EE", &["basicConstraintsNotCriticalcAFalseCACert"], &[], Invalid),
    vector("4.6.4", "ValidbasicConstraintsNotCriticalTest4EE", &["basicConstraintsNotCriticalCACert"], &[], Valid),
    vector("4.6.5", "InvalidpathLenConstraintTest5EE", &["pathLenConstraint0CACert", "pathLenConstraint0subCACert"], &[], Invalid),
    vector("4.6.6", "InvalidpathLenConstraintTest6EE", &["pathLenConstraint0CACert", "pathLenConstraint0subCACert"], &[], Invalid),
    vector("4.6.7", "ValidpathLenConstraintTest7EE", &["pathLenConstraint0CACert"], &[], Valid),
    vector("4.6.8", "ValidpathLenConstraintTest8EE", &["pathLenConstraint0CACert"], &[], Valid),
    vector("4.6.9", "InvalidpathLenConstraintTest9EE", &["pathLenConstraint6CACert", "pathLenConstraint6subCA0Cert", "pathLenConstraint6subsubCA00Cert"], &[], Invalid),
    vector("4.6.10", "InvalidpathLenConstraintTest10EE", &["pathLenConstraint6CACert", "pathLenConstraint6subCA0Cert", "pathLenConstraint6subsubCA00Cert"], &[], Invalid),
    vector("4.6.11", "InvalidpathLenConstraintTest11EE", &["pathLenConstraint6CACert", "pathLenConstraint6subCA1Cert", "pathLenConstraint6subsubCA11Cert", "pathLenConstraint6subsubsubCA11XCert"], &[], Invalid),
    vector("4.6.12", "InvalidpathLenConstraintTest12EE", &["pathLenConstraint6CACert", "pathLenConstraint6subCA1Cert", "pathLenConstraint6subsubCA11Cert", "pathLenConstraint6subsubsubCA11XCert"], &[], Invalid),
    vector("4.6.13", "ValidpathLenConstraintTest13EE", &["pathLenConstraint6CACert", "pathLenConstraint6subCA4Cert", "pathLenConstraint6subsubCA41Cert", "pathLenConstraint6subsubsubCA41XCert"], &[], Valid),
    vector("4.6.14", "ValidpathLenConstraintTest14EE", &["pathLenConstraint6CACert", "pathLenConstraint6subCA4Cert", "pathLenConstraint6subsubCA41Cert", "pathLenConstraint6subsubsubCA41XCert"], &[], Valid),
    vector("4.6.15", "ValidSelfIssuedpathLenConstraintTest15EE", &["pathLenConstraint0CACert", "pathLenConstraint0SelfIssuedCACert"], &[], Valid),
    vector("4.6.16", "InvalidSelfIssuedpathLenConstraintTest16EE", &["pathLenConstraint0CACert", "pathLenConstraint0SelfIssuedCACert", "pathLenConstraint0subCA2Cert"], &[], Invalid),
    vector("4.6.17", "ValidSelfIssuedpathLenConstraintTest17EE", &["pathLenConstraint1CACert", "pathLenConstraint1SelfIssuedCACert", "pathLenConstraint1subCACert", "pathLenConstraint1SelfIssuedsubCACert"], &[], Valid),
    vector("4.7.1", "InvalidkeyUsageCriticalkeyCertSignFalseTest1EE", &["keyUsageCriticalkeyCertSignFalseCACert"], &[], Invalid),
    vector("4.7.2", "InvalidkeyUsageNotCriticalkeyCertSignFalseTest2EE", &["keyUsageNotCriticalkeyCertSignFalseCACert"], &[], Invalid),
    vector("4.7.3", "ValidkeyUsageNotCriticalTest3EE", &["keyUsageNotCriticalCACert"], &[], Valid),
    vector("4.13.1", "ValidDNnameConstraintsTest1EE", &["nameConstraintsDN1CACert"], &[], Valid),
    vector("4.13.2", "InvalidDNnameConstraintsTest2EE", &["nameConstraintsDN1CACert"], &[], Invalid),
    vector("4.13.3", "InvalidDNnameConstraintsTest3EE", &["nameConstraintsDN1CACert"], &[], Invalid),
    vector("4.13.4", "ValidDNnameConstraintsTest4EE", &["nameConstraintsDN1CACert"], &[], Valid),
    vector("4.13.5", "ValidDNnameConstraintsTest5EE", &["nameConstraintsDN2CACert"], &[], Valid),
    vector("4.13.6", "ValidDNnameConstraintsTest6EE", &["nameConstraintsDN3CACert"], &[], Valid),
    vector("4.13.21", "ValidRFC822nameConstraintsTest21EE", &["nameConstraintsRFC822CA1Cert"], &[], Valid),
    vector("4.13.22", "InvalidRFC822nameConstraintsTest22EE", &["nameConstraintsRFC822CA1Cert"], &[], Invalid),
    vector("4.13.23", "ValidRFC822nameConstraintsTest23EE", &["nameConstraintsRFC822CA2Cert"], &[], Valid),
    vector("4.13.24", "InvalidRFC822nameConstraintsTest24EE", &["nameConstraintsRFC822CA2Cert"], &[], Invalid),
    vector("4.13.25", "ValidRFC822nameConstraintsTest25EE", &["nameConstraintsRFC822CA3Cert"], &[], Valid),
    vector("4.13.26", "InvalidRFC822nameConstraintsTest26EE", &["nameConstraintsRFC822CA3Cert"], &[], Invalid),
    vector("4.13.30", "ValidDNSnameConstraintsTest30EE", &["nameConstraintsDNS1CACert"], &[], Valid),
    vector("4.13.31", "InvalidDNSnameConstraintsTest31EE", &["nameConstraintsDNS1CACert"], &[], Invalid),
    vector("4.13.32", "ValidDNSnameConstraintsTest32EE", &["nameConstraintsDNS2CACert"], &[], Valid),
    vector("4.13.33", "InvalidDNSnameConstraintsTest33EE", &["nameConstraintsDNS2CACert"], &[], Invalid),
    vector("4.13.34", "ValidURInameConstraintsTest34EE", &["nameConstraintsURI1CACert"], &[], Valid),
    vector("4.13.35", "InvalidURInameConstraintsTest35EE", &["nameConstraintsURI1CACert"], &[], Invalid),
    vector("4.13.36", "ValidURInameConstraintsTest36EE", &["nameConstraintsURI2CACert"], &[], Valid),
    vector("4.13.37", "InvalidURInameConstraintsTest37EE", &["nameConstraintsURI2CACert"], &[], Invalid),
    vector("4.13.38", "InvalidDNSnameConstraintsTest38EE", &["nameConstraintsDNS1CACert"], &[], Invalid),
    vector("4.16.1", "ValidUnknownNotCriticalCertificateExtensionTest1EE", &[], &[], Valid),
    vector("4.16.2", "InvalidUnknownCriticalCertificateExtensionTest2EE", &[], &[], Invalid),
];
