//! The arguments of every HTTP client, as Alloy names and checks them.

mod cloud;
mod oauth2;
mod proxy;
mod tls;

use std::collections::BTreeMap;

use syntax::{Block, Secret};

pub use cloud::{
    AzureAdConfig, AzureCloud, AzureOAuth, AzureSdk, CloudAuthConfig, GoogleIamConfig, ManagedIdentity, SigV4Config, WorkloadIdentity,
};
pub use oauth2::OAuth2Config;
pub use proxy::ProxyConfig;
pub use tls::{TlsConfig, TlsVersion};

use crate::headers;

/// How to reach an HTTP server: credentials, TLS, proxies, headers. Squash it into a component's arguments.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "HttpClientConfig::validate")]
pub struct HttpClientConfig {
    /// Bearer token to authenticate with.
    pub bearer_token: Secret,
    /// File containing a bearer token to authenticate with. It is read again when it changes.
    pub bearer_token_file: String,
    /// Which proxy to use.
    #[syntax(squash)]
    pub proxy: ProxyConfig,
    /// Whether redirects returned by the server should be followed. Credentials are not sent on to other hosts.
    #[syntax(default = true)]
    pub follow_redirects: bool,
    /// Whether HTTP/2 is offered over TLS. If it is not set, the component decides: yes, except for `prometheus.remote_write`.
    pub enable_http2: Option<bool>,
    /// Custom HTTP headers to be sent along with each request. The map key is the header name.
    pub http_headers: BTreeMap<String, Vec<Secret>>,
    /// Authenticates with user name and password.
    #[syntax(block)]
    pub basic_auth: Option<BasicAuth>,
    /// Authenticates with any other `Authorization` header.
    #[syntax(block)]
    pub authorization: Option<Authorization>,
    /// Authenticates with a token that OAuth 2.0 gives for client credentials.
    #[syntax(block)]
    pub oauth2: Option<OAuth2Config>,
    /// TLS settings for connections to the server.
    #[syntax(block)]
    pub tls_config: TlsConfig,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            bearer_token: Secret::default(),
            bearer_token_file: String::new(),
            proxy: ProxyConfig::default(),
            follow_redirects: true,
            enable_http2: None,
            http_headers: BTreeMap::new(),
            basic_auth: None,
            authorization: None,
            oauth2: None,
            tls_config: TlsConfig::default(),
        }
    }
}

impl HttpClientConfig {
    fn validate(&self) -> Result<(), String> {
        let ways = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.oauth2.is_some(),
            !self.bearer_token.is_empty(),
            !self.bearer_token_file.is_empty(),
        ];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            return Err("at most one of basic_auth, authorization, oauth2, bearer_token & bearer_token_file must be configured".to_owned());
        }
        headers::parse(&self.http_headers).map(drop)
    }

    /// Whether a way to authenticate is configured.
    pub(crate) fn authenticates(&self) -> bool {
        let has_token = !self.bearer_token.is_empty() || !self.bearer_token_file.is_empty();
        self.basic_auth.is_some() || self.authorization.is_some() || self.oauth2.is_some() || has_token
    }
}

/// User name and password.
#[derive(Block, Clone, Debug, Default, PartialEq)]
#[syntax(validate = "BasicAuth::validate")]
pub struct BasicAuth {
    /// Basic auth username.
    pub username: String,
    /// Basic auth password.
    pub password: Secret,
    /// File containing the basic auth password. It is read again when it changes.
    pub password_file: String,
}

impl BasicAuth {
    fn validate(&self) -> Result<(), String> {
        if !self.password.is_empty() && !self.password_file.is_empty() {
            return Err("at most one of basic_auth password & password_file must be configured".to_owned());
        }
        Ok(())
    }
}

/// A scheme and its credentials.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Authorization::validate")]
pub struct Authorization {
    /// Authorization type, for example, "Bearer".
    #[syntax(name = "type", default = "Bearer")]
    pub scheme: String,
    /// Secret value.
    pub credentials: Secret,
    /// File containing the secret value. It is read again when it changes.
    pub credentials_file: String,
}

impl Authorization {
    fn validate(&self) -> Result<(), String> {
        if !self.credentials.is_empty() && !self.credentials_file.is_empty() {
            return Err("at most one of authorization credentials & credentials_file must be configured".to_owned());
        }
        if self.scheme.trim().eq_ignore_ascii_case("basic") {
            return Err("authorization type cannot be set to \"basic\", use \"basic_auth\" block instead".to_owned());
        }
        Ok(())
    }
}
