//! Bodies read into memory, decoded on the way and never beyond a bound, however small they were on the wire.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Response};
use http_body::Body;
use http_body_util::BodyExt;

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
    /// `Content-Encoding` is neither `gzip` nor `deflate`.
    #[error("unsupported content encoding {0:?}")]
    Encoding(String),
    /// It can't be decoded.
    #[error("the {encoding} body is corrupt: {cause}")]
    Corrupt {
        /// `gzip` or `deflate`.
        encoding: &'static str,
        /// What the decoder says.
        cause: String,
    },
    /// The connection broke before the end.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// Reads the body of `response`, at most `limit` bytes after decoding. Understands `gzip` and `deflate`.
///
/// # Errors
/// It is too large, can't be decoded, or breaks off.
pub async fn read_body<B>(response: Response<B>, limit: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    let (head, mut body) = response.into_parts();
    let mut decoder = Decoder::new(&head.headers, limit)?;
    // Corrupt data may make no output for ever; then the wire is the bound.
    let mut on_wire = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(chain(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        on_wire = on_wire.saturating_add(data.len());
        if on_wire > limit.saturating_add(WIRE_SLACK) {
            return Err(BodyError::TooLarge { limit });
        }
        decoder.write(&data)?;
    }
    decoder.finish()
}

/// How much longer than its content an encoded body may be: headers, checksums, incompressible data.
const WIRE_SLACK: usize = 64 << 10;
/// How much is allocated on the strength of a declaration alone.
const MAX_RESERVED: usize = 1 << 20;

/// Collects up to a limit.
struct Sink {
    data: Vec<u8>,
    limit: usize,
}

/// The sink's way to say that it is full, told from the decoder's own errors by its type.
#[derive(Debug, thiserror::Error)]
#[error("full")]
struct SinkFull;

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.limit - self.data.len() {
            return Err(io::Error::other(SinkFull));
        }
        self.data.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Decoder {
    Plain(Sink),
    Gzip(MultiGzDecoder<Sink>),
    /// `deflate` before its first two bytes tell which kind it is.
    Undecided(Vec<u8>, Sink),
    Deflate(Inflater, Sink),
}

/// `deflate` by hand, as the ready-made writers take a body that breaks off for a whole one.
struct Inflater {
    state: Decompress,
    ended: bool,
}

impl Inflater {
    fn write(&mut self, mut data: &[u8], sink: &mut Sink) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        while !self.ended {
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(data, &mut buffer, FlushDecompress::None)?;
            data = &data[(self.state.total_in() - read) as usize..];
            let produced = (self.state.total_out() - written) as usize;
            sink.write_all(&buffer[..produced])?;
            self.ended = status == Status::StreamEnd;
            if data.is_empty() && produced < buffer.len() {
                break;
            }
        }
        Ok(())
    }
}

impl Decoder {
    fn new(headers: &HeaderMap, limit: usize) -> Result<Self, BodyError> {
        let encoding = headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?")).trim().to_ascii_lowercase();
        let mut sink = Sink { data: Vec::new(), limit };
        match encoding.as_str() {
            "gzip" | "x-gzip" => Ok(Self::Gzip(MultiGzDecoder::new(sink))),
            "deflate" => Ok(Self::Undecided(Vec::new(), sink)),
            "" | "identity" => {
                let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
                if declared.is_some_and(|declared| declared > limit) {
                    return Err(BodyError::TooLarge { limit });
                }
                // What is declared need not come.
                sink.data.reserve(declared.unwrap_or_default().min(MAX_RESERVED));
                Ok(Self::Plain(sink))
            }
            other => Err(BodyError::Encoding(other.to_owned())),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let limit = self.sink().limit;
        let (encoding, result) = match self {
            Self::Plain(sink) => ("identity", sink.write_all(data)),
            Self::Gzip(decoder) => ("gzip", decoder.write_all(data)),
            Self::Deflate(inflater, sink) => ("deflate", inflater.write(data, sink)),
            Self::Undecided(start, sink) => {
                start.extend_from_slice(data);
                let [first, second, ..] = start[..] else { return Ok(()) };
                let start = std::mem::take(start);
                let sink = std::mem::replace(sink, Sink { data: Vec::new(), limit });
                // RFC 1950 §2.2; some servers send deflate data without that header.
                let is_zlib = first & 0x0f == 8 && (u16::from(first) << 8 | u16::from(second)) % 31 == 0;
                *self = Self::Deflate(Inflater { state: Decompress::new(is_zlib), ended: false }, sink);
                return self.write(&start);
            }
        };
        result.map_err(|error| body_error(encoding, limit, &error))
    }

    fn finish(self) -> Result<Bytes, BodyError> {
        let limit = self.sink().limit;
        match self {
            Self::Plain(sink) => Ok(sink.data.into()),
            Self::Gzip(decoder) => decoder.finish().map(|sink| sink.data.into()).map_err(|error| body_error("gzip", limit, &error)),
            Self::Undecided(start, sink) if start.is_empty() => Ok(sink.data.into()),
            Self::Deflate(inflater, sink) if inflater.ended => Ok(sink.data.into()),
            Self::Undecided(..) | Self::Deflate(..) => {
                Err(BodyError::Corrupt { encoding: "deflate", cause: "it ends too early".to_owned() })
            }
        }
    }

    fn sink(&self) -> &Sink {
        match self {
            Self::Plain(sink) | Self::Undecided(_, sink) | Self::Deflate(_, sink) => sink,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }
}

fn body_error(encoding: &'static str, limit: usize, error: &io::Error) -> BodyError {
    if error.get_ref().is_some_and(|inner| inner.is::<SinkFull>()) {
        return BodyError::TooLarge { limit };
    }
    BodyError::Corrupt { encoding, cause: error.to_string() }
}
