//! Looking for the fleet: rounds of resolving and dialling join addresses, what their outcomes mean for this node's name and
//! phase, and telling about it. The rule itself is `join`.

use std::{net::SocketAddr, time::Duration};

use rand::seq::IteratorRandom;
use tokio::time::Instant;

use super::{
    admit::ask_members,
    driver::{Driver, Report, Sync},
    events::JoinEvent,
    join::{Others, Outcome, Resolved},
};
use crate::{
    membership::{Phase, Record},
    ownership::Name,
    resolve::ResolveError,
    transport::{ConnectError, DialError, Reason, Step, wire::Members},
};

/// How long the ring is not told for want of a member that was reached.
const REACHED_GRACE: Duration = Duration::from_secs(2);

impl Driver {
    /// The configuration runs: from now on the node looks for its fleet. Before, it dials nobody, so a configuration that turns out not to
    /// run is never seen by others.
    pub(super) fn begin(&mut self) {
        if !std::mem::replace(&mut self.state.wants_to_participate, true) {
            let now = Instant::now();
            self.state.started = now;
            self.join.restart(now);
        }
    }

    /// Begins a round if one is due: first all names are resolved.
    pub(super) fn search(&mut self, now: Instant) {
        if !self.state.wants_to_participate {
            return;
        }
        if self.state.resolving + self.state.dialling > 0 || now < self.state.next_round || self.state.leaving.is_some() {
            return;
        }
        let formed = self.local.record().phase == Phase::Formed;
        if formed && self.config.rejoin_interval.is_zero() {
            return;
        }
        for (index, address) in self.join.addresses().enumerate() {
            let (resolver, address, reports) = (self.resolver.clone(), address.clone(), self.reports.clone());
            self.state.resolving += 1;
            tokio::spawn(async move {
                let result = resolver.find(&address).await;
                // The node may have shut down meanwhile.
                drop(reports.send(Report::Resolved { index, result }));
            });
        }
        if self.state.resolving == 0 {
            self.dial_round();
        }
    }

    pub(super) fn resolved(&mut self, index: usize, result: Result<Vec<SocketAddr>, ResolveError>) {
        self.state.resolving -= 1;
        let address = self.join.addresses().nth(index).map(ToString::to_string).unwrap_or_default();
        let resolved = match result {
            Ok(addrs) => {
                if self.join.is_news(index, &addrs) {
                    self.narrate(JoinEvent::Resolved { address: address.clone(), addrs: addrs.clone() });
                }
                // An address may name the peer itself, whose own failure stays known until it changes.
                if self.state.failures.get(&address).is_some_and(|(step, _)| matches!(step, Step::Dns | Step::Discovery)) {
                    self.state.failures.remove(&address);
                }
                Resolved::Addrs(addrs)
            }
            Err(error) => {
                self.narrate_problem(&address, error.step, error.to_string(), error.remedy());
                if error.absent { Resolved::Absent } else { Resolved::Failed }
            }
        };
        self.join.resolved(index, resolved);
        if self.state.resolving == 0 {
            self.dial_round();
        }
    }

    /// Then whom this round is for is dialled. A node that has lost its name also asks the members that it knows.
    fn dial_round(&mut self) {
        let me = self.local.identity();
        let formed = self.local.record().phase == Phase::Formed;
        let (table, links) = (&self.table, &self.links);
        self.join.linked(|addr| links.reaches(addr), Instant::now());
        let known = |addr| links.reaches(addr) || (formed && (addr == me.addr || table.alive().any(|record| record.identity.addr == addr)));
        let mut addrs = self.join.round(known);
        if self.state.conflict {
            addrs.extend(self.table.alive().map(|record| record.identity.addr));
            addrs.sort_unstable();
            addrs.dedup();
        }
        for addr in addrs {
            let (connector, local, reports) = (self.connector.clone(), self.local.clone(), self.reports.clone());
            self.state.dialling += 1;
            tokio::spawn(async move {
                let result = ask_members(&*connector, &local, addr).await;
                // The node may have shut down meanwhile.
                drop(reports.send(Report::Dialled { addr, result }));
            });
        }
        if self.state.dialling == 0 {
            self.end_round();
        }
    }

    pub(super) fn dialled(&mut self, addr: SocketAddr, result: Result<(Record, Members), DialError>) {
        self.state.dialling -= 1;
        let outcome = match result {
            Ok((peer, _)) if peer.identity == self.local.identity() => Outcome::Own,
            Ok((peer, members)) => {
                self.reached(addr, peer, members);
                Outcome::Reached
            }
            // Too slow for the round, and there for all that: while a large fleet starts, CPU may be short everywhere.
            Err(_) if self.links.reaches(addr) => Outcome::Reached,
            Err(error) => {
                self.narrate_failure(&addr.to_string(), &error);
                self.heed_rejection(&error);
                match &error {
                    DialError::Connect(ConnectError::Refused) => Outcome::Refused,
                    DialError::Rejected { reason: Reason::Unavailable | Reason::Generation, .. } => Outcome::Silent,
                    DialError::Rejected { .. } => Outcome::Rejected,
                    _ => Outcome::Silent,
                }
            }
        };
        self.join.dialled(addr, outcome, Instant::now());
        if self.state.dialling == 0 {
            self.end_round();
        }
    }

