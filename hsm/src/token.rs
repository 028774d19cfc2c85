//! Slots and the tokens in them.

use std::sync::{Arc, OnceLock};

use cryptoki::slot::{Limit, Slot};

use crate::error::{Error, Remedy};
use crate::mechanism::MechanismInfo;
use crate::module::Module;
use crate::session::Session;
use crate::uri::Uri;

/// Mechanisms of a token that are looked at.
const MECHANISMS_MAX: usize = 1024;

/// A token in a slot. Cheap to clone; what it knows of its mechanisms is shared by its clones.
#[derive(Clone, Debug)]
pub struct Token {
    found: Arc<Found>,
}

#[derive(Debug)]
struct Found {
    module: Module,
    slot: Slot,
    generation: u64,
    info: TokenInfo,
    mechanisms: OnceLock<Vec<MechanismInfo>>,
}

/// What a token says of itself (`C_GetTokenInfo`, section 5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its label, which whoever initialized it has chosen.
    pub label: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// The slot that it is in. Some modules number slots anew when they are initialized.
    pub slot_id: u64,
    /// What the slot is called.
    pub slot_description: String,
    /// Who made the slot.
    pub slot_manufacturer: String,
    /// The most sessions that one application may open; `None` if there is no limit, or none that it tells.
    pub max_sessions: Option<u64>,
    /// The sessions that are open now, as far as the token tells.
    pub sessions: Option<u64>,
    /// A login is needed for some of what it does (`CKF_LOGIN_REQUIRED`).
    pub login_required: bool,
    /// The user has a PIN (`CKF_USER_PIN_INITIALIZED`).
    pub pin_initialized: bool,
    /// The PIN is typed at the token itself (`CKF_PROTECTED_AUTHENTICATION_PATH`).
    pub pin_typed_at_token: bool,
    /// It cannot be written to (`CKF_WRITE_PROTECTED`).
    pub write_protected: bool,
    /// A wrong PIN was tried since the last login (`CKF_USER_PIN_COUNT_LOW`).
    pub pin_count_low: bool,
    /// One more wrong PIN locks it (`CKF_USER_PIN_FINAL_TRY`).
    pub pin_final_try: bool,
    /// Its PIN is locked (`CKF_USER_PIN_LOCKED`).
    pub pin_locked: bool,
    /// The PIN has to be changed before anything else (`CKF_USER_PIN_TO_BE_CHANGED`).
    pub pin_to_be_changed: bool,
    /// Its self-test failed (`CKF_ERROR_STATE`).
    pub error_state: bool,
}

impl Token {
    /// The most tokens of one module that are looked at.
    pub const MAX: usize = 256;

    /// What it said of itself when it was found.
    #[must_use]
    pub fn info(&self) -> &TokenInfo {
        &self.found.info
    }

    /// What it says of itself now.
    ///
    /// # Errors
    /// When `C_GetSlotInfo` or `C_GetTokenInfo` fails: is the token still there?
    pub fn current_info(&self) -> Result<TokenInfo, Error> {
        self.expect_current("C_GetTokenInfo")?;
        read_info(self.module(), self.found.slot)
    }

    /// The module that it belongs to.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.found.module
    }

    /// The URI that names it by its label and serial number.
    #[must_use]
    pub fn uri(&self) -> Uri {
        Uri::of_token(self.info())
    }

    /// What it can do; asked once, then remembered.
    ///
    /// # Errors
    /// When `C_GetMechanismList` or `C_GetMechanismInfo` (section 5.5) fails.
    pub fn mechanisms(&self) -> Result<Vec<MechanismInfo>, Error> {
        self.mechanism_list().map(<[_]>::to_vec)
    }

    pub(crate) fn mechanism_list(&self) -> Result<&[MechanismInfo], Error> {
        if let Some(known) = self.found.mechanisms.get() {
            return Ok(known);
        }
        self.expect_current("C_GetMechanismList")?;
        let pkcs11 = self.module().pkcs11();
        let mut numbers = pkcs11
            .get_mechanism_list(self.found.slot)
            .map_err(|error| Error::of("C_GetMechanismList", error))?;
        numbers.truncate(MECHANISMS_MAX);
        let mut mechanisms = Vec::with_capacity(numbers.len());
        for number in numbers {
            let info = pkcs11
                .get_mechanism_info(self.found.slot, number)
                .map_err(|error| Error::of("C_GetMechanismInfo", error))?;
            mechanisms.push(MechanismInfo {
                name: number.to_string(),
                key_min: info.min_key_size(),
                key_max: info.max_key_size(),
                signs: info.sign(),
                generates: info.generate() || info.generate_key_pair(),
                hardware: info.hardware(),
                number,
            });
        }
        Ok(self.found.mechanisms.get_or_init(|| mechanisms))
    }

    /// Opens a session that can sign: one that cannot write, where the token has such (that of AWS CloudHSM's Client SDK 5
    /// has none).
    ///
    /// # Errors
    /// When `C_OpenSession` (section 5.6) fails.
    pub fn open(&self) -> Result<Session, Error> {
        self.open_read_only().or_else(|error| match error.remedy() {
            Remedy::Reopen | Remedy::Relogin => Err(error),
            Remedy::Retry | Remedy::Fatal => self.open_writable().map_err(|_| error),
        })
    }

    fn open_read_only(&self) -> Result<Session, Error> {
        self.expect_current("C_OpenSession")?;
        let session = self.module().pkcs11().open_ro_session(self.found.slot);
        session
            .map(|raw| Session::new(self.clone(), raw))
            .map_err(|error| Error::of("C_OpenSession", error))
    }

    /// Opens a session that can also make keys.
    ///
    /// # Errors
    /// When `C_OpenSession` fails.
    pub fn open_writable(&self) -> Result<Session, Error> {
        self.expect_current("C_OpenSession")?;
        let session = self.module().pkcs11().open_rw_session(self.found.slot);
        session
            .map(|raw| Session::new(self.clone(), raw))
            .map_err(|error| Error::of("C_OpenSession", error))
    }

    pub(crate) fn expect_current(&self, function: &'static str) -> Result<(), Error> {
        self.module().expect_current(self.found.generation, function)
    }

    /// Whether handles of one mean the same in the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let identity = |token: &Self| (token.found.slot, token.found.generation);
        self.module().path() == other.module().path() && identity(self) == identity(other)
    }
}

