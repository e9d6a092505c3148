//! What sends a scrape's request. The engine knows no TLS, credentials or proxies: that is `net`'s.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use net::AnswerBody;

/// No answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(Box<str>);

impl TransportError {
    /// An error with this text, which must hold no secret.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

/// The head of an answer that is under way, with its body still to be read.
pub type Send<'a> = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, TransportError>> + std::marker::Send + 'a>>;

/// Sends requests with absolute URLs. Adds what HTTP needs (`Host`), credentials and `User-Agent`. Dropping the future gives up.
pub trait Transport: std::marker::Send + Sync {
    /// Sends a request.
    fn send(&self, request: Request<Full<Bytes>>) -> Send<'_>;
}

impl Transport for net::Client {
    fn send(&self, request: Request<Full<Bytes>>) -> Send<'_> {
        Box::pin(async move { self.send(request).await.map_err(|error| TransportError::new(&error.to_string())) })
    }
}
