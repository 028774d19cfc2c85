use std::sync::Arc;

use rcgen::{KeyPair, PublicKeyData};

use self::forge::{Forge, START, der, name, point};
use super::distribution::{of_certificate, uris};
use super::list::sha256;
use super::*;
use crate::tls::{Issued, Issuer};

pub(crate) mod forge;

const SERIAL: &[u8] = &[0x12, 0x34];
const EAST: &str = "http://crl.example/east.crl";
const WEST: &str = "http://crl.example/west.crl";

fn read(bytes: &[u8]) -> Arc<RevocationList> {
    let mut reader = ListReader::new(bytes.len() as u64);
    reader.push(bytes).unwrap();
    Arc::new(reader.finish().unwrap().remove(0))
}

/// A CA with its key.
struct Ca {
    key: KeyPair,
    spki: Vec<u8>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let spki = key.subject_public_key_info();
        Self { key, spki }
    }

    /// A certificate of it, with these distribution points.
    fn issued(&self, points: &[&str]) -> Issued {
        let points: Vec<u8> =
            points.iter().flat_map(|uri| der(0x30, &der(0xa0, &point(uri)))).collect();
        Issued {
            issuer: Issuer::new(&name("ca"), &self.spki),
            serial: SERIAL.into(),
            distribution_points: of_certificate(&der(0x30, &points)),
            signs_lists: true,
        }
    }

    /// What lists say of it, in every order of them, `minutes` after the start.
    #[track_caller]
    fn verdict(&self, lists: &[Forge], issued: &Issued, minutes: i64) -> Verdict {
        let lists: Vec<_> = lists.iter().map(|list| read(&list.sign(&self.key))).collect();
        self.verdict_of(&lists, issued, minutes)
    }

    #[track_caller]
    fn verdict_of(&self, lists: &[Arc<RevocationList>], issued: &Issued, minutes: i64) -> Verdict {
        let verdicts = (0..lists.len().max(1)).flat_map(|turn| {
            let mut lists = lists.to_vec();
            let turn = turn.min(lists.len());
            lists.rotate_left(turn);
            let mut reversed = lists.clone();
            reversed.reverse();
            [lists, reversed].map(|lists| {
                let set = ListSet::new(lists, RevocationPolicy::default());
                set.standing(issued, false, Some(&self.spki), START + minutes * 60).verdict
            })
        });
        let verdicts: Vec<_> = verdicts.collect();
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{verdicts:?}");
        verdicts[0]
    }
}

const REVOKED: Verdict = Verdict::Revoked(RevocationReason::Unspecified);

#[test]
fn the_freshest_list_decides_in_any_order() {
    let ca = Ca::new();
    let alice = ca.issued(&[]);
    let (old, new) = (Forge::new("ca", 1, 0), Forge::new("ca", 2, 10));
    assert_eq!(ca.verdict(&[old.clone().revoke(SERIAL), new.clone()], &alice, 20), Verdict::Good);
    assert_eq!(ca.verdict(&[old.clone(), new.clone().revoke(SERIAL)], &alice, 20), REVOKED);
    // Made at the same time: the higher number; the same number: the worse word.
    let later = Forge::new("ca", 3, 10);
    assert_eq!(ca.verdict(&[new.revoke(SERIAL), later.clone()], &alice, 20), Verdict::Good);
    assert_eq!(ca.verdict(&[later.clone().revoke(SERIAL), later], &alice, 20), REVOKED);
    assert_eq!(ca.verdict(&[], &alice, 20), Verdict::Unknown);
    assert_eq!(ca.verdict(&[Forge::new("another", 1, 0)], &alice, 20), Verdict::Unknown);
    // One that is from the future is not believed yet.
    assert_eq!(
        ca.verdict(&[old, Forge::new("ca", 9, 200).revoke(SERIAL)], &alice, 30),
        Verdict::Good
    );
}

#[test]
fn a_list_that_is_out_of_date_still_revokes() {
    let ca = Ca::new();
    let alice = ca.issued(&[]);
    let list = Forge::new("ca", 1, 0);
    assert_eq!(ca.verdict(std::slice::from_ref(&list), &alice, 60), Verdict::Good);
    assert_eq!(ca.verdict(std::slice::from_ref(&list), &alice, 61), Verdict::Expired);
    assert_eq!(ca.verdict(&[list.revoke(SERIAL)], &alice, 61), REVOKED);
}

