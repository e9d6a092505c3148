//! A request from its head to its answer: what is accepted, what it is answered, and who gets what is in it. The verdicts are those of
//! Prometheus' handler (client_golang `exp/api/remote`, prometheus `storage/remote/write_handler.go`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use component::Fanout;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use model::Refused;
use net::server::{Answer, Memory, ReadError, Reply, RequestBody};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::arguments::{MESSAGE_1, MESSAGE_2};
use super::intake::{Intake, MAX_REQUEST, Packing, Refusals, Taken, Version};
use super::metrics::Metrics;
use super::repeats::{Repeats, Written};

/// Where requests go to.
pub(super) const PATH: &str = "/api/v1/metrics/write";
/// That path as dskit names it in metrics.
const ROUTE: &str = "api_v1_metrics_write";
/// Bytes of bodies that may be under way at a time.
const MAX_UNDER_WAY: usize = 128 << 20;
/// A body from this size on (two hundred times the usual one) is read aside, so that nobody else waits for it.
const LARGE: usize = 256 << 10;
/// So many of those at a time: each takes up to 32 MiB unpacked.
const MAX_LARGE: usize = 2;
/// What a sender is told to wait if a receiver further down has no room. Prometheus' sender takes whole seconds.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("1");
/// Refused series are logged this often at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Told by senders that send a request again (remote write 2.0, "Retries & Backoff").
const RETRY_ATTEMPT: HeaderName = HeaderName::from_static("retry-attempt");
const SAMPLES: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// What changes with the arguments.
pub(super) struct Flow {
    pub next: Fanout,
    /// Rises whenever the receivers change.
    pub generation: u64,
    pub accepts: [bool; 2],
}

/// See the module. Shared by all connections.
pub(super) struct Handler {
    pub flow: ArcSwap<Flow>,
    pub intake: Arc<ArcSwap<Intake>>,
    pub metrics: Metrics,
    pub repeats: Repeats,
    pub id: Box<str>,
    /// The last refusal, if nothing was taken since.
    pub trouble: Mutex<Option<Refused>>,
    memory: Memory,
    large: Semaphore,
    logged: AtomicU64,
}

impl Handler {
    pub fn new(id: &str, flow: Flow, intake: Arc<ArcSwap<Intake>>, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            flow: ArcSwap::from_pointee(flow),
            intake,
            metrics,
            repeats: Repeats::new(),
            id: id.into(),
            trouble: Mutex::default(),
            memory: Memory::new(MAX_UNDER_WAY),
            large: Semaphore::new(MAX_LARGE),
            logged: AtomicU64::new(0),
        })
    }

    async fn write(self: &Arc<Self>, request: Request<RequestBody>) -> Result<Reply, Refusal> {
        if request.method() != Method::POST {
            return Err(Refusal::Method);
        }
        let version = version(request.headers())?;
        if !self.flow.load().accepts[version as usize] {
            return Err(Refusal::Unsupported(format!("the protobuf message {} is not accepted by this server", message(version))));
        }
        let packing = packing(request.headers())?;
        let (head, body) = RequestBody::read(request, MAX_REQUEST, &self.memory).await?;
        let key = self.repeats.key(&body);
        if head.headers.contains_key(RETRY_ATTEMPT)
            && let Some(written) = self.repeats.taken(key)
        {
            self.metrics.repeated.inc();
            return Ok(answer(StatusCode::NO_CONTENT, version, written, Bytes::new()));
        }
        if body.len() < LARGE {
            return self.take(&body, key, packing, version);
        }
        let _place = self.large.acquire().await; // never closed
        let this = self.clone();
        let taken = tokio::task::spawn_blocking(move || this.take(&body, key, packing, version)).await;
        taken.unwrap_or_else(|_| Err(Refusal::Malformed("the request could not be read".to_owned()))) // a panic, reported already
    }

    /// Reads a request and hands on what is in it. A request is taken wholly: while a receiver lacks a part of it, it is not acknowledged,
    /// and when it comes again, the others are not given theirs a second time.
    fn take(&self, body: &[u8], key: u128, packing: Packing, version: Version) -> Result<Reply, Refusal> {
        let mut refusals = Refusals::default();
        let taken = self.intake.load().take(body, packing, version, now_ms(), &mut refusals);
        let Taken { batches, samples, histograms, exemplars, dropped_exemplars } =
            taken.map_err(|rejected| Refusal::Malformed(rejected.0))?;
        let flow = self.flow.load();
        let mut progress = self.repeats.progress(key, flow.generation);
        let mut outcome = Ok(());
        for batch in &batches {
            outcome = flow.next.offer(batch, progress.entry(batch.source).or_default()).and(outcome);
        }
        *self.trouble.lock() = outcome.err();
        if let Err(refused) = outcome {
            self.repeats.note_unfinished(key, flow.generation, progress);
            return Err(Refusal::Downstream(refused));
        }
        self.metrics.invalid_samples.inc_by(refusals.invalid_samples);
        self.metrics.dropped_exemplars.inc_by(dropped_exemplars);
        let written = Written { samples, histograms, exemplars };
        if refusals.count == 0 {
            self.repeats.note_taken(key, written);
            return Ok(answer(StatusCode::NO_CONTENT, version, written, Bytes::new()));
        }
        self.log(&refusals);
        // Remote write 1.0 has no way to tell of a part, so Prometheus leaves such series out without a word.
        if version == Version::V1 {
            self.repeats.note_taken(key, written);
            return Ok(answer(StatusCode::NO_CONTENT, version, written, Bytes::new()));
        }
        self.metrics.rejected.with_label_values(&["partial"]).inc();
        Ok(answer(StatusCode::BAD_REQUEST, version, written, (refusals.text() + "\n").into()))
    }

    fn log(&self, refusals: &Refusals) {
        let now = now_ms() as u64;
        let last = self.logged.load(Relaxed);
        let due = now.saturating_sub(last) >= LOG_EVERY.as_millis() as u64;
        if due && self.logged.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            tracing::warn!(component_id = &*self.id, left_out = refusals.count, reason = refusals.text(), "left out what can't be stored");
        }
    }
}

