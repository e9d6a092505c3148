//! Frames: what crosses a stream. `u32 length | u8 kind | u8 flags | payload | MAC`, the length (big endian) counting all that
//! follows it, the MAC only once a key has been agreed on. Long messages are cut into fragments so that gossip never waits
//! behind one; every length is checked before anything is allocated for it. The MAC covers what is on the wire, compressed or not.
//! What the payloads mean is `wire` and the callers'.

use std::{pin::Pin, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::{sync::mpsc, time::timeout};

use prometheus::IntCounter;

use super::squeeze::{self, Context};
use crate::{
    auth::{MAC_BYTES, Seal},
    ownership::MAX_FRAME_BYTES,
};

/// Longest payload of one frame, bytes: what another frame may have to wait for.
pub(crate) const MAX_PAYLOAD: usize = 256 * 1024;

/// Longest message put together from fragments, bytes: the longest body of a request, with room for its frame. Ownership
/// messages stay below.
pub(crate) const MAX_MESSAGE: usize = crate::node::MAX_BODY_BYTES + 1024 * 1024;

/// How long a peer may take to make room for one chunk before its stream is given up. Longer than the 5 s for which a stalled
/// peer must not count as dead.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

const HEADER_BYTES: usize = 2;
/// Flag: another piece follows.
const MORE: u8 = 1;

/// Flag: the payload is compressed, see [`squeeze`].
const SQUEEZED: u8 = 2;

/// Chunks of bytes in the order in which the peer sent them, cut anywhere.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// A two-way byte stream to a peer. Dropping both halves closes it.
pub(crate) struct Pipe {
    /// Where bytes for the peer go; bounded, so a slow peer is felt here.
    pub(crate) outgoing: mpsc::Sender<Bytes>,
    /// What the peer sends.
    pub(crate) incoming: Chunks,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Opens a stream: who I am ([`super::wire::Hello`]).
    Hello = 0,
    /// Answers a hello: prove it ([`super::wire::Challenge`]).
    Challenge = 1,
    /// Answers a challenge ([`super::wire::Proof`]).
    Proof = 2,
    /// Ends a handshake well ([`super::wire::Accept`]).
    Accept = 3,
    /// Ends a handshake badly ([`super::wire::Reject`]).
    Reject = 4,
    /// A round of anti-entropy, in chitchat's own format.
    Gossip = 5,
    /// A message of the ownership machine.
    Ownership = 6,
    /// What the sender knows of the members ([`super::wire::Members`]).
    Members = 7,
    /// A question ([`super::wire::Request`]).
    Request = 8,
    /// Its answer ([`super::wire::Response`]).
    Response = 9,
    /// Are you there?
    Ping = 10,
    /// Yes.
    Pong = 11,
    /// Who heard whom, for the policy `majority` ([`super::standing::Standing`]). Sent to members of that policy only.
    Standing = 20,
    /// An ownership message behind the number that shows its age. Likewise.
    Dated = 21,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Hello,
            1 => Self::Challenge,
            2 => Self::Proof,
            3 => Self::Accept,
            4 => Self::Reject,
            5 => Self::Gossip,
            6 => Self::Ownership,
            7 => Self::Members,
            8 => Self::Request,
            9 => Self::Response,
            10 => Self::Ping,
            11 => Self::Pong,
            20 => Self::Standing,
            21 => Self::Dated,
            _ => return None,
        })
    }

    /// Whether a message of this kind may be cut. The others are small, so at most a few messages are ever half received.
    fn may_be_cut(self) -> bool {
        matches!(self, Self::Ownership | Self::Dated | Self::Members | Self::Request | Self::Response)
    }

    /// Longest message of this kind, bytes.
    fn limit(self) -> usize {
        match self {
            Self::Ownership => MAX_FRAME_BYTES,
            // With the receiver's number before it.
            Self::Dated => MAX_FRAME_BYTES + size_of::<u64>(),
            Self::Members => super::wire::MAX_MEMBERS_BYTES,
            Self::Request | Self::Response => MAX_MESSAGE,
            _ => MAX_PAYLOAD,
        }
    }
}

