//! The C interface: pointers become slices and values, results become `CK_RV`. PKCS#11 2.40, section 5.
//!
//! What every SAFETY comment here rests on is the caller's side of PKCS#11: a pointer is null, or points to as many
//! of what its type says as the count beside it says, readable or writable as the direction of the argument
//! has it, until the call returns. Nothing is kept beyond that. Nulls are looked for.
#![allow(unsafe_code)] // The C interface.
#![allow(non_snake_case)] // The names are the standard's.

use std::ffi::c_void;
use std::mem::{align_of, size_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use cryptoki_sys::*;

use crate::library::{Call, Library};
use crate::mechanism;
use crate::object::Attribute;
use crate::slot::{Slot, Token};

const VERSION: CK_VERSION = CK_VERSION { major: 2, minor: 40 };
const OWN_VERSION: CK_VERSION = CK_VERSION { major: 1, minor: 0 };
const MANUFACTURER: &str = "Countersign tests";

/// Carries a call out. A panic ends here.
fn answer(function: &'static str, call: impl FnOnce(&mut Call) -> Result<(), CK_RV>) -> CK_RV {
    carry_out(function, || call(&mut Library::call(function)?))
}

fn carry_out(function: &str, call: impl FnOnce() -> Result<(), CK_RV>) -> CK_RV {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(code)) => code,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            // One that fails too has nothing left to say.
            drop(catch_unwind(|| Library::note_panic(&format!("{function} panicked: {text}"))));
            CKR_GENERAL_ERROR
        }
    }
}

/// Writes one value.
///
/// # Safety
///
/// `place` is null, or a T can be written there.
unsafe fn put<T>(place: *mut T, value: T) -> Result<(), CK_RV> {
    if place.is_null() {
        return Err(CKR_ARGUMENTS_BAD);
    }
    // SAFETY: not null, so by the contract it can be written to.
    unsafe { place.write(value) };
    Ok(())
}

/// Looks at `count` values.
///
/// # Safety
///
/// `start` is null, or `count` values can be read there as long as `'a`.
unsafe fn many<'a, T>(start: *const T, count: CK_ULONG) -> Result<&'a [T], CK_RV> {
    let count = usize::try_from(count).map_err(|_| CKR_ARGUMENTS_BAD)?;
    if count == 0 {
        return Ok(&[]);
    }
    if start.is_null() {
        return Err(CKR_ARGUMENTS_BAD);
    }
    // SAFETY: not null, so by the contract they can be read.
    Ok(unsafe { slice::from_raw_parts(start, count) })
}

