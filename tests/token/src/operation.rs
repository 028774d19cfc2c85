//! Signing: `C_SignInit`, `C_Sign`, `C_SignUpdate`, `C_SignFinal`.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use cryptoki_sys::*;

use crate::counters::{Standing, count, counts};
use crate::library::Call;
use crate::mechanism::Mechanism;
use crate::object::Object;
use crate::session::Session;
use crate::signing::Manner;
use crate::slot::Token;

/// What may be gathered for one signature.
const PARTS_MAX: usize = 1 << 20;

/// A signature that was begun.
pub(crate) struct Operation {
    object: CK_OBJECT_HANDLE,
    mechanism: Mechanism,
    /// By a login for it alone.
    pub(crate) is_authenticated: bool,
    parts: Option<Vec<u8>>,
}

impl Call {
    /// `C_SignInit`.
    pub(crate) fn begin(
        &mut self,
        handle: CK_SESSION_HANDLE,
        number: CK_MECHANISM_TYPE,
        pss: Option<CK_RSA_PKCS_PSS_PARAMS>,
        object: CK_OBJECT_HANDLE,
    ) -> Result<(), CK_RV> {
        let (session, token) = self.session(handle)?;
        let mut work = session.work();
        if work.operation.is_some() {
            return Err(CKR_OPERATION_ACTIVE);
        }
        if !token.mechanisms.contains(&number) {
            return Err(CKR_MECHANISM_INVALID);
        }
        let mechanism = Mechanism::new(number, pss)?;
        let found = usable(&session, &token, object)?;
        if !found.key.fits(mechanism) {
            return Err(CKR_KEY_TYPE_INCONSISTENT);
        }
        work.operation =
            Some(Operation { object, mechanism, is_authenticated: false, parts: None });
        Ok(())
    }

    /// How long the signature may become that was begun.
    pub(crate) fn signature_len(&mut self, handle: CK_SESSION_HANDLE) -> Result<usize, CK_RV> {
        let (session, token) = self.session(handle)?;
        let work = session.work();
        let operation = work.operation.as_ref().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        let object = usable(&session, &token, operation.object)?;
        let padding = if token.faults.may_pad() { 2 } else { 0 };
        Ok(object.key.signature_len() + padding)
    }

    /// `C_Sign`.
    pub(crate) fn sign(
        &mut self,
        handle: CK_SESSION_HANDLE,
        data: &[u8],
    ) -> Result<Vec<u8>, CK_RV> {
        let asked = Instant::now();
        let (session, operation) = self.taken(handle)?;
        if operation.parts.is_some() {
            return Err(CKR_OPERATION_ACTIVE);
        }
        self.perform(asked, &session, &operation, data)
    }

    /// `C_SignUpdate`.
    pub(crate) fn gather(&mut self, handle: CK_SESSION_HANDLE, data: &[u8]) -> Result<(), CK_RV> {
        let (session, _) = self.session(handle)?;
        let mut work = session.work();
        let operation = work.operation.as_mut().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        let parts = operation.parts.get_or_insert_default();
        if !operation.mechanism.takes_parts() || parts.len() + data.len() > PARTS_MAX {
            work.operation = None;
            return Err(CKR_DATA_LEN_RANGE);
        }
        parts.extend_from_slice(data);
        Ok(())
    }

    /// `C_SignFinal`.
    pub(crate) fn sign_gathered(&mut self, handle: CK_SESSION_HANDLE) -> Result<Vec<u8>, CK_RV> {
        let asked = Instant::now();
        let (session, mut operation) = self.taken(handle)?;
        let parts = operation.parts.take().unwrap_or_default();
        self.perform(asked, &session, &operation, &parts)
    }

    /// What was begun in this session: it ends with this call, however that ends.
    fn taken(&mut self, handle: CK_SESSION_HANDLE) -> Result<(Arc<Session>, Operation), CK_RV> {
        let (session, _) = self.session(handle)?;
        let operation = session.work().operation.take().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        Ok((session, operation))
    }

    /// Signs, and comes back when the token's time is over: its latency holds the signature's own time.
    fn perform(
        &self,
        asked: Instant,
        session: &Session,
        operation: &Operation,
        data: &[u8],
    ) -> Result<Vec<u8>, CK_RV> {
        let counts = counts();
        let _signing = Standing::new(&counts.signing, Some(&counts.signing_most));
        let token = session.slot.alive(session.generation)?;
        let object = usable(session, &token, operation.object)?;
        if object.always_authenticate && !operation.is_authenticated {
            return Err(CKR_USER_NOT_LOGGED_IN);
        }
        let ready = session.slot.ready_at(asked);
        let manner = Manner { damage: self.damage, cheap: token.settings.cheap };
        let signature = object.key.sign(operation.mechanism, data, manner)?;
        sleep_until(ready);
        // The token may have gone meanwhile.
        session.slot.alive(session.generation)?;
        count(if operation.mechanism.is_mac() { &counts.macs } else { &counts.signatures });
        Ok(signature)
    }
}

/// An object to sign with.
fn usable<'a>(
    session: &Session,
    token: &'a Token,
    object: CK_OBJECT_HANDLE,
) -> Result<&'a Object, CK_RV> {
    let object = token.objects.get(&object).ok_or(CKR_KEY_HANDLE_INVALID)?;
    if !session.is_visible(object) {
        return Err(CKR_USER_NOT_LOGGED_IN);
    }
    if object.class == CKO_PUBLIC_KEY {
        return Err(CKR_KEY_FUNCTION_NOT_PERMITTED);
    }
    Ok(object)
}

/// A token's answer comes when it comes, not when the kernel finds it convenient to wake somebody: by default that
/// would be up to 50 µs later.
fn sleep_until(ready: Instant) {
    thread_local! {
        static IS_PUNCTUAL: Cell<bool> = const { Cell::new(false) };
    }
    let rest = ready.saturating_duration_since(Instant::now());
    if rest.is_zero() {
        return;
    }
    if !IS_PUNCTUAL.replace(true) {
        // Without it the answer comes a little later.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    }
    thread::sleep(rest);
}
