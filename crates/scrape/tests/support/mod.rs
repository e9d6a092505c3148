//! Targets that do harm, and an engine that scrapes one of them beside some that are well.

#![allow(clippy::unwrap_used, clippy::panic, dead_code)] // helpers outside #[test] functions, not all of them used by each binary

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use model::{Batch, ConsumeMetrics, Labels, Refused};
use parking_lot::Mutex;
use prometheus::{Registry, TextEncoder};
use scrape::series::Rules;
use scrape::{Config, Engine, Health, Metrics, Ownership, Parts, Solo, Status, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The bound of a body in these tests.
pub const LIMIT: u64 = 2 << 20;
/// Targets that are well, beside the bad one.
const GOOD: usize = 10;
/// No test waits longer for what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A target that does with each connection what `serve` says. Lives as long as the test's runtime.
pub async fn target<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

pub const TEXT: &str = "Content-Type: text/plain";
pub const OPEN_METRICS: &str = "Content-Type: application/openmetrics-text";
pub const PROTOBUF: &str = "Content-Type: application/vnd.google.protobuf; encoding=delimited";

/// Answers a request with a head without a length, so that the body is what comes until the connection ends.
async fn answer(stream: &mut TcpStream, headers: &str) -> Option<()> {
    let mut request = [0; 4096];
    stream.read(&mut request).await.ok().filter(|read| *read > 0)?;
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").as_bytes()).await.ok()
}

/// A target that answers with one body.
pub async fn fixed(headers: &'static str, body: impl Into<Vec<u8>>) -> String {
    let body: Arc<Vec<u8>> = Arc::new(body.into());
    target(move |mut stream| {
        let body = body.clone();
        async move {
            answer(&mut stream, headers).await?;
            stream.write_all(&body).await.ok()
        }
    })
    .await
}

/// A target whose body begins with one piece and repeats another for ever.
pub async fn endless(headers: &'static str, first: Vec<u8>, piece: Vec<u8>) -> String {
    let (first, piece) = (Arc::new(first), Arc::new(piece));
    target(move |mut stream| {
        let (first, piece) = (first.clone(), piece.clone());
        async move {
            answer(&mut stream, headers).await?;
            stream.write_all(&first).await.ok()?;
            loop {
                stream.write_all(&piece).await.ok()?;
            }
        }
    })
    .await
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Keeps the batches of the target that is looked at.
#[derive(Default)]
pub struct Sink(pub Mutex<Vec<Batch>>);

impl ConsumeMetrics for Sink {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        let of_bad = batch.layout.iter().next().is_some_and(|series| series.get("who") == Some("bad"));
        if of_bad {
            self.0.lock().push(batch);
        }
        Ok(())
    }
}

/// An engine with one bad target, which is scraped once, and some good ones, which are all the time.
pub struct Bench {
    pub engine: Engine,
    pub sink: Arc<Sink>,
    registry: Registry,
}

impl Bench {
    pub async fn start(bad: &str, rules: Rules) -> Self {
        let (sink, registry) = (Arc::new(Sink::default()), Registry::new());
        let parts = Parts {
            sink: sink.clone(),
            transport: Arc::new(net::Client::new(&net::HttpClientConfig::default(), net::ClientOptions::default()).unwrap()),
            slots: Arc::new(Solo),
            clock: Arc::new(SystemClock::default()),
            metrics: Metrics::register(&registry).unwrap(),
        };
        let config = Config {
            job_name: "j".to_owned(),
            scrape_interval: Duration::from_millis(250),
            scrape_timeout: Duration::from_millis(250),
            max_body_size: LIMIT,
            rules,
            ownership: Ownership::Assigned,
            ..Config::default()
        };
        let good = fixed(TEXT, "a 1\n").await;
        let bad: Labels =
            [("__address__", bad), ("who", "bad"), ("__scrape_interval__", "1h"), ("__scrape_timeout__", "1h")].into_iter().collect();
        let named = |n: usize| -> Labels { [("__address__", good.as_str()), ("who", &n.to_string())].into_iter().collect() };
        let engine = Engine::start(config, parts).unwrap();
        let synced = engine.set_targets((0..GOOD).map(named).chain([bad]).collect());
        // A first slot that has begun is scraped at once: the bad target need not wait for its next one, an hour from now.
        synced.keys.iter().for_each(|(key, _)| engine.own(*key, 0, None));
        Self { engine, sink, registry }
    }

    /// The bad target's status, and those of the others by name.
    pub fn statuses(&self) -> (Status, BTreeMap<String, Status>) {
        let status = |target: &Arc<scrape::Target>| (target.labels.get("who").unwrap().to_owned(), target.status());
        let mut all: BTreeMap<String, Status> = self.engine.targets().iter().map(status).collect();
        (all.remove("bad").unwrap(), all)
    }

    /// Waits for something.
    pub async fn until(&self, what: &str, mut condition: impl FnMut(&Status, &BTreeMap<String, Status>) -> bool) {
        let waiting = async {
            loop {
                let (bad, good) = self.statuses();
                if condition(&bad, &good) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "in vain for: {what}; the bad target: {:?}", self.statuses().0);
    }

    /// Waits until each good target has had another good scrape, so often.
    pub async fn others_go_on(&self, times: usize) {
        for _ in 0..times {
            let (_, mut waiting) = self.statuses();
            self.until("the others", |_, good| {
                let has_gone_on = |who: &String, before: &Status| {
                    let now = &good[who];
                    now.health == Health::Up && now.last_scrape > before.last_scrape
                };
                // One after the other: on a busy machine not all may be well at the same time.
                waiting.retain(|who, before| !has_gone_on(who, before));
                waiting.is_empty()
            })
            .await;
        }
    }

    /// The error of the bad target's scrapes.
    pub async fn error(&self) -> String {
        self.until("an error", |bad, _| bad.health == Health::Down).await;
        self.statuses().0.last_error.to_string()
    }

    pub fn counted(&self, name: &str) -> f64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}
