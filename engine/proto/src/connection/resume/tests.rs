//! Every reason for which a ticket is declined, and what rustls could do with one that was opened.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{PrivateKeyDer, UnixTime};

use super::*;
use crate::chain_cache::ChainCacheLimits;
use crate::desk::Desk;
use crate::limits::{Limits, TICKETS_MAX};
use crate::listener::{Announce, Identities, Listener, Withdrawal};
use crate::ocsp::{CertIdHash, NoAnswer, NonceUse, OcspRules};
use crate::op::UpstreamAddress;
use crate::policy::{Policy, Rule};
use crate::ticket::{TicketKey, TicketKeys, WORKER_BYTES};
use crate::time::{Moment, Now};
use crate::tls::{ChainLimits, Credentials, TlsParameters};

/// In 2027.
const NOW: u64 = 1_800_000_000;
/// The client's certificate ends with 2029.
const NOT_AFTER: u64 = 1_893_456_000;
const HOUR: u64 = 3_600;

/// Everything that a handshake's tickets depend on.
struct Scene {
    root: CertifiedIssuer<'static, KeyPair>,
    other_root: CertifiedIssuer<'static, KeyPair>,
    client: CertificateDer<'static>,
    server: Credentials,
    keys: Vec<u8>,
    listener: &'static str,
    server_name: Option<&'static str>,
    client_auth: ClientAuth,
    trusts_other: bool,
    rules: Vec<&'static str>,
    terms: Resumption,
    /// OCSP is asked about clients.
    asks: bool,
    /// What the worker remembers of the client, and since when.
    told: Option<(Status, u64)>,
    now: u64,
}

impl Scene {
    fn new() -> Self {
        let root = authority("root");
        let key = KeyPair::generate().expect("a key");
        let mut params = named("alice", 2030);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let client = params.signed_by(&key, &root).expect("a client").der().clone();
        let key = KeyPair::generate().expect("a key");
        let server = named("server", 2090).self_signed(&key).expect("a server").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS#8");
        Self {
            root,
            other_root: authority("other"),
            client,
            server: Credentials { chain: vec![server], key: key.into() },
            keys: vec![1],
            listener: "door",
            server_name: Some("a.example"),
            client_auth: ClientAuth::Require,
            trusts_other: false,
            rules: vec!["allow cn=alice"],
            terms: Resumption { tickets: TICKETS_MAX, ..Resumption::default() },
            asks: false,
            told: None,
            now: NOW,
        }
    }

