//! A worker: its desk, its listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_proto::ticket::{KEY_BYTES_MIN, WORKER_BYTES};
use countersign_proto::{
    Announce, ChainCacheLimits, ClientAuth, Desk, Identities, Identity, Limits, Listener,
    TicketKey, TicketKeys, TlsParameters, UpstreamAddress,
};

use crate::front::balancers;
use crate::pki::{Pki, Regime, policy, policy_for_everyone};
use crate::plan::WorldPlan;
use crate::provider::{self, P256, X25519};
use crate::sabotage::Sabotage;

pub(super) struct Worker {
    pub(super) desk: Desk,
    /// To TCP, to a unix socket, to the built-in upstream.
    pub(super) listeners: [Arc<Listener>; 3],
}

pub(super) fn worker(plan: &WorldPlan, number: u64, sabotage: Sabotage) -> Worker {
    let desk =
        Desk::new(&plan.limits, ChainCacheLimits::default(), plan.workers, number).expect("stacks");
    // One key and one life of a worker for all: nobody in this world looks for repeated nonces.
    let key = TicketKey::new(vec![1; KEY_BYTES_MIN].into()).expect("a key");
    desk.set_ticket_keys(TicketKeys::new(1, &[key], [1; WORKER_BYTES]));
    let worker = Worker { desk, listeners: listeners(plan, sabotage, Regime::Usual) };
    worker.desk.publish(worker.listeners.to_vec());
    worker
}

impl Worker {
    /// Serves by another regime from now on.
    pub(super) fn publish(&mut self, plan: &WorldPlan, sabotage: Sabotage, regime: Regime) {
        self.listeners = listeners(plan, sabotage, regime);
        self.desk.publish(self.listeners.to_vec());
    }
}

fn listeners(plan: &WorldPlan, sabotage: Sabotage, regime: Regime) -> [Arc<Listener>; 3] {
    let limits: &Limits = &plan.limits;
    let pki = Pki::get();
    let parameters = TlsParameters {
        suites: provider::suites(),
        groups: vec![&X25519, &P256],
        handoff: plan.handoff,
        ..TlsParameters::new(&provider::RANDOM)
    };
    let rules = match sabotage {
        Sabotage::LetsEveryoneIn => policy_for_everyone(),
        _ => policy(regime),
    };
    let upstreams =
        [tcp_upstream(), UpstreamAddress::Unix("/run/app.sock".into()), UpstreamAddress::Whoami];
    let mut index = 0;
    upstreams.map(|upstream| {
        index += 1;
        let domain = pki.trust_domain(limits, regime);
        let identity =
            Identity::new(&pki.server, Some(domain), ClientAuth::Require, false, &parameters);
        let identity = identity.expect("an identity");
        Arc::new(Listener {
            name: format!("listener-{index}").into(),
            address: SocketAddr::from(([192, 0, 2, 1], 8_443 + index)),
            generation: 1,
            identities: Identities::new(vec![(Vec::new(), identity)], false),
            announce: Announce::Nothing,
            proxy_from: balancers(),
            policy: rules.clone(),
            // It would let everyone in, and lets nobody in.
            shadow: Some(policy_for_everyone()),
            upstream,
            withdrawal: plan.withdrawal,
            limits: limits.clone(),
        })
    })
}

pub(super) fn tcp_upstream() -> UpstreamAddress {
    UpstreamAddress::Tcp(SocketAddr::from(([198, 51, 100, 1], 8_080)))
}
