//! Signatures with so many sessions, for so long.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use countersign_hsm::{Authentication, Pin, PrivateKey, Scheme, Session};

/// As long as what TLS 1.3 signs with SHA-256 (RFC 9846, section 4.4.3): 64 spaces, 34 bytes of context, a hash.
const MESSAGE_BYTES: usize = 64 + 34 + 32;

/// Of the best throughput: what a number of sessions must reach to be enough.
const ENOUGH: f64 = 0.95;

/// What every session is asked for.
pub(super) struct Work {
    pub(super) key: PrivateKey,
    pub(super) scheme: Scheme,
    /// For keys that want it each time.
    pub(super) pin: Option<Pin>,
}

/// What came of one number of sessions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) sessions: usize,
    pub(super) signatures: usize,
    pub(super) per_second: f64,
    /// Of one signature, by rank.
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) longest: Duration,
}

/// Has each session sign again and again for `time`.
///
/// # Errors
/// What the token says when a signature fails.
pub(super) fn step(sessions: &mut [Session], work: &Work, time: Duration) -> Result<Step, String> {
    let count = sessions.len();
    let start = Barrier::new(count);
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|session| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    sign_for(session, work, time)
                })
            })
            .collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let (mut taken, mut per_second) = (Vec::new(), 0.0);
    for result in results {
        let of_session = result.map_err(|_| "a thread failed; this is a bug".to_owned())??;
        let busy: Duration = of_session.iter().sum();
        per_second += of_session.len() as f64 / busy.as_secs_f64().max(f64::MIN_POSITIVE);
        taken.extend(of_session);
    }
    taken.sort_unstable();
    Ok(Step {
        sessions: count,
        signatures: taken.len(),
        per_second,
        p50: ranked(&taken, 0.50),
        p99: ranked(&taken, 0.99),
        longest: taken.last().copied().unwrap_or_default(),
    })
}

/// How long each signature took: at least one, and none begun after `time`.
fn sign_for(session: &mut Session, work: &Work, time: Duration) -> Result<Vec<Duration>, String> {
    let mut message = [b' '; MESSAGE_BYTES];
    let begin = Instant::now();
    let mut taken = Vec::new();
    let mut last = begin;
    for number in 0_u64.. {
        // No two are alike: a token might remember.
        message[MESSAGE_BYTES - 8..].copy_from_slice(&number.to_be_bytes());
        session
            .sign(
                &work.key,
                work.scheme,
                &message,
                work.pin.as_ref().map(|pin| pin as &dyn Authentication),
            )
            .map_err(|error| error.to_string())?;
        let now = Instant::now();
        taken.push(now - last);
        last = now;
        if now - begin >= time {
            break;
        }
    }
    Ok(taken)
}

/// Of sorted values the one that so many of them do not exceed.
fn ranked(sorted: &[Duration], part: f64) -> Duration {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The smallest number of sessions that has nearly the best throughput of all.
pub(super) fn knee(steps: &[Step]) -> Option<&Step> {
    let best = steps.iter().map(|step| step.per_second).fold(0.0, f64::max);
    steps.iter().filter(|step| step.per_second >= ENOUGH * best).min_by_key(|step| step.sessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(sessions: usize, per_second: f64) -> Step {
        let zero = Duration::ZERO;
        Step { sessions, signatures: 1, per_second, p50: zero, p99: zero, longest: zero }
    }

    #[test]
    fn the_knee_is_the_first_that_is_nearly_as_good_as_the_best() {
        let of = |rates: &[(usize, f64)]| {
            let steps: Vec<_> = rates.iter().map(|(count, rate)| step(*count, *rate)).collect();
            knee(&steps).map(|step| step.sessions)
        };
        assert_eq!(of(&[(1, 100.0), (2, 190.0), (4, 380.0), (8, 400.0), (16, 396.0)]), Some(4));
        assert_eq!(of(&[(1, 100.0), (2, 90.0)]), Some(1));
        assert_eq!(of(&[(8, 400.0), (1, 400.0)]), Some(1), "in whatever order they were asked for");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_rank_is_one_of_the_values() {
        let values: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(ranked(&values, 0.50), Duration::from_millis(50));
        assert_eq!(ranked(&values, 0.99), Duration::from_millis(99));
        assert_eq!(ranked(&values[..1], 0.99), Duration::from_millis(1));
        assert_eq!(ranked(&[], 0.5), Duration::ZERO);
    }
}
