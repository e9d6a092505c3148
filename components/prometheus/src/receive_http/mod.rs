//! `prometheus.receive_http`: takes what others push by remote write. The server is `net`'s, reading requests is `intake`'s; this is the
//! block, and how arguments change while it runs.

mod arguments;
mod handler;
pub mod intake;
mod metrics;
mod repeats;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::{BuildError, Component, Context, Event, Fanout, NoExports, RunError, Setup};
use net::server::{Server, ServerMetrics};
use syntax::Block;

pub use arguments::Arguments;
use handler::{Flow, Handler};
use intake::{Intake, Version};
use metrics::{IntakeMetrics, Metrics};

/// How often known series that did not come are looked for.
const TICK: Duration = Duration::from_secs(60);
/// How often the component says how it is.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// What running requests may take at most when the component ends; below what the product allows its components.
const MAX_SHUTDOWN: Duration = Duration::from_secs(12);

/// The component.
pub struct ReceiveHttp {
    arguments: Arguments,
    handler: Arc<Handler>,
    intake: Arc<ArcSwap<Intake>>,
    metrics: ServerMetrics,
    server: Server,
}

impl Component for ReceiveHttp {
    const NAME: &'static str = "prometheus.receive_http";
    type Arguments = Arguments;
    type Exports = NoExports;

    fn build(arguments: Arguments, setup: &Setup) -> Result<(Self, NoExports), BuildError> {
        arguments.admitted(setup)?;
        let next = Fanout::new(arguments.forward_to.clone(), setup.registry()).map_err(BuildError::new)?;
        let intake = Arc::new(ArcSwap::from_pointee(Intake::new(arguments.options())));
        let own = Metrics::register(setup.registry()).map_err(BuildError::new)?;
        let of_intake = IntakeMetrics::new(intake.clone()).map_err(BuildError::new)?;
        setup.registry().register(Box::new(of_intake)).map_err(BuildError::new)?;
        let handler = Handler::new(setup.id(), flow(&arguments, next, 0), intake.clone(), own);
        let metrics = ServerMetrics::register("prometheus_receive_http", setup.registry()).map_err(BuildError::new)?;
        let server = Server::start(&arguments.server.http, metrics.clone(), handler.clone()).map_err(BuildError::new)?;
        Ok((Self { arguments, handler, intake, metrics, server }, NoExports {}))
    }

    async fn run(mut self, mut context: Context<Self>) -> Result<(), RunError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.reset(); // the first one comes at once otherwise
        let mut looks = tokio::time::interval(HEALTH_INTERVAL);
        let mut refused = None;
        loop {
            tokio::select! {
                event = context.next() => match event {
                    Event::Update(arguments) => {
                        refused = self.update(arguments, context.setup()).err().map(|error| format!("the last good arguments stay: {error}"));
                        self.report(context.setup(), refused.as_ref());
                    }
                    Event::Debug(reply) => reply.send(&DebugInfo::of(&self)),
                    Event::Stop(_) => break,
                },
                _ = ticks.tick() => self.intake.load().tick(),
                _ = looks.tick() => self.report(context.setup(), refused.as_ref()),
            }
        }
        self.server.shutdown(self.arguments.server.graceful_shutdown_timeout.min(MAX_SHUTDOWN)).await;
        Ok(())
    }
}

impl ReceiveHttp {
    /// Healthy means working: arguments that could not be had show, and so do receivers that refuse.
    fn report(&self, setup: &Setup, refused: Option<&String>) {
        let downstream = *self.handler.trouble.lock();
        match (refused, downstream) {
            (Some(refused), _) => setup.health().unhealthy(refused.clone()),
            (None, Some(refused)) => setup.health().unhealthy(format!("a receiver further down refuses what comes: {refused}")),
            (None, None) => setup.health().healthy(format!("listening on {}", self.server.address())),
        }
    }

    /// The server goes first: if it can't be had as it is wanted, nothing else changes either.
    fn update(&mut self, arguments: Arguments, setup: &Setup) -> Result<(), BuildError> {
        arguments.admitted(setup)?;
        let http = &arguments.server.http;
        if self.server.listens_as(http) {
            self.server.change(http).map_err(BuildError::new)?;
        } else {
            let server = Server::start(http, self.metrics.clone(), self.handler.clone()).map_err(BuildError::new)?;
            let before = std::mem::replace(&mut self.server, server);
            let within = self.arguments.server.graceful_shutdown_timeout.min(MAX_SHUTDOWN);
            tokio::spawn(before.shutdown(within)); // those who are in there are served to the end
        }
        if self.intake.load().options() != arguments.options() {
            self.intake.store(Arc::new(Intake::new(arguments.options())));
        }
        let before = self.handler.flow.load_full();
        let generation = before.generation + u64::from(self.arguments.forward_to != arguments.forward_to);
        let next = before.next.with_receivers(arguments.forward_to.clone());
        self.handler.flow.store(Arc::new(flow(&arguments, next, generation)));
        self.arguments = arguments;
        Ok(())
    }
}

fn flow(arguments: &Arguments, next: Fanout, generation: u64) -> Flow {
    Flow { next, generation, accepts: [Version::V1, Version::V2].map(|version| arguments.accepts(version)) }
}

/// What the UI shows of a running component.
#[derive(Block, Clone, Debug, PartialEq)]
struct DebugInfo {
    listening_on: String,
    known_series_bytes: usize,
}

impl DebugInfo {
    fn of(component: &ReceiveHttp) -> Self {
        let bytes = component.intake.load().stats().bytes;
        Self { listening_on: component.server.address().to_string(), known_series_bytes: bytes }
    }
}
