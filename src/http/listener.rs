//! Accepting connections: HTTP/1.1 and HTTP/2 (with prior knowledge) on one port, bounded in number, none of them able to delay another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

/// Connections at a time; a fleet of 150 needs 300, the rest is for people and their tools.
const MAX_CONNECTIONS: usize = 4096;
/// A client must have sent its request's head by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams in one HTTP/2 connection: a peer needs two.
const MAX_STREAMS: u32 = 64;
/// How long to wait after the system refused a connection, for want of file descriptors usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    Ok(listener)
}

/// Serves connections until told to stop.
pub struct Listener {
    router: Router,
    cluster: Option<cluster::Cluster>,
    connections: Arc<Semaphore>,
}

impl Listener {
    /// A listener for these routes and, if clustering is on, the cluster's streams.
    pub fn new(router: Router, cluster: Option<cluster::Cluster>) -> Arc<Self> {
        Arc::new(Self { router, cluster, connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)) })
    }

    /// Accepts until `stop` turns true. Must run on the control runtime.
    ///
    /// # Errors
    /// The socket can't be used.
    pub async fn serve(self: Arc<Self>, socket: std::net::TcpListener, mut stop: watch::Receiver<bool>) -> Result<()> {
        let socket = TcpListener::from_std(socket)?;
        loop {
            let Ok(permit) = self.connections.clone().acquire_owned().await else { return Ok(()) };
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = stopping(&mut stop) => return Ok(()),
            };
            match accepted {
                Ok((stream, from)) => {
                    let this = self.clone();
                    let stop = stop.clone();
                    tokio::spawn(async move {
                        this.connection(stream, from, stop).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, from: SocketAddr, mut stop: watch::Receiver<bool>) {
        let _ = stream.set_nodelay(true); // only latency is lost
        // Whoever connects and says nothing must not hold a place: which protocol it is shows with the first byte.
        let mut byte = [0];
        let first = tokio::time::timeout(HEADER_TIMEOUT, stream.peek(&mut byte));
        let spoke = tokio::select! {
            first = first => matches!(first, Ok(Ok(1))),
            () = stopping(&mut stop) => false,
        };
        if !spoke {
            return;
        }
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).keep_alive_interval(Duration::from_secs(5));
        let service = hyper::service::service_fn(move |request| {
            let this = self.clone();
            async move { Ok::<_, std::convert::Infallible>(this.answer(request).await) }
        });
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

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if let Some(cluster) = self.cluster.as_ref().filter(|_| request.uri().path() == cluster::STREAM_PATH) {
            return cluster.serve(request).map(Body::new);
        }
        match self.router.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Waits for the stop; a vanished program counts as one.
async fn stopping(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
