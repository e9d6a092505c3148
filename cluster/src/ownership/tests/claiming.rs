//! Claiming keys: who may, whom to ask, when to start.

use super::rig::{INTERVAL_MS, Rig, clock, envelope, keys_of, view};
use crate::ownership::{Answer, Envelope, KeySpec, MemberState, Message, Name, Ownership, Phase, Pointer, StartReason, StopReason, View};

#[test]
fn nothing_is_claimed_before_the_view_is_complete_the_fleet_large_enough_and_oneself_a_participant() {
    let mut rig = Rig::new(&["a"]);
    rig.keys("a", [1, 2]);
    assert!(rig.starts("a").is_empty(), "no view");
    let full = view(&[("a", MemberState::Participant)]);
    rig.input("a", |machine, now| machine.set_view(now, View { ready: false, ..full.clone() }));
    assert!(rig.starts("a").is_empty(), "a fleet that is too small");
    rig.input("a", |machine, now| machine.set_view(now, View { synced: false, ..full.clone() }));
    assert!(rig.starts("a").is_empty(), "an incomplete view");
    rig.view_of("a", &[("a", MemberState::Viewer)]);
    assert!(rig.starts("a").is_empty(), "a viewer");
    rig.view("a", &["a"]);
    assert_eq!(rig.starts("a").len(), 2);
}

#[test]
fn a_fleet_that_shrinks_below_its_minimum_goes_on() {
    let mut rig = Rig::fleet(&["a"]);
    rig.keys("a", [1]);
    let small = View { ready: false, ..view(&[("a", MemberState::Participant)]) };
    rig.input("a", |machine, now| machine.set_view(now, small));
    rig.keys("a", [1, 2]);
    assert_eq!((rig.holders(1), rig.holders(2)), (vec!["a".into()], vec!["a".into()]));
    assert!(rig.stops("a").is_empty());
}

#[test]
fn a_free_key_starts_with_the_next_slot() {
    let mut rig = Rig::fleet(&["a"]);
    rig.keys("a", [1]);
    let start = rig.last_start("a");
    assert_eq!(start.first_slot, clock(1).slot_at(rig.now("a").wall_ms) + 1);
    assert_eq!(start.reason, StartReason::Free { left: None });
}

#[test]
fn a_newcomer_takes_its_keys_over_with_state_and_the_slot_after_the_last() {
    let mut rig = Rig::new(&["a", "b"]);
    let keys = keys_of("b", &["a", "b"], 3);
    rig.keys("a", keys.clone());
    rig.keys("b", keys.clone());
    rig.view("a", &["a"]);
    rig.pass(20_000);
    rig.view("a", &["a", "b"]);
    rig.view("b", &["a", "b"]);
    for key in keys {
        assert_eq!(rig.holders(key), ["b"]);
    }
    for start in rig.starts("b") {
        assert_eq!(start.first_slot, clock(start.key).slot_at(rig.now("b").wall_ms) + 1, "a has scraped the current slot");
        assert_eq!(start.reason, StartReason::Handover { from: Name::from("a") });
        assert_eq!(start.state.as_deref(), Some(&b"layout"[..]));
    }
    assert_eq!(rig.machines["b"].counters().moves_in, 3);
    assert_eq!(rig.machines["a"].counters().moves_out, 3);
    assert_eq!(rig.machines["b"].counters().handover_latency[0], 3);
}

#[test]
fn a_holder_whose_view_differs_keeps_the_key_until_it_agrees() {
    let mut rig = Rig::new(&["a", "b"]);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.view("a", &["a"]);
    rig.view("b", &["a", "b"]);
    rig.pass(1_000);
    assert_eq!(rig.holders(key), ["a"]);
    assert!(rig.machines["b"].counters().busy_received >= 2, "it asks again");
    rig.view("a", &["a", "b"]);
    rig.pass(1_700);
    assert_eq!(rig.holders(key), ["b"]);
}

#[test]
fn whoever_a_pointer_names_is_asked_before_a_free_key_is_started() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.deaf.insert("a".into(), Vec::new());
    rig.keys("b", [key]);
    let (_, Message::Want { claim, .. }) = rig.sent("b").pop().unwrap() else { panic!() };
    let pointer = Pointer { name: Name::from("stranger"), incarnation: 7, taken: true, keys: vec![key] };
    let answer = Answer { claim, free: vec![key], pointers: vec![pointer], ..Answer::default() };
    rig.input("b", |machine, now| machine.receive(now, "a", envelope(Message::Answer(answer))));
    assert!(rig.starts("b").is_empty());
    let (asked, Message::Want { keys, .. }) = rig.sent("b").pop().unwrap() else { panic!() };
    assert_eq!((&*asked, keys), ("stranger", vec![key]));
    rig.pass(3_900);
    assert!(rig.starts("b").is_empty(), "it may hold the key");
    rig.pass(200);
    rig.hear("a");
    rig.pass(1_000);
    assert_eq!(rig.starts("b").len(), 1, "nobody by that name was ever heard of");
}

