//! Who knows which key. Nodes discover on their own, so the ring may propose a node that does not know a key; then the next in
//! the key's order of preference that knows it is to hold it. Everybody who knows a key and is not first in that order asks the
//! first, follows the order while the answer is "unknown", and remembers who said that it knows. A holder that should not hold
//! its key keeps asking until the other takes it, or says that it holds it too.

use super::action::{Action, StopReason};
use super::context::{Candidate, Context};
use super::domain::Domain;
use super::entry::{Entry, Hold};
use super::message::Message;
use super::mutant::Mutant;
use super::peers::PeerId;

impl Domain {
    /// Tells a peer which keys this node knows and holds.
    pub(super) fn on_query(&mut self, cx: &mut Context<'_>, from: PeerId, round: u64, keys: &[u64]) {
        let (mut held, mut known, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            let list = match self.keys.get_mut(key) {
                Some(entry) if entry.discovered() && cx.may_own() => {
                    entry.vouched = true;
                    entry.unknown_at.retain(|peer| *peer != from);
                    let settled = matches!(entry.hold, Hold::Held(_)) && cx.candidate(*key, entry) == Candidate::Me;
                    if settled { &mut held } else { &mut known }
                }
                _ => &mut unknown,
            };
            list.push(*key);
            self.attend(cx, *key);
        }
        cx.out.to(from, &self.name).status = Some(Message::Status { round, held, known, unknown });
    }

    /// Takes what a peer says about keys that it was asked about.
    pub(super) fn on_status(&mut self, cx: &mut Context<'_>, from: PeerId, round: u64, [held, known, unknown]: [&[u64]; 3]) {
        for key in held.iter().chain(known) {
            self.on_known(cx, from, *key);
        }
        for key in held {
            self.on_held(cx, from, round, *key);
        }
        self.on_unknown(cx, from, unknown);
    }

    fn on_known(&mut self, cx: &mut Context<'_>, from: PeerId, key: u64) {
        let Some(entry) = self.keys.get_mut(&key).filter(|entry| entry.discovered()) else { return };
        entry.unknown_at.retain(|peer| *peer != from);
        if cx.candidate(key, entry) == Candidate::Peer(from) {
            entry.confirmed = Some(from);
        }
        self.attend(cx, key);
    }

    /// A peer holds a key, and should. If this node holds it too, it was one of two holders and stops.
    fn on_held(&mut self, cx: &mut Context<'_>, from: PeerId, round: u64, key: u64) {
        let Some(entry) = self.keys.get_mut(&key) else { return };
        let duplicate = matches!(entry.hold, Hold::Held(_)) && round >= entry.query_floor;
        if !duplicate || cx.candidate(key, entry) != Candidate::Peer(from) || cx.mutant(Mutant::DuplicateKept) {
            return;
        }
        let holder = cx.name(from);
        entry.note_last(cx.now.wall_ms);
        entry.release(cx.now.wall_ms, Some(holder.clone()));
        entry.point_at(from, true, cx.now.mono_ms);
        cx.counters.duplicates_stopped += 1;
        cx.out.act(Action::Stop { domain: self.name.clone(), key, reason: StopReason::Duplicate { holder } });
        self.attend(cx, key);
    }

    /// A peer does not know keys (any more).
    pub(super) fn on_unknown(&mut self, cx: &mut Context<'_>, from: PeerId, keys: &[u64]) {
        for key in keys {
            let Some(entry) = self.keys.get_mut(key).filter(|entry| entry.discovered()) else { continue };
            if !entry.unknown_at.contains(&from) {
                entry.unknown_at.push(from);
            }
            entry.confirmed.take_if(|peer| *peer == from);
            self.attend(cx, *key);
        }
    }

    /// Asks those to whom keys are left whether they still know them, and the others whether they know them by now: what they
    /// sent when it changed may be lost.
    pub(super) fn audit(&self, cx: &mut Context<'_>) {
        for (key, entry) in &self.keys {
            for peer in entry.doubtful() {
                cx.out.to(peer, &self.name).queries.push(*key);
            }
        }
    }
}

impl Entry {
    /// Peers whose knowledge decides about this key.
    fn doubtful(&self) -> impl Iterator<Item = PeerId> {
        let confirmed = self.confirmed.filter(|_| matches!(self.hold, Hold::Idle));
        self.unknown_at.iter().copied().chain(confirmed).filter(|_| self.discovered())
    }
}
