//! The table of members, a state machine without IO: records, signs of life, broken streams and time go in; who counts as
//! alive comes out.
//!
//! A member is lost, without a goodbye, in one of two ways:
//! - *Refused.* The stream to it broke and its address refuses connections, here and, within [`WITNESS_WINDOW`], as seen by one
//!   other member. Where no other member could be asked, this node's own sight suffices. This takes a fraction of a second.
//! - *Silent.* Nothing is heard of it, neither directly nor through others' gossip, for [`SILENCE_MIN`] while gossip's failure
//!   detector agrees, or for [`SILENCE_MAX`] in any case. A peer that stands still for 5 s is therefore never lost.
//!
//! A lost member comes back when this node hears it on a stream with it, never on hearsay: gossip goes on repeating what a
//! crashed process once said.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::{Identity, Record, State};

/// Age up to which two sights of a refusing address support each other.
pub(crate) const WITNESS_WINDOW: Duration = Duration::from_secs(5);

/// Silence from which the failure detector is believed. Beyond the 5 s for which a stalled process must be borne, with room
/// for a round of gossip.
pub(crate) const SILENCE_MIN: Duration = Duration::from_secs(6);

const _: () = assert!(SILENCE_MIN.as_millis() >= crate::quorum::SILENCE_MS as u128, "leases end before a loss counts");

/// Silence that needs no second opinion; the promise is 10 s.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(9);

/// A pause of the own process from which on silence is its own fault: everybody gets the time of the pause back.
const OWN_PAUSE: Duration = Duration::from_secs(1);

/// Ticks within this time of one another are one: a tick takes a look at every member, and in a large fleet events come by the hundred.
const TICK_PAUSE: Duration = Duration::from_millis(20);

/// How long a pause of the own process is told of.
const PAUSE_SHOWN: Duration = Duration::from_secs(60);

/// What is heard on a stream so soon after a loss may have been under way before it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long members that left or were lost are remembered: gossip forgets them within this time too, and lost ones are
/// looked for as long.
pub(crate) const MEMORY: Duration = Duration::from_secs(600);

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It counts.
    Alive,
    /// It does not count and did not say goodbye.
    Lost,
    /// It said goodbye.
    Left,
}

/// Most members that are remembered: more than gossip's digest has room for, so only a peer that invents members reaches it.
const MAX_MEMBERS: usize = 1024;

/// What happened to the table, for logs, metrics and the node's further steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new name, or one that came back.
    Joined(Identity),
    /// A member's record changed.
    Updated(Identity),
    /// A process took the place of an older one of the same name.
    Replaced { old: Identity, new: Identity },
    /// A member said goodbye.
    Left(Identity),
    /// A member is gone without a goodbye.
    Lost { who: Identity, why: &'static str },
    /// Another process with this node's name and a higher generation is in the fleet.
    Superseded(Identity),
}

struct Entry {
    record: Record,
    presence: Presence,
    since: Instant,
    /// When it was last heard, directly or through gossip.
    heard: Instant,
    /// Gossip's latest heartbeat.
    heartbeat: u64,
    /// Whether gossip's failure detector holds it for alive.
    gossip_live: bool,
    linked: bool,
    refused: Option<Instant>,
    reports: BTreeMap<Arc<str>, Instant>,
}

/// Who is in the fleet, as this node sees it.
pub(crate) struct Table {
    me: Identity,
    entries: BTreeMap<Arc<str>, Entry>,
    changes: Vec<Change>,
    last_tick: Instant,
    last_pause: Option<Instant>,
}

impl Table {
    pub(crate) fn new(me: Identity, now: Instant) -> Self {
        Self { me, entries: BTreeMap::new(), changes: Vec::new(), last_tick: now, last_pause: None }
    }

    /// This node starts anew under another generation.
    pub(crate) fn set_me(&mut self, me: Identity) {
        self.me = me;
    }

    /// Hash of the processes that are alive, this node's included.
    pub(crate) fn company(&self) -> u64 {
        let hash = |identity: &Identity| {
            let mut bytes = [identity.name.as_bytes(), &[0xff], &identity.generation.to_le_bytes()].concat();
            bytes.extend_from_slice(identity.addr.to_string().as_bytes());
            xxh3_64(&bytes)
        };
        let alive = self.alive().map(|record| &record.identity);
        // The order does not matter, and each name is there once.
        alive.chain([&self.me]).fold(0, |sum, identity| sum ^ hash(identity))
    }

