//! Accepting connections: HTTP/1.1 and HTTP/2 (with prior knowledge) on one port, bounded in number, none of them able to delay another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use net::MutualTls;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use super::places::{Held, Place, Places, Purpose};
use crate::app::fleet::Fleet;

/// Connections at a time; a fleet of 150 needs 300, the rest is for people and their tools.
pub const MAX_CONNECTIONS: usize = 4096;
/// Connections that the kernel keeps until they are accepted: while a thousand others arrive at once a peer must not be turned away.
const BACKLOG: i32 = 4096;
/// A client must have shaken hands by then, and sent its request's head in as long again.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// With this byte begins a connection in TLS, and none in HTTP.
const TLS_HANDSHAKE: u8 = 0x16;
/// What a client whose handshake failed may take to read why, and how much of what it sends meanwhile is read away: closing on unread data
/// would take the answer away.
const LINGER: (Duration, u64) = (Duration::from_secs(1), 64 << 10);
/// Streams in one HTTP/2 connection: a peer needs two.
const MAX_STREAMS: u32 = 64;
/// How long to wait after the system refused a connection, for want of file descriptors usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two lines in the log about connections that can't be accepted.
const QUIET: Duration = Duration::from_secs(60);

/// Binds the address, synchronously, before anything is started.
///
/// # Errors
/// The address is in use or not ours; names the flag.
pub fn bind(address: &str) -> Result<std::net::TcpListener> {
    // Go's spelling for all interfaces, which Alloy's users have in their files.
    let given = address;
    let address = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    let listener = std::net::TcpListener::bind(&address)
        .with_context(|| format!("can't listen on {given}; give another HOST:PORT with --server.http.listen-addr"))?;
    listener.set_nonblocking(true)?;
    // The standard library asks for 128.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Serves connections until told to stop.
pub struct Listener {
    router: Router,
    cluster: Option<cluster::Cluster>,
    tls: Option<Arc<MutualTls>>,
    places: Places,
}

impl Listener {
    /// A listener for these routes and, if clustering is on, the cluster's streams.
    pub fn new(router: Router, fleet: Option<Fleet>, places: Places) -> Arc<Self> {
        let (cluster, tls) = fleet.map_or((None, None), |fleet| (Some(fleet.cluster), fleet.tls));
        Arc::new(Self { router, cluster, tls, places })
    }

    /// Accepts until `stop` turns true. Must run on the control runtime.
    ///
    /// # Errors
    /// The socket can't be used.
    pub async fn serve(self: Arc<Self>, socket: std::net::TcpListener, mut stop: watch::Receiver<bool>) -> Result<()> {
        let socket = TcpListener::from_std(socket)?;
        let mut told: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = stopping(&mut stop) => return Ok(()),
            };
            match accepted {
                Ok((stream, from)) => {
                    // Without a place it is closed.
                    if let Some(place) = self.places.enter() {
                        tokio::spawn(self.clone().admitted(stream, from, place, stop.clone()));
                    }
                }
                Err(error) => {
                    if told.is_none_or(|told| told.elapsed() >= QUIET) {
                        told = Some(Instant::now());
                        tracing::warn!(%error, "connections can't be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves a connection until it ends or its place is needed.
    async fn admitted(self: Arc<Self>, stream: TcpStream, from: SocketAddr, place: Arc<Place>, stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.connection(stream, from, &place, stop) => {}
            () = place.lost() => tracing::debug!(%from, "closed for another connection"),
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, from: SocketAddr, place: &Arc<Place>, mut stop: watch::Receiver<bool>) {
        let _ = stream.set_nodelay(true); // only latency is lost
        let greeting = tokio::time::timeout(HEADER_TIMEOUT, self.greet(stream, from));
        let greeted = tokio::select! {
            greeted = greeting => greeted,
            () = stopping(&mut stop) => return,
        };
        match greeted {
            Ok(Greeted::Plain(stream)) => self.requests(stream, (from, cluster::Channel::Plain), place, stop).await,
            Ok(Greeted::Tls(stream)) => {
                // A certificate that is there has been checked.
                let is_known = stream.get_ref().1.peer_certificates().is_some();
                let channel = if is_known { cluster::Channel::Verified } else { cluster::Channel::Encrypted };
                self.requests(*stream, (from, channel), place, stop).await;
            }
            // Whoever connects and says nothing must not hold a place.
            Ok(Greeted::Gone) | Err(_) => {}
        }
    }

    /// Finds out by the first byte which protocol it is, and shakes hands if it is TLS.
    async fn greet(&self, stream: TcpStream, from: SocketAddr) -> Greeted {
        let mut byte = [0];
        if !matches!(stream.peek(&mut byte).await, Ok(1)) {
            return Greeted::Gone;
        }
        if byte[0] != TLS_HANDSHAKE {
            return Greeted::Plain(stream);
        }
        let Some(tls) = &self.tls else {
            self.refuse_tls(from, "it speaks TLS and this node has no --cluster.enable-tls");
            return Greeted::Gone;
        };
        match TlsAcceptor::from(tls.server()).accept(stream).into_fallible().await {
            Ok(stream) => Greeted::Tls(Box::new(stream)),
            Err((error, stream)) => {
                // Another failure is most often a person's tool that does not trust the fleet's authority. A peer says itself what it
                // does not like.
                let cause = error.get_ref().and_then(|error| error.downcast_ref());
                if let Some(rustls::Error::InvalidCertificate(problem)) = cause {
                    self.refuse_tls(from, &format!("its certificate is refused: {problem}"));
                }
                tracing::debug!(%from, %error, "TLS handshake failed");
                linger(stream).await;
                Greeted::Gone
            }
        }
    }

    fn refuse_tls(&self, from: SocketAddr, cause: &str) {
        if let Some(cluster) = &self.cluster {
            cluster.refuse_tls(from, cause);
        }
    }

    /// Answers requests until the connection ends.
    async fn requests<S>(
        self: Arc<Self>,
        stream: S,
        (from, channel): (SocketAddr, cluster::Channel),
        place: &Arc<Place>,
        mut stop: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let place = place.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let (this, place) = (self.clone(), place.clone());
            request.extensions_mut().insert(from);
            request.extensions_mut().insert(channel);
            async move { Ok::<_, std::convert::Infallible>(this.answer(request, &place).await) }
        });
        let builder = builder();
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            outcome = connection.as_mut() => Some(outcome),
            () = stopping(&mut stop) => None,
        };
        let outcome = match ended {
            Some(outcome) => outcome,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%from, %error, "connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, place: &Arc<Place>) -> Response<Body> {
        if let Some(cluster) = self.cluster.as_ref().filter(|_| cluster::takes(request.uri().path())) {
            let response = cluster.serve(request);
            let purpose = if response.status().is_success() { Purpose::Stream } else { Purpose::Answer };
            let answering = place.answering(purpose);
            return response.map(|body| Body::new(Held::new(Body::new(body), answering)));
        }
        let answering = place.answering(Purpose::Answer);
        match self.router.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => response.map(|body| Body::new(Held::new(body, answering))),
            Err(never) => match never {},
        }
    }
}

/// A connection after its first bytes.
enum Greeted {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// It has ended, or is not wanted.
    Gone,
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).keep_alive_interval(Duration::from_secs(5));
    builder
}

/// Lets a client read why its handshake failed.
async fn linger(mut stream: TcpStream) {
    let (time, bytes) = LINGER;
    let _ = stream.shutdown().await; // it may be gone
    let away = async { tokio::io::copy(&mut stream.take(bytes), &mut tokio::io::sink()).await };
    let _ = tokio::time::timeout(time, away).await; // whoever does not listen has missed it
}

/// Waits for the stop; a vanished program counts as one.
async fn stopping(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
