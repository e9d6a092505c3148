//! Matches a rule's pattern. Most patterns that people write are a few words (`node|kubelet`) or one wildcard between fixed texts
//! (`(.*)`, `__meta_(.+)`, `.*-metrics`); these are seen in the syntax tree and compared without a regular expression engine.

use regex::{Captures, Regex};
use regex_syntax::hir::{Capture, Hir, HirKind, Look, Repetition};

use crate::re2::{self, SyntaxError, Translation};

/// More words than this go to the engine.
const MAX_WORDS: usize = 64;
/// And so do longer ones, lest nested counted repetitions unfold to megabytes.
const MAX_WORD_BYTES: usize = 1024;

/// A pattern that has to match the whole text.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    /// One of these words, sorted. The only group, if it is asked for, holds all of it.
    Words(Box<[Box<str>]>),
    /// Anything between two fixed texts. The only group holds the middle.
    Affix { prefix: Box<str>, suffix: Box<str>, min_bytes: usize },
    /// Whatever else.
    Engine(Regex),
}

/// The groups of a match.
pub(super) enum Groups<'t> {
    /// The whole text and the only group. If the pattern has no group, none is asked for.
    Simple(&'t str, &'t str),
    /// As the engine found them.
    Engine(Captures<'t>),
}

impl<'t> Groups<'t> {
    /// The text of a group that took part.
    pub(super) fn get(&self, group: usize) -> Option<&'t str> {
        match (self, group) {
            (Self::Simple(whole, _), 0) => Some(whole),
            (Self::Simple(_, first), 1) => Some(first),
            (Self::Simple(..), _) => None,
            (Self::Engine(captures), group) => captures.get(group).map(|found| found.as_str()),
        }
    }

    /// Where the match lies in the text.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        match self {
            Self::Simple(whole, _) => 0..whole.len(),
            Self::Engine(captures) => captures.get(0).map_or(0..0, |found| found.range()),
        }
    }
}

impl Matcher {
    /// Compiles a pattern. `needs_groups` says whether its groups will be asked for.
    pub(super) fn new(pattern: &Translation, needs_groups: bool) -> Result<Self, SyntaxError> {
        match simple(&pattern.hir()?, needs_groups) {
            Some(simple) => Ok(simple),
            None => Ok(Self::Engine(pattern.compile()?)),
        }
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Words(words) => words.binary_search_by(|word| (**word).cmp(text)).is_ok(),
            Self::Affix { prefix, suffix, min_bytes } => middle(text, prefix, suffix, *min_bytes).is_some(),
            Self::Engine(regex) => regex.is_match(text),
        }
    }

    pub(super) fn groups<'t>(&self, text: &'t str) -> Option<Groups<'t>> {
        match self {
            Self::Words(_) => self.is_match(text).then_some(Groups::Simple(text, text)),
            Self::Affix { prefix, suffix, min_bytes } => middle(text, prefix, suffix, *min_bytes).map(|mid| Groups::Simple(text, mid)),
            Self::Engine(regex) => regex.captures(text).map(Groups::Engine),
        }
    }
}

fn middle<'t>(text: &'t str, prefix: &str, suffix: &str, min_bytes: usize) -> Option<&'t str> {
    text.strip_prefix(prefix)?.strip_suffix(suffix).filter(|middle| middle.len() >= min_bytes)
}

fn simple(hir: &Hir, needs_groups: bool) -> Option<Matcher> {
    let parts = match hir.kind() {
        HirKind::Concat(parts) => &parts[..],
        _ => std::slice::from_ref(hir),
    };
    let parts = between_anchors(parts)?;
    if let Some(affix) = affix(parts) {
        return Some(affix);
    }
    let parts = match parts {
        // A group around all of it is the text itself.
        [one] => match one.kind() {
            HirKind::Capture(Capture { index: 1, sub, .. }) => std::slice::from_ref(&**sub),
            _ => parts,
        },
        _ => parts,
    };
    if needs_groups && parts.iter().any(|part| part.properties().explicit_captures_len() > 0) {
        return None;
    }
    let mut words = words_of_all(parts)?;
    words.sort_unstable();
    words.dedup();
    Some(Matcher::Words(words.into_iter().map(String::into_boxed_str).collect()))
}

/// What stands between `\A` and `\z`, of which there may be several.
fn between_anchors(parts: &[Hir]) -> Option<&[Hir]> {
    let is = |part: &&Hir, look: Look| matches!(part.kind(), HirKind::Look(found) if *found == look);
    let starts = parts.iter().take_while(|part| is(part, Look::Start)).count();
    let ends = parts.iter().rev().take_while(|part| is(part, Look::End)).count();
    (starts > 0 && ends > 0).then(|| &parts[starts..parts.len() - ends])
}

/// A wildcard, alone or between literals.
fn affix(parts: &[Hir]) -> Option<Matcher> {
    let (prefix, parts) = match parts {
        [first, rest @ ..] if !rest.is_empty() => literal(first).map_or(("", parts), |text| (text, rest)),
        _ => ("", parts),
    };
    let (suffix, parts) = match parts {
        [rest @ .., last] if !rest.is_empty() => literal(last).map_or(("", parts), |text| (text, rest)),
        _ => ("", parts),
    };
    let [wildcard] = parts else { return None };
    let repetition = match wildcard.kind() {
        HirKind::Capture(Capture { index: 1, sub, .. }) => sub,
        _ => wildcard,
    };
    let HirKind::Repetition(Repetition { min: min @ (0 | 1), max: None, sub, .. }) = repetition.kind() else { return None };
    is_any_char(sub).then(|| Matcher::Affix { prefix: prefix.into(), suffix: suffix.into(), min_bytes: *min as usize })
}

