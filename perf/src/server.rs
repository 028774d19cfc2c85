//! A server at work: started, checked, looked after, ended.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::check::{self, Question};
use crate::experiment::Variant;
use crate::interrupt;
use crate::pki::Pki;
use crate::problem::{During, Problem, Result};
use crate::process::{self, Process};
use crate::serving::{self, Relay, Service, Setup, TokenKey};
use crate::system::{Kind, Program, System};
use crate::threads;
use crate::token::{KeyPlace, TokenFolder};

const START_WITHIN: Duration = Duration::from_secs(30);
/// The engine logs every connection; its file is cut when it has grown so far.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Where the plain backends of a relay listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backends {
    pub(crate) sink: SocketAddr,
    pub(crate) source: SocketAddr,
}

/// What every start of a server needs.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// The folder of the run; each server gets one within.
    pub(crate) directory: &'a Path,
    pub(crate) pki: &'a Pki,
    pub(crate) open_files: u64,
}

/// A server of which one key may lie in a token.
#[derive(Debug)]
pub(crate) struct TokenTask<'a> {
    pub(crate) place: KeyPlace,
    /// Not for [`KeyPlace::Software`].
    pub(crate) token: Option<&'a TokenFolder>,
    /// A listener with a key in software, and a second one with the token's.
    pub(crate) has_both: bool,
    /// CPUs of the workers.
    pub(crate) cpus: &'a [usize],
    /// CPUs of what else the engine needs for its tokens.
    pub(crate) aside: &'a [usize],
}

/// A server that has proven that it serves.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    log: PathBuf,
    /// Of HTTP, or of the relay to the sink.
    pub(crate) address: SocketAddr,
    /// Of the relay to the source, or of HTTP with a token's key beside one in software.
    pub(crate) second: Option<SocketAddr>,
    /// CPUs of the threads that are no workers, where they are kept from the workers'.
    aside: Option<Vec<usize>>,
    /// Tickets that came with a full handshake; `None` if it has no TLS.
    pub(crate) tickets: Option<usize>,
}

impl Server {
    /// Starts a system and checks it. With `backends` it relays, else it answers HTTP.
    pub(crate) fn start(
        system: &System,
        place: &Place<'_>,
        variant: Variant,
        backends: Option<Backends>,
        cpus: &[usize],
    ) -> Result<Server> {
        let directory = fresh_directory(place.directory, &system.id)?;
        let service = match backends {
            None => Service::Http { listen: free_address()? },
            Some(backends) => Service::Relay {
                sink: Relay { listen: free_address()?, upstream: backends.sink },
                source: Relay { listen: free_address()?, upstream: backends.source },
            },
        };
        let setup = Setup {
            directory: &directory,
            pki: place.pki,
            variant,
            service,
            cpus,
            open_files: place.open_files,
            token: None,
        };
        let command = serving::command(system, &setup)?;
        let (address, second) = service.addresses();
        let mut server = Server::launch(&command, &directory, address, second, cpus)?;
        server.check(place.pki, variant, &service)?;
        Ok(server)
    }

    /// The same for HTTP with a key in a token, or in software on the same CPUs.
    pub(crate) fn start_with_token(
        system: &System,
        place: &Place<'_>,
        variant: Variant,
        task: &TokenTask<'_>,
    ) -> Result<Server> {
        let directory = fresh_directory(place.directory, &system.id)?;
        let service = match task.has_both {
            false => Service::Http { listen: free_address()? },
            true => Service::Pair { software: free_address()?, token: free_address()? },
        };
        let setup = Setup {
            directory: &directory,
            pki: place.pki,
            variant,
            service,
            cpus: task.cpus,
            open_files: place.open_files,
            token: task.token.map(|folder| TokenKey { folder, place: task.place }),
        };
        let command = serving::command(system, &setup)?;
        let (address, second) = service.addresses();
        // Others call the token on the thread that serves: it stays where that is.
        let aside = (system.kind == Kind::Countersign).then(|| task.aside.to_vec());
        let mut cpus = task.cpus.to_vec();
        cpus.extend(aside.iter().flatten().filter(|cpu| !task.cpus.contains(cpu)));
        let mut server = Server::launch(&command, &directory, address, second, &cpus)?;
        server.aside = aside;
        server.keep_aside()?;
        server.check(place.pki, variant, &service)?;
        Ok(server)
    }

    /// Sees to it that only workers run on the workers' CPUs, if that is wanted of it.
    pub(crate) fn keep_aside(&self) -> Result<()> {
        match &self.aside {
            Some(cpus) => threads::move_all_but_workers(self.id(), cpus),
            None => Ok(()),
        }
    }

