//! Tokens on their way: stopping, granting, acknowledging, taking.

use super::rig::{DOMAIN, INTERVAL_MS, Rig, clock, envelope, keys_of, releasing, view};
use crate::ownership::{Answer, Grant, KeySpec, MemberState, Message, Name, Phase, StartReason};
use crate::slots::SlotClock;

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
fn a_changed_interval_gives_the_key_a_new_schedule_and_no_new_holder() {
    let mut rig = Rig::fleet(&["a"]);
    rig.keys("a", [1]);
    let specs = [KeySpec { key: 1, interval_ms: 30_000 }];
    rig.input("a", |machine, now| machine.set_keys(now, DOMAIN, &specs));
    let start = rig.last_start("a");
    assert_eq!(start.reason, StartReason::Rescheduled);
    assert_eq!(start.first_slot, SlotClock::new("test", 1, 30_000).next_after(rig.now("a").wall_ms));
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
    let own = SlotClock::new("test", key, 3_000);
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
fn what_was_declined_once_stays_declined_however_often_it_comes() {
    let (mut rig, key) = releasing();
    rig.keys("b", []);
    let stopped = vec![rig.stopped("a", key)];
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, stopped));
    assert_eq!(rig.holders(key), ["a"], "b does not know it any more");
    let sent = rig.sent("a");
    let grant = sent.iter().rev().find_map(|(_, message)| matches!(message, Message::Grant(_)).then(|| message.clone())).unwrap();
    rig.deaf.insert("a".into(), Vec::new());
    rig.keys("b", [key]);
    rig.input("b", |machine, now| machine.receive(now, "a", envelope(grant)));
    assert_eq!(rig.holders(key), ["a"], "a was told that it keeps it");
}
