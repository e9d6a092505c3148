//! The keys of one domain on this node, and what each of them needs next. How a key is claimed is in `claim`, how it is handed
//! over in `handover`, how nodes learn who knows it in `knowledge`.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, Move, Start, StartReason, StopReason};
use super::context::{Candidate, Context};
use super::digest::DomainDigest;
use super::entry::{Entry, Held, Hold, LEFT_MS, Left, TRAIL_MS};
use super::mutant::Mutant;
use super::peers::PeerId;
use super::view::{KeySpec, Name};
use crate::slots::SlotClock;

/// Pause before a query that brought no decision is repeated, in milliseconds.
const QUERY_RETRY_MS: u64 = 1_000;
/// A terminating node that finds nobody for its keys waits so many milliseconds: a viewer of its view may have become a
/// participant, or one that was late may come back. Over the time that news take.
const LINGER_MS: u64 = 5_000;

/// Who gets the keys that this node no longer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bequest {
    /// Whoever still knows them, with their series.
    ToPeers,
    /// Nobody: what is known of their series is gone.
    Nothing,
}

/// One domain.
#[derive(Debug)]
pub(super) struct Domain {
    pub(super) name: Name,
    pub(super) keys: BTreeMap<u64, Entry>,
    /// Keys that `tick` must look at; those that need nothing are dropped from it when it does.
    pub(super) unsettled: BTreeSet<u64>,
    /// Of the discovered keys.
    pub(super) digest: DomainDigest,
    /// Number of entries whose key is not discovered.
    notes: usize,
}

impl Domain {
    pub(super) fn new(name: Name) -> Self {
        Self { digest: DomainDigest::new(&name), name, keys: BTreeMap::new(), unsettled: BTreeSet::new(), notes: 0 }
    }

    /// Entries of keys that are not discovered.
    pub(super) fn notes(&self) -> usize {
        self.notes
    }

    /// Replaces the set of discovered keys.
    pub(super) fn set_keys(&mut self, cx: &mut Context<'_>, specs: &[KeySpec]) {
        let mut wanted: BTreeMap<u64, u64> = BTreeMap::new();
        for spec in specs {
            wanted.entry(spec.key).or_insert(spec.interval_ms);
        }
        let lost: Vec<u64> =
            self.keys.iter().filter(|(key, entry)| entry.discovered() && !wanted.contains_key(key)).map(|(key, _)| *key).collect();
        self.undiscover(cx, &lost, Bequest::ToPeers);
        for (key, interval_ms) in wanted {
            self.discover(cx, key, interval_ms);
        }
    }

    fn discover(&mut self, cx: &mut Context<'_>, key: u64, interval_ms: u64) {
        let by_host = cx.mutant(Mutant::PhaseByHost);
        let cluster = if by_host { &*cx.settings.me } else { cx.settings.cluster.as_str() };
        let clock = SlotClock::new(cluster, key, interval_ms);
        let known = self.keys.contains_key(&key);
        let entry = self.keys.entry(key).or_insert_with(|| Entry::note(cx.seat(&self.name, key), cx.now.mono_ms));
        if entry.clock == Some(clock) {
            return;
        }
        if known && entry.clock.is_none() {
            self.notes -= 1;
        }
        if entry.clock.replace(clock).is_none() {
            self.digest.add(key);
        }
        entry.reschedule(cx, &self.name, key, clock);
        self.attend(cx, key);
    }

    /// Gives up all keys: the component is gone, and with it what another node would need to go on with them.
    pub(super) fn abandon(&mut self, cx: &mut Context<'_>) {
        let keys: Vec<u64> = self.keys.keys().copied().collect();
        self.undiscover(cx, &keys, Bequest::Nothing);
    }

    /// Drops keys from the discovered set: nobody scrapes what it has not discovered.
    fn undiscover(&mut self, cx: &mut Context<'_>, keys: &[u64], bequest: Bequest) {
        let mut vouched = Vec::new();
        for key in keys {
            let Some(entry) = self.keys.get_mut(key) else { continue };
            entry.note_last(cx.now.wall_ms);
            match (&entry.hold, entry.clock, bequest) {
                (Hold::Held(held), Some(clock), Bequest::ToPeers) if cx.peers.ids().next().is_some() && !cx.mutant(Mutant::NothingLeft) => {
                    let until_ms = cx.now.mono_ms.saturating_add(LEFT_MS);
                    entry.hold = Hold::Left(Box::new(Left { first_slot: held.first_slot, clock, until_ms }));
                    self.unsettled.insert(*key);
                }
                (Hold::Held(_) | Hold::Left(_), ..) => entry.end(cx, &self.name, *key),
                _ => {}
            }
            if matches!(entry.hold, Hold::Wanting(_)) {
                entry.hold = Hold::Idle;
            }
            if std::mem::take(&mut entry.vouched) {
                vouched.push(*key);
            }
            if entry.clock.take().is_some() {
                self.digest.remove(*key);
                self.notes += 1;
            }
            entry.confirmed = None;
            entry.unknown_at.clear();
            entry.note_until = entry.note_until.max(cx.now.mono_ms.saturating_add(TRAIL_MS));
        }
        for peer in cx.peers.ids().filter(|_| !vouched.is_empty()) {
            cx.out.to(peer, &self.name).forgot.extend(&vouched);
        }
    }

