//! Synthetic scrape targets behind one or a few listeners: each with its own path, all listed by `GET /sd` for HTTP service discovery.
//! Every target tells with `probe_seq` how many scrapes it has answered, so that a receiver's data shows what was scraped and lost.
//! What becomes of the samples is for `receiver` and `judge`.

mod body;
mod catalogue;
mod log;
mod render;
mod shape;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::json;

use crate::clock::now_ms;
use crate::http::{Handler, Reply, Server, text, with_type};
use body::Rest;
pub use log::Scrape;
use log::{Clients, Log};
use render::{Edition, mix, render};
use shape::Shape;

/// The series that counts the scrapes a target has answered.
pub const PROBE_SEQ: &str = "probe_seq";
/// The request header by which a scraping node may name itself in the log.
pub const NODE_HEADER: &str = "x-probe-node";

/// Most targets of one server; each costs about 100 bytes and its log.
const MAX_TARGETS: usize = 1_000_000;
/// Most series of one target.
const MAX_SERIES: usize = 2_000_000;

/// Series that end and begin anew under another label value, as pods do that are replaced.
#[derive(Clone, Copy, Debug)]
pub struct Churn {
    /// Which share of the series, 0 to 1.
    pub fraction: f64,
    /// How often they change.
    pub every: Duration,
    /// Which share of the targets has such series, 0 to 1; rounded up to whole groups.
    pub targets: f64,
}

/// What the targets are like.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// How many there are.
    pub targets: usize,
    /// Series of each, `probe_seq` included.
    pub series: usize,
    /// How often values move; scrapes within one tick see the same values. Best the scrape interval.
    pub tick: Duration,
    /// How many different sets of values there are at a time; rendering costs this many texts a tick.
    pub groups: usize,
    /// Listeners over which the targets are spread.
    pub listeners: usize,
    /// Series that change identity.
    pub churn: Option<Churn>,
    /// Whether lines change places within their family from tick to tick.
    pub shuffle: bool,
    /// Bytes of labels that each series gets besides its own, as pods have them; 0 for none.
    pub more_label_bytes: usize,
    /// Wait before each answer.
    pub latency: Duration,
    /// Share of scrapes, 0 to 1, that are answered with 503 and not counted in `probe_seq`.
    pub failure_rate: f64,
    /// Scrapes that each target's log keeps; 0 keeps none.
    pub log_per_target: usize,
    /// Chooses values and failures.
    pub seed: u64,
}

impl Default for TargetOptions {
    fn default() -> Self {
        Self {
            targets: 60,
            series: 500,
            tick: Duration::from_secs(1),
            groups: 8,
            listeners: 1,
            churn: None,
            shuffle: false,
            more_label_bytes: 0,
            latency: Duration::ZERO,
            failure_rate: 0.0,
            log_per_target: 4096,
            seed: 1,
        }
    }
}

/// Why targets could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    /// An option is out of its range.
    #[error("synthetic targets: {option} is {value}, but must be {range}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// No listener could be opened.
    #[error("synthetic targets: can't listen on 127.0.0.1: {0}")]
    Listen(#[from] std::io::Error),
}

/// Running targets; dropping them ends them.
#[derive(Debug)]
pub struct Targets {
    shared: Arc<Shared>,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Shared {
    options: TargetOptions,
    shape: Shape,
    started: Instant,
    /// The newest text of each group.
    groups: Vec<Mutex<Option<Text>>>,
    targets: Vec<Target>,
    announced: AtomicUsize,
    addresses: OnceLock<Vec<SocketAddr>>,
    clients: Clients,
    body_bytes: AtomicU64,
}

#[derive(Debug)]
struct Text {
    of: Edition,
    rest: Arc<Rest>,
}

#[derive(Debug, Default)]
struct Target {
    log: Log,
    down: AtomicBool,
}

impl Targets {
    /// Starts them on loopback ports that the system gives.
    ///
    /// # Errors
    /// An option out of its range, or no port.
    pub async fn start(options: TargetOptions) -> Result<Self, TargetsError> {
        check(&options)?;
        let listeners = options.listeners;
        let shared = Arc::new(Shared::new(options));
        let mut servers = Vec::with_capacity(listeners);
        for _ in 0..listeners {
            servers.push(Server::start(Arc::clone(&shared)).await?);
        }
        shared.addresses.get_or_init(|| servers.iter().map(Server::address).collect());
        Ok(Self { shared, servers })
    }

