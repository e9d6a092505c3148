//! AWS' Security Token Service: temporary keys for a role, in exchange for other keys or for an identity token.

use http::StatusCode;
use jiff::Timestamp;
use syntax::Secret;

use super::sign::{Scope, sign};
use super::{Keys, WHO, bytes_of};
use crate::client::{Client, ClientOptions};
use crate::config::{HttpClientConfig, ProxyConfig};
use crate::environment::Environment;
use crate::error::{ConfigError, StepError};
use crate::lease::Lease;
use crate::token::{Answer, ask, failed, form};

const API_VERSION: &str = "2011-06-15";
/// How long a role's keys hold if nothing else is asked for, in seconds: what AWS' Go library asks for, and the least that there is.
const ROLE_SECONDS: u32 = 900;
/// The longest part of an explanation that is shown.
const MAX_SHOWN: usize = 300;

/// A client of the service.
pub(super) struct Sts {
    client: Client,
    environment: Environment,
    use_fips: bool,
}

/// A role to assume.
pub(super) struct Role<'a> {
    pub(super) arn: &'a str,
    pub(super) external_id: Option<&'a str>,
    /// What the session is called in AWS' logs.
    pub(super) session: Option<&'a str>,
    /// How long the keys shall hold.
    pub(super) seconds: Option<u32>,
}

impl Sts {
    pub(super) fn new(use_fips: bool, options: &ClientOptions) -> Result<Self, ConfigError> {
        let http = HttpClientConfig { proxy: ProxyConfig::of_environment(), ..HttpClientConfig::default() };
        let options = ClientOptions { round_robin_dns: false, timeout: None, ..options.clone() };
        Ok(Self { environment: options.environment.clone(), client: Client::new(&http, options)?, use_fips })
    }

    /// Keys for a role that the holder of `keys` may assume.
    pub(super) async fn assume(&self, keys: &Keys, role: &Role<'_>, region: &str) -> Result<Lease<Keys>, StepError> {
        let seconds = role.seconds.unwrap_or(ROLE_SECONDS).to_string();
        let session = session_name(role);
        let mut fields = vec![("Action", "AssumeRole"), ("Version", API_VERSION), ("RoleArn", role.arn), ("RoleSessionName", &session)];
        fields.push(("DurationSeconds", &seconds));
        fields.extend(role.external_id.map(|id| ("ExternalId", id)));
        let (mut parts, body) = form(WHO, &self.endpoint(region), &fields)?.into_parts();
        let scope = Scope { region, service: "sts", at: Timestamp::now() };
        sign(&mut parts, &bytes_of(&body).await, keys, &scope).map_err(|cause| failed(WHO, cause))?;
        answered(role.arn, &ask(&self.client, WHO, http::Request::from_parts(parts, body)).await?)
    }

    /// Keys for a role that the bearer of an identity token may assume. Needs no keys.
    pub(super) async fn assume_with_token(&self, token: &str, role: &Role<'_>, region: &str) -> Result<Lease<Keys>, StepError> {
        let session = session_name(role);
        let seconds = role.seconds.map(|seconds| seconds.to_string());
        let mut fields = vec![("Action", "AssumeRoleWithWebIdentity"), ("Version", API_VERSION), ("RoleArn", role.arn)];
        fields.extend([("RoleSessionName", session.as_str()), ("WebIdentityToken", token)]);
        fields.extend(seconds.as_deref().map(|seconds| ("DurationSeconds", seconds)));
        answered(role.arn, &ask(&self.client, WHO, form(WHO, &self.endpoint(region), &fields)?).await?)
    }

    fn endpoint(&self, region: &str) -> String {
        let is_ignored =
            self.environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let given = self.environment.first(&["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]).filter(|_| !is_ignored);
        given.unwrap_or_else(|| endpoint(region, self.use_fips))
    }
}

/// The service's own address in a region, by the partition that the region belongs to.
fn endpoint(region: &str, use_fips: bool) -> String {
    const PARTITIONS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    let domain = PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("amazonaws.com", |(_, domain)| domain);
    // In the government's regions all endpoints are FIPS endpoints.
    let name = if use_fips && !region.starts_with("us-gov-") { "sts-fips" } else { "sts" };
    format!("https://{name}.{region}.{domain}/")
}

fn session_name(role: &Role<'_>) -> String {
    role.session.map_or_else(|| format!("collector-{}", Timestamp::now().as_millisecond()), str::to_owned)
}

fn answered(arn: &str, answer: &Answer) -> Result<Lease<Keys>, StepError> {
    let text = String::from_utf8_lossy(&answer.body);
    if answer.status != StatusCode::OK {
        let code = element(&text, "Code").unwrap_or_else(|| "no reason given".to_owned());
        // Other messages repeat parts of the request, session token and all.
        let message = element(&text, "Message").filter(|_| code == "AccessDenied").map(|message| format!(": {message}"));
        let cause: String = format!("{code}{}", message.unwrap_or_default()).chars().take(MAX_SHOWN).collect();
        return Err(failed(WHO, format!("cannot assume role {arn}: {}: {cause}", answer.status)));
    }
    let part = |name: &str| element(&text, name).ok_or_else(|| failed(WHO, format!("the answer for role {arn} has no {name}")));
    let keys = Keys {
        id: part("AccessKeyId")?,
        secret: Secret::new(part("SecretAccessKey")?),
        session_token: Some(Secret::new(part("SessionToken")?)),
    };
    keys.until(Some(&part("Expiration")?))
}

/// The text of the first element of this name. The service's answers have no attributes there, no comments and nothing nested.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&#xD;", "\r"), ("&amp;", "&")];
    Some(entities.into_iter().fold(text.trim().to_owned(), |text, (entity, plain)| text.replace(entity, plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_its_endpoint() {
        for (region, use_fips, url) in [
            ("eu-central-1", false, "https://sts.eu-central-1.amazonaws.com/"),
            ("us-east-1", true, "https://sts-fips.us-east-1.amazonaws.com/"),
            ("us-gov-west-1", true, "https://sts.us-gov-west-1.amazonaws.com/"),
            ("cn-north-1", false, "https://sts.cn-north-1.amazonaws.com.cn/"),
            ("us-isob-east-1", false, "https://sts.us-isob-east-1.sc2s.sgov.gov/"),
        ] {
            assert_eq!(endpoint(region, use_fips), url);
        }
    }

    #[test]
    fn texts_are_taken_out_of_the_answer() {
        assert_eq!(element("<a><B>x &amp;lt; y</B><B>z</B></a>", "B").as_deref(), Some("x &lt; y"));
        assert_eq!(element("<a></a>", "B"), None);
        assert_eq!(element("<B>cut off", "B"), None);
    }
}
