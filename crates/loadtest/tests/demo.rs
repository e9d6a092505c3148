//! Whole demos over stand-ins for the collector that share slots exactly once, and over such that have a flaw: the demo must tell them
//! apart. Each takes some seconds, since it plays a real story in real time.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that can't go on has failed

mod stand_in;

use std::path::Path;
use std::time::Duration;

use loadtest::demo::{DemoError, DemoOptions, Verdict, run};
use loadtest::process::Process;
use stand_in::{BEHAVIOUR, binary};

/// Not a test when it is run among the others: the body of the stand-in's process.
#[test]
fn stand_in() {
    stand_in::main();
}

/// Where a demo that runs as a process of its own has its files; without it, [`demo_process`] does nothing.
const DEMO_DIR: &str = "DEMO_DIR";

/// Not a test when it is run among the others: a demo in a process that can be signalled.
#[tokio::test]
async fn demo_process() {
    let Some(dir) = std::env::var_os(DEMO_DIR) else { return };
    let dir = Path::new(&dir);
    let verdict = run(DemoOptions { dir: Some(dir.join("fleet")), ..options(dir, "scrape") }).await.unwrap();
    std::process::exit(if verdict.interrupted { 130 } else { 0 });
}

fn options(dir: &Path, behaviour: &str) -> DemoOptions {
    DemoOptions {
        targets: 6,
        series: 5,
        interval: Duration::from_millis(300),
        detection: Duration::from_millis(300),
        for_: Duration::from_secs(4),
        plain: true,
        environment: vec![(BEHAVIOUR.to_owned(), behaviour.to_owned())],
        ..DemoOptions::new(binary(dir))
    }
}

async fn demo(behaviour: &str) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    run(options(dir.path(), behaviour)).await.unwrap()
}

#[tokio::test]
async fn an_interrupted_demo_ends_its_processes_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "demo_process", "--nocapture"]).env(DEMO_DIR, dir.path());
    let demo = Process::spawn("demo", command, &dir.path().join("log")).unwrap();
    let log = || std::fs::read_to_string(demo.log()).unwrap();
    while !log().contains("00:00  targets 6") {
        assert!(demo.exit_status().is_none(), "{}", log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stopped = demo.stop(Duration::from_secs(20)).await.unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", log());
    assert!(log().contains("interrupted: the processes are ended, there is no verdict"), "{}", log());
    for node in ["node-1", "node-2", "node-3"] {
        let log = std::fs::read_to_string(dir.path().join("fleet").join(node).join("log")).unwrap();
        let pid = log.lines().find_map(|l| l.strip_prefix("started as ")?.strip_suffix(" with")).unwrap().to_owned();
        // Killed, and then reaped by whoever inherits it.
        while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_fleet_that_scrapes_exactly_once_passes_its_join_leave_and_crash() {
    let verdict = demo("scrape").await;
    assert!(verdict.passed && !verdict.interrupted, "{}\n{:#}", verdict.text, verdict.json);
    let json = &verdict.json;
    assert_eq!((json["planned"]["gaps"].as_u64(), json["planned"]["duplicates"].as_u64()), (Some(0), Some(0)));
    assert!(json["planned"]["expected"].as_u64() > Some(40), "{json:#}");
    let events: Vec<&str> = json["events"].as_array().unwrap().iter().map(|e| e["text"].as_str().unwrap()).collect();
    let story = ["a node is started", "node-4 joined", "node-3 is told to leave", "node-3 left", "node-1 is killed"];
    assert!(events.len() == story.len() && events.iter().zip(story).all(|(e, s)| e.starts_with(s)), "{events:?}");
}

#[tokio::test]
async fn a_leave_that_loses_a_slot_fails() {
    let verdict = demo("scrape, lose on leave").await;
    assert!(!verdict.passed, "{}", verdict.text);
    assert!(verdict.json["planned"]["gaps"].as_u64() >= Some(1), "{:#}", verdict.json);
    assert!(verdict.text.contains("never scraped") && verdict.text.ends_with("FAILED"), "{}", verdict.text);
}

#[tokio::test]
async fn a_join_that_scrapes_twice_fails() {
    let verdict = demo("scrape, double on join").await;
    assert!(!verdict.passed, "{}", verdict.text);
    assert!(verdict.json["planned"]["duplicates"].as_u64() >= Some(1), "{:#}", verdict.json);
}

#[tokio::test]
async fn options_that_leave_no_room_for_the_story_are_refused_with_the_remedy() {
    let refused = |change: fn(&mut DemoOptions)| async move {
        let mut options = DemoOptions::new("collector".into());
        change(&mut options);
        let error = run(options).await.unwrap_err();
        assert!(matches!(error, DemoError::Options(_)), "{error}");
        error.to_string()
    };
    assert!(refused(|o| o.for_ = Duration::from_secs(10)).await.starts_with("--for must be at least 48s"));
    assert!(refused(|o| o.nodes = 1).await.starts_with("--nodes must be at least 2"));
    assert!(refused(|o| o.interval = Duration::from_millis(10)).await.starts_with("--interval must be at least 100ms"));
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_named() {
    let error = run(DemoOptions { plain: true, ..DemoOptions::new("/does/not/exist".into()) }).await.unwrap_err().to_string();
    assert!(error.starts_with("node-1: can't start /does/not/exist"), "{error}");
}
