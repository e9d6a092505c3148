//! The holder's side and the token on its way: answering wants, stopping, granting, acknowledging, taking.
//!
//! A token leaves a node only after its driver has stopped and said which slot was the last. It is sent until the taker has
//! acknowledged or declined it or is gone; only then may the former holder call the key free, and it names the taker.

use super::action::{Action, Start, StartReason, StopReason, Stopped};
use super::claim::{count_gap, count_latency};
use super::context::{Candidate, Context};
use super::domain::Domain;
use super::entry::{Entry, Granted, Hold, LEFT_MS, Left, Release, Trail};
use super::message::{Answer, Grant, MAX_STATE_BYTES};
use super::mutant::Mutant;
use super::peers::PeerId;
use super::view::Name;

/// First pause before an unacknowledged grant is repeated, in milliseconds; it doubles up to eight times as much, so that
/// large states are not sent over and over on a slow link.
const RESEND_MS: u64 = 500;
const MAX_DOUBLINGS: u32 = 3;
/// Most keys of a domain that are stopped and not acknowledged at a time. The others go on being scraped and are asked for
/// again, so a large move neither stops everything at once nor fills the queues.
const MAX_RELEASING: usize = 4_096;
/// While unacknowledged states take this many bytes, no more keys are let go.
const MAX_UNACKED_BYTES: usize = 64 << 20;

/// What a node says to a peer that wants a key.
enum Verdict {
    Free { last_ms: Option<u64>, trail: Vec<Trail> },
    Busy,
    Granting,
}

/// What a node says to a peer that grants it a key.
enum Reception {
    Taken,
    Declined,
}

impl Domain {
    /// Answers a peer that wants keys.
    pub(super) fn on_want(&mut self, cx: &mut Context<'_>, from: PeerId, claim: u64, keys: &[u64]) {
        let mut answer = Answer { claim, ..Answer::default() };
        let mut room = self.room();
        for key in keys {
            let verdict = self.judge(cx, from, claim, *key, room > 0);
            if matches!(verdict, Verdict::Granting) {
                room = room.saturating_sub(1);
            }
            match verdict {
                Verdict::Free { last_ms, trail } => answer.add_free(*key, last_ms, &trail, cx.peers),
                Verdict::Busy => answer.busy.push(*key),
                Verdict::Granting => answer.granting.push(*key),
            }
            self.attend(cx, *key);
        }
        cx.out.to(from, &self.name).answer = Some(answer);
    }

    /// How many more keys may be on their way now.
    fn room(&self) -> usize {
        let holds = self.unsettled.iter().filter_map(|key| self.keys.get(key)).map(|entry| &entry.hold);
        let (keys, bytes) = holds.fold((0, 0), |(keys, bytes), hold| match hold {
            Hold::Releasing(_) => (keys + 1, bytes),
            Hold::Granted(granted) => (keys + 1, bytes + granted.state.as_ref().map_or(0, bytes::Bytes::len)),
            _ => (keys, bytes),
        });
        if bytes >= MAX_UNACKED_BYTES { 0 } else { MAX_RELEASING.saturating_sub(keys) }
    }

    fn judge(&mut self, cx: &mut Context<'_>, from: PeerId, claim: u64, key: u64, room: bool) -> Verdict {
        let domain = self.name.clone();
        let Some(entry) = self.noted(cx, key) else {
            return Verdict::Free { last_ms: None, trail: Vec::new() };
        };
        // Who asks for a key knows it.
        entry.unknown_at.retain(|peer| *peer != from);
        let candidate = cx.candidate(key, entry);
        if let Hold::Left(left) = &mut entry.hold {
            // Somebody knows it, and may have to wait for others' keys.
            left.until_ms = cx.now.mono_ms.saturating_add(LEFT_MS);
        }
        match &entry.hold {
            Hold::Held(_) if room && (cx.terminating() || candidate == Candidate::Peer(from)) => {
                entry.begin_release(cx, &domain, key, from, claim);
                Verdict::Granting
            }
            Hold::Left(_) if room => {
                entry.begin_release(cx, &domain, key, from, claim);
                Verdict::Granting
            }
            Hold::Wanting(_) if cx.mutant(Mutant::WrongTieBreak) => entry.call_free(cx, from),
            // Of two that want a key the one that should hold it stays; while views differ both may.
            Hold::Wanting(_) if candidate == Candidate::Me || cx.terminating() => Verdict::Busy,
            Hold::Wanting(_) => {
                entry.hold = Hold::Idle;
                entry.call_free(cx, from)
            }
            Hold::Idle => entry.call_free(cx, from),
            Hold::Releasing(release) if release.to == from => Verdict::Granting,
            Hold::Granted(granted) if granted.to == from => Verdict::Granting,
            Hold::Held(_) | Hold::Left(_) | Hold::Releasing(_) | Hold::Granted(_) => Verdict::Busy,
        }
    }

