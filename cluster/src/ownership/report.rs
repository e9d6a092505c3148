//! What a machine tells about itself: where each key stands, and totals.

use super::action::{Candidacy, Counters, Holder, MAX_CANDIDATES};
use super::entry::{Entry, Hold};
use super::machine::Ownership;
use super::view::Name;
use crate::placement::{Basis, Weighed};

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

    /// Keys that this node holds, not weighed.
    pub(crate) fn held(&self) -> Vec<Weighed> {
        let mut held = Vec::new();
        for (name, domain) in &self.domains {
            for (key, entry) in domain.keys.iter().filter(|(_, entry)| matches!(entry.hold, Hold::Held(_))) {
                let first = self.placement.first(*key, entry);
                let settled = first.is_some_and(|index| self.placement.ids[index].is_none());
                held.push(Weighed { domain: name.clone(), key: *key, weight: None, settled });
            }
        }
        held
    }

    /// Members in the order in which they should hold a key, by this node's view; at most [`MAX_CANDIDATES`].
    pub(crate) fn candidates(&self, domain: &str, key: u64) -> Vec<Candidacy> {
        let proposal = &self.placement.proposal;
        let entry = self.domains.get(domain).and_then(|domain| domain.keys.get(&key));
        let seat = proposal.seat(domain, key);
        let candidacy = |index: usize| Candidacy {
            name: proposal.ring().members()[index].clone(),
            basis: if Some(index) == seat.owner.map(|owner| owner as usize) { proposal.basis(domain, key) } else { Basis::Fallback },
            knows: match self.placement.ids[index] {
                None => entry.is_some_and(Entry::discovered),
                Some(peer) => entry.is_none_or(|entry| !entry.unknown_at.contains(&peer)),
            },
        };
        proposal.line(key, &seat).into_iter().take(MAX_CANDIDATES).map(candidacy).collect()
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
        let by_rule = first.is_some() && first == entry.seat.owner.map(|owner| owner as usize);
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
