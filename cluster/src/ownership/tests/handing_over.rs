//! Claiming, granting, taking.

use super::rig::{DOMAIN, INTERVAL_MS, Rig, clock, keys_of, view};
use crate::ownership::{
    Answer, Envelope, Grant, KeySpec, MemberState, Message, Name, Ownership, Phase, Pointer, StartReason, StopReason, View,
};

fn envelope(message: Message) -> Envelope {
    Envelope { from_incarnation: 1, to_incarnation: 1, domain: Name::from(DOMAIN), message }
}

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

/// A rig in which `b` is to take `key` from `a`, whose driver has stopped it and not answered yet.
fn releasing() -> (Rig, u64) {
    let mut rig = Rig::new(&["a", "b"]);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.view("a", &["a"]);
    rig.pass(10_000);
    rig.slow.insert("a".into());
    rig.view("a", &["a", "b"]);
    rig.view("b", &["a", "b"]);
    assert_eq!(rig.holder("a", key).phase, Phase::Releasing);
    (rig, key)
}

#[test]
fn a_grant_that_comes_within_the_next_slot_starts_it_at_once() {
    let (mut rig, key) = releasing();
    let stopped = rig.stopped("a", key);
    let last = stopped.last_slot.unwrap();
    rig.pass(INTERVAL_MS);
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    assert_eq!(rig.last_start("b").first_slot, last + 1);
    assert_eq!(clock(key).slot_at(rig.now("b").wall_ms), last + 1, "which has begun");
}

#[test]
fn a_grant_that_comes_later_starts_with_the_current_slot() {
    let (mut rig, key) = releasing();
    let stopped = rig.stopped("a", key);
    rig.pass(3 * INTERVAL_MS);
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    assert_eq!(rig.last_start("b").first_slot, clock(key).slot_at(rig.now("b").wall_ms));
}

#[test]
fn a_holder_that_never_scraped_hands_its_first_slot_over() {
    let (mut rig, key) = releasing();
    let first = rig.starts("a")[0].first_slot;
    let mut stopped = rig.stopped("a", key);
    stopped.last_slot = None;
    rig.at = 0;
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    assert_eq!(rig.last_start("b").first_slot, first.max(clock(key).slot_at(rig.now("b").wall_ms)));
}

#[test]
fn a_grant_is_repeated_until_it_is_acknowledged_and_taken_once() {
    let (mut rig, key) = releasing();
    rig.deaf.insert("b".into(), Vec::new());
    let stopped = rig.stopped("a", key);
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    rig.pass(1_700);
    assert_eq!(rig.machines["a"].counters().grants_resent, 2, "after half a second and one more");
    rig.hear("b");
    assert_eq!(rig.starts("b").len(), 1);
    assert_eq!(rig.holders(key), ["b"]);
    assert_eq!(rig.holder("a", key).phase, Phase::Idle);
}

#[test]
fn a_grant_that_comes_again_after_the_key_was_handed_on_starts_nothing() {
    let (mut rig, key) = releasing();
    let stopped = rig.stopped("a", key);
    rig.deaf.insert("a".into(), Vec::new());
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    assert_eq!(rig.holders(key), ["b"]);
    rig.view_of("b", &[("a", MemberState::Participant), ("b", MemberState::Viewer)]);
    let want = envelope(Message::Want { claim: 77, keys: vec![key] });
    rig.input("b", |machine, now| machine.receive(now, "a", want));
    let taken = envelope(Message::Ack { taken: vec![(key, 77)], declined: Vec::new() });
    rig.input("b", |machine, now| machine.receive(now, "a", taken));
    assert!(rig.holders(key).is_empty(), "b has handed it on");
    rig.pass(1_000);
    assert!(rig.machines["a"].counters().grants_resent > 0, "a does not know yet that b ever had it");
    assert_eq!(rig.starts("b").len(), 1);
    rig.hear("a");
    assert_eq!(rig.machines["a"].counters().moves_out, 1);
}

#[test]
fn a_grant_is_repeated_at_once_on_a_new_stream() {
    let (mut rig, key) = releasing();
    rig.deaf.insert("b".into(), Vec::new());
    let stopped = rig.stopped("a", key);
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    rig.deaf.remove("b");
    rig.input("a", |machine, now| machine.peer_connected(now, "b"));
    assert_eq!(rig.holders(key), ["b"]);
}

#[test]
fn a_token_on_its_way_to_a_peer_that_goes_is_claimed_by_whom_the_ring_proposes() {
    let (mut rig, key) = releasing();
    rig.deaf.insert("b".into(), Vec::new());
    let stopped = rig.stopped("a", key);
    let last = stopped.last_slot.unwrap();
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    rig.view("a", &["a"]);
    assert_eq!(rig.holders(key), ["a"]);
    let start = rig.last_start("a");
    assert_eq!((start.first_slot, start.state), (last + 1, None));
}

