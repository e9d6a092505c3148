//! The HTTP server of components that are pushed to: its arguments as Alloy has them, TLS, bounds on connections and time, metrics under
//! Alloy's names. What is answered is left to the component ([`Answer`]).
//!
//! Connections live on the runtime in which the server was started. None of them can delay another: how many there may be is bounded, and
//! each has its deadlines.

mod accept;
mod body;
mod config;
mod metrics;
mod timed;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use accept::{Accepting, Settings};
pub use body::{Memory, ReadError, RequestBody};
pub use config::{ClientAuth, HttpServerConfig, ServerConfig, ServerTlsConfig};
pub use metrics::ServerMetrics;

use crate::error::ConfigError;

/// A whole answer.
pub type Reply = Response<Full<Bytes>>;

/// Answers the requests of a server.
pub trait Answer: Send + Sync + 'static {
    /// The name of the route that a path belongs to, for metrics: `api_v1_metrics_write`, or `other`.
    fn route(&self, path: &str) -> &'static str;

    /// The answer to a request. Dropped if the client goes away.
    fn answer(self: Arc<Self>, request: Request<RequestBody>) -> BoxFuture<'static, Reply>;
}

/// Why a server could not be started or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An argument can't work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}; set http > listen_address and listen_port to an address of this machine that is free")]
    Listen {
        /// As it was configured.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A running server. Dropping it without [`Server::shutdown`] breaks off its connections.
pub struct Server {
    config: HttpServerConfig,
    address: SocketAddr,
    settings: Arc<ArcSwap<Settings>>,
    metrics: ServerMetrics,
    phase: watch::Sender<Phase>,
    accepting: JoinHandle<()>,
}

/// What connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Go on; the number rises with every change of the settings, and connections that were opened before it end when they are idle.
    Open(u64),
    /// Finish what was begun within this time.
    Closing(Duration),
}

impl Server {
    /// Listens from now on. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ServeError`] if the address is taken or not ours, or the TLS material is of no use.
    pub fn start(config: &HttpServerConfig, metrics: ServerMetrics, answer: Arc<dyn Answer>) -> Result<Self, ServeError> {
        let settings = Settings::new(config)?;
        let listen = |source| ServeError::Listen { address: config.address(), source };
        let socket = bind(config).map_err(listen)?;
        socket.set_nonblocking(true).map_err(listen)?;
        let socket = TcpListener::from_std(socket).map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let (phase, phases) = watch::channel(Phase::Open(0));
        metrics.limit(config.conn_limit);
        let accepting = Accepting { answer, metrics: metrics.clone(), settings: settings.clone(), phases };
        let accepting = tokio::spawn(accepting.run(socket));
        Ok(Self { config: config.clone(), address, settings, metrics, phase, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether `config` can be had by [`Server::change`]: it listens on the same address.
    #[must_use]
    pub fn listens_as(&self, config: &HttpServerConfig) -> bool {
        self.config.address() == config.address()
    }

    /// Goes on with other arguments on the same address. Connections that are open end when their running requests are answered, so that
    /// nobody stays in whom the new arguments would not let in.
    ///
    /// # Errors
    /// [`ServeError`] if the TLS material is of no use; the old arguments stay then.
    pub fn change(&mut self, config: &HttpServerConfig) -> Result<(), ServeError> {
        if self.config == *config {
            return Ok(());
        }
        self.settings.store(Arc::new(Settings::new(config)?));
        self.metrics.limit(config.conn_limit);
        self.config = config.clone();
        self.phase.send_modify(|phase| {
            if let Phase::Open(number) = phase {
                *number += 1;
            }
        });
        Ok(())
    }

    /// Accepts nothing more, finishes running requests, and breaks off what still runs at the deadline.
    pub async fn shutdown(mut self, within: Duration) {
        self.phase.send_replace(Phase::Closing(within));
        let _ = (&mut self.accepting).await; // a panic there was reported already
    }
}

/// All addresses are those of both families, or of the old one where the system has no other.
fn bind(config: &HttpServerConfig) -> std::io::Result<std::net::TcpListener> {
    let bound = std::net::TcpListener::bind(config.address());
    if bound.is_err() && config.listen_address.is_empty() {
        return std::net::TcpListener::bind(("0.0.0.0", config.listen_port)).or(bound);
    }
    bound
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
