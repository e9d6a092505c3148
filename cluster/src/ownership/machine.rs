//! The machine's inputs: each takes a reading of the clocks, first checks whether this node was late, then does its part and
//! returns what is to be done.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::action::{Action, Counters, Stopped};
use super::claim::{Lead, Pointers};
use super::context::{Context, Placement, Standing};
use super::domain::Domain;
use super::message::{Answer, Envelope, Message};
use super::mutant::Mutant;
use super::outbox::Outbox;
use super::peers::{Introduction, PeerId, Peers};
use super::view::{KeySpec, Member, MemberState, Name, Now, Settings, View};
use crate::placement::{Proposal, Table};
use crate::ring::Ring;

/// Most domains, those included that only peers speak of.
const MAX_DOMAINS: usize = 4_096;
/// Most keys noted, over all domains, that this node has not discovered. What peers ask beyond is answered and not remembered.
const MAX_NOTES: usize = 1 << 17;
/// Milliseconds between two searches for notes that have served their time.
const PRUNE_MS: u64 = 10_000;

/// The ownership machine of one node, for any number of domains.
#[derive(Debug)]
pub struct Ownership {
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    pub(super) domains: BTreeMap<Name, Domain>,
    pub(super) peers: Peers,
    pub(super) placement: Placement,
    table: Arc<Table>,
    pub(super) standing: Standing,
    /// Latest readings of the clocks.
    last: Now,
    view: View,
    sequence: u64,
    next_audit_ms: u64,
    next_prune_ms: u64,
    /// A deliberate fault; only tests can set one.
    mutant: Option<Mutant>,
}

impl Ownership {
    /// A machine that knows nobody and holds nothing.
    #[must_use]
    pub fn new(settings: Settings, now: Now) -> Self {
        Self {
            next_audit_ms: now.mono_ms.saturating_add(settings.audit_ms),
            next_prune_ms: now.mono_ms.saturating_add(PRUNE_MS),
            settings,
            counters: Counters::default(),
            domains: BTreeMap::new(),
            peers: Peers::default(),
            placement: Placement {
                proposal: Arc::new(Proposal::new(Ring::new(Vec::<Name>::new()), &BTreeMap::new(), &Table::default())),
                ids: Vec::new(),
            },
            table: Arc::default(),
            standing: Standing::default(),
            last: now,
            view: View::default(),
            sequence: 0,
            mutant: None,
        }
    }

    /// Takes the membership's current view. Cheap if nothing changed; else every key is looked at once.
    #[must_use]
    pub fn set_view(&mut self, now: Now, view: View) -> Vec<Action> {
        let fences = self.counters.fences;
        let mut out = self.enter(now);
        let before = (self.standing.state, self.standing.synced, self.standing.ready);
        // A view that comes together with the news that this node was late is older than that news.
        self.standing.synced = view.synced && self.counters.fences == fences;
        self.standing.ready |= view.ready;
        let (me, incarnation) = (&self.settings.me, self.settings.incarnation);
        let own = view.members.iter().find(|member| member.name == *me && member.incarnation == incarnation);
        self.standing.state = own.map(|member| member.state);
        let leaving = self.standing.state == Some(MemberState::Terminating);
        self.standing.leaving_since = leaving.then_some(self.standing.leaving_since.unwrap_or(self.last.mono_ms));
        self.view = view;
        let changed = self.apply_view();
        if changed || before != (self.standing.state, self.standing.synced, self.standing.ready) {
            self.refresh(&mut out);
        }
        self.leave(out)
    }

    /// Takes the table that corrects the ring. Every key is looked at once; keys move as after a change of members.
    #[must_use]
    pub(crate) fn set_table(&mut self, now: Now, table: Arc<Table>) -> Vec<Action> {
        let mut out = self.enter(now);
        let present = &self.placement.proposal;
        self.placement.proposal = Arc::new(Proposal::new(present.ring().clone(), &present.zones(), &table));
        self.table = table;
        self.refresh(&mut out);
        self.leave(out)
    }

    /// The table that this node goes by.
    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// What ring and table propose.
    pub(crate) fn proposal(&self) -> &Arc<Proposal> {
        &self.placement.proposal
    }