/// One whole message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) payload: Bytes,
}

/// What ends a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {length} bytes exceeds the limit of {limit}")]
    Oversize { length: usize, limit: usize },
    #[error("a frame of {0} bytes is too short for its header")]
    Undersize(usize),
    #[error("frame kind {0} does not exist in this protocol version")]
    UnknownKind(u8),
    #[error("a {0:?} message can't be read")]
    Nonsense(Kind),
    #[error("a frame of a kind that is never cut came in pieces")]
    UnexpectedFragment,
    #[error("a frame's MAC does not verify: it was changed, repeated or reordered on its way")]
    BadMac,
    #[error("a frame's compressed payload does not come out as declared")]
    BadCompression,
    #[error("the stream ended within a frame")]
    Truncated,
    #[error("the stream was closed")]
    Closed,
    #[error("the peer took nothing for {} s", WRITE_TIMEOUT.as_secs())]
    Stuck,
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl FrameError {
    /// Whether the peer broke the protocol, as opposed to the network or the peer going away.
    pub(crate) fn is_violation(&self) -> bool {
        !matches!(self, Self::Truncated | Self::Closed | Self::Stuck | Self::Broken(_))
    }
}

/// The reading half.
pub(crate) struct FrameReader {
    chunks: Chunks,
    buffer: BytesMut,
    seal: Option<Seal>,
    max_payload: usize,
    partial: Vec<(Kind, BytesMut)>,
    /// There once compression was agreed on.
    context: Option<Context>,
    bytes: Option<IntCounter>,
}

impl FrameReader {
    /// Reads frames of at most `max_payload` bytes: little until the peer has shown who it is.
    pub(crate) fn new(chunks: Chunks, max_payload: usize) -> Self {
        Self { chunks, buffer: BytesMut::new(), seal: None, max_payload, partial: Vec::new(), context: None, bytes: None }
    }

    /// Counts what comes, as it is on the wire.
    pub(crate) fn counting(mut self, bytes: IntCounter) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// From the next frame on payloads may be compressed.
    pub(crate) fn squeezed(&mut self) {
        self.context = Some(Context::default());
    }

    /// From the next frame on: MACs are required if there is a seal, and frames may have their full length.
    pub(crate) fn established(&mut self, seal: Option<Seal>) {
        self.seal = seal;
        self.max_payload = MAX_PAYLOAD;
    }

    /// The next message; `None` when the peer ended the stream between two frames. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            while let Some((kind, more, payload)) = self.take_frame()? {
                if let Some(frame) = self.assemble(kind, more, payload)? {
                    return Ok(Some(frame));
                }
            }
            match self.chunks.next().await {
                Some(Ok(chunk)) => {
                    if let Some(bytes) = &self.bytes {
                        bytes.inc_by(chunk.len() as u64);
                    }
                    self.buffer.extend_from_slice(&chunk);
                }
                Some(Err(error)) => return Err(FrameError::Broken(error)),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(FrameError::Truncated),
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<(Kind, bool, Bytes)>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        let mac_bytes = if self.seal.is_some() { MAC_BYTES } else { 0 };
        let limit = HEADER_BYTES + self.max_payload + mac_bytes;
        if length > limit {
            return Err(FrameError::Oversize { length, limit });
        }
        if length < HEADER_BYTES + mac_bytes {
            return Err(FrameError::Undersize(length));
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let mut frame = self.buffer.split_to(length).freeze();
        let mac = frame.split_off(length - mac_bytes);
        let header = frame.split_to(HEADER_BYTES);
        if let Some(seal) = &mut self.seal
            && !seal.check(&header, &frame, &mac)
        {
            return Err(FrameError::BadMac);
        }
        let kind = Kind::from_byte(header[0]).ok_or(FrameError::UnknownKind(header[0]))?;
        let payload = self.expand(kind, header[1] & SQUEEZED != 0, frame)?;
        Ok(Some((kind, header[1] & MORE != 0, payload)))
    }

    fn expand(&mut self, kind: Kind, squeezed: bool, payload: Bytes) -> Result<Bytes, FrameError> {
        match &mut self.context {
            Some(context) if squeezed && squeeze::repeats(kind) => context.expand(&payload),
            _ if squeezed => Err(FrameError::BadCompression),
            Some(context) if squeeze::repeats(kind) => {
                context.plain(&payload);
                Ok(payload)
            }
            _ => Ok(payload),
        }
    }

    fn assemble(&mut self, kind: Kind, more: bool, payload: Bytes) -> Result<Option<Frame>, FrameError> {
        let position = self.partial.iter().position(|(partial, _)| *partial == kind);
        if position.is_none() && !more {
            return Ok(Some(Frame { kind, payload }));
        }
        if !kind.may_be_cut() {
            return Err(FrameError::UnexpectedFragment);
        }
        let position = position.unwrap_or_else(|| {
            self.partial.push((kind, BytesMut::new()));
            self.partial.len() - 1
        });
        let (length, limit) = (self.partial[position].1.len() + payload.len(), kind.limit());
        if length > limit {
            return Err(FrameError::Oversize { length, limit });
        }
        self.partial[position].1.extend_from_slice(&payload);
        if more {
            return Ok(None);
        }
        let (kind, whole) = self.partial.swap_remove(position);
        Ok(Some(Frame { kind, payload: whole.freeze() }))
    }
}

