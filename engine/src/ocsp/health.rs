//! Responders that do not answer: a crowd must not wait for one of them, each until its timeout.
//!
//! Once its last few questions came to nothing, a responder is asked one question at a time, whoever has
//! it; everybody else is told at once that there is no answer. The first answer ends that. No clock has a
//! part in it.

use std::collections::HashMap;
use std::sync::Arc;

/// So many questions in a row came to nothing before others are not put any more.
const FAILURES_MOST: u32 = 5;

/// Responders that are looked after. Those of certificates may be many.
const RESPONDERS_MOST: usize = 1_024;

/// Who has not answered lately.
#[derive(Default)]
pub(super) struct Health {
    silent: HashMap<Arc<str>, Silence>,
}

#[derive(Default)]
struct Silence {
    failures: u32,
    is_probed: bool,
}

impl Health {
    /// May this responder be asked now? Whoever is told so tells in turn how it went.
    pub(super) fn admit(&mut self, responder: &str) -> bool {
        let Some(silence) = self.silent.get_mut(responder) else { return true };
        if silence.failures < FAILURES_MOST {
            return true;
        }
        !std::mem::replace(&mut silence.is_probed, true)
    }

    /// It has said something, be it right or wrong.
    pub(super) fn answered(&mut self, responder: &str) {
        self.silent.remove(responder);
    }

    /// It has said nothing.
    pub(super) fn failed(&mut self, responder: &Arc<str>) {
        if !self.silent.contains_key(responder) && self.silent.len() >= RESPONDERS_MOST {
            return;
        }
        let silence = self.silent.entry(Arc::clone(responder)).or_default();
        silence.failures = silence.failures.saturating_add(1);
        silence.is_probed = false;
    }

    /// It was not asked after all.
    pub(super) fn not_asked(&mut self, responder: &str) {
        if let Some(silence) = self.silent.get_mut(responder) {
            silence.is_probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_responder_is_asked_one_question_at_a_time_until_it_answers() {
        let (one, other): (Arc<str>, Arc<str>) = ("http://one/".into(), "http://other/".into());
        let mut health = Health::default();
        for _ in 0..FAILURES_MOST {
            assert!(health.admit(&one) && health.admit(&one));
            health.failed(&one);
        }
        assert!(health.admit(&one), "somebody has to find out");
        assert!(!health.admit(&one) && !health.admit(&one));
        assert!(health.admit(&other));
        health.failed(&one);
        assert!(health.admit(&one) && !health.admit(&one));
        health.not_asked(&one);
        assert!(health.admit(&one) && !health.admit(&one));
        health.answered(&one);
        assert!(health.admit(&one) && health.admit(&one));
    }

    #[test]
    fn what_is_remembered_of_responders_is_bounded() {
        let mut health = Health::default();
        for number in 0..2 * RESPONDERS_MOST {
            health.failed(&Arc::from(format!("http://{number}/")));
        }
        assert_eq!(health.silent.len(), RESPONDERS_MOST);
    }
}
