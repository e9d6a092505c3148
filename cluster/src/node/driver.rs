//! The node's actor: one task that owns the table of members, the search for the fleet, the streams and the ownership machine,
//! and feeds each with what happens. Everything that waits (dialling, resolving, checking newcomers) runs in tasks of its own
//! and reports back, so that no peer holds up another.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use prost::Message;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Peer,
    admit::Checked,
    agreement::Agreement,
    claims::Port,
    config::Config,
    events::JoinEvent,
    join::Join,
    leave::Leaving,
    links::Links,
    log_budget::LogBudget,
    majority::Majority,
    owner::{Effects, Owner},
};
use crate::{
    membership::{
        Identity, Record,
        gossip::{Gossip, Parts, Seen, digest_bytes},
        table::Table,
    },
    ownership::{Candidacy, Holder, Name},
    quorum::PartitionPolicy,
    resolve::{ResolveError, Resolver},
    transport::{
        Connector, DialError, Event, Local, Step,
        frame::Kind,
        standing::date,
        wire::{Member, Members, Process},
    },
};

/// Pause between two looks at the time.
const TICK: Duration = Duration::from_millis(100);

/// Ticks between two updates of gauges that nothing else triggers.
const TICKS_PER_REPORT: u64 = 10;

/// Commands that are taken in one go, so that what components hand over reaches the machine in batches.
const COMMAND_BATCH: usize = 1024;

/// Events of streams that are taken in one go: consequences are drawn once for all of them, and drawing them takes a look at every
/// member.
const EVENT_BATCH: usize = 64;

/// Members that gossip is told of in one of its rounds. A round with all members that a node meets as it starts would be as many
/// digests of the whole fleet.
const INTRODUCTIONS: usize = 3;

/// What components and the product ask of the node.
pub(crate) enum Command {
    /// A component claims a domain.
    Register { domain: Name, number: u64, port: Arc<Port> },
    /// It has set its keys.
    SetKeys { domain: Name, number: u64 },
    /// It is gone.
    Release { domain: Name, number: u64 },
    /// It has answered a handover.
    Stopped { domain: Name, key: u64, number: u64, state: Option<Bytes> },
    /// The node may own keys.
    Participate,
    /// The hash of the configuration, for peers to compare.
    ConfigHash(String),
    /// Where each key stands.
    Holders(oneshot::Sender<Vec<Holder>>),
    /// What placement rests on.
    Placement(oneshot::Sender<super::balance::Snapshot>),
    /// Who should hold a key, in order.
    Candidates { domain: Name, key: u64, answer: oneshot::Sender<Vec<Candidacy>> },
    /// A table of placement to go by, if it is newer than the present one.
    Adopt(Arc<crate::placement::Table>),
    /// What is held here weighs so much.
    Load(u64),
    /// Hand over everything.
    Drain { deadline: Instant, done: oneshot::Sender<super::LeaveReport> },
    /// Go, once everything is handed over.
    Farewell { gone: oneshot::Sender<()> },
}

/// What the node's own tasks report.
pub(crate) enum Report {
    /// A join address was resolved.
    Resolved { index: usize, result: Result<Vec<SocketAddr>, ResolveError> },
    /// A join address was dialled.
    Dialled { addr: SocketAddr, result: Result<(Record, Members), DialError> },
    /// A newcomer was checked.
    Checked(Checked),
    /// A member was asked for its list, to synchronise.
    Synced(Result<(Record, Members), DialError>),
}

/// Whether the node's view may be acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Yes.
    Done,
    /// Not before an exchange with a member, to be begun at this time.
    Needed(Instant),
    /// The exchange is under way.
    Running,
}

/// All parts that the driver is made of.
pub(crate) struct Driver {
    pub(super) config: Arc<Config>,
    pub(super) local: Local,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) resolver: Resolver,
    pub(super) table: Table,
    pub(super) join: Join,
    pub(super) links: Links,
    pub(super) owner: Owner,
    pub(super) majority: Majority,
    /// Whether this node may work by its majority, for the product to see.
    pub(super) works: Arc<AtomicBool>,
    pub(super) gossip_parts: Parts,
    pub(super) gossip: Option<Gossip>,
    pub(super) narration: broadcast::Sender<JoinEvent>,
    pub(super) peers: Arc<ArcSwap<Vec<Peer>>>,
    /// What keeps this node from its fleet at present.
    pub(super) trouble: Arc<ArcSwapOption<String>>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) clock: super::Clock,
    pub(super) state: Progress,
}

