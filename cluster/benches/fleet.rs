//! What it costs a node to be in a fleet at rest: bytes, CPU, memory and file descriptors, over real HTTP/2 on loopback with all nodes in
//! this process, and bytes of a large fleet in memory under virtual time. Nobody holds a key here: what scraping costs is measured
//! elsewhere. `cargo bench -p cluster --bench fleet -- --nodes 40 --seconds 60 --large 150`; with `--starts 5` only starts, five times.
//!
//! In a network namespace of its own (`unshare -rn`, then `ip link set lo up`) the counters of the loopback interface are those of the
//! fleet, with all headers; elsewhere they include whatever else runs.

#![allow(clippy::unwrap_used, reason = "a measurement that can't be made ends with the reason")]

#[path = "../tests/fleet/mod.rs"]
mod fleet;

use std::{
    fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::{Cluster, Config, DEFAULT_GOSSIP_INTERVAL, State, memory::Network};
use fleet::{
    CERTIFIED_HOST, MemoryNode, Node, bind_at, clock, key, memory_addr, metric,
    papers::{Authority, Papers},
};
use prometheus::Registry;
use tokio::net::TcpListener;

/// After the start, until gossip's failure detectors and streams have settled.
const SETTLING: Duration = Duration::from_secs(15);

/// Ticks of `/proc/self/stat` in a second; the same on all architectures of Linux that matter here.
const TICKS: f64 = 100.0;

fn main() {
    let nodes = option("--nodes", 40);
    let seconds = option("--seconds", 60);
    let large = option("--large", 150);
    let starts = option("--starts", 0);
    if starts > 0 {
        return (0..starts).for_each(|_| cold_starts(nodes));
    }
    println!("fleets at rest for {seconds} s, gossip every {DEFAULT_GOSSIP_INTERVAL:?}, with a key; per node:");
    let half = over_streams(nodes / 2, seconds, None);
    let full = over_streams(nodes, seconds, None);
    println!("\nover TLS, verified in both directions:");
    over_streams(nodes, seconds, Some(papers()));
    let many = u8::try_from(large).unwrap_or(u8::MAX);
    println!("\nextrapolated to {many} nodes (a line through the two above; not measured):");
    half.to(&full, f64::from(many)).print();
    println!("\n{many} nodes in memory, virtual time (bytes only):");
    in_memory(many, seconds);
}

/// Only what a start takes, with and without TLS in turns.
fn cold_starts(count: u64) {
    for papers in [None, Some(papers())] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let before = cpu_seconds();
        print!("{:8}", if papers.is_some() { "TLS" } else { "plain" });
        let nodes = runtime.block_on(started(count, papers.as_ref()));
        println!("              CPU {:.1} s", cpu_seconds() - before);
        drop(nodes);
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

fn option(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().unwrap())
}

/// What one node takes.
#[derive(Clone, Copy)]
struct Cost {
    nodes: f64,
    sent: f64,
    received: f64,
    gossip: f64,
    loopback: f64,
    cpu: f64,
    memory: f64,
    descriptors: f64,
}

impl Cost {
    fn print(&self) {
        println!("  {:4.0} nodes: sent {:6.2} KB/s, received {:6.2} KB/s in frames", self.nodes, self.sent / 1e3, self.received / 1e3);
        println!("              gossip before compression {:6.2} KB/s each way", self.gossip / 1e3);
        println!("              loopback interface, all headers {:6.2} KB/s each way", self.loopback / 1e3);
        println!(
            "              CPU {:5.2} % of a core, memory {:6.0} KB, descriptors {:4.0}",
            self.cpu,
            self.memory / 1e3,
            self.descriptors
        );
    }

    /// The line through two measurements, at another number of nodes.
    fn to(&self, other: &Self, nodes: f64) -> Self {
        let part = (nodes - self.nodes) / (other.nodes - self.nodes);
        let at = |of: fn(&Self) -> f64| of(self) + part * (of(other) - of(self));
        Self {
            nodes,
            sent: at(|cost| cost.sent),
            received: at(|cost| cost.received),
            gossip: at(|cost| cost.gossip),
            loopback: at(|cost| cost.loopback),
            cpu: at(|cost| cost.cpu),
            memory: at(|cost| cost.memory),
            descriptors: at(|cost| cost.descriptors),
        }
    }
}

/// Readings of the counters of this process.
struct Readings {
    at: Instant,
    sent: f64,
    received: f64,
    gossip: f64,
    loopback: f64,
    cpu: f64,
}

impl Readings {
    fn take(registries: &[Registry]) -> Self {
        let sum = |name| registries.iter().filter_map(|registry| metric(registry, name)).sum();
        Self {
            at: Instant::now(),
            sent: sum("collector_cluster_wire_sent_bytes_total"),
            received: sum("collector_cluster_wire_received_bytes_total"),
            gossip: sum("cluster_transport_tx_bytes_total"),
            loopback: loopback_bytes(),
            cpu: cpu_seconds(),
        }
    }
}

/// One certificate for all: each has the same address.
fn papers() -> Arc<Papers> {
    let authority = Authority::new();
    Papers::new(&authority.sign("127.0.0.1"), &[&authority])
}

fn over_streams(count: u64, seconds: u64, papers: Option<Arc<Papers>>) -> Cost {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (memory, descriptors) = (resident_bytes(), open_files());
    let (cost, nodes) = runtime.block_on(async {
        let papers = papers.as_ref();
        let mut nodes = started(count, papers).await;
        changes(&mut nodes, papers).await;
        tokio::time::sleep(SETTLING).await;
        let registries: Vec<_> = nodes.iter().map(|node| node.registry.clone()).collect();
        let before = Readings::take(&registries);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let after = Readings::take(&registries);
        let (time, each) = ((after.at - before.at).as_secs_f64(), count as f64);
        let rate = |of: fn(&Readings) -> f64| (of(&after) - of(&before)) / time / each;
        let cost = Cost {
            nodes: each,
            sent: rate(|readings| readings.sent),
            received: rate(|readings| readings.received),
            gossip: rate(|readings| readings.gossip),
            loopback: rate(|readings| readings.loopback),
            cpu: 100.0 * rate(|readings| readings.cpu),
            memory: (resident_bytes() - memory) / each,
            descriptors: (open_files() - descriptors) / each,
        };
        (cost, nodes)
    });
    cost.print();
    drop(nodes);
    runtime.shutdown_timeout(Duration::from_secs(5));
    cost
}

/// All at once.
async fn started(count: u64, papers: Option<&Arc<Papers>>) -> Vec<Node> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(bind_at(CERTIFIED_HOST).await.0);
    }
    let peers: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let began = Instant::now();
    let starting = listeners.into_iter().enumerate();
    let nodes: Vec<_> = starting.map(|(index, listener)| start(listener, &name(index), &peers, papers)).collect();
    until(&nodes, |cluster| sees(cluster, count as usize)).await;
    println!("  {count:4} nodes: cold start seen by all after {:.1?}", began.elapsed());
    nodes
}