    /// Where the list of targets is, in Prometheus' HTTP service discovery format.
    #[must_use]
    pub fn sd_url(&self) -> String {
        format!("http://{}/sd", self.servers[0].address())
    }

    /// How many targets there are, announced or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.targets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.targets.is_empty()
    }

    /// The `instance` label of a target.
    #[must_use]
    pub fn instance(target: usize) -> String {
        format!("target-{target:05}")
    }

    /// The target whose `instance` label this is.
    #[must_use]
    pub fn by_instance(&self, instance: &str) -> Option<usize> {
        instance.strip_prefix("target-")?.parse().ok().filter(|t| *t < self.len())
    }

    /// `host:port` of a target.
    #[must_use]
    pub fn address(&self, target: usize) -> SocketAddr {
        self.servers[target % self.servers.len()].address()
    }

    /// The path under which a target is scraped.
    #[must_use]
    pub fn path(target: usize) -> String {
        format!("/t/{target}/metrics")
    }

    /// Lists only the first `targets` in service discovery from now on.
    pub fn announce(&self, targets: usize) {
        self.shared.announced.store(targets.min(self.len()), Ordering::Relaxed);
    }

    /// Makes a target answer with 503, or well again.
    pub fn set_down(&self, target: usize, down: bool) {
        if let Some(target) = self.shared.targets.get(target) {
            target.down.store(down, Ordering::Relaxed);
        }
    }

    /// How many scrapes a target has answered: its newest `probe_seq`.
    #[must_use]
    pub fn served(&self, target: usize) -> u64 {
        self.shared.targets.get(target).map_or(0, |t| t.log.counts().0)
    }

    /// How many scrapes all targets have answered.
    #[must_use]
    pub fn served_total(&self) -> u64 {
        self.shared.targets.iter().map(|t| t.log.counts().0).sum()
    }

    /// Bytes of bodies that were sent, as on the wire.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.shared.body_bytes.load(Ordering::Relaxed)
    }

    /// The newest scrapes of a target, oldest first.
    #[must_use]
    pub fn log(&self, target: usize) -> Vec<Scrape> {
        self.shared.targets.get(target).map(|t| t.log.newest(&self.shared.clients)).unwrap_or_default()
    }
}

fn check(options: &TargetOptions) -> Result<(), TargetsError> {
    let share = |f: f64| (0.0..=1.0).contains(&f);
    let wrong = |option, value: String, range| Err(TargetsError::Option { option, value, range });
    match options {
        o if !(1..=MAX_TARGETS).contains(&o.targets) => wrong("targets", o.targets.to_string(), "1 to 1000000"),
        o if !(1..=MAX_SERIES).contains(&o.series) => wrong("series", o.series.to_string(), "1 to 2000000"),
        o if o.tick.is_zero() => wrong("tick", "0".to_owned(), "above 0"),
        o if !(1..=1024).contains(&o.groups) => wrong("groups", o.groups.to_string(), "1 to 1024"),
        o if !(1..=256).contains(&o.listeners) => wrong("listeners", o.listeners.to_string(), "1 to 256"),
        o if !share(o.failure_rate) => wrong("failure rate", o.failure_rate.to_string(), "0 to 1"),
        o if o.churn.is_some_and(|c| !share(c.fraction) || !share(c.targets) || c.every.is_zero()) => {
            wrong("churn", format!("{:?}", o.churn), "fractions of 0 to 1 and a period above 0")
        }
        o if o.more_label_bytes > 4096 => wrong("more label bytes", o.more_label_bytes.to_string(), "0 to 4096"),
        _ => Ok(()),
    }
}

impl Shared {
    fn new(options: TargetOptions) -> Self {
        Self {
            shape: Shape::new(options.series - 1, options.churn.map_or(0.0, |c| c.fraction)).with_more_labels(options.more_label_bytes),
            started: Instant::now(),
            groups: (0..options.groups).map(|_| Mutex::new(None)).collect(),
            targets: (0..options.targets).map(|_| Target::default()).collect(),
            announced: AtomicUsize::new(options.targets),
            addresses: OnceLock::new(),
            clients: Clients::default(),
            body_bytes: AtomicU64::new(0),
            options,
        }
    }

