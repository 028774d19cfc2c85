//! What stands in an anchor's certificate holds.

use rcgen::{CustomExtension, GeneralSubtree, KeyUsagePurpose, NameConstraints, SanType};

use super::*;

#[test]
fn an_anchor_holds_within_its_dates() {
    for (from, to, expected) in [
        (2020, 2030, None),
        (2020, 2024, Some(ChainError::AnchorExpired)),
        (2026, 2030, Some(ChainError::AnchorNotYetValid)),
    ] {
        let root = Ca::with("root", |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        });
        assert_eq!(refusal(&[root.self_signed()], &[root.client("client")]), expected);
    }
}

#[test]
fn a_renewed_anchor_serves_beside_its_expired_self() {
    let old = Ca::with("root", |params| params.not_after = date_time_ymd(2024, 1, 1));
    let mut new = old.clone();
    new.params.not_after = date_time_ymd(2090, 1, 1);
    let (old, new, client) = (old.self_signed(), new.self_signed(), new.client("client"));
    for (anchors, used) in [([old.clone(), new.clone()], 1), ([new, old], 0)] {
        let verified = domain(&anchors).verify(std::slice::from_ref(&client), NOW).unwrap();
        assert_eq!(verified.evidence().anchor(), used);
    }
}

#[test]
fn an_anchors_path_length_is_counted_without_self_issued_certificates() {
    for length in 0..=2 {
        let root = Ca::with("root", |params| params.is_ca = path_len(length));
        let (middle, lower) = (Ca::new("middle"), Ca::new("lower"));
        // The same name with another key, as in a change of keys.
        let renewed = Ca::new("root");
        let anchors = [root.self_signed()];
        let direct = vec![root.client("client")];
        let one = vec![middle.client("client"), middle.by(&root)];
        let two = vec![lower.client("client"), lower.by(&middle), middle.by(&root)];
        let self_issued = vec![renewed.client("client"), renewed.by(&root)];
        let one_and_self_issued =
            vec![middle.client("client"), middle.by(&renewed), renewed.by(&root)];
        for (chain, needed) in
            [(direct, 0), (one, 1), (two, 2), (self_issued, 0), (one_and_self_issued, 1)]
        {
            let expected = (needed > length).then_some(ChainError::AnchorPathLength);
            assert_eq!(refusal(&anchors, &chain), expected, "{needed} of {length}");
        }
    }
}

#[test]
fn an_intermediates_path_length_counts_self_issued_certificates_too() {
    // webpki is stricter than RFC 5280 §4.2.1.9 here: it refuses, and never lets in what it should not.
    // What it says is why another way to the anchor does not hold.
    let root = Ca::new("root");
    let middle = Ca::with("middle", |params| params.is_ca = path_len(0));
    let renewed = Ca::new("middle");
    let chain = vec![renewed.client("client"), renewed.by(&middle), middle.by(&root)];
    assert!(matches!(refusal(&[root.self_signed()], &chain), Some(ChainError::Path(_))));
    let unlimited = Ca { params: Ca::new("middle").params, ..middle };
    let chain = [chain[0].clone(), chain[1].clone(), unlimited.by(&root)];
    assert_eq!(refusal(&[root.self_signed()], &chain), None);
}

#[test]
fn an_anchors_extended_key_usage_must_allow_clients() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    for (purposes, expected) in [
        (vec![], None),
        (vec![ClientAuth], None),
        (vec![ServerAuth, ClientAuth], None),
        (vec![Any], None),
        (vec![ServerAuth], Some(ChainError::AnchorPurpose)),
        (vec![CodeSigning, ServerAuth], Some(ChainError::AnchorPurpose)),
    ] {
        let root = Ca::with("root", |params| params.extended_key_usages = purposes);
        let anchors = [root.self_signed()];
        assert_eq!(refusal(&anchors, &[root.client("client")]), expected);
        let warnings = domain(&anchors).warnings();
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{warnings:?}");
    }
}

#[test]
fn an_anchors_key_usage_must_allow_to_sign_certificates() {
    for (usages, is_allowed) in [
        (vec![], true),
        (vec![KeyUsagePurpose::KeyCertSign], true),
        (vec![KeyUsagePurpose::CrlSign], false),
    ] {
        let root = Ca::with("root", |params| params.key_usages = usages);
        let anchors = [root.self_signed()];
        let refusal = refusal(&anchors, &[root.client("client")]);
        assert_eq!(refusal.is_none(), is_allowed);
        assert!(matches!(refusal, None | Some(ChainError::KeyUsage(_))));
        assert_eq!(domain(&anchors).warnings().is_empty(), is_allowed);
    }
}

