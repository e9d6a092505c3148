//! Writes the next table. Sticky by construction: a key stays where it is unless its node has more than its share, and then as
//! little as possible goes, to whoever has least.
//!
//! A node's share is the mean of all, or its heaviest key if that is more: nobody can carry less than one key. Heavy keys are in
//! the table even where they agree with the ring, because what the ring moves when a member comes or goes is only fair by number;
//! each has a backup, chosen so that what a node leaves behind falls evenly on the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::table::{MAX_PLACES, Place};
use super::{Proposal, Rank, Report, Table, Weighed};
use crate::ownership::Name;

/// A node with more than this many percent of its share gives away. The promise is 115; what lies between is for weights that are
/// older than the last scrape.
const TRIGGER_PERCENT: u64 = 112;
/// How far a node that gives away goes down, percent of its share: the rest of the way would be many moves for little.
const GOAL_PERCENT: u64 = 108;
/// A key of the mean load's this part or more is in the table. Lighter ones are even enough by their number.
const HEAVY_PART: u64 = 64;
/// A second key of this part of the mean load or more leaves a node even for one that gets over its share by it, and then gives
/// away light ones.
const GIANT_PART: u64 = 2;

/// Nodes that do not know a key, though the table named them for it: what an author has learned by trying.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    by_key: HashMap<(Name, u64), Vec<Name>>,
}

impl Refusals {
    fn add(&mut self, domain: &Name, key: u64, node: &Name) {
        if self.by_key.len() < MAX_PLACES {
            let nodes = self.by_key.entry((domain.clone(), key)).or_default();
            if !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
    }

    fn contains(&self, domain: &Name, key: u64, node: &Name) -> bool {
        self.by_key.get(&(domain.clone(), key)).is_some_and(|nodes| nodes.contains(node))
    }
}

/// A table to come, and what it is good for.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) table: Table,
    /// Keys that go to another node by it.
    pub(crate) moved: usize,
}

/// Plans the table that follows `previous`, from the reports of all members of the proposal's ring, in their order. Who is asked
/// twice with the same gets the same. `None` if there is nothing to plan with: fewer than two members, or most keys not measured.
pub(crate) fn plan(proposal: &Proposal, previous: &Table, reports: &[Report], author: &str, refusals: &mut Refusals) -> Option<Plan> {
    let members = proposal.ring().members();
    debug_assert_eq!(members.len(), reports.len());
    if members.len() < 2 || mostly_unmeasured(reports) {
        return None;
    }
    let mut books = Books::open(proposal, previous, reports, refusals);
    if books.is_uneven() {
        books.even_out(proposal, refusals);
    }
    let places = books.places(proposal, previous);
    let table = Table::following(previous.version(), author, members.to_vec(), places);
    Some(Plan { table, moved: books.moved.len() })
}

fn mostly_unmeasured(reports: &[Report]) -> bool {
    let keys = || reports.iter().flat_map(|report| &report.keys);
    let measured = keys().filter(|key| key.weight.is_some()).count();
    measured * 2 < keys().count().max(1)
}

/// A key, with the member that should hold it.
struct Item<'a> {
    domain: &'a Name,
    /// The domain without the number of its copy.
    base: &'a str,
    key: u64,
    weight: u64,
    member: usize,
}

/// Who carries what.
struct Books<'a> {
    items: Vec<Item<'a>>,
    /// Items that are copies of one another, where there are copies.
    copies: HashMap<(&'a str, u64), Vec<usize>>,
    /// Items of each member by weight.
    sorted: Vec<BTreeSet<(u64, usize)>>,
    loads: Vec<u64>,
    mean: u64,
    moved: BTreeSet<usize>,
}

