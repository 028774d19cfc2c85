//! What a worker serves: published whole, never changed. Each worker has listeners of its own, built
//! for it alone, so that no reference count is contended.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::error::Reason;
use crate::limits::Limits;
use crate::op::UpstreamAddress;
use crate::policy::{Action, AddressPrefix, Policy};
use crate::proxy_protocol::Format;
use crate::tls::Identity;

/// One listener as a worker sees it: identities, a policy, an upstream.
#[derive(Debug)]
pub struct Listener {
    /// Stands for the listener in reports.
    pub name: Arc<str>,
    /// Where it listens; what an upstream is told that the client connected to.
    pub address: SocketAddr,
    /// The generation of the configuration that it comes from.
    pub generation: u64,
    /// Certificates, keys and trust domains by server name.
    pub identities: Identities,
    /// Who may come in.
    pub policy: Policy,
    /// Who would come in by other rules: asked too, told, and without effect.
    pub shadow: Option<Policy>,
    /// Where they go.
    pub upstream: UpstreamAddress,
    /// Whether the upstream is told of the client by a PROXY protocol header.
    pub announce: Announce,
    /// What becomes of a connection whose client would not be let in any more.
    pub withdrawal: Withdrawal,
    /// Balancers in front, which say by a PROXY protocol header on whose behalf they connect, and must.
    pub proxy_from: Vec<AddressPrefix>,
    /// What it may cost.
    pub limits: Limits,
}

/// What becomes of an open connection whose client would not be let in any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Revoked, kept out by the policy of now, or its CA is not trusted any more.
    pub revoked: Consequence,
    /// A certificate of its path has expired.
    pub expired: Consequence,
}

/// What is done with such a connection; the later, the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consequence {
    /// It lives on; the operator is told.
    Keep,
    /// It may finish what it is about within [`Limits::withdrawal_timeout`].
    Drain,
    /// Both sides see a reset, at once.
    Close,
}

impl Default for Withdrawal {
    fn default() -> Self {
        Self { revoked: Consequence::Close, expired: Consequence::Close }
    }
}

impl Withdrawal {
    pub(crate) fn consequence(&self, reason: Reason) -> Consequence {
        match reason {
            Reason::ClientCertificateExpired => self.expired,
            _ => self.revoked,
        }
    }
}

impl Consequence {
    /// The stable name in logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drain => "drain",
            Self::Close => "close",
        }
    }
}

impl Listener {
    /// Is it a balancer's address?
    #[must_use]
    pub fn is_balancer(&self, address: IpAddr) -> bool {
        // A listener on [::] sees IPv4 addresses in their mapped form.
        let address = address.to_canonical();
        self.proxy_from.iter().any(|prefix| prefix.matches(Action::Allow, address))
    }
}

/// How an upstream is told of the client before its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// Not at all.
    #[default]
    Nothing,
    /// By a PROXY protocol header, version 1: addresses alone, as text.
    ProxyV1,
    /// By a PROXY protocol header, version 2.
    ProxyV2(Format),
}

/// The identities of a listener, chosen by the server name that the client asks for (RFC 6066 §3).
#[derive(Debug)]
pub struct Identities<T = Identity> {
    exact: HashMap<String, usize>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, usize>,
    /// The first is the default.
    all: Vec<T>,
    strict: bool,
}

impl<T> Identities<T> {
    /// Identities with the names that each answers to, exact or `*.` and a domain; the first one also
    /// answers to every other name and to none, unless `strict`.
    ///
    /// # Panics
    /// If there is no identity: the configuration has made sure of one.
    #[must_use]
    pub fn new(identities: Vec<(Vec<String>, T)>, strict: bool) -> Self {
        assert!(!identities.is_empty(), "a listener has an identity");
        let mut this = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            all: Vec::with_capacity(identities.len()),
            strict,
        };
        for (index, (names, identity)) in identities.into_iter().enumerate() {
            for name in names {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(domain) => this.wildcard.entry(domain.to_owned()).or_insert(index),
                    None => this.exact.entry(name).or_insert(index),
                };
            }
            this.all.push(identity);
        }
        this
    }

    /// All of them, in their order.
    #[must_use]
    pub fn all(&self) -> &[T] {
        &self.all
    }

    /// The identity for a server name: an exact one before a wildcard, which stands for one label; else
    /// the default, or `None` if that is not to answer.
    #[must_use]
    pub fn choose(&self, server_name: Option<&str>) -> Option<&T> {
        self.all.get(self.index(server_name)?)
    }

    /// As [`Self::choose`], by its place in the order given.
    #[must_use]
    pub fn index(&self, server_name: Option<&str>) -> Option<usize> {
        let name = server_name.map(str::to_ascii_lowercase);
        let index = name.as_deref().and_then(|name| {
            let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(by_wildcard)
        });
        match index {
            Some(index) => Some(*index),
            None if self.strict => None,
            None => Some(0),
        }
    }
}
