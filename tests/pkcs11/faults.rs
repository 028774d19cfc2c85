//! Calls that fail, hang or crash, and signatures that do not hold.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED;
use countersign_tests::test_token::{Action, Fault, PIN, TestToken, codes};
use countersign_tests::tool::PKCS11_TOOL;
use cryptoki::context::Function;
use cryptoki::error::RvError;

use crate::caller::{
    Caller, Keys, OneKey, assert_refused, initialize, key, load, login, refusal, ways,
};

#[test]
fn every_code_is_given_so_often_as_was_said() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    // By the standard a buffer that is too small is the one error that leaves the operation as it is.
    let ends = |name: &&str| *name != "CKR_BUFFER_TOO_SMALL";
    for name in codes().filter(ends) {
        one.token.fault(Fault::code("C_Sign", name).times(1));
        let (function, code) = refusal(one.sign(&session, handle));
        let expected = name.strip_prefix("CKR_").expect("a name of a code").replace('_', "");
        let given = format!("{code:?}").to_uppercase();
        assert!(given.starts_with(&expected), "{name}: {given}");
        assert!(matches!(function, Function::Sign));
        // What has failed is over.
        one.assert_signs(&session, handle);
        one.token.mend();
    }
    assert_eq!(one.token.counters().faults, codes().filter(ends).count() as u64);
}

#[test]
fn faults_strike_the_calls_that_they_were_meant_for() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    let outcomes = || -> String {
        let signed = (0..12).map(|_| one.sign(&session, handle).is_ok());
        signed.map(|is_well| if is_well { '.' } else { 'x' }).collect()
    };
    one.token.fault(Fault::code("C_Sign", "CKR_DEVICE_ERROR").after(5).every(3));
    assert_eq!(outcomes(), ".....x..x..x");
    one.token.mend();
    one.token.fault(Fault::code("C_Sign", "CKR_DEVICE_ERROR").times(2).after(1));
    assert_eq!(outcomes(), ".xx.........");
    one.token.mend();
    one.token.fault(Fault::code("C_Sign", "CKR_DEVICE_ERROR").probability(0.5));
    let outcomes = outcomes() + &outcomes();
    assert!(outcomes.contains('.') && outcomes.contains('x'), "{outcomes}");
    one.token.mend();
    one.assert_signs(&session, handle);
}

#[test]
fn other_functions_fail_too() {
    let one = OneKey::new();
    one.token.fault_of_module(Fault::code("C_Initialize", "CKR_GENERAL_ERROR").times(1));
    let module = load(&one.token);
    assert_refused(initialize(&module), Function::Initialize, RvError::GeneralError);
    let caller = Caller::new(&one.token);
    one.token.fault(Fault::code("C_OpenSession", "CKR_HOST_MEMORY").times(1));
    assert_refused(caller.open(), Function::OpenSession, RvError::HostMemory);
    let session = caller.open().expect("a session");
    one.token.fault(Fault::code("C_Login", "CKR_FUNCTION_FAILED").times(1));
    assert_refused(login(&session, PIN), Function::Login, RvError::FunctionFailed);
    login(&session, PIN).expect("a login");
}

#[test]
fn a_hanging_call_goes_on_when_the_fault_is_taken_away_and_others_do_not_wait_for_it() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let (hanging, other) = (caller.session(), caller.session());
    let handle = key(&other, "server");
    one.token.fault(Fault::new("C_Sign", Action::Hang).times(1));
    thread::scope(|scope| {
        let one = &one;
        scope.spawn(move || one.assert_signs(&hanging, handle));
        one.token.wait_for("a call hangs", |counters| counters.hanging == 1);
        one.assert_signs(&other, handle);
        assert_eq!(one.token.counters().hanging, 1);
        one.token.mend();
    });
    assert_eq!(one.token.counters().hanging, 0);
}

#[test]
fn a_crash_ends_the_process_and_what_was_counted_stays() {
    for (action, signals) in [(Action::Abort, &[6][..]), (Action::Segv, &[11])] {
        for block_signals in [false, true] {
            let one = OneKey::new();
            one.token.change(|settings| settings.block_signals = block_signals);
            one.token.fault(Fault::new("C_Sign", action.clone()));
            let finished = sign_with_tool(&one.token);
            let signal = finished.status.signal();
            assert!(signal.is_some_and(|signal| signals.contains(&signal)), "{finished:?}");
            let counters = one.token.counters();
            assert_eq!((counters.logins, counters.faults, counters.signatures), (1, 1, 0));
            assert_eq!(counters.sessions_open, 0, "a process that has gone has none");
        }
    }
}

#[test]
fn what_was_used_up_of_a_fault_is_remembered_by_the_next_process() {
    let one = OneKey::new();
    one.token.fault(Fault::new("C_Sign", Action::Abort).times(1));
    assert!(!sign_with_tool(&one.token).status.success());
    let finished = sign_with_tool(&one.token);
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!(one.token.processes().len(), 2);
}

