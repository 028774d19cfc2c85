//! Who may come in.

use countersign_proto::Rule;
use countersign_proto::policy::RuleError;

use crate::config::errors::{At, Problems};
use crate::config::raw::RawListener;

/// Rules of a listener, both kinds together.
const RULES_MAX: usize = 10_000;

/// The rules of a listener, `allow` first; `None` if something is wrong with them.
pub(super) fn resolve(raw: &RawListener, problems: &mut Problems<'_>) -> Option<Vec<Rule>> {
    // Absent, it has been missed already.
    let allow = raw.allow.as_ref()?;
    if allow.value.is_empty() {
        problems.error(
            &allow.spot,
            format_args!(
                "no rule lets anybody in; give one such as 'cn=payments-*', 'dns=*.example.org', 'uri=spiffe://example.org/**', or `{}` for every client whose certificate leads to client_ca",
                problems.setting("allow", "\"any-verified\"")
            ),
        );
        return None;
    }
    let deny = raw.deny.as_ref().map_or(&[][..], |at| &at.value);
    let count = allow.value.len() + deny.len();
    if count > RULES_MAX {
        let problem = "patterns such as 'cn=payments-*' stand for many names";
        problems.error(
            &allow.spot,
            format_args!("there are {count} rules with deny; there may be {RULES_MAX}; {problem}"),
        );
        return None;
    }
    let mut rules = parse(&allow.value, Rule::parse_allow, problems);
    rules.extend(parse(deny, Rule::parse_deny, problems));
    (rules.len() == count).then_some(rules)
}

fn parse(
    texts: &[At<String>],
    parse: fn(&str) -> Result<Rule, RuleError>,
    problems: &mut Problems<'_>,
) -> Vec<Rule> {
    texts.iter().filter_map(|at| problems.keep(&at.spot, parse(&at.value))).collect()
}
