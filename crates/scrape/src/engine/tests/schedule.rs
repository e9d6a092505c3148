//! When targets are scraped.

use super::*;

#[tokio::test(start_paused = true)]
async fn targets_are_scraped_at_the_nominal_instants_of_their_slots() {
    let bench = Bench::with_target("a 1\n");
    bench.until(31.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1", "a @12.5 1", "up @12.5 1", "a @22.5 1", "up @22.5 1"]);
    let slots: Vec<u64> = bench.slots.asked.lock().iter().map(|(_, slot)| *slot).collect();
    let first = (EPOCH / 10_000) as u64;
    assert_eq!(slots, [first, first + 1, first + 2]);
}

#[tokio::test(start_paused = true)]
async fn a_target_may_have_its_own_interval() {
    let bench = Bench::new(config(), |_| answer("a 1\n"));
    let labels: Labels = [("__address__", "t"), ("__scrape_interval__", "4s"), ("__scrape_timeout__", "1s")].into_iter().collect();
    assert_eq!(bench.engine.set_targets(vec![labels]).keys[0].1, 4000);
    bench.until(10.0).await;
    assert_eq!(bench.take(), ["a @1 1", "up @1 1", "a @5 1", "up @5 1", "a @9 1", "up @9 1"]);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_keep_the_instants_of_their_slots() {
    let bench = Bench::new(config(), |_| Act::After(Duration::from_secs(3), "a 1\n".to_owned()));
    bench.engine.set_targets(vec![target("t")]);
    bench.until(5.0).await;
    assert_eq!(bench.take(), Vec::<String>::new());
    bench.until(20.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1", "a @12.5 1", "up @12.5 1"]);
    assert_eq!(bench.status().last_duration, Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_for_its_whole_interval_is_still_tried_in_each_slot() {
    let bench = Bench::new(Config { scrape_timeout: Duration::from_secs(10), ..config() }, |_| Act::Hang);
    bench.engine.set_targets(vec![target("t")]);
    bench.until(63.0).await;
    let lines = bench.take();
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("up @") && line.ends_with(" 0")), "{lines:?}");
    assert_eq!(bench.parts.metrics.skipped.get(), 0);
    let slots: Vec<u64> = bench.slots.asked.lock().iter().map(|(_, slot)| *slot).collect();
    assert!(slots.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{slots:?}");
}

#[tokio::test(start_paused = true)]
async fn one_target_never_delays_another() {
    let bench = Bench::new(config(), |request| if request.uri().path() == "/slow" { Act::Hang } else { answer("a 1\n") });
    let slow: Labels = [("__address__", "s"), ("__metrics_path__", "/slow")].into_iter().collect();
    bench.engine.set_targets(vec![slow, target("t")]);
    bench.until(4.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1"]);
    bench.until(8.0).await;
    assert_eq!(bench.take(), ["up @2.5 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_skips_slots_and_repeats_none() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    bench.clock.offset.store(60_000, Ordering::Relaxed);
    bench.until(9.0).await;
    // The slot of 62.5 has begun before the jump was noticed: it is scraped late, at the real time.
    let lines = bench.take();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let late: f64 = lines[2].trim_start_matches("a @").trim_end_matches(" 1").parse().unwrap();
    assert!((65.0..66.1).contains(&late), "{lines:?}");
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a @72.5 1", "up @72.5 1"]);
    assert_eq!(bench.parts.metrics.skipped.get(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_denied_passes() {
    let bench = Bench::with_target("a 1\n");
    bench.until(3.0).await;
    bench.slots.denied.store(true, Ordering::Relaxed);
    bench.until(13.0).await;
    bench.slots.denied.store(false, Ordering::Relaxed);
    bench.until(23.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1", "a @22.5 1", "up @22.5 1"]);
    assert_eq!(bench.parts.metrics.held_back.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_targets_are_scraped_once_per_slot() {
    let bench = Bench::new(config(), |_| answer("a 1\n"));
    bench.engine.set_targets((0..2000).map(|n| target(&format!("t{n}"))).collect());
    bench.until(14.0).await;
    let lines = bench.take();
    assert_eq!(lines.len(), 2 * 2 * 2000);
    assert_eq!(bench.engine.overview().up, 2000);
    assert_eq!(bench.parts.metrics.skipped.get(), 0);
}
