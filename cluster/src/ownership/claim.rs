//! The asker's side: a key that this node should hold is asked for at every peer, and started when its holder grants it or
//! when all peers have said that they neither hold nor want it.
//!
//! Why that is safe: of two nodes that want a key, each asks the other before it starts, and each refuses while it wants the
//! key itself. A consent stays good as long as the claim lasts, because who gave it must ask the claimer before it can start.
//! It does not if the token reaches that node by a grant: so a peer that handed a key on names the taker, which is then asked
//! anew; and when a peer that had not consented goes, everybody is asked anew, for it may have handed the key on before.

use std::collections::BTreeMap;

use super::action::{GAP_BOUNDS, LATENCY_BOUNDS_MS, Start, StartReason};
use super::context::Context;
use super::domain::Domain;
use super::entry::{Ask, AskState, Entry, Hold, Want};
use super::message::Answer;
use super::mutant::Mutant;
use super::peers::PeerId;
use super::view::Name;

/// After this long an unanswered want is repeated, in milliseconds.
const RESEND_MS: u64 = 1_000;
/// After this long a promised grant that has not come is asked for again. Longer than a grant's own first repetitions.
const GRANT_PATIENCE_MS: u64 = 5_000;
/// By how much two nodes' clocks may differ without a slot being scraped twice after a crash.
const MAX_SKEW_MS: u64 = 1_000;
/// The pause between repeated wants doubles so many times.
const MAX_DOUBLINGS: u32 = 3;

/// What the pointers of an answer mean for each key.
pub(super) type Pointers = BTreeMap<u64, Vec<Lead>>;

/// What a pointer demands before the key may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// The key went to this peer: what it said before does not count.
    Ask(PeerId),
    /// The key may be at a node that is believed dead here and alive there: wait until one side is proved wrong.
    Disputed,
}

impl Entry {
    /// Begins to claim the key.
    pub(super) fn begin_claim(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) {
        self.vouched = true;
        let mut want = Want {
            pending: Vec::new(),
            horizon: cx.peers.horizon(),
            began_ms: cx.now.mono_ms,
            due_ms: cx.now.mono_ms,
            tries: 0,
            last_ms: None,
            left: self.left.take(),
        };
        want.ask_all(cx, domain, key);
        if want.pending.is_empty() || cx.mutant(Mutant::NoAnswerAwaited) {
            self.start_free(cx, domain, key, &want);
        } else {
            self.hold = Hold::Wanting(Box::new(want));
        }
    }

    /// Goes on with a claim: drops peers that are gone, asks new ones and those whose time has come, and starts if nobody's
    /// consent is missing any more.
    pub(super) fn pursue(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) {
        let Hold::Wanting(want) = &mut self.hold else { return };
        let before = want.pending.len();
        want.pending.retain(|ask| cx.peers.is_alive(ask.peer));
        if want.pending.len() < before {
            want.ask_all(cx, domain, key);
        } else {
            want.ask_new(cx, domain, key);
            want.repeat(cx, domain, key);
        }
        self.start_if_free(cx, domain, key);
    }

    fn start_if_free(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) {
        match std::mem::take(&mut self.hold) {
            Hold::Wanting(want) if want.pending.is_empty() => self.start_free(cx, domain, key, &want),
            hold => self.hold = hold,
        }
    }

    /// Nobody holds the key: starts with the slot after the last one that somebody says to have scraped. If nobody says so for
    /// the time in question, its holder may have died, and by its clock the next slot may have begun.
    fn start_free(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64, want: &Want) {
        let Some(clock) = self.clock else { return };
        let current = clock.slot_at(cx.now.wall_ms);
        let last = self.last_ms.max(want.last_ms).map(|last_ms| clock.slot_at(cx.plausible(last_ms)));
        let first_slot = match last.filter(|last| last.saturating_add(1) >= current) {
            _ if cx.mutant(Mutant::CurrentSlotOnClaim) => current,
            Some(last) => clock.next_after(cx.now.wall_ms).max(last.saturating_add(1)),
            None => clock.next_after(cx.now.wall_ms.saturating_add(MAX_SKEW_MS)),
        };
        cx.counters.claims += 1;
        let gap = last.map(|last| first_slot.saturating_sub(last.saturating_add(1)));
        let reason = StartReason::Free { left: want.left.clone() };
        let start = Start { domain: domain.clone(), key, first_slot, reason, state: None, gap };
        self.hold(cx, start, None);
    }

