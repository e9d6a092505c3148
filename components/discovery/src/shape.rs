//! The shape of a discovery: arguments plus one `refresh`. This file does the rest: when to refresh, that the last targets stay when it
//! fails, that events are attended to in the meantime, health, metrics, debug info.

use std::future::{Future, pending};
use std::time::Duration;

use component::{BuildError, Component, Context, Event, RunError, Setup, Target};
use prometheus::Registry;
use syntax::Block;
use tokio::time::{Instant, sleep_until};

use crate::metrics::RefreshMetrics;

/// After a change was seen: how long to wait for the writer to finish, as Alloy's `local.file` does.
const SETTLE: Duration = Duration::from_millis(30);
/// Refreshes that changes ask for are at least this far apart, so that a folder in which something always changes costs little.
const MIN_GAP: Duration = Duration::from_millis(250);

/// Something that can be asked for targets.
pub trait Discovery: Sized + Send + 'static {
    /// The component's name.
    const NAME: &'static str;
    /// The component's arguments.
    type Arguments: Block + Clone + PartialEq + Send + Sync + 'static;
    /// Metrics besides those of every discovery. Made once per component, as arguments come and go.
    type Metrics: Send + Sync + 'static;

    /// Registers the metrics.
    ///
    /// # Errors
    /// The registry refuses one of them.
    fn metrics(registry: &Registry) -> Result<Self::Metrics, prometheus::Error>;

    /// Prepares for `refresh`; asks nobody yet.
    ///
    /// # Errors
    /// The arguments can't work; the message names the argument.
    fn new(arguments: Self::Arguments) -> Result<Self, String>;

    /// How much time lies between two refreshes.
    fn interval(&self) -> Duration;

    /// Finds the targets. Dropped in the middle if new arguments come or the component is stopped.
    fn refresh(&mut self, metrics: &Self::Metrics) -> impl Future<Output = Refreshed> + Send;

    /// Waits for something that makes a refresh worthwhile before its time. Cancel-safe.
    fn changed(&mut self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

/// What a refresh brought.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// All targets; `None` if those of before stay.
    pub targets: Option<Vec<Target>>,
    /// What went wrong, each with its place and cause; the discovery is unhealthy while there is any.
    pub failures: Vec<String>,
    /// What else is worth knowing, shown with the health.
    pub remark: String,
}

impl Refreshed {
    /// The refresh failed as a whole: targets stay as they are.
    pub(crate) fn failed(cause: impl ToString) -> Self {
        Self { failures: vec![cause.to_string()], ..Self::default() }
    }
}

/// What every discovery exports.
#[derive(Block, Clone, Debug, Default, PartialEq)]
pub struct Exports {
    /// The targets that were found.
    pub targets: Vec<Target>,
}

/// A discovery as a component.
pub struct Discoverer<D: Discovery> {
    discovery: D,
    metrics: D::Metrics,
    refreshes: RefreshMetrics,
}

/// How the discovery is doing.
#[derive(Block, Clone, Debug, Default, PartialEq)]
struct DebugInfo {
    /// How many targets are exported.
    targets: usize,
    /// How long the last refresh took.
    last_refresh_duration: Duration,
    /// Why the last refresh failed; empty if it did not.
    last_error: String,
    /// Why the newest arguments could not be used; empty if they are in use.
    arguments_error: String,
}

impl<D: Discovery> Component for Discoverer<D> {
    const NAME: &'static str = D::NAME;
    type Arguments = D::Arguments;
    type Exports = Exports;

    fn build(arguments: D::Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let discovery = D::new(arguments).map_err(BuildError::new)?;
        let metrics = D::metrics(setup.registry()).map_err(BuildError::new)?;
        let mechanism = D::NAME.trim_start_matches("discovery.");
        let refreshes = RefreshMetrics::new(setup.registry(), mechanism).map_err(BuildError::new)?;
        Ok((Self { discovery, metrics, refreshes }, Exports::default()))
    }