    /// Takes the keys that this node has discovered in a domain, whole. Before the first call for a domain this node leaves
    /// its keys to others. Of specs with the same key the first counts.
    #[must_use]
    pub fn set_keys(&mut self, now: Now, domain: &str, keys: &[KeySpec]) -> Vec<Action> {
        let mut out = self.enter(now);
        let (domains, mut cx) = self.parts(&mut out);
        let name = Name::from(domain);
        domains.entry(name.clone()).or_insert_with(|| Domain::new(name)).set_keys(&mut cx, keys);
        self.leave(out)
    }

    /// Takes a domain away: its component is gone or no longer clustered. Keys held in it are stopped.
    #[must_use]
    pub fn remove_domain(&mut self, now: Now, domain: &str) -> Vec<Action> {
        let mut out = self.enter(now);
        let (domains, mut cx) = self.parts(&mut out);
        if let Some(domain) = domains.get_mut(domain) {
            domain.abandon(&mut cx);
        }
        self.leave(out)
    }

    /// Takes a message of a peer. Messages of or for another life are counted and dropped.
    #[must_use]
    pub fn receive(&mut self, now: Now, from: &str, envelope: Envelope) -> Vec<Action> {
        let mut out = self.enter(now);
        let known = (self.peers.horizon(), self.peers.retirements());
        match self.sender(from, &envelope) {
            Some(peer) => {
                self.peers.keep(peer, now.mono_ms);
                let pointers = self.introductions(&envelope.message);
                self.admit(known, &mut out);
                self.dispatch(peer, envelope, &pointers, &mut out);
            }
            None => self.counters.stale_messages += 1,
        }
        self.leave(out)
    }

    /// A peer is known to be dead before the view shows it. Lasts until it is heard of again or the view has lost it.
    #[must_use]
    pub fn peer_gone(&mut self, now: Now, name: &str) -> Vec<Action> {
        let mut out = self.enter(now);
        if self.peers.mark_gone(name, now.mono_ms) {
            self.apply_view();
            self.refresh(&mut out);
        }
        self.leave(out)
    }

    /// The stream to a peer was opened anew: what was sent before may be lost and is repeated.
    #[must_use]
    pub fn peer_connected(&mut self, now: Now, name: &str) -> Vec<Action> {
        let mut out = self.enter(now);
        if let Some(peer) = self.peers.id(name) {
            let (domains, mut cx) = self.parts(&mut out);
            domains.values_mut().for_each(|domain| domain.repeat_to(&mut cx, peer));
        }
        self.leave(out)
    }

    /// The driver's answer to [`super::StopReason::Handover`], for any number of keys: they are granted in one message.
    #[must_use]
    pub fn stopped(&mut self, now: Now, domain: &str, stopped: Vec<Stopped>) -> Vec<Action> {
        let mut out = self.enter(now);
        let (domains, mut cx) = self.parts(&mut out);
        if let Some(domain) = domains.get_mut(domain) {
            domain.on_stopped(&mut cx, stopped);
        }
        self.leave(out)
    }

    /// This node is out of touch with the majority: it gives up everything, tokens on their way included, since others may have found
    /// the keys free. Nothing is claimed before a view that is synchronised again.
    #[must_use]
    pub fn isolate(&mut self, now: Now) -> Vec<Action> {
        let mut out = self.enter(now);
        if self.standing.synced {
            self.fence(0, &mut out);
        }
        let (domains, mut cx) = self.parts(&mut out);
        domains.values_mut().for_each(|domain| domain.drop_tokens(&mut cx));
        self.leave(out)
    }

    /// Whether a claim waits for the answer of every member of the view, however long it takes, instead of passing over the silent.
    pub fn require_answers(&mut self, required: bool) {
        self.standing.answers_required = required;
    }

