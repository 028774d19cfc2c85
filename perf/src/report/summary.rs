//! From cells to what is told: medians, intervals, ratios, floors, verdicts.

use std::collections::BTreeMap;

use crate::cell::{BUSY, Cell};
use crate::experiment::{Experiment, Variant};
use crate::slice;
use crate::statistics::{self, Estimate, ROUNDS_TO_RANK, Verdict};
use crate::study::{Results, Study};
use crate::token;

/// Everything that is told of one experiment with one variant and number of workers.
pub(crate) struct Section {
    pub(crate) experiment: Experiment,
    pub(crate) variant: Variant,
    pub(crate) workers: usize,
    /// In the order of the systems; the first is the reference.
    pub(crate) rows: Vec<Row>,
    pub(crate) floor: Floor,
}

/// One system.
pub(crate) struct Row {
    /// [`crate::system::System::id`].
    pub(crate) system: String,
    pub(crate) title: String,
    /// What it costs; `None` where `words` say why.
    pub(crate) cost: Option<Estimate>,
    pub(crate) words: Option<String>,
    /// Its cost over the reference's, round by round; not for the reference itself.
    pub(crate) ratio: Option<(Estimate, Verdict)>,
    /// Where a key lies in a token: every detail beside that of the same system with its key in software.
    pub(crate) beside: BTreeMap<&'static str, Beside>,
    pub(crate) good: usize,
    pub(crate) cell: Cell,
}

/// A detail beside another row's, round by round.
#[derive(Clone, Copy)]
pub(crate) struct Beside {
    /// Over the other's.
    pub(crate) ratio: Estimate,
    /// Less the other's.
    pub(crate) difference: Estimate,
}

/// What cannot be less, and what the reference adds to it.
#[derive(Default)]
pub(crate) struct Floor {
    /// The operations that the work needs, in µs.
    pub(crate) cryptography: Option<Estimate>,
    /// The conversation without TLS, in µs.
    pub(crate) tcp: Option<Estimate>,
    /// How busy its server was, as a share.
    pub(crate) tcp_busy: Option<f64>,
    pub(crate) tcp_words: Option<String>,
    /// The reference's cost less the cryptography, round by round.
    pub(crate) own_with_tcp: Option<Estimate>,
    /// The same less the conversation.
    pub(crate) own_without_tcp: Option<Estimate>,
    /// Sealing records of 16 KiB, in GB/s; of bulk transfers.
    pub(crate) seal_gb: Option<Estimate>,
    /// Opening them.
    pub(crate) open_gb: Option<Estimate>,
}

impl Row {
    /// The median of a detail.
    pub(crate) fn detail(&self, name: &str) -> Option<f64> {
        self.cell_if_measured().and_then(|cell| statistics::median(&cell.detail(name)))
    }

    fn cell_if_measured(&self) -> Option<&Cell> {
        self.words.is_none().then_some(&self.cell)
    }
}

/// The whole summary, in the order of experiments.
pub(crate) struct Summary {
    pub(crate) sections: Vec<Section>,
    /// The name of what all are compared with.
    pub(crate) reference: String,
    /// 5th, 50th and 95th percentile of the calibrations, in µs.
    pub(crate) calibration: Option<(f64, f64, f64)>,
}

pub(crate) fn summarize(study: &Study, results: &Results) -> Summary {
    let floors = [Experiment::TcpConversation, Experiment::Cryptography];
    let told = results.cells.iter().filter(|cell| !floors.contains(&cell.key.experiment));
    let mut places: Vec<(Experiment, Variant, usize)> =
        told.map(|cell| (cell.key.experiment, cell.key.variant, cell.key.workers)).collect();
    places.sort_unstable();
    places.dedup();
    let sections = places
        .into_iter()
        .map(|(experiment, variant, workers)| section(study, results, experiment, variant, workers))
        .collect();
    let quantile = |q| statistics::quantile(&results.calibrations, q);
    Summary {
        sections,
        reference: study.systems.first().map(|system| system.name()).unwrap_or_default(),
        calibration: quantile(0.05)
            .zip(quantile(0.5))
            .zip(quantile(0.95))
            .map(|((a, b), c)| (a, b, c)),
    }
}

fn section(
    study: &Study,
    results: &Results,
    experiment: Experiment,
    variant: Variant,
    workers: usize,
) -> Section {
    let find = |system: &str| {
        results.cells.iter().find(|cell| {
            cell.key.experiment == experiment
                && cell.key.variant == variant
                && cell.key.workers == workers
                && cell.key.system == system
        })
    };
    let rows = token::rows(&study.systems, experiment);
    let reference = rows.first().and_then(|row| find(&row.id));
    let rows = rows
        .iter()
        .enumerate()
        .filter_map(|(number, named)| {
            let cell = find(&named.id)?;
            let against = reference.filter(|_| number > 0);
            let own = named.own.as_ref().and_then(|own| find(own));
            Some(row(study, &named.title, (cell, own), against))
        })
        .collect();
    let floor = reference.map(|cell| floor(study, results, cell)).unwrap_or_default();
    Section { experiment, variant, workers, rows, floor }
}

