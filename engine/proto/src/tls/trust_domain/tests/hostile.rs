//! What the worst chains cost, counted in signatures and paths: both are bounded by how many certificates
//! may be sent, and no key of a forger's is ever used.

use rcgen::{CustomExtension, GeneralSubtree, NameConstraints, SanType};

use super::*;
use crate::limits::FAILED_SIGNATURES_COST_MAX;

/// As many intermediates as can be configured.
const MOST: usize = 15;

/// What strangers send who know the anchors' names, and whatever public CA certificates there are.
struct Stranger {
    root: Ca,
    middle: Ca,
}

impl Stranger {
    fn new() -> Self {
        Self { root: Ca::new("root"), middle: Ca::new("middle") }
    }

    fn domain(&self) -> TrustDomain {
        domain(&[self.root.self_signed()])
    }

    /// CAs of one name, each with a key of its own, that say that `issuer` has certified them.
    fn forged(name: &str, issuer: &str) -> Vec<Der> {
        let issuer = Ca::new(issuer);
        let change = |params: &mut CertificateParams| {
            // Key identifiers are copied, too.
            params.use_authority_key_identifier_extension = true;
            params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]);
        };
        (0..MOST).map(|_| Ca::with(name, change).by(&issuer)).collect()
    }

    fn chain(client: Der, others: Vec<Der>) -> Vec<Der> {
        let mut chain = vec![client];
        chain.extend(others);
        chain
    }
}

#[test]
fn forged_intermediates_cost_a_signature_each_by_the_anchors_key() {
    let stranger = Stranger::new();
    let client = Ca::new("middle").client("client");
    let chain = Stranger::chain(client, Stranger::forged("middle", "root"));
    let (signatures, verdict) = counted(&stranger.domain(), &chain);
    assert_eq!(signatures, MOST);
    assert_eq!(verdict, Err(ChainError::Path(webpki::Error::InvalidSignatureForPublicKey)));
}

#[test]
fn forged_cas_that_certify_each_other_by_name_cost_no_more() {
    let stranger = Stranger::new();
    let client = Ca::new("root").client("client");
    // All of them, and the client, might come next to the anchor and next to each other.
    let chain = Stranger::chain(client, Stranger::forged("root", "root"));
    assert_eq!(counted(&stranger.domain(), &chain).0, MOST + 1);
    // webpki alone tries a hundred signatures.
    let plain = stranger.domain().verify_plainly(&chain, NOW);
    assert_eq!(plain, Err(ChainError::Path(webpki::Error::MaximumSignatureChecksExceeded)));
}

#[test]
fn what_no_anchor_is_named_in_costs_no_signature() {
    let stranger = Stranger::new();
    let client = Ca::new("nobody").client("client");
    // webpki alone goes 200,000 ways and reads three million certificates.
    let chain = Stranger::chain(client, Stranger::forged("nobody", "nobody"));
    let (signatures, verdict) = counted(&stranger.domain(), &chain);
    assert_eq!(signatures, 0);
    assert_eq!(verdict, Err(ChainError::Path(webpki::Error::UnknownIssuer)));
}

#[test]
fn a_ladder_of_forged_cas_costs_a_signature_for_each_anchor_that_it_names() {
    // Each of them says that an anchor has issued it, and one of that anchor's name comes next.
    let roots: Vec<_> = (0..=MOST).map(|number| Ca::new(&format!("root {number}"))).collect();
    let anchors: Vec<_> = roots.iter().map(Ca::self_signed).collect();
    let forged: Vec<_> = (0..=MOST).map(|number| Ca::new(&format!("root {number}"))).collect();
    let mut chain = vec![forged[0].client("client")];
    chain.extend(forged.windows(2).map(|pair| pair[0].by(&pair[1])));
    let (signatures, verdict) = counted(&domain(&anchors), &chain);
    assert!(verdict.is_err());
    // The client, and six intermediates, which is as far as a path goes.
    assert_eq!(signatures, 7);
}

