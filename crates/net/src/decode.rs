//! Decoding bodies while they come: `gzip`, `deflate`, `zstd`. A decoder gives pieces to a callback and keeps nothing of them, so the
//! bound of a body is its caller's; what a decoder itself takes is bounded here.

mod deflate;
mod gzip;
mod zstd;

use std::fmt;

use http::{HeaderMap, header};

use deflate::Inflate;
use gzip::Gunzip;
use zstd::Unzstd;

/// The best size of an output buffer: large enough that most bodies need few steps, as each step copies 32 KiB of history.
pub const OUTPUT_BUFFER: usize = 64 << 10;

/// A content encoding that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// None.
    Identity,
    /// `gzip`, RFC 1952.
    Gzip,
    /// `deflate`: zlib, RFC 1950, and the bare deflate data of RFC 1951 that some servers send.
    Deflate,
    /// `zstd`, RFC 8878.
    Zstd,
}

impl Encoding {
    /// The encoding that `Content-Encoding` names; none is `identity`.
    ///
    /// # Errors
    /// It is none of these, or there are several; the text is the header's.
    pub fn of(headers: &HeaderMap) -> Result<Self, Box<str>> {
        let given = headers.get_all(header::CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?").trim());
        let given = given.collect::<Vec<_>>().join(", ");
        let names = [("", Self::Identity), ("identity", Self::Identity), ("gzip", Self::Gzip), ("x-gzip", Self::Gzip)];
        let names = names.into_iter().chain([("deflate", Self::Deflate), ("zstd", Self::Zstd)]);
        let found = names.into_iter().find(|(name, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, encoding)| encoding).ok_or_else(|| given.chars().take(50).collect())
    }

    /// The name in `Content-Encoding` and `Accept-Encoding`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A body that is not what its encoding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It doesn't begin like this encoding.
    #[error("{0}: invalid header")]
    Header(Encoding),
    /// The compressed data is damaged.
    #[error("{0}: corrupt data")]
    Data(Encoding),
    /// The data is not what was compressed.
    #[error("{0}: invalid checksum")]
    Checksum(Encoding),
    /// The body ends too early.
    #[error("{0}: unexpected end of the body")]
    Truncated(Encoding),
    /// Decoding would take more memory than it may: zstd's window is larger than 8 MiB (RFC 9659).
    #[error("{0}: decoding it would take more memory than it may")]
    Memory(Encoding),
}

/// A decoder for one body after the other. `gzip` and `deflate` take about 50 KiB, `zstd` up to 8 MiB if the body asks for it.
pub struct Decoder(State);

enum State {
    Identity,
    Gzip(Box<Gunzip>),
    Deflate(Box<Inflate>),
    Zstd(Box<Unzstd>),
}

impl Decoder {
    /// A decoder that is ready for a body.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        Self(match encoding {
            Encoding::Identity => State::Identity,
            Encoding::Gzip => State::Gzip(Box::new(Gunzip::new())),
            Encoding::Deflate => State::Deflate(Box::new(Inflate::new())),
            Encoding::Zstd => State::Zstd(Box::new(Unzstd::new())),
        })
    }

    /// What it decodes.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        match self.0 {
            State::Identity => Encoding::Identity,
            State::Gzip(_) => Encoding::Gzip,
            State::Deflate(_) => Encoding::Deflate,
            State::Zstd(_) => Encoding::Zstd,
        }
    }

    /// Makes it ready for another body, wherever in the last one it is.
    pub fn reset(&mut self) {
        match &mut self.0 {
            State::Identity => {}
            State::Gzip(state) => state.reset(),
            State::Deflate(state) => state.reset(),
            State::Zstd(state) => state.reset(),
        }
    }

    /// Decodes the next bytes of the body through `output`, which must not be empty and holds nothing between two calls. Pieces of at most
    /// its size go to `sink`.
    ///
    /// # Errors
    /// The body is damaged, or `sink` returned an error, which ends the body.
    pub fn feed<E: From<DecodeError>>(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.0 {
            State::Identity => input.chunks(output.len().max(1)).try_for_each(sink),
            State::Gzip(state) => state.feed(input, output, sink),
            State::Deflate(state) => state.feed(input, output, &mut sink),
            State::Zstd(state) => state.feed(input, output, sink),
        }
    }

    /// Notes the end of the body.
    ///
    /// # Errors
    /// It ends too early.
    pub fn finish(&self) -> Result<(), DecodeError> {
        let is_whole = match &self.0 {
            State::Identity => true,
            State::Gzip(state) => state.is_whole(),
            State::Deflate(state) => state.is_whole(),
            State::Zstd(state) => state.is_whole(),
        };
        if is_whole { Ok(()) } else { Err(DecodeError::Truncated(self.encoding())) }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({})", self.encoding())
    }
}
