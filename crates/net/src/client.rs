//! The client: one per component or endpoint, shared by all of its requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, PROXY_AUTHORIZATION, USER_AGENT as USER_AGENT_HEADER};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::Full;

use crate::body::drain;
use crate::config::{CloudAuthConfig, HttpClientConfig};
use crate::connect::{self, Connector, InternalAddress};
use crate::connection::AnswerBody;
use crate::credentials::{Credentials, basic};
use crate::environment::Environment;
use crate::error::{ConfigError, Error, Step, StepError};
use crate::headers;
use crate::pool::{Failure, Pool};
use crate::proxy::{Kind, Proxy};
use crate::redirect::{self, MAX_REQUESTS, Redirect};
use crate::resolve::Resolver;
use crate::stream::Open;
use crate::tls::TlsSource;
use crate::url::decoded;

/// What we call ourselves to servers.
pub const USER_AGENT: &str = concat!("collector/", env!("CARGO_PKG_VERSION"));

/// So much of a redirect's body is read so that its connection can be used again (as in Go), and so long it may take.
const MAX_DRAINED: u64 = 2 << 10;
const MAX_DRAINING: Duration = Duration::from_millis(100);

/// What a component decides about its client; the rest is configuration.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The `User-Agent` header of requests that have none.
    pub user_agent: &'static str,
    /// Whether connections are kept for further requests.
    pub keep_alive: bool,
    /// How long a connection is kept open without a request: 5 minutes, so that it outlives the usual scrape intervals.
    pub idle_timeout: Duration,
    /// How many idle connections are kept per host: 1000, as in Prometheus.
    pub max_idle_per_host: usize,
    /// While more connections than this are open, idle or not, further ones are closed after one request: 20,000, as in Prometheus.
    pub max_kept: usize,
    /// How long look-up, connecting and handshakes may take together.
    pub connect_timeout: Duration,
    /// How long [`Client::send`] may take, redirects included, until the head of the answer is there. `None`: the caller sees to it.
    pub timeout: Option<Duration>,
    /// The largest read buffer of an HTTP/1.1 connection, in bytes; it also bounds the head of an answer. At least 8192.
    pub max_buffer: usize,
    /// Whether HTTP/2 is offered over TLS where `enable_http2` is not set.
    pub http2: bool,
    /// Whether each connection goes to one of the host's addresses by chance, and to no other (`round_robin_dns` of remote write).
    pub round_robin_dns: bool,
    /// The name of the collector's own listener, if requests may go there.
    pub internal: Option<InternalAddress>,
    /// The variables that name proxies and credentials.
    pub environment: Environment,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            user_agent: USER_AGENT,
            keep_alive: true,
            idle_timeout: Duration::from_secs(300),
            max_idle_per_host: 1000,
            max_kept: 20_000,
            connect_timeout: Duration::from_secs(30),
            timeout: None,
            max_buffer: 64 << 10,
            http2: true,
            round_robin_dns: false,
            internal: None,
            environment: Environment::of_process(),
        }
    }
}

/// An HTTP client. Cloning shares the connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    pool: Pool,
    connector: Connector,
    credentials: Credentials,
    headers: HeaderMap,
    user_agent: HeaderValue,
    follows_redirects: bool,
    keep_alive: bool,
    timeout: Option<Duration>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// A client with these arguments. Nothing is read or connected yet, so files may come later.
    ///
    /// # Errors
    /// An argument can't work or is not supported; the error names it.
    pub fn new(config: &HttpClientConfig, options: ClientOptions) -> Result<Self, ConfigError> {
        Self::with_cloud_auth(config, &CloudAuthConfig::default(), options)
    }

    /// A client that authenticates as a cloud wants it, if `cloud` says so.
    ///
    /// # Errors
    /// As for [`Client::new`].
    pub fn with_cloud_auth(config: &HttpClientConfig, cloud: &CloudAuthConfig, options: ClientOptions) -> Result<Self, ConfigError> {
        let connector = Connector(Arc::new(connect::Parts {
            tls: TlsSource::new(&config.tls_config, config.enable_http2.unwrap_or(options.http2))?,
            proxy: Proxy::new(&config.proxy, &options.environment)?,
            timeout: options.connect_timeout,
            internal: options.internal.clone(),
            round_robin_dns: options.round_robin_dns,
            resolver: Resolver::shared(),
            open: Open::new(options.max_kept),
        }));
        Ok(Self(Arc::new(Inner {
            connector: connector.clone(),
            credentials: Credentials::new(config, cloud, &options)?,
            headers: headers::parse(&config.http_headers).map_err(|error| ConfigError::new("http_headers", error))?,
            user_agent: HeaderValue::from_static(options.user_agent),
            follows_redirects: config.follow_redirects,
            keep_alive: options.keep_alive,
            timeout: options.timeout,
            pool: Pool::new(connector, options),
        })))
    }

    /// Sends a request to an absolute URL and gives the head of the answer; its body is still to be read. Headers and credentials of the
    /// configuration are added; an `Authorization` header or userinfo in the URL goes before them. Redirects are followed until ten
    /// requests have been made; credentials, configured headers, and headers whose values are marked as sensitive are sent to the request's
    /// host and what is below it only.
    ///
    /// # Errors
    /// No answer came; the error names the step. Any status is an answer.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<AnswerBody>, Error> {
        let uri = request.uri().clone();
        match self.0.timeout {
            None => self.0.follow(request).await,
            Some(timeout) => tokio::time::timeout(timeout, self.0.follow(request))
                .await
                .unwrap_or_else(|_| Err(StepError::new(Step::Timeout, format!("no answer within {timeout:?}")).at(&uri))),
        }
    }
}

