//! Scenarios as files: YAML, because people write them by hand next to their Kubernetes manifests, with comments, and because its reader
//! tells places. Every error names its line, what is wrong and what would be right.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::{Error, Spanned};
use syntax::nearest;

use super::check::{Problem, check};
use super::choice::{Choice, Picked};
use super::promise::Override;
use super::{Action, Change, FleetPart, ReceiverFault, Scenario, Step, TargetChange};
use crate::load::{self, Load};
use crate::relay::CutMode;

/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Why a file is no scenario.
#[derive(Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The file.
    pub file: String,
    /// What is wrong, in order of the lines.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ScenarioError {}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let new_line = if number > 0 { "\n" } else { "" };
            match problem.line {
                0 => write!(f, "{new_line}{}: {}", self.file, problem.text)?,
                line => write!(f, "{new_line}{}:{line}: {}", self.file, problem.text)?,
            }
        }
        Ok(())
    }
}

/// Reads a scenario's file. Paths in it are meant from where it lies.
///
/// # Errors
/// A file that can't be read, or all that is wrong in it.
pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
    let file = path.display().to_string();
    let told = |text: String| ScenarioError { file: file.clone(), problems: vec![Problem { line: 0, text }] };
    let length = std::fs::metadata(path).map_err(|error| told(format!("can't read it: {error}")))?.len();
    if length > MAX_BYTES {
        return Err(told(format!("it has {length} bytes, more than the {MAX_BYTES} that a scenario may have; is it the right file?")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| told(format!("can't read it: {error}")))?;
    let mut scenario = parse(&file, &text)?;
    let from = path.parent().unwrap_or(Path::new(""));
    if scenario.name.is_empty() {
        scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    if let Some(config) = &mut scenario.fleet.config {
        *config = from.join(&config);
    }
    for step in &mut scenario.steps {
        if let Action::Configure(Change::Template(template), _) = &mut step.action {
            *template = from.join(&template);
        }
    }
    Ok(scenario)
}

/// Reads a scenario's text; `file` is for messages.
///
/// # Errors
/// All that is wrong in it.
pub fn parse(file: &str, text: &str) -> Result<Scenario, ScenarioError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let failed = |problems| ScenarioError { file: file.to_owned(), problems };
    let whole: Whole = serde_saphyr::from_str_with_options(text, options).map_err(|error| failed(vec![problem(&error)]))?;
    let scenario = whole.scenario().map_err(failed)?;
    let problems = check(&scenario);
    if problems.is_empty() { Ok(scenario) } else { Err(failed(problems)) }
}

/// A reader's error in our words.
fn problem(error: &Error) -> Problem {
    let error = error.without_snippet();
    let line = error.location().map_or(0, |location| location.line());
    let text = match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown("key", field, expected),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("word", variant, expected),
        Error::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        Error::Eof { .. } => "the file ends too soon; a scenario has at least `steps`".to_owned(),
        Error::Message { msg, .. } => msg.clone(),
        Error::SerdeInvalidType { unexpected, expected, .. } => format!("found {unexpected}, expected {expected}"),
        other => {
            let text = other.to_string();
            let place = text.rfind(" at line ").unwrap_or(text.len());
            text[..place].to_owned()
        }
    };
    Problem { line, text }
}

fn unknown(what: &str, found: &str, expected: &[&str]) -> String {
    let near = nearest(expected.iter().map(|known| (found, *known)));
    near.map_or_else(
        || format!("unknown {what} `{found}`; known here: {}", expected.join(", ")),
        |near| format!("unknown {what} `{found}`; {near}"),
    )
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default)]
    name: String,
    #[serde(default)]
    fleet: Nodes,
    #[serde(default)]
    targets: Load,
    #[serde(default, deserialize_with = "load::duration")]
    detection: Option<Duration>,
    #[serde(default, rename = "for", deserialize_with = "load::duration")]
    length: Option<Duration>,
    steps: Vec<Spanned<Entry>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nodes {
    nodes: Option<usize>,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    config: Option<PathBuf>,
}

