//! Tests of claims: what the code beside it promises, case by case.

use std::time::Duration;

use prometheus::IntCounter;

use super::*;

fn clock() -> Clock {
    Clock::virtual_from(Duration::from_secs(1_700_000_000))
}

fn spec(key: u64) -> KeySpec {
    KeySpec { key, interval_ms: 1_000 }
}

fn hold(first_slot: u64) -> Hold {
    Hold::new(Fence::open(clock()), first_slot)
}

fn start_event(key: u64, reason: StartReason, state: Option<&'static [u8]>) -> StartEvent {
    StartEvent { key, first_slot: 1, hold: hold(1), reason, state: state.map(Bytes::from_static) }
}

fn free() -> StartReason {
    StartReason::Free { left: None }
}

fn handing_over(key: u64) -> (StopEvent, mpsc::UnboundedReceiver<Command>) {
    let (commands, receiver) = mpsc::unbounded_channel();
    let handover = Handover { domain: "d".into(), key, number: 1, commands, state: None };
    let reason = Stopping::Handover { to: "b".into() };
    (StopEvent { key, reason, handover: Some(handover) }, receiver)
}

fn handed_over(receiver: &mut mpsc::UnboundedReceiver<Command>) -> Option<Option<Bytes>> {
    match receiver.try_recv() {
        Ok(Command::Stopped { state, .. }) => Some(state),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_begins_once_in_order_and_not_before_the_first() {
    let hold = hold(10);
    assert!(!hold.begin(9));
    assert!(hold.begin(10));
    assert!(!hold.begin(10), "a slot begins once");
    assert!(hold.begin(12), "slots may be skipped");
    assert!(!hold.begin(11));
    assert_eq!(hold.close(), Some(12));
    assert!(!hold.begin(13), "no slot begins after the close that reported the last one");
    assert!(!hold.is_held());
}

#[tokio::test(start_paused = true)]
async fn the_scrapes_that_share_a_key_begin_its_slot_one_by_one_as_long_as_it_is_held() {
    let hold = hold(10);
    assert!(!hold.begin_shared(9));
    assert!(hold.begin_shared(10) && hold.begin_shared(10), "one slot, two scrapes");
    assert!(hold.begin_shared(11));
    assert!(!hold.begin_shared(10), "the key is further on");
    assert_eq!(hold.close(), Some(11));
    assert!(!hold.begin_shared(11), "nor that of the last slot: the next holder may have it");
}

#[tokio::test(start_paused = true)]
async fn no_slot_begins_behind_the_fence() {
    let clock = clock();
    let refused = IntCounter::new("refused", "refused").unwrap();
    let fence = Fence::new(clock, refused.clone());
    let hold = Hold::new(fence.clone(), 0);
    assert!(!hold.begin(1), "the fence is shut until the node moves it");
    fence.move_to(3_000);
    assert!(hold.begin(1));
    tokio::time::advance(Duration::from_millis(3_000)).await;
    assert!(!hold.begin(2), "this node was late: nobody else has to tell it");
    assert_eq!(refused.get(), 2);
    fence.move_to(6_000);
    assert!(hold.begin(2));
}

#[test]
fn begin_and_close_agree_on_the_last_slot_between_threads() {
    for _ in 0..200 {
        let hold = hold(0);
        let loop_side = hold.clone();
        let begun = std::thread::spawn(move || (0..50).fold(None, |last, slot| if loop_side.begin(slot) { Some(slot) } else { last }));
        let reported = hold.close();
        assert_eq!(begun.join().unwrap(), reported);
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_a_key_that_cancel_out_are_never_seen_and_its_state_goes_back() {
    let inbox = Inbox::default();
    inbox.start(start_event(1, free(), Some(b"state")));
    let (stop, mut commands) = handing_over(1);
    inbox.stop(stop);
    assert_eq!(handed_over(&mut commands), Some(Some(Bytes::from_static(b"state"))));
    inbox.start(start_event(2, free(), None));
    assert!(matches!(inbox.next().await, Some(ClaimEvent::Start(start)) if start.key == 2));
    inbox.close();
    assert!(inbox.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_comes_before_the_start_that_follows_it() {
    let inbox = Inbox::default();
    let (stop, _commands) = handing_over(1);
    inbox.stop(stop);
    inbox.start(start_event(1, free(), None));
    assert!(matches!(inbox.next().await, Some(ClaimEvent::Stop(_))));
    assert!(matches!(inbox.next().await, Some(ClaimEvent::Start(_))));
}

#[tokio::test(start_paused = true)]
async fn a_changed_schedule_of_an_unseen_start_keeps_its_reason_and_state() {
    let inbox = Inbox::default();
    let from = StartReason::Handover { from: "b".into() };
    inbox.start(start_event(1, from.clone(), Some(b"state")));
    inbox.start(start_event(1, StartReason::Rescheduled, None));
    match inbox.next().await {
        Some(ClaimEvent::Start(start)) => {
            assert_eq!((start.reason, start.state), (from, Some(Bytes::from_static(b"state"))));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_after_an_unseen_change_of_schedule_is_seen() {
    let inbox = Inbox::default();
    inbox.start(start_event(1, StartReason::Rescheduled, None));
    let (stop, mut commands) = handing_over(1);
    inbox.stop(stop);
    let Some(ClaimEvent::Stop(stop)) = inbox.next().await else { panic!("no stop") };
    assert!(handed_over(&mut commands).is_none(), "the next holder waits for the component");
    stop.handover.unwrap().with_state(Bytes::from_static(b"now"));
    assert_eq!(handed_over(&mut commands), Some(Some(Bytes::from_static(b"now"))));
}

#[tokio::test(start_paused = true)]
async fn a_handover_that_is_dropped_hands_over_the_key_alone() {
    let (stop, mut commands) = handing_over(1);
    drop(stop);
    assert_eq!(handed_over(&mut commands), Some(None));
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_takes_are_bounded_by_the_number_of_keys() {
    let inbox = Inbox::default();
    for _ in 0..1_000 {
        for key in 0..3 {
            inbox.start(start_event(key, free(), None));
            inbox.stop(StopEvent { key, reason: Stopping::Undiscovered, handover: None });
            inbox.stop(StopEvent { key, reason: Stopping::Undiscovered, handover: None });
            inbox.start(start_event(key, free(), None));
        }
    }
    let state = inbox.state.lock();
    assert_eq!((state.order.len(), state.starts.len(), state.stops.len()), (3, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn standalone_claims_hold_every_key_from_its_next_slot_on() {
    let mut claims = Claims::standalone_with("blue", clock());
    claims.set_keys(vec![spec(1), spec(2), spec(1)]);
    let now = claims.clock().now().wall_ms;
    for expected in [1, 2] {
        let Some(ClaimEvent::Start(start)) = claims.next_event().await else { panic!("no start") };
        let slots = claims.slots(spec(expected));
        assert_eq!((start.key, start.first_slot), (expected, slots.next_after(now)));
        assert!(start.hold.begin(start.first_slot));
    }
}

#[tokio::test(start_paused = true)]
async fn standalone_claims_stop_what_is_no_longer_there_and_reschedule_what_changed() {
    let mut claims = Claims::standalone_with("blue", clock());
    claims.set_keys(vec![spec(1), spec(2)]);
    let mut holds = Vec::new();
    for _ in 0..2 {
        let Some(ClaimEvent::Start(start)) = claims.next_event().await else { panic!("no start") };
        holds.push(start.hold);
    }
    claims.set_keys(vec![KeySpec { key: 2, interval_ms: 5_000 }]);
    assert!(holds.iter().all(|hold| !hold.is_held()), "both old holds are closed");
    let Some(ClaimEvent::Stop(stop)) = claims.next_event().await else { panic!("no stop") };
    assert_eq!((stop.key, stop.reason), (1, Stopping::Undiscovered));
    let Some(ClaimEvent::Start(start)) = claims.next_event().await else { panic!("no start") };
    assert_eq!((start.key, start.reason), (2, StartReason::Rescheduled));
    claims.set_keys(vec![KeySpec { key: 2, interval_ms: 5_000 }]);
    assert!(start.hold.is_held(), "the same keys again change nothing");
    drop(claims);
    assert!(!start.hold.is_held(), "without its claims a component begins nothing");
}
