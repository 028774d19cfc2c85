//! What the connections of one worker share: stacks, the budgets that bound them together, and what
//! is served now.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use countersign_fiber::{StackError, Stacks};
use rustls_pki_types::UnixTime;

use crate::chain_cache::{ChainCache, ChainCacheFacts, ChainCacheLimits};
use crate::connection_id::{ConnectionId, ConnectionNumbers};
use crate::limits::{Limits, STATUSES_MAX};
use crate::listener::Listener;
use crate::ocsp::{Answer, Freshness, StatusCache, StatusKey};
use crate::seam::{Budget, WorkKind};
use crate::ticket::TicketKeys;
use crate::time::seconds;
use crate::tls::{ChainKey, VerifiedChain};

/// Emptied send buffers that are kept for the next send: so many, each of at most so many bytes. A
/// connection with nothing to send has none.
const SPARE_BUFFERS_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 320 * 1024;

/// A worker's stacks and budgets. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct Desk {
    inner: Rc<Inner>,
}

struct Inner {
    stacks: Stacks,
    signing: Counter,
    lookups: Counter,
    drains: Counter,
    connections: ConnectionNumbers,
    spare_buffers: RefCell<Vec<Vec<u8>>>,
    chains: RefCell<ChainCache>,
    /// What is served now: a few.
    listeners: RefCell<Vec<Arc<Listener>>>,
    publications: Cell<u64>,
    ticket_keys: RefCell<TicketKeys>,
    statuses: RefCell<StatusCache>,
    statuses_used: Cell<u64>,
}

struct Counter {
    taken: Cell<usize>,
    most: usize,
}

/// A place in a budget; dropping it gives the place back.
pub(crate) struct Place {
    inner: Rc<Inner>,
    kind: PlaceKind,
}

#[derive(Clone, Copy)]
enum PlaceKind {
    Signing,
    Lookup,
    Drain,
}

impl Desk {
    /// The desk of one of `workers` workers. Its connections are known by `nonce`, which no other worker of any boot
    /// has, and a number: random in a running engine, given in a simulation.
    ///
    /// # Errors
    /// [`StackError`] if the stacks cannot be had.
    pub fn new(
        limits: &Limits,
        chains: ChainCacheLimits,
        workers: usize,
        nonce: u64,
    ) -> Result<Self, StackError> {
        let stacks = Stacks::new(limits.stacks(), workers)?;
        let counter = |most| Counter { taken: Cell::new(0), most };
        Ok(Self {
            inner: Rc::new(Inner {
                stacks,
                signing: counter(limits.signing_suspensions),
                lookups: counter(limits.lookup_suspensions),
                drains: counter(limits.drains),
                connections: ConnectionNumbers::new(nonce),
                spare_buffers: RefCell::default(),
                chains: RefCell::new(ChainCache::new(chains)),
                listeners: RefCell::default(),
                publications: Cell::default(),
                ticket_keys: RefCell::default(),
                statuses: RefCell::new(StatusCache::new(STATUSES_MAX)),
                statuses_used: Cell::new(0),
            }),
        })
    }

    /// These listeners are served from now on, and no others. Whether those who are let in still would be
    /// is asked of them: of a handshake under way when it finishes, of an open connection by
    /// [`Connection::handle_publication`](crate::Connection::handle_publication), which the driver calls.
    pub fn publish(&self, listeners: Vec<Arc<Listener>>) {
        self.inner.listeners.replace(listeners);
        self.inner.publications.set(self.inner.publications.get() + 1);
    }

    /// The listeners are the same, and something else that they decide by is not.
    pub fn publish_again(&self) {
        self.inner.publications.set(self.inner.publications.get() + 1);
    }

    /// How often something was published.
    pub(crate) fn publications(&self) -> u64 {
        self.inner.publications.get()
    }

    /// What is served now at an address; `None` if nothing is any more.
    pub(crate) fn listener(&self, address: SocketAddr) -> Option<Arc<Listener>> {
        let listeners = self.inner.listeners.borrow();
        listeners.iter().find(|listener| listener.address == address).cloned()
    }

    /// Seals and opens tickets with `keys` from now on; a new desk has none, and resumes nothing.
    pub fn set_ticket_keys(&self, keys: TicketKeys) {
        *self.inner.ticket_keys.borrow_mut() = keys;
    }

