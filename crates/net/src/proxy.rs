//! Which requests go through a proxy. Only plain HTTP proxies are spoken to: `http` requests are sent to them whole, for `https` they are
//! asked for a tunnel.

use http::{HeaderMap, HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use crate::config::ProxyConfig;
use crate::error::{ConfigError, Step, StepError};
use crate::headers;

/// The proxy of a client.
pub(crate) struct Proxy {
    matcher: Matcher,
    /// As in Go, loopback addresses are spared unless there is nothing but a fixed proxy.
    spares_loopback: bool,
    connect_headers: HeaderMap,
}

/// The proxy for one request.
pub(crate) struct Route {
    pub(crate) uri: Uri,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Proxy {
    pub(crate) fn new(config: &ProxyConfig) -> Result<Option<Self>, ConfigError> {
        let connect_headers =
            headers::parse_any(&config.proxy_connect_header).map_err(|error| ConfigError::new("proxy_connect_header", error))?;
        if config.proxy_from_environment {
            let matcher =
                Matcher::builder().http(environment("HTTP_PROXY")).https(environment("HTTPS_PROXY")).no(environment("NO_PROXY")).build();
            return Ok(Some(Self { matcher, spares_loopback: true, connect_headers }));
        }
        let Some(url) = &config.proxy_url.0 else { return Ok(None) };
        if url.parsed().scheme() != "http" {
            return Err(ConfigError::new("proxy_url", "only proxies that are reached with http:// are supported"));
        }
        let matcher = Matcher::builder().all(url.parsed().as_str().to_owned()).no(config.no_proxy.clone()).build();
        Ok(Some(Self { matcher, spares_loopback: !config.no_proxy.is_empty(), connect_headers }))
    }

    /// The proxy for a request to `uri`; `None` if it goes straight to the host.
    ///
    /// # Errors
    /// The environment names a proxy of a kind that is not supported.
    pub(crate) fn route(&self, uri: &Uri) -> Result<Option<Route>, StepError> {
        if self.spares_loopback && is_loopback(uri.host().unwrap_or_default()) {
            return Ok(None);
        }
        let Some(found) = self.matcher.intercept(uri) else { return Ok(None) };
        if found.uri().scheme_str() != Some("http") {
            let scheme = found.uri().scheme_str().unwrap_or_default();
            return Err(StepError::new(Step::Proxy, format!("the environment names a {scheme} proxy, only http is supported")));
        }
        Ok(Some(Route { uri: found.uri().clone(), authorization: found.basic_auth().cloned() }))
    }

    /// What a proxy is told besides its credentials when it is asked for a tunnel.
    pub(crate) fn connect_headers(&self) -> &HeaderMap {
        &self.connect_headers
    }
}

/// A variable in upper or lower case; empty if there is none.
fn environment(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    [name, &lower].into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty())).unwrap_or_default()
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str, no_proxy: &str) -> Result<Option<Proxy>, ConfigError> {
        Proxy::new(&ProxyConfig { proxy_url: url.parse().unwrap(), no_proxy: no_proxy.into(), ..ProxyConfig::default() })
    }

    fn route(proxy: &Proxy, uri: &str) -> Option<String> {
        proxy.route(&uri.parse().unwrap()).unwrap().map(|route| route.uri.to_string())
    }

    #[test]
    fn a_fixed_proxy_takes_everything() {
        let proxy = proxy("http://me:hunter2@proxy:3128", "").unwrap().unwrap();
        assert_eq!(route(&proxy, "http://localhost/x").as_deref(), Some("http://proxy:3128/"));
        let found = proxy.route(&"https://example.org".parse().unwrap()).unwrap().unwrap();
        assert_eq!(found.authorization.unwrap(), "Basic bWU6aHVudGVyMg==");
    }

    #[test]
    fn no_proxy_spares_names_networks_and_loopback() {
        let proxy = proxy("http://proxy:3128", "example.org, 10.0.0.0/8").unwrap().unwrap();
        for spared in [
            "http://example.org",
            "https://a.example.org/x",
            "http://10.1.2.3:9100",
            "http://localhost",
            "http://[::1]:9100",
            "http://127.0.0.9",
        ] {
            assert_eq!(route(&proxy, spared), None, "{spared}");
        }
        assert!(route(&proxy, "http://11.0.0.1").is_some());
    }

    #[test]
    fn proxies_that_speak_tls_are_refused_by_name() {
        let error = proxy("https://proxy:3128", "").err().unwrap();
        assert_eq!(error.argument, "proxy_url");
        assert!(proxy("", "").unwrap().is_none());
    }
}
