//! Synthetic scrape targets behind one or a few listeners: each with its own path, all listed by `GET /sd` for HTTP service discovery.
//! Every target tells with `probe_seq` how many scrapes it has answered, so that a receiver's data shows what was scraped and lost.
//! What becomes of the samples is for `receiver` and `judge`.

mod body;
mod catalogue;
mod classes;
mod log;
mod options;
mod render;
mod shape;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use crate::clock::now_ms;
use crate::http::{Handler, LOOPBACK, Reply, Server, text, with_type};
use body::Rest;
use classes::Classes;
pub use log::Scrape;
use log::{Clients, Log};
use options::check;
pub use options::{Churn, Size, TargetOptions, TargetsError};
use render::Edition;
pub(crate) use render::mix;

/// The series that counts the scrapes a target has answered.
pub const PROBE_SEQ: &str = "probe_seq";
/// The request header by which a scraping node may name itself in the log.
pub const NODE_HEADER: &str = "x-probe-node";

/// Running targets; dropping them ends them.
#[derive(Debug)]
pub struct Targets {
    shared: Arc<Shared>,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Shared {
    options: TargetOptions,
    classes: Classes,
    started: Instant,
    targets: Vec<Target>,
    announced: AtomicUsize,
    /// How often churning series were told to change besides.
    turns: AtomicU64,
    addresses: OnceLock<Addresses>,
    clients: Clients,
    body_bytes: AtomicU64,
}

/// Where targets are listed to be.
#[derive(Clone, Debug)]
enum Addresses {
    /// At the listeners, in turn.
    Listeners(Vec<SocketAddr>),
    /// At this `host:port`.
    Given(String),
    /// Where whoever asks has asked: its `Host` header.
    AsAsked,
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
            servers.push(listen(LOOPBACK, &shared).await?);
        }
        shared.addresses.get_or_init(|| Addresses::Listeners(servers.iter().map(Server::address).collect()));
        Ok(Self { shared, servers })
    }

    /// Starts them at one address, for collectors elsewhere. Service discovery lists them at `advertised` (`host:port`), or else where it was
    /// asked itself, which is right for everybody who reaches it.
    ///
    /// # Errors
    /// An option out of its range, or an address that can't be had.
    pub async fn listen(options: TargetOptions, address: SocketAddr, advertised: Option<String>) -> Result<Self, TargetsError> {
        check(&options)?;
        let shared = Arc::new(Shared::new(options));
        let servers = vec![listen(address, &shared).await?];
        shared.addresses.get_or_init(|| advertised.map_or(Addresses::AsAsked, Addresses::Given));
        Ok(Self { shared, servers })
    }

    /// Where the first listener is.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.servers[0].address()
    }

    /// Where the list of targets is, in Prometheus' HTTP service discovery format.
    #[must_use]
    pub fn sd_url(&self) -> String {
        format!("http://{}/sd", self.servers[0].address())
    }

    /// How many targets are listed.
    #[must_use]
    pub fn announced(&self) -> usize {
        self.shared.announced.load(Ordering::Relaxed)
    }

    /// Gives all churning series another identity now.
    pub fn churn(&self) {
        self.shared.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Series of a target, `probe_seq` included.
    #[must_use]
    pub fn series(&self, target: usize) -> usize {
        self.shared.classes.series(target)
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

impl Shared {
    fn new(options: TargetOptions) -> Self {
        Self {
            classes: Classes::new(&options),
            started: Instant::now(),
            targets: (0..options.targets).map(|_| Target::default()).collect(),
            announced: AtomicUsize::new(options.targets),
            turns: AtomicU64::new(0),
            addresses: OnceLock::new(),
            clients: Clients::default(),
            body_bytes: AtomicU64::new(0),
            options,
        }
    }

    /// The list for service discovery: one group per target, since each has its own path and instance.
    fn discovery(&self, asked: &str) -> Reply {
        let Some(addresses) = self.addresses.get() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the targets are being started");
        };
        let announced = self.announced.load(Ordering::Relaxed);
        let groups = (0..announced).map(|target| {
            let address = match addresses {
                Addresses::Listeners(all) => all[target % all.len()].to_string(),
                Addresses::Given(one) => one.clone(),
                Addresses::AsAsked => asked.to_owned(),
            };
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
        let rest = self.rest(number);
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

    /// The text that a target shares with its group at this time.
    fn rest(&self, target: usize) -> Arc<Rest> {
        let elapsed = self.started.elapsed();
        let options = &self.options;
        self.classes.text(target, |group| {
            let churns = |churn: &Churn| (group as f64) < (churn.targets * options.groups as f64).ceil();
            let turns = self.turns.load(Ordering::Relaxed);
            Edition {
                seed: options.seed,
                group: group as u64,
                tick: (elapsed.as_nanos() / options.tick.as_nanos()) as u64,
                generation: options.churn.filter(churns).map(|c| (elapsed.as_nanos() / c.every.as_nanos()) as u64 + turns),
                shuffle: options.shuffle,
            }
        })
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
            ("/sd", _) => self.discovery(asked_host(&request)),
            (_, Some(target)) => self.scrape(target, request.headers()).await,
            _ => text(StatusCode::NOT_FOUND, "there are /sd and /t/{target}/metrics"),
        }
    }
}

async fn listen(address: SocketAddr, shared: &Arc<Shared>) -> Result<Server, TargetsError> {
    Server::bind(address, Arc::clone(shared)).await.map_err(|source| TargetsError::Listen { address, source })
}

/// Where a request was sent to, in HTTP/1.1 and HTTP/2.
fn asked_host(request: &Request<Incoming>) -> &str {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    header.or(request.uri().authority().map(|a| a.as_str())).unwrap_or_default()
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
