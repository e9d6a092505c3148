//! What follows from the node's inputs, drawn after each of them: the own record and state, the view that the ownership machine
//! gets, the list of peers, the streams to keep, the gauges.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Peer,
    driver::{Driver, Sync},
    events::JoinEvent,
    links::Wanted,
    peer::Sight,
};
use crate::{
    membership::{Phase, Record, State, table::Change},
    ownership::{Member, MemberState, View},
    transport::frame::Kind,
};

/// Least time between two views for the ownership machine: each may build a ring, and a fleet that starts changes by the dozen.
/// A change after a quiet time counts at once.
const VIEW_PAUSE: Duration = Duration::from_millis(100);

impl Driver {
    /// Draws the consequences of what has happened.
    pub(super) async fn settle(&mut self) {
        let now = Instant::now();
        self.decide_phase(now);
        self.apply_changes();
        self.search(now);
        self.synchronise(now);
        self.tell_ring(now);
        self.decide_state(now);
        self.tell_keys(now);
        self.leave_if_done(now);
        if self.state.unpublished {
            self.publish().await;
        }
        if self.state.dirty && now >= self.state.next_view {
            self.state.dirty = false;
            self.state.next_view = now + VIEW_PAUSE;
            self.update_view();
            self.update_peers();
        }
        self.local.metrics.updating.set(i64::from(self.state.dirty));
        if std::mem::take(&mut self.state.relink) {
            self.keep_links(now);
        }
    }

    fn apply_changes(&mut self) {
        if self.table.has_changes() || self.local.company.get() == 0 {
            self.local.company.set(self.table.company());
        }
        for change in self.table.take_changes() {
            (self.state.dirty, self.state.relink) = (true, true);
            self.tell_change(&change);
            let metrics = &self.local.metrics;
            match change {
                Change::Joined(_) => metrics.gossip_event("node_join"),
                Change::Updated(_) | Change::Replaced { .. } => metrics.gossip_event("node_update"),
                Change::Left(_) => metrics.gossip_event("node_leave"),
                Change::Lost { .. } => {
                    metrics.gossip_event("node_leave");
                    metrics.members_lost.inc();
                }
                Change::Superseded(by) => self.superseded(&format!("the process at {} has a higher generation", by.addr)),
            }
        }
    }

    fn tell_change(&mut self, change: &Change) {
        if matches!(change, Change::Updated(_) | Change::Superseded(_)) {
            return;
        }
        match self.state.log_budget.spend(Instant::now()) {
            None => return,
            Some(0) => {}
            Some(kept) => tracing::warn!(kept, "members change so often that not all changes are told: does a peer invent them?"),
        }
        match change {
            Change::Joined(who) => tracing::info!(node = %who.name, addr = %who.addr, "a member is there"),
            Change::Replaced { old, new } => {
                tracing::info!(node = %new.name, old = %old.addr, new = %new.addr, "a member has started anew");
            }
            Change::Left(who) => tracing::info!(node = %who.name, addr = %who.addr, "a member has left"),
            Change::Lost { who, why } => tracing::warn!(node = %who.name, addr = %who.addr, why, "a member is gone without a goodbye"),
            Change::Updated(_) | Change::Superseded(_) => {}
        }
    }

    /// Changes the own record as a new version of it.
    pub(super) fn change_record(&mut self, change: impl FnOnce(&mut Record)) {
        let mut record = self.local.record.lock();
        let before = record.clone();
        change(&mut record);
        if *record == before {
            return;
        }
        self.state.lamport += 1;
        record.counter = self.state.lamport;
        (self.state.unpublished, self.state.dirty) = (true, true);
    }

    /// Which state this node is in, and whether the fleet may work.
    fn decide_state(&mut self, now: Instant) {
        let me = self.local.record();
        let formed = me.phase == Phase::Formed && !self.state.conflict;
        let state = match (&self.state.leaving, formed && self.state.wants_to_participate) {
            (Some(_), _) => State::Terminating,
            (None, true) => State::Participant,
            (None, false) => State::Viewer,
        };
        let ready = self.state.ready || (formed && self.is_ready(state, now));
        self.change_record(|record| (record.state, record.ready) = (state, ready));
        self.state.ready = ready;
        // Told in the order in which it is understood: first which fleet it is.
        if state == State::Participant && ready && self.state.ring_to_tell.is_none() && !self.state.admitted {
            self.state.admitted = true;
            self.narrate(JoinEvent::Admitting);
        }
    }

