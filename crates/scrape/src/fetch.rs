//! One scrape over HTTP: the request, the verdict on the head of the answer, and the body straight into the target's series. When to
//! scrape, and what becomes of the outcome, is the engine's.

mod gzip;
mod request;
mod transport;
mod whole;

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

pub use gzip::GzipError;
pub(crate) use gzip::{Gunzip, OUTPUT};
pub(crate) use request::{RequestParts, shared_headers};
pub use transport::{Send, Transport, TransportError};
pub(crate) use whole::Whole;

use crate::duration;
use crate::pool::{Inflaters, Pool, Workbench};
use crate::protocol::{ContentTypeError, ScrapeProtocol, check_content_type};
use crate::series::{Counts, Format, Scraped, SeriesError, Session, TargetSeries};
use whole::MAX_COMPRESSED;

/// A compressed body may be this much longer than its content: headers, checksums, incompressible data.
const WIRE_SLACK: u64 = 64 << 10;
/// Compressed data is inflated in pieces of this size, and between them other tasks get their turn. Most bodies are one piece.
const PIECE: usize = 16 << 10;
/// This much of an unwanted body is read so that the connection can be used again; a longer one costs the connection.
const MAX_DRAINED: usize = 64 << 10;
/// And so long it may take, lest it hide the error behind a timeout.
const MAX_DRAINING: Duration = Duration::from_millis(20);
/// After so many decoded bytes other tasks get their turn.
const TURN: u64 = 1 << 20;

/// Why a scrape failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScrapeError {
    /// It took longer than it may.
    #[error("scrape timed out after {} (scrape_timeout)", duration::format(*.0))]
    Timeout(Duration),
    /// No answer came.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The answer was no 200.
    #[error("server returned HTTP status {0}")]
    Status(Box<str>),
    /// The answer is in no format that can be read.
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    /// The answer is encoded in a way that wasn't asked for.
    #[error("unsupported Content-Encoding {0:?}")]
    Encoding(Box<str>),
    /// The compressed body is damaged.
    #[error(transparent)]
    Gzip(#[from] GzipError),
    /// The connection broke before the end of the body.
    #[error("the answer broke off: {0}")]
    Broken(Box<str>),
    /// The body is too large.
    #[error("body size limit exceeded: {limit} bytes or more ({option})")]
    BodySize {
        /// The limit in bytes.
        limit: u64,
        /// Whose limit it is.
        option: &'static str,
    },
    /// What came can't be taken.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// The job has more targets than it may.
    #[error("target_limit exceeded (number of targets: {targets}, limit: {limit})")]
    TargetLimit {
        /// Targets of the job.
        targets: usize,
        /// The limit.
        limit: usize,
    },
}

/// The bound of a decoded body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyLimit {
    pub(crate) bytes: u64,
    pub(crate) option: &'static str,
}

impl BodyLimit {
    /// The smaller one of the job's limit (0 is none) and the process's.
    pub(crate) fn new(job: u64, process: u64) -> Self {
        if job > 0 && job < process {
            Self { bytes: job, option: "body_size_limit" }
        } else {
            Self { bytes: process, option: "--scrape.max-body-size" }
        }
    }
}

/// What a scrape may take, and how its answer is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) timeout: Duration,
    pub(crate) limit: BodyLimit,
    pub(crate) fallback: Option<ScrapeProtocol>,
    /// Bytes of memory that new series, histograms and exemplars may take.
    pub(crate) max_memory: usize,
}

/// What became of a scrape.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Scraped, ScrapeError>,
    pub(crate) counts: Counts,
    /// Decoded bytes of the body; −1 if the limit was breached, 0 if the scrape failed otherwise.
    pub(crate) body_size: i64,
}

impl Outcome {
    pub(crate) fn failed(error: ScrapeError, counts: Counts) -> Self {
        let body_size = if matches!(error, ScrapeError::BodySize { .. }) { -1 } else { 0 };
        Self { result: Err(error), counts, body_size }
    }
}

/// Scrapes a target once. Its series are as they were if that fails.
pub(crate) async fn scrape(
    transport: &dyn Transport,
    request: &RequestParts,
    terms: Terms,
    (series, timestamp): (&mut TargetSeries, i64),
    pool: &Pool,
) -> Outcome {
    let deadline = Instant::now() + terms.timeout;
    let timed_out = || ScrapeError::Timeout(terms.timeout);
    let response = match timeout_at(deadline, transport.send(request.build())).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Outcome::failed(error.into(), Counts::default()),
        Err(_) => return Outcome::failed(timed_out(), Counts::default()),
    };
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let format = check_content_type(content_type, terms.fallback);
    let mut workbench = pool.take();
    let Workbench { scratch, inflaters } = &mut *workbench;
    let session = series.begin(timestamp, format.clone().unwrap_or_default(), scratch).with_max_memory(terms.max_memory);
    let mut reader = Reader { session, format, pool, limit: terms.limit, decoded: 0, turn: 0, compression: None };
    let read = match timeout_at(deadline, reader.read(response, inflaters)).await {
        Ok(read) => read,
        Err(_) => Err(timed_out()),
    };
    let outcome = reader.outcome(read);
    pool.give_back(workbench);
    outcome
}

/// Reads one answer into a session.
struct Reader<'a> {
    session: Session<'a>,
    /// Matters only if there is a body: as in Prometheus, an empty answer is a good one whatever it is.
    format: Result<Format, ContentTypeError>,
    pool: &'a Pool,
    limit: BodyLimit,
    decoded: u64,
    /// How much was decoded when other tasks last had their turn.
    turn: u64,
    /// A compression that nobody asked for, as the answer names it.
    compression: Option<Box<str>>,
}

