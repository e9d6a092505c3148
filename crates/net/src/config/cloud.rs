//! The blocks that authenticate as a cloud wants it: `sigv4`, `azuread`, `google_iam`.

use syntax::{Block, Secret};

use super::HttpClientConfig;

/// The clouds' ways to authenticate, of which one may be given. Squash it into a component's arguments beside [`HttpClientConfig`].
#[derive(Block, Clone, Debug, Default, PartialEq)]
pub struct CloudAuthConfig {
    /// Signs requests for AWS (Signature Version 4).
    #[syntax(block)]
    pub sigv4: Option<SigV4Config>,
    /// Authenticates with a token of Microsoft Entra ID (Azure AD).
    #[syntax(block)]
    pub azuread: Option<AzureAdConfig>,
    /// Authenticates with a token of Google Cloud.
    #[syntax(block)]
    pub google_iam: Option<GoogleIamConfig>,
}

impl CloudAuthConfig {
    /// Checks that there is at most one way to authenticate. The blocks check themselves.
    ///
    /// # Errors
    /// There are several, in Alloy's words.
    pub fn check_with(&self, http: &HttpClientConfig) -> Result<(), String> {
        let ways = [self.sigv4.is_some(), self.azuread.is_some(), self.google_iam.is_some(), http.authenticates()];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            let ways = "sigv4, azuread, google_iam, basic_auth, oauth2, bearer_token & bearer_token_file";
            return Err(format!("at most one of {ways} must be configured"));
        }
        Ok(())
    }
}

/// AWS Signature Version 4. What is not given comes from where AWS' tools find it: environment variables, `~/.aws`, a web identity
/// token, the container's credentials, the instance's metadata.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "SigV4Config::validate")]
pub struct SigV4Config {
    /// AWS region. Without one, that of the environment or the profile.
    pub region: String,
    /// AWS API access key.
    pub access_key: String,
    /// AWS API secret key.
    pub secret_key: Secret,
    /// Named profile of `~/.aws/credentials` and `~/.aws/config` to authenticate with.
    pub profile: String,
    /// AWS role to assume, with the credentials that were found.
    pub role_arn: String,
    /// External ID for assuming the role.
    pub external_id: String,
    /// Whether roles are assumed at STS' FIPS endpoint.
    pub use_fips_sts_endpoint: bool,
    /// AWS service to sign for.
    #[syntax(default = "aps")]
    pub service_name: String,
}

impl SigV4Config {
    fn validate(&self) -> Result<(), String> {
        if self.access_key.is_empty() != self.secret_key.is_empty() {
            return Err("must provide an AWS SigV4 access key and secret key if credentials are specified in the SigV4 config".to_owned());
        }
        if !self.external_id.is_empty() && self.role_arn.is_empty() {
            return Err("external_id can only be used with role_arn".to_owned());
        }
        Ok(())
    }
}

syntax::text_enum! {
    /// One of Azure's clouds, which have their own token servers.
    pub enum AzureCloud {
        /// The public one.
        Public = "AzurePublic",
        /// That of the US government.
        Government = "AzureGovernment",
        /// That of China.
        China = "AzureChina",
    }
}

/// Microsoft Entra ID (Azure AD). Exactly one of the blocks says who we are.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "AzureAdConfig::validate")]
pub struct AzureAdConfig {
    /// The Azure cloud: `AzurePublic`, `AzureGovernment` or `AzureChina`.
    #[syntax(default = AzureCloud::Public)]
    pub cloud: AzureCloud,
    /// The OAuth 2.0 scope to ask for, if it is not that of Azure Monitor in this cloud.
    pub scope: String,
    /// The machine's or the pod's managed identity.
    #[syntax(block)]
    pub managed_identity: Option<ManagedIdentity>,
    /// An application that Kubernetes' service account stands for.
    #[syntax(block)]
    pub workload_identity: Option<WorkloadIdentity>,
    /// An application with its secret.
    #[syntax(block)]
    pub oauth: Option<AzureOAuth>,
    /// Whatever Azure's tools find: environment variables, workload identity, managed identity.
    #[syntax(block)]
    pub sdk: Option<AzureSdk>,
}

