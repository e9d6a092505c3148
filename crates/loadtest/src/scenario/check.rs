//! What makes no sense in a scenario, although it can be read: found before anything starts.

use std::time::Duration;

use super::choice::{Choice, Picked};
use super::{Action, BASIS, ReceiverFault, Scenario, Step, TargetChange};

/// Shortest interval: below, a slot is of the size of what a busy machine is late by.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
/// Most nodes at a time: each is a process.
const MAX_NODES: usize = 200;

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its line, from 1; 0 where there is none.
    pub line: u64,
    /// What is wrong, and what would be right.
    pub text: String,
}

/// All that is wrong with a scenario.
pub(crate) fn check(scenario: &Scenario) -> Vec<Problem> {
    let mut problems = whole(scenario);
    let mut fleet = Expected::new(scenario);
    let mut before = Duration::ZERO;
    for step in &scenario.steps {
        let found = [in_order(step, before), alone(step, scenario), fleet.take(&step.action), in_time(step, scenario)];
        problems.extend(found.into_iter().flatten().map(|text| Problem { line: step.line, text }));
        before = before.max(step.at);
    }
    problems
}

fn whole(scenario: &Scenario) -> Vec<Problem> {
    let nodes = scenario.nodes();
    let mut problems = Vec::new();
    if !(1..=MAX_NODES).contains(&nodes) {
        problems.push(format!("nodes: {nodes}: a fleet on one machine has 1 to {MAX_NODES}"));
    }
    if scenario.interval() < LEAST_INTERVAL {
        problems.push(format!("interval: {:?}: must be at least {LEAST_INTERVAL:?}", scenario.interval()));
    }
    problems.into_iter().map(|text| Problem { line: 0, text }).collect()
}

fn in_order(step: &Step, before: Duration) -> Option<String> {
    (step.at < before).then(|| format!("at: {:?}: the step before is at {before:?}; put steps in order of time", step.at))
}

/// What is wrong with a step by itself.
fn alone(step: &Step, scenario: &Scenario) -> Option<String> {
    let word = step.action.word();
    match &step.action {
        Action::Join(0) => Some("join: 0: give how many nodes join, at least 1".to_owned()),
        Action::Pause(_, lasts) | Action::Cut(_, lasts, _) | Action::Receiver(_, lasts) if lasts.is_zero() => {
            Some(format!("{word}: `for` must be longer than 0s: it says how long the fault lasts"))
        }
        Action::Receiver(ReceiverFault::Fails(status), _) if !(400..=599).contains(status) => {
            Some(format!("receiver: status: {status}: an error has a status from 400 to 599, such as 503"))
        }
        Action::Targets(TargetChange::Add(0) | TargetChange::Remove(0)) => Some("targets: give how many, at least 1".to_owned()),
        Action::Targets(TargetChange::Churn) if scenario.load.churn.is_none() => {
            Some("targets: churn: no series churn; say which share does at the top: `targets: {churn: 10%}`".to_owned())
        }
        _ => None,
    }
}

/// Whether there is time to see what a step does.
fn in_time(step: &Step, scenario: &Scenario) -> Option<String> {
    let least = (step.at + step.action.lasts()).max(scenario.over(step)) + scenario.interval();
    let length = scenario.length();
    if step.line == 0 && length < least {
        // The steps of the default story stand at quarters of the time.
        let quarter = scenario.over(step) - step.at + scenario.interval();
        let least = (4 * quarter).as_secs_f64().ceil();
        return Some(format!(
            "--for must be at least {least}s with this interval: a quarter of it has to hold the detection of a crash and some intervals"
        ));
    }
    (length < least).then(|| {
        format!(
            "{} at {:?}: its effects may last until {least:?}, but the whole ends after {length:?}; let it take longer with `for: {}s` (--for)",
            step.action.word(),
            step.at,
            least.as_secs_f64().ceil()
        )
    })
}

/// How many nodes and targets there are at a step, as far as that is known before.
struct Expected {
    running: usize,
    started: usize,
    targets: usize,
    gone: Vec<usize>,
}

impl Expected {
    fn new(scenario: &Scenario) -> Self {
        let (nodes, targets) = (scenario.nodes(), scenario.load.targets.unwrap_or(BASIS.targets));
        Self { running: nodes, started: nodes, targets, gone: Vec::new() }
    }

    /// Takes a step into account; what is wrong with it.
    fn take(&mut self, action: &Action) -> Option<String> {
        match action {
            Action::Join(more) => {
                self.running += more;
                self.started += more;
                (self.running > MAX_NODES)
                    .then(|| format!("join: there would be {} nodes; a fleet on one machine has {MAX_NODES} at most", self.running))
            }
            Action::Leave(picked) | Action::Kill(picked) => self.lose(action.word(), *picked),
            Action::Pause(picked, _) => self.there(action.word(), picked.node).or_else(|| self.enough(action.word(), picked.count, 0)),
            Action::Cut(picked, ..) => self.there(action.word(), picked.node).or_else(|| self.enough(action.word(), picked.count, 1)),
            Action::Restart(Some(node), _) => self.there(action.word(), *node),
            Action::Targets(TargetChange::Add(more)) => {
                self.targets += more;
                None
            }
            Action::Targets(TargetChange::Remove(fewer)) => {
                let short = *fewer >= self.targets;
                let text = format!("targets: remove: {fewer}: there are {}, and one must stay", self.targets);
                self.targets = self.targets.saturating_sub(*fewer);
                short.then_some(text)
            }
            Action::Restart(None, _) | Action::Receiver(..) | Action::Targets(_) | Action::Configure(..) => None,
        }
    }

    fn lose(&mut self, word: &str, picked: Picked) -> Option<String> {
        let problem = self.there(word, picked.node).or_else(|| self.enough(word, picked.count, 1));
        self.running = self.running.saturating_sub(picked.count);
        if let Choice::Node(number) = picked.node {
            self.gone.push(number);
        }
        problem
    }

    fn there(&self, word: &str, node: Choice) -> Option<String> {
        match node {
            Choice::Node(number) if number > self.started => Some(format!(
                "{word}: there is no node-{number} yet: {} were started until then; nodes are numbered from 1 on",
                self.started
            )),
            Choice::Node(number) if self.gone.contains(&number) => Some(format!("{word}: node-{number} is gone by then; pick another")),
            _ => None,
        }
    }

    fn enough(&self, word: &str, count: usize, must_stay: usize) -> Option<String> {
        let enough = count + must_stay <= self.running;
        (!enough).then(|| match must_stay {
            0 => format!("{word}: {count} nodes: only {} run then", self.running),
            _ => format!("{word}: {count} of {} nodes: one must stay, to take over", self.running),
        })
    }
}
