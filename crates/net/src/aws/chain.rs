//! Where keys come from, in the order of AWS' tools: the configuration, environment variables, a web identity token, profiles, the
//! container's credentials, the instance's metadata. Looked for anew each time keys are needed, so that changed files count.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use super::instance::Instance;
use super::profile::{Profile, Profiles};
use super::sts::{Role, Sts};
use super::{Keys, WHO};
use crate::client::ClientOptions;
use crate::config::SigV4Config;
use crate::environment::Environment;
use crate::error::{ConfigError, StepError};
use crate::file;
use crate::lease::Lease;
use crate::token::failed;

/// Keys of a file have no expiry; so often it is looked whether they are still the same.
const FILE_CHECKED: Duration = Duration::from_secs(60);
/// How many profiles may refer to each other.
const MAX_PROFILES: usize = 5;

/// Finds keys.
pub(super) struct Chain {
    config: SigV4Config,
    environment: Environment,
    profiles: Profiles,
    instance: Instance,
    sts: Sts,
    region: OnceLock<String>,
}

impl Chain {
    pub(super) fn new(config: &SigV4Config, options: &ClientOptions) -> Result<Self, ConfigError> {
        Ok(Self {
            config: config.clone(),
            environment: options.environment.clone(),
            profiles: Profiles::new(&options.environment),
            instance: Instance::new(options)?,
            sts: Sts::new(config.use_fips_sts_endpoint, options)?,
            region: OnceLock::new(),
        })
    }

    /// The region that is configured, here or for AWS' tools.
    pub(super) fn region(&self) -> Result<String, StepError> {
        if let Some(region) = self.region.get() {
            return Ok(region.clone());
        }
        let given = Some(self.config.region.clone()).filter(|region| !region.is_empty());
        let region = match given.or_else(|| self.environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"])) {
            Some(region) => region,
            None => {
                let profile = self.profile(&self.profile_name())?.unwrap_or_default();
                let missing = || failed(WHO, "region not configured in sigv4 or in default credentials chain");
                profile.get("region").map(str::to_owned).ok_or_else(missing)?
            }
        };
        Ok(self.region.get_or_init(|| region).clone())
    }

    /// The keys to sign with now; those of the configured role, if there is one.
    pub(super) async fn keys(&self) -> Result<Lease<Keys>, StepError> {
        let found = self.find().await?;
        if self.config.role_arn.is_empty() {
            return Ok(found);
        }
        let external_id = Some(self.config.external_id.as_str()).filter(|id| !id.is_empty());
        let role = Role { arn: &self.config.role_arn, external_id, session: None, seconds: None };
        self.sts.assume(&found.value, &role, &self.region()?).await
    }