    fn reached(&mut self, addr: SocketAddr, peer: Record, members: Members) {
        if self.state.conflict {
            tracing::info!(node = %peer.identity.name, "this node has its name for itself again");
        }
        self.state.conflict = false;
        self.state.failures.remove(&addr.to_string());
        self.tell_reached(addr, &peer.identity.name);
        self.state.introduced |= peer.phase == Phase::Formed;
        self.table.met(peer, Instant::now());
        self.merge(members);
    }

    /// Tells once of each peer that was reached on the way into the fleet, whoever of the two was first to dial. Members that come later
    /// are in the log.
    pub(super) fn tell_reached(&mut self, addr: SocketAddr, name: &Name) {
        let on_the_way = self.state.ring_to_tell.is_some() || self.local.record().phase != Phase::Formed;
        if on_the_way && self.state.told_reached.insert(name.clone()) {
            self.narrate(JoinEvent::Reached { addr, name: name.to_string() });
        }
    }

    fn end_round(&mut self) {
        let now = Instant::now();
        self.decide_phase(now);
        let pause = match self.local.record().phase {
            Phase::Formed => self.config.rejoin_interval,
            Phase::Joining | Phase::Settled => self.join.pause(),
        };
        self.state.next_round = now + pause;
        if self.local.record().phase == Phase::Joining {
            let unaccounted = self.join.unaccounted();
            if self.state.waited_for.as_ref() != Some(&unaccounted) {
                self.state.waited_for = Some(unaccounted.clone());
                self.narrate(JoinEvent::Waiting { unaccounted });
            }
        }
    }

    /// Moves on towards a fleet, by the rule of `join`.
    pub(super) fn decide_phase(&mut self, now: Instant) {
        let phase = self.local.record().phase;
        if phase == Phase::Formed || self.state.conflict {
            return;
        }
        let others = Others {
            formed: self.table.alive().filter(|record| record.phase == Phase::Formed).count(),
            joining: self.table.alive().filter(|record| record.phase == Phase::Joining).count(),
            alive: self.table.alive().count(),
        };
        let decided = self.join.phase(others, now);
        if decided == phase {
            return;
        }
        self.change_record(|record| record.phase = decided);
        if decided == Phase::Formed {
            self.formed(others.formed == 0);
        }
    }

    fn formed(&mut self, new_fleet: bool) {
        let unaccounted = self.join.unaccounted();
        let nodes = 1 + self.table.alive().count();
        if new_fleet && !unaccounted.is_empty() {
            tracing::warn!(
                ?unaccounted,
                nodes,
                "a new fleet is formed although these join addresses gave no answer; if a fleet runs there, targets are scraped twice until both meet"
            );
        }
        tracing::info!(nodes, new_fleet, "this node is part of a fleet");
        if !new_fleet && !self.state.introduced {
            // A member has found this node before it found one: it knows that member, and not yet all others.
            self.state.sync = Sync::Needed(Instant::now());
        }
        self.state.ring_to_tell = Some((new_fleet, Instant::now()));
        self.state.next_round = Instant::now() + self.config.rejoin_interval;
    }

    /// Tells of the fleet, as soon as it can be told how many members have this node's configuration. A member that has found this node
    /// first is reached a moment later, and that is told before.
    pub(super) fn tell_ring(&mut self, now: Instant) {
        let me = self.local.record();
        let Some((new_fleet, since)) = self.state.ring_to_tell else { return };
        let alone = self.table.alive().next().is_none();
        let reached = alone || !self.state.told_reached.is_empty() || now.duration_since(since) > REACHED_GRACE;
        if reached && (self.state.wants_to_participate || !me.config_hash.is_empty()) {
            self.state.ring_to_tell = None;
            let same = self.table.alive().filter(|record| record.config_hash == me.config_hash).count();
            let nodes = 1 + self.table.alive().count();
            self.narrate(JoinEvent::Ring { nodes, same_config: 1 + same, new_fleet });
            self.state.told_reached.clear();
        }
    }

