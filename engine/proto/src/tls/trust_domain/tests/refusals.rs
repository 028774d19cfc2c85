//! What refused clients are told apart by; clocks that jump; signatures that can be written twice.

use rcgen::{CustomExtension, KeyUsagePurpose};

use super::*;
use crate::identity::ClientIdentity;
use crate::policy::{Policy, Rule, Subject};

#[test]
fn any_use_alone_is_not_taken_for_client_authentication() {
    let (root, middle) = (Ca::new("root"), Ca::new("middle"));
    let any = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    };
    let lax = Ca::with("lax", any);
    for chain in [
        vec![middle.client_with("client", any), middle.by(&root)],
        vec![lax.client("client"), lax.by(&root)],
    ] {
        let refused = refusal(&[root.self_signed()], &chain).unwrap();
        assert!(refused.to_string().contains("any use, and that alone"), "{refused}");
        assert_eq!(refused.reason(), crate::error::Reason::ClientCertificatePurpose);
    }
    let server = root.client_with("client", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let refused = refusal(&[root.self_signed()], &[server]).unwrap();
    assert!(!refused.to_string().contains("any use"), "{refused}");
}

#[test]
fn the_verdict_on_purposes_is_webpkis() {
    use ExtendedKeyUsagePurpose as P;
    let root = Ca::new("root");
    let anchors = domain(&[root.self_signed()]).anchors;
    for purposes in [
        vec![],
        vec![P::ClientAuth],
        vec![P::ServerAuth],
        vec![P::Any],
        vec![P::CodeSigning, P::ClientAuth, P::Any],
    ] {
        let client = root.client_with("client", |params| params.extended_key_usages = purposes);
        let parsed = EndEntityCert::try_from(&client).unwrap();
        let plain = webpki::KeyUsage::client_auth();
        let ours = parsed.verify_for_usage(&ALL, &anchors, &[], NOW, ClientAuth, None, None);
        let theirs = parsed.verify_for_usage(&ALL, &anchors, &[], NOW, plain, None, None);
        assert_eq!(ours.is_ok(), theirs.is_ok());
    }
}

#[test]
fn key_usage_must_allow_what_a_key_is_used_for() {
    let root = Ca::new("root");
    let client = root.client_with("client", |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    });
    let refused = refusal(&[root.self_signed()], &[client]).unwrap();
    assert!(refused.to_string().contains("digitalSignature"), "{refused}");
    let middle = Ca::with("middle", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let chain = [middle.client("client"), middle.by(&root)];
    let refused = refusal(&[root.self_signed()], &chain).unwrap();
    assert!(refused.to_string().contains("keyCertSign"), "{refused}");
}

#[test]
fn a_path_that_is_refused_by_us_does_not_hide_another() {
    // One intermediate twice, by its key; the first may not sign certificates.
    let root = Ca::new("root");
    let middle = Ca::new("middle");
    let mut mute = middle.clone();
    mute.params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let (mute, good, client) = (mute.by(&root), middle.by(&root), middle.client("client"));
    for chain in
        [[client.clone(), mute.clone(), good.clone()], [client.clone(), good.clone(), mute.clone()]]
    {
        assert_eq!(refusal(&[root.self_signed()], &chain), None);
    }
    assert!(matches!(
        refusal(&[root.self_signed()], &[client, mute]),
        Some(ChainError::KeyUsage(_))
    ));
}

#[test]
fn critical_extensions_that_nobody_knows_are_refused_by_name() {
    let root = Ca::new("root");
    let unknown = |params: &mut CertificateParams| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
    };
    let refused = refusal(&[root.self_signed()], &[root.client_with("client", unknown)]).unwrap();
    assert!(refused.to_string().contains("critical extension"), "{refused}");
}

