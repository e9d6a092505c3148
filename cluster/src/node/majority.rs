//! The policy `majority` at work: standings go out and come in, this node stops when no majority hears it and goes on when one does,
//! and losses count once they are agreed. The rules are `quorum`'s; with the policy `both` nothing here does anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    time::Duration,
};

use tokio::time::Instant;

use super::driver::{Driver, Sync};
use crate::{
    membership::{Identity, Phase, Record, State, table::Presence},
    ownership::Name,
    quorum::{Census, Members, PartitionPolicy, Peer, Quorum, Standing},
    transport::{frame::Kind, standing},
};

/// What is not ready without a majority.
const TROUBLE: &str = "it hears no majority of the fleet and scrapes nothing (--cluster.partition-policy=majority)";

/// How long members that are not ready to take part may keep the first electorate from being founded.
const FOUNDING_GRACE: Duration = Duration::from_secs(2);

/// This node's part in the majority, and what follows from it.
pub(crate) struct Majority {
    quorum: Quorum,
    /// The policy is in force: all live members have it, and this node has not worked without it since. From the start on, so that no
    /// node works before it knows better.
    pub(super) enforced: bool,
    /// This node may work.
    pub(super) works: bool,
    /// Some members have another policy.
    mixed: bool,
    /// Some had, and this node may be working without a majority since.
    was_mixed: bool,
    /// Members that are lost in this node's own sight only. They are asked as if they were alive.
    suspects: BTreeSet<(Name, u64)>,
    /// Losses that a majority has agreed on.
    agreed: BTreeSet<(Name, u64)>,
    /// Since when this node is the one to found the electorate.
    founding_since: Option<Instant>,
    /// Electors that are not there, and since when.
    absent: BTreeMap<Name, Instant>,
}

impl Majority {
    pub(crate) fn new(me: &Identity, policy: PartitionPolicy, now_ms: u64) -> Self {
        let enforced = policy == PartitionPolicy::Majority;
        Self {
            quorum: Quorum::new(me.name.clone(), me.generation, now_ms),
            enforced,
            works: !enforced,
            mixed: false,
            was_mixed: false,
            suspects: BTreeSet::new(),
            agreed: BTreeSet::new(),
            founding_since: None,
            absent: BTreeMap::new(),
        }
    }

    /// This node begins anew under another generation: it knows of no electorate.
    pub(super) fn restart(&mut self, me: &Identity, now_ms: u64) {
        self.quorum = Quorum::new(me.name.clone(), me.generation, now_ms);
    }

    /// Whether a leaver would take a vote away that the others need.
    fn is_needed(&self) -> bool {
        self.enforced && self.works && !self.quorum.may_go()
    }
}

fn process(record: &Record) -> (Name, u64) {
    (record.identity.name.clone(), record.identity.generation)
}

impl Driver {
    fn may_be_majority(&self) -> bool {
        self.config.partition_policy == PartitionPolicy::Majority
    }

    /// Before every input: beyond its lease a node does nothing but give up what it holds.
    pub(super) fn check_lease(&mut self) {
        if !self.majority.enforced {
            return;
        }
        let now_ms = self.clock.mono_ms();
        let lease_ms = self.majority.quorum.lease_ms(now_ms);
        self.owner.set_lease(lease_ms);
        let works = lease_ms > now_ms;
        if std::mem::replace(&mut self.majority.works, works) == works {
            return;
        }
        self.state.dirty = true;
        self.works.store(works, Ordering::Relaxed);
        if works {
            tracing::info!("a majority of the fleet hears this node: it synchronises with its peers and goes on");
            self.state.sync = Sync::Needed(Instant::now());
            self.trouble.store(None);
            return;
        }
        tracing::warn!(held = self.owner.held(), "no majority of the fleet hears this node: it stops scraping");
        self.trouble.store(Some(std::sync::Arc::new(TROUBLE.to_owned())));
        let effects = self.owner.isolate();
        self.carry_out(effects);
    }

