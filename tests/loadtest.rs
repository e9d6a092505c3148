//! `collector loadtest` as people run it: scenarios over real processes, its exit codes, its parts alone, and the files that are shipped.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::path::Path;
use std::time::Duration;

use loadtest::process::{Process, Signal};
use loadtest::scenario;
use serde_json::Value;
use support::calm::calmly;
use support::scenario::{kept, loadtest, play};
use support::{collector, free_port, get, until};
use tokio::process::Command;

const SMALL: &str = "fleet: {nodes: 3}\ntargets: {count: 18, series: 10, interval: 1s}\n";

#[tokio::test(flavor = "multi_thread")]
async fn planned_changes_of_a_real_fleet_keep_their_promises_and_exit_with_0() {
    calmly(async || {
        let steps = "for: 10s\nsteps:\n- {at: 3s, join: 1}\n- {at: 6s, leave: oldest}\n";
        let (code, report) = play(&format!("{SMALL}{steps}")).await;
        assert_eq!((code, &report["passed"]), (Some(0), &Value::Bool(true)), "{report:#}");
        assert!(report["total"]["slots"].as_u64() > Some(150) && report["total"]["gaps"] == 0, "{report:#}");
        assert_eq!(report["total"]["received_samples"], report["total"]["expected_samples"]);
        assert_eq!(report["nodes"].as_array().unwrap().len(), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_that_may_cost_nothing_breaks_its_promise_and_exits_with_1() {
    let steps = "steps:\n- {at: 2s, kill: any, detection: 2s, allow: {gaps: 0}}\nfor: 8s\n";
    let (code, report) = play(&format!("{SMALL}{steps}")).await;
    assert_eq!((code, &report["passed"]), (Some(1), &Value::Bool(false)), "{report:#}");
    assert!(kept(&report, "kill").contains(&("gaps", false)), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_with_2_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    std::fs::write(&file, "steps:\n- at: 5s\n  kil: any\n").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, expected) in [
        (vec!["--scenario", file], "broken.yaml:3: unknown key `kil`; did you mean `kill`?"),
        (vec!["--scenario", "/does/not/exist.yaml"], "/does/not/exist.yaml: can't read it"),
        (vec!["--nodse", "3"], "'--nodes'"),
        (vec!["--mix", "50%:10"], "add up to 50.0 %"),
        (vec!["--series", "5", "--mix", "100%:10"], "cannot be used with"),
        (vec!["--for", "5s"], "--for must be at least"),
        (vec!["--targets", "0"], "must be 1 to 1000000"),
        (vec!["--node-env", "NAME"], "write NAME=VALUE"),
        (vec!["receiver"], "--interval"),
    ] {
        let output = loadtest(&arguments).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(expected) && output.stdout.is_empty(), "{arguments:?}: {text}");
    }
}

#[test]
fn the_scenarios_that_are_shipped_make_sense() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/loadtest");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario = scenario::read(&path).unwrap_or_else(|e| panic!("{e}"));
        assert!(!scenario.steps.is_empty(), "{}", path.display());
        names.push(scenario.name);
    }
    names.sort_unstable();
    assert_eq!(names, ["kill", "receiver-down", "rolling-restart", "scale", "silence", "targets"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_and_judge_alone_serve_a_collector_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let spawn = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(collector());
        command.args(arguments);
        Process::spawn(name, command, &folder.path().join(format!("{name}.log"))).unwrap()
    };
    let [targets, judge, own] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let sd = format!("http://{targets}/sd");
    let serves = spawn("targets", &["loadtest", "targets", "--listen", &targets, "--targets", "5", "--series", "20", "--interval", "1s"]);
    serves.ready(&sd, Duration::from_secs(20)).await.unwrap();
    let judges = spawn("judge", &["loadtest", "receiver", "--listen", &judge, "--interval", "1s", "--expect", &sd, "--output", "json"]);
    judges.ready(&format!("http://{judge}/-/ready"), Duration::from_secs(20)).await.unwrap();
    let pipeline = loadtest::alloy::Pipeline::new(sd, format!("http://{judge}/api/v1/write"), Duration::from_secs(1));
    let pipeline = loadtest::alloy::Pipeline { clustering: false, batch_deadline: Some(Duration::from_millis(500)), ..pipeline };
    let config = folder.path().join("config.alloy");
    std::fs::write(&config, pipeline.to_string()).unwrap();
    let (listen, storage) =
        (format!("--server.http.listen-addr={own}"), format!("--storage.path={}", folder.path().join("data").display()));
    let _scrapes = spawn("collector", &["run", &listen, &storage, config.to_str().unwrap()]);
    until("the judge has seen all targets", Duration::from_secs(60), || async {
        let (_, report) = get(&format!("http://{judge}/report")).await;
        let report: Value = serde_json::from_str(&report).unwrap();
        report["targets"] == 5 && report["totals"]["series"].as_u64() >= Some(5 * 20)
    })
    .await;
    let (_, wrong) = get(&format!("http://{judge}/report?last=soon")).await;
    assert!(wrong.contains("is not a duration"), "{wrong}");
    judges.signal(Signal::Terminate);
    assert_eq!(judges.ended().await.code(), Some(130));
    let log = std::fs::read_to_string(judges.log()).unwrap();
    assert!(log.contains("\"targets\": 5"), "{log}");
}
