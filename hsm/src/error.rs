//! What went wrong, in which PKCS#11 function, and what may help.

mod table;

use std::fmt;

use cryptoki::context::Function;
use cryptoki::error::{Error as CryptokiError, RvError};

/// What may help after an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The same session can be asked again.
    Retry,
    /// The session, perhaps the token, is gone or cannot be trusted: open it again, later if it fails again, and find
    /// the keys again.
    Reopen,
    /// The login is lost: log in again, then ask again.
    Relogin,
    /// Asking again changes nothing: a human is needed.
    Fatal,
}

/// What a PKCS#11 function returned, or what this crate found wrong with its answer.
///
/// Its text names the function, the return value and what to do. It never holds a PIN.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    function: &'static str,
    cause: Cause,
}

#[derive(Clone, PartialEq, Eq)]
enum Cause {
    /// A `CK_RV` other than `CKR_OK`.
    Returned(RvError),
    /// Found by this crate.
    Found { problem: String, remedy: Remedy },
}

impl Error {
    /// What cryptoki says about a call of `function`.
    pub(crate) fn of(function: &'static str, error: CryptokiError) -> Self {
        match error {
            CryptokiError::Pkcs11(code, at) => Self {
                function: function_name(at).unwrap_or(function),
                cause: Cause::Returned(code),
            },
            CryptokiError::NullFunctionPointer => {
                Self::fatal(function, "the module does not have this function".into())
            }
            other => Self::found(
                function,
                Remedy::Reopen,
                format!(
                    "the module's answer makes no sense ({other}); see whether its vendor has a newer one"
                ),
            ),
        }
    }

    pub(crate) fn found(function: &'static str, remedy: Remedy, problem: String) -> Self {
        Self { function, cause: Cause::Found { problem, remedy } }
    }

    pub(crate) fn fatal(function: &'static str, problem: String) -> Self {
        Self::found(function, Remedy::Fatal, problem)
    }

    /// That an [`crate::Authentication`] does not log in, for a reason of its own.
    #[must_use]
    pub fn not_tried(problem: String) -> Self {
        Self::fatal("C_Login", problem)
    }

    /// The function that failed, such as `C_Sign`; `dlopen` where the module could not be loaded.
    #[must_use]
    pub fn function(&self) -> &'static str {
        self.function
    }

    /// The name of the return value, such as `CKR_DEVICE_ERROR`; `CKR_VENDOR_DEFINED` for all of a vendor's own.
    /// `None` where the function returned `CKR_OK` or was not called.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.returned().map(|code| table::look_up(code).name)
    }

    /// What may help.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match &self.cause {
            Cause::Returned(code) => table::look_up(*code).remedy,
            Cause::Found { remedy, .. } => *remedy,
        }
    }

    pub(crate) fn returned(&self) -> Option<RvError> {
        match self.cause {
            Cause::Returned(code) => Some(code),
            Cause::Found { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Returned(code) => {
                let entry = table::look_up(*code);
                write!(f, "{}: {}", self.function, entry.name)?;
                if let RvError::VendorDefined(number) | RvError::UnknownErrorCode(number) = code {
                    write!(f, " (0x{number:08x})")?;
                }
                write!(f, ": {}", entry.advice)
            }
            Cause::Found { problem, .. } => write!(f, "{}: {problem}", self.function),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self}; {:?})", self.remedy())
    }
}

impl std::error::Error for Error {}

/// The functions that this crate calls.
fn function_name(function: Function) -> Option<&'static str> {
    Some(match function {
        Function::Initialize => "C_Initialize",
        Function::Finalize => "C_Finalize",
        Function::GetInfo => "C_GetInfo",
        Function::GetFunctionList => "C_GetFunctionList",
        Function::GetInterface => "C_GetInterface",
        Function::GetSlotList => "C_GetSlotList",
        Function::GetSlotInfo => "C_GetSlotInfo",
        Function::GetTokenInfo => "C_GetTokenInfo",
        Function::GetMechanismList => "C_GetMechanismList",
        Function::GetMechanismInfo => "C_GetMechanismInfo",
        Function::OpenSession => "C_OpenSession",
        Function::CloseSession => "C_CloseSession",
        Function::GetSessionInfo => "C_GetSessionInfo",
        Function::Login => "C_Login",
        Function::GetAttributeValue => "C_GetAttributeValue",
        Function::FindObjectsInit => "C_FindObjectsInit",
        Function::FindObjects => "C_FindObjects",
        Function::FindObjectsFinal => "C_FindObjectsFinal",
        Function::SignInit => "C_SignInit",
        Function::Sign => "C_Sign",
        Function::SignUpdate => "C_SignUpdate",
        Function::SignFinal => "C_SignFinal",
        Function::GenerateKey => "C_GenerateKey",
        Function::GenerateKeyPair => "C_GenerateKeyPair",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returned(code: RvError, function: Function) -> Error {
        Error::of("C_Sign", CryptokiError::Pkcs11(code, function))
    }

    #[test]
    fn an_error_names_the_function_the_code_and_what_to_do() {
        let error = returned(RvError::SessionCount, Function::OpenSession);
        assert_eq!(
            error.to_string(),
            "C_OpenSession: CKR_SESSION_COUNT: the token has no more sessions; lower max_sessions or close other applications"
        );
        assert_eq!(error.function(), "C_OpenSession");
        assert_eq!(error.code(), Some("CKR_SESSION_COUNT"));
    }

    #[test]
    fn remedies_are_told_apart() {
        for (code, remedy) in [
            (RvError::FunctionFailed, Remedy::Retry),
            (RvError::HostMemory, Remedy::Retry),
            (RvError::DeviceError, Remedy::Reopen),
            (RvError::DeviceRemoved, Remedy::Reopen),
            (RvError::SessionHandleInvalid, Remedy::Reopen),
            (RvError::KeyHandleInvalid, Remedy::Reopen),
            (RvError::CryptokiNotInitialized, Remedy::Reopen),
            (RvError::UserNotLoggedIn, Remedy::Relogin),
            (RvError::PinIncorrect, Remedy::Fatal),
            (RvError::PinLocked, Remedy::Fatal),
            (RvError::MechanismInvalid, Remedy::Fatal),
        ] {
            assert_eq!(returned(code, Function::Sign).remedy(), remedy, "{code:?}");
        }
    }

    #[test]
    fn a_vendors_own_code_is_shown_as_a_number() {
        let error = returned(RvError::VendorDefined(0x8000_0123), Function::Sign);
        assert_eq!(error.code(), Some("CKR_VENDOR_DEFINED"));
        assert!(
            error.to_string().starts_with("C_Sign: CKR_VENDOR_DEFINED (0x80000123): "),
            "{error}"
        );
    }
}
