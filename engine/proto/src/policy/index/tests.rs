use super::*;
use crate::policy::tests::client;
use crate::policy::{Decision, Policy};

/// What [`Policy::decide`] must say: every rule tried, one after the other.
fn by_trying(policy: &Policy, client: &ClientIdentity) -> Decision {
    let first = |action| {
        let mut rules = policy.rules().iter();
        rules.position(|rule| rule.action() == action && rule.matches(client))
    };
    match (first(Action::Deny), first(Action::Allow)) {
        (Some(rule), _) => Decision::Denied { rule: Some(rule) },
        (None, Some(rule)) => Decision::Allowed { rule },
        (None, None) => Decision::Denied { rule: None },
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// Few names, so that rules and clients meet often; the pairs that only a careful reader tells apart among them.
const NAMES: &[&str] = &[
    "cn=a",
    "cn=A",
    "cn=b",
    "o=a",
    "o=b",
    "ou=a",
    "ou=b",
    "dns=a.example",
    "dns=A.EXAMPLE",
    "dns=a.example.",
    "dns=b.example",
    "dns=*.example",
    "uri=spiffe://example/a",
    "uri=spiffe://example/A",
    "ip=10.0.0.1",
    "ip=10.0.0.2",
    "ip=::ffff:10.0.0.1",
    "ip=2001:db8::1",
    "email=a@example",
    "email=a@EXAMPLE",
    "email=A@example",
    "email=a",
];

/// Rules that no name stands for, and stars.
const RULES: &[&str] = &[
    "cn=*",
    "cn=a*",
    "o=*b",
    "ou=**",
    "dns=*.example",
    "dns=**",
    "uri=spiffe://example/*",
    "ip=10.0.0.0/30",
    "ip=::/0",
    "ip=2001:db8::/32",
    "email=*@example",
    "email=a@*",
    "any-verified",
    "anonymous",
];

fn random_clients(random: &mut Random) -> Vec<ClientIdentity> {
    let client_of = |random: &mut Random| {
        let names: Vec<&str> = (0..random.below(5)).map(|_| random.one_of(NAMES)).collect();
        client(&names)
    };
    (0..200).map(|_| client_of(random)).collect()
}

fn random_rule(random: &mut Random, clients: &[ClientIdentity]) -> Option<Rule> {
    let someone = &clients[random.below(clients.len())];
    let text = match random.below(10) {
        0..=4 => random.one_of(NAMES).to_owned(),
        5 => random.one_of(RULES).to_owned(),
        6 => format!("spki-sha256={}", someone.spki_sha256_hex()),
        7 => format!("sha256={}", someone.sha256_hex()),
        // Without names there is no issuer either; such a text is refused below.
        _ => format!("issuer-serial={}@{}", someone.serial(), someone.issuer()),
    };
    // Some names and some denials are no rules: `a.example.`, `deny any-verified`.
    let parse = if random.below(2) == 0 { Rule::parse_allow } else { Rule::parse_deny };
    parse(&text).ok()
}

#[test]
fn looking_up_and_trying_agree() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let clients = random_clients(&mut random);
    let (mut allowed, mut denied, mut unknown) = (0, 0, 0);
    for _ in 0..2_000 {
        let count = random.below(12);
        let rules = (0..count).filter_map(|_| random_rule(&mut random, &clients)).collect();
        let policy = Policy::new(rules);
        for client in &clients {
            let decision = policy.decide(client);
            assert_eq!(decision, by_trying(&policy, client), "{:?}\n{client:?}", policy.rules());
            match decision {
                Decision::Allowed { .. } => allowed += 1,
                Decision::Denied { rule: Some(_) } => denied += 1,
                Decision::Denied { rule: None } => unknown += 1,
            }
        }
    }
    let fewest = allowed.min(denied).min(unknown);
    assert!(fewest > 20_000, "{allowed} allowed, {denied} denied, {unknown} by no rule: too few");
}

/// Every kind of rule on an exact value, `count` of them, and none of them about [`someone`].
fn strangers(count: usize) -> Vec<Rule> {
    let rule = |number: usize| {
        let text = match number % 10 {
            0 => format!("cn=client-{number}"),
            1 => format!("o=Organization {number}"),
            2 => format!("ou=Unit {number}"),
            3 => format!("dns=client-{number}.example"),
            4 => format!("uri=spiffe://example/client/{number}"),
            5 => format!("ip=2001:db8::{number:x}"),
            6 => format!("email=client-{number}@example"),
            7 => format!("spki-sha256={number:064x}"),
            8 => format!("issuer-serial={number:x}@CN=Example CA"),
            _ if number % 20 == 9 => format!("cn=other-{number}"),
            _ => return Rule::parse_allow(&format!("sha256={number:064x}")).expect("a rule"),
        };
        let is_allow = number % 4 < 2;
        let parse = if is_allow { Rule::parse_allow } else { Rule::parse_deny };
        parse(&text).expect("a rule")
    };
    (0..count).map(rule).collect()
}

fn someone() -> ClientIdentity {
    client(&[
        "cn=someone",
        "o=Example",
        "ou=Example",
        "dns=someone.example",
        "uri=spiffe://example/someone",
        "ip=192.0.2.7",
        "email=someone@example",
    ])
}

#[test]
fn no_rule_on_an_exact_value_is_tried() {
    let policy = Policy::new(strangers(10_000));
    assert_eq!(policy.decide(&someone()), Decision::Denied { rule: None });
    assert!(policy.allow.tried.is_empty() && policy.deny.tried.is_empty());
    let policy = Policy::new(vec![
        Rule::parse_allow("cn=a*").expect("a rule"),
        Rule::parse_allow("cn=a").expect("a rule"),
        Rule::parse_allow("ip=10.0.0.0/8").expect("a rule"),
        Rule::parse_allow("anonymous").expect("a rule"),
        Rule::parse_allow("any-verified").expect("a rule"),
    ]);
    assert_eq!(policy.allow.tried, [0, 2, 4]);
}