/// The convention of section 5.2: without a buffer the length is told, with one that is too small too.
///
/// # Safety
///
/// `length` is null or can be read and written; `buffer` is null, or `*length` values can be written there.
unsafe fn fill<T: Copy>(buffer: *mut T, length: *mut CK_ULONG, values: &[T]) -> Result<(), CK_RV> {
    if length.is_null() {
        return Err(CKR_ARGUMENTS_BAD);
    }
    // SAFETY: not null, so by the contract it can be read.
    let room = unsafe { length.read() };
    // SAFETY: not null, so by the contract it can be written to.
    unsafe { length.write(values.len() as CK_ULONG) };
    if buffer.is_null() {
        return Ok(());
    }
    if room < values.len() as CK_ULONG {
        return Err(CKR_BUFFER_TOO_SMALL);
    }
    // SAFETY: there is room for them, and they are ours: nothing overlaps.
    unsafe { buffer.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    Ok(())
}

/// A text filled up with blanks, as every text of a fixed length is.
fn padded<const N: usize>(text: &str) -> [CK_UTF8CHAR; N] {
    let mut field = [b' '; N];
    let length = text.len().min(N);
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    field
}

pub(crate) unsafe extern "C" fn C_Initialize(arguments: *mut c_void) -> CK_RV {
    answer("C_Initialize", |call| {
        let arguments: *mut CK_C_INITIALIZE_ARGS = arguments.cast();
        // SAFETY: null, or a CK_C_INITIALIZE_ARGS to read.
        let reserved = unsafe { arguments.as_ref() }.is_some_and(|a| !a.pReserved.is_null());
        // Section 5.4: whatever locks the caller offers, the operating system's are used.
        if reserved { Err(CKR_ARGUMENTS_BAD) } else { call.initialize() }
    })
}

pub(crate) unsafe extern "C" fn C_Finalize(reserved: *mut c_void) -> CK_RV {
    answer(
        "C_Finalize",
        |call| {
            if reserved.is_null() { call.finalize() } else { Err(CKR_ARGUMENTS_BAD) }
        },
    )
}

pub(crate) unsafe extern "C" fn C_GetInfo(info: *mut CK_INFO) -> CK_RV {
    answer("C_GetInfo", |call| {
        call.initialized()?;
        let value = CK_INFO {
            cryptokiVersion: VERSION,
            manufacturerID: padded(MANUFACTURER),
            flags: 0,
            libraryDescription: padded("Misbehaves on request"),
            libraryVersion: OWN_VERSION,
        };
        // SAFETY: the caller's contract.
        unsafe { put(info, value) }
    })
}

pub(crate) unsafe extern "C" fn C_GetSlotList(
    only_present: CK_BBOOL,
    list: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    answer("C_GetSlotList", |call| {
        let slots = call.slots(only_present != CK_FALSE)?;
        // SAFETY: the caller's contract.
        unsafe { fill(list, count, &slots) }
    })
}

pub(crate) unsafe extern "C" fn C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    answer("C_GetSlotInfo", |call| {
        let slot = call.slot(slot)?;
        let present = if slot.token().settings.removed { 0 } else { CKF_TOKEN_PRESENT };
        let value = CK_SLOT_INFO {
            slotDescription: padded(&format!("Test slot {}", slot.id)),
            manufacturerID: padded(MANUFACTURER),
            flags: present | CKF_REMOVABLE_DEVICE | CKF_HW_SLOT,
            hardwareVersion: OWN_VERSION,
            firmwareVersion: OWN_VERSION,
        };
        // SAFETY: the caller's contract.
        unsafe { put(info, value) }
    })
}

pub(crate) unsafe extern "C" fn C_GetTokenInfo(
    slot: CK_SLOT_ID,
    info: *mut CK_TOKEN_INFO,
) -> CK_RV {
    answer("C_GetTokenInfo", |call| {
        let (slot, token) = call.token(slot)?;
        let wrong = call.library.state.wrong_pins(&token.settings.serial);
        // SAFETY: the caller's contract.
        unsafe { put(info, token_info(&slot, &token, wrong)) }
    })
}

fn token_info(slot: &Slot, token: &Token, wrong_pins: u64) -> CK_TOKEN_INFO {
    let settings = &token.settings;
    let pin_flags = match wrong_pins {
        0 => 0,
        _ if !settings.tells_wrong_pins => 0,
        1 => CKF_USER_PIN_COUNT_LOW,
        2 => CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY,
        _ => CKF_USER_PIN_LOCKED,
    };
    let most = match settings.max_sessions {
        0 => CK_EFFECTIVELY_INFINITE,
        most => most,
    };
    CK_TOKEN_INFO {
        label: padded(&settings.label),
        manufacturerID: padded(&settings.manufacturer),
        model: padded(&settings.model),
        serialNumber: padded(&settings.serial),
        flags: CKF_RNG
            | CKF_LOGIN_REQUIRED
            | CKF_USER_PIN_INITIALIZED
            | CKF_TOKEN_INITIALIZED
            | CKF_WRITE_PROTECTED
            | pin_flags,
        ulMaxSessionCount: most,
        ulSessionCount: slot.open_sessions(),
        ulMaxRwSessionCount: most,
        ulRwSessionCount: CK_UNAVAILABLE_INFORMATION,
        ulMaxPinLen: 64,
        ulMinPinLen: 1,
        ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
        hardwareVersion: OWN_VERSION,
        firmwareVersion: OWN_VERSION,
        utcTime: padded(""),
    }
}

pub(crate) unsafe extern "C" fn C_GetMechanismList(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    answer("C_GetMechanismList", |call| {
        let (_, token) = call.token(slot)?;
        // SAFETY: the caller's contract.
        unsafe { fill(list, count, &token.mechanisms) }
    })
}

