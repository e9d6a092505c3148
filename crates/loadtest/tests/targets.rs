//! The synthetic targets over real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that can't go on has failed

use std::collections::HashSet;
use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use loadtest::targets::{Churn, Size, TargetOptions, Targets, TargetsError};

async fn get(url: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = client.request(request.body(Empty::new()).unwrap()).await.unwrap().into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
}

async fn scrape(targets: &Targets, target: usize, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    get(&format!("http://{}{}", targets.address(target), Targets::path(target)), headers).await
}

fn small() -> TargetOptions {
    // One tick for the whole test: scrapes that follow each other see the same values.
    TargetOptions { targets: 3, series: 50, tick: Duration::from_secs(3600), ..TargetOptions::default() }
}

fn samples(text: &str) -> usize {
    text.lines().filter(|l| !l.starts_with('#')).count()
}

#[tokio::test]
async fn service_discovery_lists_every_target_with_its_path_and_instance() {
    let targets = Targets::start(TargetOptions { listeners: 2, ..small() }).await.unwrap();
    let (status, headers, body) = get(&targets.sd_url(), &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "application/json");
    let groups: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    assert_eq!(groups.len(), 3);
    let mut instances = HashSet::new();
    for group in &groups {
        let (address, path) = (group["targets"][0].as_str().unwrap(), group["labels"]["__metrics_path__"].as_str().unwrap());
        assert_eq!(get(&format!("http://{address}{path}"), &[]).await.0, StatusCode::OK);
        instances.insert(group["labels"]["instance"].as_str().unwrap().to_owned());
    }
    assert_eq!(instances.len(), 3);
    assert!(instances.iter().all(|i| targets.by_instance(i).is_some()));
    assert_ne!(groups[0]["targets"], groups[1]["targets"], "spread over both listeners");
}

#[tokio::test]
async fn only_announced_targets_are_listed() {
    let targets = Targets::start(small()).await.unwrap();
    targets.announce(1);
    let groups: Vec<serde_json::Value> = serde_json::from_slice(&get(&targets.sd_url(), &[]).await.2).unwrap();
    assert_eq!(groups.len(), 1);
}

#[tokio::test]
async fn a_scrape_has_exactly_the_series_asked_for_and_counts_itself() {
    let targets = Targets::start(small()).await.unwrap();
    for seq in 1..=3 {
        let (status, headers, body) = scrape(&targets, 1, &[]).await;
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(headers["content-length"], body.len().to_string());
        assert_eq!(samples(&text), 50);
        assert!(text.contains(&format!("\nprobe_seq {seq}\n")), "{text}");
    }
    assert_eq!((targets.served(0), targets.served(1), targets.served_total()), (0, 3, 3));
}

#[tokio::test]
async fn gzip_is_sent_when_asked_for_and_inflates_to_the_plain_text() {
    let targets = Targets::start(TargetOptions { series: 1000, ..small() }).await.unwrap();
    let (_, headers, plain) = scrape(&targets, 0, &[]).await;
    assert!(!headers.contains_key("content-encoding"));
    let (_, headers, packed) = scrape(&targets, 0, &[("accept-encoding", "zstd, gzip;q=0.5")]).await;
    assert_eq!(headers["content-encoding"], "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text.replace("\nprobe_seq 2\n", "\nprobe_seq 1\n"), String::from_utf8(plain.to_vec()).unwrap());
    let per_sample = packed.len() as f64 / 1000.0;
    assert!((8.0..=15.0).contains(&per_sample), "{per_sample} compressed bytes a sample, not about 11");
    let (_, headers, _) = scrape(&targets, 0, &[("accept-encoding", "gzip;q=0, deflate")]).await;
    assert!(!headers.contains_key("content-encoding"), "weight 0 means no");
    assert_eq!(targets.body_bytes() as usize, 2 * plain.len() + packed.len());
}

#[tokio::test]
async fn the_log_names_who_scraped() {
    let targets = Targets::start(small()).await.unwrap();
    scrape(&targets, 2, &[("user-agent", "agent/1")]).await;
    scrape(&targets, 2, &[("user-agent", "agent/1"), ("X-Probe-Node", "node-7")]).await;
    let log = targets.log(2);
    assert_eq!(log.iter().map(|s| (s.seq, s.client.as_str())).collect::<Vec<_>>(), [(1, "agent/1"), (2, "node-7")]);
    assert!(log[0].at_ms > 0 && log[0].at_ms <= log[1].at_ms);
}

#[tokio::test]
async fn a_target_that_is_down_answers_503_and_counts_no_scrape() {
    let targets = Targets::start(small()).await.unwrap();
    targets.set_down(0, true);
    assert_eq!(scrape(&targets, 0, &[]).await.0, StatusCode::SERVICE_UNAVAILABLE);
    targets.set_down(0, false);
    assert_eq!(scrape(&targets, 0, &[]).await.0, StatusCode::OK);
    assert_eq!(targets.served(0), 1);
}

#[tokio::test]
async fn a_failure_rate_fails_some_scrapes_and_not_all() {
    let targets = Targets::start(TargetOptions { failure_rate: 0.5, series: 2, ..small() }).await.unwrap();
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(scrape(&targets, 0, &[]).await.0 != StatusCode::OK);
    }
    assert!((5..=35).contains(&failed), "{failed} of 40 failed");
    assert_eq!(targets.served(0), 40 - failed as u64);
}

