//! A kubeconfig as far as it says how to ask its API server: the current context's cluster and user. What runs other programs for
//! credentials is refused by name. Errors show nothing of the content, which is full of secrets.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use net::{BasicAuth, HttpClientConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;
use syntax::Secret;
use url::Url;

/// A kubeconfig has some kilobytes for each of its clusters.
const MAX_FILE: u64 = 4 << 20;

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<Named<Context>>,
    clusters: Vec<Named<Cluster>>,
    users: Vec<Named<User>>,
}

#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "context", alias = "cluster", alias = "user")]
    value: T,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
    insecure_skip_tls_verify: bool,
    tls_server_name: String,
    proxy_url: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    username: String,
    password: String,
    exec: Option<IgnoredAny>,
    auth_provider: Option<IgnoredAny>,
}

/// The API server of the file's current context, and how it is spoken to.
///
/// # Errors
/// The file can't be read, names nothing that can be asked, or wants a program to be run. Names the file and the field.
pub fn read(path: &Path) -> Result<(Url, HttpClientConfig)> {
    let place = || format!("--cluster.discover-peers: kubeconfig {}", path.display());
    let found = std::fs::metadata(path).with_context(place)?;
    if found.len() > MAX_FILE {
        bail!("{} is larger than {MAX_FILE} bytes: is this the right file?", place());
    }
    let text = std::fs::read_to_string(path).with_context(place)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    understood(&text, folder).map_err(|error| anyhow!("{}: {error:#}", place()))
}

fn understood(text: &str, folder: &Path) -> Result<(Url, HttpClientConfig)> {
    let file: Kubeconfig = serde_saphyr::from_str(text).map_err(|error| match error.location() {
        Some(at) => anyhow!("is no kubeconfig (line {})", at.line()),
        None => anyhow!("is no kubeconfig"),
    })?;
    let context = named(&file.contexts, &file.current_context).context("has no context of the name that current-context says")?;
    let cluster = named(&file.clusters, &context.cluster).context("has no cluster of the name that the current context says")?;
    let nobody = User::default();
    let user = match context.user.as_str() {
        "" => &nobody,
        name => named(&file.users, name).context("has no user of the name that the current context says")?,
    };
    if user.exec.is_some() || user.auth_provider.is_some() {
        bail!(
            "its user gets credentials from another program (exec, auth-provider), which is not supported; use a token or a client certificate"
        );
    }
    let server = Url::parse(&cluster.server).map_err(|error| anyhow!("the cluster's server: {error}"))?;
    if !matches!(server.scheme(), "https" | "http") || server.host_str().is_none() {
        bail!("the cluster's server is no http or https URL");
    }
    Ok((server, client(cluster, user, folder)?))
}

fn named<'a, T>(list: &'a [Named<T>], name: &str) -> Option<&'a T> {
    list.iter().find(|entry| entry.name == name).map(|entry| &entry.value)
}

/// Data goes before files, and a token file before a token, as in client-go. Files are relative to the kubeconfig.
fn client(cluster: &Cluster, user: &User, folder: &Path) -> Result<HttpClientConfig> {
    let beside = |path: &str, data: &str| match (path, data) {
        ("", _) => String::new(),
        (_, data) if !data.is_empty() => String::new(),
        (path, _) => folder.join(path).display().to_string(),
    };
    let mut config = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() };
    let tls = &mut config.tls_config;
    tls.ca_pem = decoded("certificate-authority-data", &cluster.certificate_authority_data)?;
    tls.ca_file = beside(&cluster.certificate_authority, &cluster.certificate_authority_data);
    tls.cert_pem = decoded("client-certificate-data", &user.client_certificate_data)?;
    tls.cert_file = beside(&user.client_certificate, &user.client_certificate_data);
    tls.key_pem = Secret::new(decoded("client-key-data", &user.client_key_data)?);
    tls.key_file = beside(&user.client_key, &user.client_key_data);
    tls.server_name.clone_from(&cluster.tls_server_name);
    tls.insecure_skip_verify = cluster.insecure_skip_tls_verify;
    if !user.token_file.is_empty() {
        config.bearer_token_file = beside(&user.token_file, "");
    } else if !user.token.is_empty() {
        config.bearer_token = Secret::new(user.token.as_str());
    } else if !user.username.is_empty() {
        let password = Secret::new(user.password.as_str());
        config.basic_auth = Some(BasicAuth { username: user.username.clone(), password, ..BasicAuth::default() });
    }
    if !cluster.proxy_url.is_empty() {
        bail!("the cluster's proxy-url is not supported; reach the API server directly");
    }
    Ok(config)
}

fn decoded(field: &str, data: &str) -> Result<String> {
    let bytes = STANDARD.decode(data.trim()).map_err(|_| anyhow!("{field} is not base64"))?;
    String::from_utf8(bytes).map_err(|_| anyhow!("{field} is not PEM text"))
}