#[test]
fn only_the_issuers_own_key_counts_and_only_with_its_key_usage() {
    let (ca, other) = (Ca::new(), Ca::new());
    let alice = ca.issued(&[]);
    let own = read(&Forge::new("ca", 1, 0).sign(&ca.key));
    let forged = read(&Forge::new("ca", 7, 5).revoke(SERIAL).sign(&other.key));
    assert_eq!(ca.verdict_of(&[Arc::clone(&own), Arc::clone(&forged)], &alice, 9), Verdict::Good);
    assert_eq!(ca.verdict_of(&[Arc::clone(&forged)], &alice, 9), Verdict::Unknown);
    // The same name, another key: that CA's list.
    assert_eq!(other.verdict_of(&[own, forged], &other.issued(&[]), 9), REVOKED);
    let without = Issued { signs_lists: false, ..alice };
    assert_eq!(ca.verdict(&[Forge::new("ca", 1, 0)], &without, 9), Verdict::Unknown);
}

#[test]
fn a_list_remembers_whose_it_is_without_the_key() {
    let (ca, other) = (Ca::new(), Ca::new());
    let list = read(&Forge::new("ca", 1, 0).sign(&ca.key));
    assert_eq!(list.is_by(&sha256(&ca.spki), None), None);
    assert!(list.is_signed_by(&ca.spki) && !list.is_signed_by(&other.spki));
    assert_eq!(list.is_by(&sha256(&ca.spki), None), Some(true));
    assert_eq!(list.is_by(&sha256(&other.spki), None), Some(false));
    assert!(!list.is_signed_by(b"no key") && !list.is_signed_by(&[]));
    for _ in 0..20 {
        assert!(!list.is_signed_by(&Ca::new().spki));
    }
    assert!(list.is_signed_by(&ca.spki));
}

#[test]
fn a_delta_adds_and_removes_where_its_numbers_fit() {
    let ca = Ca::new();
    let alice = ca.issued(&[]);
    let base = |number| Forge::new("ca", number, 0);
    let delta = |number, of| Forge::new("ca", number, 10).delta(of);
    let revoking = delta(5, 3).revoke(SERIAL);
    assert_eq!(ca.verdict(&[base(3), revoking.clone()], &alice, 20), REVOKED);
    assert_eq!(ca.verdict(&[base(4), revoking.clone()], &alice, 20), REVOKED);
    // Too old for it, or as new as it.
    assert_eq!(ca.verdict(&[base(2), revoking.clone()], &alice, 20), Verdict::Good);
    assert_eq!(ca.verdict(&[base(5), revoking.clone()], &alice, 20), Verdict::Good);
    assert_eq!(ca.verdict(std::slice::from_ref(&revoking), &alice, 20), Verdict::Unknown);
    let on_hold = base(3).revoke_for(SERIAL, 6);
    let hold = Verdict::Revoked(RevocationReason::CertificateHold);
    assert_eq!(ca.verdict(std::slice::from_ref(&on_hold), &alice, 20), hold);
    let removing = delta(5, 3).revoke_for(SERIAL, 8);
    assert_eq!(ca.verdict(&[on_hold.clone(), removing.clone()], &alice, 20), Verdict::Good);
    assert_eq!(ca.verdict(&[on_hold.clone(), removing.revoke(SERIAL)], &alice, 20), REVOKED);
    // The fresher of two deltas.
    let fresher = Forge::new("ca", 6, 12).delta(3).revoke_for(SERIAL, 8);
    assert_eq!(ca.verdict(&[on_hold, revoking, fresher], &alice, 20), Verdict::Good);
    // A delta that is in date makes up for a list that is not.
    let late = delta(5, 3).until(300);
    assert_eq!(ca.verdict(&[base(3), late], &alice, 100), Verdict::Good);
    // Of another key it is nothing.
    let forged = read(&delta(9, 3).revoke(SERIAL).sign(&Ca::new().key));
    let own = read(&base(3).sign(&ca.key));
    assert_eq!(ca.verdict_of(&[own, forged], &alice, 20), Verdict::Good);
}

#[test]
fn a_list_speaks_of_the_certificates_in_its_scope() {
    let ca = Ca::new();
    let (east, both, none) = (ca.issued(&[EAST]), ca.issued(&[EAST, WEST]), ca.issued(&[]));
    let of = |uri: &str| Forge::new("ca", 1, 0).only(&der(0xa0, &point(uri)));
    assert_eq!(ca.verdict(&[of(EAST)], &east, 9), Verdict::Good);
    assert_eq!(ca.verdict(&[of(WEST).revoke(SERIAL)], &east, 9), Verdict::Unknown);
    assert_eq!(ca.verdict(&[of(WEST).revoke(SERIAL)], &both, 9), REVOKED);
    assert_eq!(ca.verdict(&[of(EAST)], &none, 9), Verdict::Unknown);
    let lists = [of(EAST), Forge::new("ca", 4, 5).only(&der(0xa0, &point(WEST))).revoke(SERIAL)];
    assert_eq!(ca.verdict(&lists, &east, 9), Verdict::Good);
    // A delta of another scope is not this list's.
    let delta = Forge::new("ca", 5, 5).delta(1).revoke(SERIAL);
    assert_eq!(ca.verdict(&[of(EAST), delta], &east, 9), Verdict::Good);
    for (only, of_end_entity, of_authority) in
        [(0x81, true, false), (0x82, false, true), (0x85, false, false)]
    {
        let list = read(&Forge::new("ca", 1, 0).only(&[only, 1, 0xff]).sign(&ca.key));
        let set = ListSet::new([list], RevocationPolicy::default());
        for (is_authority, speaks) in [(false, of_end_entity), (true, of_authority)] {
            let standing = set.standing(&east, is_authority, Some(&ca.spki), START);
            let expected = if speaks { Verdict::Good } else { Verdict::Unknown };
            assert_eq!(standing.verdict, expected, "{only:x} {is_authority}");
        }
    }
}

