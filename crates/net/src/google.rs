//! Tokens of Google Cloud: for a service account's key, for a user that gcloud has logged in, or from the machine's metadata server.

mod jwt;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use serde_json::Value;

use crate::client::{Client, ClientOptions};
use crate::config::{GoogleIamConfig, HttpClientConfig, ProxyConfig};
use crate::environment::Environment;
use crate::error::{ConfigError, StepError};
use crate::file;
use crate::lease::{Lease, Leased};
use crate::token::{self, Token, ask, failed, form};

/// The first word of errors.
const WHO: &str = "google_iam";
/// What may be done with a token, as in Prometheus: write to Cloud Monitoring.
const SCOPE: &str = "https://www.googleapis.com/auth/monitoring.write";
/// Where tokens are had if a file does not say it.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const METADATA: &str = "169.254.169.254";
/// On a machine that is none of Google's, nobody answers.
const METADATA_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A token is renewed this long before it expires, as in Go.
const EARLY: Duration = Duration::from_secs(10);
/// The metadata server has a new token 4 minutes before; Go asks 15 seconds after that.
const METADATA_EARLY: Duration = Duration::from_secs(225);
/// Names the project that pays for a request.
const QUOTA_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

/// Fetches and keeps a token.
pub(crate) struct GoogleTokens {
    credentials_file: String,
    client: Client,
    /// For the metadata server, which is behind no proxy.
    local: Client,
    environment: Environment,
    known: Leased<Headers>,
}

/// What a request needs.
#[derive(Clone)]
struct Headers {
    authorization: HeaderValue,
    quota_project: Option<HeaderValue>,
}

impl GoogleTokens {
    /// Nothing is read or asked yet.
    ///
    /// # Errors
    /// The client for the token server can't be built.
    pub(crate) fn new(config: &GoogleIamConfig, options: &ClientOptions) -> Result<Self, ConfigError> {
        let http = HttpClientConfig { proxy: ProxyConfig::of_environment(), ..HttpClientConfig::default() };
        let direct = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() };
        let options = ClientOptions { timeout: Some(token::TIMEOUT), round_robin_dns: false, ..options.clone() };
        Ok(Self {
            credentials_file: config.credentials_file.clone(),
            client: Client::new(&http, options.clone())?,
            local: Client::new(&direct, ClientOptions { connect_timeout: METADATA_CONNECT_TIMEOUT, ..options.clone() })?,
            environment: options.environment,
            known: Leased::new(),
        })
    }

    /// Adds a token that is still valid.
    ///
    /// # Errors
    /// No token can be had.
    pub(crate) async fn authorize(&self, request: &mut Parts) -> Result<(), StepError> {
        let headers = self.known.get(|_| true, || self.fetch()).await?;
        request.headers.insert(AUTHORIZATION, headers.authorization);
        request.headers.extend(headers.quota_project.map(|project| (QUOTA_PROJECT, project)));
        Ok(())
    }

    async fn fetch(&self) -> Result<Lease<Headers>, StepError> {
        let Some((argument, path)) = self.file() else {
            let token = self.of_metadata().await?;
            return Ok(self.lease(token, METADATA_EARLY, None));
        };
        let wrong = |cause: String| failed(WHO, format!("{argument}: {}: {cause}", path.display()));
        let (_, content) = file::read(&path).map_err(|error| failed(WHO, format!("{argument}: {error}")))?;
        let content: Value = serde_json::from_slice(&content).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        let kind = content["type"].as_str().unwrap_or_default();
        let token = match kind {
            "service_account" => self.of_service_account(&content).await.map_err(wrong)??,
            "authorized_user" if self.credentials_file.is_empty() => self.of_user(&content).await.map_err(wrong)??,
            _ => return Err(wrong(format!("credentials of the type {kind:?} are not supported; use a service account's key"))),
        };
        Ok(self.lease(token, EARLY, content["quota_project_id"].as_str()))
    }

    fn lease(&self, token: Token, early: Duration, of_file: Option<&str>) -> Lease<Headers> {
        let project = self.environment.get("GOOGLE_CLOUD_QUOTA_PROJECT").or_else(|| of_file.map(str::to_owned));
        let quota_project = project.and_then(|project| HeaderValue::try_from(project).ok());
        Lease::new(Headers { authorization: token.header, quota_project }, token.lifetime, early)
    }

    /// The file with credentials, and what names it. That of gcloud counts only if it is there.
    fn file(&self) -> Option<(&'static str, PathBuf)> {
        if !self.credentials_file.is_empty() {
            return Some(("credentials_file", PathBuf::from(&self.credentials_file)));
        }
        if let Some(path) = self.environment.get("GOOGLE_APPLICATION_CREDENTIALS") {
            return Some(("GOOGLE_APPLICATION_CREDENTIALS", path.into()));
        }
        let home = self.environment.get("HOME")?;
        let path = Path::new(&home).join(".config/gcloud/application_default_credentials.json");
        path.exists().then_some(("application default credentials", path))
    }

    /// RFC 7523 §2.1: a claim that is signed with the account's key, in exchange for a token. The outer error is the file's.
    async fn of_service_account(&self, file: &Value) -> Result<Result<Token, StepError>, String> {
        let url = field(file, "token_uri").unwrap_or(TOKEN_URL);
        let account = jwt::Account {
            email: field(file, "client_email").ok_or("has no client_email")?,
            key: field(file, "private_key").ok_or("has no private_key")?,
            key_id: field(file, "private_key_id"),
        };
        let assertion = account.assertion(url, SCOPE, std::time::SystemTime::now())?;
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        Ok(self.exchange(url, &[("grant_type", grant), ("assertion", &assertion)]).await)
    }

    /// RFC 6749 §6: the refresh token of a user's login.
    async fn of_user(&self, file: &Value) -> Result<Result<Token, StepError>, String> {
        let url = field(file, "token_uri").unwrap_or(TOKEN_URL);
        let given = |name: &'static str| field(file, name).map(|value| (name, value)).ok_or_else(|| format!("has no {name}"));
        let fields = [("grant_type", "refresh_token"), given("client_id")?, given("client_secret")?, given("refresh_token")?];
        Ok(self.exchange(url, &fields).await)
    }

    async fn exchange(&self, url: &str, fields: &[(&str, &str)]) -> Result<Token, StepError> {
        ask(&self.client, WHO, form(WHO, url, fields)?).await?.token()
    }

    async fn of_metadata(&self) -> Result<Token, StepError> {
        let host = self.environment.get("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned());
        let scopes: String = url::form_urlencoded::byte_serialize(SCOPE.as_bytes()).collect();
        let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token?scopes={scopes}");
        let request: Request<Full<Bytes>> =
            Request::get(url).header("metadata-flavor", "Google").body(Full::default()).map_err(|error| failed(WHO, error))?;
        let answer = ask(&self.local, WHO, request).await.map_err(|error| {
            let cause = error.cause.strip_prefix("google_iam: ").unwrap_or(&error.cause).to_owned();
            failed(WHO, format!("no credentials file is named, and of the metadata server: {cause}"))
        })?;
        answer.token()
    }
}

fn field<'a>(file: &'a Value, name: &str) -> Option<&'a str> {
    file[name].as_str().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