    /// This node should not hold the key after all. Peers may have been asked already: a node that goes on living takes a
    /// grant that comes late, a terminating one must wait for it.
    pub(super) fn give_up(&mut self, cx: &Context<'_>) {
        let Hold::Wanting(want) = &mut self.hold else { return };
        if cx.terminating() {
            let now = cx.now.mono_ms;
            want.pending.retain(|ask| cx.peers.is_alive(ask.peer) && ask.may_bring_grant(now));
            if !want.pending.is_empty() {
                return;
            }
        }
        self.hold = Hold::Idle;
    }

    /// Makes what waits for a peer's answer or decision due at once, because the fleet has changed.
    pub(super) fn hurry(&mut self, mono_ms: u64) {
        if let Hold::Wanting(want) = &mut self.hold {
            want.due_ms = mono_ms;
            want.tries = 0;
        }
    }
}

impl Want {
    /// Asks every peer; consents given before do not count any more.
    fn ask_all(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) {
        self.pending.clear();
        self.horizon = cx.peers.horizon();
        for peer in cx.peers.ids() {
            self.ask(cx, domain, key, peer);
        }
    }

    /// Asks peers that have come since the last time.
    fn ask_new(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) {
        let horizon = std::mem::replace(&mut self.horizon, cx.peers.horizon());
        for peer in cx.peers.ids().filter(|peer| *peer >= horizon) {
            self.ask(cx, domain, key, peer);
        }
    }

    /// Asks a peer; an answer that it gave before does not count.
    fn ask(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64, peer: PeerId) {
        let now = cx.now.mono_ms;
        if self.pending.iter().any(|ask| ask.peer == peer && ask.min_claim == cx.sequence) {
            return;
        }
        self.pending.retain(|ask| ask.peer != peer);
        self.pending.push(Ask { peer, min_claim: cx.sequence, state: AskState::Sent { at: now }, silent_since: now, disputed_since: None });
        send(cx, domain, key, peer);
    }

    /// Asks again where it is due, and passes over peers that have been silent, or spoken of one that can't be reached, for
    /// too long.
    fn repeat(&mut self, cx: &mut Context<'_>, domain: &Name, key: u64) {
        let now = cx.now.mono_ms;
        let patience = if cx.standing.answers_required { u64::MAX } else { cx.settings.answer_timeout_ms };
        let before = self.pending.len();
        self.pending.retain(|ask| ask.unsettled_since().is_none_or(|since| now.saturating_sub(since) < patience));
        if self.pending.is_empty() && before > 0 {
            cx.counters.claims_forced += 1;
        }
        let refused_due = self.due_ms <= now;
        for ask in self.pending.iter_mut().filter(|ask| ask.is_due(now, refused_due)) {
            if !ask.is_silent() {
                ask.silent_since = now;
            }
            ask.state = AskState::Sent { at: now };
            send(cx, domain, key, ask.peer);
        }
    }

    /// A peer refused: plan when to ask again.
    fn postpone(&mut self, cx: &Context<'_>) {
        if self.due_ms <= cx.now.mono_ms {
            self.due_ms = cx.now.mono_ms.saturating_add(cx.settings.retry_ms << self.tries);
            self.tries = (self.tries + 1).min(MAX_DOUBLINGS);
        }
    }
}

impl Ask {
    fn is_silent(&self) -> bool {
        matches!(self.state, AskState::Sent { .. })
    }

    /// Since when there has been no answer that means anything.
    fn unsettled_since(&self) -> Option<u64> {
        self.disputed_since.or(self.is_silent().then_some(self.silent_since))
    }

    fn is_due(&self, now: u64, refused_due: bool) -> bool {
        match self.state {
            AskState::Sent { at } => now.saturating_sub(at) >= RESEND_MS,
            AskState::Refused => refused_due,
            AskState::Granting { at } => now.saturating_sub(at) >= GRANT_PATIENCE_MS,
        }
    }

    /// Whether a grant may still come for what was asked.
    fn may_bring_grant(&self, now: u64) -> bool {
        match self.state {
            AskState::Sent { at } | AskState::Granting { at } => now.saturating_sub(at) < GRANT_PATIENCE_MS,
            AskState::Refused => false,
        }
    }
}

fn send(cx: &mut Context<'_>, domain: &Name, key: u64, peer: PeerId) {
    cx.counters.wants_sent += 1;
    cx.out.to(peer, domain).wants.push(key);
}