#[tokio::test]
async fn churning_series_carry_their_generation() {
    let churn = Some(Churn { fraction: 0.2, every: Duration::from_secs(3600), targets: 1.0 });
    let targets = Targets::start(TargetOptions { churn, ..small() }).await.unwrap();
    let text = String::from_utf8(scrape(&targets, 0, &[]).await.2.to_vec()).unwrap();
    assert_eq!(samples(&text), 50);
    assert!((8..=10).contains(&text.matches("rev=\"0\"").count()));
}

#[tokio::test]
async fn churning_series_change_when_they_are_told_to() {
    let churn = Some(Churn { fraction: 0.2, every: Duration::from_secs(3600), targets: 1.0 });
    let targets = Targets::start(TargetOptions { churn, ..small() }).await.unwrap();
    scrape(&targets, 0, &[]).await;
    targets.churn();
    let text = String::from_utf8(scrape(&targets, 0, &[]).await.2.to_vec()).unwrap();
    assert!((8..=10).contains(&text.matches("rev=\"1\"").count()) && !text.contains("rev=\"0\""), "{text}");
}

#[tokio::test]
async fn targets_of_a_mix_have_their_sizes() {
    let mix = vec![Size { share: 0.75, series: 10 }, Size { share: 0.25, series: 300 }];
    let targets = Targets::start(TargetOptions { targets: 8, mix, ..small() }).await.unwrap();
    let mut sizes = Vec::new();
    for target in 0..8 {
        let text = String::from_utf8(scrape(&targets, target, &[]).await.2.to_vec()).unwrap();
        assert_eq!(samples(&text), targets.series(target));
        sizes.push(samples(&text));
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 10, 10, 10, 10, 10, 300, 300]);
}

#[tokio::test]
async fn targets_for_others_are_listed_where_they_were_asked_or_where_they_are_told() {
    let address = |groups: &[u8]| {
        let groups: Vec<serde_json::Value> = serde_json::from_slice(groups).unwrap();
        groups[0]["targets"][0].as_str().unwrap().to_owned()
    };
    let any = "127.0.0.1:0".parse().unwrap();
    let asked = Targets::listen(small(), any, None).await.unwrap();
    let port = asked.listening().port();
    assert_eq!(address(&get(&format!("http://localhost:{port}/sd"), &[]).await.2), format!("localhost:{port}"));
    let told = Targets::listen(small(), any, Some("targets.example:80".to_owned())).await.unwrap();
    assert_eq!(address(&get(&told.sd_url(), &[]).await.2), "targets.example:80");
    let taken = Targets::listen(small(), told.listening(), None).await.unwrap_err().to_string();
    assert!(taken.contains(&told.listening().to_string()) && taken.contains("a port that is free"), "{taken}");
}

#[tokio::test]
async fn unknown_paths_and_targets_are_refused_with_the_known_ones() {
    let targets = Targets::start(small()).await.unwrap();
    let (status, _, body) = get(&format!("http://{}/metrics", targets.address(0)), &[]).await;
    assert_eq!((status, &body[..]), (StatusCode::NOT_FOUND, &b"there are /sd and /t/{target}/metrics\n"[..]));
    assert_eq!(scrape(&targets, 99, &[]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn options_out_of_range_are_named() {
    let error = Targets::start(TargetOptions { failure_rate: 2.0, ..small() }).await.unwrap_err();
    assert!(matches!(error, TargetsError::Option { option: "failure rate", .. }), "{error}");
    let mix = vec![Size { share: 0.5, series: 10 }];
    let error = Targets::start(TargetOptions { mix, ..small() }).await.unwrap_err();
    assert_eq!(error.to_string(), "synthetic targets: the sum of the mix's shares is 0.5:10, but must be 1, or 100 %");
    let error = Targets::start(TargetOptions { series: 0, ..small() }).await.unwrap_err();
    assert_eq!(error.to_string(), "synthetic targets: series is 0, but must be 1 to 2000000");
}
