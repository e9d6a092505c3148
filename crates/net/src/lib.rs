//! The HTTP client of every component: its arguments as Alloy has them, credentials, TLS, proxies, redirects, connection reuse, and
//! bodies read within a bound. What is asked, how often and what an answer means is left to the components. The server of those that are
//! pushed to is in [`server`]; what peers that are both need for TLS is [`MutualTls`].
//!
//! Cheap per request, so that thousands of targets can share one [`Client`] and hold an idle connection each.

#[cfg(test)]
extern crate self as net;

mod aws;
mod azure;
mod body;
mod client;
mod config;
mod connect;
mod connection;
mod credentials;
mod decode;
mod dial;
mod environment;
mod error;
mod file;
mod google;
mod headers;
mod lease;
mod mutual;
mod oauth2;
mod pool;
mod proxy;
mod redirect;
mod resolve;
pub mod server;
mod stream;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
mod tls;
mod token;
mod url;

pub use body::{BodyError, read_body};
pub use client::{Client, ClientOptions, USER_AGENT};
pub use config::{
    Authorization, AzureAdConfig, AzureCloud, AzureOAuth, AzureSdk, BasicAuth, CloudAuthConfig, GoogleIamConfig, HttpClientConfig,
    ManagedIdentity, OAuth2Config, ProxyConfig, SigV4Config, TlsConfig, TlsVersion, WorkloadIdentity,
};
pub use connect::InternalAddress;
pub use connection::AnswerBody;
pub use decode::{DecodeError, Decoder, Encoding, OUTPUT_BUFFER};
pub use environment::Environment;
pub use error::{ConfigError, Error, Step};
pub use mutual::{MutualTls, MutualTlsFiles, NamedFile};
pub use url::{HttpUrl, OptionalUrl, ProxyUrl};
