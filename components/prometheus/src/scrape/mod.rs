//! `prometheus.scrape`: scrapes targets, all of them or, in a fleet, the share that this node holds. Scraping is the engine's (`scrape`),
//! who holds what the cluster's; this is the block and what passes between the two.

mod arguments;
mod barrier;
mod byte_size;
mod checks;
mod debug;
mod job;
mod ownership;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cluster::ownership::StartReason;
use cluster::{ClaimEvent, Claims, Cluster};
use component::{BuildError, Component, Context, Event, Fanout, NoExports, RunError, Setup, Stop};
use model::{Batch, ConsumeMetrics, Refused};
use scrape::{Ending, Engine, Metrics, Overview, Parts};

pub use arguments::Arguments;
use barrier::Barrier;
pub use byte_size::ByteSize;
use ownership::Share;

use crate::targets::{Place, PoolTargets, TargetBoard, TargetSource};

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
    engine: Arc<Engine>,
    sink: Arc<Sink>,
    share: Arc<Share>,
    barrier: Option<Arc<Barrier>>,
    claims: Option<Claims>,
    _place: Option<Place>,
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
        let share = Arc::new(Share::new(setup.services().get::<Cluster>().as_deref().cloned()));
        let parts = Parts {
            sink: sink.clone(),
            transport: job::transport(&arguments, setup)?,
            slots: share.clone(),
            clock: share.clone(),
            metrics: Metrics::register(setup.registry()).map_err(BuildError::new)?,
        };
        let assigned = share.is_shared(&arguments);
        share.set_assigned(assigned);
        let engine = Engine::start(job::config(&arguments, setup, assigned)?, parts).map_err(BuildError::new)?;
        let engine = Arc::new(engine);
        let board = setup.services().get::<TargetBoard>();
        let source = Arc::new(Known { id: setup.id().to_owned(), engine: engine.clone() });
        let place = board.map(|board| board.put(setup.id(), source));
        let barrier = setup.services().get::<Cluster>().map(|cluster| Barrier::new((*cluster).clone(), setup.id(), sink.clone()));
        let mut component = Self { arguments, engine, sink, share, barrier, claims: None, _place: place };
        component.claim(setup.id());
        Ok((component, NoExports {}))
    }

    async fn run(mut self, mut context: Context<Self>) -> Result<(), RunError> {
        let mut ticks = tokio::time::interval(HEALTH_INTERVAL);
        let stop = loop {
            tokio::select! {
                event = context.next() => match event {
                    Event::Update(arguments) => self.update(arguments, context.setup()),
                    Event::Debug(reply) => reply.send(&debug::info(&self.engine, &self.arguments.job(context.setup().id()))),
                    Event::Stop(stop) => break stop,
                },
                event = next_claim(&mut self.claims) => self.follow(event),
                _ = ticks.tick() => self.report(context.setup()),
            }
        };
        self.end(stop).await;
        Ok(())
    }
}

/// The next event of the claims; never, without claims.
async fn next_claim(claims: &mut Option<Claims>) -> Option<ClaimEvent> {
    match claims {
        Some(claims) => claims.next_event().await,
        None => std::future::pending().await,
    }
}

impl Scrape {
    /// Hands the targets to the engine and, in a fleet, its keys to the cluster.
    fn claim(&mut self, id: &str) {
        let discovered = self.arguments.targets.iter().map(|target| target.0.clone()).collect();
        let synced = self.engine.set_targets(discovered);
        self.set_keys(id, synced.keys);
    }

    fn set_keys(&mut self, id: &str, keys: Vec<(u64, u64)>) {
        match (self.share.is_shared(&self.arguments), &self.claims) {
            (true, None) => {
                self.claims = self.share.claims(id);
                if let Some(claims) = &self.claims {
                    claims.weigh_with(ownership::weigher(self.engine.clone()));
                }
            }
            (false, Some(_)) => {
                self.claims = None;
                self.share.lose_all();
                // What the engine was given is void; it scrapes all targets now.
                self.engine.disown_all();
            }
            _ => {}
        }
        if let Some(claims) = &self.claims {
            let spec = |(key, interval_ms)| cluster::ownership::KeySpec { key, interval_ms };
            claims.set_keys(keys.into_iter().map(spec).collect());
        }
    }

    fn update(&mut self, arguments: Arguments, setup: &Setup) {
        if let Err(error) = self.try_update(arguments, setup) {
            setup.health().unhealthy(format!("the last good arguments stay: {error}"));
        }
    }

    fn try_update(&mut self, arguments: Arguments, setup: &Setup) -> Result<(), BuildError> {
        let only_targets = Arguments { targets: self.arguments.targets.clone(), ..arguments.clone() } == self.arguments;
        if !only_targets {
            let transport = (arguments.http_client != self.arguments.http_client).then(|| job::transport(&arguments, setup)).transpose()?;
            let assigned = self.share.is_shared(&arguments);
            let config = job::config(&arguments, setup, assigned)?;
            self.share.set_assigned(assigned);
            self.engine.reload(config, transport).map_err(BuildError::new)?;
            let fanout = self.sink.0.load().with_receivers(arguments.forward_to.clone());
            self.sink.0.store(Arc::new(fanout));
        }
        self.arguments = arguments;
        self.claim(setup.id());
        Ok(())
    }

    /// Does what the cluster says of a key.
    fn follow(&mut self, event: Option<ClaimEvent>) {
        match event {
            Some(ClaimEvent::Start(start)) => {
                if let (Some(barrier), StartReason::Handover { from }) = (&self.barrier, &start.reason) {
                    barrier.wait_for(from, start.key);
                }
                self.share.hold(start.key, start.hold);
                self.engine.own(start.key, start.first_slot, start.state);
            }
            Some(ClaimEvent::Stop(stop)) => {
                self.share.lose(stop.key);
                if let (Some(barrier), Some(_)) = (&self.barrier, &stop.handover) {
                    barrier.handed_on(stop.key);
                }
                match stop.handover {
                    Some(handover) => ownership::hand_over(&self.engine, self.sink.clone(), stop.key, handover),
                    None => self.engine.disown(stop.key),
                }
            }
            None => {
                // The node has left its fleet: nothing is held any more.
                self.claims = None;
                self.share.lose_all();
                self.engine.disown_all();
            }
        }
    }

    /// Healthy means working: if all scrapes fail, or receivers refuse, it shows.
    fn report(&self, setup: &Setup) {
        let overview = self.engine.overview();
        match trouble(&overview) {
            Some(trouble) => setup.health().unhealthy(trouble),
            None => setup.health().healthy("scraping"),
        }
    }

    /// Ends the scraping: what is under way is given up. A removed component's series end; when the process ends, they go on elsewhere or
    /// after the restart.
    async fn end(self, stop: Stop) {
        let ending = match stop {
            Stop::Removed => Ending::Removed,
            Stop::Exit => {
                self.barrier.iter().for_each(|barrier| barrier.exits());
                Ending::Continued
            }
        };
        self.engine.stop(ending).await;
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

/// What the board knows of this component.
struct Known {
    id: String,
    engine: Arc<Engine>,
}

impl TargetSource for Known {
    fn targets(&self) -> PoolTargets {
        PoolTargets { pool: self.id.clone(), targets: self.engine.targets(), dropped: self.engine.dropped().0 }
    }

    fn counts(&self) -> (usize, usize) {
        let overview = self.engine.overview();
        (overview.owned, overview.targets)
    }
}

#[cfg(test)]
mod tests;
