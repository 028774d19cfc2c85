//! A slot: the token in it, who is logged in, how many sessions are open, how fast it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::counters::{count, counts};
use crate::faults::{Faults, draw};
use crate::object::{Name, Object};
use crate::settings;
use crate::watch::TokenPlan;

/// A slot as long as the settings have it.
pub(crate) struct Slot {
    pub(crate) id: CK_SLOT_ID,
    inner: Mutex<Inner>,
}

struct Inner {
    token: Arc<Token>,
    handles: HashMap<Name, CK_OBJECT_HANDLE>,
    /// Sessions of an earlier one are dead.
    generation: u64,
    open: u64,
    logged_in: bool,
    /// When the token has time for the next signature.
    free: Option<Instant>,
    drawn: u64,
}

/// A token as the settings have it now.
pub(crate) struct Token {
    pub(crate) settings: settings::Token,
    pub(crate) faults: Faults,
    pub(crate) mechanisms: Vec<CK_MECHANISM_TYPE>,
    pub(crate) objects: BTreeMap<CK_OBJECT_HANDLE, Object>,
}

impl Slot {
    pub(crate) fn new(plan: TokenPlan, last_handle: &AtomicU64) -> Self {
        let mut handles = HashMap::new();
        let id = plan.settings.slot;
        let token = Token::new(plan, &mut handles, last_handle);
        let inner = Inner {
            token,
            handles,
            generation: 0,
            open: 0,
            logged_in: false,
            free: None,
            drawn: 0,
        };
        Self { id, inner: Mutex::new(inner) }
    }

    /// New settings, and what follows from their difference to the old ones.
    pub(crate) fn update(&self, plan: TokenPlan, last_handle: &AtomicU64) {
        let mut inner = self.lock();
        let (new, old) = (&plan.settings, &inner.token.settings);
        let is_moved = new.removed != old.removed;
        let is_logged_out = new.login_lost > old.login_lost;
        if is_moved || new.sessions_invalid > old.sessions_invalid {
            inner.end_sessions();
        }
        if is_logged_out {
            inner.logged_in = false;
        }
        if is_moved {
            inner.handles.clear();
        }
        inner.token = Token::new(plan, &mut inner.handles, last_handle);
    }

    /// Nobody knows a session or a handle any more. New handles come with the next settings.
    pub(crate) fn renew(&self) {
        let mut inner = self.lock();
        inner.end_sessions();
        inner.handles.clear();
    }

    /// What is in the slot, or was until it was removed.
    pub(crate) fn token(&self) -> Arc<Token> {
        Arc::clone(&self.lock().token)
    }

    /// Begins a session; gives its generation.
    pub(crate) fn open(&self) -> Result<u64, CK_RV> {
        let mut inner = self.lock();
        let most = inner.token.settings.max_sessions;
        if most != 0 && inner.open >= most {
            return Err(CKR_SESSION_COUNT);
        }
        inner.open += 1;
        let counts = counts();
        count(&counts.sessions_opened);
        let open = counts.sessions_open.fetch_add(1, Ordering::Relaxed) + 1;
        counts.sessions_most.fetch_max(open, Ordering::Relaxed);
        Ok(inner.generation)
    }

    /// Ends a session. With the last one the login goes too (PKCS#11 2.40, section 5.6).
    pub(crate) fn close(&self, generation: u64) -> Result<(), CK_RV> {
        let mut inner = self.lock();
        inner.alive(generation)?;
        inner.open -= 1;
        inner.logged_in &= inner.open > 0;
        counts().sessions_open.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&self) {
        self.lock().end_sessions();
    }

    /// The token of a session that is alive.
    pub(crate) fn alive(&self, generation: u64) -> Result<Arc<Token>, CK_RV> {
        let inner = self.lock();
        inner.alive(generation)?;
        Ok(Arc::clone(&inner.token))
    }

    pub(crate) fn open_sessions(&self) -> u64 {
        self.lock().open
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.lock().logged_in
    }

    pub(crate) fn set_logged_in(&self, logged_in: bool) {
        self.lock().logged_in = logged_in;
    }

    /// When a signature that was asked for at `asked` is ready: the token's latency after it had time for it.
    pub(crate) fn ready_at(&self, asked: Instant) -> Instant {
        let mut inner = self.lock();
        let settings = &inner.token.settings;
        let (latency, jitter) = (settings.latency_us, settings.jitter_us);
        let rate = settings.operations_per_second;
        let mut start = asked;
        if let Some(interval_ns) = 1_000_000_000_u64.checked_div(rate) {
            start = inner.free.map_or(asked, |free| free.max(asked));
            inner.free = Some(start + Duration::from_nanos(interval_ns));
        }
        if jitter == 0 {
            return start + Duration::from_micros(latency);
        }
        inner.drawn += 1;
        let drawn = (latency as f64) + (jitter as f64) * (2.0 * draw(self.id, inner.drawn) - 1.0);
        start + Duration::from_secs_f64(drawn.max(0.0) / 1e6)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn alive(&self, generation: u64) -> Result<(), CK_RV> {
        if self.token.settings.removed {
            return Err(CKR_DEVICE_REMOVED);
        }
        if self.generation == generation { Ok(()) } else { Err(CKR_SESSION_HANDLE_INVALID) }
    }

    fn end_sessions(&mut self) {
        counts().sessions_open.fetch_sub(self.open, Ordering::Relaxed);
        self.generation += 1;
        self.open = 0;
        self.logged_in = false;
    }
}

impl Token {
    fn new(
        plan: TokenPlan,
        handles: &mut HashMap<Name, CK_OBJECT_HANDLE>,
        last_handle: &AtomicU64,
    ) -> Arc<Self> {
        let named = plan.objects;
        // One that is deleted and comes back is another one.
        handles.retain(|name, _| named.iter().any(|(kept, _)| kept == name));
        let objects = named.into_iter().map(|(name, object)| {
            let next = || last_handle.fetch_add(1, Ordering::Relaxed) + 1;
            (*handles.entry(name).or_insert_with(next), object)
        });
        Arc::new(Self {
            objects: objects.collect(),
            settings: plan.settings,
            faults: plan.faults,
            mechanisms: plan.mechanisms,
        })
    }
}
