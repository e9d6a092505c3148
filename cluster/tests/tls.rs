//! Fleets over TLS on loopback: who gets in, who does not and what both sides say, and how certificates and keys are changed. Files, and
//! the product's listener, are tested with the product.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

mod fleet;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cluster::{Config, JoinEvent, Key, STREAM_PATH, Step};
use fleet::{
    Component, Node, each_held_once, key,
    papers::{Authority, Papers, anonymous},
    participants, standstills, watch_for_standstills, within,
};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What any wait may take before the test fails, on a machine that is busy with others.
const BOUND: Duration = Duration::from_secs(40);
const HERE: &str = "127.0.0.1";

fn as_it_is(_: &mut Config) {}

/// The first failure at `step` that a node tells of, with its remedy.
async fn failure(node: &Node, wanted: Step) -> (String, String) {
    let mut events = node.cluster.join_events();
    tokio::time::timeout(BOUND, async {
        loop {
            if let JoinEvent::Failed { step, cause, remedy, .. } = events.recv().await.unwrap()
                && step == wanted
            {
                return (cause, remedy);
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

/// A member, and a node that wants to join it and must not: what it says.
async fn refused(member: &Arc<Papers>, other: &Arc<Papers>) -> (Node, String, String) {
    let seed = Node::start_tls("a", &[], member, as_it_is).await;
    let node = Node::start_tls("b", &[seed.addr], other, as_it_is).await;
    let (cause, remedy) = failure(&node, Step::Tls).await;
    assert_eq!((participants(&seed.cluster), participants(&node.cluster)), (vec!["a".to_owned()], Vec::new()));
    (seed, cause, remedy)
}

#[tokio::test]
async fn three_nodes_with_certificates_of_one_authority_share_the_keys() {
    let ca = Authority::new();
    let seed = Node::start_tls("a", &[], &Papers::new(&ca.sign(HERE), &[&ca]), as_it_is).await;
    let mut nodes = vec![seed];
    for name in ["b", "c"] {
        nodes.push(Node::start_tls(name, &[nodes[0].addr], &Papers::new(&ca.sign(HERE), &[&ca]), as_it_is).await);
    }
    within(BOUND, "all see all", || nodes.iter().all(|node| participants(&node.cluster) == ["a", "b", "c"])).await;
    let keys: Vec<u64> = (0..60).collect();
    let components: Vec<_> = nodes.iter().map(|node| Component::claim(&node.cluster, "scrape", &keys, 10_000)).collect();
    let all: Vec<_> = components.iter().collect();
    within(BOUND, "each key has one holder", || each_held_once(&all, &keys)).await;
    assert!(nodes.iter().all(|node| rejected(node, "tls") == 0.0));
}

#[tokio::test]
async fn a_peer_of_another_authority_is_not_trusted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (seed, cause, remedy) = refused(&Papers::new(&ours.sign(HERE), &[&ours]), &Papers::new(&theirs.sign(HERE), &[&theirs])).await;
    assert!(cause.contains("another authority") && remedy.contains("--cluster.tls-ca-path"), "{cause}; {remedy}");
    within(BOUND, "it is counted", || rejected(&seed, "tls") >= 1.0).await;
}

#[tokio::test]
async fn a_node_whose_own_certificate_is_of_another_authority_is_told_so() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (seed, cause, remedy) = refused(&Papers::new(&ours.sign(HERE), &[&ours]), &Papers::new(&theirs.sign(HERE), &[&ours])).await;
    assert!(cause.contains("does not accept this node's certificate"), "{cause}");
    assert!(remedy.contains("--cluster.tls-cert-path"), "{remedy}");
    within(BOUND, "it is counted", || rejected(&seed, "tls") >= 1.0).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_from_both_sides() {
    let ca = Authority::new();
    let (good, expired) = (Papers::new(&ca.sign(HERE), &[&ca]), Papers::new(&ca.sign_expired(HERE), &[&ca]));
    let (_, cause, remedy) = refused(&expired, &good).await;
    assert!(cause.contains("expired") && remedy.contains("renew"), "{cause}; {remedy}");
    let (seed, cause, _) = refused(&good, &expired).await;
    assert!(cause.contains("CertificateExpired"), "{cause}");
    within(BOUND, "it is counted", || rejected(&seed, "tls") >= 1.0).await;
}

#[tokio::test]
async fn a_certificate_for_servers_alone_opens_no_stream() {
    let ca = Authority::new();
    let (_, cause, remedy) = refused(&Papers::new(&ca.sign(HERE), &[&ca]), &Papers::new(&ca.sign_for_servers(HERE), &[&ca])).await;
    assert!(cause.contains("does not accept this node's certificate") && remedy.contains("clientAuth"), "{cause}; {remedy}");
}

#[tokio::test]
async fn an_address_that_the_certificate_does_not_bear_names_the_flag_that_helps() {
    let ca = Authority::new();
    let papers = Papers::new(&ca.sign("collector.example"), &[&ca]);
    let (_, cause, remedy) = refused(&papers, &papers).await;
    assert!(cause.contains(HERE) && cause.contains("collector.example"), "{cause}");
    assert!(remedy.contains("--cluster.tls-server-name"), "{remedy}");
    let other = Papers::expecting(&ca.sign(HERE), &[&ca], "other.example");
    let (_, cause, remedy) = refused(&papers, &other).await;
    assert!(cause.contains("other.example") && remedy.contains("--cluster.tls-server-name"), "{cause}; {remedy}");
}

#[tokio::test]
async fn with_a_server_name_addresses_do_not_matter() {
    let ca = Authority::new();
    let papers = || Papers::expecting(&ca.sign("collector.example"), &[&ca], "collector.example");
    let seed = Node::start_tls("a", &[], &papers(), as_it_is).await;
    let node = Node::start_tls("b", &[seed.addr], &papers(), as_it_is).await;
    within(BOUND, "b is in", || participants(&seed.cluster) == ["a", "b"] && participants(&node.cluster) == ["a", "b"]).await;
}

#[tokio::test]
async fn a_newcomer_whose_certificate_bears_another_address_hears_it_from_the_member() {
    let ca = Authority::new();
    // The member's bears its address, the newcomer's does not: only dialling back shows that.
    let seed = Node::start_tls("a", &[], &Papers::new(&ca.sign(HERE), &[&ca]), as_it_is).await;
    let node = Node::start_tls("b", &[seed.addr], &Papers::new(&ca.sign("10.0.0.9"), &[&ca]), as_it_is).await;
    let (cause, _) = failure(&node, Step::Tls).await;
    assert!(cause.contains("can't reach the advertised address") && cause.contains("--cluster.tls-server-name"), "{cause}");
    within(BOUND, "it is counted", || rejected(&seed, "tls") >= 1.0).await;
}

#[tokio::test]
async fn a_plain_peer_of_a_fleet_with_tls_is_refused_and_both_say_so() {
    let ca = Authority::new();
    let seed = Node::start_tls("a", &[], &Papers::new(&ca.sign(HERE), &[&ca]), as_it_is).await;
    let plain = Node::start("b", &[seed.addr]).await;
    let (cause, remedy) = failure(&plain, Step::Tls).await;
    assert!(cause.contains("over TLS only") && remedy.contains("--cluster.enable-tls"), "{cause}; {remedy}");
    within(BOUND, "it is counted", || rejected(&seed, "tls") >= 1.0).await;
    assert_eq!(participants(&seed.cluster), ["a"]);
}

#[tokio::test]
async fn a_peer_with_tls_of_a_plain_fleet_says_so() {
    let ca = Authority::new();
    let seed = Node::start("a", &[]).await;
    let node = Node::start_tls("b", &[seed.addr], &Papers::new(&ca.sign(HERE), &[&ca]), as_it_is).await;
    let (cause, remedy) = failure(&node, Step::Tls).await;
    assert!(cause.contains("does not speak TLS") && remedy.contains("--cluster.enable-tls"), "{cause}; {remedy}");
    assert_eq!(participants(&seed.cluster), ["a"]);
}

#[tokio::test]
async fn a_stream_over_tls_without_a_client_certificate_is_refused() {
    let ca = Authority::new();
    let node = Node::start_tls("a", &[], &Papers::new(&ca.sign(HERE), &[&ca]), as_it_is).await;
    let socket = TcpStream::connect(node.addr).await.unwrap();
    let name = ServerName::IpAddress(node.addr.ip().into());
    let stream = TlsConnector::from(anonymous(&ca)).connect(name, socket).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("https://{}{STREAM_PATH}", node.addr)).header("content-type", "application/vnd.collector.cluster");
    let response = sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(rejected(&node, "tls"), 1.0);
}

#[tokio::test]
async fn one_authority_follows_another_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let papers = [Papers::new(&old.sign(HERE), &[&old]), Papers::new(&old.sign(HERE), &[&old])];
    let seed = Node::start_tls("a", &[], &papers[0], as_it_is).await;
    let second = Node::start_tls("b", &[seed.addr], &papers[1], as_it_is).await;
    within(BOUND, "b is in", || participants(&seed.cluster) == ["a", "b"]).await;
    // First all trust both, then all show the new one, then the old one is forgotten.
    papers.iter().for_each(|papers| papers.renew(&old.sign(HERE), &[&old, &new]));
    papers.iter().for_each(|papers| papers.renew(&new.sign(HERE), &[&old, &new]));
    let between = Node::start_tls("c", &[seed.addr], &Papers::new(&new.sign(HERE), &[&new, &old]), as_it_is).await;
    within(BOUND, "c is in", || participants(&between.cluster) == ["a", "b", "c"]).await;
    papers.iter().for_each(|papers| papers.renew(&new.sign(HERE), &[&new]));
    let late = Node::start_tls("d", &[second.addr], &Papers::new(&new.sign(HERE), &[&new]), as_it_is).await;
    within(BOUND, "d is in", || participants(&late.cluster).len() == 4 && participants(&seed.cluster).len() == 4).await;
    assert_eq!(seed.metric("collector_cluster_members_lost_total"), Some(0.0), "open streams stay");
}

#[tokio::test]
async fn certificate_and_key_are_both_required_if_there_are_both() {
    let ca = Authority::new();
    let papers = || Papers::new(&ca.sign(HERE), &[&ca]);
    let with = |text: &'static str| move |config: &mut Config| config.key = key(text);
    let seed = Node::start_tls("a", &[], &papers(), with("a key of the fleet, long enough")).await;
    let wrong = Node::start_tls("b", &[seed.addr], &papers(), with("another key, long enough too")).await;
    let (cause, _) = failure(&wrong, Step::Key).await;
    assert!(cause.contains("differs"), "{cause}");
    let right = Node::start_tls("c", &[seed.addr], &papers(), with("a key of the fleet, long enough")).await;
    within(BOUND, "c is in", || participants(&right.cluster) == ["a", "c"]).await;
}

#[tokio::test]
async fn one_key_follows_another_without_a_restart() {
    watch_for_standstills();
    let (old, new) = ("the old key of the fleet", "the new key of the fleet");
    let start = async |name: &str, peers: &[_], text: &str| Node::start_with(name, peers, |config| config.key = key(text)).await;
    let seed = start("a", &[], old).await;
    let second = start("b", &[seed.addr], old).await;
    within(BOUND, "b is in", || participants(&seed.cluster) == ["a", "b"]).await;
    let renew = |text: String| {
        for node in [&seed, &second] {
            node.cluster.renew_key(Key::new(text.as_bytes()).unwrap());
        }
    };
    renew(format!("{old}\n{new}"));
    let with_old = start("c", &[seed.addr], old).await;
    within(BOUND, "the old key opens", || participants(&with_old.cluster) == ["a", "b", "c"]).await;
    renew(format!("{new}\n{old}"));
    let with_both = start("d", &[seed.addr], &format!("{new}\n{old}")).await;
    within(BOUND, "the new key opens", || participants(&with_both.cluster).contains(&"d".to_owned())).await;
    with_old.cluster.leave(Duration::from_secs(5)).await;
    renew(new.to_owned());
    with_both.cluster.renew_key(Key::new(new.as_bytes()).unwrap());
    let late = start("e", &[second.addr], old).await;
    let (cause, _) = failure(&late, Step::Key).await;
    assert!(cause.contains("differs"), "{cause}");
    let in_time = start("f", &[second.addr], new).await;
    within(BOUND, "f is in", || participants(&in_time.cluster).contains(&"f".to_owned())).await;
    // The goodbye of the one that left may have come too late if it stood still meanwhile.
    let lost = seed.metric("collector_cluster_members_lost_total").unwrap();
    assert!(lost <= f64::from(standstills()), "open streams stay");
}
