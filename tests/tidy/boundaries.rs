//! Who may know what: the absences of ARCHITECTURE.md that no compiler checks.

use crate::source::{self, Source, has_word, none};

// Spelled so that this file is no user of it.
const UNSAFE: &str = concat!("un", "safe");

/// Where that may stand.
const UNSAFE_PLACES: [&str; 4] = ["engine/ring/", "engine/fiber/", "hsm/sign/", "tests/token/src/"];

#[test]
fn only_ring_fiber_sign_and_the_test_token_have_unsafe_code() {
    let mut problems = Vec::new();
    for file in source::rust() {
        if UNSAFE_PLACES.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        let is_root = file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
        if is_root && !file.text.contains(&format!("#![forbid({UNSAFE}_code)]")) {
            problems.push(format!("{} does not forbid {UNSAFE} code", file.path));
        }
        problems.extend(words(&file, &[UNSAFE]));
    }
    none(problems);
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let manifests = source::files("", "toml");
    let crates = manifests.iter().filter(|file| file.text.contains("[package]"));
    let without = crates.filter(|file| !file.text.contains("[lints]\nworkspace = true"));
    none(
        without.map(|file| format!("{} does not take the workspace's lints", file.path)).collect(),
    );
}

#[test]
fn crates_know_only_the_crates_below_them() {
    for (manifest, known) in [
        ("engine/fiber/Cargo.toml", &[][..]),
        ("engine/ring/Cargo.toml", &[]),
        ("engine/proto/Cargo.toml", &["countersign-fiber"]),
        ("engine/Cargo.toml", &["countersign-hsm", "countersign-proto", "countersign-ring"]),
        ("loadgen/Cargo.toml", &[]),
        ("tests/token/Cargo.toml", &[]),
        ("hsm/sign/Cargo.toml", &[]),
        ("hsm/Cargo.toml", &["countersign-hsm-sign"]),
    ] {
        let text = source::read(manifest);
        let found: Vec<_> =
            dependencies(&text).filter(|name| name.starts_with("countersign")).collect();
        assert_eq!(found, known, "{manifest}");
    }
}

#[test]
fn io_uring_is_known_to_the_ring_crate_only() {
    let mut problems = Vec::new();
    for file in source::files("engine", "toml") {
        let uses = dependencies(&file.text).any(|name| name == "io-uring");
        assert!(file.path != "engine/ring/Cargo.toml" || uses, "the ring crate uses io-uring");
        if uses && file.path != "engine/ring/Cargo.toml" {
            problems.push(format!("{} depends on io-uring", file.path));
        }
    }
    for file in source::files("engine", "rs") {
        if !file.path.starts_with("engine/ring/") {
            problems.extend(paths(&file, &["io_uring::"]));
        }
    }
    none(problems);
}

#[test]
fn proto_has_no_sockets_clocks_threads_files_or_locks() {
    const NAMES: [&str; 14] = [
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "UnixListener",
        "Instant",
        "SystemTime",
        "Mutex",
        "RwLock",
        "Condvar",
        "thread_local",
        "println",
        "eprintln",
        "dbg",
    ];
    const MODULES: [&str; 6] = ["fs::", "thread::", "env::", "process::", "rand::", "mpsc::"];
    const CRATES: [&str; 10] = [
        "io-uring",
        "socket2",
        "rustix",
        "libc",
        "crossbeam",
        "signal-hook",
        "tokio",
        "mio",
        "time",
        "rand",
    ];
    let mut problems = Vec::new();
    for file in source::files("engine/proto/src", "rs") {
        problems.extend(words(&file, &NAMES));
        problems.extend(paths(&file, &MODULES));
    }
    let manifest = source::read("engine/proto/Cargo.toml");
    let wrong = dependencies(&manifest).filter(|name| CRATES.contains(name));
    problems.extend(wrong.map(|name| format!("engine/proto/Cargo.toml depends on {name}")));
    none(problems);
}

#[test]
fn pkcs11_blocks_and_knows_no_threads_clocks_or_tls() {
    let mut problems = Vec::new();
    for file in source::files("hsm/src", "rs") {
        problems
            .extend(words(&file, &["Instant", "SystemTime", "Condvar", "rustls", "mpsc", "spawn"]));
        problems.extend(paths(&file, &["thread::", "process::Command"]));
    }
    for manifest in source::files("engine", "toml") {
        let uses = dependencies(&manifest.text).any(|name| name == "cryptoki");
        problems
            .extend(uses.then(|| format!("{} depends on cryptoki, which is hsm's", manifest.path)));
    }
    none(problems);
}