#[test]
fn a_key_that_went_to_a_node_believed_dead_is_not_started_while_somebody_believes_it_alive() {
    let names = ["a", "b", "c"];
    let mut rig = Rig::fleet(&names);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.deaf.insert("a".into(), Vec::new());
    rig.view("b", &["a", "b"]);
    rig.keys("b", [key]);
    let answer = |claim, pointers| envelope(Message::Answer(Answer { claim, free: vec![key], pointers, ..Answer::default() }));
    let pointer = |incarnation| vec![Pointer { name: Name::from("c"), incarnation, taken: true, keys: vec![key] }];
    let (_, Message::Want { claim, .. }) = rig.sent("b").pop().unwrap() else { panic!() };
    let free = answer(claim, pointer(1));
    rig.input("b", |machine, now| machine.receive(now, "a", free.clone()));
    let asked = rig.sent("b").len();
    rig.pass(300);
    assert!(rig.starts("b").is_empty());
    assert!(rig.sent("b").len() > asked, "a is asked again");
    let before_its_end = answer(claim, pointer(0));
    rig.input("b", |machine, now| machine.receive(now, "a", before_its_end));
    assert_eq!(rig.starts("b").len(), 1, "an earlier life is over for certain");
}

#[test]
fn consents_do_not_outlive_a_peer_that_had_refused() {
    let names = ["a", "b", "c"];
    let mut rig = Rig::new(&names);
    let ring = crate::ring::Ring::new(["a", "c"]);
    let key = keys_of("b", &names, 50).into_iter().find(|key| ring.owner(*key) == Some("c")).unwrap();
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.view("a", &["a"]);
    rig.view("b", &names);
    assert_eq!(rig.holder("b", key).phase, Phase::Wanting, "c consents, a does not");
    rig.keys("c", [key]);
    rig.view("a", &["a", "c"]);
    rig.view("c", &["a", "c"]);
    assert_eq!(rig.holders(key), ["c"]);
    rig.machines.remove("a");
    rig.view("b", &["b", "c"]);
    assert_eq!(rig.holders(key), ["c"], "a has handed the key on before it went");
}

#[test]
fn a_live_peer_that_never_answers_holds_a_claim_up_for_ten_seconds() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.deaf.insert("a".into(), Vec::new());
    rig.keys("b", [key]);
    rig.pass(9_900);
    assert!(rig.starts("b").is_empty());
    rig.pass(200);
    assert_eq!(rig.starts("b").len(), 1);
    assert_eq!(rig.machines["b"].counters().claims_forced, 1);
}

#[test]
fn a_dead_peers_keys_are_claimed_and_named_after_it() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("a", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    assert_eq!(rig.holders(key), ["a"]);
    rig.machines.remove("a");
    rig.input("b", |machine, now| machine.peer_gone(now, "a"));
    let start = rig.last_start("b");
    assert_eq!(start.reason, StartReason::Free { left: Some(Name::from("a")) });
    rig.view("b", &["a", "b"]);
    assert_eq!(rig.holders(key), ["b"], "a view that lags behind does not bring it back");
}

#[test]
fn messages_of_and_for_other_lives_are_dropped_and_counted() {
    let mut rig = Rig::fleet(&["a", "b"]);
    rig.keys("a", [1]);
    let want = Message::Want { claim: 1, keys: vec![1] };
    for (from_incarnation, to_incarnation) in [(0, 1), (1, 0), (1, 2)] {
        let envelope = Envelope { from_incarnation, to_incarnation, ..envelope(want.clone()) };
        let sent = rig.sent("a").len();
        rig.input("a", |machine, now| machine.receive(now, "b", envelope));
        assert_eq!(rig.sent("a").len(), sent);
    }
    let own = envelope(want);
    rig.input("a", |machine, now| machine.receive(now, "a", own));
    assert_eq!(rig.machines["a"].counters().stale_messages, 4);
}

#[test]
fn two_holders_that_meet_become_one() {
    let mut rig = Rig::new(&["a", "b"]);
    let key = keys_of("a", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.view("a", &["a"]);
    rig.view("b", &["b"]);
    assert_eq!(rig.holders(key), ["a", "b"]);
    rig.view("a", &["a", "b"]);
    rig.view("b", &["a", "b"]);
    assert_eq!(rig.holders(key), ["a"]);
    assert_eq!(rig.stops("b"), [StopReason::Duplicate { holder: Name::from("a") }]);
    assert!(rig.stops("a").is_empty());
}

#[test]
fn two_holders_hand_over_to_a_third_that_should_hold() {
    let mut rig = Rig::new(&["a", "b", "c"]);
    let key = keys_of("c", &["a", "b", "c"], 1)[0];
    for name in ["a", "b", "c"] {
        rig.keys(name, [key]);
    }
    rig.view("a", &["a"]);
    rig.view("b", &["b"]);
    for name in ["a", "b", "c"] {
        rig.view(name, &["a", "b", "c"]);
    }
    rig.pass(1_000);
    assert_eq!(rig.holders(key), ["c"]);
    assert_eq!(rig.starts("c").len(), 1, "the second token ends here");
}

#[test]
fn domains_do_not_touch_each_other() {
    let mut rig = Rig::fleet(&["a"]);
    rig.keys("a", [1]);
    let specs = [KeySpec { key: 1, interval_ms: INTERVAL_MS }];
    rig.input("a", |machine, now| machine.set_keys(now, "other", &specs));
    assert_eq!(rig.starts("a").len(), 2);
    rig.input("a", |machine: &mut Ownership, now| machine.remove_domain(now, "other"));
    assert_eq!(rig.stops("a"), [StopReason::Undiscovered]);
    assert_eq!(rig.holders(1), ["a"]);
}
