//! What is there is not written over, nothing is lost, and what is wrong is named.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use super::estate::{Ended, Estate, Later, OutputLater, has, powerless, run};

#[test]
fn init_overwrites_nothing() {
    let estate = Estate::new();
    let before = estate.read("root.pem");
    has(&estate.refuses(&["init"]), &["holds a PKI already"]);
    assert_eq!(estate.read("root.pem"), before);

    let other = Estate::empty();
    fs::create_dir(other.directory()).expect("a folder");
    fs::write(other.file("precious"), "mine").expect("a file");
    has(&other.refuses(&["init"]), &["is not empty (precious is there)"]);
    assert_eq!(fs::read_dir(other.directory()).expect("the folder").count(), 1);
}

#[test]
fn of_two_inits_at_once_one_wins() {
    let estate = Estate::empty();
    let starts = (0..4).map(|_| estate.command(&["init"]).output_later());
    let ended: Vec<Ended> = starts.collect::<Vec<_>>().into_iter().map(Later::wait).collect();
    assert_eq!(ended.iter().filter(|ended| ended.status.success()).count(), 1, "{ended:?}");
    assert_eq!(estate.list(&[]).len(), 2);
}

#[test]
fn what_is_still_good_is_not_written_over() {
    let estate = Estate::new();
    estate.does(&["issue", "client", "alice"]);
    let before = estate.read("clients/alice.pem");
    has(
        &estate.refuses(&["issue", "client", "alice"]),
        &["alice.pem is there", "pki renew", "pki revoke"],
    );
    assert_eq!(estate.read("clients/alice.pem"), before);
    fs::write(estate.file("clients/bob.key"), "mine").expect("a file");
    has(&estate.refuses(&["issue", "client", "bob"]), &["bob.key", "not from this PKI"]);
    assert_eq!(estate.read("clients/bob.key"), "mine");
}

#[test]
fn names_that_cannot_be_are_refused_with_what_is_wrong() {
    let estate = Estate::new();
    for (words, problem) in [
        (&["issue", "server", "a..b"][..], "'a..b' is neither a DNS name"),
        (&["issue", "server", "localhost", "*.org"], "top-level domain"),
        (&["issue", "server", "1.2.3.400"], "1.2.3.400"),
        (&["issue", "server"], "<NAME>"),
        (&["issue", "client", ""], "an empty name"),
        (&["issue", "client", "a\nb"], "control character"),
        (&["issue", "client", " alice"], "a blank"),
        (&["issue", "client", "alice", "--dns", "*.example.org"], "only as a server's"),
        (&["issue", "client", "alice", "--uri", "no uri"], "is not a URI"),
        (&["issue", "client", "alice", "--uri", "spiffe://Example.org/a"], "SPIFFE ID"),
        (&["issue", "client", "alice", "--email", "alice"], "not an email address"),
        (&["issue", "client", "alice", "--ip", "1.2.3"], "--ip"),
        (&["issue", "client", "alice", "--lifetime", "24"], "is not a lifetime"),
        (&["issue", "spiffe", "spiffe://example.org"], "has a path"),
        (&["issue", "spiffe", "spiffe://example.org/a/../b"], "no '..'"),
        (&["issue", "spiffe", "https://example.org/a"], "begins with spiffe://"),
        (&["revoke", "alice", "--reason", "boredom"], "keyCompromise"),
    ] {
        has(&estate.refuses(words), &[problem]);
    }
    estate.does(&["issue", "client", "../../etc/passwd"]);
    assert!(
        estate.file("clients/_._.._etc_passwd.pem").exists(),
        "no name leads out of the directory"
    );
}

#[test]
fn commands_at_once_lose_nothing() {
    const EACH: usize = 6;
    let estate = Estate::new();
    let names: Vec<String> = (0..EACH).map(|number| format!("client-{number}")).collect();
    let mut running: Vec<Later> = names
        .iter()
        .map(|name| estate.command(&["issue", "client", name]).output_later())
        .collect();
    running.extend((0..EACH).map(|_| estate.command(&["crl"]).output_later()));
    for later in running {
        let ended = later.wait();
        assert!(ended.status.success(), "{ended:?}");
    }
    let clients = estate.list(&[]).into_iter().filter(|one| one["kind"] == "client").count();
    assert_eq!(clients, EACH);
    has(&estate.does(&["crl"]), &[&format!("number {}", EACH + 2)]);
    for name in names {
        estate.does(&["verify", &format!("pki/clients/{name}.pem")]);
    }
}

