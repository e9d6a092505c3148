//! What scrapes lead to: batches, markers, statuses, counters.

use super::*;
use crate::target::Health;

#[tokio::test(start_paused = true)]
async fn a_report_tells_how_a_scrape_went() {
    let bench = Bench::new(Config { extra_metrics: true, ..config() }, |_| Act::After(Duration::from_millis(250), "a 1\nb 2\n".to_owned()));
    bench.engine.set_targets(vec![target("t")]);
    bench.until(3.0).await;
    let report = bench.sink.batches.lock()[1].clone();
    let told: Vec<(String, f64)> = report.iter().map(|(series, _, value)| (series.metric_name().to_owned(), value)).collect();
    let expected = [
        ("up", 1.0),
        ("scrape_duration_seconds", 0.25),
        ("scrape_samples_scraped", 2.0),
        ("scrape_samples_post_metric_relabeling", 2.0),
        ("scrape_series_added", 2.0),
        ("scrape_timeout_seconds", 5.0),
        ("scrape_sample_limit", 0.0),
        ("scrape_body_size_bytes", 8.0),
    ];
    assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(report.source, key("t"));
    assert_eq!(report.layout.iter().next().unwrap().to_labels().to_string(), r#"{__name__="up", instance="t", job="j"}"#);
    assert_eq!(bench.parts.metrics.duration.get_sample_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sample_that_fails_the_scrape_was_scraped_and_not_taken() {
    let rules = crate::series::Rules { label_limit: 3, ..Default::default() };
    let mut bodies = ["a 1\nb{x=\"1\",y=\"2\"} 1\n", "a 1\n!\n"].into_iter().cycle();
    let bench = Bench::new(Config { rules, ..config() }, move |_| answer(bodies.next().unwrap()));
    bench.engine.set_targets(vec![target("t")]);
    for (seconds, expected) in [(3.0, [2.0, 1.0]), (13.0, [1.0, 1.0])] {
        bench.until(seconds).await;
        let report = bench.sink.batches.lock().last().unwrap().clone();
        assert_eq!(report.values[2..4], expected, "as Prometheus counts them");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_scrape_ends_the_series_and_says_why() {
    let mut turn = 0;
    let bench = Bench::new(config(), move |_| {
        turn += 1;
        if turn == 2 { Act::Status(503) } else { answer("a 1\n") }
    });
    bench.engine.set_targets(vec![target("t")]);
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1", "a @12.5 stale", "up @12.5 0"]);
    let status = bench.status();
    assert_eq!((status.health, &*status.last_error), (Health::Down, "server returned HTTP status 503 Service Unavailable"));
    let overview = bench.engine.overview();
    assert_eq!((overview.owned, overview.up, overview.down), (1, 0, 1));
    assert_eq!(overview.error, Some(status.last_error));
    bench.until(23.0).await;
    assert_eq!(bench.take(), ["a @22.5 1", "up @22.5 1"]);
    let status = bench.status();
    assert_eq!((status.health, &*status.last_error, status.samples, status.body_size), (Health::Up, "", 1, 4));
    assert_eq!(status.last_scrape, EPOCH + 22_500);
}

#[tokio::test(start_paused = true)]
async fn limits_are_counted_under_prometheus_names() {
    let rules = crate::series::Rules { sample_limit: 1, label_limit: 3, ..Default::default() };
    let mut bodies = ["a 1\nb 1\n", "a{x=\"1\",y=\"2\"} 1\n", "a 1\na 2\n", "a_very_long_metric_name 1\n"].into_iter().cycle();
    let bench = Bench::new(Config { rules, body_size_limit: 20, extra_metrics: true, ..config() }, move |_| answer(bodies.next().unwrap()));
    bench.engine.set_targets(vec![target("t")]);
    bench.until(33.0).await;
    let metrics = &bench.parts.metrics;
    let counted = [&metrics.exceeded_sample_limit, &metrics.exceeded_label_limits, &metrics.duplicates, &metrics.exceeded_body_size_limit];
    assert_eq!(counted.map(|counter| counter.get()), [1, 1, 1, 1]);
    assert_eq!(bench.status().body_size, -1);
    assert!(bench.take().contains(&"up @22.5 1".to_owned()), "duplicates fail nothing");
}

#[tokio::test(start_paused = true)]
async fn refused_batches_are_counted_and_shown_and_scraping_goes_on() {
    let bench = Bench::with_target("a 1\nb 2\n");
    bench.sink.refusing.store(true, Ordering::Relaxed);
    bench.until(3.0).await;
    let overview = bench.engine.overview();
    assert_eq!((overview.up, overview.refusing, overview.refused), (1, 1, Some(Refused::Full)));
    assert_eq!((bench.parts.metrics.refused.get(), bench.parts.metrics.refused_samples.get()), (2, 7));
    bench.sink.refusing.store(false, Ordering::Relaxed);
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a @12.5 1", "b @12.5 2", "up @12.5 1"]);
    assert_eq!(bench.engine.overview().refusing, 0);
}

#[tokio::test(start_paused = true)]
async fn too_many_targets_fail_all_scrapes() {
    let bench = Bench::new(Config { target_limit: 1, ..config() }, |_| answer("a 1\n"));
    bench.engine.set_targets(vec![target("t")]);
    bench.until(3.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1"]);
    bench.engine.set_targets(vec![target("t"), target("u")]);
    bench.until(13.0).await;
    let mut lines = bench.take();
    lines.sort();
    assert_eq!(lines, ["a @12.5 stale", "up @12.5 0", "up @12.5 0"]);
    assert_eq!(bench.engine.overview().error.as_deref(), Some("target_limit exceeded (number of targets: 2, limit: 1)"));
    assert_eq!(bench.parts.metrics.exceeded_target_limit.get(), 1);
    bench.engine.set_targets(vec![target("t")]);
    bench.until(23.0).await;
    assert!(bench.take().contains(&"a @22.5 1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn label_sets_that_are_no_targets_are_reported() {
    let bench = Bench::new(config(), |_| answer("a 1\n"));
    let synced = bench.engine.set_targets(vec![Labels::empty(), target("t"), target("t")]);
    assert_eq!((synced.keys.len(), synced.failures.len(), synced.duplicates), (1, 1, 1));
    let (dropped, count) = bench.engine.dropped();
    assert_eq!((dropped.len(), count), (2, 2));
    assert_eq!(dropped[0].reason.to_string(), "no address (label __address__)");
    assert_eq!(bench.parts.metrics.sync_failed.with_label_values(&["j"]).get(), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_scrape_that_panics_costs_one_slot() {
    let mut turn = 0;
    let bench = Bench::new(config(), move |_| {
        turn += 1;
        if turn == 2 { Act::Panic } else { answer("a 1\n") }
    });
    bench.engine.set_targets(vec![target("t")]);
    bench.until(23.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1", "a @22.5 1", "up @22.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_leaves_ends_its_series_at_its_next_slot() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    bench.take();
    bench.engine.set_targets(vec![]);
    bench.until(12.0).await;
    assert_eq!(bench.take(), Vec::<String>::new(), "it may come back until then");
    bench.until(60.0).await;
    assert_eq!(bench.take(), ["a @12.5 stale", "up @12.5 stale"]);
    assert_eq!(bench.parts.metrics.owned.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_in_time_has_not_been_away() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    let layout = bench.sink.batches.lock()[0].layout.clone();
    bench.engine.set_targets(vec![]);
    bench.until(6.0).await;
    bench.engine.set_targets(vec![target("t")]);
    bench.take();
    bench.until(13.0).await;
    assert!(Arc::ptr_eq(&layout, &bench.sink.batches.lock()[0].layout));
    assert_eq!(bench.take(), ["a @12.5 1", "up @12.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_with_a_long_interval_ends_its_series_within_a_minute() {
    let bench = Bench::new(Config { scrape_interval: Duration::from_secs(3600), ..config() }, |_| answer("a 1\n"));
    bench.engine.set_targets(vec![target("t")]);
    bench.until(0.5).await;
    bench.clock.offset.store(3_600_000, Ordering::Relaxed); // some slot has begun
    bench.until(2.0).await;
    assert_eq!(bench.take().len(), 2);
    bench.engine.set_targets(vec![]);
    bench.until(63.0).await;
    let lines = bench.take();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with("stale")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_leaves_while_it_is_scraped_ends_after_that() {
    let bench = Bench::new(Config { scrape_timeout: Duration::from_secs(10), ..config() }, |_| {
        Act::After(Duration::from_secs(9), "a 1\n".to_owned())
    });
    bench.engine.set_targets(vec![target("t")]);
    bench.until(5.0).await;
    bench.engine.set_targets(vec![]);
    bench.until(30.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1", "a @12.5 stale", "up @12.5 stale"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_removed_ends_all_series_at_once() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    let sink = bench.sink.clone();
    sink.batches.lock().clear();
    bench.engine.stop(Ending::Removed).await;
    let ended: Vec<(i64, bool)> =
        sink.batches.lock().iter().flat_map(|b| b.iter().map(|(_, at, v)| (at, is_stale(v))).collect::<Vec<_>>()).collect();
    assert_eq!(ended, [(EPOCH + 5000, true); 6]);
    assert_eq!(sink.flushes.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_continued_elsewhere_ends_nothing() {
    for explicit in [true, false] {
        let bench = Bench::with_target("a 1\n");
        bench.until(5.0).await;
        let sink = bench.sink.clone();
        sink.batches.lock().clear();
        if explicit {
            bench.engine.stop(Ending::Continued).await;
        } else {
            drop(bench.engine);
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(sink.batches.lock().is_empty());
        assert_eq!(sink.flushes.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_scrape_that_is_under_way_is_given_up_at_the_end() {
    let bench = Bench::new(config(), |_| Act::Hang);
    bench.engine.set_targets(vec![target("t")]);
    bench.until(3.0).await;
    let (sink, began) = (bench.sink.clone(), Instant::now());
    bench.engine.stop(Ending::Removed).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(sink.batches.lock().is_empty(), "nothing was ever scraped");
}
