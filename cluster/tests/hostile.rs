//! What hostile peers get, over real sockets: those without the key, those that replay what others said, and members that went
//! astray. The others go on, memory is bounded, each offence is counted.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

mod fleet;
mod relay;
mod stranger;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fleet::{Component, Node, bind, each_held_once, key, participants, standstills, watch_for_standstills, within};
use prost::Message;
use relay::Relay;
use stranger::{Intent, Member, Members, Question, Stranger, ask, gossip, hello, kind, nobody, pose_as, want};
use tokio::time::timeout;

/// What any wait may take before the test fails, on a machine that is busy with others.
const BOUND: Duration = Duration::from_secs(40);
const SECRET: &str = "the key of this fleet, long enough";
const CLUSTER: &str = "test";

fn rejected(node: &Node, reason: &str) -> f64 {
    node.metric(&format!("collector_cluster_rejected_peers_total{{cluster_name=\"test\",reason=\"{reason}\"}}")).unwrap()
}

/// Waits until so many peers were refused for a reason, and no more: a handshake that stands still is given up and counted, too.
async fn refused(node: &Node, reason: &str, expected: f64) {
    within(BOUND, "each offence is counted", || rejected(node, reason) >= expected).await;
    assert!(rejected(node, reason) == expected || standstills() > 0, "{reason}: {}, not {expected}", rejected(node, reason));
}

fn streams(node: &Node) -> f64 {
    node.metric("cluster_transport_streams").unwrap()
}

async fn keyed(name: &str, peers: &[SocketAddr]) -> Node {
    Node::start_with(name, peers, |config| config.key = key(SECRET)).await
}

/// A fleet of three, whose streams are all open.
async fn fleet_of_three() -> [Node; 3] {
    watch_for_standstills();
    let a = keyed("a", &[]).await;
    let (b, rogue) = (keyed("b", &[a.addr]).await, keyed("rogue", &[a.addr]).await);
    let nodes = [a, b, rogue];
    within(BOUND, "all streams are open", || nodes.iter().all(|node| streams(node) == 4.0)).await;
    nodes
}

/// The two that are not rogue still talk, and nobody was taken for dead.
async fn others_go_on(nodes: &[Node; 3]) {
    nodes[1].cluster.on_request("echo", |body| async move { Ok(body) });
    let answer = timeout(BOUND, nodes[0].cluster.request("b", "echo", Bytes::from_static(b"still here"))).await;
    assert_eq!(answer.unwrap(), Ok(Bytes::from_static(b"still here")));
    let seen = participants(&nodes[0].cluster);
    assert!(seen.contains(&"a".to_owned()) && seen.contains(&"b".to_owned()), "{seen:?}");
    for node in &nodes[..2] {
        let (fences, excused) = (node.metric("collector_cluster_fences_total").unwrap(), f64::from(standstills()));
        assert!(fences <= excused, "{fences} fences, {excused} of them for want of a processor");
    }
}

/// Two nodes whose streams are open, and the relay through which the second reaches the first.
async fn over_a_relay() -> (Relay, Node, Node) {
    watch_for_standstills();
    let (listener, addr) = bind().await;
    let relay = Relay::start(addr).await;
    let a = Node::start_on(listener, "a", &[], |config| {
        config.key = key(SECRET);
        config.advertise_addr = relay.addr;
    });
    let b = keyed("b", &[relay.addr]).await;
    within(BOUND, "the streams are open", || streams(&a) == 2.0 && streams(&b) == 2.0).await;
    (relay, a, b)
}