impl Inner {
    async fn follow(&self, request: Request<Full<Bytes>>) -> Result<Response<AnswerBody>, Error> {
        let (mut parts, mut body) = request.into_parts();
        let mut is_trusted = true;
        let mut visited: Vec<Uri> = Vec::new();
        loop {
            let response = self.repeat(&parts, &body, is_trusted).await.map_err(|error| error.at(&parts.uri))?;
            let next = match redirect::of(&response, &parts.uri, &parts.method) {
                Ok(Some(next)) if self.follows_redirects => next,
                Err(error) if self.follows_redirects => return Err(error.at(&parts.uri)),
                _ => return Ok(response),
            };
            visited.push(parts.uri.clone());
            if visited.len() >= MAX_REQUESTS {
                return Err(too_many(&visited, &next).at(&parts.uri));
            }
            // A body that is not at its end then costs the connection.
            let _ = tokio::time::timeout(MAX_DRAINING, drain(response.into_body(), MAX_DRAINED)).await;
            if !redirect::may_know_secrets(&visited[0], &next.uri) {
                is_trusted = false; // and stays so, even if a later redirect leads back
                redirect::remove_secrets(&mut parts.headers);
            }
            if !next.keeps_body {
                body = Full::default();
                redirect::remove_body_headers(&mut parts.headers);
            }
            parts.headers.remove(HOST);
            (parts.uri, parts.method) = (next.uri, next.method);
        }
    }

    /// One request and its answer, whatever connections are closed under it.
    async fn repeat(&self, parts: &Parts, body: &Full<Bytes>, is_trusted: bool) -> Result<Response<AnswerBody>, StepError> {
        loop {
            match self.exchange(parts.clone(), body.clone(), is_trusted).await {
                Ok(response) => return Ok(response),
                // Each time an idle connection is used up, and a new one is not stale.
                Err(failure) if failure.is_stale => {}
                Err(failure) => return Err(failure.error),
            }
        }
    }

    async fn exchange(&self, mut parts: Parts, body: Full<Bytes>, is_trusted: bool) -> Result<Response<AnswerBody>, Failure> {
        let of_url = take_userinfo(&mut parts)?;
        if !parts.headers.contains_key(USER_AGENT_HEADER) {
            parts.headers.insert(USER_AGENT_HEADER, self.user_agent.clone());
        }
        if !self.keep_alive {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(header) = of_url.filter(|_| !parts.headers.contains_key(AUTHORIZATION)) {
            parts.headers.insert(AUTHORIZATION, header);
        }
        if is_trusted {
            for (name, value) in &self.headers {
                parts.headers.append(name, value.clone());
            }
            self.credentials.authorize(&mut parts, &body).await?;
        }
        let mut uses_tls = parts.uri.scheme_str() == Some("https");
        if !uses_tls && let Some(route) = self.connector.0.route(&parts.uri)? {
            uses_tls = route.kind == Kind::Https;
            parts.headers.extend(route.authorization.clone().map(|value| (PROXY_AUTHORIZATION, value)));
        }
        self.pool.send(Request::from_parts(parts, body), uses_tls).await
    }
}

fn too_many(visited: &[Uri], next: &Redirect) -> StepError {
    let circle = if visited.contains(&next.uri) { ", which lead in a circle" } else { "" };
    StepError::new(Step::Redirect, format!("stopped after {MAX_REQUESTS} redirects{circle}"))
}

/// Takes `user:password@` out of the URL, so that it is in no request line, and makes a header of it.
fn take_userinfo(parts: &mut Parts) -> Result<Option<HeaderValue>, StepError> {
    let Some((userinfo, host)) = parts.uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')) else { return Ok(None) };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let header = basic(&decoded(user), &decoded(password));
    let broken = || StepError::new(Step::Request, "the URL's userinfo cannot be read");
    let mut uri = parts.uri.clone().into_parts();
    uri.authority = Some(host.parse::<Authority>().map_err(|_| broken())?);
    parts.uri = Uri::from_parts(uri).map_err(|_| broken())?;
    Ok(Some(header))
}
