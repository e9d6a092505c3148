//! Who is meant: a node by its number, by its age, or any, which the seed decides so that a run can be repeated.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::load;
use crate::targets::mix;

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The node of this number: 2 is `node-2`.
    Node(usize),
    /// The one that joined first, of those that run.
    Oldest,
    /// The one that joined last, of those that run.
    Newest,
    /// One of those that run.
    Any,
}

/// One or several nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Who; chosen anew for each.
    pub node: Choice,
    /// How many.
    pub count: usize,
    /// The wait between one and the next.
    pub apart: Duration,
}

impl Picked {
    /// Just one.
    #[must_use]
    pub fn one(node: Choice) -> Self {
        Self { node, count: 1, apart: Duration::ZERO }
    }
}

impl Choice {
    /// The place of the chosen one in `running`, which are numbers of nodes in the order of their joining; `None` if it does not run.
    pub(crate) fn among(self, running: &[usize], seed: u64, turn: u64) -> Option<usize> {
        let last = running.len().checked_sub(1)?;
        match self {
            Self::Node(number) => running.iter().position(|n| *n == number),
            Self::Oldest => Some(0),
            Self::Newest => Some(last),
            Self::Any => Some((mix(seed, turn) % running.len() as u64) as usize),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(number) => write!(f, "node-{number}"),
            Self::Oldest => f.write_str("the oldest node"),
            Self::Newest => f.write_str("the newest node"),
            Self::Any => f.write_str("any node"),
        }
    }
}

/// What a choice may be.
const CHOICE: &str = "a node: its number, oldest, newest or any";

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChoiceVisitor)
    }
}

struct ChoiceVisitor;

impl Visitor<'_> for ChoiceVisitor {
    type Value = Choice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CHOICE)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Choice, E> {
        choice(text)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Choice, E> {
        choice(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Choice, E> {
        choice(&number.to_string())
    }
}

fn choice<E: serde::de::Error>(text: &str) -> Result<Choice, E> {
    match text {
        "oldest" => Ok(Choice::Oldest),
        "newest" => Ok(Choice::Newest),
        "any" => Ok(Choice::Any),
        number => {
            let number = number.strip_prefix("node-").unwrap_or(number).parse().ok().filter(|n| *n > 0);
            number
                .map(Choice::Node)
                .ok_or_else(|| E::custom(format!("{text:?} is no node: write its number from 1 on, oldest, newest or any")))
        }
    }
}

/// The long form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    node: Choice,
    #[serde(default)]
    count: Option<usize>,
    #[serde(default, deserialize_with = "load::duration")]
    apart: Option<Duration>,
}

impl<'de> Deserialize<'de> for Picked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PickedVisitor)
    }
}

struct PickedVisitor;

impl<'de> Visitor<'de> for PickedVisitor {
    type Value = Picked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CHOICE}; or the keys node, count and apart")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Picked, E> {
        choice(text).map(Picked::one)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Picked, E> {
        choice(&number.to_string()).map(Picked::one)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Picked, E> {
        choice(&number.to_string()).map(Picked::one)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Picked, A::Error> {
        let Long { node, count, apart } = Long::deserialize(MapAccessDeserializer::new(map))?;
        let count = count.unwrap_or(1);
        if count == 0 || (count > 1 && matches!(node, Choice::Node(_))) {
            return Err(A::Error::custom(
                "count must be at least 1, and 1 for a node that is named; pick oldest, newest or any for several",
            ));
        }
        Ok(Picked { node, count, apart: apart.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_one_is_among_those_that_run_and_any_follows_the_seed() {
        let running = [2, 3, 5];
        assert_eq!(Choice::Node(3).among(&running, 1, 0), Some(1));
        assert_eq!(Choice::Node(4).among(&running, 1, 0), None);
        assert_eq!((Choice::Oldest.among(&running, 1, 0), Choice::Newest.among(&running, 1, 0)), (Some(0), Some(2)));
        assert_eq!(Choice::Oldest.among(&[], 1, 0), None);
        let any = |seed| (0..20).map(|turn| Choice::Any.among(&running, seed, turn)).collect::<Vec<_>>();
        assert_eq!(any(1), any(1));
        assert_ne!(any(1), any(2));
        assert!((0..3).all(|place| any(1).contains(&Some(place))), "everybody's turn comes");
    }
}