    async fn find(&self) -> Result<Lease<Keys>, StepError> {
        let SigV4Config { access_key, secret_key, profile, .. } = &self.config;
        if !access_key.is_empty() {
            return Ok(for_ever(Keys { id: access_key.clone(), secret: secret_key.clone(), session_token: None }));
        }
        if !profile.is_empty() {
            return self.of_profile(profile.clone(), 1).await;
        }
        if let Some(keys) = self.of_environment() {
            return Ok(for_ever(keys));
        }
        if let Some(file) = self.environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let missing = || failed(WHO, "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not");
            let arn = self.environment.get("AWS_ROLE_ARN").ok_or_else(missing)?;
            let session = self.environment.get("AWS_ROLE_SESSION_NAME");
            return self.of_token(&file, &Role { arn: &arn, external_id: None, session: session.as_deref(), seconds: None }).await;
        }
        self.of_profile(self.profile_name(), 1).await
    }

    fn of_environment(&self) -> Option<Keys> {
        let id = self.environment.first(&["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"])?;
        let secret = self.environment.first(&["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"])?;
        let session_token = self.environment.get("AWS_SESSION_TOKEN").map(|token| token.as_str().into());
        Some(Keys { id, secret: secret.as_str().into(), session_token })
    }

    fn profile_name(&self) -> String {
        let given = Some(self.config.profile.clone()).filter(|name| !name.is_empty());
        given.or_else(|| self.environment.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])).unwrap_or_else(|| "default".to_owned())
    }

    fn profile(&self, name: &str) -> Result<Option<Profile>, StepError> {
        self.profiles.read(name).map_err(|error| failed(WHO, error))
    }

    /// Only the profile that nobody named may be missing. Boxed, as profiles refer to each other.
    fn of_profile(&self, name: String, depth: usize) -> Pin<Box<dyn Future<Output = Result<Lease<Keys>, StepError>> + Send + '_>> {
        Box::pin(async move {
            let missing = || failed(WHO, format!("there is no profile {name:?} in {}", self.profiles.shown()));
            let profile = match self.profile(&name)? {
                None if name == "default" => Profile::default(),
                found => found.ok_or_else(missing)?,
            };
            let Some(arn) = profile.get("role_arn") else { return self.of_settings(&name, &profile).await };
            let session = profile.get("role_session_name");
            let seconds = profile.get("duration_seconds").and_then(|seconds| seconds.parse().ok());
            let role = Role { arn, external_id: profile.get("external_id"), session, seconds };
            if let Some(file) = profile.get("web_identity_token_file").filter(|_| profile.get("source_profile").is_none()) {
                return self.of_token(file, &role).await;
            }
            if profile.get("mfa_serial").is_some() {
                return Err(failed(WHO, format!("profile {name:?} wants a second factor (mfa_serial), which nobody could enter")));
            }
            let base = match profile.get("source_profile") {
                Some(_) if depth >= MAX_PROFILES => {
                    return Err(failed(WHO, format!("more than {MAX_PROFILES} profiles refer to each other, {name:?} among them")));
                }
                Some(source) if source != name => self.of_profile(source.to_owned(), depth + 1).await?,
                _ => self.of_settings(&name, &profile).await?,
            };
            self.sts.assume(&base.value, &role, &self.region()?).await
        })
    }

    /// What a profile says besides of roles, and if it says nothing, the container or the machine.
    async fn of_settings(&self, name: &str, profile: &Profile) -> Result<Lease<Keys>, StepError> {
        if let Some(keys) = profile.keys() {
            return Ok(Lease { value: keys, renew_at: Some(Instant::now() + FILE_CHECKED), expires_at: None });
        }
        match profile.get("credential_source") {
            Some("Environment") => {
                let missing = || failed(WHO, format!("profile {name:?} wants the environment's keys, and there are none"));
                return self.of_environment().map(for_ever).ok_or_else(missing);
            }
            Some("EcsContainer") => {
                let missing = || failed(WHO, format!("profile {name:?} wants the container's credentials, and no variable names them"));
                return self.instance.of_container().await?.ok_or_else(missing);
            }
            Some("Ec2InstanceMetadata") => return self.instance.of_metadata().await,
            Some(other) => {
                let known = "Environment, EcsContainer or Ec2InstanceMetadata";
                return Err(failed(WHO, format!("credential_source {other:?} of profile {name:?} is not {known}")));
            }
            None => {}
        }
        for unsupported in ["sso_session", "sso_start_url", "credential_process", "login_session"] {
            if profile.get(unsupported).is_some() {
                return Err(failed(WHO, format!("{unsupported} of profile {name:?} is not supported; use keys, a role or a web identity")));
            }
        }
        if let Some(lease) = self.instance.of_container().await? {
            return Ok(lease);
        }
        self.instance.of_metadata().await.map_err(|error| {
            let places = format!("environment variables, {}, the container or the instance's metadata", self.profiles.shown());
            let cause = error.cause.strip_prefix("sigv4: ").unwrap_or(&error.cause).to_owned();
            failed(WHO, format!("no credentials in {places}; the last says: {cause}"))
        })
    }

    async fn of_token(&self, path: &str, role: &Role<'_>) -> Result<Lease<Keys>, StepError> {
        let (_, token) = file::read(Path::new(path)).map_err(|error| failed(WHO, format!("web identity token: {error}")))?;
        let token = String::from_utf8(token).map_err(|_| failed(WHO, format!("web identity token: {path} is not UTF-8 text")))?;
        self.sts.assume_with_token(token.trim(), role, &self.region()?).await
    }
}

fn for_ever(keys: Keys) -> Lease<Keys> {
    Lease::new(keys, None, Duration::ZERO)
}