    /// Whether something happened since the last call of [`Self::take_changes`].
    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// What happened since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Live members without this node, by name.
    pub(crate) fn alive(&self) -> impl Iterator<Item = &Record> {
        self.with(Presence::Alive)
    }

    /// Members that are gone without a goodbye, by name.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &Record> {
        self.with(Presence::Lost)
    }

    /// Members that have said goodbye, by name.
    pub(crate) fn left(&self) -> impl Iterator<Item = &Record> {
        self.with(Presence::Left)
    }

    fn with(&self, presence: Presence) -> impl Iterator<Item = &Record> {
        self.entries.values().filter(move |entry| entry.presence == presence).map(|entry| &entry.record)
    }

    /// What is known of a name, and how it stands.
    pub(crate) fn get(&self, name: &str) -> Option<(&Record, Presence)> {
        self.entries.get(name).map(|entry| (&entry.record, entry.presence))
    }

    /// Live members in a state, without this node.
    pub(crate) fn count(&self, state: State) -> usize {
        self.alive().filter(|record| record.state == state).count()
    }

    /// All names that are remembered, this node's included: what gossip's digest may carry.
    pub(crate) fn remembered_names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|name| &**name).chain([&*self.me.name])
    }

    /// A member's own word, over a stream with it: it is there.
    pub(crate) fn met(&mut self, record: Record, now: Instant) {
        let identity = record.identity.clone();
        self.merge(record, true, now);
        self.beat(&identity, now);
    }

    /// A member's record through another member, which holds it for alive.
    pub(crate) fn told(&mut self, record: Record, now: Instant) {
        self.merge(record, false, now);
    }

    fn merge(&mut self, record: Record, met: bool, now: Instant) {
        if record.identity.name == self.me.name {
            if record.identity.generation > self.me.generation && !record.left {
                self.changes.push(Change::Superseded(record.identity));
            }
            return;
        }
        let full = self.entries.len() >= MAX_MEMBERS;
        match self.entries.get_mut(&record.identity.name) {
            None if record.left || full => {}
            None => {
                self.changes.push(Change::Joined(record.identity.clone()));
                self.entries.insert(record.identity.name.clone(), Entry::new(record, now));
            }
            Some(entry) => entry.merge(record, met, now, &mut self.changes),
        }
    }

    /// A sign of life of a process on a stream with it.
    pub(crate) fn beat(&mut self, identity: &Identity, at: Instant) {
        let Some(entry) = self.process(identity) else { return };
        entry.heard = entry.heard.max(at);
        if entry.presence == Presence::Lost && at.duration_since(entry.since) > LAST_WORDS {
            entry.revive(at);
            self.changes.push(Change::Joined(identity.clone()));
        }
    }

    /// What gossip has of a process: its heartbeat and the failure detector's opinion.
    pub(crate) fn gossiped(&mut self, identity: &Identity, heartbeat: u64, live: bool, now: Instant) {
        if let Some(entry) = self.process(identity) {
            entry.gossip_live = live;
            if heartbeat > entry.heartbeat {
                entry.heartbeat = heartbeat;
                entry.heard = now;
            }
        }
    }

    /// The stream to a process is open.
    pub(crate) fn linked(&mut self, identity: &Identity) {
        if let Some(entry) = self.process(identity) {
            entry.linked = true;
            entry.refused = None;
            entry.reports.clear();
        }
    }

    /// The stream to a process is gone, or was not to be had; `refused` if its address showed that the process is not there.
    /// Whether that is news which other members should hear.
    pub(crate) fn unlinked(&mut self, identity: &Identity, refused: bool, now: Instant) -> bool {
        let Some(entry) = self.process(identity) else {
            return false;
        };
        entry.linked = false;
        let first = refused && entry.refused.is_none_or(|at| now.duration_since(at) > WITNESS_WINDOW / 2);
        if first {
            entry.refused = Some(now);
        }
        self.judge(now);
        first
    }

    /// Another member saw that a process' address refuses connections.
    pub(crate) fn reported(&mut self, by: &Arc<str>, identity: &Identity, now: Instant) {
        if by == &identity.name {
            return;
        }
        if let Some(entry) = self.process(identity) {
            entry.reports.insert(by.clone(), now);
        }
        self.judge(now);
    }

    /// Time passes; to be called several times a second, and before whatever a pause of the own process may have made look like a loss.
    pub(crate) fn tick(&mut self, now: Instant) {
        let pause = now.duration_since(self.last_tick);
        if pause < TICK_PAUSE {
            return;
        }
        self.last_tick = now;
        if pause >= OWN_PAUSE {
            self.last_pause = Some(now);
            for entry in self.entries.values_mut() {
                entry.heard = (entry.heard + pause).min(now);
            }
        }
        self.judge(now);
        self.entries.retain(|_, entry| entry.presence == Presence::Alive || now.duration_since(entry.since) < MEMORY);
    }

    /// Whether the own process stood still within the last minute.
    pub(crate) fn paused_lately(&self, now: Instant) -> bool {
        self.last_pause.is_some_and(|at| now.duration_since(at) < PAUSE_SHOWN)
    }

    fn process(&mut self, identity: &Identity) -> Option<&mut Entry> {
        self.entries.get_mut(&identity.name).filter(|entry| entry.record.identity == *identity)
    }

    /// Decides who is lost now.
    fn judge(&mut self, now: Instant) {
        let verdicts: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.presence == Presence::Alive)
            .filter_map(|(name, entry)| Some((name.clone(), self.verdict(name, entry, now)?)))
            .collect();
        for (name, why) in verdicts {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.set(Presence::Lost, now);
                self.changes.push(Change::Lost { who: entry.record.identity.clone(), why });
            }
        }
    }

    fn verdict(&self, name: &str, entry: &Entry, now: Instant) -> Option<&'static str> {
        let fresh = |at: &Instant| now.duration_since(*at) <= WITNESS_WINDOW;
        if !entry.linked && entry.refused.as_ref().is_some_and(fresh) {
            if entry.reports.values().any(fresh) {
                return Some("two members saw its stream break and its address refuse connections");
            }
            if !self.has_witness(name, now) {
                return Some("its stream broke and its address refuses connections");
            }
        }
        let silence = now.duration_since(entry.heard);
        if silence >= SILENCE_MAX || (silence >= SILENCE_MIN && !entry.gossip_live) {
            return Some("nothing was heard of it");
        }
        None
    }

    /// Whether another member could tell about `name`: one that is alive and not itself refusing.
    fn has_witness(&self, name: &str, now: Instant) -> bool {
        self.entries.iter().any(|(other, entry)| {
            let refusing = !entry.linked && entry.refused.is_some_and(|at| now.duration_since(at) <= WITNESS_WINDOW);
            &**other != name && entry.presence == Presence::Alive && !refusing
        })
    }
}