/// What the driver remembers between two inputs.
pub(crate) struct Progress {
    pub(super) started: Instant,
    pub(super) wants_to_participate: bool,
    /// Another process has this node's name.
    pub(super) conflict: bool,
    pub(super) ready: bool,
    pub(super) sync: Sync,
    /// A member of a fleet has told this node whom it knows.
    pub(super) introduced: bool,
    pub(super) lamport: u64,
    /// The own record has changed and was not pushed.
    pub(super) unpublished: bool,
    /// Something that the view or the list of peers shows has changed.
    pub(super) dirty: bool,
    /// There may be streams to open or to end: members or streams have changed, or time has passed.
    pub(super) relink: bool,
    /// Not before this time it is shown.
    pub(super) next_view: Instant,
    pub(super) next_round: Instant,
    pub(super) resolving: usize,
    pub(super) dialling: usize,
    pub(super) next_gossip: Instant,
    /// What the processes that gossip knows take in its digest.
    pub(super) digest_bytes: usize,
    /// The join addresses that were last told to be waited for.
    pub(super) waited_for: Option<Vec<String>>,
    /// Members that were told to be reached, until this node is part of a fleet.
    pub(super) told_reached: BTreeSet<Name>,
    /// What was last said of a peer or join address that failed.
    pub(super) failures: HashMap<String, (Step, String)>,
    /// The fleet that this node is part of was not told yet: whether it is a new one, and since when this node is part of it.
    pub(super) ring_to_tell: Option<(bool, Instant)>,
    pub(super) admitted: bool,
    pub(super) warned_of_size: bool,
    pub(super) clock_off: bool,
    /// Not before this time changed keys are told.
    pub(super) next_keys: Instant,
    pub(super) agreement: Agreement,
    /// Members whose clocks were told to be off.
    pub(super) skewed: BTreeSet<Name>,
    /// What the log may still be told of members.
    pub(super) log_budget: LogBudget,
    pub(super) leaving: Option<Leaving>,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            wants_to_participate: false,
            conflict: false,
            ready: false,
            sync: Sync::Done,
            introduced: false,
            lamport: 0,
            unpublished: true,
            dirty: true,
            relink: true,
            next_view: now,
            next_round: now,
            resolving: 0,
            dialling: 0,
            next_gossip: now,
            digest_bytes: 0,
            waited_for: None,
            told_reached: BTreeSet::new(),
            failures: HashMap::new(),
            ring_to_tell: None,
            admitted: false,
            warned_of_size: false,
            clock_off: false,
            next_keys: now,
            agreement: Agreement::default(),
            skewed: BTreeSet::new(),
            log_budget: LogBudget::new(now),
            leaving: None,
        }
    }
}

/// Where inputs come from.
pub(crate) struct Inputs {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
}

impl Driver {
    /// Runs the node until it has left.
    pub(crate) async fn run(mut self, mut inputs: Inputs) {
        self.start_gossip().await;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0u64;
        let mut commands = Vec::with_capacity(COMMAND_BATCH);
        let mut events = Vec::with_capacity(EVENT_BATCH);
        while !self.has_left() {
            tokio::select! {
                _ = inputs.events.recv_many(&mut events, EVENT_BATCH) => {
                    self.note_time();
                    for event in events.drain(..) {
                        self.event(event);
                    }
                }
                _ = inputs.commands.recv_many(&mut commands, COMMAND_BATCH) => {
                    self.note_time();
                    for command in commands.drain(..) {
                        self.command(command);
                    }
                    let effects = self.owner.flush();
                    self.carry_out(effects);
                }
                Some(report) = inputs.reports.recv() => {
                    self.note_time();
                    self.report(report);
                }
                _ = ticks.tick() => {
                    self.note_time();
                    count += 1;
                    self.tick(count.is_multiple_of(TICKS_PER_REPORT)).await;
                }
            }
            self.settle().await;
        }
        self.owner.tell_moves();
        self.farewell();
    }

    /// Before anything is judged by the time, so that a pause of this process is not held against its peers.
    fn note_time(&mut self) {
        let now = Instant::now();
        for (identity, at) in self.local.pulses.take() {
            self.table.beat(&identity, at);
        }
        self.table.tick(now);
        self.check_lease();
    }

