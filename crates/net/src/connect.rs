//! Opens connections step by step, so that an error can say which step failed: look up, connect, ask the proxy, TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{Step, StepError, chain};
use crate::proxy::{Proxy, Route};
use crate::stream::Stream;
use crate::tls::TlsSource;

/// The head of a proxy's answer to CONNECT; what is longer is no such answer.
const MAX_PROXY_HEAD: usize = 8 << 10;

/// The name under which components reach the collector's own listener (`--server.http.memory-addr`), whatever address that has. A service
/// that the product offers to components, which put it into their [`crate::ClientOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalAddress {
    /// `host:port` as targets and URLs name it.
    pub name: String,
    /// Where connections to it go.
    pub dial: SocketAddr,
}

/// Opens connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Parts>);

struct Parts {
    tls: TlsSource,
    proxy: Option<Proxy>,
    timeout: Duration,
    internal: Option<InternalAddress>,
}

impl Connector {
    pub(crate) fn new(tls: TlsSource, proxy: Option<Proxy>, timeout: Duration, internal: Option<InternalAddress>) -> Self {
        Self(Arc::new(Parts { tls, proxy, timeout, internal }))
    }

    /// The proxy for a request to `uri`.
    pub(crate) fn route(&self, uri: &Uri) -> Result<Option<Route>, StepError> {
        self.0.proxy.as_ref().map_or(Ok(None), |proxy| proxy.route(uri))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = StepError;
    type Future = BoxFuture<'static, Result<Stream, StepError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StepError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let parts = self.0.clone();
        Box::pin(async move {
            let timeout = parts.timeout;
            tokio::time::timeout(timeout, parts.open(&uri))
                .await
                .unwrap_or_else(|_| Err(StepError::new(Step::Connect, format!("no connection within {timeout:?}"))))
        })
    }
}

impl Parts {
    async fn open(&self, uri: &Uri) -> Result<Stream, StepError> {
        let is_tls = uri.scheme_str() == Some("https");
        let (host, port) = host_and_port(uri)?;
        let route = self.proxy.as_ref().map_or(Ok(None), |proxy| proxy.route(uri))?;
        let io = match &route {
            None => self.dial(host, port).await?,
            Some(route) => {
                let (proxy_host, proxy_port) = host_and_port(&route.uri)?;
                let io = self.dial(proxy_host, proxy_port).await?;
                if is_tls { self.tunnel(io, route, host, port).await? } else { io }
            }
        };
        if !is_tls {
            return Ok(Stream::Plain { io: TokioIo::new(io), proxied: route.is_some() });
        }
        let config = self.tls.current().map_err(|error| StepError::new(Step::Tls, error))?;
        let name = match self.tls.server_name() {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|error| StepError::new(Step::Tls, format!("{host:?}: {error}")))?,
        };
        let io = TlsConnector::from(config).connect(name, io).await.map_err(|error| StepError::new(Step::Tls, chain(&error)))?;
        Ok(Stream::Tls(Box::new(TokioIo::new(io))))
    }

    /// Tries the host's addresses one after the other, each with its share of the time.
    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, StepError> {
        let addresses = self.look_up(host, port).await?;
        let share = self.timeout / addresses.len().max(1) as u32;
        let mut last = StepError::new(Step::Dns, format!("{host} has no address"));
        for address in addresses {
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(io)) => {
                    // Requests are written whole: waiting for more only delays them.
                    io.set_nodelay(true).map_err(|error| StepError::new(Step::Connect, error))?;
                    return Ok(io);
                }
                Ok(Err(error)) => last = StepError::new(Step::Connect, format!("{address}: {error}")),
                Err(_) => last = StepError::new(Step::Connect, format!("{address}: no answer within {share:?}")),
            }
        }
        Err(last)
    }

    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, StepError> {
        let is_own =
            |own: &&InternalAddress| own.name.strip_suffix(&port.to_string()).and_then(|name| name.strip_suffix(':')) == Some(host);
        if let Some(own) = self.internal.as_ref().filter(is_own) {
            return Ok(vec![own.dial]);
        }
        let found = tokio::net::lookup_host((host, port)).await;
        Ok(found.map_err(|error| StepError::new(Step::Dns, format!("{host}: {error}")))?.collect())
    }

    /// CONNECT (RFC 9110 §9.3.6).
    async fn tunnel(&self, mut io: TcpStream, route: &Route, host: &str, port: u16) -> Result<TcpStream, StepError> {
        let failed = |cause: String| StepError::new(Step::Proxy, cause);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
        let own = route.authorization.as_ref().map(|value| ("proxy-authorization", value));
        let given = self.proxy.iter().flat_map(|proxy| proxy.connect_headers()).map(|(name, value)| (name.as_str(), value));
        for (name, value) in own.into_iter().chain(given) {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        io.write_all(&request).await.map_err(|error| failed(error.to_string()))?;
        let head = proxy_head(&mut io).await.map_err(failed)?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('2') && status.len() == 3 {
            return Ok(io);
        }
        Err(failed(format!("no tunnel: {}", head.lines().next().unwrap_or_default().chars().take(100).collect::<String>())))
    }
}

/// Reads the head of the answer byte by byte, lest bytes of the tunnel be taken; it comes once per connection.
async fn proxy_head(io: &mut TcpStream) -> Result<String, String> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_PROXY_HEAD {
            return Err(format!("the proxy's answer is longer than {MAX_PROXY_HEAD} bytes"));
        }
        head.push(io.read_u8().await.map_err(|error| format!("reading the proxy's answer: {error}"))?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn host_and_port(uri: &Uri) -> Result<(&str, u16), StepError> {
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| StepError::new(Step::Request, "the URL has no host"))?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
}
