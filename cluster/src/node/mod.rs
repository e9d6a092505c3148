//! A node of the fleet: [`Cluster`] is what the product holds. It starts the node's actor (`driver`), takes peers' streams from
//! the listener, gives components their [`Claims`] and answers who is there. The parts: `join` and `search` find the fleet,
//! `admit` lets peers in, `links` keeps streams, `owner` carries out what the ownership machine decides, `settle` draws the
//! consequences, `agreement` notices members that know other keys, `leave` goes.

mod admit;
mod agreement;
mod ask;
mod balance;
mod claims;
mod clock;
mod config;
mod driver;
mod events;
mod hold;
mod holds;
mod insight;
mod join;
mod leave;
mod links;
mod log_budget;
mod majority;
mod moves;
mod owner;
mod peer;
pub(crate) mod requests;
mod search;
mod settle;
mod skew;
mod succession;

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::{
    runtime::Handle,
    sync::{broadcast, mpsc, oneshot, watch},
    task::AbortHandle,
    time::{Instant, timeout},
};

pub use balance::ForecastError;
pub use claims::{ClaimEvent, Claims, Handover, KeySetter, StartEvent, StopEvent, Stopping};
pub use clock::Clock;
pub use config::{Config, ConfigError, DEFAULT_FORGET_AFTER, DEFAULT_GOSSIP_INTERVAL, DEFAULT_MAX_JOIN_PEERS, DEFAULT_REJOIN_INTERVAL};
pub use events::JoinEvent;
pub use hold::Hold;
pub use insight::Insight;
pub use owner::HANDOVER_TIMEOUT;
pub use peer::{LeaveReport, Peer};
pub use requests::{MAX_BODY_BYTES, REQUEST_TIMEOUT, RequestError};
pub use succession::Succession;

use crate::{
    auth::Key,
    membership::{
        Identity, Phase, Record, State,
        gossip::{INBOX, Parts},
        table::Table,
    },
    metrics::Metrics,
    ownership::{Candidacy, Holder, KeysDigest, Name, Settings},
    placement::{Forecast, Version},
    quorum::PartitionPolicy,
    resolve::{Dns, Resolver, SystemDns},
    transport::{
        Company, Connector, Local, Pulses, Reason,
        http2::{self, Http2, StreamBody},
        inbound::Inbound,
        memory::Network,
        skew::Skews,
    },
};
use ask::Asker;
use balance::Balancer;
use driver::{Command, Driver, Inputs, Progress};
use links::{Directory, Links};
use owner::Owner;
use peer::Sight;
use requests::{Handlers, Pending};

/// Events of streams that may wait for the driver; beyond it streams wait.
const EVENTS: usize = 64;

/// Steps of joining that are kept for a reader that is slow.
const NARRATION: usize = 256;

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The registry has metrics of another cluster.
    #[error("the cluster's metrics can't be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What a node runs on, apart from its configuration.
struct Environment {
    connector: Arc<dyn Connector>,
    dns: Arc<dyn Dns>,
    clock: Clock,
    registry: Registry,
}

/// A running node. Clones share it; it stops without a goodbye when the last one is dropped, see [`Self::leave`].
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<Config>,
    key: Arc<ArcSwapOption<Key>>,
    handle: Handle,
    commands: mpsc::UnboundedSender<Command>,
    inbound: Inbound,
    asker: Asker,
    trouble: Arc<ArcSwapOption<String>>,
    works: Arc<AtomicBool>,
    narration: broadcast::Sender<JoinEvent>,
    first_reader: Mutex<Option<broadcast::Receiver<JoinEvent>>>,
    clock: Clock,
    next_claim: AtomicU64,
    successions: ArcSwap<HashMap<u64, Succession>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in self.tasks.get_mut() {
            task.abort();
        }
    }
}

