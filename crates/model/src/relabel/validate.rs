//! What Alloy refuses in a rule, in its words, so that a message can be looked up.

use super::{Action, Config, DEFAULT_REGEX, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR, NameScheme};
use crate::re2::SyntaxError;

/// Why a rule was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Error {
    #[error("unrecognized action type {0:?}")]
    UnknownAction(Box<str>),
    #[error("relabel action cannot be empty")]
    EmptyAction,
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    NoModulus,
    #[error("relabel configuration for {0} action requires 'target_label' value")]
    NoTarget(Action),
    #[error("{1:?} is invalid 'target_label' for {0} action")]
    InvalidTarget(Action, Box<str>),
    #[error("'replacement' can not be set for {0} action")]
    SuperfluousReplacement(Action),
    #[error("{1:?} is invalid 'replacement' for {0} action")]
    InvalidReplacement(Action, Box<str>),
    #[error("{0} action requires only 'regex', and no other fields")]
    OnlyRegex(Action),
    #[error("{0} action requires only 'source_labels' and 'target_label', and no other fields")]
    OnlySourceAndTarget(Action),
    #[error("{0}")]
    Regex(#[from] SyntaxError),
}

/// Whether a label may have this name.
#[must_use]
pub fn is_valid_label_name(name: &str, scheme: NameScheme) -> bool {
    match scheme {
        NameScheme::Utf8 => !name.is_empty(),
        NameScheme::Legacy => {
            let mut bytes = name.bytes();
            bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        }
    }
}

pub(super) fn check(config: &Config) -> Result<(), Error> {
    use Action::{DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase};

    let action = config.action;
    if action == HashMod && config.modulus == 0 {
        return Err(Error::NoModulus);
    }
    let writes_or_compares = matches!(action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
    if writes_or_compares && config.target_label.is_empty() {
        return Err(Error::NoTarget(action));
    }
    if action == Replace && config.target_label.contains('$') && !is_name_template(&config.target_label) {
        return Err(Error::InvalidTarget(action, config.target_label.as_str().into()));
    }
    if matches!(action, Lowercase | Uppercase | KeepEqual | DropEqual) && config.replacement != DEFAULT_REPLACEMENT {
        return Err(Error::SuperfluousReplacement(action));
    }
    if action == LabelMap && !is_name_template(&config.replacement) {
        return Err(Error::InvalidReplacement(action, config.replacement.as_str().into()));
    }
    let only_defaults = config.modulus == 0 && config.separator == DEFAULT_SEPARATOR && config.replacement == DEFAULT_REPLACEMENT;
    if matches!(action, LabelDrop | LabelKeep) && !(only_defaults && config.source_labels.is_empty() && config.target_label.is_empty()) {
        return Err(Error::OnlyRegex(action));
    }
    if matches!(action, KeepEqual | DropEqual) && !(only_defaults && config.regex == DEFAULT_REGEX) {
        return Err(Error::OnlySourceAndTarget(action));
    }
    Ok(())
}

/// Whether `text` is a sequence of letters, digits, `_`, `$x` and `${x}` that does not begin with a digit: what Prometheus calls a valid
/// target where groups are inserted. (Its expression lets nothing but a digit at the beginning or a broken group fail.)
fn is_name_template(text: &str) -> bool {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let mut rest = text.as_bytes();
    let mut may_be_digit = false;
    if rest.is_empty() {
        return false;
    }
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            b'$' => {
                let (inner, braced) = after.strip_prefix(b"{").map_or((after, false), |inner| (inner, true));
                let len = inner.iter().take_while(|b| is_word(b)).count();
                if len == 0 || (braced && inner.get(len) != Some(&b'}')) {
                    return false;
                }
                &inner[len + usize::from(braced)..]
            }
            b if is_word(&b) && (may_be_digit || !b.is_ascii_digit()) => after,
            _ => return false,
        };
        may_be_digit = true;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_templates_are_those_of_prometheus() {
        // The validity cases that Prometheus documents in its tests, and a few more at the borders.
        for valid in
            ["label", "label${1}", "${1}label", "${1}", "$1", "asd$2asd", "_${1}_", "foo${bar}foo", "a1", "$1$2", "a_$1_b", "${a}${b}"]
        {
            assert!(is_name_template(valid), "{valid}");
        }
        for invalid in
            ["-label", "${", "$", "${}", "foo${", "-foo${1}bar-", "bar.foo${1}bar", "", "1a", "0${3}", "a-", "a$", "a$-b", "${a-b}", "é"]
        {
            assert!(!is_name_template(invalid), "{invalid}");
        }
    }

    #[test]
    fn legacy_names_are_narrower() {
        for (name, legacy) in [("a", true), ("_a1", true), ("1a", false), ("a.b", false), ("é", false), ("a:b", false)] {
            assert_eq!(is_valid_label_name(name, NameScheme::Legacy), legacy, "{name}");
            assert!(is_valid_label_name(name, NameScheme::Utf8), "{name}");
        }
        assert!(!is_valid_label_name("", NameScheme::Utf8));
        assert!(!is_valid_label_name("", NameScheme::Legacy));
    }
}