pub(crate) unsafe extern "C" fn C_GetMechanismInfo(
    slot: CK_SLOT_ID,
    number: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    answer("C_GetMechanismInfo", |call| {
        let (_, token) = call.token(slot)?;
        let known = mechanism::info(number).filter(|_| token.mechanisms.contains(&number));
        // SAFETY: the caller's contract.
        unsafe { put(info, known.ok_or(CKR_MECHANISM_INVALID)?) }
    })
}

pub(crate) unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    _application: *mut c_void,
    _notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    answer("C_OpenSession", |call| {
        if session.is_null() {
            return Err(CKR_ARGUMENTS_BAD);
        }
        let handle = call.open(slot, flags)?;
        // SAFETY: the caller's contract.
        unsafe { put(session, handle) }
    })
}

pub(crate) unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    answer("C_CloseSession", |call| call.close(session))
}

pub(crate) unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    answer("C_CloseAllSessions", |call| call.close_all(slot))
}

pub(crate) unsafe extern "C" fn C_GetSessionInfo(
    session: CK_SESSION_HANDLE,
    info: *mut CK_SESSION_INFO,
) -> CK_RV {
    answer("C_GetSessionInfo", |call| {
        let value = call.session_info(session)?;
        // SAFETY: the caller's contract.
        unsafe { put(info, value) }
    })
}

pub(crate) unsafe extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    answer("C_Login", |call| {
        // SAFETY: the caller's contract.
        let pin = unsafe { many(pin, length) }?;
        call.login(session, user, pin)
    })
}

pub(crate) unsafe extern "C" fn C_Logout(session: CK_SESSION_HANDLE) -> CK_RV {
    answer("C_Logout", |call| call.logout(session))
}

pub(crate) unsafe extern "C" fn C_FindObjectsInit(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    answer("C_FindObjectsInit", |call| {
        // SAFETY: the caller's contract.
        let template = unsafe { many(template, count) }?;
        let mut wanted = Vec::with_capacity(template.len());
        for attribute in template {
            // SAFETY: the caller's contract holds for an attribute's value too.
            let value = unsafe { many(attribute.pValue.cast::<u8>(), attribute.ulValueLen) }?;
            wanted.push((attribute.type_, value.to_vec()));
        }
        call.find(session, &wanted)
    })
}

pub(crate) unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    most: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    answer("C_FindObjects", |call| {
        if objects.is_null() || count.is_null() {
            return Err(CKR_ARGUMENTS_BAD);
        }
        let found = call.found(session, usize::try_from(most).unwrap_or(usize::MAX))?;
        let mut room = most;
        // SAFETY: `room` is ours; there is room for `most` objects by the caller's contract.
        unsafe { fill(objects, &raw mut room, &found) }?;
        // SAFETY: the caller's contract.
        unsafe { put(count, room) }
    })
}

pub(crate) unsafe extern "C" fn C_FindObjectsFinal(session: CK_SESSION_HANDLE) -> CK_RV {
    answer("C_FindObjectsFinal", |call| call.end_find(session))
}

pub(crate) unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    answer("C_GetAttributeValue", |call| {
        if template.is_null() && count > 0 {
            return Err(CKR_ARGUMENTS_BAD);
        }
        let token = call.object(session, object)?;
        let object = token.objects.get(&object).ok_or(CKR_OBJECT_HANDLE_INVALID)?;
        // Section 5.7.5: all are looked at, and one of the codes is given.
        let mut result = Ok(());
        for at in 0..usize::try_from(count).map_err(|_| CKR_ARGUMENTS_BAD)? {
            // SAFETY: the caller's contract: there are `count` of them.
            let attribute = unsafe { template.add(at) };
            // SAFETY: the same; nobody else looks at it during the call.
            let attribute = unsafe { &mut *attribute };
            let filled = match object.attribute(attribute.type_) {
                Attribute::Value(value) => {
                    // SAFETY: the caller's contract holds for an attribute's value too.
                    unsafe { fill(attribute.pValue.cast(), &raw mut attribute.ulValueLen, value) }
                }
                Attribute::Sensitive => Err(CKR_ATTRIBUTE_SENSITIVE),
                Attribute::Unknown => Err(CKR_ATTRIBUTE_TYPE_INVALID),
            };
            if let Err(code) = filled {
                attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
                result = Err(code);
            }
        }
        result
    })
}

