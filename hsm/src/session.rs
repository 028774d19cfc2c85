//! One session with a token: one operation at a time.

use std::fmt;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{SessionState, UserType};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::error::{Error, Remedy};
use crate::key::{self, KeyInfo, MacKey, MacKind, PrivateKey};
use crate::mechanism::{self, Way};
use crate::pin::Pin;
use crate::scheme::{KeyKind, Scheme};
use crate::signature;
use crate::token::Token;
use crate::uri::Uri;

/// How a key that wants the PIN for each signature gets it.
pub trait Authentication {
    /// Calls `log_in` with the PIN, at most once. A token locks itself after a few wrong PINs: where many sessions sign, this is the
    /// place to let one after the other try, and nobody any more once one was refused.
    ///
    /// # Errors
    /// What `log_in` gives; or why it was not called.
    fn authenticate(&self, log_in: &mut dyn FnMut(&Pin) -> Result<(), Error>) -> Result<(), Error>;
}

impl Authentication for Pin {
    fn authenticate(&self, log_in: &mut dyn FnMut(&Pin) -> Result<(), Error>) -> Result<(), Error> {
        log_in(self)
    }
}

/// A session with a token. It can be given to another thread, and two threads cannot use it at once; what it
/// was asked blocks until the token has answered. Dropping it closes it.
pub struct Session {
    token: Token,
    raw: cryptoki::session::Session,
}

impl Session {
    pub(crate) fn new(token: Token, raw: cryptoki::session::Session) -> Self {
        Self { token, raw }
    }

