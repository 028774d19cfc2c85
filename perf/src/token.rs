//! Keys in tokens: where the key of each row lies, and the token that it lies in.
//!
//! The token is the module of tests/token: a PKCS#11 library whose latency can be set, and that can be told to hang.
//! Its signatures cost next to no CPU, as those of a real token do not burden its host.

mod folder;
pub(crate) mod hang;
pub(crate) mod rate;

use crate::experiment::Experiment;
use crate::system::{Kind, System};

pub(crate) use folder::{MODULE, TokenFolder};

/// Where the key of a server lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    /// In a file.
    Software,
    /// In a token whose module is in a process of its own.
    TokenInProcess,
    /// In a token whose module is called by threads of the engine.
    TokenOnThreads,
    /// In a token that OpenSSL's engine calls, on the thread that serves.
    TokenOfOpenssl,
}

impl KeyPlace {
    /// The end of a row's id.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            KeyPlace::Software => "",
            KeyPlace::TokenInProcess => "-token-process",
            KeyPlace::TokenOnThreads => "-token-threads",
            KeyPlace::TokenOfOpenssl => "-token",
        }
    }

    fn words(self) -> &'static str {
        match self {
            KeyPlace::Software => "key in software",
            KeyPlace::TokenInProcess => "token in a process",
            KeyPlace::TokenOnThreads => "token on threads",
            KeyPlace::TokenOfOpenssl => "token by engine pkcs11",
        }
    }
}

/// What the clients of a token's key meet, while others are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// There are such clients, and the token answers.
    Well,
    /// There are, and it does not.
    Hangs,
    /// There are none.
    Nobody,
}

impl Beside {
    pub(crate) const ALL: [Beside; 3] = [Beside::Well, Beside::Hangs, Beside::Nobody];

    fn suffix(self) -> &'static str {
        match self {
            Beside::Well => "-token-well",
            Beside::Hangs => "-token-hangs",
            Beside::Nobody => "-token-unused",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Beside::Well => "token well",
            Beside::Hangs => "token hangs",
            Beside::Nobody => "nobody at the token",
        }
    }
}

/// What CPUs do when there is nothing to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idling {
    /// What they do on this machine: as a rule they halt, and take a while to wake.
    AsItIs,
    /// They are kept awake.
    Awake,
}

impl Idling {
    pub(crate) const ALL: [Idling; 2] = [Idling::AsItIs, Idling::Awake];

    fn suffix(self) -> &'static str {
        match self {
            Idling::AsItIs => "",
            Idling::Awake => "-awake",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Idling::AsItIs => "",
            Idling::Awake => ", awake",
        }
    }
}

/// Which of a token's signatures the engine verifies: `tokens.verify_own`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerifyOwn {
    /// Its default.
    Sampled,
    Always,
}

impl VerifyOwn {
    pub(crate) const ALL: [VerifyOwn; 2] = [VerifyOwn::Sampled, VerifyOwn::Always];

    fn value(self) -> &'static str {
        match self {
            VerifyOwn::Sampled => "sampled",
            VerifyOwn::Always => "always",
        }
    }

    /// The engine with this setting, whatever it had before.
    pub(crate) fn set(self, engine: &System) -> System {
        let mut set = System { id: verify_id(engine, self), ..engine.clone() };
        set.tweaks.config.push(("tokens.verify_own".into(), format!("\"{}\"", self.value())));
        set
    }
}

/// Where this kind of system can have its key.
pub(crate) fn places(kind: Kind) -> &'static [KeyPlace] {
    match kind {
        Kind::Countersign => {
            &[KeyPlace::Software, KeyPlace::TokenInProcess, KeyPlace::TokenOnThreads]
        }
        Kind::Nginx => &[KeyPlace::Software, KeyPlace::TokenOfOpenssl],
        // HAProxy's engines want a build of their own, and Envoy has no PKCS#11.
        Kind::Haproxy | Kind::Envoy => &[],
    }
}

/// The id of a row: the first system's of a key in software is its own.
pub(crate) fn rate_id(system: &System, place: KeyPlace) -> String {
    format!("{}{}", system.id, place.suffix())
}

/// The same at a set rate, of the row that `rate_id` names.
pub(crate) fn latency_id(rate_id: &str, idling: Idling) -> String {
    format!("{rate_id}{}", idling.suffix())
}

/// The same of [`Experiment::TokenVerify`].
pub(crate) fn verify_id(system: &System, verify: VerifyOwn) -> String {
    format!("{}-verify-{}", system.id, verify.value())
}

/// The same of [`Experiment::TokenHang`].
pub(crate) fn hang_id(system: &System, beside: Beside) -> String {
    format!("{}{}", system.id, beside.suffix())
}

/// A row of an experiment's table.
pub(crate) struct Row {
    /// As in [`crate::cell::Key::system`].
    pub(crate) id: String,
    pub(crate) title: String,
    /// The row of the same system that a token's is told beside, by its id.
    pub(crate) own: Option<String>,
}

