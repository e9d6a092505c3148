//! What a step may cost: the promises that a fleet of collectors makes, and what a scenario's file says instead.

use std::fmt;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use super::{Action, Scenario, Step};
use crate::relay::CutMode;

/// In how much time the fleet promises to replace a node whose connections break (SIGKILL).
const CRASH: Duration = Duration::from_secs(5);
/// In how much time it promises to replace one that falls silent, and to be one fleet again after a network is healed.
const SILENCE: Duration = Duration::from_secs(10);
/// Who is silent for less keeps its targets.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much there may be of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So much.
    AtMost(u64),
    /// This is not judged.
    Any,
}

impl Limit {
    /// Whether there may be so much.
    #[must_use]
    pub fn permits(self, count: u64) -> bool {
        match self {
            Self::AtMost(most) => count <= most,
            Self::Any => true,
        }
    }

    /// The wider of two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::AtMost(a), Self::AtMost(b)) => Self::AtMost(a.max(b)),
            _ => Self::Any,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "{most}"),
            Self::Any => f.write_str("any"),
        }
    }
}

impl serde::Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtMost(most) => serializer.serialize_u64(*most),
            Self::Any => serializer.serialize_str("any"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

struct LimitVisitor;

impl Visitor<'_> for LimitVisitor {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 0 on, or any")
    }

    fn visit_u64<E: serde::de::Error>(self, most: u64) -> Result<Limit, E> {
        Ok(Limit::AtMost(most))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Limit, E> {
        match text {
            "any" => Ok(Limit::Any),
            number => number
                .parse()
                .map(Limit::AtMost)
                .map_err(|_| E::custom(format!("{text:?} is no limit: write a whole number from 0 on, or any"))),
        }
    }
}

/// What a step may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Allow {
    /// Slots that each target may miss that it hits: those of the nodes that it happens to, where it is a fault of theirs, else all.
    pub gaps: Limit,
    /// Samples beyond the first in their slots.
    pub duplicates: Limit,
    /// Samples that a receiver refuses: out of order, or another value for a time that has one.
    pub refused: Limit,
    /// Staleness markers that are missing or false.
    pub markers: Limit,
    /// Targets that change their holder.
    pub moved: Limit,
}

/// What a file says of that; what it does not say is promised.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// See [`Allow::gaps`].
    pub gaps: Option<Limit>,
    /// See [`Allow::duplicates`].
    pub duplicates: Option<Limit>,
    /// See [`Allow::refused`].
    pub refused: Option<Limit>,
    /// See [`Allow::markers`].
    pub markers: Option<Limit>,
    /// See [`Allow::moved`].
    pub moved: Option<Limit>,
}

impl Allow {
    /// What is promised of every planned change: it costs nothing.
    pub const NOTHING: Self = Self {
        gaps: Limit::AtMost(0),
        duplicates: Limit::AtMost(0),
        refused: Limit::AtMost(0),
        markers: Limit::AtMost(0),
        moved: Limit::Any,
    };

    /// The wider of two in each respect.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            gaps: self.gaps.or(other.gaps),
            duplicates: self.duplicates.or(other.duplicates),
            refused: self.refused.or(other.refused),
            markers: self.markers.or(other.markers),
            moved: self.moved.or(other.moved),
        }
    }

    fn with(self, said: Override) -> Self {
        Self {
            gaps: said.gaps.unwrap_or(self.gaps),
            duplicates: said.duplicates.unwrap_or(self.duplicates),
            refused: said.refused.unwrap_or(self.refused),
            markers: said.markers.unwrap_or(self.markers),
            moved: said.moved.unwrap_or(self.moved),
        }
    }
}

impl Action {
    /// In how much time it must be noticed and taken over, by default: 5 s where connections break, 10 s where nobody is told.
    #[must_use]
    pub fn detection(&self) -> Duration {
        match self {
            Self::Kill(_) | Self::Cut(_, _, CutMode::Reset) => CRASH,
            Self::Pause(..) | Self::Cut(..) => SILENCE,
            _ => Duration::ZERO,
        }
    }

    /// Whether it is over before the others need to do anything.
    fn is_short(&self) -> bool {
        matches!(self, Self::Pause(_, lasts) | Self::Cut(_, lasts, CutMode::Stall) if *lasts < PATIENCE)
    }
}

impl Scenario {
    /// In how much time a step must be noticed.
    #[must_use]
    pub fn detection(&self, step: &Step) -> Duration {
        step.detection.or(self.detection.filter(|_| step.action.is_fault())).unwrap_or_else(|| step.action.detection())
    }