    /// A handshake of this scene on a worker of its own.
    fn handshake(&self) -> (Core, Tickets) {
        let mut bundle = vec![self.root.der().clone()];
        if self.trusts_other {
            bundle.push(self.other_root.der().clone());
        }
        let limits = ChainLimits { certificates: 8, bytes: 32_768 };
        let domain = TrustDomain::new(&bundle, limits, true).expect("a domain");
        let domain = Arc::new(if self.asks { domain.with_ocsp(rules()) } else { domain });
        let random = aws_lc_rs::default_provider().secure_random;
        let parameters = TlsParameters { resumption: self.terms, ..TlsParameters::new(random) };
        let identity = Identity::new(
            &self.server,
            Some(Arc::clone(&domain)),
            self.client_auth,
            false,
            &parameters,
        )
        .expect("an identity");
        let tickets = Tickets::of(&identity);
        let rules = self.rules.iter().map(|rule| {
            let (action, matcher) = rule.split_once(' ').expect("an action");
            match action {
                "allow" => Rule::parse_allow(matcher),
                _ => Rule::parse_deny(matcher),
            }
            .expect("a rule")
        });
        let listener = Listener {
            name: self.listener.into(),
            address: ([127, 0, 0, 1], 1).into(),
            generation: 1,
            identities: Identities::new(vec![(Vec::new(), identity)], false),
            policy: Policy::new(rules.collect()),
            upstream: UpstreamAddress::Whoami,
            announce: Announce::Nothing,
            shadow: None,
            proxy_from: Vec::new(),
            withdrawal: Withdrawal::default(),
            limits: Limits::default(),
        };
        let desk =
            Desk::new(&Limits::default(), ChainCacheLimits::default(), 1, 0).expect("stacks");
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|byte| TicketKey::new(Zeroizing::new(vec![*byte; 32])).expect("a key"))
            .collect();
        let mut worker = [0; WORKER_BYTES];
        random.fill(&mut worker).expect("randomness");
        desk.set_ticket_keys(TicketKeys::new(1, &keys, worker));
        let unix = UnixTime::since_unix_epoch(Duration::from_secs(self.now));
        if let Some((status, at)) = self.told {
            remember(&desk, &domain, &self.client, status, at);
        }
        let now = Now { moment: Moment::default(), unix };
        let mut core = Core::new(Arc::new(listener), desk, ([127, 0, 0, 1], 2).into(), now);
        core.report.server_name = self.server_name.map(str::to_owned);
        (core, tickets)
    }

    /// As after the client's CertificateVerify.
    fn proven(&self) -> (Core, Tickets) {
        let (core, mut tickets) = self.handshake();
        tickets.proven = Some(Claim {
            certificates: vec![self.client.clone()],
            scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
            authenticated_at: self.now,
            lineage_ends_at: self.now + self.terms.lineage.as_secs(),
            not_after: i64::try_from(NOT_AFTER).expect("a time"),
        });
        (core, tickets)
    }

    /// A session as rustls would keep it: what matters is that the certificate stands in it.
    fn session(&self) -> Session {
        let bytes = [b"secrets", &*self.client, b"more"].concat();
        Session(Zeroizing::new(bytes))
    }

    fn ticket(&self) -> Vec<u8> {
        let (mut core, mut tickets) = self.proven();
        tickets.issue(&mut core, &self.session()).expect("a ticket")
    }

    /// Offers a ticket in a handshake of this scene.
    fn offer(&self, ticket: &[u8]) -> Result<(), Declined> {
        let (mut core, mut tickets) = self.handshake();
        let session = tickets.open(&mut core, ticket);
        assert_eq!(session.is_some(), tickets.opened.is_some());
        match (session, declined_of(&core)[..].split_first()) {
            (Some(session), None) => {
                assert_eq!(*session.0, *self.session().0);
                Ok(())
            }
            (None, Some((declined, []))) => Err(*declined),
            other => panic!("{other:?}"),
        }
    }
}

fn rules() -> Arc<OcspRules> {
    Arc::new(OcspRules {
        responder: None,
        hash: CertIdHash::default(),
        nonce: NonceUse::default(),
        timeout: Duration::from_secs(3),
        // An answer that is not there is not one that nobody gave: a ticket does not ask.
        no_answer: NoAnswer::FailOpen,
        max_age: Duration::from_secs(HOUR),
    })
}

/// As after a full handshake of the client.
fn remember(
    desk: &Desk,
    domain: &TrustDomain,
    client: &CertificateDer<'static>,
    status: Status,
    at: u64,
) {
    let then = UnixTime::since_unix_epoch(Duration::from_secs(at));
    let chain = domain.verify(std::slice::from_ref(client), then).expect("a path");
    let issued = &chain.evidence().issued()[0];
    let at = i64::try_from(at).expect("a time");
    desk.remember_answer(
        StatusKey::new(&issued.issuer, &issued.serial),
        Answer {
            status,
            this_update: at,
            next_update: None,
            received_at: at,
            has_our_nonce: false,
        },
    );
}

fn declined_of(core: &Core) -> Vec<Declined> {
    let events = core.events.iter();
    let declined = events.filter_map(|event| match event {
        Event::Ticket(TicketEvent::Declined(declined)) => Some(*declined),
        _ => None,
    });
    declined.collect()
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = named(name, 2090);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root")
}

fn named(name: &str, last_year: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(last_year, 1, 1);
    params
}

#[test]
fn a_ticket_opens_where_everything_is_as_it_was() {
    let scene = Scene::new();
    let ticket = scene.ticket();
    assert_eq!(scene.offer(&ticket), Ok(()));
    let later = Scene { now: NOW + 12 * HOUR - 1, keys: vec![2, 1], ..scene };
    assert_eq!(later.offer(&ticket), Ok(()), "another worker, another key before it, later");
}

