//! Fleets of quorums that talk without delay, with links that can be cut one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Census, HOLD_MS, LEASE_MS, Members, Name, Peer, Quorum, SILENCE_MS, Standing};

/// Milliseconds between two looks of a node.
const STEP_MS: u64 = 100;

struct Node {
    quorum: Quorum,
    generation: u64,
    heard_ms: BTreeMap<Name, u64>,
    leaving: bool,
    agreed: BTreeSet<(Name, u64)>,
}

struct Fleet {
    now_ms: u64,
    nodes: BTreeMap<Name, Node>,
    /// One-way links that carry nothing.
    cut: BTreeSet<(Name, Name)>,
    /// What crashed processes are known to be.
    forgotten: BTreeSet<Name>,
}

fn name(text: &str) -> Name {
    Name::from(text)
}

impl Fleet {
    /// Members that have founded an electorate together.
    fn of(names: &[&str]) -> Self {
        let mut fleet = Self { now_ms: 10_000, nodes: BTreeMap::new(), cut: BTreeSet::new(), forgotten: BTreeSet::new() };
        names.iter().for_each(|name| fleet.start(name));
        let members: Members = fleet.nodes.iter().map(|(name, node)| (name.clone(), node.generation)).collect();
        let wall_ms = fleet.now_ms;
        fleet.node(names[0]).quorum.found(wall_ms, members);
        fleet.pass(2_000);
        fleet
    }

    fn start(&mut self, who: &str) {
        let generation = self.now_ms + 1;
        let quorum = Quorum::new(name(who), generation, self.now_ms);
        self.nodes.insert(name(who), Node { quorum, generation, heard_ms: BTreeMap::new(), leaving: false, agreed: BTreeSet::new() });
    }

    fn node(&mut self, who: &str) -> &mut Node {
        self.nodes.get_mut(who).unwrap()
    }

    fn crash(&mut self, who: &str) {
        self.nodes.remove(who);
    }