    /// The entry of a key that a peer speaks of; for a key that is not discovered one to keep notes in, if there is room.
    pub(super) fn noted(&mut self, cx: &mut Context<'_>, key: u64) -> Option<&mut Entry> {
        if !self.keys.contains_key(&key) {
            cx.room_for_notes = cx.room_for_notes.checked_sub(1)?;
            self.notes += 1;
            self.keys.insert(key, Entry::note(cx.seat(&self.name, key), cx.now.mono_ms));
        }
        self.keys.get_mut(&key)
    }

    /// Looks at every key after peers, proposal or own standing have changed.
    pub(super) fn refresh(&mut self, cx: &mut Context<'_>) {
        for (key, entry) in &mut self.keys {
            entry.seat = cx.seat(&self.name, *key);
            entry.forget_gone(cx.peers);
            entry.hurry(cx.now.mono_ms);
            if entry.attend(cx, &self.name, *key) {
                self.unsettled.insert(*key);
            } else {
                self.unsettled.remove(key);
            }
        }
    }

    /// Looks at the keys that are not settled.
    pub(super) fn tick(&mut self, cx: &mut Context<'_>) {
        let keys: Vec<u64> = self.unsettled.iter().copied().collect();
        for key in keys {
            self.attend(cx, key);
        }
    }

    /// Does for a key what is due, and notes whether it needs attention later.
    pub(super) fn attend(&mut self, cx: &mut Context<'_>, key: u64) {
        let Some(entry) = self.keys.get_mut(&key) else {
            self.unsettled.remove(&key);
            return;
        };
        if entry.attend(cx, &self.name, key) {
            self.unsettled.insert(key);
        } else {
            self.unsettled.remove(&key);
        }
    }

    /// Drops notes that have served their time.
    pub(super) fn prune(&mut self, mono_ms: u64) {
        self.keys.retain(|_, entry| !entry.is_spent(mono_ms));
        self.notes = self.keys.values().filter(|entry| !entry.discovered()).count();
    }

    /// This node was late: it holds nothing any more.
    pub(super) fn fence(&mut self, cx: &mut Context<'_>) {
        for (key, entry) in &mut self.keys {
            if matches!(entry.hold, Hold::Held(_) | Hold::Left(_) | Hold::Wanting(_) | Hold::Releasing(_)) {
                entry.note_last(cx.now.wall_ms);
                entry.release(cx.now.wall_ms, None);
                self.unsettled.insert(*key);
            }
        }
    }

    /// Tokens on their way may arrive or not: this node no longer cares, and names who may have taken them.
    pub(super) fn drop_tokens(&mut self, cx: &mut Context<'_>) {
        for entry in self.keys.values_mut() {
            let Hold::Granted(granted) = &entry.hold else { continue };
            let (to, last_ms) = (granted.to, granted.last_ms);
            entry.release(cx.now.wall_ms, Some(cx.name(to)));
            entry.last_ms = Some(last_ms);
            entry.point_at(to, true, cx.now.mono_ms);
        }
    }

    /// Whether a terminating node may go as far as this domain is concerned: nothing is on its way, and what it holds nobody
    /// else knows.
    pub(super) fn is_drained(&self, cx: &Context<'_>) -> bool {
        let patient = cx.peers.any_may_take() && !cx.is_leaving_for(LINGER_MS);
        let unsettled = self.unsettled.iter().filter_map(|key| Some((*key, self.keys.get(key)?)));
        unsettled.into_iter().all(|(key, entry)| match entry.hold {
            Hold::Idle => true,
            Hold::Held(_) => !patient && cx.candidate(key, entry) == Candidate::Nobody,
            _ => false,
        })
    }
}

