//! Terminating nodes.

use super::rig::{Rig, keys_of};
use crate::ownership::{Action, MemberState, StopReason};

const NAMES: [&str; 3] = ["a", "b", "c"];
const LEAVING: [(&str, MemberState); 3] =
    [("a", MemberState::Terminating), ("b", MemberState::Participant), ("c", MemberState::Participant)];

fn fleet(keys: &[u64]) -> Rig {
    let mut rig = Rig::fleet(&NAMES);
    for name in NAMES {
        rig.keys(name, keys.iter().copied());
    }
    rig.pass(1_000);
    rig
}

#[test]
fn a_leaving_node_keeps_its_keys_until_they_are_taken_and_then_reports() {
    let keys = keys_of("a", &NAMES, 10);
    let mut rig = fleet(&keys);
    rig.view_of("a", &LEAVING);
    rig.pass(1_000);
    assert!(keys.iter().all(|key| rig.holders(*key) == ["a"]), "nobody else knows yet");
    assert!(!rig.did("a", &Action::Drained));
    rig.view_of("b", &LEAVING);
    rig.view_of("c", &LEAVING);
    rig.pass(1_000);
    assert!(keys.iter().all(|key| rig.holders(*key) != ["a"] && rig.holders(*key).len() == 1));
    assert!(rig.stops("a").iter().all(|reason| matches!(reason, StopReason::Handover { .. })));
    assert!(rig.did("a", &Action::Drained));
    rig.pass(5_000);
    assert_eq!(rig.log.iter().filter(|(_, action)| *action == Action::Drained).count(), 1);
}

#[test]
fn a_leaving_node_grants_to_whoever_asks() {
    let keys = keys_of("a", &NAMES, 10);
    let mut rig = fleet(&keys);
    rig.view_of("a", &LEAVING);
    // b believes that c is gone, a does not.
    rig.view_of("b", &LEAVING[..2]);
    assert!(keys.iter().all(|key| rig.holders(*key) == ["b"]));
}

#[test]
fn a_single_node_leaves_at_once() {
    let mut rig = Rig::fleet(&["a"]);
    rig.keys("a", [1, 2]);
    rig.view_of("a", &LEAVING[..1]);
    assert!(rig.did("a", &Action::Drained));
}

#[test]
fn a_leaving_node_does_not_wait_for_keys_that_nobody_else_knows() {
    let key = keys_of("b", &NAMES, 1)[0];
    let mut rig = Rig::fleet(&NAMES);
    rig.keys("a", [key]);
    rig.pass(1_000);
    assert_eq!(rig.holders(key), ["a"]);
    for name in NAMES {
        rig.view_of(name, &LEAVING);
    }
    rig.pass(4_800);
    assert!(!rig.did("a", &Action::Drained), "it gives others time to discover it");
    rig.pass(400);
    assert!(rig.did("a", &Action::Drained));
}

#[test]
fn a_leaving_node_that_sees_viewers_only_gives_them_time_to_take_part() {
    let mut rig = Rig::new(&["a", "b"]);
    rig.keys("a", [1]);
    rig.keys("b", [1]);
    rig.view("a", &["a"]);
    rig.view_of("a", &[("a", MemberState::Terminating), ("b", MemberState::Viewer)]);
    rig.pass(2_000);
    assert!(!rig.did("a", &Action::Drained));
    rig.view_of("b", &LEAVING[..2]);
    assert_eq!(rig.holders(1), ["b"], "its want is granted although a's view still calls it a viewer");
    assert!(rig.did("a", &Action::Drained));
}

#[test]
fn a_leaving_node_waits_for_what_it_asked_for_and_hands_it_on() {
    let mut rig = Rig::new(&NAMES);
    let key = keys_of("a", &NAMES, 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.view("b", &["b"]);
    rig.slow.insert("b".into());
    rig.view("b", &["a", "b"]);
    rig.view("a", &["a", "b"]);
    rig.view_of("a", &LEAVING[..2]);
    assert!(!rig.did("a", &Action::Drained), "b is about to grant");
    let stopped = rig.stopped("b", key);
    rig.input("b", |machine, now| machine.stopped(now, super::rig::DOMAIN, vec![stopped]));
    assert_eq!(rig.starts("a").len(), 1, "it takes what comes");
    rig.pass(2_000);
    assert_eq!(rig.holders(key), ["b"], "and hands it on");
    assert!(rig.did("a", &Action::Drained));
}

#[test]
fn a_node_that_has_reported_takes_nothing_any_more() {
    let key = keys_of("a", &["a", "b"], 1)[0];
    let mut rig = Rig::fleet(&["a", "b"]);
    rig.keys("a", [key]);
    rig.view_of("b", &LEAVING[..2]);
    rig.view_of("a", &LEAVING[..2]);
    rig.keys("b", [key]);
    rig.pass(3_000);
    assert!(rig.did("a", &Action::Drained));
    assert_eq!(rig.holders(key), ["b"]);
}
