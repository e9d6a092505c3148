//! Who counts, and how that changes: each electorate decides on the next one by Paxos, in a form that only tells states. An elector
//! tells the highest ballot that it has promised to heed and what it has accepted; whoever sees a majority with one accepted ballot
//! knows the next electorate. Losing a message costs time only, since states are told until they are heard.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ballot, HOLD_MS, Lineage, Members, Name, State};

/// For how long the fleet must look the same before a change is proposed, in ms: nodes that come or go together are one change.
const SETTLE_MS: u64 = 1_500;

/// Pause between two tries to decide, in ms.
const RETRY_MS: u64 = 2_000;

/// The members as a node sees them, for the next electorate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Census {
    /// Live members that take part and mean to stay, this node included.
    pub(crate) present: Members,
    /// Members that leave or have left in a planned way.
    pub(crate) leaving: BTreeSet<Name>,
    /// Electors that have been gone for so long that they are given up.
    pub(crate) forgotten: BTreeSet<Name>,
}

/// What one node knows of the electorate, its own part included.
#[derive(Debug)]
pub(super) struct Electorate {
    me: Name,
    generation: u64,
    state: Option<State>,
    hold_until_ms: u64,
    /// Grows with each change of `state`.
    version: u64,
    heard: BTreeMap<Name, State>,
    proposal: Option<Proposal>,
    /// The wanted electorate, and since when it is that one.
    wish: Option<(Members, u64)>,
    /// Since when a decision is open that somebody has begun.
    open_since: Option<u64>,
    /// Something was heard or has ended that others' states must be looked at again for.
    stirred: bool,
}

/// This node's own try.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proposal {
    ballot: Ballot,
    since_ms: u64,
}

impl Electorate {
    pub(super) fn new(me: Name, generation: u64) -> Self {
        Self {
            me,
            generation,
            state: None,
            hold_until_ms: 0,
            version: 0,
            heard: BTreeMap::new(),
            proposal: None,
            wish: None,
            open_since: None,
            stirred: false,
        }
    }

    pub(super) fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn is_me(&self, name: &str) -> bool {
        *self.me == *name
    }

    /// What a member last said of the electorate counts no more: it has something newer that has not come yet, or is another process.
    pub(super) fn forget(&mut self, name: &str) {
        self.heard.remove(name);
    }

    /// Whether a member's word counts: it knows this electorate's line and does not lack the memory of a former life.
    pub(super) fn counts(&self, name: &str) -> bool {
        let Some(mine) = &self.state else { return false };
        match self.is_me(name) {
            true => !mine.amnesic,
            false => self.heard.get(name).is_some_and(|theirs| theirs.lineage == mine.lineage && !theirs.amnesic),
        }
    }

    /// The sets whose majorities this node's lease needs: the electorate, and whatever somebody has accepted as the next one, which
    /// may be in force elsewhere already.
    pub(super) fn in_force(&self) -> Vec<&Members> {
        let Some(mine) = &self.state else { return Vec::new() };
        let mut sets = vec![&mine.members];
        let accepted = self.present_epoch().filter_map(|(_, state)| state.accepted.as_ref());
        for (_, members) in accepted {
            if !sets.contains(&members) {
                sets.push(members);
            }
        }
        sets
    }

    /// The sets whose majorities an agreed loss needs: for a while also the electorate before, which others may still know only.
    pub(super) fn for_losses(&self, now_ms: u64) -> Vec<&Members> {
        let mut sets = self.in_force();
        let previous = self.state.as_ref().map(|mine| &mine.previous);
        sets.extend(previous.filter(|previous| !previous.is_empty() && now_ms < self.hold_until_ms));
        sets
    }

    /// States of this electorate, this node's own among them.
    fn present_epoch(&self) -> impl Iterator<Item = (&Name, &State)> {
        let mine = self.state.iter().map(|state| (&self.me, state));
        let same = |state: &State| self.state.as_ref().is_some_and(|mine| (&mine.lineage, mine.epoch) == (&state.lineage, state.epoch));
        mine.chain(self.heard.iter().filter(move |(_, state)| same(state)))
    }

    /// States of electors that count.
    fn electors(&self) -> impl Iterator<Item = &State> {
        let is_elector = |name: &Name| self.state.as_ref().is_some_and(|mine| mine.members.contains_key(name));
        self.present_epoch().filter(move |(name, state)| is_elector(name) && !state.amnesic).map(|(_, state)| state)
    }

    /// Whether the electorate was joined by an earlier process of this node's name.
    pub(super) fn had_former_life(&self) -> bool {
        let taken_in = self.state.as_ref().and_then(|mine| mine.members.get(&self.me));
        taken_in.is_some_and(|generation| *generation != self.generation)
    }

    /// Whether this node is no elector, and a majority of those who are know that.
    pub(super) fn is_released(&self) -> bool {
        let Some(mine) = &self.state else { return true };
        let knowing = self.electors().count();
        !mine.members.contains_key(&self.me) && knowing > mine.members.len() / 2
    }

