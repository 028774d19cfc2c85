//! Keys in tokens, as they are configured: where each is, and how its token is spoken to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_hsm::{PinSource, Uri};

use super::errors::{ConfigError, ConfigErrors, Location};

/// An identity's key in a token, or in several.
#[derive(Clone, Debug)]
pub struct TokenKeyConfig {
    /// At least one; the same key in each.
    pub places: Vec<TokenKeyPlace>,
    /// The identity's certificate, for messages.
    pub certificate: PathBuf,
}

/// A key in one token.
#[derive(Clone, Debug)]
pub struct TokenKeyPlace {
    /// The token.
    pub token: Arc<TokenConfig>,
    /// The key in it.
    pub uri: Uri,
    /// Where it was written.
    pub(super) written: ConfigError,
}

impl TokenKeyPlace {
    /// Something that is wrong with the key or its token, at the place where it is configured.
    #[must_use]
    pub fn wrong(&self, problem: impl std::fmt::Display) -> ConfigError {
        ConfigError { problem: problem.to_string(), ..self.written.clone() }
    }
}

/// Where it is configured: file, line, column, and the setting's name.
impl std::fmt::Display for TokenKeyPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(Location { file, line, column, .. }) = &self.written.location {
            write!(f, "{file}:{line}:{column}: ")?;
        }
        f.write_str(&self.written.what)
    }
}

/// How one token is spoken to. Two that are equal are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The PKCS#11 module: a shared library.
    pub module: PathBuf,
    /// The token, without a key.
    pub token: Uri,
    /// Where its PIN comes from; without one nobody logs in.
    pub pin_source: Option<PinSource>,
    /// Where the module is loaded.
    pub isolation: TokenIsolation,
    /// Sessions that are open at any time.
    pub lanes: usize,
    /// Sessions at most.
    pub max_sessions: usize,
    /// Operations that wait for a session.
    pub queue: usize,
    /// How long one operation may take.
    pub operation_timeout: Duration,
    /// Names of environment variables that the module is given too, in a process of its own.
    pub environment: Vec<String>,
}

/// Where a PKCS#11 module is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenIsolation {
    /// Into a process of its own.
    #[default]
    Process,
    /// Into the engine.
    Thread,
}

/// What holds for the operations of all tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// How long one operation may take, wherever it is done.
    pub operation_timeout: Duration,
    /// When an operation is given to another token too; by what signatures take if not said.
    pub hedge_after: Option<Duration>,
    /// Which signatures are verified before they are sent.
    pub verify_own: VerifyOwn,
}

/// How long a token may take for one operation, by default.
pub const TOKEN_OPERATION_TIMEOUT: Duration = Duration::from_secs(2);

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            operation_timeout: TOKEN_OPERATION_TIMEOUT,
            hedge_after: None,
            verify_own: VerifyOwn::default(),
        }
    }
}

/// Which signatures of tokens are verified before they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyOwn {
    /// RSA: each. ECDSA and EdDSA: the first hundred after a token has come up or erred, then one of 64.
    #[default]
    Sampled,
    /// Each.
    Always,
}

impl From<Vec<ConfigError>> for ConfigErrors {
    fn from(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }
}
