//! `prometheus.exporter.static`: serves metrics that stand in the configuration. The text is read once (`parse`) and written anew in the
//! format that is asked for (`write`), as Alloy does with Prometheus' `expfmt`.

mod accept;
mod family;
mod parse;
mod write;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use component::{BuildError, Component, ComponentHttp, Context, Event, HttpReply, HttpRequest, RunError, Setup, Stability};
use futures_util::future::BoxFuture;
use http::StatusCode;
use syntax::Block;

use crate::exporter::{TEXT, not_found, offered, reply, target};

pub use crate::exporter::Exports;

/// The content type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Exposes metrics that are given as text.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// Text in Prometheus exposition format.
    pub text: String,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        Pages::of(&self.text).map(drop)
    }
}

/// The component.
pub struct ExporterStatic {
    pages: Arc<ArcSwap<Pages>>,
}

/// What is served.
struct Pages {
    text: Bytes,
    /// None if there are histograms with fractional counts, which OpenMetrics does not have.
    open_metrics: Option<Bytes>,
}

impl Pages {
    fn of(text: &str) -> Result<Self, String> {
        let families = parse::parse(text).map_err(|error| format!("failed to parse prom text: {error}"))?;
        Ok(Self { text: write::text(&families).into(), open_metrics: write::open_metrics(&families).map(Bytes::from) })
    }
}

impl Component for ExporterStatic {
    const NAME: &'static str = "prometheus.exporter.static";
    const STABILITY: Stability = Stability::Experimental;
    type Arguments = Arguments;
    type Exports = Exports;

    fn build(arguments: Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let pages = Arc::new(ArcSwap::from_pointee(Pages::of(&arguments.text).map_err(BuildError::new)?));
        let target = target(setup.id(), Self::NAME, "static", setup.id(), &offered(setup)?.memory_addr);
        setup.serve(Arc::new(Handler(pages.clone())));
        Ok((Self { pages }, Exports { targets: vec![target] }))
    }

    async fn run(self, mut context: Context<Self>) -> Result<(), RunError> {
        context.health().healthy("serving its text");
        loop {
            match context.next().await {
                Event::Update(arguments) => match Pages::of(&arguments.text) {
                    Ok(pages) => {
                        self.pages.store(Arc::new(pages));
                        context.health().healthy("serving its text");
                    }
                    Err(error) => context.health().unhealthy(format!("the last good text stays: {error}")),
                },
                Event::Debug(_) => {}
                Event::Stop(_) => return Ok(()),
            }
        }
    }
}

struct Handler(Arc<ArcSwap<Pages>>);

impl ComponentHttp for Handler {
    fn call(&self, request: HttpRequest) -> BoxFuture<'static, HttpReply> {
        let pages = self.0.load_full();
        Box::pin(async move {
            if request.uri().path() != "/metrics" {
                return not_found();
            }
            match &pages.open_metrics {
                Some(page) if accept::wants_open_metrics(request.headers()) => reply(StatusCode::OK, OPEN_METRICS, page.clone()),
                _ => reply(StatusCode::OK, TEXT, pages.text.clone()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter_self::SelfMetrics;
    use component::Services;
    use syntax::Scope;

    fn decode(source: &str) -> Result<Arguments, String> {
        syntax::decode_str(source, &Scope::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn text_that_cannot_be_read_is_refused_with_its_line() {
        let error = decode("text = `\nup 1\nup{ 2\n`").unwrap_err();
        assert!(error.contains("failed to parse prom text") && error.contains("line 3"), "{error}");
        assert!(decode("").is_ok() && decode("text = \"\"").is_ok());
    }

    #[tokio::test]
    async fn the_page_is_served_in_the_format_that_is_asked_for() {
        let own = SelfMetrics { exposition: Arc::new(Bytes::new), memory_addr: "alloy.internal:12345".into() };
        let setup = Setup::detached("prometheus.exporter.static.x", std::path::Path::new("/nowhere"), Services::default().with(own));
        let (component, exports) = ExporterStatic::build(decode("text = \"up 1\"").unwrap(), &setup).unwrap();
        assert_eq!(exports.targets[0].0.get("instance"), Some("prometheus.exporter.static.x"));
        let handler = Handler(component.pages);
        let get = |path: &str, accept: &str| http::Request::get(path).header("accept", accept).body(Bytes::new()).unwrap();
        let text = handler.call(get("/metrics", "text/plain")).await;
        assert_eq!((text.headers()["content-type"].to_str().unwrap(), &text.body()[..]), (TEXT, &b"# TYPE up untyped\nup 1\n"[..]));
        let open = handler.call(get("/metrics", "application/openmetrics-text")).await;
        assert_eq!(open.headers()["content-type"], OPEN_METRICS);
        assert!(open.body().ends_with(b"# EOF\n"));
        assert_eq!(handler.call(get("/other", "")).await.status(), StatusCode::NOT_FOUND);
    }
}
