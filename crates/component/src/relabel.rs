//! Relabel rules as blocks and as an export: shared by every component that relabels.

use std::any::Any;
use std::sync::Arc;

use model::relabel::{Action, Config, DEFAULT_REGEX, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR, NameScheme, Rules};
use syntax::{Block, Capsule, FromValue, ToValue, Value, ValueError};

/// The name of the capsule in messages.
const RULES: &str = "RelabelRules";

/// A relabelling rule: Prometheus' `relabel_config`.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct RuleBlock {
    /// Labels whose values make up the source, joined with the separator.
    pub source_labels: Vec<String>,
    /// What stands between the values of the source labels.
    #[syntax(default = DEFAULT_SEPARATOR.to_owned())]
    pub separator: String,
    /// RE2 pattern that has to match the whole source.
    #[syntax(default = DEFAULT_REGEX.to_owned())]
    pub regex: String,
    /// For `hashmod`: the modulus of the source's hash.
    pub modulus: u64,
    /// The label that is written.
    pub target_label: String,
    /// What is written; may refer to groups of the pattern.
    #[syntax(default = DEFAULT_REPLACEMENT.to_owned())]
    pub replacement: String,
    /// `replace`, `keep`, `drop`, `keepequal`, `dropequal`, `hashmod`, `labelmap`, `labeldrop`, `labelkeep`, `lowercase` or `uppercase`.
    #[syntax(default = "replace".to_owned())]
    pub action: String,
}

impl RuleBlock {
    /// The rule in the model's terms.
    ///
    /// # Errors
    /// The action does not exist.
    pub fn config(&self) -> Result<Config, String> {
        Ok(Config {
            source_labels: self.source_labels.clone(),
            separator: self.separator.clone(),
            regex: self.regex.clone(),
            modulus: self.modulus,
            target_label: self.target_label.clone(),
            replacement: self.replacement.clone(),
            action: self.action.parse::<Action>().map_err(|error| error.to_string())?,
        })
    }

    /// Compiles several rules.
    ///
    /// # Errors
    /// The first that is wrong, with its number.
    pub fn compile(blocks: &[Self]) -> Result<Rules, String> {
        Self::compile_for(blocks, NameScheme::default())
    }

    /// Compiles several rules of which `replace` does nothing where the target's name would not fit `names`.
    ///
    /// # Errors
    /// The first that is wrong, with its number.
    pub fn compile_for(blocks: &[Self], names: NameScheme) -> Result<Rules, String> {
        let configs: Vec<Config> = blocks.iter().map(Self::config).collect::<Result<_, _>>()?;
        Rules::with_names(configs, names).map_err(|error| error.to_string())
    }
}

/// Rules as an export: other components apply them.
#[derive(Clone, Debug, PartialEq)]
pub struct RelabelRules(pub Arc<Rules>);

impl Capsule for RelabelRules {
    fn type_name(&self) -> &str {
        RULES
    }

    fn equals(&self, other: &dyn Capsule) -> bool {
        other.as_any().downcast_ref::<Self>() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl FromValue for RelabelRules {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        syntax::capsule_from_value::<Self>(value, RULES).map(|rules| (*rules).clone())
    }

    fn type_name() -> String {
        RULES.to_owned()
    }
}

impl ToValue for RelabelRules {
    fn to_value(&self) -> Value {
        Value::capsule(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(source: &str) -> Result<Rules, String> {
        let rule: RuleBlock = syntax::decode_str(source, &syntax::Scope::new()).map_err(|error| error.to_string())?;
        RuleBlock::compile(&[rule])
    }

    #[test]
    fn a_block_becomes_a_rule() {
        let rules = rules("source_labels = [\"a\", \"b\"]\ntarget_label = \"c\"").unwrap();
        let mut labels = [("a", "1"), ("b", "2")].into_iter().collect();
        assert!(rules.apply(&mut labels));
        assert_eq!(labels.get("c"), Some("1;2"));
    }

    #[test]
    fn wrong_rules_are_refused() {
        assert!(rules("action = \"keepp\"").is_err());
        assert!(rules("action = \"hashmod\"\ntarget_label = \"x\"").is_err(), "no modulus");
        assert!(rules("regex = \"(\"\ntarget_label = \"x\"").is_err());
    }
}
