//! PINs: counted, and locked.

use countersign_tests::test_token::PIN;
use countersign_tests::tool::PKCS11_TOOL;
use cryptoki::context::Function;
use cryptoki::error::RvError;

use crate::caller::{Caller, OneKey, assert_refused, login};

#[test]
fn wrong_pins_are_counted_over_the_ends_of_processes_until_the_token_is_locked() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    let flags = || {
        let info = caller.module.get_token_info(caller.slot).expect("a token");
        (info.user_pin_count_low(), info.user_pin_final_try(), info.user_pin_locked())
    };
    let session = caller.open().expect("a session");
    assert_eq!(flags(), (false, false, false));
    assert_refused(login(&session, "wrong"), Function::Login, RvError::PinIncorrect);
    assert_eq!(flags(), (true, false, false));
    let module = one.token.module().display().to_string();
    let finished =
        PKCS11_TOOL.run(&["--module", &module, "--login", "--pin", "wrong", "--list-objects"]);
    assert!(finished.said.contains("CKR_PIN_INCORRECT"), "{finished:?}");
    assert_eq!(flags(), (true, true, false));
    assert_refused(login(&session, "wrong"), Function::Login, RvError::PinIncorrect);
    assert_eq!(flags(), (false, false, true));
    assert_refused(login(&session, PIN), Function::Login, RvError::PinLocked);
    assert_eq!(one.token.counters().failed_logins, 4);
}

#[test]
fn a_right_pin_ends_the_count() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    for _ in 0..2 {
        let session = caller.open().expect("a session");
        for _ in 0..2 {
            assert_refused(login(&session, "wrong"), Function::Login, RvError::PinIncorrect);
        }
        login(&session, PIN).expect("a login");
        assert_refused(login(&session, PIN), Function::Login, RvError::UserAlreadyLoggedIn);
    }
}

#[test]
fn a_pin_can_be_changed_on_the_token() {
    let one = OneKey::new();
    let caller = Caller::new(&one.token);
    drop(caller.session());
    one.token.change_token(|token| token.pin = "another".into());
    let session = caller.open().expect("a session");
    assert_refused(login(&session, PIN), Function::Login, RvError::PinIncorrect);
    login(&session, "another").expect("a login");
}