impl Answer for Handler {
    fn route(&self, path: &str) -> &'static str {
        if path == PATH { ROUTE } else { "other" }
    }

    fn answer(self: Arc<Self>, request: Request<RequestBody>) -> BoxFuture<'static, Reply> {
        Box::pin(async move {
            if request.uri().path() != PATH {
                return text(StatusCode::NOT_FOUND, &format!("only {PATH} is here"));
            }
            let outcome = self.write(request).await;
            outcome.unwrap_or_else(|refusal| {
                self.metrics.rejected.with_label_values(&[refusal.reason()]).inc();
                tracing::debug!(component_id = &*self.id, error = %refusal, "a request was not taken");
                refusal.reply()
            })
        })
    }
}

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("only POST is taken here")]
    Method,
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Unread(#[from] ReadError),
    #[error("a receiver further down did not take it: {0}; send it again")]
    Downstream(Refused),
}

impl Refusal {
    /// As a label of the counter.
    fn reason(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Unsupported(_) => "unsupported",
            Self::Malformed(_) => "malformed",
            Self::Unread(ReadError::TooLarge { .. }) => "too_large",
            Self::Unread(ReadError::Busy) => "busy",
            Self::Unread(ReadError::Late) => "late",
            Self::Unread(_) => "broken",
            Self::Downstream(_) => "downstream",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unread(ReadError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unread(ReadError::Late) => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(_) | Self::Unread(_) if !self.may_come_again() => StatusCode::BAD_REQUEST,
            // Not 429: Prometheus' sender drops what is answered with that unless it is told otherwise.
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn may_come_again(&self) -> bool {
        matches!(self, Self::Unread(ReadError::Busy) | Self::Downstream(_))
    }

    fn reply(&self) -> Reply {
        let mut reply = text(self.status(), &self.to_string());
        if self.may_come_again() {
            reply.headers_mut().insert(RETRY_AFTER, COME_AGAIN);
        }
        if matches!(self, Self::Method) {
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        reply
    }
}

/// How a request is compressed: in snappy's block format if it does not say. Prometheus takes nothing else; zstd is for our own senders
/// and VictoriaMetrics'.
fn packing(headers: &HeaderMap) -> Result<Packing, Refusal> {
    let mut given = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
    match (given.next().unwrap_or_default(), given.next()) {
        ("" | "snappy", None) => Ok(Packing::Snappy),
        ("zstd", None) => Ok(Packing::Zstd),
        (other, _) => Err(Refusal::Unsupported(format!(
            "{other} encoding (compression) is not accepted by this server; only snappy and zstd are acceptable"
        ))),
    }
}

/// The message that a request's content type names; remote write 1.0 if it names none.
fn version(headers: &HeaderMap) -> Result<Version, Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE).filter(|value| !value.is_empty()) else { return Ok(Version::V1) };
    let value = value.to_str().map_err(|_| Refusal::Unsupported("the content type is no text".to_owned()))?.trim();
    let mut parts = value.split(';');
    let media = parts.next().unwrap_or_default();
    if media != "application/x-protobuf" {
        return Err(Refusal::Unsupported(format!("expected application/x-protobuf as the first (media) part, got {value:?} content-type")));
    }
    for part in parts {
        let (name, named) = part
            .split_once('=')
            .filter(|(_, named)| !named.contains('='))
            .ok_or_else(|| Refusal::Unsupported(format!("expected parameters to be key-values, got {part:?} in {value:?} content-type")))?;
        // Senders put a space behind the semicolon or not.
        match (name.trim(), named.trim()) {
            ("proto", MESSAGE_1) => return Ok(Version::V1),
            ("proto", MESSAGE_2) => return Ok(Version::V2),
            ("proto", other) => return Err(Refusal::Unsupported(format!("unknown remote write protobuf message {other:?}"))),
            _ => {}
        }
    }
    Ok(Version::V1)
}

fn message(version: Version) -> &'static str {
    match version {
        Version::V1 => MESSAGE_1,
        Version::V2 => MESSAGE_2,
    }
}

