//! The module as a whole: initialized or not, its slots and sessions, its settings.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::counters::{self, Standing, count, counts};
use crate::faults::{Calls, Effect, Faults};
use crate::process;
use crate::session::Session;
use crate::settings::{Action, INTERVAL};
use crate::signing::Damage;
use crate::slot::{Slot, Token};
use crate::state::State;
use crate::watch::{Plan, Watch};

/// There is one for each copy of the module that a process loads.
static LIBRARY: LazyLock<Library> = LazyLock::new(Library::new);

pub(crate) struct Library {
    folder: PathBuf,
    pub(crate) state: State,
    calls: Calls,
    start: Instant,
    /// When the settings were looked at, in microseconds after the start.
    looked_us: AtomicU64,
    watch: Mutex<Watch>,
    block_signals: AtomicBool,
    running: RwLock<Running>,
    last_handle: AtomicU64,
}

#[derive(Default)]
struct Running {
    /// The process that has called `C_Initialize`: a forked child has not (PKCS#11 2.40, section 5.4).
    pid: Option<u32>,
    /// Whether settings were ever taken.
    is_set: bool,
    faults: Arc<Faults>,
    slots: BTreeMap<CK_SLOT_ID, Arc<Slot>>,
    sessions: HashMap<CK_SESSION_HANDLE, Arc<Session>>,
}

/// A call of one function: what goes wrong with it is found out on its way.
pub(crate) struct Call {
    pub(crate) library: &'static Library,
    function: &'static str,
    pub(crate) damage: Damage,
    /// The caller only asks how much room it needs: nothing goes wrong.
    is_question: bool,
}

impl Library {
    fn new() -> Self {
        let folder = process::folder().unwrap_or_default();
        Self {
            state: State::new(&folder),
            calls: Calls::default(),
            start: Instant::now(),
            looked_us: AtomicU64::new(0),
            watch: Mutex::new(Watch::new(&folder)),
            block_signals: AtomicBool::new(false),
            running: RwLock::default(),
            last_handle: AtomicU64::new(0),
            folder,
        }
    }

    /// Finds out where it is: to be called as soon as it is loaded.
    pub(crate) fn load() {
        LazyLock::force(&LIBRARY);
    }

    /// Begins a call.
    pub(crate) fn call(function: &'static str) -> Result<Call, CK_RV> {
        Self::enter(function, false)
    }

    /// Begins a call that only asks for a length.
    pub(crate) fn question(function: &'static str) -> Result<Call, CK_RV> {
        Self::enter(function, true)
    }

    /// Ends what was begun in a session.
    pub(crate) fn abandon(handle: CK_SESSION_HANDLE) {
        let session = LIBRARY.read().sessions.get(&handle).cloned();
        if let Some(session) = session {
            session.work().operation = None;
        }
    }

    fn enter(function: &'static str, is_question: bool) -> Result<Call, CK_RV> {
        let library = &*LIBRARY;
        if function == "C_Initialize" && !library.is_initialized() {
            counters::begin(&library.folder);
        }
        library.look();
        if library.block_signals.load(Ordering::Relaxed) {
            process::block_signals();
        }
        let mut call = Call { library, function, damage: Damage::default(), is_question };
        let faults = Arc::clone(&library.read().faults);
        call.strike(&faults)?;
        Ok(call)
    }

    /// Looks at the settings if that is due. Who comes while another does waits: a call that begins an interval after
    /// the settings were changed sees them.
    fn look(&self) {
        if !self.is_due() {
            return;
        }
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_due() {
            return;
        }
        let now = self.now_us();
        match watch.look() {
            None => {}
            Some(Ok(plan)) => self.apply(plan),
            Some(Err(problem)) => self.note(&problem),
        }
        self.looked_us.store(now, Ordering::Release);
    }

    fn is_due(&self) -> bool {
        let looked = self.looked_us.load(Ordering::Acquire);
        looked == 0 || u128::from(self.now_us() - looked.min(self.now_us())) >= INTERVAL.as_micros()
    }

    /// Never zero.
    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn apply(&self, plan: Plan) {
        drop(fs::remove_file(self.folder.join("problem")));
        self.block_signals.store(plan.block_signals, Ordering::Relaxed);
        let mut running = self.write();
        running.is_set = true;
        running.faults = Arc::new(plan.faults);
        let mut old = std::mem::take(&mut running.slots);
        for token in plan.tokens {
            let id = token.settings.slot;
            let slot = match old.remove(&id) {
                Some(slot) => {
                    slot.update(token, &self.last_handle);
                    slot
                }
                None => Arc::new(Slot::new(token, &self.last_handle)),
            };
            running.slots.insert(id, slot);
        }
        for slot in old.values() {
            slot.close_all();
        }
    }

    /// Leaves word beside the module: it has nobody to tell.
    pub(crate) fn note(&self, problem: &str) {
        drop(fs::write(self.folder.join("problem"), problem));
    }

    pub(crate) fn note_panic(problem: &str) {
        LIBRARY.note(problem);
    }

    fn is_initialized(&self) -> bool {
        self.read().pid == Some(std::process::id())
    }

