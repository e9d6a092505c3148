//! The peers that a machine knows: members of its view, and acquaintances that were heard of before the view shows them.
//! Gives each life of a peer a number of its own, so that nothing noted about an earlier life can count for a later one.

use std::collections::{BTreeMap, VecDeque};

use super::view::{Member, MemberState, Name};

/// How long an acquaintance that is silent and in no view is kept: over the time that gossip takes, since claims wait for it.
const ACQUAINTANCE_MS: u64 = 4_000;
/// How long it is remembered that a life has ended.
const DEPARTED_MS: u64 = 300_000;
/// Most acquaintances, and most ended lives remembered: a multiple of the largest fleet that gossip carries.
const MAX_STRANGERS: usize = 4_096;
/// Names of how many ended lives are kept, to tell after whose end a key was claimed.
const MAX_GRAVES: usize = 256;

/// One life (name and incarnation) of a peer. Never used again, and growing in the order of first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerId(u32);

/// What is known of a peer.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) name: Name,
    pub(super) incarnation: u64,
    /// Its state by the view, or for an acquaintance the monotonic millisecond until which it is kept.
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Member(MemberState),
    Acquaintance { until_ms: u64 },
}

/// What to make of a peer that another one names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Introduction {
    /// It can be asked.
    Known(PeerId),
    /// It has started anew since: that life is over for certain.
    Ended,
    /// Here it is believed dead. Either that is late news to the other, or its coming back is late news here.
    Disputed,
}

/// All known peers, without oneself.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_id: BTreeMap<PeerId, Peer>,
    by_name: BTreeMap<Name, PeerId>,
    /// Ended lives: incarnation, and when to forget it.
    departed: BTreeMap<Name, (u64, u64)>,
    /// Lives that the driver reported dead although the view still has them.
    gone: BTreeMap<Name, u64>,
    graves: VecDeque<(PeerId, Name)>,
    next: u32,
    retirements: u64,
}

impl Peers {
    /// Takes the members of a view (without oneself, one entry per name). Returns whether anything changed.
    pub(super) fn apply(&mut self, members: &BTreeMap<Name, Member>, mono_ms: u64) -> bool {
        self.gone.retain(|name, incarnation| members.get(name).is_some_and(|member| member.incarnation == *incarnation));
        let lost: Vec<PeerId> =
            self.by_id.iter().filter(|(_, peer)| self.is_lost(peer, members.get(&peer.name))).map(|(id, _)| *id).collect();
        let mut changed = !lost.is_empty();
        lost.into_iter().for_each(|id| self.retire(id, mono_ms));
        for member in members.values() {
            changed |= self.enrol(member);
        }
        changed
    }

    /// Whether a known peer is to go, given its entry in the view.
    fn is_lost(&self, peer: &Peer, member: Option<&Member>) -> bool {
        match member {
            Some(member) if member.incarnation == peer.incarnation => self.gone.contains_key(&peer.name),
            Some(member) => member.incarnation > peer.incarnation,
            None => matches!(peer.standing, Standing::Member(_)),
        }
    }

    /// Adds or updates a member. Returns whether that changed anything.
    fn enrol(&mut self, member: &Member) -> bool {
        if self.gone.contains_key(&member.name) {
            return false;
        }
        let standing = Standing::Member(member.state);
        if let Some(peer) = self.by_name.get(&member.name).and_then(|id| self.by_id.get_mut(id)) {
            // A view that still has an earlier life than the one heard of says nothing about the later one.
            let changed = peer.incarnation == member.incarnation && peer.standing != standing;
            if changed {
                peer.standing = standing;
            }
            return changed;
        }
        self.departed.remove(&member.name);
        self.add(member.name.clone(), member.incarnation, standing);
        true
    }

    /// A message came from a peer. `None` if that life is over or there are too many strangers; else its number.
    pub(super) fn heard(&mut self, name: &str, incarnation: u64, mono_ms: u64) -> Option<PeerId> {
        if self.gone.get(name) == Some(&incarnation) {
            self.gone.remove(name);
        }
        self.meet(name, incarnation, mono_ms, |ended| ended > incarnation)
    }