fn is_any_char(hir: &Hir) -> bool {
    *hir == Hir::dot(regex_syntax::hir::Dot::AnyChar)
}

fn literal(hir: &Hir) -> Option<&str> {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok(),
        _ => None,
    }
}

/// All texts that a part can match, if they are few.
fn words(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(_) => Some(vec![literal(hir)?.to_owned()]),
        HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => {
            let count: usize = class.iter().map(|range| range.len()).sum();
            (count <= MAX_WORDS).then(|| class.iter().flat_map(|range| range.start()..=range.end()).map(String::from).collect())
        }
        HirKind::Capture(capture) => words(&capture.sub),
        HirKind::Repetition(Repetition { min, max: Some(max), sub, .. }) if *max <= MAX_WORDS as u32 => repeated(*min, *max, &words(sub)?),
        HirKind::Concat(parts) => words_of_all(parts),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(words(part)?);
            }
            (all.len() <= MAX_WORDS).then_some(all)
        }
        _ => None,
    }
}

fn words_of_all(parts: &[Hir]) -> Option<Vec<String>> {
    parts.iter().try_fold(vec![String::new()], |heads, part| products(&heads, &words(part)?))
}

fn repeated(min: u32, max: u32, words: &[String]) -> Option<Vec<String>> {
    let (mut all, mut runs) = (Vec::new(), vec![String::new()]);
    for count in 0..=max {
        if count >= min {
            all.extend(runs.iter().cloned());
        }
        if count < max {
            runs = products(&runs, words)?;
        }
    }
    (all.len() <= MAX_WORDS).then_some(all)
}

/// Every head followed by every tail.
fn products(heads: &[String], tails: &[String]) -> Option<Vec<String>> {
    let longest = |words: &[String]| words.iter().map(String::len).max().unwrap_or_default();
    if heads.len() * tails.len() > MAX_WORDS || longest(heads) + longest(tails) > MAX_WORD_BYTES {
        return None;
    }
    Some(heads.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect())
}

/// Compiles a relabel pattern: translated from RE2, anchored, with its group names.
pub(super) fn translate(pattern: &str) -> Result<Translation, SyntaxError> {
    re2::translate_anchored(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(pattern: &str, needs_groups: bool) -> &'static str {
        match Matcher::new(&translate(pattern).unwrap(), needs_groups).unwrap() {
            Matcher::Words(_) => "words",
            Matcher::Affix { .. } => "affix",
            Matcher::Engine(_) => "engine",
        }
    }

    #[test]
    fn common_patterns_need_no_engine() {
        for pattern in
            ["foo", "", "foo|bar|foobar", "(foo|bar)", "^foo$", "Succeeded|Failed", "(?i)ok", "https?", "[Pp]rod", "a{2,3}", "x|"]
        {
            assert_eq!(kind(pattern, true), "words", "{pattern}");
        }
        for pattern in ["(.*)", ".*", ".+", "(.+)", "__meta_kubernetes_pod_label_(.+)", ".*-metrics", "a(.*)b", "^metrics.*$", "(.*?):9100"]
        {
            assert_eq!(kind(pattern, true), "affix", "{pattern}");
        }
        for pattern in ["(a)b", "(.*):(.*)", r"([^:]+)(?::\d+)?;(\d+)", "[a-z]+", "(?-s).*", "(?i)abcdefg", "a)|(?:b", "(a)|b", r"foo\b"] {
            assert_eq!(kind(pattern, true), "engine", "{pattern}");
        }
        for pattern in ["(a)b", "(a)|b", "(http)(s)?"] {
            assert_eq!(kind(pattern, false), "words", "{pattern}: nobody asks for its groups");
        }
    }

    /// The same corpus that the translator is held against.
    #[test]
    fn every_way_of_matching_agrees_with_go() {
        let corpus: serde_json::Value = serde_json::from_str(include_str!("../../tests/data/go_regexp.json")).unwrap();
        let mut without_engine = 0;
        for entry in corpus.as_array().unwrap().iter().filter(|entry| entry["error"].is_null()) {
            let pattern = entry["pattern"].as_str().unwrap();
            let translation = translate(pattern).unwrap();
            let (plain, grouping) = (Matcher::new(&translation, false).unwrap(), Matcher::new(&translation, true).unwrap());
            without_engine += usize::from(!matches!(grouping, Matcher::Engine(_)));
            for case in entry["cases"].as_array().unwrap() {
                let input = case["input"].as_str().unwrap();
                let expected = case["groups"].as_array();
                assert_eq!(plain.is_match(input), expected.is_some(), "{pattern} on {input:?}");
                let got = grouping.groups(input);
                assert_eq!(got.is_some(), expected.is_some(), "{pattern} on {input:?}");
                for (at, group) in expected.into_iter().flatten().enumerate() {
                    assert_eq!(got.as_ref().and_then(|got| got.get(at)), group.as_str(), "{pattern} on {input:?}, group {at}");
                }
            }
        }
        assert!(without_engine > 60, "{without_engine}");
    }

    #[test]
    fn unfolding_words_is_bounded() {
        assert_eq!(kind("((a{60}){60}){60}", false), "engine");
        assert_eq!(kind("(a|b){6}", false), "words");
        assert_eq!(kind("(a|b){7}", false), "engine");
    }
}
