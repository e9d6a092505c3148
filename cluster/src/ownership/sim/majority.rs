//! The policy `majority` in the simulation: nodes that notice silence by themselves, tell each other their standings, and stop
//! without a majority. What is sent into a cut waits there, as it would in a kernel's buffers, and arrives late.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::RngExt;

use super::fleet::{Event, Fleet, START_MS};
use super::gossip::{DETECT_MS, SETTLE_MS, Stage};
use super::node::{name_of, node_of};
use super::script::Class;
use crate::ownership::{Name, Ownership};
use crate::quorum::{Census, Members, Mutant, Peer, Quorum, SILENCE_MS, Standing};

/// The longest silence that is borne, in ms: `membership`'s `SILENCE_MAX`.
const SILENCE_MAX_MS: u64 = 9_000;
/// After it was held for lost what a node sent before does not bring it back, in ms.
const LAST_WORDS_MS: u64 = 1_000;
/// Messages that wait longer at a cut are lost with their stream, in ms.
const STREAM_PATIENCE_MS: u64 = 10_000;
/// A leaver waits so long in all until it is no elector any more, in ms.
const LEAVE_PATIENCE_MS: u64 = 12_000;
/// By then after a heal each key is scraped again, in ms: the promise.
const HEALED_MS: u64 = 10_000;
/// From the agreement on a loss to the first scrape of its keys, in ms: reports, asking, and a second for clocks.
const CLAIM_MS: u64 = 3_000;

/// What a node sees of the others by itself.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) quorum: Quorum,
    /// When each life was heard last, or seen first.
    heard: BTreeMap<(usize, u64), u64>,
    /// Lives that are held for lost, and since when.
    lost: BTreeMap<(usize, u64), u64>,
    patience_ms: u64,
    works: bool,
}

/// What crosses a stream.
#[derive(Debug, Clone)]
pub(super) enum Mail {
    /// An ownership message, and the number that shows its age.
    Ownership(Bytes, u64),
    Standing(Standing, u64),
}

impl Fleet {
    pub(super) fn begin_quorum(&mut self, node: usize) {
        if self.script.class != Class::Majority {
            return;
        }
        let patience_ms = self.rng.random_range(SILENCE_MS..SILENCE_MAX_MS);
        let mutant = self.quorum_mutant;
        let Some(running) = self.nodes.get_mut(&node) else { return };
        let quorum = Quorum::new(name_of(node), running.incarnation, self.now).with_mutant(mutant);
        running.sight = Some(Sight { quorum, heard: BTreeMap::new(), lost: BTreeMap::new(), patience_ms, works: false });
    }

    /// A node's own look at the others, its reports to them, and what follows for its work.
    pub(super) fn keep_quorum(&mut self, node: usize) {
        if self.nodes.get(&node).is_none_or(|node| node.sight.is_none()) {
            return;
        }
        self.check_lease(node);
        self.look_around(node);
        self.report(node);
    }

    /// A node without a lease gives up everything.
    fn check_lease(&mut self, node: usize) {
        let now = self.now;
        let Some(running) = self.nodes.get_mut(&node) else { return };
        let Some(sight) = &mut running.sight else { return };
        let works = sight.quorum.lease_ms(now) > now;
        let stops = sight.works && !works;
        sight.works = works;
        running.machine.require_answers(true);
        if stops {
            self.log.note(now, format_args!("node-{node} is out of touch with the majority"));
            self.input(node, Ownership::isolate);
        }
    }

    fn look_around(&mut self, node: usize) {
        let now = self.now;
        let Some(running) = self.nodes.get_mut(&node) else { return };
        let census = census(running, self.quorum_mutant == Some(Mutant::ChangesAskNobody));
        let Some(sight) = &mut running.sight else { return };
        let others = running.beliefs.facts.iter().filter(|(about, fact)| **about != node && fact.stage != Stage::Left);
        let lives: BTreeSet<(usize, u64)> = others.map(|(about, fact)| (*about, fact.incarnation)).collect();
        for life in &lives {
            let heard = *sight.heard.entry(*life).or_insert(now);
            if now - heard >= sight.patience_ms {
                sight.lost.entry(*life).or_insert(now);
            }
        }
        sight.lost.retain(|life, _| lives.contains(life));
        let lost = named(sight.lost.keys());
        sight.quorum.govern(now, &census);
        let agreed = sight.quorum.agreed(now, &lost).into_iter().map(|(name, incarnation)| (node_of(&name), incarnation)).collect();
        if running.beliefs.dead != agreed {
            running.beliefs.dead = agreed;
            self.show_view(node);
        }
    }

