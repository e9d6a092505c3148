//! Keys that the surroundings give: the container's agent (ECS, EKS) and the machine's metadata service (EC2, version 2).

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;
use syntax::Secret;
use url::{Host, Url};

use super::{Keys, WHO};
use crate::client::{Client, ClientOptions};
use crate::config::HttpClientConfig;
use crate::environment::Environment;
use crate::error::{ConfigError, StepError};
use crate::file;
use crate::headers::sensitive;
use crate::lease::Lease;
use crate::token::{Answer, ask, failed};

/// The agent of ECS, to which `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` is relative.
const CONTAINER: &str = "http://169.254.170.2";
/// The agents of ECS and EKS, which may be reached without TLS, as may loopback.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
const METADATA: &str = "http://169.254.169.254";
const METADATA_V6: &str = "http://[fd00:ec2::254]";
const ROLES: &str = "latest/meta-data/iam/security-credentials/";
/// How long the metadata service's own token shall hold, in seconds. One is asked for each time.
const TOKEN_SECONDS: HeaderValue = HeaderValue::from_static("60");
/// On a machine that is none of AWS', nobody answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// The machine's keys are renewed at least so often.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// A client of both.
pub(super) struct Instance {
    client: Client,
    environment: Environment,
}

impl Instance {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, ConfigError> {
        // Link-local addresses are behind no proxy.
        let http = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() };
        let options = ClientOptions { connect_timeout: CONNECT_TIMEOUT, timeout: Some(TIMEOUT), round_robin_dns: false, ..options.clone() };
        Ok(Self { environment: options.environment.clone(), client: Client::new(&http, options)? })
    }

    /// The keys of the container, if variables say where they are.
    pub(super) async fn of_container(&self) -> Result<Option<Lease<Keys>>, StepError> {
        let relative = self.environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
        let Some(url) = relative.or_else(|| self.environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) else { return Ok(None) };
        let url = Url::parse(&url).map_err(|error| failed(WHO, format!("the URL of the container's credentials: {error}")))?;
        if url.scheme() == "http" && !is_near(&url) {
            let cause = "the container's credentials are not fetched without TLS but from loopback and the agents of ECS and EKS";
            return Err(failed(WHO, cause));
        }
        let mut request = request(Method::GET, url.as_str())?;
        if let Some(token) = self.container_token()? {
            let value =
                sensitive(token.trim()).ok_or_else(|| failed(WHO, "the container's token holds characters that no header can hold"))?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        keys(&self.ask(request).await?).map(Some)
    }

    fn container_token(&self) -> Result<Option<String>, StepError> {
        let Some(path) = self.environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") else {
            return Ok(self.environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
        };
        let (_, token) = file::read(Path::new(&path)).map_err(|error| failed(WHO, format!("the container's token: {error}")))?;
        String::from_utf8(token).map(Some).map_err(|_| failed(WHO, format!("the container's token: {path} is not UTF-8 text")))
    }

    /// The keys of the machine's role.
    pub(super) async fn of_metadata(&self) -> Result<Lease<Keys>, StepError> {
        if self.environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(failed(WHO, "AWS_EC2_METADATA_DISABLED forbids asking the instance's metadata"));
        }
        let is_v6 = self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        let given = self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let base = given.unwrap_or_else(|| if is_v6 { METADATA_V6 } else { METADATA }.to_owned());
        let base = base.trim_end_matches('/');
        let mut wanted = request(Method::PUT, &format!("{base}/latest/api/token"))?;
        wanted.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS);
        let token = text(&self.ask(wanted).await?)?;
        let token = sensitive(&token).ok_or_else(|| failed(WHO, "the instance's metadata token is none"))?;
        let get = async |path: &str| {
            let mut request = request(Method::GET, &format!("{base}/{path}"))?;
            request.headers_mut().insert("x-aws-ec2-metadata-token", token.clone());
            self.ask(request).await
        };
        let roles = text(&get(ROLES).await?)?;
        let role = roles.lines().map(str::trim).find(|role| !role.is_empty());
        let role = role.ok_or_else(|| failed(WHO, "the instance has no role"))?;
        let mut lease = keys(&get(&format!("{ROLES}{role}")).await?)?;
        let latest = tokio::time::Instant::now() + MAX_AGE;
        lease.renew_at = lease.renew_at.map(|at| at.min(latest));
        Ok(lease)
    }

    /// An answer with the status 200.
    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Answer, StepError> {
        let path = request.uri().path().to_owned();
        let answer = ask(&self.client, WHO, request).await?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            status => Err(failed(WHO, format!("{path} answers {status}"))),
        }
    }
}

/// Whether the host is an address of loopback or of an agent. A name other than `localhost` could be anything.
fn is_near(url: &Url) -> bool {
    let is_agent = |address: IpAddr| AGENTS.iter().any(|agent| agent.parse() == Ok(address));
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || is_agent(address.into()),
        Some(Host::Ipv6(address)) => address.is_loopback() || is_agent(address.into()),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

fn request(method: Method, url: &str) -> Result<Request<Full<Bytes>>, StepError> {
    Request::builder().method(method).uri(url).body(Full::default()).map_err(|error| failed(WHO, error))
}

fn text(answer: &Answer) -> Result<String, StepError> {
    let text = String::from_utf8(answer.body.to_vec()).map_err(|_| failed(WHO, "the instance's metadata is not UTF-8 text"))?;
    Ok(text.trim().to_owned())
}

/// Both give the same JSON.
fn keys(answer: &Answer) -> Result<Lease<Keys>, StepError> {
    let answer = answer.json();
    if let Some(code) = answer["Code"].as_str().filter(|code| !code.eq_ignore_ascii_case("Success")) {
        return Err(failed(WHO, format!("the instance gives no credentials: {}", code.chars().take(100).collect::<String>())));
    }
    let part = |name: &str| {
        let text = answer[name].as_str().filter(|text| !text.is_empty());
        text.ok_or_else(|| failed(WHO, format!("the answer with the credentials has no {name}")))
    };
    let session_token = answer["Token"].as_str().filter(|text| !text.is_empty()).map(Secret::new);
    let keys = Keys { id: part("AccessKeyId")?.to_owned(), secret: Secret::new(part("SecretAccessKey")?), session_token };
    keys.until(answer.get("Expiration").and_then(Value::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_hosts_are_asked_without_tls() {
        for (url, near) in [
            ("http://127.0.0.1:99/x", true),
            ("http://[::1]/", true),
            ("http://localhost/", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/", true),
            ("http://169.254.169.254/", false),
            ("http://evil.example/", false),
        ] {
            assert_eq!(is_near(&Url::parse(url).unwrap()), near, "{url}");
        }
    }
}
