//! The simulated world: time, the queue of events, and what each event does. Whether the outcome is right is the judge's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::mutant::Mutant;
use super::gossip::{DETECT_MS, Fact, SETTLE_MS, SPREAD_MS, Stage};
use super::judge::Log;
use super::majority::Mail;
use super::network::Network;
use super::node::{COPY, Node, domain_of, node_of};
use super::script::{Class, Op, Script};
use crate::ownership::{Envelope, Name, Now, Ownership, View};
use crate::placement::Table;
use crate::quorum;

/// Milliseconds since the epoch at which every run begins.
pub(super) const START_MS: u64 = 1_700_000_000_000;

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    Op(Op),
    Deliver {
        from: usize,
        to: usize,
        epoch: u64,
        frame: Mail,
    },
    Wake(usize),
    /// For one life of a node.
    Node {
        node: usize,
        incarnation: u64,
        what: NodeEvent,
    },
}

/// Something that happens to a node.
#[derive(Debug)]
pub(super) enum NodeEvent {
    Tick,
    /// News about a node arrive.
    Learn(usize),
    /// A life may have been silent for too long.
    Suspect(usize, Silence),
    /// An exchange with a peer completes the view.
    Sync(u64),
    /// Service discovery has its first result.
    Discover,
    /// The stream to a peer is open again.
    Connected(usize),
    /// The newest table arrives.
    Table,
    Scrape {
        domain: Name,
        key: u64,
        generation: u64,
    },
    /// The driver's answer to a stop is ready.
    Stopped {
        domain: Name,
        key: u64,
        generation: u64,
    },
    Exit,
}

/// A life's silence: incarnation, and when it began.
pub(super) type Silence = (u64, u64);

/// The world.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) script: Script,
    pub(super) rng: StdRng,
    pub(super) now: u64,
    pub(super) nodes: BTreeMap<usize, Node>,
    pub(super) network: Network,
    pub(super) log: Log,
    pub(super) mutant: Option<Mutant>,
    pub(super) quorum_mutant: Option<quorum::Mutant>,
    pub(super) truth: BTreeMap<usize, Fact>,
    /// The newest table.
    pub(super) table: Arc<Table>,
    queue: BTreeMap<(u64, u64), Event>,
    numbered: u64,
    /// Since when nodes are silent.
    pub(super) silent_since: BTreeMap<usize, u64>,
    /// What waits for stalled nodes.
    backlog: BTreeMap<usize, Vec<Event>>,
    /// Pairs that have a connection although gossip may not have told the one about the other.
    pub(super) contacts: BTreeSet<(usize, usize)>,
    /// What waits at a cut for its end: when it was sent, and what it is.
    pub(super) held_up: Vec<(u64, Event)>,
}

impl Fleet {
    pub(super) fn new(script: Script, mutant: Option<Mutant>, verbose: bool) -> Self {
        let mut fleet = Self {
            rng: StdRng::seed_from_u64(script.seed ^ 0x5eed),
            now: START_MS,
            nodes: BTreeMap::new(),
            network: Network::new(if script.class == Class::Lossy { 0.01 } else { 0.0 }),
            log: Log::new(verbose),
            mutant,
            quorum_mutant: None,
            truth: BTreeMap::new(),
            table: Arc::default(),
            queue: BTreeMap::new(),
            numbered: 0,
            silent_since: BTreeMap::new(),
            backlog: BTreeMap::new(),
            contacts: BTreeSet::new(),
            held_up: Vec::new(),
            script,
        };
        for (at, op) in fleet.script.ops.clone() {
            fleet.at(START_MS + at, Event::Op(op));
        }
        fleet
    }

    /// Runs to the end of the script.
    pub(super) fn run(&mut self) {
        let end = START_MS + self.script.end_ms;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.numbered += 1;
        self.queue.insert((at.max(self.now), self.numbered), event);
    }

    /// Plans something for the present life of a node, so many ms from now.
    pub(super) fn after(&mut self, delay: u64, node: usize, what: NodeEvent) {
        if let Some(incarnation) = self.nodes.get(&node).map(|node| node.incarnation) {
            self.at(self.now + delay, Event::Node { node, incarnation, what });
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Op(op) => self.perform(op),
            Event::Wake(node) => self.wake(node),
            Event::Deliver { from, to, epoch, frame } => match self.nodes.get(&to).map(|node| node.stalled) {
                Some(true) => self.backlog.entry(to).or_default().push(Event::Deliver { from, to, epoch, frame }),
                Some(false) if self.network.arrives(from, to, epoch) => self.arrive(from, to, frame),
                Some(false) if self.script.class == Class::Majority && self.network.is_of(from, to, epoch) => {
                    self.held_up.push((self.now, Event::Deliver { from, to, epoch, frame }));
                }
                _ => {}
            },
            Event::Node { node, incarnation, what } => match self.nodes.get(&node) {
                Some(known) if known.incarnation == incarnation && known.stalled => {
                    self.backlog.entry(node).or_default().push(Event::Node { node, incarnation, what });
                }
                Some(known) if known.incarnation == incarnation => self.node_event(node, what),
                _ => {}
            },
        }
    }

