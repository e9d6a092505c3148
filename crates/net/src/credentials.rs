//! What goes into the `Authorization` header. Files are read again when they change, so a rotated secret needs no reload.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use syntax::Secret;

use crate::client::ClientOptions;
use crate::config::{Authorization, BasicAuth, HttpClientConfig};
use crate::error::{ConfigError, Step, StepError};
use crate::file::SecretFile;
use crate::headers::sensitive;
use crate::oauth2::TokenSource;

/// A secret from the configuration or from a file.
#[derive(Debug)]
pub(crate) enum SecretSource {
    Inline(Secret),
    File(&'static str, SecretFile),
}

impl SecretSource {
    /// `argument` names the file's argument in errors.
    pub(crate) fn new(inline: &Secret, argument: &'static str, file: &str) -> Self {
        if file.is_empty() { Self::Inline(inline.clone()) } else { Self::File(argument, SecretFile::new(file)) }
    }

    pub(crate) fn secret(&self) -> Result<Secret, StepError> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(argument, file) => file.secret().map_err(|error| StepError::new(Step::Credentials, format!("{argument}: {error}"))),
        }
    }
}

/// Where the header comes from.
pub(crate) enum Credentials {
    None,
    Basic { username: String, password: SecretSource },
    Scheme { scheme: String, secret: SecretSource },
    OAuth2(Box<TokenSource>),
}

impl Credentials {
    pub(crate) fn new(config: &HttpClientConfig, options: &ClientOptions) -> Result<Self, ConfigError> {
        if let Some(BasicAuth { username, password, password_file }) = &config.basic_auth {
            let password = SecretSource::new(password, "basic_auth.password_file", password_file);
            return Ok(Self::Basic { username: username.clone(), password });
        }
        if let Some(Authorization { scheme, credentials, credentials_file }) = &config.authorization {
            let scheme = if scheme.trim().is_empty() { "Bearer" } else { scheme.trim() };
            let secret = SecretSource::new(credentials, "authorization.credentials_file", credentials_file);
            return Ok(Self::Scheme { scheme: scheme.to_owned(), secret });
        }
        if let Some(oauth2) = &config.oauth2 {
            return TokenSource::new(oauth2, options).map(|source| Self::OAuth2(Box::new(source)));
        }
        if config.bearer_token.is_empty() && config.bearer_token_file.is_empty() {
            return Ok(Self::None);
        }
        let secret = SecretSource::new(&config.bearer_token, "bearer_token_file", &config.bearer_token_file);
        Ok(Self::Scheme { scheme: "Bearer".to_owned(), secret })
    }

    /// The header's value now, if there is one.
    pub(crate) async fn header(&self) -> Result<Option<HeaderValue>, StepError> {
        match self {
            Self::None => Ok(None),
            Self::Basic { username, password } => Ok(Some(basic(username, password.secret()?.expose()))),
            Self::Scheme { scheme, secret } => {
                let text = format!("{scheme} {}", secret.secret()?.expose());
                let value = sensitive(text.trim_end());
                value.map(Some).ok_or_else(|| StepError::new(Step::Credentials, "the secret holds characters that no header can hold"))
            }
            Self::OAuth2(source) => source.header().await.map(Some),
        }
    }
}

/// `Basic …`
pub(crate) fn basic(username: &str, password: &str) -> HeaderValue {
    let encoded = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
    // Base64 is always a valid value; the other arm can't be reached.
    sensitive(&encoded).unwrap_or_else(|| HeaderValue::from_static("Basic"))
}
