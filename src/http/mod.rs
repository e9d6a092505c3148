//! The one listener: UI, API, `/metrics`, health, and the cluster's streams. Lives on the control runtime; what takes time is done on the
//! data runtime.

mod components;
mod explain;
mod holding;
mod listener;
mod metrics;
mod origin;
mod places;
mod simulate;
mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

pub use listener::{Listener, MAX_CONNECTIONS, bind};
pub use metrics::{Metrics, exposition_of};
pub use places::Places;

/// Lets other nodes ask what this one scrapes and how it sees keys.
pub fn answer_peers(api: &Api, cluster: &cluster::Cluster) {
    targets::answer_peers(api, cluster);
    explain::answer_peers(cluster);
}

/// What the routes need of the program.
#[derive(Clone)]
pub struct Api {
    /// The components.
    pub controller: runtime::Controller,
    /// The fleet, if clustering is on.
    pub cluster: Option<cluster::Cluster>,
    /// Targets of all scraping components.
    pub targets: prometheus_components::TargetBoard,
    /// The program's own metrics.
    pub metrics: Arc<Metrics>,
    /// How far the program has come.
    pub phase: Phase,
    /// Where work is done that may take time.
    pub data: tokio::runtime::Handle,
}

/// How far the program has come; shared with whoever moves it on.
#[derive(Clone, Default)]
pub struct Phase(Arc<AtomicU8>);

impl Phase {
    const READY: u8 = 1;
    const LEAVING: u8 = 2;

    /// The configuration runs and work is admitted.
    pub fn ready(&self) {
        self.0.store(Self::READY, Ordering::Relaxed);
    }

    /// The process hands over and flushes: no more work is admitted.
    pub fn leaving(&self) {
        self.0.store(Self::LEAVING, Ordering::Relaxed);
    }
}

/// All routes; UI and API below `prefix` (`--server.http.ui-path-prefix`).
pub fn routes(api: Api, prefix: &str) -> Router {
    let web = Router::new()
        .route("/components", get(components::list))
        .route("/components/{*id}", get(components::one))
        .route("/peers", get(components::peers));
    let prefixed = Router::new()
        .nest("/api/v0/web", web)
        .route("/api/v1/targets", get(targets::list))
        .route("/api/v1/cluster/explain", get(explain::explain))
        .route("/api/v1/cluster/simulate", get(simulate::simulate));
    let unprefixed = Router::new()
        .route("/metrics", get(metrics::exposition))
        .route("/-/ready", get(ready))
        .route("/-/healthy", get(healthy))
        .route("/-/reload", get(reload).post(reload))
        .route("/api/v0/component/{*rest}", axum::routing::any(components::proxy));
    let prefix = prefix.trim_end_matches('/');
    let all = if prefix.is_empty() { unprefixed.merge(prefixed) } else { unprefixed.nest(prefix, prefixed) };
    all.fallback(unknown).with_state(api)
}

/// 200 while work is admitted: the configuration runs, and in a fleet this node is a participant.
async fn ready(State(api): State<Api>) -> Response {
    match api.phase.0.load(Ordering::Relaxed) {
        Phase::READY if api.cluster.as_ref().is_none_or(crate::app::fleet::is_admitting) => "Collector is ready.\n".into_response(),
        Phase::READY => {
            let trouble = api.cluster.as_ref().and_then(cluster::Cluster::trouble);
            let why = trouble.map_or_else(|| "it has not joined its fleet yet".to_owned(), |trouble| (*trouble).clone());
            (StatusCode::SERVICE_UNAVAILABLE, format!("Collector is not ready: {why}.\n")).into_response()
        }
        Phase::LEAVING => (StatusCode::SERVICE_UNAVAILABLE, "Collector is not ready: it is leaving.\n").into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "Collector is not ready: the configuration is not loaded yet.\n").into_response(),
    }
}

/// 200, or 500 with the names of the unhealthy components.
async fn healthy(State(api): State<Api>) -> Response {
    let unhealthy = api.controller.unhealthy();
    if unhealthy.is_empty() {
        return "All collector components are healthy.\n".into_response();
    }
    (StatusCode::INTERNAL_SERVER_ERROR, format!("unhealthy components: {}\n", unhealthy.join(", "))).into_response()
}

/// Reads the configuration again: 200, or 400 with what is wrong with it; the old one runs on then.
async fn reload(State(api): State<Api>) -> Response {
    match on_data(&api.data, async move { api.controller.reload().await }).await {
        Some(Ok(_)) => "config reloaded\n".into_response(),
        Some(Err(error)) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "Nothing is here. Try /metrics, /-/ready, /-/healthy, /api/v0/web/components, /api/v1/targets.\n")
        .into_response()
}

/// 400, in the shape of Prometheus' API.
fn bad_request(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "status": "error", "errorType": "bad_data", "error": error }))).into_response()
}

/// Runs `work` on the data runtime, so that it can't make the control runtime late; `None` if it panicked.
async fn on_data<T: Send + 'static>(data: &tokio::runtime::Handle, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    data.spawn(work).await.ok()
}