#[test]
fn the_relay_knows_no_tls_library() {
    const PHASES: [&str; 8] =
        ["connection", "authorize", "close", "connect", "core", "relay", "standing", "stream"];
    let mut problems = Vec::new();
    let mut looked_at = 0;
    for file in source::files("engine/proto/src", "rs") {
        let of_relay = file.path.contains("/connection/relay/")
            || file.path.contains("/connection") && PHASES.contains(&file.stem());
        if of_relay {
            looked_at += 1;
            problems.extend(words(&file, &["rustls"]));
        }
        let may_hold_it = ["handshake", "rustls_records"].contains(&file.stem());
        if !may_hold_it {
            problems.extend(words(&file, &["ServerConnection"]));
        }
    }
    assert!(looked_at > PHASES.len(), "the phases lie where they are looked for");
    none(problems);
}

#[test]
fn each_security_fact_is_made_in_one_place() {
    let proto = source::files("engine/proto/src", "rs");
    for (expression, place) in [
        ("VerifiedChain {", "tls/trust_domain.rs"),
        ("VerifiedClient::new(", "connection/handshake.rs"),
        ("VerifiedClient::resumed(", "connection/handshake.rs"),
        ("OpenedTicket {", "connection/resume.rs"),
        ("ResumedSession(", "connection/resume.rs"),
        ("Authorized::decide(", "connection/handshake.rs"),
        ("policy.anonymous_rule(", "connection/authorize.rs"),
        ("Op::Connect(", "connection/connect.rs"),
        ("upstream.opened(", "connection/connect.rs"),
        ("ServerConfig::builder", "tls/config.rs"),
        ("NoServerSessionStorage {}", "tls/config.rs"),
    ] {
        let found: Vec<_> = proto.iter().flat_map(|file| makes(file, expression)).collect();
        assert!(
            found.len() == 1 && found[0].contains(place),
            "'{expression}' stands once, in {place}: {found:?}"
        );
    }
    // Possession: by the certificate's key, or by the same key kept from before.
    let proven: Vec<_> =
        proto.iter().flat_map(|file| makes(file, "Possession::by(signed)")).collect();
    assert!(
        proven.len() == 2 && proven.iter().all(|place| place.contains("tls/verifier.rs")),
        "{proven:?}"
    );
    // A client is verified by its certificate or by a ticket. An anonymous client is authorized by a rule of
    // its own, and without a `VerifiedClient`.
    for (file, fact, places) in [("verify", "VerifiedClient", 2), ("authorize", "Authorized", 2)] {
        let path = format!("engine/proto/src/connection/{file}.rs");
        let text = source::read(&path);
        let made = text
            .lines()
            .filter(|line| line.contains("Self {") && !line.contains("-> Self {"))
            .count();
        assert_eq!(made, places, "{path} makes {fact} in so many places");
    }
}

#[test]
fn nothing_resumes_but_by_our_tickets() {
    const STORES: [&str; 3] = ["ServerSessionMemoryCache", "StoresServerSessions", "TicketRotator"];
    let mut problems = Vec::new();
    for file in source::files("engine", "rs") {
        problems.extend(words(&file, &STORES));
        let may_name_it = ["src/tls.rs", "tls/config.rs", "tls/ticketer.rs"]
            .iter()
            .any(|p| file.path.ends_with(p));
        if !may_name_it {
            problems.extend(words(&file, &["ticketer", "Ticketer", "ProducesTickets"]));
        }
        // No 0-RTT: nothing sets it to anything but nothing.
        let early = file.code().filter(|(_, line)| {
            line.contains("max_early_data_size") && !line.contains("max_early_data_size = 0;")
        });
        problems.extend(early.map(|(number, _)| format!("{}:{number}: early data", file.path)));
    }
    none(problems);
}

/// What opens a ticket is asked before the client has proven anything: it must not wait, nor be handed out.
#[test]
fn nothing_waits_while_a_ticket_is_opened() {
    let resume = Source {
        path: "engine/proto/src/connection/resume.rs".into(),
        text: source::read("engine/proto/src/connection/resume.rs"),
    };
    none(words(&resume, &["hand_out", "Work", "Op", "Fiber"]));
}

#[test]
fn workers_have_no_locks_no_log_and_no_configuration() {
    const NAMES: [&str; 11] = [
        "Mutex", "RwLock", "Condvar", "LazyLock", "OnceLock", "println", "eprintln", "print",
        "eprint", "json", "stderr",
    ];
    let mut problems = Vec::new();
    for file in source::files("engine/src/worker", "rs") {
        problems.extend(words(&file, &NAMES));
        problems.extend(paths(&file, &["fs::", "config::", "format!", "mpsc::"]));
        problems.extend(file.code().filter(|(_, line)| line.contains("Atomic")).map(
            |(number, _)| format!("{}:{number}: an atomic on the way of a connection", file.path),
        ));
    }
    let starts_them =
        Source { path: "engine/src/worker.rs".into(), text: source::read("engine/src/worker.rs") };
    problems.extend(words(&starts_them, &NAMES));
    none(problems);
}

