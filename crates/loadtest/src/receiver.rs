//! A remote write 1.0 receiver: checks what the protocol demands, unpacks a request within bounds and hands it to whoever
//! accepts it: [`Sink`] counts, [`crate::judge::Judge`] looks at every sample. Failures can be ordered. Cheap, since it runs beside what is
//! measured.

mod faults;
pub mod wire;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde::Serialize;

use crate::clock::now_ms;
use crate::http::{Handler, LOOPBACK, Reply, Server, Shut, text, with_type};
pub use faults::{Failure, Faults, Lasts};
use wire::{Counts, Malformed};

/// Most bytes of a request, packed or unpacked: what Prometheus allows since its remote-read advisory (spec/reliability.md §6).
const MAX_REQUEST_BYTES: usize = 32 << 20;
/// Answers that are remembered one by one.
const MAX_ANSWERS: usize = 4096;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It can't be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It holds samples that can't be stored: out of order, or other values for a time that is taken.
    #[error("{0}")]
    Samples(String),
}

/// Takes unpacked requests.
pub trait Accept: Send + Sync + 'static {
    /// Takes one request that arrived at `arrival_ms` (Unix milliseconds), wholly or not at all.
    ///
    /// # Errors
    /// What the sender is told with status 400, which means: drop this, don't send it again.
    fn accept(&self, request: &[u8], arrival_ms: i64) -> Result<Counts, Refused>;
}

/// Counts and forgets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sink;

impl Accept for Sink {
    fn accept(&self, request: &[u8], _: i64) -> Result<Counts, Refused> {
        Ok(wire::count(request)?)
    }
}

/// What a receiver has taken since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Requests of any outcome.
    pub requests: u64,
    /// Requests that were taken.
    pub accepted: u64,
    /// Bytes of the bodies that were taken, packed, without headers.
    pub wire_bytes: u64,
    /// Bytes of the bodies that were taken, unpacked.
    pub decoded_bytes: u64,
    /// Time series in the requests that were taken, each once per request.
    pub series: u64,
    /// Float samples that were taken.
    pub samples: u64,
    /// Native histograms that were taken.
    pub histograms: u64,
}

/// When a request was answered, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// When the request arrived, in Unix milliseconds.
    pub at_ms: i64,
    /// The HTTP status.
    pub status: u16,
}

/// A running receiver; dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    door: tokio::sync::Mutex<Door>,
}

#[derive(Debug)]
enum Door {
    Open(Server),
    Shut(Shut),
    /// The port was lost on the way.
    Gone,
}

/// Answers GET requests for pages beside `/api/v1/write`, by path and query: JSON, or `None` for a page that there is not.
pub type Pages = Arc<dyn Fn(&str, &str) -> Option<serde_json::Value> + Send + Sync>;

struct Shared {
    accept: Arc<dyn Accept>,
    pages: Option<Pages>,
    faults: Faults,
    received: Counters,
    answers: Mutex<VecDeque<Answer>>,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    accepted: AtomicU64,
    wire_bytes: AtomicU64,
    decoded_bytes: AtomicU64,
    series: AtomicU64,
    samples: AtomicU64,
    histograms: AtomicU64,
}

impl Receiver {
    /// Starts on a loopback port that the system gives.
    ///
    /// # Errors
    /// No port could be opened.
    pub async fn start(accept: Arc<dyn Accept>) -> std::io::Result<Self> {
        Self::bind(LOOPBACK, accept, None).await
    }

    /// Starts at an address, with further pages.
    ///
    /// # Errors
    /// The address can't be had.
    pub async fn listen(address: SocketAddr, accept: Arc<dyn Accept>, pages: Pages) -> std::io::Result<Self> {
        Self::bind(address, accept, Some(pages)).await
    }

