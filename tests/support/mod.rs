//! What end-to-end tests share: Debian's programs, free ports, and a real Prometheus as receiver.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)] // tests: each uses a part, and fails by panicking

pub mod calm;
pub mod hostile;
pub mod member;
pub mod papers;
pub mod pipe;
pub mod promql;
pub mod scenario;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use loadtest::fleet::Node;
use loadtest::process::Process;
use serde_json::Value;
use tokio::process::Command;

/// The collector that is tested.
pub fn collector() -> PathBuf {
    env!("CARGO_BIN_EXE_collector").into()
}

/// One of Debian's programs.
pub fn debian(program: &str) -> PathBuf {
    debian_file(&format!("usr/bin/{program}"))
}

/// A file of Debian's packages. Tests that need them are never skipped: without them they fail, and say what brings them.
pub fn debian_file(path: &str) -> PathBuf {
    let root = std::env::var_os("COLLECTOR_TEST_DEBIAN_ROOT").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian"));
    let path = root.join(path);
    assert!(path.exists(), "{} is not there; run the tests with `cargo xtask test`, or bring it with `cargo xtask debian`", path.display());
    path
}

/// A port that nobody uses now and no other test of this process gets: from below those that the kernel gives to whoever asks for any
/// (32768 and up), so that it stays free until its user comes, and while its user is restarted.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 8_000) as u16;
    loop {
        let port = first + TAKEN.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// How long anything may take that is not itself under test, on a machine that is busy with others.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// GET; asked again until there is an answer.
pub async fn get(url: &str) -> (u16, String) {
    let client = net::Client::new(&net::HttpClientConfig::default(), net::ClientOptions::default()).unwrap();
    let answer = async || {
        let request = http::Request::get(url).body(Bytes::new().into()).unwrap();
        let response = client.send(request).await.ok()?;
        let status = response.status().as_u16();
        let body = net::read_body(response, 64 << 20).await.ok()?;
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let answered = async {
        loop {
            if let Some(answer) = answer().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("no answer: {url}"))
}

/// A node's metrics as text; asked again until it answers.
pub async fn metrics(node: &Node) -> String {
    let (status, text) = get(&node.url("/metrics")).await;
    assert_eq!(status, 200, "{text}");
    text
}

/// Lets the world go on.
pub async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Waits until `condition` holds; fails with `what` after `within`.
pub async fn until<F: Future<Output = bool>>(what: &str, within: Duration, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + within;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Debian's node_exporter on a free port.
pub async fn node_exporter(folder: &Path) -> (Process, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(debian("prometheus-node-exporter"));
    command.arg(format!("--web.listen-address={address}"));
    let log = folder.join(format!("node-exporter-{address}.log"));
    let process = Process::spawn("node_exporter", command, &log).unwrap();
    process.ready(&format!("http://{address}/metrics"), Duration::from_secs(20)).await.unwrap();
    (process, address)
}

/// Debian's Prometheus as a receiver of remote write.
pub struct Prometheus {
    process: Process,
    address: String,
}

impl Prometheus {
    pub async fn start(folder: &Path) -> Self {
        let config = folder.join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(debian("prometheus"));
        command.arg("--web.enable-remote-write-receiver").arg(format!("--web.listen-address={address}"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
        let process = Process::spawn("prometheus", command, &folder.join("prometheus.log")).unwrap();
        process.ready(&format!("http://{address}/-/ready"), Duration::from_secs(30)).await.unwrap();
        Self { process, address }
    }

    /// Where collectors send to.
    pub fn write_url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// The raw samples of the last ten minutes, (milliseconds, value), by the label `instance`.
    pub async fn raw(&self, selector: &str) -> BTreeMap<String, Vec<(i64, String)>> {
        let query: String = url::form_urlencoded::byte_serialize(format!("{selector}[10m]").as_bytes()).collect();
        let (status, body) = get(&format!("http://{}/api/v1/query?query={query}", self.address)).await;
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let mut found = BTreeMap::new();
        for series in body["data"]["result"].as_array().unwrap() {
            let instance = series["metric"]["instance"].as_str().unwrap_or_default().to_owned();
            let samples = series["values"].as_array().unwrap().iter();
            let samples = samples.map(|pair| ((pair[0].as_f64().unwrap() * 1000.0).round() as i64, pair[1].as_str().unwrap().to_owned()));
            let before = found.insert(instance.clone(), samples.collect());
            assert!(before.is_none(), "two series of {selector} for {instance}: labels differ between nodes");
        }
        found
    }

    /// One of Prometheus' own counters.
    pub async fn counter(&self, name: &str) -> f64 {
        let (_, text) = get(&format!("http://{}/metrics", self.address)).await;
        loadtest::fleet::metric_sum(&text, name).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}
