//! Answers that hold, and all that do not.

mod mutation;
mod responder;

use rcgen::{DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use self::responder::{Ca, Certified, NOW, Saying, cert_id, extension};
use super::question::tlv;
use super::{
    Answer, CertIdHash, Expected, Freshness, NONCE_BYTES, NonceUse, OcspError, Question,
    RESPONSE_BYTES_MAX, SKEW_SECONDS, Status, StatusCache, UNKNOWN_SECONDS, must_staple,
    responder_of, verify,
};

const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

struct World {
    ca: Ca,
    client: Certified,
    question: Question,
}

impl World {
    fn new() -> Self {
        let ca = Ca::new("CA");
        let client = ca.issue("client", |_| {});
        let question = ca.question(&client);
        Self { ca, client, question }
    }

    fn saying(&self) -> Saying {
        Saying::good(&self.question)
    }

    fn verify(&self, response: &[u8]) -> Result<Answer, OcspError> {
        verify(response, &self.question, &expected(NonceUse::Off, NOW))
    }
}

fn expected(nonce_use: NonceUse, now: i64) -> Expected<'static> {
    let nonce = (nonce_use != NonceUse::Off).then_some(&NONCE);
    Expected { nonce, nonce_use, max_age: 3_600, now }
}

#[test]
fn an_answer_by_the_issuer_holds_however_it_names_itself_and_the_certificate() {
    let world = World::new();
    for by_key in [false, true] {
        for hash in [CertIdHash::Sha1, CertIdHash::Sha256] {
            let saying = world.saying().with(|saying| {
                saying.by_key = by_key;
                saying.cert_id = cert_id(&world.question, hash);
            });
            let answer = world.verify(&saying.by(&world.ca)).expect("an answer");
            assert_eq!(answer.status, Status::Good);
            assert_eq!(answer.this_update, NOW - 3_600);
            assert_eq!(answer.next_update, Some(NOW + 3_600));
            assert_eq!((answer.received_at, answer.has_our_nonce), (NOW, false));
        }
    }
}

#[test]
fn every_status_is_told_as_it_is() {
    let world = World::new();
    for status in [
        Status::Good,
        Status::Unknown,
        Status::Revoked { at: NOW - 86_400, reason: None },
        Status::Revoked { at: NOW - 86_400, reason: Some(1) },
    ] {
        let saying = world.saying().with(|saying| saying.status = status);
        assert_eq!(world.verify(&saying.by(&world.ca)).map(|answer| answer.status), Ok(status));
    }
}

#[test]
fn a_delegate_of_the_issuer_may_sign() {
    let world = World::new();
    let delegate = world.ca.delegate("responder");
    for by_key in [false, true] {
        let saying = world.saying().with(|saying| saying.by_key = by_key);
        assert!(world.verify(&saying.by_delegate(&delegate)).is_ok());
    }
}

/// A delegate may have the CA's own name.
#[test]
fn the_issuers_name_on_a_delegate_does_not_hide_it() {
    let world = World::new();
    let delegate = world.ca.delegate("CA");
    assert!(world.verify(&world.saying().by_delegate(&delegate)).is_ok());
}

#[test]
fn nobody_else_may_sign() {
    let world = World::new();
    let refused = |delegate: &Certified, problem: &str| {
        let error = world.verify(&world.saying().by_delegate(delegate)).expect_err(problem);
        assert!(error.to_string().contains(problem), "{error}");
    };
    refused(&world.ca.issue("plain", |_| {}), "extended key usage");
    refused(&world.client, "extended key usage");
    let other = |params: &mut rcgen::CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    refused(&world.ca.issue("server", other), "extended key usage");
    refused(&Ca::new("another").delegate("stranger"), "issued by somebody else");
    refused(&Ca::new("CA").delegate("namesake"), "signature over its certificate is wrong");
    let expired = world.ca.issue("old", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        params.not_after = rcgen::date_time_ymd(2025, 1, 1);
    });
    refused(&expired, "has expired");
    let future = world.ca.issue("new", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        params.not_before = rcgen::date_time_ymd(2027, 1, 1);
    });
    refused(&future, "not valid yet");
    let unusable = world.ca.issue("unusable", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    });
    refused(&unusable, "digitalSignature");
}

#[test]
fn a_signer_without_its_certificate_is_unknown_and_a_wrong_key_is_found_out() {
    let world = World::new();
    let delegate = world.ca.delegate("responder");
    let bare = world.saying().signed(&delegate.der, &delegate.key);
    assert_eq!(world.verify(&bare), Err(OcspError::SignerUnknown));
    let key = KeyPair::generate().expect("a key");
    let forged = world.saying().signed(world.ca.issuer.der(), &key);
    assert_eq!(world.verify(&forged), Err(OcspError::Signature));
    let swapped = Certified { der: delegate.der, key };
    let forged = world.saying().by_delegate(&swapped);
    assert_eq!(world.verify(&forged), Err(OcspError::Signature));
}