    pub(super) async fn start_gossip(&mut self) {
        match self.gossip_parts.start(&self.local.record()).await {
            Ok(gossip) => self.gossip = Some(gossip),
            Err(error) => tracing::error!(%error, "gossip could not be started; members are told by their streams alone"),
        }
    }

    async fn tick(&mut self, report: bool) {
        self.state.relink |= self.links.has_due(Instant::now());
        self.keep_majority();
        let effects = self.owner.tick();
        self.carry_out(effects);
        let now = Instant::now();
        if self.state.next_gossip <= now {
            self.state.next_gossip = now + self.config.gossip_interval;
            self.read_gossip(now).await;
        }
        if report {
            self.compare_keys(now);
            self.report_metrics();
            self.owner.tell_moves();
            self.watch_clocks();
        }
    }

    async fn read_gossip(&mut self, now: Instant) {
        let Some(gossip) = &mut self.gossip else { return };
        if gossip.has_ended() {
            tracing::error!("the gossip loop ended on a message that it could not take; it is started again");
            self.state.unpublished = true;
        }
        let seen = gossip.seen().await;
        self.introduce(&seen);
        self.state.digest_bytes = digest_bytes(seen.iter().map(|seen| &*seen.identity.name));
        for seen in seen {
            // Gossip repeats what dead processes once said: only live ones are taken from it.
            if let Some(record) = seen.record.filter(|_| seen.live) {
                self.state.lamport = self.state.lamport.max(record.counter);
                self.table.told(record, now);
            }
            self.table.gossiped(&seen.identity, seen.heartbeat, seen.live, now);
        }
    }

    /// Tells gossip of members that it does not know: as this node starts, or as two fleets meet. It learns of the others from those.
    fn introduce(&self, seen: &[Seen]) {
        let Some(gossip) = &self.gossip else { return };
        let known: HashSet<&Identity> = seen.iter().map(|seen| &seen.identity).collect();
        let strangers = self.table.alive().filter(|record| !known.contains(&record.identity));
        let reachable = strangers.map(|record| record.identity.addr).filter(|addr| self.links.reaches(*addr));
        for addr in reachable.take(INTRODUCTIONS) {
            gossip.talk_to(addr);
        }
    }