    fn report(&mut self, node: usize) {
        let now = self.now;
        let Some(running) = self.nodes.get_mut(&node) else { return };
        let Some(sight) = &mut running.sight else { return };
        let others = running.beliefs.facts.iter().filter(|(about, fact)| **about != node && fact.stage != Stage::Left);
        let peers: Vec<Peer> = others.map(|(about, fact)| Peer { name: name_of(*about), generation: fact.incarnation }).collect();
        let lost = named(sight.lost.keys());
        let incarnation = running.incarnation;
        for (to, standing) in sight.quorum.report(now, &peers, &lost) {
            self.post(node, node_of(&to), Mail::Standing(standing, incarnation));
        }
    }

    /// Sends; under `majority` what meets a cut waits there.
    pub(super) fn post(&mut self, from: usize, to: usize, frame: Mail) {
        let way = match self.script.class {
            Class::Majority => self.network.queue(&mut self.rng, self.now, from, to),
            _ => self.network.send(&mut self.rng, self.now, from, to),
        };
        if let Some((at, epoch)) = way {
            self.at(at, Event::Deliver { from, to, epoch, frame });
        }
    }

    /// An ownership message with the proof of its age.
    pub(super) fn dated(&self, from: usize, to: usize, frame: Bytes) -> Mail {
        let sight = self.nodes.get(&from).and_then(|node| node.sight.as_ref());
        Mail::Ownership(frame, sight.map_or(0, |sight| sight.quorum.heard(&name_of(to))))
    }

    pub(super) fn arrive(&mut self, from: usize, to: usize, frame: Mail) {
        let now = self.now;
        match frame {
            Mail::Standing(standing, incarnation) => {
                self.contacts.insert((to, from));
                let held_for_lost = self.is_held_for_lost(from, to, incarnation);
                let Some(sight) = self.nodes.get_mut(&to).and_then(|node| node.sight.as_mut()) else { return };
                let peer = Peer { name: name_of(from), generation: incarnation };
                sight.quorum.receive(now, &peer, standing, held_for_lost);
                self.report(to);
            }
            Mail::Ownership(frame, dated) => {
                let sight = self.nodes.get(&to).and_then(|node| node.sight.as_ref());
                if sight.is_none_or(|sight| sight.quorum.is_fresh(now, dated)) {
                    self.check_lease(to);
                    self.deliver(from, to, &frame);
                }
            }
        }
    }

    /// A sign of life has come. Whether its sender is held for lost all the same.
    fn is_held_for_lost(&mut self, from: usize, to: usize, incarnation: u64) -> bool {
        let now = self.now;
        let Some(sight) = self.nodes.get_mut(&to).and_then(|node| node.sight.as_mut()) else { return false };
        let life = (from, incarnation);
        sight.heard.insert(life, now);
        if sight.lost.get(&life).is_some_and(|since| now - since > LAST_WORDS_MS) {
            sight.lost.remove(&life);
        }
        sight.lost.contains_key(&life)
    }

    /// A node's address refuses connections, if its process is gone.
    pub(super) fn refused(&mut self, node: usize, about: usize, incarnation: u64) {
        if self.nodes.get(&about).is_some_and(|about| about.incarnation == incarnation) {
            return;
        }
        let now = self.now;
        if let Some(sight) = self.nodes.get_mut(&node).and_then(|node| node.sight.as_mut()) {
            sight.lost.entry((about, incarnation)).or_insert(now);
        }
    }

    /// Whether a node that is about to complete its view may work; the first of a fleet founds.
    pub(super) fn has_lease(&mut self, node: usize, synced: &[usize]) -> bool {
        let now = self.now;
        let first = synced.is_empty() && self.nodes.len() == 1;
        let Some(running) = self.nodes.get_mut(&node) else { return false };
        let Some(sight) = &mut running.sight else { return true };
        if first && sight.quorum.state().is_none() {
            sight.quorum.found(now, Members::from([(name_of(node), running.incarnation)]));
        }
        sight.quorum.lease_ms(now) > now
    }

