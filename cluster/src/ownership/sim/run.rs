//! What scripts do to the fleet, and the driver's part: sending, scrape loops, leaving.

use rand::RngExt;

use super::super::mutant::Mutant;
use super::fleet::{Event, Fleet, NodeEvent, START_MS};
use super::gossip::{DETECT_MS, Fact, SETTLE_MS, SPREAD_MS, Stage};
use super::node::{CLUSTER, Loop, Node, domain_of, name_of};
use super::script::{Class, Op};
use crate::ownership::{Action, MemberState, Name, Start, StartReason, StopReason, Stopped};
use crate::slots::SlotClock;

/// A leaving node must be gone after so many ms.
const LEAVE_MS: u64 = 25_000;

impl Fleet {
    pub(super) fn perform(&mut self, op: Op) {
        self.log.note(self.now, format_args!("op {op:?}"));
        match op {
            Op::Start(node) => self.start(node),
            Op::Leave(node) => self.begin_leave(node, None),
            Op::Restart(node, pause) => self.begin_leave(node, Some(pause)),
            Op::Crash(node) => self.crash(node),
            Op::Stall(node, length) => self.stall(node, length),
            Op::Cut(sides) => self.cut(sides),
            Op::Sever(from, to) => self.sever(from, to),
            Op::Heal => self.heal(),
            Op::Break(from, to, length) => {
                self.network.break_stream(from, to, self.now + length);
                self.after(length, from, NodeEvent::Connected(to));
            }
            Op::Discover(node, key, seen) => self.rediscover(node, key, seen),
            Op::Place(number) => self.write_table(number),
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes.contains_key(&node) {
            return;
        }
        let incarnation = self.truth.get(&node).map_or(1, |fact| fact.incarnation + 1);
        self.truth.insert(node, Fact { incarnation, stage: Stage::Viewer });
        let skew = self.script.skews[node];
        self.nodes.insert(node, Node::new(node, incarnation, skew, self.now, self.mutant));
        self.begin_quorum(node);
        let first = self.nodes.len() == 1;
        let sync = if first { 0 } else { self.rng.random_range(50..2_000) };
        self.after(0, node, NodeEvent::Tick);
        self.after(sync, node, NodeEvent::Sync(0));
        let discover = self.rng.random_range(0..2_500);
        self.after(discover, node, NodeEvent::Discover);
        if self.table.len() > 0 {
            self.send_table(node);
        }
        self.spread(node);
    }

    fn begin_leave(&mut self, node: usize, restart_after: Option<u64>) {
        // Somebody must stay.
        if !self.has_survivor(node) {
            return;
        }
        let Some(running) = self.nodes.get_mut(&node).filter(|node| !node.stalled && node.stage != Stage::Terminating) else {
            return;
        };
        running.leave_began = Some(self.now);
        running.restart_after = restart_after;
        self.enter_stage(node, Stage::Terminating);
    }

    pub(super) fn exit(&mut self, node: usize) {
        if self.is_still_elector(node) {
            return self.after(200, node, NodeEvent::Exit);
        }
        let Some(gone) = self.nodes.remove(&node) else { return };
        self.truth.insert(node, Fact { incarnation: gone.incarnation, stage: Stage::Left });
        self.log.note(self.now, format_args!("node-{node} has left"));
        let believed = gone.beliefs.members();
        // If others fail at the same time, the node's wait may be in vain.
        let calm = matches!(self.script.class, Class::Planned | Class::Lossy | Class::Sets);
        if calm && !gone.loops.is_empty() && believed.iter().any(|member| member.state == MemberState::Participant) {
            self.log.violation(format!("node-{node} left with {:?}", gone.loops.keys().collect::<Vec<_>>()));
        }
        self.spread(node);
        self.hang_up(node);
        if let Some(pause) = gone.restart_after {
            self.at(self.now + pause, Event::Op(Op::Start(node)));
        }
    }

    /// Kills a node, unless nobody would be left.
    fn crash(&mut self, node: usize) {
        if !self.nodes.contains_key(&node) || !self.has_survivor(node) {
            return;
        }
        self.nodes.remove(&node);
        // While the fleet changes otherwise, a claim may wait for the news of that too.
        let quiet = self.script.is_quiet_around(self.now - START_MS);
        let news = if quiet { 0 } else { SPREAD_MS };
        self.log.fault(self.now, self.now + DETECT_MS.end() + SETTLE_MS + news);
        self.fall_silent(node);
        self.hang_up(node);
    }

    /// Whether the fleet can do without a node.
    fn has_survivor(&self, node: usize) -> bool {
        let fit = |other: &Node| other.stage == Stage::Participant && other.synced && other.discovered && !other.stalled;
        self.nodes.values().any(|other| other.index != node && fit(other))
    }

    /// The streams of a node that is gone.
    fn hang_up(&mut self, node: usize) {
        for other in 0..self.script.nodes {
            self.network.break_stream(node, other, self.now);
            self.network.break_stream(other, node, self.now);
        }
    }

    fn stall(&mut self, node: usize, length: u64) {
        let Some(running) = self.nodes.get_mut(&node).filter(|node| !node.stalled) else { return };
        running.stalled = true;
        self.at(self.now + length, Event::Wake(node));
        self.log.fault(self.now, self.now + length.max(*DETECT_MS.end()) + SPREAD_MS + SETTLE_MS);
        self.fall_silent(node);
    }

    fn cut(&mut self, sides: u32) {
        self.network.cut = Some(sides);
        if self.script.class == Class::Majority {
            return self.cut_majority(sides);
        }
        self.log.fault(self.now, self.now + DETECT_MS.end() + SETTLE_MS);
        self.log.cut = Some((self.now, sides));
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.fall_silent(node);
        }
    }