    /// The driver has stopped keys for the peers that take them.
    pub(super) fn on_stopped(&mut self, cx: &mut Context<'_>, stopped: Vec<Stopped>) {
        for Stopped { key, last_slot, state } in stopped {
            let Some(entry) = self.keys.get_mut(&key) else { continue };
            let Hold::Releasing(release) = &entry.hold else { continue };
            let last_slot = last_slot.unwrap_or_else(|| release.first_slot.saturating_sub(1));
            let fits = state.as_ref().is_none_or(|state| state.len() <= MAX_STATE_BYTES);
            cx.counters.states_dropped += u64::from(!fits);
            let granted = Granted {
                to: release.to,
                claim: release.claim,
                last_ms: release.clock.instant(last_slot),
                clock: release.clock,
                state: state.filter(|_| fits),
                due_ms: 0,
                tries: 0,
            };
            entry.hold = Hold::Granted(Box::new(granted));
            // The taker may have gone meanwhile: then the token is nobody's.
            entry.forget_gone(cx.peers);
            self.attend(cx, key);
        }
    }

    /// A peer has taken or declined tokens.
    pub(super) fn on_ack(&mut self, cx: &mut Context<'_>, from: PeerId, taken: &[(u64, u64)], declined: &[(u64, u64)]) {
        for (key, claim) in taken {
            if let Some(entry) = self.keys.get_mut(key).filter(|entry| entry.is_granted_to(from, *claim)) {
                entry.release(cx.now.wall_ms, Some(cx.name(from)));
                entry.point_at(from, true, cx.now.mono_ms);
                cx.counters.moves_out += 1;
                self.attend(cx, *key);
            }
        }
        for (key, claim) in declined {
            if let Some(entry) = self.keys.get_mut(key).filter(|entry| entry.is_granted_to(from, *claim)) {
                cx.counters.grants_declined += 1;
                entry.take_back(cx, &self.name, *key, from);
                self.attend(cx, *key);
            }
        }
    }

    /// A peer hands over tokens.
    pub(super) fn on_grant(&mut self, cx: &mut Context<'_>, from: PeerId, grants: Vec<Grant>) {
        for grant in grants {
            let (key, claim) = (grant.key, grant.claim);
            let reception = match self.keys.get_mut(&key) {
                Some(entry) => entry.receive(cx, &self.name, from, grant),
                None => Reception::Declined,
            };
            let mail = cx.out.to(from, &self.name);
            match reception {
                Reception::Taken => mail.taken.push((key, claim)),
                Reception::Declined => mail.declined.push((key, claim)),
            }
            self.attend(cx, key);
        }
    }
}

impl Entry {
    /// The key is not here as far as this node is concerned; from now on it points others to the asker.
    fn call_free(&mut self, cx: &Context<'_>, from: PeerId) -> Verdict {
        let trail: Vec<Trail> = match cx.mutant(Mutant::NoTrail) {
            true => Vec::new(),
            false => self.trail(cx.now.mono_ms).filter(|trail| trail.peer != from).collect(),
        };
        self.point_at(from, false, cx.now.mono_ms);
        Verdict::Free { last_ms: self.last_ms, trail }
    }

