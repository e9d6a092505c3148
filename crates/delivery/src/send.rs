//! How requests leave: the trait that an HTTP client implements, and the headers of remote write. Authentication, TLS, proxies and
//! redirects are the client's part.

use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::dialect::{Compression, Dialect};
use crate::encode::{Message, Tally};

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
    /// What the receiver says that it wrote ([`written`]).
    pub written: Option<Tally>,
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
/// Version header of VictoriaMetrics, whose receivers take zstd-compressed requests of 1.0 under it.
pub const VICTORIA_METRICS_VERSION: HeaderName = HeaderName::from_static("x-victoriametrics-remote-write-version");
/// Tells the receiver how often the request was sent before.
pub const RETRY_ATTEMPT: HeaderName = HeaderName::from_static("retry-attempt");
/// What a receiver wrote of samples, histograms and exemplars; those of 2.0 must say.
const WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

/// What the receiver says that it wrote; none if it says nothing at all. A header that is missing or no number counts as zero.
#[must_use]
pub fn written(headers: &HeaderMap) -> Option<Tally> {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0));
    let [samples, histograms, exemplars] = WRITTEN.map(header);
    let any = samples.is_some() || histograms.is_some() || exemplars.is_some();
    any.then(|| Tally { samples: samples.unwrap_or(0), histograms: histograms.unwrap_or(0), exemplars: exemplars.unwrap_or(0) })
}

/// The headers of every request in `dialect`. A user agent that no header can hold is left out.
pub(crate) fn headers(user_agent: &str, dialect: Dialect) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    let (content_type, version) = match (dialect.message, dialect.compression) {
        (Message::V1, Compression::Snappy) => ("application/x-protobuf", (VERSION, "0.1.0")),
        // As vmagent sends it: some receivers refuse zstd together with Prometheus' header.
        (Message::V1, Compression::Zstd) => ("application/x-protobuf", (VICTORIA_METRICS_VERSION, "1")),
        (Message::V2, _) => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", (VERSION, "2.0.0")),
    };
    let encoding = match dialect.compression {
        Compression::Snappy => "snappy",
        Compression::Zstd => "zstd",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    headers.insert(version.0, HeaderValue::from_static(version.1));
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

    fn texts(message: Message, compression: Compression) -> Vec<(String, String)> {
        let headers = headers("collector/1.2", Dialect { message, compression });
        let mut texts: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        texts.sort();
        texts
    }

    fn expected(encoding: &str, content_type: &str, version: (&str, &str)) -> Vec<(String, String)> {
        let all = [("content-encoding", encoding), ("content-type", content_type), ("user-agent", "collector/1.2"), version];
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        let prometheus = |version| ("x-prometheus-remote-write-version", version);
        let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
        assert_eq!(texts(Message::V1, Compression::Snappy), expected("snappy", "application/x-protobuf", prometheus("0.1.0")));
        assert_eq!(texts(Message::V2, Compression::Snappy), expected("snappy", v2, prometheus("2.0.0")));
        assert_eq!(texts(Message::V2, Compression::Zstd), expected("zstd", v2, prometheus("2.0.0")));
        let victoria_metrics = ("x-victoriametrics-remote-write-version", "1");
        assert_eq!(texts(Message::V1, Compression::Zstd), expected("zstd", "application/x-protobuf", victoria_metrics));
    }

    #[test]
    fn what_was_written_is_known_as_soon_as_one_header_says_so() {
        let tally = |pairs: &[(&'static str, &'static str)]| {
            written(&pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect())
        };
        assert_eq!(tally(&[("content-length", "0")]), None);
        assert_eq!(tally(&[(WRITTEN[0], "7")]), Some(Tally { samples: 7, ..Tally::default() }));
        assert_eq!(tally(&[(WRITTEN[1], "1"), (WRITTEN[2], " 2 ")]), Some(Tally { samples: 0, histograms: 1, exemplars: 2 }));
        assert_eq!(tally(&[(WRITTEN[0], "many")]), Some(Tally::default()));
    }

    #[test]
    fn an_excerpt_never_cuts_a_character() {
        assert_eq!(excerpt("short"), "short");
        let text = format!("{}é", "x".repeat(EXCERPT - 1));
        assert_eq!(excerpt(&text), &text[..EXCERPT - 1]);
    }
}
