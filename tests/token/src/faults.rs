//! Which calls go wrong.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cryptoki_sys::CK_RV;

use crate::codes;
use crate::settings::{Action, Fault};
use crate::state::State;

/// The faults of a token, or of the module; all of them make sense.
#[derive(Default)]
pub(crate) struct Faults(Vec<Fault>);

/// What is to happen to a call.
pub(crate) enum Effect {
    Fail(CK_RV),
    /// Until there is no fault of that `id`.
    Hang(u64),
    DelayMs(u64),
    Abort,
    Segv,
    Damage(Action),
}

/// How many calls each fault has looked at in this process.
#[derive(Default)]
pub(crate) struct Calls(Mutex<HashMap<u64, u64>>);

impl Faults {
    pub(crate) fn new(faults: &[Fault]) -> Result<Self, String> {
        for fault in faults {
            if !fault.function.starts_with("C_") {
                return Err(format!("'{}' is no function of PKCS#11", fault.function));
            }
            if let Action::Code(name) = &fault.action
                && codes::value(name).is_none()
            {
                return Err(format!("'{name}' is no CK_RV that this module knows"));
            }
            if fault.action.is_damage() && !["C_Sign", "C_SignFinal"].contains(&&*fault.function) {
                return Err(format!("{} makes no signature", fault.function));
            }
        }
        Ok(Self(faults.to_vec()))
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.0.iter().any(|fault| fault.id == id)
    }

    /// Might a signature become longer than its key has it?
    pub(crate) fn may_pad(&self) -> bool {
        self.0.iter().any(|fault| fault.action == Action::PaddedSignature)
    }

    /// What happens to this call of `function`, in the order of the settings.
    pub(crate) fn strike(&self, function: &str, calls: &Calls, state: &State) -> Vec<Effect> {
        let of_function = self.0.iter().filter(|fault| fault.function == function);
        let struck = of_function.filter(|fault| {
            calls.pick(fault) && fault.times.is_none_or(|times| state.strike(fault.id, times))
        });
        struck.map(effect).collect()
    }
}

fn effect(fault: &Fault) -> Effect {
    match &fault.action {
        Action::Code(name) => {
            Effect::Fail(codes::value(name).expect("names were looked at when they were read"))
        }
        Action::Hang => Effect::Hang(fault.id),
        Action::Delay(milliseconds) => Effect::DelayMs(*milliseconds),
        Action::Abort => Effect::Abort,
        Action::Segv => Effect::Segv,
        damage => Effect::Damage(damage.clone()),
    }
}

impl Calls {
    /// Is it this call's turn?
    fn pick(&self, fault: &Fault) -> bool {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = calls.entry(fault.id).or_default();
        let number = *calls;
        *calls += 1;
        let is_turn =
            number >= fault.after && (number - fault.after).is_multiple_of(fault.every.max(1));
        is_turn && (fault.probability >= 1.0 || draw(fault.id, number) < fault.probability)
    }
}

/// From 0 to below 1; the same for the same fault and call. `SplitMix64` (Steele, Lea, Flood 2014).
pub(crate) fn draw(seed: u64, number: u64) -> f64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 11) as f64 / (1_u64 << 53) as f64
}