#[test]
fn policy_decides_what_the_lists_do_not() {
    let ca = Ca::new();
    let list = || [read(&Forge::new("ca", 1, 0).sign(&ca.key))];
    let other = Ca::new();
    let decide = |policy: RevocationPolicy, issued: &Issued, minutes: i64| {
        let set = ListSet::new(list(), policy);
        let now = START + minutes * 60;
        let by = if issued.issuer.key == sha256(&ca.spki) { &ca.spki } else { &other.spki };
        set.decide(&[set.standing(issued, false, Some(by), now)], now)
            .map_err(|refusal| refusal.reason())
    };
    use crate::Reason;
    let (known, unknown) = (ca.issued(&[]), other.issued(&[]));
    let strict = RevocationPolicy::default();
    let grace =
        RevocationPolicy { expired: OnExpired::FailClosed { grace_seconds: 600 }, ..strict };
    let open = RevocationPolicy { unknown: OnUnknown::Allow, expired: OnExpired::FailOpen };
    assert_eq!(decide(strict, &known, 60), Ok(()));
    assert_eq!(decide(strict, &known, 61), Err(Reason::RevocationListExpired));
    assert_eq!(decide(grace, &known, 70), Ok(()));
    assert_eq!(decide(grace, &known, 71), Err(Reason::RevocationListExpired));
    assert_eq!(decide(open, &known, 9_999), Ok(()));
    assert_eq!(decide(strict, &unknown, 1), Err(Reason::RevocationUnknown));
    assert_eq!(decide(grace, &unknown, 1), Err(Reason::RevocationUnknown));
    assert_eq!(decide(open, &unknown, 1), Ok(()));
    // What is worst is what is told.
    let set = ListSet::new([], open);
    let standing = |verdict| Standing { verdict, list: None };
    let all = [standing(Verdict::Unknown), standing(REVOKED), standing(Verdict::Good)];
    assert_eq!(set.decide(&all, 0).unwrap_err().position, 1);
}

#[test]
fn an_answer_holds_until_a_date_changes_it() {
    let ca = Ca::new();
    let alice = [ca.issued(&[])];
    let lists = [Forge::new("ca", 1, 0), Forge::new("ca", 2, 300), Forge::new("ca", 3, 400)];
    let lists = lists.map(|list| read(&list.sign(&ca.key)));
    let until = |count: usize, policy: RevocationPolicy, minutes: i64| {
        let set = ListSet::new(lists[..count].iter().map(Arc::clone), policy);
        let now = START + minutes * 60;
        let standing = set.standing(&alice[0], false, Some(&ca.spki), now);
        set.holds_until(&[standing], &alice, now).saturating_sub(START)
    };
    let grace = OnExpired::FailClosed { grace_seconds: 600 };
    let grace = RevocationPolicy { expired: grace, ..RevocationPolicy::default() };
    let open = RevocationPolicy { expired: OnExpired::FailOpen, ..RevocationPolicy::default() };
    assert_eq!(until(1, grace, 30), 60 * 60);
    assert_eq!(until(1, grace, 61), 70 * 60);
    assert!(until(1, open, 61) > 1_000_000_000);
    assert!(until(0, open, 61) > 1_000_000_000);
    // The first of those that are to come.
    assert_eq!(until(3, open, 61), 240 * 60 - 1);
}

#[test]
fn places_to_fetch_from_are_those_of_http() {
    let names = [EAST, "ldap://x", "http://a b", "https://crl.example/x", "file:///etc/passwd"];
    let extension: Vec<u8> =
        names.iter().flat_map(|uri| der(0x30, &der(0xa0, &point(uri)))).collect();
    let mut found = Vec::new();
    uris(&der(0x30, &extension), |uri| found.push(uri.to_owned()));
    assert_eq!(found, [EAST, "https://crl.example/x"]);
    assert_eq!(of_certificate(&der(0x30, &extension)).len(), names.len());
    let memory = RevocationMemory::new(true);
    memory.note_points(&der(0x30, &extension));
    memory.note_points(&der(0x30, &extension));
    assert_eq!(memory.points().count(), 2);
    let sharing = memory.sharing_issuers(false);
    sharing.note_points(&der(0x30, &extension));
    assert_eq!(sharing.points().count(), 0);
}
