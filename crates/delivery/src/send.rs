//! How requests leave: the trait that an HTTP client implements, and the headers of remote write 1.0. Authentication, TLS, proxies and
//! redirects are the client's part.

use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Sends one request to the endpoint's URL. The client adds what is its own (authentication, configured headers); configured headers must not
/// replace the ones given here.
pub trait Post: Send + Sync + 'static {
    /// Sends `body` by POST and waits for the answer. Dropping the future must abort the request.
    ///
    /// # Errors
    /// [`PostError`] if no answer came: the request is sent again.
    fn post(&self, headers: HeaderMap, body: Bytes) -> impl Future<Output = Result<Response, PostError>> + Send;
}

/// The part of an answer that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header `Retry-After` as it came.
    pub retry_after: Option<Box<str>>,
    /// The beginning of the answer's text; [`EXCERPT`] bytes are enough.
    pub body_excerpt: Box<str>,
}

/// No answer came: the connection failed, broke or timed out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PostError(
    /// What happened, without secrets: it is logged and shown.
    pub Box<str>,
);

/// Bytes of an answer's text that are logged.
pub const EXCERPT: usize = 256;

/// Version header of remote write.
pub const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");
/// Tells the receiver how often the request was sent before.
pub const RETRY_ATTEMPT: HeaderName = HeaderName::from_static("retry-attempt");

/// The headers of every request. A user agent that no header can hold is left out.
pub(crate) fn headers(user_agent: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    headers.insert(VERSION, HeaderValue::from_static("0.1.0"));
    if let Ok(user_agent) = HeaderValue::from_str(user_agent) {
        headers.insert(header::USER_AGENT, user_agent);
    }
    headers
}

/// The first [`EXCERPT`] bytes of `text`, cut at a character.
pub(crate) fn excerpt(text: &str) -> &str {
    &text[..text.floor_char_boundary(EXCERPT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_the_specification() {
        let headers = headers("collector/1.2");
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(text("content-type"), Some("application/x-protobuf"));
        assert_eq!(text("content-encoding"), Some("snappy"));
        assert_eq!(text("x-prometheus-remote-write-version"), Some("0.1.0"));
        assert_eq!(text("user-agent"), Some("collector/1.2"));
        assert_eq!(text("retry-attempt"), None);
    }

    #[test]
    fn an_excerpt_never_cuts_a_character() {
        assert_eq!(excerpt("short"), "short");
        let text = format!("{}é", "x".repeat(EXCERPT - 1));
        assert_eq!(excerpt(&text), &text[..EXCERPT - 1]);
    }
}
