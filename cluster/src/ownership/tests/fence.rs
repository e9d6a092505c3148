//! A node that was late.

use super::rig::{Rig, keys_of, view};
use crate::ownership::{Action, MemberState, Ownership, Phase};

const NAMES: [&str; 2] = ["a", "b"];

/// Two nodes; `a` holds the key.
fn fleet() -> (Rig, u64) {
    let mut rig = Rig::fleet(&NAMES);
    let key = keys_of("a", &NAMES, 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.pass(1_000);
    assert_eq!(rig.holders(key), ["a"]);
    (rig, key)
}

#[test]
fn a_gap_below_the_bound_costs_nothing() {
    let (mut rig, key) = fleet();
    rig.at += 2_999;
    rig.input("a", Ownership::tick);
    assert_eq!(rig.holders(key), ["a"]);
    assert_eq!(rig.machines["a"].counters().fences, 0);
}

#[test]
fn a_late_node_stops_everything_and_waits_for_a_view_that_is_newer() {
    let (mut rig, key) = fleet();
    rig.at += 3_000;
    rig.view("a", &NAMES);
    assert!(rig.did("a", &Action::Fence { late_ms: 3_000 }));
    rig.pass(2_000);
    assert_eq!(rig.holder("a", key).phase, Phase::Idle, "the view that came with the fence is older than it");
    rig.view("a", &NAMES);
    assert_eq!(rig.holders(key), ["a"]);
    assert_eq!(rig.machines["a"].counters().fences, 1);
}

#[test]
fn any_input_notices_that_the_node_was_late() {
    for input in 0..6 {
        let (mut rig, key) = fleet();
        rig.at += 20_000;
        rig.input("a", |machine, now| match input {
            0 => machine.tick(now),
            1 => machine.set_keys(now, "other", &[]),
            2 => machine.peer_gone(now, "nobody"),
            3 => machine.peer_connected(now, "b"),
            4 => machine.stopped(now, "other", Vec::new()),
            _ => machine.set_view(now, view(&[("a", MemberState::Participant)])),
        });
        assert!(rig.did("a", &Action::Fence { late_ms: 20_000 }), "input {input}");
        assert_eq!(rig.holder("a", key).phase, Phase::Idle);
    }
}

#[test]
fn scrapes_may_begin_only_within_the_bound_after_the_last_input() {
    let (rig, _) = fleet();
    assert_eq!(rig.machines["a"].scrape_until_ms(), rig.now("a").mono_ms + 3_000);
}

#[test]
fn a_late_node_asks_anew_and_leaves_alone_what_was_taken_meanwhile() {
    let (mut rig, key) = fleet();
    rig.deaf.insert("a".into(), Vec::new());
    let late = rig.at + 20_000;
    while rig.at < late {
        rig.at += 100;
        rig.input("b", Ownership::tick);
        if rig.at + 14_000 > late {
            rig.view("b", &["b"]);
        }
    }
    rig.hear("a");
    rig.input("a", Ownership::tick);
    rig.view("a", &NAMES);
    assert_eq!(rig.holders(key), ["b"], "it took the key while a was silent");
    rig.view("b", &NAMES);
    rig.pass(2_000);
    assert_eq!(rig.holders(key), ["a"], "and hands it back");
}

#[test]
fn a_grant_for_a_claim_from_before_the_fence_is_declined() {
    let mut rig = Rig::new(&NAMES);
    let key = keys_of("b", &NAMES, 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.view("a", &["a"]);
    rig.slow.insert("a".into());
    rig.view("a", &NAMES);
    rig.view("b", &NAMES);
    rig.at += 3_000;
    rig.input("b", Ownership::tick);
    rig.input("a", Ownership::tick);
    assert_eq!(rig.machines["a"].counters().fences, 1, "so is a");
    let stopped = rig.stopped("a", key);
    rig.input("a", |machine, now| machine.stopped(now, super::rig::DOMAIN, vec![stopped]));
    assert!(rig.holders(key).is_empty(), "a's answer comes too late: the key was fenced off");
    assert!(rig.starts("b").is_empty());
}

#[test]
fn a_late_taker_declines_and_the_holder_goes_on() {
    let mut rig = Rig::new(&NAMES);
    let key = keys_of("b", &NAMES, 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.view("a", &["a"]);
    rig.slow.insert("a".into());
    rig.view("a", &NAMES);
    rig.view("b", &NAMES);
    for _ in 0..40 {
        rig.at += 100;
        rig.input("a", Ownership::tick);
    }
    rig.input("b", Ownership::tick);
    let stopped = rig.stopped("a", key);
    rig.input("a", |machine, now| machine.stopped(now, super::rig::DOMAIN, vec![stopped]));
    assert_eq!(rig.holders(key), ["a"]);
}