    fn has_majority(&self, says: impl Fn(&State) -> bool) -> bool {
        let members = self.state.as_ref().map_or(0, |mine| mine.members.len());
        members > 0 && self.electors().filter(|state| says(state)).count() > members / 2
    }

    pub(super) fn found(&mut self, wall_ms: u64, members: Members) {
        let lineage = Lineage { founded_ms: wall_ms, by: self.me.clone() };
        let state = State { lineage, epoch: 1, members, previous: Members::new(), amnesic: false, promised: None, accepted: None };
        self.state = Some(state);
        self.version += 1;
    }

    /// A member has told its state.
    pub(super) fn receive(&mut self, now_ms: u64, from: &Name, theirs: State) {
        self.consider(now_ms, &theirs);
        self.heard.insert(from.clone(), theirs);
        self.stirred = true;
    }

    fn consider(&mut self, now_ms: u64, theirs: &State) {
        let known = self.state.as_ref().map(|mine| (mine.lineage.clone(), mine.epoch));
        let newer = known
            .as_ref()
            .is_none_or(|(lineage, epoch)| theirs.lineage < *lineage || (theirs.lineage == *lineage && theirs.epoch > *epoch));
        if newer {
            self.adopt(now_ms, theirs);
        }
        let same = self.state.as_ref().is_some_and(|mine| (&mine.lineage, mine.epoch) == (&theirs.lineage, theirs.epoch));
        if same {
            self.follow(theirs);
        }
    }

    /// Takes a later electorate into force.
    fn adopt(&mut self, now_ms: u64, theirs: &State) {
        let old = self.state.take().filter(|old| old.lineage == theirs.lineage);
        let was_elector = old.as_ref().is_some_and(|old| !old.amnesic && old.members.contains_key(&self.me));
        let remembers = |taken_in: &u64| was_elector || *taken_in == self.generation;
        let amnesic = theirs.members.get(&self.me).is_some_and(|taken_in| !remembers(taken_in));
        let previous = match old {
            Some(old) if old.epoch.saturating_add(1) == theirs.epoch => old.members,
            _ => theirs.previous.clone(),
        };
        self.hold_until_ms = now_ms.saturating_add(HOLD_MS);
        self.state = Some(State { previous, amnesic, promised: None, accepted: None, ..theirs.clone() });
        (self.proposal, self.wish, self.open_since) = (None, None, None);
        self.version += 1;
    }

    /// Heeds what another has promised and accepted in the same electorate. Nothing is accepted before the last change is over.
    fn follow(&mut self, theirs: &State) {
        let Some(mine) = &mut self.state else { return };
        let before = (mine.promised.clone(), mine.accepted.clone());
        mine.promised = mine.promised.take().max(theirs.promised.clone());
        if let Some((ballot, members)) = &theirs.accepted
            && mine.previous.is_empty()
            && mine.promised.as_ref().is_none_or(|promised| ballot >= promised)
            && mine.accepted.as_ref().is_none_or(|(accepted, _)| ballot > accepted)
        {
            mine.promised = Some(ballot.clone());
            mine.accepted = Some((ballot.clone(), members.clone()));
        }
        if before != (mine.promised.clone(), mine.accepted.clone()) {
            self.version += 1;
        }
    }

    /// Does what is due. `in_touch` are the members that this node and who hear each other.
    pub(super) fn govern(&mut self, now_ms: u64, census: &Census, in_touch: &BTreeSet<Name>) {
        self.end_hold(now_ms);
        if std::mem::take(&mut self.stirred) {
            for theirs in self.heard.values().cloned().collect::<Vec<_>>() {
                self.consider(now_ms, &theirs);
            }
        }
        self.remember(in_touch);
        self.take_decided(now_ms);
        self.propose(now_ms, census, in_touch);
        self.take_decided(now_ms);
    }

    fn end_hold(&mut self, now_ms: u64) {
        let Some(mine) = &mut self.state else { return };
        if !mine.previous.is_empty() && now_ms >= self.hold_until_ms {
            mine.previous.clear();
            self.version += 1;
            self.stirred = true;
        }
    }

    /// An elector without memory counts again once it has heard enough others that one of them knows whatever its former life took
    /// part in, or once all are there, so that there is no other side.
    fn remember(&mut self, in_touch: &BTreeSet<Name>) {
        let Some(mine) = self.state.as_ref().filter(|mine| mine.amnesic) else { return };
        let enough = mine.members.len() - mine.members.len() / 2;
        let knowing = self.electors().count();
        let all_there = mine.members.keys().all(|name| self.is_me(name) || (in_touch.contains(name) && self.heard.contains_key(name)));
        if knowing < enough && !all_there {
            return;
        }
        if let Some(mine) = &mut self.state {
            mine.amnesic = false;
            self.version += 1;
        }
    }

    /// Takes the next electorate into force once a majority has accepted it in one ballot.
    fn take_decided(&mut self, now_ms: u64) {
        let accepted: Vec<(Ballot, Members)> = self.electors().filter_map(|state| state.accepted.clone()).collect();
        let decided =
            accepted.into_iter().find(|(ballot, _)| self.has_majority(|state| state.accepted.as_ref().is_some_and(|(of, _)| of == ballot)));
        if let (Some((_, members)), Some(mine)) = (decided, self.state.clone()) {
            let next = State { epoch: mine.epoch.saturating_add(1), members, previous: mine.members.clone(), ..mine };
            self.adopt(now_ms, &next);
        }
    }

