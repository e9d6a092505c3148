//! Where a target comes from: the components that it has passed, from its discovery to the scrape, and what each relabelling rule on
//! the way has changed. Found by looking for it in what components export and by applying the rules again.

use std::collections::BTreeSet;

use component::Target;
use discovery_components::relabel::Arguments as Relabel;
use model::Labels;
use model::relabel::{Config, Rules};
use runtime::Controller;
use serde_json::{Value, json};
use syntax::FromValue as _;

/// Longest chain of components that is followed; none in practice comes near.
const MAX_HOPS: usize = 32;

/// A component that the target has passed.
pub struct Hop {
    /// Its ID.
    component: String,
    /// What its rules have changed, those without effect left out.
    steps: Vec<Step>,
}

/// What one rule has changed.
struct Step {
    /// Its place among the component's rules, from 1.
    rule: usize,
    config: Config,
    /// Labels with their value before and after; `None` where there was none.
    changes: Vec<(String, Option<String>, Option<String>)>,
}

/// The way of a target that the component `reader` has been given, its source first. Empty if none of the components that `reader`
/// refers to has it: then it stands in `reader`'s own block.
pub fn way(controller: &Controller, reader: &str, target: &Labels) -> Vec<Hop> {
    let mut hops = Vec::new();
    let (mut reader, mut labels) = (reader.to_owned(), target.clone());
    while hops.len() < MAX_HOPS {
        let Some((component, before, steps)) = giver(controller, &reader, &labels) else { break };
        hops.push(Hop { component: component.clone(), steps });
        (reader, labels) = (component, before);
    }
    hops.reverse();
    hops
}

/// Who has given a target to a component: its ID, the target as it came to it, and what its rules have changed.
fn giver(controller: &Controller, reader: &str, labels: &Labels) -> Option<(String, Labels, Vec<Step>)> {
    let components = controller.components();
    let givers = &components.iter().find(|component| component.local_id == reader)?.references_to;
    let relabelled = givers.iter().find_map(|id| {
        let arguments = controller.arguments(id)?.as_any().downcast::<Relabel>().ok()?;
        let (before, steps) = relabelled(&arguments, labels)?;
        Some((id.clone(), before, steps))
    });
    let discovered = || givers.iter().find(|id| exports(controller, id, labels)).map(|id| (id.clone(), labels.clone(), Vec::new()));
    relabelled.or_else(discovered)
}

/// Of the targets that come in, the one that these labels are made of.
fn relabelled(arguments: &Relabel, labels: &Labels) -> Option<(Labels, Vec<Step>)> {
    let configs: Vec<Config> = arguments.rule.iter().map(component::RuleBlock::config).collect::<Result<_, _>>().ok()?;
    let rules = Rules::new(configs.clone()).ok()?;
    let before = arguments.targets.iter().find(|Target(before)| {
        let mut after = before.to_builder();
        rules.apply(&mut after) && after.build() == *labels
    })?;
    Some((before.0.clone(), steps(&before.0, configs)))
}

/// What each rule changes, one after the other.
fn steps(before: &Labels, configs: Vec<Config>) -> Vec<Step> {
    let mut labels = before.clone();
    let mut steps = Vec::new();
    for (index, config) in configs.into_iter().enumerate() {
        let Ok(rule) = Rules::new(vec![config.clone()]) else { continue };
        let mut builder = labels.to_builder();
        if !rule.apply(&mut builder) {
            break;
        }
        let after = builder.build();
        let changes = changes(&labels, &after);
        if !changes.is_empty() {
            steps.push(Step { rule: index + 1, config, changes });
        }
        labels = after;
    }
    steps
}

fn changes(before: &Labels, after: &Labels) -> Vec<(String, Option<String>, Option<String>)> {
    let names: BTreeSet<&str> = before.iter().chain(after.iter()).map(|(name, _)| name).collect();
    let value = |labels: &Labels, name: &str| labels.get(name).map(str::to_owned);
    let changed = names.into_iter().map(|name| (name.to_owned(), value(before, name), value(after, name)));
    changed.filter(|(_, before, after)| before != after).collect()
}

/// Whether a component exports a target with exactly these labels.
fn exports(controller: &Controller, id: &str, labels: &Labels) -> bool {
    let exports = controller.exports(id).and_then(|exports| exports.to_object());
    let lists = exports.iter().flat_map(|exports| exports.iter()).filter_map(|(_, value)| match value {
        syntax::Value::Array(list) => Some(list),
        _ => None,
    });
    lists.flat_map(|list| list.iter()).any(|value| Target::from_value(value).is_ok_and(|target| target.0 == *labels))
}

impl Hop {
    pub fn to_json(&self) -> Value {
        json!({ "component": self.component, "steps": self.steps.iter().map(Step::to_json).collect::<Vec<_>>() })
    }
}

impl Step {
    fn to_json(&self) -> Value {
        let changes: Vec<Value> =
            self.changes.iter().map(|(label, before, after)| json!({ "label": label, "before": before, "after": after })).collect();
        let Config { source_labels, regex, action, .. } = &self.config;
        json!({ "rule": self.rule, "action": action.as_str(), "sourceLabels": source_labels, "regex": regex, "changes": changes })
    }
}