/// Every token that is present and initialized.
pub(crate) fn all(module: &Module) -> Result<Vec<Token>, Error> {
    let generation = module.generation();
    let mut slots = module
        .pkcs11()
        .get_slots_with_token()
        .map_err(|error| Error::of("C_GetSlotList", error))?;
    slots.truncate(Token::MAX);
    let mut tokens = Vec::new();
    let mut problem = None;
    for slot in slots {
        // One broken reader must not hide the tokens in the others.
        match initialized_info(module, slot) {
            Ok(Some(info)) => tokens.push(Token {
                found: Arc::new(Found {
                    module: module.clone(),
                    slot,
                    generation,
                    info,
                    mechanisms: OnceLock::new(),
                }),
            }),
            Ok(None) => {}
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    match problem {
        Some(error) if tokens.is_empty() => Err(error),
        _ => Ok(tokens),
    }
}

/// The one that `uri` names.
pub(crate) fn one(module: &Module, uri: &Uri) -> Result<Token, Error> {
    let none = |problem: String| Error::found("C_GetSlotList", Remedy::Reopen, problem);
    let library = module.info()?;
    if let Some(problem) = uri.contradicts_module(&library) {
        return Err(Error::fatal("C_GetInfo", format!("{}: {problem}", module.path().display())));
    }
    let tokens = all(module)?;
    let there = listed(&tokens);
    let mut matching: Vec<_> =
        tokens.into_iter().filter(|token| uri.matches_token(token.info())).collect();
    let wanted = uri.token_only();
    match (matching.pop(), matching.len()) {
        (Some(token), 0) => Ok(token),
        (Some(_), others) => Err(Error::fatal(
            "C_GetSlotList",
            format!(
                "{} tokens are {wanted}; name one of them by its serial or slot-id: {there}",
                others + 1
            ),
        )),
        (None, _) if there.is_empty() => Err(none(format!(
            "no token is {wanted}: {} has none that is initialized",
            module.path().display()
        ))),
        (None, _) => Err(none(format!("no token is {wanted}; there are: {there}"))),
    }
}

/// As many as fit into a message.
fn listed(tokens: &[Token]) -> String {
    const SHOWN: usize = 8;
    let mut list: Vec<_> = tokens
        .iter()
        .take(SHOWN)
        .map(|token| format!("{} (slot-id={})", token.uri(), token.info().slot_id))
        .collect();
    if tokens.len() > SHOWN {
        list.push(format!("and {} more", tokens.len() - SHOWN));
    }
    list.join(", ")
}

fn initialized_info(module: &Module, slot: Slot) -> Result<Option<TokenInfo>, Error> {
    let token =
        module.pkcs11().get_token_info(slot).map_err(|error| Error::of("C_GetTokenInfo", error))?;
    if token.token_initialized() { read_info(module, slot).map(Some) } else { Ok(None) }
}

fn read_info(module: &Module, slot: Slot) -> Result<TokenInfo, Error> {
    let pkcs11 = module.pkcs11();
    let token = pkcs11.get_token_info(slot).map_err(|error| Error::of("C_GetTokenInfo", error))?;
    let place = pkcs11.get_slot_info(slot).map_err(|error| Error::of("C_GetSlotInfo", error))?;
    Ok(TokenInfo {
        label: trimmed(token.label()),
        manufacturer: trimmed(token.manufacturer_id()),
        model: trimmed(token.model()),
        serial: trimmed(token.serial_number()),
        slot_id: slot.id(),
        slot_description: trimmed(place.slot_description()),
        slot_manufacturer: trimmed(place.manufacturer_id()),
        max_sessions: match token.max_session_count() {
            Limit::Max(sessions) => Some(sessions),
            Limit::Unavailable | Limit::Infinite => None,
        },
        sessions: token.session_count(),
        login_required: token.login_required(),
        pin_initialized: token.user_pin_initialized(),
        pin_typed_at_token: token.protected_authentication_path(),
        write_protected: token.write_protected(),
        pin_count_low: token.user_pin_count_low(),
        pin_final_try: token.user_pin_final_try(),
        pin_locked: token.user_pin_locked(),
        pin_to_be_changed: token.user_pin_to_be_changed(),
        error_state: token.error_state(),
    })
}

/// The standard pads with blanks; some modules end with zeros.
pub(crate) fn trimmed(text: &str) -> String {
    text.trim_end_matches(['\0', ' ']).to_owned()
}