    async fn bind(address: SocketAddr, accept: Arc<dyn Accept>, pages: Option<Pages>) -> std::io::Result<Self> {
        let (received, answers) = (Counters::default(), Mutex::default());
        let shared = Arc::new(Shared { accept, pages, faults: Faults::default(), received, answers });
        let server = Server::bind(address, Arc::clone(&shared)).await?;
        Ok(Self { shared, address: server.address(), door: tokio::sync::Mutex::new(Door::Open(server)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Goes down: breaks all connections and refuses new ones, until [`Self::open`].
    ///
    /// # Errors
    /// The port was lost to somebody else.
    pub async fn shut(&self) -> std::io::Result<()> {
        let mut door = self.door.lock().await;
        *door = match std::mem::replace(&mut *door, Door::Gone) {
            Door::Open(server) => Door::Shut(server.shut().await?),
            shut => shut,
        };
        Ok(())
    }

    /// Comes back at the same address.
    ///
    /// # Errors
    /// It can't listen there any more.
    pub async fn open(&self) -> std::io::Result<()> {
        let mut door = self.door.lock().await;
        *door = match std::mem::replace(&mut *door, Door::Gone) {
            Door::Shut(shut) => Door::Open(shut.open(Arc::clone(&self.shared))?),
            open => open,
        };
        Ok(())
    }

    /// The address for a sender's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address())
    }

    /// What it has taken so far.
    #[must_use]
    pub fn received(&self) -> Received {
        self.shared.received.read()
    }

    /// The newest answers (up to 4096), oldest first.
    #[must_use]
    pub fn answers(&self) -> Vec<Answer> {
        self.shared.answers.lock().iter().copied().collect()
    }

    /// The failures it answers with.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("faults", &self.faults).field("received", &self.received).finish_non_exhaustive()
    }
}

impl Counters {
    fn read(&self) -> Received {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Received {
            requests: get(&self.requests),
            accepted: get(&self.accepted),
            wire_bytes: get(&self.wire_bytes),
            decoded_bytes: get(&self.decoded_bytes),
            series: get(&self.series),
            samples: get(&self.samples),
            histograms: get(&self.histograms),
        }
    }

    fn accepted(&self, wire: usize, decoded: usize, counts: Counts) {
        let add = |counter: &AtomicU64, by: u64| counter.fetch_add(by, Ordering::Relaxed);
        add(&self.accepted, 1);
        add(&self.wire_bytes, wire as u64);
        add(&self.decoded_bytes, decoded as u64);
        add(&self.series, counts.series);
        add(&self.samples, counts.samples);
        add(&self.histograms, counts.histograms);
    }
}

impl Handler for Shared {
    async fn handle(&self, request: Request<Incoming>) -> Reply {
        let at_ms = now_ms();
        if let Some(page) = self.page(&request) {
            return page;
        }
        self.received.requests.fetch_add(1, Ordering::Relaxed);
        let reply = self.answer(request, at_ms).await;
        let mut answers = self.answers.lock();
        if answers.len() >= MAX_ANSWERS {
            answers.pop_front();
        }
        answers.push_back(Answer { at_ms, status: reply.status().as_u16() });
        drop(answers);
        reply
    }
}

impl Shared {
    /// What is not a write request, where there are pages.
    fn page(&self, request: &Request<Incoming>) -> Option<Reply> {
        let pages = self.pages.as_ref().filter(|_| request.method() == Method::GET)?;
        let page = pages(request.uri().path(), request.uri().query().unwrap_or_default())?;
        Some(with_type(StatusCode::OK, HeaderValue::from_static("application/json"), vec![Bytes::from(format!("{page:#}\n"))]))
    }

    async fn answer(&self, request: Request<Incoming>, at_ms: i64) -> Reply {
        if let Some(refusal) = check_head(&request) {
            return refusal;
        }
        let body = match Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the body broke off or has more than 32 MiB"),
        };
        if let Some(failure) = self.faults.next() {
            return fail(failure);
        }
        let reply = self.take(&body, at_ms);
        let delay = self.faults.delay_now();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        reply
    }

    /// Unpacks a body and hands it on.
    fn take(&self, body: &Bytes, at_ms: i64) -> Reply {
        // One buffer per worker thread, grown to the largest request.
        thread_local!(static UNPACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        UNPACKED.with_borrow_mut(|buffer| {
            let len = match unpack(body, buffer) {
                Ok(len) => len,
                Err(message) => return text(StatusCode::BAD_REQUEST, &message),
            };
            match self.accept.accept(&buffer[..len], at_ms) {
                Ok(counts) => {
                    self.received.accepted(body.len(), len, counts);
                    text(StatusCode::NO_CONTENT, "")
                }
                Err(refused) => text(StatusCode::BAD_REQUEST, &refused.to_string()),
            }
        })
    }
}

/// Unpacks snappy's block format into `buffer`; the length that the block declares is checked before anything is allocated for it.
fn unpack(body: &[u8], buffer: &mut Vec<u8>) -> Result<usize, String> {
    let declared = snap::raw::decompress_len(body).map_err(|e| format!("not a snappy block: {e}"))?;
    if declared > MAX_REQUEST_BYTES {
        return Err(format!("the snappy block declares {declared} bytes, more than the {MAX_REQUEST_BYTES} that are taken"));
    }
    if buffer.len() < declared {
        buffer.resize(declared, 0);
    }
    snap::raw::Decoder::new().decompress(body, buffer).map_err(|e| format!("a broken snappy block: {e}"))
}

/// What is wrong with method, path or headers.
fn check_head(request: &Request<Incoming>) -> Option<Reply> {
    let headers = request.headers();
    if request.uri().path() != "/api/v1/write" {
        return Some(text(StatusCode::NOT_FOUND, "there is only /api/v1/write"));
    }
    if request.method() != Method::POST {
        return Some(text(StatusCode::METHOD_NOT_ALLOWED, "only POST is taken"));
    }
    if !header_is(headers, header::CONTENT_ENCODING, |v| v == "snappy") {
        return Some(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content encoding must be snappy"));
    }
    let v1 = |v: &str| v.split(';').next().is_some_and(|t| t.trim() == "application/x-protobuf") && !v.contains("io.prometheus.write.v2");
    if !header_is(headers, header::CONTENT_TYPE, v1) {
        return Some(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/x-protobuf, remote write 1.0"));
    }
    None
}

fn header_is(headers: &HeaderMap, name: header::HeaderName, test: impl Fn(&str) -> bool) -> bool {
    headers.get(name).and_then(|v| v.to_str().ok()).is_some_and(test)
}

fn fail(failure: Failure) -> Reply {
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = text(status, "refused on purpose");
    if let Some(after) = failure.retry_after {
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    reply
}
