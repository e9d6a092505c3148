//! A connection to a server, through whatever layers, as hyper wants it, and the count of those that are open.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

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
}

/// On a connection's answers and errors: whether it has answered before.
#[derive(Clone, Default)]
pub(crate) struct HasAnswered(Arc<AtomicBool>);

impl HasAnswered {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.is_proxied).extra(HasAnswered::default());
        if self.open.now.load(Ordering::Relaxed) > self.open.keeps_below {
            connected.poison(); // it serves its request and is not kept
        }
        if self.is_http2 { connected.negotiated_h2() } else { connected }
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
