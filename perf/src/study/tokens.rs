//! The experiments on keys in tokens: who is started where, and at which rates.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use super::{Conduct, PROBE_ROUNDS, Shared, contestants};
use crate::cell::{Cell, RATE};
use crate::experiment::{Experiment, TokenTraits, Variant};
use crate::interrupt;
use crate::load::Generator;
use crate::problem::{Problem, Result};
use crate::rounds::{Contestant, say};
use crate::server::{Server, TokenTask};
use crate::slice::Tools;
use crate::statistics::median;
use crate::system::{Kind, System};
use crate::token::hang::{self, HangSlice};
use crate::token::rate::RateSlice;
use crate::token::{self, Beside, Idling, KeyPlace, TokenFolder, VerifyOwn};

/// Of what the first engine does with its key in software: what all get where latency is measured.
const MODERATE: f64 = 0.25;
/// Of the same, for each of two loads whose clients are on one CPU.
const BESIDE: f64 = 0.125;
/// Of what it does itself, for a server that cannot do so much.
const OWN_SHARE: f64 = 0.5;
const VARIANT: Variant = Variant::Base;
const UNKNOWN_RATE: &str = "a moderate rate is not known: no slice at saturation was good";

/// A server at work, and where its key lies.
struct Started {
    id: String,
    place: KeyPlace,
    kind: Kind,
    server: Shared,
}

