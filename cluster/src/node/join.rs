//! How a starting node finds its fleet, as a state machine without IO: what came of looking at the join addresses goes in, the
//! phase comes out.
//!
//! The rule. A node with join addresses never silently starts a fleet of its own while there may be one to join:
//!
//! 1. It is *formed* as soon as it knows a live member that is formed. Without join addresses it is formed at once.
//! 2. Each join address is *accounted for* if a peer was reached there, if it is this node itself, if it refuses connections or
//!    if its name has no records. A timeout, name servers that don't answer, or a peer that refuses this node (another name,
//!    version or key) account for nothing: somebody may be there.
//! 3. A node is *settled* once all its join addresses are accounted for. If each led to a peer (or itself) and at least one to
//!    a peer, that is at once; else they must have stayed accounted for during [`BOOTSTRAP_GRACE`], looked at again meanwhile.
//!    In this time the pods of a new StatefulSet, whose names may not resolve yet, find one another.
//! 4. A settled node is formed once no live member that it knows is still unsettled, since that one may yet find a fleet. So
//!    nodes that start together form one fleet together. All of them that are in touch decide alike; a node that was overlooked
//!    meets a formed member when it looks again, and joins it.
//! 5. Addresses that stay unaccounted for hold a node up for ever if it has reached nobody (it is a viewer and keeps trying, at
//!    most 2 s apart). If it has reached at least one peer that waits likewise, they go on without the rest after
//!    [`SILENT_GRACE`], with a warning: after a power cut one dead machine must not keep all others from working. Under the policy
//!    `majority` they must be more than the addresses that are missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use rand::seq::SliceRandom;
use tokio::time::Instant;

use crate::{membership::Phase, resolve::Source};

/// How long addresses without peers must stay so before a node starts a fleet.
pub(crate) const BOOTSTRAP_GRACE: Duration = Duration::from_secs(5);

/// How long peers that found one another wait for addresses that give no answer.
pub(crate) const SILENT_GRACE: Duration = Duration::from_secs(60);

/// First and longest pause between two looks while not in a fleet.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// What came of dialling an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A peer let this node in.
    Reached,
    /// It is this node.
    Own,
    /// Nothing listens there.
    Refused,
    /// Somebody may be there: no answer, or one that is no peer's.
    Silent,
    /// A peer refused this node.
    Rejected,
}

/// What came of resolving a join address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Not looked at yet.
    Unknown,
    /// The name servers know no such name.
    Absent,
    /// They gave no answer.
    Failed,
    /// It stands for these.
    Addrs(Vec<SocketAddr>),
}

/// What else is known when the phase is decided.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Others {
    /// Live members that are formed.
    pub(crate) formed: usize,
    /// Live members that are not settled yet.
    pub(crate) joining: usize,
    /// Live members.
    pub(crate) alive: usize,
}

/// A node's search for its fleet.
pub(crate) struct Join {
    addresses: Vec<(Source, Resolved)>,
    outcomes: BTreeMap<SocketAddr, (Outcome, Instant)>,
    /// Whether all addresses are accounted for; `None` when that is to be looked at anew.
    accounted: Option<bool>,
    max_peers: usize,
    /// A minority must not go on without silent addresses.
    cautious: bool,
    started: Instant,
    accounted_since: Option<Instant>,
    settled_since: Option<Instant>,
    rounds: u32,
}

impl Join {
    pub(crate) fn new(addresses: Vec<Source>, max_peers: usize, now: Instant) -> Self {
        Self {
            addresses: addresses.into_iter().map(|address| (address, Resolved::Unknown)).collect(),
            outcomes: BTreeMap::new(),
            accounted: None,
            max_peers: if max_peers == 0 { usize::MAX } else { max_peers },
            cautious: false,
            started: now,
            accounted_since: None,
            settled_since: None,
            rounds: 0,
        }
    }

    /// The same, but only with more than half of all in touch it goes on without addresses that give no answer.
    pub(crate) fn cautious(mut self, cautious: bool) -> Self {
        self.cautious = cautious;
        self
    }

