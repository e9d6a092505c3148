//! Which requests go through which proxy. `http` requests are sent whole to proxies that speak HTTP; for `https`, and to SOCKS proxies,
//! a tunnel is asked for.

mod no_proxy;
pub(crate) mod socks5;
pub(crate) mod tunnel;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Uri};
use syntax::Secret;
use url::Url;

use crate::config::ProxyConfig;
use crate::credentials::basic;
use crate::environment::Environment;
use crate::error::{ConfigError, Step, StepError};
use crate::headers;
use crate::url::{ProxyUrl, decoded};
use no_proxy::NoProxy;
use socks5::Login;

/// The proxies of a client.
pub(crate) struct Proxy {
    http: Option<Arc<Route>>,
    https: Option<Arc<Route>>,
    /// `None` if nothing is spared, not even loopback addresses: so it is, as in Go, with a fixed proxy and no `no_proxy`.
    spared: Option<NoProxy>,
    /// Why the environment's proxy for `http` must not be used.
    forbidden: Option<&'static str>,
    connect_headers: HeaderMap,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    /// HTTP inside of TLS.
    Https,
    Socks5,
}

/// A proxy.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) kind: Kind,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// User and password for a proxy that speaks HTTP.
    pub(crate) authorization: Option<HeaderValue>,
    /// User and password for a SOCKS proxy.
    pub(crate) login: Option<Login>,
}

impl Proxy {
    /// The proxies that the arguments or, if they say so, the environment name; `None` if they name none.
    ///
    /// # Errors
    /// One can't be a proxy.
    pub(crate) fn new(config: &ProxyConfig, environment: &Environment) -> Result<Option<Self>, ConfigError> {
        let connect_headers =
            headers::parse_any(&config.proxy_connect_header).map_err(|error| ConfigError::new("proxy_connect_header", error))?;
        if config.proxy_from_environment {
            return Self::of_environment(environment, connect_headers).map(Some);
        }
        let Some(url) = config.proxy_url.parsed() else { return Ok(None) };
        let route = Arc::new(Route::parse(url).map_err(|error| ConfigError::new("proxy_url", error))?);
        let spared = (!config.no_proxy.is_empty()).then(|| NoProxy::parse(&config.no_proxy));
        Ok(Some(Self { http: Some(route.clone()), https: Some(route), spared, forbidden: None, connect_headers }))
    }

    fn of_environment(environment: &Environment, connect_headers: HeaderMap) -> Result<Self, ConfigError> {
        let route = |names: [&str; 2]| {
            let Some(value) = environment.first(&names) else { return Ok(None) };
            let wrong = |error: String| ConfigError::new("proxy_from_environment", format!("{}: {error}", names[0]));
            let url = environment_url(&value).map_err(wrong)?;
            Ok(Some(Arc::new(Route::parse(&url).map_err(wrong)?)))
        };
        Ok(Self {
            http: route(["HTTP_PROXY", "http_proxy"])?,
            https: route(["HTTPS_PROXY", "https_proxy"])?,
            spared: Some(NoProxy::parse(&environment.first(&["NO_PROXY", "no_proxy"]).unwrap_or_default())),
            // There a client's `Proxy` header becomes HTTP_PROXY (https://httpoxy.org).
            forbidden: environment.get("REQUEST_METHOD").map(|_| "refusing to use HTTP_PROXY in a CGI environment (REQUEST_METHOD is set)"),
            connect_headers,
        })
    }

    /// The proxy for a request to `uri`; `None` if it goes straight to the host.
    ///
    /// # Errors
    /// The environment's proxy must not be used.
    pub(crate) fn route(&self, uri: &Uri) -> Result<Option<Arc<Route>>, StepError> {
        let is_https = uri.scheme_str() == Some("https");
        let Some(route) = (if is_https { &self.https } else { &self.http }) else { return Ok(None) };
        if let Some(cause) = self.forbidden.filter(|_| !is_https) {
            return Err(StepError::new(Step::Proxy, cause));
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        if self.spared.as_ref().is_some_and(|spared| spared.spares(host, port)) {
            return Ok(None);
        }
        Ok(Some(route.clone()))
    }

    /// What a proxy is told besides its credentials when it is asked for a tunnel.
    pub(crate) fn connect_headers(&self) -> &HeaderMap {
        &self.connect_headers
    }
}

impl Route {
    /// The proxy that a URL names.
    pub(crate) fn parse(url: &Url) -> Result<Self, String> {
        let (kind, default_port) = match url.scheme() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            other => return Err(format!("{other:?} is no scheme of a proxy")),
        };
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        let has_login = !url.username().is_empty() || url.password().is_some();
        let authorization = (has_login && kind != Kind::Socks5).then(|| basic(&user, &password));
        let login = (has_login && kind == Kind::Socks5).then(|| Login { user, password: Secret::new(password) });
        Ok(Self { kind, host, port: url.port().unwrap_or(default_port), authorization, login })
    }
}

