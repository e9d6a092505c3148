//! The requests of an endpoint over the HTTP client of all components.

use bytes::Bytes;
use component::{BuildError, Setup};
use delivery::{EXCERPT, Post, PostError, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use net::{Client, ClientOptions, InternalAddress};

use super::arguments::Endpoint;

/// Headers that are the protocol's own; a configuration must not replace them (remote write 1.0, "Protocol").
const RESERVED: [&str; 10] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "retry-attempt",
    "x-prometheus-remote-write-version",
    "x-victoriametrics-remote-write-version",
];

/// Sends to one URL.
pub(super) struct Poster {
    client: Client,
    url: Uri,
    headers: HeaderMap,
}

impl Poster {
    /// A client for the endpoint.
    ///
    /// # Errors
    /// An argument can't work; the message names it.
    pub(super) fn new(endpoint: &Endpoint, setup: &Setup) -> Result<Self, BuildError> {
        let options = ClientOptions {
            http2: false, // Alloy's default for remote write: one connection per shard rather than one for all
            max_idle_per_host: endpoint.queue_config.max_shards,
            internal: setup.services().get::<InternalAddress>().map(|own| (*own).clone()),
            ..ClientOptions::default()
        };
        let client = Client::new(&endpoint.http_client, options).map_err(BuildError::new)?;
        let url = endpoint.url.to_uri().map_err(|error| BuildError::new(format!("url: {error}")))?;
        Ok(Self { client, url, headers: headers(endpoint)? })
    }
}

fn headers(endpoint: &Endpoint) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &endpoint.headers {
        let wrong = |cause: &dyn std::fmt::Display| BuildError::new(format!("headers: {name}: {cause}"));
        let parsed: HeaderName = name.parse().map_err(|error| wrong(&error))?;
        if RESERVED.contains(&parsed.as_str()) {
            return Err(wrong(&"this header is the protocol's own and can't be set"));
        }
        let mut value = HeaderValue::from_str(value.expose()).map_err(|error| wrong(&error))?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

impl Post for Poster {
    async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Response, PostError> {
        let mut request = Request::post(self.url.clone()).body(body.into()).map_err(|error| failed(&error))?;
        request.headers_mut().extend(self.headers.clone());
        request.headers_mut().extend(headers);
        let response = self.client.send(request).await.map_err(|error| failed(&error))?;
        let (status, written) = (response.status().as_u16(), delivery::written(response.headers()));
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(Into::into);
        let body = net::read_body(response, MAX_ANSWER).await.unwrap_or_default(); // the status is the answer, the text only explains it
        let text = String::from_utf8_lossy(&body);
        let body_excerpt = text[..text.floor_char_boundary(EXCERPT)].into();
        Ok(Response { status, retry_after, written, body_excerpt })
    }
}

/// Largest answer that is read for the sake of keeping the connection; a longer one costs the connection.
const MAX_ANSWER: usize = 64 << 10;

fn failed(error: &dyn std::fmt::Display) -> PostError {
    PostError(error.to_string().into())
}
