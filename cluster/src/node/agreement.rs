//! Notices members that have discovered other keys than this node though their configuration is the same: a discovery that fails or lags
//! there or here, or keys that are made of something that differs from node to node. It changes nothing about who holds what.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::driver::Driver;
use crate::{
    membership::{Record, State},
    ownership::{KeysDigest, Name},
};

/// How long discovered keys may differ until it is said. Most discoveries ask once a minute by default, each node at its own time, so
/// that a new target is seen up to a minute later by one node than by another; twice that, so that it takes more than one slow answer.
const DIFFERS_AFTER: Duration = Duration::from_secs(120);

/// Pause between two tellings of own keys that change: far below [`DIFFERS_AFTER`], and at 150 nodes whose targets change all the time less
/// than 5 KB/s for each.
const KEYS_PAUSE: Duration = Duration::from_secs(10);

/// Digests that are remembered of one node: with [`KEYS_PAUSE`] between them, those of [`DIFFERS_AFTER`] and some more.
const MAX_DIGESTS: usize = 16;

/// What is to be said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A member's keys have differed for too long.
    Differs { name: Name, ours: u64, theirs: u64 },
    /// They do not any more.
    Agrees { name: Name },
}

/// How this node's keys and the other members' compare.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    own: History,
    peers: BTreeMap<Name, Compared>,
}

#[derive(Debug)]
struct Compared {
    generation: u64,
    history: History,
    /// When both had the same keys last, if not at the same time: one may be ahead of the other.
    agreed: Instant,
    differs: bool,
}

/// The latest digests of a node, each with the last time at which it was in force. The newest comes last.
#[derive(Debug, Default)]
struct History(VecDeque<(KeysDigest, Instant)>);

impl History {
    fn note(&mut self, digest: KeysDigest, now: Instant) {
        match self.0.back_mut() {
            Some((last, at)) if *last == digest => *at = now,
            _ => self.0.push_back((digest, now)),
        }
        if self.0.len() > MAX_DIGESTS {
            self.0.pop_front();
        }
    }

    /// When a digest was in force last.
    fn last(&self, digest: KeysDigest) -> Option<Instant> {
        self.0.iter().rev().find(|(known, _)| *known == digest).map(|(_, at)| *at)
    }
}

impl Agreement {
    /// Whether a member's keys have differed for too long.
    pub(super) fn differs(&self, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.differs)
    }

    /// How many members' keys have.
    fn count(&self) -> usize {
        self.peers.values().filter(|peer| peer.differs).count()
    }

    /// Compares what members say of their keys with this node's. Only participants of the same configuration are compared.
    fn look<'a>(&mut self, me: &Record, others: impl Iterator<Item = &'a Record>, now: Instant) -> Vec<Finding> {
        let comparable = |record: &Record| {
            let same = !me.config_hash.is_empty() && record.config_hash == me.config_hash;
            record.targets.filter(|_| same && me.state == State::Participant && record.state == State::Participant)
        };
        let Some(ours) = comparable(me) else {
            self.peers.clear();
            return Vec::new();
        };
        self.own.note(ours, now);
        let (mut findings, mut before) = (Vec::new(), std::mem::take(&mut self.peers));
        for (record, theirs) in others.filter_map(|record| Some((record, comparable(record)?))) {
            let (name, generation) = (record.identity.name.clone(), record.identity.generation);
            let known = before.remove(&name).filter(|known| known.generation == generation);
            let mut peer = known.unwrap_or_else(|| Compared { generation, history: History::default(), agreed: now, differs: false });
            peer.compare(&self.own, (ours, theirs), now);
            let differs = now.duration_since(peer.agreed) >= DIFFERS_AFTER;
            match (std::mem::replace(&mut peer.differs, differs), differs) {
                (false, true) => findings.push(Finding::Differs { name: name.clone(), ours: ours.count, theirs: theirs.count }),
                (true, false) => findings.push(Finding::Agrees { name: name.clone() }),
                _ => {}
            }
            self.peers.insert(name, peer);
        }
        findings
    }
}

impl Compared {
    fn compare(&mut self, own: &History, (ours, theirs): (KeysDigest, KeysDigest), now: Instant) {
        self.history.note(theirs, now);
        for agreed in [own.last(theirs), self.history.last(ours)].into_iter().flatten() {
            self.agreed = self.agreed.max(agreed);
        }
    }
}

impl Driver {
    /// Tells members which keys this node has discovered.
    pub(super) fn tell_keys(&mut self, now: Instant) {
        let keys = Some(self.owner.keys_digest());
        if now >= self.state.next_keys && self.local.record.lock().targets != keys {
            self.state.next_keys = now + KEYS_PAUSE;
            self.change_record(|record| record.targets = keys);
        }
    }

