//! The `oauth2` block.

use std::collections::BTreeMap;

use syntax::{Block, Secret};

use super::{ProxyConfig, TlsConfig};
use crate::url::OptionalUrl;

/// OAuth 2.0 client credentials (RFC 6749 §4.4).
#[derive(Block, Clone, Debug, Default, PartialEq)]
#[syntax(validate = "OAuth2Config::validate")]
pub struct OAuth2Config {
    /// OAuth2 client ID.
    pub client_id: String,
    /// OAuth2 client secret.
    pub client_secret: Secret,
    /// File containing the OAuth2 client secret. It is read again when it changes.
    pub client_secret_file: String,
    /// List of scopes to authenticate with.
    pub scopes: Vec<String>,
    /// URL to fetch the token from.
    pub token_url: OptionalUrl,
    /// Optional parameters to append to the token URL.
    pub endpoint_params: BTreeMap<String, String>,
    /// Which proxy to use on the way to the token URL.
    #[syntax(squash)]
    pub proxy: ProxyConfig,
    /// TLS settings for connections to the token URL.
    #[syntax(block)]
    pub tls_config: TlsConfig,
}

impl OAuth2Config {
    fn validate(&self) -> Result<(), String> {
        let message = if self.client_id.is_empty() {
            "oauth2 client_id must be configured"
        } else if self.client_secret.is_empty() && self.client_secret_file.is_empty() {
            "either oauth2 client_secret or client_secret_file must be configured"
        } else if self.token_url.0.is_none() {
            "oauth2 token_url must be configured"
        } else if !self.client_secret.is_empty() && !self.client_secret_file.is_empty() {
            "at most one of oauth2 client_secret & client_secret_file must be configured"
        } else {
            return Ok(());
        };
        Err(message.to_owned())
    }
}
