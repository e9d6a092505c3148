//! What a node believes about the others. News spread within three seconds to whoever can be reached; silence is noticed
//! after four to six.

use std::collections::{BTreeMap, BTreeSet};

use super::node::name_of;
use crate::ownership::{Member, MemberState};

/// Longest time that news take.
pub(super) const SPREAD_MS: u64 = 3_000;
/// Times within which a silent node is declared dead.
pub(super) const DETECT_MS: std::ops::RangeInclusive<u64> = 4_000..=6_000;

/// After a death was noticed, its keys are claimed within so many ms.
pub(super) const SETTLE_MS: u64 = 2_000;

/// What is said about a node. Later facts are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fact {
    pub(super) incarnation: u64,
    pub(super) stage: Stage,
}

/// A node's stage of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Viewer,
    Participant,
    Terminating,
    Left,
}

/// One node's beliefs.
#[derive(Debug, Clone, Default)]
pub(super) struct Beliefs {
    pub(super) facts: BTreeMap<usize, Fact>,
    /// Lives that are believed dead: (node, incarnation).
    pub(super) dead: BTreeSet<(usize, u64)>,
}

impl Beliefs {
    /// Takes a fact. Returns whether it was news.
    pub(super) fn learn(&mut self, about: usize, fact: Fact) -> bool {
        let known = self.facts.get(&about).copied();
        if known.is_some_and(|known| known >= fact) {
            return false;
        }
        self.facts.insert(about, fact);
        true
    }

    /// Takes over another node's beliefs.
    pub(super) fn merge(&mut self, other: &Self) {
        for (about, fact) in &other.facts {
            self.learn(*about, *fact);
        }
        self.dead.extend(other.dead.iter().copied());
    }

    /// The live members.
    pub(super) fn members(&self) -> Vec<Member> {
        let live = self.facts.iter().filter(|(node, fact)| !self.dead.contains(&(**node, fact.incarnation)));
        live.filter_map(|(node, fact)| {
            let state = match fact.stage {
                Stage::Viewer => MemberState::Viewer,
                Stage::Participant => MemberState::Participant,
                Stage::Terminating => MemberState::Terminating,
                Stage::Left => return None,
            };
            Some(Member { name: name_of(*node), incarnation: fact.incarnation, state })
        })
        .collect()
    }
}
