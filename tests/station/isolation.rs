//! What a child process has of its parent, and what it lets out.

use std::fs;
use std::process::{Command, Stdio};

use countersign::signing::station::Isolation;
use countersign_tests::engine::program;
use countersign_tests::test_token::PIN;

use crate::desk::{Desk, Token};

#[test]
fn the_pin_is_nowhere_to_be_seen() {
    let token = Token::new();
    let desk = token.open(token.spec(Isolation::Process));
    desk.sign(b"message").expect("a signature");
    let child = token.child();
    let command_line = fs::read_to_string(format!("/proc/{child}/cmdline")).expect("the child");
    assert_eq!(command_line, "countersign\0--token-station\0");
    for file in ["cmdline", "environ"] {
        // Where nobody may read the environment of a process that is not dumpable, nobody sees the PIN either.
        let text = fs::read(format!("/proc/{child}/{file}")).unwrap_or_default();
        let shows = text.windows(PIN.len()).any(|at| at == PIN.as_bytes());
        assert!(!shows, "the PIN is in {file}");
    }
}

#[test]
fn the_childs_environment_is_empty() {
    // cargo has filled this process' own.
    assert!(std::env::var_os("PATH").is_some());
    let token = Token::new();
    let _desk = token.open(token.spec(Isolation::Process));
    if let Ok(environment) = fs::read(format!("/proc/{}/environ", token.child())) {
        assert_eq!(String::from_utf8_lossy(&environment), "");
    }
}

/// Only root, with the capabilities to trace anybody, reads the environment of a process that is not dumpable
/// (proc(5), ptrace(2)); anybody reads that of another process of theirs. Root gives those capabilities away first.
#[test]
fn nobody_reads_the_childs_memory() {
    const INNER: &str = "isolation::nobody_without_capabilities_reads_the_childs_memory";
    let own = std::env::current_exe().expect("this executable");
    let mut command = if rustix::process::geteuid().is_root() {
        let without = "-sys_ptrace,-perfmon,-sys_admin";
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", without, "--inh-caps", without]).arg(own);
        command
    } else {
        Command::new(own)
    };
    let inner = command.args(["--exact", INNER, "--ignored", "--nocapture"]).output();
    let inner = inner.expect("setpriv: install the Debian package util-linux");
    let said = String::from_utf8_lossy(&inner.stdout);
    assert!(inner.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "started by nobody_reads_the_childs_memory, without capabilities"]
fn nobody_without_capabilities_reads_the_childs_memory() {
    let token = Token::new();
    let _desk = token.open(token.spec(Isolation::Process));
    let mut other = Command::new("sleep").arg("60").spawn().expect("sleep");
    let others = reads(other.id().cast_signed());
    other.kill().and_then(|()| other.wait()).expect("a process of this test");
    assert!(others, "the look itself works");
    assert!(!reads(token.child()), "the child is dumpable");
}

/// Can another process of this user read a process' environment?
fn reads(pid: i32) -> bool {
    let mut command = Command::new("cat");
    command.arg(format!("/proc/{pid}/environ")).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("cat").success()
}

#[test]
fn no_file_of_the_engine_is_open_in_the_child_and_one_that_it_was_started_with_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |name: &str| fs::File::create(folder.path().join(name)).expect("a file");
    let _own = open("the-engines-own");
    let inherited = open("inherited-from-a-shell");
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).expect("a flag");
    let token = Token::new();
    let desk = Desk::open(token.spec(Isolation::Process)).expect("the token is there");
    let notice = desk.wait_notice("inherited-from-a-shell");
    assert!(!notice.contains("the-engines-own"), "{notice}");
    // Where it can be seen: a socket, and a pipe for both outputs.
    let links = (0..3).map(|number| fs::read_link(format!("/proc/{}/fd/{number}", token.child())));
    if let Ok(links) = links.collect::<Result<Vec<_>, _>>() {
        let links: Vec<_> = links.iter().map(|link| link.to_string_lossy().into_owned()).collect();
        assert!(links[0].starts_with("socket:") && links[1].starts_with("pipe:"), "{links:?}");
        assert_eq!(links[1], links[2]);
    }
}

#[test]
fn nobody_starts_a_child_by_hand() {
    let output = Command::new(program())
        .arg("--token-station")
        .stdin(Stdio::null())
        .output()
        .expect("the program");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is for the engine"), "{said}");
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let help = Command::new(program()).args(arguments).output().expect("the program");
        assert!(!String::from_utf8_lossy(&help.stdout).contains("token-station"));
    }
}