impl Entry {
    /// Does what is due for this key. Returns whether it needs attention later.
    pub(super) fn attend(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) -> bool {
        match (&self.hold, cx.candidate(key, self)) {
            (Hold::Granted(_), _) => {
                self.resend_grant(cx, domain, key);
                true
            }
            (Hold::Releasing(_), _) => true,
            (Hold::Left(left), _) => {
                let ends = left.until_ms <= cx.now.mono_ms || cx.peers.ids().next().is_none();
                if ends {
                    self.end(cx, domain, key);
                }
                !ends
            }
            (Hold::Wanting(_), Candidate::Me) if cx.may_own() => {
                self.pursue(cx, domain, key);
                matches!(self.hold, Hold::Wanting(_))
            }
            (Hold::Wanting(_), _) => {
                self.give_up(cx);
                self.attend_rest(cx, domain, key)
            }
            _ => self.attend_rest(cx, domain, key),
        }
    }

    /// The same for a key that is held, idle, or waning.
    fn attend_rest(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) -> bool {
        if !self.discovered() || !cx.standing.synced {
            return !matches!(self.hold, Hold::Idle);
        }
        match (&self.hold, cx.candidate(key, self)) {
            (Hold::Idle, Candidate::Me) if cx.may_own() => {
                self.begin_claim(cx, domain, key);
                matches!(self.hold, Hold::Wanting(_))
            }
            (Hold::Idle, Candidate::Peer(peer)) if self.confirmed != Some(peer) => {
                self.query(cx, domain, key, peer);
                true
            }
            (Hold::Held(_), Candidate::Peer(peer)) => {
                self.query(cx, domain, key, peer);
                true
            }
            (Hold::Held(_), _) => cx.terminating(),
            (Hold::Idle, _) => false,
            _ => true,
        }
    }

    /// Asks a candidate about this key, at once the first time and then at intervals.
    fn query(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64, peer: PeerId) {
        if cx.mutant(Mutant::NoQuery) {
            self.confirmed = Some(peer);
            return;
        }
        if self.queried.is_some_and(|(queried, due_ms)| queried == peer && due_ms > cx.now.mono_ms) {
            return;
        }
        self.queried = Some((peer, cx.now.mono_ms.saturating_add(QUERY_RETRY_MS)));
        cx.out.to(peer, domain).queries.push(key);
    }

    /// A key that has new slots, or is discovered again before another node has taken it, is scraped from its next slot on.
    fn reschedule(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64, clock: SlotClock) {
        let first_slot = clock.next_after(cx.now.wall_ms);
        match &mut self.hold {
            Hold::Held(held) => held.first_slot = first_slot,
            Hold::Left(_) => {
                let (since_ms, reason) = (cx.now.wall_ms, StartReason::Rescheduled);
                self.hold = Hold::Held(Box::new(Held { first_slot, since_ms, reason }));
            }
            _ => return,
        }
        cx.out.act(Action::Start(Start {
            domain: domain.clone(),
            key,
            first_slot,
            reason: StartReason::Rescheduled,
            state: None,
            gap: None,
        }));
    }

    /// Nobody scrapes the key any more, as far as this node knows.
    fn end(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) {
        self.release(cx.now.wall_ms, None);
        cx.out.act(Action::Stop { domain: domain.clone(), key, reason: StopReason::Undiscovered });
    }

    /// The key is scraped here from now on.
    pub(super) fn hold(&mut self, cx: &mut Context<'_>, start: Start, peer: Option<Name>) {
        self.hold = Hold::Held(Box::new(Held { first_slot: start.first_slot, since_ms: cx.now.wall_ms, reason: start.reason.clone() }));
        self.clear_trail();
        self.query_floor = cx.sequence;
        self.queried = None;
        self.moved = Some(Move { at_ms: cx.now.wall_ms, arrived: true, peer });
        cx.out.act(Action::Start(start));
    }

    /// Notes that slots up to the current one may have been scraped here.
    pub(super) fn note_last(&mut self, wall_ms: u64) {
        if let (Hold::Held(_) | Hold::Releasing(_), Some(clock)) = (&self.hold, self.clock) {
            self.last_ms = Some(clock.instant(clock.slot_at(wall_ms)));
        }
    }

    /// The key is not scraped here any more.
    pub(super) fn release(&mut self, wall_ms: u64, peer: Option<Name>) {
        if !matches!(self.hold, Hold::Wanting(_)) {
            self.moved = Some(Move { at_ms: wall_ms, arrived: false, peer });
        }
        self.hold = Hold::Idle;
        self.queried = None;
    }
}