    /// A peer was named by another one, which believes it alive.
    pub(super) fn introduced(&mut self, name: &str, incarnation: u64, mono_ms: u64) -> Introduction {
        let living = self.by_name.get(name).and_then(|id| self.by_id.get(id)).map(|peer| peer.incarnation);
        let ended = self.departed.get(name).map(|(ended, _)| *ended);
        if living.max(ended).is_some_and(|known| known > incarnation) {
            return Introduction::Ended;
        }
        match self.meet(name, incarnation, mono_ms, |ended| ended >= incarnation) {
            Some(peer) => Introduction::Known(peer),
            None => Introduction::Disputed,
        }
    }

    fn meet(&mut self, name: &str, incarnation: u64, mono_ms: u64, is_over: impl Fn(u64) -> bool) -> Option<PeerId> {
        let until_ms = mono_ms.saturating_add(ACQUAINTANCE_MS);
        if let Some(id) = self.by_name.get(name).copied() {
            let peer = self.by_id.get_mut(&id)?;
            if peer.incarnation >= incarnation {
                return (peer.incarnation == incarnation).then_some(id);
            }
            self.retire(id, mono_ms);
        } else if self.departed.get(name).is_some_and(|(ended, _)| is_over(*ended)) || self.by_id.len() >= MAX_STRANGERS {
            return None;
        }
        self.departed.remove(name);
        Some(self.add(Name::from(name), incarnation, Standing::Acquaintance { until_ms }))
    }

    /// An acquaintance spoke: keep it longer.
    pub(super) fn keep(&mut self, id: PeerId, mono_ms: u64) {
        if let Some(Peer { standing: Standing::Acquaintance { until_ms }, .. }) = self.by_id.get_mut(&id) {
            *until_ms = mono_ms.saturating_add(ACQUAINTANCE_MS);
        }
    }

    /// The driver knows that a peer is dead. Returns whether it was known.
    pub(super) fn mark_gone(&mut self, name: &str, mono_ms: u64) -> bool {
        let Some(id) = self.by_name.get(name).copied() else {
            return false;
        };
        if let Some(peer) = self.by_id.get(&id) {
            self.gone.insert(peer.name.clone(), peer.incarnation);
        }
        self.retire(id, mono_ms);
        true
    }

    /// Drops acquaintances that were not heard of for long. Returns whether there were any.
    pub(super) fn expire(&mut self, mono_ms: u64) -> bool {
        self.departed.retain(|_, (_, until_ms)| *until_ms > mono_ms);
        let silent: Vec<PeerId> = self
            .by_id
            .iter()
            .filter(|(_, peer)| matches!(peer.standing, Standing::Acquaintance { until_ms } if until_ms <= mono_ms))
            .map(|(id, _)| *id)
            .collect();
        let changed = !silent.is_empty();
        silent.into_iter().for_each(|id| self.retire(id, mono_ms));
        changed
    }

    /// The members that are in the ring.
    pub(super) fn participants(&self) -> impl Iterator<Item = (PeerId, &Name)> {
        self.by_id
            .iter()
            .filter(|(_, peer)| peer.standing == Standing::Member(MemberState::Participant))
            .map(|(id, peer)| (*id, &peer.name))
    }

    /// Whether anybody but terminating members is known.
    pub(super) fn any_may_take(&self) -> bool {
        self.by_id.values().any(|peer| peer.standing != Standing::Member(MemberState::Terminating))
    }

    /// Everybody who may hold a key. Viewers are among them: they may have become participants since.
    pub(super) fn ids(&self) -> impl Iterator<Item = PeerId> {
        self.by_id.keys().copied()
    }

    /// A peer's number by its name.
    pub(super) fn id(&self, name: &str) -> Option<PeerId> {
        self.by_name.get(name).copied()
    }