impl<'a> Books<'a> {
    fn open(proposal: &Proposal, previous: &Table, reports: &'a [Report], refusals: &mut Refusals) -> Self {
        let typical = typical_weights(reports);
        let mut seen = BTreeSet::new();
        let mut items = Vec::new();
        for (reporter, report) in reports.iter().enumerate() {
            // Of two that hold a key the first in order counts: one of them is about to stop.
            for key in report.keys.iter().filter(|key| seen.insert((&key.domain, key.key))) {
                let listed = || previous.place(&key.domain, key.key).map(|place| place.weight);
                let weight = key.weight.or_else(listed).unwrap_or_else(|| typical.get(&key.domain).copied().unwrap_or(0));
                let member = whereabouts(proposal, reporter, key, refusals);
                items.push(Item { domain: &key.domain, base: Rank::of(&key.domain).base(), key: key.key, weight, member });
            }
        }
        let mut loads: Vec<u64> = reports.iter().map(|report| report.rest).collect();
        let mut sorted = vec![BTreeSet::new(); loads.len()];
        for (index, item) in items.iter().enumerate() {
            loads[item.member] += item.weight;
            sorted[item.member].insert((item.weight, index));
        }
        let mean = (loads.iter().sum::<u64>() / loads.len() as u64).max(1);
        Self { copies: copies(&items), items, sorted, loads, mean, moved: BTreeSet::new() }
    }

    fn is_uneven(&self) -> bool {
        (0..self.loads.len()).any(|member| self.loads[member] > self.bound(member, TRIGGER_PERCENT))
    }

    /// So many percent of the mean, or the member's heaviest key if that is more.
    fn bound(&self, member: usize, percent: u64) -> u64 {
        (self.mean * percent / 100).max(self.heaviest(member))
    }

    fn heaviest(&self, member: usize) -> u64 {
        self.sorted[member].last().map_or(0, |(weight, _)| *weight)
    }

    /// Moves keys away from who has most, until nobody has too much or nothing helps. Each move makes the loads' sum of squares
    /// smaller, so it ends.
    fn even_out(&mut self, proposal: &Proposal, refusals: &Refusals) {
        let members = proposal.ring().members();
        let mut stuck = vec![false; self.loads.len()];
        loop {
            let over = |member: usize| self.loads[member].saturating_sub(self.bound(member, GOAL_PERCENT));
            let most = (0..self.loads.len()).filter(|member| !stuck[*member]).max_by_key(|member| (over(*member), usize::MAX - *member));
            let Some(from) = most.filter(|member| over(*member) > 0) else { return };
            let Some(to) = (0..self.loads.len()).filter(|member| *member != from).min_by_key(|member| self.loads[*member]) else { return };
            let refuses = |item: &Item<'_>| {
                refusals.contains(item.domain, item.key, &members[to])
                    || self.siblings(item).any(|other| other == to || proposal.share_a_zone(other, to))
            };
            match self.choose(from, to, refuses) {
                Some(item) => {
                    self.transfer(item, to);
                    stuck[to] = false;
                }
                None => stuck[from] = true,
            }
        }
    }

    /// The key that is best given by one member to another.
    fn choose(&self, from: usize, to: usize, refuses: impl Fn(&Item<'_>) -> bool) -> Option<usize> {
        let (load, least) = (self.loads[from], self.loads[to]);
        let excess = load - self.mean.max(self.heaviest(from)).min(load);
        let helps = |weight: u64| weight > 0 && least + weight < load;
        let acceptable = |(weight, item): &&(u64, usize)| helps(*weight) && !refuses(&self.items[*item]);
        let giant = self.sorted[from].iter().rev().nth(1).filter(|(weight, _)| *weight >= self.mean / GIANT_PART && *weight <= excess);
        let room = self.bound(to, GOAL_PERCENT).saturating_sub(least);
        let fitting = || self.sorted[from].range(..=(excess.min(room), usize::MAX)).rev().find(acceptable);
        // Nothing fits wholly: then the lightest that makes it better at all.
        let bettering = || self.sorted[from].range((excess.min(room), usize::MAX)..).take(1).find(acceptable);
        giant.filter(acceptable).or_else(fitting).or_else(bettering).map(|(_, item)| *item)
    }

    /// The members that hold other copies of a key.
    fn siblings<'b>(&'b self, item: &'b Item<'_>) -> impl Iterator<Item = usize> + 'b {
        let copies = self.copies.get(&(item.base, item.key)).map_or(&[][..], Vec::as_slice);
        copies.iter().map(|copy| &self.items[*copy]).filter(|copy| copy.domain != item.domain).map(|copy| copy.member)
    }

    fn transfer(&mut self, index: usize, to: usize) {
        let item = &mut self.items[index];
        let from = std::mem::replace(&mut item.member, to);
        self.sorted[from].remove(&(item.weight, index));
        self.sorted[to].insert((item.weight, index));
        self.loads[from] -= item.weight;
        self.loads[to] += item.weight;
        self.moved.insert(index);
    }

    /// What the table says: of heavy keys all, of light ones those that are not where the ring would have them.
    fn places(&self, proposal: &Proposal, previous: &Table) -> BTreeMap<Name, HashMap<u64, Place>> {
        let heavy = (self.mean / HEAVY_PART).max(1);
        let mut places: BTreeMap<Name, HashMap<u64, Place>> = BTreeMap::new();
        let mut room = MAX_PLACES;
        for member in 0..self.loads.len() {
            let mut extra = vec![0; self.loads.len()];
            for (weight, index) in self.sorted[member].iter().rev() {
                let item = &self.items[*index];
                let strayed = self.moved.contains(index) || previous.place(item.domain, item.key).is_some();
                let listed = *weight >= heavy || (strayed && proposal.ring().owner_index(item.key) != Some(member));
                if !listed || room == 0 {
                    continue;
                }
                room -= 1;
                let backup = self.backup(item, &extra);
                extra[backup] += weight;
                let place = Place { node: index_of(member), backup: index_of(backup), weight: *weight };
                places.entry(item.domain.clone()).or_default().insert(item.key, place);
            }
        }
        places
    }

    /// Who carries least, were it to take what it was named for already.
    fn backup(&self, item: &Item<'_>, extra: &[u64]) -> usize {
        let others = (0..self.loads.len()).filter(|other| *other != item.member && !self.siblings(item).any(|sibling| sibling == *other));
        others.min_by_key(|other| self.loads[*other] + extra[*other]).unwrap_or(item.member)
    }
}

