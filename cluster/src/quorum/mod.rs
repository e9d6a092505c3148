//! Who may work while the fleet is split, under the policy `majority`: a machine without IO. Standings of other members and time
//! go in; whether this node may work, and which losses are agreed, come out. The parts: `contact` keeps who heard this node when,
//! `electorate` who counts and how that changes, `state` the words of both. Why all this holds is in ADR 10. Who is lost in this
//! node's own sight is `membership`'s to say.

mod contact;
mod electorate;
mod mutant;
mod policy;
mod state;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contact::Contact;
pub(crate) use electorate::Census;
use electorate::Electorate;
pub(crate) use mutant::Mutant;
pub use policy::PartitionPolicy;
pub(crate) use state::{Ballot, Lineage, Members, Name, Standing, State};

/// Milliseconds between two standings to each member.
pub(crate) const REPORT_MS: u64 = 500;

/// How long after it was heard by a majority a node may begin slots, in ms. Bears two lost standings and a stall of 2 s.
pub(crate) const LEASE_MS: u64 = 4_000;

/// Oldest reports of a loss that count together, and oldest ownership message that counts, in ms. Longer than an echo takes to be
/// reported from all members: two report intervals and a way.
pub(crate) const FRESH_MS: u64 = 1_500;

/// Least silence of a lost member in ms; `membership` must not go below it.
pub(crate) const SILENCE_MS: u64 = 6_000;

/// For how long an agreed loss outlasts the freshness of its reports, in ms: a late standing must not bring the lost back.
const KEEP_MS: u64 = 5_000;

/// For how long losses need the electorate before too after a change, in ms: until no lease of that one alone can last.
pub(crate) const HOLD_MS: u64 = LEASE_MS + FRESH_MS + 500;

/// Least pause between two standings to one member, in ms, however much there is to answer.
const REPLY_PAUSE_MS: u64 = 100;

/// How many of this node's numbers it remembers the times of: with some answers in between minutes of them.
const REMEMBERED: usize = 1024;

const _: () = assert!(LEASE_MS + FRESH_MS < SILENCE_MS, "the minority stops before the majority takes over");

/// Whom this node would send a standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: Name,
    pub(crate) generation: u64,
}

/// One node's part in the majority.
#[derive(Debug)]
pub(crate) struct Quorum {
    generation: u64,
    born_ms: u64,
    electorate: Electorate,
    contacts: BTreeMap<Name, Contact>,
    /// Losses that a majority has agreed on.
    agreed: BTreeSet<(Name, u64)>,
    /// Times of this node's numbers, oldest first.
    sent: VecDeque<(u64, u64)>,
    number: u64,
    next_report_ms: u64,
    told_lost: Vec<(Name, u64)>,
    mutant: Option<Mutant>,
}

impl Quorum {
    /// A node that knows of no electorate.
    pub(crate) fn new(me: Name, generation: u64, now_ms: u64) -> Self {
        Self {
            generation,
            born_ms: now_ms,
            electorate: Electorate::new(me, generation),
            contacts: BTreeMap::new(),
            agreed: BTreeSet::new(),
            sent: VecDeque::new(),
            number: 0,
            next_report_ms: 0,
            told_lost: Vec::new(),
            mutant: None,
        }
    }

    /// The electorate, if one is known.
    pub(crate) fn state(&self) -> Option<&State> {
        self.electorate.state()
    }

    /// Whether the others can do without this node's vote: it is no elector, and a majority of those who are know it.
    pub(crate) fn may_go(&self) -> bool {
        self.electorate.is_released()
    }

    /// The members that are to get a standing now, with it: all if it is time or if there is news, else those that wait for an answer.
    /// `peers` are all processes that this node knows and that have not left, `lost` those of them that it holds for lost.
    pub(crate) fn report(&mut self, now_ms: u64, peers: &[Peer], lost: &[(Name, u64)]) -> Vec<(Name, Standing)> {
        let lost: Vec<_> = lost.iter().cloned().chain(self.unknown(now_ms, peers)).collect();
        let news = self.told_lost != lost;
        let all = news || now_ms >= self.next_report_ms;
        if all {
            self.next_report_ms = now_ms.saturating_add(REPORT_MS);
            self.told_lost = lost;
        }
        if all {
            self.keep_contacts(peers);
        }
        let due: Vec<Name> = self
            .contacts
            .iter()
            .filter(|(_, contact)| contact.is_due(all, self.electorate.version(), now_ms))
            .map(|(name, _)| name.clone())
            .collect();
        if due.is_empty() {
            return Vec::new();
        }
        self.count_up(now_ms);
        due.into_iter().filter_map(|name| self.standing_for(name, now_ms)).collect()
    }