    fn event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Admit { hello, verdict } => self.admit(hello, verdict),
            Event::LinkUp { addr, session, peer, members } => self.link_up(addr, session, peer, members),
            Event::LinkDown { addr, session, error } => self.link_down(addr, session, &error),
            Event::InboundUp { peer } => self.table.met(peer, now),
            Event::InboundDown { peer } => tracing::debug!(?peer, "a peer's stream to this node ended"),
            Event::Members { from, members } => self.members(&from, members),
            Event::Standing { from, standing } => self.standing(&from, standing),
            Event::Ownership { dated, .. } if !self.is_timely(dated) => {}
            Event::Ownership { from, envelope, .. } => {
                let effects = self.owner.receive(&from.name, envelope);
                self.carry_out(effects);
            }
        }
    }

    fn command(&mut self, command: Command) {
        let effects = match command {
            Command::Register { domain, number, port } => self.owner.register(domain, number, port),
            Command::SetKeys { domain, number } => self.owner.keys_changed(&domain, number),
            Command::Release { domain, number } => self.owner.release(&domain, number),
            Command::Stopped { domain, key, number, state } => {
                self.owner.stopped(domain, key, number, state);
                Effects::default()
            }
            Command::Participate => {
                self.begin();
                Effects::default()
            }
            Command::ConfigHash(hash) => {
                self.change_record(|record| record.config_hash = hash);
                Effects::default()
            }
            Command::Holders(answer) => {
                // Whoever asked may have gone.
                drop(answer.send(self.owner.holders()));
                Effects::default()
            }
            Command::Placement(answer) => {
                drop(answer.send(self.owner.placement()));
                Effects::default()
            }
            Command::Candidates { domain, key, answer } => {
                drop(answer.send(self.owner.candidates(&domain, key)));
                Effects::default()
            }
            Command::Adopt(table) => self.adopt(table),
            Command::Load(load) => {
                self.tell_load(load);
                Effects::default()
            }
            Command::Drain { deadline, done } => {
                self.begin_to_leave(deadline, done);
                Effects::default()
            }
            Command::Farewell { gone } => {
                self.may_go(gone);
                Effects::default()
            }
        };
        self.carry_out(effects);
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Resolved { index, result } => self.resolved(index, result),
            Report::Dialled { addr, result } => self.dialled(addr, result),
            Report::Checked(checked) => self.checked(checked),
            Report::Synced(result) => self.synced(result),
        }
    }

    fn link_up(&mut self, addr: SocketAddr, session: u64, peer: Record, members: Members) {
        let now = Instant::now();
        let found = peer.identity.clone();
        let Some(meant) = self.links.up(addr, session, &found) else { return };
        if meant.name != found.name {
            // Whoever was meant is gone: another node answers at its address.
            self.table.unlinked(&meant, true, now);
        }
        self.state.failures.remove(&addr.to_string());
        self.tell_reached(addr, &found.name);
        self.table.met(peer, now);
        self.table.linked(&found);
        self.merge(members);
        self.join.reached(addr, now);
        self.links.send(&found.name, Kind::Members, self.news(Vec::new(), Vec::new()));
        let effects = self.owner.connected(&found.name);
        self.carry_out(effects);
        (self.state.dirty, self.state.relink) = (true, true);
    }

    fn link_down(&mut self, addr: SocketAddr, session: u64, error: &DialError) {
        let now = Instant::now();
        let Some((identity, was_up)) = self.links.down(addr, session, error.timed_out(), now) else { return };
        (self.state.dirty, self.state.relink) = (true, true);
        self.heed_rejection(error);
        // With company, what the network says of a host counts like a refusal; alone it may be this node's own network. Under `majority`
        // only what proves that the process is gone counts.
        let company = self.table.alive().count() > 1 && self.config.partition_policy == PartitionPolicy::Both;
        let refused = error.nobody_there() || (error.unreachable() && company);
        tracing::debug!(peer = ?identity, %error, refused, "the stream to a peer is down");
        if self.table.unlinked(&identity, refused, now) {
            let news = self.news(Vec::new(), vec![Process::from(&identity)]);
            self.links.broadcast(Kind::Members, &news);
        }
        if !refused && !was_up {
            self.narrate_failure(&identity.addr.to_string(), error);
        }
    }

    fn members(&mut self, from: &Identity, members: Members) {
        let now = Instant::now();
        let sender = members.sender.as_ref().and_then(Member::record);
        if sender.is_none_or(|sender| sender.identity != *from) {
            // A process speaks for itself; one that has just started anew will say so on a new stream.
            return;
        }
        for process in members.refused.iter().filter_map(Process::identity) {
            self.table.reported(&from.name, &process, now);
        }
        self.merge(members);
    }

    /// Takes over what a member says of itself and of others.
    pub(super) fn merge(&mut self, members: Members) {
        let now = Instant::now();
        self.state.lamport = self.state.lamport.max(members.lamport);
        if let Some(sender) = members.sender.as_ref().and_then(Member::record) {
            self.local.metrics.gossip_event("state_change_message");
            self.table.met(sender, now);
        }
        for record in members.others.iter().filter_map(Member::record) {
            self.state.lamport = self.state.lamport.max(record.counter);
            self.table.told(record, now);
        }
    }

    /// A message with the own record and whatever else there is to say.
    pub(super) fn news(&self, others: Vec<Member>, refused: Vec<Process>) -> Bytes {
        let sender = Some(Member::from(&self.local.record()));
        Members { sender, others, refused, lamport: self.state.lamport }.encode_to_vec().into()
    }

    /// Sends the machine's messages and heeds what it says about this node. A peer without a stream gets nothing: the machine
    /// says it again.
    pub(super) fn carry_out(&mut self, effects: Effects) {
        for (to, message) in effects.sends {
            let sent = match self.date_for(&to) {
                Some(number) => self.links.send(&to, Kind::Dated, date(number, &message)),
                None => self.links.send(&to, Kind::Ownership, message),
            };
            if !sent {
                tracing::debug!(peer = %to, "an ownership message found no stream");
            }
        }
        if effects.fenced {
            self.state.sync = Sync::Needed(Instant::now());
            self.state.dirty = true;
        }
        if effects.drained {
            self.drained();
        }
    }
}
