//! Every `CK_RV` with its name, what may help, and what to tell the operator (section 5.1).

use cryptoki::error::RvError;

use super::Remedy::{self, Fatal, Relogin, Reopen, Retry};

pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) remedy: Remedy,
    pub(super) advice: &'static str,
}

pub(super) fn look_up(code: RvError) -> Entry {
    let (name, remedy, advice) = describe(code);
    Entry { name, remedy, advice }
}

type Row = (&'static str, Remedy, &'static str);

fn describe(code: RvError) -> Row {
    match code {
        // The call failed and the session stands: what was short may be there in a moment.
        RvError::HostMemory => (
            "CKR_HOST_MEMORY",
            Retry,
            "the module could not get memory on this host; free some or raise the limit",
        ),
        RvError::DeviceMemory => (
            "CKR_DEVICE_MEMORY",
            Retry,
            "the token is out of memory; close other applications or delete objects",
        ),
        RvError::FunctionFailed => (
            "CKR_FUNCTION_FAILED",
            Retry,
            "the token could not do it this time; if it stays so, read the token's own log",
        ),
        RvError::FunctionCanceled => {
            ("CKR_FUNCTION_CANCELED", Retry, "the token broke the call off; ask again")
        }
        RvError::Cancel => ("CKR_CANCEL", Retry, "the call was cancelled at the token; ask again"),
        RvError::FunctionRejected => (
            "CKR_FUNCTION_REJECTED",
            Retry,
            "the call was refused at the token; ask again and confirm it there",
        ),

        // The session does not exist any more, or is stuck in an operation that nobody can end.
        RvError::SessionHandleInvalid => (
            "CKR_SESSION_HANDLE_INVALID",
            Reopen,
            "the session is gone (was the token reset?); it has to be opened again",
        ),
        RvError::SessionClosed => (
            "CKR_SESSION_CLOSED",
            Reopen,
            "the token closed the session; it has to be opened again",
        ),
        RvError::OperationActive => (
            "CKR_OPERATION_ACTIVE",
            Reopen,
            "an earlier operation of this session did not end; it has to be opened again",
        ),
        RvError::OperationNotInitialized => (
            "CKR_OPERATION_NOT_INITIALIZED",
            Reopen,
            "the token forgot the operation that had begun; the session has to be opened again",
        ),
        RvError::BufferTooSmall => (
            "CKR_BUFFER_TOO_SMALL",
            Reopen,
            "the answer became longer than the token had said; the session has to be opened again",
        ),
        // There may be room when others have closed theirs.
        RvError::SessionCount => (
            "CKR_SESSION_COUNT",
            Reopen,
            "the token has no more sessions; lower max_sessions or close other applications",
        ),

        // The token or its module is gone or broken: it may be back after a while, with other handles.
        RvError::DeviceError => (
            "CKR_DEVICE_ERROR",
            Reopen,
            "the token or the way to it failed; look at its state and its network",
        ),
        RvError::DeviceRemoved => {
            ("CKR_DEVICE_REMOVED", Reopen, "the token was removed; put it back")
        }
        RvError::TokenNotPresent => {
            ("CKR_TOKEN_NOT_PRESENT", Reopen, "there is no token in the slot; put it back")
        }
        RvError::TokenNotRecognized => (
            "CKR_TOKEN_NOT_RECOGNIZED",
            Reopen,
            "the token in the slot is not one that the module knows",
        ),
        RvError::SlotIdInvalid => (
            "CKR_SLOT_ID_INVALID",
            Reopen,
            "the slot does not exist any more; the token has to be looked up again",
        ),
        RvError::GeneralError => {
            ("CKR_GENERAL_ERROR", Reopen, "the module failed without saying why; read its own log")
        }
        RvError::CryptokiNotInitialized => (
            "CKR_CRYPTOKI_NOT_INITIALIZED",
            Reopen,
            "the module was finalized; it has to be initialized again",
        ),
        RvError::CryptokiAlreadyInitialized => (
            "CKR_CRYPTOKI_ALREADY_INITIALIZED",
            Fatal,
            "something else in this process has initialized the module",
        ),
        RvError::MutexBad => ("CKR_MUTEX_BAD", Reopen, "the module's locking is broken"),
        RvError::MutexNotLocked => {
            ("CKR_MUTEX_NOT_LOCKED", Reopen, "the module's locking is broken")
        }

        // Handles go with the session, the login or the object: found again after reopening, or found to be missing.
        RvError::KeyHandleInvalid => (
            "CKR_KEY_HANDLE_INVALID",
            Reopen,
            "the key's handle is not valid any more (key deleted or login lost?); it has to be found again",
        ),
        RvError::ObjectHandleInvalid => (
            "CKR_OBJECT_HANDLE_INVALID",
            Reopen,
            "the object's handle is not valid any more (object deleted or login lost?); it has to be found again",
        ),
        RvError::KeyChanged => (
            "CKR_KEY_CHANGED",
            Reopen,
            "the key is not the one that was found; it has to be found again",
        ),

        // The login is lost.
        RvError::UserNotLoggedIn => {
            ("CKR_USER_NOT_LOGGED_IN", Relogin, "nobody is logged in to the token; log in again")
        }

        // The login is refused. Trying again is what locks tokens.
        RvError::PinIncorrect => (
            "CKR_PIN_INCORRECT",
            Fatal,
            "the token does not accept this PIN; correct it (it is not tried again, so that the token does not lock)",
        ),
        RvError::PinInvalid => (
            "CKR_PIN_INVALID",
            Fatal,
            "the PIN has characters that the token does not allow; correct it",
        ),
        RvError::PinLenRange => (
            "CKR_PIN_LEN_RANGE",
            Fatal,
            "the PIN is too short or too long for the token; correct it",
        ),
        RvError::PinExpired => (
            "CKR_PIN_EXPIRED",
            Fatal,
            "the PIN has expired; set a new one with the token's own tool",
        ),
        RvError::PinLocked => (
            "CKR_PIN_LOCKED",
            Fatal,
            "the PIN is locked after wrong tries; the security officer has to unlock it",
        ),
        RvError::PinTooWeak => ("CKR_PIN_TOO_WEAK", Fatal, "the token wants a stronger PIN"),
        RvError::UserPinNotInitialized => (
            "CKR_USER_PIN_NOT_INITIALIZED",
            Fatal,
            "the token has no user PIN yet; set one with the token's own tool",
        ),
        RvError::UserTypeInvalid => {
            ("CKR_USER_TYPE_INVALID", Fatal, "the token does not know this kind of login")
        }
        RvError::UserAlreadyLoggedIn => {
            ("CKR_USER_ALREADY_LOGGED_IN", Fatal, "the user is logged in already")
        }
        RvError::UserAnotherAlreadyLoggedIn => (
            "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
            Fatal,
            "the security officer is logged in to the token; log out there",
        ),
        RvError::UserTooManyTypes => (
            "CKR_USER_TOO_MANY_TYPES",
            Fatal,
            "too many users are logged in to the token; log out elsewhere",
        ),
        RvError::NewPinMode => ("CKR_NEW_PIN_MODE", Fatal, "the token wants a new PIN to be set"),
        RvError::NextOtp => ("CKR_NEXT_OTP", Fatal, "the token wants the next one-time password"),

        // The key or the token cannot do what was asked.
        RvError::MechanismInvalid => (
            "CKR_MECHANISM_INVALID",
            Fatal,
            "the token does not allow this mechanism; `hsm list` shows those it has",
        ),
        RvError::MechanismParamInvalid => (
            "CKR_MECHANISM_PARAM_INVALID",
            Fatal,
            "the token does not allow the mechanism with these parameters",
        ),
        RvError::KeyFunctionNotPermitted => (
            "CKR_KEY_FUNCTION_NOT_PERMITTED",
            Fatal,
            "the key may not be used for this (is CKA_SIGN false?); use another key",
        ),
        RvError::KeyTypeInconsistent => {
            ("CKR_KEY_TYPE_INCONSISTENT", Fatal, "the mechanism is not for this type of key")
        }
        RvError::KeySizeRange => {
            ("CKR_KEY_SIZE_RANGE", Fatal, "the token does not allow keys of this size here")
        }
        RvError::KeyNotNeeded => {
            ("CKR_KEY_NOT_NEEDED", Fatal, "a key was given where none is needed")
        }
        RvError::KeyNeeded => ("CKR_KEY_NEEDED", Fatal, "a key is needed and none was given"),
        RvError::KeyIndigestible => ("CKR_KEY_INDIGESTIBLE", Fatal, "the key cannot be hashed"),
        RvError::KeyNotWrappable => ("CKR_KEY_NOT_WRAPPABLE", Fatal, "the key cannot be wrapped"),
        RvError::KeyUnextractable => {
            ("CKR_KEY_UNEXTRACTABLE", Fatal, "the key may not leave the token")
        }
        RvError::CurveNotSupported => {
            ("CKR_CURVE_NOT_SUPPORTED", Fatal, "the token does not know this curve; use another")
        }
        RvError::DomainParamsInvalid => (
            "CKR_DOMAIN_PARAMS_INVALID",
            Fatal,
            "the token does not know this curve or these parameters; use others",
        ),
        RvError::FunctionNotSupported => {
            ("CKR_FUNCTION_NOT_SUPPORTED", Fatal, "the module does not have this function")
        }
        RvError::FunctionNotParallel => {
            ("CKR_FUNCTION_NOT_PARALLEL", Fatal, "the module has no parallel functions")
        }
        RvError::ActionProhibited => {
            ("CKR_ACTION_PROHIBITED", Fatal, "the token's policy forbids it")
        }
        RvError::TokenWriteProtected => {
            ("CKR_TOKEN_WRITE_PROTECTED", Fatal, "the token is write-protected")
        }
        RvError::SessionReadOnly => (
            "CKR_SESSION_READ_ONLY",
            Fatal,
            "the session is read-only; writing needs a session that was opened for it",
        ),
        RvError::SessionExists => (
            "CKR_SESSION_EXISTS",
            Fatal,
            "sessions are open on the token; close other applications",
        ),
        RvError::SessionReadOnlyExists => (
            "CKR_SESSION_READ_ONLY_EXISTS",
            Fatal,
            "read-only sessions are open; the security officer cannot log in",
        ),
        RvError::SessionReadWriteSoExists => (
            "CKR_SESSION_READ_WRITE_SO_EXISTS",
            Fatal,
            "the security officer is logged in; log out there",
        ),
        RvError::SessionParallelNotSupported => {
            ("CKR_SESSION_PARALLEL_NOT_SUPPORTED", Fatal, "the module knows serial sessions only")
        }

        // What was handed over is wrong: a mistake in the program or in the token's reading of the standard.
        RvError::ArgumentsBad => (
            "CKR_ARGUMENTS_BAD",
            Fatal,
            "the module does not take these arguments; please report this with the module's version",
        ),
        RvError::DataInvalid => (
            "CKR_DATA_INVALID",
            Fatal,
            "the token does not take this input; please report this with the module's version",
        ),
        RvError::DataLenRange => (
            "CKR_DATA_LEN_RANGE",
            Fatal,
            "the input is too long for this key or mechanism; is an RSA key too short for the scheme?",
        ),
        RvError::AttributeReadOnly => {
            ("CKR_ATTRIBUTE_READ_ONLY", Fatal, "the token does not let this attribute be set")
        }
        RvError::AttributeSensitive => {
            ("CKR_ATTRIBUTE_SENSITIVE", Fatal, "the token does not tell this attribute")
        }
        RvError::AttributeTypeInvalid => {
            ("CKR_ATTRIBUTE_TYPE_INVALID", Fatal, "the token does not know this attribute")
        }
        RvError::AttributeValueInvalid => (
            "CKR_ATTRIBUTE_VALUE_INVALID",
            Fatal,
            "the token does not take this value of an attribute",
        ),
        RvError::TemplateIncomplete => (
            "CKR_TEMPLATE_INCOMPLETE",
            Fatal,
            "the token wants more attributes than the standard asks for",
        ),
        RvError::TemplateInconsistent => (
            "CKR_TEMPLATE_INCONSISTENT",
            Fatal,
            "the token does not take these attributes together",
        ),
        RvError::EncryptedDataInvalid => {
            ("CKR_ENCRYPTED_DATA_INVALID", Fatal, "the token does not take this input")
        }
        RvError::EncryptedDataLenRange => {
            ("CKR_ENCRYPTED_DATA_LEN_RANGE", Fatal, "the token does not take input of this length")
        }
        RvError::SignatureInvalid => ("CKR_SIGNATURE_INVALID", Fatal, "the signature is wrong"),
        RvError::SignatureLenRange => {
            ("CKR_SIGNATURE_LEN_RANGE", Fatal, "the signature's length is wrong")
        }
        RvError::PublicKeyInvalid => {
            ("CKR_PUBLIC_KEY_INVALID", Fatal, "the token does not take this public key")
        }
        RvError::UnwrappingKeyHandleInvalid => {
            ("CKR_UNWRAPPING_KEY_HANDLE_INVALID", Fatal, "the unwrapping key is not there")
        }
        RvError::UnwrappingKeySizeRange => {
            ("CKR_UNWRAPPING_KEY_SIZE_RANGE", Fatal, "the unwrapping key's size is not allowed")
        }
        RvError::UnwrappingKeyTypeInconsistent => (
            "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT",
            Fatal,
            "the unwrapping key's type is not allowed",
        ),
        RvError::WrappedKeyInvalid => {
            ("CKR_WRAPPED_KEY_INVALID", Fatal, "the wrapped key is not valid")
        }
        RvError::WrappedKeyLenRange => {
            ("CKR_WRAPPED_KEY_LEN_RANGE", Fatal, "the wrapped key's length is not allowed")
        }
        RvError::WrappingKeyHandleInvalid => {
            ("CKR_WRAPPING_KEY_HANDLE_INVALID", Fatal, "the wrapping key is not there")
        }
        RvError::WrappingKeySizeRange => {
            ("CKR_WRAPPING_KEY_SIZE_RANGE", Fatal, "the wrapping key's size is not allowed")
        }
        RvError::WrappingKeyTypeInconsistent => {
            ("CKR_WRAPPING_KEY_TYPE_INCONSISTENT", Fatal, "the wrapping key's type is not allowed")
        }
        RvError::SavedStateInvalid => {
            ("CKR_SAVED_STATE_INVALID", Fatal, "the saved state is not valid")
        }
        RvError::StateUnsaveable => ("CKR_STATE_UNSAVEABLE", Fatal, "the state cannot be saved"),
        RvError::InformationSensitive => {
            ("CKR_INFORMATION_SENSITIVE", Fatal, "the token does not tell this")
        }

        // The module cannot work on this host at all.
        RvError::CantLock => (
            "CKR_CANT_LOCK",
            Fatal,
            "the module cannot be used from several threads; take a newer one",
        ),
        RvError::NeedToCreateThreads => {
            ("CKR_NEED_TO_CREATE_THREADS", Fatal, "the module wants to start threads and may not")
        }
        RvError::LibraryLoadFailed => (
            "CKR_LIBRARY_LOAD_FAILED",
            Fatal,
            "the module could not load a library that it needs; install it",
        ),
        RvError::FipsSelfTestFailed => {
            ("CKR_FIPS_SELF_TEST_FAILED", Fatal, "the token failed its self-test; call its vendor")
        }
        RvError::RandomSeedNotSupported => (
            "CKR_RANDOM_SEED_NOT_SUPPORTED",
            Fatal,
            "the token's random generator cannot be seeded",
        ),
        RvError::RandomNoRng => ("CKR_RANDOM_NO_RNG", Fatal, "the token has no random generator"),
        RvError::NoEvent => ("CKR_NO_EVENT", Retry, "nothing has happened at the slots"),
        RvError::ExceededMaxIterations => {
            ("CKR_EXCEEDED_MAX_ITERATIONS", Retry, "the token gave up on generating; ask again")
        }

        // Whoever does not know a code assumes what is safe and may help: that the session is broken.
        RvError::VendorDefined(_) => {
            ("CKR_VENDOR_DEFINED", Reopen, "the vendor's manual says what this code means")
        }
        RvError::UnknownErrorCode(_) => {
            ("CKR_UNKNOWN", Reopen, "no standard has this code; the vendor's manual may")
        }
    }
}