    /// The standing that a member waits for which this node has just heard for the first time.
    pub(crate) fn answer(&mut self, now_ms: u64, name: &Name) -> Option<Standing> {
        self.contacts.get(name).filter(|contact| contact.waits(now_ms))?;
        self.count_up(now_ms);
        self.standing_for(name.clone(), now_ms).map(|(_, standing)| standing)
    }

    fn count_up(&mut self, now_ms: u64) {
        self.number += 1;
        self.sent.push_back((self.number, now_ms));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
    }

    fn keep_contacts(&mut self, peers: &[Peer]) {
        let known: BTreeSet<&Name> = peers.iter().map(|peer| &peer.name).collect();
        let gone: Vec<Name> = self.contacts.keys().filter(|name| !known.contains(name)).cloned().collect();
        for name in gone {
            self.contacts.remove(&name);
            self.electorate.forget(&name);
        }
        for peer in peers {
            self.contact(&peer.name, peer.generation);
        }
    }

    /// What others hold for lost and this node does not know, because it came later or has heard a goodbye: it has not heard it either.
    /// An elector that has just started can't tell what its former life heard.
    fn unknown(&self, now_ms: u64, peers: &[Peer]) -> BTreeSet<(Name, u64)> {
        if self.electorate.had_former_life() && now_ms.saturating_sub(self.born_ms) < SILENCE_MS {
            return BTreeSet::new();
        }
        let known = |(name, generation): &(Name, u64)| peers.iter().any(|peer| (&peer.name, peer.generation) == (name, *generation));
        let reported = self.contacts.values().flat_map(Contact::lost);
        reported.filter(|process| !known(process) && !self.electorate.is_me(&process.0)).cloned().collect()
    }

    fn standing_for(&mut self, name: Name, now_ms: u64) -> Option<(Name, Standing)> {
        let version = self.electorate.version();
        let contact = self.contacts.get_mut(&name)?;
        let carries_state = contact.sending(version, now_ms);
        let standing = Standing {
            to: contact.generation,
            number: self.number,
            heard: contact.heard,
            version,
            state: if carries_state { self.electorate.state().cloned() } else { None },
            known: contact.version,
            lost: self.told_lost.clone(),
        };
        Some((name, standing))
    }

    /// The contact of this life of a member; `None` if a later one is known.
    fn contact(&mut self, name: &Name, generation: u64) -> Option<&mut Contact> {
        let contact = self.contacts.entry(name.clone()).or_insert_with(|| Contact::new(generation));
        if contact.generation < generation {
            *contact = Contact::new(generation);
            self.electorate.forget(name);
        }
        (contact.generation == generation).then_some(contact)
    }

    /// A member's standing has come. While this node holds its sender for lost it does not say that it heard it.
    pub(crate) fn receive(&mut self, now_ms: u64, from: &Peer, standing: Standing, held_for_lost: bool) {
        if standing.to != self.generation {
            return;
        }
        let echoed_ms = self.sent_ms(standing.heard);
        let Some(contact) = self.contact(&from.name, from.generation) else { return };
        if standing.number <= contact.number {
            return;
        }
        contact.take(&standing, echoed_ms, held_for_lost);
        match standing.state {
            Some(state) => {
                contact.version = standing.version;
                self.electorate.receive(now_ms, &from.name, state);
            }
            None if contact.version == standing.version => {}
            None => {
                contact.version = 0;
                self.electorate.forget(&from.name);
            }
        }
    }

    /// What a message to `name` carries as proof of its age: the last number heard from there.
    pub(crate) fn heard(&self, name: &str) -> u64 {
        self.contacts.get(name).map_or(0, |contact| contact.heard)
    }

