//! Whole scenarios over stand-ins for the collector that share slots exactly once, and over such that have a flaw: the report must tell them
//! apart. Each takes some seconds, since it plays in real time.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that can't go on has failed

mod stand_in;

use std::path::Path;
use std::time::Duration;

use loadtest::engine::{EngineError, EngineOptions, Outcome, run};
use loadtest::load::Load;
use loadtest::process::Process;
use loadtest::report::{Promise, Report, StepReport, table};
use loadtest::scenario::{Scenario, parse};
use stand_in::{BEHAVIOUR, binary};

/// Not a test when it is run among the others: the body of the stand-in's process.
#[test]
fn stand_in() {
    stand_in::main();
}

/// Where a run that is a process of its own has its files; without it, [`run_process`] does nothing.
const RUN_DIR: &str = "RUN_DIR";

/// Not a test when it is run among the others: a run in a process that can be signalled.
#[tokio::test]
async fn run_process() {
    let Some(dir) = std::env::var_os(RUN_DIR) else { return };
    let dir = Path::new(&dir);
    let options = EngineOptions { dir: Some(dir.join("fleet")), ..options(dir) };
    let outcome = run(options, behaving(story(Duration::from_secs(60)), "scrape")).await.unwrap();
    std::process::exit(if outcome.interrupted { 130 } else { 0 });
}

fn options(dir: &Path) -> EngineOptions {
    EngineOptions { plain: true, ..EngineOptions::new(binary(dir)) }
}

/// The default story over six small targets.
fn story(length: Duration) -> Scenario {
    let interval = Duration::from_millis(300);
    let load = Load { targets: Some(6), series: Some(5), interval: Some(interval), ..Load::default() };
    Scenario { load, detection: Some(interval), ..Scenario::story(3, Some(length)) }
}

fn behaving(mut scenario: Scenario, behaviour: &str) -> Scenario {
    scenario.fleet.environment.push((BEHAVIOUR.to_owned(), behaviour.to_owned()));
    scenario
}

async fn report(scenario: Scenario, behaviour: &str) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let Outcome { interrupted, report } = run(options(dir.path()), behaving(scenario, behaviour)).await.unwrap();
    assert!(!interrupted);
    report.unwrap()
}

fn broken(report: &Report) -> Vec<(&str, &Promise)> {
    report.steps.iter().flat_map(|step| step.promises.iter().filter(|p| !p.kept).map(|p| (step.step.as_str(), p))).collect()
}

#[tokio::test]
async fn an_interrupted_run_ends_its_processes_and_reports_as_far_as_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "run_process", "--nocapture"]).env(RUN_DIR, dir.path());
    let running = Process::spawn("run", command, &dir.path().join("log")).unwrap();
    let log = || std::fs::read_to_string(running.log()).unwrap();
    // The second time that figures are printed.
    while log().matches("  targets ").count() < 2 {
        assert!(running.exit_status().is_none(), "{}", log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stopped = running.stop(Duration::from_secs(60)).await.unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", log());
    assert!(log().contains("promises kept, as far as it went: it was interrupted"), "{}", log());
    for node in ["node-1", "node-2", "node-3"] {
        let log = std::fs::read_to_string(dir.path().join("fleet").join(node).join("log")).unwrap();
        let pid = log.lines().find_map(|l| l.strip_prefix("started as ")?.strip_suffix(" with")).unwrap().to_owned();
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "ended and reaped");
    }
}

#[tokio::test]
async fn a_fleet_that_scrapes_exactly_once_keeps_its_promises_through_join_leave_and_crash() {
    let report = report(story(Duration::from_secs(8)), "scrape").await;
    assert!(report.passed, "{}\n{:#}", table(&report), report.to_json());
    let steps: Vec<(&str, usize)> = report.steps.iter().map(|s| (s.step.as_str(), s.nodes.len())).collect();
    assert_eq!(steps, [("start", 0), ("join", 1), ("leave", 1), ("kill", 1)]);
    assert_eq!(
        (report.steps[1].nodes[0].as_str(), report.steps[2].nodes[0].as_str(), report.steps[3].nodes[0].as_str()),
        ("node-4", "node-3", "node-1")
    );
    let whole = |s: &StepReport| s.figures.gaps == 0 && s.figures.slots > 0 && s.figures.received_samples == s.figures.expected_samples;
    assert!(report.steps[..3].iter().all(whole), "{:#}", report.to_json());
    assert!(report.steps[1].took_ms.is_some() && report.steps[3].first_scrape_ms.is_some(), "{:#}", report.to_json());
    assert!(report.total.slots > 80 && report.series == 36, "{:#}", report.to_json());
    assert_eq!(report.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["node-1", "node-2", "node-3", "node-4"]);
    // By chance, one of them may have taken no slot.
    let samples: u64 = report.nodes.iter().map(|n| n.samples).sum();
    assert!(report.nodes.iter().all(|n| n.rss_bytes > 0) && samples > 6 * 80, "{:?}", report.nodes);
    // A step begins when it is time, though the one before it may take longer.
    let events: Vec<&str> = report.events.iter().map(|e| e.text.as_str()).collect();
    let place = |start| events.iter().position(|event| event.starts_with(start)).unwrap_or_else(|| panic!("{start}: {events:?}"));
    assert!(place("a node is started") < place("node-4 joined") && place("node-3 is told to leave") < place("node-3 left"), "{events:?}");
    assert!(place("node-3 is told to leave") < place("node-1 is killed") && events.len() == 5, "{events:?}");
}

