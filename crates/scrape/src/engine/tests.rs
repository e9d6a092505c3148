//! The engine in virtual time, over HTTP in memory; and a little over real sockets.

mod formats;
mod keys;
mod loopback;
mod outcome;
mod ownership;
mod reload;
mod schedule;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::{Batch, ConsumeMetrics, Labels, Refused, stale::is_stale};
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::fetch::{Send, TransportError};
use crate::testing::{Pieces, Then, text};

/// The virtual epoch: a round number of seconds.
const EPOCH: i64 = 1_700_000_000_000;

/// Makes the transport panic.
const PANIC: u16 = 599;

/// What a target does when it is asked.
#[derive(Clone)]
enum Act {
    Answer(String),
    /// With a content type.
    Typed(&'static str, Vec<u8>),
    Status(u16),
    After(Duration, String),
    Hang,
    Panic,
}

fn answer(body: &str) -> Act {
    Act::Answer(body.to_owned())
}

/// Targets in memory: each request gets a connection of its own, without a socket.
struct Memory(Mutex<Answers>);

type Answers = Box<dyn FnMut(&Request<Incoming>) -> Act + std::marker::Send>;

impl Memory {
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Pieces>, Infallible> {
        let act = self.0.lock()(&request);
        let (wait, body) = match act {
            Act::Answer(body) => (Duration::ZERO, body),
            Act::Typed(content_type, body) => {
                let mut response = text(body);
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                return Ok(response);
            }
            Act::After(wait, body) => (wait, body),
            Act::Panic => return Ok(Response::builder().status(PANIC).body(Pieces::new([], Then::End)).unwrap()),
            Act::Status(status) => {
                let mut response = text("");
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                return Ok(response);
            }
            Act::Hang => (Duration::from_secs(1_000_000), String::new()),
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(text(body))
    }
}

struct InMemory(Arc<Memory>);

impl Transport for InMemory {
    fn send(&self, request: Request<Full<Bytes>>) -> Send<'_> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let memory = self.0.clone();
            let service = service_fn(move |request| memory.clone().serve(request));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service));
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(|error| TransportError::new(&error.to_string()))?;
            assert_ne!(response.status(), PANIC, "on purpose");
            Ok(response.map(Into::into))
        })
    }
}

/// Keeps what it is given, and can refuse.
#[derive(Default)]
struct Sink {
    batches: Mutex<Vec<Batch>>,
    news: Notify,
    refusing: AtomicBool,
    flushes: AtomicUsize,
}

impl ConsumeMetrics for Sink {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        if self.refusing.load(Ordering::Relaxed) {
            return Err(Refused::Full);
        }
        self.batches.lock().push(batch);
        self.news.notify_one();
        Ok(())
    }

    fn flush(&self) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Virtual time, with an offset that tests may change.
struct TestClock {
    began: Instant,
    offset: AtomicI64,
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        EPOCH + self.began.elapsed().as_millis() as i64 + self.offset.load(Ordering::Relaxed)
    }
}

/// Slots at a quarter of the interval, which may be denied.
#[derive(Default)]
struct Quarter {
    denied: AtomicBool,
    asked: Mutex<Vec<(u64, u64)>>,
}

impl Slots for Quarter {
    fn phase_ms(&self, _key: u64, interval_ms: u64) -> u64 {
        interval_ms / 4
    }

    fn begin(&self, key: u64, slot: u64) -> bool {
        self.asked.lock().push((key, slot));
        !self.denied.load(Ordering::Relaxed)
    }
}

/// A job with what surrounds it.
struct Bench {
    engine: Engine,
    sink: Arc<Sink>,
    clock: Arc<TestClock>,
    slots: Arc<Quarter>,
    parts: Parts,
}

fn config() -> Config {
    Config {
        job_name: "j".to_owned(),
        scrape_interval: Duration::from_secs(10),
        scrape_timeout: Duration::from_secs(5),
        ..Config::default()
    }
}

impl Bench {
    fn new(config: Config, act: impl FnMut(&Request<Incoming>) -> Act + std::marker::Send + 'static) -> Self {
        let sink = Arc::new(Sink::default());
        let clock = Arc::new(TestClock { began: Instant::now(), offset: AtomicI64::new(0) });
        let slots = Arc::new(Quarter::default());
        let parts = Parts {
            sink: sink.clone(),
            transport: Arc::new(InMemory(Arc::new(Memory(Mutex::new(Box::new(act)))))),
            slots: slots.clone(),
            clock: clock.clone(),
            metrics: Metrics::register(&Registry::new()).unwrap(),
        };
        Self { engine: Engine::start(config, parts.clone()).unwrap(), sink, clock, slots, parts }
    }

    /// A job with one target that always answers the same.
    fn with_target(body: &'static str) -> Self {
        let bench = Self::new(config(), move |_| answer(body));
        bench.engine.set_targets(vec![target("t")]);
        bench
    }

    /// Lets time pass, up to so many seconds after the beginning.
    async fn until(&self, seconds: f64) {
        tokio::time::sleep_until(self.clock.began + Duration::from_secs_f64(seconds)).await;
    }

    /// What has come since the last look, one line per sample: name, labels but `instance` and `job`, time in seconds after the epoch,
    /// value. Of the report only `up` is shown.
    fn take(&self) -> Vec<String> {
        let batches = std::mem::take(&mut *self.sink.batches.lock());
        let mut lines = Vec::new();
        for (series, at, value) in batches.iter().flat_map(Batch::iter) {
            if series.metric_name().starts_with("scrape_") {
                continue;
            }
            let hidden = ["__name__", "instance", "job"];
            let labels: String = series.iter().filter(|(name, _)| !hidden.contains(name)).map(|(n, v)| format!(" {n}={v}")).collect();
            let value = if is_stale(value) { "stale".to_owned() } else { value.to_string() };
            lines.push(format!("{}{labels} @{} {value}", series.metric_name(), (at - EPOCH) as f64 / 1000.0));
        }
        lines
    }

    fn status(&self) -> crate::target::Status {
        self.engine.targets()[0].status()
    }
}

fn target(address: &str) -> Labels {
    [("__address__", address)].into_iter().collect()
}

fn key(address: &str) -> u64 {
    key_of(&target(address))
}

fn key_of(labels: &Labels) -> u64 {
    Target::new(labels, &config()).unwrap().key
}