/// Items with equal keys in copies of one domain, where there is more than one.
fn copies<'a>(items: &[Item<'a>]) -> HashMap<(&'a str, u64), Vec<usize>> {
    if items.iter().all(|item| item.base.len() == item.domain.len()) {
        return HashMap::new();
    }
    let mut copies: HashMap<(&str, u64), Vec<usize>> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        copies.entry((item.base, item.key)).or_default().push(index);
    }
    copies
}

fn index_of(member: usize) -> u32 {
    u32::try_from(member).unwrap_or(u32::MAX)
}

/// The member that a reported key counts for: who should hold it. If its holder thinks that this is itself, others have been asked
/// and do not know the key.
fn whereabouts(proposal: &Proposal, reporter: usize, key: &Weighed, refusals: &mut Refusals) -> usize {
    let proposed = proposal.owner(&key.domain, key.key).map_or(reporter, |member| member as usize);
    if key.settled && proposed != reporter {
        refusals.add(&key.domain, key.key, &proposal.ring().members()[proposed]);
        return reporter;
    }
    proposed
}

/// The mean of what was measured in each domain, for keys that were not.
fn typical_weights(reports: &[Report]) -> BTreeMap<Name, u64> {
    let mut sums: BTreeMap<Name, (u64, u64)> = BTreeMap::new();
    for key in reports.iter().flat_map(|report| &report.keys) {
        if let Some(weight) = key.weight {
            let (sum, count) = sums.entry(key.domain.clone()).or_default();
            *sum += weight;
            *count += 1;
        }
    }
    sums.into_iter().map(|(domain, (sum, count))| (domain, sum / count.max(1))).collect()
}
