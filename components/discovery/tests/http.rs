//! `discovery.http` against servers on loopback.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use parking_lot::Mutex;
use support::{Answer, Running, Server, json};

const ONE: &str = r#"[{"targets":["a:1"],"labels":{"env":"prod"}}]"#;
/// What the server does.
type Fault = fn() -> Answer;

const OTHER: &str = r#"[{"targets":["b:1"]}]"#;

fn start(url: &str, more: &str) -> Running {
    Running::start("discovery.http", &format!("url = \"{url}\"\n{more}")).unwrap()
}

#[tokio::test]
async fn targets_are_exported_with_their_labels_and_the_server_is_asked_as_prometheus_asks() {
    let server = Server::start(|_| Some(json(ONE))).await;
    let mut running = start(&server.url, "bearer_token = \"t\"");
    assert!(running.targets("targets").is_empty(), "nothing is known before the first answer");
    let expected = format!(r#"{{__address__="a:1", __meta_url="{}", env="prod"}}"#, server.url);
    assert_eq!(running.next_targets().await, [expected]);
    running.until("healthy", "1 targets").await;
    let headers = server.asked.lock()[0].clone();
    assert_eq!(headers["accept"], "application/json");
    assert_eq!(headers["x-prometheus-refresh-interval-seconds"], "60");
    assert_eq!(headers["authorization"], "Bearer t");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("collector/"));
    assert!(running.debug_info().await.contains("targets"));
    running.stop().await;
}

#[tokio::test]
async fn a_failing_server_leaves_the_last_targets_and_is_told_as_the_cause() {
    let faults: [(Fault, &str); 4] = [
        (|| Response::builder().status(503).body(Full::default()).unwrap(), "server returned HTTP status 503 Service Unavailable"),
        (
            || Response::builder().header("content-type", "text/html").body(Full::new(Bytes::from(ONE))).unwrap(),
            "unsupported content type \"text/html\"",
        ),
        (|| json("[null]"), "nil target group item found"),
        (|| json("{"), "expected a sequence"),
    ];
    for (fault, cause) in faults {
        let now: Arc<Mutex<Fault>> = Arc::new(Mutex::new(|| json(ONE)));
        let answer = now.clone();
        let server = Server::start(move |_| Some(answer.lock()())).await;
        let mut running = start(&server.url, "refresh_interval = \"100ms\"");
        assert!(running.next_targets().await[0].contains("a:1"));
        *now.lock() = fault;
        let message = running.until("unhealthy", cause).await;
        assert!(message.starts_with("1 targets stay from before: ") && message.contains(&server.url), "{message}");
        assert!(running.is_quiet());
        let metrics = running.metrics();
        for name in ["prometheus_sd_http_failures_total{", "prometheus_sd_refresh_failures_total{"] {
            assert!(metrics.lines().any(|line| line.starts_with(name) && !line.ends_with(" 0")), "{name}\n{metrics}");
        }
        *now.lock() = || json(OTHER);
        assert!(running.next_targets().await[0].contains("b:1"));
        running.until("healthy", "1 targets").await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_fails_within_the_interval_and_holds_up_nothing() {
    let server = Server::start(|_| None).await;
    let running = start(&server.url, "refresh_interval = \"30ms\"");
    running.until("unhealthy", "no answer within 30ms").await;
    let other = Server::start(|_| Some(json(OTHER))).await;
    let mut running_long = start(&server.url, "refresh_interval = \"1h\"");
    while server.asked.lock().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(!running_long.debug_info().await.is_empty(), "asked in the middle of a refresh");
    running_long.update(&format!("url = \"{}\"", other.url));
    assert!(running_long.next_targets().await[0].contains("b:1"));
    running_long.stop().await;
    running.stop().await;
}

#[tokio::test]
async fn new_arguments_keep_the_old_targets_until_they_have_found_some() {
    let server = Server::start(|_| Some(json(ONE))).await;
    let mut running = start(&server.url, "");
    running.next_targets().await;
    running.update("url = \"http://127.0.0.1:1/\"");
    running.until("unhealthy", "1 targets stay from before").await;
    assert!(running.is_quiet());
    running.update(&format!("url = \"{}\"\ntls_config {{\nca_pem = \"x\"\n}}", server.url));
    running.until("unhealthy", "the last good arguments stay: tls_config").await;
    let other = Server::start(|_| Some(json(OTHER))).await;
    running.update(&format!("url = \"{}\"", other.url));
    assert!(running.next_targets().await[0].contains("b:1"));
    running.until("healthy", "1 targets").await;
    running.stop().await;
}

#[tokio::test]
async fn a_password_in_the_url_is_sent_and_never_shown() {
    let broken = Arc::new(AtomicBool::new(false));
    let answer = broken.clone();
    let server = Server::start(move |_| Some(json(if answer.load(Ordering::Relaxed) { "x" } else { ONE }))).await;
    let url = server.url.replace("http://", "http://me:hunter2@");
    let mut running = start(&url, "refresh_interval = \"100ms\"");
    let targets = running.next_targets().await;
    broken.store(true, Ordering::Relaxed);
    assert!(targets[0].contains("me:xxxxx@") && !targets[0].contains("hunter2"), "{targets:?}");
    let message = running.until("unhealthy", "expected value").await;
    assert!(!message.contains("hunter2"), "{message}");
    assert_eq!(server.asked.lock()[0]["authorization"], "Basic bWU6aHVudGVyMg==");
    running.stop().await;
}

#[tokio::test]
async fn wrong_arguments_are_refused() {
    for (body, part) in [
        ("", "url"),
        ("url = \"ftp://x\"", "only http and https"),
        ("url = \"http://x\"\nrefresh_interval = \"0s\"", "refresh_interval must be greater than 0"),
        ("url = \"http://x\"\nbearer_token = \"a\"\nbearer_token_file = \"b\"", "at most one of"),
        ("url = \"http://x\"\nproxy_url = \"ftp://p\"", "only http, https, socks5"),
    ] {
        let error = Running::start("discovery.http", body).err().unwrap();
        assert!(error.contains(part), "{body}: {error}");
    }
}
