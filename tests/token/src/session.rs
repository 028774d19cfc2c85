//! Sessions: opened, logged in, searching.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;

use crate::counters::{count, counts};
use crate::library::Call;
use crate::object::Object;
use crate::operation::Operation;
use crate::settings::WRONG_PINS_MAX;
use crate::slot::{Slot, Token};

/// A session of the application.
pub(crate) struct Session {
    pub(crate) slot: Arc<Slot>,
    pub(crate) generation: u64,
    flags: CK_FLAGS,
    work: Mutex<Work>,
}

/// What goes on in it.
#[derive(Default)]
pub(crate) struct Work {
    /// What a search has found and not given out yet, last first.
    found: Option<Vec<CK_OBJECT_HANDLE>>,
    pub(crate) operation: Option<Operation>,
}

impl Session {
    pub(crate) fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_visible(&self, object: &Object) -> bool {
        !object.private || self.slot.is_logged_in()
    }
}

impl Call {
    /// `C_OpenSession`.
    pub(crate) fn open(
        &mut self,
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
    ) -> Result<CK_SESSION_HANDLE, CK_RV> {
        if flags & CKF_SERIAL_SESSION == 0 {
            return Err(CKR_SESSION_PARALLEL_NOT_SUPPORTED);
        }
        let (slot, _) = self.token(slot)?;
        let generation = slot.open()?;
        Ok(self.insert(Session { slot, generation, flags, work: Mutex::default() }))
    }

    /// `C_CloseSession`. A dead one is forgotten too, and said to be dead.
    pub(crate) fn close(&mut self, handle: CK_SESSION_HANDLE) -> Result<(), CK_RV> {
        let alive = self.session(handle).map(drop);
        if let Err(code) = alive
            && ![CKR_SESSION_HANDLE_INVALID, CKR_DEVICE_REMOVED].contains(&code)
        {
            return Err(code);
        }
        let session =
            self.remove(handle).ok_or(alive.err().unwrap_or(CKR_SESSION_HANDLE_INVALID))?;
        session.slot.close(session.generation)
    }

    /// `C_CloseAllSessions`.
    pub(crate) fn close_all(&mut self, slot: CK_SLOT_ID) -> Result<(), CK_RV> {
        let (slot, _) = self.token(slot)?;
        slot.close_all();
        self.remove_all(slot.id);
        Ok(())
    }

    /// `C_GetSessionInfo`.
    pub(crate) fn session_info(
        &mut self,
        handle: CK_SESSION_HANDLE,
    ) -> Result<CK_SESSION_INFO, CK_RV> {
        let (session, _) = self.session(handle)?;
        let is_writable = session.flags & CKF_RW_SESSION != 0;
        let state = match (session.slot.is_logged_in(), is_writable) {
            (false, false) => CKS_RO_PUBLIC_SESSION,
            (false, true) => CKS_RW_PUBLIC_SESSION,
            (true, false) => CKS_RO_USER_FUNCTIONS,
            (true, true) => CKS_RW_USER_FUNCTIONS,
        };
        Ok(CK_SESSION_INFO {
            slotID: session.slot.id,
            state,
            flags: session.flags,
            ulDeviceError: 0,
        })
    }

    /// `C_Login`.
    pub(crate) fn login(
        &mut self,
        handle: CK_SESSION_HANDLE,
        user: CK_USER_TYPE,
        pin: &[u8],
    ) -> Result<(), CK_RV> {
        let (session, token) = self.session(handle)?;
        let counts = counts();
        match user {
            CKU_USER if session.slot.is_logged_in() => Err(CKR_USER_ALREADY_LOGGED_IN),
            CKU_USER => {
                self.check_pin(&token, pin)?;
                count(&counts.logins);
                session.slot.set_logged_in(true);
                Ok(())
            }
            CKU_CONTEXT_SPECIFIC => {
                if session.work().operation.is_none() {
                    return Err(CKR_OPERATION_NOT_INITIALIZED);
                }
                self.check_pin(&token, pin)?;
                count(&counts.context_logins);
                let mut work = session.work();
                let operation = work.operation.as_mut().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
                operation.is_authenticated = true;
                Ok(())
            }
            CKU_SO => Err(CKR_USER_PIN_NOT_INITIALIZED),
            _ => Err(CKR_USER_TYPE_INVALID),
        }
    }

    fn check_pin(&self, token: &Token, pin: &[u8]) -> Result<(), CK_RV> {
        let mut verdict = Err(CKR_PIN_LOCKED);
        self.library.state.judge_pin(&token.settings.serial, |wrong| {
            if wrong >= WRONG_PINS_MAX {
                return wrong;
            }
            let is_right = token.settings.pin.as_bytes() == pin;
            verdict = if is_right { Ok(()) } else { Err(CKR_PIN_INCORRECT) };
            if is_right { 0 } else { wrong + 1 }
        });
        if verdict.is_err() {
            count(&counts().failed_logins);
        }
        verdict
    }

    /// `C_Logout`.
    pub(crate) fn logout(&mut self, handle: CK_SESSION_HANDLE) -> Result<(), CK_RV> {
        let (session, _) = self.session(handle)?;
        if !session.slot.is_logged_in() {
            return Err(CKR_USER_NOT_LOGGED_IN);
        }
        session.slot.set_logged_in(false);
        Ok(())
    }

    /// `C_FindObjectsInit`.
    pub(crate) fn find(
        &mut self,
        handle: CK_SESSION_HANDLE,
        template: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)],
    ) -> Result<(), CK_RV> {
        let (session, token) = self.session(handle)?;
        count(&counts().searches);
        let mut work = session.work();
        if work.found.is_some() {
            return Err(CKR_OPERATION_ACTIVE);
        }
        let matches = |object: &Object| session.is_visible(object) && object.matches(template);
        let objects = token.objects.iter().rev();
        work.found = Some(objects.filter(|(_, o)| matches(o)).map(|(handle, _)| *handle).collect());
        Ok(())
    }

    /// `C_FindObjects`.
    pub(crate) fn found(
        &mut self,
        handle: CK_SESSION_HANDLE,
        most: usize,
    ) -> Result<Vec<CK_OBJECT_HANDLE>, CK_RV> {
        let (session, _) = self.session(handle)?;
        let mut work = session.work();
        let found = work.found.as_mut().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        let rest = found.len().saturating_sub(most);
        Ok(found.drain(rest..).rev().collect())
    }

    /// `C_FindObjectsFinal`.
    pub(crate) fn end_find(&mut self, handle: CK_SESSION_HANDLE) -> Result<(), CK_RV> {
        let (session, _) = self.session(handle)?;
        let found = session.work().found.take();
        found.map(drop).ok_or(CKR_OPERATION_NOT_INITIALIZED)
    }

    /// The token of `C_GetAttributeValue`, on which the object is.
    pub(crate) fn object(
        &mut self,
        handle: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Result<Arc<Token>, CK_RV> {
        let (session, token) = self.session(handle)?;
        let found = token.objects.get(&object).filter(|object| session.is_visible(object));
        found.map(drop).ok_or(CKR_OBJECT_HANDLE_INVALID)?;
        Ok(token)
    }
}