    /// A refusal may mean that this node has to change.
    pub(super) fn heed_rejection(&mut self, error: &DialError) {
        let DialError::Rejected { reason, detail, generation } = error else { return };
        let me = self.local.identity();
        let formed = self.local.record().phase == Phase::Formed;
        match reason {
            Reason::Generation if *generation >= me.generation => self.start_anew(*generation),
            // Of two that have worked the later one keeps the name; the other hears it here or through gossip.
            Reason::Conflict if formed && *generation > me.generation => self.superseded(detail),
            Reason::Conflict if !formed && !self.state.conflict => {
                tracing::error!(cause = detail, remedy = reason.remedy(), "this node stays a viewer: another process has its name");
                self.state.conflict = true;
                self.state.dirty = true;
            }
            _ => {}
        }
    }

    /// Another process of this node's name has a higher generation: whatever this node holds, it has lost.
    pub(super) fn superseded(&mut self, how: &str) {
        if self.state.conflict {
            return;
        }
        tracing::error!(
            cause = how,
            remedy = Reason::Conflict.remedy(),
            "another process has taken this node's name: this one stops scraping and stays a viewer"
        );
        self.local.metrics.gossip_event("node_conflict");
        self.narrate(JoinEvent::Superseded { cause: how.to_owned() });
        self.state.conflict = true;
        (self.state.admitted, self.state.introduced) = (false, false);
        self.join.restart(Instant::now());
        self.state.next_round = Instant::now();
        self.change_record(|record| record.phase = Phase::Joining);
        let effects = self.owner.restart(self.local.identity().generation);
        self.carry_out(effects);
    }

    /// Takes a generation above one that peers remember; nothing may have been held under the old one.
    fn start_anew(&mut self, above: u64) {
        let mut identity = self.local.identity();
        identity.generation = above + 1;
        tracing::info!(generation = identity.generation, "peers remember a later process of this node's name: starting above it");
        self.change_record(|record| record.identity.generation = above + 1);
        self.table.set_me(identity.clone());
        self.local.company.set(self.table.company());
        self.majority.restart(&identity, self.clock.mono_ms());
        self.gossip = None;
        let effects = self.owner.restart(identity.generation);
        self.carry_out(effects);
        self.state.next_round = Instant::now();
    }

    /// Asks a member of the fleet for its list before anything is claimed: after a fence, or if none has introduced this node.
    pub(super) fn synchronise(&mut self, now: Instant) {
        let Sync::Needed(at) = self.state.sync else { return };
        let members = self.table.alive().filter(|record| record.phase == Phase::Formed);
        let Some(member) = members.choose(&mut rand::rng()) else {
            // Nobody is there who could know better.
            (self.state.sync, self.state.dirty) = (Sync::Done, true);
            return;
        };
        if now < at {
            return;
        }
        let addr = member.identity.addr;
        self.state.sync = Sync::Running;
        let (connector, local, reports) = (self.connector.clone(), self.local.clone(), self.reports.clone());
        tokio::spawn(async move {
            let result = ask_members(&*connector, &local, addr).await;
            // The node may have shut down meanwhile.
            drop(reports.send(Report::Synced(result)));
        });
    }

    pub(super) fn synced(&mut self, result: Result<(Record, Members), DialError>) {
        let running = self.state.sync == Sync::Running;
        match result {
            Ok((peer, members)) => {
                self.table.met(peer, Instant::now());
                self.merge(members);
                if running {
                    (self.state.sync, self.state.dirty) = (Sync::Done, true);
                    tracing::info!("this node has synchronised with its peers");
                }
            }
            // Fenced again meanwhile: that exchange is still to come.
            Err(_) if !running => {}
            Err(error) => {
                tracing::debug!(%error, "synchronising with a peer failed");
                self.state.sync = Sync::Needed(Instant::now() + self.config.gossip_interval / 2);
            }
        }
    }

    pub(super) fn narrate(&self, event: JoinEvent) {
        tracing::debug!(?event, "joining");
        match event.trouble() {
            Some(trouble) => self.trouble.store(Some(trouble.into())),
            None if event.is_progress() => self.trouble.store(None),
            None => {}
        }
        // Nobody needs to listen.
        drop(self.narration.send(event));
    }

    pub(super) fn narrate_failure(&mut self, peer: &str, error: &DialError) {
        self.narrate_problem(peer, error.step(), error.to_string(), error.remedy());
    }

    fn narrate_problem(&mut self, peer: &str, step: Step, cause: String, remedy: &str) {
        /// Peers and join addresses whose last failure is remembered.
        const MAX_REMEMBERED: usize = 1024;
        self.local.metrics.join_failed(step);
        let failure = (step, cause);
        if self.state.failures.get(peer) == Some(&failure) {
            return;
        }
        if self.state.failures.len() >= MAX_REMEMBERED {
            self.state.failures.clear();
        }
        let (_, cause) = self.state.failures.entry(peer.to_owned()).insert_entry(failure).get().clone();
        tracing::warn!(peer, step = step.as_str(), cause, remedy, "a cluster peer failed");
        self.narrate(JoinEvent::Failed { peer: peer.to_owned(), step, cause, remedy: remedy.to_owned() });
    }
}
