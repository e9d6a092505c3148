//! Fleets over real HTTP/2 on loopback, and what strangers get on the cluster's path.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

mod fleet;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use cluster::{
    JoinEvent, RequestError, STREAM_PATH, State, Step,
    resolve::{Dns, LookupError},
};
use fleet::{Component, Node, bind, each_held_once, key, names, participants, standstills, watch_for_standstills, within};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Frame,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What any wait may take before the test fails, on a machine that is busy with others. How long things take is tested under
/// paused time, in `memory.rs`.
const BOUND: Duration = Duration::from_secs(40);

/// Nodes that all know all addresses from the start, as the pods of a StatefulSet.
async fn together(names: &[&str]) -> Vec<Node> {
    let mut listeners = Vec::new();
    for _ in names {
        listeners.push(bind().await);
    }
    let peers: Vec<_> = listeners.iter().map(|(_, addr)| *addr).collect();
    let nodes: Vec<_> =
        listeners.into_iter().zip(names).map(|((listener, _), name)| Node::start_on(listener, name, &peers, |_| {})).collect();
    within(BOUND, "all see all", || all_see(&nodes, names)).await;
    nodes
}

fn all_see(nodes: &[Node], expected: &[&str]) -> bool {
    nodes.iter().all(|node| participants(&node.cluster) == expected)
}

