//! Arguments that change while the job runs.

use super::*;
use crate::series::Rules;

#[tokio::test(start_paused = true)]
async fn another_interval_makes_other_slots() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    let synced = bench.engine.reload(Config { scrape_interval: Duration::from_secs(20), ..config() }, None).unwrap();
    assert_eq!(synced.keys, [(key("t"), 20_000)]);
    bench.until(46.0).await;
    assert_eq!(bench.take(), ["a @2.5 1", "up @2.5 1", "a @25 1", "up @25 1", "a @45 1", "up @45 1"]);
}

#[tokio::test(start_paused = true)]
async fn series_stay_known_if_only_a_limit_changes() {
    let bench = Bench::with_target("a 1\nb 2\n");
    bench.until(5.0).await;
    let layout = bench.sink.batches.lock()[0].layout.clone();
    bench.take();
    bench.engine.reload(Config { rules: Rules { sample_limit: 2, ..Rules::default() }, ..config() }, None).unwrap();
    bench.until(13.0).await;
    assert!(Arc::ptr_eq(&layout, &bench.sink.batches.lock()[0].layout));
    bench.take();
    bench.engine.reload(Config { rules: Rules { sample_limit: 1, ..Rules::default() }, ..config() }, None).unwrap();
    bench.until(23.0).await;
    assert_eq!(bench.take(), ["a @22.5 stale", "b @22.5 stale", "up @22.5 0"]);
}

#[tokio::test(start_paused = true)]
async fn series_that_get_other_labels_end_under_the_old_ones() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    bench.take();
    bench.engine.reload(Config { job_name: "other".to_owned(), ..config() }, None).unwrap();
    bench.until(13.0).await;
    let batches = bench.sink.batches.lock().clone();
    let jobs: Vec<(String, bool)> = batches
        .iter()
        .flat_map(|batch| {
            batch.iter().map(|(series, _, value)| (series.get("job").unwrap().to_owned(), is_stale(value))).collect::<Vec<_>>()
        })
        .collect();
    let old = jobs.iter().filter(|(job, stale)| job == "j" && *stale).count();
    let new = jobs.iter().filter(|(job, stale)| job == "other" && !*stale).count();
    assert_eq!((old, new, jobs.len()), (6, 6, 12), "a and five of the report under either name");
}

#[tokio::test(start_paused = true)]
async fn rules_that_change_labels_end_only_what_changes() {
    let bench = Bench::with_target("a{job=\"own\"} 1\nb 2\n");
    bench.until(5.0).await;
    bench.take();
    bench.engine.reload(Config { rules: Rules { honor_labels: true, ..Rules::default() }, ..config() }, None).unwrap();
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a @12.5 1", "b @12.5 2", "a exported_job=own @12.5 stale", "up @12.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn fewer_report_series_end_the_others() {
    let bench = Bench::new(Config { extra_metrics: true, ..config() }, |_| answer("a 1\n"));
    bench.engine.set_targets(vec![target("t")]);
    bench.until(5.0).await;
    bench.sink.batches.lock().clear();
    bench.engine.reload(config(), None).unwrap();
    bench.until(13.0).await;
    let batches = bench.sink.batches.lock().clone();
    let stale: Vec<String> = batches[1].iter().map(|(series, _, value)| format!("{} {}", series.metric_name(), is_stale(value))).collect();
    assert_eq!(stale, ["scrape_timeout_seconds true", "scrape_sample_limit true", "scrape_body_size_bytes true"]);
}

#[tokio::test(start_paused = true)]
async fn arguments_that_can_t_work_change_nothing() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    bench.take();
    assert!(bench.engine.reload(Config { job_name: String::new(), ..config() }, None).is_err());
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a @12.5 1", "up @12.5 1"]);
    let metrics = &bench.parts.metrics;
    assert_eq!((metrics.reloads.get(), metrics.reloads_failed.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_new_client_is_used_from_the_next_scrape_on() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    bench.take();
    let other = InMemory(Arc::new(Memory(Mutex::new(Box::new(|_| answer("a 2\n"))))));
    bench.engine.reload(config(), Some(Arc::new(other))).unwrap();
    bench.until(13.0).await;
    assert_eq!(bench.take(), ["a @12.5 2", "up @12.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn targets_are_handed_to_the_cluster_and_back_by_a_reload() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    assert_eq!(bench.take().len(), 2);
    bench.engine.reload(Config { ownership: Ownership::Assigned, ..config() }, None).unwrap();
    bench.until(25.0).await;
    assert_eq!(bench.take(), Vec::<String>::new(), "it is nobody's now, and nobody's series end");
    bench.engine.reload(config(), None).unwrap();
    bench.until(33.0).await;
    assert_eq!(bench.take(), ["a @32.5 1", "up @32.5 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_whose_meta_labels_change_goes_on() {
    let bench = Bench::with_target("a 1\n");
    bench.until(5.0).await;
    let layout = bench.sink.batches.lock()[0].layout.clone();
    bench.take();
    let changed: Labels = [("__address__", "t"), ("__meta_pod", "new")].into_iter().collect();
    bench.engine.set_targets(vec![changed]);
    bench.until(13.0).await;
    assert!(Arc::ptr_eq(&layout, &bench.sink.batches.lock()[0].layout));
    let target = bench.engine.targets()[0].clone();
    assert_eq!((target.discovered.get("__meta_pod"), target.status().last_scrape), (Some("new"), EPOCH + 12_500));
}
