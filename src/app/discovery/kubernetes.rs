//! `provider=k8s`: the pods that a selector finds, as peers. Arguments and their defaults are go-discover's, with one difference: pods that
//! are not ready count too, since the members of a new fleet must find each other before any of them is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use async_trait::async_trait;
use bytes::Bytes;
use cluster::{DiscoveryError, PeerDiscovery};
use http::StatusCode;
use net::{AnswerBody, Client, ClientOptions, Environment, HttpClientConfig, Step, read_body};
use serde::Deserialize;
use url::Url;

use super::kubeconfig;
use super::pairs::Pairs;

/// Where Kubernetes puts a pod's credentials.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// go-discover's default, whatever the namespace of the own pod.
const DEFAULT_NAMESPACE: &str = "default";
/// The annotation by which a pod names its port, by number or by name.
const PORT_ANNOTATION: &str = "consul.hashicorp.com/auto-join-port";
/// Pods in one answer: what kubectl asks for.
const PAGE: usize = 500;
/// Answers for one question: more pods are no fleet.
const MAX_PAGES: usize = 20;
/// Bytes of one answer. A pod has 5 to 30 KiB.
const MAX_ANSWER: usize = 32 << 20;
/// For the head of an answer, and again for its body.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of what the API server says when it refuses.
const MAX_REASON: usize = 64 << 10;
/// Characters of it that are shown.
const MAX_SHOWN: usize = 300;

/// What a process in a pod, or beside one, finds around it.
pub struct Surroundings {
    environment: Environment,
    service_account: PathBuf,
}

impl Surroundings {
    /// The process's own.
    pub fn of_process() -> Self {
        Self { environment: Environment::of_process(), service_account: SERVICE_ACCOUNT.into() }
    }
}

/// An API server and what it is asked.
pub struct Kubernetes {
    client: Client,
    pods: Url,
    namespace: String,
    host_network: bool,
}

impl std::fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kubernetes")
    }
}

impl Kubernetes {
    /// Finds out where the API server is. It is not asked yet.
    ///
    /// # Errors
    /// An argument is unknown or wrong, or there is neither a kubeconfig nor a pod around.
    pub fn new(pairs: &Pairs, around: Surroundings) -> Result<Self> {
        pairs.only(&["provider", "namespace", "label_selector", "field_selector", "host_network", "kubeconfig"])?;
        let host_network = match pairs.get("host_network") {
            "" | "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
            "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
            _ => bail!("--cluster.discover-peers: host_network is neither true nor false"),
        };
        let namespace = Some(pairs.get("namespace")).filter(|name| !name.is_empty()).unwrap_or(DEFAULT_NAMESPACE).to_owned();
        let (server, config) = server(pairs.get("kubeconfig"), &around)?;
        let options = ClientOptions { connect_timeout: PATIENCE, timeout: Some(PATIENCE), ..ClientOptions::default() };
        let client = Client::new(&config, options).map_err(|error| anyhow!("--cluster.discover-peers: {error}"))?;
        let mut pods = server;
        if let Ok(mut path) = pods.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1", "namespaces", namespace.as_str(), "pods"]);
        }
        pods.query_pairs_mut().append_pair("limit", &PAGE.to_string());
        for (key, parameter) in [("label_selector", "labelSelector"), ("field_selector", "fieldSelector")] {
            if !pairs.get(key).is_empty() {
                pods.query_pairs_mut().append_pair(parameter, pairs.get(key));
            }
        }
        Ok(Self { client, pods, namespace, host_network })
    }

    async fn page(&self, after: Option<&str>) -> Result<PodList, DiscoveryError> {
        let mut url = self.pods.clone();
        if let Some(after) = after {
            url.query_pairs_mut().append_pair("continue", after);
        }
        // The URL is not shown: it holds the selectors.
        let request = http::Request::get(url.as_str()).header(http::header::ACCEPT, "application/json").body(Bytes::new().into());
        let request = request.map_err(|_| failed("its URL can't be asked for", "check namespace and selectors"))?;
        let response = self.client.send(request).await.map_err(|error| failed(error.to_string(), remedy(error.step)))?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response).await);
        }
        let body = tokio::time::timeout(PATIENCE, read_body(response, MAX_ANSWER)).await;
        let body = body.map_err(|_| failed(format!("the list of pods did not come within {PATIENCE:?}"), AGAIN))?;
        let body = body.map_err(|error| failed(format!("the list of pods: {error}"), "select fewer pods with label_selector"))?;
        // Megabytes of text: not on the control thread.
        let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&body)).await;
        match parsed {
            Ok(Ok(list)) => Ok(list),
            _ => Err(failed("the answer is no list of pods", "check that the address is that of a Kubernetes API server")),
        }
    }

    async fn refused(&self, response: http::Response<AnswerBody>) -> DiscoveryError {
        let status = response.status();
        let said = format!("the API server answers {status}");
        match status {
            StatusCode::UNAUTHORIZED => {
                failed(said, "give the pod a service account token (automountServiceAccountToken), or renew the kubeconfig's credentials")
            }
            StatusCode::FORBIDDEN => DiscoveryError {
                cause: format!("{said}{}", reason(response).await),
                remedy: format!(
                    "bind this node's service account to a Role in the namespace {} with the rule apiGroups: [\"\"], resources: [\"pods\"], \
                     verbs: [\"list\"]",
                    self.namespace
                )
                .into(),
            },
            // What it says holds the selectors.
            StatusCode::BAD_REQUEST => failed(said, "check label_selector and field_selector: the API server can't read them"),
            StatusCode::GONE => failed(format!("{said}: the list changed while it was read"), AGAIN),
            StatusCode::NOT_FOUND => failed(said, "check that the address is that of a Kubernetes API server"),
            _ => failed(said, AGAIN),
        }
    }
}

