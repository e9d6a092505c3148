//! What a machine tells about itself: where each key stands, and totals.

use super::action::{Counters, Holder};
use super::entry::{Entry, Hold};
use super::machine::Ownership;
use super::view::Name;
use crate::placement::Basis;

impl Ownership {
    /// Where each key stands that this node has discovered or holds, by domain and key.
    pub fn holders(&self) -> impl Iterator<Item = Holder> {
        let entries = self.domains.values().flat_map(|domain| domain.keys.iter().map(move |(key, entry)| (domain, *key, entry)));
        let shown = entries.filter(|(_, _, entry)| entry.discovered() || !matches!(entry.hold, Hold::Idle));
        shown.map(|(domain, key, entry)| self.holder(&domain.name, key, entry))
    }

    /// Where one key stands.
    #[must_use]
    pub fn holder_of(&self, domain: &str, key: u64) -> Option<Holder> {
        let domain = self.domains.get(domain)?;
        domain.keys.get(&key).map(|entry| self.holder(&domain.name, key, entry))
    }

    /// Totals since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn holder(&self, domain: &Name, key: u64, entry: &Entry) -> Holder {
        let held = match &entry.hold {
            Hold::Held(held) => Some(held),
            _ => None,
        };
        let proposal = &self.placement.proposal;
        let first = self.placement.first(key, entry);
        let by_rule = first.is_some() && first == entry.owner.map(|owner| owner as usize);
        Holder {
            domain: domain.clone(),
            key,
            phase: entry.phase(),
            proposed: first.map(|index| proposal.ring().members()[index].clone()),
            basis: if by_rule { proposal.basis(domain, key) } else { Basis::Fallback },
            since_ms: held.map(|held| held.since_ms),
            reason: held.map(|held| held.reason.clone()),
            last_move: entry.moved.clone(),
        }
    }
}
