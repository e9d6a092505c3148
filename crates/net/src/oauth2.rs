//! Tokens for client credentials (RFC 6749 §4.4): fetched when the first request needs one, kept until shortly before they expire.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::body::read_body;
use crate::client::{Client, ClientOptions};
use crate::config::{HttpClientConfig, OAuth2Config};
use crate::credentials::{SecretSource, basic};
use crate::error::{ConfigError, Step, StepError};
use crate::headers::sensitive;

/// Token answers are a few hundred bytes; Go reads as much.
const MAX_ANSWER: usize = 1 << 20;
/// A token is renewed this long before it expires, as in Go.
const EARLY: Duration = Duration::from_secs(10);
/// A server that does not answer must not hold up requests for ever.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Fetches and keeps a token.
pub(crate) struct TokenSource {
    client: Client,
    token_url: Uri,
    client_id: String,
    client_secret: SecretSource,
    /// The parameters besides the credentials.
    parameters: Vec<(String, String)>,
    /// Whether the server wants the credentials in the body; found out at the first refusal of a header.
    in_body: AtomicBool,
    known: Mutex<Option<Token>>,
}

struct Token {
    header: HeaderValue,
    expires: Option<Instant>,
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
        Ok(Self {
            client: Client::new(&http, ClientOptions { timeout: Some(TIMEOUT), ..options.clone() })?,
            token_url: url.to_uri().map_err(|error| ConfigError::new("oauth2.token_url", error))?,
            client_id: config.client_id.clone(),
            client_secret: SecretSource::new(&config.client_secret, "oauth2.client_secret_file", &config.client_secret_file),
            parameters,
            in_body: AtomicBool::new(false),
            known: Mutex::new(None),
        })
    }

    /// The `Authorization` header with a token that is still valid. Requests that need a new one wait for one fetch.
    pub(crate) async fn header(&self) -> Result<HeaderValue, StepError> {
        let mut known = self.known.lock().await;
        if let Some(token) = known.as_ref().filter(|token| token.expires.is_none_or(|at| Instant::now() < at)) {
            return Ok(token.header.clone());
        }
        let token = self.fetch().await?;
        let header = token.header.clone();
        *known = Some(token);
        Ok(header)
    }

    async fn fetch(&self) -> Result<Token, StepError> {
        let in_body = self.in_body.load(Ordering::Relaxed);
        let (status, answer) = self.ask(in_body).await?;
        if status.is_success() || in_body {
            return token(status, &answer);
        }
        let (second_status, second) = self.ask(true).await?;
        if second_status.is_success() {
            self.in_body.store(true, Ordering::Relaxed);
            return token(second_status, &second);
        }
        token(status, &answer)
    }

    async fn ask(&self, in_body: bool) -> Result<(StatusCode, Bytes), StepError> {
        let failed = |error: &dyn std::fmt::Display| StepError::new(Step::Credentials, format!("oauth2: {error}"));
        let request = self.request(in_body)?;
        // Boxed, as the client itself may ask for a token: the type would be infinite. That inner client has no oauth2 block.
        let response = Box::pin(self.client.send(request)).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let body = tokio::time::timeout(TIMEOUT, read_body(response, MAX_ANSWER)).await;
        let body = body.map_err(|_| failed(&"the token answer did not end in time"))?.map_err(|error| failed(&error))?;
        Ok((status, body))
    }

    fn request(&self, in_body: bool) -> Result<Request<Full<Bytes>>, StepError> {
        let secret = self.client_secret.secret()?;
        let mut form = Serializer::new(String::new());
        form.extend_pairs(&self.parameters);
        let mut request = Request::post(self.token_url.clone()).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if in_body {
            form.append_pair("client_id", &self.client_id).append_pair("client_secret", secret.expose());
        } else {
            // RFC 6749 §2.3.1: both are form-encoded before they become user and password.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            request = request.header(header::AUTHORIZATION, basic(&encoded(&self.client_id), &encoded(secret.expose())));
        }
        let request = request.body(Full::new(Bytes::from(form.finish())));
        request.map_err(|error| StepError::new(Step::Credentials, format!("oauth2: {error}")))
    }
}

fn token(status: StatusCode, answer: &[u8]) -> Result<Token, StepError> {
    let failed = |cause: String| StepError::new(Step::Credentials, format!("oauth2: {cause}"));
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    if !status.is_success() {
        // Error codes are public (RFC 6749 §5.2); the rest of the answer is not shown.
        let code: String = answer["error"].as_str().unwrap_or("no reason given").chars().take(100).collect();
        return Err(failed(format!("cannot fetch token: {status}: {code}")));
    }
    let Some(text) = answer["access_token"].as_str().filter(|text| !text.is_empty()) else {
        return Err(failed("the answer of token_url has no access_token".to_owned()));
    };
    let scheme = match answer["token_type"].as_str() {
        None => "Bearer",
        Some(scheme) if scheme.is_empty() || scheme.eq_ignore_ascii_case("bearer") => "Bearer",
        Some(scheme) => scheme,
    };
    let header =
        sensitive(&format!("{scheme} {text}")).ok_or_else(|| failed("the token holds characters that no header can hold".to_owned()))?;
    let seconds = answer["expires_in"].as_u64().or_else(|| answer["expires_in"].as_str()?.parse().ok()).filter(|seconds| *seconds > 0);
    let lifetime = seconds.map(|seconds| Duration::from_secs(seconds.min(u64::from(u32::MAX))));
    Ok(Token { header, expires: lifetime.map(|lifetime| Instant::now() + lifetime.saturating_sub(EARLY)) })
}