    /// Starts a server of our own, without TLS: one of the hidden subcommands, with `arguments`.
    pub(crate) fn start_plain(
        place: &Place<'_>,
        subcommand: &str,
        address: SocketAddr,
        cpus: &[usize],
    ) -> Result<Server> {
        let directory = fresh_directory(place.directory, subcommand)?;
        let this = std::env::current_exe().during("cannot find this program")?;
        let mut command = Command::new(this);
        command.arg(subcommand).arg(address.to_string());
        Server::launch(&command, &directory, address, None, cpus)
    }

    /// Starts an nginx that answers HTTP without TLS, in a folder within `within`.
    pub(crate) fn start_plain_nginx(
        program: &Program,
        within: &Path,
        open_files: u64,
        cpus: &[usize],
    ) -> Result<Server> {
        let directory = fresh_directory(within, Kind::Nginx.name())?;
        let address = free_address()?;
        let command = serving::plain_nginx(program, &directory, cpus, open_files, address)?;
        Server::launch(&command, &directory, address, None, cpus)
    }

    fn launch(
        command: &Command,
        directory: &Path,
        address: SocketAddr,
        second: Option<SocketAddr>,
        cpus: &[usize],
    ) -> Result<Server> {
        let log = directory.join("server.log");
        let process = Process::start(command, cpus, &log)?;
        let mut server = Server { process, log, address, second, aside: None, tickets: None };
        let deadline = Instant::now() + START_WITHIN;
        for address in [Some(address), second].into_iter().flatten() {
            while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
                server.alive()?;
                if Instant::now() > deadline {
                    return Err(server.complain(&format!("does not listen on {address}")));
                }
                interrupt::sleep(Duration::from_millis(10))?;
            }
        }
        server.alive()?;
        Ok(server)
    }

    fn check(&mut self, pki: &Pki, variant: Variant, service: &Service) -> Result<()> {
        let questions = match *service {
            Service::Http { listen } => vec![(listen, Question::Http)],
            Service::Pair { software, token } => {
                vec![(token, Question::Http), (software, Question::Http)]
            }
            Service::Relay { sink, source } => {
                vec![(source.listen, Question::Source), (sink.listen, Question::Sink)]
            }
        };
        for (address, question) in questions {
            match check::check(address, pki, variant, question) {
                Ok(tickets) => self.tickets = Some(tickets),
                Err(problem) => return Err(self.complain(&problem.to_string())),
            }
        }
        Ok(())
    }

    /// An error with the last lines of its log if it has ended.
    pub(crate) fn alive(&mut self) -> Result<()> {
        match self.process.ended() {
            None => Ok(()),
            Some(status) => Err(self.complain(&process::ending(status))),
        }
    }

    fn complain(&self, words: &str) -> Problem {
        Problem::new(format!("{words}; its log says: {}", verdict_of(&self.log)))
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Of all its processes: the sum of their proportional set sizes, in bytes.
    pub(crate) fn memory_bytes(&self) -> Result<u64> {
        process::memory_bytes(self.process.id())
    }

    /// Keeps its log from filling the disk. It is opened for appending, so the server goes on at its start.
    pub(crate) fn trim_log(&self) {
        let long = fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_BYTES_MAX);
        if long {
            // A log that cannot be cut is only long.
            drop(OpenOptions::new().write(true).truncate(true).open(&self.log));
        }
    }
}

/// The line of a log that says why a server does not start, as far as one can tell: the first error.
fn verdict_of(log: &Path) -> String {
    const LENGTH_MAX: usize = 220;
    let text = fs::read_to_string(log).unwrap_or_default();
    let errors = ["emerg", "[ALERT]", "error", "critical"];
    let error = text.lines().find(|line| errors.iter().any(|word| line.contains(word)));
    let line = error.map_or_else(|| process::last_lines(log, 2), |line| line.trim().to_owned());
    if line.chars().count() <= LENGTH_MAX {
        return line;
    }
    line.chars().take(LENGTH_MAX).collect::<String>() + "..."
}

/// An address of loopback that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).during("cannot find a free port")
}

/// `NAME`, else `NAME.1`, `NAME.2`, ... in the run's folder.
fn fresh_directory(within: &Path, name: &str) -> Result<PathBuf> {
    let mut number = 0;
    loop {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        let directory = within.join(format!("{name}{suffix}"));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error).during(directory.display()),
        }
    }
}
