use super::*;
use crate::policy::glob::{Glob, Syntax};
use crate::policy::matcher::Field;

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

fn compiled(syntax: Syntax, patterns: &[Glob]) -> Trie {
    let tokens: Vec<Box<[Token]>> = patterns.iter().map(|glob| glob.tokens().collect()).collect();
    let mut sorted: Vec<_> =
        tokens.iter().enumerate().map(|(number, tokens)| (&**tokens, number as AtomId)).collect();
    sorted.sort_unstable();
    sorted.dedup_by_key(|(tokens, _)| *tokens);
    let mut trie = Trie::new(syntax.separator, None);
    trie.compile(&sorted);
    trie
}

/// Gives how many patterns fit.
#[track_caller]
fn agrees(trie: &Trie, patterns: &[Glob], name: &str) -> usize {
    let mut found = Vec::new();
    trie.follow(name.as_bytes(), &mut |atom| found.push(atom));
    found.sort_unstable();
    found.dedup();
    let mut of_trie: Vec<Vec<Token>> =
        found.iter().map(|atom| patterns[*atom as usize].tokens().collect()).collect();
    let fits = |pattern: &&Glob| pattern.matches(name);
    let mut of_each: Vec<Vec<Token>> =
        patterns.iter().filter(fits).map(|pattern| pattern.tokens().collect()).collect();
    of_trie.sort_unstable();
    of_each.sort_unstable();
    of_each.dedup();
    assert_eq!(of_trie, of_each, "{name}");
    found.len()
}

#[test]
fn all_short_patterns_at_once_find_what_each_of_them_fits() {
    for (field, alphabet) in [(Field::CommonName, "ab"), (Field::Uri, "a/"), (Field::DnsName, "a.")]
    {
        let patterns: Vec<_> = texts(&format!("{alphabet}*"), 6)
            .iter()
            .filter_map(|pattern| Glob::new(field, pattern).ok())
            .collect();
        let trie = compiled(field.syntax(), &patterns);
        let names = texts(alphabet, 7);
        let found: usize = names.iter().map(|name| agrees(&trie, &patterns, name)).sum();
        assert!(patterns.len() > 150 && found > 2_000, "{field:?}: {} {found}", patterns.len());
    }
}

#[test]
fn more_stars_than_a_few_at_once_are_each_come_to_once() {
    let patterns: Vec<_> = (0..200)
        .map(|number| format!("{}*b{}", "a".repeat(number % 100), "c".repeat(number / 100)))
        .map(|pattern| Glob::new(Field::CommonName, &pattern).expect("a pattern"))
        .collect();
    let trie = compiled(Field::CommonName.syntax(), &patterns);
    for name in ["a".repeat(300) + "b", "a".repeat(50) + "bbbc", "b".to_owned(), "c".to_owned()] {
        agrees(&trie, &patterns, &name);
    }
    let steps = trie.follow("a".repeat(1_000).as_bytes(), &mut |_| {});
    assert!(steps <= 1_000 * (100 + 2), "{steps}");
}

#[test]
fn without_patterns_nothing_is_found() {
    assert_eq!(Trie::new(None, None).follow(b"a", &mut |_| unreachable!()), 0);
}
