//! A secret key in a PKCS#11 token, from which the ticket keys of an estate are derived.

use std::time::Duration;

use crate::config::TokenKeyPlace;

/// A key in a token, and how often another one is derived from it.
#[derive(Clone, Debug)]
pub struct TokenTicketKeys {
    /// The secret key, and how its token is spoken to.
    pub place: TokenKeyPlace,
    /// How long one derived key seals: whole seconds, at least one.
    pub epoch: Duration,
}

impl TokenTicketKeys {
    /// The key without its module and its PIN's source, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        let uri = &self.place.uri;
        let (label, id) = (uri.object().unwrap_or_default(), uri.id().unwrap_or_default());
        uri.token_only().with_object(label, id).to_string()
    }

    /// Is it the same key, asked in the same way, wherever it was written?
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.place, &other.place);
        self.epoch == other.epoch && ours.uri == theirs.uri && ours.token == theirs.token
    }
}
