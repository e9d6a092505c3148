//! `prometheus.exporter.self`: the collector's own metrics as a target.

use std::sync::Arc;

use bytes::Bytes;
use component::{BuildError, Component, ComponentHttp, Context, Event, HttpReply, HttpRequest, RunError, Setup};
use futures_util::future::BoxFuture;
use http::StatusCode;
use syntax::Block;

use crate::exporter::{TEXT, not_found, offered, reply, target};

pub use crate::exporter::Exports;

/// The collector's own metrics in the text format; a service that the product offers.
#[derive(Clone)]
pub struct SelfMetrics {
    /// Renders `/metrics`.
    pub exposition: Arc<dyn Fn() -> Bytes + Send + Sync>,
    /// The address under which components reach the own listener (`--server.http.memory-addr`).
    pub memory_addr: Arc<str>,
}

/// The collector's own metrics as a target to scrape.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Arguments {}

/// The component.
pub struct ExporterSelf;

impl Component for ExporterSelf {
    const NAME: &'static str = "prometheus.exporter.self";
    type Arguments = Arguments;
    type Exports = Exports;

    fn build(_: Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let metrics = offered(setup)?;
        let target = target(setup.id(), Self::NAME, "self", &hostname(), &metrics.memory_addr);
        setup.serve(Arc::new(Handler(metrics)));
        Ok((Self, Exports { targets: vec![target] }))
    }

    async fn run(self, mut context: Context<Self>) -> Result<(), RunError> {
        context.health().healthy("serving the own metrics");
        loop {
            if let Event::Stop(_) = context.next().await {
                return Ok(());
            }
        }
    }
}

/// Alloy's rule: `HOSTNAME` if it is set, else the system's name.
fn hostname() -> String {
    let system = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    std::env::var("HOSTNAME").or_else(|_| system()).unwrap_or_else(|_| "localhost".to_owned())
}

struct Handler(Arc<SelfMetrics>);

impl ComponentHttp for Handler {
    fn call(&self, request: HttpRequest) -> BoxFuture<'static, HttpReply> {
        let metrics = self.0.clone();
        Box::pin(async move {
            if request.uri().path() != "/metrics" {
                return not_found();
            }
            reply(StatusCode::OK, TEXT, (metrics.exposition)())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_handler_serves_metrics_and_nothing_else() {
        let metrics = SelfMetrics { exposition: Arc::new(|| "up 1\n".into()), memory_addr: "alloy.internal:12345".into() };
        let handler = Handler(Arc::new(metrics));
        let get = |path: &str| http::Request::get(path).body(Bytes::new()).unwrap();
        assert_eq!(handler.call(get("/metrics")).await.body(), "up 1\n");
        assert_eq!(handler.call(get("/other")).await.status(), StatusCode::NOT_FOUND);
    }
}
