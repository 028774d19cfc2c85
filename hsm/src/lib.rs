//! Blocking PKCS#11 for private keys that never leave their token: modules, tokens, sessions, PINs and keys.
//!
//! A [`Uri`] (RFC 7512) names a token and a key in it. [`Module::load`] loads the vendor's library,
//! [`Module::token`] finds the token, [`Token::open`] opens a [`Session`], and that logs in, finds keys
//! once ([`Session::private_key`]) and signs ([`Session::sign`]) as TLS wants its signatures.
//! Every call blocks for as long as the token takes. An [`Error`] names the PKCS#11 function and its
//! return value and says by its [`Remedy`] what may help.
//!
//! Invariants, written as absences:
//!
//! * No threads, queues, deadlines or TLS library: who must not wait for a token stands outside.
//! * No PIN in an error, a `Debug` or a URI; none is kept beyond the [`Pin`] that the caller holds.
//! * No second `C_Initialize` for a module that this process has initialized, no unloading of it, and none of it survives a
//!   fork: a process that has loaded a module must not fork and go on using it in the child (PKCS#11 v3.1, section 5.2).
//! * No login with a PIN while the token says that tries are running out.
//! * No list from a token without a bound. (How long *one* answer may be is decided by the module: it runs in
//!   the address space of its caller and is trusted that far.)
//!
//! Numbers of sections are those of PKCS#11 v3.1, "base specification".
#![forbid(unsafe_code)]

mod der;
mod error;
mod key;
mod mechanism;
mod module;
mod pin;
mod scheme;
mod session;
mod signature;
mod spki;
mod token;
mod uri;

pub use error::{Error, Remedy};
pub use key::{KeyClass, KeyInfo, MacKey, MacKind, PrivateKey};
pub use mechanism::MechanismInfo;
pub use module::{Module, ModuleInfo};
pub use pin::{Pin, PinError, PinSource};
pub use scheme::{KeyKind, Scheme};
pub use session::{Authentication, Session};
pub use token::{Token, TokenInfo};
pub use uri::{Uri, UriError};