    fn cut(&mut self, sides: &[&[&str]]) {
        for (index, side) in sides.iter().enumerate() {
            for other in sides.iter().enumerate().filter(|(other, _)| *other != index).flat_map(|(_, other)| *other) {
                self.cut.extend(side.iter().map(|one| (name(one), name(other))));
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += STEP_MS;
            let names: Vec<Name> = self.nodes.keys().cloned().collect();
            names.iter().for_each(|name| self.look(name));
        }
    }

    fn look(&mut self, who: &Name) {
        let now_ms = self.now_ms;
        let lost = self.lost(who);
        let peers: Vec<Peer> = self.peers(who);
        let census = self.census(who, &lost);
        let node = self.nodes.get_mut(who).unwrap();
        node.quorum.govern(now_ms, &census);
        node.agreed = node.quorum.agreed(now_ms, &lost);
        let sends = node.quorum.report(now_ms, &peers, &lost);
        let from = Peer { name: who.clone(), generation: node.generation };
        for (to, standing) in sends {
            if !self.cut.contains(&(who.clone(), to.clone())) {
                self.deliver(&from, &to, standing);
            }
        }
    }

    fn deliver(&mut self, from: &Peer, to: &Name, standing: Standing) {
        let now_ms = self.now_ms;
        let Some(node) = self.nodes.get_mut(to) else { return };
        node.heard_ms.insert(from.name.clone(), now_ms);
        node.quorum.receive(now_ms, from, standing, false);
    }

    fn peers(&self, who: &Name) -> Vec<Peer> {
        let known = |name: &Name| self.nodes[who].heard_ms.contains_key(name) || !self.cut.contains(&(name.clone(), who.clone()));
        let others = self.nodes.iter().filter(|(name, _)| *name != who && known(name));
        others.map(|(name, node)| Peer { name: name.clone(), generation: node.generation }).collect()
    }

    /// Whom a node has not heard for so long, crashed ones included.
    fn lost(&self, who: &Name) -> Vec<(Name, u64)> {
        let node = &self.nodes[who];
        let silent = node.heard_ms.iter().filter(|(_, at)| self.now_ms - **at >= SILENCE_MS);
        silent.map(|(name, _)| (name.clone(), self.nodes.get(name).map_or(0, |node| node.generation))).collect()
    }

    fn census(&self, who: &Name, lost: &[(Name, u64)]) -> Census {
        let gone = |name: &Name| lost.iter().any(|(lost, _)| lost == name);
        let met = |name: &Name| name == who || self.nodes[who].heard_ms.contains_key(name);
        let live = self.nodes.iter().filter(|(name, node)| !gone(name) && met(name) && !node.leaving);
        Census {
            present: live.map(|(name, node)| (name.clone(), node.generation)).collect(),
            leaving: self.nodes.iter().filter(|(_, node)| node.leaving).map(|(name, _)| name.clone()).collect(),
            forgotten: self.forgotten.clone(),
        }
    }

    /// Who may work.
    fn working(&self) -> Vec<&str> {
        self.nodes.iter().filter(|(_, node)| node.quorum.lease_ms(self.now_ms) > self.now_ms).map(|(name, _)| &**name).collect()
    }

    /// The electorate as a node knows it.
    fn electors(&self, who: &str) -> Vec<&str> {
        self.nodes[who].quorum.state().map(|state| state.members.keys().map(|name| &**name).collect()).unwrap_or_default()
    }

    fn agree(&self, who: &str, lost: &str) -> bool {
        self.nodes[who].agreed.iter().any(|(name, _)| **name == *lost)
    }
}

#[test]
fn founders_work_and_a_lone_node_is_its_own_majority() {
    assert_eq!(Fleet::of(&["a"]).working(), ["a"]);
    let fleet = Fleet::of(&["a", "b", "c"]);
    assert_eq!(fleet.working(), ["a", "b", "c"]);
    assert_eq!(fleet.electors("c"), ["a", "b", "c"]);
}

#[test]
fn the_minority_stops_before_the_majority_agrees_on_its_loss() {
    let mut fleet = Fleet::of(&["a", "b", "c", "d", "e"]);
    fleet.cut(&[&["a", "b"], &["c", "d", "e"]]);
    let mut stopped = None;
    while !fleet.agree("c", "a") {
        fleet.pass(STEP_MS);
        if fleet.working() == ["c", "d", "e"] {
            stopped = stopped.or(Some(fleet.now_ms));
        } else {
            assert!(stopped.is_none());
        }
    }
    assert!(fleet.now_ms - stopped.unwrap() >= 1_000, "with a margin");
    fleet.pass(1_000);
    assert!(fleet.agree("c", "b") && !fleet.agree("a", "c"), "the minority agrees on nothing");
    fleet.cut.clear();
    fleet.pass(1_500);
    assert_eq!(fleet.working(), ["a", "b", "c", "d", "e"]);
    assert!(!fleet.agree("c", "a"));
}

#[test]
fn of_two_halves_none_works() {
    let mut fleet = Fleet::of(&["a", "b", "c", "d"]);
    fleet.cut(&[&["a", "b"], &["c", "d"]]);
    fleet.pass(LEASE_MS + 1_000);
    assert!(fleet.working().is_empty());
}

#[test]
fn a_node_that_hears_all_and_is_heard_by_none_stops() {
    let mut fleet = Fleet::of(&["a", "b", "c"]);
    fleet.cut.extend([(name("a"), name("b")), (name("a"), name("c"))]);
    fleet.pass(LEASE_MS + 1_000);
    assert_eq!(fleet.working(), ["b", "c"]);
}

#[test]
fn one_bad_link_makes_nobody_lost_and_stops_nobody() {
    let mut fleet = Fleet::of(&["a", "b", "c"]);
    fleet.cut(&[&["a"], &["b"]]);
    fleet.pass(30_000);
    assert_eq!(fleet.working(), ["a", "b", "c"]);
    assert!(!fleet.agree("b", "a"), "c hears a");
}

#[test]
fn crashes_do_not_shrink_the_electorate_until_they_are_forgotten() {
    let mut fleet = Fleet::of(&["a", "b", "c", "d", "e"]);
    fleet.crash("e");
    fleet.pass(60_000);
    fleet.crash("d");
    fleet.pass(60_000);
    assert_eq!(fleet.electors("a"), ["a", "b", "c", "d", "e"]);
    assert_eq!(fleet.working(), ["a", "b", "c"]);
    fleet.forgotten.insert(name("e"));
    fleet.pass(10_000);
    assert_eq!(fleet.electors("a"), ["a", "b", "c", "d"]);
    fleet.crash("c");
    fleet.pass(60_000);
    assert!(fleet.working().is_empty(), "two of four");
}

#[test]
fn planned_leaves_shrink_it_down_to_one() {
    let mut fleet = Fleet::of(&["a", "b", "c", "d"]);
    for leaver in ["a", "c"] {
        fleet.node(leaver).leaving = true;
    }
    fleet.pass(4_000);
    assert_eq!(fleet.electors("b"), ["b", "d"], "in one change");
    fleet.crash("a");
    fleet.crash("c");
    fleet.pass(30_000);
    assert_eq!(fleet.working(), ["b", "d"]);
    fleet.node("d").leaving = true;
    fleet.pass(5_000);
    fleet.crash("d");
    fleet.pass(30_000);
    assert_eq!(fleet.working(), ["b"]);
}

#[test]
fn newcomers_work_at_once_and_are_electors_soon() {
    let mut fleet = Fleet::of(&["a", "b", "c"]);
    for newcomer in ["d", "e", "f", "g", "h", "i"] {
        fleet.start(newcomer);
    }
    fleet.pass(1_000);
    assert_eq!(fleet.working().len(), 9);
    for _ in 0..20 {
        fleet.pass(500);
        assert_eq!(fleet.working().len(), 9, "no change stops anybody");
    }
    assert_eq!(fleet.electors("i").len(), 9);
}

#[test]
fn numbers_do_not_make_a_minority_a_majority() {
    let mut fleet = Fleet::of(&["a", "b", "c"]);
    fleet.cut(&[&["a", "d", "e", "f"], &["b", "c"]]);
    for newcomer in ["d", "e", "f"] {
        fleet.start(newcomer);
    }
    fleet.pass(60_000);
    assert_eq!(fleet.working(), ["b", "c"]);
    fleet.cut.clear();
    fleet.pass(10_000);
    assert_eq!(fleet.electors("a").len(), 6);
}

#[test]
fn newcomers_that_never_knew_the_lost_do_not_bring_it_back() {
    let mut fleet = Fleet::of(&["a", "b", "c"]);
    fleet.cut(&[&["c"], &["a", "b", "d", "e", "f"]]);
    fleet.pass(8_000);
    assert!(fleet.agree("a", "c"));
    for newcomer in ["d", "e", "f"] {
        fleet.start(newcomer);
    }
    for _ in 0..150 {
        fleet.pass(STEP_MS);
        assert!(fleet.agree("a", "c"));
    }
    assert_eq!(fleet.electors("a").len(), 6);
}

#[test]
fn who_was_away_during_a_change_learns_of_it_before_it_counts() {
    let mut fleet = Fleet::of(&["a", "b", "c"]);
    fleet.cut(&[&["a"], &["b", "c", "d", "e", "f"]]);
    for newcomer in ["d", "e", "f"] {
        fleet.start(newcomer);
    }
    fleet.pass(20_000);
    assert_eq!(
        fleet.electors("b"),
        ["b", "c", "d", "e", "f"].into_iter().chain(["a"]).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
    // Now a meets one of the old majority: two of three by what it knows, two of six by what the other knows.
    fleet.cut.clear();
    fleet.cut(&[&["a", "b"], &["c", "d", "e", "f"]]);
    fleet.pass(10_000);
    assert_eq!(fleet.working(), ["c", "d", "e", "f"]);
}

#[test]
fn an_elector_that_crashed_counts_again_once_it_has_heard_enough_others() {
    let mut fleet = Fleet::of(&["a", "b", "c", "d", "e"]);
    fleet.crash("c");
    fleet.cut(&[&["a", "b"], &["c", "d", "e"]]);
    fleet.start("c");
    fleet.pass(20_000);
    assert!(fleet.working().is_empty(), "c may have sworn to a and b: with d and e alone it makes no majority");
    fleet.cut.clear();
    fleet.pass(2_000);
    assert_eq!(fleet.working().len(), 5);
    fleet.cut(&[&["a", "b"], &["c", "d", "e"]]);
    fleet.pass(LEASE_MS + 1_000);
    assert_eq!(fleet.working(), ["c", "d", "e"]);
}

#[test]
fn two_nodes_recover_from_a_crash_of_one() {
    let mut fleet = Fleet::of(&["a", "b"]);
    fleet.crash("b");
    fleet.pass(LEASE_MS + 1_000);
    assert!(fleet.working().is_empty());
    fleet.start("b");
    fleet.pass(2_000);
    assert_eq!(fleet.working(), ["a", "b"]);
}

#[test]
fn a_majority_that_lost_its_memory_counts_once_all_are_there() {
    let mut fleet = Fleet::of(&["a", "b", "c"]);
    for crashed in ["b", "c"] {
        fleet.crash(crashed);
    }
    fleet.start("b");
    fleet.pass(10_000);
    assert!(fleet.working().is_empty());
    fleet.start("c");
    fleet.pass(2_000);
    assert_eq!(fleet.working(), ["a", "b", "c"]);
}

#[test]
fn of_two_foundings_the_older_counts() {
    let mut fleet = Fleet::of(&["a", "b", "c"]);
    fleet.cut(&[&["a", "b", "c"], &["x", "y"]]);
    for stranger in ["x", "y"] {
        fleet.start(stranger);
    }
    let members = fleet.nodes.iter().filter(|(name, _)| ["x", "y"].contains(&&***name)).map(|(name, node)| (name.clone(), node.generation));
    let (members, wall_ms) = (members.collect(), fleet.now_ms);
    fleet.node("x").quorum.found(wall_ms, members);
    fleet.pass(3_000);
    assert_eq!(fleet.working().len(), 5, "two fleets");
    fleet.cut.clear();
    fleet.pass(5_000);
    assert_eq!(fleet.electors("x"), ["a", "b", "c", "x", "y"]);
}

#[test]
fn an_open_decision_of_a_proposer_that_died_is_taken_up() {
    let mut fleet = Fleet::of(&["a", "b", "c", "d", "e"]);
    fleet.start("f");
    // Until a has proposed, and others have accepted, what it does not live to see.
    while fleet.nodes["b"].quorum.state().unwrap().accepted.is_none() && fleet.electors("b").len() == 5 {
        fleet.pass(STEP_MS);
    }
    fleet.crash("a");
    fleet.pass(HOLD_MS);
    assert_eq!(fleet.electors("e"), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(fleet.working(), ["b", "c", "d", "e", "f"]);
}

#[test]
fn what_an_old_message_says_does_not_count() {
    let mut fleet = Fleet::of(&["a", "b"]);
    let number = fleet.nodes["b"].quorum.heard("a");
    assert!(fleet.nodes["a"].quorum.is_fresh(fleet.now_ms, number));
    fleet.pass(2_100);
    assert!(!fleet.nodes["a"].quorum.is_fresh(fleet.now_ms, number));
    assert!(!fleet.nodes["a"].quorum.is_fresh(fleet.now_ms, 0), "who has heard nothing proves nothing");
}
