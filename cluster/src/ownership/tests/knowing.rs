//! Keys that not everybody has discovered.

use super::rig::{DOMAIN, Rig, clock, keys_of};
use crate::ownership::{Message, Phase, StartReason, StopReason};

const NAMES: [&str; 3] = ["a", "b", "c"];

#[test]
fn a_key_that_its_owner_does_not_know_is_held_by_exactly_one_of_those_that_do() {
    for key in keys_of("a", &NAMES, 20) {
        let mut rig = Rig::fleet(&NAMES);
        rig.keys("a", []);
        rig.keys("b", [key]);
        rig.keys("c", [key]);
        rig.pass(1_000);
        let holders = rig.holders(key);
        assert!(holders == ["b"] || holders == ["c"], "{holders:?}");
        let (b, c) = (rig.starts("b"), rig.starts("c"));
        assert!(b.len() == 1 && c.len() <= 1, "b, which knew it first, hands over to c or keeps it");
    }
}

#[test]
fn a_key_that_only_one_node_knows_is_held_there() {
    let mut rig = Rig::fleet(&NAMES);
    let key = keys_of("a", &NAMES, 1)[0];
    rig.keys("c", [key]);
    rig.pass(1_000);
    assert_eq!(rig.holders(key), ["c"]);
}

#[test]
fn an_owner_that_discovers_a_key_later_takes_it_over() {
    let mut rig = Rig::fleet(&NAMES);
    let key = keys_of("a", &NAMES, 1)[0];
    rig.keys("b", [key]);
    rig.keys("c", [key]);
    rig.pass(1_000);
    rig.keys("a", [key]);
    rig.pass(1_000);
    assert_eq!(rig.holders(key), ["a"]);
    assert!(rig.last_start("a").state.is_some(), "from its holder");
}

#[test]
fn an_owner_that_has_not_discovered_a_key_never_takes_it_away() {
    let mut rig = Rig::new(&["a", "b"]);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.view("a", &["a"]);
    rig.view("a", &["a", "b"]);
    rig.view("b", &["a", "b"]);
    rig.pass(120_000);
    assert_eq!(rig.holders(key), ["a"]);
    assert!(rig.stops("a").is_empty());
}

#[test]
fn a_key_that_its_holder_loses_sight_of_goes_with_its_series_to_one_that_knows_it() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("a", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.keys("a", []);
    assert_eq!(rig.stops("a"), [StopReason::Handover { to: "b".into() }]);
    assert_eq!(rig.holders(key), ["b"]);
    assert!(rig.last_start("b").state.is_some());
}

#[test]
fn a_key_that_nobody_knows_any_more_ends_once_and_where_it_was_held_last() {
    let mut rig = Rig::fleet(&NAMES);
    let key = keys_of("a", &NAMES, 1)[0];
    for name in NAMES {
        rig.keys(name, [key]);
    }
    rig.pass(1_000);
    for name in NAMES {
        rig.keys(name, []);
        rig.pass(1_000);
    }
    assert!(rig.holders(key).is_empty());
    assert!(NAMES.iter().all(|name| !rig.stops(name).contains(&StopReason::Undiscovered)), "c waits for somebody who still knows it");
    rig.pass(5_000);
    let ends: Vec<usize> =
        NAMES.iter().map(|name| rig.stops(name).iter().filter(|stop| **stop == StopReason::Undiscovered).count()).collect();
    assert_eq!(ends, [0, 0, 1]);
}

#[test]
fn a_key_that_goes_to_a_node_which_loses_sight_of_it_meanwhile_still_ends_once() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("a", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.slow.insert("a".into());
    rig.keys("a", []);
    rig.keys("b", []);
    let stopped = vec![rig.stopped("a", key)];
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, stopped));
    assert_eq!(rig.last_start("a").reason, StartReason::Returned { by: "b".into() });
    assert!(rig.last_start("a").state.is_some());
    assert_eq!(rig.holder("a", key).phase, Phase::Left);
    rig.pass(6_000);
    assert_eq!(rig.stops("a"), [StopReason::Handover { to: "b".into() }, StopReason::Undiscovered]);
    assert!(rig.holders(key).is_empty() && rig.stops("b").is_empty());
}