    /// With every tick.
    pub(super) fn keep_majority(&mut self) {
        if !self.may_be_majority() {
            return;
        }
        let now_ms = self.clock.mono_ms();
        self.found_if_due();
        let census = self.census();
        self.majority.quorum.govern(now_ms, &census);
        self.enforce();
        self.check_lease();
        self.agree_on_losses(now_ms);
        self.report_standing(now_ms);
    }

    /// Whether the policy is in force. While a live member has another one it is not: otherwise a fleet could not change it node by
    /// node. A node that works takes it up once it has a majority, so that nothing rests for it.
    fn enforce(&mut self) {
        let now_ms = self.clock.mono_ms();
        let mixed = self.table.alive().any(|record| record.policy != PartitionPolicy::Majority);
        if std::mem::replace(&mut self.majority.mixed, mixed) != mixed {
            self.local.metrics.policy_mixed.set(i64::from(mixed));
            match mixed {
                true => tracing::warn!(
                    "members have different partition policies: the fleet follows `both` until all have --cluster.partition-policy=majority"
                ),
                false => tracing::info!("all members have the partition policy `majority`"),
            }
        }
        self.majority.was_mixed |= mixed;
        let has_lease = self.majority.quorum.lease_ms(now_ms) > now_ms;
        let enforced = !mixed && (has_lease || !self.majority.was_mixed);
        if std::mem::replace(&mut self.majority.enforced, enforced) == enforced {
            return;
        }
        self.state.dirty = true;
        self.owner.require_answers(enforced);
        if enforced {
            self.majority.was_mixed = false;
        } else {
            self.majority.works = true;
            self.works.store(true, Ordering::Relaxed);
            self.owner.set_lease(u64::MAX);
        }
    }

    /// The member with the smallest name founds the electorate of a fleet that has none, once it has heard from all that they know
    /// of none either.
    fn found_if_due(&mut self) {
        let me = self.local.record();
        let takes_part = |record: &Record| record.state == State::Participant && record.phase == Phase::Formed;
        if self.majority.quorum.state().is_some() || self.majority.mixed || !takes_part(&me) || !self.state.ready {
            return;
        }
        let others: Vec<&Record> = self.table.alive().collect();
        let smallest = others.iter().filter(|record| takes_part(record)).all(|record| me.identity.name < record.identity.name);
        if !smallest {
            self.majority.founding_since = None;
            return;
        }
        let since = *self.majority.founding_since.get_or_insert(Instant::now());
        let heard = |record: &&&Record| self.majority.quorum.heard(&record.identity.name) > 0;
        let silent = others.iter().filter(|record| record.phase == Phase::Formed && !heard(record)).count();
        let complete = others.iter().all(|record| takes_part(record));
        if silent > 0 || (!complete && since.elapsed() < FOUNDING_GRACE) {
            return;
        }
        let members: Members = others.into_iter().filter(|record| takes_part(record)).chain([&me]).map(process).collect();
        tracing::info!(electors = members.len(), "an electorate is founded");
        self.majority.quorum.found(self.clock.now().wall_ms, members);
    }

    fn census(&mut self) -> Census {
        let now = Instant::now();
        let me = self.local.record();
        let members = || self.table.alive().chain([&me]).filter(|record| record.phase == Phase::Formed);
        let present: Members = members().filter(|record| record.state == State::Participant).map(process).collect();
        let leaving = members().filter(|record| record.state == State::Terminating).map(|record| record.identity.name.clone());
        let left = self.table.left().map(|record| record.identity.name.clone());
        let leaving: BTreeSet<Name> = leaving.chain(left).collect();
        let electors = self.majority.quorum.state().map(|state| state.members.clone()).unwrap_or_default();
        let there = |name: &Name| *name == me.identity.name || matches!(self.table.get(name), Some((_, Presence::Alive)));
        self.majority.absent.retain(|name, _| electors.contains_key(name) && !there(name));
        for name in electors.keys().filter(|name| !there(name)) {
            self.majority.absent.entry(name.clone()).or_insert(now);
        }
        let patience = self.config.forget_after;
        let is_over = |since: Instant| !patience.is_zero() && now.duration_since(since) >= patience;
        let forgotten = self.majority.absent.iter().filter(|(_, since)| is_over(**since)).map(|(name, _)| name.clone()).collect();
        Census { present, leaving, forgotten }
    }

