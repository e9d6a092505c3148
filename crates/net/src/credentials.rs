//! Who we are to a server: what goes into the `Authorization` header. Files are read again when they change, so a rotated secret needs no
//! reload.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http_body_util::Full;
use syntax::Secret;

use crate::aws::Signer;
use crate::azure::AzureTokens;
use crate::client::ClientOptions;
use crate::config::{Authorization, BasicAuth, CloudAuthConfig, HttpClientConfig};
use crate::error::{ConfigError, Step, StepError};
use crate::file::SecretFile;
use crate::google::GoogleTokens;
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
    SigV4(Box<Signer>),
    AzureAd(Box<AzureTokens>),
    GoogleIam(Box<GoogleTokens>),
}

impl Credentials {
    pub(crate) fn new(config: &HttpClientConfig, cloud: &CloudAuthConfig, options: &ClientOptions) -> Result<Self, ConfigError> {
        if let Some(sigv4) = &cloud.sigv4 {
            return Signer::new(sigv4, options).map(|signer| Self::SigV4(Box::new(signer)));
        }
        if let Some(azuread) = &cloud.azuread {
            return AzureTokens::new(azuread, options).map(|tokens| Self::AzureAd(Box::new(tokens)));
        }
        if let Some(google_iam) = &cloud.google_iam {
            return GoogleTokens::new(google_iam, options).map(|tokens| Self::GoogleIam(Box::new(tokens)));
        }
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

    /// Adds to a request what shows who we are. One that has an `Authorization` header keeps it, but for those of the clouds.
    ///
    /// # Errors
    /// A secret can't be read or a token not be had.
    pub(crate) async fn authorize(&self, request: &mut Parts, body: &Full<Bytes>) -> Result<(), StepError> {
        let header = match self {
            Self::None => return Ok(()),
            Self::SigV4(signer) => return signer.sign(request, body).await,
            Self::GoogleIam(tokens) => return tokens.authorize(request).await,
            Self::AzureAd(tokens) => tokens.header().await?,
            _ if request.headers.contains_key(AUTHORIZATION) => return Ok(()),
            Self::Basic { username, password } => basic(username, password.secret()?.expose()),
            Self::Scheme { scheme, secret } => {
                let text = format!("{scheme} {}", secret.secret()?.expose());
                let unusable = || StepError::new(Step::Credentials, "the secret holds characters that no header can hold");
                sensitive(text.trim_end()).ok_or_else(unusable)?
            }
            Self::OAuth2(source) => source.header().await?,
        };
        request.headers.insert(AUTHORIZATION, header);
        Ok(())
    }
}

/// `Basic …`
pub(crate) fn basic(username: &str, password: &str) -> HeaderValue {
    let encoded = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
    // Base64 is always a valid value; the other arm can't be reached.
    sensitive(&encoded).unwrap_or_else(|| HeaderValue::from_static("Basic"))
}
