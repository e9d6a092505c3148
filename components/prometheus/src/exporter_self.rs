//! `prometheus.exporter.self`: the collector's own metrics as a target.

use std::sync::Arc;

use bytes::Bytes;
use component::{BuildError, Component, ComponentHttp, Context, Event, HttpReply, HttpRequest, RunError, Setup, Target};
use futures_util::future::BoxFuture;
use http::{Response, StatusCode, header};
use syntax::Block;

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

/// Exports of `prometheus.exporter.self`.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Exports {
    /// One target: this collector.
    #[syntax(required)]
    pub targets: Vec<Target>,
}

/// The component.
pub struct ExporterSelf;

impl Component for ExporterSelf {
    const NAME: &'static str = "prometheus.exporter.self";
    type Arguments = Arguments;
    type Exports = Exports;

    fn build(_: Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let metrics = setup.services().get::<SelfMetrics>().ok_or_else(|| BuildError::new("the own metrics are not offered here"))?;
        let target = target(setup.id(), &metrics.memory_addr, &hostname());
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

fn target(id: &str, memory_addr: &str, hostname: &str) -> Target {
    let path = format!("/api/v0/component/{id}/metrics");
    let labels = [
        ("__address__", memory_addr),
        ("__scheme__", "http"),
        ("__metrics_path__", &path),
        ("__meta_component_name", ExporterSelf::NAME),
        ("__meta_component_id", id),
        ("instance", hostname),
        ("job", "integrations/self"),
    ];
    Target(labels.into_iter().collect())
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
                return reply(StatusCode::NOT_FOUND, "only /metrics is here\n".into());
            }
            reply(StatusCode::OK, (metrics.exposition)())
        })
    }
}

fn reply(status: StatusCode, body: Bytes) -> HttpReply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let text = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers_mut().insert(header::CONTENT_TYPE, text);
    reply
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

    #[test]
    fn the_target_leads_to_the_component() {
        let target = target("prometheus.exporter.self.a", "alloy.internal:12345", "host");
        assert_eq!(target.0.get("__metrics_path__"), Some("/api/v0/component/prometheus.exporter.self.a/metrics"));
        assert_eq!(target.0.get("job"), Some("integrations/self"));
    }
}
