//! `countersign hsm bench`.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use countersign_hsm::{PinSource, Scheme, Session, Uri};
use serde_json::{Value, json};

use super::signing::prove;
use super::sweep::{self, Step, Work};
use super::{Ended, Typed, key_uri, parse_pin_source, parse_uri, plot};
use crate::cli::{login, warn};

/// Sessions that are tried unless others are asked for; what the token does not allow is left out.
const SESSIONS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// As many as the configuration may ask for.
const SESSIONS_MAX: usize = 1_024;

/// How often the time that is left is shown.
const TICK: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
#[command(after_help = "\
For each number of sessions as many threads sign, one after another, as long as --seconds; the
token should have nothing else to do. The knee is the smallest number of sessions with at
least 95% of the best throughput: more of them only wait longer.
The module runs in this process. What a process of its own adds for each signature is in docs/hsm.md.
Example:
  countersign hsm bench --plot token.svg \\
      'pkcs11:token=edge;object=server?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin'")]
pub(super) struct BenchArguments {
    /// A private key in a token.
    #[arg(value_name = "URI", value_parser = parse_uri)]
    uri: Typed<Uri>,
    /// Numbers of sessions [default: 1,2,4,8,16,32,64,128, as far as the token allows].
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = parse_sessions)]
    sessions: Vec<usize>,
    /// How long each number of sessions signs.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// What is signed, such as rsa_pss_rsae_sha256 [default: what TLS 1.3 prefers for the key].
    #[arg(long, value_name = "SCHEME", value_parser = parse_scheme)]
    scheme: Option<Scheme>,
    /// Where the PIN is, unless the URI says so: file:/PATH, env:NAME or fd:N.
    #[arg(long, value_name = "SOURCE", value_parser = parse_pin_source)]
    pin_source: Option<Typed<PinSource>>,
    /// Draw throughput and latency over sessions into this file, SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// A key, and as many sessions as could be had.
struct Bench {
    work: Work,
    sessions: Vec<Session>,
    counts: Vec<usize>,
    token: String,
}

pub(super) fn bench(arguments: &BenchArguments, output: &mut dyn Write) -> Result<ExitCode, Ended> {
    let mut bench = Bench::open(arguments)?;
    let time = Duration::from_secs(arguments.seconds);
    let (kind, scheme) = (bench.work.key.kind(), bench.work.scheme);
    if !arguments.json {
        writeln!(output, "{kind}, {scheme}, token {}, {time:?} for each step", bench.token)?;
        writeln!(output, "{}", row(["sessions", "signatures/s", "p50", "p99", "longest"]))?;
        output.flush()?;
    }
    let mut steps = Vec::with_capacity(bench.counts.len());
    for (number, count) in bench.counts.clone().into_iter().enumerate() {
        let shown = format!("step {} of {}: {count} sessions", number + 1, bench.counts.len());
        let step = with_progress(&shown, time, || {
            sweep::step(&mut bench.sessions[..count], &bench.work, time)
        })?;
        if !arguments.json {
            writeln!(output, "{}", told(&step))?;
            output.flush()?;
        }
        steps.push(step);
    }
    let Some(knee) = sweep::knee(&steps) else {
        return Err(Ended::Problem("no number of sessions was measured; see --sessions".into()));
    };
    if let Some(path) = &arguments.plot {
        let title = format!("{kind}, {scheme}, token {}", bench.token);
        fs::write(path, plot::draw(&title, &steps, knee))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    if arguments.json {
        writeln!(output, "{:#}", as_json(&bench, arguments.seconds, &steps, knee))?;
    } else {
        conclude(&steps, knee, output)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Bench {
    fn open(arguments: &BenchArguments) -> Result<Self, Ended> {
        let uri = key_uri(&arguments.uri, arguments.pin_source.as_ref())?;
        // The login is the process': it holds for every session.
        let first = login::session(&uri, false)?;
        let named = |error: countersign_hsm::Error| format!("{uri}: {error}");
        let key = first.private_key(&uri, None).map_err(named)?;
        let scheme = match arguments.scheme {
            Some(scheme) => scheme,
            None => *key.schemes().first().ok_or_else(|| {
                format!("{uri}: the token has no mechanism to sign with this key for TLS")
            })?,
        };
        let pin = match uri.pin_source().filter(|_| key.always_authenticate()) {
            Some(source) => Some(login::read_pin(source)?),
            None => None,
        };
        match key.spki() {
            Some(spki) => prove(&first, &key, scheme, spki, pin.as_ref())?,
            None => warn(&[
                "the token does not tell the public key, so no signature was verified".into()
            ]),
        }
        let info = first.token().info().clone();
        let mut counts = arguments.sessions.clone();
        if counts.is_empty() {
            counts = SESSIONS.to_vec();
        }
        counts.sort_unstable();
        counts.dedup();
        let most = counts.last().copied().unwrap_or_default();
        let token = first.token().clone();
        let mut sessions = vec![first];
        while sessions.len() < most {
            match token.open() {
                Ok(session) => sessions.push(session),
                Err(error) => {
                    let had = sessions.len();
                    warn(&[format!("the token gives {had} sessions and no more: {error}")]);
                    counts.retain(|count| *count < had);
                    counts.push(had);
                    break;
                }
            }
        }
        Ok(Self {
            work: Work { key, scheme, pin },
            sessions,
            counts,
            token: format!("'{}'", info.label),
        })
    }
}

/// Does something on another thread and shows on a terminal how long it will still take.
fn with_progress<T: Send>(
    what: &str,
    time: Duration,
    work: impl FnOnce() -> Result<T, String> + Send,
) -> Result<T, Ended> {
    let mut stderr = io::stderr();
    if !stderr.is_terminal() {
        return Ok(work()?);
    }
    let begin = Instant::now();
    let result = thread::scope(|scope| {
        let (ended, end) = mpsc::channel();
        let thread = scope.spawn(move || {
            let result = work();
            let _ = ended.send(());
            result
        });
        while end.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
            let left = time.saturating_sub(begin.elapsed()).as_secs_f64();
            // Nobody reads it for long; what cannot be shown is not missed.
            let _ = write!(stderr, "\r{what}, {left:.1} s left \x1b[K");
            let _ = stderr.flush();
        }
        let _ = write!(stderr, "\r\x1b[K");
        thread.join()
    });
    Ok(result.map_err(|_| "a thread failed; this is a bug".to_owned())??)
}

fn parse_sessions(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=SESSIONS_MAX).contains(count))
        .ok_or_else(|| format!("it must be a number from 1 to {SESSIONS_MAX}"))
}

