//! The HTTP client of every component: its arguments as Alloy has them, credentials, TLS, proxies, redirects, connection reuse, and
//! bodies read within a bound. What is asked, how often and what an answer means is left to the components. The server of those that are
//! pushed to is in [`server`].
//!
//! Cheap per request, so that thousands of targets can share one [`Client`] and hold an idle connection each.

mod body;
mod client;
mod config;
mod connect;
mod credentials;
mod error;
mod file;
mod headers;
mod oauth2;
mod proxy;
mod redirect;
pub mod server;
mod stream;
mod tls;
mod url;

pub use body::{BodyError, read_body};
pub use client::{Client, ClientOptions, USER_AGENT};
pub use config::{Authorization, BasicAuth, HttpClientConfig, OAuth2Config, ProxyConfig, TlsConfig, TlsVersion};
pub use connect::InternalAddress;
pub use error::{ConfigError, Error, Step};
pub use url::{HttpUrl, OptionalUrl};