/// The writing half.
pub(crate) struct FrameWriter {
    chunks: mpsc::Sender<Bytes>,
    seal: Option<Seal>,
    /// There once compression was agreed on.
    context: Option<Context>,
    bytes: Option<IntCounter>,
}

impl FrameWriter {
    pub(crate) fn new(chunks: mpsc::Sender<Bytes>) -> Self {
        Self { chunks, seal: None, context: None, bytes: None }
    }

    /// Counts what is sent, as it is on the wire.
    pub(crate) fn counting(mut self, bytes: IntCounter) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// From the next frame on payloads are compressed where it pays.
    pub(crate) fn squeezed(&mut self) {
        self.context = Some(Context::default());
    }

    /// From the next frame on MACs are added if there is a seal.
    pub(crate) fn established(&mut self, seal: Option<Seal>) {
        self.seal = seal;
    }

    /// Ends when the peer has dropped its reading half.
    pub(crate) async fn closed(&self) {
        self.chunks.closed().await;
    }

    /// Sends the first piece of `payload` and takes it off; whether more is left. Not cancel-safe: a frame that was numbered
    /// and not sent ends the stream.
    pub(crate) async fn send_piece(&mut self, kind: Kind, payload: &mut Bytes) -> Result<bool, FrameError> {
        let piece = payload.split_to(payload.len().min(MAX_PAYLOAD));
        let more = !payload.is_empty();
        let squeezed = self.context.as_mut().filter(|_| squeeze::repeats(kind)).and_then(|context| context.squeeze(&piece));
        let header = [kind as u8, if more { MORE } else { 0 } | if squeezed.is_some() { SQUEEZED } else { 0 }];
        let piece = squeezed.unwrap_or(piece);
        let mac_bytes = if self.seal.is_some() { MAC_BYTES } else { 0 };
        let length = HEADER_BYTES + piece.len() + mac_bytes;
        let mut frame = BytesMut::with_capacity(4 + length);
        frame.put_u32(length as u32);
        frame.put_slice(&header);
        frame.put_slice(&piece);
        if let Some(seal) = &mut self.seal {
            frame.put_slice(&seal.next(&header, &piece));
        }
        if let Some(bytes) = &self.bytes {
            bytes.inc_by(frame.len() as u64);
        }
        match timeout(WRITE_TIMEOUT, self.chunks.send(frame.freeze())).await {
            Ok(Ok(())) => Ok(more),
            Ok(Err(_)) => Err(FrameError::Closed),
            Err(_) => Err(FrameError::Stuck),
        }
    }

    /// Sends a whole message.
    pub(crate) async fn send(&mut self, kind: Kind, payload: impl Into<Bytes>) -> Result<(), FrameError> {
        let mut payload = payload.into();
        while self.send_piece(kind, &mut payload).await? {}
        Ok(())
    }
}

#[cfg(test)]
mod tests;
