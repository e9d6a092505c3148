//! A fleet of real processes and who does not belong to it: other names, other keys, members that stand still.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::time::Duration;

use loadtest::fleet::{Fleet, FleetOptions};
use serde_json::Value;
use support::member::{CONFIG, SHARED_URL, counter, node, node_with, refused};
use support::{PATIENCE, collector, debian_file, get, pause, until};
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
async fn a_member_whose_clock_is_off_is_shown_and_told_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let (first, address) = node(folder.path(), "first", None, &[]);
    first.ready(&format!("http://{address}/-/ready"), Duration::from_secs(20)).await.unwrap();
    let library = format!("usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    let ahead = [
        ("LD_PRELOAD", debian_file(&library).display().to_string()),
        ("FAKETIME", "+3s".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let (_second, other) = node_with(folder.path(), "second", Some(&address), &[], &ahead);
    for (asked, peer, sign) in [(&address, "second", 1.0), (&other, "first", -1.0)] {
        until("both see the skew", Duration::from_secs(20), || async {
            let skew = counter(asked, &format!("collector_cluster_clock_skew_seconds|peer=\"{peer}\"")).await;
            (skew * sign - 3.0).abs() < 0.5
        })
        .await;
    }
    let (_, peers) = get(&format!("http://{address}/api/v0/web/peers")).await;
    let peers: Value = serde_json::from_str(&peers).unwrap();
    let skews: Vec<_> = peers.as_array().unwrap().iter().map(|peer| peer["clockSkewSeconds"].as_f64()).collect();
    assert!(matches!(skews[..], [None, Some(2.5..3.5)]), "{peers}");
    pause(4).await;
    let log = std::fs::read_to_string(first.log()).unwrap();
    let told: Vec<_> = log.lines().filter(|line| line.contains("clock differs")).collect();
    assert!(told.len() == 1 && told[0].contains("peer=second") && told[0].contains("NTP"), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_answers_for_the_fleet_and_says_when_a_member_is_missing() {
    let fleet = Fleet::start(FleetOptions::new(collector(), CONFIG.to_owned())).await.unwrap();
    let ask = || async {
        let (status, text) = get(&fleet.node(0).unwrap().url("/api/v1/targets?scope=cluster")).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    until("four targets have owners, those of one URL the same", Duration::from_secs(20), || async {
        let answer = ask().await;
        let targets = answer["data"]["activeTargets"].as_array().unwrap();
        let owner = |target: &Value| target["owner"].as_str().unwrap_or_default().to_owned();
        let owners: Vec<String> = targets.iter().map(owner).collect();
        let shared: Vec<String> = targets.iter().filter(|target| target["scrapeUrl"] == SHARED_URL).map(owner).collect();
        owners.len() == 4 && !owners.contains(&String::new()) && shared.len() == 2 && shared[0] == shared[1]
    })
    .await;
    until("all members answer", PATIENCE, || async { ask().await["warnings"].is_null() }).await;
    let told = |question: &'static str, output: &'static str| {
        let mut command = Command::new(collector());
        command.args(["cluster", question, "--output", output]).arg(format!("--server={}", fleet.node(0).unwrap().url("/")));
        async move { command.output().await.unwrap() }
    };
    until("the node that is asked knows all members", Duration::from_secs(20), || async {
        let nodes: Vec<Value> = serde_json::from_slice(&told("nodes", "json").await.stdout).unwrap();
        let targets: u64 = nodes.iter().map(|node| node["targets"].as_u64().unwrap()).sum();
        nodes.len() == 3
            && targets == 4
            && nodes.iter().all(|node| node["state"] == "participant" && node["known"] == 3 && node["differs"] == false)
    })
    .await;
    let by_labels = "{instance=\"127.0.0.1:3\", job=\"prometheus.scrape.dead\", shard=\"2\"}  prometheus.scrape.dead  node-";
    until("the table has all targets", PATIENCE, || async {
        let table = String::from_utf8(told("targets", "table").await.stdout).unwrap();
        table.starts_with("TARGET") && table.contains("http://127.0.0.1:1/metrics ") && table.contains(&format!("{SHARED_URL} {by_labels}"))
    })
    .await;
    fleet.node(2).unwrap().pause();
    let partial = ask().await;
    let warnings = partial["warnings"].to_string();
    assert!(warnings.contains("partial answer") && warnings.contains(fleet.node(2).unwrap().name()), "{partial}");
    fleet.node(2).unwrap().resume();
    until("all members answer again", PATIENCE, || async { ask().await["warnings"].is_null() }).await;
    // Anew, for one that stands still for long is no member any more and not missed.
    fleet.node(2).unwrap().pause();
    let told = String::from_utf8(told("nodes", "table").await.stderr).unwrap();
    assert!(told.starts_with("Warning: partial answer"), "{told}");
    fleet.node(2).unwrap().resume();
}