#[test]
fn an_answer_about_another_certificate_is_none() {
    let world = World::new();
    let other = world.ca.question(&world.ca.issue("other", |_| {}));
    let saying = world.saying().with(|saying| saying.cert_id = cert_id(&other, CertIdHash::Sha1));
    assert_eq!(world.verify(&saying.by(&world.ca)), Err(OcspError::OtherCertificate));
    // The same serial number of a CA of the same name and another key.
    let namesake = Ca::new("CA");
    let theirs = Question::about(&world.client.der, namesake.issuer.der()).expect("a question");
    let saying = world.saying().with(|saying| saying.cert_id = cert_id(&theirs, CertIdHash::Sha1));
    assert_eq!(world.verify(&saying.by(&world.ca)), Err(OcspError::OtherCertificate));
}

#[test]
fn an_answer_holds_only_in_its_time() {
    let world = World::new();
    let at = |change: fn(&mut Saying)| world.verify(&world.saying().with(change).by(&world.ca));
    assert!(at(|saying| saying.this_update = NOW + SKEW_SECONDS).is_ok());
    let early = at(|saying| saying.this_update = NOW + SKEW_SECONDS + 1);
    assert!(matches!(early, Err(OcspError::NotYet { .. })), "{early:?}");
    let early = at(|saying| saying.produced_at = NOW + SKEW_SECONDS + 1);
    assert!(matches!(early, Err(OcspError::NotYet { .. })), "{early:?}");
    assert!(at(|saying| saying.next_update = Some(NOW - SKEW_SECONDS)).is_ok());
    for late in [
        at(|saying| saying.next_update = Some(NOW - SKEW_SECONDS - 1)),
        // Without nextUpdate: an hour, as the expectation says.
        at(|saying| (saying.next_update, saying.this_update) = (None, NOW - 3_601 - SKEW_SECONDS)),
        // Upside down.
        at(|saying| (saying.this_update, saying.next_update) = (NOW, Some(NOW - 1))),
    ] {
        assert!(matches!(late, Err(OcspError::Expired { .. })), "{late:?}");
    }
    assert!(at(|saying| saying.next_update = None).is_ok());
}

#[test]
fn the_nonce_is_held_to_as_it_is_asked_for() {
    let world = World::new();
    let with = |nonce: Option<&[u8]>, nonce_use| {
        let saying = world.saying().with(|saying| saying.nonce = nonce.map(<[u8]>::to_vec));
        let response = saying.by(&world.ca);
        verify(&response, &world.question, &expected(nonce_use, NOW))
            .map(|answer| answer.has_our_nonce)
    };
    let (ours, other): (&[u8], &[u8]) = (&NONCE, &[1]);
    assert_eq!(with(None, NonceUse::Off), Ok(false));
    assert_eq!(with(Some(other), NonceUse::Off), Ok(false));
    assert_eq!(with(None, NonceUse::Prefer), Ok(false));
    assert_eq!(with(Some(ours), NonceUse::Prefer), Ok(true));
    assert_eq!(with(Some(other), NonceUse::Prefer), Err(OcspError::NonceDiffers));
    assert_eq!(with(Some(ours), NonceUse::Require), Ok(true));
    assert_eq!(with(None, NonceUse::Require), Err(OcspError::NonceMissing));
    assert_eq!(with(Some(other), NonceUse::Require), Err(OcspError::NonceDiffers));
}

#[test]
fn what_is_critical_and_unknown_is_an_error_and_what_is_not_is_passed_over() {
    let world = World::new();
    let with = |critical: &[u8]| {
        let oid = tlv(6, &[&[0x2a, 3, 4]]);
        let extension = tlv(0x30, &[&oid, critical, &tlv(4, &[&[5, 0]])]);
        let saying = world.saying().with(|saying| saying.extension = Some(extension));
        world.verify(&saying.by(&world.ca))
    };
    assert_eq!(with(&[1, 1, 0xff]), Err(OcspError::Critical));
    assert!(with(&[]).is_ok());
}

#[test]
fn a_refusal_says_which() {
    let world = World::new();
    for (status, words) in [(1, "malformed"), (3, "later"), (5, "signed"), (6, "unauthorized")] {
        let error = world.verify(&tlv(0x30, &[&[10, 1, status]])).expect_err("a refusal");
        assert_eq!(error, OcspError::Refused(status));
        assert!(error.to_string().contains(words), "{error}");
    }
    let huge = vec![0x30; RESPONSE_BYTES_MAX + 1];
    assert_eq!(world.verify(&huge), Err(OcspError::TooLarge(huge.len())));
}