#[test]
fn a_node_alone_ends_what_it_no_longer_knows_at_once() {
    let mut rig = Rig::fleet(&["a"]);
    rig.keys("a", [1]);
    rig.keys("a", []);
    assert_eq!(rig.stops("a"), [StopReason::Undiscovered]);
}

#[test]
fn a_key_that_comes_back_before_anybody_took_it_is_scraped_on() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("a", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("a", []);
    rig.pass(2_000);
    assert_eq!(rig.holder("a", key).phase, Phase::Left);
    rig.keys("a", [key]);
    assert_eq!(rig.last_start("a").reason, StartReason::Rescheduled);
    rig.pass(10_000);
    assert_eq!((rig.holders(key), rig.stops("a")), (vec!["a".to_owned()], Vec::new()));
}

#[test]
fn a_key_whose_component_has_gone_ends_at_once() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("a", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.input("a", |machine, now| machine.remove_domain(now, DOMAIN));
    assert_eq!(rig.stops("a"), [StopReason::Undiscovered]);
    assert_eq!(rig.holders(key), ["b"]);
}

#[test]
fn who_takes_a_key_that_was_let_go_begins_after_its_last_slot_even_with_a_slow_clock() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("a", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.skew.insert("a".into(), 1_000);
    // By a's clock a slot has just begun, by b's it has not.
    let next = clock(key).instant(clock(key).next_after(rig.now("b").wall_ms));
    rig.pass((next - rig.now("b").wall_ms) / 100 * 100 - 500);
    let scraped = clock(key).slot_at(rig.now("a").wall_ms);
    assert!(clock(key).slot_at(rig.now("b").wall_ms) < scraped);
    rig.keys("a", []);
    assert_eq!(rig.last_start("b").first_slot, scraped + 1);
}

#[test]
fn a_question_that_is_lost_is_asked_again() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("a", &["a", "b"], 1)[0];
    rig.deaf.insert("a".into(), Vec::new());
    rig.keys("b", [key]);
    rig.pass(2_500);
    rig.deaf.remove("a");
    assert!(rig.holders(key).is_empty());
    rig.pass(1_000);
    assert_eq!(rig.holders(key), ["b"]);
}

#[test]
fn what_a_peer_forgot_without_being_heard_comes_out_at_the_next_audit() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("a", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.deaf.insert("b".into(), Vec::new());
    rig.keys("a", []);
    rig.deaf.remove("b");
    rig.pass(59_000);
    assert!(rig.holders(key).is_empty());
    rig.pass(3_000);
    assert_eq!(rig.holders(key), ["b"]);
}

#[test]
fn a_fleet_at_rest_is_silent_between_audits() {
    let mut rig = Rig::fleet(&NAMES);
    let keys: Vec<u64> = (0..200).collect();
    for name in NAMES {
        rig.keys(name, keys.clone());
    }
    rig.pass(5_000);
    let sent = rig.log.len();
    rig.pass(50_000);
    assert_eq!(rig.log.len(), sent);
    rig.pass(10_000);
    assert!(rig.sent("a").iter().any(|(_, message)| matches!(message, Message::Query { .. })));
}

#[test]
fn an_owner_behind_a_cut_link_does_not_keep_a_key_that_a_third_can_reach() {
    let mut rig = Rig::fleet(&NAMES);
    let key = keys_of("a", &NAMES, 1)[0];
    for name in NAMES {
        rig.keys(name, [key]);
    }
    rig.pass(1_000);
    assert_eq!(rig.holders(key), ["a"]);
    rig.input("b", |machine, now| machine.peer_gone(now, "a"));
    rig.input("c", |machine, now| machine.peer_gone(now, "a"));
    rig.pass(1_000);
    assert_eq!(rig.holders(key).len(), 2, "both sides scrape");
    rig.input("a", |machine, now| machine.peer_connected(now, "b"));
    rig.keys("a", [key, 1_000_000]);
    rig.pass(65_000);
    assert_eq!(rig.holders(key), ["a"], "a was heard again");
}
