//! A study: which systems, which experiments, how often; and its conduct.

mod tokens;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rustix::thread::sched_getaffinity;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::cell::{Cell, Key, RATE};
use crate::experiment::{Experiment, Variant};
use crate::floor::cryptography::Operations;
use crate::host;
use crate::load::Generator;
use crate::memory::MemorySlice;
use crate::pki::Pki;
use crate::problem::{During, Problem, Result};
use crate::process::raise_open_files;
use crate::random::Random;
use crate::rounds::{Contestant, Progress, Rounds, say};
use crate::server::{Backends, Place, Server, free_address};
use crate::slice::{CryptographySlice, LATENCY_LOAD, LoadSlice, Tools};
use crate::statistics::median;
use crate::system::System;
use crate::token;

/// The hidden subcommands that serve.
pub(crate) const CONVERSATION: &str = "floor-conversation";
pub(crate) const SINK: &str = "backend-sink";
pub(crate) const SOURCE: &str = "backend-source";

/// Names of the floors among systems.
pub(crate) const TCP: &str = "tcp";
pub(crate) const CRYPTOGRAPHY: &str = "cryptography";

/// A server that used less of its CPUs was not what limited.
pub(crate) const BUSY_MIN: f64 = 0.95;
/// Rounds of idle_memory: memory hardly varies, and each takes minutes.
const MEMORY_ROUNDS: usize = 3;
/// Rounds that find the saturation where nothing else has.
const PROBE_ROUNDS: usize = 3;
/// Each operation of the cryptographic floor, in each round.
const OPERATION_TIME: Duration = Duration::from_millis(25);

/// What is asked.
#[derive(Debug)]
pub(crate) struct Study {
    /// The first is what the others are compared with.
    pub(crate) systems: Vec<System>,
    pub(crate) experiments: Vec<Experiment>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
    pub(crate) ramp: Duration,
    pub(crate) connections: usize,
    pub(crate) idle_connections: usize,
    /// Share of its CPUs that a server must have used for its slice to count.
    pub(crate) busy_min: f64,
    pub(crate) seed: u64,
    pub(crate) server_cpu: usize,
    pub(crate) client_cpus: Vec<usize>,
    /// Of the engine's threads that are no workers, and of its tokens' processes, where keys lie in tokens.
    pub(crate) token_cpus: Vec<usize>,
    pub(crate) available_cpus: Vec<usize>,
    /// The PKCS#11 module of tests/token.
    pub(crate) test_token: PathBuf,
    pub(crate) loadgen: PathBuf,
    pub(crate) name: String,
    pub(crate) results: PathBuf,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) cells: Vec<Cell>,
    /// P-256 verifications between slices, in µs.
    pub(crate) calibrations: Vec<f64>,
    /// Tickets of a full handshake, for systems that were started with HTTP.
    pub(crate) tickets: Vec<(String, usize)>,
    pub(crate) host: serde_json::Value,
    pub(crate) begun: OffsetDateTime,
    pub(crate) seconds: f64,
}

impl Study {
    fn wants(&self, experiment: Experiment) -> bool {
        self.experiments.contains(&experiment)
    }

    /// Every CPU that servers, clients or tokens use.
    pub(crate) fn used_cpus(&self) -> Vec<usize> {
        let mut cpus = [&[self.server_cpu], &self.client_cpus[..], &self.token_cpus].concat();
        cpus.sort_unstable();
        cpus.dedup();
        cpus
    }

    /// Whether the clients' CPUs are nobody else's, also where keys lie in tokens.
    pub(crate) fn has_own_client_cpus(&self) -> bool {
        let is_others = |cpu: &usize| *cpu == self.server_cpu || self.token_cpus.contains(cpu);
        !self.client_cpus.iter().any(is_others)
    }
}

/// Starts the servers, runs the rounds, ends the servers.
pub(crate) fn conduct(study: &Study) -> Result<Results> {
    let begun = OffsetDateTime::now_utc();
    let host = host::facts();
    let open_files = raise_open_files();
    let directory = tempfile::Builder::new().prefix("countersign-perf-").tempdir();
    let directory = directory.during("cannot make a temporary folder")?;
    let pki = Rc::new(Pki::make(directory.path())?);
    let operations = Rc::new(Operations::new()?);
    let place = Place { directory: directory.path(), pki: &pki, open_files };
    let mut conduct = Conduct {
        study,
        place: &place,
        pki: &pki,
        rounds: Rounds {
            random: Random::new(study.seed),
            operations,
            cpus: vec![study.server_cpu],
            calibrations: Vec::new(),
            progress: Progress::new(),
        },
        cells: Vec::new(),
        tickets: Vec::new(),
    };
    conduct.rounds.progress.expected = expected_slices(study);
    conduct.everything()?;
    let seconds = (OffsetDateTime::now_utc() - begun).as_seconds_f64();
    let Conduct { cells, tickets, rounds, .. } = conduct;
    Ok(Results { cells, calibrations: rounds.calibrations, tickets, host, begun, seconds })
}

