//! Open connections, kept for further requests, with bounds on how many and how long, and new ones when the TLS files change.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use http_body::Body as _;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::client::ClientOptions;
use crate::connect::Connector;
use crate::connection::{AnswerBody, Http1, Unanswered};
use crate::error::{Step, StepError, chain};
use crate::stream::Stream;

/// An HTTP/2 connection on which nothing comes for so long is asked whether it is alive, idle or not (Prometheus' `ReadIdleTimeout`).
const PING_AFTER: Duration = Duration::from_secs(60);
/// And is closed if that is not answered so soon (Go's `PingTimeout`).
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// How often idle connections are looked through: for those that were idle for too long, and those that their server has closed.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The connections of a client.
pub(crate) struct Pool {
    connector: Connector,
    options: ClientOptions,
    kept: Arc<Kept>,
}

/// Whom connections are to: whether over TLS, and host and port.
type Peer = (bool, Authority);

/// Connections that are free.
struct Kept {
    max_idle_per_host: usize,
    idle_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The generation of the TLS files that the connections were opened with.
    generation: u64,
    /// Of each peer, the one that was used last at the end.
    http1: HashMap<Peer, Vec<Idle>>,
    http2: HashMap<Peer, Shared>,
    /// A task looks through them.
    is_swept: bool,
}

struct Idle {
    stream: Stream,
    since: Instant,
}

/// An HTTP/2 connection, which serves all requests to its peer.
struct Shared {
    sender: http2::SendRequest<Full<Bytes>>,
    used: Instant,
}

/// Where a connection belongs.
pub(crate) struct Place {
    peer: Peer,
    generation: u64,
    kept: Weak<Kept>,
    /// It is not kept: there are too many.
    is_surplus: bool,
}

/// A request failed.
pub(crate) struct Failure {
    pub(crate) error: StepError,
    /// Whether it may be sent again: a connection that had been idle was closed under it, and it only reads or was not sent.
    pub(crate) is_stale: bool,
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self { error, is_stale: false }
    }
}

enum Taken {
    Http1(Stream),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Pool {
    pub(crate) fn new(connector: Connector, options: ClientOptions) -> Self {
        let (max_idle_per_host, idle_timeout) = (options.max_idle_per_host, options.idle_timeout);
        let kept = Kept { max_idle_per_host, idle_timeout, state: Mutex::default() };
        Self { connector, options, kept: Arc::new(kept) }
    }

    /// Sends a request on a free connection or on a new one. `uses_tls`: to the server, or to a proxy.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>, uses_tls: bool) -> Result<Response<AnswerBody>, Failure> {
        let uri = request.uri();
        let Some(authority) = uri.authority() else { return Err(StepError::new(Step::Request, "the URL has no host").into()) };
        let peer = (uri.scheme_str() == Some("https"), authority.clone());
        let generation = self.generation(uses_tls)?;
        let (taken, is_reused) = match self.kept.take(&peer) {
            Some(taken) => (taken, true),
            None => (self.open(uri, &peer, generation).await?, false),
        };
        let only_reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
            && request.body().size_hint().exact() == Some(0);
        let failed = |Unanswered { error, is_unsent }| {
            let is_stale = is_reused && (is_unsent || only_reads && is_closed(&error));
            Failure { is_stale, error: StepError::new(Step::Exchange, chain(&error)) }
        };
        match taken {
            Taken::Http1(stream) => {
                address(&mut request, stream.is_proxied());
                let mut connection = Http1::new(stream, self.options.max_buffer.max(8 << 10)).await.map_err(connect_error)?;
                let response = connection.exchange(request).await.map_err(failed)?;
                let is_surplus = !self.options.keep_alive || self.connector.0.open.is_too_many();
                let place = Place { peer, generation, kept: Arc::downgrade(&self.kept), is_surplus };
                Ok(response.map(|body| AnswerBody::new(body, connection, place)))
            }
            Taken::Http2(mut sender) => {
                *request.version_mut() = Version::HTTP_2;
                let response = sender.try_send_request(request).await;
                let unanswered = |mut error: hyper::client::conn::TrySendError<_>| Unanswered {
                    is_unsent: error.take_message().is_some(),
                    error: error.into_error(),
                };
                Ok(response.map_err(unanswered).map_err(failed)?.map(AnswerBody::from))
            }
        }
    }

    /// The generation of the TLS files as they are now, if they matter. Connections that were opened with others are closed, when their
    /// requests are done.
    fn generation(&self, uses_tls: bool) -> Result<u64, StepError> {
        if uses_tls {
            let material = self.connector.0.tls.current().map_err(|error| StepError::new(Step::Tls, error))?;
            return Ok(self.kept.renew(material.generation));
        }
        Ok(self.kept.state.lock().generation)
    }

    /// A new connection.
    async fn open(&self, uri: &Uri, peer: &Peer, generation: u64) -> Result<Taken, StepError> {
        let stream = self.connector.connect(uri).await?;
        if !stream.is_http2() {
            return Ok(Taken::Http1(stream));
        }
        let sender = http2(stream).await.map_err(connect_error)?;
        let is_kept = self.options.keep_alive && !self.connector.0.open.is_too_many();
        Ok(Taken::Http2(if is_kept { self.kept.share(peer, sender, generation) } else { sender }))
    }
}