    /// Lets time pass: call it about every 100 ms, also when nothing happens.
    #[must_use]
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        let mut out = self.enter(now);
        if self.peers.expire(now.mono_ms) {
            self.apply_view();
            self.refresh(&mut out);
        }
        let audit = now.mono_ms >= self.next_audit_ms && self.standing.synced;
        if audit {
            self.next_audit_ms = now.mono_ms.saturating_add(self.settings.audit_ms);
        }
        if now.mono_ms >= self.next_prune_ms {
            self.next_prune_ms = now.mono_ms.saturating_add(PRUNE_MS);
            self.domains.values_mut().for_each(|domain| domain.prune(now.mono_ms));
            self.domains.retain(|_, domain| !domain.keys.is_empty());
        }
        let (domains, mut cx) = self.parts(&mut out);
        for domain in domains.values_mut() {
            domain.tick(&mut cx);
            if audit {
                domain.audit(&mut cx);
            }
        }
        self.leave(out)
    }

    /// The monotonic millisecond until which scrapes may be begun. A scrape loop must look at it before each scrape: a loop
    /// that wakes up from a stall may run before the machine has seen that the node was late.
    #[must_use]
    pub fn scrape_until_ms(&self) -> u64 {
        if self.mutant == Some(Mutant::NoFence) {
            return u64::MAX;
        }
        self.last.mono_ms.saturating_add(self.settings.fence_after_ms)
    }

    /// Begins an input: takes the time and finds out whether this node was late.
    fn enter(&mut self, now: Now) -> Outbox {
        let mut out = Outbox::default();
        let late_ms = now.mono_ms.saturating_sub(self.last.mono_ms);
        self.sequence += 1;
        self.last = Now { mono_ms: now.mono_ms.max(self.last.mono_ms), wall_ms: now.wall_ms.max(self.last.wall_ms) };
        if late_ms >= self.settings.fence_after_ms && self.standing.synced {
            self.fence(late_ms, &mut out);
        }
        out
    }

    /// Gives up everything: others may have taken it meanwhile. Claims made so far are void; new ones wait for a new view.
    fn fence(&mut self, late_ms: u64, out: &mut Outbox) {
        if self.mutant == Some(Mutant::NoFence) {
            return;
        }
        self.counters.fences += u64::from(late_ms > 0);
        self.standing.synced = false;
        self.standing.floor = self.sequence;
        out.act(Action::Fence { late_ms });
        let (domains, mut cx) = self.parts(out);
        domains.values_mut().for_each(|domain| domain.fence(&mut cx));
    }

    /// Ends an input.
    fn leave(&mut self, mut out: Outbox) -> Vec<Action> {
        let terminating = self.standing.state == Some(MemberState::Terminating);
        if terminating && !self.standing.drained {
            let (domains, cx) = self.parts(&mut out);
            self.standing.drained = domains.values().all(|domain| domain.is_drained(&cx));
            if self.standing.drained {
                out.act(Action::Drained);
            }
        }
        out.finish(&self.peers, self.settings.incarnation, self.sequence)
    }

    /// The domains, and everything else that they need.
    fn parts<'a>(&'a mut self, out: &'a mut Outbox) -> (&'a mut BTreeMap<Name, Domain>, Context<'a>) {
        let notes: usize = self.domains.values().map(Domain::notes).sum();
        let context = Context {
            now: self.last,
            settings: &self.settings,
            standing: self.standing,
            peers: &self.peers,
            placement: &self.placement,
            out,
            counters: &mut self.counters,
            sequence: self.sequence,
            mutant: self.mutant,
            room_for_notes: MAX_NOTES.saturating_sub(notes),
        };
        (&mut self.domains, context)
    }

    /// Brings peers and proposal in line with the view. Returns whether that changed anything.
    fn apply_view(&mut self) -> bool {
        let mut members: BTreeMap<Name, Member> = BTreeMap::new();
        for member in self.view.members.iter().filter(|member| member.name != self.settings.me) {
            let known = members.get(&member.name).map_or(0, |known| known.incarnation);
            if member.incarnation >= known {
                members.insert(member.name.clone(), member.clone());
            }
        }
        let mut changed = self.peers.apply(&members, self.last.mono_ms);
        let mut names: BTreeMap<Name, Option<PeerId>> = self.peers.participants().map(|(id, name)| (name.clone(), Some(id))).collect();
        if self.standing.state == Some(MemberState::Participant) {
            names.insert(self.settings.me.clone(), None);
        }
        let same_members = names.keys().eq(self.placement.proposal.ring().members());
        let zones: BTreeMap<Name, Name> = self.view.zones.iter().filter(|(name, _)| names.contains_key(*name)).map(named).collect();
        if !same_members || zones != self.placement.proposal.zones() {
            let ring = match same_members {
                true => self.placement.proposal.ring().clone(),
                false => self.placement.proposal.ring().changed_to(names.keys().cloned().collect(), self.settings.ring_tokens),
            };
            self.placement.proposal = Arc::new(Proposal::new(ring, &zones, &self.table));
            changed = true;
        }
        self.placement.ids = names.into_values().collect();
        changed
    }

    /// Looks at every key anew.
    fn refresh(&mut self, out: &mut Outbox) {
        let (domains, mut cx) = self.parts(out);
        domains.values_mut().for_each(|domain| domain.refresh(&mut cx));
    }

    /// The life that sent an envelope, unless that life or its receiver's is over.
    fn sender(&mut self, from: &str, envelope: &Envelope) -> Option<PeerId> {
        if self.mutant == Some(Mutant::AnyIncarnation) {
            return self.peers.id(from);
        }
        let for_me = envelope.to_incarnation == self.settings.incarnation && *from != *self.settings.me;
        for_me.then(|| self.peers.heard(from, envelope.from_incarnation, self.last.mono_ms)).flatten()
    }

    /// The nodes that an answer points to; those that are not known yet become acquaintances and will be asked.
    fn introductions(&mut self, message: &Message) -> Pointers {
        let mut pointers = Pointers::new();
        let Message::Answer(Answer { pointers: named, .. }) = message else { return pointers };
        for pointer in named.iter().filter(|pointer| pointer.name != self.settings.me) {
            let lead = match self.peers.introduced(&pointer.name, pointer.incarnation, self.last.mono_ms) {
                Introduction::Ended => continue,
                Introduction::Disputed => Lead::Disputed,
                // A node that was only promised the key has been asked as all others were, and its word counts.
                Introduction::Known(_) if !pointer.taken => continue,
                Introduction::Known(peer) => Lead::Ask(peer),
            };
            pointer.keys.iter().for_each(|key| pointers.entry(*key).or_default().push(lead));
        }
        pointers
    }

    /// Takes account of peers that a message has made known or shown to be over.
    fn admit(&mut self, known: (PeerId, u64), out: &mut Outbox) {
        if known == (self.peers.horizon(), self.peers.retirements()) {
            return;
        }
        if self.apply_view() || known.1 != self.peers.retirements() {
            self.refresh(out);
        } else {
            let (domains, mut cx) = self.parts(out);
            domains.values_mut().for_each(|domain| domain.tick(&mut cx));
        }
    }

    fn dispatch(&mut self, from: PeerId, envelope: Envelope, pointers: &Pointers, out: &mut Outbox) {
        if self.domains.len() < MAX_DOMAINS {
            self.domains.entry(envelope.domain.clone()).or_insert_with(|| Domain::new(envelope.domain.clone()));
        }
        let (domains, mut cx) = self.parts(out);
        // Too many domains: answer truthfully that nothing is known of this one, and remember nothing.
        let mut passing = Domain::new(envelope.domain.clone());
        let domain = domains.get_mut(&envelope.domain).unwrap_or(&mut passing);
        let cx = &mut cx;
        match envelope.message {
            Message::Want { claim, keys } => domain.on_want(cx, from, claim, &keys),
            Message::Answer(answer) if answer.claim <= cx.sequence => domain.on_answer(cx, from, &answer, pointers),
            // An answer to what was never asked.
            Message::Answer(_) => {}
            Message::Grant(grants) => domain.on_grant(cx, from, grants),
            Message::Ack { taken, declined } => domain.on_ack(cx, from, &taken, &declined),
            Message::Query { round, keys } => domain.on_query(cx, from, round, &keys),
            Message::Status { round, held, known, unknown } => domain.on_status(cx, from, round, [&held, &known, &unknown]),
            Message::Forgot { keys } => domain.on_unknown(cx, from, &keys),
        }
    }
}

fn named((name, zone): (&Name, &Name)) -> (Name, Name) {
    (name.clone(), zone.clone())
}

#[cfg(test)]
impl Ownership {
    /// The same machine with a deliberate fault.
    pub(crate) fn with_mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }
}