#[test]
fn every_reason_declines() {
    let ticket_of = |scene: &Scene| scene.ticket();
    let terms = Resumption { tickets: TICKETS_MAX, ..Resumption::default() };
    let hours = |hours: u64| Duration::from_secs(hours * HOUR);
    type Change = fn(Scene) -> Scene;
    let cases: [(&str, Change, Declined); 14] = [
        ("its end", |s| Scene { now: NOW + 12 * HOUR, ..s }, Declined::Expired),
        ("the future", |s| Scene { now: NOW - 1, ..s }, Declined::Expired),
        (
            "a shorter lifetime now",
            |s| {
                let ticket_lifetime = Duration::from_secs(HOUR);
                let terms = Resumption { ticket_lifetime, ..s.terms };
                Scene { terms, now: NOW + HOUR, ..s }
            },
            Declined::Expired,
        ),
        (
            "a shorter lineage now",
            |s| {
                let terms = Resumption { lineage: Duration::from_secs(HOUR), ..s.terms };
                Scene { terms, now: NOW + HOUR, ..s }
            },
            Declined::LineageTooOld,
        ),
        ("another listener", |s| Scene { listener: "gate", ..s }, Declined::OtherHost),
        ("another host", |s| Scene { server_name: Some("b.example"), ..s }, Declined::OtherHost),
        ("no host", |s| Scene { server_name: None, ..s }, Declined::OtherHost),
        (
            "another verify mode",
            |s| Scene { client_auth: ClientAuth::Optional, ..s },
            Declined::OtherHost,
        ),
        ("one CA more", |s| Scene { trusts_other: true, ..s }, Declined::TrustChanged),
        ("other keys", |s| Scene { keys: vec![2], ..s }, Declined::UnknownKey),
        ("no keys", |s| Scene { keys: Vec::new(), ..s }, Declined::UnknownKey),
        ("no rule", |s| Scene { rules: vec!["allow cn=bob"], ..s }, Declined::PolicyChanged),
        (
            "a rule against it",
            |s| Scene { rules: vec!["allow cn=alice", "deny cn=alice"], ..s },
            Declined::PolicyChanged,
        ),
        (
            "the end of lineage and ticket",
            |s| Scene { now: NOW + 24 * HOUR, ..s },
            Declined::LineageTooOld,
        ),
    ];
    assert_eq!((terms.ticket_lifetime, terms.lineage), (hours(12), hours(24)));
    for (what, change, declined) in cases {
        let scene = Scene::new();
        let ticket = ticket_of(&scene);
        assert_eq!(change(scene).offer(&ticket), Err(declined), "{what}");
    }
    let scene = Scene::new();
    let mut ticket = scene.ticket();
    *ticket.last_mut().expect("a byte") ^= 1;
    assert_eq!(scene.offer(&ticket), Err(Declined::Malformed));
    assert_eq!(scene.offer(b""), Err(Declined::UnknownKey));
}

#[test]
fn where_ocsp_is_asked_a_ticket_opens_only_by_a_good_answer_that_is_known() {
    let mut scene = Scene { asks: true, ..Scene::new() };
    let ticket = scene.ticket();
    let revoked = Status::Revoked { at: 1, reason: None };
    for (told, expected) in [
        (None, Err(Declined::StatusUnknown)),
        (Some((Status::Good, NOW)), Ok(())),
        (Some((Status::Good, NOW - HOUR)), Ok(())),
        (Some((Status::Good, NOW - HOUR - 1)), Err(Declined::StatusUnknown)),
        (Some((Status::Unknown, NOW)), Err(Declined::StatusUnknown)),
        (Some((revoked, NOW)), Err(Declined::Revoked)),
    ] {
        scene.told = told;
        assert_eq!(scene.offer(&ticket), expected, "{told:?}");
    }
    scene.asks = false;
    assert_eq!(scene.offer(&ticket), Ok(()), "nobody asks");
}

