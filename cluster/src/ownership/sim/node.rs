//! A simulated node: the driver around a machine, with scrape loops that do nothing but keep a log.

use std::collections::BTreeMap;

use super::super::mutant::Mutant;
use super::gossip::{Beliefs, Fact, Stage};
use super::majority::Sight;
use crate::ownership::{KeySpec, Name, Now, Ownership, Settings, View};
use crate::placement::domain_of_rank;
use crate::slots::SlotClock;

/// Cluster name of all runs.
pub(super) const CLUSTER: &str = "sim";

/// A node's name.
pub(super) fn name_of(node: usize) -> Name {
    Name::from(format!("node-{node}"))
}

/// The node of a name.
pub(super) fn node_of(name: &str) -> usize {
    name.strip_prefix("node-").unwrap().parse().unwrap()
}

/// The domain whose keys are those of the first once more.
pub(super) const COPY: usize = 2;

/// A domain's name.
pub(super) fn domain_of(domain: usize) -> Name {
    match domain {
        COPY => Name::from(domain_of_rank(&domain_of(0), 1)),
        _ => Name::from(format!("prometheus.scrape.d{domain}")),
    }
}

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) incarnation: u64,
    pub(super) machine: Ownership,
    pub(super) beliefs: Beliefs,
    pub(super) stage: Stage,
    pub(super) synced: bool,
    /// Number of the last resynchronisation that was begun: an earlier one does not count any more.
    pub(super) sync_round: u64,
    /// (domain, key) → interval.
    pub(super) keys: BTreeMap<(usize, u64), u64>,
    pub(super) discovered: bool,
    pub(super) loops: BTreeMap<(Name, u64), Loop>,
    pub(super) stalled: bool,
    pub(super) leave_began: Option<u64>,
    /// When to start again after having left.
    pub(super) restart_after: Option<u64>,
    /// Its part in the majority, under that policy.
    pub(super) sight: Option<Sight>,
    skew: i64,
}

/// A scrape loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loop {
    pub(super) clock: SlotClock,
    pub(super) next: u64,
    pub(super) begun: Option<u64>,
    /// A timer of an earlier loop does nothing.
    pub(super) generation: u64,
    pub(super) stopping: bool,
}

impl Node {
    /// A node that has just started.
    pub(super) fn new(index: usize, incarnation: u64, skew: i64, now_ms: u64, mutant: Option<Mutant>) -> Self {
        let now = Now { mono_ms: now_ms, wall_ms: now_ms.saturating_add_signed(skew) };
        let mut settings = Settings::new(CLUSTER, name_of(index), incarnation);
        settings.audit_ms = 10_000;
        settings.ring_tokens = 16;
        let mut beliefs = Beliefs::default();
        beliefs.learn(index, Fact { incarnation, stage: Stage::Viewer });
        Self {
            index,
            incarnation,
            machine: Ownership::new(settings, now).with_mutant(mutant),
            beliefs,
            stage: Stage::Viewer,
            synced: false,
            sync_round: 0,
            keys: BTreeMap::new(),
            discovered: false,
            loops: BTreeMap::new(),
            stalled: false,
            leave_began: None,
            restart_after: None,
            sight: None,
            skew,
        }
    }

    /// Both clocks.
    pub(super) fn now(&self, now_ms: u64) -> Now {
        Now { mono_ms: now_ms, wall_ms: now_ms.saturating_add_signed(self.skew) }
    }

    /// The true time at which this node's clock shows an instant.
    pub(super) fn true_time(&self, wall_ms: u64) -> u64 {
        wall_ms.saturating_add_signed(-self.skew)
    }

    /// Until when scrapes may be begun.
    pub(super) fn scrape_until_ms(&self, now_ms: u64) -> u64 {
        let lease_ms = self.sight.as_ref().map_or(u64::MAX, |sight| sight.quorum.lease_ms(now_ms));
        self.machine.scrape_until_ms().min(lease_ms)
    }

    /// The view for the machine.
    pub(super) fn view(&self) -> View {
        View { members: self.beliefs.members(), zones: Default::default(), synced: self.synced, ready: true }
    }

    /// The discovered keys of a domain.
    pub(super) fn specs(&self, domain: usize) -> Vec<KeySpec> {
        let of_domain = self.keys.iter().filter(|((of, _), _)| *of == domain);
        of_domain.map(|((_, key), interval_ms)| KeySpec { key: *key, interval_ms: *interval_ms }).collect()
    }
}
