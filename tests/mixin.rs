//! `deploy/mixin` can't rot: its alerts pass their tests in Debian's promtool, every metric that an alert, a rule or a panel reads
//! is one that a running fleet shows, every alert has its section in the runbook, and Alloy's dashboards find their metrics here.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use loadtest::alloy::Pipeline;
use loadtest::fleet::{Fleet, FleetOptions};
use loadtest::judge::{Judge, JudgeOptions};
use loadtest::receiver::Receiver;
use loadtest::targets::{TargetOptions, Targets};
use serde::Deserialize;
use serde_json::Value;
use support::{debian, promql, until};
use tokio::process::Command;

/// What the mixin reads and a fleet at work does not show, each with the reason.
const ONCE_IT_HAPPENS: [(&str, &str); 1] = [("alloy_component_evaluation_slow_seconds", "an evaluation has to take longer than a minute")];

/// What the clustering dashboards and alerts of Alloy's mixin read, and the metrics of its cluster beside those.
const ALLOYS: [&str; 36] = [
    "alloy_build_info",
    "alloy_config_hash",
    "alloy_component_controller_running_components",
    "alloy_component_dependencies_wait_seconds_bucket",
    "alloy_component_evaluation_seconds_bucket",
    "cluster_minimum_size",
    "cluster_node_gossip_alive_peers",
    "cluster_node_gossip_broadcasts_total",
    "cluster_node_gossip_health_score",
    "cluster_node_gossip_proto_version",
    "cluster_node_gossip_received_events_total",
    "cluster_node_info",
    "cluster_node_lamport_time",
    "cluster_node_peers",
    "cluster_node_update_duration_seconds_bucket",
    "cluster_node_update_observers",
    "cluster_node_updating",
    "cluster_ready_for_traffic",
    "cluster_transport_rx_bytes_total",
    "cluster_transport_rx_packet_queue_length",
    "cluster_transport_rx_packets_failed_total",
    "cluster_transport_rx_packets_total",
    "cluster_transport_stream_rx_bytes_total",
    "cluster_transport_stream_rx_packets_failed_total",
    "cluster_transport_stream_rx_packets_total",
    "cluster_transport_stream_tx_bytes_total",
    "cluster_transport_stream_tx_packets_failed_total",
    "cluster_transport_stream_tx_packets_total",
    "cluster_transport_streams",
    "cluster_transport_tx_bytes_total",
    "cluster_transport_tx_packet_queue_length",
    "cluster_transport_tx_packets_failed_total",
    "cluster_transport_tx_packets_total",
    "prometheus_remote_storage_samples_total",
    "prometheus_scrape_targets_gauge",
    "prometheus_scrape_targets_moved_total",
];

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: Option<String>,
    record: Option<String>,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn rules(name: &str) -> Vec<Rule> {
    let text = std::fs::read_to_string(file("deploy/mixin").join(name)).unwrap();
    let rules: Rules = serde_saphyr::from_str(&text).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(file("deploy/mixin/dashboards")).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    };
    files.map(read).collect()
}

/// What is read, and where.
fn read_metrics() -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    let mut note = |expression: &str, place: &str| {
        for name in promql::metrics(expression) {
            read.insert(name, place.to_owned());
        }
    };
    for rule in rules("alerts.yaml").into_iter().chain(rules("rules.yaml")) {
        note(&rule.expr, &rule.alert.or(rule.record).unwrap());
    }
    for (name, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                note(target["expr"].as_str().unwrap(), &format!("{name}: {}", panel["title"]));
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap().iter().filter(|variable| variable["type"] == "query") {
            let query = variable["query"]["query"].as_str().unwrap();
            let (metric, _label) = query.strip_prefix("label_values(").unwrap().rsplit_once(',').unwrap();
            note(metric, &format!("{name}: {}", variable["name"]));
        }
    }
    read
}