/// About how many slices there will be, for the time that is left.
fn expected_slices(study: &Study) -> usize {
    let systems = study.systems.iter().filter(|system| system.program.is_ok()).count();
    let mut slices = 0;
    for &variant in &study.variants {
        let concerned =
            study.experiments.iter().filter(|experiment| variant.concerns(**experiment));
        for &experiment in concerned {
            if experiment.is_about_tokens() {
                let parts = [Some(experiment), experiment.at_a_rate()].into_iter().flatten();
                let rows = parts.map(|part| token::rows(&study.systems, part).len());
                slices += rows.sum::<usize>() * (study.rounds + 1);
                continue;
            }
            slices += systems
                * match experiment {
                    Experiment::IdleMemory => MEMORY_ROUNDS.min(study.rounds),
                    Experiment::Scaling => worker_counts(study).len() * (study.rounds + 1),
                    _ => study.rounds + 1,
                };
        }
        let has_floors = |one: &Experiment| one.is_handshakes() && variant.concerns(*one);
        if study.experiments.iter().any(has_floors) {
            slices += 2 * (study.rounds + 1);
        }
    }
    slices
}

/// 1, 2, 4, ... as long as clients have as many CPUs as servers.
fn worker_counts(study: &Study) -> Vec<usize> {
    let cpus = study.available_cpus.len();
    let counts = std::iter::successors(Some(1), |count| Some(count * 2));
    let counts: Vec<usize> = counts.take_while(|count| count * 2 <= cpus).collect();
    if counts.len() < 2 { Vec::new() } else { counts }
}

struct Conduct<'a> {
    study: &'a Study,
    place: &'a Place<'a>,
    pki: &'a Rc<Pki>,
    rounds: Rounds,
    cells: Vec<Cell>,
    tickets: Vec<(String, usize)>,
}

type Shared = Rc<RefCell<Server>>;

impl<'a> Conduct<'a> {
    fn everything(&mut self) -> Result<()> {
        for &variant in &self.study.variants {
            self.handshakes(variant)?;
        }
        self.bulk()?;
        self.idle_memory()?;
        self.scaling()?;
        self.tokens()
    }

    fn tools(&self, client_cpus: Vec<usize>) -> Rc<Tools> {
        Rc::new(Tools {
            generator: Generator {
                name: "loadgen",
                program: self.study.loadgen.clone(),
                cpus: client_cpus,
                directory: self.place.directory.to_owned(),
            },
            pki: Rc::clone(self.pki),
            ramp: self.study.ramp,
            slice: self.study.slice,
            connections: self.study.connections,
            busy_min: self.study.busy_min,
            has_own_client_cpus: self.study.has_own_client_cpus(),
        })
    }

    fn key(experiment: Experiment, variant: Variant, workers: usize, system: &str) -> Key {
        Key { experiment, variant, workers, system: system.to_owned() }
    }

    /// Starts every system there is; of the others, cells of `experiments` that say why not.
    fn start(
        &mut self,
        variant: Variant,
        backends: Option<Backends>,
        cpus: &[usize],
        experiments: &[Experiment],
    ) -> Result<Vec<(String, Shared)>> {
        let mut servers = Vec::new();
        for system in &self.study.systems {
            say(&format!("starting {} ({})", system.id, variant.title()), true);
            match Server::start(system, self.place, variant, backends, cpus) {
                Ok(server) => {
                    if let (Some(tickets), None) = (server.tickets, backends) {
                        self.know_tickets(&system.id, tickets);
                    }
                    servers.push((system.id.clone(), Rc::new(RefCell::new(server))));
                }
                Err(problem) => {
                    crate::interrupt::look()?;
                    let problem = problem.to_string();
                    let group = variant.group();
                    let words = match &system.program {
                        Err(_) => problem,
                        Ok(_) if variant == Variant::MlKem && problem.contains(group) => {
                            format!("does not know {group}: {problem}")
                        }
                        Ok(_) => format!("does not start: {problem}"),
                    };
                    say(&format!("{}: {words}", system.id), false);
                    for &experiment in experiments {
                        let key = Self::key(experiment, variant, cpus.len(), &system.id);
                        self.cells.push(Cell::without_number(key, words.clone()));
                    }
                }
            }
        }
        Ok(servers)
    }