impl Domain {
    /// Takes a peer's answer to a want.
    pub(super) fn on_answer(&mut self, cx: &mut Context<'_>, from: PeerId, answer: &Answer, pointers: &Pointers) {
        let last: BTreeMap<u64, u64> = answer.last.iter().copied().collect();
        for key in &answer.free {
            self.on_free(cx, from, answer.claim, *key, last.get(key).copied(), pointers);
        }
        for key in &answer.busy {
            cx.counters.busy_received += 1;
            self.on_refusal(cx, from, answer.claim, *key, AskState::Refused);
        }
        for key in &answer.granting {
            self.on_refusal(cx, from, answer.claim, *key, AskState::Granting { at: cx.now.mono_ms });
        }
    }

    fn on_free(&mut self, cx: &mut Context<'_>, from: PeerId, claim: u64, key: u64, last_ms: Option<u64>, pointers: &Pointers) {
        let Some(Hold::Wanting(want)) = self.keys.get_mut(&key).map(|entry| &mut entry.hold) else { return };
        let Some(position) = want.pending_from(from, claim) else { return };
        let leads = pointers.get(&key).map_or(&[][..], Vec::as_slice);
        want.last_ms = want.last_ms.max(last_ms);
        if leads.contains(&Lead::Disputed) {
            let ask = &mut want.pending[position];
            ask.disputed_since.get_or_insert(cx.now.mono_ms);
            ask.state = AskState::Refused;
            want.postpone(cx);
        } else {
            want.pending.swap_remove(position);
        }
        for lead in leads {
            if let Lead::Ask(peer) = lead {
                want.ask(cx, &self.name, key, *peer);
            }
        }
        // In a large fleet most answers settle nothing yet: what else is due can wait for the tick.
        if want.pending.is_empty() {
            self.attend(cx, key);
        }
    }

    fn on_refusal(&mut self, cx: &mut Context<'_>, from: PeerId, claim: u64, key: u64, state: AskState) {
        let Some(entry) = self.keys.get_mut(&key) else { return };
        if entry.unknown_at.contains(&from) {
            // It holds or wants what it once did not know.
            cx.out.to(from, &self.name).queries.push(key);
        }
        let Hold::Wanting(want) = &mut entry.hold else { return };
        let Some(position) = want.pending_from(from, claim) else { return };
        want.pending[position].state = state;
        want.pending[position].disputed_since = None;
        if state == AskState::Refused {
            want.postpone(cx);
        }
    }

    /// What was sent to a peer lately may be lost.
    pub(super) fn repeat_to(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        let keys: Vec<u64> = self.keys.iter_mut().filter_map(|(key, entry)| entry.forget_sent(peer).then_some(*key)).collect();
        for key in keys {
            self.attend(cx, key);
        }
    }
}

impl Entry {
    /// Makes everything that was sent to a peer due at once. Returns whether there was anything.
    fn forget_sent(&mut self, peer: PeerId) -> bool {
        let queried = self.queried.take_if(|(queried, _)| *queried == peer).is_some();
        let confirmed = self.confirmed.take_if(|confirmed| *confirmed == peer).is_some();
        let asked = match &mut self.hold {
            Hold::Wanting(want) => {
                let sent = want.pending.iter_mut().filter(|ask| ask.peer == peer && ask.state != AskState::Refused);
                sent.map(|ask| ask.state = AskState::Sent { at: 0 }).count() > 0
            }
            Hold::Granted(granted) if granted.to == peer => {
                granted.due_ms = 0;
                true
            }
            _ => false,
        };
        queried || confirmed || asked
    }
}

/// Counts a handover that took so many milliseconds from the first want to the start.
pub(super) fn count_latency(cx: &mut Context<'_>, elapsed_ms: u64) {
    cx.counters.handover_latency[bucket(&LATENCY_BOUNDS_MS, elapsed_ms)] += 1;
    cx.counters.handover_latency_sum_ms += elapsed_ms;
}

/// Counts a handover that left so many slots to nobody.
pub(super) fn count_gap(cx: &mut Context<'_>, slots: u64) {
    cx.counters.handover_gap[bucket(&GAP_BOUNDS, slots)] += 1;
    cx.counters.handover_gap_sum = cx.counters.handover_gap_sum.saturating_add(slots);
}

/// The place of a value among buckets with these upper bounds and one without.
fn bucket(bounds: &[u64], value: u64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
}
