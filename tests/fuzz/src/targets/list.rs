//! A file of revocation lists: it is the same however it comes, takes no more memory than it is long, and counts only
//! as its CA has signed it.

use std::sync::Arc;

use countersign_proto::revocation::{
    ListReader, ListSet, ReadError, RevocationList, RevocationPolicy,
};

use rcgen::PublicKeyData;

use super::certificate::published;
use crate::outcome::note;
use crate::pki::Pki;

struct World {
    keys: [Vec<u8>; 2],
    genuine: Vec<RevocationList>,
    seeds: Vec<Vec<u8>>,
}

thread_local! {
    static WORLD: World = World::new();
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    WORLD.with(|world| world.seeds.clone())
}

pub(super) fn target(data: &[u8]) {
    let whole = read(data, data.len());
    let in_pieces = read(data, 1 + data.len() % 61);
    assert_eq!(whole.is_ok(), in_pieces.is_ok(), "{whole:?}, and in pieces {in_pieces:?}");
    let (lists, others) = match (whole, in_pieces) {
        (Ok(lists), Ok(others)) => (lists, others),
        (Err(error), _) | (_, Err(error)) => return note(error),
    };
    let memory: usize = lists.iter().map(RevocationList::memory_bytes).sum();
    assert!(memory <= 16 * data.len() + 4_096 * lists.len(), "{memory} bytes for {}", data.len());
    WORLD.with(|world| {
        for (list, other) in lists.iter().zip(&others) {
            assert!(list.is_same(other) && list.entries() == other.entries(), "the same in pieces");
            assert!(!list.issuer_text().contains(char::is_control));
            for key in &world.keys {
                if list.is_signed_by(key) {
                    note("signed");
                    let is_genuine = world.genuine.iter().any(|genuine| genuine.is_same(list));
                    assert!(is_genuine, "nobody has signed {list:?}");
                }
            }
        }
    });
    note(format_args!("a list of {} entries", if lists[0].entries() == 0 { "no" } else { "some" }));
    let _ = ListSet::new(lists.into_iter().map(Arc::new), RevocationPolicy::default());
}

fn read(data: &[u8], at_a_time: usize) -> Result<Vec<RevocationList>, ReadError> {
    let mut reader = ListReader::new(data.len() as u64);
    data.chunks(at_a_time.max(1)).try_for_each(|piece| reader.push(piece))?;
    reader.finish()
}

impl World {
    fn new() -> Self {
        let pki = Pki::new();
        let many: Vec<_> = (1..200).map(|serial| format!("{:06x}", serial * 0x123)).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let lists = [
            pki.list(false, 1, &[]),
            pki.list(false, 0x1234, &many),
            pki.list(true, 7, &["01", "0203"]),
        ];
        let genuine = lists.iter().flat_map(|(_, der)| read(der, der.len())).flatten().collect();
        let mut seeds: Vec<Vec<u8>> = Vec::new();
        let both = format!("text\r\n{}\nmore text\n{}", lists[0].0, lists[2].0);
        for (pem, der) in lists {
            seeds.extend([der, pem.into_bytes()]);
        }
        seeds.push(both.into_bytes());
        seeds.extend(published("crls"));
        Self {
            keys: [pki.intermediate_key(), pki.root_key()]
                .map(PublicKeyData::subject_public_key_info),
            genuine,
            seeds,
        }
    }
}
