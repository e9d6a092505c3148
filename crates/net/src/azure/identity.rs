//! The identity that Azure gives a machine or an app ("managed identity"), whose tokens a service on the machine hands out.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use url::Url;

use super::{MACHINE_CONNECT_TIMEOUT, WHO};
use crate::client::{Client, ClientOptions};
use crate::config::HttpClientConfig;
use crate::environment::Environment;
use crate::error::{ConfigError, StepError};
use crate::headers::sensitive;
use crate::token::{Token, ask, failed};

const METADATA: &str = "http://169.254.169.254";
const METADATA_PATH: &str = "/metadata/identity/oauth2/token";
const METADATA_VERSION: &str = "2018-02-01";
const APP_SERVICE_VERSION: &str = "2019-08-01";

/// Asks the machine for tokens.
pub(super) struct MachineIdentity {
    client: Client,
    environment: Environment,
}

impl MachineIdentity {
    pub(super) fn new(options: ClientOptions) -> Result<Self, ConfigError> {
        // Link-local addresses are behind no proxy.
        let http = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() };
        let environment = options.environment.clone();
        let options = ClientOptions { connect_timeout: MACHINE_CONNECT_TIMEOUT, ..options };
        Ok(Self { client: Client::new(&http, options)?, environment })
    }

    /// A token for a scope; without `client_id`, that of the one identity that the machine has.
    pub(super) async fn token(&self, client_id: Option<&str>, scope: &str) -> Result<Token, StepError> {
        let (mut url, headers, version) = self.service()?;
        // These services are of the first version of the protocol, where a scope is a resource.
        let resource = scope.strip_suffix("/.default").unwrap_or(scope);
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
        if let Some(id) = client_id {
            url.query_pairs_mut().append_pair("client_id", id);
        }
        let mut request: Request<Full<Bytes>> = Request::get(url.as_str()).body(Full::default()).map_err(|error| failed(WHO, error))?;
        request.headers_mut().extend(headers);
        ask(&self.client, WHO, request).await?.token()
    }

    /// Where to ask, with which headers, in which version: variables tell what kind of machine it is.
    fn service(&self) -> Result<(Url, HeaderMap, &'static str), StepError> {
        let parse = |url: &str| Url::parse(url).map_err(|error| failed(WHO, format!("the URL of the machine's identity: {error}")));
        let unsupported = |what: &str| failed(WHO, format!("managed identities of {what} are not supported"));
        if let Some(endpoint) = self.environment.get("IDENTITY_ENDPOINT") {
            let Some(secret) = self.environment.get("IDENTITY_HEADER") else { return Err(unsupported("Azure Arc")) };
            if self.environment.get("IDENTITY_SERVER_THUMBPRINT").is_some() {
                return Err(unsupported("Service Fabric"));
            }
            let value = sensitive(&secret).ok_or_else(|| failed(WHO, "IDENTITY_HEADER holds characters that no header can hold"))?;
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-identity-header"), value)]);
            return Ok((parse(&endpoint)?, headers, APP_SERVICE_VERSION));
        }
        if self.environment.get("MSI_ENDPOINT").is_some() {
            return Err(unsupported("Azure Machine Learning and Cloud Shell"));
        }
        let base = self.environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        let url = format!("{}{METADATA_PATH}", base.as_deref().unwrap_or(METADATA).trim_end_matches('/'));
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("metadata"), http::HeaderValue::from_static("true"))]);
        Ok((parse(&url)?, headers, METADATA_VERSION))
    }
}