    /// What a step may cost, from its beginning until [`Self::over`].
    #[must_use]
    pub fn allow(&self, step: &Step) -> Allow {
        let slots = |time| slots(time, self.interval());
        let none = Allow::NOTHING;
        let promised = match &step.action {
            // It misses what fell into its pause, and perhaps the slot in which it wakes up; nobody takes its targets.
            Action::Pause(_, lasts) if step.action.is_short() => {
                Allow { gaps: Limit::AtMost(slots(*lasts) + 1), moved: Limit::AtMost(0), ..none }
            }
            Action::Cut(..) if step.action.is_short() => Allow { moved: Limit::AtMost(0), ..none },
            Action::Kill(_) => Allow { gaps: Limit::AtMost(slots(self.detection(step))), ..none },
            // What the sleeper had not sent comes after the samples of whoever took over.
            Action::Pause(..) => {
                Allow { gaps: Limit::AtMost(slots(self.detection(step))), refused: Limit::Any, markers: Limit::Any, ..none }
            }
            // Both sides reach all targets: there is no way to have neither gaps nor duplicates.
            Action::Cut(..) => Allow { gaps: Limit::Any, duplicates: Limit::Any, refused: Limit::Any, markers: Limit::Any, ..none },
            _ => none,
        };
        promised.with(step.allow)
    }

    /// When a step that may cost something must be over, from the beginning of the scenario: from then on nothing may be missing.
    #[must_use]
    pub fn over(&self, step: &Step) -> Duration {
        let healed = match step.action {
            Action::Kill(_) => self.detection(step),
            Action::Pause(..) | Action::Cut(..) if step.action.is_short() => CRASH,
            Action::Pause(..) | Action::Cut(..) => SILENCE,
            _ => Duration::ZERO,
        };
        step.at + step.action.lasts() + healed + self.interval()
    }
}

/// How many slots fit into a time, rounded up.
pub(crate) fn slots(time: Duration, interval: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(interval.as_nanos().max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;
    use crate::scenario::{Choice, Picked};

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn step(action: Action) -> Step {
        Step { at: S(10), action, allow: Override::default(), detection: None, line: 1 }
    }

    fn scenario(interval: u64) -> Scenario {
        Scenario { load: Load { interval: Some(S(interval)), ..Load::default() }, ..Scenario::default() }
    }

    fn one() -> Picked {
        Picked::one(Choice::Any)
    }

    #[test]
    fn slots_that_fit_into_a_time_are_rounded_up() {
        assert_eq!([slots(S(8), S(2)), slots(S(8), S(3)), slots(S(8), S(15)), slots(S(0), S(2))], [4, 3, 1, 0]);
    }

    #[test]
    fn planned_changes_may_cost_nothing() {
        for action in [
            Action::Join(6),
            Action::Leave(one()),
            Action::Restart(None, S(0)),
            Action::Receiver(super::super::ReceiverFault::Fails(503), S(60)),
        ] {
            assert_eq!(scenario(2).allow(&step(action)), Allow::NOTHING);
        }
    }

    #[test]
    fn a_crash_may_cost_the_slots_of_its_detection_and_nothing_twice() {
        let kill = step(Action::Kill(one()));
        let limit = |scenario: &Scenario| (scenario.allow(&kill).gaps, scenario.allow(&kill).duplicates);
        assert_eq!(limit(&scenario(2)), (Limit::AtMost(3), Limit::AtMost(0)));
        assert_eq!(limit(&scenario(15)), (Limit::AtMost(1), Limit::AtMost(0)));
        assert_eq!(limit(&Scenario { detection: Some(S(2)), ..scenario(1) }), (Limit::AtMost(2), Limit::AtMost(0)));
        let said = Step { detection: Some(S(8)), ..kill.clone() };
        assert_eq!(scenario(1).allow(&said).gaps, Limit::AtMost(8));
        assert_eq!(scenario(1).over(&kill), S(16));
    }

    #[test]
    fn short_faults_move_nothing_and_long_ones_must_be_over_in_time() {
        let (short, long) = (step(Action::Pause(one(), S(4))), step(Action::Pause(one(), S(20))));
        assert_eq!(scenario(1).allow(&short).moved, Limit::AtMost(0));
        assert_eq!((scenario(1).allow(&long).gaps, scenario(1).allow(&long).moved), (Limit::AtMost(10), Limit::Any));
        assert_eq!(scenario(1).over(&long), S(10 + 20 + 10 + 1));
        let reset = step(Action::Cut(one(), S(2), CutMode::Reset));
        assert_eq!(scenario(1).allow(&reset).duplicates, Limit::Any, "who is refused is gone at once");
    }

    #[test]
    fn a_file_says_otherwise() {
        let kill = Step {
            allow: Override { gaps: Some(Limit::AtMost(0)), markers: Some(Limit::Any), ..Override::default() },
            ..step(Action::Kill(one()))
        };
        let allow = scenario(1).allow(&kill);
        assert_eq!((allow.gaps, allow.markers, allow.duplicates), (Limit::AtMost(0), Limit::Any, Limit::AtMost(0)));
        assert!(Limit::Any.permits(u64::MAX) && Limit::AtMost(2).permits(2) && !Limit::AtMost(2).permits(3));
    }
}
