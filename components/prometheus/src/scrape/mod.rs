//! `prometheus.scrape`: scrapes targets, all of them or, in a fleet, the share that this node holds. Scraping is the engine's (`scrape`),
//! who holds what the cluster's; this is the block and what passes between the two.

mod arguments;
mod barrier;
mod byte_size;
mod checks;
mod debug;
mod job;
mod ownership;
mod replica;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::{BuildError, Component, Context, Event, Fanout, NoExports, RunError, Setup, Stop};
use futures_util::future::join_all;
use model::{Batch, ConsumeMetrics, Refused};
use scrape::{Ending, Metrics, Overview};
use tokio::task::JoinSet;

pub use arguments::Arguments;
pub use byte_size::ByteSize;
use replica::Replica;

/// How often the targets' state is made the component's health.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// The process' bounds of a scrape; a service that the product offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeLimits {
    /// `--scrape.max-body-size`: most bytes of a decoded body.
    pub max_body_size: u64,
}

impl Default for ScrapeLimits {
    fn default() -> Self {
        Self { max_body_size: scrape::DEFAULT_MAX_BODY_SIZE }
    }
}

/// The component.
pub struct Scrape {
    arguments: Arguments,
    sink: Arc<Sink>,
    metrics: Metrics,
    /// One without clustering, else as many as `replication_factor` says.
    replicas: Vec<Replica>,
    /// Those that are taking their leave.
    removed: JoinSet<()>,
}

impl Component for Scrape {
    const NAME: &'static str = "prometheus.scrape";
    type Arguments = Arguments;
    type Exports = NoExports;

    fn build(arguments: Arguments, setup: &Setup) -> Result<(Self, NoExports), BuildError> {
        if arguments.enable_protobuf_negotiation {
            tracing::warn!(component = setup.id(), "enable_protobuf_negotiation is deprecated: use scrape_native_histograms");
        }
        let fanout = Fanout::new(arguments.forward_to.clone(), setup.registry()).map_err(BuildError::new)?;
        let sink = Arc::new(Sink(ArcSwap::from_pointee(fanout)));
        let metrics = Metrics::register(setup.registry()).map_err(BuildError::new)?;
        let mut component = Self { arguments, sink, metrics, replicas: Vec::new(), removed: JoinSet::new() };
        component.start_missing(setup)?;
        component.claim();
        Ok((component, NoExports {}))
    }

    async fn run(mut self, mut context: Context<Self>) -> Result<(), RunError> {
        let mut ticks = tokio::time::interval(HEALTH_INTERVAL);
        let stop = loop {
            tokio::select! {
                event = context.next() => match event {
                    Event::Update(arguments) => self.update(arguments, context.setup()).await,
                    Event::Debug(reply) => reply.send(&self.debug_info(context.setup())),
                    Event::Stop(stop) => {
                        context.setup().let_go();
                        break stop;
                    }
                },
                (rank, event) = replica::next_claim(&mut self.replicas) => self.replicas[rank].follow(event),
                _ = ticks.tick() => self.report(context.setup()),
            }
        };
        self.end(stop).await;
        Ok(())
    }
}

impl Scrape {
    /// Starts the replicas that the arguments want and that are not there.
    fn start_missing(&mut self, setup: &Setup) -> Result<(), BuildError> {
        for rank in (self.replicas.len() as u32)..replica::wanted(&self.arguments, setup) {
            let replica = Replica::start(rank, &self.arguments, setup, &self.sink, &self.metrics)?;
            self.replicas.push(replica);
        }
        Ok(())
    }

    /// Hands the targets to the engines and, in a fleet, their keys to the cluster.
    fn claim(&mut self) {
        let targets = &self.arguments.targets;
        self.replicas.iter_mut().for_each(|replica| replica.claim(targets));
    }

    async fn update(&mut self, arguments: Arguments, setup: &Setup) {
        if let Err(error) = self.try_update(arguments, setup).await {
            setup.health().unhealthy(format!("the last good arguments stay: {error}"));
        }
    }

    async fn try_update(&mut self, arguments: Arguments, setup: &Setup) -> Result<(), BuildError> {
        let only_targets = Arguments { targets: self.arguments.targets.clone(), ..arguments.clone() } == self.arguments;
        if !only_targets {
            let transport = (arguments.http_client != self.arguments.http_client).then(|| job::transport(&arguments, setup)).transpose()?;
            // One that goes takes its leave as it was: with other labels its series would be other ones.
            let staying = (replica::wanted(&arguments, setup) as usize).min(self.replicas.len());
            for replica in &mut self.replicas[..staying] {
                replica.reload(&arguments, transport.clone(), setup)?;
            }
            let fanout = self.sink.0.load().with_receivers(arguments.forward_to.clone());
            self.sink.0.store(Arc::new(fanout));
        }
        self.arguments = arguments;
        let wanted = replica::wanted(&self.arguments, setup) as usize;
        for mut surplus in self.replicas.split_off(wanted.min(self.replicas.len())) {
            surplus.leave_board();
            self.removed.spawn(surplus.remove());
        }
        while self.removed.try_join_next().is_some() {}
        self.start_missing(setup)?;
        self.claim();
        Ok(())
    }

    fn debug_info(&self, setup: &Setup) -> debug::DebugInfo {
        debug::info(self.replicas.iter().map(|replica| &*replica.engine), &self.arguments.job(setup.id()))
    }

    /// Healthy means working: if all scrapes fail, or receivers refuse, it shows.
    fn report(&self, setup: &Setup) {
        let troubles = self.replicas.iter().filter_map(|replica| trouble(&replica.engine.overview()));
        match troubles.reduce(|one, _| one) {
            Some(trouble) => setup.health().unhealthy(trouble),
            None => setup.health().healthy("scraping"),
        }
    }

    /// Ends the scraping: what is under way is given up. A removed component's series end; when the process ends, they go on elsewhere or
    /// after the restart.
    async fn end(mut self, stop: Stop) {
        match stop {
            Stop::Removed => {
                self.replicas.iter_mut().for_each(Replica::leave_board);
                join_all(self.replicas.into_iter().map(Replica::remove)).await;
            }
            Stop::Exit => {
                self.replicas.iter().for_each(Replica::exits);
                join_all(self.replicas.into_iter().map(|replica| replica.end(Ending::Continued))).await;
            }
        }
        self.removed.join_all().await;
        self.sink.flush();
    }
}

fn trouble(overview: &Overview) -> Option<String> {
    if let Some(refused) = overview.refused {
        return Some(format!("the samples of {} of {} targets are refused: {refused}", overview.refusing, overview.owned));
    }
    if overview.down > 0 && overview.up == 0 {
        let error = overview.error.as_deref().unwrap_or("unknown error");
        return Some(format!("none of {} targets can be scraped: {error}", overview.down));
    }
    None
}

/// Where scraped batches go; replaced as a whole when `forward_to` changes.
struct Sink(ArcSwap<Fanout>);

impl ConsumeMetrics for Sink {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        self.0.load().consume(batch)
    }

    fn flush(&self) {
        self.0.load().flush();
    }

    fn hold(&self, source: u64) {
        self.0.load().hold(source);
    }

    fn release(&self, source: u64) {
        self.0.load().release(source);
    }

    fn is_acknowledged(&self, source: u64) -> bool {
        self.0.load().is_acknowledged(source)
    }
}

#[cfg(test)]
mod tests;
