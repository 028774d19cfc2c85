//! Medians, their intervals, and when one system may be called faster than another.

use crate::random::Random;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;
/// Fewer rounds than this rank nothing.
pub(crate) const ROUNDS_TO_RANK: usize = 12;
/// An interval must lie wholly outside of this band to rank two systems: a run repeated on a noisy
/// machine moves a median ratio by a few percent, and no run may contradict another.
pub(crate) const BAND: (f64, f64) = (0.97, 1.03);

/// A median with the interval that holds it in 95 of 100 resamples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// How many values it stands on.
    pub(crate) count: usize,
}

/// What a ratio of costs, a system's over the reference's, says about the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    CostsMore,
    CostsLess,
    NotToldApart,
    /// Too few rounds have both.
    TooFewRounds,
}

/// The median; `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The value below which the share `q` of the values lies, interpolated; `None` of nothing.
pub(crate) fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64))
}

/// The median of the values with its bootstrap interval; `None` of nothing.
pub(crate) fn estimate(values: &[f64], seed: u64) -> Option<Estimate> {
    let median = median(values)?;
    let mut random = Random::new(seed);
    let mut resample = vec![0.0; values.len()];
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            resample.fill_with(|| values[random.below(values.len())]);
            resample.sort_by(f64::total_cmp);
            let half = resample.len() / 2;
            if resample.len() % 2 == 1 {
                resample[half]
            } else {
                f64::midpoint(resample[half - 1], resample[half])
            }
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let low = medians[RESAMPLES * 25 / 1000];
    let high = medians[RESAMPLES * 975 / 1000 - 1];
    Some(Estimate { median, low, high, count: values.len() })
}

/// The ratio of two systems round by round: only rounds that have both count.
pub(crate) fn ratio(
    other: &[Option<f64>],
    reference: &[Option<f64>],
    seed: u64,
) -> Option<Estimate> {
    let paired = other.iter().zip(reference);
    let ratios: Vec<f64> =
        paired.filter_map(|(other, reference)| Some((*other)? / (*reference)?)).collect();
    estimate(&ratios, seed)
}

/// What a ratio of costs says. `rounds_to_rank`: how many rounds it must stand on.
pub(crate) fn verdict(ratio: &Estimate, rounds_to_rank: usize) -> Verdict {
    if ratio.count < rounds_to_rank {
        Verdict::TooFewRounds
    } else if ratio.low > BAND.1 {
        Verdict::CostsMore
    } else if ratio.high < BAND.0 {
        Verdict::CostsLess
    } else {
        Verdict::NotToldApart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles_interpolate() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(quantile(&[0.0, 10.0], 0.95), Some(9.5));
    }

    #[test]
    fn an_interval_holds_its_median_and_a_seed_gives_one_interval() {
        let values: Vec<f64> = (0..16).map(|n| 100.0 + f64::from(n)).collect();
        let estimate_7 = estimate(&values, 7).expect("values");
        assert!(estimate_7.low <= estimate_7.median && estimate_7.median <= estimate_7.high);
        assert!(estimate_7.low > 100.0 && estimate_7.high < 115.0, "{estimate_7:?}");
        assert_eq!(estimate(&values, 7), Some(estimate_7));
        assert_eq!(estimate(&[], 7), None);
    }

    #[test]
    fn ratios_pair_what_was_measured_in_the_same_round() {
        let reference = [Some(100.0), Some(200.0), None, Some(50.0)];
        let other = [Some(200.0), Some(400.0), Some(1.0), None];
        let estimate = ratio(&other, &reference, 1).expect("two rounds");
        assert_eq!((estimate.median, estimate.count), (2.0, 2));
    }

    #[test]
    fn nothing_is_ranked_that_the_interval_or_the_rounds_do_not_carry() {
        let of = |low, high, count| Estimate { median: 1.0, low, high, count };
        assert_eq!(verdict(&of(1.04, 1.3, 16), 12), Verdict::CostsMore);
        assert_eq!(verdict(&of(0.7, 0.96, 16), 12), Verdict::CostsLess);
        assert_eq!(verdict(&of(1.01, 1.3, 16), 12), Verdict::NotToldApart);
        assert_eq!(verdict(&of(0.9, 0.99, 16), 12), Verdict::NotToldApart);
        assert_eq!(verdict(&of(2.0, 2.1, 11), 12), Verdict::TooFewRounds);
    }
}
