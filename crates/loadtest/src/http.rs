//! A small HTTP server and a client that fetches one page: what targets, receiver and fleet have in common. No routing and
//! no TLS: each handler matches the paths it serves.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client as PooledClient, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Connections that one listener keeps open; agents keep one per target alive.
const MAX_CONNECTIONS: usize = 16_384;
/// Connections that wait to be accepted; what tokio takes by default.
const BACKLOG: u32 = 1024;
/// Pause after a failed accept (out of descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port on loopback that the system gives.
pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a handler answers with.
pub(crate) type Reply = Response<Pieces>;

/// Answers the requests of one listener.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request; errors are answers too.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Reply> + Send;
}

/// A listener; dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Binds an address, [`LOOPBACK`] for any port on loopback, and serves HTTP/1.1 and HTTP/2 without TLS.
    pub(crate) async fn bind<H: Handler>(address: SocketAddr, handler: Arc<H>) -> io::Result<Self> {
        Self::serve(TcpListener::bind(address).await?, handler)
    }

    fn serve<H: Handler>(listener: TcpListener, handler: Arc<H>) -> io::Result<Self> {
        Ok(Self { address: listener.local_addr()?, accepting: tokio::spawn(accept(listener, handler)) })
    }

    /// Ends the listener and its connections, and keeps the port: whoever connects is refused.
    pub(crate) async fn shut(mut self) -> io::Result<Shut> {
        self.accepting.abort();
        // The listener goes with its task, which is aborted only at its next turn.
        let _ = (&mut self.accepting).await;
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        Ok(Shut(socket))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The port of a server that is shut.
#[derive(Debug)]
pub(crate) struct Shut(TcpSocket);

impl Shut {
    /// Serves there again.
    pub(crate) fn open<H: Handler>(self, handler: Arc<H>) -> io::Result<Server> {
        Server::serve(self.0.listen(BACKLOG)?, handler)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts until it is aborted; the connections live in its set, so that they end with it.
async fn accept<H: Handler>(listener: TcpListener, handler: Arc<H>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => { connections.spawn(serve(stream, Arc::clone(&handler))); }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection to its end; a client that breaks off is its own affair.
async fn serve<H: Handler>(stream: TcpStream, handler: Arc<H>) {
    // Answers are small and waited for: without this, Nagle adds up to 40 ms to some.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(handler.handle(request).await) }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// A body of ready pieces, sent without being joined.
#[derive(Debug)]
pub(crate) struct Pieces {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl From<Vec<Bytes>> for Pieces {
    fn from(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|p| p.len() as u64).sum();
        Self { pieces: pieces.into_iter(), left }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.next();
        self.left -= piece.as_ref().map_or(0, |p| p.len() as u64);
        Poll::Ready(piece.map(|p| Ok(Frame::data(p))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// An answer of one plain-text line, or none.
pub(crate) fn text(status: StatusCode, message: &str) -> Reply {
    let body = if message.is_empty() { Vec::new() } else { vec![Bytes::from(format!("{message}\n"))] };
    with_type(status, HeaderValue::from_static("text/plain; charset=utf-8"), body)
}

/// An answer with a content type.
pub(crate) fn with_type(status: StatusCode, content_type: HeaderValue, body: Vec<Bytes>) -> Reply {
    let mut reply = Response::new(Pieces::from(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, content_type);
    reply
}

/// Why a page could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address can't be requested.
    #[error("{url}: not a valid address: {reason}")]
    Address {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Connecting, sending or reading failed.
    #[error("{url}: {reason}")]
    Transport {
        /// What was asked for.
        url: String,
        /// The failure and its cause.
        reason: String,
    },
    /// No whole answer in time.
    #[error("{url}: no answer within {within:?}")]
    Timeout {
        /// What was asked for.
        url: String,
        /// How long was waited.
        within: Duration,
    },
    /// The answer was not the status that was needed.
    #[error("{url}: answered {status}: {body}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The answer could not be read as what it should be.
    #[error("{url}: unreadable answer: {reason}")]
    Content {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A client that keeps its connections; cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pool: PooledClient<HttpConnector, Empty<Bytes>>,
    timeout: Duration,
}

/// What a fetched page may be long; a fleet's target list of 10,000 targets takes about 10 MB.
const MAX_PAGE_BYTES: usize = 64 << 20;

impl Client {
    /// A client whose requests may take `timeout` altogether.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { pool: PooledClient::builder(TokioExecutor::new()).build_http(), timeout }
    }

    /// Fetches a page of any status.
    pub(crate) async fn get(&self, url: &str) -> Result<(StatusCode, Bytes), FetchError> {
        let uri = url.parse::<http::Uri>().map_err(|e| FetchError::Address { url: url.to_owned(), reason: e.to_string() })?;
        let fetch = async {
            let reply = self.pool.get(uri).await.map_err(|e| transport(url, &e))?;
            let (parts, body) = reply.into_parts();
            let body = Limited::new(body, MAX_PAGE_BYTES).collect().await.map_err(|e| transport(url, &*e))?;
            Ok((parts.status, body.to_bytes()))
        };
        let late = || FetchError::Timeout { url: url.to_owned(), within: self.timeout };
        tokio::time::timeout(self.timeout, fetch).await.unwrap_or_else(|_| Err(late()))
    }

    /// Fetches a page that must be answered with 200.
    pub(crate) async fn get_ok(&self, url: &str) -> Result<Bytes, FetchError> {
        let (status, body) = self.get(url).await?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        let body = String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned();
        Err(FetchError::Status { url: url.to_owned(), status: status.as_u16(), body })
    }

    /// Fetches and reads JSON.
    pub(crate) async fn get_json<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, FetchError> {
        let body = self.get_ok(url).await?;
        serde_json::from_slice(&body).map_err(|e| FetchError::Content { url: url.to_owned(), reason: e.to_string() })
    }
}

/// A transport failure with its innermost cause, which names what happened (`connection refused`).
fn transport(url: &str, error: &(dyn std::error::Error + 'static)) -> FetchError {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    FetchError::Transport { url: url.to_owned(), reason: innermost.to_string() }
}