/// One step, with one of the actions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, deserialize_with = "load::duration")]
    at: Option<Duration>,
    #[serde(default)]
    join: Option<usize>,
    #[serde(default)]
    leave: Option<Picked>,
    #[serde(default)]
    kill: Option<Picked>,
    #[serde(default)]
    pause: Option<Silence>,
    #[serde(default)]
    cut: Option<Silence>,
    #[serde(default)]
    restart: Option<Rolling>,
    #[serde(default)]
    receiver: Option<Fault>,
    #[serde(default)]
    targets: Option<Targets>,
    #[serde(default)]
    configure: Option<Configure>,
    #[serde(default)]
    allow: Override,
    #[serde(default, deserialize_with = "load::duration")]
    detection: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Silence {
    node: Choice,
    #[serde(default)]
    count: Option<usize>,
    #[serde(rename = "for", deserialize_with = "load::duration")]
    lasts: Option<Duration>,
    #[serde(default)]
    mode: Mode,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Stall,
    Reset,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rolling {
    #[serde(default)]
    node: Option<Choice>,
    #[serde(default, deserialize_with = "load::duration")]
    apart: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    fault: FaultWord,
    #[serde(rename = "for", deserialize_with = "load::duration")]
    lasts: Option<Duration>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default, deserialize_with = "load::duration")]
    delay: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FaultWord {
    Down,
    Error,
    Slow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Targets {
    #[serde(default)]
    add: Option<usize>,
    #[serde(default)]
    remove: Option<usize>,
    #[serde(default)]
    churn: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configure {
    #[serde(default)]
    template: Option<PathBuf>,
    #[serde(default)]
    append: Option<String>,
    #[serde(default, deserialize_with = "load::duration")]
    apart: Option<Duration>,
}

impl Whole {
    fn scenario(self) -> Result<Scenario, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.targets.series.is_some() && self.targets.mix.is_some() {
            problems.push(Problem { line: 0, text: "targets: `series` and `mix` both say how large targets are; keep one".to_owned() });
        }
        let mut steps = Vec::new();
        for entry in self.steps {
            let line = entry.referenced.line();
            match entry.value.step(line) {
                Ok(step) => steps.push(step),
                Err(text) => problems.push(Problem { line, text }),
            }
        }
        let Nodes { nodes, arguments, environment, config } = self.fleet;
        let fleet = FleetPart { nodes, arguments, environment: environment.into_iter().collect(), config };
        let Self { name, targets: load, detection, length, .. } = self;
        if problems.is_empty() { Ok(Scenario { name, fleet, load, detection, length, steps }) } else { Err(problems) }
    }
}

impl Entry {
    fn step(self, line: u64) -> Result<Step, String> {
        let at = self.at.ok_or("the step has no `at`: say when it happens, from the first samples on, such as at: 15s")?;
        let (allow, detection) = (self.allow, self.detection);
        let mut actions = self.actions()?;
        match (actions.pop(), actions.len()) {
            (Some(action), 0) => Ok(Step { at, action, allow, detection, line }),
            (None, _) => {
                Err("the step does nothing: give it one of join, leave, kill, pause, cut, restart, receiver, targets, configure".to_owned())
            }
            (Some(last), _) => {
                let words: Vec<&str> = actions.iter().chain([&last]).map(Action::word).collect();
                Err(format!("the step does several things, {}: make a step of each, with the same `at` if you like", words.join(" and ")))
            }
        }
    }

    fn actions(self) -> Result<Vec<Action>, String> {
        let silence = |silence: Silence| {
            let picked = Picked { count: silence.count.unwrap_or(1), ..Picked::one(silence.node) };
            (picked, silence.lasts.unwrap_or_default(), silence.mode)
        };
        let pause = self.pause.map(silence).map(|(picked, lasts, _)| Action::Pause(picked, lasts));
        let cut = self.cut.map(silence).map(|(picked, lasts, mode)| Action::Cut(picked, lasts, mode.into()));
        let restart = self.restart.map(|rolling| Action::Restart(rolling.node, rolling.apart.unwrap_or_default()));
        let all = [
            self.join.map(Action::Join),
            self.leave.map(Action::Leave),
            self.kill.map(Action::Kill),
            pause,
            cut,
            restart,
            self.receiver.map(Fault::action).transpose()?,
            self.targets.map(Targets::action).transpose()?,
            self.configure.map(Configure::action).transpose()?,
        ];
        Ok(all.into_iter().flatten().collect())
    }
}

impl From<Mode> for CutMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Stall => Self::Stall,
            Mode::Reset => Self::Reset,
        }
    }
}

impl Fault {
    fn action(self) -> Result<Action, String> {
        let fault = match (self.fault, self.status, self.delay) {
            (FaultWord::Down, None, None) => ReceiverFault::Down,
            (FaultWord::Error, status, None) => ReceiverFault::Fails(status.unwrap_or(503)),
            (FaultWord::Slow, None, Some(delay)) => ReceiverFault::Slow(delay),
            (FaultWord::Slow, ..) => return Err("receiver: `fault: slow` needs `delay`, such as delay: 2s, and nothing else".to_owned()),
            _ => return Err("receiver: `status` goes with `fault: error`, `delay` with `fault: slow`".to_owned()),
        };
        Ok(Action::Receiver(fault, self.lasts.unwrap_or_default()))
    }
}

impl Targets {
    fn action(self) -> Result<Action, String> {
        match (self.add, self.remove, self.churn) {
            (Some(more), None, None) => Ok(Action::Targets(TargetChange::Add(more))),
            (None, Some(fewer), None) => Ok(Action::Targets(TargetChange::Remove(fewer))),
            (None, None, Some(true)) => Ok(Action::Targets(TargetChange::Churn)),
            _ => Err("targets: give one of `add: 10`, `remove: 10` or `churn: true`".to_owned()),
        }
    }
}

impl Configure {
    fn action(self) -> Result<Action, String> {
        let change = match (self.template, self.append) {
            (Some(template), None) => Change::Template(template),
            (None, Some(blocks)) => Change::Append(blocks),
            _ => return Err("configure: give one of `template: FILE` and `append: BLOCKS`".to_owned()),
        };
        Ok(Action::Configure(change, self.apart.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests;
