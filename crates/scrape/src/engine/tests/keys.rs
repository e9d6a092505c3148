//! Keys that stand for several targets, and targets whose labels or keys change.

use super::*;
use crate::KeyLabels;

const SLOT: u64 = (EPOCH / 10_000) as u64;

/// The target `t` with another label.
fn variant(shard: &str) -> Labels {
    [("__address__", "t"), ("shard", shard)].into_iter().collect()
}

/// A job whose targets have to be assigned, with some variants of one target.
fn assigned(variants: &[&str], act: impl FnMut(&Request<Incoming>) -> Act + std::marker::Send + 'static) -> Bench {
    let bench = Bench::new(Config { ownership: Ownership::Assigned, ..config() }, act);
    let synced = bench.engine.set_targets(variants.iter().map(|shard| variant(shard)).collect());
    assert_eq!((synced.keys, synced.targets), (vec![(key("t"), 10_000)], variants.len()));
    bench
}

/// Sorted: the order of targets with the same instant is nobody's business.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[tokio::test(start_paused = true)]
async fn all_targets_of_a_key_are_scraped_by_its_holder_in_each_slot() {
    let bench = assigned(&["1", "2", "3"], |_| answer("a 1\n"));
    bench.engine.own(key("t"), SLOT, None);
    bench.until(3.0).await;
    let expected =
        ["a shard=1 @2.5 1", "a shard=2 @2.5 1", "a shard=3 @2.5 1", "up shard=1 @2.5 1", "up shard=2 @2.5 1", "up shard=3 @2.5 1"];
    assert_eq!(sorted(bench.take()), expected);
    assert_eq!(*bench.slots.asked.lock(), [(key("t"), SLOT); 3], "each asks for itself");
    assert_eq!((bench.engine.overview().owned, bench.parts.metrics.owned.get()), (3, 3));
    bench.until(13.0).await;
    assert_eq!(bench.take().len(), 6);
    bench.engine.disown(key("t"));
    bench.until(60.0).await;
    assert_eq!(bench.take(), Vec::<String>::new());
    assert_eq!((bench.engine.overview().owned, bench.parts.metrics.moved.get()), (0, 3));
    assert_eq!(bench.sink.flushes.load(Ordering::Relaxed), 1, "once for all");
}

#[tokio::test(start_paused = true)]
async fn all_targets_of_a_key_go_on_elsewhere_each_with_its_markers() {
    let own = |request: &Request<Incoming>| request.uri().path().to_owned();
    let mut turn = 0;
    let before = assigned(&["1", "2"], move |_| {
        turn += 1;
        answer(&format!("a 1\nb{turn} 2\n"))
    });
    before.engine.own(key("t"), SLOT, None);
    before.until(5.0).await;
    let had: Vec<String> = sorted(before.take()).into_iter().filter(|line| line.starts_with('b')).collect();
    let released = before.engine.release(key("t"), 1 << 20).await;
    assert_eq!(released.last_slot, Some(SLOT));
    before.until(40.0).await;
    assert_eq!(before.take(), Vec::<String>::new());

    let after = assigned(&["1", "2"], move |request| {
        assert_eq!(own(request), "/metrics");
        answer("a 1\n")
    });
    after.engine.own(key("t"), SLOT + 1, released.state);
    after.until(13.0).await;
    let ended = had.iter().map(|line| line.replace("@2.5 2", "@12.5 stale"));
    let expected = ["a shard=1 @12.5 1", "a shard=2 @12.5 1", "up shard=1 @12.5 1", "up shard=2 @12.5 1"].map(str::to_owned);
    assert_eq!(sorted(after.take()), sorted(expected.into_iter().chain(ended).collect()));
}

#[tokio::test(start_paused = true)]
async fn series_of_labels_that_the_next_node_does_not_know_are_ended_there() {
    let before = assigned(&["old", "same"], |_| answer("a 1\n"));
    before.engine.own(key("t"), SLOT, None);
    before.until(5.0).await;
    let released = before.engine.release(key("t"), 1 << 20).await;
    let after = assigned(&["new", "same"], |_| answer("a 2\n"));
    after.engine.own(key("t"), SLOT + 1, released.state);
    after.until(13.0).await;
    let expected = [
        "a shard=new @12.5 2",
        "a shard=old @12.5 stale",
        "a shard=same @12.5 2",
        "up shard=new @12.5 1",
        "up shard=old @12.5 stale",
        "up shard=same @12.5 1",
    ];
    assert_eq!(sorted(after.take()), expected);
    after.until(23.0).await;
    assert_eq!(after.take().len(), 4, "once");
}