#[tokio::test]
async fn a_leave_that_loses_a_slot_breaks_its_promise() {
    // A leaver that is slow to hear of it loses a slot of the next step.
    const LATER: [&str; 2] = ["leave", "kill"];
    let report = report(story(Duration::from_secs(8)), "scrape, lose on leave").await;
    let broken = broken(&report);
    assert!(!report.passed && broken.iter().any(|(step, p)| LATER.contains(step) && p.of.starts_with("gaps") && p.found > 0), "{broken:?}");
    let text = table(&report);
    assert!(text.contains("BROKEN") && text.contains("never scraped") && text.contains("\nFAILED: "), "{text}");
}

#[tokio::test]
async fn a_join_that_scrapes_twice_breaks_its_promise() {
    let report = report(story(Duration::from_secs(8)), "scrape, double on join").await;
    let broken = broken(&report);
    assert!(!report.passed && broken.iter().any(|(_, p)| p.of == "duplicates" && p.found > 0), "{broken:?}");
}

#[tokio::test]
async fn targets_and_receiver_change_as_the_file_says() {
    let scenario = "targets: {count: 4, series: 6, interval: 400ms, churn: 50%}\nfleet: {nodes: 2}\nfor: 6s\nsteps:\n\
                    - {at: 1s, receiver: {fault: slow, delay: 50ms, for: 1s}}\n\
                    - {at: 2500ms, targets: {remove: 1}}\n- {at: 4s, restart: {node: 2}}\n";
    let report = report(parse("x.yaml", scenario).unwrap(), "scrape").await;
    let steps: Vec<(&str, Option<u64>)> = report.steps.iter().map(|s| (s.step.as_str(), s.took_ms)).collect();
    assert_eq!(steps.iter().map(|(step, _)| *step).collect::<Vec<_>>(), ["start", "receiver", "targets", "restart"]);
    assert!(steps[1].1 >= Some(1000) && steps[3].1.is_some(), "{steps:?}");
    assert_eq!(report.targets, 3);
    // The stand-in reads its targets once, and writes no markers: that is found.
    assert!(broken(&report).iter().all(|(_, p)| p.of == "markers"), "{}", table(&report));
    // By the times at which the steps came about: a target has as many slots as fit, or one more.
    let end_ms = (report.seconds * 1000.0) as i64;
    for (at, targets, until) in [(1, 4, report.steps[2].at_ms), (3, 3, end_ms)] {
        let (slots, fit) = (report.steps[at].figures.slots, (until - report.steps[at].at_ms) as u64 / 400);
        assert!((targets * fit..=targets * (fit + 1)).contains(&slots), "{at}: {slots} slots, {fit} for each of {targets}");
    }
}

#[tokio::test]
async fn a_step_that_can_t_be_done_ends_the_run_and_is_told_in_the_report() {
    let scenario = "targets: {count: 4, series: 6, interval: 400ms}\nfleet: {nodes: 2}\nsteps:\n\
                    - {at: 1s, join: 1}\n- {at: 2s, configure: {append: never}}\n- {at: 9s, kill: any}\n";
    // The stand-in has no page to reload at, so that this step fails.
    let report = report(parse("x.yaml", scenario).unwrap(), "scrape, no reload").await;
    let error = report.error.as_deref().unwrap_or_default();
    assert!(error.starts_with("node-1: did not take its new configuration: ") && !report.passed, "{}", table(&report));
    assert!(report.steps.iter().all(|s| s.step != "kill"), "{}", table(&report));
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_with_the_remedy_before_anything_starts() {
    let refused = |change: fn(&mut Scenario)| async move {
        let mut scenario = Scenario::story(3, None);
        change(&mut scenario);
        let error = run(EngineOptions::new("/does/not/exist".into()), scenario).await.unwrap_err();
        assert!(error.is_usage(), "{error}");
        error.to_string()
    };
    assert!(refused(|s| *s = Scenario::story(3, Some(Duration::from_secs(10)))).await.contains("--for must be at least 36s"));
    assert!(refused(|s| *s = Scenario::story(1, None)).await.contains("one must stay"));
    assert!(refused(|s| s.load.interval = Some(Duration::from_millis(10))).await.contains("at least 100ms"));
    assert!(refused(|s| s.load.targets = Some(0)).await.contains("targets is 0"));
    assert!(refused(|s| s.fleet.config = Some("/does/not/exist.alloy".into())).await.contains("/does/not/exist.alloy: can't read it"));
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_named() {
    let options = EngineOptions { plain: true, ..EngineOptions::new("/does/not/exist".into()) };
    let error = run(options, Scenario::story(3, None)).await.unwrap_err();
    assert!(!EngineError::is_usage(&error) && error.to_string().starts_with("node-1: can't start /does/not/exist"), "{error}");
}