#[test]
fn anchors_of_one_name_are_each_asked_for_each_certificate_as_long_as_it_is_affordable() {
    const ANCHORS: usize = 3;
    let anchors: Vec<_> = (0..ANCHORS).map(|_| Ca::new("root").self_signed()).collect();
    let client = Ca::new("root").client("client");
    let chain = Stranger::chain(client, Stranger::forged("root", "root"));
    // As often as is affordable, and no more.
    const { assert!(ANCHORS * (MOST + 1) > FAILED_SIGNATURES_COST_MAX) };
    assert_eq!(
        counted(&domain(&anchors), &chain),
        (FAILED_SIGNATURES_COST_MAX, Err(ChainError::TooManyForged))
    );
    let few = &chain[..4];
    assert_eq!(counted(&domain(&anchors), few).0, ANCHORS * few.len());
    // The same anchors again, with other dates: no other keys.
    let mut root = Ca::new("root");
    let anchors = [2030, 2040, 2050].map(|year| {
        root.params.not_after = date_time_ymd(year, 1, 1);
        root.self_signed()
    });
    assert_eq!(counted(&domain(&anchors), &chain).0, MOST + 1);
}

#[test]
fn real_intermediates_help_a_stranger_no_further() {
    let Stranger { root, middle } = Stranger::new();
    let domain = domain(&[root.self_signed()]);
    // The real one among forged ones, and a client that no CA has issued.
    let forged_client = Ca::new("middle").client("client");
    let mut others = Stranger::forged("middle", "root");
    others[MOST - 1] = middle.by(&root);
    let (signatures, verdict) = counted(&domain, &Stranger::chain(forged_client, others));
    assert_eq!(signatures, MOST + 1, "each by the root, and the client by the real one");
    assert_eq!(verdict, Err(ChainError::Path(webpki::Error::InvalidSignatureForPublicKey)));
    // A whole generation of real ones, none of which has issued the client.
    let generation = (0..MOST).map(|_| Ca::new("middle").by(&root)).collect();
    let forged_client = Ca::new("middle").client("client");
    let (signatures, _) = counted(&domain, &Stranger::chain(forged_client, generation));
    assert_eq!(signatures, 2 * MOST);
    // A client with a certificate of its own is no CA: its key is used for nothing.
    let own = Ca { params: named("middle"), key: p256() };
    let mut others = vec![middle.by(&root), own.by(&middle)];
    others.extend((2..MOST).map(|_| Ca::new("middle").by(&own)));
    let chain = Stranger::chain(own.client("client"), others);
    let (signatures, verdict) = counted(&domain, &chain);
    // By the root's key all but the two that name it not; by the real one's all.
    assert!(signatures <= 2 * (MOST + 1), "{signatures}");
    assert!(verdict.is_err());
}

#[test]
fn a_real_chain_among_forged_certificates_is_found() {
    let Stranger { root, middle } = Stranger::new();
    for place in 0..MOST {
        let mut others = Stranger::forged("middle", "root");
        others[place] = middle.by(&root);
        let chain = Stranger::chain(middle.client("client"), others);
        let (signatures, verdict) = counted(&domain(&[root.self_signed()]), &chain);
        assert_eq!((signatures, verdict), (MOST + 1, Ok(())));
    }
}

#[test]
fn there_are_as_many_paths_as_there_are_real_ones() {
    let root = Ca::new("root");
    // Five CAs one above the other, each certified three times; forged ones of all names between.
    let levels: Vec<_> = (0..5).map(|level| Ca::new(&format!("level {level}"))).collect();
    let mut chain = vec![levels[4].client("client")];
    for (level, ca) in levels.iter().enumerate() {
        let above = if level == 0 { &root } else { &levels[level - 1] };
        for year in [2050, 2060, 2070] {
            let mut again = ca.clone();
            again.params.not_after = date_time_ymd(year, 1, 1);
            chain.push(again.by(above));
        }
    }
    assert_eq!(chain.len(), 1 + MOST);
    let domain = domain(&[root.self_signed()]);
    let end_entity = Certificate::read(&chain[0]).unwrap();
    let presented = Presented::new(&end_entity, &chain[1..]);
    let paths = Web::new(&presented, &domain.authorities, &ALL).paths();
    assert_eq!(paths.len(), 3_usize.pow(5));
    // Each signature is verified once, on however many paths it lies.
    assert_eq!(counted(&domain, &chain), (MOST + 1, Ok(())));
}