/// A fleet at work shows these names, all nodes together.
async fn shown_metrics() -> BTreeSet<String> {
    let interval = Duration::from_secs(1);
    let targets = Targets::start(TargetOptions { targets: 6, series: 10, tick: interval, ..TargetOptions::default() }).await.unwrap();
    let receiver = Receiver::start(Judge::new(JudgeOptions::new(interval))).await.unwrap();
    let batch_deadline = Some(Duration::from_millis(200));
    let pipeline = Pipeline { relabel_rules: 2, batch_deadline, ..Pipeline::new(targets.sd_url(), receiver.url(), interval) };
    let fleet = Fleet::start(FleetOptions::new(support::collector(), pipeline.to_string())).await.unwrap();
    until("samples are sent and clocks compared", Duration::from_secs(30), || async {
        let text = fleet.node(0).unwrap().metrics().await.unwrap_or_default();
        let sent = loadtest::fleet::metric_sum(&text, "prometheus_remote_storage_samples_total").unwrap_or_default();
        sent > 0.0 && text.contains("collector_cluster_clock_skew_seconds{")
    })
    .await;
    let mut shown = BTreeSet::new();
    for node in fleet.nodes() {
        let text = support::metrics(&node).await;
        let names = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next());
        shown.extend(names.map(str::to_owned));
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_mixin_is_shown_by_a_fleet_at_work_and_so_is_every_one_that_alloys_dashboards_read() {
    let shown = shown_metrics().await;
    let recorded: BTreeSet<String> = rules("rules.yaml").into_iter().filter_map(|rule| rule.record).collect();
    let excused = |name: &str| ONCE_IT_HAPPENS.iter().any(|(excused, _)| *excused == name);
    let read = read_metrics();
    let missing: Vec<_> = read.iter().filter(|(name, _)| !shown.contains(*name) && !recorded.contains(*name) && !excused(name)).collect();
    assert!(missing.is_empty(), "nobody shows these, and somebody reads them: {missing:#?}");
    let alloys: Vec<_> = ALLOYS.iter().filter(|name| !shown.contains(**name)).collect();
    assert!(alloys.is_empty(), "Alloy's dashboards miss {alloys:?}");
    let idle: Vec<_> = ONCE_IT_HAPPENS.iter().filter(|(name, _)| !read.contains_key(*name)).collect();
    assert!(idle.is_empty(), "nobody reads these, so they need no excuse: {idle:?}");
}

#[tokio::test]
async fn alerts_pass_their_tests_in_promtool() {
    for arguments in [&["check", "rules", "alerts.yaml", "rules.yaml"][..], &["test", "rules", "alerts_test.yaml"]] {
        let mut command = Command::new(debian("promtool"));
        let output = command.args(arguments).current_dir(file("deploy/mixin")).output().await.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn every_alert_says_what_it_means_and_has_its_section_in_the_runbook_and_its_test() {
    let runbook = std::fs::read_to_string(file("docs/alerts.md")).unwrap();
    let sections: Vec<_> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let tests = std::fs::read_to_string(file("deploy/mixin/alerts_test.yaml")).unwrap();
    let alerts = rules("alerts.yaml");
    for rule in &alerts {
        let name = rule.alert.as_deref().unwrap();
        let severity = rule.labels.get("severity").map(String::as_str);
        assert!(matches!(severity, Some("info" | "warning" | "critical")), "{name}: {severity:?}");
        for annotation in ["summary", "description"] {
            assert!(rule.annotations.get(annotation).is_some_and(|text| !text.is_empty()), "{name} has no {annotation}");
        }
        assert_eq!(rule.annotations["runbook_url"], format!("docs/alerts.md#{}", name.to_ascii_lowercase()));
        assert!(sections.contains(&name), "docs/alerts.md has no section {name}");
        assert!(tests.contains(&format!("  - name: {name}\n")), "alerts_test.yaml has no test of {name}");
    }
    let named: Vec<_> = alerts.iter().filter_map(|rule| rule.alert.as_deref()).collect();
    let stale: Vec<_> = sections.iter().filter(|section| !named.contains(*section)).collect();
    assert!(stale.is_empty(), "docs/alerts.md has sections of no alert: {stale:?}");
}
