//! `discovery.http`: asks an HTTP server for target groups in JSON (Prometheus' HTTP service discovery).

use std::time::Duration;

use bytes::Bytes;
use component::Target;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use net::{Client, ClientOptions, HttpClientConfig, HttpUrl};
use prometheus::{IntCounter, Registry};
use syntax::Block;

use crate::groups;
use crate::metrics::counter;
use crate::shape::{Discovery, Refreshed, check_interval};

/// The largest answer that is read, decoded: about half a million targets.
const MAX_ANSWER: usize = 64 << 20;

/// Discovers targets by querying an HTTP endpoint that returns target groups as JSON.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// URL to fetch the targets from.
    #[syntax(required)]
    pub url: HttpUrl,
    /// How often to fetch them. An answer has to come within this time.
    #[syntax(default = Duration::from_secs(60))]
    pub refresh_interval: Duration,
    /// How to reach the server.
    #[syntax(squash)]
    pub client: HttpClientConfig,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        check_interval(self.refresh_interval)
    }
}

/// `discovery.http`.
pub struct Http {
    arguments: Arguments,
    client: Client,
}

impl Discovery for Http {
    const NAME: &'static str = "discovery.http";
    type Arguments = Arguments;
    type Metrics = IntCounter;

    fn metrics(registry: &Registry) -> Result<IntCounter, prometheus::Error> {
        counter(registry, "prometheus_sd_http_failures_total", "Number of HTTP service discovery refresh failures.")
    }

    fn new(arguments: Arguments) -> Result<Self, String> {
        let client = Client::new(&arguments.client, ClientOptions::default()).map_err(|error| error.to_string())?;
        Ok(Self { arguments, client })
    }

    fn interval(&self) -> Duration {
        self.arguments.refresh_interval
    }

    async fn refresh(&mut self, failures: &IntCounter) -> Refreshed {
        let limit = self.arguments.refresh_interval;
        let fetched = tokio::time::timeout(limit, self.fetch()).await;
        match fetched.unwrap_or_else(|_| Err(format!("{}: no answer within {limit:?}", self.arguments.url))) {
            Ok(targets) => Refreshed { targets: Some(targets), ..Refreshed::default() },
            Err(error) => {
                failures.inc();
                Refreshed::failed(error)
            }
        }
    }
}

impl Http {
    async fn fetch(&self) -> Result<Vec<Target>, String> {
        // Shown without a password, in the label too.
        let url = self.arguments.url.to_string();
        let at = |error: &dyn std::fmt::Display| format!("{url}: {error}");
        let request = Request::get(self.arguments.url.to_uri().map_err(|error| at(&error))?)
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "gzip")
            .header("x-prometheus-refresh-interval-seconds", self.arguments.refresh_interval.as_secs_f64().to_string())
            .body(Full::<Bytes>::default())
            .map_err(|error| at(&error))?;
        let response = self.client.send(request).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(at(&format_args!("server returned HTTP status {}", response.status())));
        }
        check_content_type(response.headers()).map_err(|error| at(&error))?;
        let body = net::read_body(response, MAX_ANSWER).await.map_err(|error| at(&error))?;
        groups::from_json(&body, ("__meta_url", &url)).map_err(|error| at(&error))
    }
}

/// `application/json`, with the charset UTF-8 or none.
fn check_content_type(headers: &HeaderMap) -> Result<(), String> {
    let given = headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?")).trim();
    let (kind, charset) = given.split_once(';').map_or((given, None), |(kind, rest)| (kind, Some(rest.trim_start())));
    let charset_fits = charset.is_none_or(|text| {
        let value = text.get(..8).filter(|name| name.eq_ignore_ascii_case("charset=")).map(|_| &text[8..]);
        value.is_some_and(|value| value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("\"utf-8\""))
    });
    if kind.eq_ignore_ascii_case("application/json") && charset_fits { Ok(()) } else { Err(format!("unsupported content type {given:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(content_type: &str) -> bool {
        check_content_type(&HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())])).is_ok()
    }

    #[test]
    fn content_types_are_those_that_prometheus_takes() {
        for taken in ["application/json", " Application/JSON ", "application/json; charset=utf-8", "application/json;charset=\"UTF-8\""] {
            assert!(fits(taken), "{taken}");
        }
        for refused in
            ["", "text/json", "application/json; charset=latin1", "application/json;", "application/json; q=1", "application/jsonx"]
        {
            assert!(!fits(refused), "{refused}");
        }
    }
}
