//! Fleets of real processes whose wall clocks differ: targets move between them, and no series goes back in time.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use loadtest::engine::{EngineOptions, run};
use loadtest::report::{Report, table};
use loadtest::scenario::parse;
use support::calm::calmly;
use support::{collector, debian_file};

/// Starts the collector with a wall clock that is off by what belongs to the node of this number, from 1 on.
fn with_clocks(folder: &Path, offsets: &[&str]) -> PathBuf {
    let library = debian_file(&format!("usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH));
    let case = |(number, offset): (usize, &&str)| format!("*--cluster.node-name=node-{number}\\ *) FAKETIME={offset} ;;\n");
    let cases: String = (1..).zip(offsets).map(case).collect();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n{cases}esac\nexport FAKETIME FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1\n\
         LD_PRELOAD='{}' exec '{}' \"$@\"\n",
        library.display(),
        collector().display()
    );
    let path = folder.join("collector");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn play(offsets: &[&str], steps: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let head = "fleet: {nodes: 3}\ntargets: {count: 24, series: 20, interval: 1s, churn: 10%, shuffle: true}\nsteps:\n";
    let scenario = parse("clocks.yaml", &format!("{head}{steps}")).unwrap();
    let options = EngineOptions { plain: true, ..EngineOptions::new(with_clocks(folder.path(), offsets)) };
    run(options, scenario).await.unwrap().report.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_clocks_a_second_apart_no_series_goes_back_in_time_and_nothing_is_lost_when_targets_move() {
    calmly(async || {
        let steps = "- {at: 4s, join: 1}\n- {at: 10s, leave: oldest}\n- {at: 16s, restart: {node: 2}}\n";
        let report = play(&["+0.5s", "-0.5s", "+0s", "-0.4s"], steps).await;
        let total = &report.total;
        assert!(total.moved > 5 && report.error.is_none(), "{}", table(&report));
        // Out of order or twice for one time: the judge refuses it, as Prometheus does.
        assert_eq!((total.refused_samples, total.lost, total.partial), (0, 0, 0), "{}", table(&report));
        assert_eq!((total.missing_markers, total.false_markers), (0, 0), "{}", table(&report));
        // Who takes a target over with a clock that is ahead scrapes late, by up to the difference. More than half an interval of one second
        // looks as if a slot had been missed and the next one doubled.
        assert!(total.gaps.max(total.duplicates) <= total.moved, "{}", table(&report));
    })
    .await;
}
