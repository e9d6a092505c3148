//! Fleets of the policy `majority` on the in-memory network under paused time: at no time a key has two holders.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

mod fleet;

use std::time::Duration;

use cluster::{Clock, Config, PartitionPolicy, memory::Network};
use fleet::{Component, MemoryNode, clock, each_held_once, memory_addr as addr, participants};
use tokio::time::Instant;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const QUORUM: &str = "collector_cluster_quorum";
const ELECTORS: &str = "collector_cluster_electors";

/// Pause between two looks at who holds what.
const LOOK: Duration = Duration::from_millis(50);

/// A fleet whose members all claim the same keys.
struct Fleet {
    network: Network,
    clock: Clock,
    keys: Vec<u64>,
    nodes: Vec<Option<(MemoryNode, Component)>>,
}

fn majority(config: &mut Config) {
    config.partition_policy = PartitionPolicy::Majority;
}

impl Fleet {
    async fn of(size: usize) -> Self {
        Self::of_with(size, majority).await
    }

    fn new() -> Self {
        Self { network: Network::new(), clock: clock(), keys: (0..40).collect(), nodes: Vec::new() }
    }

    async fn of_with(size: usize, change: impl Fn(&mut Config)) -> Self {
        let mut fleet = Self::new();
        let peers: Vec<_> = (1..=size as u8).map(addr).collect();
        for index in 0..size {
            fleet.start(index, &peers, &change);
        }
        fleet.until(15, "each key has one holder", |fleet| fleet.each_has_one_holder()).await;
        let complete = |fleet: &Self| (0..size).all(|index| fleet.node(index).metric(ELECTORS) == Some(size as f64));
        fleet.until(10, "all are electors", complete).await;
        fleet
    }

    fn start(&mut self, index: usize, peers: &[std::net::SocketAddr], change: impl FnOnce(&mut Config)) {
        let node = MemoryNode::start_with(&self.network, &self.clock, NAMES[index], addr(index as u8 + 1), peers, change);
        let component = Component::claim(&node.cluster, "scrape", &self.keys, 1_000);
        self.nodes.resize_with(self.nodes.len().max(index + 1), || None);
        self.nodes[index] = Some((node, component));
    }

    fn node(&self, index: usize) -> &MemoryNode {
        &self.nodes[index].as_ref().unwrap().0
    }

    fn held(&self, index: usize) -> usize {
        self.nodes[index].as_ref().unwrap().1.keys().len()
    }

    fn crash(&mut self, index: usize) {
        self.nodes[index].take().unwrap().0.crash();
    }

    async fn leave(&mut self, index: usize) {
        let (node, component) = self.nodes[index].take().unwrap();
        let report = node.cluster.leave(Duration::from_secs(30)).await;
        assert!(report.drained && report.keys_left == 0, "{report:?}");
        node.crash();
        drop(component);
    }