const AGAIN: &str = "none needed: it is tried again";

#[async_trait]
impl PeerDiscovery for Kubernetes {
    fn name(&self) -> &str {
        "k8s"
    }

    async fn peers(&self) -> Result<Vec<(IpAddr, Option<u16>)>, DiscoveryError> {
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = self.page(after.as_deref()).await?;
            found.extend(page.items.unwrap_or_default().iter().filter_map(|pod| pod.peer(self.host_network)));
            after = page.metadata.next.filter(|next| !next.is_empty());
            if after.is_none() {
                return Ok(found);
            }
        }
        Err(failed(format!("there are more than {} pods", MAX_PAGES * PAGE), "select this fleet's pods with label_selector"))
    }
}

/// The API server, and how it is spoken to. The order is go-discover's.
fn server(kubeconfig: &str, around: &Surroundings) -> Result<(Url, HttpClientConfig)> {
    if !kubeconfig.is_empty() {
        return kubeconfig::read(Path::new(kubeconfig));
    }
    let home = around.environment.get("HOME").map(|home| Path::new(&home).join(".kube/config"));
    let usual = around.environment.get("KUBECONFIG").map(PathBuf::from).into_iter().chain(home).find(|path| path.is_file());
    if let Some(path) = usual {
        return kubeconfig::read(&path);
    }
    let (host, port) = (around.environment.get("KUBERNETES_SERVICE_HOST"), around.environment.get("KUBERNETES_SERVICE_PORT"));
    let Some((host, port)) = host.zip(port) else {
        bail!(
            "--cluster.discover-peers: this is no pod of Kubernetes (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set), and \
             there is no kubeconfig; give kubeconfig=FILE"
        );
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url = Url::parse(&format!("https://{host}:{port}/"));
    let url = url.map_err(|error| anyhow!("--cluster.discover-peers: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT: {error}"))?;
    let file = |name: &str| around.service_account.join(name).display().to_string();
    let mut config = HttpClientConfig { bearer_token_file: file("token"), follow_redirects: false, ..HttpClientConfig::default() };
    config.tls_config.ca_file = file("ca.crt");
    Ok((url, config))
}

fn failed(cause: impl Into<String>, remedy: impl Into<Cow<'static, str>>) -> DiscoveryError {
    DiscoveryError { cause: cause.into(), remedy: remedy.into() }
}

fn remedy(step: Step) -> &'static str {
    match step {
        Step::Credentials => "give the pod a service account token (automountServiceAccountToken)",
        Step::Tls => "check the certificate of the authority: ca.crt of the service account, or the kubeconfig's",
        _ => "check that this node reaches the API server: routes, network policies, a proxy",
    }
}

/// What the API server says of its refusal: who may not do what.
async fn reason(response: http::Response<AnswerBody>) -> String {
    let Ok(Ok(body)) = tokio::time::timeout(PATIENCE, read_body(response, MAX_REASON)).await else { return String::new() };
    let message = serde_json::from_slice(&body).map(|Status { message }| message).unwrap_or_default();
    let shown: String = message.chars().filter(|character| !character.is_control()).take(MAX_SHOWN).collect();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}

#[derive(Deserialize)]
struct Status {
    message: String,
}

#[derive(Deserialize)]
struct PodList {
    metadata: ListMeta,
    items: Option<Vec<Pod>>,
}

#[derive(Deserialize)]
struct ListMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    metadata: PodMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
struct PodMeta {
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
struct PodSpec {
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default)]
    name: String,
    container_port: u16,
    #[serde(default)]
    host_port: u16,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
}

impl Pod {
    /// Where it may be reached; nowhere if it has ended or has no address yet, or if the port that it names does not exist.
    fn peer(&self, host_network: bool) -> Option<(IpAddr, Option<u16>)> {
        if !matches!(self.status.phase.as_str(), "Running" | "Pending") {
            return None;
        }
        let ip = if host_network { &self.status.host_ip } else { &self.status.pod_ip };
        let named = self.metadata.annotations.as_ref().and_then(|annotations| annotations.get(PORT_ANNOTATION));
        let port = named.filter(|name| !name.is_empty()).map(|name| self.port(name, host_network));
        match port {
            Some(None) => None,
            Some(Some(port)) => Some((ip.parse().ok()?, Some(port))),
            None => Some((ip.parse().ok()?, None)),
        }
    }

    fn port(&self, name: &str, host_network: bool) -> Option<u16> {
        let ports = self.spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
        let named = ports.filter(|port| port.name == name).map(|port| if host_network { port.host_port } else { port.container_port });
        named.filter(|port| *port != 0).chain(name.parse().ok()).find(|port| *port != 0)
    }
}

#[cfg(test)]
mod tests;