/// A managed identity.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct ManagedIdentity {
    /// Client ID of the managed identity.
    #[syntax(required)]
    pub client_id: String,
}

/// A workload identity.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct WorkloadIdentity {
    /// Client ID of the application or user-assigned managed identity.
    #[syntax(required)]
    pub client_id: String,
    /// Tenant ID of the application or user-assigned managed identity.
    #[syntax(required)]
    pub tenant_id: String,
    /// File with the service account's token. It is read each time that a token is fetched.
    #[syntax(default = "/var/run/secrets/azure/tokens/azure-identity-token")]
    pub token_file_path: String,
}

/// An application with its secret.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct AzureOAuth {
    /// Client ID of the application.
    #[syntax(required)]
    pub client_id: String,
    /// Client secret of the application.
    #[syntax(required)]
    pub client_secret: Secret,
    /// Tenant ID of the application.
    #[syntax(required)]
    pub tenant_id: String,
}

/// What Azure's tools find.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct AzureSdk {
    /// Tenant ID of the application.
    #[syntax(required)]
    pub tenant_id: String,
}

impl AzureAdConfig {
    fn validate(&self) -> Result<(), String> {
        let ways = [self.managed_identity.is_some(), self.workload_identity.is_some(), self.oauth.is_some(), self.sdk.is_some()];
        match ways.into_iter().filter(|given| *given).count() {
            1 => {}
            0 => {
                let ways = "an Azure Managed Identity, Azure Workload Identity, Azure OAuth or Azure SDK";
                return Err(format!("must provide {ways} in the Azure AD config"));
            }
            _ => return Err("cannot provide multiple authentication methods in the Azure AD config".to_owned()),
        }
        if let Some(identity) = &self.managed_identity {
            identifier("Azure Managed Identity client_id", &identity.client_id, is_uuid)?;
        }
        if let Some(identity) = &self.workload_identity {
            identifier("Azure Workload Identity client_id", &identity.client_id, is_uuid)?;
            identifier("Azure Workload Identity tenant_id", &identity.tenant_id, is_uuid)?;
        }
        if let Some(oauth) = &self.oauth {
            identifier("Azure OAuth client_id", &oauth.client_id, is_uuid)?;
            if oauth.client_secret.is_empty() {
                return Err("must provide an Azure OAuth client_secret in the Azure AD config".to_owned());
            }
            identifier("Azure OAuth tenant_id", &oauth.tenant_id, is_tenant)?;
        }
        if let Some(sdk) = self.sdk.as_ref().filter(|sdk| !sdk.tenant_id.is_empty()) {
            identifier("Azure SDK tenant_id", &sdk.tenant_id, is_tenant)?;
        }
        let in_scope = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_:/.-".contains(c);
        if self.scope.chars().all(in_scope) { Ok(()) } else { Err("the provided scope contains invalid characters".to_owned()) }
    }
}

fn identifier(name: &str, text: &str, is_good: impl Fn(&str) -> bool) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("must provide an {name} in the Azure AD config"));
    }
    if is_good(text) { Ok(()) } else { Err(format!("the provided {name} is invalid")) }
}

/// A UUID as Go's `uuid.Parse` takes it: with or without dashes, in braces, behind `urn:uuid:`.
fn is_uuid(text: &str) -> bool {
    let urn = text.get(..9).filter(|urn| urn.eq_ignore_ascii_case("urn:uuid:")).map(|_| &text[9..]);
    let braces = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let is_hex = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let dashed = urn.or(braces).unwrap_or(text);
    let has_dashes = dashed.len() == 36 && [8, 13, 18, 23].into_iter().all(|at| dashed.as_bytes()[at] == b'-');
    has_dashes && is_hex(&dashed.replace('-', "")) || is_hex(text)
}

/// It becomes a part of a URL's path.
fn is_tenant(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Google Cloud.
#[derive(Block, Clone, Debug, Default, PartialEq)]
pub struct GoogleIamConfig {
    /// File with a service account's key. Without one, the application default credentials: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own
    /// file, the metadata server.
    pub credentials_file: String,
}