    fn know_tickets(&mut self, id: &str, tickets: usize) {
        if !self.tickets.iter().any(|(known, _)| known == id) {
            self.tickets.push((id.to_owned(), tickets));
        }
    }

    /// Handshakes and requests with a variant, and the floors in the same rounds; then latency.
    fn handshakes(&mut self, variant: Variant) -> Result<()> {
        const KINDS: [Experiment; 4] = [
            Experiment::FullUnseen,
            Experiment::FullSeen,
            Experiment::Resumed,
            Experiment::Request,
        ];
        let wanted = |experiment: &Experiment| {
            self.study.wants(*experiment) && variant.concerns(*experiment)
        };
        let experiments: Vec<Experiment> = KINDS.into_iter().filter(wanted).collect();
        let latency = wanted(&Experiment::Latency);
        let mut all = experiments.clone();
        all.extend(latency.then_some(Experiment::Latency));
        if all.is_empty() {
            return Ok(());
        }
        let cpus = [self.study.server_cpu];
        let servers = self.start(variant, None, &cpus, &all)?;
        let tools = self.tools(self.study.client_cpus.clone());
        if !experiments.is_empty() {
            let mut contestants = contestants(&experiments, variant, 1, &servers, &tools);
            let floors = experiments.iter().any(|experiment| experiment.is_handshakes());
            if floors {
                contestants.extend(self.floors(variant, &tools)?);
            }
            let cells = self.rounds.run(&mut contestants, self.study.rounds, true)?;
            self.cells.extend(cells);
        }
        if latency { self.latency(&servers, &tools) } else { Ok(()) }
    }

    fn floors(&mut self, variant: Variant, tools: &Rc<Tools>) -> Result<Vec<Box<dyn Contestant>>> {
        let cpus = [self.study.server_cpu];
        let key = Self::key(Experiment::Cryptography, variant, 1, CRYPTOGRAPHY);
        let cryptography: Box<dyn Contestant> = Box::new(CryptographySlice {
            key,
            operations: Rc::clone(&self.rounds.operations),
            cpus: cpus.to_vec(),
            time: OPERATION_TIME,
        });
        let key = Self::key(Experiment::TcpConversation, variant, 1, TCP);
        match Server::start_plain(self.place, CONVERSATION, free_address()?, &cpus) {
            Ok(server) => {
                let server = Rc::new(RefCell::new(server));
                let tcp: Box<dyn Contestant> = Box::new(LoadSlice::new(key, tools, &server));
                Ok(vec![cryptography, tcp])
            }
            Err(problem) => {
                crate::interrupt::look()?;
                self.cells.push(Cell::without_number(key, problem.to_string()));
                Ok(vec![cryptography])
            }
        }
    }

    /// An open loop at a share of what each system does when saturated.
    fn latency(&mut self, servers: &[(String, Shared)], tools: &Rc<Tools>) -> Result<()> {
        let variant = Variant::Base;
        let seen = |cells: &[Cell], id: &str| {
            let key = Self::key(Experiment::FullSeen, variant, 1, id);
            cells.iter().find(|cell| cell.key == key).and_then(|cell| median(&cell.detail(RATE)))
        };
        let mut probes = Vec::new();
        if servers.iter().any(|(id, _)| seen(&self.cells, id).is_none()) {
            let mut probing = contestants(&[Experiment::FullSeen], variant, 1, servers, tools);
            probes = self.rounds.run(&mut probing, PROBE_ROUNDS, true)?;
        }
        let mut loads: Vec<Box<dyn Contestant>> = Vec::new();
        for (id, server) in servers {
            let key = Self::key(Experiment::Latency, variant, 1, id);
            match seen(&self.cells, id).or_else(|| seen(&probes, id)) {
                Some(rate) => {
                    let mut slice = LoadSlice::new(key, tools, server);
                    slice.rate = Some(rate * LATENCY_LOAD);
                    loads.push(Box::new(slice));
                }
                None => {
                    let words = "its saturation is not known: no slice at saturation was good";
                    self.cells.push(Cell::without_number(key, words));
                }
            }
        }
        let cells = self.rounds.run(&mut loads, self.study.rounds, true)?;
        self.cells.extend(cells);
        Ok(())
    }

