//! How a token goes wrong, and what makes it right again.

use std::process::Command;

use countersign_tests::test_token::{Action, Counters, Fault, TestToken};

use super::scene::Isolation;

pub(super) struct Trouble {
    pub(super) name: &'static str,
    pub(super) begin: fn(&TestToken),
    pub(super) shows: Shows,
    /// It ends the process that the module is in.
    is_deadly: bool,
}

/// By what it is seen that the trouble was there.
pub(super) enum Shows {
    /// Operations fail until it is over.
    Failures,
    /// The engine does more of this with the token. Operations may all have been made good in time.
    Repair(fn(&Counters) -> u64),
}

const fn lasting(name: &'static str, begin: fn(&TestToken)) -> Trouble {
    Trouble { name, begin, shows: Shows::Failures, is_deadly: false }
}

const fn passing(
    name: &'static str,
    repair: fn(&Counters) -> u64,
    begin: fn(&TestToken),
) -> Trouble {
    Trouble { name, begin, shows: Shows::Repair(repair), is_deadly: false }
}

const fn deadly(name: &'static str, begin: fn(&TestToken)) -> Trouble {
    Trouble { is_deadly: true, ..passing(name, |did| did.initializes, begin) }
}

const TROUBLES: [Trouble; 11] = [
    deadly("its process is killed", |token| {
        let child = token.processes().last().expect("the module's process").pid;
        assert!(child > 1, "a process of its own");
        let killed = Command::new("kill").args(["-9", &child.to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()), "it is there");
    }),
    lasting("it is taken away", |token| token.remove(true)),
    passing("its sessions end", |did| did.sessions_opened, TestToken::end_sessions),
    passing("its login is lost", |did| did.logins, TestToken::end_login),
    lasting("CKR_DEVICE_ERROR", |token| fails_with(token, "CKR_DEVICE_ERROR")),
    lasting("CKR_HOST_MEMORY", |token| fails_with(token, "CKR_HOST_MEMORY")),
    lasting("CKR_FUNCTION_FAILED", |token| fails_with(token, "CKR_FUNCTION_FAILED")),
    lasting("it hangs", |token| _ = token.fault(Fault::new("C_Sign", Action::Hang))),
    lasting("it lies", |token| _ = token.fault(Fault::new("C_Sign", Action::WrongSignature))),
    lasting("its key is deleted", |token| token.delete("server", true)),
    deadly("its module crashes", |token| {
        token.fault(Fault::new("C_Sign", Action::Abort).times(1));
    }),
];

fn fails_with(token: &TestToken, code: &'static str) {
    token.fault(Fault::code("C_Sign", code));
}

/// Everything that a token may do to an engine that has its module so; what ends the process of the module ends an
/// engine that has it among its own threads.
pub(super) fn troubles(isolation: Isolation) -> impl Iterator<Item = &'static Trouble> {
    let spares = move |trouble: &&Trouble| isolation == Isolation::Process || !trouble.is_deadly;
    TROUBLES.iter().filter(spares)
}

/// Makes it right again, whatever it was.
pub(super) fn end(token: &TestToken) {
    token.mend();
    token.remove(false);
    token.delete("server", false);
}