/// A value of the environment may be a URL or just `host:port`, which then means `http`.
fn environment_url(value: &str) -> Result<Url, String> {
    let whole = value.parse::<ProxyUrl>();
    let prefixed = || if value.contains("://") { None } else { format!("http://{value}").parse::<ProxyUrl>().ok() };
    let url = whole.or_else(|error| prefixed().ok_or(error))?;
    url.parsed().cloned().ok_or_else(|| "is empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(url: &str, no_proxy: &str) -> Option<Proxy> {
        let config = ProxyConfig { proxy_url: url.parse().unwrap(), no_proxy: no_proxy.into(), ..ProxyConfig::default() };
        Proxy::new(&config, &Environment::of([])).unwrap()
    }

    fn of_environment<const N: usize>(variables: [(&str, &str); N]) -> Result<Proxy, ConfigError> {
        Proxy::new(&ProxyConfig::of_environment(), &Environment::of(variables)).map(Option::unwrap)
    }

    fn route(proxy: &Proxy, uri: &str) -> Option<(Kind, String)> {
        let route = proxy.route(&uri.parse().unwrap()).unwrap()?;
        Some((route.kind, format!("{}:{}", route.host, route.port)))
    }

    #[test]
    fn a_fixed_proxy_takes_everything() {
        let proxy = fixed("http://me:hunter2@proxy:3128", "").unwrap();
        assert_eq!(route(&proxy, "http://localhost/x"), Some((Kind::Http, "proxy:3128".to_owned())));
        let found = proxy.route(&"https://example.org".parse().unwrap()).unwrap().unwrap();
        assert_eq!(found.authorization.as_ref().unwrap(), "Basic bWU6aHVudGVyMg==");
        assert!(!format!("{found:?}").contains("bWU6"), "{found:?}");
        assert!(fixed("", "").is_none());
    }

    #[test]
    fn every_kind_has_its_port_and_its_way_to_log_in() {
        for (url, kind, host) in [
            ("http://proxy", Kind::Http, "proxy:80"),
            ("https://proxy", Kind::Https, "proxy:443"),
            ("socks5://proxy", Kind::Socks5, "proxy:1080"),
            ("socks5h://[fd00::1]", Kind::Socks5, "fd00::1:1080"),
        ] {
            assert_eq!(route(&fixed(url, "").unwrap(), "http://h"), Some((kind, host.to_owned())), "{url}");
        }
        let socks = Route::parse(&"socks5://me:p%40ss@proxy".parse().unwrap()).unwrap();
        let login = socks.login.as_ref().unwrap();
        assert_eq!((login.user.as_str(), login.password.expose(), &socks.authorization), ("me", "p@ss", &None));
        assert!(!format!("{socks:?}").contains("p@ss"));
    }

    #[test]
    fn no_proxy_spares_hosts_by_name_and_port() {
        let proxy = fixed("http://proxy:3128", "example.org, 10.0.0.0/8, b.example:443").unwrap();
        for spared in ["http://a.example.org/x", "http://10.1.2.3:9100", "http://localhost", "http://[::1]:9100", "https://b.example"] {
            assert_eq!(route(&proxy, spared), None, "{spared}");
        }
        for proxied in ["http://11.0.0.1", "http://b.example", "https://b.example:444"] {
            assert!(route(&proxy, proxied).is_some(), "{proxied}");
        }
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let proxy = of_environment([("HTTP_PROXY", "proxy:1"), ("https_proxy", "socks5://proxy:2"), ("no_proxy", "spared")]).unwrap();
        assert_eq!(route(&proxy, "http://h"), Some((Kind::Http, "proxy:1".to_owned())));
        assert_eq!(route(&proxy, "https://h"), Some((Kind::Socks5, "proxy:2".to_owned())));
        for uri in ["http://spared", "https://spared", "http://127.0.0.1"] {
            assert_eq!(route(&proxy, uri), None, "{uri}");
        }
        let both =
            of_environment([("HTTP_PROXY", ""), ("http_proxy", "lower:1"), ("HTTPS_PROXY", "UPPER:2"), ("https_proxy", "x")]).unwrap();
        assert_eq!(route(&both, "http://h"), Some((Kind::Http, "lower:1".to_owned())), "an empty variable is none");
        assert_eq!(route(&both, "https://h"), Some((Kind::Http, "upper:2".to_owned())), "upper case goes first");
        assert_eq!(route(&of_environment([]).unwrap(), "http://h"), None);
    }

    #[test]
    fn addresses_without_a_scheme_are_taken_and_rubbish_is_refused_without_telling_it() {
        let proxy = of_environment([("HTTP_PROXY", "10.0.0.1:3128"), ("HTTPS_PROXY", "me:p@10.0.0.1")]).unwrap();
        assert_eq!(route(&proxy, "http://h"), Some((Kind::Http, "10.0.0.1:3128".to_owned())));
        assert_eq!(route(&proxy, "https://h"), Some((Kind::Http, "10.0.0.1:80".to_owned())));
        let error = of_environment([("HTTPS_PROXY", "ftp://me:hunter2@proxy")]).err().unwrap();
        assert_eq!(error.argument, "proxy_from_environment");
        assert!(error.cause.starts_with("HTTPS_PROXY: has the scheme \"ftp\"") && !error.cause.contains("hunter2"), "{error}");
    }

    #[test]
    fn in_a_cgi_environment_http_proxy_is_not_trusted() {
        let proxy = of_environment([("HTTP_PROXY", "a:1"), ("HTTPS_PROXY", "b:1"), ("REQUEST_METHOD", "GET")]).unwrap();
        let error = proxy.route(&"http://h".parse().unwrap()).unwrap_err();
        assert_eq!(error.step, Step::Proxy);
        assert!(error.cause.contains("REQUEST_METHOD"), "{error}");
        assert!(route(&proxy, "https://h").is_some());
    }
}
