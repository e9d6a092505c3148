//! Ten thousand connections and peers that went astray, against real processes: memory stays bounded, health checks and peers are
//! answered, the log names each offender once.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

#[path = "../cluster/tests/stranger/mod.rs"]
mod stranger;
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use loadtest::fleet::{Fleet, FleetOptions, Node, metric_sum};
use loadtest::measure::ProcessStats;
use prost::Message as _;
use stranger::{Intent, Member, Members, Stranger, ask, gossip, hello, kind, nobody, pose_as, want};
use support::calm::calmly;
use support::{collector, get, metrics, until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const CONFIG: &str = "prometheus.scrape \"dead\" {\n\ttargets = [{\"__address__\" = \"127.0.0.1:1\"}]\n\tforward_to = []\n\tclustering {\n\t\t\
                      enabled = true\n\t}\n}\n";
const CLUSTER: &str = "loadtest";
const CONNECTIONS: usize = 10_000;
/// What all those connections may cost: 4,096 are kept, each with its task and the buffers of its protocol.
const CONNECTIONS_MAY_COST: u64 = 128 << 20;
/// What an absurd member may cost: the bounds of what is remembered of it (members, gossip, 131,072 keys), and what is under way.
const ABSURDITY_MAY_COST: u64 = 128 << 20;

/// One test at a time: each takes what the machine has, and what it proves is not that two of them fit.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn fleet(nodes: usize) -> Fleet {
    Fleet::start(FleetOptions { nodes, ..FleetOptions::new(collector(), CONFIG.to_owned()) }).await.unwrap()
}

fn peak(node: &Node) -> u64 {
    ProcessStats::read(node.process().unwrap().pid()).unwrap().peak_rss_bytes
}

fn address(node: &Node) -> SocketAddr {
    node.address().parse().unwrap()
}

async fn metric(node: &Node, name: &str) -> f64 {
    metric_sum(&metrics(node).await, name).unwrap_or_default()
}

/// Lines of the log that say this.
fn lines(node: &Node, what: &str) -> Vec<String> {
    let log = std::fs::read_to_string(node.process().unwrap().log()).unwrap();
    log.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
}

