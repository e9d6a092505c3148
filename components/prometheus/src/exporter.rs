//! What `prometheus.exporter.*` have in common: the target that leads to the component's own path, and the answers there.

use std::sync::Arc;

use bytes::Bytes;
use component::{BuildError, HttpReply, Setup, Target};
use http::{HeaderValue, Response, StatusCode, header};
use syntax::Block;

use crate::exporter_self::SelfMetrics;

/// Exports of `prometheus.exporter.*`.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Exports {
    /// The targets that can be used to collect exporter metrics.
    #[syntax(required)]
    pub targets: Vec<Target>,
}

/// What the product offers to exporters.
pub(crate) fn offered(setup: &Setup) -> Result<Arc<SelfMetrics>, BuildError> {
    setup.services().get::<SelfMetrics>().ok_or_else(|| BuildError::new("components are not reached over HTTP here"))
}

/// The target of the component `name` with this ID, reached through the own listener; `kind` is the last part of its name.
pub(crate) fn target(id: &str, name: &str, kind: &str, instance: &str, memory_addr: &str) -> Target {
    let (path, job) = (format!("/api/v0/component/{id}/metrics"), format!("integrations/{kind}"));
    let labels = [
        ("__address__", memory_addr),
        ("__scheme__", "http"),
        ("__metrics_path__", &path),
        ("__meta_component_name", name),
        ("__meta_component_id", id),
        ("instance", instance),
        ("job", &job),
    ];
    Target(labels.into_iter().collect())
}

/// An answer with a content type.
pub(crate) fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> HttpReply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// The answer to requests for other pages.
pub(crate) fn not_found() -> HttpReply {
    reply(StatusCode::NOT_FOUND, TEXT, "only /metrics is here\n".into())
}

/// The content type of the text format.
pub(crate) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_leads_to_the_component() {
        let target = target("prometheus.exporter.static.a", "prometheus.exporter.static", "static", "i", "alloy.internal:12345").0;
        assert_eq!(target.get("__metrics_path__"), Some("/api/v0/component/prometheus.exporter.static.a/metrics"));
        assert_eq!((target.get("job"), target.get("instance")), (Some("integrations/static"), Some("i")));
        assert_eq!(target.get("__meta_component_name"), Some("prometheus.exporter.static"));
    }
}