fn row(
    study: &Study,
    title: &str,
    (cell, own): (&Cell, Option<&Cell>),
    reference: Option<&Cell>,
) -> Row {
    let costs = cell.costs();
    let good: Vec<f64> = costs.iter().copied().flatten().collect();
    let words = cell.reason();
    let told = words.is_none();
    let comparable = |other: &&Cell| told && other.reason().is_none();
    let ratio = reference.filter(comparable).and_then(|reference| {
        let ratio = statistics::ratio(&costs, &reference.costs(), study.seed)?;
        let needed = match cell.key.experiment {
            // Three rounds that agree: memory does not depend on what else the machine does.
            Experiment::IdleMemory => 3,
            _ => ROUNDS_TO_RANK,
        };
        Some((ratio, statistics::verdict(&ratio, needed)))
    });
    Row {
        system: cell.key.system.clone(),
        title: title.to_owned(),
        cost: if told { statistics::estimate(&good, study.seed) } else { None },
        words,
        ratio,
        beside: own.filter(comparable).map(|own| beside(study, cell, own)).unwrap_or_default(),
        good: good.len(),
        cell: cell.clone(),
    }
}

/// Every detail that two cells share.
fn beside(study: &Study, cell: &Cell, other: &Cell) -> BTreeMap<&'static str, Beside> {
    let samples = || cell.rounds.iter().zip(&other.rounds);
    let mut names: Vec<&'static str> =
        cell.rounds.iter().flatten().flat_map(|sample| sample.details.keys().copied()).collect();
    names.sort_unstable();
    names.dedup();
    let pairs = |name: &str| -> Vec<(f64, f64)> {
        let pairs = samples().filter_map(|(own, other)| {
            let (own, other) = (own.as_ref()?, other.as_ref()?);
            Some((*own.details.get(name)?, *other.details.get(name)?))
        });
        pairs.collect()
    };
    let compared = names.into_iter().filter_map(|name| {
        let pairs = pairs(name);
        let of = |value: fn((f64, f64)) -> f64| {
            statistics::estimate(&pairs.iter().copied().map(value).collect::<Vec<_>>(), study.seed)
        };
        let ratio = of(|(own, other)| own / other)?;
        let difference = of(|(own, other)| own - other)?;
        // Nothing is a multiple of nothing.
        ratio.median.is_finite().then_some((name, Beside { ratio, difference }))
    });
    compared.collect()
}

fn floor(study: &Study, results: &Results, reference: &Cell) -> Floor {
    let key = &reference.key;
    let find = |experiment: Experiment, variant: Variant| {
        results
            .cells
            .iter()
            .find(|cell| cell.key.experiment == experiment && cell.key.variant == variant)
    };
    let estimate = |values: &[f64]| statistics::estimate(values, study.seed);
    let mut floor = Floor::default();
    let Some(cryptography) = find(Experiment::Cryptography, key.variant) else { return floor };
    if key.experiment.is_bulk() {
        floor.seal_gb = estimate(&cryptography.detail("aes128_gcm_seal_gb_per_s"));
        floor.open_gb = estimate(&cryptography.detail("aes128_gcm_open_gb_per_s"));
    }
    if !key.experiment.is_handshakes() {
        return floor;
    }
    let sums: Vec<Option<f64>> = cryptography
        .rounds
        .iter()
        .map(|sample| slice::sum(&sample.as_ref()?.details, key.experiment, key.variant))
        .collect();
    floor.cryptography = estimate(&sums.iter().copied().flatten().collect::<Vec<_>>());
    let tcp = find(Experiment::TcpConversation, key.variant);
    floor.tcp_words = tcp.and_then(Cell::reason);
    floor.tcp_busy = tcp.and_then(|tcp| statistics::median(&tcp.detail(BUSY)));
    let tcp_costs = tcp.map(Cell::costs).unwrap_or_default();
    floor.tcp = estimate(&tcp_costs.iter().copied().flatten().collect::<Vec<_>>());
    if reference.reason().is_none() {
        let costs = reference.costs();
        let own = costs.iter().zip(&sums).map(|(cost, sum)| Some((*cost)? - (*sum)?));
        let own: Vec<Option<f64>> = own.collect();
        let without = own.iter().zip(&tcp_costs).filter_map(|(own, tcp)| Some((*own)? - (*tcp)?));
        floor.own_without_tcp = estimate(&without.collect::<Vec<_>>());
        floor.own_with_tcp = estimate(&own.into_iter().flatten().collect::<Vec<_>>());
    }
    floor
}