    fn read(&self) -> RwLockReadGuard<'_, Running> {
        self.running.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Running> {
        self.running.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_fault(&self, id: u64) -> bool {
        let running = self.read();
        running.faults.has(id) || running.slots.values().any(|slot| slot.token().faults.has(id))
    }

    /// Ends every session and forgets every handle.
    fn renew(&self) {
        let mut running = self.write();
        running.sessions.clear();
        for slot in running.slots.values() {
            slot.renew();
        }
        drop(running);
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).forget();
        self.looked_us.store(0, Ordering::Release);
    }
}

impl Call {
    /// `C_Initialize`.
    pub(crate) fn initialize(&self) -> Result<(), CK_RV> {
        let library = self.library;
        if library.is_initialized() {
            return Err(CKR_CRYPTOKI_ALREADY_INITIALIZED);
        }
        library.renew();
        library.look();
        let mut running = library.write();
        if !running.is_set {
            return Err(CKR_GENERAL_ERROR);
        }
        running.pid = Some(std::process::id());
        count(&counts().initializes);
        Ok(())
    }

    /// `C_Finalize`.
    pub(crate) fn finalize(&self) -> Result<(), CK_RV> {
        self.initialized()?;
        self.library.renew();
        self.library.write().pid = None;
        count(&counts().finalizes);
        Ok(())
    }

    pub(crate) fn initialized(&self) -> Result<(), CK_RV> {
        if self.library.is_initialized() { Ok(()) } else { Err(CKR_CRYPTOKI_NOT_INITIALIZED) }
    }

    /// The slots, or those that have a token.
    pub(crate) fn slots(&self, only_present: bool) -> Result<Vec<CK_SLOT_ID>, CK_RV> {
        self.initialized()?;
        let running = self.library.read();
        let wanted = |slot: &&Arc<Slot>| !only_present || !slot.token().settings.removed;
        Ok(running.slots.values().filter(wanted).map(|slot| slot.id).collect())
    }

    /// A slot with or without a token.
    pub(crate) fn slot(&mut self, id: CK_SLOT_ID) -> Result<Arc<Slot>, CK_RV> {
        self.initialized()?;
        let slot = self.library.read().slots.get(&id).cloned().ok_or(CKR_SLOT_ID_INVALID)?;
        self.strike(&slot.token().faults)?;
        Ok(slot)
    }

    /// A slot and its token.
    pub(crate) fn token(&mut self, id: CK_SLOT_ID) -> Result<(Arc<Slot>, Arc<Token>), CK_RV> {
        let slot = self.slot(id)?;
        let token = slot.token();
        if token.settings.removed { Err(CKR_TOKEN_NOT_PRESENT) } else { Ok((slot, token)) }
    }

    /// A session that is alive, and its token.
    pub(crate) fn session(
        &mut self,
        handle: CK_SESSION_HANDLE,
    ) -> Result<(Arc<Session>, Arc<Token>), CK_RV> {
        self.initialized()?;
        let found = self.library.read().sessions.get(&handle).cloned();
        let session = found.ok_or(CKR_SESSION_HANDLE_INVALID)?;
        let token = session.slot.token();
        self.strike(&token.faults)?;
        let token = session.slot.alive(session.generation)?;
        Ok((session, token))
    }

    pub(crate) fn insert(&self, session: Session) -> CK_SESSION_HANDLE {
        let handle = self.library.last_handle.fetch_add(1, Ordering::Relaxed) + 1;
        self.library.write().sessions.insert(handle, Arc::new(session));
        handle
    }

    /// Forgets a session, dead or alive.
    pub(crate) fn remove(&self, handle: CK_SESSION_HANDLE) -> Option<Arc<Session>> {
        self.library.write().sessions.remove(&handle)
    }

    /// Forgets the sessions of a slot.
    pub(crate) fn remove_all(&self, slot: CK_SLOT_ID) {
        self.library.write().sessions.retain(|_, session| session.slot.id != slot);
    }

    /// Lets happen what is to happen to this call.
    fn strike(&mut self, faults: &Faults) -> Result<(), CK_RV> {
        if self.is_question {
            return Ok(());
        }
        for effect in faults.strike(self.function, &self.library.calls, &self.library.state) {
            count(&counts().faults);
            match effect {
                Effect::Fail(code) => return Err(code),
                Effect::Hang(id) => self.hang(id),
                Effect::DelayMs(milliseconds) => {
                    thread::sleep(Duration::from_millis(milliseconds));
                }
                Effect::Abort => std::process::abort(),
                Effect::Segv => process::die_of_segv(),
                Effect::Damage(Action::WrongSignature) => self.damage.wrong = true,
                Effect::Damage(Action::ShortSignature) => self.damage.short = true,
                Effect::Damage(_) => self.damage.padded = true,
            }
        }
        Ok(())
    }

    fn hang(&self, fault: u64) {
        let _hanging = Standing::new(&counts().hanging, None);
        while self.library.has_fault(fault) {
            thread::sleep(INTERVAL);
            self.library.look();
        }
    }
}
