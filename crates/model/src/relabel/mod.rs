//! Relabelling: rules that rewrite, keep or drop label sets, with the semantics of Prometheus (`relabel_config`) and the limits and
//! messages of Alloy's `rule` block. Pure: what a label set is (a target, a series, a log stream) is the caller's affair, and so is doing
//! it once per chunk ([`crate::transform`]).

mod matcher;
mod rule;
mod template;
mod validate;

use std::str::FromStr;

use crate::LabelsBuilder;

pub use rule::Rule;
pub use validate::{Error, is_valid_label_name};

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sets `target_label` to `replacement` if `regex` matches the source; both may refer to groups.
    #[default]
    Replace,
    /// Drops the set unless `regex` matches the source.
    Keep,
    /// Drops the set if `regex` matches the source.
    Drop,
    /// Drops the set unless the source equals `target_label`'s value.
    KeepEqual,
    /// Drops the set if the source equals `target_label`'s value.
    DropEqual,
    /// Sets `target_label` to a hash of the source modulo `modulus`.
    HashMod,
    /// Copies each label whose name matches `regex` to the name that `replacement` gives.
    LabelMap,
    /// Removes the labels whose names match `regex`.
    LabelDrop,
    /// Removes the labels whose names do not match `regex`.
    LabelKeep,
    /// Sets `target_label` to the source in lower case.
    Lowercase,
    /// Sets `target_label` to the source in upper case.
    Uppercase,
}

/// All actions with the names they have in configurations.
const ACTION_NAMES: [(Action, &str); 11] = [
    (Action::Replace, "replace"),
    (Action::Keep, "keep"),
    (Action::Drop, "drop"),
    (Action::KeepEqual, "keepequal"),
    (Action::DropEqual, "dropequal"),
    (Action::HashMod, "hashmod"),
    (Action::LabelMap, "labelmap"),
    (Action::LabelDrop, "labeldrop"),
    (Action::LabelKeep, "labelkeep"),
    (Action::Lowercase, "lowercase"),
    (Action::Uppercase, "uppercase"),
];

impl Action {
    /// The name in configurations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ACTION_NAMES.iter().find(|(action, _)| *action == self).map_or("", |(_, name)| name)
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = Error;

    /// Reads a name. As in Alloy it must be in lower case, and empty is an error of its own.
    fn from_str(name: &str) -> Result<Self, Error> {
        let found = ACTION_NAMES.iter().find(|(_, known)| *known == name).map(|(action, _)| *action);
        found.ok_or_else(|| if name.is_empty() { Error::EmptyAction } else { Error::UnknownAction(name.into()) })
    }
}

/// One rule as it is configured. Defaults are those of Alloy and Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Labels whose values make up the source, in this order; a missing one counts as empty.
    pub source_labels: Vec<String>,
    /// What stands between them.
    pub separator: String,
    /// A pattern in RE2 syntax that has to match the whole text; a dot matches newlines.
    pub regex: String,
    /// For `hashmod`.
    pub modulus: u64,
    /// The label that is written; may hold `$1`, `${1}`, `${name}` for `replace`.
    pub target_label: String,
    /// What is written; may hold `$1`, `${1}`, `${name}`.
    pub replacement: String,
    /// What to do.
    pub action: Action,
}

/// The default of [`Config::regex`].
pub const DEFAULT_REGEX: &str = "(.*)";
/// The default of [`Config::replacement`].
pub const DEFAULT_REPLACEMENT: &str = "$1";
/// The default of [`Config::separator`].
pub const DEFAULT_SEPARATOR: &str = ";";

impl Default for Config {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: DEFAULT_SEPARATOR.into(),
            regex: DEFAULT_REGEX.into(),
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.into(),
            action: Action::default(),
        }
    }
}

/// Which names labels may have. Alloy uses [`Utf8`](Self::Utf8) for targets and when it checks rules, and [`Legacy`](Self::Legacy) when
/// `prometheus.relabel` applies them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NameScheme {
    /// Anything but nothing.
    #[default]
    Utf8,
    /// `[a-zA-Z_][a-zA-Z0-9_]*`
    Legacy,
}

/// A rule of a list was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {number}: {cause}")]
pub struct RulesError {
    /// Which one, from 1.
    pub number: usize,
    /// Why.
    #[source]
    pub cause: Error,
}

/// Rules that are applied one after the other. Equal if they were configured equally.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// Compiles rules for label names of any kind.
    ///
    /// # Errors
    /// The first rule that Alloy would refuse, with its words.
    pub fn new(configs: Vec<Config>) -> Result<Self, RulesError> {
        Self::with_names(configs, NameScheme::Utf8)
    }

    /// Compiles rules of which `replace` does nothing where the target's name would not fit `names`.
    ///
    /// # Errors
    /// The first rule that Alloy would refuse, with its words.
    pub fn with_names(configs: Vec<Config>, names: NameScheme) -> Result<Self, RulesError> {
        let compile = |(at, config)| Rule::new(config, names).map_err(|cause| RulesError { number: at + 1, cause });
        let rules = configs.into_iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Applies the rules in order; `false` if one of them drops the set (`labels` is left half edited then).
    #[must_use]
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        self.rules.iter().all(|rule| rule.apply(labels))
    }

    /// The rules as they were configured.
    pub fn configs(&self) -> impl ExactSizeIterator<Item = &Config> {
        self.rules.iter().map(Rule::config)
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none, so that nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}