    async fn run(mut self, mut context: Context<Self>) -> Result<(), RunError> {
        let mut info = DebugInfo::default();
        loop {
            let started = Instant::now();
            match attend(&mut context, &info, self.discovery.refresh(&self.metrics)).await {
                Attended::Done(refreshed) => {
                    info.last_refresh_duration = started.elapsed();
                    self.publish(refreshed, &mut info, &mut context);
                }
                Attended::Update(arguments) => {
                    self.update(arguments, &mut info, &context);
                    continue;
                }
                Attended::Stop => return Ok(()),
            }
            match attend(&mut context, &info, due(&mut self.discovery, started)).await {
                Attended::Done(()) => {}
                Attended::Update(arguments) => self.update(arguments, &mut info, &context),
                Attended::Stop => return Ok(()),
            }
        }
    }
}

impl<D: Discovery> Discoverer<D> {
    fn publish(&self, refreshed: Refreshed, info: &mut DebugInfo, context: &mut Context<Self>) {
        let Refreshed { targets, failures, remark } = refreshed;
        let error = failures.join("; ");
        self.refreshes.observe(info.last_refresh_duration, !failures.is_empty());
        if let Some(targets) = targets {
            info.targets = targets.len();
            context.export(Exports { targets });
        }
        if error != info.last_error {
            let component = context.setup().id();
            if error.is_empty() {
                tracing::info!(component_id = component, "finding targets works again");
            } else {
                tracing::warn!(component_id = component, error, "finding targets failed, those of before stay");
            }
        }
        info.last_error = error;
        report(info, &remark, context);
    }

    /// Takes up new arguments. The targets of the old ones stay until the new ones have found some.
    fn update(&mut self, arguments: D::Arguments, info: &mut DebugInfo, context: &Context<Self>) {
        match D::new(arguments) {
            Ok(discovery) => {
                self.discovery = discovery;
                info.arguments_error.clear();
            }
            Err(error) => {
                tracing::error!(component_id = context.setup().id(), error, "the new arguments can't be used, the last good ones stay");
                info.arguments_error = error;
                report(info, "", context);
            }
        }
    }
}

fn report<D: Discovery>(info: &DebugInfo, remark: &str, context: &Context<Discoverer<D>>) {
    if !info.arguments_error.is_empty() {
        context.health().unhealthy(format!("the last good arguments stay: {}", info.arguments_error));
    } else if !info.last_error.is_empty() {
        context.health().unhealthy(format!("{} targets stay from before: {}", info.targets, info.last_error));
    } else {
        context.health().healthy(format!("{} targets{}{remark}", info.targets, if remark.is_empty() { "" } else { ", " }));
    }
}

/// Waits until the next refresh is due, by the clock or because something changed.
async fn due<D: Discovery>(discovery: &mut D, started: Instant) {
    let by_clock = started + discovery.interval();
    tokio::select! {
        () = sleep_until(by_clock) => {}
        () = discovery.changed() => sleep_until((Instant::now() + SETTLE).max(started + MIN_GAP).min(by_clock)).await,
    }
}

enum Attended<T, A> {
    Done(T),
    Update(A),
    Stop,
}

/// Waits for `work` and attends to events meanwhile. Events that end it drop it.
async fn attend<D: Discovery, T>(
    context: &mut Context<Discoverer<D>>,
    info: &DebugInfo,
    work: impl Future<Output = T>,
) -> Attended<T, D::Arguments> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            event = context.next() => match event {
                Event::Update(arguments) => return Attended::Update(arguments),
                Event::Debug(reply) => reply.send(info),
                Event::Stop(_) => return Attended::Stop,
            },
            done = &mut work => return Attended::Done(done),
        }
    }
}

/// Refuses intervals at which nothing would ever rest.
pub(crate) fn check_interval(interval: Duration) -> Result<(), String> {
    if interval.is_zero() { Err("refresh_interval must be greater than 0".to_owned()) } else { Ok(()) }
}