/// The answer to a request that was taken, at least in part. Only senders of 2.0 are told how much was written: those of 1.0 would take
/// such headers for a receiver of 2.0.
fn answer(status: StatusCode, version: Version, written: Written, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    if version == Version::V2 {
        for (name, number) in [(SAMPLES, written.samples), (HISTOGRAMS, written.histograms), (EXEMPLARS, written.exemplars)] {
            reply.headers_mut().insert(name, HeaderValue::from(number));
        }
    }
    reply
}

fn text(status: StatusCode, message: &str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(format!("{message}\n"))));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: Option<&'static str>) -> Result<Version, String> {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
        }
        version(&headers).map_err(|refusal| {
            assert_eq!(refusal.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
            refusal.to_string()
        })
    }

    #[test]
    fn the_content_type_names_the_message() {
        for first in [None, Some(""), Some("application/x-protobuf"), Some("application/x-protobuf;proto=prometheus.WriteRequest")] {
            assert_eq!(of(first), Ok(Version::V1), "{first:?}");
        }
        for second in
            ["application/x-protobuf;proto=io.prometheus.write.v2.Request", "application/x-protobuf; proto=io.prometheus.write.v2.Request"]
        {
            assert_eq!(of(Some(second)), Ok(Version::V2));
        }
        assert_eq!(of(Some("application/x-protobuf;charset=utf-8")), Ok(Version::V1));
    }

    #[test]
    fn other_content_types_are_refused() {
        for (content_type, part) in [
            ("text/plain", "expected application/x-protobuf"),
            ("application/x-protobuf;proto=x", "unknown remote write protobuf message"),
            ("application/x-protobuf;proto", "key-values"),
            ("application/x-protobuf;a=b=c", "key-values"),
        ] {
            let error = of(Some(content_type)).unwrap_err();
            assert!(error.contains(part), "{content_type}: {error}");
        }
    }

    #[test]
    fn only_what_may_succeed_later_is_asked_for_again() {
        for (refusal, status, again) in [
            (Refusal::Method, 405, false),
            (Refusal::Malformed("x".into()), 400, false),
            (Refusal::Unread(ReadError::TooLarge { limit: 1 }), 413, false),
            (Refusal::Unread(ReadError::Late), 408, false),
            (Refusal::Unread(ReadError::Broken("x".into())), 400, false),
            (Refusal::Unread(ReadError::Busy), 503, true),
            (Refusal::Downstream(Refused::Full), 503, true),
            (Refusal::Downstream(Refused::Closed), 503, true),
        ] {
            let reply = refusal.reply();
            assert_eq!((reply.status().as_u16(), reply.headers().contains_key(RETRY_AFTER)), (status, again), "{refusal:?}");
        }
    }
}
