//! Who may come in, and who would by the shadow rules.

use std::collections::BTreeSet;

use countersign_proto::Rule;
use countersign_proto::policy::{Matcher, RuleError};

use crate::config::errors::{At, Problems, quoted};
use crate::config::raw::RawListener;

/// Rules of a listener, both kinds together; and so many shadow rules beside them.
const RULES_MAX: usize = 10_000;

/// The rules of a listener, `allow` first.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) live: Vec<Rule>,
    /// Those of the shadow policy, if there is one.
    pub(super) shadow: Option<Vec<Rule>>,
}

/// The texts at a key.
type Texts = At<Vec<At<String>>>;

/// The rules of a listener; `None` if something is wrong with them.
pub(super) fn resolve(raw: &RawListener, problems: &mut Problems<'_>) -> Option<Rules> {
    let mut reader = Reader { domains: trust_domains(raw), problems };
    // Absent, it has been missed already.
    let (allow, deny) = (raw.allow.as_ref(), raw.deny.as_ref());
    let live = allow.filter(|allow| reader.lets_somebody_in("allow", allow));
    let live = live.filter(|allow| reader.are_not_too_many(allow, deny));
    let live_allow = live.and_then(|allow| reader.read(&allow.value, Rule::parse_allow));
    let live_deny = live.and_then(|_| reader.read(values(deny), Rule::parse_deny));
    let shadow = match (raw.shadow_allow.as_ref(), raw.shadow_deny.as_ref()) {
        (None, None) => None,
        (Some(allow), own_deny) => {
            let is_right = reader.lets_somebody_in("shadow_allow", allow)
                && reader.are_not_too_many(allow, own_deny.or(deny));
            let allow = || reader.read(&allow.value, Rule::parse_allow);
            let allow = is_right.then(allow).flatten();
            let deny = match own_deny.filter(|_| is_right) {
                Some(deny) => reader.read(&deny.value, Rule::parse_deny),
                None => live_deny.clone(),
            };
            Some(allow.zip(deny))
        }
        (None, Some(deny)) => {
            let is_right = reader.are_not_too_many(deny, allow);
            let deny = || reader.read(&deny.value, Rule::parse_deny);
            Some(live_allow.clone().zip(is_right.then(deny).flatten()))
        }
    };
    let both = |(allow, deny): (Vec<Rule>, Vec<Rule>)| [allow, deny].concat();
    let live = live_allow.zip(live_deny).map(both)?;
    match shadow {
        None => Some(Rules { live, shadow: None }),
        Some(shadow) => Some(Rules { live, shadow: Some(shadow.map(both)?) }),
    }
}

fn values(texts: Option<&Texts>) -> &[At<String>] {
    texts.map_or(&[], |texts| &texts.value)
}

/// The names that identities of the listener give to trust domains; `None` if one of them is not known.
fn trust_domains(raw: &RawListener) -> Option<BTreeSet<&str>> {
    let is_spoilt = raw.identities.iter().any(|identity| identity.spoilt.contains(&"trust_domain"));
    let names = raw.identities.iter().filter_map(|identity| identity.trust_domain.as_ref());
    (!is_spoilt).then(|| names.map(|at| at.value.as_str()).collect())
}

struct Reader<'a, 'b, 'c> {
    /// What `trust-domain=` may name.
    domains: Option<BTreeSet<&'a str>>,
    problems: &'b mut Problems<'c>,
}

impl Reader<'_, '_, '_> {
    fn lets_somebody_in(&mut self, key: &str, allow: &Texts) -> bool {
        if !allow.value.is_empty() {
            return true;
        }
        let everybody = self.problems.setting(key, "\"any-verified\"");
        self.problems.error(
            &allow.spot,
            format_args!(
                "no rule lets anybody in; give one such as 'cn=payments-*', 'dns=*.example.org', 'uri=spiffe://example.org/**', or `{everybody}` for every client whose certificate leads to client_ca",
            ),
        );
        false
    }

    fn are_not_too_many(&mut self, rules: &Texts, others: Option<&Texts>) -> bool {
        let count = rules.value.len() + values(others).len();
        if count <= RULES_MAX {
            return true;
        }
        let problem = "patterns such as 'cn=payments-*' stand for many names";
        self.problems.error(
            &rules.spot,
            format_args!("there are {count} rules, those that allow and those that deny; there may be {RULES_MAX}; {problem}"),
        );
        false
    }

    /// Every rule, or none if something is wrong with any.
    fn read(
        &mut self,
        texts: &[At<String>],
        parse: fn(&str) -> Result<Rule, RuleError>,
    ) -> Option<Vec<Rule>> {
        let mut rules = Vec::with_capacity(texts.len());
        for at in texts {
            let rule = self.problems.keep(&at.spot, parse(&at.value));
            rules.extend(rule.filter(|rule| self.names_known_domains(at, rule)));
        }
        (rules.len() == texts.len()).then_some(rules)
    }

    /// A rule on a trust domain that is none would never match: to a deny rule that is the wrong side.
    fn names_known_domains(&mut self, at: &At<String>, rule: &Rule) -> bool {
        let Some(domains) = &self.domains else { return true };
        let unknown = rule.terms().iter().find_map(|term| match term {
            Matcher::TrustDomain(name) if !domains.contains(name.as_str()) => Some(name),
            _ => None,
        });
        let Some(name) = unknown else { return true };
        let known: Vec<_> = domains.iter().copied().collect();
        let help = match known.as_slice() {
            [] => format!("give it to one by `trust_domain = \"{name}\"` beside its client_ca"),
            known => format!("theirs are {}", known.join(", ")),
        };
        self.problems.error(
            &at.spot,
            format_args!(
                "no identity of the listener has the trust domain {}; {help}",
                quoted(name.as_str())
            ),
        );
        false
    }
}