pub(crate) unsafe extern "C" fn C_SignInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    answer("C_SignInit", |call| {
        // SAFETY: the caller's contract.
        let mechanism = unsafe { mechanism.as_ref() }.ok_or(CKR_ARGUMENTS_BAD)?;
        let parameters: *const CK_RSA_PKCS_PSS_PARAMS = mechanism.pParameter.cast();
        let is_pss = mechanism.ulParameterLen == size_of::<CK_RSA_PKCS_PSS_PARAMS>() as CK_ULONG
            && !parameters.is_null()
            && parameters.addr().is_multiple_of(align_of::<CK_RSA_PKCS_PSS_PARAMS>());
        // SAFETY: by the caller's contract so many octets can be read there, they are aligned, and any octets are a
        // CK_RSA_PKCS_PSS_PARAMS. Whether it means something is up to the mechanism.
        let pss = is_pss.then(|| unsafe { parameters.read() });
        call.begin(session, mechanism.mechanism, pss, key)
    })
}

pub(crate) unsafe extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    length: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_length: *mut CK_ULONG,
) -> CK_RV {
    let sign = |call: &mut Call| {
        // SAFETY: the caller's contract.
        let data = unsafe { many(data, length) }?;
        call.sign(session, data)
    };
    // SAFETY: the caller's contract.
    unsafe { give_signature("C_Sign", session, signature, signature_length, sign) }
}

pub(crate) unsafe extern "C" fn C_SignUpdate(
    session: CK_SESSION_HANDLE,
    part: *mut CK_BYTE,
    length: CK_ULONG,
) -> CK_RV {
    answer("C_SignUpdate", |call| {
        // SAFETY: the caller's contract.
        let part = unsafe { many(part, length) }?;
        call.gather(session, part)
    })
}

pub(crate) unsafe extern "C" fn C_SignFinal(
    session: CK_SESSION_HANDLE,
    signature: *mut CK_BYTE,
    signature_length: *mut CK_ULONG,
) -> CK_RV {
    let sign = |call: &mut Call| call.sign_gathered(session);
    // SAFETY: the caller's contract.
    unsafe { give_signature("C_SignFinal", session, signature, signature_length, sign) }
}

/// Section 5.2 once more: the operation goes on after a question for the length, and after too small a buffer.
///
/// # Safety
///
/// As for [`fill`].
unsafe fn give_signature(
    function: &'static str,
    session: CK_SESSION_HANDLE,
    signature: *mut CK_BYTE,
    length: *mut CK_ULONG,
    sign: impl FnOnce(&mut Call) -> Result<Vec<u8>, CK_RV>,
) -> CK_RV {
    carry_out(function, || {
        if length.is_null() {
            return Err(CKR_ARGUMENTS_BAD);
        }
        // SAFETY: not null, so by the contract it can be read.
        let room = unsafe { length.read() };
        let longest = Library::question(function)?.signature_len(session);
        if signature.is_null() || longest.is_ok_and(|longest| room < longest as CK_ULONG) {
            let longest = longest? as CK_ULONG;
            // SAFETY: the contract.
            unsafe { put(length, longest) }?;
            return if signature.is_null() { Ok(()) } else { Err(CKR_BUFFER_TOO_SMALL) };
        }
        let made = Library::call(function).and_then(|mut call| sign(&mut call));
        if made.as_ref().is_err_and(|code| *code != CKR_BUFFER_TOO_SMALL) {
            // Section 5.11.2: whatever else goes wrong, the operation is over.
            Library::abandon(session);
        }
        let made = made?;
        // SAFETY: the contract.
        unsafe { fill(signature, length, &made) }
    })
}

pub(crate) unsafe extern "C" fn C_GenerateRandom(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    length: CK_ULONG,
) -> CK_RV {
    answer("C_GenerateRandom", |call| {
        call.session(session)?;
        let mut drawn = vec![0; usize::try_from(length).map_err(|_| CKR_ARGUMENTS_BAD)?];
        SystemRandom::new().fill(&mut drawn).map_err(|_| CKR_FUNCTION_FAILED)?;
        if data.is_null() && length > 0 {
            return Err(CKR_ARGUMENTS_BAD);
        }
        let mut room = length;
        // SAFETY: `room` is ours; there is room for `length` octets by the caller's contract.
        unsafe { fill(data, &raw mut room, &drawn) }
    })
}
