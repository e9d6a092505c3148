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
            round_robin_dns: endpoint.round_robin_dns,
            internal: setup.services().get::<InternalAddress>().map(|own| (*own).clone()),
            ..ClientOptions::default()
        };
        let client = Client::with_cloud_auth(&endpoint.http_client, &endpoint.cloud_auth, options).map_err(BuildError::new)?;
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
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(Into::into);
        let written = delivery::written(response.headers());
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use component::Services;
    use syntax::Scope;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// The head of the request that an endpoint with this block sends.
    async fn sent(block: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = format!("url = \"http://{}/write\"\n{block}", listener.local_addr().unwrap());
        let endpoint: Endpoint = syntax::decode_str(&source, &Scope::new()).unwrap();
        let setup = Setup::detached("prometheus.remote_write.x", Path::new("/nowhere"), Services::default());
        let poster = Poster::new(&endpoint, &setup).unwrap();
        let serving = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"body") {
                assert!(socket.read_buf(&mut request).await.unwrap() > 0);
            }
            socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            String::from_utf8(request).unwrap()
        };
        let (answer, request) = tokio::join!(poster.post(HeaderMap::new(), Bytes::from_static(b"body")), serving);
        assert_eq!(answer.unwrap().status, 204);
        request
    }

    #[tokio::test]
    async fn requests_are_signed_if_the_endpoint_says_so() {
        let request = sent("sigv4 {\nregion = \"r\"\naccess_key = \"AKID\"\nsecret_key = \"s\"\n}\nround_robin_dns = true").await;
        assert!(request.contains("authorization: AWS4-HMAC-SHA256 Credential=AKID/"), "{request}");
        assert!(!sent("").await.contains("authorization"));
    }
}