    fn wake(&mut self, node: usize) {
        let Some(woken) = self.nodes.get_mut(&node) else { return };
        woken.stalled = false;
        self.silent_since.remove(&node);
        self.log.note(self.now, format_args!("node-{node} wakes"));
        self.spread(node);
        for event in self.backlog.remove(&node).unwrap_or_default() {
            self.happen(event);
        }
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, frame: &[u8]) {
        self.contacts.insert((to, from));
        let envelope = Envelope::decode(frame).unwrap();
        self.log.note(self.now, format_args!("node-{from} -> node-{to}: {:?}", envelope.message));
        let name = super::node::name_of(from);
        self.input(to, |machine, now| machine.receive(now, &name, envelope));
    }

    fn node_event(&mut self, node: usize, what: NodeEvent) {
        match what {
            NodeEvent::Tick => {
                self.keep_quorum(node);
                self.input(node, Ownership::tick);
                let pause = self.rng.random_range(100..300);
                self.after(pause, node, NodeEvent::Tick);
            }
            NodeEvent::Learn(about) => self.learn(node, about),
            NodeEvent::Suspect(about, silence) => self.suspect(node, about, silence),
            NodeEvent::Sync(round) => self.sync(node, round),
            NodeEvent::Discover => self.discover_all(node),
            NodeEvent::Connected(peer) => {
                let name = super::node::name_of(peer);
                self.input(node, |machine, now| machine.peer_connected(now, &name));
            }
            NodeEvent::Table => self.take_table(node),
            NodeEvent::Scrape { domain, key, generation } => self.scrape(node, domain, key, generation),
            NodeEvent::Stopped { domain, key, generation } => self.stopped(node, &domain, key, generation),
            NodeEvent::Exit => self.exit(node),
        }
    }

    /// Gives a node's machine an input and carries out what it asks for.
    pub(super) fn input(&mut self, node: usize, input: impl FnOnce(&mut Ownership, Now) -> Vec<crate::ownership::Action>) {
        let Some(running) = self.nodes.get_mut(&node) else { return };
        let now = running.now(self.now);
        for action in input(&mut running.machine, now) {
            self.act(node, action);
        }
    }

    pub(super) fn show_view(&mut self, node: usize) {
        let Some(view) = self.nodes.get(&node).map(Node::view) else { return };
        if self.log.verbose {
            self.log.note(self.now, format_args!("node-{node} view {}", brief(&view)));
        }
        self.input(node, |machine, now| machine.set_view(now, view));
    }

    pub(super) fn send(&mut self, from: usize, to: &str, envelope: &Envelope) {
        let to = node_of(to);
        let known = self.nodes.get(&from).is_some_and(|node| node.beliefs.facts.contains_key(&to));
        if !known && !self.contacts.contains(&(from, to)) {
            return;
        }
        let frame = self.dated(from, to, envelope.encode());
        self.post(from, to, frame);
    }

    /// Everybody learns about a node's present state sooner or later.
    pub(super) fn spread(&mut self, about: usize) {
        for node in self.others(about) {
            let delay = if self.rng.random_bool(0.5) { self.rng.random_range(0..500) } else { self.rng.random_range(0..SPREAD_MS) };
            self.after(delay, node, NodeEvent::Learn(about));
        }
    }

    /// Everybody notices a node's silence, if it lasts.
    pub(super) fn fall_silent(&mut self, about: usize) {
        let Some(incarnation) = self.truth.get(&about).map(|fact| fact.incarnation) else { return };
        self.silent_since.insert(about, self.now);
        for node in self.others(about) {
            let delay = self.rng.random_range(DETECT_MS);
            self.after(delay, node, NodeEvent::Suspect(about, (incarnation, self.now)));
        }
    }

    pub(super) fn others(&self, node: usize) -> Vec<usize> {
        self.nodes.keys().copied().filter(|other| *other != node).collect()
    }

