//! The client: one per component or endpoint, shared by all of its requests, with a pool of open connections per host.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION, USER_AGENT as USER_AGENT_HEADER};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::config::HttpClientConfig;
use crate::connect::{Connector, InternalAddress};
use crate::credentials::{Credentials, basic};
use crate::error::{ConfigError, Error, Step, StepError, step_error};
use crate::headers;
use crate::proxy::Proxy;
use crate::redirect::{self, MAX_REDIRECTS};
use crate::tls::TlsSource;

/// What we call ourselves to servers.
pub const USER_AGENT: &str = concat!("collector/", env!("CARGO_PKG_VERSION"));

/// What a component decides about its client; the rest is configuration.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The `User-Agent` header of requests that have none.
    pub user_agent: &'static str,
    /// How long a connection is kept open without a request: 5 minutes, so that it outlives the usual scrape intervals.
    pub idle_timeout: Duration,
    /// How many idle connections are kept per host.
    pub max_idle_per_host: usize,
    /// How long look-up, connecting and handshakes may take together.
    pub connect_timeout: Duration,
    /// How long [`Client::send`] may take, redirects included, until the head of the answer is there. `None`: the caller sees to it.
    pub timeout: Option<Duration>,
    /// The largest read buffer of an HTTP/1.1 connection, in bytes; it also bounds the head of an answer. At least 8192.
    pub max_buffer: usize,
    /// Whether HTTP/2 is offered over TLS where `enable_http2` is not set.
    pub http2: bool,
    /// The name of the collector's own listener, if requests may go there.
    pub internal: Option<InternalAddress>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            user_agent: USER_AGENT,
            idle_timeout: Duration::from_secs(300),
            max_idle_per_host: 8,
            connect_timeout: Duration::from_secs(30),
            timeout: None,
            max_buffer: 64 << 10,
            http2: true,
            internal: None,
        }
    }
}

/// An HTTP client. Cloning shares the connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    pool: Pool<Connector, Full<Bytes>>,
    connector: Connector,
    credentials: Credentials,
    headers: HeaderMap,
    user_agent: HeaderValue,
    follows_redirects: bool,
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
        let tls = TlsSource::new(&config.tls_config, config.enable_http2.unwrap_or(options.http2))?;
        let connector = Connector::new(tls, Proxy::new(&config.proxy)?, options.connect_timeout, options.internal.clone());
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(options.idle_timeout)
            .pool_max_idle_per_host(options.max_idle_per_host)
            .http1_max_buf_size(options.max_buffer.max(8 << 10))
            .build(connector.clone());
        Ok(Self(Arc::new(Inner {
            pool,
            connector,
            credentials: Credentials::new(config, &options)?,
            headers: headers::parse(&config.http_headers).map_err(|error| ConfigError::new("http_headers", error))?,
            user_agent: HeaderValue::from_static(options.user_agent),
            follows_redirects: config.follow_redirects,
            timeout: options.timeout,
        })))
    }

    /// Sends a request to an absolute URL and gives the head of the answer; its body is still to be read. Headers and credentials of the
    /// configuration are added; an `Authorization` header or userinfo in the URL goes before them. Redirects are followed up to ten times;
    /// neither credentials nor configured headers are sent to another host.
    ///
    /// # Errors
    /// No answer came; the error names the step. Any status is an answer.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
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
    async fn follow(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let (mut parts, mut body) = request.into_parts();
        let mut trusted = true;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(parts.clone(), body.clone(), trusted).await.map_err(|error| error.at(&parts.uri))?;
            let next = match redirect::of(&response, &parts.uri, &parts.method) {
                Ok(Some(next)) if self.follows_redirects => next,
                Err(error) if self.follows_redirects => return Err(error.at(&parts.uri)),
                _ => return Ok(response),
            };
            if !next.same_origin {
                trusted = false; // and stays so, even if a later redirect leads back
                for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                    parts.headers.remove(name);
                }
            }
            if !next.keeps_body {
                body = Full::default();
                parts.headers.remove(http::header::CONTENT_TYPE);
                parts.headers.remove(http::header::CONTENT_ENCODING);
            }
            parts.headers.remove(HOST);
            (parts.uri, parts.method) = (next.uri, next.method);
        }
        Err(StepError::new(Step::Redirect, format!("stopped after {MAX_REDIRECTS} redirects")).at(&parts.uri))
    }

    /// One request and its answer.
    async fn exchange(&self, mut parts: Parts, body: Full<Bytes>, trusted: bool) -> Result<Response<Incoming>, StepError> {
        let from_url = take_userinfo(&mut parts)?;
        if !parts.headers.contains_key(USER_AGENT_HEADER) {
            parts.headers.insert(USER_AGENT_HEADER, self.user_agent.clone());
        }
        if trusted {
            for (name, value) in &self.headers {
                parts.headers.append(name, value.clone());
            }
            if !parts.headers.contains_key(AUTHORIZATION) {
                let header = if from_url.is_some() { from_url } else { self.credentials.header().await? };
                parts.headers.extend(header.map(|value| (AUTHORIZATION, value)));
            }
        }
        if parts.uri.scheme_str() == Some("http") {
            let authorization = self.connector.route(&parts.uri)?.and_then(|route| route.authorization);
            parts.headers.extend(authorization.map(|value| (PROXY_AUTHORIZATION, value)));
        }
        self.pool.request(Request::from_parts(parts, body)).await.map_err(|error| step_error(&error))
    }
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

/// Text without percent-encoding.
fn decoded(text: &str) -> String {
    // A form decoder reads `+` as a space, which userinfo does not mean.
    let plus = text.replace('+', "%2B");
    url::form_urlencoded::parse(plus.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}