    /// Whether a leaver has to wait until the others have taken it out of the electorate.
    pub(super) fn is_still_elector(&self, node: usize) -> bool {
        let Some(running) = self.nodes.get(&node) else { return false };
        let Some(sight) = running.sight.as_ref().filter(|sight| sight.works) else { return false };
        let patient = running.leave_began.is_some_and(|began| self.now - began < LEAVE_PATIENCE_MS);
        let others = running.beliefs.facts.iter().any(|(about, fact)| *about != node && fact.stage == Stage::Participant);
        patient && others && !sight.quorum.may_go()
    }

    pub(super) fn cut_majority(&mut self, sides: u32) {
        let (heal, end) = (self.script.heal_ms() + START_MS, self.now + SILENCE_MAX_MS + SETTLE_MS + CLAIM_MS);
        let electors = self.script.first_nodes();
        let on_one = (0..electors).filter(|node| (sides >> node) & 1 == 1).count();
        let divided_evenly = on_one * 2 == electors;
        match self.script.is_plain_cut() {
            Some(_) if !divided_evenly => self.log.fault(self.now, end),
            Some(_) => self.log.fault(self.now, heal + HEALED_MS),
            // Whatever else happens may keep the fleet from its work until all is over.
            None => self.log.fault(
                self.now.min(START_MS + self.script.first_op_ms()),
                self.script.last_op_ms() + START_MS + HEALED_MS + DETECT_MS.end(),
            ),
        }
    }

    /// Whether so many electors are gone for good that the fleet rightly does nothing in the end.
    pub(super) fn lost_its_majority(&self) -> bool {
        let states = || self.nodes.iter().filter_map(|(node, running)| Some((*node, running.sight.as_ref()?.quorum.state()?)));
        let Some(latest) = states().map(|(_, state)| state).max_by_key(|state| state.epoch) else {
            return self.script.class == Class::Majority;
        };
        let counts = |node: usize, state: &crate::quorum::State| latest.members.contains_key(&name_of(node)) && !state.amnesic;
        states().filter(|(node, state)| counts(*node, state)).count() <= latest.members.len() / 2
    }

    pub(super) fn sever(&mut self, from: usize, to: usize) {
        self.network.severed.insert((from, to));
    }

    /// The cuts are over: what waited at them arrives, unless its stream has been given up.
    pub(super) fn release_held_up(&mut self) {
        self.network.severed.clear();
        for (since, event) in std::mem::take(&mut self.held_up) {
            if self.now - since < STREAM_PATIENCE_MS {
                let delay = self.rng.random_range(0..50);
                self.at(self.now + delay, event);
            }
        }
    }

    /// At no time two nodes may begin slots of a key.
    pub(super) fn check_holders(&mut self, node: usize, domain: &Name, key: u64) {
        if self.script.class != Class::Majority {
            return;
        }
        let address = (domain.clone(), key);
        let holds = |other: &super::node::Node| {
            other.loops.get(&address).is_some_and(|open| !open.stopping) && other.scrape_until_ms(self.now) > self.now
        };
        let second = self.nodes.values().find(|other| other.index != node && holds(other)).map(|other| other.index);
        if let Some(second) = second {
            self.log.violation(format!("key {key:x} is held by node-{node} and node-{second} at {}", self.now - START_MS));
        }
    }
}

fn named<'a>(lives: impl Iterator<Item = &'a (usize, u64)>) -> Vec<(Name, u64)> {
    lives.map(|(node, incarnation)| (name_of(*node), *incarnation)).collect()
}

/// The members as a node sees them; with a deliberate fault those that only watch as well.
fn census(node: &super::node::Node, viewers: bool) -> Census {
    let Some(sight) = &node.sight else { return Census::default() };
    let facts = || node.beliefs.facts.iter();
    let stays = |stage| stage == Stage::Participant || (viewers && stage == Stage::Viewer);
    let present = facts().filter(|(about, fact)| stays(fact.stage) && !sight.lost.contains_key(&(**about, fact.incarnation)));
    let leaving = facts().filter(|(_, fact)| matches!(fact.stage, Stage::Terminating | Stage::Left));
    Census {
        present: present.map(|(about, fact)| (name_of(*about), fact.incarnation)).collect(),
        leaving: leaving.map(|(about, _)| name_of(*about)).collect(),
        forgotten: BTreeSet::new(),
    }
}