/// A ticket is not good for longer than the client's path; were one to be, the path is looked at again.
#[test]
fn a_certificate_past_its_end_declines() {
    let mut scene = Scene { now: NOT_AFTER - 10, ..Scene::new() };
    let (mut core, mut tickets) = scene.proven();
    // As if somebody had sealed a longer one.
    tickets.proven.as_mut().expect("proven").not_after += 1_000;
    let ticket = tickets.issue(&mut core, &scene.session()).expect("a ticket");
    assert_eq!(tickets.lifetime_s(), 1_010);
    scene.now = NOT_AFTER;
    assert_eq!(scene.offer(&ticket), Ok(()));
    scene.now = NOT_AFTER + 1;
    assert_eq!(scene.offer(&ticket), Err(Declined::Expired));
}

#[test]
fn a_lifetime_ends_with_the_lineage_and_with_the_clients_path() {
    let scene = Scene { now: NOT_AFTER - 10, ..Scene::new() };
    let (mut core, mut tickets) = scene.proven();
    assert!(tickets.issue(&mut core, &scene.session()).is_some());
    assert_eq!(tickets.lifetime_s(), 10);
    let scene = Scene { now: NOT_AFTER, ..scene };
    let (mut core, mut tickets) = scene.proven();
    assert!(tickets.issue(&mut core, &scene.session()).is_none());
    assert_eq!(tickets.lifetime_s(), 0);

    // Renewal: the ticket that a resumed session gets goes back to the same proof.
    let scene = Scene::new();
    let first = scene.ticket();
    let later = Scene { now: NOW + 11 * HOUR, ..scene };
    let (mut core, mut tickets) = later.handshake();
    let session = tickets.open(&mut core, &first).expect("it opens");
    let second = tickets.issue(&mut core, &session).expect("a ticket");
    assert_eq!(tickets.lifetime_s(), 12 * 3_600);
    let last = Scene { now: NOW + 22 * HOUR, ..later };
    let (mut core, mut tickets) = last.handshake();
    let session = tickets.open(&mut core, &second).expect("it opens");
    let third = tickets.issue(&mut core, &session).expect("a ticket");
    assert_eq!(tickets.lifetime_s(), 2 * 3_600, "the lineage has 24 hours");
    let over = Scene { now: NOW + 24 * HOUR, ..last };
    assert_eq!(over.offer(&third), Err(Declined::LineageTooOld));
    let shorter = Resumption { lineage: Duration::from_secs(23 * HOUR), ..over.terms };
    let over = Scene { now: NOW + 23 * HOUR, terms: shorter, ..over };
    assert_eq!(over.offer(&third), Err(Declined::LineageTooOld));
}

#[test]
fn only_a_client_that_was_let_in_gets_a_ticket_and_only_for_its_own_session() {
    let scene = Scene::new();
    let (mut core, mut tickets) = scene.handshake();
    assert!(tickets.issue(&mut core, &scene.session()).is_none(), "nobody has proven anything");
    let (mut core, mut tickets) = scene.proven();
    let of_nobody = Session(Zeroizing::new(b"secrets and no certificate".to_vec()));
    assert!(tickets.issue(&mut core, &of_nobody).is_none());
    let of_another = Scene::new();
    assert!(tickets.issue(&mut core, &of_another.session()).is_none());
    for _ in 0..TICKETS_MAX {
        assert!(tickets.issue(&mut core, &scene.session()).is_some());
    }
    assert!(tickets.issue(&mut core, &scene.session()).is_none(), "as many as are configured");
    let off = Scene { terms: Resumption::OFF, ..scene };
    let (mut core, mut tickets) = off.proven();
    assert!(tickets.issue(&mut core, &off.session()).is_none());
}