fn start(listener: TcpListener, name: &str, peers: &[SocketAddr], papers: Option<&Arc<Papers>>) -> Node {
    match papers {
        Some(papers) => Node::start_tls_on(listener, name, peers, papers, as_in_production),
        None => Node::start_on(listener, name, peers, as_in_production),
    }
}

/// A join and a leave.
async fn changes(nodes: &mut Vec<Node>, papers: Option<&Arc<Papers>>) {
    tokio::time::sleep(SETTLING / 3).await;
    let peers: Vec<_> = nodes.iter().take(3).map(|node| node.addr).collect();
    let count = nodes.len();
    let listener = bind_at(CERTIFIED_HOST).await.0;
    let began = Instant::now();
    nodes.push(start(listener, "newcomer", &peers, papers));
    until(nodes, |cluster| sees(cluster, count + 1)).await;
    let joined = began.elapsed();
    tokio::time::sleep(SETTLING / 3).await;
    let Some(leaver) = nodes.pop() else { return };
    let began = Instant::now();
    let leaving = tokio::spawn(async move { leaver.cluster.leave(Duration::from_secs(10)).await });
    until(nodes, |cluster| sees(cluster, count)).await;
    println!("              a join seen by all after {joined:.0?}, a leave after {:.0?}", began.elapsed());
    leaving.await.unwrap();
}

async fn until(nodes: &[Node], holds: impl Fn(&Cluster) -> bool) {
    while !nodes.iter().all(|node| holds(&node.cluster)) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn in_memory(count: u8, seconds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (network, clock) = (Network::new(), clock());
        network.delay(Duration::from_millis(1));
        let peers: Vec<_> = (1..=count).map(memory_addr).collect();
        let start = |last| MemoryNode::start_with(&network, &clock, &name(usize::from(last)), memory_addr(last), &peers, as_in_production);
        let nodes: Vec<_> = (1..=count).map(start).collect();
        let begin = tokio::time::Instant::now();
        while !nodes.iter().all(|node| sees(&node.cluster, usize::from(count))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("  {count:4} nodes: cold start seen by all after {:.0?}", begin.elapsed());
        tokio::time::sleep(SETTLING).await;
        let registries: Vec<_> = nodes.iter().map(|node| node.registry.clone()).collect();
        let before = Readings::take(&registries);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let after = Readings::take(&registries);
        let rate = |of: fn(&Readings) -> f64| (of(&after) - of(&before)) / seconds as f64 / f64::from(count) / 1e3;
        let (sent, received) = (rate(|readings| readings.sent), rate(|readings| readings.received));
        println!("              sent {sent:6.2} KB/s, received {received:6.2} KB/s in frames");
        println!("              gossip before compression {:6.2} KB/s each way", rate(|readings| readings.gossip));
    });
}

fn as_in_production(config: &mut Config) {
    config.gossip_interval = DEFAULT_GOSSIP_INTERVAL;
    config.key = key("a key as long as one should be..");
}

fn sees(cluster: &Cluster, participants: usize) -> bool {
    let peers = cluster.peers();
    peers.len() == participants && peers.iter().all(|peer| peer.state == State::Participant && peer.ready)
}

fn name(index: usize) -> String {
    format!("collector-{index}.collector.monitoring")
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // The second field is a name in parentheses, with whatever in it; user and system time are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}

fn open_files() -> f64 {
    fs::read_dir("/proc/self/fd").unwrap().count() as f64
}

/// Bytes that left over the loopback interface: the ninth counter.
fn loopback_bytes() -> f64 {
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap();
    let line = devices.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    line.split_whitespace().nth(8).and_then(|bytes| bytes.parse().ok()).unwrap()
}
