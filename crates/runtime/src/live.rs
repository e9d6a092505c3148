//! What lives under a node and outlasts reloads: its last good arguments and exports, its health, and the component that was built.

use std::sync::Arc;

use component::{ErasedArguments, Health, HealthState, InstanceControl, RunError, Stop};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use syntax::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError};

/// A component's run loop.
type RunLoop = BoxFuture<'static, Result<(), RunError>>;

/// What lives under a node.
#[derive(Default)]
pub(crate) struct Live(Mutex<State>);

struct State {
    /// Those evaluated last without error.
    arguments: Option<Arc<dyn ErasedArguments>>,
    /// Those published last; none before the component was built.
    exports: Option<Value>,
    evaluation: Health,
    run: Health,
    instance: Option<Instance>,
}

impl Default for State {
    fn default() -> Self {
        let created = Health::now(HealthState::Unknown, "component created");
        Self { arguments: None, exports: None, evaluation: created.clone(), run: created, instance: None }
    }
}

/// A component that was built.
struct Instance {
    /// Told apart from its predecessors under the same node, which may still speak up.
    serial: u64,
    control: Arc<InstanceControl>,
    /// The run loop until it is started.
    run: Option<RunLoop>,
    /// Once it is started.
    task: Option<Task>,
    /// Whether it was told to stop.
    stopping: bool,
}

/// A run loop that was started.
#[derive(Clone)]
pub(crate) struct Task {
    abort: AbortHandle,
    finished: watch::Receiver<bool>,
}

impl Task {
    /// Whether the run loop returned.
    pub fn is_finished(&self) -> bool {
        *self.finished.borrow()
    }

    /// Waits until the run loop returned.
    pub async fn finished(mut self) {
        // The sender goes away only after it has said so, or with the whole data runtime.
        let _ = self.finished.wait_for(|finished| *finished).await;
    }

    /// Ends the run loop wherever it waits next.
    pub fn abort(&self) {
        self.abort.abort();
    }
}

/// What the next evaluation has to be compared with.
pub(crate) struct Last {
    /// The last good arguments.
    pub arguments: Option<Arc<dyn ErasedArguments>>,
    pub existence: Existence,
}

/// Whether there is a component under the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existence {
    /// Never built.
    None,
    /// Built, and perhaps running.
    Alive,
    /// Its run loop returned though nobody told it to.
    Exited,
}

/// Evaluation.
impl Live {
    pub fn last(&self) -> Last {
        let state = self.0.lock();
        let existence = match &state.instance {
            None => Existence::None,
            Some(Instance { task: Some(task), .. }) if task.is_finished() => Existence::Exited,
            Some(_) => Existence::Alive,
        };
        Last { arguments: state.arguments.clone(), existence }
    }

    /// The arguments are good; they become the last good ones if they are new.
    pub fn evaluated(&self, arguments: Option<Arc<dyn ErasedArguments>>) {
        let mut state = self.0.lock();
        if arguments.is_some() {
            state.arguments = arguments;
        }
        set(&mut state.evaluation, HealthState::Healthy, "component evaluated".to_owned());
    }

    /// The evaluation failed: arguments and exports stay as they were.
    pub fn evaluation_failed(&self, reason: &str) {
        set(&mut self.0.lock().evaluation, HealthState::Unhealthy, format!("component evaluation failed: {reason}"));
    }

    /// A component was built; one that exited before gives way to it.
    pub fn built(&self, serial: u64, arguments: Arc<dyn ErasedArguments>, built: component::Instance) {
        let mut state = self.0.lock();
        state.arguments = Some(arguments);
        state.exports = Some(built.exports);
        state.run = Health::now(HealthState::Unknown, "component created");
        state.instance = Some(Instance { serial, control: Arc::new(built.control), run: Some(built.run), task: None, stopping: false });
        set(&mut state.evaluation, HealthState::Healthy, "component evaluated".to_owned());
    }

    /// Takes new exports; false if they come from a component that is no longer the one under this node.
    pub fn export(&self, serial: u64, exports: Value) -> bool {
        let mut state = self.0.lock();
        let current = state.instance.as_ref().is_some_and(|instance| instance.serial == serial);
        let gone = if current { state.exports.replace(exports) } else { Some(exports) };
        // Many thousand targets take their time to be dropped.
        drop(state);
        drop(gone);
        current
    }
}

