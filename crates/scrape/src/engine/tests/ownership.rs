//! Targets that come from and go to other nodes.

use super::*;
use crate::Handover;

/// A job whose targets have to be assigned.
fn assigned(act: impl FnMut(&Request<Incoming>) -> Act + std::marker::Send + 'static) -> Bench {
    let bench = Bench::new(Config { ownership: Ownership::Assigned, ..config() }, act);
    bench.engine.set_targets(vec![target("t")]);
    bench
}

/// The slot that begins so many seconds after the epoch (and a quarter of an interval).
fn slot(seconds: i64) -> u64 {
    ((EPOCH + seconds * 1000) / 10_000) as u64
}

#[tokio::test(start_paused = true)]
async fn nothing_is_scraped_that_is_not_assigned() {
    let bench = assigned(|_| answer("a 1\n"));
    bench.until(50.0).await;
    assert_eq!(bench.take(), Vec::<String>::new());
    assert!(bench.slots.asked.lock().is_empty());
    let overview = bench.engine.overview();
    assert_eq!((overview.targets, overview.owned), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_assigned_target_starts_at_its_first_slot() {
    let bench = assigned(|_| answer("a 1\n"));
    bench.until(1.0).await;
    bench.engine.own(key("t"), slot(20), None);
    bench.until(30.0).await;
    assert_eq!(bench.take(), ["a @22.5 1", "up @22.5 1"]);
    assert_eq!(bench.parts.metrics.owned.get(), 1);
    assert!(bench.status().owned);
}

#[tokio::test(start_paused = true)]
async fn a_first_slot_that_has_begun_is_scraped_at_once_and_late() {
    let bench = assigned(|_| answer("a 1\n"));
    bench.until(7.0).await;
    bench.engine.own(key("t"), slot(-30), None);
    bench.until(8.0).await;
    assert_eq!(bench.take(), ["a @7 1", "up @7 1"]);
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a @12.5 1", "up @12.5 1"]);
    assert_eq!(bench.parts.metrics.skipped.get(), 0, "the slots before were not ours");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_discovered_yet_starts_when_it_is() {
    let bench = assigned(|_| answer("a 1\n"));
    bench.engine.own(key("u"), slot(0), None);
    bench.until(20.0).await;
    assert_eq!(bench.take(), Vec::<String>::new());
    bench.engine.set_targets(vec![target("t"), target("u")]);
    bench.until(21.0).await;
    assert_eq!(bench.take(), ["a @20 1", "up @20 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_moves_away_is_left_without_a_word() {
    let bench = assigned(|_| answer("a 1\n"));
    bench.engine.own(key("t"), slot(0), None);
    bench.until(5.0).await;
    assert_eq!(bench.take().len(), 2);
    bench.engine.disown(key("t"));
    bench.until(60.0).await;
    assert_eq!(bench.take(), Vec::<String>::new());
    assert_eq!(bench.sink.flushes.load(Ordering::Relaxed), 1);
    let metrics = &bench.parts.metrics;
    assert_eq!((metrics.owned.get(), metrics.moved.get(), bench.status().owned), (0, 1, false));
}

#[tokio::test(start_paused = true)]
async fn no_slot_is_scraped_twice_when_a_target_comes_right_back() {
    let bench = assigned(|_| answer("a 1\n"));
    bench.engine.own(key("t"), slot(0), None);
    bench.until(5.0).await;
    bench.engine.disown(key("t"));
    bench.until(6.0).await;
    bench.engine.own(key("t"), slot(0), None);
    bench.until(15.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1", "a @12.5 1", "up @12.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn everything_can_be_taken_away_at_once() {
    let bench = assigned(|_| answer("a 1\n"));
    bench.engine.set_targets(vec![target("t"), target("u")]);
    bench.engine.own(key("t"), slot(0), None);
    bench.engine.own(key("u"), slot(0), None);
    bench.until(5.0).await;
    bench.engine.disown_all();
    bench.until(20.0).await;
    assert_eq!(bench.take().len(), 4);
    assert_eq!(bench.engine.overview().owned, 0);
}

#[tokio::test(start_paused = true)]
async fn a_released_target_is_continued_elsewhere_with_its_markers() {
    let before = assigned(|_| answer("a 1\nb 2\n"));
    before.engine.own(key("t"), slot(0), None);
    before.until(5.0).await;
    let released = before.engine.release(key("t"), 1 << 20).await;
    assert_eq!(released.last_slot, Some(slot(0)));
    before.until(40.0).await;
    assert_eq!(before.take().len(), 3);

    let after = assigned(|_| answer("b 2\nc 3\n"));
    after.engine.own(key("t"), released.last_slot.unwrap() + 1, released.state);
    after.until(13.0).await;
    assert_eq!(after.take(), ["b @12.5 2", "c @12.5 3", "a @12.5 stale", "up @12.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_release_waits_for_the_scrape_that_is_under_way() {
    let bench = assigned(|_| Act::After(Duration::from_secs(4), "a 1\n".to_owned()));
    bench.engine.own(key("t"), slot(0), None);
    bench.until(3.0).await;
    let released = bench.engine.release(key("t"), 1 << 20).await;
    assert_eq!(bench.clock.now_ms() - EPOCH, 6500);
    assert_eq!(released.last_slot, Some(slot(0)));
    let [state] = &Handover::decode(&released.state.unwrap()).unwrap()[..] else { panic!("one target") };
    assert_eq!((state.live.len(), state.last_timestamp), (1, EPOCH + 2500));
    assert_eq!(bench.take().len(), 2, "what it brought is handed on");
    assert_eq!(bench.sink.flushes.load(Ordering::Relaxed), 2, "before and after");
}

#[tokio::test(start_paused = true)]
async fn a_release_of_what_is_not_held_is_answered() {
    let bench = assigned(|_| answer("a 1\n"));
    assert_eq!(bench.engine.release(key("t"), 100).await, Released::default());
    assert_eq!(bench.engine.release(12_345, 100).await, Released::default());
}

#[tokio::test(start_paused = true)]
async fn a_state_that_can_t_be_read_or_is_too_large_is_done_without() {
    let bench = assigned(|_| answer("a 1\n"));
    bench.engine.own(key("t"), slot(0), Some(Bytes::from_static(b"garbage")));
    bench.until(5.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1"]);
    let released = bench.engine.release(key("t"), 3).await;
    assert_eq!((released.last_slot, released.state), (Some(slot(0)), None));
}

#[tokio::test(start_paused = true)]
async fn times_never_go_back_behind_those_of_the_node_before() {
    let known = Target::new(&target("t"), &config()).unwrap();
    let left = Handover { id: known.id, labels: known.labels, live: Arc::default(), last_timestamp: EPOCH + 12_500 };
    let state = Handover::encode(&[left], 1000);
    let bench = assigned(|_| answer("a 1\n"));
    bench.engine.own(key("t"), slot(0), state);
    bench.until(25.0).await;
    assert_eq!(bench.take(), ["a @22.5 1", "up @22.5 1"]);
}

/// A target that was scraped at 2.5 s and has left the set at 5 s; what it brought has been looked at.
async fn left_the_set() -> Bench {
    let bench = assigned(|_| answer("a 1\n"));
    bench.engine.own(key("t"), slot(0), None);
    bench.until(5.0).await;
    bench.take();
    bench.engine.set_targets(vec![]);
    bench
}

#[tokio::test(start_paused = true)]
async fn a_target_that_leaves_the_set_ends_when_nobody_else_has_taken_it() {
    let bench = left_the_set().await;
    bench.until(20.0).await;
    assert_eq!(bench.take(), Vec::<String>::new(), "another node may still know it");
    bench.engine.retire(key("t"));
    bench.until(60.0).await;
    assert_eq!(bench.take(), ["a @12.5 stale", "up @12.5 stale"], "of the slot in which it was not scraped");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_leaves_the_set_is_continued_by_a_node_that_still_knows_it() {
    let before = assigned(|_| answer("a 1\nb 2\n"));
    before.engine.own(key("t"), slot(0), None);
    before.until(5.0).await;
    before.take();
    before.engine.set_targets(vec![]);
    before.until(6.0).await;
    let released = before.engine.release(key("t"), 1 << 20).await;
    assert_eq!(released.last_slot, Some(slot(0)));
    before.engine.disown(key("t"));
    before.until(80.0).await;
    assert_eq!(before.take(), Vec::<String>::new());

    let after = assigned(|_| answer("b 2\n"));
    after.engine.own(key("t"), slot(10), released.state);
    after.until(13.0).await;
    assert_eq!(after.take(), ["b @12.5 2", "a @12.5 stale", "up @12.5 1"]);
}

/// What the targets of `t` leave after a scrape at 2.5 s.
async fn left() -> Option<Bytes> {
    let before = assigned(|_| answer("a 1\n"));
    before.engine.own(key("t"), slot(0), None);
    before.until(5.0).await;
    before.engine.release(key("t"), 1 << 20).await.state
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_for_a_target_that_is_no_longer_known_ends_or_goes_to_another_node_or_on_here() {
    let state = left().await;
    let (ends, goes, stays) = (assigned(|_| answer("a 1\n")), assigned(|_| answer("a 1\n")), assigned(|_| answer("b 1\n")));
    for bench in [&ends, &goes, &stays] {
        bench.engine.set_targets(vec![target("u")]);
        bench.engine.own(key("t"), slot(10), state.clone());
    }
    assert_eq!(goes.engine.release(key("t"), 1 << 20).await.state, state);

    ends.engine.retire(key("t"));
    stays.engine.set_targets(vec![target("t")]);
    stays.until(23.0).await;
    assert_eq!(stays.take(), ["b @12.5 1", "a @12.5 stale", "up @12.5 1", "b @22.5 1", "up @22.5 1"]);
    let ended = ends.take();
    assert!(ended.len() == 2 && ended.iter().all(|line| line.ends_with("stale")), "{ended:?}");
    assert_eq!(goes.take(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_goes_and_comes_back_within_an_interval_keeps_its_slots() {
    let bench = assigned(|_| answer("a 1\n"));
    bench.engine.own(key("t"), slot(0), None);
    bench.until(5.0).await;
    bench.engine.set_targets(vec![]);
    bench.until(6.0).await;
    let state = bench.engine.release(key("t"), 1 << 20).await.state;
    bench.engine.set_targets(vec![target("t")]);
    bench.engine.own(key("t"), slot(10), state);
    bench.until(33.0).await;
    let ups: Vec<String> = bench.take().into_iter().filter(|line| line.starts_with("up")).collect();
    assert_eq!(ups, ["up @2.5 1", "up @12.5 1", "up @22.5 1", "up @32.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_before_its_end_and_belongs_to_another_node_goes_on_there() {
    let state = left().await;
    let bench = left_the_set().await;
    bench.until(6.0).await;
    bench.engine.retire(key("t"));
    bench.until(7.0).await;
    bench.engine.set_targets(vec![target("t")]);
    bench.until(40.0).await;
    assert_eq!(bench.take(), Vec::<String>::new());
    assert!(bench.slots.asked.lock().iter().all(|(_, asked)| *asked <= slot(0)), "nothing is due that is not held");
    bench.engine.own(key("t"), slot(40), state);
    bench.until(43.0).await;
    assert_eq!(bench.take(), ["a @42.5 1", "up @42.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_leaves_the_set_and_may_be_held_elsewhere_is_left_without_a_word() {
    let bench = left_the_set().await;
    bench.until(6.0).await;
    bench.engine.disown(key("t"));
    bench.until(80.0).await;
    assert_eq!(bench.take(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_target_of_which_nothing_is_said_ends_after_a_minute() {
    let bench = left_the_set().await;
    bench.until(66.0).await;
    assert_eq!(bench.take(), ["a @12.5 stale", "up @12.5 stale"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_over_ends_or_goes_on_also_if_it_was_not_scraped_here() {
    let before = assigned(|_| answer("a 1\n"));
    before.engine.own(key("t"), slot(0), None);
    before.until(5.0).await;
    let state = before.engine.release(key("t"), 1 << 20).await.state;

    let between = assigned(|_| answer("a 1\n"));
    between.engine.own(key("t"), slot(10), state);
    between.until(1.0).await;
    between.engine.set_targets(vec![]);
    let state = between.engine.release(key("t"), 1 << 20).await.state;

    let last = assigned(|_| answer("a 1\n"));
    last.engine.own(key("t"), slot(10), state);
    last.until(1.0).await;
    last.engine.set_targets(vec![]);
    last.until(2.0).await;
    last.engine.retire(key("t"));
    last.until(20.0).await;
    assert_eq!(last.take(), ["a @2.501 stale", "up @2.501 stale"], "after the last sample");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_before_anybody_took_it_goes_on() {
    let bench = left_the_set().await;
    bench.until(6.0).await;
    bench.engine.set_targets(vec![target("t")]);
    bench.engine.own(key("t"), slot(10), None);
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a @12.5 1", "up @12.5 1"]);
    bench.until(80.0).await;
    assert!(bench.take().iter().all(|line| !line.ends_with("stale")));
}