#[test]
fn only_so_many_tickets_of_one_hello_are_looked_at() {
    let scene = Scene::new();
    let ticket = scene.ticket();
    let (mut core, mut tickets) = scene.handshake();
    for _ in 0..TICKETS_TRIED_MAX {
        assert!(tickets.open(&mut core, b"nothing of ours").is_none());
    }
    assert!(tickets.open(&mut core, &ticket).is_none());
    let offered = core.events.iter().filter(|e| matches!(e, Event::Ticket(TicketEvent::Offered)));
    assert_eq!(offered.count(), TICKETS_TRIED_MAX);
}

#[test]
fn a_resumed_handshake_is_that_of_the_ticket_opened_last() {
    let scene = Scene::new();
    let ticket = scene.ticket();
    let client = [scene.client.clone()];
    let resumed = Some(HandshakeKind::Resumed);
    let conclude = |offered: &[&[u8]], kind, presented: &[CertificateDer<'_>]| {
        let (mut core, mut tickets) = scene.handshake();
        for ticket in offered {
            tickets.open(&mut core, ticket);
        }
        let result = tickets.conclude(&mut core, kind, presented);
        assert!(tickets.opened.is_none());
        (result.map(|session| session.is_some()).map_err(|(reason, _)| reason), declined_of(&core))
    };
    let internal = Err(Reason::Internal);
    assert_eq!(conclude(&[&ticket], resumed, &client), (Ok(true), vec![]));
    // Two that open: rustls did not take the first.
    assert_eq!(
        conclude(&[&ticket, &ticket], resumed, &client),
        (Ok(true), vec![Declined::Unusable])
    );
    // What does not open behind one that did: rustls has nothing to resume from.
    assert_eq!(
        conclude(&[&ticket, b"other"], resumed, &client).0,
        internal,
        "resumed by nothing that was opened"
    );
    assert_eq!(conclude(&[], resumed, &client).0, internal);
    assert_eq!(conclude(&[b"other"], resumed, &client).0, internal);
    // Of another client than rustls says, or of nobody.
    let another = [Scene::new().client];
    assert_eq!(conclude(&[&ticket], resumed, &another).0, internal);
    assert_eq!(conclude(&[&ticket], resumed, &[]).0, internal);
    let both = [scene.client.clone(), scene.client.clone()];
    assert_eq!(conclude(&[&ticket], resumed, &both).0, internal);
    // A full handshake is nobody's by a ticket.
    for full in [HandshakeKind::Full, HandshakeKind::FullWithHelloRetryRequest] {
        assert_eq!(
            conclude(&[&ticket], Some(full), &client),
            (Ok(false), vec![Declined::Unusable])
        );
        assert_eq!(conclude(&[b"other"], Some(full), &client).0, Ok(false));
    }
    assert_eq!(conclude(&[&ticket], None, &client).0, internal);
    // Possession proven within a resumed handshake: there is no such thing.
    let (mut core, mut tickets) = scene.proven();
    assert!(tickets.open(&mut core, &ticket).is_some());
    assert!(tickets.conclude(&mut core, resumed, &client).is_err());
}

#[test]
fn what_a_client_is_let_in_by_is_looked_at_again_at_the_end() {
    let scene = Scene { now: NOT_AFTER, ..Scene::new() };
    let (mut core, mut tickets) = scene.proven();
    tickets.proven.as_mut().expect("proven").not_after += 1_000;
    let ticket = tickets.issue(&mut core, &scene.session()).expect("a ticket");
    let (mut core, mut tickets) = scene.handshake();
    assert!(tickets.open(&mut core, &ticket).is_some());
    let presented = [scene.client.clone()];
    let session = tickets.conclude(&mut core, Some(HandshakeKind::Resumed), &presented);
    let session = session.expect("resumed").expect("a session");
    let resumed = VerifiedClient::resumed;
    let client = resumed(&session);
    assert!(client.is_resumed() && client.authenticated_at() == NOT_AFTER);
    assert_eq!(still_holds(&core, &client), Ok(()));
    // Between the ClientHello and the client's Finished its certificate ends.
    core.now.unix = UnixTime::since_unix_epoch(Duration::from_secs(NOT_AFTER + 1));
    let (reason, _) = still_holds(&core, &client).expect_err("over");
    assert_eq!(reason, Reason::ClientCertificateExpired);
}