#[test]
fn a_declined_key_is_taken_back_with_its_state() {
    let (mut rig, key) = releasing();
    rig.keys("b", []);
    let stopped = rig.stopped("a", key);
    let last = stopped.last_slot.unwrap();
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    assert_eq!(rig.holders(key), ["a"]);
    let start = rig.last_start("a");
    assert_eq!(start.first_slot, last + 1, "no slot is lost");
    assert_eq!(start.reason, StartReason::Returned { by: Name::from("b") });
    assert!(start.state.is_some());
    assert_eq!(rig.machines["a"].counters().grants_declined, 1);
}

#[test]
fn a_key_that_is_known_is_taken_even_if_it_is_not_wanted_any_more() {
    let (mut rig, key) = releasing();
    rig.input("b", |machine, now| machine.set_view(now, view(&[("a", MemberState::Participant), ("b", MemberState::Viewer)])));
    assert_eq!(rig.holder("b", key).phase, Phase::Idle);
    let stopped = rig.stopped("a", key);
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    assert!(rig.starts("b").len() == 1, "somebody must hold it");
}

#[test]
fn what_was_never_asked_is_neither_answered_nor_granted() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.deaf.insert("a".into(), Vec::new());
    rig.keys("b", [key]);
    let grant = Message::Grant(vec![Grant { key, claim: u64::MAX, last_ms: 0, state: None }]);
    let answer = Message::Answer(Answer { claim: u64::MAX, free: vec![key], ..Answer::default() });
    for message in [grant, answer] {
        rig.input("b", |machine, now| machine.receive(now, "a", envelope(message)));
    }
    assert!(rig.starts("b").is_empty());
    rig.hear("a");
    rig.pass(1_000);
    assert_eq!(rig.holders(key), ["b"], "nor is a true grant or consent later lost for it");
}

#[test]
fn a_grant_from_a_clock_gone_wrong_is_not_waited_for() {
    let mut rig = Rig::fleet(&["a", "b"]);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.deaf.insert("a".into(), Vec::new());
    rig.keys("b", [key]);
    let (_, Message::Want { claim, .. }) = rig.sent("b").pop().unwrap() else { panic!() };
    let last_ms = rig.now("b").wall_ms + 86_400_000;
    let grant = Message::Grant(vec![Grant { key, claim, last_ms, state: None }]);
    rig.input("b", |machine, now| machine.receive(now, "a", envelope(grant)));
    let wait = clock(key).instant(rig.last_start("b").first_slot) - rig.now("b").wall_ms;
    assert!(wait <= 5_000 + INTERVAL_MS, "the first slot is {wait} ms ahead");
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
fn a_changed_interval_gives_the_key_a_new_schedule_and_no_new_holder() {
    let mut rig = Rig::fleet(&["a"]);
    rig.keys("a", [1]);
    let specs = [KeySpec { key: 1, interval_ms: 30_000 }];
    rig.input("a", |machine, now| machine.set_keys(now, DOMAIN, &specs));
    let start = rig.last_start("a");
    assert_eq!(start.reason, StartReason::Rescheduled);
    assert_eq!(start.first_slot, crate::slots::SlotClock::new("test", 1, 30_000).next_after(rig.now("a").wall_ms));
    assert!(rig.stops("a").is_empty());
    rig.input("a", |machine, now| machine.set_keys(now, DOMAIN, &specs));
    assert_eq!(rig.starts("a").len(), 2, "an equal set changes nothing");
}

#[test]
fn nodes_that_disagree_about_an_interval_still_agree_on_time() {
    let (mut rig, key) = releasing();
    let specs = [KeySpec { key, interval_ms: 3_000 }];
    rig.input("b", |machine, now| machine.set_keys(now, DOMAIN, &specs));
    let stopped = rig.stopped("a", key);
    let last_ms = clock(key).instant(stopped.last_slot.unwrap());
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    let own = crate::slots::SlotClock::new("test", key, 3_000);
    let first = rig.last_start("b").first_slot;
    assert!(own.instant(first) > last_ms);
    assert_eq!(first, own.slot_at(rig.now("b").wall_ms).max(own.slot_at(last_ms) + 1));
}

#[test]
fn the_snapshot_tells_who_holds_a_key_why_and_since_when() {
    let (mut rig, key) = releasing();
    let stopped = rig.stopped("a", key);
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![stopped]));
    let holder = rig.holder("b", key);
    assert_eq!((holder.phase, holder.proposed.as_deref()), (Phase::Held, Some("b")));
    assert_eq!(holder.since_ms, Some(rig.now("b").wall_ms));
    assert_eq!(holder.reason, Some(StartReason::Handover { from: Name::from("a") }));
    let moved = rig.holder("a", key).last_move.unwrap();
    assert_eq!((moved.arrived, moved.peer.as_deref(), moved.at_ms), (false, Some("b"), rig.now("a").wall_ms));
    let all: Vec<_> = rig.machines["b"].holders().map(|holder| (holder.domain.to_string(), holder.key)).collect();
    assert_eq!(all, [(DOMAIN.to_owned(), key)]);
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
