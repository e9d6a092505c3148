//! The source `k8s` against a server on loopback that answers over TLS as an API server does.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// What the API server was asked.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    query: Vec<(String, String)>,
    token: String,
}

impl Asked {
    fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

type Script = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

/// An API server, and a pod's view of it.
struct Api {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    pod: TempDir,
    ca: String,
}

impl Api {
    async fn start(script: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let (acceptor, ca) = acceptor();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, asked, pod) = (listener.local_addr().unwrap(), Arc::default(), tempfile::tempdir().unwrap());
        std::fs::write(pod.path().join("token"), "first-token\n").unwrap();
        std::fs::write(pod.path().join("ca.crt"), &ca).unwrap();
        tokio::spawn(serve(listener, acceptor, Arc::new(script), Arc::clone(&asked)));
        Self { address, asked, pod, ca }
    }

    fn surroundings(&self) -> Surroundings {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let environment = Environment::of([("KUBERNETES_SERVICE_HOST", &host), ("KUBERNETES_SERVICE_PORT", &port)]);
        Surroundings { environment, service_account: self.pod.path().to_owned() }
    }

    fn source(&self, flag: &str) -> Kubernetes {
        Kubernetes::new(&Pairs::parse(flag).unwrap(), self.surroundings()).unwrap()
    }

    fn last(&self) -> Asked {
        self.asked.lock().last().cloned().unwrap()
    }
}

fn acceptor() -> (TlsAcceptor, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let chain: Vec<CertificateDer<'static>> = vec![cert.der().clone()];
    let mut config = builder.with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), pem)
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, script: Arc<Script>, asked: Arc<Mutex<Vec<Asked>>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, script, asked) = (acceptor.clone(), script.clone(), asked.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(socket).await else { return };
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (script, asked) = (script.clone(), asked.clone());
                async move {
                    let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
                    let token = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
                    let question = Asked { path: request.uri().path().to_owned(), query, token: token.unwrap_or_default() };
                    asked.lock().push(question.clone());
                    let (status, body) = script(&question);
                    Ok::<_, Infallible>(Response::builder().status(status).body(axum::body::Body::from(body)).unwrap())
                }
            });
            drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn pod(phase: &str, ip: &str) -> Value {
    let status = if ip.is_empty() { json!({ "phase": phase }) } else { json!({ "phase": phase, "podIP": ip, "hostIP": "192.168.0.1" }) };
    let containers = json!([{ "name": "c", "image": "i", "ports": [{ "name": "http", "containerPort": 80, "hostPort": 8080 }, { "containerPort": 81 }] }]);
    json!({ "metadata": { "name": "p", "namespace": "n", "uid": "u" }, "spec": { "containers": containers }, "status": status })
}

fn with_port(mut pod: Value, port: &str) -> Value {
    pod["metadata"]["annotations"] = json!({ PORT_ANNOTATION: port });
    pod
}

