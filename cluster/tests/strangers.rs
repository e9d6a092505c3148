//! Peers that a source names, and Grafana Alloy's nodes, with which no fleet is formed.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

mod fleet;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cluster::{DiscoveryError, JoinEvent, PeerDiscovery, State, Step};
use fleet::{Node, bind, names, participants, within};
use http::{Method, Request, Response, StatusCode, Version, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use tokio::net::TcpStream;

/// What any wait may take before the test fails, on a machine that is busy with others.
const BOUND: Duration = Duration::from_secs(40);

type Answer = Result<Vec<(IpAddr, Option<u16>)>, DiscoveryError>;

/// A source that answers what it is told to.
#[derive(Debug)]
struct Listing(Mutex<Answer>);

#[async_trait]
impl PeerDiscovery for Listing {
    fn name(&self) -> &str {
        "list"
    }

    async fn peers(&self) -> Answer {
        self.0.lock().clone()
    }
}

async fn discovering(name: &str, answer: Answer) -> (Node, Arc<Listing>) {
    let listing = Arc::new(Listing(Mutex::new(answer)));
    let discovery = listing.clone();
    (Node::start_with(name, &[], |config| config.discovery = Some(discovery)).await, listing)
}

/// The first failure at a step that a node tells of: who, cause, remedy.
async fn failure(node: &Node, wanted: Step) -> (String, String, String) {
    let mut events = node.cluster.join_events();
    let next = async {
        loop {
            if let JoinEvent::Failed { peer, step, cause, remedy } = events.recv().await.unwrap()
                && step == wanted
            {
                return (peer, cause, remedy);
            }
        }
    };
    tokio::time::timeout(BOUND, next).await.unwrap_or_else(|_| panic!("no failure at step {wanted:?}"))
}

#[tokio::test]
async fn a_source_that_fails_leaves_the_node_waiting_until_it_works() {
    let seed = Node::start("a", &[]).await;
    let error = DiscoveryError { cause: "forbidden".into(), remedy: "let it".into() };
    let (node, listing) = discovering("b", Err(error)).await;
    let told = failure(&node, Step::Discovery).await;
    assert_eq!(told, ("--cluster.discover-peers (list)".into(), "forbidden".into(), "let it".into()));
    let trouble = || node.cluster.trouble().is_some_and(|trouble| trouble.contains("at step discovery: forbidden"));
    within(BOUND, "it is said why the node is not ready", trouble).await;
    // Longer than a node waits that knows that nobody is there.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(names(&node.cluster, |peer| peer.state == State::Viewer), ["b"], "it starts no fleet of its own");
    assert!(node.metric("collector_cluster_join_failures_total{cluster_name=\"test\",step=\"discovery\"}").unwrap() >= 1.0);
    *listing.0.lock() = Ok(vec![(seed.addr.ip(), Some(seed.addr.port())), (node.addr.ip(), None)]);
    within(BOUND, "b is in", || participants(&node.cluster) == ["a", "b"]).await;
}

#[tokio::test]
async fn a_source_that_finds_nobody_at_all_is_a_mistake() {
    let (node, _) = discovering("a", Ok(Vec::new())).await;
    let (_, cause, remedy) = failure(&node, Step::Discovery).await;
    assert!(cause.contains("not even this node") && remedy.contains("selectors"), "{cause}; {remedy}");
    assert_eq!(participants(&node.cluster), Vec::<String>::new());
}

#[tokio::test]
async fn a_source_that_finds_the_node_alone_lets_it_start_a_fleet() {
    let (listener, addr) = bind().await;
    let listing = Arc::new(Listing(Mutex::new(Ok(vec![(addr.ip(), None)]))));
    let node = Node::start_on(listener, "a", &[], |config| config.discovery = Some(listing));
    within(BOUND, "a works", || participants(&node.cluster) == ["a"]).await;
}

/// What Alloy's node answers on its listener: the paths of its cluster, and nothing else.
async fn alloy(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_theirs = request.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/x.ckit");
    let status = match request.uri().path() {
        "/api/v1/ckit/transport/message" | "/api/v1/ckit/transport/stream" => match (request.version(), is_theirs) {
            (Version::HTTP_2, true) => StatusCode::OK,
            (Version::HTTP_2, false) => StatusCode::BAD_REQUEST,
            _ => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        },
        _ => StatusCode::NOT_FOUND,
    };
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}

/// A server that answers every request so.
async fn server(answer: impl Fn(StatusCode) -> StatusCode + Copy + Send + Sync + 'static) -> SocketAddr {
    let (listener, addr) = bind().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service_fn(move |request| async move {
                let mut response = alloy(request).await?;
                *response.status_mut() = answer(response.status());
                Ok::<_, Infallible>(response)
            });
            tokio::spawn(
                async move { drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await) },
            );
        }
    });
    addr
}

#[tokio::test]
async fn a_grafana_alloy_node_is_called_by_its_name() {
    let addr = server(|status| status).await;
    let node = Node::start("a", &[addr]).await;
    let (peer, cause, remedy) = failure(&node, Step::Http).await;
    assert_eq!(peer, addr.to_string());
    assert_eq!(cause, "that is a Grafana Alloy node");
    assert!(remedy.contains("no fleet together"), "{remedy}");
    assert_eq!(participants(&node.cluster), Vec::<String>::new(), "it waits");
}

#[tokio::test]
async fn a_server_that_answers_all_alike_is_not_taken_for_alloy() {
    for status in [StatusCode::BAD_REQUEST, StatusCode::OK, StatusCode::NOT_FOUND] {
        let addr = server(move |_| status).await;
        let node = Node::start("a", &[addr]).await;
        let (_, cause, _) = failure(&node, Step::Http).await;
        assert!(!cause.contains("Alloy") && cause.contains(status.as_str()), "{cause}");
    }
}

#[tokio::test]
async fn alloys_peers_are_refused_by_name_and_counted() {
    let node = Node::start("a", &[]).await;
    let socket = TcpStream::connect(node.addr).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    for path in ["message", "stream"] {
        let request = Request::builder().method(Method::POST).uri(format!("http://{}/api/v1/ckit/transport/{path}", node.addr));
        let request = request.header(CONTENT_TYPE, "application/x.ckit").body(Full::new(Bytes::from_static(b"\xcc\0\x01x"))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("that is a collector node"), "{body:?}");
    }
    assert_eq!(node.metric("collector_cluster_rejected_peers_total{cluster_name=\"test\",reason=\"alloy\"}"), Some(2.0));
}