#[test]
fn answers_are_used_again_only_while_they_are_fresh() {
    let fresh = Freshness { max_age: 600, with_nonce: false };
    let answer = Answer {
        status: Status::Good,
        this_update: NOW - 3_600,
        next_update: Some(NOW + 300),
        received_at: NOW,
        has_our_nonce: false,
    };
    assert!(answer.is_fresh(fresh, NOW + 300));
    assert!(!answer.is_fresh(fresh, NOW + 301), "beyond its nextUpdate");
    let long = Answer { next_update: Some(NOW + 86_400), ..answer };
    assert!(long.is_fresh(fresh, NOW + 600));
    assert!(!long.is_fresh(fresh, NOW + 601), "too old");
    assert!(!long.is_fresh(fresh, NOW - SKEW_SECONDS - 1), "a clock that was set back");
    assert!(!long.is_fresh(Freshness { with_nonce: true, ..fresh }, NOW), "made for others");
    let unknown = Answer { status: Status::Unknown, ..long };
    assert!(unknown.is_fresh(fresh, NOW + UNKNOWN_SECONDS));
    assert!(!unknown.is_fresh(fresh, NOW + UNKNOWN_SECONDS + 1));
    let open = Answer { next_update: None, ..answer };
    assert!(!open.is_fresh(fresh, NOW), "without nextUpdate it counts from thisUpdate");
}

#[test]
fn the_cache_is_bounded_and_a_newer_answer_takes_the_place_of_an_older_one() {
    let fresh = Freshness { max_age: 600, with_nonce: false };
    let issuer = crate::tls::Issuer::new(b"name", b"key");
    let key = |serial: u8| super::StatusKey::new(&issuer, &[serial]);
    let answer = |status| Answer {
        status,
        this_update: NOW,
        next_update: None,
        received_at: NOW,
        has_our_nonce: false,
    };
    let mut cache = StatusCache::new(8);
    for round in 0..100_u8 {
        cache.insert(key(1), answer(Status::Good));
        cache.insert(key(1), answer(Status::Revoked { at: NOW, reason: None }));
        cache.insert(key(round), answer(Status::Good));
        assert!(cache.len() <= 8);
    }
    assert!(!cache.is_empty());
    let revoked = cache.get(&key(1), fresh, NOW).map(|answer| answer.status);
    assert_eq!(revoked, Some(Status::Revoked { at: NOW, reason: None }));
    assert_eq!(cache.get(&key(99), fresh, NOW + 601), None);
    assert_eq!(cache.get(&key(5), fresh, NOW), None);
}

#[test]
fn a_certificate_tells_its_responder_and_whether_it_must_staple() {
    let ca = Ca::new("CA");
    let access = |method: u8, url: &str| {
        let oid = tlv(6, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, method]]);
        tlv(0x30, &[&oid, &tlv(0x86, &[url.as_bytes()])])
    };
    let with = |descriptions: &[Vec<u8>]| {
        let value = tlv(0x30, &[&descriptions.concat()]);
        let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
        ca.issue("client", |params| params.custom_extensions = vec![extension(&oid, value)]).der
    };
    let url = "http://ocsp.example/a";
    let issuers = access(2, "http://ca.example/ca.der");
    assert_eq!(responder_of(&with(&[issuers.clone(), access(1, url)])).as_deref(), Some(url));
    assert_eq!(responder_of(&with(&[issuers])), None);
    let secure = access(1, "https://ocsp.example/");
    assert_eq!(responder_of(&with(&[secure, access(1, url)])).as_deref(), Some(url));
    for bad in ["http://a b/", "ftp://a/", "", "http://a/\r\nHost: b", &"http://".repeat(300)] {
        assert_eq!(responder_of(&with(&[access(1, bad)])), None, "{bad}");
    }
    let feature = |value: &[u8]| {
        let extension = extension(&[1, 3, 6, 1, 5, 5, 7, 1, 24], value.to_vec());
        ca.issue("server", |params| params.custom_extensions = vec![extension]).der
    };
    assert!(must_staple(&feature(&[0x30, 3, 2, 1, 5])));
    assert!(must_staple(&feature(&[0x30, 6, 2, 1, 17, 2, 1, 5])));
    assert!(!must_staple(&feature(&[0x30, 3, 2, 1, 17])));
    let plain =
        ca.issue("plain", |params| params.distinguished_name.push(DnType::OrganizationName, "x"));
    assert!(!must_staple(&plain.der) && responder_of(&plain.der).is_none());
}
