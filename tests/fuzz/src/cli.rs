//! What is typed, and what is said while it runs.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use countersign_fuzz::campaign::Campaign;
use countersign_fuzz::{TARGETS, Target};

use crate::finding::Watch;

/// Between two lines about how far it has come.
const PROGRESS: Duration = Duration::from_secs(10);

/// Runs mutations of fuzz targets' inputs until one panics or hangs, or the time is over.
#[derive(Parser)]
#[command(version, after_help = targets())]
pub(crate) struct Arguments {
    /// Names of targets; none for all of them, one after the other.
    #[arg(value_parser = target)]
    targets: Vec<&'static Target>,
    /// Ends each target after so many seconds; a single one goes on without it until it is ended.
    #[arg(long)]
    seconds: Option<u64>,
    /// Makes the same inputs again. Another one each time if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// A folder with more inputs to begin with, in a folder for each target.
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Gives the target one file, and ends.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seconds", "seed", "corpus", "write_seeds"])]
    replay: Option<PathBuf>,
    /// Writes the inputs to begin with into a folder for each target, for another fuzzer, and ends.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["seconds", "seed"])]
    write_seeds: Option<PathBuf>,
    /// Where inputs go that a target does not bear, and those that cost most.
    #[arg(long, value_name = "DIR", default_value = "target/fuzz")]
    findings: PathBuf,
}

fn target(name: &str) -> Result<&'static Target, String> {
    Target::named(name).ok_or_else(|| "there is no such target; --help lists them".to_owned())
}

fn targets() -> String {
    let line = |target: &Target| format!("  {:14} {}\n", target.name, target.input);
    format!("Targets, and what their input is:\n{}", TARGETS.iter().map(line).collect::<String>())
}

impl Arguments {
    /// Does what is asked for; fails if a target does.
    pub(crate) fn run(&self) -> ExitCode {
        match self.run_targets() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                let _ = writeln!(io::stderr().lock(), "countersign-fuzz: {error}");
                ExitCode::from(2)
            }
        }
    }

    fn run_targets(&self) -> io::Result<bool> {
        let targets = match &self.targets[..] {
            [] => TARGETS.iter().collect(),
            targets => targets.to_vec(),
        };
        let is_one = targets.len() == 1;
        if !is_one
            && (self.replay.is_some() || self.seconds.is_none() && self.write_seeds.is_none())
        {
            let problem = "several targets: name one, or say for how long with --seconds";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        for target in targets {
            let bears = match (&self.replay, &self.write_seeds) {
                (Some(file), _) => self.replay(target, file)?,
                (None, Some(folder)) => self.write_seeds(target, &folder.join(target.name))?,
                (None, None) => self.fuzz(target)?,
            };
            if !bears {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the target bears the input in a file.
    fn replay(&self, target: &'static Target, file: &Path) -> io::Result<bool> {
        let input = fs::read(file).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?;
        drop(target.inputs());
        let watch = Watch::new(target.name, &self.findings);
        match watch.run(target, &input) {
            Ok(outcome) => {
                let (words, allocated) = (outcome.words, outcome.allocated);
                writeln!(io::stdout().lock(), "{words}\n{allocated} bytes allocated")?;
                Ok(true)
            }
            Err(panic) => {
                writeln!(io::stderr().lock(), "{} panics: {panic}", target.name)?;
                Ok(false)
            }
        }
    }

    fn write_seeds(&self, target: &Target, folder: &Path) -> io::Result<bool> {
        fs::create_dir_all(folder)?;
        for (number, input) in self.inputs(target).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), input)?;
        }
        Ok(true)
    }

    fn inputs(&self, target: &Target) -> Vec<Vec<u8>> {
        let mut inputs = target.inputs();
        inputs.extend(
            self.corpus
                .iter()
                .flat_map(|folder| countersign_fuzz::files(&folder.join(target.name))),
        );
        inputs
    }

    fn fuzz(&self, target: &'static Target) -> io::Result<bool> {
        let seed = self.seed.unwrap_or_else(|| {
            let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
            since.as_nanos() as u64
        });
        let (name, folder) = (target.name, self.findings.display());
        writeln!(io::stderr().lock(), "{name}: seed {seed}; what fails goes to {folder}")?;
        let watch = Watch::new(name, &self.findings);
        let inputs = self.inputs(target);
        let mut campaign = Campaign::new(target, inputs.clone(), seed);
        let mut first = inputs.into_iter();
        let mut slowest = Slowest::default();
        let begin = Instant::now();
        let (mut runs, mut told) = (0_u64, begin);
        loop {
            let input = first.next().unwrap_or_else(|| campaign.next_input());
            let start = Instant::now();
            match watch.run(target, &input) {
                Ok(outcome) => campaign.saw(&input, outcome),
                Err(panic) => {
                    let file = watch.write("panic", &input)?;
                    let file = file.display();
                    writeln!(
                        io::stderr().lock(),
                        "{name} panics: {panic}\nseed {seed}, input {runs}, written to {file}; see it again with\n  countersign-fuzz {name} --replay {file}",
                    )?;
                    return Ok(false);
                }
            }
            runs += 1;
            let now = Instant::now();
            slowest.note(now - start, &input);
            let is_over = self.seconds.is_some_and(|seconds| (now - begin).as_secs() >= seconds);
            if is_over || now - told >= PROGRESS {
                told = now;
                tell(target, &campaign, runs, now - begin, &slowest)?;
            }
            if is_over {
                let file = watch.write("slowest", &slowest.input)?;
                watch.write("hungriest", campaign.hungriest().1)?;
                let file = file.display();
                writeln!(io::stderr().lock(), "{name}: nothing found; slowest input in {file}")?;
                return Ok(true);
            }
        }
    }
}

fn tell(
    target: &Target,
    campaign: &Campaign,
    runs: u64,
    since: Duration,
    slowest: &Slowest,
) -> io::Result<()> {
    let (allocated, input) = campaign.hungriest();
    writeln!(
        io::stderr().lock(),
        "{}: {}s, {runs} inputs ({:.0}/s), {} outcomes, {} gone on from; slowest {:?}; most allocated {allocated} for {} bytes",
        target.name,
        since.as_secs(),
        runs as f64 / since.as_secs_f64(),
        campaign.outcomes().len(),
        campaign.inputs().len(),
        slowest.took,
        input.len(),
    )
}

/// The input that took longest: worth a look where it is far from the others.
#[derive(Default)]
struct Slowest {
    took: Duration,
    input: Vec<u8>,
}

impl Slowest {
    fn note(&mut self, took: Duration, input: &[u8]) {
        if took > self.took {
            *self = Self { took, input: input.to_vec() };
        }
    }
}
