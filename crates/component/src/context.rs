//! What the runtime gives a component: its setup while it is built, and one stream of events while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::Registry;
use syntax::{Block, Stability, Statement, Value};
use tokio::sync::{mpsc, oneshot, watch};

use crate::component::{BuildError, Component};
use crate::health::HealthCell;
use crate::serve::{ComponentHttp, HttpCell};
use crate::services::{Services, StabilityLevel};

/// What a component has from its birth on.
#[derive(Clone)]
pub struct Setup {
    pub(crate) id: Arc<str>,
    pub(crate) data_path: PathBuf,
    pub(crate) registry: Registry,
    pub(crate) services: Services,
    pub(crate) health: HealthCell,
    pub(crate) http: HttpCell,
    pub(crate) hold: HoldCell,
}

/// Whether a component has let go of what a successor may need, while it is still running.
#[derive(Clone)]
pub(crate) struct HoldCell(Arc<watch::Sender<bool>>);

impl Default for HoldCell {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

impl HoldCell {
    /// Waits until the component has let go.
    pub(crate) async fn let_go(&self) {
        // The sender lives as long as this cell.
        let _ = self.0.subscribe().wait_for(|holds| !holds).await;
    }
}

impl Setup {
    /// The component's global ID: module path, `/`, block name and label: `prometheus.scrape.default`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder that belongs to this component alone. It need not exist yet.
    #[must_use]
    pub fn data_path(&self) -> &Path {
        &self.data_path
    }

    /// Where the component registers its metrics; `component_id` and `component_path` are added, and all of them vanish with the
    /// component.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the product offers beyond this contract.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Whether the product admits features of this level; otherwise why not, in Alloy's words. `what` is like
    /// `attribute "x" of prometheus.y`.
    ///
    /// # Errors
    /// The reason.
    pub fn admits(&self, level: Stability, what: &str) -> Result<(), BuildError> {
        let minimum = self.services.get::<StabilityLevel>().map_or_else(Stability::default, |level| level.0);
        level.gate(what, minimum).map_or(Ok(()), |reason| Err(BuildError::new(reason)))
    }

    /// Where the component says how it is. Shared with everything that the component starts.
    #[must_use]
    pub fn health(&self) -> &HealthCell {
        &self.health
    }

    /// For a component that was removed and takes its time to finish: it holds nothing any more that others could need, such as a port or a
    /// file, so that what is new in the configuration need not wait for its end.
    pub fn let_go(&self) {
        self.hold.0.send_replace(false);
    }

    /// Answers requests under `/api/v0/component/<id>/` with `handler` from now on.
    pub fn serve(&self, handler: Arc<dyn ComponentHttp>) {
        *self.http.lock() = Some(handler);
    }

    /// A setup outside any runtime, for tests of components: metrics in a registry of its own.
    #[must_use]
    pub fn detached(id: &str, data_path: &Path, services: Services) -> Self {
        Self {
            id: id.into(),
            data_path: data_path.to_owned(),
            registry: Registry::new(),
            services,
            health: HealthCell::default(),
            http: HttpCell::default(),
            hold: HoldCell::default(),
        }
    }
}

/// Why a component is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The configuration no longer has it: end what it began (staleness markers, released targets).
    Removed,
    /// The process ends: hand over and flush, somebody else may go on.
    Exit,
}

/// What happens to a running component.
#[derive(Debug)]
pub enum Event<A> {
    /// New arguments, different from the last. If several came in the meantime, only the newest is given.
    Update(A),
    /// Somebody looks at the component: answer with its debug info.
    Debug(DebugReply),
    /// Finish and return. Comes last; what was received must be flushed within the runtime's deadline.
    Stop(Stop),
}

/// Takes the answer to [`Event::Debug`]. Dropping it answers with nothing.
#[derive(Debug)]
pub struct DebugReply(pub(crate) oneshot::Sender<Vec<Statement>>);

impl DebugReply {
    /// Answers with the attributes and blocks of `info`.
    pub fn send(self, info: &impl Block) {
        // The asker may have given up; then nobody wants the answer.
        let _ = self.0.send(info.to_body());
    }

    /// Answers with statements made by hand, for debug info with several like blocks.
    pub fn send_body(self, body: Vec<Statement>) {
        let _ = self.0.send(body);
    }
}

/// Takes changed exports to the runtime.
pub(crate) type OnExport = Arc<dyn Fn(Value) + Send + Sync>;

/// A running component's side of the contract.
pub struct Context<C: Component> {
    setup: Setup,
    updates: watch::Receiver<Option<Arc<C::Arguments>>>,
    debug: mpsc::Receiver<DebugReply>,
    stop: watch::Receiver<Option<Stop>>,
    last_exports: C::Exports,
    on_export: OnExport,
}

impl<C: Component> Context<C> {
    pub(crate) fn new(
        setup: Setup,
        updates: watch::Receiver<Option<Arc<C::Arguments>>>,
        debug: mpsc::Receiver<DebugReply>,
        stop: watch::Receiver<Option<Stop>>,
        last_exports: C::Exports,
        on_export: OnExport,
    ) -> Self {
        Self { setup, updates, debug, stop, last_exports, on_export }
    }

    /// What the component was built with.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Where the component says how it is.
    #[must_use]
    pub fn health(&self) -> &HealthCell {
        &self.setup.health
    }

    /// Publishes exports. If they are those published last, nothing happens; otherwise whoever refers to them is evaluated again.
    pub fn export(&mut self, exports: C::Exports) {
        if self.last_exports != exports {
            (self.on_export)(exports.to_value());
            self.last_exports = exports;
        }
    }

    /// The next event. Cancel-safe: may be used in `select!`. After [`Event::Stop`] it gives `Stop` again.
    pub async fn next(&mut self) -> Event<C::Arguments> {
        loop {
            tokio::select! {
                biased;
                stop = stopped(&mut self.stop) => return Event::Stop(stop),
                Ok(()) = self.updates.changed() => {
                    if let Some(arguments) = self.updates.borrow_and_update().as_deref() {
                        return Event::Update(arguments.clone());
                    }
                }
                Some(reply) = self.debug.recv() => return Event::Debug(reply),
            }
        }
    }

    /// Waits for the stop alone, for places that can do nothing with other events.
    pub async fn stopped(&mut self) -> Stop {
        stopped(&mut self.stop).await
    }
}

/// The stop; a vanished runtime counts as the process ending.
async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await {
        Ok(reason) => reason.unwrap_or(Stop::Exit),
        Err(_) => Stop::Exit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_admitted_from_the_level_on_that_the_product_names() {
        let setup = |services| Setup::detached("x", Path::new("/nowhere"), services);
        let what = "attribute \"a\" of b";
        let by_default = setup(Services::default());
        assert!(by_default.admits(Stability::GenerallyAvailable, what).is_ok());
        let error = by_default.admits(Stability::Experimental, what).unwrap_err().to_string();
        assert!(error.starts_with(what) && error.contains("--stability.level"), "{error}");
        let lowered = setup(Services::default().with(StabilityLevel(Stability::Experimental)));
        assert!(lowered.admits(Stability::Experimental, what).is_ok());
    }
}