#[test]
fn counting_takes_no_locked_instruction() {
    let mut problems = Vec::new();
    for file in source::files("engine/src/telemetry", "rs") {
        if ["counters", "recorder"].contains(&file.stem()) {
            problems.extend(words(
                &file,
                &["fetch_add", "fetch_sub", "compare_exchange", "swap", "Mutex", "RwLock"],
            ));
        }
    }
    none(problems);
}

#[test]
fn control_knows_no_connection() {
    let control = source::files("engine/src/control", "rs");
    none(control.iter().flat_map(|file| words(file, &["Connection", "Ring", "Socket"])).collect());
}

#[test]
fn there_is_one_event_loop() {
    let engine = source::files("engine/src", "rs");
    let waits: Vec<_> = engine.iter().flat_map(|file| words(file, &["submit_and_wait"])).collect();
    assert!(waits.len() == 1 && waits[0].contains("worker/event_loop.rs"), "{waits:?}");
}

#[test]
fn nothing_unwinds_a_stack_from_outside() {
    let manifest = source::read("Cargo.toml");
    let line =
        manifest.lines().find(|line| line.starts_with("corosensei")).expect("corosensei is used");
    assert!(line.contains("default-features = false") && !line.contains("unwind"), "{line}");
}

#[test]
fn nothing_is_unwrapped_without_a_word_why() {
    let mut problems = Vec::new();
    for file in source::files("engine", "rs") {
        if file.path.contains("/tests/") || file.stem() == "tests" {
            continue;
        }
        let lines = file.code().filter(|(_, line)| line.contains(".unwrap()"));
        problems.extend(lines.map(|(number, _)| {
            format!("{}:{number}: expect() says why it holds; unwrap() does not", file.path)
        }));
    }
    none(problems);
}

/// Where one of `names` stands in the code of `file`.
fn words(file: &Source, names: &[&str]) -> Vec<String> {
    found(file, names, has_word)
}

/// Where one of `starts` begins a path or stands within one.
fn paths(file: &Source, starts: &[&str]) -> Vec<String> {
    found(file, starts, |line, start| {
        line.match_indices(start)
            .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

fn found(file: &Source, wanted: &[&str], is_in: impl Fn(&str, &str) -> bool) -> Vec<String> {
    file.code()
        .flat_map(|(number, line)| wanted.iter().map(move |name| (number, line, name)))
        .filter(|(_, line, name)| is_in(line, name))
        .map(|(number, _, name)| format!("{}:{number}: {name}", file.path))
        .collect()
}

/// Where the code has an expression (not the declaration or the `impl` of the type).
fn makes(file: &Source, expression: &str) -> Vec<String> {
    file.code()
        .filter(|(_, line)| {
            let declares = ["struct ", "impl ", "for "]
                .iter()
                .any(|word| line.contains(&format!("{word}{expression}")));
            let at = line.find(expression);
            !declares && at.is_some_and(|at| !line[..at].ends_with(char::is_alphanumeric))
        })
        .map(|(number, _)| format!("{}:{number}", file.path))
        .collect()
}

/// The names of the crates that a manifest depends on, in its order; those for its tests too.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
            return None;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        (inside && !name.is_empty() && !name.starts_with('#')).then_some(name)
    })
}

#[test]
fn dependencies_are_read_out_of_a_manifest() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nlibc.workspace = true\n# no\n\nmio = \"1\"\n\n[lints]\nworkspace = true\n[dev-dependencies]\nrcgen.workspace = true\n";
    assert_eq!(dependencies(manifest).collect::<Vec<_>>(), ["libc", "mio", "rcgen"]);
}

#[test]
fn what_is_looked_for_is_found() {
    let text = "use std::{fs, thread};\nlet a = fs::read(x);\nlet b = my_fs::read(x);\nimpl Fact {\nOk(Fact { a })\nWorkFact { a }\n";
    let file = Source { path: "f.rs".into(), text: text.into() };
    assert_eq!(paths(&file, &["fs::"]), ["f.rs:2: fs::"]);
    assert_eq!(words(&file, &["thread"]), ["f.rs:1: thread"]);
    assert_eq!(makes(&file, "Fact {"), ["f.rs:5"]);
}
