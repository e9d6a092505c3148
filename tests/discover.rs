//! `--cluster.discover-peers` with real processes and a server that answers as the API server of Kubernetes does.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use serde_json::{Value, json};
use support::member::{counter, node, ready};
use support::until;

const PATIENCE: Duration = Duration::from_secs(30);
const SELECTOR: &str = "app in (collector, hunter2)";

/// An API server that lists pods at these ports, once it is allowed to.
async fn api(ports: Vec<u16>, allowed: Arc<AtomicBool>) -> SocketAddr {
    let list = move |Query(query): Query<Vec<(String, String)>>| async move {
        assert!(query.contains(&("labelSelector".to_owned(), SELECTOR.to_owned())), "{query:?}");
        if !allowed.load(Ordering::SeqCst) {
            let status =
                json!({ "kind": "Status", "message": "pods is forbidden: User \"me\" cannot list resource \"pods\"", "code": 403 });
            return (StatusCode::FORBIDDEN, axum::Json(status)).into_response();
        }
        let pod = |port: &u16| {
            let meta = json!({ "annotations": { "consul.hashicorp.com/auto-join-port": port.to_string() } });
            json!({ "metadata": meta, "spec": { "containers": [] }, "status": { "phase": "Running", "podIP": "127.0.0.1" } })
        };
        let items: Vec<Value> = ports.iter().map(pod).collect();
        axum::Json(json!({ "kind": "PodList", "metadata": {}, "items": items })).into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/api/v1/namespaces/fleet/pods", get(list));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

fn flag(folder: &Path, api: SocketAddr) -> Vec<String> {
    let kubeconfig = folder.join("kubeconfig");
    let text = format!(
        "current-context: c\ncontexts:\n- {{name: c, context: {{cluster: k, user: u}}}}\nclusters:\n- {{name: k, cluster: {{server: 'http://{api}'}}}}\n\
         users:\n- {{name: u, user: {{token: hunter2}}}}\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let pairs = format!("provider=k8s namespace=fleet label_selector=\"{SELECTOR}\" kubeconfig=\"{}\"", kubeconfig.display());
    vec![format!("--cluster.discover-peers={pairs}")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_until_the_api_server_lets_it_list_pods_and_then_joins_them() {
    let folder = tempfile::tempdir().unwrap();
    let (first, address) = node(folder.path(), "first", None, &[]);
    first.ready(&format!("http://{address}/-/ready"), PATIENCE).await.unwrap();
    let allowed = Arc::new(AtomicBool::new(false));
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let api = api(vec![port], allowed.clone()).await;
    let (second, other) = node(folder.path(), "second", None, &flag(folder.path(), api));
    until("the node says why it is not ready", PATIENCE, || async {
        let (status, text) = ready(&other).await;
        status == 503 && ["step discovery", "403", "cannot list", "verbs: [\"list\"]"].iter().all(|part| text.contains(part))
    })
    .await;
    // Longer than a node waits that knows that nobody is there.
    support::pause(6).await;
    assert_eq!(ready(&other).await.0, 503);
    assert!(counter(&other, "collector_cluster_join_failures_total|step=\"discovery\"").await >= 1.0);
    allowed.store(true, Ordering::SeqCst);
    second.ready(&format!("http://{other}/-/ready"), PATIENCE).await.unwrap();
    let (_, peers) = support::get(&format!("http://{other}/api/v0/web/peers")).await;
    assert_eq!(peers.matches("\"participant\"").count(), 2, "{peers}");
    let log = std::fs::read_to_string(second.log()).unwrap();
    assert!(log.contains("--cluster.discover-peers (k8s)") && !log.contains("hunter2"), "{log}");
}
