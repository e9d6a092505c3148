//! A fleet of real processes that says where a target comes from, who scrapes it and why, and what would become of it among other nodes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::collections::BTreeMap;

use loadtest::fleet::{Fleet, FleetOptions};
use loadtest::targets::{TargetOptions, Targets};
use serde_json::Value;
use support::{PATIENCE, collector, get, until};
use tokio::process::Command;

const TARGETS: usize = 40;

fn config(sd_url: &str) -> String {
    format!(
        "discovery.http \"probes\" {{\n\turl = \"{sd_url}\"\n\trefresh_interval = \"2s\"\n}}\n\n\
         discovery.relabel \"probes\" {{\n\ttargets = discovery.http.probes.targets\n\trule {{\n\t\tregex = \"never_there\"\n\t\taction = \
         \"labeldrop\"\n\t}}\n\trule {{\n\t\ttarget_label = \"zone\"\n\t\treplacement = \"north\"\n\t}}\n}}\n\n\
         prometheus.scrape \"probes\" {{\n\ttargets = discovery.relabel.probes.output\n\tforward_to = []\n\tscrape_interval = \"1s\"\n\t\
         scrape_timeout = \"1s\"\n\tclustering {{\n\t\tenabled = true\n\t}}\n}}\n"
    )
}

/// The command line's answer as JSON; what it says on standard error if it fails.
async fn ask(fleet: &Fleet, question: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(collector());
    command.arg("cluster").args(question).args(["--output", "json"]).arg(format!("--server={}", fleet.node(0).unwrap().url("/")));
    let output = command.output().await.unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

/// Who scrapes each target, by URL; empty while some have nobody or have not been scraped.
async fn owners(fleet: &Fleet) -> BTreeMap<String, String> {
    let targets = ask(fleet, &["targets"]).await.unwrap();
    let owner = |target: &Value| (target["scrapeUrl"].as_str().unwrap().to_owned(), target["owner"].as_str().unwrap().to_owned());
    let measured = |target: &&Value| target["load"].as_u64().is_some() && target["owner"] != "";
    let owners: BTreeMap<_, _> = targets.as_array().unwrap().iter().filter(measured).map(owner).collect();
    if owners.len() == TARGETS { owners } else { BTreeMap::new() }
}

/// The same once nothing has moved for some scrapes.
async fn settled(fleet: &Fleet) -> BTreeMap<String, String> {
    let mut before = owners(fleet).await;
    for _ in 0..PATIENCE.as_secs() / 3 {
        support::pause(3).await;
        let now = owners(fleet).await;
        if !now.is_empty() && now == before {
            return now;
        }
        before = now;
    }
    panic!("targets go on moving: {before:#?}");
}

async fn epoch(fleet: &Fleet, node: usize) -> f64 {
    let (_, text) = get(&fleet.node(node).unwrap().url("/metrics")).await;
    loadtest::fleet::metric_sum(&text, "collector_cluster_placement_epoch").unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_explains_its_targets_and_foretells_its_moves() {
    let targets = Targets::start(TargetOptions { targets: TARGETS, series: 20, ..TargetOptions::default() }).await.unwrap();
    let fleet = Fleet::start(FleetOptions::new(collector(), config(&targets.sd_url()))).await.unwrap();
    until("all targets are scraped and a table is written", PATIENCE, || async {
        !owners(&fleet).await.is_empty() && epoch(&fleet, 0).await >= 1.0 && epoch(&fleet, 2).await >= 1.0
    })
    .await;
    explains_each_target(&fleet).await;
    foretells_a_newcomer(&fleet).await;
    for (question, part) in [
        (&["explain", "http://nowhere"][..], "knows no target like"),
        (&["simulate", "--remove=stranger"], "stranger owns nothing here"),
        (&["simulate"], "--add N"),
    ] {
        let error = ask(&fleet, question).await.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

async fn explains_each_target(fleet: &Fleet) {
    let (url, owner) = settled(fleet).await.into_iter().next().unwrap();
    // A member that is slow to answer is left out.
    let all_views = async || {
        let answer = ask(fleet, &["explain", &url]).await.ok()?;
        (answer["targets"][0]["views"].as_array()?.len() == 3).then_some(answer)
    };
    until("all three tell their view", PATIENCE, async || all_views().await.is_some()).await;
    let answer = ask(fleet, &["explain", &url]).await.unwrap();
    let target = &answer["targets"][0];
    assert_eq!((answer["found"].as_u64(), target["owner"].as_str()), (Some(1), Some(&*owner)), "{answer:#}");
    assert_eq!(target["candidates"][0]["node"], *owner);
    let way = &target["way"];
    assert_eq!((&way[0]["component"], &way[1]["component"]), (&"discovery.http.probes".into(), &"discovery.relabel.probes".into()));
    let step = &way[1]["steps"][0];
    assert_eq!((&step["rule"], &step["changes"][0]["label"], &step["changes"][0]["after"]), (&2.into(), &"zone".into(), &"north".into()));
    let listed = ask(fleet, &["targets"]).await.unwrap();
    let listed = listed.as_array().unwrap().iter().find(|listed| listed["scrapeUrl"] == *url).unwrap().clone();
    assert!(listed["ownerSince"].is_string() && listed["ownerReason"].is_string() && listed["placedBy"].is_string(), "{listed:#}");
}

/// What `simulate --add` says is what a node that joins then brings about.
async fn foretells_a_newcomer(fleet: &Fleet) {
    let before = settled(fleet).await;
    let told = ask(fleet, &["simulate", "--add", "1"]).await.unwrap();
    let moves = told["moves"].as_array().unwrap();
    let expected: BTreeMap<_, _> =
        moves.iter().map(|step| (step["scrapeUrl"].as_str().unwrap().to_owned(), step["to"].as_str().unwrap().to_owned())).collect();
    assert!(!expected.is_empty(), "{told:#}");
    fleet.join().await.unwrap();
    until("the moves are those that were told", PATIENCE, || async {
        let moved: BTreeMap<_, _> = owners(fleet).await.into_iter().filter(|(url, owner)| before[url] != *owner).collect();
        moved == expected
    })
    .await;
}
