//! The command line.

mod agree;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::agreement::{self, Agreement};
use crate::awake;
use crate::experiment::{Experiment, Variant};
use crate::floor::backend::{self, Backend};
use crate::floor::conversation;
use crate::interrupt;
use crate::problem::{During, Problem, Result};
use crate::process;
use crate::report;
use crate::rounds::say;
use crate::study::{self, Study};
use crate::system::{self, Kind, System, Tweaks};
use crate::token;

/// Measures Countersign beside its peers on the same work, and the floors that the hardware sets.
#[derive(Debug, Parser)]
#[command(name = "countersign-perf", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The engine beside its peers.
    Run(RunArguments),
    /// The engine beside itself: other builds, settings or environments, interleaved.
    Compare(CompareArguments),
    /// The load generator beside another one, h2load, on the same work.
    Agree(agree::AgreeArguments),
    /// Becomes a program, pinned, that ends with its parent.
    #[command(name = process::UNDER, hide = true)]
    Under {
        #[arg(long, value_parser = cpu_list)]
        cpus: Cpus,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs without rest, until it is no longer a child of that process.
    #[command(name = awake::KEEP_AWAKE, hide = true)]
    KeepAwake {
        #[arg(long, value_name = "PID")]
        parent: u32,
    },
    /// The server of the floor without TLS.
    #[command(name = study::CONVERSATION, hide = true)]
    Conversation { address: SocketAddr },
    /// A backend that throws away what comes.
    #[command(name = study::SINK, hide = true)]
    Sink { address: SocketAddr },
    /// A backend that sends without end.
    #[command(name = study::SOURCE, hide = true)]
    Source { address: SocketAddr },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Three experiments, two peers, short slices: a few minutes.
    #[arg(long)]
    quick: bool,
    /// The engine [default: beside this program].
    #[arg(long, value_name = "FILE")]
    engine: Option<PathBuf>,
    /// Peers: nginx, haproxy, envoy as they are installed, or KIND=FILE for another build of one
    /// [default: nginx,haproxy,envoy; with --quick haproxy,envoy].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    peers: Vec<String>,
    /// Further peers, each KIND=FILE, beside those of --peers.
    #[arg(long, value_name = "KIND=FILE")]
    peer: Vec<String>,
    #[command(flatten)]
    settings: SettingsArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  countersign-perf compare --engine base=a/countersign --engine cand=b/countersign \\
      --config-extra 'cand:listener.ca_names=\"none\"' --only full_unseen --rounds 16")]
struct CompareArguments {
    /// An engine; the first is what the others are compared with. A name that has no file is the
    /// engine beside this program.
    #[arg(long, value_name = "NAME[=FILE]", required = true)]
    engine: Vec<String>,
    /// A key of one engine's configuration file, with its value in TOML.
    #[arg(long, value_name = "NAME:KEY=VALUE")]
    config_extra: Vec<String>,
    /// A variable of one engine's environment.
    #[arg(long, value_name = "NAME:VARIABLE=VALUE")]
    environment: Vec<String>,
    #[command(flatten)]
    settings: SettingsArguments,
}

#[derive(Debug, Args)]
struct SettingsArguments {
    /// Experiments [default: all; with --quick full_unseen,full_seen,resumed; of compare: full_unseen]:
    /// full_unseen, full_seen, resumed, request, latency, bulk_upload, bulk_download, idle_memory,
    /// scaling, token_2ms, token_10ms, token_verify, token_hang.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_experiment)]
    only: Vec<Experiment>,
    /// Variants of the cryptography [default: base,mlkem768,rsa2048; with --quick and of compare: base].
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_variant)]
    crypto: Vec<Variant>,
    /// Rounds; fewer than 12 rank nothing [default: 16; with --quick 15].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// The steady phase of a slice, in ms [default: 800; with --quick and of compare 500].
    #[arg(long, value_name = "MS")]
    slice: Option<u64>,
    /// The load before it that is not counted, in ms.
    #[arg(long, value_name = "MS", default_value_t = 150)]
    ramp: u64,
    /// Connections at a time, for each worker.
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: usize,
    /// Connections of idle_memory.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    idle_connections: usize,
    /// Drop slices in which the server was less busy than this, in percent. Lower it only for a rough
    /// look on a machine that others use too: the report says so.
    #[arg(long, value_name = "PERCENT", default_value_t = 95, value_parser = clap::value_parser!(u8).range(0..=100))]
    busy_min: u8,
    /// What decides the order of slices and the resamples.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The CPU of the servers [default: the first that we may use].
    #[arg(long, value_name = "CPU")]
    server_cpu: Option<usize>,
    /// The CPUs of the clients [default: the next, two of them if there are].
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    client_cpus: Option<Cpus>,
    /// The CPUs of everything of the engine but its workers, where keys lie in tokens [default: those of
    /// neither servers nor clients; where there are none, those of the clients].
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    token_cpus: Option<Cpus>,
    /// The PKCS#11 module of tests/token [default: beside this program].
    #[arg(long, value_name = "FILE")]
    test_token: Option<PathBuf>,
    /// The load generator [default: beside this program].
    #[arg(long, value_name = "FILE")]
    loadgen: Option<PathBuf>,
    /// Name of the results [default: run, quick or compare, with the time].
    #[arg(long)]
    name: Option<String>,
    /// Where results go.
    #[arg(long, value_name = "DIR", default_value = "perf/results")]
    results: PathBuf,
}

