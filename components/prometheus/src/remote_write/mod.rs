//! `prometheus.remote_write`: sends metrics to receivers. Queue, shards, retries and encoding are `delivery`'s; this is the block, the
//! HTTP client and the coming and going of endpoints.

mod arguments;
mod post;
mod takeover;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use cluster::Cluster;
use component::{BuildError, Component, Context, Event, MetricsReceiver, RuleBlock, RunError, Setup, Stop};
use delivery::{Adopter, BufferConfig, Config, Content, Delivery, DiskConfig, MetadataConfig, Metrics, QueueConfig};
use futures_util::future::join_all;
use model::{Batch, ConsumeMetrics, Labels, Refused};
use syntax::Block;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use arguments::Arguments;
use arguments::{DiskQueue, Endpoint};
use post::Poster;
use takeover::{Heirs, Takeover};

/// How often the endpoints' state is made the component's health.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// What an endpoint that the configuration no longer has may take to send what it holds.
const REMOVED_DEADLINE: Duration = Duration::from_secs(10);
/// What endpoints may take when the process ends; below what the product allows its components.
const EXIT_DEADLINE: Duration = Duration::from_secs(12);
/// Of it, what they may take for sending if other nodes take over what is left: the rest is for giving it to them.
const SENDING_DEADLINE: Duration = Duration::from_secs(6);
/// The same if the receiver fails as the process ends: others will send it when it works again, and hold back what is newer until
/// then. An answer that is under way may still come.
const FAILING_DEADLINE: Duration = Duration::from_secs(1);

/// Exports of `prometheus.remote_write`.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Exports {
    /// Takes the metrics to send.
    #[syntax(required)]
    pub receiver: MetricsReceiver,
}

/// The component.
pub struct RemoteWrite {
    arguments: Arguments,
    receiver: MetricsReceiver,
    metrics: Metrics,
    endpoints: Vec<Running>,
    /// Endpoints that the configuration no longer has, sending what they hold.
    draining: JoinSet<()>,
    entrance: Arc<Entrance>,
    /// In a fleet.
    takeover: Option<Takeover>,
}

/// An endpoint at work.
struct Running {
    name: String,
    arguments: Endpoint,
    delivery: Delivery,
}

impl Component for RemoteWrite {
    const NAME: &'static str = "prometheus.remote_write";
    type Arguments = Arguments;
    type Exports = Exports;

    fn build(arguments: Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let metrics = Metrics::register(setup.registry()).map_err(BuildError::new)?;
        let receiver = MetricsReceiver::new(setup.id());
        let entrance = Arc::new(Entrance::default());
        receiver.fill(Shared(entrance.clone()));
        let cluster = setup.services().get::<Cluster>();
        let takeover = cluster.map(|cluster| Takeover::new((*cluster).clone(), setup.id(), &entrance));
        let (endpoints, draining) = (Vec::new(), JoinSet::new());
        let mut component = Self { arguments, receiver: receiver.clone(), metrics, endpoints, draining, entrance, takeover };
        let wanted: Vec<(String, Endpoint)> =
            names(&component.arguments.endpoint).into_iter().map(|(name, endpoint)| (name, endpoint.clone())).collect();
        for (name, endpoint) in wanted {
            let running = component.start(name, endpoint, setup)?;
            component.endpoints.push(running);
        }
        component.open();
        Ok((component, Exports { receiver }))
    }

    async fn run(mut self, mut context: Context<Self>) -> Result<(), RunError> {
        let mut ticks = tokio::time::interval(HEALTH_INTERVAL);
        let stop = loop {
            tokio::select! {
                event = context.next() => match event {
                    Event::Update(arguments) => self.update(arguments, context.setup()).await,
                    Event::Debug(reply) => reply.send(&DebugInfo { endpoint: self.endpoints.iter().map(EndpointInfo::of).collect() }),
                    Event::Stop(stop) => break stop,
                },
                _ = ticks.tick() => self.report(context.setup()),
                Some(_) = self.draining.join_next() => {}
            }
        };
        self.receiver.close();
        for waiting in self.endpoints.iter().filter_map(trouble) {
            tracing::info!(component_id = context.setup().id(), within = ?EXIT_DEADLINE, "{waiting}; trying to deliver what is queued before stopping");
        }
        let heirs = self.takeover.as_ref().filter(|_| stop == Stop::Exit).and_then(Takeover::heirs);
        let until = Instant::now() + EXIT_DEADLINE;
        let ending = join_all(self.endpoints.into_iter().map(|endpoint| endpoint.end(heirs.as_ref(), until)));
        futures_util::future::join(ending, self.draining.join_all()).await;
        // Now nobody need wait for what is left.
        self.receiver.clear();
        Ok(())
    }
}

impl Running {
    /// Sends what there is to send. What is left then goes to other nodes, if there are any, and else stays on disk.
    async fn end(self, heirs: Option<&Heirs>, until: Instant) {
        let Some(heirs) = heirs else {
            self.delivery.shutdown(EXIT_DEADLINE).await;
            return;
        };
        let fails = self.delivery.status().retrying.is_some();
        let backlog = self.delivery.shutdown_for_others(if fails { FAILING_DEADLINE } else { SENDING_DEADLINE }).await;
        backlog.ship(&heirs.of_endpoint(&self.name), until).await;
    }
}

