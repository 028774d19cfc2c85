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
    if experiment.is_about_tokens() {
        let row = |place: &KeyPlace| Row {
            id: rate_id(system, *place),
            title: titled(place.words()),
            own: (*place != KeyPlace::Software).then(|| rate_id(system, KeyPlace::Software)),
        };
        return places(system.kind).iter().map(row).collect();
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
}
