//! A fleet of real processes and who does not belong to it: other names, other keys, members that stand still.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::time::Duration;

use loadtest::fleet::{Fleet, FleetOptions};
use serde_json::Value;
use support::member::{CONFIG, refused};
use support::{collector, get, until};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_another_name_is_refused_and_both_sides_say_so() {
    refused(vec!["--cluster.name=blue".to_owned()], vec!["--cluster.name=green".to_owned()], "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_another_key_is_refused_and_both_sides_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let flag = |name: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("{name}-0123456789abcdef\n")).unwrap();
        vec![format!("--cluster.key-file={}", file.display())]
    };
    refused(flag("ours"), flag("theirs"), "key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_answers_for_the_fleet_and_says_when_a_member_is_missing() {
    let fleet = Fleet::start(FleetOptions::new(collector(), CONFIG.to_owned())).await.unwrap();
    let ask = || async {
        let (status, text) = get(&fleet.node(0).unwrap().url("/api/v1/targets?scope=cluster")).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    until("three targets have owners", Duration::from_secs(20), || async {
        let answer = ask().await;
        let targets = answer["data"]["activeTargets"].as_array().unwrap();
        targets.len() == 3 && targets.iter().all(|target| target["owner"].as_str().is_some_and(|owner| !owner.is_empty()))
    })
    .await;
    assert!(ask().await["warnings"].is_null());
    let told = |question: &'static str, output: &'static str| {
        let mut command = Command::new(collector());
        command.args(["cluster", question, "--output", output]).arg(format!("--server={}", fleet.node(0).unwrap().url("/")));
        async move { command.output().await.unwrap() }
    };
    until("the node that is asked knows all members", Duration::from_secs(20), || async {
        let nodes: Vec<Value> = serde_json::from_slice(&told("nodes", "json").await.stdout).unwrap();
        let targets: u64 = nodes.iter().map(|node| node["targets"].as_u64().unwrap()).sum();
        nodes.len() == 3 && targets == 3 && nodes.iter().all(|node| node["state"] == "participant")
    })
    .await;
    let table = String::from_utf8(told("targets", "table").await.stdout).unwrap();
    assert!(table.starts_with("TARGET") && table.contains("http://127.0.0.1:1/metrics  prometheus.scrape.dead  node-"), "{table}");
    fleet.node(2).unwrap().pause();
    let partial = ask().await;
    let warnings = partial["warnings"].to_string();
    assert!(warnings.contains("partial answer") && warnings.contains(fleet.node(2).unwrap().name()), "{partial}");
    let told = String::from_utf8(told("nodes", "table").await.stderr).unwrap();
    assert!(told.starts_with("Warning: partial answer"), "{told}");
    fleet.node(2).unwrap().resume();
}