impl Reader<'_> {
    fn outcome(self, read: Result<(), ScrapeError>) -> Outcome {
        let body_size = i64::try_from(self.decoded).unwrap_or(i64::MAX);
        let counts = self.session.counts();
        let explained = |error| match (error, self.compression) {
            (SeriesError::Syntax(_) | SeriesError::Protobuf(_), Some(compression)) => ScrapeError::Encoding(compression),
            (error, _) => error.into(),
        };
        match read.map(|()| self.session.finish()) {
            Ok(Ok(scraped)) => Outcome { counts: scraped.counts, result: Ok(scraped), body_size },
            // As in Prometheus: the size is told although the content is no good.
            Ok(Err((error, counts))) => Outcome { result: Err(explained(error)), counts, body_size },
            Err(ScrapeError::Series(error)) => Outcome { result: Err(explained(error)), counts, body_size },
            Err(error) => Outcome::failed(error, counts),
        }
    }

    async fn read<B>(&mut self, response: Response<B>, inflaters: &mut Inflaters) -> Result<(), ScrapeError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let (head, mut body) = response.into_parts();
        if head.status != StatusCode::OK {
            drain(&mut body).await;
            return Err(ScrapeError::Status(head.status.to_string().into()));
        }
        let encoding = head.headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let read = if encoding == "gzip" {
            self.compressed(&mut body, inflaters).await
        } else {
            // As in Prometheus: what else is said of the encoding is not believed, but it may explain an error.
            self.compression = is_compression(encoding).then(|| encoding.chars().take(50).collect());
            self.plain(&mut body).await
        };
        if matches!(read, Err(ScrapeError::Series(_) | ScrapeError::ContentType(_))) {
            drain(&mut body).await;
        }
        read
    }

    async fn plain<B>(&mut self, body: &mut B) -> Result<(), ScrapeError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        while let Some(mut data) = next(body).await? {
            while data.has_remaining() {
                let piece = data.split_to(data.len().min(TURN as usize));
                self.take(&piece)?;
                if data.has_remaining() {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    async fn compressed<B>(&mut self, body: &mut B, inflaters: &mut Inflaters) -> Result<(), ScrapeError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let Inflaters { whole, gunzip, collected } = inflaters;
        collected.clear();
        let mut more = next(body).await?;
        while let Some(data) = &more
            && collected.len() + data.len() <= MAX_COMPRESSED
        {
            collected.extend_from_slice(data);
            more = next(body).await?;
        }
        if more.is_none() && self.at_once(collected, whole.get_or_insert_with(Whole::new))? {
            return Ok(());
        }
        let gunzip = gunzip.get_or_insert_with(|| Box::new(Gunzip::new()));
        gunzip.reset();
        let mut on_wire = collected.len() as u64;
        self.inflate(collected, gunzip).await?;
        while let Some(data) = more {
            on_wire += data.len() as u64;
            // Damaged data may make no output for ever; then the wire is the bound.
            if on_wire > self.limit.bytes.saturating_add(WIRE_SLACK) {
                return Err(self.too_large());
            }
            self.inflate(&data, gunzip).await?;
            more = next(body).await?;
        }
        Ok(gunzip.finish()?)
    }

    /// Takes a body that has come to its end, if it can be inflated in one step; false if nothing was taken.
    fn at_once(&mut self, body: &[u8], whole: &mut Whole) -> Result<bool, ScrapeError> {
        let mut output = self.pool.take_output();
        let taken = whole.inflate(body, &mut output).map_or(Ok(false), |text| self.take(text).map(|()| true));
        self.pool.give_back_output(output);
        taken
    }

    /// Takes some of a compressed body.
    async fn inflate(&mut self, data: &[u8], gunzip: &mut Gunzip) -> Result<(), ScrapeError> {
        let mut output = self.pool.take_output();
        for piece in data.chunks(PIECE) {
            gunzip.feed(piece, &mut output, |bytes| self.take(bytes))?;
            if self.decoded - self.turn > TURN {
                self.turn = self.decoded;
                tokio::task::yield_now().await;
            }
        }
        self.pool.give_back_output(output);
        Ok(())
    }

    /// Takes decoded bytes.
    fn take(&mut self, bytes: &[u8]) -> Result<(), ScrapeError> {
        self.decoded += bytes.len() as u64;
        // At the limit already, as in Prometheus.
        if self.decoded >= self.limit.bytes {
            return Err(self.too_large());
        }
        self.format.clone()?;
        Ok(self.session.feed(bytes)?)
    }

    fn too_large(&self) -> ScrapeError {
        ScrapeError::BodySize { limit: self.limit.bytes, option: self.limit.option }
    }
}

/// Whether a `Content-Encoding` says that the body is compressed.
fn is_compression(encoding: &str) -> bool {
    let known = ["gzip", "x-gzip", "deflate", "zstd", "br", "compress", "x-compress"];
    encoding.split(',').any(|name| known.iter().any(|known| name.trim().eq_ignore_ascii_case(known)))
}

async fn next<B>(body: &mut B) -> Result<Option<Bytes>, ScrapeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ScrapeError::Broken(error.to_string().into()))?;
        // What is no data are trailers, which nobody needs.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads the rest of a short body.
async fn drain<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let rest = async {
        let mut drained = 0;
        while drained <= MAX_DRAINED
            && let Ok(Some(data)) = next(body).await
        {
            drained += data.len();
        }
    };
    let _ = tokio::time::timeout(MAX_DRAINING, rest).await;
}

#[cfg(test)]
mod tests;
