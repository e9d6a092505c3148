//! Plays a scenario on a fleet of real processes, with targets and a judge on this machine, and shows what goes on. What it came to is weighed
//! in `report`.

mod config;
mod perform;
mod screen;
mod stage;
mod story;
mod watch;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use crate::fleet::FleetError;
use crate::process::interrupted;
use crate::report::{Report, table};
use crate::scenario::{Choice, Scenario, ScenarioError, check};
use crate::targets::TargetsError;
use screen::Screen;
use stage::Stage;
pub use story::Event;
pub(crate) use story::{Done, Mark, Moment};

/// How a scenario is run.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The collector's binary; usually the running program itself.
    pub binary: PathBuf,
    /// What is put before it: a program that runs it, and its arguments.
    pub runner: Vec<String>,
    /// Name of the cluster.
    pub cluster_name: String,
    /// Keep configurations, logs and storage here.
    pub dir: Option<PathBuf>,
    /// Lines instead of a table that is redrawn; anyway so where there is no terminal.
    pub plain: bool,
    /// The report on standard output as JSON, and what goes on on standard error.
    pub json: bool,
}

impl EngineOptions {
    /// The usual for a binary.
    #[must_use]
    pub fn new(binary: PathBuf) -> Self {
        Self { binary, runner: Vec::new(), cluster_name: "loadtest".to_owned(), dir: None, plain: false, json: false }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether it was broken off.
    pub interrupted: bool,
    /// What came of it; `None` if it was broken off before the first samples.
    pub report: Option<Report>,
}

impl Outcome {
    /// Whether all promises were kept, as far as it went.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.passed)
    }
}

/// Why a run broke off without a report.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A scenario that makes no sense.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A template of a configuration that is none.
    #[error("{file}: {reason}")]
    Template {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The targets could not be started.
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// The receiver could not be started, or lost its port.
    #[error("the receiver: {0}")]
    Receiver(std::io::Error),
    /// A node did not do what it should.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A step has nobody to happen to.
    #[error("{word}: {choice} does not run at that time; look at its log with --dir")]
    Nobody {
        /// The action.
        word: &'static str,
        /// Who was to be chosen.
        choice: Choice,
    },
    /// A step was lost with its task.
    #[error("a step broke off: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// The samples did not come.
    #[error(
        "only {seen} of {targets} targets were scraped and received within {within:?} after all nodes were ready; the end of the first node's log:\n{log}"
    )]
    NoSamples {
        /// Targets that were received.
        seen: usize,
        /// Targets that there are.
        targets: usize,
        /// How long was waited.
        within: std::time::Duration,
        /// The end of the first node's log.
        log: String,
    },
}

impl EngineError {
    /// Whether the user asked for something that can't be, before anything was started.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Scenario(_) | Self::Template { .. } | Self::Targets(TargetsError::Option { .. }))
    }
}

/// Runs a scenario and prints it; Ctrl-C and SIGTERM end it early and in order, with the report of what there was; a second one at once.
///
/// A step that can't be done ends it too; that is told in the report.
///
/// # Errors
/// A scenario that makes no sense, or what can't be started.
pub async fn run(options: EngineOptions, scenario: Scenario) -> Result<Outcome, EngineError> {
    let problems = check(&scenario);
    if !problems.is_empty() {
        return Err(ScenarioError { file: scenario.name, problems }.into());
    }
    let screen = Screen::new(options.plain, options.json);
    let mut stop = pin!(interrupted());
    let begun = async { Ok::<_, EngineError>(Arc::new(Stage::set(options, scenario, &screen).await?)) };
    let stage = tokio::select! {
        stage = begun => stage?,
        // Whatever runs is dropped here, and so ended.
        () = &mut stop => {
            screen.finish("interrupted before the first samples: the processes are ended, there is no report");
            return Ok(Outcome { interrupted: true, report: None });
        }
    };
    let (broken_off, error) = tokio::select! {
        played = stage.play() => (false, played.err()),
        never = stage.show(&screen) => match never {},
        () = &mut stop => (true, None),
    };
    tokio::select! {
        outcome = end(&stage, &screen, broken_off, error) => Ok(outcome),
        () = interrupted() => {
            screen.finish("interrupted: the processes are ended, there is no report");
            Ok(Outcome { interrupted: true, report: None })
        }
    }
}

/// Waits for what is under way, ends the nodes in order, and prints the report.
async fn end(stage: &Stage, screen: &Screen, interrupted: bool, error: Option<EngineError>) -> Outcome {
    if interrupted {
        screen.line("interrupted: ending the nodes; once more to end them at once");
    }
    let report = stage.weigh(screen).await;
    let error = error.map(|error| error.to_string());
    let report = Report { interrupted, passed: report.passed && error.is_none(), error, ..report };
    for (name, stopped) in stage.stop_all().await {
        if let Err(error) = stopped {
            screen.line(&format!("{name} at the end: {error}"));
        }
    }
    screen.report(&table(&report), &report.to_json());
    Outcome { interrupted, report: Some(report) }
}