    fn begin_release(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64, to: PeerId, claim: u64) {
        let (first_slot, clock) = match (&self.hold, self.clock) {
            (Hold::Held(held), Some(clock)) => (held.first_slot, clock),
            (Hold::Left(left), _) => (left.first_slot, left.clock),
            _ => return,
        };
        self.hold = Hold::Releasing(Box::new(Release { to, claim, first_slot, clock }));
        let reason = StopReason::Handover { to: cx.name(to) };
        cx.out.act(Action::Stop { domain: domain.clone(), key, reason });
    }

    /// Sends the token (again) if it is due.
    pub(super) fn resend_grant(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) {
        let Hold::Granted(granted) = &mut self.hold else { return };
        let again = granted.tries > 0;
        if granted.due_ms > cx.now.mono_ms || (again && cx.mutant(Mutant::NoGrantResend)) {
            return;
        }
        cx.counters.grants_resent += u64::from(again);
        granted.due_ms = cx.now.mono_ms.saturating_add(RESEND_MS << granted.tries.min(MAX_DOUBLINGS));
        granted.tries = granted.tries.saturating_add(1);
        cx.out.to(granted.to, domain).grants.push(Grant {
            key,
            claim: granted.claim,
            last_ms: granted.last_ms,
            state: granted.state.clone(),
        });
    }

    fn is_granted_to(&self, peer: PeerId, claim: u64) -> bool {
        matches!(&self.hold, Hold::Granted(granted) if granted.to == peer && granted.claim == claim)
    }

    /// The taker declined: this node goes on scraping, unless it may not. If it has lost sight of the key too, it keeps the series a
    /// while for somebody else.
    fn take_back(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64, from: PeerId) {
        let Hold::Granted(granted) = std::mem::take(&mut self.hold) else { return };
        self.last_ms = Some(granted.last_ms);
        if !cx.standing.synced {
            return;
        }
        let clock = self.clock.unwrap_or(granted.clock);
        let by = cx.name(from);
        let first_slot = (clock.slot_at(granted.last_ms).saturating_add(1)).max(clock.slot_at(cx.now.wall_ms));
        let reason = StartReason::Returned { by: by.clone() };
        let gap = Some(first_slot.saturating_sub(clock.slot_at(granted.last_ms).saturating_add(1)));
        let start = Start { domain: domain.clone(), key, first_slot, reason, state: granted.state, gap };
        if self.discovered() {
            self.hold(cx, start, Some(by));
        } else {
            self.hold = Hold::Left(Box::new(Left { first_slot, clock, until_ms: cx.now.mono_ms.saturating_add(LEFT_MS) }));
            cx.out.act(Action::Start(start));
        }
    }

    /// Takes a token, or says why not. A key that is known is taken even if it is not wanted any more: somebody must hold it.
    fn receive(&mut self, cx: &mut Context<'_>, domain: &Name, from: PeerId, grant: Grant) -> Reception {
        if grant.claim <= self.took {
            return Reception::Taken;
        }
        if grant.claim <= self.declined {
            return Reception::Declined;
        }
        let asked = (cx.standing.floor..=cx.sequence).contains(&grant.claim);
        let Some(clock) = self.clock.filter(|_| asked && !cx.standing.drained) else {
            self.declined = self.declined.max(grant.claim);
            return Reception::Declined;
        };
        self.took = self.took.max(grant.claim);
        let began_ms = match &self.hold {
            // After a healed partition there may be two tokens; this one ends here.
            Hold::Held(_) | Hold::Left(_) | Hold::Releasing(_) | Hold::Granted(_) => return Reception::Taken,
            Hold::Wanting(want) => Some(want.began_ms),
            Hold::Idle => None,
        };
        if let Some(began_ms) = began_ms {
            count_latency(cx, cx.now.mono_ms.saturating_sub(began_ms));
        }
        cx.counters.moves_in += 1;
        let name = cx.name(from);
        let next_slot = clock.slot_at(cx.plausible(grant.last_ms)).saturating_add(1);
        let first_slot = next_slot.max(clock.slot_at(cx.now.wall_ms));
        count_gap(cx, first_slot - next_slot);
        let start = Start {
            domain: domain.clone(),
            key: grant.key,
            first_slot,
            reason: StartReason::Handover { from: name.clone() },
            state: grant.state,
            gap: Some(first_slot - next_slot),
        };
        self.hold(cx, start, Some(name));
        Reception::Taken
    }
}
