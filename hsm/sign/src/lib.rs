//! `C_Sign` of PKCS#11, for a signature that was begun elsewhere (v3.1, section 5.13.2).
//!
//! cryptoki's [`Session::sign`] is `C_SignInit` and `C_Sign` in one. A key with `CKA_ALWAYS_AUTHENTICATE` wants a
//! `C_Login` between the two (section 4.9), and most tokens have no multi-part signatures of a hash that was made
//! outside. So this crate is that one call, and nothing else. Invariants, written as absences:
//!
//! * No module is loaded here: it is there already, or [`SignFunction::of`] fails.
//! * No module is unloaded: what a function pointer points to stays.

use std::ffi::OsStr;
use std::mem::ManuallyDrop;
use std::ptr;

use cryptoki::context::Function;
use cryptoki::error::{Error, Rv};
use cryptoki::session::Session;
use cryptoki_sys::{
    CK_BYTE_PTR, CK_C_GetFunctionList, CK_FUNCTION_LIST_PTR, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
    CK_ULONG_PTR, CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR, CKR_OK,
};
use libloading::os::unix::{Library, RTLD_LAZY, Symbol};

/// A signature of RSA with a modulus of 8,192 bits; no key that TLS signs with makes a longer one.
const SIGNATURE_BYTES_MAX: usize = 1024;

/// `RTLD_NOLOAD` of dlopen(3) on Linux: a handle for a library that is there, and none for any other.
const RTLD_NOLOAD: i32 = 4;

type Sign = unsafe extern "C" fn(
    CK_SESSION_HANDLE,
    CK_BYTE_PTR,
    CK_ULONG,
    CK_BYTE_PTR,
    CK_ULONG_PTR,
) -> CK_RV;

/// `C_Sign` of one module.
#[derive(Clone, Copy, Debug)]
pub struct SignFunction {
    sign: Sign,
}

impl SignFunction {
    /// That of the module at `path`, which this process has loaded by the same path.
    ///
    /// # Errors
    /// When it has not, or when the module has no such function.
    pub fn of(path: &OsStr) -> Result<Self, Error> {
        // SAFETY: with RTLD_NOLOAD no code of the library runs: it is a handle for what is loaded, or an error.
        let library = unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_NOLOAD) };
        // What is found in it stays where it is: it is never unloaded.
        let library = ManuallyDrop::new(library.map_err(Error::LibraryLoading)?);
        // SAFETY: PKCS#11 says of which type the function of this name is (section 5.2), and that the caller
        // trusts the module to be one is what loading it meant.
        let found = unsafe { library.get::<CK_C_GetFunctionList>(b"C_GetFunctionList\0") };
        let get: Option<Symbol<CK_C_GetFunctionList>> = found.ok();
        let get =
            get.and_then(|symbol| *symbol).ok_or(Error::MissingSymbol("C_GetFunctionList"))?;
        let mut list: CK_FUNCTION_LIST_PTR = ptr::null_mut();
        // SAFETY: it writes one pointer to where it is told (section 5.4.4), which outlives the call.
        Rv::from(unsafe { get(&raw mut list) }).into_result(Function::GetFunctionList)?;
        // SAFETY: null or the module's own list, which does not change and lives as long as the module; every version
        // of PKCS#11 since 2.0 begins its list with the functions of that one.
        let list = unsafe { list.as_ref() };
        match list.and_then(|list| list.C_Sign) {
            Some(sign) => Ok(Self { sign }),
            None => Err(refused(CKR_FUNCTION_NOT_SUPPORTED)),
        }
    }

    /// Ends the signature that was begun in `session`: that of `data`, as a whole.
    ///
    /// # Errors
    /// What the module says; `CKR_GENERAL_ERROR` also when it claims to have written more than there was room for.
    pub fn sign(&self, session: &Session, data: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; SIGNATURE_BYTES_MAX];
        let mut length: CK_ULONG = SIGNATURE_BYTES_MAX as CK_ULONG;
        // SAFETY: both buffers are as long as is said and outlive the call, and the module only reads the first, whose
        // type in C is not const. The session is used by one thread at a time: `Session` is not Sync.
        let code = unsafe {
            (self.sign)(
                session.handle(),
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                signature.as_mut_ptr(),
                &raw mut length,
            )
        };
        if code != CKR_OK {
            return Err(refused(code));
        }
        match usize::try_from(length) {
            Ok(length) if length <= signature.len() => {
                signature.truncate(length);
                Ok(signature)
            }
            _ => Err(refused(CKR_GENERAL_ERROR)),
        }
    }
}

fn refused(code: CK_RV) -> Error {
    match Rv::from(code).into_result(Function::Sign) {
        Err(error) => error,
        // Only of CKR_OK, which is not refused.
        Ok(()) => Error::InvalidValue,
    }
}