    fn heal(&mut self) {
        self.network.cut = None;
        self.release_held_up();
        self.silent_since.clear();
        self.log.healed_at = Some(self.now);
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.spread(node);
            for other in self.others(node) {
                let delay = self.rng.random_range(0..1_000);
                self.after(delay, node, NodeEvent::Connected(other));
            }
        }
    }

    fn rediscover(&mut self, node: usize, key: usize, seen: bool) {
        let plan = self.script.keys[key];
        // The first two nodes never lose sight of a key: somebody must know it.
        let Some(running) = self.nodes.get_mut(&node).filter(|running| running.discovered && (seen || node > 1)) else { return };
        if seen {
            running.keys.insert((plan.domain, plan.key), plan.interval_ms);
        } else if running.keys.remove(&(plan.domain, plan.key)).is_some() {
            // Its keys are free at once, but who takes them may have to wait for somebody that it only heard of.
            self.log.key_fault(plan.key, self.now, self.now + 7_000);
        }
        self.show_keys(node, plan.domain);
    }

    /// Carries out what a machine asks for.
    pub(super) fn act(&mut self, node: usize, action: Action) {
        if !matches!(action, Action::Send { .. }) {
            self.log.note(self.now, format_args!("node-{node} {action:?}"));
        }
        match action {
            Action::Send { to, envelope } => self.send(node, &to, &envelope),
            Action::Start(start) => self.start_loop(node, start),
            Action::Stop { domain, key, reason } => self.stop_loop(node, domain, key, &reason),
            Action::Fence { .. } => {
                let running = self.nodes.get_mut(&node).unwrap();
                running.loops.clear();
                running.synced = false;
                running.sync_round += 1;
                let round = running.sync_round;
                let delay = self.rng.random_range(50..3_000);
                self.after(delay, node, NodeEvent::Sync(round));
            }
            Action::Drained => {
                let delay = self.rng.random_range(0..200);
                self.after(delay, node, NodeEvent::Exit);
            }
        }
    }

    fn start_loop(&mut self, node: usize, start: Start) {
        let plan = *self.script.keys.iter().find(|plan| plan.key == start.key && domain_of(plan.domain) == start.domain).unwrap();
        let host = name_of(node);
        let cluster = if self.mutant == Some(Mutant::PhaseByHost) { &*host } else { CLUSTER };
        let clock = SlotClock::new(cluster, start.key, plan.interval_ms);
        let running = self.nodes.get_mut(&node).unwrap();
        let address = (start.domain.clone(), start.key);
        let before = running.loops.get(&address);
        if before.is_some() && start.reason != StartReason::Rescheduled {
            self.log.violation(format!("node-{node} is to start {address:?}, which runs"));
        }
        if start.state.is_none() && matches!(start.reason, StartReason::Handover { .. } | StartReason::Returned { .. }) {
            self.log.violation(format!("node-{node} gets {address:?} without its state"));
        }
        let generation = self.now * 1_000 + before.map_or(0, |before| before.generation % 1_000 + 1);
        let stopping = !running.keys.contains_key(&(plan.domain, plan.key));
        running.loops.insert(address, Loop { clock, next: start.first_slot, begun: None, generation, stopping });
        self.arm(node, start.domain, start.key);
    }

    /// Sets the timer for a loop's next slot.
    fn arm(&mut self, node: usize, domain: Name, key: u64) {
        let running = &self.nodes[&node];
        let armed = running.loops[&(domain.clone(), key)];
        let at = running.true_time(armed.clock.instant(armed.next)).max(self.now);
        let what = NodeEvent::Scrape { domain, key, generation: armed.generation };
        self.after(at - self.now, node, what);
    }

    pub(super) fn scrape(&mut self, node: usize, domain: Name, key: u64, generation: u64) {
        let now = self.now;
        let running = self.nodes.get_mut(&node).unwrap();
        let wall_ms = running.now(now).wall_ms;
        let until = running.scrape_until_ms(now);
        let Some(due) = running.loops.get_mut(&(domain.clone(), key)) else { return };
        if due.generation != generation || due.stopping || now >= until {
            return;
        }
        // A loop that was late scrapes the slot that it is in, not those that are over.
        let slot = due.next.max(due.clock.slot_at(wall_ms));
        due.begun = Some(slot);
        due.next = slot + 1;
        let instant = due.clock.instant(slot);
        self.log.scraped(&domain, key, instant, node, now);
        self.check_holders(node, &domain, key);
        self.arm(node, domain, key);
    }

    fn stop_loop(&mut self, node: usize, domain: Name, key: u64, reason: &StopReason) {
        let running = self.nodes.get_mut(&node).unwrap();
        let address = (domain.clone(), key);
        let Some(stopped) = running.loops.get_mut(&address) else {
            self.log.violation(format!("node-{node} is to stop {address:?}, which does not run"));
            return;
        };
        if *reason == StopReason::Undiscovered {
            self.log.ended(&domain, key, self.now);
        }
        if !matches!(reason, StopReason::Handover { .. }) {
            running.loops.remove(&address);
            return;
        }
        stopped.stopping = true;
        let generation = stopped.generation;
        let delay = if self.rng.random_bool(0.5) { 0 } else { self.rng.random_range(0..300) };
        self.after(delay, node, NodeEvent::Stopped { domain, key, generation });
    }

    pub(super) fn stopped(&mut self, node: usize, domain: &Name, key: u64, generation: u64) {
        let running = self.nodes.get_mut(&node).unwrap();
        let address = (domain.clone(), key);
        if running.loops.get(&address).is_none_or(|stopped| stopped.generation != generation) {
            return;
        }
        let last_slot = running.loops.remove(&address).and_then(|stopped| stopped.begun);
        let state = Some(bytes::Bytes::copy_from_slice(&key.to_le_bytes()));
        let answer = vec![Stopped { key, last_slot, state }];
        self.input(node, |machine, now| machine.stopped(now, domain, answer));
    }

    /// Leaving nodes that hang on.
    pub(super) fn check_leavers(&mut self) {
        let tolerance = if matches!(self.script.class, Class::Planned | Class::Lossy | Class::Sets) { LEAVE_MS } else { 2 * LEAVE_MS };
        for node in self.nodes.values() {
            if node.leave_began.is_some_and(|began| self.now - began > tolerance) {
                self.log.violation(format!("node-{} has not drained", node.index));
            }
        }
    }
}