    /// Says which members' keys have begun or ceased to differ for too long.
    pub(super) fn compare_keys(&mut self, now: Instant) {
        let me = self.local.record();
        let findings = self.state.agreement.look(&me, self.table.alive(), now);
        self.local.metrics.target_set_mismatch.set(self.state.agreement.count() as i64);
        self.state.dirty |= !findings.is_empty();
        for finding in findings {
            match finding {
                Finding::Differs { name, ours, theirs } => tracing::warn!(
                    peer = %name,
                    ours,
                    theirs,
                    "a member of the same configuration has discovered other targets than this node for {} s: a discovery may fail or lag \
                     on one of them, or differ in what makes targets' keys; a target that only one knows is scraped by that one",
                    DIFFERS_AFTER.as_secs()
                ),
                Finding::Agrees { name } => tracing::info!(peer = %name, "a member has discovered the same targets as this node again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::{Identity, Phase};

    const SECOND: Duration = Duration::from_secs(1);

    fn record(name: &str, keys: u64) -> Record {
        Record {
            identity: Identity { name: name.into(), generation: 1, addr: "10.0.0.1:1".parse().unwrap() },
            state: State::Participant,
            phase: Phase::Formed,
            ready: true,
            left: false,
            counter: 1,
            version: String::new(),
            config_hash: "abc".into(),
            placement: crate::placement::Version::default(),
            load: 0,
            zone: String::new(),
            policy: crate::quorum::PartitionPolicy::Both,
            targets: Some(KeysDigest { count: keys, sum: keys }),
        }
    }

    /// Looks each second; `ours` and `theirs` say how many keys there are in a second. The seconds with findings.
    fn findings(seconds: u64, ours: impl Fn(u64) -> u64, theirs: impl Fn(u64) -> Record) -> Vec<(u64, Finding)> {
        let (mut agreement, start) = (Agreement::default(), Instant::now());
        let look = |second| {
            let found = agreement.look(&record("me", ours(second)), [&theirs(second)].into_iter(), start + SECOND * second as u32);
            found.into_iter().map(move |finding| (second, finding)).collect::<Vec<_>>()
        };
        (0..seconds).flat_map(look).collect()
    }

    #[test]
    fn a_difference_is_said_once_after_two_minutes_and_its_end() {
        let theirs = |second| record("b", if (10..500).contains(&second) { 3 } else { 4 });
        let differs = Finding::Differs { name: "b".into(), ours: 4, theirs: 3 };
        assert_eq!(findings(600, |_| 4, theirs), [(9 + 120, differs), (500, Finding::Agrees { name: "b".into() })]);
    }

    #[test]
    fn a_member_that_lags_or_is_ahead_agrees() {
        let now = |second: u64| second / 10;
        assert_eq!(findings(600, now, |second| record("b", now(second.saturating_sub(45)))), []);
        assert_eq!(findings(600, now, |second| record("b", now(second + 45))), []);
        let stuck = findings(600, now, |second| record("b", now(second.min(100))));
        assert_eq!(stuck, [(109 + 120, Finding::Differs { name: "b".into(), ours: 22, theirs: 10 })]);
    }

    #[test]
    fn members_of_another_configuration_state_or_version_are_not_compared() {
        let other = |change: fn(&mut Record)| {
            findings(
                300,
                |_| 4,
                move |_| {
                    let mut other = record("b", 3);
                    change(&mut other);
                    other
                },
            )
        };
        assert_eq!(other(|_| {}).len(), 1);
        assert_eq!(other(|record| record.config_hash = "def".into()), []);
        assert_eq!(other(|record| record.state = State::Viewer), []);
        assert_eq!(other(|record| record.targets = None), []);
    }

    #[test]
    fn a_member_that_starts_anew_has_its_time_again() {
        let reborn = |second: u64| {
            let mut reborn = record("b", 3);
            reborn.identity.generation += second / 100;
            reborn
        };
        assert_eq!(findings(600, |_| 4, reborn), []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut agreement, now) = (Agreement::default(), Instant::now());
        for keys in 0..1_000 {
            agreement.look(&record("me", keys), [&record("b", keys + 7)].into_iter(), now);
        }
        assert!(agreement.own.0.len() <= MAX_DIGESTS && agreement.peers["b"].history.0.len() <= MAX_DIGESTS);
        agreement.look(&record("me", 1), std::iter::empty(), now);
        assert!(agreement.peers.is_empty());
    }
}