    /// A peer that is still known.
    pub(super) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.by_id.get(&id)
    }

    /// Whether a life is still going on.
    pub(super) fn is_alive(&self, id: PeerId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The name of a peer whose life ended a short while ago.
    pub(super) fn epitaph(&self, id: PeerId) -> Option<Name> {
        self.graves.iter().find(|(grave, _)| *grave == id).map(|(_, name)| name.clone())
    }

    /// How many lives have ended so far.
    pub(super) fn retirements(&self) -> u64 {
        self.retirements
    }

    /// The number that the next new peer gets: all peers known now have lower ones.
    pub(super) fn horizon(&self) -> PeerId {
        PeerId(self.next)
    }

    fn add(&mut self, name: Name, incarnation: u64, standing: Standing) -> PeerId {
        let id = PeerId(self.next);
        self.next += 1;
        self.by_name.insert(name.clone(), id);
        self.by_id.insert(id, Peer { name, incarnation, standing });
        id
    }

    fn retire(&mut self, id: PeerId, mono_ms: u64) {
        let Some(peer) = self.by_id.remove(&id) else {
            return;
        };
        self.by_name.remove(&peer.name);
        self.retirements += 1;
        if self.graves.len() == MAX_GRAVES {
            self.graves.pop_front();
        }
        self.graves.push_back((id, peer.name.clone()));
        if self.departed.len() < MAX_STRANGERS {
            self.departed.insert(peer.name, (peer.incarnation, mono_ms.saturating_add(DEPARTED_MS)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(list: &[(&str, u64)]) -> BTreeMap<Name, Member> {
        let member = |(name, incarnation): &(&str, u64)| Member {
            name: Name::from(*name),
            incarnation: *incarnation,
            state: MemberState::Participant,
        };
        list.iter().map(|entry| (Name::from(entry.0), member(entry))).collect()
    }

    #[test]
    fn a_new_incarnation_is_another_peer_and_the_old_one_is_over() {
        let mut peers = Peers::default();
        assert!(peers.apply(&members(&[("b", 1)]), 0));
        let first = peers.id("b").unwrap();
        assert!(!peers.apply(&members(&[("b", 1)]), 0), "an equal view changes nothing");
        assert!(peers.apply(&members(&[("b", 2)]), 0));
        assert!(!peers.is_alive(first));
        assert!(peers.id("b").unwrap() > first);
        assert_eq!(peers.heard("b", 1, 0), None, "the earlier life is not heard any more");
    }

    #[test]
    fn an_acquaintance_is_kept_until_it_is_silent_for_four_seconds() {
        let mut peers = Peers::default();
        let id = peers.heard("new", 7, 0).unwrap();
        assert!(!peers.apply(&members(&[]), 5_000), "a view without it does not drop it");
        peers.keep(id, 5_000);
        assert!(!peers.expire(8_999));
        assert!(peers.expire(9_000));
        assert_eq!(peers.introduced("new", 7, 9_000), Introduction::Disputed, "somebody believes it alive");
        assert_eq!(peers.introduced("new", 6, 9_000), Introduction::Ended);
        assert!(peers.heard("new", 7, 9_000).is_some(), "its own voice proves it alive");
    }

    #[test]
    fn a_later_life_that_was_heard_outlasts_a_view_that_has_the_earlier() {
        let mut peers = Peers::default();
        peers.apply(&members(&[("b", 1)]), 0);
        let second = peers.heard("b", 2, 0).unwrap();
        assert!(!peers.apply(&members(&[("b", 1)]), 1));
        assert!(peers.is_alive(second));
        assert_eq!(peers.participants().count(), 0, "whether the later life is in the ring is not known yet");
        assert!(peers.apply(&members(&[("b", 2)]), 2));
        assert_eq!(peers.participants().count(), 1);
    }

    #[test]
    fn a_peer_reported_gone_stays_away_until_it_is_heard_or_reborn() {
        let mut peers = Peers::default();
        peers.apply(&members(&[("b", 1)]), 0);
        assert!(peers.mark_gone("b", 0));
        assert!(!peers.apply(&members(&[("b", 1)]), 1));
        assert_eq!(peers.introduced("b", 1, 1), Introduction::Disputed);
        assert!(peers.heard("b", 1, 2).is_some());
        peers.apply(&members(&[("b", 1)]), 2);
        assert_eq!(peers.participants().count(), 1);
        peers.mark_gone("b", 3);
        assert!(peers.apply(&members(&[("b", 2)]), 4));
        assert_eq!(peers.participants().count(), 1);
    }

    #[test]
    fn strangers_are_bounded() {
        let mut peers = Peers::default();
        let met = (0..2 * MAX_STRANGERS).filter(|index| peers.heard(&format!("n{index}"), 1, 0).is_some()).count();
        assert_eq!(met, MAX_STRANGERS);
    }
}