fn connect_error(error: hyper::Error) -> StepError {
    StepError::new(Step::Connect, chain(&error))
}

async fn http2(stream: Stream) -> hyper::Result<http2::SendRequest<Full<Bytes>>> {
    let (sender, driver) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(stream)
        .await?;
    // It ends when nobody has a sender or an answer any more; errors reach those who wait for answers.
    tokio::spawn(driver);
    Ok(sender)
}

impl Kept {
    /// A connection to `peer` that is free.
    fn take(&self, peer: &Peer) -> Option<Taken> {
        loop {
            let mut idle = {
                let mut state = self.state.lock();
                if let Some(shared) = state.http2.get_mut(peer).filter(|shared| !shared.sender.is_closed()) {
                    shared.used = Instant::now();
                    return Some(Taken::Http2(shared.sender.clone()));
                }
                state.http1.get_mut(peer)?.pop()?
            };
            if idle.since.elapsed() < self.idle_timeout && idle.stream.is_quiet() {
                return Some(Taken::Http1(idle.stream));
            }
        }
    }

    /// Lets go what was opened with TLS files of an earlier generation. Gives the current one.
    fn renew(&self, generation: u64) -> u64 {
        let mut state = self.state.lock();
        if state.generation < generation {
            (state.generation, state.http1, state.http2) = (generation, HashMap::new(), HashMap::new());
        }
        state.generation
    }

    /// Offers an HTTP/2 connection to all requests, unless there is one already. Gives the one to use.
    fn share(self: &Arc<Self>, peer: &Peer, sender: http2::SendRequest<Full<Bytes>>, generation: u64) -> http2::SendRequest<Full<Bytes>> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return sender;
        }
        if let Some(shared) = state.http2.get(peer).filter(|shared| !shared.sender.is_closed()) {
            return shared.sender.clone();
        }
        state.http2.insert(peer.clone(), Shared { sender: sender.clone(), used: Instant::now() });
        self.see_to_sweeping(&mut state);
        sender
    }

    fn give_back(self: &Arc<Self>, peer: Peer, generation: u64, stream: Stream) {
        let mut state = self.state.lock();
        if state.generation != generation || self.max_idle_per_host == 0 {
            return;
        }
        let idle = state.http1.entry(peer).or_default();
        if idle.len() < self.max_idle_per_host {
            idle.push(Idle { stream, since: Instant::now() });
            self.see_to_sweeping(&mut state);
        }
    }

    /// Starts the task that looks through the connections, unless it runs.
    fn see_to_sweeping(self: &Arc<Self>, state: &mut State) {
        // A body may be read to its end outside of a runtime; the next one will see to it.
        if state.is_swept || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        state.is_swept = true;
        let (kept, every) = (Arc::downgrade(self), SWEEP_EVERY.min(self.idle_timeout));
        // Unconstrained: where a task has used up its turn, no socket seems to be ready.
        tokio::spawn(tokio::task::unconstrained(async move {
            loop {
                tokio::time::sleep(every).await;
                if !kept.upgrade().is_some_and(|kept| kept.sweep()) {
                    return;
                }
            }
        }));
    }

    /// Closes what was idle for too long, and lets go what its server has closed. Whether anything is left to look after.
    fn sweep(&self) -> bool {
        let mut state = self.state.lock();
        let lasts = |since: Instant| since.elapsed() < self.idle_timeout;
        for idle in state.http1.values_mut() {
            idle.retain_mut(|idle| lasts(idle.since) && idle.stream.is_quiet());
        }
        state.http1.retain(|_, idle| !idle.is_empty());
        state.http2.retain(|_, shared| lasts(shared.used) && !shared.sender.is_closed());
        state.is_swept = !(state.http1.is_empty() && state.http2.is_empty());
        state.is_swept
    }
}

impl Place {
    /// Keeps a connection that is free, if there is room for it.
    pub(crate) fn give_back(self, stream: Stream) {
        if let Some(kept) = self.kept.upgrade().filter(|_| !self.is_surplus) {
            kept.give_back(self.peer, self.generation, stream);
        }
    }
}

/// Makes a request one of HTTP/1.1: `Host`, and the path alone unless a proxy needs the whole URL (RFC 9112, 3.2).
fn address(request: &mut Request<Full<Bytes>>, is_proxied: bool) {
    let uri = request.uri().clone();
    if !request.headers().contains_key(HOST)
        && let Some(host) = host(&uri)
    {
        request.headers_mut().insert(HOST, host);
    }
    if !is_proxied {
        let path = uri.path_and_query().filter(|path| !path.path().is_empty()).cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
}

/// Host and port of a URL, without a port that goes without saying.
fn host(uri: &Uri) -> Option<HeaderValue> {
    let (host, usual) = (uri.host()?, if uri.scheme_str() == Some("https") { 443 } else { 80 });
    match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")).ok(),
        None => HeaderValue::from_str(host).ok(),
    }
}

/// Whether the connection was closed before it answered: servers close idle connections, and that may cross a request on its way.
fn is_closed(error: &hyper::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        let is_cut_off = cause.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_incomplete_message() || error.is_closed());
        let is_broken = cause.downcast_ref::<io::Error>().is_some_and(|error| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        });
        if is_cut_off || is_broken {
            return true;
        }
        next = cause.source();
    }
    false
}
