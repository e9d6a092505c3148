//! What is done to a fleet, when, and what it may cost: scenarios as files have them, checked before anything starts. How they are played is
//! for `engine`.

mod check;
mod choice;
mod file;
mod promise;

use std::path::PathBuf;
use std::time::Duration;

pub use check::Problem;
pub(crate) use check::check;
pub use choice::{Choice, Picked};
pub use file::{ScenarioError, parse, read};
pub use promise::{Allow, Limit, Override};

use crate::load::{Basis, Load};
use crate::relay::CutMode;

/// What a scenario takes where it says nothing.
pub const BASIS: Basis = Basis { targets: 60, series: 500, interval: Duration::from_secs(2) };
/// Nodes where nothing is said.
pub const NODES: usize = 3;
/// How long the default story takes.
const STORY: Duration = Duration::from_secs(60);
/// How long a fleet is watched after the last step where nothing is said, besides the step's own time and some intervals.
const AFTERMATH: Duration = Duration::from_secs(15);

/// A scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scenario {
    /// What it is called in the report.
    pub name: String,
    /// The nodes.
    pub fleet: FleetPart,
    /// The load.
    pub load: Load,
    /// In how much time a fault must be noticed; without it, see [`Action::detection`].
    pub detection: Option<Duration>,
    /// How long it takes altogether, from the first samples on.
    pub length: Option<Duration>,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
}

/// The nodes of a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetPart {
    /// How many there are at the start; without it, [`NODES`].
    pub nodes: Option<usize>,
    /// Further arguments of each.
    pub arguments: Vec<String>,
    /// Further environment of each.
    pub environment: Vec<(String, String)>,
    /// A template of the configuration; without it, one is written.
    pub config: Option<PathBuf>,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, from the first samples on.
    pub at: Duration,
    /// What.
    pub action: Action,
    /// What the file says that it may cost.
    pub allow: Override,
    /// In how much time it must be noticed, where the file says so.
    pub detection: Option<Duration>,
    /// The line of the file, from 1; 0 for steps that are not from a file.
    pub line: u64,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// So many nodes are started at once.
    Join(usize),
    /// Nodes are told to leave (SIGTERM).
    Leave(Picked),
    /// Nodes are killed (SIGKILL).
    Kill(Picked),
    /// Nodes stand still (SIGSTOP) for a time, then go on (SIGCONT).
    Pause(Picked, Duration),
    /// Nodes are cut off from the others for a time; targets and receiver stay in reach.
    Cut(Picked, Duration, CutMode),
    /// Nodes are restarted one after the other, with a wait between them; all of them where none is picked.
    Restart(Option<Choice>, Duration),
    /// The receiver has a fault for a time.
    Receiver(ReceiverFault, Duration),
    /// Targets come, go or change.
    Targets(TargetChange),
    /// Nodes get another configuration, one after the other, with a wait between them.
    Configure(Change, Duration),
}

/// What is wrong with the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverFault {
    /// It takes no connections, and breaks those that there are.
    Down,
    /// It takes nothing and answers with this status.
    Fails(u16),
    /// It takes what it gets, and answers so much later.
    Slow(Duration),
}

/// What changes about the targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetChange {
    /// So many more are listed.
    Add(usize),
    /// So many fewer are listed.
    Remove(usize),
    /// Series that churn change now.
    Churn,
}

/// Another configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This template instead.
    Template(PathBuf),
    /// These blocks at the end of the present one.
    Append(String),
}

impl Scenario {
    /// The story that is played where there is no file: a node joins, one leaves in order, one is killed, each after a quarter of the time.
    #[must_use]
    pub fn story(nodes: usize, length: Option<Duration>) -> Self {
        let length = length.unwrap_or(STORY);
        let step = |quarter, action| Step { at: length * quarter / 4, action, allow: Override::default(), detection: None, line: 0 };
        let steps = vec![
            step(1, Action::Join(1)),
            step(2, Action::Leave(Picked::one(Choice::Node(nodes)))),
            step(3, Action::Kill(Picked::one(Choice::Oldest))),
        ];
        let fleet = FleetPart { nodes: Some(nodes), ..FleetPart::default() };
        Self { name: "join, leave, kill".to_owned(), fleet, length: Some(length), steps, ..Self::default() }
    }

    /// Nodes at the start.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.fleet.nodes.unwrap_or(NODES)
    }

    /// How often each target is scraped.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.load.interval(BASIS)
    }

    /// How long it takes.
    #[must_use]
    pub fn length(&self) -> Duration {
        let end = |step: &Step| step.at + step.action.lasts() + AFTERMATH + 4 * self.interval();
        self.length.unwrap_or_else(|| self.steps.iter().map(end).max().unwrap_or(STORY))
    }

    /// Whether nodes must reach each other over relays.
    #[must_use]
    pub fn cuts(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::Cut(..)))
    }

    /// Targets at most, all that come later included.
    #[must_use]
    pub fn most_targets(&self) -> usize {
        let first = self.load.targets.unwrap_or(BASIS.targets);
        let mut now = first;
        let mut most = first;
        for step in &self.steps {
            match step.action {
                Action::Targets(TargetChange::Add(more)) => now += more,
                Action::Targets(TargetChange::Remove(fewer)) => now = now.saturating_sub(fewer),
                _ => {}
            }
            most = most.max(now);
        }
        most
    }
}

impl Action {
    /// How long it takes by its own nature: what is slow or lasts by itself is not in it.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match self {
            Self::Pause(_, lasts) | Self::Cut(_, lasts, _) | Self::Receiver(_, lasts) => *lasts,
            Self::Leave(picked) | Self::Kill(picked) => picked.apart * u32::try_from(picked.count.saturating_sub(1)).unwrap_or(u32::MAX),
            Self::Join(_) | Self::Restart(..) | Self::Targets(_) | Self::Configure(..) => Duration::ZERO,
        }
    }

    /// Whether it is a fault that the fleet has to notice: its nodes lose samples, and others must take over.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Kill(_) | Self::Pause(..) | Self::Cut(..))
    }

    /// In a few words, for the report.
    #[must_use]
    pub fn what(&self) -> String {
        let word = self.word();
        match self {
            Self::Receiver(ReceiverFault::Down, _) => format!("{word} down"),
            Self::Receiver(ReceiverFault::Fails(status), _) => format!("{word} {status}"),
            Self::Receiver(ReceiverFault::Slow(_), _) => format!("{word} slow"),
            Self::Targets(TargetChange::Add(more)) => format!("{word} +{more}"),
            Self::Targets(TargetChange::Remove(fewer)) => format!("{word} -{fewer}"),
            Self::Targets(TargetChange::Churn) => format!("{word} churn"),
            _ => word.to_owned(),
        }
    }

    /// In a word, as files have it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Join(_) => "join",
            Self::Leave(_) => "leave",
            Self::Kill(_) => "kill",
            Self::Pause(..) => "pause",
            Self::Cut(..) => "cut",
            Self::Restart(..) => "restart",
            Self::Receiver(..) => "receiver",
            Self::Targets(_) => "targets",
            Self::Configure(..) => "configure",
        }
    }
}