impl RemoteWrite {
    fn start(&self, name: String, arguments: Endpoint, setup: &Setup) -> Result<Running, BuildError> {
        let refused = |error: &dyn std::fmt::Display| BuildError::new(format!("endpoint {}: {error}", arguments.url));
        let message = format!("protobuf_message {:?}", arguments.protobuf_message);
        setup.admits(arguments.stability(), &message).map_err(|error| refused(&error))?;
        let post = Poster::new(&arguments, setup).map_err(|error| refused(&error))?;
        let config = config(&name, &arguments, &self.arguments, setup.data_path()).map_err(|error| refused(&error))?;
        let handle = tokio::runtime::Handle::current();
        let delivery = Delivery::start(config, post, &self.metrics, &handle).map_err(|error| refused(&error))?;
        Ok(Running { name, arguments, delivery })
    }

    /// Endpoints that are as before go on untouched. A changed one ends first, as its successor takes over its queue on disk; one that is
    /// gone is drained beside the others.
    async fn update(&mut self, arguments: Arguments, setup: &Setup) {
        let same_labels = arguments.external_labels == self.arguments.external_labels;
        self.arguments = arguments;
        let wanted = names(&self.arguments.endpoint);
        let (kept, ending): (Vec<_>, Vec<_>) = std::mem::take(&mut self.endpoints)
            .into_iter()
            .partition(|running| same_labels && wanted.contains(&(running.name.clone(), &running.arguments)));
        let is_wanted = |running: &Running| wanted.iter().any(|(name, _)| *name == running.name);
        let (replaced, gone): (Vec<_>, Vec<_>) = ending.into_iter().partition(is_wanted);
        let missing: Vec<(String, Endpoint)> = wanted
            .iter()
            .filter(|(name, _)| !kept.iter().any(|running| running.name == *name))
            .map(|(name, endpoint)| (name.clone(), (*endpoint).clone()))
            .collect();
        self.endpoints = kept;
        self.open();
        join_all(replaced.into_iter().map(|running| running.delivery.shutdown(Duration::ZERO))).await;
        for (name, endpoint) in missing {
            match self.start(name, endpoint, setup) {
                Ok(running) => self.endpoints.push(running),
                Err(error) => setup.health().unhealthy(error.to_string()),
            }
        }
        self.open();
        for running in gone {
            self.draining.spawn(async move {
                // What could not be sent is logged there and stays on disk.
                let _drained = running.delivery.shutdown(REMOVED_DEADLINE).await;
            });
        }
    }

    /// Lets batches into the endpoints that are at work.
    fn open(&self) {
        let consumers = self.endpoints.iter().map(|running| running.delivery.consumer()).collect();
        self.entrance.is_wanted.store(!self.arguments.endpoint.is_empty(), Ordering::Relaxed);
        self.entrance.endpoints.store(Arc::new(consumers));
        let adopters = self.endpoints.iter().map(|running| (running.name.clone(), running.delivery.adopter())).collect();
        self.entrance.adopters.store(Arc::new(adopters));
    }

    /// Healthy means working: an endpoint that can't deliver shows.
    fn report(&self, setup: &Setup) {
        if self.endpoints.len() < self.arguments.endpoint.len() {
            return; // an endpoint could not be started; its error stays
        }
        let troubles: Vec<String> = self.endpoints.iter().filter_map(trouble).collect();
        if troubles.is_empty() {
            setup.health().healthy("delivering");
        } else {
            setup.health().unhealthy(troubles.join("; "));
        }
    }
}

/// A rejected request makes an endpoint unhealthy for this long: batches come more often than that if there is anything to send.
const REJECTED_SHOWS_FOR: Duration = Duration::from_secs(60);

fn trouble(running: &Running) -> Option<String> {
    let status = running.delivery.status();
    let recent = |failure: &delivery::Failure| failure.at.elapsed().is_ok_and(|age| age < REJECTED_SHOWS_FOR);
    let failure = status.retrying.or_else(|| status.rejected.filter(recent)).or(status.disk)?;
    Some(format!("endpoint {}: {}", running.name, failure.message))
}

/// The given name, or one made of the URL, as Prometheus does it: the same for the same endpoint after a restart.
/// The endpoints with names that differ: of two that would be called alike (one receiver, two tenants), the second gets a number.
fn names(endpoints: &[Endpoint]) -> Vec<(String, &Endpoint)> {
    let mut named: Vec<(String, &Endpoint)> = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let first = endpoint_name(endpoint);
        let mut numbered = (2..).map(|number| format!("{first}-{number}"));
        let mut name = first.clone();
        while named.iter().any(|(taken, _)| *taken == name) {
            name = numbered.next().unwrap_or_default();
        }
        named.push((name, endpoint));
    }
    named
}

