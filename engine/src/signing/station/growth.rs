//! How many lanes there should be.

use super::LaneLimits;

/// What is known of the lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) busy: usize,
    pub(super) open: usize,
    /// Sessions that are being opened.
    pub(super) opening: usize,
    /// Lanes that hang in the module; their sessions still count.
    pub(super) lost: usize,
    /// Operations that wait.
    pub(super) waiting: usize,
    /// The most that were busy at one time of late; none while that is not known yet.
    pub(super) peak: Option<usize>,
    /// The most sessions.
    pub(super) ceiling: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    More(usize),
    OneLess,
}

/// More lanes, twice as many at most, when operations wait and all are busy; one less when fewer were needed of late.
///
/// Lanes that are between two operations look idle. Where as many wait as there are lanes, each waits for as long as a
/// signature takes, whatever is seen of lanes at this moment.
pub(super) fn change(limits: LaneLimits, load: Load) -> Change {
    let sessions = load.open + load.opening + load.lost;
    let least = limits.least.clamp(1, load.ceiling.max(1));
    let is_short = load.open + load.opening < least;
    let has_queue = load.waiting > 0 && (load.busy >= load.open || load.waiting >= load.open);
    let is_full = has_queue && load.opening == 0;
    if (is_short || is_full) && sessions < load.ceiling {
        let wanted = if is_short { 1 } else { load.waiting.min(load.open).max(1) };
        return Change::More(wanted.min(load.ceiling - sessions));
    }
    // One above what was needed stays, so that the next bump finds it.
    let spare = load.peak.is_some_and(|peak| load.open > peak + 1);
    if spare && load.open > least { Change::OneLess } else { Change::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LaneLimits = LaneLimits { least: 2, most: 8 };

    const QUIET: Load =
        Load { busy: 0, open: 4, opening: 0, lost: 0, waiting: 0, peak: None, ceiling: 8 };

    #[test]
    fn a_lane_is_added_only_when_operations_wait_and_all_are_busy() {
        let waiting = Load { waiting: 1, ..QUIET };
        assert_eq!(change(LIMITS, waiting), Change::None, "one is idle");
        let full = Load { busy: 4, ..waiting };
        assert_eq!(change(LIMITS, full), Change::More(1));
        assert_eq!(change(LIMITS, Load { opening: 1, ..full }), Change::None, "one comes already");
        assert_eq!(change(LIMITS, Load { waiting: 0, ..full }), Change::None, "nobody waits");
    }

    #[test]
    fn a_queue_as_long_as_the_lanes_doubles_them_whatever_they_seem_to_do() {
        let queue = Load { busy: 2, waiting: 4, ..QUIET };
        assert_eq!(change(LIMITS, queue), Change::More(4));
        assert_eq!(change(LIMITS, Load { waiting: 900, ..queue }), Change::More(4));
        assert_eq!(change(LIMITS, Load { waiting: 900, ceiling: 6, ..queue }), Change::More(2));
        assert_eq!(change(LIMITS, Load { waiting: 3, ..queue }), Change::None);
        assert_eq!(change(LIMITS, Load { waiting: 3, busy: 4, ..queue }), Change::More(3));
    }

    #[test]
    fn there_are_never_more_sessions_than_the_token_allows_and_hung_ones_count() {
        let full = Load { busy: 4, waiting: 9, ..QUIET };
        assert_eq!(change(LIMITS, Load { ceiling: 4, ..full }), Change::None);
        assert_eq!(change(LIMITS, Load { lost: 3, ..full }), Change::More(1));
        assert_eq!(change(LIMITS, Load { lost: 4, ..full }), Change::None);
    }

    #[test]
    fn the_least_is_kept_and_what_was_not_needed_ends() {
        assert_eq!(change(LIMITS, Load { open: 1, ..QUIET }), Change::More(1));
        assert_eq!(change(LIMITS, QUIET), Change::None, "it is not known what is needed");
        assert_eq!(change(LIMITS, Load { peak: Some(1), ..QUIET }), Change::OneLess);
        assert_eq!(change(LIMITS, Load { peak: Some(3), ..QUIET }), Change::None, "one to spare");
        assert_eq!(change(LIMITS, Load { open: 2, peak: Some(0), ..QUIET }), Change::None);
    }

    #[test]
    fn a_token_with_one_session_serves_with_one() {
        let one = Load { open: 1, ceiling: 1, busy: 1, waiting: 5, ..QUIET };
        assert_eq!(change(LIMITS, one), Change::None);
    }
}
