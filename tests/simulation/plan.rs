//! What a seed means: how bad the network of a world is, who comes, and what befalls them.

use std::time::Duration;

use countersign_proto::limits::RECORD_WIRE_BYTES;
use countersign_proto::{Consequence, Handoff, Limits, TlsVersion, Withdrawal};

use crate::client::{ClientPlan, Conduct, Farewell, Offer, REQUEST};
use crate::front::Front;
use crate::network::Quality;
use crate::pki::{Regime, Shown};
use crate::random::Random;
use crate::signer::Temper;
use crate::upstream::{Manner, UpstreamPlan};

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;

/// A world's own circumstances.
#[derive(Clone, Debug)]
pub(crate) struct WorldPlan {
    pub(crate) workers: usize,
    pub(crate) connections: usize,
    pub(crate) handoff: Handoff,
    pub(crate) temper: Temper,
    pub(crate) limits: Limits,
    /// Longest time between an operation and its completion.
    pub(crate) completion_nanos: u64,
    /// Connections come within this time.
    pub(crate) arrivals_nanos: u64,
    /// How often a send takes only a part, in percent.
    pub(crate) partial_sends: u64,
    /// How often an operation is still answered after its socket was told to close, in percent.
    pub(crate) late_completions: u64,
    /// When the engine is told to stop, and how long it then waits before it aborts what is left.
    pub(crate) stop: Option<(u64, u64)>,
    /// How many connections are aborted at some time, in percent.
    pub(crate) aborts: u64,
    /// What becomes of those who would not be let in any more.
    pub(crate) withdrawal: Withdrawal,
    /// When what is published.
    pub(crate) publications: Vec<(u64, Regime)>,
    /// When `CLOCK_REALTIME` is set, and how many seconds forward.
    pub(crate) clock_step: Option<(u64, i64)>,
}

/// One connection's circumstances.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPlan {
    pub(crate) worker: usize,
    pub(crate) accepted_at: u64,
    pub(crate) aborted_at: Option<u64>,
    pub(crate) client: ClientPlan,
    pub(crate) client_link: Quality,
    /// `None` for the built-in one.
    pub(crate) upstream: Option<UpstreamPlan>,
    pub(crate) upstream_link: Quality,
}

impl WorldPlan {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let limits = draw_limits(random);
        let hands_out = random.percent(60);
        Self {
            workers: random.size(1..=3),
            connections: random.size(20..=60),
            handoff: if hands_out { Handoff::ALL } else { Handoff::default() },
            temper: Temper {
                fails: random.weighted(&[(2, 0), (1, 4)]),
                is_silent: random.weighted(&[(2, 0), (1, 2)]),
                is_late: random.weighted(&[(2, 0), (1, 2)]),
                repeats: random.weighted(&[(1, 0), (1, 30)]),
                delay_nanos: random.weighted(&[(1, MILLISECOND), (2, 300 * MILLISECOND)]),
                deadline_nanos: nanos(limits.operation_timeout),
            },
            limits,
            completion_nanos: random.weighted(&[(1, 0), (3, MILLISECOND), (1, 20 * MILLISECOND)]),
            arrivals_nanos: random.weighted(&[
                (1, 50 * MILLISECOND),
                (1, SECOND),
                (1, 10 * SECOND),
            ]),
            partial_sends: random.weighted(&[(1, 0), (1, 20), (1, 80)]),
            late_completions: random.weighted(&[(1, 0), (1, 50)]),
            stop: random
                .percent(25)
                .then(|| (random.within(MILLISECOND..=8 * SECOND), random.within(0..=15 * SECOND))),
            aborts: random.weighted(&[(3, 0), (1, 20)]),
            withdrawal: Withdrawal {
                revoked: draw_consequence(random),
                expired: draw_consequence(random),
            },
            publications: draw_publications(random),
            clock_step: random.percent(15).then(|| {
                let seconds = random.weighted(&[(1, -3_600), (1, -2), (1, 2), (1, 3_600)]);
                (random.within(MILLISECOND..=6 * SECOND), seconds)
            }),
        }
    }
}

fn draw_consequence(random: &mut Random) -> Consequence {
    random.weighted(&[(4, Consequence::Close), (2, Consequence::Drain), (1, Consequence::Keep)])
}

fn draw_publications(random: &mut Random) -> Vec<(u64, Regime)> {
    let count = random.weighted(&[(5, 0), (2, 1), (2, 2), (1, 6)]);
    let mut publications: Vec<_> = (0..count)
        .map(|_| {
            let regime = random.weighted(&[
                (3, Regime::Usual),
                (1, Regime::NoRule),
                (1, Regime::Denied),
                (1, Regime::OtherCa),
            ]);
            (random.within(0..=10 * SECOND), regime)
        })
        .collect();
    publications.sort_by_key(|(at, _)| *at);
    publications
}

fn draw_limits(random: &mut Random) -> Limits {
    let relay_bytes = random.weighted(&[(1, RECORD_WIRE_BYTES), (1, 32 * 1024), (1, 64 * 1024)]);
    Limits {
        relay_bytes,
        drains: random.weighted(&[(1, 2), (3, 1_024)]),
        signing_suspensions: random.weighted(&[(1, 2), (2, 64)]),
        lookup_suspensions: random.weighted(&[(1, 1), (2, 64)]),
        handshake_timeout: Duration::from_secs(random.within(5..=10)),
        operation_timeout: Duration::from_millis(random.within(400..=3_000)),
        connect_timeout: Duration::from_millis(random.within(500..=5_000)),
        idle_timeout: Duration::from_secs(random.within(10..=60)),
        half_closed_timeout: Duration::from_secs(random.within(5..=30)),
        withdrawal_timeout: Duration::from_millis(random.within(10..=3_000)),
        ..Limits::default()
    }
}

