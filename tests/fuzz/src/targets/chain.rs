//! A client's chain: nobody is verified whom the CAs have not certified, and nothing that was remembered of other
//! chains changes a verdict.

use std::sync::Arc;
use std::time::Duration;

use countersign_proto::revocation::{
    ListReader, ListSet, RevocationFeed, RevocationMemory, RevocationPolicy, Revocations,
};
use countersign_proto::{ClientIdentity, TrustDomain};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SigningKey};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::element::{element, places};
use crate::outcome::note;
use crate::pki::{self, ED25519, NOW_SECONDS, Pki};

const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(NOW_SECONDS));

struct World {
    pki: Pki,
    /// Has verified whatever came before.
    experienced: TrustDomain,
    feed: Arc<RevocationFeed>,
    genuine: Vec<ClientIdentity>,
    seeds: Vec<Vec<u8>>,
}

thread_local! {
    static WORLD: World = World::new();
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    WORLD.with(|world| world.seeds.clone())
}

pub(super) fn target(data: &[u8]) {
    let chain = read(data);
    WORLD.with(|world| {
        if let Some(identity) = world.verify(&chain) {
            assert!(world.genuine.contains(&identity), "nobody has certified {identity}");
        }
        // What stands behind a signature that holds: a CA may be careless too.
        note("signed anew:");
        world.verify(&world.signed_anew(&chain));
    });
}

/// The certificates in an input; the last may be cut short.
fn read(mut data: &[u8]) -> Vec<CertificateDer<'_>> {
    let mut chain = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<3>() {
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (certificate, rest) = rest.split_at(length.min(rest.len()));
        chain.push(CertificateDer::from(certificate));
        data = rest;
    }
    chain
}

fn write(chain: &[&[u8]]) -> Vec<u8> {
    let entry = |der: &&[u8]| [&(der.len() as u32).to_be_bytes()[1..], der].concat();
    chain.iter().flat_map(entry).collect()
}

impl World {
    /// Who is verified, if somebody is.
    fn verify(&self, chain: &[CertificateDer<'_>]) -> Option<ClientIdentity> {
        let innocent = self.pki.trust_domain().with_revocations(Arc::clone(&self.feed));
        let verdict = innocent.verify(chain, NOW);
        let again = self.experienced.verify(chain, NOW);
        assert_eq!(verdict.is_ok(), again.is_ok(), "{verdict:?}, and by who remembers {again:?}");
        match verdict {
            Ok(verified) => {
                note("verified");
                let standing = innocent.recheck(verified.evidence(), NOW);
                assert!(standing.is_ok(), "revoked meanwhile: {standing:?}");
                Some(ClientIdentity::clone(verified.identity()))
            }
            Err(error) => {
                note(error);
                None
            }
        }
    }

    /// The same certificates, as far as they are such, the first signed by the intermediate and others by the root.
    fn signed_anew(&self, chain: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
        let keys = std::iter::once(self.pki.intermediate_key());
        let keys = keys.chain(std::iter::repeat(self.pki.root_key()));
        let sign = |(der, key): (&CertificateDer<'_>, &KeyPair)| {
            let places = places(der);
            let start = places.first()?.content.start;
            let tbs = &der[places.iter().find(|place| place.whole.start == start)?.whole.clone()];
            let signature = key.sign(tbs).ok()?;
            let parts = [tbs, ED25519, &element(3, &[&[0], &signature])];
            Some(CertificateDer::from(element(0x30, &parts)))
        };
        let signed = |pair: (&CertificateDer<'_>, &KeyPair)| {
            sign(pair).unwrap_or_else(|| pair.0.clone().into_owned())
        };
        chain.iter().zip(keys).map(signed).collect()
    }

    fn new() -> Self {
        let mut pki = Pki::new();
        let plain = pki.client("client.example");
        let ornate = pki.ornate_client();
        let revoked = pki.client("revoked.example");
        let server = pki.issue("server.example", ExtendedKeyUsagePurpose::ServerAuth);
        let outside = pki.client("client.elsewhere");
        let (root, intermediate) = (pki.root(), pki.intermediate());
        let of = |end_entity: &CertificateDer<'_>| write(&[end_entity, intermediate]);
        let mut seeds = vec![
            of(&plain.der),
            of(&ornate.der),
            of(&revoked.der),
            of(&server.der),
            of(&outside.der),
            write(&[&plain.der]),
            write(&[&plain.der, root, intermediate]),
            write(&[&plain.der, intermediate, intermediate, root, &ornate.der, &server.der]),
            write(&[&plain.der, &forged(intermediate), intermediate, &forged(intermediate)]),
            write(&[intermediate, root]),
        ];
        seeds.push(write(&[&intermediate[..]; 8]));
        let genuine = [&plain, &ornate].map(|issued| pki::identity(&issued.der)).into();
        let serial = pki::identity(&revoked.der).serial().to_owned();
        let lists = [pki.list(true, 1, &["63"]).1, pki.list(false, 1, &[&serial]).1];
        let lists = lists.map(|der| {
            let mut reader = ListReader::new(der.len() as u64);
            reader.push(&der).expect("a list");
            Arc::new(reader.finish().expect("a list").remove(0))
        });
        let feed = Arc::new(RevocationFeed::new(Arc::new(Revocations {
            generation: 1,
            live: Some(ListSet::new(lists, RevocationPolicy::default())),
            shadow: None,
            memory: Arc::new(RevocationMemory::new(true)),
        })));
        let experienced = pki.trust_domain().with_revocations(Arc::clone(&feed));
        Self { pki, experienced, feed, genuine, seeds }
    }
}

/// The same certificate with another signature, which stands last.
fn forged(der: &[u8]) -> Vec<u8> {
    let mut forged = der.to_vec();
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    forged
}
