//! The arguments that name a proxy.

use std::collections::BTreeMap;

use syntax::{Block, Secret};

use crate::headers;
use crate::url::ProxyUrl;

/// Which proxy to use for which hosts.
#[derive(Block, Clone, Debug, Default, PartialEq)]
#[syntax(validate = "ProxyConfig::validate")]
pub struct ProxyConfig {
    /// Proxy to send requests through: `http://`, `https://`, `socks5://` or `socks5h://`, with user and password if it wants them.
    pub proxy_url: ProxyUrl,
    /// Comma-separated list of IP addresses, CIDR notations, and domain names to exclude from proxying.
    pub no_proxy: String,
    /// Use the proxy URL indicated by environment variables (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`).
    pub proxy_from_environment: bool,
    /// Specifies headers to send to proxies during CONNECT requests.
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
}

impl ProxyConfig {
    /// The proxy that environment variables name, if any.
    pub(crate) fn of_environment() -> Self {
        Self { proxy_from_environment: true, ..Self::default() }
    }

    fn validate(&self) -> Result<(), String> {
        let has_url = self.proxy_url.parsed().is_some();
        if !self.proxy_connect_header.is_empty() && !self.proxy_from_environment && !has_url {
            return Err("if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured".to_owned());
        }
        if self.proxy_from_environment && has_url {
            return Err("if proxy_from_environment is configured, proxy_url must not be configured".to_owned());
        }
        if self.proxy_from_environment && !self.no_proxy.is_empty() {
            return Err("if proxy_from_environment is configured, no_proxy must not be configured".to_owned());
        }
        if !has_url && !self.no_proxy.is_empty() {
            return Err("if no_proxy is configured, proxy_url must also be configured".to_owned());
        }
        headers::parse_any(&self.proxy_connect_header).map(drop)
    }
}