impl ConnectionPlan {
    pub(crate) fn draw(random: &mut Random, world: &WorldPlan) -> Self {
        let upstream = random.percent(85).then(|| draw_upstream(random));
        let accepted_at = random.within(0..=world.arrivals_nanos);
        let mut plan = Self {
            worker: random.size(0..=world.workers - 1),
            accepted_at,
            aborted_at: random
                .percent(world.aborts)
                .then(|| accepted_at + random.within(0..=4 * SECOND)),
            client: draw_client(random, upstream.is_none()),
            client_link: draw_quality(random),
            upstream,
            upstream_link: draw_quality(random),
        };
        if plan.client.reads_slowly {
            // Little fits into the network: what is slow is felt.
            plan.client_link.capacity_bytes = 2_048;
        }
        plan
    }
}

fn draw_quality(random: &mut Random) -> Quality {
    Quality {
        delay_nanos: random.weighted(&[
            (2, 0),
            (4, MILLISECOND),
            (2, 20 * MILLISECOND),
            (1, 60 * MILLISECOND),
        ]),
        fragment_bytes: random.weighted(&[(1, 40), (2, 700), (2, 1_460), (3, 65_536)]),
        capacity_bytes: random.weighted(&[(1, 900), (2, 8_192), (3, 65_536), (3, 262_144)]),
    }
}

fn draw_bytes(random: &mut Random) -> u64 {
    let most = random.weighted(&[(1, 0), (4, 500), (4, 8_000), (2, 40_000), (1, 250_000)]);
    random.within(0..=most)
}

fn draw_upstream(random: &mut Random) -> UpstreamPlan {
    UpstreamPlan {
        manner: random.weighted(&[
            (8, Manner::Echo),
            (3, Manner::Sink),
            (4, Manner::Source),
            (2, Manner::HalfClosesEarly),
            (2, Manner::Resets),
            (1, Manner::Hoards),
            (1, Manner::Refuses),
            (1, Manner::FindsNoRoom),
            (1, Manner::AnswersTooLate),
        ]),
        bytes: draw_bytes(random),
        key: random.next(),
        pause_nanos: random.weighted(&[(2, 0), (2, MILLISECOND), (1, 30 * MILLISECOND)]),
        turn_bytes: random.weighted(&[(1, 1_000), (3, 16_384)]),
    }
}

fn draw_client(random: &mut Random, asks_whoami: bool) -> ClientPlan {
    let conduct = random.weighted(&[
        (60, Conduct::Tls),
        (1, Conduct::Trickles),
        (1, Conduct::Distrusts),
        (1, Conduct::Tampers),
        (1, Conduct::Garbage),
        (1, Conduct::HugeHello),
        (1, Conduct::EndlessHello),
        (1, Conduct::OldVersion),
        (1, Conduct::FinishedFirst),
        (1, Conduct::AlertFirst),
        (1, Conduct::Mute),
    ]);
    let is_friendly = conduct == Conduct::Distrusts || random.percent(70);
    let shown = match is_friendly {
        true if conduct == Conduct::Tls && random.percent(10) => Shown::Brief,
        true => Shown::Friend,
        false => draw_shown(random),
    };
    let offers: &[(u64, Offer)] = match conduct {
        Conduct::Distrusts => &[(1, Offer::Preferred)],
        _ => {
            &[(12, Offer::Preferred), (6, Offer::Retried), (4, Offer::Second), (1, Offer::Foreign)]
        }
    };
    let turn = random.within(1..=12);
    let mut plan = ClientPlan {
        conduct,
        front: None,
        shown,
        version: random.weighted(&[(2, TlsVersion::Tls13), (1, TlsVersion::Tls12)]),
        offer: random.weighted(offers),
        farewell: random.weighted(&[
            (12, Farewell::Complete),
            (5, Farewell::HalfClose),
            (3, Farewell::AfterTheEngine),
            (2, Farewell::WithoutWord),
            (3, Farewell::Truncate),
            (2, Farewell::CloseAt(turn)),
            (3, Farewell::ResetAt(turn)),
            (1, Farewell::Stays),
        ]),
        bytes: match asks_whoami {
            true => REQUEST.len() as u64 * random.weighted(&[(4, 1), (2, 3), (1, 200)]),
            false => draw_bytes(random),
        },
        asks_whoami,
        key: random.next(),
        key_update_percent: random.weighted(&[(4, 0), (1, 10)]),
        pause_nanos: random.weighted(&[(2, 0), (2, MILLISECOND), (1, 30 * MILLISECOND)]),
        turn_bytes: random.weighted(&[(1, 900), (3, 16_384)]),
        reads_slowly: random.percent(4),
    };
    // Byte by byte and far apart, a header alone takes the time that there is for the handshake.
    if conduct != Conduct::Trickles {
        plan.front = Front::of_key(plan.key);
    }
    plan
}

fn draw_shown(random: &mut Random) -> Shown {
    random.weighted(&[
        (2, Shown::Denied),
        (2, Shown::Nothing),
        (1, Shown::OfAnotherCa),
        (1, Shown::Expired),
        (1, Shown::NotYetValid),
        (1, Shown::OfPurposeServer),
        (1, Shown::WithoutIntermediate),
        (1, Shown::WithoutDigitalSignature),
        (1, Shown::TooManyCertificates),
        (1, Shown::Unparsable),
        (1, Shown::BadlySigned),
        (1, Shown::AnAuthority),
        (1, Shown::WithAnotherKey),
    ])
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
