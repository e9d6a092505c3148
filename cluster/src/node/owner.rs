//! Carries out what the ownership machine decides: opens and closes holds, tells components, collects what they hand over. The
//! machine's messages and its view of the fleet come from and go to the driver.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use prometheus::IntCounter;
use tokio::sync::mpsc;

use super::{
    balance::Snapshot,
    claims::{Handover, Port, StartEvent, StopEvent, Stopping},
    clock::Clock,
    driver::Command,
    hold::{Fence, Hold},
    holds::Holds,
    moves::Moves,
};
use crate::ownership::{
    Action, Candidacy, Counters, Envelope, Holder, KeySpec, KeysDigest, Name, Now, Ownership, Settings, Start, StopReason, Stopped, View,
};
use crate::placement::Table;

/// How long a component may take to say what it hands over with a key; then the key goes without it.
pub const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);

/// A component's domain.
struct Domain {
    number: u64,
    port: Arc<Port>,
    keys: Option<Vec<KeySpec>>,
    holds: Holds,
}

/// A key that was stopped for a peer and whose component has not answered yet.
struct Releasing {
    number: u64,
    last_slot: Option<u64>,
    until_ms: u64,
}

/// What the driver has to do after an input.
#[derive(Default)]
pub(crate) struct Effects {
    /// Messages by receiver, in order.
    pub(crate) sends: Vec<(Name, Bytes)>,
    /// This node was late and needs to synchronise.
    pub(crate) fenced: bool,
    /// Nothing is left to hand over.
    pub(crate) drained: bool,
}

/// The machine and what hangs on it.
pub(crate) struct Owner {
    machine: Ownership,
    settings: Settings,
    clock: Clock,
    fence: Fence,
    answers_required: bool,
    /// Until when the majority lets this node begin slots.
    lease_ms: u64,
    commands: mpsc::UnboundedSender<Command>,
    domains: HashMap<Name, Domain>,
    releasing: HashMap<(Name, u64), Releasing>,
    answers: HashMap<Name, Vec<Stopped>>,
    next_release: u64,
    /// Totals of machines that were given up.
    past: Counters,
    moves: Moves,
}

impl Owner {
    pub(crate) fn new(settings: Settings, clock: Clock, refused: IntCounter, commands: mpsc::UnboundedSender<Command>) -> Self {
        Self {
            machine: Ownership::new(settings.clone(), clock.now()),
            settings,
            fence: Fence::new(clock.clone(), refused),
            answers_required: false,
            lease_ms: u64::MAX,
            clock,
            commands,
            domains: HashMap::new(),
            releasing: HashMap::new(),
            answers: HashMap::new(),
            next_release: 0,
            past: Counters::default(),
            moves: Moves::default(),
        }
    }

    /// Components that are told about their keys.
    pub(crate) fn observers(&self) -> usize {
        self.domains.len()
    }

    /// Keys that may be scraped here now.
    pub(crate) fn held(&self) -> usize {
        self.domains.values().map(|domain| domain.holds.len()).sum()
    }

    /// The keys that components have set.
    pub(crate) fn keys_digest(&self) -> KeysDigest {
        self.machine.keys_digest()
    }

    pub(crate) fn holders(&self) -> Vec<Holder> {
        self.machine.holders().collect()
    }

    /// The table of placement that the machine goes by.
    pub(crate) fn table(&self) -> &Arc<Table> {
        self.machine.table()
    }

    /// What placement rests on now.
    pub(crate) fn placement(&self) -> Snapshot {
        Snapshot {
            table: self.machine.table().clone(),
            proposal: self.machine.proposal().clone(),
            held: self.machine.held(),
            weighers: self.domains.iter().filter_map(|(name, domain)| Some((name.clone(), domain.port.weigher()?))).collect(),
        }
    }

    /// In which order members should hold a key, by this node's view.
    pub(crate) fn candidates(&self, domain: &str, key: u64) -> Vec<Candidacy> {
        self.machine.candidates(domain, key)
    }

    /// Tells what has moved since the last time.
    pub(crate) fn tell_moves(&mut self) {
        self.moves.tell();
    }

    /// A newer table has come.
    pub(crate) fn adopt(&mut self, table: Arc<Table>) -> Effects {
        self.input(|machine, now| machine.set_table(now, table))
    }

    /// The machine's totals.
    pub(crate) fn counters(&self) -> Counters {
        sum(&self.past, self.machine.counters())
    }

    /// A component claims a domain; one that had it before is sent away.
    pub(crate) fn register(&mut self, name: Name, number: u64, port: Arc<Port>) -> Effects {
        let effects = self.remove(&name);
        self.domains.insert(name, Domain { number, port, keys: None, holds: Holds::default() });
        effects
    }

