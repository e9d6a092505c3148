//! A fleet of real processes scrapes Debian's node_exporter into Debian's Prometheus while it changes: a polite end costs nothing, a
//! join costs nothing, a crash costs the slots that fit into its detection.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::time::{Duration, SystemTime};

use loadtest::fleet::{Fleet, FleetOptions, metric_sum};
use support::calm::calmly;
use support::{PATIENCE, Prometheus, pause, until};

const TARGETS: usize = 6;
const INTERVAL_MS: i64 = 1000;
/// A crash is noticed by lost connections; the promise is 5 s from the crash to the new holder's first scrape.
const DETECTION_MS: i64 = 5000;

fn config(targets: &[String], write_url: &str) -> String {
    let targets: Vec<String> = targets.iter().map(|address| format!("{{\"__address__\" = {address:?}}}")).collect();
    format!(
        "prometheus.scrape \"nodes\" {{\n\ttargets = [{}]\n\tjob_name = \"node\"\n\tscrape_interval = \"1s\"\n\tscrape_timeout = \"1s\"\n\t\
         forward_to = [prometheus.remote_write.out.receiver]\n\tclustering {{\n\t\tenabled = true\n\t}}\n}}\n\n\
         prometheus.remote_write \"out\" {{\n\tendpoint {{\n\t\turl = {write_url:?}\n\t\tqueue_config {{\n\t\t\t\
         batch_send_deadline = \"500ms\"\n\t\t}}\n\t}}\n}}\n",
        targets.join(", ")
    )
}

/// Differences between consecutive samples that are not one interval, as (time, slots missed; -1 for a duplicate).
fn irregular(samples: &[(i64, String)], from: i64, to: i64) -> Vec<(i64, i64)> {
    let within = samples.iter().map(|(at, _)| *at).filter(|at| (from..to).contains(at)).collect::<Vec<_>>();
    // A scrape that starts late is stamped with its real time: steps are rounded to whole slots.
    let steps = within.windows(2).map(|pair| (pair[0], ((pair[1] - pair[0]) as f64 / INTERVAL_MS as f64).round() as i64 - 1));
    steps.filter(|(_, missed)| *missed != 0).collect()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changing_fleet_scrapes_every_target_once_per_interval() {
    calmly(async || {
        let folder = tempfile::tempdir().unwrap();
        let prometheus = Prometheus::start(folder.path()).await;
        let mut exporters = Vec::new();
        for _ in 0..TARGETS {
            exporters.push(support::node_exporter(folder.path()).await);
        }
        let addresses: Vec<String> = exporters.iter().map(|(_, address)| address.clone()).collect();
        let fleet = Fleet::start(FleetOptions::new(support::collector(), config(&addresses, &prometheus.write_url()))).await.unwrap();
        until("all targets are scraped", Duration::from_secs(30), || async { prometheus.raw("up").await.len() == TARGETS }).await;
        pause(3).await;

        let calm = now_ms();
        let stopped = fleet.stop(1).await.unwrap();
        assert!(stopped.status.success(), "a polite end exits 0: {}", fleet.node(1).unwrap().log_tail());
        assert!(stopped.took < Duration::from_secs(25), "took {:?}", stopped.took);
        pause(4).await;
        fleet.join().await.unwrap();
        pause(4).await;
        let crash = now_ms();
        fleet.node(2).unwrap().kill();
        pause(8).await;
        let end = now_ms();
        // What was scraped last is sent within the deadline of a request.
        pause(2).await;

        for selector in ["up", "node_load1"] {
            let series = prometheus.raw(selector).await;
            assert_eq!(series.len(), TARGETS, "{selector}: {:?}", series.keys());
            for (instance, samples) in &series {
                let planned = irregular(samples, calm, crash);
                assert!(planned.is_empty(), "{selector} of {instance}: gaps or duplicates in a planned change: {planned:?}");
                for (at, missed) in irregular(samples, crash - 2 * INTERVAL_MS, end) {
                    let bound = DETECTION_MS / INTERVAL_MS;
                    assert!((1..=bound).contains(&missed), "{selector} of {instance}: {missed} slots missed after the crash, at {at}");
                }
                let last = samples.last().unwrap().0;
                assert!(last > end - 3 * INTERVAL_MS, "{selector} of {instance} did not go on: last at {last}, end {end}");
            }
        }
        assert_eq!(prometheus.counter("prometheus_tsdb_out_of_order_samples_total").await, 0.0, "{}", prometheus.log_tail());
        for node in fleet.nodes().iter().filter(|node| node.is_alive()) {
            let metrics = support::metrics(node).await;
            assert_eq!(metric_sum(&metrics, "prometheus_remote_storage_samples_failed_total").unwrap_or(0.0), 0.0, "{}", node.log_tail());
            assert!(metric_sum(&metrics, "prometheus_remote_storage_samples_total").unwrap_or(0.0) > 0.0);
        }
        assert!(!fleet.node(1).unwrap().log_tail().contains("level=error"), "{}", fleet.node(1).unwrap().log_tail());

        let anybody = fleet.nodes().into_iter().find(|node| node.is_alive()).unwrap();
        until("any node answers for the whole fleet", PATIENCE, || async {
            anybody.cluster_targets().await.is_ok_and(|targets| targets.len() == TARGETS)
        })
        .await;
    })
    .await;
}
