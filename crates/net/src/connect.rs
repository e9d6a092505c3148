//! Opens connections step by step, so that an error can say which step failed: look up, connect, ask the proxy, TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rand::seq::IndexedRandom;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::dial::dial;
use crate::error::{Step, StepError, chain};
use crate::proxy::{Kind, Proxy, Route, socks5, tunnel};
use crate::resolve::Resolver;
use crate::stream::{Io, Open, Stream};
use crate::tls::TlsSource;

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
pub(crate) struct Connector(pub(crate) Arc<Parts>);

/// What connections are made with.
pub(crate) struct Parts {
    pub(crate) tls: TlsSource,
    pub(crate) proxy: Option<Proxy>,
    /// For look-up, connecting and handshakes together.
    pub(crate) timeout: Duration,
    pub(crate) internal: Option<InternalAddress>,
    /// Whether each connection goes to one of the host's addresses by chance.
    pub(crate) round_robin_dns: bool,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) open: Open,
}

impl Connector {
    /// Opens a connection for requests to `uri`.
    ///
    /// # Errors
    /// The step that failed, or that there was no connection in time.
    pub(crate) async fn connect(&self, uri: &Uri) -> Result<Stream, StepError> {
        let (timeout, deadline) = (self.0.timeout, Instant::now() + self.0.timeout);
        tokio::time::timeout_at(deadline, self.0.open(uri, deadline))
            .await
            .unwrap_or_else(|_| Err(StepError::new(Step::Connect, format!("no connection within {timeout:?}"))))
    }
}

impl Parts {
    /// The proxy for a request to `uri`.
    pub(crate) fn route(&self, uri: &Uri) -> Result<Option<Arc<Route>>, StepError> {
        self.proxy.as_ref().map_or(Ok(None), |proxy| proxy.route(uri))
    }

    async fn open(&self, uri: &Uri, deadline: Instant) -> Result<Stream, StepError> {
        let is_tls = uri.scheme_str() == Some("https");
        let (host, port) = host_and_port(uri)?;
        let route = self.route(uri)?;
        let io: Box<dyn Io> = match &route {
            None => Box::new(self.dial(host, port, deadline).await?),
            Some(route) => self.through(route, is_tls, host, port, deadline).await?,
        };
        if !is_tls {
            let is_proxied = route.is_some_and(|route| route.kind != Kind::Socks5);
            return Ok(Stream::new(io, is_proxied, false, self.open.clone()));
        }
        let io = self.handshake(io, host, self.tls_config()?).await?;
        let is_http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Stream::new(Box::new(io), false, is_http2, self.open.clone()))
    }

    /// A connection to the proxy, and a tunnel to the host in it if one is needed.
    async fn through(&self, route: &Route, is_tls: bool, host: &str, port: u16, deadline: Instant) -> Result<Box<dyn Io>, StepError> {
        let failed = |cause| StepError::new(Step::Proxy, cause);
        let of_proxy = |error: StepError| StepError::new(error.step, format!("proxy {}:{}: {}", route.host, route.port, error.cause));
        let io = self.dial(&route.host, route.port, deadline).await.map_err(of_proxy)?;
        let mut io: Box<dyn Io> = match route.kind {
            Kind::Http | Kind::Socks5 => Box::new(io),
            Kind::Https => {
                // Requests are written to the proxy as HTTP/1.1.
                let mut config = ClientConfig::clone(&*self.tls_config()?);
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Box::new(self.handshake(io, &route.host, Arc::new(config)).await.map_err(of_proxy)?)
            }
        };
        match &self.proxy {
            _ if route.kind == Kind::Socks5 => socks5::connect(&mut io, route.login.as_ref(), host, port).await.map_err(failed)?,
            Some(proxy) if is_tls => tunnel::connect(&mut io, route, proxy.connect_headers(), host, port).await.map_err(failed)?,
            _ => {}
        }
        Ok(io)
    }

    fn tls_config(&self) -> Result<Arc<ClientConfig>, StepError> {
        self.tls.current().map(|material| material.config).map_err(|error| StepError::new(Step::Tls, error))
    }

    /// TLS with `host`, or with the name that is configured; a proxy's certificate must bear that one too, as in Go.
    async fn handshake<I: Io>(&self, io: I, host: &str, config: Arc<ClientConfig>) -> Result<TlsStream<I>, StepError> {
        let name = match self.tls.server_name() {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|error| StepError::new(Step::Tls, format!("{host:?}: {error}")))?,
        };
        TlsConnector::from(config).connect(name, io).await.map_err(|error| StepError::new(Step::Tls, chain(&error)))
    }

    async fn dial(&self, host: &str, port: u16, deadline: Instant) -> Result<TcpStream, StepError> {
        let is_own =
            |own: &&InternalAddress| own.name.strip_suffix(&port.to_string()).and_then(|name| name.strip_suffix(':')) == Some(host);
        if let Some(own) = self.internal.as_ref().filter(is_own) {
            return dial(&[own.dial], deadline).await;
        }
        let found = self.resolver.resolve(host).await.map_err(|error| StepError::new(Step::Dns, format!("{host}: {error}")))?;
        let mut addresses: Vec<SocketAddr> = found.iter().map(|address| SocketAddr::new(*address, port)).collect();
        if self.round_robin_dns {
            addresses = addresses.choose(&mut rand::rng()).copied().into_iter().collect();
        }
        dial(&addresses, deadline).await.inspect_err(|_| self.resolver.forget(host))
    }
}

