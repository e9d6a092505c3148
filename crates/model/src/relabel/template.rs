//! Templates with `$1`, `${1}` and `${name}`, read and filled in as Go's `regexp.Expand` does. They are read once, when a rule is built.

use std::sync::LazyLock;

use regex::Regex;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// The first of these groups that took part; several only if they share a name.
    Group(Box<[usize]>),
}

/// A template whose names are resolved to the groups of one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Box<[Part]>,
}

impl Template {
    /// Reads a template; `names` are the pattern's groups by number.
    pub(super) fn new(text: &str, names: &[Option<Box<str>>]) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                plain.push('$');
                rest = after;
            } else if let Some((name, after)) = reference(after) {
                flush(&mut plain, &mut parts);
                parts.push(Part::Group(groups(name, names)));
                rest = after;
            } else {
                plain.push('$'); // not a reference: the sign itself
                rest = after;
            }
        }
        plain.push_str(rest);
        flush(&mut plain, &mut parts);
        Self { parts: parts.into() }
    }

    /// Whether it refers to other groups than the whole match.
    pub(super) fn needs_groups(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Group(groups) if groups.iter().any(|group| *group != 0)))
    }

    /// Appends the template to `out`, with `group(i)` for the groups that took part.
    pub(super) fn expand<'t>(&self, out: &mut String, group: impl Fn(usize) -> Option<&'t str>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(groups) => out.push_str(groups.iter().find_map(|at| group(*at)).unwrap_or_default()),
            }
        }
    }
}

fn flush(plain: &mut String, parts: &mut Vec<Part>) {
    if !plain.is_empty() {
        parts.push(Part::Text(std::mem::take(plain).into()));
    }
}

/// The name at the start of `text` (what follows a `$`), with or without braces, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    if let Some(inner) = text.strip_prefix('{') {
        let len = name_len(inner);
        return if len > 0 { inner[len..].strip_prefix('}').map(|after| (&inner[..len], after)) } else { None };
    }
    let len = name_len(text);
    (len > 0).then(|| text.split_at(len))
}

/// How many bytes at the start of `text` are letters, digits and `_`, where letters and digits are those of Unicode (categories L and Nd).
fn name_len(text: &str) -> usize {
    static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{Nd}_]*").ok());
    let ascii = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    if text[ascii..].starts_with(|c: char| !c.is_ascii()) {
        return NAME.as_ref().and_then(|name| name.find(text)).map_or(ascii, |found| found.end());
    }
    ascii
}

/// The groups that a name stands for. A number with leading zeros is a name, and no group can have it unless it is called so.
fn groups(name: &str, names: &[Option<Box<str>>]) -> Box<[usize]> {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if is_number {
        return name.parse().ok().filter(|number| *number < names.len()).into_iter().collect();
    }
    names.iter().enumerate().filter(|(_, known)| known.as_deref() == Some(name)).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::re2;

    /// Templates with what Go 1.26 makes of them, for this pattern on `aabbbe`.
    const PATTERN: &str = "(a+)(?P<name>b+)(?P<opt>c)?(?P<dup>d)?(?P<dup>e)?";
    #[rustfmt::skip]
    const EXPANSIONS: [(&str, &str); 50] = [
        ("", ""), ("x", "x"), ("$1", "aa"), ("${1}", "aa"), ("$0", "aabbbe"), ("$2$1", "bbbaa"), ("$1x", ""), ("${1}x", "aax"),
        ("$1_", ""), ("$1-$2", "aa-bbb"), ("${2}-$1x-$$", "bbb--$"), ("$$1", "$1"), ("$", "$"), ("a$", "a$"), ("${", "${"),
        ("${}", "${}"), ("${1", "${1"), ("$ 1", "$ 1"), ("${ 1}", "${ 1}"), ("$name", "bbb"), ("${name}", "bbb"), ("$namex", ""),
        ("${opt}", ""), ("[$opt]", "[]"), ("$dup", "e"), ("${dup}", "e"), ("$3", ""), ("$9", ""), ("$99999999999", ""), ("$01", ""),
        ("${01}", ""), ("$00", ""), ("é$1é", "é"), ("$1é", ""), ("$1²", "aa²"), ("$é", ""), ("${é}", ""), ("$1$", "aa$"),
        ("$$$1", "$aa"), ("$$$", "$$"), ("${1}${2}", "aabbb"), ("$1$2", "aabbb"), ("${-1}", "${-1}"), ("$-1", "$-1"),
        ("${name", "${name"), ("{$1}", "{aa}"), ("$1\n", "aa\n"), ("\\$1", "\\aa"), ("$10", ""), ("${1a}", ""),
    ];

    #[test]
    fn templates_expand_as_in_go() {
        let translation = re2::translate_anchored(PATTERN).unwrap();
        let regex = translation.compile().unwrap();
        let found = regex.captures("aabbbe").unwrap();
        for (text, expected) in EXPANSIONS {
            let mut out = String::new();
            let template = Template::new(text, &translation.group_names);
            template.expand(&mut out, |group| found.get(group).map(|found| found.as_str()));
            assert_eq!(out, expected, "{text:?}");
        }
    }

    #[test]
    fn groups_are_needed_only_where_one_is_referred_to() {
        let names = [None, None];
        let template = |text| Template::new(text, &names);
        assert!(!template("a$$b").needs_groups());
        assert!(!template("$0").needs_groups(), "the whole match is no group");
        assert!(template("$1").needs_groups());
        assert!(!template("$2").needs_groups(), "there is no such group");
    }
}
