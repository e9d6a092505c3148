//! Open connections, kept for further requests: hyper's pool, with a bound on all of them, and a new one when the TLS files change.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;

use crate::client::ClientOptions;
use crate::connect::Connector;
use crate::error::{Step, StepError, step_error};
use crate::stream::HasAnswered;

/// An HTTP/2 connection on which nothing comes for so long is asked whether it is alive, idle or not (Prometheus' `ReadIdleTimeout`).
const PING_AFTER: Duration = Duration::from_secs(60);
/// And is closed if that is not answered so soon (Go's `PingTimeout`).
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// The connections of a client.
pub(crate) struct Pool {
    connector: Connector,
    options: ClientOptions,
    /// The generation of the TLS files that connections were opened with, and those connections.
    current: Mutex<(u64, Client<Connector, Full<Bytes>>)>,
}

/// A request failed.
pub(crate) struct Failure {
    pub(crate) error: StepError,
    /// Whether it may be sent again: it only reads, and a connection that had been idle was closed under it.
    pub(crate) is_stale: bool,
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self { error, is_stale: false }
    }
}

impl Pool {
    pub(crate) fn new(connector: Connector, options: ClientOptions) -> Self {
        let first = build(&connector, &options);
        Self { connector, options, current: Mutex::new((0, first)) }
    }

    /// Sends a request on a free connection or on a new one. `uses_tls`: to the server, or to a proxy.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>, uses_tls: bool) -> Result<Response<Incoming>, Failure> {
        let client = self.current(uses_tls)?;
        let only_reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
            && request.body().size_hint().exact() == Some(0);
        match client.request(request).await {
            Ok(response) => {
                if let Some(mark) = response.extensions().get::<HasAnswered>() {
                    mark.set();
                }
                Ok(response)
            }
            Err(error) => Err(Failure { is_stale: only_reads && was_closed(&error), error: step_error(&error) }),
        }
    }

    /// The connections that were opened with the TLS files as they are now. Others are closed, when their requests are done.
    fn current(&self, uses_tls: bool) -> Result<Client<Connector, Full<Bytes>>, StepError> {
        if !uses_tls {
            return Ok(self.current.lock().1.clone());
        }
        let material = self.connector.0.tls.current().map_err(|error| StepError::new(Step::Tls, error))?;
        let mut current = self.current.lock();
        if current.0 < material.generation {
            *current = (material.generation, build(&self.connector, &self.options));
        }
        Ok(current.1.clone())
    }
}

fn build(connector: &Connector, options: &ClientOptions) -> Client<Connector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(options.idle_timeout)
        .pool_max_idle_per_host(if options.keep_alive { options.max_idle_per_host } else { 0 })
        .http1_max_buf_size(options.max_buffer.max(8 << 10))
        .http2_keep_alive_interval(PING_AFTER)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .build(connector.clone())
}

/// Whether the connection had answered before and was closed before it answered this time: servers close idle connections, and that may
/// cross a request on its way.
fn was_closed(error: &Error) -> bool {
    let mut extensions = http::Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extensions);
    }
    if !extensions.get::<HasAnswered>().is_some_and(HasAnswered::get) {
        return false;
    }
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = next {
        let is_closed = cause.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_incomplete_message() || error.is_closed());
        let is_broken = cause.downcast_ref::<io::Error>().is_some_and(|error| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        });
        if is_closed || is_broken {
            return true;
        }
        next = cause.source();
    }
    false
}