/// The first failure at `step` that a node tells of.
async fn failure(node: &Node, wanted: Step) -> (String, String, String) {
    let mut events = node.cluster.join_events();
    tokio::time::timeout(BOUND, async {
        loop {
            if let JoinEvent::Failed { peer, step, cause, remedy } = events.recv().await.unwrap()
                && step == wanted
            {
                return (peer, cause, remedy);
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no failure at step {wanted:?}"))
}

fn rejected(node: &Node, reason: &str) -> f64 {
    let line = format!("collector_cluster_rejected_peers_total{{cluster_name=\"test\",reason=\"{reason}\"}}");
    node.metric(&line).unwrap()
}

#[tokio::test]
async fn five_nodes_that_start_together_form_one_fleet_and_one_more_joins_it() {
    let mut nodes = together(&["a", "b", "c", "d", "e"]).await;
    let seed = nodes[3].addr;
    nodes.push(Node::start("f", &[seed]).await);
    within(BOUND, "all see f", || all_see(&nodes, &["a", "b", "c", "d", "e", "f"])).await;
    let streams = || nodes[0].metric("cluster_transport_streams") == Some(10.0);
    within(BOUND, "one stream to and one from each of five peers", streams).await;
    assert!(nodes[0].metric("cluster_transport_tx_packets_total").unwrap() > 0.0, "gossip runs");
    assert_eq!(nodes[0].metric("collector_cluster_members_lost_total"), Some(0.0));
}

#[tokio::test]
async fn joining_is_told_step_by_step() {
    watch_for_standstills();
    let (mut before, mut told) = (standstills(), told_while_joining().await);
    while !told.0 {
        assert!(standstills() > before, "{:?}", told.1);
        (before, told) = (standstills(), told_while_joining().await);
    }
}

/// What a node tells until it is in, and whether it is what it should.
async fn told_while_joining() -> (bool, Vec<JoinEvent>) {
    let seed = Node::start("a", &[]).await;
    seed.cluster.set_config_hash("same");
    let known = || seed.cluster.peers().iter().any(|peer| peer.config_hash == "same");
    within(BOUND, "a has said its hash", known).await;
    let node = Node::start("b", &[seed.addr]).await;
    node.cluster.set_config_hash("same");
    let mut events = node.cluster.join_events();
    let mut told = Vec::new();
    loop {
        let event = events.recv().await.unwrap();
        told.push(event.clone());
        if event == JoinEvent::Admitting {
            break;
        }
    }
    let expected = [
        JoinEvent::Resolved { address: seed.addr.to_string(), addrs: vec![seed.addr] },
        JoinEvent::Reached { addr: seed.addr, name: "a".into() },
        JoinEvent::Ring { nodes: 2, same_config: 2, new_fleet: false },
        JoinEvent::Admitting,
    ];
    (told == expected, told)
}

/// Name servers that know one name, `fleet`; `broken` gives no answer, all other names are absent.
struct Names(Vec<SocketAddr>);

#[async_trait::async_trait]
impl Dns for Names {
    async fn ips(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        match host {
            "fleet" => Ok(self.0.iter().map(SocketAddr::ip).collect()),
            "broken" => Err(LookupError::Failed("SERVFAIL".into())),
            _ => Err(LookupError::Absent),
        }
    }

    async fn srv_targets(&self, _: &str) -> Result<Vec<String>, LookupError> {
        Err(LookupError::Absent)
    }
}

#[tokio::test]
async fn a_fleet_is_found_by_name_and_a_name_that_fails_is_told_with_its_step() {
    let seed = Node::start("a", &[]).await;
    let (listener, addr) = bind().await;
    let names = ["broken".to_owned(), format!("dns+fleet:{}", seed.addr.port())];
    let config = fleet::config("b", addr, &[]).joining(names.iter().map(String::as_str)).unwrap();
    let node = Node::start_resolving(listener, config, Arc::new(Names(vec![seed.addr])));
    let (peer, cause, remedy) = failure(&node, Step::Dns).await;
    assert_eq!(peer, "broken");
    assert!(cause.contains("SERVFAIL") && remedy.contains("resolv.conf"), "{cause}: {remedy}");
    within(BOUND, "b is in", || participants(&node.cluster) == ["a", "b"]).await;
}

#[tokio::test]
async fn a_killed_node_is_missed() {
    let mut nodes = together(&["a", "b", "c"]).await;
    let dead = nodes.pop().unwrap();
    dead.kill();
    within(BOUND, "c is missed", || all_see(&nodes, &["a", "b"])).await;
    assert_eq!(nodes[0].metric("collector_cluster_members_lost_total"), Some(1.0));
}

#[tokio::test]
async fn a_node_that_leaves_hands_everything_over_and_is_gone_at_once() {
    watch_for_standstills();
    let nodes = together(&["a", "b", "c"]).await;
    let keys: Vec<u64> = (0..60).collect();
    let components: Vec<_> = nodes.iter().map(|node| Component::claim(&node.cluster, "scrape", &keys, 10_000)).collect();
    let all: Vec<_> = components.iter().collect();
    // Those that claimed first may hold all for a moment.
    within(BOUND, "each key has one holder, and a its share", || each_held_once(&all, &keys) && !components[0].keys().is_empty()).await;
    let moving = components[0].keys();

    let report = nodes[0].cluster.leave(Duration::from_secs(30)).await;
    assert!(report.drained && report.keys_left == 0, "{report:?}");
    assert!(each_held_once(&all[1..], &keys) || standstills() > 0, "the others have taken everything when leave returns");
    within(BOUND, "the others have taken everything", || each_held_once(&all[1..], &keys)).await;
    within(BOUND, "a is gone", || all_see(&nodes[1..], &["b", "c"])).await;
    // A handover that stood still for long goes on without the state.
    for key in moving.into_iter().filter(|_| standstills() == 0) {
        let got = components[1..].iter().find_map(|component| component.state.lock().states.get(&key).cloned());
        assert_eq!(got, Some(Bytes::from(format!("state of {key}"))), "what was handed over arrived");
    }
}

#[tokio::test]
async fn of_three_nodes_exactly_one_holds_each_key_and_the_rest_take_a_dead_nodes_share() {
    let nodes = together(&["a", "b", "c"]).await;
    let keys: Vec<u64> = (0..100).collect();
    let components: Vec<_> = nodes.iter().map(|node| Component::claim(&node.cluster, "scrape", &keys, 1_000)).collect();
    let all: Vec<_> = components.iter().collect();
    // Those that claimed first may hold all for a moment.
    let spread = || components.iter().all(|component| component.keys().len() > 10);
    within(BOUND, "each key has one holder, and the keys are spread", || each_held_once(&all, &keys) && spread()).await;
    nodes[1].kill();
    within(BOUND, "the share of b is taken", || each_held_once(&[all[0], all[2]], &keys)).await;
}

#[tokio::test]
async fn the_same_name_at_a_new_address_takes_its_place() {
    let mut nodes = together(&["a", "b", "c"]).await;
    let dead = nodes.pop().unwrap();
    dead.kill();
    let reborn = Node::start("c", &[nodes[0].addr]).await;
    let is_new = |node: &Node| node.cluster.peers().iter().any(|peer| peer.name == "c" && peer.addr == reborn.addr);
    within(BOUND, "the new c is in", || nodes.iter().all(&is_new) && participants(&reborn.cluster).len() == 3).await;
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_with_both_names() {
    let seed = Node::start("a", &[]).await;
    let stranger = Node::start_with("b", &[seed.addr], |config| config.cluster_name = "other".into()).await;
    let (peer, cause, remedy) = failure(&stranger, Step::Name).await;
    assert_eq!(peer, seed.addr.to_string());
    assert!(cause.contains("\"test\"") && cause.contains("\"other\""), "{cause}");
    assert!(remedy.contains("--cluster.name"), "{remedy}");
    assert!(rejected(&seed, "name") >= 1.0);
    assert_eq!(names(&stranger.cluster, |peer| peer.state == State::Viewer), ["b"], "it starts no fleet of its own");
    assert_eq!(participants(&seed.cluster), ["a"]);
}

#[tokio::test]
async fn a_node_with_another_key_or_none_is_refused_and_one_with_the_key_is_not() {
    let good = "a key of the fleet, long enough";
    let seed = Node::start_with("a", &[], |config| config.key = key(good)).await;
    let wrong = Node::start_with("b", &[seed.addr], |config| config.key = key("another key, long enough too")).await;
    let (_, cause, remedy) = failure(&wrong, Step::Key).await;
    assert!(cause.contains("differs") && remedy.contains("--cluster.key-file"), "{cause}: {remedy}");
    let bare = Node::start("c", &[seed.addr]).await;
    let (_, cause, _) = failure(&bare, Step::Key).await;
    assert!(cause.contains("requires a cluster key"), "{cause}");
    assert!(rejected(&seed, "key") >= 2.0);

    let member = Node::start_with("d", &[seed.addr], |config| config.key = key(good)).await;
    within(BOUND, "d is in", || participants(&seed.cluster) == ["a", "d"] && participants(&member.cluster) == ["a", "d"]).await;
    member.cluster.on_request("sum", |body| async move { Ok(Bytes::from(body.len().to_string())) });
    let big = Bytes::from(vec![7; 600_000]);
    within(BOUND, "the stream to d is open", || seed.metric("cluster_transport_streams") == Some(2.0)).await;
    assert_eq!(seed.cluster.request("d", "sum", big).await, Ok(Bytes::from_static(b"600000")), "frames pass with MACs");
}

#[tokio::test]
async fn an_advertised_address_that_leads_nowhere_is_refused_with_the_flag_to_set() {
    let seed = Node::start("a", &[]).await;
    let nowhere = bind().await.1;
    let node = Node::start_with("b", &[seed.addr], |config| config.advertise_addr = nowhere).await;
    let (_, cause, remedy) = failure(&node, Step::Advertise).await;
    assert!(cause.contains(&nowhere.to_string()) && cause.contains("refused"), "{cause}");
    assert!(remedy.contains("--cluster.advertise-address"), "{remedy}");
    assert_eq!(participants(&seed.cluster), ["a"]);
}

#[tokio::test]
async fn a_port_that_is_no_cluster_endpoint_fails_as_such() {
    let (listener, addr) = bind().await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 1024];
            let _read = socket.read(&mut buffer).await;
            let _written = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let node = Node::start("a", &[addr]).await;
    let (_, cause, remedy) = failure(&node, Step::Http).await;
    assert!(cause.contains("HTTP/2"), "{cause}");
    assert!(remedy.contains("--server.http.listen-addr"), "{remedy}");
}

#[tokio::test]
async fn members_ask_each_other_within_bounds() {
    let nodes = together(&["a", "b"]).await;
    nodes[1].cluster.on_request("targets", |body| async move { Ok(body) });
    nodes[1].cluster.on_request("fails", |_| async { Err("not now".to_owned()) });
    nodes[0].cluster.on_request("targets", |_| async { Ok(Bytes::from_static(b"own")) });
    let asker = &nodes[0].cluster;
    within(BOUND, "streams are open", || nodes[0].metric("cluster_transport_streams") == Some(2.0)).await;
    let big = Bytes::from(vec![b'x'; 1_000_000]);
    assert_eq!(asker.request("b", "targets", big.clone()).await, Ok(big));
    assert_eq!(asker.request("a", "targets", Bytes::new()).await, Ok(Bytes::from_static(b"own")));
    assert_eq!(asker.request("b", "fails", Bytes::new()).await, Err(RequestError::Failed("not now".into())));
    assert_eq!(asker.request("z", "targets", Bytes::new()).await, Err(RequestError::UnknownPeer("z".into())));
    let huge = Bytes::from(vec![0; cluster::MAX_BODY_BYTES + 1]);
    assert_eq!(asker.request("b", "targets", huge).await, Err(RequestError::TooLarge(cluster::MAX_BODY_BYTES + 1)));
}

async fn http1_status(addr: SocketAddr, method: Method) -> (StatusCode, String) {
    let socket = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(STREAM_PATH).header("host", "x");
    let response = sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Opens a stream as a stranger, sends `bytes` and returns the status and what comes back.
async fn stranger(addr: SocketAddr, method: Method, content_type: &str, bytes: &[u8]) -> (StatusCode, Bytes) {
    let socket = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{addr}{STREAM_PATH}"))
        .header("content-type", content_type)
        .body(Full::new(Bytes::copy_from_slice(bytes)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let mut body = response.into_body();
    let mut answer = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        answer.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    (status, answer.freeze())
}

const OURS: &str = "application/vnd.collector.cluster";

#[tokio::test]
async fn http1_on_the_path_gets_505_and_the_likely_cause() {
    let node = Node::start("a", &[]).await;
    let (status, body) = http1_status(node.addr, Method::POST).await;
    assert_eq!(status, StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    assert!(body.contains("proxy"), "{body}");
}

#[tokio::test]
async fn requests_that_are_no_streams_get_a_status_that_says_so() {
    let node = Node::start("a", &[]).await;
    assert_eq!(stranger(node.addr, Method::GET, OURS, b"").await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(stranger(node.addr, Method::POST, "text/plain", b"").await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn garbage_and_oversized_frames_end_the_stream_are_counted_and_harm_nobody() {
    watch_for_standstills();
    let nodes = together(&["a", "b"]).await;
    let before = rejected(&nodes[0], "protocol");
    for bytes in [&b"\x00\x00\x00\x04garbage"[..], &u32::MAX.to_be_bytes(), b"\x00\x00\x00\x02\x05\x00", b"\x00"] {
        let (status, answer) = stranger(nodes[0].addr, Method::POST, OURS, bytes).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer.get(4), Some(&4), "a refusal comes back: {answer:?}");
    }
    within(BOUND, "each is counted", || rejected(&nodes[0], "protocol") >= before + 4.0).await;
    assert!(rejected(&nodes[0], "protocol") == before + 4.0 || standstills() > 0, "once each");
    assert!(all_see(&nodes, &["a", "b"]));
    assert!(nodes[0].cluster.request("b", "none", Bytes::new()).await.is_err_and(|error| matches!(error, RequestError::Failed(_))));
}

#[tokio::test]
async fn strangers_that_open_streams_and_say_nothing_keep_nobody_out() {
    let seed = Node::start("a", &[]).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let socket = TcpStream::connect(seed.addr).await.unwrap();
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post(format!("http://{}{STREAM_PATH}", seed.addr)).header("content-type", OURS);
        let body = http_body_util::StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        silent.push((sender.send_request(request.body(body).unwrap()).await.unwrap(), sender));
    }
    let node = Node::start("b", &[seed.addr]).await;
    within(BOUND, "b is in", || participants(&node.cluster) == ["a", "b"]).await;
}
