//! Tokens for client credentials (RFC 6749 §4.4): fetched when the first request needs one, kept until shortly before they expire.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::Full;
use syntax::Secret;
use url::form_urlencoded::byte_serialize;

use crate::client::{Client, ClientOptions};
use crate::config::{HttpClientConfig, OAuth2Config};
use crate::credentials::{SecretSource, basic};
use crate::error::{ConfigError, StepError};
use crate::lease::{Lease, Leased};
use crate::token::{self, Token, ask, form};

const WHO: &str = "oauth2";
/// A token is renewed this long before it expires, as in Go.
const EARLY: Duration = Duration::from_secs(10);
/// Token servers are asked seldom; as in Prometheus.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches and keeps a token.
pub(crate) struct TokenSource {
    client: Client,
    token_url: String,
    client_id: String,
    client_secret: SecretSource,
    /// The parameters besides the credentials.
    parameters: Vec<(String, String)>,
    /// Whether the server wants the credentials in the body; found out at the first refusal of a header.
    in_body: AtomicBool,
    /// The header, and the secret that it was got for.
    known: Leased<(HeaderValue, Secret)>,
}

impl TokenSource {
    pub(crate) fn new(config: &OAuth2Config, options: &ClientOptions) -> Result<Self, ConfigError> {
        let missing = || ConfigError::new("oauth2.token_url", "must be configured");
        let url = config.token_url.0.as_ref().ok_or_else(missing)?;
        let http = HttpClientConfig { proxy: config.proxy.clone(), tls_config: config.tls_config.clone(), ..HttpClientConfig::default() };
        let mut parameters = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
        if !config.scopes.is_empty() {
            parameters.push(("scope".to_owned(), config.scopes.join(" ")));
        }
        parameters.extend(config.endpoint_params.clone());
        let options = ClientOptions {
            timeout: Some(token::TIMEOUT),
            idle_timeout: IDLE_TIMEOUT,
            max_idle_per_host: 1,
            round_robin_dns: false,
            ..options.clone()
        };
        let client = Client::new(&http, options).map_err(|error| ConfigError::new("oauth2", error))?;
        Ok(Self {
            client,
            token_url: url.parsed().as_str().to_owned(),
            client_id: config.client_id.clone(),
            client_secret: SecretSource::new(&config.client_secret, "oauth2.client_secret_file", &config.client_secret_file),
            parameters,
            in_body: AtomicBool::new(false),
            known: Leased::new(),
        })
    }

    /// The `Authorization` header with a token that is still valid and was got for the present secret.
    pub(crate) async fn header(&self) -> Result<HeaderValue, StepError> {
        let secret = self.client_secret.secret()?;
        let fetch = || async {
            let token = self.fetch(&secret).await?;
            Ok(Lease::new((token.header, secret.clone()), token.lifetime, EARLY))
        };
        self.known.get(|(_, of)| *of == secret, fetch).await.map(|(header, _)| header)
    }

    async fn fetch(&self, secret: &Secret) -> Result<Token, StepError> {
        let in_body = self.in_body.load(Ordering::Relaxed);
        let first = ask(&self.client, WHO, self.request(secret, in_body)?).await?.token();
        if first.is_ok() || in_body {
            return first;
        }
        let second = ask(&self.client, WHO, self.request(secret, true)?).await?.token();
        if second.is_ok() {
            self.in_body.store(true, Ordering::Relaxed);
            return second;
        }
        first
    }

    fn request(&self, secret: &Secret, in_body: bool) -> Result<Request<Full<Bytes>>, StepError> {
        let mut fields: Vec<(&str, &str)> = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if in_body {
            // As in Go: a parameter of that name is replaced.
            fields.retain(|(name, _)| !matches!(*name, "client_id" | "client_secret"));
            fields.extend([("client_id", self.client_id.as_str()), ("client_secret", secret.expose())]);
        }
        let mut request = form(WHO, &self.token_url, &fields)?;
        if !in_body {
            // RFC 6749 §2.3.1: both are form-encoded before they become user and password.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            request.headers_mut().insert(header::AUTHORIZATION, basic(&encoded(&self.client_id), &encoded(secret.expose())));
        }
        Ok(request)
    }
}