impl Cluster {
    /// Starts a node on `handle`'s runtime (the one with a thread of its own, so that load never looks like death). The
    /// listener at the advertised address should hand requests to [`Self::serve`] before or soon after, since peers dial back.
    /// Metrics go into `registry`.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config, registry: &Registry, handle: &Handle) -> Result<Self, StartError> {
        let _runtime = handle.enter();
        Self::start_with_dns(config, Arc::new(SystemDns::new()), registry, handle)
    }

    /// The same with name servers of one's own.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_with_dns(config: Config, dns: Arc<dyn Dns>, registry: &Registry, handle: &Handle) -> Result<Self, StartError> {
        let _runtime = handle.enter();
        let connector = Arc::new(Http2 { tls: config.tls.clone() });
        Self::start_in(config, Environment { connector, dns, clock: Clock::system(), registry: registry.clone() }, handle)
    }

    /// Starts a node on an in-memory network, with a wall clock that goes with tokio's time. It listens at its advertised
    /// address until it stops.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_in_memory(
        config: Config,
        network: &Network,
        clock: Clock,
        registry: &Registry,
        handle: &Handle,
    ) -> Result<Self, StartError> {
        let _runtime = handle.enter();
        let addr = config.advertise_addr;
        let connector = network.connector(addr);
        let dns = Arc::new(SystemDns::new());
        let cluster = Self::start_in(config, Environment { connector, dns, clock, registry: registry.clone() }, handle)?;
        let mut streams = network.listen(addr);
        let inbound = cluster.shared.inbound.clone();
        let listener = handle.spawn(async move {
            while let Some(pipe) = streams.recv().await {
                if inbound.has_room() {
                    tokio::spawn(inbound.clone().serve(pipe, None));
                }
            }
        });
        cluster.shared.tasks.lock().push(listener.abort_handle());
        Ok(cluster)
    }

    fn start_in(config: Config, environment: Environment, handle: &Handle) -> Result<Self, StartError> {
        config.check()?;
        let Environment { connector, dns, clock, registry } = environment;
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::new(&config.cluster_name, &registry)?);
        metrics.minimum_size.set(config.wait_for_size as i64);
        let now = Instant::now();
        let record = first_record(&config, clock.now().wall_ms);
        let identity = record.identity.clone();
        let peers = Arc::new(ArcSwap::from_pointee(vec![Peer::of(&record, true, Sight::default())]));
        let cluster: Arc<str> = Arc::from(config.cluster_name.as_str());
        let local = Local {
            protocols: config.protocols,
            cluster: cluster.clone(),
            key: Arc::new(ArcSwapOption::from_pointee(config.key.clone())),
            record: Arc::new(Mutex::new(record)),
            pulses: Pulses::default(),
            company: Company::default(),
            skews: Skews::new(clock.clone()),
            metrics: metrics.clone(),
        };
        let balance_metrics = metrics.clone();
        let trouble = Arc::new(ArcSwapOption::empty());
        let works = Arc::new(AtomicBool::new(config.partition_policy == PartitionPolicy::Both));
        let (events_in, events) = mpsc::channel(EVENTS);
        let (commands_in, commands) = mpsc::unbounded_channel();
        let (reports_in, reports) = mpsc::unbounded_channel();
        let (gossip_in, gossip_out) = mpsc::channel(INBOX);
        let (closing, closed) = watch::channel(false);
        let (narration, first_reader) = broadcast::channel(NARRATION);
        let (pending, handlers, directory) = (Pending::default(), Handlers::default(), Directory::default());
        let routes = Arc::default();
        let settings = Settings::new(config.cluster_name.clone(), identity.name.clone(), identity.generation);
        let mut owner = Owner::new(settings, clock.clone(), metrics.slots_refused.clone(), commands_in.clone());
        owner.require_answers(config.partition_policy == PartitionPolicy::Majority);
        let driver = Driver {
            majority: majority::Majority::new(&identity, config.partition_policy, clock.mono_ms()),
            works: Arc::clone(&works),
            table: Table::new(identity, now),
            join: join::Join::new(config.sources(), config.max_join_peers, now)
                .cautious(config.partition_policy == PartitionPolicy::Majority),
            links: Links::new(
                connector.clone(),
                local.clone(),
                events_in.clone(),
                pending.clone(),
                closed.clone(),
                Arc::clone(&routes),
                directory.clone(),
            ),
            owner,
            gossip_parts: Parts::new(cluster, config.gossip_interval, routes, gossip_out, metrics),
            gossip: None,
            resolver: Resolver::new(dns, config.default_port),
            config: config.clone(),
            local: local.clone(),
            connector,
            narration: narration.clone(),
            peers: Arc::clone(&peers),
            trouble: Arc::clone(&trouble),
            closing,
            reports: reports_in,
            clock: clock.clone(),
            state: Progress::new(now),
        };
        let task = handle.spawn(driver.run(Inputs { events, commands, reports }));
        let me = Arc::from(config.node_name.as_str());
        let asker = Asker { me, peers, directory, pending, handlers: handlers.clone() };
        let balancer = handle.spawn(Balancer::new(asker.clone(), commands_in.clone(), balance_metrics).run());
        let inbound = Inbound::new(local.clone(), events_in, gossip_in, handlers, closed, config.tls.is_some());
        let shared = Shared {
            config,
            key: local.key,
            handle: handle.clone(),
            commands: commands_in,
            inbound,
            asker,
            trouble,
            works,
            narration,
            first_reader: Mutex::new(Some(first_reader)),
            clock,
            next_claim: AtomicU64::new(1),
            successions: ArcSwap::default(),
            tasks: Mutex::new(vec![task.abort_handle(), balancer.abort_handle()]),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Answers a request whose path it [`crate::takes`]: with a stream, or with a status that says why not (505 for HTTP/1). Put the
    /// sender's [`SocketAddr`] into the request's extensions to have it in logs, and its [`crate::Channel`], without which it counts as
    /// plain text.
    #[must_use]
    pub fn serve(&self, request: Request<Incoming>) -> Response<StreamBody> {
        let _runtime = self.shared.handle.enter();
        http2::serve(&self.shared.inbound, request)
    }

    /// Counts, and logs once per address, a connection that could not become a peer's: its TLS failed as `cause` says, or it spoke TLS
    /// though [`Config::tls`] is not set.
    pub fn refuse_tls(&self, from: std::net::SocketAddr, cause: &str) {
        self.shared.inbound.refuse(Some(from), Reason::Tls, cause);
    }

    /// Shakes hands with another key from now on. Open streams stay, so that a fleet can change its key without a break: see [`Key`].
    /// Does nothing in a fleet without a key, since that would tear it apart.
    pub fn renew_key(&self, key: Key) {
        if self.shared.config.key.is_some() {
            self.shared.key.store(Some(Arc::new(key)));
        }
    }

    /// How joining goes. The first caller gets all events since the start, later ones those that follow.
    #[must_use]
    pub fn join_events(&self) -> broadcast::Receiver<JoinEvent> {
        self.shared.first_reader.lock().take().unwrap_or_else(|| self.shared.narration.subscribe())
    }

    /// The node may own keys from now on: its configuration is loaded. Until then it is a viewer and looks for nobody, though it answers
    /// those who find it. Components may claim before.
    pub fn participate(&self) {
        self.command(Command::Participate);
    }

    /// Tells peers the hash of the configuration, so that they see whether all run the same.
    pub fn set_config_hash(&self, hash: impl Into<String>) {
        self.command(Command::ConfigHash(hash.into()));
    }

    /// A component's claims in `domain`, a name that is the same on all nodes (its component id). A domain has one claimant: a
    /// second one sends the first away. Dropping the claims releases what was held.
    #[must_use]
    pub fn claims(&self, domain: &str) -> Claims {
        let number = self.shared.next_claim.fetch_add(1, Ordering::Relaxed);
        let commands = self.shared.commands.clone();
        let cluster = Arc::from(self.shared.config.cluster_name.as_str());
        Claims::of_cluster(Arc::from(domain), number, commands, self.shared.clock.clone(), cluster)
    }

    /// Live members, this node included, by name.
    #[must_use]
    pub fn peers(&self) -> Arc<Vec<Peer>> {
        self.shared.asker.peers.load_full()
    }

    /// A look at where keys stand, which does not keep the node running.
    #[must_use]
    pub fn insight(&self) -> Insight {
        Insight::new(self.shared.commands.clone())
    }

    /// See [`Insight::holders`].
    pub async fn holders(&self) -> Vec<Holder> {
        self.insight().holders().await
    }

    /// See [`Insight::candidates`].
    pub async fn candidates(&self, domain: &str, key: u64) -> Vec<Candidacy> {
        self.insight().candidates(domain, key).await
    }

    /// Where keys would be if members of these names came and went, by the steps that the fleet would really take: `add` may name
    /// nodes that don't exist yet.
    ///
    /// # Errors
    /// See [`ForecastError`].
    pub async fn forecast(&self, add: &[String], remove: &[String]) -> Result<Forecast, ForecastError> {
        let names = |list: &[String]| list.iter().map(|name| Name::from(name.as_str())).collect();
        balance::predict(&self.shared.asker, &self.shared.commands, names(add), names(remove)).await
    }

    /// What keeps this node from its fleet at present: the last failure of joining, or that the fleet is too small. `None` while
    /// nothing does.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<String>> {
        self.shared.trouble.load_full()
    }

    /// Whether a majority of the fleet hears this node, under the policy [`PartitionPolicy::Majority`]; without one it scrapes nothing.
    /// Always so while the fleet follows [`PartitionPolicy::Both`].
    #[must_use]
    pub fn has_majority(&self) -> bool {
        self.shared.works.load(Ordering::Relaxed)
    }

    /// The fleet's name; part of every key's phase.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.config.cluster_name
    }

    /// The clock that slots follow.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Asks the member `peer` (or this node itself, by its name) and waits for its answer, at most [`REQUEST_TIMEOUT`].
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(&self, peer: &str, kind: &str, body: Bytes) -> Result<Bytes, RequestError> {
        self.shared.asker.request(peer, kind, body).await
    }

    /// Answers other members' questions of `kind` with `handler`, which runs on the node's runtime: heavy work belongs
    /// elsewhere. An error's text reaches the asker.
    pub fn on_request<H, F>(&self, kind: &str, handler: H)
    where
        H: Fn(Bytes) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Bytes, String>> + Send + 'static,
    {
        self.shared.asker.handlers.set(kind, handler);
    }

    /// Hands over everything that is held, as long as `patience` lasts. Components keep taking events meanwhile; a handover needs their
    /// answer. The node then stays, as one that takes nothing, until [`Self::farewell`]: it can ask and be asked.
    pub async fn drain(&self, patience: Duration) -> LeaveReport {
        let (done, report) = oneshot::channel();
        self.command(Command::Drain { deadline: Instant::now() + patience, done });
        // The deadline is looked at with every tick of the node.
        let bound = patience + Duration::from_secs(1);
        let report = timeout(bound, report).await.ok().and_then(Result::ok);
        self.shared.successions.store(Arc::new(succession::of(self.holders().await)));
        report.unwrap_or(LeaveReport { drained: false, keys_left: 0 })
    }

    /// Who has what this node handed over, by key: as it was at the end of [`Self::drain`], since the components' claims may be gone when
    /// this is asked for. Empty before.
    #[must_use]
    pub fn successions(&self) -> Arc<HashMap<u64, Succession>> {
        self.shared.successions.load_full()
    }

    /// Says goodbye to all members and stops; after a [`Self::drain`] that is under way.
    pub async fn farewell(&self) {
        let (gone, is_gone) = oneshot::channel();
        self.command(Command::Farewell { gone });
        // Saying goodbye is bounded as well; beyond that the node does not answer.
        if timeout(leave::FAREWELL + Duration::from_secs(2), is_gone).await.is_err() {
            tracing::warn!("the cluster node did not say goodbye in time");
        }
        self.shutdown();
    }

    /// [`Self::drain`] and [`Self::farewell`], for whoever has nothing to do in between.
    pub async fn leave(&self, patience: Duration) -> LeaveReport {
        let report = self.drain(patience).await;
        self.farewell().await;
        report
    }

    /// Stops at once, without a goodbye: peers take it for a crash. No hold begins a slot any more.
    pub fn shutdown(&self) {
        for task in self.shared.tasks.lock().drain(..) {
            task.abort();
        }
    }

    fn command(&self, command: Command) {
        if self.shared.commands.send(command).is_err() {
            tracing::debug!("the cluster node has stopped and takes no commands");
        }
    }
}

fn first_record(config: &Config, generation: u64) -> Record {
    let identity = Identity { name: Arc::from(config.node_name.as_str()), generation, addr: config.advertise_addr };
    Record {
        identity,
        state: State::Viewer,
        phase: Phase::Joining,
        ready: false,
        left: false,
        counter: 0,
        version: config.version.clone(),
        config_hash: String::new(),
        placement: Version::default(),
        load: 0,
        zone: config.zone.clone(),
        targets: Some(KeysDigest::default()),
        policy: config.partition_policy,
    }
}
