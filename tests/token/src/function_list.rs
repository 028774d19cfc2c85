//! The function list, and the functions that this module does not have.
#![allow(unsafe_code)] // The C interface.

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::abi;
use crate::library::Library;

/// The one function with a known name (PKCS#11 2.40, section 5.4).
///
/// # Safety
///
/// `list` is null, or a pointer can be written there.
#[allow(non_snake_case)] // The name is the standard's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    Library::load();
    // SAFETY: not null, so by the contract it can be written to. Nobody writes through what is given: by the
    // standard the list is the module's.
    unsafe { list.write((&raw const LIST).cast_mut()) };
    CKR_OK
}

/// A function of these arguments that does nothing but give a code.
macro_rules! lacking {
    ($code:ident; $($argument:ty),+) => {{
        unsafe extern "C" fn lacking($(_: $argument),+) -> CK_RV {
            $code
        }
        Some(lacking)
    }};
    ($($argument:ty),+) => { lacking!(CKR_FUNCTION_NOT_SUPPORTED; $($argument),+) };
}

static LIST: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
    version: CK_VERSION { major: 2, minor: 40 },
    C_GetFunctionList: Some(C_GetFunctionList),
    C_Initialize: Some(abi::C_Initialize),
    C_Finalize: Some(abi::C_Finalize),
    C_GetInfo: Some(abi::C_GetInfo),
    C_GetSlotList: Some(abi::C_GetSlotList),
    C_GetSlotInfo: Some(abi::C_GetSlotInfo),
    C_GetTokenInfo: Some(abi::C_GetTokenInfo),
    C_GetMechanismList: Some(abi::C_GetMechanismList),
    C_GetMechanismInfo: Some(abi::C_GetMechanismInfo),
    C_OpenSession: Some(abi::C_OpenSession),
    C_CloseSession: Some(abi::C_CloseSession),
    C_CloseAllSessions: Some(abi::C_CloseAllSessions),
    C_GetSessionInfo: Some(abi::C_GetSessionInfo),
    C_Login: Some(abi::C_Login),
    C_Logout: Some(abi::C_Logout),
    C_FindObjectsInit: Some(abi::C_FindObjectsInit),
    C_FindObjects: Some(abi::C_FindObjects),
    C_FindObjectsFinal: Some(abi::C_FindObjectsFinal),
    C_GetAttributeValue: Some(abi::C_GetAttributeValue),
    C_SignInit: Some(abi::C_SignInit),
    C_Sign: Some(abi::C_Sign),
    C_SignUpdate: Some(abi::C_SignUpdate),
    C_SignFinal: Some(abi::C_SignFinal),
    C_GenerateRandom: Some(abi::C_GenerateRandom),
    C_InitToken: lacking!(CK_SLOT_ID, *mut CK_UTF8CHAR, CK_ULONG, *mut CK_UTF8CHAR),
    C_InitPIN: lacking!(CK_SESSION_HANDLE, *mut CK_UTF8CHAR, CK_ULONG),
    C_SetPIN: lacking!(CK_SESSION_HANDLE, *mut CK_UTF8CHAR, CK_ULONG, *mut CK_UTF8CHAR, CK_ULONG),
    C_GetOperationState: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, *mut CK_ULONG),
    C_SetOperationState: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_BYTE,
        CK_ULONG,
        CK_OBJECT_HANDLE,
        CK_OBJECT_HANDLE
    ),
    C_CreateObject: lacking!(CK_SESSION_HANDLE, *mut CK_ATTRIBUTE, CK_ULONG, *mut CK_OBJECT_HANDLE),
    C_CopyObject: lacking!(
        CK_SESSION_HANDLE,
        CK_OBJECT_HANDLE,
        *mut CK_ATTRIBUTE,
        CK_ULONG,
        *mut CK_OBJECT_HANDLE
    ),
    C_DestroyObject: lacking!(CK_SESSION_HANDLE, CK_OBJECT_HANDLE),
    C_GetObjectSize: lacking!(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, *mut CK_ULONG),
    C_SetAttributeValue: lacking!(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, *mut CK_ATTRIBUTE, CK_ULONG),
    C_EncryptInit: lacking!(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE),
    C_Encrypt: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG),
    C_EncryptUpdate: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_BYTE,
        CK_ULONG,
        *mut CK_BYTE,
        *mut CK_ULONG
    ),
    C_EncryptFinal: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, *mut CK_ULONG),
    C_DecryptInit: lacking!(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE),
    C_Decrypt: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG),
    C_DecryptUpdate: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_BYTE,
        CK_ULONG,
        *mut CK_BYTE,
        *mut CK_ULONG
    ),
    C_DecryptFinal: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, *mut CK_ULONG),
    C_DigestInit: lacking!(CK_SESSION_HANDLE, *mut CK_MECHANISM),
    C_Digest: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG),
    C_DigestUpdate: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG),
    C_DigestKey: lacking!(CK_SESSION_HANDLE, CK_OBJECT_HANDLE),
    C_DigestFinal: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, *mut CK_ULONG),
    C_SignRecoverInit: lacking!(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE),
    C_SignRecover: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG),
    C_VerifyInit: lacking!(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE),
    C_Verify: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, CK_ULONG),
    C_VerifyUpdate: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG),
    C_VerifyFinal: lacking!(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG),
    C_VerifyRecoverInit: lacking!(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE),
    C_VerifyRecover: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_BYTE,
        CK_ULONG,
        *mut CK_BYTE,
        *mut CK_ULONG
    ),
    C_DigestEncryptUpdate: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_BYTE,
        CK_ULONG,
        *mut CK_BYTE,
        *mut CK_ULONG
    ),
    C_DecryptDigestUpdate: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_BYTE,
        CK_ULONG,
        *mut CK_BYTE,
        *mut CK_ULONG
    ),
    C_SignEncryptUpdate: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_BYTE,
        CK_ULONG,
        *mut CK_BYTE,
        *mut CK_ULONG
    ),
    C_DecryptVerifyUpdate: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_BYTE,
        CK_ULONG,
        *mut CK_BYTE,
        *mut CK_ULONG
    ),
    C_GenerateKey: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_MECHANISM,
        *mut CK_ATTRIBUTE,
        CK_ULONG,
        *mut CK_OBJECT_HANDLE
    ),
    C_GenerateKeyPair: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_MECHANISM,
        *mut CK_ATTRIBUTE,
        CK_ULONG,
        *mut CK_ATTRIBUTE,
        CK_ULONG,
        *mut CK_OBJECT_HANDLE,
        *mut CK_OBJECT_HANDLE
    ),
    C_WrapKey: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_MECHANISM,
        CK_OBJECT_HANDLE,
        CK_OBJECT_HANDLE,
        *mut CK_BYTE,
        *mut CK_ULONG
    ),
    C_UnwrapKey: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_MECHANISM,
        CK_OBJECT_HANDLE,
        *mut CK_BYTE,
        CK_ULONG,
        *mut CK_ATTRIBUTE,
        CK_ULONG,
        *mut CK_OBJECT_HANDLE
    ),
    C_DeriveKey: lacking!(
        CK_SESSION_HANDLE,
        *mut CK_MECHANISM,
        CK_OBJECT_HANDLE,
        *mut CK_ATTRIBUTE,
        CK_ULONG,
        *mut CK_OBJECT_HANDLE
    ),
    C_SeedRandom: lacking!(CKR_RANDOM_SEED_NOT_SUPPORTED; CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG),
    C_GetFunctionStatus: lacking!(CKR_FUNCTION_NOT_PARALLEL; CK_SESSION_HANDLE),
    C_CancelFunction: lacking!(CKR_FUNCTION_NOT_PARALLEL; CK_SESSION_HANDLE),
    C_WaitForSlotEvent: lacking!(CK_FLAGS, *mut CK_SLOT_ID, *mut c_void),
};
