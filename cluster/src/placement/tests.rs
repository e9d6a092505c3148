//! Fleets on paper: nodes that hold what table and ring propose, an author that plans from their reports, members that come and go.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::ownership::Name;
use crate::ring::Ring;

/// Rounds of planning within which a fleet must have come to rest.
const ROUNDS: usize = 4;

struct Fleet {
    members: Vec<Name>,
    /// The ring of the last members asked for: building one is most of the work.
    ring: std::cell::RefCell<Ring>,
    /// Weight by key.
    keys: BTreeMap<u64, u64>,
    /// One in so many pairs of node and key are strangers to each other; 0 for none.
    strangers: u64,
    table: Table,
    refusals: Refusals,
    zones: BTreeMap<Name, Name>,
}

fn domain() -> Name {
    Name::from("prometheus.scrape.pods")
}

fn hash(parts: &[u64]) -> u64 {
    xxh3_64(&parts.iter().flat_map(|part| part.to_le_bytes()).collect::<Vec<_>>())
}

fn name(index: usize) -> Name {
    Name::from(format!("collector-{index}"))
}

/// The mix of the promise: nine in ten targets have 500 samples, nearly one in ten 5,000, one in a hundred 100,000.
fn mix(count: u64, seed: u64) -> BTreeMap<u64, u64> {
    let weight = |index: u64| match hash(&[seed, index, 1]) % 100 {
        0 => 100_000,
        1..10 => 5_000,
        _ => 500,
    };
    (0..count).map(|index| (hash(&[seed, index]), weight(index))).collect()
}

impl Fleet {
    fn new(nodes: usize, keys: BTreeMap<u64, u64>, strangers: u64) -> Self {
        Self {
            members: sorted((0..nodes).map(name)),
            ring: Ring::new(Vec::<Name>::new()).into(),
            keys,
            strangers,
            table: Table::default(),
            refusals: Refusals::default(),
            zones: BTreeMap::new(),
        }
    }

    fn knows(&self, node: &str, key: u64) -> bool {
        self.strangers == 0 || !hash(&[xxh3_64(node.as_bytes()), key]).is_multiple_of(self.strangers)
    }

    fn proposal(&self) -> Proposal {
        let mut ring = self.ring.borrow_mut();
        if ring.members() != self.members {
            *ring = Ring::new(self.members.clone());
        }
        Proposal::new(ring.clone(), &self.zones, &self.table)
    }

    /// Who holds each key once everything has come to rest, as the ownership machines have it.
    fn holders(&self) -> BTreeMap<u64, Name> {
        let proposal = self.proposal();
        let holder = |key: u64| {
            let owner = proposal.owner(&domain(), key).unwrap() as usize;
            let first = proposal.ring().first_accepted_after(owner, key, |index| self.knows(&self.members[index], key));
            self.members[first.unwrap()].clone()
        };
        self.keys.keys().map(|key| (*key, holder(*key))).collect()
    }

    fn reports(&self, limit: usize) -> Vec<Report> {
        let mut held: BTreeMap<Name, Vec<Weighed>> = self.members.iter().map(|name| (name.clone(), Vec::new())).collect();
        for (key, holder) in self.holders() {
            let weighed = Weighed { domain: domain(), key, weight: Some(self.keys[&key]), settled: true };
            held.get_mut(&holder).unwrap().push(weighed);
        }
        held.into_values().map(|keys| Report::new(self.table.version(), 0, keys, limit)).collect()
    }

    /// Lets the author plan until nothing moves any more. Returns how many rounds moved something.
    fn rest(&mut self) -> usize {
        for round in 0..=ROUNDS {
            let plan = plan(&self.proposal(), &self.table, &self.reports(HEAVIEST), "collector-0", &mut self.refusals).unwrap();
            self.table = plan.table;
            if plan.moved == 0 {
                return round;
            }
        }
        panic!("the fleet does not come to rest");
    }

    fn loads(&self) -> BTreeMap<Name, u64> {
        let mut loads: BTreeMap<Name, u64> = self.members.iter().map(|name| (name.clone(), 0)).collect();
        for (key, holder) in self.holders() {
            *loads.get_mut(&holder).unwrap() += self.keys[&key];
        }
        loads
    }