#[test]
fn keys_that_take_long_are_used_less_often_for_signatures_that_do_not_hold() {
    let rsa: &'static rcgen::SignatureAlgorithm = &rcgen::PKCS_RSA_SHA256;
    for (algorithm, most) in [
        (&rcgen::PKCS_ED25519, 16),
        (rsa, 16),
        (&rcgen::PKCS_ECDSA_P256_SHA256, 16),
        (&rcgen::PKCS_ECDSA_P384_SHA384, 4),
        (&rcgen::PKCS_ECDSA_P521_SHA512, 2),
    ] {
        let root = Ca { key: key_of(algorithm), ..Ca::new("root") };
        let forger = Ca { key: key_of(algorithm), ..Ca::new("root") };
        let mut chain = vec![forger.client("client")];
        chain.extend((0..MOST).map(|_| Ca::new("root").by(&forger)));
        let (signatures, verdict) = counted(&domain(&[root.self_signed()]), &chain);
        assert_eq!((signatures, verdict), (most, Err(ChainError::TooManyForged)), "{algorithm:?}");
        // Who only sends old certificates along, with key identifiers as CAs write them, is let in.
        let identified = |params: &mut CertificateParams| {
            params.use_authority_key_identifier_extension = true;
        };
        let middle = Ca::with("root", identified);
        let old =
            (0..5).map(|_| Ca { key: forger.key, ..Ca::with("root", identified) }.by(&forger));
        let others = old.chain([middle.by(&root)]).collect();
        let chain = Stranger::chain(middle.client_with("client", identified), others);
        assert_eq!(counted(&domain(&[root.self_signed()]), &chain).1, Ok(()));
    }
}

#[test]
fn names_are_not_held_against_constraints_without_end() {
    let root = Ca::new("root");
    let constrained = |count: usize| {
        Ca::with("constrained", |params| {
            let other = |number| GeneralSubtree::DnsName(format!("other{number}.example"));
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![],
                excluded_subtrees: (0..count).map(other).collect(),
            });
        })
    };
    let client = |ca: &Ca, count: usize| {
        ca.client_with("client", |params| {
            let name = |number| SanType::DnsName(format!("a{number}.example").try_into().unwrap());
            params.subject_alt_names = (0..count).map(name).collect();
        })
    };
    for (names, constraints, is_allowed) in
        [(250, 16, true), (2, 800, true), (250, 17, false), (120, 40, false), (250, 600, false)]
    {
        let ca = constrained(constraints);
        let chain = [client(&ca, names), ca.by(&root)];
        let refusal = refusal(&[root.self_signed()], &chain);
        // The client's subject, and the CA's.
        let expected = ChainError::TooManyComparisons { names: names + 2, subtrees: constraints };
        assert_eq!(refusal, (!is_allowed).then_some(expected), "{names} {constraints}");
    }
    // An anchor's constraints count too.
    let ca = constrained(600);
    assert!(matches!(
        refusal(&[ca.self_signed()], &[client(&ca, 250)]),
        Some(ChainError::TooManyComparisons { .. })
    ));
    // Those of another anchor do not.
    assert_eq!(refusal(&[ca.self_signed(), root.self_signed()], &[client(&root, 250)]), None);
}

#[test]
fn what_a_certificate_is_stuffed_with_is_not_kept() {
    let root = Ca::new("root");
    // Twenty thousand purposes of one byte each, none of them ours.
    let purposes: Vec<u8> = [6, 1, 42].repeat(19_000);
    let length = u16::try_from(purposes.len()).unwrap().to_be_bytes();
    let extension = [&[0x30, 0x82][..], &length, &purposes].concat();
    let client = root.client_with("client", |params| {
        params.extended_key_usages = vec![];
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&[2, 5, 29, 37], extension)];
    });
    let Err(ChainError::Path(webpki::Error::RequiredEkuNotFoundContext(context))) =
        domain(&[root.self_signed()]).verify(&[client], NOW)
    else {
        panic!("let in");
    };
    assert!(context.present.is_empty());
}
