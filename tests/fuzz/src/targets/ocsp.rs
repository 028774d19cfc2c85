//! What a responder answers: no answer counts that the CA has not signed, or somebody for it.

use countersign_proto::ocsp::{
    self, Answer, CertIdHash, Expected, NONCE_BYTES, NonceUse, Question, Status,
};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SigningKey};

use crate::element::{element, places};
use crate::outcome::note;
use crate::pki::{ED25519, NOW_SECONDS, Pki};

const NOW: i64 = NOW_SECONDS as i64;
const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
/// An hour before and an hour after.
const THIS_UPDATE: &[u8] = b"20250615140640Z";
const NEXT_UPDATE: &[u8] = b"20250615160640Z";

struct World {
    question: Question,
    genuine: Vec<Answer>,
    seeds: Vec<Vec<u8>>,
}

thread_local! {
    static WORLD: World = World::new();
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    WORLD.with(|world| world.seeds.clone())
}

pub(super) fn target(data: &[u8]) {
    WORLD.with(|world| {
        for nonce_use in [NonceUse::Off, NonceUse::Require] {
            match verify(data, &world.question, nonce_use) {
                Ok(answer) => {
                    note(answer.status.label());
                    let plain = Answer { has_our_nonce: false, ..answer };
                    assert!(world.genuine.contains(&plain), "nobody has said {answer:?}");
                }
                Err(error) => note(error),
            }
        }
    });
}

fn verify(
    data: &[u8],
    question: &Question,
    nonce_use: NonceUse,
) -> Result<Answer, ocsp::OcspError> {
    let nonce = (nonce_use != NonceUse::Off).then_some(&NONCE);
    ocsp::verify(data, question, &Expected { nonce, nonce_use, max_age: 3_600, now: NOW })
}

impl World {
    fn new() -> Self {
        let mut pki = Pki::new();
        let client = pki.client("client.example");
        let delegate = pki.issue("responder", ExtendedKeyUsagePurpose::OcspSigning);
        let stranger = pki.client("stranger.example");
        let question = Question::about(&client.der, pki.intermediate()).expect("a question");
        let ca = pki.intermediate_key();
        let good = element(0x80, &[]);
        let unknown = element(0x82, &[]);
        let reason = element(0xa0, &[&element(10, &[&[1]])]);
        let revoked = element(0xa1, &[&element(0x18, &[THIS_UPDATE]), &reason]);
        let issuer = name(pki.intermediate());
        let by_ca = |status: &[u8], hash, nonce| {
            signed(&data(&question, hash, &issuer, status, nonce), ca, &[])
        };
        let by = |signer: &crate::pki::Issued| {
            let said = data(&question, CertIdHash::Sha1, &name(&signer.der), &good, true);
            signed(&said, &signer.key, &[&signer.der, &client.der])
        };
        let mut seeds = vec![
            by_ca(&good, CertIdHash::Sha1, true),
            by_ca(&good, CertIdHash::Sha256, false),
            by_ca(&unknown, CertIdHash::Sha1, false),
            by_ca(&revoked, CertIdHash::Sha1, true),
            by(&delegate),
            by(&stranger),
        ];
        let read = |seed: &Vec<u8>| verify(seed, &question, NonceUse::Off).ok();
        let genuine: Vec<_> = seeds.iter().filter_map(read).collect();
        assert_eq!(genuine.len(), seeds.len() - 1, "all but the stranger's: {genuine:?}");
        let statuses = genuine.iter().map(|answer| answer.status.label());
        assert!(statuses.eq(["good", "good", "unknown", "revoked", "good"]));
        assert!(matches!(genuine[3].status, Status::Revoked { reason: Some(1), .. }));
        // The responder says that it does not say anything.
        seeds.push(element(0x30, &[&[10, 1, 3]]));
        Self { question, genuine, seeds }
    }
}

/// The subject of a certificate, DER with the header.
fn name(certificate: &[u8]) -> Vec<u8> {
    // The fourth element behind version and serial number: algorithm, issuer, validity, subject.
    let fields = inside(&inside(certificate)[0]);
    fields[5].clone()
}

/// The elements that an element holds.
fn inside(bytes: &[u8]) -> Vec<Vec<u8>> {
    let places = places(bytes);
    let content = places[0].content.clone();
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut end = content.start;
    let mut inner: Vec<_> = places[1..].iter().map(|place| place.whole.clone()).collect();
    inner.sort_by_key(|whole| (whole.start, std::cmp::Reverse(whole.end)));
    for whole in inner {
        if whole.start == end {
            end = whole.end;
            found.push(bytes[whole].to_vec());
        }
    }
    found
}

/// A ResponseData (RFC 6960 §4.2.1).
fn data(
    question: &Question,
    hash: CertIdHash,
    responder: &[u8],
    status: &[u8],
    has_nonce: bool,
) -> Vec<u8> {
    // OCSPRequest, TBSRequest, requestList, Request, CertID.
    let request = question.request(hash, None);
    let cert_id = (0..4).fold(request, |outer, _| inside(&outer)[0].clone());
    let time = |text| element(0x18, &[text]);
    let next = element(0xa0, &[&time(NEXT_UPDATE)]);
    let single = element(0x30, &[&cert_id, status, &time(THIS_UPDATE), &next]);
    let mut parts = vec![element(0xa1, &[responder]), time(THIS_UPDATE), element(0x30, &[&single])];
    if has_nonce {
        let oid = element(6, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2]]);
        let value = element(4, &[&element(4, &[&NONCE])]);
        parts.push(element(0xa1, &[&element(0x30, &[&element(0x30, &[&oid, &value])])]));
    }
    element(0x30, &[&parts.concat()])
}

/// An OCSPResponse.
fn signed(data: &[u8], key: &KeyPair, certificates: &[&[u8]]) -> Vec<u8> {
    let signature = key.sign(data).expect("a signature");
    let mut basic = vec![data.to_vec(), ED25519.to_vec(), element(3, &[&[0], &signature])];
    if !certificates.is_empty() {
        basic.push(element(0xa0, &[&element(0x30, certificates)]));
    }
    let oid = element(6, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
    let bytes = element(0x30, &[&oid, &element(4, &[&element(0x30, &[&basic.concat()])])]);
    element(0x30, &[&[10, 1, 0], &element(0xa0, &[&bytes])])
}