    /// The search begins anew: this node lost its name or starts under another generation.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.outcomes.clear();
        self.accounted = None;
        self.started = now;
        (self.accounted_since, self.settled_since, self.rounds) = (None, None, 0);
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Source> {
        self.addresses.iter().map(|(address, _)| address)
    }

    /// The address at `index` was resolved.
    pub(crate) fn resolved(&mut self, index: usize, resolved: Resolved) {
        let Some((_, slot)) = self.addresses.get_mut(index).filter(|(_, slot)| *slot != resolved) else { return };
        let before = std::mem::replace(slot, resolved);
        self.accounted = None;
        if matches!(before, Resolved::Addrs(_)) {
            let wanted = self.targets();
            self.outcomes.retain(|addr, _| wanted.contains(addr));
        }
    }

    /// Whether the address at `index` stands for something else than before.
    pub(crate) fn is_news(&self, index: usize, addrs: &[SocketAddr]) -> bool {
        !self.addresses.get(index).is_some_and(|(_, known)| matches!(known, Resolved::Addrs(known) if known == addrs))
    }

    fn targets(&self) -> BTreeSet<SocketAddr> {
        let addrs = self.addresses.iter().filter_map(|(_, resolved)| match resolved {
            Resolved::Addrs(addrs) => Some(addrs),
            _ => None,
        });
        addrs.flatten().copied().collect()
    }

    fn is_target(&self, addr: SocketAddr) -> bool {
        self.addresses.iter().any(|(_, resolved)| matches!(resolved, Resolved::Addrs(addrs) if addrs.contains(&addr)))
    }

    /// Whom to dial in this round: those that were not dialled for longest first, in random order, without `known` ones.
    pub(crate) fn round(&mut self, known: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
        self.rounds = self.rounds.saturating_add(1);
        let mut addrs: Vec<_> = self.targets().into_iter().filter(|addr| !known(*addr)).collect();
        addrs.shuffle(&mut rand::rng());
        addrs.sort_by_key(|addr| self.outcomes.get(addr).map(|(_, at)| *at));
        addrs.truncate(self.max_peers);
        addrs
    }

    /// What came of dialling.
    pub(crate) fn dialled(&mut self, addr: SocketAddr, outcome: Outcome, now: Instant) {
        if self.is_target(addr) {
            self.outcomes.insert(addr, (outcome, now));
            self.accounted = None;
        }
    }

    /// A peer that this node had learnt of was reached: in a large fleet nearly all of them are, long before their turn comes.
    pub(crate) fn reached(&mut self, addr: SocketAddr, now: Instant) {
        self.dialled(addr, Outcome::Reached, now);
    }

    /// The same for peers that had a stream before they were looked for: they found this node first, or its search has begun anew.
    pub(crate) fn linked(&mut self, reaches: impl Fn(SocketAddr) -> bool, now: Instant) {
        let missed = |addr: &SocketAddr| !matches!(self.outcomes.get(addr), Some((Outcome::Reached, _)));
        let linked: Vec<SocketAddr> = self.targets().into_iter().filter(|addr| missed(addr) && reaches(*addr)).collect();
        linked.into_iter().for_each(|addr| self.reached(addr, now));
    }

    /// The pause after this round while not in a fleet.
    pub(crate) fn pause(&self) -> Duration {
        PAUSES.0.saturating_mul(1 << self.rounds.saturating_sub(1).min(8)).min(PAUSES.1)
    }

    /// Join addresses, or the discovery, that account for nothing, as text.
    pub(crate) fn unaccounted(&self) -> Vec<String> {
        let missing = |addr: &SocketAddr| match self.outcomes.get(addr) {
            Some((outcome, _)) => matches!(outcome, Outcome::Silent | Outcome::Rejected),
            None => true,
        };
        let mut texts = Vec::new();
        for (address, resolved) in &self.addresses {
            match resolved {
                Resolved::Unknown | Resolved::Failed => texts.push(address.to_string()),
                Resolved::Absent => {}
                Resolved::Addrs(addrs) => texts.extend(addrs.iter().filter(|addr| missing(addr)).map(SocketAddr::to_string)),
            }
        }
        texts
    }