    fn propose(&mut self, now_ms: u64, census: &Census, in_touch: &BTreeSet<Name>) {
        self.note_wish(now_ms, census, in_touch);
        let open = self.present_epoch().any(|(_, state)| state.accepted.is_some());
        self.open_since = open.then(|| self.open_since.unwrap_or(now_ms));
        self.begin_ballot(now_ms, census, in_touch);
        self.conclude_ballot(in_touch);
    }

    /// The electorate that would fit the fleet: without those who leave, with those who have come and are in touch.
    fn note_wish(&mut self, now_ms: u64, census: &Census, in_touch: &BTreeSet<Name>) {
        let Some(mine) = &self.state else { return };
        let stays = |name: &Name| !census.leaving.contains(name) && !census.forgotten.contains(name);
        let mut wish: Members = mine.members.iter().filter(|(name, _)| stays(name)).map(|(name, taken)| (name.clone(), *taken)).collect();
        for (name, generation) in &census.present {
            if stays(name) && self.counts(name) && (self.is_me(name) || in_touch.contains(name)) {
                wish.entry(name.clone()).or_insert(*generation);
            }
        }
        if self.wish.as_ref().is_none_or(|(known, _)| *known != wish) {
            self.wish = Some((wish, now_ms));
        }
    }

    /// The wish, if it is a change that has lasted and that can work.
    fn wanted(&self, now_ms: u64, in_touch: &BTreeSet<Name>) -> Option<&Members> {
        let (wish, since) = self.wish.as_ref()?;
        let is_change = self.state.as_ref().is_some_and(|mine| mine.members != *wish);
        let reached = wish.keys().filter(|name| self.is_me(name) || in_touch.contains(*name)).count();
        (is_change && reached > wish.len() / 2 && now_ms.saturating_sub(*since) >= SETTLE_MS).then_some(wish)
    }

    fn begin_ballot(&mut self, now_ms: u64, census: &Census, in_touch: &BTreeSet<Name>) {
        let Some(mine) = self.state.as_ref().filter(|mine| mine.previous.is_empty() && !mine.amnesic) else { return };
        let reached = |name: &&Name| self.is_me(name) || (in_touch.contains(*name) && self.counts(name));
        let stays = |name: &&Name| !census.leaving.contains(*name);
        let proposer = mine.members.keys().filter(reached).find(stays).or_else(|| mine.members.keys().find(reached));
        let due = self.wanted(now_ms, in_touch).is_some() || self.open_since.is_some_and(|since| now_ms.saturating_sub(since) >= RETRY_MS);
        let waits = self.proposal.as_ref().is_some_and(|proposal| now_ms.saturating_sub(proposal.since_ms) < RETRY_MS);
        if proposer != Some(&self.me) || !due || waits {
            return;
        }
        let ballot = Ballot { round: mine.promised.as_ref().map_or(1, |promised| promised.round.saturating_add(1)), by: self.me.clone() };
        self.proposal = Some(Proposal { ballot: ballot.clone(), since_ms: now_ms });
        if let Some(mine) = &mut self.state {
            mine.promised = Some(ballot);
            self.version += 1;
        }
    }

    /// With a majority of promises the value follows: what was accepted in the highest ballot before, or else the wish.
    fn conclude_ballot(&mut self, in_touch: &BTreeSet<Name>) {
        let Some(Proposal { ballot, since_ms }) = self.proposal.clone() else { return };
        let promised = |state: &State| state.promised.as_ref() == Some(&ballot);
        let begun = self.state.as_ref().and_then(|mine| mine.accepted.as_ref()).is_some_and(|(accepted, _)| *accepted == ballot);
        if begun || !self.state.as_ref().is_some_and(promised) || !self.has_majority(promised) {
            return;
        }
        let earlier = self.electors().filter(|state| promised(state)).filter_map(|state| state.accepted.clone()).max();
        let wish = || self.wanted(since_ms.saturating_add(SETTLE_MS), in_touch).cloned();
        let value = earlier.map(|(_, members)| members).or_else(wish).filter(|members| !members.is_empty());
        if let (Some(members), Some(mine)) = (value, &mut self.state) {
            mine.accepted = Some((ballot, members));
            self.version += 1;
        }
    }

    /// Takes the wish into force without asking anybody: a deliberate fault.
    pub(super) fn impose(&mut self, now_ms: u64, census: &Census, in_touch: &BTreeSet<Name>) {
        self.note_wish(now_ms, census, in_touch);
        let wanted = self.wanted(now_ms, in_touch).cloned();
        if let (Some(members), Some(mine)) = (wanted, self.state.clone()) {
            let next = State { epoch: mine.epoch + 1, members, previous: Members::new(), ..mine };
            self.adopt(now_ms, &next);
        }
    }
}
