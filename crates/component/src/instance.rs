//! A built component as the runtime holds it, its type erased.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use syntax::{Statement, Value};
use tokio::sync::{mpsc, oneshot, watch};

use crate::component::RunError;
use crate::context::Setup;
use crate::context::{DebugReply, Stop};
use crate::health::Health;
use crate::serve::ComponentHttp;

/// Debug requests that may wait for a busy component; further ones get no answer.
pub(crate) const DEBUG_REQUESTS: usize = 4;
/// How long a debug request waits for a busy component.
const DEBUG_TIMEOUT: Duration = Duration::from_secs(1);

/// Decoded arguments, their type erased.
pub trait ErasedArguments: Any + Send + Sync {
    /// Whether these are the same type and equal.
    fn equals(&self, other: &dyn ErasedArguments) -> bool;
    /// The arguments as statements, secrets hidden: for the API and the UI.
    fn to_body(&self) -> Vec<Statement>;
    /// Always `self`.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// Always `self`.
    fn as_any_ref(&self) -> &dyn Any;
}

impl<A: syntax::Block + PartialEq + Send + Sync + 'static> ErasedArguments for A {
    fn equals(&self, other: &dyn ErasedArguments) -> bool {
        other.as_any_ref().downcast_ref::<A>() == Some(self)
    }

    fn to_body(&self) -> Vec<Statement> {
        syntax::Block::to_body(self)
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn as_any_ref(&self) -> &dyn Any {
        self
    }
}

/// A built component: its run loop, not yet started, and the handle to it.
pub struct Instance {
    /// The run loop; spawn it once on the data runtime.
    pub run: BoxFuture<'static, Result<(), RunError>>,
    /// The exports that it has from the start.
    pub exports: Value,
    /// The handle.
    pub control: InstanceControl,
}

/// Gives new arguments to a running component; false if their type is another component's.
pub(crate) type GiveUpdate = Box<dyn Fn(Arc<dyn ErasedArguments>) -> bool + Send + Sync>;

/// The runtime's handle to a component.
pub struct InstanceControl {
    pub(crate) setup: Setup,
    pub(crate) update: GiveUpdate,
    pub(crate) debug: mpsc::Sender<DebugReply>,
    pub(crate) stop: watch::Sender<Option<Stop>>,
}

impl InstanceControl {
    /// Gives new arguments; the component gets them with its next event, and only the newest if several came. Returns false, and does
    /// nothing, if they are another component's.
    pub fn update(&self, arguments: Arc<dyn ErasedArguments>) -> bool {
        (self.update)(arguments)
    }

    /// Asks the component to finish. Its run loop returns when it has.
    pub fn stop(&self, reason: Stop) {
        self.stop.send_replace(Some(reason));
    }

    /// Waits until the component says that it holds nothing any more that others could need ([`Setup::let_go`]); most never say it and just
    /// return from their run loop.
    pub async fn let_go(&self) {
        self.setup.hold.let_go().await;
    }

    /// What the component says of itself.
    #[must_use]
    pub fn health(&self) -> Health {
        self.setup.health.get()
    }

    /// The component's metrics.
    #[must_use]
    pub fn registry(&self) -> &prometheus::Registry {
        &self.setup.registry
    }

    /// Who answers requests under the component's path, if anybody.
    #[must_use]
    pub fn http(&self) -> Option<Arc<dyn ComponentHttp>> {
        self.setup.http.lock().clone()
    }

    /// The component's debug info; empty if it has none or does not answer within a second.
    pub async fn debug_info(&self) -> Vec<Statement> {
        let (reply, answer) = oneshot::channel();
        if self.debug.try_send(DebugReply(reply)).is_err() {
            return Vec::new();
        }
        match tokio::time::timeout(DEBUG_TIMEOUT, answer).await {
            Ok(Ok(body)) => body,
            _ => Vec::new(),
        }
    }
}