fn parse_scheme(text: &str) -> Result<Scheme, String> {
    let names = || Scheme::ALL.map(Scheme::name).join(", ");
    Scheme::ALL
        .into_iter()
        .find(|scheme| scheme.name() == text)
        .ok_or_else(|| format!("it must be one of {}", names()))
}

fn row([sessions, rate, p50, p99, longest]: [&str; 5]) -> String {
    format!("{sessions:>8}  {rate:>13}  {p50:>10}  {p99:>10}  {longest:>10}")
}

fn told(step: &Step) -> String {
    row([
        &step.sessions.to_string(),
        &format!("{:.0}", step.per_second),
        &milliseconds(step.p50),
        &milliseconds(step.p99),
        &milliseconds(step.longest),
    ])
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1_000.0)
}

fn conclude(steps: &[Step], knee: &Step, output: &mut dyn Write) -> io::Result<()> {
    let best = steps.iter().map(|step| step.per_second).fold(0.0, f64::max);
    let part = 100.0 * knee.per_second / best.max(f64::MIN_POSITIVE);
    let (count, rate) = (knee.sessions, knee.per_second);
    writeln!(
        output,
        "\nThe knee: {count} sessions do {rate:.0} signatures/s, {part:.0}% of the best."
    )?;
    if steps.last() == Some(knee) && steps.len() > 1 {
        writeln!(output, "More sessions might do more: try --sessions beyond {count}.")?;
    }
    writeln!(output, "Configure in [tokens]:\n  max_sessions = {count}")
}

fn as_json(bench: &Bench, seconds: u64, steps: &[Step], knee: &Step) -> Value {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            json!({
                "sessions": step.sessions,
                "signatures": step.signatures,
                "per_second": step.per_second,
                "p50_us": micros(step.p50),
                "p99_us": micros(step.p99),
                "longest_us": micros(step.longest),
            })
        })
        .collect();
    json!({
        "key": bench.work.key.uri().to_string(),
        "kind": bench.work.key.kind().to_string(),
        "scheme": bench.work.scheme.name(),
        "seconds": seconds,
        "steps": steps,
        "max_sessions": knee.sessions,
    })
}
