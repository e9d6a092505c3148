//! A stand-in for the collector: the test program itself, started again by a script with the collector's flags. It serves the pages that a
//! fleet reads and, where it is told to, scrapes for real: its nodes share the slots by creating files, which is exactly once by nature. So
//! fleet and demo can be tested without the collector, and with flaws that a collector should not have.

#![allow(dead_code)] // each test program uses a part

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use loadtest::clock::now_ms;
use parking_lot::Mutex;
use prost::Message as _;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The command line of a stand-in, one argument a line; without it, [`main`] does nothing.
const ARGUMENTS: &str = "STAND_IN_ARGUMENTS";
/// What the stand-in does: see [`main`].
pub const BEHAVIOUR: &str = "STAND_IN_BEHAVIOUR";

/// A script in `dir` that runs this program's test `stand_in` with the arguments it was given.
pub fn binary(dir: &Path) -> PathBuf {
    let path = dir.join("collector");
    let this = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\n{ARGUMENTS}=$(printf '%s\\n' \"$@\")\nexport {ARGUMENTS}\nexec '{}' --exact stand_in --nocapture\n",
        this.display()
    );
    let written = dir.join("collector.sh");
    std::fs::write(&written, script).unwrap();
    // By another process: a program can't be started while somebody has it open to write, as a child of another test may here.
    let installed = std::process::Command::new("install").args(["-m", "755"]).args([&written, &path]).status().unwrap();
    assert!(installed.success());
    path
}

/// The body of the stand-in's process.
pub fn main() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    println!("started as {} with\n{arguments}", std::process::id());
    let behaviour = std::env::var(BEHAVIOUR).unwrap_or_default();
    let value = |flag: &str| arguments.lines().find_map(|l| l.strip_prefix(flag)?.strip_prefix('=')).unwrap().to_owned();
    let address = value("--server.http.listen-addr");
    match behaviour.as_str() {
        "broken" => {
            eprintln!("Error: config.alloy:1:1: this configuration is broken");
            std::process::exit(1);
        }
        "port taken once" if !Path::new("tried").exists() => {
            std::fs::write("tried", address).unwrap();
            eprintln!("can't listen: Address already in use (os error 98)");
            std::process::exit(1);
        }
        _ => {}
    }
    let node = Arc::new(Node {
        name: value("--cluster.node-name"),
        address,
        scrapes: behaviour.starts_with("scrape"),
        loses_on_leave: behaviour == "scrape, lose on leave",
        doubles_on_join: behaviour == "scrape, double on join" && value("--cluster.node-name") == "node-4",
        refuses_reload: behaviour == "scrape, no reload",
        owned: Mutex::default(),
        sent: AtomicUsize::new(0),
        leaving: AtomicBool::new(false),
        reserves: behaviour.starts_with("scrape") && value("--cluster.node-name") == RESERVING_NODE,
    });
    let config = PathBuf::from(arguments.lines().last().unwrap());
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(node.live(&config));
    std::process::exit(0);
}

struct Node {
    name: String,
    address: String,
    scrapes: bool,
    loses_on_leave: bool,
    doubles_on_join: bool,
    refuses_reload: bool,
    /// When it last scraped a target.
    owned: Mutex<HashMap<String, i64>>,
    sent: AtomicUsize,
    leaving: AtomicBool,
    /// Whether [`RESERVED_TARGET`] is this node's.
    reserves: bool,
}

/// Who takes which slot is chance, but for this one node, which takes all slots of this one target while it lives: a node that is killed
/// must have held something, or nobody can take over from it.
const RESERVING_NODE: &str = "node-1";
const RESERVED_TARGET: &str = "target-00000";

/// What the configuration says.
struct Config {
    claims: PathBuf,
    sd_url: String,
    write_url: String,
    interval_ms: i64,
}