    /// Whether a message that carries one of this node's numbers was sent lately enough to count.
    pub(crate) fn is_fresh(&self, now_ms: u64, number: u64) -> bool {
        self.sent_ms(number).is_some_and(|at| now_ms.saturating_sub(at) <= FRESH_MS)
    }

    fn sent_ms(&self, number: u64) -> Option<u64> {
        let first = self.sent.front()?.0;
        self.sent.get(usize::try_from(number.checked_sub(first)?).ok()?).map(|(_, at)| *at)
    }

    /// Until when this node may begin slots; 0 if it may not.
    pub(crate) fn lease_ms(&self, now_ms: u64) -> u64 {
        if self.mutant == Some(Mutant::NoLease) {
            return u64::MAX;
        }
        let sets = self.electorate.in_force();
        let bounds = sets.iter().map(|set| self.heard_by_majority(set, now_ms).map_or(0, |at| at.saturating_add(LEASE_MS)));
        bounds.min().unwrap_or(0)
    }

    /// The latest moment at which a majority of a set had heard this node.
    fn heard_by_majority(&self, set: &Members, now_ms: u64) -> Option<u64> {
        let mut times: Vec<u64> = set.keys().filter_map(|name| self.heard_by(name, now_ms)).collect();
        times.sort_unstable_by(|one, other| other.cmp(one));
        times.get(self.size(set) / 2).copied()
    }

    fn size(&self, set: &Members) -> usize {
        if self.mutant == Some(Mutant::CrashShrinks) {
            return set.keys().filter(|name| !self.told_lost.iter().any(|(lost, _)| lost == *name)).count();
        }
        set.len()
    }

    fn heard_by(&self, name: &Name, now_ms: u64) -> Option<u64> {
        if !self.electorate.counts(name) {
            None
        } else if self.electorate.is_me(name) {
            Some(now_ms)
        } else {
            self.contacts.get(name)?.echoed_ms
        }
    }

    /// Which of the members that this node holds for lost a majority holds for lost too.
    pub(crate) fn agreed(&mut self, now_ms: u64, lost: &[(Name, u64)]) -> BTreeSet<(Name, u64)> {
        if self.mutant == Some(Mutant::LossOfOneSuffices) {
            return lost.iter().cloned().collect();
        }
        let may_work = self.lease_ms(now_ms) > now_ms;
        let agreed = lost.iter().filter(|process| {
            let bound = if self.agreed.contains(*process) { KEEP_MS } else { FRESH_MS };
            may_work && self.is_agreed(now_ms, process, bound)
        });
        let agreed = agreed.cloned().collect();
        self.agreed = agreed;
        self.agreed.clone()
    }

    fn is_agreed(&self, now_ms: u64, process: &(Name, u64), bound_ms: u64) -> bool {
        let says = |name: &Name| {
            self.electorate.is_me(name) || self.contacts.get(name).is_some_and(|contact| contact.holds_for_lost(process, now_ms, bound_ms))
        };
        let sets = self.electorate.for_losses(now_ms);
        !sets.is_empty()
            && sets.iter().all(|set| set.keys().filter(|name| self.electorate.counts(name) && says(name)).count() > self.size(set) / 2)
    }

    /// Founds an electorate of those who are there. To be called only by the one member that is to.
    pub(crate) fn found(&mut self, wall_ms: u64, members: Members) {
        self.electorate.found(wall_ms, members);
    }

    /// Works on the electorate: takes what is accepted into force, proposes changes.
    pub(crate) fn govern(&mut self, now_ms: u64, census: &Census) {
        let present = |name: &Name| self.contacts.get(name).and_then(|contact| contact.echoed_ms).is_some_and(|at| now_ms - at <= LEASE_MS);
        let others_present: BTreeSet<Name> = self.contacts.keys().filter(|name| present(name)).cloned().collect();
        if self.mutant == Some(Mutant::ChangesAskNobody) {
            return self.electorate.impose(now_ms, census, &others_present);
        }
        self.electorate.govern(now_ms, census, &others_present);
    }
}

#[cfg(test)]
impl Quorum {
    /// The same node with a deliberate fault.
    pub(crate) fn with_mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }
}

#[cfg(test)]
mod tests;
