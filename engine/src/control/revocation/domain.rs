//! The lists of one trust domain: gathered from its sources, made into what the workers ask.

use std::sync::Arc;

use countersign_proto::revocation::{ListSet, RevocationMemory, Revocations};
use countersign_proto::{ChainLimits, TrustDomain};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::ListProblem;
use super::library::{Library, SourcedList};
use crate::config::{IdentityConfig, ListSource, RevocationConfig};
use crate::telemetry::LogWriter;

/// Identities with the same CAs and the same sources share it.
pub(super) struct Domain {
    id: u64,
    config: Option<RevocationConfig>,
    client_ca: Vec<CertificateDer<'static>>,
    /// Names and SubjectPublicKeyInfos of the anchors.
    anchors: Vec<(Vec<u8>, Vec<u8>)>,
    memory: Arc<RevocationMemory>,
    gathered: Gathered,
    current: Arc<Revocations>,
    /// Published before: freed here, once no worker has it any more.
    retired: Vec<Arc<Revocations>>,
}

/// The lists of a domain at one time.
#[derive(Default)]
pub(super) struct Gathered {
    live: Vec<SourcedList>,
    shadow: Vec<SourcedList>,
}

impl Gathered {
    fn is_same(&self, other: &Self) -> bool {
        let same = |ours: &[SourcedList], theirs: &[SourcedList]| {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(ours, theirs)| Arc::ptr_eq(&ours.list, &theirs.list))
        };
        same(&self.live, &other.live) && same(&self.shadow, &other.shadow)
    }
}

impl Domain {
    /// `like` is another domain's memory, whose keys of CAs it shares.
    pub(super) fn new(id: u64, identity: &IdentityConfig, like: Option<&RevocationMemory>) -> Self {
        let config = identity.revocation.clone();
        let follows_points = config.as_ref().is_some_and(|config| config.follows_points);
        let limits = ChainLimits { certificates: 1, bytes: 1 };
        // That the bundle can be trusted has been seen when the configuration was read.
        let domain = TrustDomain::new(&identity.client_ca, limits, false).ok();
        let anchors = domain.iter().flat_map(TrustDomain::anchor_keys);
        let anchors = anchors.map(|(name, spki)| (name.to_vec(), spki.to_vec())).collect();
        let memory = Arc::new(match like {
            Some(like) => like.sharing_issuers(follows_points),
            None => RevocationMemory::new(follows_points),
        });
        let current =
            Revocations { generation: 0, live: None, shadow: None, memory: Arc::clone(&memory) };
        Self {
            id,
            config,
            client_ca: identity.client_ca.clone(),
            anchors,
            memory,
            gathered: Gathered::default(),
            current: Arc::new(current),
            retired: Vec::new(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn is_of(&self, identity: &IdentityConfig) -> bool {
        self.config == identity.revocation && self.client_ca == identity.client_ca
    }

    pub(super) fn memory(&self) -> &Arc<RevocationMemory> {
        &self.memory
    }

    /// What holds now.
    pub(super) fn current(&self) -> &Arc<Revocations> {
        &self.current
    }

    /// How many lists decide.
    pub(super) fn lists(&self) -> usize {
        self.gathered.live.len()
    }

    /// How many serial numbers are in them.
    pub(super) fn entries(&self) -> usize {
        self.gathered.live.iter().map(|sourced| sourced.list.entries()).sum()
    }

    /// The lists that its sources have now. `strict`: a source that cannot be read is an error.
    pub(super) fn gather(
        &self,
        library: &mut Library,
        strict: bool,
    ) -> Result<Gathered, ListProblem> {
        let Some(config) = &self.config else { return Ok(Gathered::default()) };
        let mut all = |sources: &[ListSource]| -> Result<Vec<SourcedList>, ListProblem> {
            let mut lists = Vec::new();
            for source in sources {
                lists.extend(library.lists(source, strict)?);
            }
            Ok(lists)
        };
        let mut gathered = Gathered { live: all(&config.sources)?, shadow: all(&config.shadow)? };
        for uri in self.memory.points() {
            gathered.live.extend(library.lists(&ListSource::Url(uri.to_owned()), false)?);
        }
        Ok(gathered)
    }

    /// Has the distribution points fetched that clients' certificates name.
    pub(super) fn want_points(&self, library: &mut Library) {
        let Some(config) = &self.config else { return };
        for source in config.sources.iter().chain(&config.shadow) {
            if let ListSource::Url(url) = source {
                library.want(url, config.refresh);
            }
        }
        self.memory.points().for_each(|uri| library.want(uri, config.refresh));
    }

    /// Takes what was gathered; `true` if it is another thing than before.
    pub(super) fn take(
        &mut self,
        gathered: Gathered,
        generation: &mut u64,
        log: &LogWriter,
    ) -> bool {
        if self.current.generation > 0 && gathered.is_same(&self.gathered) {
            return false;
        }
        *generation += 1;
        let set = |lists: &[SourcedList], is_asked: bool| {
            let config = self.config.as_ref().filter(|_| is_asked)?;
            let lists = lists.iter().map(|sourced| Arc::clone(&sourced.list));
            let set = ListSet::new(lists, config.policy);
            let anchors = self.anchors.iter().map(|(name, spki)| (&name[..], &spki[..]));
            set.verify_ahead(anchors, &self.memory);
            Some(set)
        };
        let decides = self.config.as_ref().is_some_and(RevocationConfig::decides);
        let has_shadow = self.config.as_ref().is_some_and(|config| !config.shadow.is_empty());
        let next = Revocations {
            generation: *generation,
            live: set(&gathered.live, decides),
            shadow: set(&gathered.shadow, has_shadow),
            memory: Arc::clone(&self.memory),
        };
        self.warn_of_forged(&gathered, log);
        self.retired.push(std::mem::replace(&mut self.current, Arc::new(next)));
        self.gathered = gathered;
        true
    }

    /// Lists that say to be from an anchor and are not signed with its key.
    fn warn_of_forged(&self, gathered: &Gathered, log: &LogWriter) {
        let known = self.gathered.live.iter().chain(&self.gathered.shadow);
        let known: Vec<_> = known.map(|sourced| Arc::as_ptr(&sourced.list)).collect();
        for SourcedList { source, list } in gathered.live.iter().chain(&gathered.shadow) {
            let mut keys =
                self.anchors.iter().filter(|(name, _)| name[..] == *list.issuer()).peekable();
            let is_named = keys.peek().is_some();
            if known.contains(&Arc::as_ptr(list))
                || !is_named
                || keys.any(|(_, spki)| list.is_signed_by(spki))
            {
                continue;
            }
            log.write(
                "crl_unverified",
                json!({
                    "source": **source,
                    "issuer": list.issuer_text(),
                    "message": "it says to be from a CA of client_ca and is not signed with that CA's key: it is not believed",
                }),
            );
        }
    }

    /// Frees what no worker has any more.
    pub(super) fn free_retired(&mut self) {
        self.retired.retain(|revocations| Arc::strong_count(revocations) > 1);
    }
}
