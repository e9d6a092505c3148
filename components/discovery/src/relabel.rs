//! `discovery.relabel`: edits or drops targets by relabelling rules, and lends the rules to others.

use std::collections::HashMap;
use std::sync::Arc;

use component::{BuildError, Component, Context, Event, RelabelRules, RuleBlock, RunError, Setup, Target};
use model::Labels;
use model::relabel::Rules;
use syntax::Block;

/// Rewrites the label set of the input targets by applying relabelling rules.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// Targets to relabel.
    #[syntax(required)]
    pub targets: Vec<Target>,
    /// A relabelling rule.
    #[syntax(block)]
    pub rule: Vec<RuleBlock>,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        RuleBlock::compile(&self.rule).map(drop)
    }
}

/// What the rules made of the targets.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Exports {
    /// The set of targets after applying relabelling.
    #[syntax(required)]
    pub output: Vec<Target>,
    /// The currently configured relabelling rules.
    #[syntax(required)]
    pub rules: RelabelRules,
}

/// The component.
pub struct Relabel {
    blocks: Vec<RuleBlock>,
    rules: Arc<Rules>,
    /// What the rules made of each of the present targets; `None` if it was dropped. Of ten thousand targets usually a few change.
    known: HashMap<Labels, Option<Target>>,
    info: DebugInfo,
}

/// What the rules do.
#[derive(Block, Clone, Debug, Default, PartialEq)]
struct DebugInfo {
    /// How many targets came in.
    targets: usize,
    /// How many of them were dropped.
    dropped: usize,
}

impl Component for Relabel {
    const NAME: &'static str = "discovery.relabel";
    type Arguments = Arguments;
    type Exports = Exports;

    fn build(arguments: Arguments, _: &Setup) -> Result<(Self, Exports), BuildError> {
        let rules = Arc::new(RuleBlock::compile(&arguments.rule).map_err(BuildError::new)?);
        let mut this = Self { blocks: arguments.rule, rules, known: HashMap::new(), info: DebugInfo::default() };
        let exports = this.apply(&arguments.targets);
        Ok((this, exports))
    }

    async fn run(mut self, mut context: Context<Self>) -> Result<(), RunError> {
        self.report(&context);
        loop {
            match context.next().await {
                Event::Update(arguments) => match self.update(arguments) {
                    Ok(exports) => {
                        context.export(exports);
                        self.report(&context);
                    }
                    Err(error) => context.health().unhealthy(format!("the last good rules stay: {error}")),
                },
                Event::Debug(reply) => reply.send(&self.info),
                Event::Stop(_) => return Ok(()),
            }
        }
    }
}

impl Relabel {
    fn update(&mut self, arguments: Arguments) -> Result<Exports, String> {
        // Targets change far more often than rules, and compiling a rule costs more than applying it to a thousand targets.
        if arguments.rule != self.blocks {
            self.rules = Arc::new(RuleBlock::compile(&arguments.rule)?);
            self.blocks = arguments.rule;
            self.known.clear();
        }
        Ok(self.apply(&arguments.targets))
    }

    fn apply(&mut self, targets: &[Target]) -> Exports {
        let mut before = std::mem::take(&mut self.known);
        let mut output = Vec::with_capacity(targets.len());
        for target in targets {
            let known = before.remove(&target.0).or_else(|| self.known.get(&target.0).cloned());
            let relabelled = known.unwrap_or_else(|| self.relabelled(target));
            output.extend(relabelled.clone());
            self.known.insert(target.0.clone(), relabelled);
        }
        self.info = DebugInfo { targets: targets.len(), dropped: targets.len() - output.len() };
        Exports { output, rules: RelabelRules(self.rules.clone()) }
    }

    fn relabelled(&self, target: &Target) -> Option<Target> {
        if self.rules.is_empty() {
            return Some(target.clone());
        }
        let mut labels = target.0.to_builder();
        self.rules.apply(&mut labels).then(|| Target(labels.build()))
    }

    fn report(&self, context: &Context<Self>) {
        let DebugInfo { targets, dropped } = self.info;
        context.health().healthy(format!("{} of {targets} targets kept", targets - dropped));
    }
}