#[test]
fn a_command_that_is_killed_leaves_no_certificate_that_the_index_does_not_know() {
    const EACH: u64 = 24;
    let estate = Estate::new();
    for number in 0..EACH {
        let later =
            estate.command(&["issue", "client", &format!("client-{number}")]).output_later();
        // Wherever it is by now: what must hold, holds at every point.
        thread::sleep(Duration::from_micros(500 * number));
        later.kill();
    }
    let issued = estate.list(&[]);
    let clients = fs::read_dir(estate.file("clients")).into_iter().flatten();
    let names =
        clients.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"));
    for name in names.filter(|name| name.starts_with("client-") && name.ends_with(".pem")) {
        let cn = name.trim_end_matches(".pem");
        assert!(issued.iter().any(|one| one["names"]["cn"] == cn), "{cn} is not in {issued:?}");
        estate.does(&["verify", &format!("pki/clients/{name}")]);
    }
    estate.does(&["issue", "client", "alice"]);
}

#[test]
fn what_could_not_be_written_is_in_the_index_all_the_same() {
    let estate = Estate::new();
    // The folder of clients cannot be made: the command is cut short behind the index.
    fs::write(estate.file("clients"), "").expect("a file");
    let ended = estate.run(&["issue", "client", "alice"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    has(&ended.stderr, &["pki/clients"]);
    assert_eq!(estate.list(&[]).last().expect("a record")["names"]["cn"], "alice");
    estate.does(&["revoke", "alice"]);
    fs::remove_file(estate.file("clients")).expect("a file");
    estate.does(&["issue", "client", "alice"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_named_and_can_still_be_read() {
    let estate = Estate::new();
    estate.does(&["issue", "client", "alice"]);
    fs::set_permissions(estate.directory(), Permissions::from_mode(0o500)).expect("its mode");
    let before = estate.read("index.jsonl");
    let ended = run(&mut powerless(&estate.command(&["issue", "client", "bob"])));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    has(&ended.stderr, &["cannot write pki/index.jsonl", "Permission denied"]);
    assert_eq!(estate.read("index.jsonl"), before);
    for words in [&["list"][..], &["verify", "pki/clients/alice.pem"]] {
        let ended = run(&mut powerless(&estate.command(words)));
        assert!(ended.status.success(), "{ended:?}");
    }
    fs::set_permissions(estate.directory(), Permissions::from_mode(0o700)).expect("its mode");
}

#[test]
fn a_damaged_index_is_named_with_its_line() {
    let estate = Estate::new();
    estate.does(&["issue", "client", "alice"]);
    let good = estate.read("index.jsonl");
    let lines: Vec<&str> = good.lines().collect();
    let alice = lines.last().expect("a line");
    for (text, place, problem) in [
        (format!("{good}{{\"record\":\"iss"), "index.jsonl:6: ", "is no record of the index"),
        (format!("{good}{alice}\n"), "index.jsonl:6: ", "a second time"),
        (good.replace("\"root.key\"", "7"), "index.jsonl:1: ", "is no record"),
        (good.replace("\"version\":1", "\"version\":2"), "index.jsonl:1: ", "version 2"),
        (good.replace("\"number\":1", "\"number\":0"), "index.jsonl:4: ", "CRL number 0"),
        (lines[1..].join("\n"), "index.jsonl:1: ", "not the record 'pki'"),
        (
            good.replacen("\"not_after\":\"2", "\"not_after\":\"x", 1),
            "index.jsonl:2: ",
            "is no time",
        ),
        (String::new(), "index.jsonl:1: ", "not the record 'pki'"),
    ] {
        fs::write(estate.file("index.jsonl"), text).expect("a file");
        for words in
            [&["list"][..], &["issue", "client", "bob"], &["verify", "pki/clients/alice.pem"]]
        {
            has(&estate.refuses(words), &[place, problem, "backup"]);
        }
    }
    fs::write(estate.file("index.jsonl"), good).expect("a file");
    estate.does(&["list"]);
    has(&Estate::empty().refuses(&["list"]), &["there is no PKI in pki", "countersign pki init"]);
}

#[test]
fn a_cas_key_that_others_can_read_is_warned_of() {
    let estate = Estate::new();
    fs::set_permissions(estate.file("intermediate.key"), Permissions::from_mode(0o644))
        .expect("its mode");
    let ended = estate.run(&["issue", "client", "alice"]);
    assert!(ended.status.success(), "{ended:?}");
    has(&ended.stderr, &["warning", "mode 644", "chmod 600 pki/intermediate.key"]);
}
