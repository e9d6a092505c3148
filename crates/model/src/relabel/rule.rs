//! One rule, compiled, and what it does to a label set.

use md5::{Digest, Md5};

use super::matcher::{self, Matcher};
use super::template::Template;
use super::validate::{check, is_valid_label_name};
use super::{Action, Config, Error, NameScheme};
use crate::LabelsBuilder;

/// A rule that was checked and compiled. Equal if it was configured equally.
#[derive(Clone, Debug)]
pub struct Rule {
    config: Config,
    step: Step,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
    }
}

impl Eq for Rule {}

/// What is left of a configuration when it runs.
#[derive(Clone, Debug)]
enum Step {
    Filter { pattern: Matcher, keep: bool },
    Compare { keep: bool },
    Replace(Box<Replace>),
    HashMod,
    LabelMap { pattern: Matcher, name: Template },
    FilterNames { pattern: Matcher, keep: bool },
    ChangeCase { map: fn(char) -> char },
}

#[derive(Clone, Debug)]
struct Replace {
    pattern: Matcher,
    target: Template,
    value: Template,
    names: NameScheme,
}

impl Rule {
    /// Checks and compiles a rule; `names` says which target names `replace` may write.
    ///
    /// # Errors
    /// What Alloy refuses, with its words.
    pub fn new(config: Config, names: NameScheme) -> Result<Self, Error> {
        let regex = matcher::translate(&config.regex)?;
        check(&config)?;
        let step = match config.action {
            Action::Keep | Action::Drop => Step::Filter { pattern: Matcher::new(&regex, false)?, keep: config.action == Action::Keep },
            Action::LabelKeep | Action::LabelDrop => {
                Step::FilterNames { pattern: Matcher::new(&regex, false)?, keep: config.action == Action::LabelKeep }
            }
            Action::KeepEqual | Action::DropEqual => Step::Compare { keep: config.action == Action::KeepEqual },
            Action::HashMod => Step::HashMod,
            Action::Lowercase => Step::ChangeCase { map: to_lower },
            Action::Uppercase => Step::ChangeCase { map: to_upper },
            Action::LabelMap => {
                let name = Template::new(&config.replacement, &regex.group_names);
                Step::LabelMap { pattern: Matcher::new(&regex, name.needs_groups())?, name }
            }
            Action::Replace => {
                let target = Template::new(&config.target_label, &regex.group_names);
                let value = Template::new(&config.replacement, &regex.group_names);
                let pattern = Matcher::new(&regex, target.needs_groups() || value.needs_groups())?;
                Step::Replace(Box::new(Replace { pattern, target, value, names }))
            }
        };
        Ok(Self { config, step })
    }

    /// The rule as it was configured.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Applies the rule; `false` if it drops the set.
    #[must_use]
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let config = &self.config;
        match &self.step {
            Step::Filter { pattern, keep } => return self.with_source(labels, |source| pattern.is_match(source)) == *keep,
            Step::Compare { keep } => {
                let other = labels.get(&config.target_label).unwrap_or_default();
                return self.with_source(labels, |source| source == other) == *keep;
            }
            Step::FilterNames { pattern, keep } => labels.retain(|name, _| pattern.is_match(name) == *keep),
            Step::Replace(replace) => {
                if let Some((target, value)) = self.with_source(labels, |source| replace.result(source)) {
                    labels.set(&target, &value);
                }
            }
            Step::LabelMap { pattern, name } => map_names(labels, pattern, name),
            Step::HashMod => {
                let hash = self.with_source(labels, hash) % config.modulus.max(1); // never 0, see `check`
                labels.set(&config.target_label, &hash.to_string());
            }
            Step::ChangeCase { map } => {
                let value: String = self.with_source(labels, |source| source.chars().map(map).collect());
                labels.set(&config.target_label, &value);
            }
        }
        true
    }

    /// Calls `use_it` with the source: the values of the source labels, joined. Only several of them are copied.
    fn with_source<R>(&self, labels: &LabelsBuilder, use_it: impl FnOnce(&str) -> R) -> R {
        let value = |name: &String| labels.get(name).unwrap_or_default();
        match &self.config.source_labels[..] {
            [] => use_it(""),
            [one] => use_it(value(one)),
            [first, others @ ..] => {
                let mut joined = value(first).to_owned();
                for name in others {
                    joined.push_str(&self.config.separator);
                    joined.push_str(value(name));
                }
                use_it(&joined)
            }
        }
    }
}

impl Replace {
    /// The label to write; `None` if the source does not match or the target's name is not valid.
    fn result(&self, source: &str) -> Option<(String, String)> {
        let groups = self.pattern.groups(source)?;
        let (mut target, mut value) = (String::new(), String::new());
        self.target.expand(&mut target, |group| groups.get(group));
        if !is_valid_label_name(&target, self.names) {
            return None;
        }
        self.value.expand(&mut value, |group| groups.get(group));
        Some((target, value))
    }
}

/// Copies labels to the names that `template` gives. All names are taken before the first copy is made, so copies are not copied again;
/// where two get one name, the later in name order stays. A name that comes out empty is passed over.
fn map_names(labels: &mut LabelsBuilder, pattern: &Matcher, template: &Template) {
    let copies: Vec<(String, String)> = labels
        .iter()
        .filter_map(|(name, value)| Some((replaced(name, pattern, template)?, value.to_owned())))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    for (name, value) in copies {
        labels.set(&name, &value);
    }
}

/// `text` with the match replaced. A match is the whole text, unless the pattern has unbalanced brackets that only the anchors around it
/// close (`a)|(?:b`); what is left over stays then, as in Go.
fn replaced(text: &str, pattern: &Matcher, template: &Template) -> Option<String> {
    let groups = pattern.groups(text)?;
    let found = groups.range();
    let mut out = text[..found.start].to_owned();
    template.expand(&mut out, |group| groups.get(group));
    out.push_str(&text[found.end..]);
    Some(out)
}

/// The last eight bytes of the MD5 sum, big endian: what Prometheus has always used.
fn hash(source: &str) -> u64 {
    let sum: [u8; 16] = Md5::digest(source.as_bytes()).into();
    sum[8..].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Lower case as Go's `strings.ToLower`: character by character, without the mappings that change lengths.
fn to_lower(c: char) -> char {
    match c {
        '\u{130}' => 'i',
        c => single(c.to_lowercase(), c),
    }
}

/// Upper case as Go's `strings.ToUpper`. Greek letters with iota subscript have a single upper case besides the two that Rust gives.
fn to_upper(c: char) -> char {
    let shift = match c {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
        _ => return single(c.to_uppercase(), c),
    };
    char::from_u32(u32::from(c) + shift).unwrap_or(c)
}

fn single(mut mapped: impl ExactSizeIterator<Item = char>, c: char) -> char {
    if mapped.len() == 1 { mapped.next().unwrap_or(c) } else { c }
}
