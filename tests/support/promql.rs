//! Which metrics a PromQL expression reads. No parser: what is no metric's name is taken away, and what is left is one.

use std::collections::BTreeSet;

/// Words that are neither metrics nor functions.
const KEYWORDS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "inf", "nan", "atan2"];
/// What is followed by a list of labels.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The metrics that `expression` reads.
pub fn metrics(expression: &str) -> BTreeSet<String> {
    let bare = without_labels(&without_quoted(expression));
    let mut found = BTreeSet::new();
    let mut rest = bare.as_str();
    while let Some(start) = rest.find(is_word) {
        let word_and_rest = &rest[start..];
        let end = word_and_rest.find(|character| !is_word(character)).unwrap_or(word_and_rest.len());
        let (word, after) = word_and_rest.split_at(end);
        rest = after;
        let is_function = after.trim_start().starts_with('(');
        let is_name = word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if is_name && !is_function && !KEYWORDS.contains(&word.to_ascii_lowercase().as_str()) {
            found.insert(word.to_owned());
        }
    }
    found
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == ':'
}

/// Takes away strings, then what stands in braces and brackets: matchers and ranges.
fn without_quoted(expression: &str) -> String {
    let mut bare = String::new();
    let (mut quote, mut depth, mut escaped) = (None, 0_u32, false);
    for character in expression.chars() {
        match quote {
            Some(open) => {
                if character == open && !escaped {
                    quote = None;
                }
                escaped = character == '\\' && !escaped;
            }
            None => match character {
                '"' | '\'' | '`' => quote = Some(character),
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                character if depth == 0 => bare.push(character),
                _ => {}
            },
        }
    }
    bare
}

/// Takes away `by (…)` and its like.
fn without_labels(expression: &str) -> String {
    let mut bare = String::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_word) {
        let (before, from_word) = rest.split_at(start);
        bare.push_str(before);
        let end = from_word.find(|character| !is_word(character)).unwrap_or(from_word.len());
        let (word, after) = from_word.split_at(end);
        rest = after;
        if !BEFORE_LABELS.contains(&word) {
            bare.push_str(word);
            continue;
        }
        if let Some(labels) = after.trim_start().strip_prefix('(') {
            // Between two words a list may be missing; where there is one it ends at the first bracket.
            rest = labels.split_once(')').map_or("", |(_, rest)| rest);
        }
    }
    bare.push_str(rest);
    bare
}

#[test]
fn names_are_found_among_all_that_is_none() {
    let names = |expression| metrics(expression).into_iter().collect::<Vec<_>>();
    assert_eq!(names("rate(a_total{job=~\"$job\", x=\"b\\\"}c\"}[5m]) > 0.5 or b:c:sum offset 5m"), ["a_total", "b:c:sum"]);
    assert_eq!(names("sum without (state) (a) != on (job) group_left count by (job, x) (b)"), ["a", "b"]);
    assert_eq!(names("a and on (job) b unless c == bool 1e3 or vector(0)"), ["a", "b", "c"]);
}