    /// The phase by the rule above.
    pub(crate) fn phase(&mut self, others: Others, now: Instant) -> Phase {
        if self.addresses.is_empty() || others.formed > 0 {
            return Phase::Formed;
        }
        if !self.is_settled(others, now) {
            self.settled_since = None;
            return Phase::Joining;
        }
        let settled_since = *self.settled_since.get_or_insert(now);
        if others.joining == 0 || now.duration_since(settled_since) >= SILENT_GRACE {
            return Phase::Formed;
        }
        Phase::Settled
    }

    fn is_accounted(&mut self) -> bool {
        let accounted = self.accounted.unwrap_or_else(|| self.unaccounted().is_empty());
        *self.accounted.insert(accounted)
    }

    fn is_settled(&mut self, others: Others, now: Instant) -> bool {
        if !self.is_accounted() {
            let unaccounted = self.unaccounted().len();
            self.accounted_since = None;
            let enough = !self.cautious || others.alive + 1 > unaccounted;
            return enough && others.alive > 0 && now.duration_since(self.started) >= SILENT_GRACE;
        }
        let since = *self.accounted_since.get_or_insert(now);
        let met_all = !self.addresses.iter().any(|(_, resolved)| *resolved == Resolved::Absent)
            && self.outcomes.values().all(|(outcome, _)| matches!(outcome, Outcome::Reached | Outcome::Own))
            && self.outcomes.values().any(|(outcome, _)| *outcome == Outcome::Reached);
        met_all || now.duration_since(since) >= BOOTSTRAP_GRACE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Others = Others { formed: 0, joining: 0, alive: 0 };

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1))
    }

    fn join(addresses: &[&str]) -> (Join, Instant) {
        let now = Instant::now();
        let addresses = addresses.iter().map(|text| Source::Address(text.parse().unwrap())).collect();
        (Join::new(addresses, 5, now), now)
    }

    fn with_outcomes(outcomes: &[Outcome]) -> (Join, Instant) {
        let (mut join, now) = join(&["peers"]);
        let addrs: Vec<_> = (1..=outcomes.len() as u8).map(addr).collect();
        join.resolved(0, Resolved::Addrs(addrs.clone()));
        for (addr, outcome) in addrs.into_iter().zip(outcomes) {
            join.dialled(addr, *outcome, now);
        }
        (join, now)
    }

    fn after(mut join: Join, start: Instant, others: Others, seconds: u64) -> Phase {
        (0..=seconds).map(|second| join.phase(others, start + Duration::from_secs(second))).last().unwrap()
    }

    #[test]
    fn a_node_without_join_addresses_is_a_fleet_at_once() {
        let (mut join, now) = join(&[]);
        assert_eq!(join.phase(ALONE, now), Phase::Formed);
    }

    #[test]
    fn a_formed_member_ends_the_search_whatever_else_is_open() {
        let (mut join, now) = with_outcomes(&[Outcome::Silent, Outcome::Rejected]);
        assert_eq!(join.phase(Others { formed: 1, joining: 3, alive: 4 }, now), Phase::Formed);
    }

    #[test]
    fn while_somebody_may_be_there_a_node_alone_waits_for_ever() {
        for outcome in [Outcome::Silent, Outcome::Rejected] {
            let (join, now) = with_outcomes(&[Outcome::Refused, outcome]);
            assert_eq!(after(join, now, ALONE, 3600), Phase::Joining, "{outcome:?}");
        }
        let (mut unanswered, now) = join(&["peers"]);
        unanswered.resolved(0, Resolved::Failed);
        assert_eq!(after(unanswered, now, ALONE, 3600), Phase::Joining);
        let (untried, now) = join(&["peers"]);
        assert_eq!(after(untried, now, ALONE, 3600), Phase::Joining);
    }

    #[test]
    fn refusing_absent_and_own_addresses_let_a_fleet_start_after_the_grace() {
        for outcomes in [&[Outcome::Refused][..], &[Outcome::Own], &[Outcome::Own, Outcome::Refused]] {
            let (join, now) = with_outcomes(outcomes);
            assert_eq!(after(join, now, ALONE, 4), Phase::Joining, "{outcomes:?}");
            let (join, now) = with_outcomes(outcomes);
            assert_eq!(after(join, now, ALONE, 5), Phase::Formed, "{outcomes:?}");
        }
        let (mut absent, now) = join(&["peers"]);
        absent.resolved(0, Resolved::Absent);
        assert_eq!(after(absent, now, ALONE, 5), Phase::Formed);
    }

    #[test]
    fn the_grace_begins_anew_when_an_address_becomes_uncertain() {
        let (mut join, now) = with_outcomes(&[Outcome::Refused]);
        assert_eq!(join.phase(ALONE, now), Phase::Joining);
        let later = now + Duration::from_secs(4);
        join.dialled(addr(1), Outcome::Silent, later);
        assert_eq!(join.phase(ALONE, later), Phase::Joining);
        join.dialled(addr(1), Outcome::Refused, later);
        assert_eq!(join.phase(ALONE, later), Phase::Joining);
        assert_eq!(join.phase(ALONE, now + Duration::from_secs(6)), Phase::Joining);
        assert_eq!(join.phase(ALONE, later + Duration::from_secs(5)), Phase::Formed);
    }

    #[test]
    fn peers_that_reached_each_other_and_wait_for_nobody_form_a_fleet_at_once() {
        let (mut join, now) = with_outcomes(&[Outcome::Own, Outcome::Reached, Outcome::Reached]);
        assert_eq!(join.phase(Others { formed: 0, joining: 0, alive: 2 }, now), Phase::Formed);
    }

    #[test]
    fn a_settled_node_waits_for_peers_that_still_search_but_not_for_ever() {
        let others = Others { formed: 0, joining: 1, alive: 1 };
        let (join, now) = with_outcomes(&[Outcome::Reached]);
        assert_eq!(after(join, now, others, 59), Phase::Settled);
        let (join, now) = with_outcomes(&[Outcome::Reached]);
        assert_eq!(after(join, now, others, 60), Phase::Formed);
    }

    #[test]
    fn peers_in_company_go_on_without_a_silent_address_after_its_grace() {
        let others = Others { formed: 0, joining: 0, alive: 1 };
        let (join, now) = with_outcomes(&[Outcome::Reached, Outcome::Silent]);
        assert_eq!(join.unaccounted(), ["10.0.0.2:1"]);
        assert_eq!(after(join, now, others, 59), Phase::Joining);
        let (join, now) = with_outcomes(&[Outcome::Reached, Outcome::Silent]);
        assert_eq!(after(join, now, others, 60), Phase::Formed);
    }

    #[test]
    fn a_cautious_minority_waits_for_silent_addresses_without_end() {
        let outcomes = [Outcome::Reached, Outcome::Silent, Outcome::Silent];
        for (alive, phase) in [(1, Phase::Joining), (2, Phase::Formed)] {
            let (join, now) = with_outcomes(&outcomes);
            assert_eq!(after(join.cautious(true), now, Others { formed: 0, joining: 0, alive }, 3600), phase, "{alive} others");
        }
    }

    #[test]
    fn an_address_that_no_longer_resolves_is_no_longer_waited_for() {
        let (mut join, now) = with_outcomes(&[Outcome::Reached, Outcome::Silent]);
        join.resolved(0, Resolved::Addrs(vec![addr(1)]));
        assert_eq!(join.phase(Others { formed: 0, joining: 0, alive: 1 }, now), Phase::Formed);
    }

    #[test]
    fn rounds_are_bounded_and_take_turns() {
        let (mut join, now) = join(&["peers"]);
        let all: Vec<_> = (1..=12).map(addr).collect();
        join.resolved(0, Resolved::Addrs(all.clone()));
        let mut seen = BTreeSet::new();
        for round in 0..3 {
            let dialled = join.round(|addr| addr == all[0]);
            assert!(dialled.len() <= 5);
            for addr in dialled {
                join.dialled(addr, Outcome::Silent, now + Duration::from_secs(round));
                seen.insert(addr);
            }
        }
        assert_eq!(seen.len(), 11, "all but the known one");
    }

    #[test]
    fn pauses_grow_up_to_two_seconds() {
        let (mut join, _) = join(&["peers"]);
        let pauses: Vec<_> = (0..6)
            .map(|_| {
                join.round(|_| false);
                join.pause().as_millis()
            })
            .collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 2000, 2000]);
    }
}