/// A connection of one of several kinds that all want nothing and stay.
async fn burden(to: SocketAddr, number: usize) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(to).await.ok()?;
    let said: &[u8] = match number % 5 {
        0 => b"",
        1 => b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        // Asked, and never read. Few ask for much: what it costs to write ten thousand answers is another question.
        2 if number % 50 == 2 => b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        2 => b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n",
        3 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        _ => b"\x16\x03\x01\x02\x00garbage",
    };
    socket.write_all(said).await.ok()?;
    Some(socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_keep_nobody_out_and_cost_bounded_memory() {
    calmly(async || {
        let _turn = TURN.lock().await;
        // Both ends of each are in this process and the collector: this one holds ten thousand.
        let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current = limit.maximum;
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let fleet = fleet(2).await;
        let (node, other) = (fleet.node(0).unwrap(), fleet.node(1).unwrap());
        until("both are members", Duration::from_secs(20), || async { metric(&node, "cluster_transport_streams").await == 2.0 }).await;
        let before = peak(&node);
        let mut held = Vec::with_capacity(CONNECTIONS);
        let mut slowest = Duration::ZERO;
        for number in 0..CONNECTIONS {
            held.extend(burden(address(&node), number).await);
            if number % 500 == 0 {
                let asked = Instant::now();
                let (status, text) = get(&node.url("/-/ready")).await;
                assert_eq!(status, 200, "after {number} connections: {text}");
                slowest = slowest.max(asked.elapsed());
            }
        }
        assert!(held.len() > CONNECTIONS * 9 / 10, "{} connections were made", held.len());
        // Any node answers for all, so this goes over the streams between them.
        until("a peer is answered", Duration::from_secs(20), || async {
            let (status, targets) = get(&other.url("/api/v1/targets?scope=cluster")).await;
            status == 200 && !targets.contains("partial answer")
        })
        .await;
        let grown = peak(&node).saturating_sub(before);
        println!("{CONNECTIONS} connections: {} MiB more, slowest answer {slowest:?}", grown >> 20);
        assert!(grown <= CONNECTIONS_MAY_COST, "grew by {} MiB", grown >> 20);
        until("those that gave way are closed", Duration::from_secs(20), || async {
            metric(&node, "collector_server_connections").await <= 4_200.0
        })
        .await;
        assert!(metric(&node, "collector_server_connections_crowded_out_total").await >= 4_000.0);
        for node in [&node, &other] {
            assert_eq!(metric(node, "collector_cluster_members_lost_total").await, 0.0);
            assert_eq!(metric(node, "collector_cluster_fences_total").await, 0.0);
        }
        assert!(lines(&node, "level=warn").len() < 20, "{:#?}", lines(&node, "level=warn"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offences_that_repeat_are_counted_each_and_logged_once_with_the_address() {
    let _turn = TURN.lock().await;
    let fleet = fleet(1).await;
    let node = fleet.node(0).unwrap();
    for _ in 0..200 {
        let mut garbage = Stranger::dial(address(&node)).await;
        garbage.sender.send("GET / HTTP/1.1\r\n\r\n".into()).await.unwrap();
        garbage.ended().await;
        let foreign = hello("another", nobody("x"), Intent::Link, false);
        assert_eq!(Stranger::dial(address(&node)).await.shake(&foreign, None).await.unwrap_err().reason, 2);
    }
    until("each is counted", Duration::from_secs(20), || async { metric(&node, "collector_cluster_rejected_peers_total").await == 400.0 })
        .await;
    let told = lines(&node, "refused a peer");
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told.iter().all(|line| line.contains("address=127.0.0.1")), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_member_costs_bounded_memory_and_a_line_per_kind() {
    calmly(async || {
        let _turn = TURN.lock().await;
        let fleet = fleet(3).await;
        let (node, other, rogue) = (fleet.node(0).unwrap(), fleet.node(1).unwrap(), fleet.node(2).unwrap());
        until("all are members", Duration::from_secs(20), || async { metric(&node, "cluster_transport_streams").await == 4.0 }).await;
        let before = peak(&node);
        let victim = ask(address(&node), CLUSTER, None).await;
        let posed = ask(address(&rogue), CLUSTER, None).await;
        let mut member = pose_as(posed.clone(), address(&node), CLUSTER, None).await;
        for round in 0..200_u64 {
            let ghosts: Vec<_> = (0..500).map(|index| format!("ghost-{round}-{index}")).collect();
            let others = ghosts.iter().map(|name| Member { phase: 2, ..nobody(name) }).collect();
            let keys: Vec<u64> = (round * 20_000..round * 20_000 + 16_000).collect();
            let messages = [
                (kind::OWNERSHIP, want(posed.generation, victim.generation, &format!("domain-{round}"), round, keys.into_iter())),
                (kind::OWNERSHIP, vec![0xff; 10_000]),
                (kind::MEMBERS, Members { sender: Some(posed.clone()), others }.encode_to_vec()),
                (kind::GOSSIP, gossip(CLUSTER, ghosts.into_iter())),
                (kind::GOSSIP, gossip("another", std::iter::empty())),
                (kind::GOSSIP, vec![1; 10_000]),
            ];
            for (kind, message) in messages {
                assert!(member.send(kind, &message).await, "the stream ended in round {round}: {:#?}", lines(&node, "level=warn"));
            }
        }
        until("all of it was looked at", Duration::from_secs(60), || async {
            metric(&node, "cluster_transport_stream_rx_packets_failed_total").await >= 200.0
        })
        .await;
        let (status, targets) = get(&other.url("/api/v1/targets?scope=cluster")).await;
        assert_eq!(status, 200, "{targets}");
        let grown = peak(&node).saturating_sub(before);
        println!("an absurd member: {} MiB more", grown >> 20);
        assert!(grown <= ABSURDITY_MAY_COST, "grew by {} MiB", grown >> 20);
        assert_eq!(metric(&node, "collector_cluster_fences_total").await, 0.0);
        let told = lines(&node, "dropped a member's message");
        assert_eq!(told.len(), 2, "garbage of two kinds: {told:#?}");
        assert!(lines(&node, "").len() < 3_000, "the log has {} lines", lines(&node, "").len());
    })
    .await;
}