    /// The largest load over what is promised for it: 1.15 × the mean, or the node's largest key.
    fn worst(&self) -> f64 {
        let holders = self.holders();
        let loads = self.loads();
        let mean = loads.values().sum::<u64>() as f64 / loads.len() as f64;
        let largest = |node: &Name| holders.iter().filter(|(_, holder)| *holder == node).map(|(key, _)| self.keys[key]).max().unwrap_or(0);
        loads.iter().map(|(node, load)| *load as f64 / (1.15 * mean).max(largest(node) as f64)).fold(0.0, f64::max)
    }

    /// The load that has another holder than before, as a multiple of one node's share.
    fn moved_since(&self, before: &BTreeMap<u64, Name>, nodes: usize) -> f64 {
        let holders = self.holders();
        let moved: u64 = holders.iter().filter(|(key, holder)| before[key] != **holder).map(|(key, _)| self.keys[key]).sum();
        moved as f64 / self.keys.values().sum::<u64>() as f64 * nodes as f64
    }
}

fn sorted(names: impl IntoIterator<Item = Name>) -> Vec<Name> {
    names.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The fleets of the promise: nodes, targets.
const FLEETS: [(usize, u64); 4] = [(10, 5_000), (50, 2_000), (150, 3_000), (150, 15_000)];

#[test]
fn the_busiest_node_stays_within_the_promise_where_the_ring_alone_does_not() {
    for (nodes, targets) in FLEETS {
        for seed in 0..3 {
            let mut fleet = Fleet::new(nodes, mix(targets, seed), 0);
            let by_ring = fleet.worst();
            let rounds = fleet.rest();
            assert!(fleet.worst() <= 1.0, "{nodes} nodes, {targets} targets: {} of what is promised", fleet.worst());
            assert!(rounds == 0 || by_ring > 1.0 / 1.15, "{by_ring}");
            assert!(fleet.table.len() <= 32 * nodes, "{} keys in the table of {nodes} nodes", fleet.table.len());
        }
    }
}

#[test]
fn sets_that_differ_by_a_hundredth_are_evened_out_as_well() {
    for (nodes, targets) in FLEETS {
        let mut fleet = Fleet::new(nodes, mix(targets, 7), 100);
        fleet.rest();
        assert!(fleet.worst() <= 1.0, "{nodes} nodes, {targets} targets: {} of what is promised", fleet.worst());
    }
}

#[test]
fn at_rest_nothing_moves_whoever_plans() {
    let mut fleet = Fleet::new(10, mix(5_000, 1), 0);
    fleet.rest();
    let before = fleet.holders();
    let again = plan(&fleet.proposal(), &fleet.table, &fleet.reports(HEAVIEST), "collector-7", &mut Refusals::default()).unwrap();
    assert_eq!(again.moved, 0);
    assert!(again.table.says_the_same(&fleet.table));
    fleet.table = again.table;
    assert_eq!(fleet.holders(), before);
}

#[test]
fn weights_that_sway_by_a_few_percent_move_nothing() {
    let mut fleet = Fleet::new(10, mix(5_000, 2), 0);
    fleet.rest();
    let before = fleet.holders();
    for round in 0..20 {
        for (key, weight) in &mut fleet.keys {
            let sway = 98 + hash(&[*key, round]) % 5;
            *weight = match *weight {
                80_000.. => 100_000,
                4_000.. => 5_000,
                _ => 500,
            } * sway
                / 100;
        }
        fleet.rest();
    }
    assert_eq!(fleet.moved_since(&before, 10), 0.0);
}

#[test]
fn one_node_more_moves_little_and_keeps_the_promise() {
    for (nodes, targets) in FLEETS {
        let mut fleet = Fleet::new(nodes, mix(targets, 3), 0);
        fleet.rest();
        let before = fleet.holders();
        fleet.members = sorted((0..=nodes).map(name));
        fleet.rest();
        let moved = fleet.moved_since(&before, nodes);
        assert!(moved <= 1.5, "{nodes} nodes, {targets} targets: {moved} of a share moved");
        assert!(fleet.worst() <= 1.0, "{nodes} nodes, {targets} targets: {}", fleet.worst());
    }
}

#[test]
fn one_node_less_moves_little_and_keeps_the_promise() {
    for (nodes, targets) in FLEETS {
        for gone in [0, nodes / 2] {
            let mut fleet = Fleet::new(nodes, mix(targets, 4), 0);
            fleet.rest();
            let before = fleet.holders();
            let share = fleet.loads()[&name(gone)] as f64 * nodes as f64 / fleet.keys.values().sum::<u64>() as f64;
            fleet.members.retain(|member| *member != name(gone));
            fleet.rest();
            let moved = fleet.moved_since(&before, nodes);
            // Where one key is more than a share, whoever takes it has to give away a share of its own.
            let mean = fleet.keys.values().sum::<u64>() / nodes as u64;
            let displaced = if mean < 100_000 { 1.0 } else { 0.0 };
            let bound = 1.5 * share.max(1.0) + displaced;
            assert!(moved <= bound, "{nodes} nodes, {targets} targets without {gone}: {moved}, it had {share}");
            assert!(fleet.worst() <= 1.0, "{nodes} nodes, {targets} targets: {}", fleet.worst());
        }
    }
}

#[test]
fn a_forecast_is_what_then_happens() {
    for (add, remove) in [(2, None), (0, Some(3)), (1, Some(0))] {
        let mut fleet = Fleet::new(10, mix(5_000, 5), 0);
        fleet.rest();
        let reports: Vec<_> = fleet.members.iter().cloned().zip(fleet.reports(usize::MAX)).collect();
        let (added, removed): (Vec<_>, Vec<_>) = ((10..10 + add).map(name).collect(), remove.map(name).into_iter().collect());
        let forecast = forecast(&fleet.proposal(), &fleet.table, &reports, &added, &removed);
        let before = fleet.holders();
        fleet.members = sorted(fleet.members.iter().filter(|member| !removed.contains(member)).cloned().chain(added));
        fleet.rest();
        let real: BTreeSet<_> = fleet.holders().into_iter().filter(|(key, holder)| before[key] != *holder).collect();
        let told: BTreeSet<_> = forecast.moves.iter().map(|step| (step.key, step.to.clone())).collect();
        assert_eq!(told, real);
        assert!(!real.is_empty());
        let loads: BTreeMap<_, _> = forecast.after.into_iter().map(|(node, (_, load))| (node, load)).collect();
        assert_eq!(loads, fleet.loads());
    }
}

#[test]
fn the_table_names_the_node_its_backup_and_else_the_ring() {
    let mut fleet = Fleet::new(10, mix(5_000, 6), 0);
    fleet.rest();
    let (_, places) = fleet.table.domains().next().unwrap();
    let (key, place) = places.iter().next().unwrap();
    let (node, backup) = (&fleet.table.nodes()[place.node as usize], &fleet.table.nodes()[place.backup as usize]);
    let among = |members: &[&Name]| Proposal::new(Ring::new(members.iter().map(|name| Name::clone(name))), &fleet.zones, &fleet.table);
    let other = fleet.members.iter().find(|member| *member != node && *member != backup).unwrap();
    let owner = |proposal: &Proposal| (proposal.owner_name(&domain(), *key).unwrap().clone(), proposal.basis(&domain(), *key));
    assert_eq!(owner(&among(&[node, backup, other])), (node.clone(), Basis::Table));
    assert_eq!(owner(&among(&[backup, other])), (backup.clone(), Basis::Backup));
    assert_eq!(owner(&among(&[other])), (other.clone(), Basis::Ring));
    assert_eq!(among(&[node]).basis("another.domain", *key), Basis::Ring);
}

#[test]
fn without_measures_or_company_nothing_is_planned() {
    let mut fleet = Fleet::new(1, mix(100, 1), 0);
    let planned = |fleet: &Fleet, reports: &[Report]| plan(&fleet.proposal(), &fleet.table, reports, "", &mut Refusals::default());
    assert!(planned(&fleet, &fleet.reports(HEAVIEST)).is_none());
    fleet.members = sorted((0..3).map(name));
    let mut reports = fleet.reports(HEAVIEST);
    assert!(planned(&fleet, &reports).is_some());
    reports.iter_mut().flat_map(|report| &mut report.keys).for_each(|key| key.weight = None);
    assert!(planned(&fleet, &reports).is_none());
}

/// Who should hold each copy of each key.
fn copies(proposal: &Proposal, keys: &[u64], ranks: u32) -> Vec<Vec<Option<Name>>> {
    let owner = |key: u64, rank: u32| proposal.owner_name(&domain_of_rank(&domain(), rank), key).cloned();
    keys.iter().map(|key| (0..ranks).map(|rank| owner(*key, rank)).collect()).collect()
}

fn keys() -> Vec<u64> {
    (0..2_000).map(|index| hash(&[index])).collect()
}

#[test]
fn copies_of_a_key_are_on_different_nodes_and_in_different_zones() {
    let members = sorted((0..9).map(name));
    let zones = (0..9).map(|index| (name(index), Name::from(format!("zone-{}", index % 3)))).collect();
    let proposal = Proposal::new(Ring::new(members.clone()), &zones, &Table::default());
    let mut loads: BTreeMap<Name, usize> = BTreeMap::new();
    for copies in copies(&proposal, &keys(), 3) {
        let zones: BTreeSet<&Name> = copies.iter().map(|owner| &zones[owner.as_ref().unwrap()]).collect();
        assert_eq!(zones.len(), 3, "{copies:?}");
        copies.into_iter().for_each(|owner| *loads.entry(owner.unwrap()).or_default() += 1);
    }
    let mean = 3 * 2_000 / 9;
    assert!(loads.values().all(|load| (mean * 7 / 10..=mean * 13 / 10).contains(load)), "{loads:?}");
    // With fewer zones than copies nodes differ at least, and with fewer nodes the last copies have nobody.
    let crowded = Proposal::new(Ring::new(members[..2].to_vec()), &zones, &Table::default());
    assert!(copies(&crowded, &keys(), 3).iter().all(|copies| copies[0] != copies[1] && copies[1].is_some() && copies[2].is_none()));
}

#[test]
fn a_node_that_goes_moves_its_own_copies_and_few_others() {
    let members = sorted((0..10).map(name));
    let among = |members: &[Name]| copies(&Proposal::new(Ring::new(members.to_vec()), &BTreeMap::new(), &Table::default()), &keys(), 2);
    let (before, after) = (among(&members), among(&members[1..]));
    let gone = &members[0];
    let changed = |one: &[Option<Name>], other: &[Option<Name>]| one.iter().zip(other).filter(|(one, other)| one != other).count();
    let moved: usize = before.iter().zip(&after).map(|(one, other)| changed(one, other)).sum();
    let its_own: usize = before.iter().flatten().filter(|owner| owner.as_ref() == Some(gone)).count();
    assert!(moved < its_own * 13 / 10, "{moved} copies moved, it had {its_own}");
}

#[test]
fn the_planner_keeps_copies_apart() {
    let ranked = domain_of_rank(&domain(), 1);
    let members = sorted((0..6).map(name));
    let weights = mix(600, 3);
    let (mut table, mut refusals) = (Table::default(), Refusals::default());
    for _ in 0..ROUNDS {
        let proposal = Proposal::new(Ring::new(members.clone()), &BTreeMap::new(), &table);
        let mut held: BTreeMap<&Name, Vec<Weighed>> = members.iter().map(|name| (name, Vec::new())).collect();
        for (key, weight) in &weights {
            for domain in [domain(), Name::from(&*ranked)] {
                let holder = proposal.owner_name(&domain, *key).unwrap();
                held.get_mut(holder).unwrap().push(Weighed { domain, key: *key, weight: Some(*weight), settled: true });
            }
        }
        let reports: Vec<_> = held.into_values().map(|keys| Report::new(table.version(), 0, keys, HEAVIEST)).collect();
        let loads: Vec<u64> = reports.iter().map(Report::load).collect();
        let plan = plan(&proposal, &table, &reports, "", &mut refusals).unwrap();
        if plan.moved == 0 {
            let mean = loads.iter().sum::<u64>() / 6;
            assert!(loads.iter().all(|load| load * 100 <= mean * 115), "{loads:?}");
            assert!(copies(&proposal, &weights.keys().copied().collect::<Vec<_>>(), 2).iter().all(|copies| copies[0] != copies[1]));
            return;
        }
        table = plan.table;
    }
    panic!("the fleet does not come to rest");
}
