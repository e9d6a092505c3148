//! Whole demos over stand-ins for the collector that share slots exactly once, and over such that have a flaw: the demo must tell them
//! apart. Each takes some seconds, since it plays a real story in real time.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that can't go on has failed

mod stand_in;

use std::time::Duration;

use loadtest::demo::{DemoError, DemoOptions, Verdict, run};
use stand_in::{BEHAVIOUR, binary};

/// Not a test when it is run among the others: the body of the stand-in's process.
#[test]
fn stand_in() {
    stand_in::main();
}

async fn demo(behaviour: &str) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    let options = DemoOptions {
        targets: 6,
        series: 5,
        interval: Duration::from_millis(300),
        detection: Duration::from_millis(300),
        for_: Duration::from_secs(4),
        plain: true,
        environment: vec![(BEHAVIOUR.to_owned(), behaviour.to_owned())],
        ..DemoOptions::new(binary(dir.path()))
    };
    run(options).await.unwrap()
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
