//! One connection with both its peers and the network to them.

use countersign_proto::{Connection, SendBuffer};

use crate::client::Client;
use crate::invariants::Ledger;
use crate::network::Link;
use crate::pki::Regime;
use crate::plan::{ConnectionPlan, WorldPlan};
use crate::random::Random;
use crate::signer::Signer;
use crate::upstream::Upstream;

/// The driver's side of one socket.
#[derive(Default)]
pub(super) struct Near {
    pub(super) receiving: bool,
    pub(super) receive_is_due: bool,
    pub(super) sending: Option<SendBuffer>,
    /// Bytes of it that the link took.
    pub(super) taken: usize,
    /// Waits for room.
    pub(super) blocked: bool,
    pub(super) closing: bool,
    pub(super) arrival_at: Option<u64>,
}

pub(super) struct Session {
    pub(super) plan: ConnectionPlan,
    pub(super) connection: Option<Connection>,
    pub(super) client: Client,
    pub(super) upstream: Option<Upstream>,
    pub(super) links: [Option<Link>; 2],
    pub(super) near: [Near; 2],
    pub(super) ledger: Ledger,
    pub(super) signer: Signer,
    pub(super) random: Random,
    pub(super) timer_at: Option<u64>,
    pub(super) client_turn: bool,
    pub(super) upstream_turn: bool,
    pub(super) was_accepted: bool,
}

impl Session {
    pub(super) fn draw(random: &mut Random, world: &WorldPlan) -> Self {
        let plan = ConnectionPlan::draw(random, world);
        let client = Client::new(plan.client, random);
        let upstream = plan.upstream.map(|of_upstream| Upstream::new(of_upstream, client.stream()));
        let link = Link::new(plan.client_link, random.fork());
        Self {
            connection: None,
            client,
            upstream,
            links: [Some(link), None],
            near: Default::default(),
            ledger: Ledger::new(0, false, Regime::Usual, false, &world.limits),
            signer: Signer::default(),
            random: random.fork(),
            timer_at: None,
            client_turn: false,
            upstream_turn: false,
            was_accepted: false,
            plan,
        }
    }
}