#[tokio::test]
async fn a_handshake_that_is_replayed_is_refused_for_the_key_and_changes_nothing() {
    let (relay, a, _b) = over_a_relay().await;
    let before = rejected(&a, "key");
    let said = relay.recorded();
    assert!(said.len() >= 2, "b has asked and has linked");
    for (bytes, number) in said.iter().zip(1_u32..) {
        let _open = relay::say(a.addr, bytes).await;
        refused(&a, "key", before + f64::from(number)).await;
    }
    assert_eq!((streams(&a), participants(&a.cluster)), (2.0, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(a.metric("collector_cluster_members_lost_total"), Some(0.0));
}

#[tokio::test]
async fn a_frame_that_is_replayed_on_its_way_ends_the_stream_and_the_next_one_is_good() {
    let (relay, a, b) = over_a_relay().await;
    let connections = relay.recorded().len();
    relay.repeat_next_data();
    refused(&a, "protocol", 1.0).await;
    within(BOUND, "b dials again", || relay.recorded().len() > connections && streams(&a) == 2.0 && streams(&b) == 2.0).await;
    assert_eq!(participants(&a.cluster), ["a", "b"]);
    assert_eq!(a.metric("collector_cluster_members_lost_total"), Some(0.0));
}

#[tokio::test]
async fn foreign_versions_names_and_keys_get_their_reasons() {
    watch_for_standstills();
    let node = keyed("a", &[]).await;
    let good = hello(CLUSTER, nobody("x"), Intent::Check, true);
    let cases = [
        ("version", stranger::Hello { protocol: 99, ..good.clone() }, SECRET, 1, "99"),
        ("name", stranger::Hello { cluster: "\u{1b}[31mgreen".into(), ..good.clone() }, SECRET, 2, "\"[31mgreen\""),
        ("key", good.clone(), "another key that is long enough", 3, "differs"),
        ("key", stranger::Hello { keyed: false, ..good.clone() }, SECRET, 3, "requires"),
        ("protocol", stranger::Hello { nonce: vec![1; 7], ..good.clone() }, SECRET, 8, "nonce"),
        ("protocol", stranger::Hello { sender: None, ..good }, SECRET, 8, "name and address"),
    ];
    for (reason, hello, secret, number, said) in cases {
        let before = rejected(&node, reason);
        let reject = Stranger::dial(node.addr).await.shake(&hello, Some(secret)).await.unwrap_err();
        assert_eq!(reject.reason, number, "{reject:?}");
        assert!(reject.detail.contains(said), "{reject:?}");
        refused(&node, reason, before + 1.0).await;
    }
}

#[tokio::test]
async fn declared_lengths_beyond_all_bounds_end_the_stream_before_and_after_the_handshake() {
    let nodes = fleet_of_three().await;
    let rogue = ask(nodes[2].addr, CLUSTER, Some(SECRET)).await;
    let lengths = [u32::MAX, 1 << 30, 16 * 1024 + 64];
    for length in lengths {
        let stranger = Stranger::dial(nodes[0].addr).await;
        stranger.sender.send(Bytes::copy_from_slice(&length.to_be_bytes())).await.unwrap();
        let mut stranger = stranger;
        assert_eq!(timeout(BOUND, stranger.ended()).await.unwrap(), 1, "a refusal, then the end");
    }
    let before = rejected(&nodes[0], "protocol");
    let mut member = pose_as(rogue.clone(), nodes[0].addr, CLUSTER, Some(SECRET)).await;
    member.sender.send(Bytes::copy_from_slice(&u32::MAX.to_be_bytes())).await.unwrap();
    timeout(BOUND, member.ended()).await.unwrap();
    // A list of members in pieces without end, of which each is well within its bound.
    let mut member = pose_as(rogue, nodes[0].addr, CLUSTER, Some(SECRET)).await;
    let mut pieces = 0;
    while pieces < 200 && member.send_frame(kind::MEMBERS, true, &[0; 200_000]).await {
        pieces += 1;
    }
    assert!(pieces < 100, "{pieces} pieces of 200 kB were taken");
    refused(&nodes[0], "protocol", before + 2.0).await;
    others_go_on(&nodes).await;
}

#[tokio::test]
async fn a_member_that_reads_nothing_is_given_up_and_holds_up_nobody() {
    let nodes = fleet_of_three().await;
    nodes[0].cluster.on_request("much", |_| async { Ok(Bytes::from(vec![7; 1 << 20])) });
    let rogue = ask(nodes[2].addr, CLUSTER, Some(SECRET)).await;
    let mut member = pose_as(rogue, nodes[0].addr, CLUSTER, Some(SECRET)).await;
    within(BOUND, "its stream is open", || streams(&nodes[0]) == 5.0).await;
    let began = Instant::now();
    for id in 0..100 {
        member.send(kind::REQUEST, &Question { id, kind: "much".into() }.encode_to_vec()).await;
    }
    others_go_on(&nodes).await;
    // It is there and says so, and takes nothing.
    within(BOUND, "it is given up", || streams(&nodes[0]) == 4.0).await;
    let waiting = began.elapsed();
    assert!(waiting >= Duration::from_secs(5), "a peer that stands still for 5 s is borne: {waiting:?}");
    others_go_on(&nodes).await;
}

#[tokio::test]
async fn a_member_may_not_open_streams_without_end() {
    let nodes = fleet_of_three().await;
    let rogue = ask(nodes[2].addr, CLUSTER, Some(SECRET)).await;
    let mut members = Vec::new();
    for _ in 0..20 {
        members.push(pose_as(rogue.clone(), nodes[0].addr, CLUSTER, Some(SECRET)).await);
    }
    let most = 6.0;
    within(BOUND, "the older ones are ended", || streams(&nodes[0]) <= most).await;
    for member in &mut members[..17] {
        timeout(BOUND, member.ended()).await.unwrap();
    }
    others_go_on(&nodes).await;
}

#[tokio::test]
async fn absurd_messages_of_a_member_without_end_leave_the_others_their_keys_and_their_memory() {
    let nodes = fleet_of_three().await;
    let keys: Vec<u64> = (0..60).collect();
    let components: Vec<_> = nodes.iter().map(|node| Component::claim(&node.cluster, "scrape", &keys, 1_000)).collect();
    let all: Vec<_> = components.iter().collect();
    within(BOUND, "each key has one holder", || each_held_once(&all, &keys)).await;
    let (rogue, victim) = (ask(nodes[2].addr, CLUSTER, Some(SECRET)).await, ask(nodes[0].addr, CLUSTER, Some(SECRET)).await);
    let mut member = pose_as(rogue.clone(), nodes[0].addr, CLUSTER, Some(SECRET)).await;
    let ghost = |name: String| Member { state: 0, phase: 2, ..nobody(&name) };
    for round in 0..40_u64 {
        let ghosts = (0..300).map(|index| format!("ghost-{round}-{index}"));
        let absurd = round * 1_000_000..round * 1_000_000 + 4_000;
        let keys = absurd.collect::<Vec<_>>().into_iter();
        let messages = [
            (kind::OWNERSHIP, want(rogue.generation, victim.generation, &format!("domain-{round}"), round, keys)),
            (kind::OWNERSHIP, vec![0xff; 100]),
            (kind::MEMBERS, Members { sender: Some(rogue.clone()), others: ghosts.clone().map(ghost).collect() }.encode_to_vec()),
            (kind::GOSSIP, gossip(CLUSTER, ghosts.collect::<Vec<_>>().into_iter())),
            (kind::GOSSIP, gossip("another", std::iter::empty())),
            (kind::GOSSIP, vec![1; 100]),
        ];
        for (kind, message) in messages {
            assert!(member.send(kind, &message).await, "each message is dropped or taken, the stream goes on");
        }
    }
    let unread = || {
        let count = |name: &str| nodes[0].metric(name).unwrap();
        count("cluster_transport_stream_rx_packets_failed_total") >= 40.0 && count("cluster_transport_rx_packets_failed_total") >= 40.0
    };
    within(BOUND, "what makes no sense is counted", unread).await;
    let known = nodes[0].metric("cluster_node_gossip_alive_peers").unwrap();
    assert!(known <= 1_025.0, "{known} members are remembered");
    others_go_on(&nodes).await;
    within(BOUND, "each key has one holder", || each_held_once(&all, &keys)).await;
}
