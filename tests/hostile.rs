//! Targets and receivers that misbehave cost bounded memory, name themselves in health and metrics, and delay nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use loadtest::judge::Report;
use loadtest::measure::ProcessStats;
use support::calm::calmly;
use support::hostile::{Hostile, Kind};
use support::pipe::Pipe;
use support::{PATIENCE, pause, until};

/// The limit of a body in these tests. Misbehaviour may take twice that for each target that goes up to it (two at a time here: the bomb,
/// which is a gigabyte, and the endless one), and what the allocator keeps in its threads.
const BODY_LIMIT: u64 = 4 << 20;
const AT_IT: u64 = 2;
const NOISE: u64 = 32 << 20;

fn rss(pipe: &Pipe) -> u64 {
    ProcessStats::read(pipe.pid()).unwrap().peak_rss_bytes
}

/// Whoever is held up by others misses most of its slots; a slow machine costs a few.
fn went_on(report: &Report) {
    assert!(report.filled > 20, "{report:#?}");
    assert!(report.gaps + report.unanswered <= report.expected / 4, "{report:#?}");
    assert_eq!((report.totals.disorders, report.totals.conflicts), (0, 0), "{report:#?}");
}

async fn target(pipe: &Pipe, hostile: &Hostile) -> serde_json::Value {
    let (_, body) = pipe.get("/api/v1/targets").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let targets = body["data"]["activeTargets"].as_array().unwrap();
    let wanted = hostile.address.to_string();
    targets.iter().find(|target| target["scrapeUrl"].as_str().unwrap_or_default().contains(&wanted)).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_targets_fail_alone_in_bounded_memory() {
    calmly(async || {
    let kinds = [
        (Kind::Bomb, "body size limit exceeded"),
        (Kind::Endless, "--scrape.max-body-size"),
        (Kind::SlowLoris, "timed out"),
        (Kind::Silent, "timed out"),
        (Kind::Garbage, ""),
        (Kind::Circle, "redirect"),
        (Kind::Refusing, "400"),
    ];
    let mut hostile = Vec::new();
    for (kind, cause) in kinds {
        hostile.push((Hostile::start(kind).await, kind, cause));
    }
    let wide = Hostile::start(Kind::WideLabel).await;
    let addresses =
        hostile.iter().map(|(server, ..)| server).chain([&wide]).map(|server| format!("{{\"__address__\" = \"{}\"}}", server.address));
    let scrape = format!(
        "prometheus.scrape \"hostile\" {{\n\ttargets = [{}]\n\tforward_to = []\n\tscrape_interval = \"3s\"\n\tscrape_timeout = \"3s\"\n}}\n",
        addresses.collect::<Vec<_>>().join(", ")
    );
    let mut pipe = Pipe::beside("", &[format!("--scrape.max-body-size={BODY_LIMIT}")]).await;
    pipe.flows().await;
    pause(2).await;
    let before = rss(&pipe);
    pipe.add_blocks(&scrape).await;
    for (server, kind, cause) in &hostile {
        until(&format!("{kind:?} is seen to fail"), PATIENCE, || async {
            let target = target(&pipe, server).await;
            let error = target["lastError"].as_str().unwrap_or_default();
            // A slow machine may run out of time before it reaches the limit.
            let slow = matches!(kind, Kind::Bomb | Kind::Endless) && error.contains("timed out");
            target["health"] == "down" && (error.contains(cause) || slow)
        })
        .await;
    }
    until("a wide label is no failure", PATIENCE, || async { target(&pipe, &wide).await["health"] == "up" }).await;
    pause(6).await;
    let grown = rss(&pipe).saturating_sub(before);
    assert!(grown <= 2 * BODY_LIMIT * AT_IT + NOISE, "grew by {} MiB", grown >> 20);
    let report = pipe.end().await;
    went_on(&report);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_receivers_delay_no_other_endpoint_and_name_themselves() {
    calmly(async || {
        let mut endpoints = String::new();
        let mut hostile = Vec::new();
        for kind in [Kind::Silent, Kind::Garbage, Kind::Circle, Kind::Refusing, Kind::SlowLoris] {
            let server = Hostile::start(kind).await;
            let name = format!("{kind:?}").to_lowercase();
            endpoints.push_str(&format!(
            "\tendpoint {{\n\t\tname = {name:?}\n\t\turl = \"http://{}/write\"\n\t\tremote_timeout = \"1s\"\n\t\tqueue_config {{\n\t\t\t\
             batch_send_deadline = \"200ms\"\n\t\t}}\n\t}}\n",
            server.address
        ));
            hostile.push((server, name));
        }
        let mut pipe = Pipe::beside(&endpoints, &[]).await;
        pipe.flows().await;
        for (server, name) in &hostile {
            until(&format!("{name} shows"), PATIENCE, || async {
                let (status, health) = pipe.get("/-/healthy").await;
                let metrics = pipe.metrics().await;
                let counted = metrics.lines().any(|line| {
                    let counter = line.starts_with("prometheus_remote_storage_samples_failed_total")
                        || line.starts_with("prometheus_remote_storage_samples_retried_total");
                    counter && line.contains(&format!("remote_name=\"{name}\"")) && !line.ends_with(" 0")
                });
                status == 500 && health.contains("prometheus.remote_write.probe") && counted
            })
            .await;
            assert!(pipe.log().contains(&server.address.to_string()), "{}", pipe.log());
        }
        pause(3).await;
        went_on(&pipe.end().await);
    })
    .await;
}
