//! Accepting connections and leading each through its life: handshake, requests, end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::config::HttpServerConfig;
use super::metrics::{Broken, ServerMetrics, method_label};
use super::timed::{Activity, Timed, Timeouts};
use super::tls::TlsSource;
use super::{Answer, Phase, Reply, RequestBody};
use crate::error::ConfigError;

/// Connections at a time if the configuration sets no limit: far more than a fleet's senders need, and no more than a process can have open.
const MAX_CONNECTIONS: usize = 16_384;
/// Clients that are told at a time that there are too many of them; further ones are only cut off.
const MAX_TURNED_AWAY: usize = 64;
/// What a client that is turned away may take to read why.
const TURNING_AWAY: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted, for want of file descriptors usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request's head; also hyper's buffer per connection.
const MAX_HEAD: usize = 64 << 10;
/// Go's default of requests at a time in one HTTP/2 connection, which Alloy keeps.
const MAX_STREAMS: u32 = 100;

/// The answer to those who are too many. The sender of a push comes again.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 1\r\n\
connection: close\r\ncontent-length: 34\r\n\r\ntoo many connections; come again.\n";

/// What can change while the server runs.
pub(super) struct Settings {
    timeouts: Timeouts,
    tls: Option<Arc<TlsSource>>,
    places: Arc<Semaphore>,
}

impl Settings {
    pub fn new(config: &HttpServerConfig) -> Result<Self, ConfigError> {
        let timeouts = Timeouts { read: config.server_read_timeout, write: config.server_write_timeout, idle: config.server_idle_timeout };
        let tls = config.tls.as_ref().map(TlsSource::new).transpose()?.map(Arc::new);
        let limit = if config.conn_limit == 0 { MAX_CONNECTIONS } else { config.conn_limit.min(Semaphore::MAX_PERMITS) };
        Ok(Self { timeouts, tls, places: Arc::new(Semaphore::new(limit)) })
    }
}

/// The task that accepts.
pub(super) struct Accepting {
    pub answer: Arc<dyn Answer>,
    pub metrics: ServerMetrics,
    pub settings: Arc<ArcSwap<Settings>>,
    pub phases: watch::Receiver<Phase>,
}

impl Accepting {
    /// Accepts until the server closes, then waits for the connections.
    pub async fn run(mut self, socket: TcpListener) {
        let mut connections = JoinSet::new();
        let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
        let within = loop {
            let accepted = tokio::select! {
                within = closing(&mut self.phases) => break within,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.admit(stream, from, &mut connections, &turned_away),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        drop(socket);
        // Those that are not done by then are broken off with the set.
        let _ = timeout(within, async { while connections.join_next().await.is_some() {} }).await;
    }

    fn admit(&self, stream: TcpStream, from: SocketAddr, connections: &mut JoinSet<()>, turned_away: &Arc<Semaphore>) {
        let settings = self.settings.load_full();
        let Ok(place) = settings.places.clone().try_acquire_owned() else {
            self.metrics.broken(Broken::Limit);
            if let (None, Ok(permit)) = (&settings.tls, turned_away.clone().try_acquire_owned()) {
                connections.spawn(turn_away(stream, permit));
            }
            return;
        };
        let answer = self.answer.clone();
        let connection = Connection { from, answer, metrics: self.metrics.clone(), settings, phases: self.phases.clone() };
        connections.spawn(async move {
            connection.serve(stream).await;
            drop(place);
        });
    }
}

/// Waits until the server closes; a vanished server counts as closing at once.
async fn closing(phases: &mut watch::Receiver<Phase>) -> Duration {
    match phases.wait_for(|phase| matches!(phase, Phase::Closing(_))).await.map(|phase| *phase) {
        Ok(Phase::Closing(within)) => within,
        _ => Duration::ZERO,
    }
}

/// Says that there are too many connections, and reads a little of what the client sends: closing on unread data would take the answer away.
async fn turn_away(mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let talk = async {
        stream.write_all(TOO_MANY).await?;
        stream.shutdown().await?;
        let mut left = MAX_HEAD;
        let mut buffer = [0; 4096];
        while left > 0 {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read);
        }
        Ok::<(), std::io::Error>(())
    };
    let _ = timeout(TURNING_AWAY, talk).await; // whoever does not listen has missed it
}

/// One connection.
struct Connection {
    from: SocketAddr,
    answer: Arc<dyn Answer>,
    metrics: ServerMetrics,
    settings: Arc<Settings>,
    phases: watch::Receiver<Phase>,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream) {
        let _counted = self.metrics.connected();
        let _ = stream.set_nodelay(true); // only latency is lost
        let Some(tls) = self.settings.tls.clone() else { return self.requests(stream).await };
        let (config, stale) = tls.current();
        if let Some(error) = stale {
            tracing::warn!(%error, "the last good TLS material stays in force");
        }
        let handshake = timeout(self.settings.timeouts.read, TlsAcceptor::from(config).accept(stream));
        let outcome = tokio::select! {
            outcome = handshake => outcome,
            _ = closing(&mut self.phases) => return,
        };
        match outcome {
            Ok(Ok(stream)) => self.requests(stream).await,
            Ok(Err(error)) => {
                self.metrics.broken(Broken::Tls);
                tracing::debug!(from = %self.from, %error, "TLS handshake failed");
            }
            Err(_) => self.metrics.broken(Broken::Timeout),
        }
    }

    async fn requests<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self { from, answer, metrics, settings, mut phases } = self;
        let opened_in = *phases.borrow_and_update();
        let activity = Arc::new(Activity::default());
        let io = TokioIo::new(Timed::new(stream, settings.timeouts, activity.clone()));
        let read_timeout = settings.timeouts.read;
        let counting = metrics.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let running = activity.begin();
            let (answer, metrics) = (answer.clone(), counting.clone());
            async move {
                let reply = respond(answer, &metrics, request, read_timeout).await;
                drop(running);
                Ok::<_, Infallible>(reply)
            }
        });
        let builder = builder();
        let connection = builder.serve_connection(io, service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            outcome = connection.as_mut() => Some(outcome),
            _ = phases.wait_for(|phase| *phase != opened_in) => None,
        };
        let outcome = match ended {
            Some(outcome) => outcome,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            if is_timeout(&*error) {
                metrics.broken(Broken::Timeout);
            }
            tracing::debug!(%from, %error, "connection ended");
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The connection has deadlines of its own.
    builder.http1().header_read_timeout(None).max_buf_size(MAX_HEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD as u32);
    builder
}

/// One request: answered and measured.
async fn respond(answer: Arc<dyn Answer>, metrics: &ServerMetrics, request: Request<Incoming>, read_timeout: Duration) -> Reply {
    let (method, route) = (method_label(request.method()), answer.route(request.uri().path()));
    let _running = metrics.running(method, route);
    let (began, read) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let reply = answer.answer(request.map(|body| RequestBody::new(body, began + read_timeout, read.clone()))).await;
    let sent = reply.body().size_hint().exact().unwrap_or(0);
    metrics.answered(method, route, reply.status(), began.elapsed(), (read.load(Relaxed), sent));
    reply
}

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
            return true;
        }
        cause = error.source();
    }
    false
}