fn host_and_port(uri: &Uri) -> Result<(&str, u16), StepError> {
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| StepError::new(Step::Request, "the URL has no host"))?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::net::TcpListener;

    use super::*;
    use crate::config::TlsConfig;

    /// A host with two addresses, of which `answering` are listened on. Gives how to connect to it, its port, and the listeners.
    async fn host(answering: [bool; 2], round_robin_dns: bool) -> (Parts, u16, [Option<TcpListener>; 2]) {
        let ips: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let first = TcpListener::bind((ips[0], 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let second = TcpListener::bind((ips[1], port)).await.unwrap();
        let parts = Parts {
            tls: TlsSource::new(&TlsConfig::default(), false).unwrap(),
            proxy: None,
            timeout: Duration::from_secs(30),
            internal: None,
            round_robin_dns,
            resolver: Arc::new(Resolver::new(move |_| Box::pin(async move { Ok(ips.to_vec()) }))),
            open: Open::new(0),
        };
        (parts, port, [Some(first).filter(|_| answering[0]), Some(second).filter(|_| answering[1])])
    }

    /// Connects many times. Gives which of the addresses took it.
    async fn taken(parts: &Parts, port: u16) -> [bool; 2] {
        let mut taken = [false; 2];
        for _ in 0..40 {
            let io = parts.dial("h.example", port, Instant::now() + parts.timeout).await.unwrap();
            taken[usize::from(io.peer_addr().unwrap().ip() != IpAddr::from([127, 0, 0, 1]))] = true;
        }
        taken
    }

    #[tokio::test]
    async fn the_first_address_that_answers_is_taken() {
        let (parts, port, _listeners) = host([true, true], false).await;
        assert_eq!(taken(&parts, port).await, [true, false]);
        let (parts, port, _listeners) = host([false, true], false).await;
        assert_eq!(taken(&parts, port).await, [false, true]);
    }

    #[tokio::test]
    async fn with_round_robin_every_address_has_its_turn() {
        let (parts, port, _listeners) = host([true, true], true).await;
        assert_eq!(taken(&parts, port).await, [true, true]);
    }

    #[tokio::test]
    async fn names_that_do_not_answer_are_looked_up_again() {
        let (parts, port, _listeners) = host([false, false], false).await;
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = asked.clone();
        let resolver = Resolver::new(move |_| {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) })
        });
        let parts = Parts { resolver: Arc::new(resolver), ..parts };
        for _ in 0..2 {
            assert_eq!(parts.dial("h.example", port, Instant::now() + parts.timeout).await.unwrap_err().step, Step::Connect);
        }
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 2);
    }
}