#[test]
fn an_anchor_that_is_no_ca_vouches_only_for_itself() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let pinned = Ca::with("client", |params| {
            params.is_ca = is_ca;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        let certificate = pinned.self_signed();
        let anchors = [certificate.clone()];
        assert_eq!(refusal(&anchors, &[certificate]), None);
        assert_eq!(refusal(&anchors, &[pinned.client("another")]), Some(ChainError::AnchorNotCa));
        // The same name and key in another certificate: not what was pinned.
        let mut renewed = pinned.clone();
        renewed.params.not_after = date_time_ymd(2091, 1, 1);
        assert_eq!(refusal(&anchors, &[renewed.self_signed()]), Some(ChainError::AnchorNotCa));
        let lower = Ca::new("lower");
        assert_eq!(
            refusal(&anchors, &[lower.client("below"), lower.by(&pinned)]),
            Some(ChainError::AnchorNotCa)
        );
        let warnings = domain(&anchors).warnings();
        assert!(warnings[0].to_string().starts_with("certificate 1: it is no CA"), "{warnings:?}");
    }
    let root = Ca::new("root");
    let issued = domain(&[root.client("client")]);
    assert!(issued.warnings()[0].problem.contains("another CA has issued it"));
    assert!(issued.verify(&[root.client("client")], NOW).is_err());
}

#[test]
fn an_anchors_name_constraints_hold() {
    let root = Ca::with("root", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("clients.example".into())],
            excluded_subtrees: vec![GeneralSubtree::DnsName("bad.clients.example".into())],
        });
    });
    let anchors = [root.self_signed()];
    assert!(domain(&anchors).warnings().is_empty());
    for (name, is_allowed) in [
        ("a.clients.example", true),
        ("a.bad.clients.example", false),
        ("a.servers.example", false),
    ] {
        let named = |params: &mut CertificateParams| {
            params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        };
        let middle = Ca::new("middle");
        for chain in [
            vec![root.client_with("client", named)],
            vec![middle.client_with("client", named), middle.by(&root)],
        ] {
            let expected =
                (!is_allowed).then_some(ChainError::Path(webpki::Error::NameConstraintViolation));
            assert_eq!(refusal(&anchors, &chain), expected, "{name}");
        }
    }
}

type Change = Box<dyn Fn(&mut CertificateParams)>;

#[test]
fn constraints_that_are_not_processed_are_named_at_load_and_when_they_refuse() {
    let mut directory = rcgen::DistinguishedName::new();
    directory.push(DnType::CommonName, "client");
    // uniformResourceIdentifier [6] ".example", permitted.
    let uri = [&[0x30, 0x0e, 0xa0, 0x0c, 0x30, 0x0a, 0x86, 8][..], b".example"].concat();
    let cases: [(&str, Change, SanType); 3] = [
        (
            "directory names",
            Box::new(move |params| {
                permit(params, GeneralSubtree::DirectoryName(directory.clone()));
            }),
            SanType::DnsName("a.example".try_into().unwrap()),
        ),
        (
            "email addresses",
            Box::new(|params| permit(params, GeneralSubtree::Rfc822Name("example".into()))),
            SanType::Rfc822Name("a@example".try_into().unwrap()),
        ),
        (
            "URIs",
            Box::new(move |params| {
                let extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], uri.clone());
                params.custom_extensions.push(extension);
            }),
            SanType::URI("spiffe://a.example/x".try_into().unwrap()),
        ),
    ];
    for (kind, constrain, name) in cases {
        let name_it = |params: &mut CertificateParams| {
            params.subject_alt_names = vec![name.clone()];
        };
        let (root, middle) = (Ca::new("root"), Ca::with("middle", &constrain));
        let constrained = Ca::with("root", &constrain);
        let expected = Some(ChainError::UnprocessedConstraint(kind));
        let anchors = [constrained.self_signed()];
        assert_eq!(refusal(&anchors, &[constrained.client_with("client", name_it)]), expected);
        let warnings = domain(&anchors).warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].problem.contains(kind), "{warnings:?}");
        let chain = [middle.client_with("client", name_it), middle.by(&root)];
        assert_eq!(refusal(&[root.self_signed()], &chain), expected);
        // Who has no such name is let in, unless each has one.
        let without = refusal(&anchors, &[constrained.client("client")]);
        assert_eq!(without.is_none(), kind != "directory names");
    }
}

fn permit(params: &mut CertificateParams, subtree: GeneralSubtree) {
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: vec![subtree], excluded_subtrees: vec![] });
}

#[test]
fn an_anchor_with_a_malformed_extension_is_refused_at_load() {
    for extension in [15, 19, 30, 37] {
        let root = Ca::with("root", |params| {
            params.is_ca = IsCa::NoCa;
            params.custom_extensions = vec![CustomExtension::from_oid_content(
                &[2, 5, 29, extension],
                vec![0x30, 2, 5, 1],
            )];
        });
        let limits = ChainLimits { certificates: 8, bytes: 32_768 };
        let error = TrustDomain::new(&[root.self_signed()], limits, true).unwrap_err();
        assert!(matches!(error, TrustDomainError::Anchor { number: 1, .. }), "{error}");
    }
}