#[tokio::test(start_paused = true)]
async fn a_release_waits_for_the_scrapes_of_all_targets() {
    let mut turn = 0;
    let bench = assigned(&["1", "2", "3"], move |_| {
        turn += 1;
        Act::After(Duration::from_secs(turn), "a 1\n".to_owned())
    });
    bench.engine.own(key("t"), SLOT, None);
    bench.until(3.7).await;
    let released = bench.engine.release(key("t"), 1 << 20).await;
    assert_eq!(bench.clock.now_ms() - EPOCH, 5500, "one was done, one took two seconds and one three");
    let left = crate::Handover::decode(&released.state.unwrap()).unwrap();
    assert_eq!(left.iter().map(|target| target.live.len()).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!((bench.take().len(), bench.engine.overview().owned), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_over_goes_on_if_it_is_handed_on_before_the_first_scrape() {
    let first = assigned(&["1"], |_| answer("a 1\n"));
    first.engine.own(key("t"), SLOT, None);
    first.until(5.0).await;
    let released = first.engine.release(key("t"), 1 << 20).await;
    let second = assigned(&["1"], |_| answer(""));
    second.engine.own(key("t"), SLOT + 9, released.state);
    second.until(1.0).await;
    let released = second.engine.release(key("t"), 1 << 20).await;
    let third = assigned(&["1"], |_| answer("b 1\n"));
    third.engine.own(key("t"), SLOT + 1, released.state);
    third.until(13.0).await;
    assert_eq!(third.take(), ["b shard=1 @12.5 1", "a shard=1 @12.5 stale", "up shard=1 @12.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn other_labels_of_a_held_key_replace_the_target_and_the_key_stays() {
    let bench = assigned(&["1"], |_| answer("a 1\n"));
    bench.engine.own(key("t"), SLOT, None);
    bench.until(5.0).await;
    bench.take();
    let synced = bench.engine.set_targets(vec![variant("2")]);
    assert_eq!(synced.keys, [(key("t"), 10_000)], "nothing new for the cluster");
    bench.until(12.0).await;
    assert_eq!(bench.take(), Vec::<String>::new(), "no slot is scraped under both names");
    bench.until(13.0).await;
    let expected = ["a shard=1 @12.5 stale", "a shard=2 @12.5 1", "up shard=1 @12.5 stale", "up shard=2 @12.5 1"];
    assert_eq!(sorted(bench.take()), expected);
    bench.until(23.0).await;
    assert_eq!(bench.take(), ["a shard=2 @22.5 1", "up shard=2 @22.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_to_a_held_key_begins_with_the_next_slot() {
    let bench = assigned(&["1"], |_| answer("a 1\n"));
    bench.engine.own(key("t"), SLOT, None);
    bench.until(5.0).await;
    assert_eq!(bench.take().len(), 2);
    bench.engine.set_targets(vec![variant("1"), variant("2")]);
    bench.until(12.0).await;
    assert_eq!(bench.take(), Vec::<String>::new());
    bench.until(13.0).await;
    assert_eq!(sorted(bench.take()), ["a shard=1 @12.5 1", "a shard=2 @12.5 1", "up shard=1 @12.5 1", "up shard=2 @12.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_was_given_away_while_it_was_scraped_ends_nothing_when_it_leaves_the_set() {
    let bench = assigned(&["1"], |_| Act::After(Duration::from_secs(4), "a 1\n".to_owned()));
    bench.engine.own(key("t"), SLOT, None);
    bench.until(3.0).await;
    let released = bench.engine.release(key("t"), 1 << 20);
    bench.until(3.5).await;
    bench.engine.set_targets(vec![]);
    assert!(released.await.state.is_some());
    bench.until(60.0).await;
    assert_eq!(bench.take(), ["a shard=1 @2.5 1", "up shard=1 @2.5 1"], "another node goes on with it");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_gets_another_key_and_keeps_its_labels_goes_on() {
    let bench = Bench::with_target("a 1\nb 2\n");
    bench.until(5.0).await;
    bench.take();
    let changed = Config { metrics_path: "/other".to_owned(), ..config() };
    let synced = bench.engine.reload(changed, None).unwrap();
    assert_ne!(synced.keys[0].0, key("t"));
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a @12.5 1", "b @12.5 2", "up @12.5 1"]);
    bench.until(80.0).await;
    assert!(bench.take().iter().all(|line| !line.ends_with("stale")), "the series are the same");
    assert!(bench.status().owned);
}

#[tokio::test(start_paused = true)]
async fn a_url_that_changes_where_it_does_not_count_changes_nothing_else() {
    let key_labels = KeyLabels { excluded: vec!["__param_sig".to_owned()], ..KeyLabels::default() };
    let bench = Bench::new(Config { ownership: Ownership::Assigned, key_labels, ..config() }, |request| {
        answer(&format!("a{{q=\"{}\"}} 1\n", request.uri().query().unwrap()))
    });
    let signed = |sig: &str| vec![[("__address__", "t"), ("__param_sig", sig)].into_iter().collect()];
    let [(key, _)] = bench.engine.set_targets(signed("1")).keys[..] else { panic!("one key") };
    bench.engine.own(key, SLOT, None);
    bench.until(5.0).await;
    assert_eq!(bench.take(), ["a q=sig=1 @2.5 1", "up @2.5 1"]);
    assert_eq!(bench.engine.set_targets(signed("2")).keys[0].0, key);
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a q=sig=2 @12.5 1", "a q=sig=1 @12.5 stale", "up @12.5 1"]);
}