/// Running.
impl Live {
    /// Starts the run loop on `data` if it is built and was not started. `id` is for the log.
    pub fn start(self: &Arc<Self>, data: &Handle, id: Arc<str>) {
        let mut state = self.0.lock();
        let Some(instance) = &mut state.instance else { return };
        let Some(run) = instance.run.take() else { return };
        let running = data.spawn(run);
        let (finish, finished) = watch::channel(false);
        instance.task = Some(Task { abort: running.abort_handle(), finished });
        let (live, serial) = (self.clone(), instance.serial);
        state.run = Health::now(HealthState::Healthy, "started component");
        data.spawn(async move {
            let outcome = running.await;
            live.exited(serial, &id, outcome);
            finish.send_replace(true);
        });
    }

    fn exited(&self, serial: u64, id: &str, outcome: Result<Result<(), RunError>, JoinError>) {
        let mut state = self.0.lock();
        let Some(instance) = state.instance.as_ref().filter(|instance| instance.serial == serial) else { return };
        let stopping = instance.stopping;
        let error = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(join) => Some(why_aborted(join)),
        };
        let message = match &error {
            None => "component shut down cleanly".to_owned(),
            Some(error) => format!("component shut down with error: {error}"),
        };
        state.run = Health::now(HealthState::Exited, message);
        drop(state);
        match (error, stopping) {
            (None, true) => tracing::debug!(component_id = id, "component stopped"),
            (None, false) => tracing::warn!(component_id = id, "component exited though nobody stopped it"),
            (Some(error), _) => tracing::error!(component_id = id, error, "component exited"),
        }
    }

    /// Gives new arguments to the component, if there is one.
    pub fn give(&self, arguments: Arc<dyn ErasedArguments>) {
        if let Some(control) = self.control() {
            control.update(arguments);
        }
    }

    /// Tells the component to finish. Its task, if its run loop was started.
    pub fn stop(&self, reason: Stop) -> Option<Task> {
        let mut state = self.0.lock();
        let instance = state.instance.as_mut()?;
        instance.stopping = true;
        instance.control.stop(reason);
        instance.task.clone()
    }

    /// The run loop, if it was started.
    pub fn task(&self) -> Option<Task> {
        self.0.lock().instance.as_ref()?.task.clone()
    }

    /// Waits until the component, which was told to stop, holds nothing any more that others could need: at the latest when its run loop
    /// has returned.
    pub async fn way_is_free(&self) {
        let (task, control) = {
            let state = self.0.lock();
            let Some(instance) = &state.instance else { return };
            let Some(task) = instance.task.clone() else { return };
            (task, instance.control.clone())
        };
        tokio::select! {
            () = task.finished() => {}
            () = control.let_go() => {}
        }
    }
}

/// Looking.
impl Live {
    pub fn arguments(&self) -> Option<Arc<dyn ErasedArguments>> {
        self.0.lock().arguments.clone()
    }

    pub fn exports(&self) -> Option<Value> {
        self.0.lock().exports.clone()
    }

    /// The handle to the component, if it was built.
    pub fn control(&self) -> Option<Arc<InstanceControl>> {
        self.0.lock().instance.as_ref().map(|instance| instance.control.clone())
    }

    /// The worst of evaluation, run loop, and what the component says of itself.
    pub fn health(&self) -> Health {
        let state = self.0.lock();
        let merged = state.evaluation.clone().worst(state.run.clone());
        match &state.instance {
            Some(instance) => merged.worst(instance.control.health()),
            None => merged,
        }
    }
}

/// Keeps the time since which a health holds.
fn set(health: &mut Health, state: HealthState, message: String) {
    if health.state != state || health.message != message {
        *health = Health::now(state, message);
    }
}

/// In words: a panic's message, or that the task was aborted.
fn why_aborted(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => format!("panicked: {}", panic_message(&*payload)),
        Err(_) => "did not finish before its deadline and was aborted".to_owned(),
    }
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
