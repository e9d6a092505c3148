//! What is promised of a fleet whatever happens to it, over real processes at an interval of one second: the judge of `collector loadtest`
//! counts what each step cost, and refuses samples that are out of order as Mimir and Prometheus do. What a step may cost is
//! said in docs/loadtest.md; each scenario here is short for one in `deploy/loadtest`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::path::Path;

use serde_json::Value;
use support::calm::calmly;
use support::scenario::{logged, play_in};

/// The beginning of a scenario.
fn head(nodes: u32) -> String {
    format!("fleet: {{nodes: {nodes}}}\ntargets: {{count: 24, series: 20, interval: 1s, churn: 10%, shuffle: true}}\nsteps:\n")
}

/// Plays steps on a fleet of so many nodes; all promises must be kept.
async fn keeps_its_promises(nodes: u32, steps: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    keeps_its_promises_in(folder.path(), nodes, steps).await
}

/// The same, with the nodes' logs in `folder`.
async fn keeps_its_promises_in(folder: &Path, nodes: u32, steps: &str) -> Value {
    let (code, report) = play_in(folder, &format!("{}{steps}", head(nodes))).await;
    assert_eq!((code, &report["passed"]), (Some(0), &Value::Bool(true)), "{report:#}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_out_and_in_costs_nothing() {
    calmly(async || {
        let report =
            keeps_its_promises(3, "- {at: 3s, join: 6}\n- {at: 13s, leave: {node: newest, count: 6, apart: 1s}}\nfor: 28s\n").await;
        assert!(report["total"]["moved"].as_u64() > Some(10), "{report:#}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_costs_nothing() {
    calmly(async || {
        keeps_its_promises(3, "- {at: 3s, restart: {apart: 2s}}\n").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_may_change_while_the_receiver_is_slow_or_fails() {
    calmly(async || {
        let slow = "- {at: 3s, receiver: {fault: slow, delay: 1s, for: 15s}}\n- {at: 6s, join: 1}\n- {at: 11s, leave: oldest}\n";
        let error = "- {at: 24s, receiver: {fault: error, status: 503, for: 10s}}\n- {at: 27s, join: 1}\n";
        keeps_its_promises(3, &format!("{slow}{error}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_costs_the_slots_of_its_detection_and_doubles_none() {
    calmly(async || {
        keeps_its_promises(4, "- {at: 3s, kill: any, detection: 5s}\n- {at: 15s, join: 1}\n- {at: 20s, kill: oldest, detection: 5s}\n")
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_still_is_not_missed_for_four_seconds_and_taken_over_from_after_ten() {
    calmly(async || {
        let folder = tempfile::tempdir().unwrap();
        let steps = "- {at: 3s, pause: {node: any, for: 4s}}\n- {at: 16s, pause: {node: any, for: 20s}}\n";
        let report = keeps_its_promises_in(folder.path(), 4, steps).await;
        // Not by the targets that moved: some do soon after a start, when the first table of placement takes effect.
        let missed = logged(folder.path(), "a member is gone");
        assert_eq!(missed.len(), 3, "each of the others misses it once, in the long pause: {missed:#?}");
        let [.., long] = &report["steps"].as_array().unwrap()[..] else { panic!("{report:#}") };
        assert!(long["figures"]["moved"].as_u64() > Some(0), "{report:#}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_come_and_go_and_a_configuration_that_is_rolled_out_do_not_disturb_the_others() {
    calmly(async || {
        let targets = "- {at: 3s, targets: {add: 10}}\n- {at: 12s, targets: {churn: true}}\n- {at: 16s, targets: {remove: 17}}\n";
        let block = "- at: 32s\n  configure:\n    apart: 4s\n    append: |\n      prometheus.exporter.self \"collector\" {}\n";
        keeps_its_promises(3, &format!("{targets}{block}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_cut_moves_nothing_and_after_a_long_one_each_target_has_one_holder_again() {
    calmly(async || {
        keeps_its_promises(4, "- {at: 3s, cut: {node: newest, for: 3s}}\n- {at: 16s, cut: {node: newest, for: 15s}}\n").await;
    })
    .await;
}

/// The judge does not know that the block is gone, so that it misses what comes after: as much as the time since the last node had it.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_removed_node_by_node_is_scraped_until_the_last_and_ends_once() {
    calmly(async || {
        let folder = tempfile::tempdir().unwrap();
        let without = "discovery.http \"probe\" {\n\turl = \"{{SD_URL}}\"\n}\n\nprometheus.remote_write \"probe\" {\n\tendpoint {\n\t\t\
                       url = \"{{WRITE_URL}}\"\n\n\t\tqueue_config {\n\t\t\tbatch_send_deadline = \"500ms\"\n\t\t}\n\t}\n}\n";
        std::fs::write(folder.path().join("without.alloy"), without).unwrap();
        // The last of three nodes has it until 13 s.
        let steps = "- {at: 3s, configure: {template: without.alloy, apart: 5s}}\nfor: 26s\n";
        let (_, report) = play_in(folder.path(), &format!("{}{steps}", head(3))).await;
        let figure = |name: &str| report["total"][name].as_u64().unwrap();
        let wrong = ["duplicates", "refused_samples", "missing_markers", "false_markers"].map(figure);
        assert_eq!(wrong, [0; 4], "{report:#}");
        let missed = figure("most_gaps");
        assert!((10..=15).contains(&missed), "each target is scraped as long as a node has it: {missed} of 13 s: {report:#}");
    })
    .await;
}