    /// Whether a new fleet is large enough. A member that is ready belongs to a fleet that works, and so does this node then.
    fn is_ready(&mut self, own: State, now: Instant) -> bool {
        let wanted = self.config.wait_for_size;
        let working = |state| usize::from(matches!(state, State::Participant | State::Terminating));
        let participants = working(own) + self.table.count(State::Participant) + self.table.count(State::Terminating);
        let waited = now.duration_since(self.state.started);
        let timed_out = !self.config.wait_timeout.is_zero() && waited >= self.config.wait_timeout;
        if wanted <= 1 || participants >= wanted || self.table.alive().any(|record| record.ready) {
            return true;
        }
        if timed_out {
            tracing::warn!(participants, wanted, "the fleet begins work below its wanted size: the wait timed out");
            return true;
        }
        if !std::mem::replace(&mut self.state.warned_of_size, true) {
            tracing::info!(participants, wanted, "the fleet waits for its wanted size");
            self.narrate(JoinEvent::BelowSize { participants, wanted });
        }
        false
    }

    async fn publish(&mut self) {
        self.state.unpublished = false;
        let record = self.local.record();
        let news = self.news(Vec::new(), Vec::new());
        self.links.broadcast(Kind::Members, &news);
        self.local.metrics.broadcast("state_change");
        match &mut self.gossip {
            None => self.start_gossip().await,
            Some(gossip) => {
                if let Err(error) = gossip.publish(&record).await {
                    tracing::error!(%error, "gossip could not be started again");
                    self.gossip = None;
                }
            }
        }
    }

    fn update_view(&mut self) {
        let me = self.local.record();
        let timer = self.local.metrics.update_duration.start_timer();
        let members = self.table.alive().chain(self.suspects()).chain([&me]).map(member).collect();
        let zoned = self.table.alive().chain([&me]).filter(|record| !record.zone.is_empty());
        let zones = zoned.map(|record| (record.identity.name.clone(), record.zone.as_str().into())).collect();
        let synced = me.phase == Phase::Formed && self.state.sync == Sync::Done && !self.state.conflict && self.majority.works;
        let effects = self.owner.set_view(View { members, zones, synced, ready: self.state.ready });
        timer.observe_duration();
        self.carry_out(effects);
        self.report_metrics();
    }

    pub(super) fn update_peers(&self) {
        let me = self.local.record();
        let sight = |record: &Record| Sight {
            keys_differ: self.state.agreement.differs(&record.identity.name),
            clock_ahead_ms: self.local.skews.of(&record.identity.name).map(|skew| skew.ahead_ms),
        };
        let mut peers: Vec<_> = self.table.alive().map(|record| Peer::of(record, false, sight(record))).collect();
        peers.push(Peer::of(&me, true, Sight::default()));
        peers.sort_by(|one, other| one.name.cmp(&other.name));
        self.peers.store(Arc::new(peers));
    }

    fn keep_links(&mut self, now: Instant) {
        if self.says_goodbye() {
            return;
        }
        let alive = self.table.alive().map(|record| (record, false));
        let lost = self.table.lost().map(|record| (record, true));
        let wanted: Vec<_> = alive.chain(lost).map(|(record, lost)| Wanted { identity: record.identity.clone(), lost }).collect();
        self.links.reconcile(&wanted, now);
    }

    pub(super) fn report_metrics(&mut self) {
        let metrics = self.local.metrics.clone();
        metrics.members(self.local.record().state, |state| self.table.count(state));
        metrics.health_score.set(self.health_score(Instant::now()));
        metrics.lamport_time.set(self.state.lamport as i64);
        metrics.observers.set(self.owner.observers() as i64);
        metrics.ready.set(i64::from(self.state.ready));
        metrics.name_conflict.set(i64::from(self.state.conflict));
        self.report_majority();
        metrics.held_keys.set(self.owner.held() as i64);
        metrics.ownership(&self.owner.counters());
        let (_, reading) = self.clock.read();
        metrics.clock_offset.set(reading.offset_ms as f64 / 1000.0);
        if reading.is_off() != self.state.clock_off {
            self.state.clock_off = reading.is_off();
            tracing::warn!(
                offset_ms = reading.offset_ms,
                off = self.state.clock_off,
                "the wall clock stepped; scrape times follow it slowly"
            );
        }
    }
}

impl Driver {
    /// How ill this node itself is: each live member without a stream from here counts, and so does having stood still lately.
    fn health_score(&self, now: Instant) -> i64 {
        let without = self.table.alive().filter(|record| !self.links.is_open(&record.identity.name)).count();
        without as i64 + i64::from(self.table.paused_lately(now))
    }
}

fn member(record: &Record) -> Member {
    Member {
        name: record.identity.name.clone(),
        incarnation: record.identity.generation,
        state: match record.state {
            State::Viewer => MemberState::Viewer,
            State::Participant => MemberState::Participant,
            State::Terminating => MemberState::Terminating,
        },
    }
}
