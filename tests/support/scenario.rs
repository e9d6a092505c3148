//! Scenarios of `collector loadtest`, as tests run them.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::collector;

/// How long a run may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(150);

/// Runs `collector loadtest`.
pub async fn loadtest(arguments: &[&str]) -> Output {
    let mut command = Command::new(collector());
    command.arg("loadtest").args(arguments).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await.expect("ends in time").unwrap()
}

/// Runs a scenario's text; the exit code and the report.
pub async fn play(text: &str) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().unwrap();
    play_in(folder.path(), text).await
}

/// The same, with the nodes' files in `folder`.
pub async fn play_in(folder: &Path, text: &str) -> (Option<i32>, Value) {
    let (file, fleet) = (folder.join("small.yaml"), folder.join("fleet"));
    std::fs::write(&file, text).unwrap();
    let output = loadtest(&["--output", "json", "--dir", fleet.to_str().unwrap(), "--scenario", file.to_str().unwrap()]).await;
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr))))
}

/// The lines with `text` in the logs of all nodes that ran in `folder`.
pub fn logged(folder: &Path, text: &str) -> Vec<String> {
    let logs = std::fs::read_dir(folder.join("fleet")).unwrap().map(|node| node.unwrap().path().join("log"));
    let texts: Vec<String> = logs.filter_map(|log| std::fs::read_to_string(log).ok()).collect();
    texts.iter().flat_map(|log| log.lines()).filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// Which promises of a step were kept.
pub fn kept<'a>(report: &'a Value, step: &str) -> Vec<(&'a str, bool)> {
    let step = report["steps"].as_array().unwrap().iter().find(|s| s["step"] == step).unwrap();
    step["promises"].as_array().unwrap().iter().map(|p| (p["of"].as_str().unwrap(), p["kept"].as_bool().unwrap())).collect()
}
