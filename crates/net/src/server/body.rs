//! A request's body: counted, with a deadline, read within a bound that the whole server shares.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::chain;

/// The body of a request as it comes in.
pub struct RequestBody {
    incoming: Incoming,
    deadline: Instant,
    read: Arc<AtomicU64>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, deadline: Instant, read: Arc<AtomicU64>) -> Self {
        Self { incoming, deadline, read }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.read.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What bodies of all requests together may take.
#[derive(Clone)]
pub struct Memory(Arc<Semaphore>);

/// Memory is given out in pieces of this size, so that the permits fit into 32 bits.
const PIECE: usize = 1 << 10;

impl Memory {
    /// `bytes` in all.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / PIECE)))
    }

    /// Takes as much as `bytes` need; nothing is reserved for what has not come.
    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE)).ok()?;
        self.0.clone().try_acquire_many_owned(pieces).ok()
    }
}

/// A body that was read, and the memory that it takes.
pub struct ReadBody {
    bytes: Bytes,
    _memory: Vec<OwnedSemaphorePermit>,
}

impl std::ops::Deref for ReadBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is larger than what is taken.
    #[error("the request's body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Other requests have all the memory that there is for bodies.
    #[error("too many large requests at a time; send it again later")]
    Busy,
    /// It did not come in time.
    #[error("the request's body did not come in time")]
    Late,
    /// The client broke off.
    #[error("the request's body broke off: {0}")]
    Broken(String),
}

impl RequestBody {
    /// Reads the body of a request, at most `limit` bytes of it, as far as `memory` has room.
    ///
    /// # Errors
    /// [`ReadError`]; what was read is given back.
    pub async fn read(request: Request<Self>, limit: usize, memory: &Memory) -> Result<(http::request::Parts, ReadBody), ReadError> {
        let (parts, mut body) = request.into_parts();
        let too_large = declared(&parts.headers).is_some_and(|declared| declared > limit as u64);
        let (deadline, read) = (body.deadline, collect(&mut body, if too_large { 0 } else { limit }, memory));
        let read = timeout_at(deadline, read).await.unwrap_or(Err(ReadError::Late));
        if matches!(read, Err(ReadError::TooLarge { .. })) {
            let _ = timeout_at(deadline, discard(body, limit)).await; // whoever sends on has no ear for the answer
            return Err(ReadError::TooLarge { limit });
        }
        Ok((parts, read?))
    }
}

/// Reads on without keeping anything, up to as much again: a connection that is closed on unread data takes the answer with it.
async fn discard(mut body: RequestBody, limit: usize) {
    let mut left = limit;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(body: &mut RequestBody, limit: usize, memory: &Memory) -> Result<ReadBody, ReadError> {
    let mut held = Vec::new();
    let mut first = Bytes::new();
    let mut all: Vec<u8> = Vec::new();
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ReadError::Broken(chain(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        len += data.len();
        if len > limit {
            return Err(ReadError::TooLarge { limit });
        }
        // The buffer doubles as it grows; what it will take is paid for with what came.
        held.push(memory.take(data.len()).ok_or(ReadError::Busy)?);
        match (first.is_empty(), all.is_empty()) {
            (true, true) => first = data, // most bodies come in one piece and are not copied
            (_, true) => {
                all.extend_from_slice(&first);
                all.extend_from_slice(&data);
            }
            _ => all.extend_from_slice(&data),
        }
        merge(&mut held);
    }
    Ok(ReadBody { bytes: if all.is_empty() { first } else { all.into() }, _memory: held })
}

/// Joins permits, so that a body in a million pieces does not keep a million of them.
fn merge(held: &mut Vec<OwnedSemaphorePermit>) {
    if let [_, _] = held[..]
        && let (Some(last), Some(first)) = (held.pop(), held.first_mut())
    {
        first.merge(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back() {
        let memory = Memory::new(4 * PIECE);
        let some = memory.take(3 * PIECE).unwrap();
        assert!(memory.take(PIECE + 1).is_none());
        let rest = memory.take(1).unwrap();
        assert!(memory.take(1).is_none());
        drop((some, rest));
        assert!(memory.take(4 * PIECE).is_some());
    }
}