fn endpoint_name(endpoint: &Endpoint) -> String {
    if endpoint.name.is_empty() {
        // Without user and password, so that a rotated password keeps the name, and with it the queue on disk.
        let url = endpoint.url.parsed();
        let labels: Labels = [("host", url.authority().rsplit('@').next().unwrap_or_default()), ("path", url.path())].into_iter().collect();
        return format!("{:06x}", labels.stable_hash() >> 40);
    }
    endpoint.name.clone()
}

fn config(name: &str, endpoint: &Endpoint, arguments: &Arguments, data_path: &Path) -> Result<Config, String> {
    let rules = RuleBlock::compile(&endpoint.write_relabel_config)?;
    let (queue, metadata) = (&endpoint.queue_config, &endpoint.metadata_config);
    Ok(Config {
        name: name.into(),
        url: endpoint.url.as_written().into(),
        user_agent: net::USER_AGENT.into(),
        external_labels: arguments.external_labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        relabel: (!rules.is_empty()).then(|| Arc::new(move |labels: &mut model::LabelsBuilder| rules.apply(labels)) as delivery::Relabel),
        content: Content { exemplars: endpoint.send_exemplars, native_histograms: endpoint.send_native_histograms },
        dialect: endpoint.dialect()?,
        metadata: metadata.send.then_some(MetadataConfig { interval: metadata.send_interval, max_per_send: metadata.max_samples_per_send }),
        remote_timeout: endpoint.remote_timeout,
        queue: QueueConfig {
            capacity: queue.capacity,
            min_shards: queue.min_shards,
            max_shards: queue.max_shards,
            max_samples_per_send: queue.max_samples_per_send,
            batch_send_deadline: queue.batch_send_deadline,
            min_backoff: queue.min_backoff,
            max_backoff: queue.max_backoff,
            retry_on_http_429: queue.retry_on_http_429,
            sample_age_limit: queue.sample_age_limit,
        },
        buffer: BufferConfig { disk: Some(disk(data_path, name, &endpoint.disk_queue)), ..BufferConfig::default() },
    })
}

fn disk(data_path: &Path, name: &str, arguments: &DiskQueue) -> DiskConfig {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    // A name that can't be a folder's is told from others that look like it by its hash.
    let folder = match name.chars().all(safe) {
        true => name.to_owned(),
        false => {
            let shown: String = name.chars().map(|c| if safe(c) { c } else { '_' }).collect();
            let hash = [("name", name)].into_iter().collect::<Labels>().stable_hash();
            format!("{shown}-{hash:016x}")
        }
    };
    let directory: PathBuf = data_path.join("queue").join(folder);
    DiskConfig { directory, max_bytes: (arguments.max_bytes > 0).then_some(arguments.max_bytes), fsync: arguments.fsync }
}

/// Where batches go in: every endpoint gets each batch, and one that refuses costs the others nothing.
#[derive(Default)]
struct Entrance {
    /// Whether the configuration has any endpoint.
    is_wanted: AtomicBool,
    endpoints: ArcSwap<Vec<Arc<dyn ConsumeMetrics>>>,
    /// Where endpoints take what those of the same name on other nodes have left.
    adopters: ArcSwap<Vec<(String, Adopter)>>,
}

struct Shared(Arc<Entrance>);

impl ConsumeMetrics for Shared {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        let endpoints = self.0.endpoints.load();
        let Some((last, others)) = endpoints.split_last() else {
            // While a changed endpoint is replaced, nobody is there; without any in the configuration, nobody wants it.
            return if self.0.is_wanted.load(Ordering::Relaxed) { Err(Refused::Closed) } else { Ok(()) };
        };
        // A queue counts what it refuses; the source hears of it if nobody took the batch.
        let mut taken = Err(Refused::Full);
        for endpoint in others {
            taken = endpoint.consume(batch.clone()).or(taken);
        }
        last.consume(batch).or(taken)
    }

    fn flush(&self) {
        self.0.endpoints.load().iter().for_each(|endpoint| endpoint.flush());
    }

    fn hold(&self, source: u64) {
        self.0.endpoints.load().iter().for_each(|endpoint| endpoint.hold(source));
    }

    fn release(&self, source: u64) {
        self.0.endpoints.load().iter().for_each(|endpoint| endpoint.release(source));
    }

    fn is_acknowledged(&self, source: u64) -> bool {
        self.0.endpoints.load().iter().all(|endpoint| endpoint.is_acknowledged(source))
    }
}

/// What the UI shows of a running component.
#[derive(Block, Clone, Debug, PartialEq)]
struct DebugInfo {
    #[syntax(block)]
    endpoint: Vec<EndpointInfo>,
}

#[derive(Block, Clone, Debug, PartialEq)]
struct EndpointInfo {
    name: String,
    url: String,
    error: String,
    shards: usize,
    pending_samples: usize,
    disk_samples: u64,
    disk_bytes: u64,
}

impl EndpointInfo {
    fn of(running: &Running) -> Self {
        let status = running.delivery.status();
        Self {
            name: running.name.clone(),
            url: running.arguments.url.to_string(),
            error: trouble(running).unwrap_or_default(),
            shards: status.shards,
            pending_samples: status.pending_samples,
            disk_samples: status.disk_samples,
            disk_bytes: status.disk_bytes,
        }
    }
}

#[cfg(test)]
mod tests;
