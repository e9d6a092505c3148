//! A fleet of processes, with this test's own program as a stand-in for the collector: what matters here is starting, asking and ending.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that can't go on has failed

mod stand_in;

use std::path::Path;
use std::time::Duration;

use loadtest::fleet::{Fleet, FleetError, FleetOptions, Launch, State};
use loadtest::process::ProcessError;
use stand_in::{BEHAVIOUR, binary};

/// Not a test when it is run among the others: the body of the stand-in's process.
#[test]
fn stand_in() {
    stand_in::main();
}

fn options(dir: &Path, nodes: usize) -> FleetOptions {
    FleetOptions { nodes, ..FleetOptions::new(binary(dir), "logging {}\n".to_owned()) }
}

fn log(fleet: &Fleet, node: usize) -> String {
    std::fs::read_to_string(fleet.node(node).unwrap().dir().join("log")).unwrap()
}

#[tokio::test]
async fn nodes_start_with_the_flags_of_a_fleet_and_answer() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(options(dir.path(), 2)).await.unwrap();
    let (first, second) = (fleet.node(0).unwrap(), fleet.node(1).unwrap());
    assert_eq!((first.state(), second.state()), (State::Running, State::Running));
    let (one, two) = (log(&fleet, 0), log(&fleet, 1));
    assert!(one.contains("run\n--cluster.enabled=true\n--cluster.name=loadtest\n--cluster.node-name=node-1\n"), "{one}");
    assert!(two.contains(&format!("join\n--peers\n{}\n", first.address())), "{two}");
    for flag in ["--cluster.advertise-address", "--server.http.listen-addr"] {
        assert!(two.contains(&format!("{flag}={}\n", second.address())), "{two}");
    }
    assert!(two.contains(&format!("--storage.path={}\n", second.dir().join("data").display())));
    assert_eq!(std::fs::read_to_string(second.dir().join("config.alloy")).unwrap(), "logging {}\n");
    assert!(second.is_ready().await);
    assert_eq!(second.peers().await.unwrap()[0].name, "node-2");
    assert_eq!(second.targets().await.unwrap()[0].labels["instance"], "/api/v1/targets?state=active");
    assert_eq!(second.cluster_targets().await.unwrap()[0].labels["instance"], "/api/v1/targets?state=active&scope=cluster");
    assert_eq!(second.metrics().await.unwrap(), "prometheus_remote_storage_samples_total 0\n");
}

#[tokio::test]
async fn a_node_joins_the_live_ones_in_the_way_that_was_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(FleetOptions { launch: Launch::Run, ..options(dir.path(), 2) }).await.unwrap();
    let first = fleet.node(0).unwrap();
    first.kill();
    first.process().unwrap().ended().await;
    assert_eq!(first.state(), State::Killed);
    let third = fleet.join().await.unwrap();
    assert_eq!(third.name(), "node-3");
    let log = log(&fleet, 2);
    let only_second = format!("run\n--cluster.enabled=true\n--cluster.join-addresses={}\n", fleet.node(1).unwrap().address());
    assert!(log.contains(&only_second), "{log}");
}

#[tokio::test]
async fn stopping_measures_and_restarting_keeps_name_and_address() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(options(dir.path(), 2)).await.unwrap();
    let node = fleet.node(1).unwrap();
    let (address, pid) = (node.address(), node.process().unwrap().pid());
    let stopped = fleet.stop(1).await.unwrap();
    assert_eq!(node.state(), State::Stopped(stopped.took));
    assert!(!node.is_alive());
    assert!(matches!(fleet.stop(1).await, Err(FleetError::Process(ProcessError::Ended { .. }))), "there is nothing left to stop");
    fleet.restart(1).await.unwrap();
    assert_eq!((node.state(), node.address()), (State::Running, address));
    assert_ne!(node.process().unwrap().pid(), pid);
    let all = fleet.stop_all().await;
    assert_eq!(all.iter().map(|(n, s)| (n.as_str(), s.is_ok())).collect::<Vec<_>>(), [("node-1", true), ("node-2", true)]);
}

#[tokio::test]
async fn a_paused_node_does_not_answer_until_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(options(dir.path(), 1)).await.unwrap();
    let node = fleet.node(0).unwrap();
    node.pause();
    assert_eq!(node.state(), State::Paused);
    let asked = tokio::spawn({
        let node = node.clone();
        async move { node.is_ready().await }
    });
    node.resume();
    asked.await.unwrap();
    assert_eq!(node.state(), State::Running);
    assert!(node.is_ready().await);
    fleet.stop(0).await.unwrap();
}

#[tokio::test]
async fn a_node_that_does_not_start_is_told_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let broken = vec![(BEHAVIOUR.to_owned(), "broken".to_owned())];
    let error = Fleet::start(FleetOptions { environment: broken, ..options(dir.path(), 2) }).await.unwrap_err().to_string();
    assert!(error.starts_with("node-1: ended before it was ready") && error.contains("this configuration is broken"), "{error}");
}

#[tokio::test]
async fn a_port_that_was_taken_meanwhile_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let taken = vec![(BEHAVIOUR.to_owned(), "port taken once".to_owned())];
    let fleet = Fleet::start(FleetOptions { environment: taken, ..options(dir.path(), 1) }).await.unwrap();
    let node = fleet.node(0).unwrap();
    assert_ne!(std::fs::read_to_string(node.dir().join("tried")).unwrap(), node.address());
    assert!(node.is_ready().await);
}

#[tokio::test]
async fn a_dropped_fleet_leaves_no_process_and_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(options(dir.path(), 1)).await.unwrap();
    let (pid, files) = (fleet.node(0).unwrap().process().unwrap().pid(), fleet.dir().to_owned());
    drop(fleet);
    // A reaped process has no directory in /proc.
    while Path::new(&format!("/proc/{pid}")).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!files.exists());
}