fn sign_with_tool(token: &TestToken) -> countersign_tests::tool::Finished {
    let folder = token.pin_file().with_file_name("work");
    fs::create_dir_all(&folder).expect("a folder");
    let (input, output) = (folder.join("hash"), folder.join("signature"));
    fs::write(&input, [7; 32]).expect("something to sign");
    let paths = [token.module(), input, output];
    let [module, input, output] = paths.map(|path| path.display().to_string());
    let words = [
        "--module",
        &module,
        "--login",
        "--pin",
        PIN,
        "--sign",
        "--mechanism",
        "ECDSA",
        "--id",
        "01",
        "--input-file",
        &input,
        "--output-file",
        &output,
    ];
    PKCS11_TOOL.run(&words)
}

#[test]
fn a_wrong_signature_is_well_formed_and_does_not_verify() {
    let keys = Keys::new();
    let token = keys.on_token();
    let caller = Caller::new(&token);
    let session = caller.session();
    token.fault(Fault::new("C_Sign", Action::WrongSignature));
    let all = [&keys.p256, &keys.p384, &keys.rsa, &keys.ed25519];
    for (label, mechanism, data, algorithm) in ways() {
        let of_label = all.iter().find(|key| key.label == label).expect("a key");
        let wrong = session.sign(&mechanism, key(&session, label), &data).expect("a signature");
        assert!(!of_label.verifies(algorithm, &wrong), "{mechanism:?}");
        token.mend();
        let right = session.sign(&mechanism, key(&session, label), &data).expect("a signature");
        assert!(of_label.verifies(algorithm, &right), "{mechanism:?}");
        assert_eq!(wrong.len(), right.len());
        token.fault(Fault::new("C_Sign", Action::WrongSignature));
    }
}

#[test]
fn r_and_s_come_padded_or_short_and_are_still_right() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    for (action, half_bytes) in [(Action::PaddedSignature, 33), (Action::ShortSignature, 31)] {
        one.token.fault(Fault::new("C_Sign", action));
        let signature = one.sign(&session, handle).expect("a signature");
        let (r, s) = signature.split_at(half_bytes);
        assert_eq!(s.len(), half_bytes);
        let fixed = [r, s].map(|number| {
            let zeros = vec![0; 33 - number.len()];
            [&zeros, number].concat()[1..].to_vec()
        });
        assert!(one.key.verifies(&ECDSA_P256_SHA256_FIXED, &fixed.concat()));
        one.token.mend();
    }
}

#[test]
fn latency_and_ceiling_are_kept() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let session = caller.session();
    let handle = key(&session, "server");
    // Never faster: how much slower is the machine's affair.
    let lasts = |least: Duration| {
        let start = Instant::now();
        for _ in 0..5 {
            one.assert_signs(&session, handle);
        }
        assert!(start.elapsed() >= least, "{:?}", start.elapsed());
    };
    one.token.change_token(|token| token.latency_us = 4_000);
    lasts(Duration::from_millis(5 * 4));
    one.token.change_token(|token| (token.latency_us, token.operations_per_second) = (0, 100));
    lasts(Duration::from_millis(4 * 10));
    one.token.change_token(|token| token.operations_per_second = 0);
    one.token.change_token(|token| (token.latency_us, token.jitter_us) = (4_000, 2_000));
    lasts(Duration::from_millis(5 * 2));
    one.token.change_token(|token| (token.latency_us, token.jitter_us) = (0, 0));
    one.token.fault(Fault::new("C_Sign", Action::Delay(10)));
    lasts(Duration::from_millis(5 * 10));
}

#[test]
fn signals_are_blocked_in_whoever_calls() {
    let one = OneKey::new();
    one.token.change(|settings| settings.block_signals = true);
    let blocked = || {
        let status = fs::read_to_string("/proc/thread-self/status").expect("this thread's status");
        let line = status.lines().find(|line| line.starts_with("SigBlk:")).expect("SigBlk");
        u64::from_str_radix(line["SigBlk:".len()..].trim(), 16).expect("a mask")
    };
    let terminate = 1 << 14;
    assert_eq!(blocked() & terminate, 0);
    let caller = Caller::new(&one.token);
    drop(caller.session());
    assert_ne!(blocked() & terminate, 0);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let one = OneKey::new();
    one.token.fault(Fault::code("C_Sign", "CKR_NO_SUCH_CODE"));
    let refused = Caller::try_new(&one.token);
    assert_refused(refused, Function::Initialize, RvError::GeneralError);
    let problem = one.token.problem().expect("a problem");
    assert!(problem.contains("CKR_NO_SUCH_CODE"), "{problem}");
    one.token.mend();
    let caller = Caller::new(&one.token);
    assert_eq!(one.token.problem(), None);
    // Whoever runs goes on with the settings that made sense.
    one.token.change_token(|token| token.keys[0].id = "no digits".into());
    let session = caller.session();
    one.assert_signs(&session, key(&session, "server"));
    assert!(one.token.problem().is_some_and(|problem| problem.contains("no digits")));
}