    /// The list for service discovery: one group per target, since each has its own path and instance.
    fn discovery(&self) -> Reply {
        let Some(addresses) = self.addresses.get() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the targets are being started");
        };
        let announced = self.announced.load(Ordering::Relaxed);
        let groups = (0..announced).map(|target| {
            let address = addresses[target % addresses.len()].to_string();
            json!({
                "targets": [address],
                "labels": { "__metrics_path__": Targets::path(target), "instance": Targets::instance(target) },
            })
        });
        let body = serde_json::Value::Array(groups.collect()).to_string();
        with_type(StatusCode::OK, HeaderValue::from_static("application/json"), vec![Bytes::from(body)])
    }

    async fn scrape(&self, number: usize, headers: &HeaderMap) -> Reply {
        let at_ms = now_ms();
        let Some(target) = self.targets.get(number) else {
            return text(StatusCode::NOT_FOUND, "there is no such target");
        };
        if !self.options.latency.is_zero() {
            tokio::time::sleep(self.options.latency).await;
        }
        if target.down.load(Ordering::Relaxed) || self.fails(number, target) {
            target.log.failed();
            return text(StatusCode::SERVICE_UNAVAILABLE, "this target is down on purpose");
        }
        let client = if self.options.log_per_target > 0 { self.clients.number(client(headers)) } else { 0 };
        let seq = target.log.answered(at_ms, client, self.options.log_per_target);
        let rest = self.rest(number % self.groups.len());
        let head = Bytes::from(format!(
            "# HELP {PROBE_SEQ} Scrapes that this target has answered, this one included.\n# TYPE {PROBE_SEQ} counter\n{PROBE_SEQ} {seq}\n"
        ));
        self.answer(accepts_gzip(headers), head, &rest)
    }

    fn answer(&self, gzip: bool, head: Bytes, rest: &Rest) -> Reply {
        let pieces = if gzip { rest.gzip(head) } else { rest.plain(head) };
        self.body_bytes.fetch_add(pieces.iter().map(|p| p.len() as u64).sum(), Ordering::Relaxed);
        let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        let mut reply = with_type(StatusCode::OK, content_type, pieces);
        if gzip {
            reply.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        reply
    }

    /// Whether this scrape is one of those that fail at random.
    fn fails(&self, number: usize, target: &Target) -> bool {
        let (answered, failed) = target.log.counts();
        let random = mix(self.options.seed ^ number as u64, answered + failed) >> 11;
        (random as f64 / (1_u64 << 53) as f64) < self.options.failure_rate
    }

    /// The shared text of a group at this time; the first scrape of a tick renders it.
    fn rest(&self, group: usize) -> Arc<Rest> {
        let elapsed = self.started.elapsed();
        let churns = |churn: &Churn| (group as f64) < (churn.targets * self.options.groups as f64).ceil();
        let edition = Edition {
            seed: self.options.seed,
            group: group as u64,
            tick: (elapsed.as_nanos() / self.options.tick.as_nanos()) as u64,
            generation: self.options.churn.filter(churns).map(|c| (elapsed.as_nanos() / c.every.as_nanos()) as u64),
            shuffle: self.options.shuffle,
        };
        let mut cached = self.groups[group].lock();
        match &*cached {
            Some(text) if text.of == edition => Arc::clone(&text.rest),
            _ => {
                let rest = Arc::new(Rest::new(render(&self.shape, edition)));
                *cached = Some(Text { of: edition, rest: Arc::clone(&rest) });
                rest
            }
        }
    }
}

impl Handler for Shared {
    async fn handle(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path();
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here");
        }
        let target = path.strip_prefix("/t/").and_then(|p| p.strip_suffix("/metrics")).and_then(|t| t.parse().ok());
        match (path, target) {
            ("/sd", _) => self.discovery(),
            (_, Some(target)) => self.scrape(target, request.headers()).await,
            _ => text(StatusCode::NOT_FOUND, "there are /sd and /t/{target}/metrics"),
        }
    }
}

/// Who scrapes: the node header, else the User-Agent.
fn client(headers: &HeaderMap) -> &str {
    let name = headers.get(NODE_HEADER).or_else(|| headers.get(header::USER_AGENT));
    name.and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// Whether `gzip` is among the encodings that are asked for, and not with weight 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|encoding| {
        let mut parts = encoding.split(';').map(str::trim);
        let refused = |p: &str| p.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip")) && !parts.any(refused)
    })
}
