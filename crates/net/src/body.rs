//! Bodies read into memory, decoded on the way and never beyond a bound, however small they were on the wire.

use std::error::Error as StdError;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response};
use http_body::Body;
use http_body_util::BodyExt;

use crate::decode::{DecodeError, Decoder, Encoding, OUTPUT_BUFFER};
use crate::error::chain;

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the caller's limit, decoded or on the wire.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// `Content-Encoding` is none of `gzip`, `deflate` and `zstd`.
    #[error("unsupported content encoding {0:?}")]
    Encoding(Box<str>),
    /// It can't be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The connection broke before the end.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// How much longer than its content an encoded body may be: headers, checksums, incompressible data.
const WIRE_SLACK: usize = 64 << 10;
/// How much is allocated on the strength of a declaration alone.
const MAX_RESERVED: usize = 1 << 20;
/// Compressed data is decoded in pieces of this size, and between them other tasks get their turn.
const PIECE: usize = 8 << 10;

/// Reads the body of `response`, at most `limit` bytes after decoding. Understands `gzip`, `deflate` and `zstd`.
///
/// # Errors
/// It is too large, can't be decoded, or breaks off.
pub async fn read_body<B>(response: Response<B>, limit: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: StdError + 'static,
{
    let (head, mut body) = response.into_parts();
    let encoding = Encoding::of(&head.headers).map_err(BodyError::Encoding)?;
    let mut sink = Sink { data: Vec::new(), limit };
    if encoding == Encoding::Identity {
        sink.declare(&head.headers)?;
        while let Some(data) = next(&mut body).await? {
            sink.write(&data)?;
        }
        return Ok(sink.data.into());
    }
    let (mut decoder, mut output) = (Decoder::new(encoding), vec![0; OUTPUT_BUFFER]);
    // Corrupt data may make no output for ever; then the wire is the bound.
    let mut on_wire = 0_usize;
    while let Some(data) = next(&mut body).await? {
        on_wire = on_wire.saturating_add(data.len());
        if on_wire > limit.saturating_add(WIRE_SLACK) {
            return Err(BodyError::TooLarge { limit });
        }
        for piece in data.chunks(PIECE) {
            decoder.feed(piece, &mut output, |decoded| sink.write(decoded))?;
            tokio::task::consume_budget().await;
        }
    }
    decoder.finish()?;
    Ok(sink.data.into())
}

/// The next piece of data.
async fn next<B>(body: &mut B) -> Result<Option<Bytes>, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: StdError + 'static,
{
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| BodyError::Broken(chain(&error)))?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads away what is left of a body, so that its connection can be used again; a longer one costs the connection.
pub(crate) async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B, at_most: u64) {
    if body.size_hint().lower() > at_most {
        return;
    }
    let mut left = at_most;
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(still) = left.checked_sub(len) else { return };
        left = still;
    }
}

/// Collects up to a limit.
struct Sink {
    data: Vec<u8>,
    limit: usize,
}

impl Sink {
    /// What is declared need not come.
    fn declare(&mut self, headers: &HeaderMap) -> Result<(), BodyError> {
        let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok()).unwrap_or_default();
        if declared > self.limit {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        self.data.reserve_exact(declared.min(MAX_RESERVED));
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), BodyError> {
        if data.len() > self.limit - self.data.len() {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        let needed = self.data.len() + data.len();
        if needed > self.data.capacity() {
            // Doubled as a vector does it, but never beyond the limit.
            let capacity = needed.max(self.data.capacity().saturating_mul(2)).min(self.limit);
            self.data.reserve_exact(capacity - self.data.len());
        }
        self.data.extend_from_slice(data);
        Ok(())
    }
}