#[derive(Clone, Debug)]
struct Cpus(Vec<usize>);

fn parse_experiment(name: &str) -> std::result::Result<Experiment, String> {
    Experiment::parse(name).map_err(|problem| problem.to_string())
}

fn parse_variant(name: &str) -> std::result::Result<Variant, String> {
    Variant::parse(name).map_err(|problem| problem.to_string())
}

/// `1` or `2-5,8`.
fn cpu_list(text: &str) -> std::result::Result<Cpus, String> {
    let wrong = || format!("'{text}' is no list of CPUs such as 1 or 2-5,8");
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.parse().map_err(|_| wrong())?;
        let last: usize = last.parse().map_err(|_| wrong())?;
        if last < first || last >= 1024 {
            return Err(wrong());
        }
        cpus.extend(first..=last);
    }
    Ok(Cpus(cpus))
}

/// Runs the program with the process' own arguments.
pub(crate) fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => arguments.study().and_then(|study| conduct(&study)),
        Command::Compare(arguments) => arguments.study().and_then(|study| conduct(&study)),
        Command::Agree(arguments) => arguments.agreement().and_then(|asked| agree(&asked)),
        Command::Under { cpus, program, arguments } => {
            Err(process::become_program(&cpus.0, &program, &arguments))
        }
        Command::KeepAwake { parent } => {
            awake::keep_awake(parent);
            Ok(())
        }
        Command::Conversation { address } => conversation::serve(address),
        Command::Sink { address } => backend::serve(Backend::Sink, address),
        Command::Source { address } => backend::serve(Backend::Source, address),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&format!("countersign-perf: error: {problem}"), false);
            ExitCode::FAILURE
        }
    }
}

fn conduct(study: &Study) -> Result<()> {
    interrupt::listen()?;
    let results = study::conduct(study)?;
    report::write(study, &results)
}

fn agree(asked: &Agreement) -> Result<()> {
    interrupt::listen()?;
    let findings = agreement::conduct(asked)?;
    report::write_agreement(asked, &findings)
}

impl RunArguments {
    fn study(self) -> Result<Study> {
        let mut systems = vec![System::new(
            "engine",
            Kind::Countersign,
            beside(self.engine, "countersign"),
            Tweaks::default(),
        )];
        let all =
            if self.quick { &["haproxy", "envoy"][..] } else { &["nginx", "haproxy", "envoy"] };
        let peers = match self.peers.as_slice() {
            [] => all.iter().map(|name| (*name).to_owned()).collect(),
            given => given.to_vec(),
        };
        for peer in peers.iter().chain(&self.peer) {
            let (name, file) = match peer.split_once('=') {
                Some((name, file)) => (name, Some(file)),
                None => (peer.as_str(), None),
            };
            let kind = Kind::parse(name)?;
            let same = systems.iter().filter(|system| system.kind == kind).count();
            let id = if same == 0 { name.to_owned() } else { format!("{name}-{}", same + 1) };
            let path = file.map_or_else(|| system::find(kind), |file| Ok(PathBuf::from(file)));
            systems.push(System::new(&id, kind, path, Tweaks::default()));
        }
        let quick = self.quick;
        let defaults = if quick {
            Defaults {
                name: "quick",
                experiments: &[Experiment::FullUnseen, Experiment::FullSeen, Experiment::Resumed],
                variants: &[Variant::Base],
                rounds: 15,
                slice_ms: 500,
            }
        } else {
            Defaults {
                name: "run",
                experiments: &Experiment::ALL,
                variants: &Variant::ALL,
                rounds: 16,
                slice_ms: 800,
            }
        };
        self.settings.study(systems, &defaults)
    }
}

impl CompareArguments {
    fn study(self) -> Result<Study> {
        let mut systems: Vec<System> = Vec::new();
        for engine in &self.engine {
            let (name, file) = match engine.split_once('=') {
                Some((name, file)) => (name, Some(PathBuf::from(file))),
                None => (engine.as_str(), None),
            };
            if systems.iter().any(|system| system.id == name) {
                return Err(Problem::new(format!("two engines are called '{name}'")));
            }
            let tweaks = Tweaks {
                config: tweaks_of(name, &self.config_extra)?,
                environment: tweaks_of(name, &self.environment)?,
            };
            let path = beside(file, "countersign");
            systems.push(System::new(name, Kind::Countersign, path, tweaks));
        }
        for extra in self.config_extra.iter().chain(&self.environment) {
            let name = extra.split(':').next().unwrap_or_default();
            if !systems.iter().any(|system| system.id == name) {
                return Err(Problem::new(format!("'{extra}': no --engine is called '{name}'")));
            }
        }
        let defaults = Defaults {
            name: "compare",
            experiments: &[Experiment::FullUnseen],
            variants: &[Variant::Base],
            rounds: 16,
            slice_ms: 500,
        };
        self.settings.study(systems, &defaults)
    }
}