    /// The token that it is open on.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    pub(crate) fn raw(&self) -> &cryptoki::session::Session {
        &self.raw
    }

    /// Logs the user in. A login is the application's, not the session's (section 5.6.7): it holds for every session with this
    /// token in this process, and that it exists already is no error.
    ///
    /// # Errors
    /// When the token says that somebody has tried wrong PINs (`CKF_USER_PIN_COUNT_LOW`, `_FINAL_TRY`, `_LOCKED`):
    /// then nothing is tried. When `C_Login` fails: after `CKR_PIN_INCORRECT` the caller must not try this PIN again.
    pub fn login(&self, pin: &Pin) -> Result<(), Error> {
        self.expect_harmless(false)?;
        self.log_user_in(pin)
    }

    /// Whether the user is logged in, in this session and all others of this process (section 5.6.4, `C_GetSessionInfo`).
    ///
    /// # Errors
    /// When the session or the token is gone.
    pub fn is_logged_in(&self) -> Result<bool, Error> {
        let info = self.raw.get_session_info();
        let info = info.map_err(|error| Error::of("C_GetSessionInfo", error))?;
        Ok(matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser))
    }

    /// The same as [`Self::login`] with another PIN than one that the token has refused to the caller: that the token tells of a wrong PIN
    /// (`CKF_USER_PIN_COUNT_LOW`) keeps nobody from trying this one then, unless it would be the last try.
    ///
    /// # Errors
    /// As there.
    pub fn login_with_another(&self, pin: &Pin) -> Result<(), Error> {
        self.expect_harmless(true)?;
        self.log_user_in(pin)
    }

    /// Keys and certificates that this session sees, which without a login are the public ones only; at most 4,096.
    ///
    /// # Errors
    /// When the session, the login or the token is gone.
    pub fn keys(&self) -> Result<Vec<KeyInfo>, Error> {
        self.token.expect_current("C_FindObjects")?;
        key::keys(self)
    }

    /// Finds the private key that `uri` names by its `id`, its `object`, both, or neither where the token has one key
    /// only. With `expected_spki`, the SubjectPublicKeyInfo (DER) of the certificate that it is for, the key is compared with
    /// it as far as the token tells its public half ([`PrivateKey::spki`]); of several keys with one name, the one that it belongs to is
    /// taken.
    ///
    /// # Errors
    /// When there is none, when there are several (the error lists them), when it is not the certificate's (the error shows
    /// the SHA-256 of both SPKIs), when it cannot sign, or when the session, the login or the token is gone.
    pub fn private_key(
        &self,
        uri: &Uri,
        expected_spki: Option<&[u8]>,
    ) -> Result<PrivateKey, Error> {
        self.token.expect_current("C_FindObjects")?;
        key::private_key(self, uri, expected_spki)
    }

    /// Signs `message` as TLS wants it: ECDSA as a SEQUENCE of r and s, RSA as long as the modulus, Ed25519 as 64 bytes.
    /// `authentication`, a [`Pin`] say, is needed by keys that want it each time ([`PrivateKey::always_authenticate`]), and asked by
    /// no others.
    ///
    /// # Errors
    /// When the key is not of this token, cannot sign so, or needs the PIN; when the token fails, or returns what is no signature. That
    /// the signature is *right* is not looked at here.
    pub fn sign(
        &self,
        key: &PrivateKey,
        scheme: Scheme,
        message: &[u8],
        authentication: Option<&dyn Authentication>,
    ) -> Result<Vec<u8>, Error> {
        self.expect_own(&key.found().token)?;
        let Some((way, has_other_way)) = key.found().way(scheme) else {
            let can: Vec<_> = key.schemes().iter().map(|scheme| scheme.name()).collect();
            let problem =
                format!("{} cannot sign {scheme}; it can sign {}", key.uri(), can.join(", "));
            return Err(Error::fatal("C_SignInit", problem));
        };
        let authentication = match (key.always_authenticate(), authentication) {
            (false, _) => None,
            (true, Some(authentication)) => Some(authentication),
            (true, None) => {
                let problem =
                    format!("{} wants the PIN for each signature; configure its PIN", key.uri());
                return Err(Error::fatal("C_Login", problem));
            }
        };
        let raw = match self.sign_in(way, key, scheme, message, authentication) {
            Err(error) if has_other_way && insists_on_hashing(&error) => {
                key.found().refuses_hashes(scheme);
                self.sign_in(Way::HashedThere, key, scheme, message, authentication)
            }
            raw => raw,
        };
        signature::encode(key.kind(), raw?)
    }

    fn sign_in(
        &self,
        way: Way,
        key: &PrivateKey,
        scheme: Scheme,
        message: &[u8],
        authentication: Option<&dyn Authentication>,
    ) -> Result<Vec<u8>, Error> {
        let mechanism = mechanism::mechanism(scheme, way);
        let input = mechanism::input(scheme, way, message);
        let handle = key.found().handle;
        if let Some(authentication) = authentication {
            return self.sign_authenticated(&mechanism, handle, &input, authentication);
        }
        self.raw.sign(&mechanism, handle, &input).map_err(|error| Error::of("C_Sign", error))
    }

    /// `C_SignInit`, `C_Login(CKU_CONTEXT_SPECIFIC)`, then `C_Sign` (section 4.9, `CKA_ALWAYS_AUTHENTICATE`).
    fn sign_authenticated(
        &self,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        input: &[u8],
        authentication: &dyn Authentication,
    ) -> Result<Vec<u8>, Error> {
        let function = self.token.module().sign_function()?;
        self.raw.sign_init(mechanism, key).map_err(|error| Error::of("C_SignInit", error))?;
        let authenticated = authentication.authenticate(&mut |pin| {
            self.expect_harmless(false)?;
            self.log_in(UserType::ContextSpecific, pin)
        });
        if let Err(error) = authenticated {
            // It fails, and ends the operation that was begun (section 5.13.2).
            drop(function.sign(&self.raw, input));
            return Err(error);
        }
        function.sign(&self.raw, input).map_err(|error| Error::of("C_Sign", error))
    }

    /// Finds the secret key that `uri` names, as [`Self::private_key`] finds a private one.
    ///
    /// # Errors
    /// When there is none or there are several, when it is neither a generic secret nor an AES key, when the token has no mechanism
    /// for it, or when the session, the login or the token is gone.
    pub fn mac_key(&self, uri: &Uri) -> Result<MacKey, Error> {
        self.token.expect_current("C_FindObjects")?;
        key::mac_key(self, uri)
    }

    /// Authenticates `message`: HMAC-SHA-256 (RFC 2104), 32 bytes, or AES-CMAC (RFC 4493), 16 bytes.
    ///
    /// # Errors
    /// When the key is not of this token, when the token fails, or when its answer has another length.
    pub fn mac(&self, key: &MacKey, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.expect_own(&key.token)?;
        let mechanism = match key.kind {
            MacKind::HmacSha256 => Mechanism::Sha256Hmac,
            MacKind::AesCmac => Mechanism::AesCMac,
        };
        let mac = self
            .raw
            .sign(&mechanism, key.handle, message)
            .map_err(|error| Error::of("C_Sign", error))?;
        let mac = Zeroizing::new(mac);
        if mac.len() == key.kind.bytes() {
            return Ok(mac);
        }
        let problem =
            format!("the token returned {} bytes where {} were due", mac.len(), key.kind.bytes());
        Err(Error::found("C_Sign", Remedy::Reopen, problem))
    }

    /// Makes a key pair in the token, sensitive and not extractable, and finds its private key. The session must be writable
    /// ([`Token::open_writable`]) and logged in.
    ///
    /// # Errors
    /// When there is such a key, when label or id are empty, or when the token cannot make one.
    pub fn generate_key_pair(
        &self,
        kind: KeyKind,
        label: &str,
        id: &[u8],
    ) -> Result<PrivateKey, Error> {
        self.token.expect_current("C_GenerateKeyPair")?;
        key::key_pair(self, kind, label, id)
    }

    /// Makes a secret key of 256 bits for [`Self::mac`], as [`Self::generate_key_pair`] makes its keys: for HMAC where the
    /// token has it, else for CMAC.
    ///
    /// # Errors
    /// As there.
    pub fn generate_mac_key(&self, label: &str, id: &[u8]) -> Result<MacKey, Error> {
        self.token.expect_current("C_GenerateKey")?;
        key::generate_mac_key(self, label, id)
    }

    fn log_user_in(&self, pin: &Pin) -> Result<(), Error> {
        match self.log_in(UserType::User, pin) {
            Err(error) if error.code() == Some("CKR_USER_ALREADY_LOGGED_IN") => Ok(()),
            result => result,
        }
    }

    fn log_in(&self, user: UserType, pin: &Pin) -> Result<(), Error> {
        // A copy with no room to spare, which is overwritten when it goes, as the original is.
        let copy = AuthPin::new(pin.expose().into());
        self.raw.login(user, Some(&copy)).map_err(|error| Error::of("C_Login", error))
    }

    /// Refuses to log in where a wrong PIN would do harm, or where one was tried before; unless the caller knows of that.
    fn expect_harmless(&self, knows_of_wrong: bool) -> Result<(), Error> {
        let info = self.token.current_info()?;
        let refuse = |problem: &str| {
            let label = &info.label;
            Err(Error::fatal(
                "C_Login",
                format!("not tried, because token '{label}' says that {problem}"),
            ))
        };
        if info.pin_locked {
            refuse("its PIN is locked: the security officer has to unlock it (CKF_USER_PIN_LOCKED)")
        } else if info.pin_final_try {
            refuse(
                "one more wrong PIN locks it: log in once by hand with the right one, then start again (CKF_USER_PIN_FINAL_TRY)",
            )
        } else if info.pin_count_low && !knows_of_wrong {
            refuse(
                "somebody tried a wrong PIN: log in once by hand with the right one, then start again (CKF_USER_PIN_COUNT_LOW)",
            )
        } else {
            Ok(())
        }
    }

    /// A handle of one token is another key in the next.
    fn expect_own(&self, token: &Token) -> Result<(), Error> {
        self.token.expect_current("C_SignInit")?;
        if self.token.is_same(token) {
            return Ok(());
        }
        let problem = format!(
            "the key is in token {}, and the session with {}",
            token.uri(),
            self.token.uri()
        );
        Err(Error::found("C_SignInit", Remedy::Reopen, problem))
    }
}

/// Whether the token lists a mechanism over a hash and yet wants to hash by itself.
fn insists_on_hashing(error: &Error) -> bool {
    const REFUSALS: [&str; 3] =
        ["CKR_MECHANISM_INVALID", "CKR_MECHANISM_PARAM_INVALID", "CKR_KEY_FUNCTION_NOT_PERMITTED"];
    error.function() == "C_SignInit" && error.code().is_some_and(|code| REFUSALS.contains(&code))
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("token", &self.token.uri().to_string())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Module;

    #[test]
    fn keys_are_shared_by_threads_and_sessions_are_handed_over() {
        fn shared<T: Send + Sync>() {}
        fn handed_over<T: Send>() {}
        shared::<(Module, Token, PrivateKey, MacKey, Pin, Uri, Error)>();
        handed_over::<Session>();
    }
}
