use super::*;

/// The definition, written down: slow, recursive, obviously right.
fn reference(pattern: &[u8], name: &[u8], separator: Option<u8>) -> bool {
    if let Some(rest) = pattern.strip_prefix(b"**") {
        return (0..=name.len()).any(|taken| reference(rest, &name[taken..], separator));
    }
    if let Some(rest) = pattern.strip_prefix(b"*") {
        let run = name.iter().take_while(|&&byte| Some(byte) != separator).count();
        return (0..=run).any(|taken| reference(rest, &name[taken..], separator));
    }
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((expected, pattern)), Some((byte, name))) => {
            expected == byte && reference(pattern, name, separator)
        }
        _ => false,
    }
}

/// All texts over the alphabet up to a length.
fn texts(alphabet: &str, longest: u32) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        let longer =
            |text: &String| alphabet.chars().map(|end| format!("{text}{end}")).collect::<Vec<_>>();
        last = last.iter().flat_map(longer).collect();
        all.extend_from_slice(&last);
    }
    all
}

#[test]
fn every_short_pattern_agrees_with_the_definition_on_every_short_name() {
    for (field, alphabet) in
        [(Field::CommonName, "ab/"), (Field::Uri, "ab/"), (Field::DnsName, "ab.")]
    {
        let names = texts(alphabet, 5);
        let patterns = texts(&format!("{alphabet}*"), 5);
        let mut compared = 0;
        for pattern in &patterns {
            let Ok(glob) = Glob::new(field, pattern) else { continue };
            for name in &names {
                let expected =
                    reference(pattern.as_bytes(), name.as_bytes(), field.syntax().separator);
                assert_eq!(glob.matches(name), expected, "{field:?}: {pattern} on {name}");
                compared += 1;
            }
        }
        assert!(compared > 50_000, "{field:?}: only {compared} pairs");
    }
}

#[test]
fn random_longer_patterns_agree_with_the_definition() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |alphabet: &[u8], longest: u64| -> String {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let length = next() % (longest + 1);
        (0..length)
            .map(|_| char::from(alphabet[(next() % alphabet.len() as u64) as usize]))
            .collect()
    };
    let mut matched = 0;
    for _ in 0..100_000 {
        let (pattern, name) = (draw(b"aab/**", 12), draw(b"aab/", 16));
        let Ok(glob) = Glob::new(Field::Uri, &pattern) else { continue };
        let expected = reference(pattern.as_bytes(), name.as_bytes(), Some(b'/'));
        assert_eq!(glob.matches(&name), expected, "{pattern} on {name}");
        matched += usize::from(expected);
    }
    assert!(matched > 1_000, "only {matched} matches: the test says little");
}

#[test]
fn an_unkind_pattern_costs_the_product_of_the_lengths_and_no_more() {
    // 2^500 ways for who backtracks over each star.
    let pattern = format!("{}b", "*a**a".repeat(400));
    let glob = Glob::new(Field::Uri, &pattern).expect("a pattern");
    assert!(!glob.matches(&"a".repeat(4096)));
    assert!(glob.matches(&format!("{}b", "a".repeat(4096))));
}

#[test]
fn prefix_and_suffix_may_not_overlap() {
    let glob = Glob::new(Field::CommonName, "aba*aba").expect("a pattern");
    assert!(!glob.matches("aba"));
    assert!(!glob.matches("ababa"));
    assert!(glob.matches("abaaba"));
}

#[test]
fn only_dns_folds_case_and_only_ascii() {
    assert!(Glob::new(Field::DnsName, "*.EXAMPLE").expect("a pattern").matches("a.example"));
    assert!(Glob::new(Field::DnsName, "*.b.*").expect("a pattern").matches("a.B.c"));
    assert!(!Glob::new(Field::Uri, "*/EXAMPLE").expect("a pattern").matches("a/example"));
    assert!(
        !Glob::new(Field::DnsName, "k").expect("a pattern").matches("\u{212a}"),
        "KELVIN SIGN is no k"
    );
}