    pub(crate) fn with_ticket_keys<T>(&self, ask: impl FnOnce(&TicketKeys) -> T) -> T {
        ask(&self.inner.ticket_keys.borrow())
    }

    /// Stacks taken now.
    #[must_use]
    pub fn stacks_in_use(&self) -> usize {
        self.inner.stacks.in_use()
    }

    /// Handshakes suspended now for key operations.
    #[must_use]
    pub fn signing_suspensions(&self) -> usize {
        self.inner.signing.taken.get()
    }

    /// Handshakes suspended now for look-ups.
    #[must_use]
    pub fn lookup_suspensions(&self) -> usize {
        self.inner.lookups.taken.get()
    }

    /// Refused clients that are drained now.
    #[must_use]
    pub fn drains(&self) -> usize {
        self.inner.drains.taken.get()
    }

    /// What the cache of verified chains has done and holds.
    #[must_use]
    pub fn chain_cache(&self) -> ChainCacheFacts {
        self.inner.chains.borrow().facts()
    }

    /// Forgets every verified chain.
    pub fn forget_chains(&self) {
        self.inner.chains.borrow_mut().clear();
    }

    /// A chain that was verified before and is within its validity.
    pub(crate) fn known_chain(&self, key: &ChainKey, now: UnixTime) -> Option<Arc<VerifiedChain>> {
        self.inner.chains.borrow_mut().get(key, seconds(now))
    }

    pub(crate) fn remember_chain(&self, key: ChainKey, chain: &Arc<VerifiedChain>) {
        self.inner.chains.borrow_mut().insert(key, Arc::clone(chain));
    }

    /// The name of another connection.
    pub(crate) fn name_connection(&self) -> ConnectionId {
        self.inner.connections.take()
    }

    /// What OCSP has told about a certificate and may still be used. `None` says to ask: a resumption,
    /// which must not wait, becomes a full handshake.
    pub(crate) fn known_answer(
        &self,
        key: &StatusKey,
        freshness: Freshness,
        now: UnixTime,
    ) -> Option<Answer> {
        let known = self.inner.statuses.borrow().get(key, freshness, seconds(now));
        let used = &self.inner.statuses_used;
        used.set(used.get() + u64::from(known.is_some()));
        known
    }

    /// Keeps what OCSP has told about a certificate, for whoever comes with it next.
    pub fn remember_answer(&self, key: StatusKey, answer: Answer) {
        self.inner.statuses.borrow_mut().insert(key, answer);
    }

    /// How often an OCSP answer was used again, and how many are remembered.
    #[must_use]
    pub fn statuses(&self) -> (u64, usize) {
        (self.inner.statuses_used.get(), self.inner.statuses.borrow().len())
    }

    pub(crate) fn stacks(&self) -> &Stacks {
        &self.inner.stacks
    }

    /// An empty buffer, perhaps with room in it.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.inner.spare_buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back that is not needed any more.
    pub(crate) fn spare(&self, mut buffer: Vec<u8>) {
        let mut spare = self.inner.spare_buffers.borrow_mut();
        if (1..=SPARE_BYTES_MAX).contains(&buffer.capacity()) && spare.len() < SPARE_BUFFERS_MAX {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// A place for a step that suspends, unless its budget is spent.
    pub(crate) fn suspension(&self, work: WorkKind) -> Option<Place> {
        self.take(match work.budget() {
            Budget::Signing => PlaceKind::Signing,
            Budget::Lookup => PlaceKind::Lookup,
        })
    }

    /// A place for a refused client to be drained in, unless there are too many.
    pub(crate) fn drain(&self) -> Option<Place> {
        self.take(PlaceKind::Drain)
    }

    fn take(&self, kind: PlaceKind) -> Option<Place> {
        let counter = self.inner.counter(kind);
        if counter.taken.get() >= counter.most {
            return None;
        }
        counter.taken.set(counter.taken.get() + 1);
        Some(Place { inner: Rc::clone(&self.inner), kind })
    }
}

impl Inner {
    fn counter(&self, kind: PlaceKind) -> &Counter {
        match kind {
            PlaceKind::Signing => &self.signing,
            PlaceKind::Lookup => &self.lookups,
            PlaceKind::Drain => &self.drains,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.inner.counter(self.kind).taken;
        taken.set(taken.get() - 1);
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Desk({} stacks in use)", self.stacks_in_use())
    }
}