    fn cut(&self, one: &[usize], other: &[usize]) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            self.network.cut(addr(a as u8 + 1), addr(b as u8 + 1));
        }
    }

    fn heal(&self) {
        for (a, b) in (1..=9).flat_map(|a| (1..=9).map(move |b| (a, b))) {
            self.network.heal(addr(a), addr(b));
        }
    }

    fn components(&self) -> Vec<&Component> {
        self.nodes.iter().flatten().map(|(_, component)| component).collect()
    }

    fn each_has_one_holder(&self) -> bool {
        each_held_once(&self.components(), &self.keys)
    }

    fn check_no_key_has_two_holders(&self) {
        let mut held: Vec<u64> = self.components().iter().flat_map(|component| component.keys()).collect();
        let all = held.len();
        held.sort_unstable();
        held.dedup();
        assert_eq!(held.len(), all, "a key has two holders");
    }

    /// Waits, while no key ever has two holders.
    async fn until(&self, seconds: u64, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < Duration::from_secs(seconds), "not within {seconds} s: {what}");
            self.check_no_key_has_two_holders();
            tokio::time::sleep(LOOK).await;
        }
        start.elapsed()
    }

    async fn pass(&self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            self.check_no_key_has_two_holders();
            tokio::time::sleep(LOOK).await;
        }
    }

    fn works(&self, index: usize) -> bool {
        self.node(index).metric(QUORUM) == Some(1.0) && self.node(index).cluster.has_majority()
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_fleet_founds_its_electorate_and_works() {
    let fleet = Fleet::of(3).await;
    fleet.until(2, "all tell it", |fleet| (0..3).all(|index| fleet.node(index).metric(ELECTORS) == Some(3.0) && fleet.works(index))).await;
}

#[tokio::test(start_paused = true)]
async fn two_of_five_stop_before_three_take_over_and_a_heal_unites_them() {
    let fleet = Fleet::of(5).await;
    let before: Vec<_> = (0..5).map(|index| fleet.held(index)).collect();
    fleet.cut(&[0, 1], &[2, 3, 4]);
    let stopped = fleet.until(6, "the two stop", |fleet| fleet.held(0) + fleet.held(1) == 0).await;
    assert!((2..5).all(|index| fleet.held(index) == before[index]), "nobody has taken over yet");
    fleet.until(11 - stopped.as_secs(), "the three take over", |fleet| (2..5).map(|index| fleet.held(index)).sum::<usize>() == 40).await;
    assert!((2..5).all(|index| fleet.works(index)));
    fleet.until(2, "the two say so", |fleet| (0..2).all(|index| fleet.node(index).metric(QUORUM) == Some(0.0))).await;
    let trouble = fleet.node(0).cluster.trouble().unwrap();
    assert!(trouble.contains("majority") && !fleet.node(0).cluster.has_majority(), "{trouble}");
    fleet.pass(60).await;
    fleet.heal();
    fleet.until(10, "all work again", |fleet| fleet.each_has_one_holder() && (0..5).all(|index| fleet.held(index) == before[index])).await;
    fleet.until(2, "and say so", |fleet| (0..5).all(|index| fleet.works(index))).await;
    assert_eq!(fleet.node(0).cluster.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn of_two_halves_none_works_until_they_meet() {
    let fleet = Fleet::of(4).await;
    fleet.cut(&[0, 1], &[2, 3]);
    fleet.until(6, "all stop", |fleet| (0..4).all(|index| fleet.held(index) == 0)).await;
    fleet.pass(60).await;
    assert!((0..4).all(|index| fleet.held(index) == 0));
    fleet.heal();
    fleet.until(10, "all work again", |fleet| fleet.each_has_one_holder()).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_heals_at_any_moment_never_makes_two_holders() {
    for seconds in [3, 5, 6, 8, 12] {
        let fleet = Fleet::of(3).await;
        fleet.cut(&[0], &[1, 2]);
        fleet.pass(seconds).await;
        fleet.heal();
        fleet.until(10, "each key has one holder", |fleet| fleet.each_has_one_holder()).await;
        fleet.pass(5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_while_the_fleet_forms_never_makes_two_holders() {
    for step in [0, 3, 6, 12, 18] {
        let mut fleet = Fleet::new();
        let peers: Vec<_> = (1..=4).map(addr).collect();
        (0..4).for_each(|index| fleet.start(index, &peers, majority));
        fleet.until(15, "somebody holds", |fleet| fleet.components().iter().any(|component| !component.keys().is_empty())).await;
        tokio::time::sleep(Duration::from_millis(step * 100)).await;
        fleet.cut(&[0, 1], &[2, 3]);
        fleet.pass(15).await;
        fleet.heal();
        fleet.until(20, "each key has one holder", |fleet| fleet.each_has_one_holder()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_link_changes_nothing() {
    let fleet = Fleet::of(3).await;
    fleet.cut(&[0], &[1]);
    for _ in 0..60 {
        fleet.pass(1).await;
        assert!(fleet.each_has_one_holder());
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_do_not_shrink_the_electorate() {
    let mut fleet = Fleet::of(5).await;
    for index in [4, 3] {
        fleet.crash(index);
        let took = fleet.until(12, "the others take over", |fleet| fleet.each_has_one_holder()).await;
        assert!(took < Duration::from_secs(5), "the process is gone for certain: {took:?}");
        fleet.pass(20).await;
    }
    assert_eq!(fleet.node(0).metric(ELECTORS), Some(5.0));
    fleet.crash(2);
    fleet.until(6, "two of five stop", |fleet| fleet.held(0) + fleet.held(1) == 0).await;
    fleet.pass(60).await;
    assert_eq!(fleet.held(0) + fleet.held(1), 0);
    // One that comes back makes the majority again.
    fleet.start(2, &[addr(1), addr(2)], majority);
    fleet.pass(60).await;
    assert!(!fleet.works(0), "it may have sworn to the two that are gone: by itself it makes no majority");
    fleet.start(3, &[addr(1), addr(2)], majority);
    fleet.start(4, &[addr(1), addr(2)], majority);
    fleet.until(12, "all are there again", |fleet| fleet.each_has_one_holder()).await;
}

#[tokio::test(start_paused = true)]
async fn planned_leaves_shrink_it_down_to_one_without_a_rest() {
    let mut fleet = Fleet::of(5).await;
    for index in [4, 0, 3, 1] {
        fleet.leave(index).await;
        fleet.until(1, "each key has one holder", |fleet| fleet.each_has_one_holder()).await;
        for _ in 0..10 {
            fleet.pass(1).await;
            assert!(fleet.each_has_one_holder(), "after {index}");
        }
    }
    assert_eq!(fleet.node(2).metric(ELECTORS), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn three_grow_to_six_and_shrink_again_all_at_once() {
    let mut fleet = Fleet::of(3).await;
    for index in 3..6 {
        fleet.start(index, &[addr(1)], majority);
    }
    fleet.until(5, "six share", |fleet| fleet.each_has_one_holder() && (0..6).all(|index| fleet.held(index) > 0)).await;
    fleet.until(20, "six are electors", |fleet| (0..6).all(|index| fleet.node(index).metric(ELECTORS) == Some(6.0))).await;
    let leavers: Vec<_> = [0, 2, 4, 5].map(|index| fleet.nodes[index].take().unwrap()).into();
    let mut leaving = tokio::task::JoinSet::new();
    for (node, component) in leavers {
        leaving.spawn(async move {
            let report = node.cluster.leave(Duration::from_secs(20)).await;
            node.crash();
            (report, component)
        });
    }
    let start = Instant::now();
    while let Some(left) = leaving.join_next().await {
        assert!(left.unwrap().0.drained);
    }
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    for _ in 0..20 {
        fleet.until(1, "two hold all", |fleet| fleet.each_has_one_holder()).await;
        fleet.pass(1).await;
    }
    assert_eq!(fleet.node(1).metric(ELECTORS), Some(2.0));
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_rests_nothing() {
    let mut fleet = Fleet::of(3).await;
    for index in [0, 1, 2, 0] {
        fleet.leave(index).await;
        fleet.until(1, "the others hold all", |fleet| fleet.each_has_one_holder()).await;
        let peers: Vec<_> = (1..=3).map(addr).collect();
        fleet.start(index, &peers, majority);
        fleet.until(5, "it works again", |fleet| fleet.held(index) > 0 && fleet.each_has_one_holder()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_policy_is_rolled_out_node_by_node_and_back() {
    let mut fleet = Fleet::new();
    let peers: Vec<_> = (1..=3).map(addr).collect();
    (0..3).for_each(|index| fleet.start(index, &peers, |_| {}));
    fleet.until(10, "each key has one holder", |fleet| fleet.each_has_one_holder()).await;
    for index in 0..3 {
        assert!(fleet.nodes.iter().flatten().all(|(node, _)| node.metric(ELECTORS).unwrap_or(0.0) == 0.0), "`both` is in force");
        fleet.leave(index).await;
        fleet.start(index, &peers, majority);
        fleet.until(5, "it works", |fleet| fleet.held(index) > 0 && fleet.each_has_one_holder()).await;
        let mixed = if index == 2 { 0.0 } else { 1.0 };
        fleet.until(2, "it sees who has which", |fleet| fleet.node(index).metric("collector_cluster_policy_mixed") == Some(mixed)).await;
    }
    fleet.until(5, "`majority` is in force", |fleet| (0..3).all(|index| fleet.node(index).metric(ELECTORS) == Some(3.0))).await;
    fleet.cut(&[0], &[1, 2]);
    fleet.until(6, "it stops", |fleet| fleet.held(0) == 0).await;
    fleet.heal();
    fleet.until(10, "all work again", |fleet| fleet.each_has_one_holder()).await;
    fleet.pass(10).await;
    fleet.leave(0).await;
    fleet.start(0, &peers, |_| {});
    fleet.until(5, "it works", |fleet| fleet.held(0) > 0 && fleet.each_has_one_holder()).await;
    fleet.cut(&[0], &[1, 2]);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(fleet.held(0), 40, "`both` again");
}

#[tokio::test(start_paused = true)]
async fn electors_that_are_gone_for_long_are_given_up() {
    let change = |config: &mut Config| {
        majority(config);
        config.forget_after = Duration::from_secs(900);
    };
    let mut fleet = Fleet::of_with(3, change).await;
    fleet.crash(2);
    tokio::time::sleep(Duration::from_secs(850)).await;
    assert_eq!(fleet.node(0).metric(ELECTORS), Some(3.0));
    fleet.until(80, "two are left", |fleet| (0..2).all(|index| fleet.node(index).metric(ELECTORS) == Some(2.0))).await;
    assert!(fleet.each_has_one_holder());
}

#[tokio::test(start_paused = true)]
async fn a_name_at_a_new_address_waits_until_the_silent_old_process_is_given_up() {
    let mut fleet = Fleet::of(3).await;
    fleet.cut(&[2], &[0, 1, 8]);
    let (old, component) = fleet.nodes[2].take().unwrap();
    let reborn = MemoryNode::start_with(&fleet.network, &fleet.clock, "c", addr(9), &[addr(1), addr(2)], majority);
    let fresh = Component::claim(&reborn.cluster, "scrape", &fleet.keys, 1_000);
    fleet.nodes.push(Some((reborn, fresh)));
    let slot = fleet.nodes.len() - 1;
    while fleet.held(slot) == 0 {
        let held = component.keys();
        assert!(fleet.components().iter().all(|other| other.keys().iter().all(|key| !held.contains(key))), "two holders");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(component.keys(), [0; 0]);
    fleet.until(10, "each key has one holder", |fleet| fleet.each_has_one_holder()).await;
    assert_eq!(participants(&fleet.node(0).cluster), ["a", "b", "c"]);
    old.crash();
}

#[tokio::test(start_paused = true)]
async fn a_minority_that_starts_again_founds_nothing() {
    let mut fleet = Fleet::of(5).await;
    fleet.cut(&[0, 1], &[2, 3, 4]);
    fleet.pass(15).await;
    let peers: Vec<_> = (1..=5).map(addr).collect();
    for index in [0, 1] {
        fleet.crash(index);
        fleet.start(index, &peers, majority);
    }
    fleet.pass(180).await;
    assert_eq!(fleet.held(0) + fleet.held(1), 0);
    fleet.heal();
    fleet.until(10, "all work", |fleet| fleet.each_has_one_holder() && fleet.held(0) > 0 && fleet.held(1) > 0).await;
}
