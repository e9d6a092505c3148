//! Requests signed for AWS with credentials from wherever AWS' tools find them.

mod chain;
mod instance;
mod profile;
mod sign;
mod sts;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use syntax::Secret;

use crate::client::ClientOptions;
use crate::config::SigV4Config;
use crate::error::{ConfigError, StepError};
use crate::lease::{Lease, Leased};
use crate::token::failed;
use chain::Chain;

/// The first word of errors.
pub(crate) const WHO: &str = "sigv4";
/// The service that is signed for if none is configured: Amazon Managed Service for Prometheus.
const DEFAULT_SERVICE: &str = "aps";
/// Keys are renewed this long before they expire (30 to 60 seconds in Prometheus).
const EARLY: Duration = Duration::from_secs(60);

/// Keys for signing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    /// What temporary keys come with.
    pub(crate) session_token: Option<Secret>,
}

impl Keys {
    /// A lease of these keys until `expiry`, in RFC 3339.
    fn until(self, expiry: Option<&str>) -> Result<Lease<Self>, StepError> {
        let Some(expiry) = expiry else { return Ok(Lease::new(self, None, EARLY)) };
        let at: Timestamp = expiry.parse().map_err(|_| failed(WHO, "the credentials' expiry is no time"))?;
        let left = SystemTime::from(at).duration_since(SystemTime::now()).unwrap_or_default();
        if left.is_zero() {
            return Err(failed(WHO, format!("the credentials have expired at {expiry}")));
        }
        Ok(Lease::new(self, Some(left), EARLY))
    }
}

/// Signs the requests of a client.
pub(crate) struct Signer {
    chain: Chain,
    service: String,
    keys: Leased<Keys>,
}

impl Signer {
    /// Nothing is read or asked yet.
    ///
    /// # Errors
    /// The client for AWS' own services can't be built.
    pub(crate) fn new(config: &SigV4Config, options: &ClientOptions) -> Result<Self, ConfigError> {
        let service = if config.service_name.is_empty() { DEFAULT_SERVICE } else { &config.service_name };
        Ok(Self { chain: Chain::new(config, options)?, service: service.to_owned(), keys: Leased::new() })
    }

    /// Adds the signature. The path is cleaned first, as a signature is for a clean one.
    ///
    /// # Errors
    /// There are no credentials or no region, or they can't be had now.
    pub(crate) async fn sign(&self, request: &mut Parts, body: &Full<Bytes>) -> Result<(), StepError> {
        let region = self.chain.region()?;
        let keys = self.keys.get(|_| true, || self.chain.keys()).await?;
        let scope = sign::Scope { region: &region, service: &self.service, at: Timestamp::now() };
        sign::sign(request, &bytes_of(body).await, &keys, &scope).map_err(|cause| failed(WHO, cause))
    }
}

/// What a body holds. It is in memory: there at once and whole.
async fn bytes_of(body: &Full<Bytes>) -> Bytes {
    let Ok(collected) = body.clone().collect().await;
    collected.to_bytes()
}