/// The settings out of `NAME:KEY=VALUE` that are for `name`.
fn tweaks_of(name: &str, extras: &[String]) -> Result<Vec<(String, String)>> {
    let mut tweaks = Vec::new();
    for extra in extras {
        let parts = extra.split_once(':').and_then(|(of, rest)| Some((of, rest.split_once('=')?)));
        let Some((of, (key, value))) = parts else {
            return Err(Problem::new(format!("'{extra}' is not of the form NAME:KEY=VALUE")));
        };
        if of == name {
            tweaks.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    Ok(tweaks)
}

/// What holds where an option is not given.
struct Defaults {
    name: &'static str,
    experiments: &'static [Experiment],
    variants: &'static [Variant],
    rounds: usize,
    slice_ms: u64,
}

impl SettingsArguments {
    fn study(self, systems: Vec<System>, defaults: &Defaults) -> Result<Study> {
        let engine = systems.first().ok_or_else(|| Problem::new("there is nothing to measure"))?;
        // Without the one that all are compared with there is nothing to say.
        engine.program.clone()?;
        let or =
            |given: Vec<_>, default: &[_]| if given.is_empty() { default.to_vec() } else { given };
        let experiments = or(self.only, defaults.experiments);
        let variants =
            if self.crypto.is_empty() { defaults.variants.to_vec() } else { self.crypto };
        let available = study::available_cpus()?;
        let server = self.server_cpu.unwrap_or(available[0]);
        let others = || available.iter().copied().filter(|cpu| *cpu != server);
        let clients = match self.client_cpus {
            Some(cpus) => cpus.0,
            None if available.len() == 1 => {
                say("warning: one CPU for server and client: no slice will count", false);
                vec![server]
            }
            None => others().take(2).collect(),
        };
        let token_cpus = match self.token_cpus {
            Some(cpus) => cpus.0,
            None => match others().filter(|cpu| !clients.contains(cpu)).collect::<Vec<_>>() {
                none if none.is_empty() => clients.clone(),
                left => left,
            },
        };
        Ok(Study {
            systems,
            experiments,
            variants,
            rounds: self.rounds.unwrap_or(defaults.rounds).max(1),
            slice: Duration::from_millis(self.slice.unwrap_or(defaults.slice_ms).max(1)),
            ramp: Duration::from_millis(self.ramp),
            connections: self.connections.max(1),
            idle_connections: self.idle_connections.max(1),
            busy_min: f64::from(self.busy_min) / 100.0,
            seed: self.seed,
            server_cpu: server,
            client_cpus: clients,
            token_cpus,
            available_cpus: available,
            test_token: self.test_token.unwrap_or_else(built_token),
            loadgen: beside(self.loadgen, "countersign-loadgen")?,
            name: self.name.unwrap_or_else(|| study::timestamped(defaults.name)),
            results: self.results,
        })
    }
}

/// Beside this program, or where cargo puts what others depend on.
fn built_token() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    let folder = this.parent().unwrap_or(Path::new("."));
    let below = folder.join("deps").join(token::MODULE);
    Some(folder.join(token::MODULE)).filter(|file| file.is_file()).unwrap_or(below)
}

/// A program that is given, else the one of that name beside this program.
fn beside(given: Option<PathBuf>, name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().during("cannot find this program")?;
    let path = given.unwrap_or_else(|| this.parent().unwrap_or(Path::new(".")).join(name));
    if !path.is_file() {
        let path = path.display();
        return Err(Problem::new(format!(
            "{path} is not there; build it with the same profile: cargo build --release -p {name}"
        )));
    }
    path.canonicalize().during(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpu_list("1").expect("one").0, [1]);
        assert_eq!(cpu_list("2-4,8").expect("several").0, [2, 3, 4, 8]);
        for wrong in ["", "a", "3-1", "1,,2", "0-99999"] {
            assert!(cpu_list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_go_to_the_engine_that_they_name() {
        let extras = ["a:listener.ca_names=\"none\"".to_owned(), "b:workers=1".to_owned()];
        let of_a = tweaks_of("a", &extras).expect("good ones");
        assert_eq!(of_a, [("listener.ca_names".to_owned(), "\"none\"".to_owned())]);
        assert!(tweaks_of("a", &["workers=1".to_owned()]).is_err());
    }
}
