//! `discovery.file` over real folders.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use support::Running;

/// So long that only watching can be the reason for a refresh.
const NEVER: &str = "1h";

fn start(folder: &Path, pattern: &str, interval: &str) -> Running {
    let files = format!("files = [\"{}/{pattern}\"]\nrefresh_interval = \"{interval}\"", folder.display());
    Running::start("discovery.file", &files).unwrap()
}

fn json(address: &str) -> String {
    format!("[{{\"targets\":[\"{address}\"]}}]")
}

/// Writes as careful writers do: beside, then renamed.
fn replace(path: &Path, content: &str) {
    let beside = path.with_extension("tmp");
    fs::write(&beside, content).unwrap();
    fs::rename(beside, path).unwrap();
}

fn target(address: &str, path: &Path) -> String {
    format!("{{__address__=\"{address}\", __meta_filepath=\"{}\"}}", path.display())
}

#[tokio::test]
async fn files_are_read_and_every_kind_of_change_is_seen_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.json"), folder.path().join("b.yml"));
    replace(&a, &json("a:1"));
    replace(&b, "- targets: ['b:1']\n");
    let files = format!("files = [\"{0}/*.json\", \"{0}/*.yml\"]\nrefresh_interval = \"{NEVER}\"", folder.path().display());
    let mut running = Running::start("discovery.file", &files).unwrap();
    assert_eq!(running.next_targets().await, [target("a:1", &a), target("b:1", &b)]);
    replace(&a, &json("a:2"));
    assert_eq!(running.next_targets().await, [target("a:2", &a), target("b:1", &b)]);
    let c = folder.path().join("c.json");
    replace(&c, &json("c:1"));
    assert_eq!(running.next_targets().await, [target("a:2", &a), target("b:1", &b), target("c:1", &c)]);
    fs::remove_file(&a).unwrap();
    assert_eq!(running.next_targets().await, [target("b:1", &b), target("c:1", &c)]);
    let metrics = running.metrics();
    assert!(metrics.contains(&format!("filename=\"{}\"", c.display())), "{metrics}");
    assert!(!metrics.contains(&format!("filename=\"{}\"", a.display())), "{metrics}");
    running.stop().await;
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_good_targets_while_others_change() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.json"), folder.path().join("b.json"));
    replace(&a, &json("a:1"));
    replace(&b, &json("b:1"));
    let mut running = start(folder.path(), "*.json", NEVER);
    running.next_targets().await;
    replace(&a, "[{");
    let message = running.until("unhealthy", "a.json").await;
    assert!(message.starts_with("2 targets stay from before: "), "{message}");
    replace(&b, &json("b:2"));
    assert_eq!(running.next_targets().await, [target("a:1", &a), target("b:2", &b)]);
    assert!(running.metrics().lines().any(|line| line.starts_with("prometheus_sd_file_read_errors_total") && !line.ends_with(" 0")));
    replace(&a, &json("a:2"));
    assert_eq!(running.next_targets().await, [target("a:2", &a), target("b:2", &b)]);
    running.until("healthy", "2 targets").await;
    running.stop().await;
}

#[tokio::test]
async fn a_folder_that_comes_later_is_found_at_the_interval_and_watched_from_then_on() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("later");
    let mut running = start(&folder, "a.json", "20ms");
    running.until("healthy", "no file matches").await;
    assert!(running.metrics().contains("prometheus_sd_file_watcher_errors_total{"), "{}", running.metrics());
    fs::create_dir(&folder).unwrap();
    replace(&folder.join("a.json"), &json("a:1"));
    assert_eq!(running.next_targets().await, [target("a:1", &folder.join("a.json"))]);
    running.update(&format!("files = [\"{}/a.json\"]\nrefresh_interval = \"{NEVER}\"", folder.display()));
    running.until("healthy", "1 targets").await;
    replace(&folder.join("a.json"), &json("a:2"));
    assert_eq!(running.next_targets().await, [target("a:2", &folder.join("a.json"))]);
    running.stop().await;
}

#[tokio::test]
async fn wrong_paths_are_refused() {
    for path in ["/x/a.txt", "/*/a.json"] {
        let error = Running::start("discovery.file", &format!("files = [\"{path}\"]")).err().unwrap();
        assert!(error.contains(&format!("path name {path:?} is not valid for file discovery")), "{error}");
    }
}