    /// Whether a node runs and can be reached from another.
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        self.network.connected(from, to) && self.nodes.get(&to).is_some_and(|node| !node.stalled)
    }

    fn learn(&mut self, node: usize, about: usize) {
        let Some(fact) = self.truth.get(&about).copied() else { return };
        if !self.network.connected(node, about) {
            return;
        }
        let reached = self.reaches(node, about);
        let Some(running) = self.nodes.get_mut(&node) else { return };
        let revived = reached && running.beliefs.dead.remove(&(about, fact.incarnation));
        if running.beliefs.learn(about, fact) || revived {
            self.show_view(node);
        }
    }

    fn suspect(&mut self, node: usize, about: usize, (incarnation, since): Silence) {
        if self.nodes.get(&node).is_some_and(|node| node.sight.is_some()) {
            return self.refused(node, about, incarnation);
        }
        let same_life = self.truth.get(&about).is_some_and(|fact| fact.incarnation == incarnation);
        let heard = self.silent_since.get(&about) != Some(&since);
        if same_life && (heard || self.reaches(node, about)) {
            return;
        }
        let Some(running) = self.nodes.get_mut(&node) else { return };
        if running.beliefs.dead.insert((about, incarnation)) {
            self.show_view(node);
        }
    }

    /// Completes a node's view with that of a peer, if there is one that has a complete one.
    fn sync(&mut self, node: usize, round: u64) {
        let peers: Vec<usize> = self.others(node).into_iter().filter(|other| self.reaches(node, *other)).collect();
        let synced: Vec<usize> = peers.iter().copied().filter(|other| self.nodes[other].synced).collect();
        if self.nodes[&node].sync_round != round {
            return;
        }
        // Whoever starts while others run waits for one that knows the fleet; of several that do not the first begins.
        let waits = self.others(node).iter().any(|other| self.nodes[other].stalled || *other < node);
        if synced.is_empty() && waits && (self.network.cut.is_none() || !peers.is_empty()) {
            return self.after(200, node, NodeEvent::Sync(round));
        }
        if !synced.is_empty() {
            let seed = synced[self.rng.random_range(0..synced.len())];
            let beliefs = self.nodes[&seed].beliefs.clone();
            self.nodes.get_mut(&node).unwrap().beliefs.merge(&beliefs);
        }
        if !self.has_lease(node, &synced) {
            return self.after(200, node, NodeEvent::Sync(round));
        }
        let running = self.nodes.get_mut(&node).unwrap();
        running.beliefs.dead.remove(&(node, running.incarnation));
        running.synced = true;
        self.catch_up(node);
        self.show_view(node);
        self.take_part(node);
    }

    /// What a node's seed did not know either reaches it later.
    fn catch_up(&mut self, node: usize) {
        for about in self.truth.keys().copied().collect::<Vec<_>>() {
            let delay = self.rng.random_range(0..SPREAD_MS);
            self.after(delay, node, NodeEvent::Learn(about));
            if self.truth[&about].stage != Stage::Left && !self.reaches(node, about) {
                let since = *self.silent_since.entry(about).or_insert(self.now);
                let (delay, silence) = (self.rng.random_range(DETECT_MS), (self.truth[&about].incarnation, since));
                // It takes a newcomer as long as everybody else to find out who is dead.
                self.log.fault(self.now, self.now + DETECT_MS.end() + SETTLE_MS);
                self.after(delay, node, NodeEvent::Suspect(about, silence));
            }
        }
    }

    fn discover_all(&mut self, node: usize) {
        let seen = self.script.keys.iter().filter(|plan| (plan.hidden >> node) & 1 == 0);
        let keys = seen.map(|plan| ((plan.domain, plan.key), plan.interval_ms)).collect();
        let running = self.nodes.get_mut(&node).unwrap();
        running.keys = keys;
        running.discovered = true;
        for domain in [0, 1, COPY] {
            self.show_keys(node, domain);
        }
        self.take_part(node);
    }

    pub(super) fn show_keys(&mut self, node: usize, domain: usize) {
        let Some(running) = self.nodes.get_mut(&node) else { return };
        let (specs, name) = (running.specs(domain), domain_of(domain));
        // What is not known any more is not scraped any more, whatever the machine has to say about it.
        let left = running.loops.iter_mut().filter(|((of, key), _)| *of == name && !specs.iter().any(|spec| spec.key == *key));
        left.for_each(|(_, left)| left.stopping = true);
        self.input(node, |machine, now| machine.set_keys(now, &domain_of(domain), &specs));
    }

    /// A viewer that has all it needs becomes a participant; in some runs it does not wait for its targets.
    fn take_part(&mut self, node: usize) {
        let eager = self.script.class == Class::Sets && self.script.seed % 2 == 1;
        let running = &self.nodes[&node];
        if running.stage == Stage::Viewer && running.synced && (running.discovered || eager) {
            self.enter_stage(node, Stage::Participant);
        }
    }

    pub(super) fn enter_stage(&mut self, node: usize, stage: Stage) {
        let Some(running) = self.nodes.get_mut(&node) else { return };
        running.stage = stage;
        let fact = Fact { incarnation: running.incarnation, stage };
        running.beliefs.learn(node, fact);
        self.truth.insert(node, fact);
        self.log.note(self.now, format_args!("node-{node} is {stage:?}"));
        self.show_view(node);
        self.spread(node);
    }
}

fn brief(view: &View) -> String {
    let members: Vec<String> =
        view.members.iter().map(|member| format!("{}/{}{:.1}", member.name, member.incarnation, format!("{:?}", member.state))).collect();
    format!("{} synced={}", members.join(" "), view.synced)
}
