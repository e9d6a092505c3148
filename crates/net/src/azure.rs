//! Tokens of Microsoft Entra ID (Azure AD): for an application with its secret, for a workload identity, or for the identity that Azure
//! gives the machine.

mod identity;

use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use syntax::Secret;

use crate::client::{Client, ClientOptions};
use crate::config::{AzureAdConfig, AzureCloud, HttpClientConfig, ProxyConfig, WorkloadIdentity};
use crate::environment::Environment;
use crate::error::{ConfigError, StepError};
use crate::file;
use crate::lease::{Lease, Leased};
use crate::token::{self, Token, ask, failed, form};
use identity::MachineIdentity;

/// The first word of errors.
const WHO: &str = "azuread";
/// Where Azure's webhook puts the service account's token (`DefaultWorkloadIdentityTokenPath` in Prometheus).
const TOKEN_FILE: &str = "/var/run/secrets/azure/tokens/azure-identity-token";
/// RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Fetches and keeps a token.
pub(crate) struct AzureTokens {
    config: AzureAdConfig,
    scope: String,
    /// Of the token server, without a slash at the end.
    authority: String,
    client: Client,
    machine: MachineIdentity,
    environment: Environment,
    known: Leased<HeaderValue>,
}

/// How an application shows that it is what it says.
enum Proof {
    Secret(Secret),
    /// A token in a file, which is read anew each time.
    TokenFile(String),
}

impl AzureTokens {
    /// Nothing is read or asked yet.
    ///
    /// # Errors
    /// The client for the token server can't be built.
    pub(crate) fn new(config: &AzureAdConfig, options: &ClientOptions) -> Result<Self, ConfigError> {
        let http = HttpClientConfig { proxy: ProxyConfig::of_environment(), ..HttpClientConfig::default() };
        let options = ClientOptions { timeout: Some(token::TIMEOUT), round_robin_dns: false, ..options.clone() };
        let scope = if config.scope.is_empty() { scope(config.cloud).to_owned() } else { config.scope.clone() };
        Ok(Self {
            config: config.clone(),
            scope,
            authority: authority(config.cloud).to_owned(),
            client: Client::new(&http, options.clone())?,
            environment: options.environment.clone(),
            machine: MachineIdentity::new(options)?,
            known: Leased::new(),
        })
    }

    /// The `Authorization` header with a token that is still valid. Renewed at half of its lifetime, as in Prometheus.
    ///
    /// # Errors
    /// No token can be had.
    pub(crate) async fn header(&self) -> Result<HeaderValue, StepError> {
        let fetch = || async {
            let token = self.fetch().await?;
            let lifetime = token.lifetime.ok_or_else(|| failed(WHO, "the answer does not say how long the token holds"))?;
            Ok(Lease::new(token.header, Some(lifetime), lifetime / 2))
        };
        self.known.get(|_| true, fetch).await
    }

    async fn fetch(&self) -> Result<Token, StepError> {
        let config = &self.config;
        if let Some(identity) = &config.managed_identity {
            return self.machine.token(Some(&identity.client_id), &self.scope).await;
        }
        if let Some(WorkloadIdentity { client_id, tenant_id, token_file_path }) = &config.workload_identity {
            let path = if token_file_path.is_empty() { TOKEN_FILE } else { token_file_path };
            return self.of_application(tenant_id, client_id, Proof::TokenFile(path.to_owned())).await;
        }
        if let Some(oauth) = &config.oauth {
            return self.of_application(&oauth.tenant_id, &oauth.client_id, Proof::Secret(oauth.client_secret.clone())).await;
        }
        let tenant = config.sdk.as_ref().map_or("", |sdk| sdk.tenant_id.as_str());
        self.of_environment(tenant).await
    }

    /// As Azure's own libraries go about it (`DefaultAzureCredential`), but for certificates, passwords and developers' tools.
    async fn of_environment(&self, tenant: &str) -> Result<Token, StepError> {
        let variable = |name| self.environment.get(name);
        let client = variable("AZURE_CLIENT_ID");
        if let (Some(tenant), Some(client), Some(secret)) = (variable("AZURE_TENANT_ID"), &client, variable("AZURE_CLIENT_SECRET")) {
            return self.of_application(&tenant, client, Proof::Secret(secret.as_str().into())).await;
        }
        let tenant = Some(tenant.to_owned()).filter(|tenant| !tenant.is_empty()).or_else(|| variable("AZURE_TENANT_ID"));
        if let (Some(tenant), Some(client), Some(path)) = (tenant, &client, variable("AZURE_FEDERATED_TOKEN_FILE")) {
            return self.of_application(&tenant, client, Proof::TokenFile(path)).await;
        }
        self.machine.token(client.as_deref(), &self.scope).await.map_err(|error| {
            let cause = error.cause.strip_prefix("azuread: ").unwrap_or(&error.cause).to_owned();
            let before = "sdk: neither AZURE_CLIENT_SECRET nor AZURE_FEDERATED_TOKEN_FILE is set with tenant and client";
            failed(WHO, format!("{before}, and of the machine's identity: {cause}"))
        })
    }

    async fn of_application(&self, tenant: &str, client_id: &str, proof: Proof) -> Result<Token, StepError> {
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.authority);
        let mut fields = vec![("grant_type", "client_credentials"), ("client_id", client_id), ("scope", &self.scope)];
        let read = match &proof {
            Proof::Secret(secret) => secret.clone(),
            Proof::TokenFile(path) => federated(path)?,
        };
        match proof {
            Proof::Secret(_) => fields.push(("client_secret", read.expose())),
            Proof::TokenFile(_) => fields.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", read.expose())]),
        }
        ask(&self.client, WHO, form(WHO, &url, &fields)?).await?.token()
    }
}

fn federated(path: &str) -> Result<Secret, StepError> {
    let (_, token) = file::read(Path::new(path)).map_err(|error| failed(WHO, format!("token_file_path: {error}")))?;
    let token = String::from_utf8(token).map_err(|_| failed(WHO, format!("token_file_path: {path} is not UTF-8 text")))?;
    Ok(Secret::new(token.trim()))
}

/// The token server of a cloud.
const fn authority(cloud: AzureCloud) -> &'static str {
    match cloud {
        AzureCloud::Public => "https://login.microsoftonline.com",
        AzureCloud::Government => "https://login.microsoftonline.us",
        AzureCloud::China => "https://login.chinacloudapi.cn",
    }
}

/// What tokens are asked for: Azure Monitor in a cloud.
const fn scope(cloud: AzureCloud) -> &'static str {
    match cloud {
        AzureCloud::Public => "https://monitor.azure.com//.default",
        AzureCloud::Government => "https://monitor.azure.us//.default",
        AzureCloud::China => "https://monitor.azure.cn//.default",
    }
}

/// Metadata services answer at once or not at all.
const MACHINE_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
