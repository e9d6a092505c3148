//! A connection to a server, through whatever layers, as hyper wants it, and the count of those that are open.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket, TLS over it, a tunnel in that, …
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How many connections of a client are open, and how many may be while they are kept for further requests.
#[derive(Clone)]
pub(crate) struct Open {
    now: Arc<AtomicUsize>,
    keeps_below: usize,
}

impl Open {
    pub(crate) fn new(keeps_below: usize) -> Self {
        Self { now: Arc::default(), keeps_below }
    }

    /// Whether there are more than are kept.
    pub(crate) fn is_too_many(&self) -> bool {
        self.now.load(Ordering::Relaxed) > self.keeps_below
    }
}

/// A connection.
pub(crate) struct Stream {
    io: TokioIo<Box<dyn Io>>,
    /// Whether a proxy is at the other end, so that requests must name the whole URL.
    is_proxied: bool,
    is_http2: bool,
    open: Open,
}

impl Stream {
    pub(crate) fn new(io: Box<dyn Io>, is_proxied: bool, is_http2: bool, open: Open) -> Self {
        open.now.fetch_add(1, Ordering::Relaxed);
        Self { io: TokioIo::new(io), is_proxied, is_http2, open }
    }

    /// Whether the other end has neither closed it nor sent anything that nobody asked for.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let (mut byte, mut context) = ([0], Context::from_waker(Waker::noop()));
        // What has come is seen without a waker: the runtime knows which sockets are ready.
        Pin::new(self.io.inner_mut()).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    pub(crate) fn is_proxied(&self) -> bool {
        self.is_proxied
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