    fn bulk(&mut self) -> Result<()> {
        const KINDS: [Experiment; 2] = [Experiment::BulkUpload, Experiment::BulkDownload];
        let wanted = |experiment: &Experiment| self.study.wants(*experiment);
        let experiments: Vec<Experiment> = KINDS.into_iter().filter(wanted).collect();
        if experiments.is_empty() {
            return Ok(());
        }
        let clients = self.study.client_cpus.clone();
        let backend = |name| Server::start_plain(self.place, name, free_address()?, &clients);
        let (sink, source) = (backend(SINK)?, backend(SOURCE)?);
        let backends = Backends { sink: sink.address, source: source.address };
        let cpus = [self.study.server_cpu];
        let servers = self.start(Variant::Base, Some(backends), &cpus, &experiments)?;
        let tools = self.tools(clients);
        let mut loads = contestants(&experiments, Variant::Base, 1, &servers, &tools);
        let has_floor = |cell: &Cell| cell.key.experiment == Experiment::Cryptography;
        if !self.cells.iter().any(has_floor) {
            let key = Self::key(Experiment::Cryptography, Variant::Base, 1, CRYPTOGRAPHY);
            let operations = Rc::clone(&self.rounds.operations);
            let (cpus, time) = (cpus.to_vec(), OPERATION_TIME);
            loads.push(Box::new(CryptographySlice { key, operations, cpus, time }));
        }
        let cells = self.rounds.run(&mut loads, self.study.rounds, true)?;
        self.cells.extend(cells);
        Ok(())
    }

    fn idle_memory(&mut self) -> Result<()> {
        if !self.study.wants(Experiment::IdleMemory) {
            return Ok(());
        }
        let tools = self.tools(self.study.client_cpus.clone());
        let mut loads: Vec<Box<dyn Contestant + '_>> = Vec::new();
        for system in &self.study.systems {
            let key = Self::key(Experiment::IdleMemory, Variant::Base, 1, &system.id);
            if let Err(problem) = &system.program {
                self.cells.push(Cell::without_number(key, problem.to_string()));
                continue;
            }
            loads.push(Box::new(MemorySlice {
                key,
                tools: Rc::clone(&tools),
                system,
                place: self.place,
                cpus: vec![self.study.server_cpu],
                connections: self.study.idle_connections,
            }));
        }
        let rounds = MEMORY_ROUNDS.min(self.study.rounds);
        let cells = self.rounds.run(&mut loads, rounds, false)?;
        self.cells.extend(cells);
        Ok(())
    }

    fn scaling(&mut self) -> Result<()> {
        if !self.study.wants(Experiment::Scaling) {
            return Ok(());
        }
        let available = &self.study.available_cpus;
        let counts = worker_counts(self.study);
        if counts.is_empty() {
            for system in &self.study.systems {
                let key = Self::key(Experiment::Scaling, Variant::Base, 1, &system.id);
                let words = format!(
                    "needs four CPUs or more, half of them for the clients; there are {}",
                    available.len()
                );
                self.cells.push(Cell::without_number(key, words));
            }
            return Ok(());
        }
        let mut loads = Vec::new();
        for workers in counts {
            let (cpus, clients) = available.split_at(workers);
            let servers = self.start(Variant::Base, None, cpus, &[Experiment::Scaling])?;
            let tools = self.tools(clients.to_vec());
            let experiments = [Experiment::Scaling];
            loads.extend(contestants(&experiments, Variant::Base, workers, &servers, &tools));
        }
        let cells = self.rounds.run(&mut loads, self.study.rounds, true)?;
        self.cells.extend(cells);
        Ok(())
    }
}

fn contestants(
    experiments: &[Experiment],
    variant: Variant,
    workers: usize,
    servers: &[(String, Shared)],
    tools: &Rc<Tools>,
) -> Vec<Box<dyn Contestant>> {
    let mut contestants: Vec<Box<dyn Contestant>> = Vec::new();
    for &experiment in experiments {
        for (id, server) in servers {
            let key = Conduct::key(experiment, variant, workers, id);
            contestants.push(Box::new(LoadSlice::new(key, tools, server)));
        }
    }
    contestants
}

/// The CPUs that we may use.
pub(crate) fn available_cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).during("the CPUs of this process")?;
    let cpus: Vec<usize> =
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect();
    if cpus.is_empty() { Err(Problem::new("there is no CPU to run on")) } else { Ok(cpus) }
}

/// `run-20261122-063000`, in UTC.
pub(crate) fn timestamped(name: &str) -> String {
    let format = format_description!("[year][month][day]-[hour][minute][second]");
    let now = OffsetDateTime::now_utc().format(&format);
    format!("{name}-{}", now.unwrap_or_default())
}