impl Entry {
    fn new(record: Record, now: Instant) -> Self {
        Self {
            record,
            presence: Presence::Alive,
            since: now,
            heard: now,
            heartbeat: 0,
            gossip_live: false,
            linked: false,
            refused: None,
            reports: BTreeMap::new(),
        }
    }

    fn set(&mut self, presence: Presence, now: Instant) {
        self.presence = presence;
        self.since = now;
    }

    fn revive(&mut self, now: Instant) {
        self.set(Presence::Alive, now);
        (self.heard, self.refused) = (now, None);
        self.reports.clear();
    }

    fn merge(&mut self, record: Record, met: bool, now: Instant, changes: &mut Vec<Change>) {
        let identity = record.identity.clone();
        if identity.generation > self.record.identity.generation {
            if record.left {
                return;
            }
            let old = std::mem::replace(self, Self::new(record, now));
            changes.push(match old.presence {
                Presence::Alive => Change::Replaced { old: old.record.identity, new: identity },
                Presence::Lost | Presence::Left => Change::Joined(identity),
            });
            return;
        }
        if identity != self.record.identity {
            return;
        }
        let news = record.supersedes(&self.record);
        if news {
            self.record = record;
        }
        if self.record.left {
            if self.presence != Presence::Left {
                self.set(Presence::Left, now);
                changes.push(Change::Left(identity));
            }
        } else if self.presence == Presence::Lost && met {
            self.revive(now);
            changes.push(Change::Joined(identity));
        } else if news && self.presence == Presence::Alive {
            changes.push(Change::Updated(identity));
        }
    }
}

#[cfg(test)]
mod tests;