impl Config {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let quoted = |line: &str| line.split('"').nth(1).unwrap().to_owned();
        let mut urls = text.lines().filter(|l| l.contains("\"http://")).map(quoted);
        let interval = text.lines().find(|l| l.contains("scrape_interval")).map(quoted).unwrap();
        // Next to the folders of the nodes, for all of them.
        let claims = path.parent().unwrap().parent().unwrap().join("claims");
        std::fs::create_dir_all(&claims).unwrap();
        Self {
            claims,
            sd_url: urls.next().unwrap(),
            write_url: urls.next().unwrap(),
            interval_ms: interval.strip_suffix("ms").unwrap().parse().unwrap(),
        }
    }

    /// The lock that [`RESERVING_NODE`] has on [`RESERVED_TARGET`]: the kernel frees it when the process dies.
    fn reservation(&self) -> std::fs::File {
        std::fs::File::create(self.claims.join("reserved")).unwrap()
    }

    fn is_reserved(&self) -> bool {
        self.reservation().try_lock_shared().is_err()
    }

    fn claim_of(&self, instance: &str, slot: i64) -> PathBuf {
        self.claims.join(format!("{instance}-{slot}"))
    }

    /// Takes a slot, if this process is the first to do so. The claim is locked while its taker lives and has not let go of it.
    fn claim(&self, instance: &str, slot: i64) -> Option<std::fs::File> {
        let claim = self.claim_of(instance, slot);
        // Locked before anybody can see it.
        let own = self.claims.join(format!("{instance}-{slot}-{}", std::process::id()));
        let file = std::fs::File::create(&own).unwrap();
        file.lock().unwrap();
        let taken = std::fs::hard_link(&own, claim).is_ok();
        std::fs::remove_file(own).unwrap();
        taken.then_some(file)
    }

    /// Waits until whoever took a slot, if anybody did, has delivered it or died, so that samples stay in order.
    async fn settled(&self, instance: &str, slot: i64) {
        let Ok(claim) = std::fs::File::open(self.claim_of(instance, slot)) else { return };
        while claim.try_lock_shared().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

type Http = Client<HttpConnector, Full<Bytes>>;

async fn get(http: &Http, url: &str) -> Bytes {
    let reply = http.get(url.parse().unwrap()).await.unwrap();
    reply.into_body().collect().await.unwrap().to_bytes()
}

impl Node {
    async fn live(self: Arc<Self>, config: &Path) {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        // Told in a line, like the collector: the backtrace of a panic would push the cause out of the log's end, by which a fleet sees
        // that somebody else took the port in the meantime.
        let listener = TcpListener::bind(&self.address).await.unwrap_or_else(|error| {
            eprintln!("can't listen at {}: {error}", self.address);
            std::process::exit(1);
        });
        tokio::spawn(Arc::clone(&self).serve(listener));
        if !self.scrapes {
            term.recv().await;
            return;
        }
        let config = Arc::new(Config::read(config));
        let _reservation = self.reserves.then(|| {
            let file = config.reservation();
            file.lock().unwrap(); // whoever looks whether it is reserved has it for a moment
            file
        });
        let http: Http = Client::builder(TokioExecutor::new()).build_http();
        let groups: Vec<serde_json::Value> = serde_json::from_slice(&get(&http, &config.sd_url).await).unwrap();
        let mut loops = tokio::task::JoinSet::new();
        for group in groups {
            let label = |name: &str| group["labels"][name].as_str().unwrap().to_owned();
            let url = format!("http://{}{}", group["targets"][0].as_str().unwrap(), label("__metrics_path__"));
            loops.spawn(Arc::clone(&self).scrape_loop(Arc::clone(&config), http.clone(), label("instance"), url));
        }
        term.recv().await;
        self.leaving.store(true, Ordering::Relaxed);
        while loops.join_next().await.is_some() {}
    }

    async fn scrape_loop(self: Arc<Self>, config: Arc<Config>, http: Http, instance: String, url: String) {
        let mut slot = now_ms() / config.interval_ms + 1;
        let mut double = self.doubles_on_join;
        loop {
            let at = slot * config.interval_ms;
            // To scrape twice, it must have a slot; none but its owner's is sure.
            let mut early = if double { config.claim(&instance, slot) } else { None };
            while now_ms() < at {
                tokio::time::sleep(Duration::from_millis((at - now_ms()).max(1) as u64)).await;
            }
            if self.leaving.load(Ordering::Relaxed) {
                if self.loses_on_leave {
                    let next = slot.max(now_ms() / config.interval_ms) + 1;
                    (next..).find(|slot| config.claim(&instance, *slot).is_some());
                }
                return;
            }
            let foreign = instance == RESERVED_TARGET && !self.reserves;
            while foreign && !config.claim_of(&instance, slot).exists() && config.is_reserved() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if let Some(_claim) = early.take().or_else(|| config.claim(&instance, slot)) {
                config.settled(&instance, slot - 1).await;
                self.scrape(&config, &http, &instance, &url, at).await;
                if std::mem::take(&mut double) {
                    self.scrape(&config, &http, &instance, &url, at + config.interval_ms / 4).await;
                }
            }
            slot += 1;
        }
    }

    async fn scrape(&self, config: &Config, http: &Http, instance: &str, url: &str, timestamp: i64) {
        self.owned.lock().insert(instance.to_owned(), now_ms());
        let text = get(http, url).await;
        let text = std::str::from_utf8(&text).unwrap();
        let lines = text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split_once(' ').unwrap());
        let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
        let series = |(metric, value): (&str, &str)| TimeSeries {
            labels: vec![label("__name__", metric), label("instance", instance), label("job", "probe")],
            samples: vec![Sample { value: value.parse().unwrap(), timestamp }],
            ..TimeSeries::default()
        };
        let timeseries: Vec<TimeSeries> = std::iter::once(("up", "1")).chain(lines).map(series).collect();
        self.sent.fetch_add(timeseries.len(), Ordering::Relaxed);
        let body = snap::raw::Encoder::new().compress_vec(&WriteRequest { timeseries, metadata: vec![] }.encode_to_vec()).unwrap();
        let request = http::Request::post(&config.write_url)
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .body(Full::from(body))
            .unwrap();
        let reply = http.request(request).await.unwrap();
        assert_eq!(reply.status(), 204, "{:?}", reply.into_body().collect().await.unwrap().to_bytes());
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let len = stream.read(&mut request).await.unwrap_or(0);
            let path = String::from_utf8_lossy(&request[..len]).split(' ').nth(1).unwrap_or_default().to_owned();
            let body = self.page(&path);
            let status = if path == "/-/reload" && self.refuses_reload { "400 Bad Request" } else { "200 OK" };
            let reply = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    }

    fn page(&self, path: &str) -> String {
        let (name, address) = (&self.name, &self.address);
        match path {
            "/-/ready" => "ready".to_owned(),
            "/api/v0/web/peers" => format!(r#"[{{"name":"{name}","addr":"{address}","isSelf":true,"state":"participant"}}]"#),
            "/metrics" => format!("prometheus_remote_storage_samples_total {}\n", self.sent.load(Ordering::Relaxed)),
            p if p.starts_with("/api/v1/targets") => {
                let owned = self.owned.lock();
                let reserved = |instance: &str| self.reserves && instance == RESERVED_TARGET;
                let lately = owned.iter().filter(|(i, at)| **at > now_ms() - 1000 || reserved(i)).map(|(i, _)| i.as_str());
                let instances = if self.scrapes { lately.collect() } else { vec![path] };
                let targets: Vec<_> =
                    instances.iter().map(|i| serde_json::json!({ "labels": { "instance": i }, "health": "up" })).collect();
                serde_json::json!({ "status": "success", "data": { "activeTargets": targets } }).to_string()
            }
            _ => String::new(),
        }
    }
}