    fn agree_on_losses(&mut self, now_ms: u64) {
        let lost = self.lost();
        self.majority.agreed = self.majority.quorum.agreed(now_ms, &lost);
        let suspects: BTreeSet<_> =
            lost.into_iter().filter(|process| self.majority.enforced && !self.majority.agreed.contains(process)).collect();
        if self.majority.suspects != suspects {
            self.majority.suspects = suspects;
            self.state.dirty = true;
        }
    }

    fn lost(&self) -> Vec<(Name, u64)> {
        self.table.lost().map(process).collect()
    }

    fn report_standing(&mut self, now_ms: u64) {
        let known = self.table.alive().chain(self.table.lost()).filter(|record| record.policy == PartitionPolicy::Majority);
        let peers: Vec<Peer> = known.map(|record| peer(&record.identity)).collect();
        let lost = self.lost();
        for (to, standing) in self.majority.quorum.report(now_ms, &peers, &lost) {
            self.send_standing(&to, &standing);
        }
    }

    fn send_standing(&self, to: &Name, standing: &Standing) {
        // Without a stream nothing goes: the next one says the same.
        self.links.send(to, Kind::Standing, standing::Standing::write(standing));
    }

    /// A member has told its standing. One that is held for lost is not told that it was heard.
    pub(super) fn standing(&mut self, from: &Identity, standing: Standing) {
        let presence = self.table.get(&from.name).filter(|(known, _)| known.identity == *from).map(|(_, presence)| presence);
        let held_for_lost = match presence {
            Some(Presence::Alive) => false,
            Some(Presence::Lost) => true,
            Some(Presence::Left) | None => return,
        };
        if !self.may_be_majority() {
            return;
        }
        let now_ms = self.clock.mono_ms();
        self.majority.quorum.receive(now_ms, &peer(from), standing, held_for_lost);
        if let Some(answer) = self.majority.quorum.answer(now_ms, &from.name) {
            self.send_standing(&from.name, &answer);
        }
    }

    /// What goes with an ownership message to a member as proof of its age; nothing to one of the policy `both`.
    pub(super) fn date_for(&self, to: &str) -> Option<u64> {
        let dated = self.may_be_majority() && self.table.get(to).is_some_and(|(record, _)| record.policy == PartitionPolicy::Majority);
        dated.then(|| self.majority.quorum.heard(to))
    }

    /// Whether an ownership message may count. One that was under way for long may be from before its sender's keys were given to others.
    pub(super) fn is_timely(&self, dated: Option<u64>) -> bool {
        let fresh = |number| self.majority.quorum.is_fresh(self.clock.mono_ms(), number);
        let timely = !self.majority.enforced || dated.is_some_and(fresh);
        if !timely {
            self.local.metrics.late_messages.inc();
        }
        timely
    }

    /// Members that are lost in this node's own sight, but perhaps not dead.
    pub(super) fn suspects(&self) -> impl Iterator<Item = &Record> {
        self.table.lost().filter(|record| self.majority.suspects.contains(&process(record)))
    }

    /// Whether the process is dead for certain, as far as the policy wants that to be known.
    pub(super) fn is_given_up(&self, who: &Identity) -> bool {
        !self.majority.enforced || self.majority.agreed.contains(&(who.name.clone(), who.generation))
    }

    /// Whether the others still need this leaver's vote: then they first agree to do without it.
    pub(super) fn is_needed(&self) -> bool {
        let stays = |record: &Record| record.state == State::Participant;
        self.majority.is_needed() && self.table.alive().any(stays)
    }

    pub(super) fn report_majority(&self) {
        let works = self.majority.works;
        let metrics = &self.local.metrics;
        metrics.quorum.set(i64::from(works));
        metrics.electors.set(self.majority.quorum.state().map_or(0, |state| state.members.len() as i64));
        if !works && self.trouble.load().is_none() {
            self.trouble.store(Some(std::sync::Arc::new(TROUBLE.to_owned())));
        }
    }
}

fn peer(identity: &Identity) -> Peer {
    Peer { name: identity.name.clone(), generation: identity.generation }
}