    /// A component has gone, unless another has its domain already.
    pub(crate) fn release(&mut self, name: &Name, number: u64) -> Effects {
        match self.domains.get(name) {
            Some(domain) if domain.number == number => self.remove(name),
            _ => Effects::default(),
        }
    }

    fn remove(&mut self, name: &Name) -> Effects {
        let Some(mut domain) = self.domains.remove(name) else {
            return Effects::default();
        };
        domain.holds.close_all();
        domain.port.inbox.close();
        let released: Vec<_> = self.releasing.keys().filter(|(domain, _)| domain == name).cloned().collect();
        for key in released {
            self.answer(&key, None);
        }
        self.input(|machine, now| machine.remove_domain(now, name))
    }

    /// A component has set its keys.
    pub(crate) fn keys_changed(&mut self, name: &Name, number: u64) -> Effects {
        let Some(domain) = self.domains.get_mut(name).filter(|domain| domain.number == number) else {
            return Effects::default();
        };
        let Some(keys) = domain.port.take_keys() else {
            return Effects::default();
        };
        domain.holds.know(&keys);
        domain.keys = Some(keys.clone());
        self.input(|machine, now| machine.set_keys(now, name, &keys))
    }

    /// A component has said what it hands over; the machine is told by [`Self::flush`].
    pub(crate) fn stopped(&mut self, domain: Name, key: u64, number: u64, state: Option<Bytes>) {
        let id = (domain, key);
        if self.releasing.get(&id).is_some_and(|releasing| releasing.number == number) {
            self.answer(&id, state);
        }
    }

    fn answer(&mut self, id: &(Name, u64), state: Option<Bytes>) {
        if let Some(releasing) = self.releasing.remove(id) {
            let stopped = Stopped { key: id.1, last_slot: releasing.last_slot, state };
            self.answers.entry(id.0.clone()).or_default().push(stopped);
        }
    }

    /// Tells the machine what components have answered.
    pub(crate) fn flush(&mut self) -> Effects {
        let mut effects = Effects::default();
        for (domain, stopped) in std::mem::take(&mut self.answers) {
            effects.add(self.input(|machine, now| machine.stopped(now, &domain, stopped)));
        }
        effects
    }

    /// The fleet has changed.
    pub(crate) fn set_view(&mut self, view: View) -> Effects {
        self.input(|machine, now| machine.set_view(now, view))
    }

    /// A peer sent a message.
    pub(crate) fn receive(&mut self, from: &str, envelope: Envelope) -> Effects {
        self.input(|machine, now| machine.receive(now, from, envelope))
    }

    /// No slot begins from this reading of the monotonic clock on.
    pub(crate) fn set_lease(&mut self, until_ms: u64) {
        self.lease_ms = until_ms;
        self.move_fence();
    }

    fn move_fence(&self) {
        self.fence.move_to(self.machine.scrape_until_ms().min(self.lease_ms));
    }

    /// This node is out of touch with the majority: nothing is held any more.
    pub(crate) fn isolate(&mut self) -> Effects {
        self.input(Ownership::isolate)
    }

    /// Whether claims wait for every member's answer.
    pub(crate) fn require_answers(&mut self, required: bool) {
        self.answers_required = required;
        self.machine.require_answers(required);
    }

    /// The stream to a peer is open again.
    pub(crate) fn connected(&mut self, name: &str) -> Effects {
        self.input(|machine, now| machine.peer_connected(now, name))
    }

    /// Time passes.
    pub(crate) fn tick(&mut self) -> Effects {
        let now_ms = self.clock.mono_ms();
        let late: Vec<_> = self.releasing.iter().filter(|(_, releasing)| releasing.until_ms <= now_ms).map(|(id, _)| id.clone()).collect();
        for id in late {
            tracing::warn!(domain = %id.0, key = id.1, "the component gave nothing to hand over in time");
            self.answer(&id, None);
        }
        let mut effects = self.input(|machine, now| machine.tick(now));
        effects.add(self.flush());
        effects
    }

    /// Begins anew under another incarnation, holding nothing.
    pub(crate) fn restart(&mut self, incarnation: u64) -> Effects {
        self.fence_all();
        self.settings.incarnation = incarnation;
        self.past = self.counters();
        let table = self.machine.table().clone();
        self.machine = Ownership::new(self.settings.clone(), self.clock.now());
        self.machine.require_answers(self.answers_required);
        self.answers.clear();
        let mut effects = self.adopt(table);
        let keys: Vec<_> = self.domains.iter().filter_map(|(name, domain)| Some((name.clone(), domain.keys.clone()?))).collect();
        for (name, keys) in keys {
            effects.add(self.input(|machine, now| machine.set_keys(now, &name, &keys)));
        }
        effects
    }

