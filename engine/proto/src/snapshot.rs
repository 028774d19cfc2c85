//! What a worker serves at one time: published whole, never changed.

use std::rc::Rc;

use crate::limits::Limits;
use crate::op::UpstreamAddress;
use crate::policy::Policy;
use crate::tls::Identity;

/// One listener as a worker sees it: an identity, a policy, an upstream.
#[derive(Debug)]
pub struct Listener {
    /// Counted from 0 in the order of the configuration; stands for the name in reports.
    pub index: usize,
    /// Certificate, key and trust domain.
    pub identity: Identity,
    /// Who may come in.
    pub policy: Policy,
    /// Where they go.
    pub upstream: UpstreamAddress,
    /// What it may cost.
    pub limits: Limits,
}

/// The listeners of a worker, built by the worker for itself: nothing in it is shared.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Grows by one with every publish.
    pub generation: u64,
    /// In the order of the configuration.
    pub listeners: Vec<Rc<Listener>>,
}