/// The rows of an experiment's table; the first is what the others are compared with.
pub(crate) fn rows(systems: &[System], experiment: Experiment) -> Vec<Row> {
    systems.iter().flat_map(|system| rows_of(system, experiment)).collect()
}

fn rows_of(system: &System, experiment: Experiment) -> Vec<Row> {
    let titled = |words: &str| format!("{}, {words}", system.name());
    if experiment == Experiment::TokenHang {
        let all = if system.kind == Kind::Countersign { &Beside::ALL[..] } else { &[] };
        let row = |beside: &Beside| Row {
            id: hang_id(system, *beside),
            title: titled(beside.words()),
            own: (*beside != Beside::Well).then(|| hang_id(system, Beside::Well)),
        };
        return all.iter().map(row).collect();
    }
    if experiment == Experiment::TokenVerify {
        let all = if system.kind == Kind::Countersign { &VerifyOwn::ALL[..] } else { &[] };
        let row = |verify: &VerifyOwn| Row {
            id: verify_id(system, *verify),
            title: titled(&format!("verify_own = \"{}\"", verify.value())),
            own: (*verify != VerifyOwn::Sampled).then(|| verify_id(system, VerifyOwn::Sampled)),
        };
        return all.iter().map(row).collect();
    }
    if experiment.is_about_tokens() {
        let row = |place: KeyPlace, idling: Idling| Row {
            id: latency_id(&rate_id(system, place), idling),
            title: titled(place.words()) + idling.words(),
            own: (place != KeyPlace::Software)
                .then(|| latency_id(&rate_id(system, KeyPlace::Software), idling)),
        };
        let idlings =
            if experiment.is_token_latency() { &Idling::ALL[..] } else { &[Idling::AsItIs] };
        let places = places(system.kind);
        let rows =
            idlings.iter().flat_map(|idling| places.iter().map(|place| row(*place, *idling)));
        return rows.collect();
    }
    vec![Row { id: system.id.clone(), title: system.title(), own: None }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;
    use crate::system::Tweaks;

    #[test]
    fn a_row_of_a_token_is_told_beside_the_same_system_with_its_key_in_software() {
        let missing = || Err(Problem::new("not installed"));
        let system = |id: &str, kind| System::new(id, kind, missing(), Tweaks::default());
        let systems = [
            system("engine", Kind::Countersign),
            system("haproxy", Kind::Haproxy),
            system("nginx", Kind::Nginx),
        ];
        let told = |experiment| -> Vec<(String, Option<String>)> {
            rows(&systems, experiment).into_iter().map(|row| (row.id, row.own)).collect()
        };
        let of = |id: &str, own: Option<&str>| (id.to_owned(), own.map(str::to_owned));
        assert_eq!(
            told(Experiment::Token10Ms),
            [
                of("engine", None),
                of("engine-token-process", Some("engine")),
                of("engine-token-threads", Some("engine")),
                of("nginx", None),
                of("nginx-token", Some("nginx")),
            ]
        );
        assert_eq!(
            told(Experiment::Token2MsLatency),
            [
                of("engine", None),
                of("engine-token-process", Some("engine")),
                of("engine-token-threads", Some("engine")),
                of("engine-awake", None),
                of("engine-token-process-awake", Some("engine-awake")),
                of("engine-token-threads-awake", Some("engine-awake")),
                of("nginx", None),
                of("nginx-token", Some("nginx")),
                of("nginx-awake", None),
                of("nginx-token-awake", Some("nginx-awake")),
            ]
        );
        let sampled = "engine-verify-sampled";
        let verify = [of(sampled, None), of("engine-verify-always", Some(sampled))];
        assert_eq!(told(Experiment::TokenVerify), verify);
        let well = "engine-token-well";
        let hang = [
            of(well, None),
            of("engine-token-hangs", Some(well)),
            of("engine-token-unused", Some(well)),
        ];
        assert_eq!(told(Experiment::TokenHang), hang);
        let others = [of("engine", None), of("haproxy", None), of("nginx", None)];
        assert_eq!(told(Experiment::FullSeen), others);
    }

    #[test]
    fn an_engine_is_told_what_to_verify_behind_what_it_was_told_before() {
        let config = vec![("tokens.verify_own".to_owned(), "\"sampled\"".to_owned())];
        let tweaks = Tweaks { config, ..Tweaks::default() };
        let missing = Err(Problem::new("not installed"));
        let engine = System::new("base", Kind::Countersign, missing, tweaks);
        let always = VerifyOwn::Always.set(&engine);
        assert_eq!(always.id, "base-verify-always");
        let last = ("tokens.verify_own".to_owned(), "\"always\"".to_owned());
        assert_eq!(always.tweaks.config.last(), Some(&last));
    }
}