fn list(items: &[Value], next: &str) -> (u16, String) {
    let metadata = if next.is_empty() { json!({ "resourceVersion": "1" }) } else { json!({ "resourceVersion": "1", "continue": next }) };
    (200, json!({ "kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items }).to_string())
}

fn refusal(code: u16, message: &str) -> (u16, String) {
    (code, json!({ "kind": "Status", "status": "Failure", "message": message, "code": code }).to_string())
}

async fn found(source: &Kubernetes) -> Vec<String> {
    let peers = source.peers().await.unwrap_or_else(|error| panic!("{error}"));
    peers.into_iter().map(|(ip, port)| port.map_or(ip.to_string(), |port| SocketAddr::new(ip, port).to_string())).collect()
}

async fn error(source: &Kubernetes) -> DiscoveryError {
    source.peers().await.unwrap_err()
}

#[tokio::test]
async fn pods_that_run_or_start_are_peers_ready_or_not() {
    let api = Api::start(|_| {
        let mut unready = pod("Running", "10.0.0.2");
        unready["status"]["conditions"] = json!([{ "type": "Ready", "status": "False" }]);
        let pods = [
            pod("Running", "10.0.0.1"),
            unready,
            pod("Pending", "10.0.0.3"),
            pod("Pending", ""),
            pod("Succeeded", "10.0.0.4"),
            pod("Failed", "10.0.0.5"),
            pod("Running", "fd00::1"),
        ];
        list(&pods, "")
    })
    .await;
    let source = api.source(r#"provider=k8s namespace=monitoring label_selector="app=a,tier in (x, y)" field_selector="spec.nodeName=n""#);
    assert_eq!(found(&source).await, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"]);
    let asked = api.last();
    assert_eq!(asked.path, "/api/v1/namespaces/monitoring/pods");
    assert_eq!(asked.query("labelSelector"), Some("app=a,tier in (x, y)"));
    assert_eq!(asked.query("fieldSelector"), Some("spec.nodeName=n"));
    assert_eq!(asked.query("limit"), Some("500"));
    assert_eq!(asked.token, "Bearer first-token");
    assert_eq!((source.name(), format!("{source:?}").as_str()), ("k8s", "Kubernetes"));
}

#[tokio::test]
async fn ports_and_host_addresses_are_taken_as_in_go_discover() {
    let api = Api::start(|_| {
        let pod = || pod("Running", "10.0.0.1");
        list(&[pod(), with_port(pod(), "http"), with_port(pod(), "9999"), with_port(pod(), "no-such-port")], "")
    })
    .await;
    assert_eq!(found(&api.source("provider=k8s")).await, ["10.0.0.1", "10.0.0.1:80", "10.0.0.1:9999"]);
    assert_eq!(api.last().path, "/api/v1/namespaces/default/pods");
    assert_eq!(found(&api.source("provider=k8s host_network=true")).await, ["192.168.0.1", "192.168.0.1:8080", "192.168.0.1:9999"]);
}

#[tokio::test]
async fn long_lists_come_in_pages_and_endless_ones_end() {
    let api = Api::start(|asked| match asked.query("continue") {
        None => list(&[pod("Running", "10.0.0.1")], "page 2/&"),
        Some("page 2/&") => list(&[pod("Running", "10.0.0.2")], ""),
        Some(other) => panic!("{other}"),
    })
    .await;
    assert_eq!(found(&api.source("provider=k8s")).await, ["10.0.0.1", "10.0.0.2"]);
    let endless = Api::start(|_| list(&[], "again")).await;
    let error = error(&endless.source("provider=k8s")).await;
    assert!(error.cause.contains("more than 10000 pods") && error.remedy.contains("label_selector"), "{error:?}");
    assert_eq!(endless.asked.lock().len(), MAX_PAGES);
}

#[tokio::test]
async fn a_renewed_token_is_used() {
    let api = Api::start(|_| list(&[pod("Running", "10.0.0.1")], "")).await;
    let source = api.source("provider=k8s");
    found(&source).await;
    std::fs::write(api.pod.path().join("token"), "second-token-that-is-longer").unwrap();
    found(&source).await;
    assert_eq!(api.last().token, "Bearer second-token-that-is-longer");
}

#[tokio::test]
async fn refusals_name_the_rule_that_is_missing_and_never_the_selectors() {
    let flag = "provider=k8s namespace=fleet label_selector=\"secret in (hunter2)\"";
    let forbidden = "pods is forbidden: User \"system:serviceaccount:fleet:default\" cannot list resource \"pods\"";
    for (code, message, cause, remedy) in [
        (401, "Unauthorized", "401", "automountServiceAccountToken"),
        (
            403,
            forbidden,
            "system:serviceaccount:fleet:default",
            "namespace fleet with the rule apiGroups: [\"\"], resources: [\"pods\"], verbs: [\"list\"]",
        ),
        (400, "unable to parse requirement: hunter2", "400", "label_selector"),
        (404, "not found", "404", "Kubernetes API server"),
        (410, "the provided continue parameter is too old", "changed while it was read", "tried again"),
        (500, "hunter2", "500", "tried again"),
    ] {
        let api = Api::start(move |_| refusal(code, message)).await;
        let error = error(&api.source(flag)).await;
        assert!(error.cause.contains(cause) && error.remedy.contains(remedy), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_no_list_of_pods_is_an_error_within_bounds() {
    for body in ["", "hunter2", "{}", "{\"items\": [1], \"metadata\": {}}"] {
        let api = Api::start(move |_| (200, body.to_owned())).await;
        let error = error(&api.source("provider=k8s")).await;
        assert!(error.cause.contains("no list of pods") && !error.cause.contains("hunter2"), "{error:?}");
    }
    let huge = Api::start(|_| (200, " ".repeat(MAX_ANSWER + 1))).await;
    let error = error(&huge.source("provider=k8s")).await;
    assert!(error.cause.contains("larger than") && error.remedy.contains("label_selector"), "{error:?}");
}

#[tokio::test]
async fn failures_before_the_answer_name_their_step_and_not_the_question() {
    let flag = "provider=k8s label_selector=\"secret in (hunter2)\"";
    let api = Api::start(|_| list(&[], "")).await;
    std::fs::write(api.pod.path().join("ca.crt"), acceptor().1).unwrap();
    let wrong_ca = error(&api.source(flag)).await;
    assert!(wrong_ca.cause.contains("tls:") && wrong_ca.remedy.contains("ca.crt"), "{wrong_ca:?}");
    std::fs::write(api.pod.path().join("ca.crt"), &api.ca).unwrap();
    std::fs::remove_file(api.pod.path().join("token")).unwrap();
    let no_token = error(&api.source(flag)).await;
    assert!(no_token.cause.contains("credentials:") && no_token.remedy.contains("automountServiceAccountToken"), "{no_token:?}");
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let (host, port) = (nobody.ip().to_string(), nobody.port().to_string());
    let environment = Environment::of([("KUBERNETES_SERVICE_HOST", &host), ("KUBERNETES_SERVICE_PORT", &port)]);
    std::fs::write(api.pod.path().join("token"), "t").unwrap();
    let around = Surroundings { environment, service_account: api.pod.path().to_owned() };
    let refused = error(&Kubernetes::new(&Pairs::parse(flag).unwrap(), around).unwrap()).await;
    assert!(refused.cause.contains("connect:") && refused.remedy.contains("network policies"), "{refused:?}");
    for error in [wrong_ca, no_token, refused] {
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_kubeconfig_leads_to_its_server_with_a_token_or_a_certificate() {
    let api = Api::start(|_| list(&[pod("Running", "10.0.0.1")], "")).await;
    let folder = api.pod.path();
    let kubeconfig = |user: &str, ca: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Config\npreferences: {{}}\ncurrent-context: me@here\ncontexts:\n- name: other\n  context: {{cluster: x, user: y}}\n\
             - name: me@here\n  context: {{cluster: here, user: me, namespace: ignored}}\nclusters:\n- name: here\n  cluster:\n    server: \
             https://{}/prefix/\n    {ca}\nusers:\n- name: me\n  user: {{{user}}}\n",
            api.address
        );
        let path = folder.join("config");
        std::fs::write(&path, text).unwrap();
        path
    };
    let outside = || Surroundings { environment: Environment::of([("HOME", "/nowhere")]), service_account: "/nowhere".into() };
    let source = |path: &Path| {
        let flag = format!("provider=k8s namespace=n kubeconfig={}", path.display());
        Kubernetes::new(&Pairs::parse(&flag).unwrap(), outside())
    };
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &api.ca);
    let inline = format!("certificate-authority-data: {data}");
    assert_eq!(found(&source(&kubeconfig("token: of-the-user", &inline)).unwrap()).await, ["10.0.0.1"]);
    assert_eq!((api.last().path.as_str(), api.last().token.as_str()), ("/prefix/api/v1/namespaces/n/pods", "Bearer of-the-user"));
    assert_eq!(found(&source(&kubeconfig("tokenFile: token", "certificate-authority: ca.crt")).unwrap()).await, ["10.0.0.1"]);
    assert_eq!(api.last().token, "Bearer first-token");
    assert_eq!(found(&source(&kubeconfig("username: u, password: p", "insecure-skip-tls-verify: true")).unwrap()).await, ["10.0.0.1"]);
    assert_eq!(api.last().token, "Basic dTpw");
    for (user, ca, part) in [
        ("exec: {command: aws}", "", "another program"),
        ("token: hunter2, client-key-data: hunter2", "", "client-key-data is not base64"),
        ("token: [hunter2]", "", "is no kubeconfig"),
        ("token: hunter2", "proxy-url: http://hunter2", "proxy-url"),
    ] {
        let path = kubeconfig(user, ca);
        let error = source(&path).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(&path.display().to_string()) && !error.contains("hunter2"), "{error}");
    }
    let missing = source(Path::new("/nowhere/config")).unwrap_err();
    assert!(format!("{missing:#}").contains("/nowhere/config"), "{missing:#}");
}

#[test]
fn outside_of_kubernetes_a_kubeconfig_is_asked_for() {
    let around = Surroundings { environment: Environment::of([("HOME", "/nowhere")]), service_account: "/nowhere".into() };
    let error = Kubernetes::new(&Pairs::parse("provider=k8s").unwrap(), around).unwrap_err().to_string();
    assert!(error.contains("KUBERNETES_SERVICE_HOST") && error.contains("kubeconfig=FILE"), "{error}");
}
