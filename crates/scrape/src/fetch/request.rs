//! The request of a scrape.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;

use crate::config::Config;
use crate::protocol::accept;

/// Tells the target how long it may take, in seconds.
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// The headers that all requests of a job have.
pub(crate) fn shared_headers(config: &Config) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Formats and schemes are known texts, so they are always valid in a header.
    if let Ok(value) = HeaderValue::try_from(accept(&config.scrape_protocols, config.escaping)) {
        headers.insert(header::ACCEPT, value);
    }
    let encoding = if config.enable_compression { "gzip" } else { "identity" };
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
    headers
}

/// What the requests of one target are made of.
#[derive(Debug, Clone)]
pub(crate) struct RequestParts {
    uri: Uri,
    headers: Arc<HeaderMap>,
    timeout: HeaderValue,
}

impl RequestParts {
    pub(crate) fn new(uri: Uri, headers: Arc<HeaderMap>, timeout: Duration) -> Self {
        let seconds = HeaderValue::try_from(timeout.as_secs_f64().to_string());
        Self { uri, headers, timeout: seconds.unwrap_or(HeaderValue::from_static("0")) }
    }

    pub(crate) fn build(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().insert(TIMEOUT_HEADER, self.timeout.clone());
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_it_wants_and_how_long_it_waits() {
        let of = |config: &Config| {
            let parts =
                RequestParts::new(Uri::from_static("http://h:1/m?a=b"), Arc::new(shared_headers(config)), Duration::from_millis(1500));
            let request = parts.build();
            assert_eq!((request.method().as_str(), request.uri().to_string()), ("GET", "http://h:1/m?a=b".to_owned()));
            let mut headers: Vec<String> =
                request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            headers.sort();
            headers
        };
        let accept = format!("accept: {}", accept(&crate::ScrapeProtocol::DEFAULT, crate::Escaping::Underscores));
        let timeout = "x-prometheus-scrape-timeout-seconds: 1.5";
        assert_eq!(of(&Config::default()), ["accept-encoding: gzip", &accept, timeout]);
        assert_eq!(of(&Config { enable_compression: false, ..Config::default() })[0], "accept-encoding: identity");
    }
}