impl Conduct<'_> {
    pub(super) fn tokens(&mut self) -> Result<()> {
        let all = [Experiment::Token2Ms, Experiment::Token10Ms, Experiment::TokenVerify];
        for experiment in all.into_iter().filter(|experiment| self.study.wants(*experiment)) {
            match experiment.token() {
                Some(traits) if experiment.is_token_rate() => {
                    self.token_rates(experiment, traits)?;
                }
                Some(traits) => self.token_verify(experiment, traits)?,
                None => {}
            }
        }
        if self.study.wants(Experiment::TokenHang) { self.token_hang() } else { Ok(()) }
    }

    /// As many handshakes as go; then all at a rate that none of them minds.
    fn token_rates(&mut self, experiment: Experiment, traits: TokenTraits) -> Result<()> {
        let servers = self.start_with_tokens(traits, experiment)?;
        let tools = self.tools(self.study.client_cpus.clone());
        let mut loads: Vec<Box<dyn Contestant>> = Vec::new();
        for started in &servers {
            loads.push(self.rate_slice(experiment, started, &tools, None));
        }
        let cells = self.rounds.run(&mut loads, self.study.rounds, true)?;
        let rates: Vec<Option<f64>> = cells.iter().map(|cell| median(&cell.detail(RATE))).collect();
        self.cells.extend(cells);
        match experiment.at_a_rate() {
            Some(at_a_rate) => self.token_latency(at_a_rate, &servers, &rates, &tools),
            None => Ok(()),
        }
    }

    /// Each as the machine is, and with its CPUs kept awake.
    fn token_latency(
        &mut self,
        experiment: Experiment,
        servers: &[Started],
        rates: &[Option<f64>],
        tools: &Rc<Tools>,
    ) -> Result<()> {
        let software = servers.iter().position(|started| started.place == KeyPlace::Software);
        let software = software.and_then(|place| rates[place]);
        let mut loads: Vec<Box<dyn Contestant>> = Vec::new();
        for (started, own) in servers.iter().zip(rates) {
            match software.zip(*own) {
                Some((software, own)) => {
                    let rate = (software * MODERATE).min(own * OWN_SHARE);
                    for idling in Idling::ALL {
                        let at = Some((rate, idling));
                        loads.push(self.rate_slice(experiment, started, tools, at));
                    }
                }
                None => self.leave_out(&latency_keys(experiment, &started.id), UNKNOWN_RATE),
            }
        }
        let cells = self.rounds.run(&mut loads, self.study.rounds, true)?;
        self.cells.extend(cells);
        Ok(())
    }

    fn rate_slice(
        &self,
        experiment: Experiment,
        started: &Started,
        tools: &Rc<Tools>,
        at: Option<(f64, Idling)>,
    ) -> Box<dyn Contestant> {
        let (rate, idling) =
            at.map_or((None, Idling::AsItIs), |(rate, idling)| (Some(rate), idling));
        let awake_cpus = match idling {
            Idling::AsItIs => Vec::new(),
            Idling::Awake => self.study.used_cpus(),
        };
        Box::new(RateSlice {
            key: Self::key(experiment, VARIANT, 1, &token::latency_id(&started.id, idling)),
            tools: Rc::clone(tools),
            server: Rc::clone(&started.server),
            place: started.place,
            kind: started.kind,
            rate,
            // More than any system has shown on one core; known better after the first slice.
            last_rate: 6000.0,
            lane_cpus: self.study.token_cpus.len(),
            awake_cpus,
        })
    }

    /// The same engine with and without a verification of each signature, as many handshakes as go.
    fn token_verify(&mut self, experiment: Experiment, traits: TokenTraits) -> Result<()> {
        let tools = self.tools(self.study.client_cpus.clone());
        let mut loads: Vec<Box<dyn Contestant>> = Vec::new();
        let engines = self.study.systems.iter().filter(|one| one.kind == Kind::Countersign);
        for (system, verify) in engines.flat_map(|one| VerifyOwn::ALL.map(|verify| (one, verify))) {
            let id = token::verify_id(system, verify);
            let place = KeyPlace::TokenInProcess;
            let token = self.token_folder(&id, traits);
            let server = token.and_then(|token| {
                self.start_with_token(&verify.set(system), place, Some(&token), false)
            });
            match server {
                Ok(server) => {
                    self.note_tickets(system, &server);
                    let started = Started { id, place, kind: system.kind, server };
                    loads.push(self.rate_slice(experiment, &started, &tools, None));
                }
                Err(problem) => {
                    interrupt::look()?;
                    self.leave_out(&[(experiment, id)], &problem.to_string());
                }
            }
        }
        let cells = self.rounds.run(&mut loads, self.study.rounds, true)?;
        self.cells.extend(cells);
        Ok(())
    }

    /// Starts every system with its key in each place that it can have it.
    fn start_with_tokens(
        &mut self,
        traits: TokenTraits,
        experiment: Experiment,
    ) -> Result<Vec<Started>> {
        let mut servers = Vec::new();
        for system in &self.study.systems {
            for &place in token::places(system.kind) {
                let id = token::rate_id(system, place);
                let folder = match place {
                    KeyPlace::Software => Ok(None),
                    _ => self.token_folder(&id, traits).map(Some),
                };
                let server = folder.and_then(|folder| {
                    self.start_with_token(system, place, folder.as_ref(), false)
                });
                match server {
                    Ok(server) => {
                        self.note_tickets(system, &server);
                        servers.push(Started { id, place, kind: system.kind, server });
                    }
                    Err(problem) => {
                        interrupt::look()?;
                        let mut keys = vec![(experiment, id.clone())];
                        keys.extend(
                            experiment.at_a_rate().iter().flat_map(|one| latency_keys(*one, &id)),
                        );
                        self.leave_out(&keys, &problem.to_string());
                    }
                }
            }
        }
        Ok(servers)
    }

    fn note_tickets(&mut self, system: &System, server: &Shared) {
        let tickets = server.borrow().tickets;
        if let Some(tickets) = tickets {
            self.know_tickets(&system.id, tickets);
        }
    }

    fn start_with_token(
        &self,
        system: &System,
        place: KeyPlace,
        token: Option<&TokenFolder>,
        has_both: bool,
    ) -> Result<Shared> {
        say(&format!("starting {}", token::rate_id(system, place)), true);
        let cpus = [self.study.server_cpu];
        let task = TokenTask { place, token, has_both, cpus: &cpus, aside: &self.study.token_cpus };
        let server = Server::start_with_token(system, self.place, VARIANT, &task)?;
        Ok(Rc::new(RefCell::new(server)))
    }

    /// A token of its own for each server.
    fn token_folder(&self, id: &str, traits: TokenTraits) -> Result<TokenFolder> {
        let name = format!("{id}-{}ms", traits.latency.as_millis());
        let module: &Path = &self.study.test_token;
        let key = self.pki.server_key(VARIANT.server_key());
        TokenFolder::make(&self.place.directory.join(name), module, traits, key)
    }

    /// Cells that say why there is no number.
    fn leave_out(&mut self, rows: &[(Experiment, String)], words: &str) {
        for (experiment, id) in rows {
            say(&format!("{experiment} {id}: {words}"), false);
            let key = Self::key(*experiment, VARIANT, 1, id);
            self.cells.push(Cell::without_number(key, words));
        }
    }

    /// The same worker with one key in software and one in a token that hangs.
    fn token_hang(&mut self) -> Result<()> {
        let tools = self.tools(self.study.client_cpus.clone());
        let others = Rc::new(Generator {
            name: "loadgen-of-token",
            program: self.study.loadgen.clone(),
            cpus: self.study.client_cpus.clone(),
            directory: self.place.directory.to_owned(),
        });
        let mut loads: Vec<Box<dyn Contestant>> = Vec::new();
        let engines = self.study.systems.iter().filter(|one| one.kind == Kind::Countersign);
        for system in engines {
            let (server, token, rate) = match self.hang_server(system, &tools) {
                Ok(started) => started,
                Err(problem) => {
                    interrupt::look()?;
                    for beside in Beside::ALL {
                        let id = token::hang_id(system, beside);
                        self.leave_out(&[(Experiment::TokenHang, id)], &problem.to_string());
                    }
                    continue;
                }
            };
            for beside in Beside::ALL {
                let id = token::hang_id(system, beside);
                let key = Self::key(Experiment::TokenHang, VARIANT, 1, &id);
                let (tools, others) = (Rc::clone(&tools), Rc::clone(&others));
                let (server, token) = (Rc::clone(&server), Rc::clone(&token));
                loads.push(Box::new(HangSlice { key, tools, server, token, beside, others, rate }));
            }
        }
        let cells = self.rounds.run(&mut loads, self.study.rounds, true)?;
        self.cells.extend(cells);
        Ok(())
    }

    /// A server with both keys, its token, and a rate that leaves it half idle with both.
    fn hang_server(
        &mut self,
        system: &System,
        tools: &Rc<Tools>,
    ) -> Result<(Shared, Rc<RefCell<TokenFolder>>, f64)> {
        let token = self.token_folder(&format!("{}-hang", system.id), hang::TOKEN)?;
        let server = self.start_with_token(system, KeyPlace::TokenInProcess, Some(&token), true)?;
        let servers = [(system.id.clone(), Rc::clone(&server))];
        let mut probing = contestants(&[Experiment::FullSeen], VARIANT, 1, &servers, tools);
        let probes = self.rounds.run(&mut probing, PROBE_ROUNDS, true)?;
        let saturated = probes.first().and_then(|cell| median(&cell.detail(RATE)));
        let saturated = saturated.ok_or_else(|| Problem::new(UNKNOWN_RATE))?;
        Ok((server, Rc::new(RefCell::new(token)), saturated * BESIDE))
    }
}

/// The rows at a set rate of a server, by the id of its row where as many handshakes as go.
fn latency_keys(experiment: Experiment, rate_id: &str) -> Vec<(Experiment, String)> {
    Idling::ALL.map(|idling| (experiment, token::latency_id(rate_id, idling))).to_vec()
}
