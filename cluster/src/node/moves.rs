//! The log of what has moved. Keys come and go by the thousand at once: they are counted by where they came from or went to, and told once
//! in a while, with the slots that nobody has scraped in between.

use std::collections::BTreeMap;

use crate::ownership::{Name, Start, StartReason, StopReason};

/// Most lines at a time; what else has moved is told as a number.
const MAX_LINES: usize = 32;

/// Which way keys went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Handed over by a member.
    From(Name),
    /// Nobody had them; the member that was to have them and has left, if that is known.
    Free(Option<Name>),
    /// A member did not take them.
    Back(Name),
    /// Handed over to a member.
    To(Name),
}

/// How many went that way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    keys: u64,
    /// Slots that nobody has, over all keys of which the last slot before is known.
    gap_slots: u64,
    /// Of the key that has most of them.
    longest_gap: u64,
    /// Keys whose last slot before nobody knows, as their holder died.
    gap_unknown: u64,
}

/// Moves that have not been told yet, by domain and way.
#[derive(Debug, Default)]
pub(super) struct Moves(BTreeMap<(Name, Way), Tally>);

impl Moves {
    /// A key is scraped here from now on.
    pub(super) fn arrived(&mut self, start: &Start) {
        let way = match &start.reason {
            StartReason::Handover { from } => Way::From(from.clone()),
            StartReason::Free { left } => Way::Free(left.clone()),
            StartReason::Returned { by } => Way::Back(by.clone()),
            StartReason::Rescheduled => return,
        };
        let tally = self.0.entry((start.domain.clone(), way)).or_default();
        tally.keys += 1;
        tally.gap_slots = tally.gap_slots.saturating_add(start.gap.unwrap_or(0));
        tally.longest_gap = tally.longest_gap.max(start.gap.unwrap_or(0));
        tally.gap_unknown += u64::from(start.gap.is_none());
    }

    /// A key is no longer scraped here.
    pub(super) fn left(&mut self, domain: &Name, reason: &StopReason) {
        if let StopReason::Handover { to } = reason {
            self.0.entry((domain.clone(), Way::To(to.clone()))).or_default().keys += 1;
        }
    }

    /// Tells what has moved since the last time.
    pub(super) fn tell(&mut self) {
        let moves = std::mem::take(&mut self.0);
        for ((domain, way), tally) in moves.iter().take(MAX_LINES) {
            let Tally { keys, gap_slots, longest_gap, gap_unknown } = tally;
            match way {
                Way::From(from) => tracing::info!(%domain, %from, keys, gap_slots, longest_gap, "keys were taken over"),
                Way::Back(from) => tracing::info!(%domain, %from, keys, gap_slots, longest_gap, "keys were not taken and stay here"),
                Way::To(to) => tracing::info!(%domain, %to, keys, "keys were given away"),
                Way::Free(left) => {
                    let left = left.as_deref().unwrap_or_default();
                    tracing::info!(%domain, left, keys, gap_slots, longest_gap, gap_unknown, "keys that nobody held are held here");
                }
            }
        }
        if moves.len() > MAX_LINES {
            let keys: u64 = moves.values().skip(MAX_LINES).map(|tally| tally.keys).sum();
            tracing::info!(keys, "more keys have moved");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(reason: StartReason, gap: Option<u64>) -> Start {
        Start { domain: "d".into(), key: 1, first_slot: 1, reason, state: None, gap }
    }

    #[test]
    fn keys_are_counted_by_the_way_they_went_with_the_slots_that_nobody_has() {
        let mut moves = Moves::default();
        let from = |name: &str| StartReason::Handover { from: name.into() };
        for (reason, gap) in [(from("a"), Some(0)), (from("a"), Some(3)), (from("a"), Some(1)), (from("b"), Some(0))] {
            moves.arrived(&start(reason, gap));
        }
        let free = || StartReason::Free { left: Some("c".into()) };
        moves.arrived(&start(free(), None));
        moves.arrived(&start(free(), Some(2)));
        moves.arrived(&start(StartReason::Rescheduled, None));
        moves.left(&"d".into(), &StopReason::Handover { to: "a".into() });
        moves.left(&"d".into(), &StopReason::Undiscovered);
        let told: Vec<(Way, Tally)> = moves.0.iter().map(|((_, way), tally)| (way.clone(), *tally)).collect();
        let tally = |keys, gap_slots, longest_gap, gap_unknown| Tally { keys, gap_slots, longest_gap, gap_unknown };
        assert_eq!(
            told,
            [
                (Way::From("a".into()), tally(3, 4, 3, 0)),
                (Way::From("b".into()), tally(1, 0, 0, 0)),
                (Way::Free(Some("c".into())), tally(2, 2, 2, 1)),
                (Way::To("a".into()), tally(1, 0, 0, 0)),
            ]
        );
        moves.tell();
        assert!(moves.0.is_empty());
    }
}