    fn input(&mut self, input: impl FnOnce(&mut Ownership, Now) -> Vec<Action>) -> Effects {
        let now = self.clock.now();
        let actions = input(&mut self.machine, now);
        let mut effects = Effects::default();
        for action in actions {
            self.carry_out(action, &mut effects);
        }
        // Last: a node that was late has shut its holds before slots may begin again.
        self.move_fence();
        effects
    }

    fn carry_out(&mut self, action: Action, effects: &mut Effects) {
        match action {
            Action::Send { to, envelope } => effects.sends.push((to, envelope.encode())),
            Action::Start(start) => self.start(start),
            Action::Stop { domain, key, reason } => self.stop(domain, key, reason),
            Action::Fence { late_ms } => {
                if late_ms > 0 {
                    tracing::warn!(late_ms, "this node was late: it stops scraping until it has synchronised with its peers");
                }
                self.fence_all();
                effects.fenced = true;
            }
            Action::Drained => effects.drained = true,
        }
    }

    fn start(&mut self, start: Start) {
        let Some(domain) = self.domains.get_mut(&start.domain) else { return };
        let hold = Hold::new(self.fence.clone(), start.first_slot);
        domain.holds.open(start.key, hold.clone());
        self.moves.arrived(&start);
        domain.port.inbox.start(StartEvent {
            key: start.key,
            first_slot: start.first_slot,
            hold,
            reason: start.reason,
            state: start.state,
        });
    }

    fn stop(&mut self, name: Name, key: u64, reason: StopReason) {
        self.moves.left(&name, &reason);
        let mut last_slot = None;
        let mut port = None;
        if let Some(domain) = self.domains.get_mut(&name) {
            // Under the hold's lock: from here on no slot begins, and this is the last that did.
            last_slot = domain.holds.close(key);
            port = Some(domain.port.clone());
        }
        let handover = matches!(reason, StopReason::Handover { .. }).then(|| self.handover(name, key, last_slot));
        // Without a component the handover is dropped here, which answers it.
        if let Some(port) = port {
            port.inbox.stop(StopEvent { key, reason: reason.into(), handover });
        }
    }

    fn handover(&mut self, domain: Name, key: u64, last_slot: Option<u64>) -> Handover {
        self.next_release += 1;
        let number = self.next_release;
        let until_ms = self.clock.mono_ms() + HANDOVER_TIMEOUT.as_millis() as u64;
        self.releasing.insert((domain.clone(), key), Releasing { number, last_slot, until_ms });
        Handover { domain, key, number, commands: self.commands.clone(), state: None }
    }

    fn fence_all(&mut self) {
        self.releasing.clear();
        for domain in self.domains.values_mut() {
            for key in domain.holds.close_all() {
                domain.port.inbox.stop(StopEvent { key, reason: Stopping::Fenced, handover: None });
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Without a machine nobody knows what may still be scraped here.
        self.fence.move_to(0);
        for domain in self.domains.values() {
            domain.port.inbox.close();
        }
    }
}

impl Effects {
    pub(crate) fn add(&mut self, other: Self) {
        self.sends.extend(other.sends);
        self.fenced |= other.fenced;
        self.drained |= other.drained;
    }
}

fn sum(one: &Counters, other: &Counters) -> Counters {
    Counters {
        moves_in: one.moves_in + other.moves_in,
        moves_out: one.moves_out + other.moves_out,
        claims: one.claims + other.claims,
        claims_forced: one.claims_forced + other.claims_forced,
        wants_sent: one.wants_sent + other.wants_sent,
        busy_received: one.busy_received + other.busy_received,
        grants_resent: one.grants_resent + other.grants_resent,
        grants_declined: one.grants_declined + other.grants_declined,
        states_dropped: one.states_dropped + other.states_dropped,
        duplicates_stopped: one.duplicates_stopped + other.duplicates_stopped,
        fences: one.fences + other.fences,
        stale_messages: one.stale_messages + other.stale_messages,
        handover_latency: added(one.handover_latency, other.handover_latency),
        handover_latency_sum_ms: one.handover_latency_sum_ms + other.handover_latency_sum_ms,
        handover_gap: added(one.handover_gap, other.handover_gap),
        handover_gap_sum: one.handover_gap_sum.saturating_add(other.handover_gap_sum),
    }
}

fn added<const BUCKETS: usize>(mut one: [u64; BUCKETS], other: [u64; BUCKETS]) -> [u64; BUCKETS] {
    one.iter_mut().zip(other).for_each(|(sum, more)| *sum += more);
    one
}