#[test]
fn a_clock_that_jumps_changes_the_verdict_both_ways_and_leaves_nothing_behind() {
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let (root, middle) = (Ca::new("root"), Ca::new("middle"));
    let client = middle.client_with("client", |params| {
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2026, 1, 1);
    });
    let chain = [client, middle.by(&root)];
    let domain = domain(&[root.self_signed()]);
    let (before, first, last, after) = (1_735_689_599, 1_735_689_600, 1_767_225_600, 1_767_225_601);
    let expected = [
        (before, false),
        (first, true),
        (after, false),
        (first, true),
        (0, false),
        (u64::MAX, false),
        (last, true),
        (before, false),
        (last, true),
    ];
    for (seconds, is_valid) in expected {
        let verdict = domain.verify(&chain, at(seconds));
        assert_eq!(verdict.is_ok(), is_valid, "{seconds}");
    }
}

/// The order of P-256 (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The same certificate with (r, n - s) for (r, s), which everybody can write who has seen it.
fn rewritten(der: &Der) -> Der {
    let certificate = Certificate::read(der).unwrap();
    let algorithm =
        [&[0x30, certificate.signature_algorithm.len() as u8][..], certificate.signature_algorithm]
            .concat();
    // BIT STRING without unused bits, SEQUENCE, two INTEGERs.
    let [0, 0x30, _, 0x02, r_length, rest @ ..] = certificate.signature else { panic!("no ECDSA") };
    let (r, rest) = rest.split_at(usize::from(*r_length));
    let s = &rest[2..];
    let mut padded = [0; 33];
    padded[33 - s.len()..].copy_from_slice(s);
    let mut other = [0; 33];
    let mut borrow = 0;
    for index in (0..32).rev() {
        let difference = i32::from(ORDER[index]) - i32::from(padded[index + 1]) - borrow;
        borrow = i32::from(difference < 0);
        other[index + 1] = (difference & 0xff) as u8;
    }
    let zeros = other.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
    let s = &other[zeros..];
    let integers = [&[2, r.len() as u8][..], r, &[2, s.len() as u8], s].concat();
    let signature =
        [&[3, integers.len() as u8 + 3, 0, 0x30, integers.len() as u8][..], &integers].concat();
    let content = [certificate.signed, &algorithm, &signature].concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[0x30, 0x82][..], &length, &content].concat().into()
}

fn allows(policy: &Policy, identity: &ClientIdentity) -> bool {
    policy.decide(&Subject { identity, trust_domain: None, now: 0 }).is_allowed()
}

#[test]
fn a_signature_written_another_way_evades_no_deny_rule() {
    let (root, middle) = (Ca::new("root"), Ca::new("middle"));
    let (client, intermediate) = (middle.client("client"), middle.by(&root));
    let other = rewritten(&client);
    assert_ne!(client, other);
    let domain = domain(&[root.self_signed()]);
    let [first, second] =
        [client, other].map(|client| domain.verify(&[client, intermediate.clone()], NOW).unwrap());
    let (first, second) = (first.identity(), second.identity());
    assert_ne!(first.sha256(), second.sha256());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(Rule::parse_deny(&format!("sha256={}", hex(&first.sha256()))).is_err());
    for rule in [
        format!("spki-sha256={}", hex(&first.spki_sha256())),
        format!("issuer-serial={}@{}", first.serial(), first.issuer()),
    ] {
        let rules = vec![
            Rule::parse_allow("any-verified").unwrap(),
            Rule::parse_deny(&rule).unwrap_or_else(|error| panic!("{rule}: {error}")),
        ];
        let policy = Policy::new(rules);
        assert!(!allows(&policy, first) && !allows(&policy, second), "{rule}");
    }
}

#[test]
fn a_ca_signature_written_another_way_gets_the_same_verdict_from_a_memo_that_knows_the_first() {
    let (root, middle) = (Ca::new("root"), Ca::new("middle"));
    let (client, intermediate) = (middle.client("client"), middle.by(&root));
    let domain = domain(&[root.self_signed()]);
    let other = rewritten(&intermediate);
    let evidence = |intermediate: &Der| {
        let verified = domain.verify(&[client.clone(), intermediate.clone()], NOW).unwrap();
        verified.evidence().clone()
    };
    assert_eq!(evidence(&intermediate), evidence(&other));
    let mut wrong = other.to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    assert!(domain.verify(&[client, wrong.into()], NOW).is_err());
}
