//! Fleets of the size that is promised: 150 nodes on the in-memory network under paused time, where the figures are those of the
//! protocol alone, and 40 over real HTTP/2 on loopback, where a busy machine adds to them. What a node costs is measured by
//! `benches/fleet.rs`.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

mod fleet;

use std::{net::SocketAddr, time::Duration};

use cluster::{Clock, Cluster, Config, DEFAULT_GOSSIP_INTERVAL, State, memory::Network};
use fleet::{
    CERTIFIED_HOST, MemoryNode, Node, bind_at, clock, memory_addr as addr,
    papers::{Authority, Papers},
};
use tokio::{net::TcpListener, time::Instant};

/// Nodes in memory.
const MANY: u8 = 150;

/// Nodes over HTTP/2.
const SOME: usize = 40;

/// How often nodes are asked what they see.
const LOOK: Duration = Duration::from_millis(5);

/// Between two events: longer than gossip takes to spread the last one.
const REST: Duration = Duration::from_millis(700);

/// How long after an event each node saw what it led to.
#[derive(Default)]
struct Sightings(Vec<Duration>);

impl Sightings {
    /// Watches until all nodes see it, at most for `bound`.
    async fn watch(&mut self, nodes: &[Cluster], what: &str, bound: Duration, sees: impl Fn(&Cluster) -> bool) {
        let start = Instant::now();
        let mut waiting: Vec<&Cluster> = nodes.iter().collect();
        loop {
            let before = waiting.len();
            waiting.retain(|node| !sees(node));
            self.0.extend(std::iter::repeat_n(start.elapsed(), before - waiting.len()));
            if waiting.is_empty() {
                return;
            }
            assert!(
                start.elapsed() < bound,
                "not within {bound:?}: {what}; {} of {} nodes do not see it:\n{}",
                waiting.len(),
                nodes.len(),
                waiting.iter().map(|node| seen(node)).collect::<String>()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The share `part` of them came within this time.
    fn quantile(&mut self, part: f64) -> Duration {
        self.0.sort_unstable();
        let index = (self.0.len() as f64 * part).ceil() as usize;
        self.0[index.clamp(1, self.0.len()) - 1]
    }

    fn show(&mut self, what: &str) {
        let (half, most, all) = (self.quantile(0.5), self.quantile(0.99), self.quantile(1.0));
        println!("{what}: p50 {half:.0?}, p99 {most:.0?}, max {all:.0?} ({} sightings)", self.0.len());
    }
}

/// What a node sees, in a line.
fn seen(node: &Cluster) -> String {
    let peers = node.peers();
    let own = peers.iter().find(|peer| peer.is_self).map(|peer| (peer.name.as_str(), peer.state, peer.ready));
    let participants = peers.iter().filter(|peer| peer.state == State::Participant).count();
    format!("{own:?}: {} peers, {participants} participants, trouble: {:?}\n", peers.len(), node.trouble())
}

/// Whether a node sees so many participants, all of them ready, and nobody else.
fn sees(node: &Cluster, participants: usize) -> bool {
    let peers = node.peers();
    peers.len() == participants && peers.iter().all(|peer| peer.state == State::Participant && peer.ready)
}

fn participates(node: &Cluster, name: &str) -> bool {
    node.peers().iter().any(|peer| peer.name == name && peer.state == State::Participant)
}

fn knows(node: &Cluster, name: &str) -> bool {
    node.peers().iter().any(|peer| peer.name == name)
}

fn name(last: impl std::fmt::Display) -> String {
    format!("collector-{last}")
}

/// All at once, each with the addresses of all, as a headless service gives them.
async fn many(network: &Network, clock: &Clock, times: &mut Sightings) -> Vec<MemoryNode> {
    let peers: Vec<_> = (1..=MANY).map(addr).collect();
    let nodes: Vec<_> = (1..=MANY).map(|last| MemoryNode::start(network, clock, &name(last), addr(last), &peers)).collect();
    let bound = Duration::from_secs(5);
    times.watch(&clusters(&nodes), "a fleet starts", bound, |node| sees(node, usize::from(MANY))).await;
    nodes
}

fn clusters(nodes: &[MemoryNode]) -> Vec<Cluster> {
    nodes.iter().map(|node| node.cluster.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn in_a_fleet_of_150_joins_leaves_and_crashes_are_seen_by_all_in_time() {
    let (network, clock) = (Network::new(), clock());
    network.delay(Duration::from_millis(1));
    let mut cold = Sightings::default();
    let mut nodes = many(&network, &clock, &mut cold).await;
    cold.show("cold start of 150");
    tokio::time::sleep(REST).await;

    let bound = Duration::from_secs(3);
    let mut joins = Sightings::default();
    for last in MANY + 1..=MANY + 4 {
        let peers: Vec<_> = (1..=3).map(addr).collect();
        nodes.push(MemoryNode::start(&network, &clock, &name(last), addr(last), &peers));
        joins.watch(&clusters(&nodes), "a join", bound, |node| participates(node, &name(last))).await;
        tokio::time::sleep(REST).await;
    }
    joins.show("a join, 150 nodes");

    let mut leaves = Sightings::default();
    for _ in 0..4 {
        let leaver = nodes.remove(7);
        let name = leaver.cluster.peers().iter().find(|peer| peer.is_self).map(|peer| peer.name.clone()).unwrap();
        let (patience, staying) = (Duration::from_secs(10), clusters(&nodes));
        let watching = leaves.watch(&staying, "a leave", bound, |node| !knows(node, &name));
        let (report, ()) = tokio::join!(leaver.cluster.leave(patience), watching);
        assert!(report.drained);
        tokio::time::sleep(REST).await;
    }
    leaves.show("a planned leave, 150 nodes");

    let mut crashes = Sightings::default();
    let dead = nodes.remove(20);
    dead.crash();
    let left = nodes.len();
    crashes.watch(&clusters(&nodes), "a crash", Duration::from_secs(2), |node| sees(node, left)).await;
    crashes.show("a crash with connections reset, 150 nodes");

    let silent = nodes.remove(30);
    network.stall(silent.addr);
    let mut losses = Sightings::default();
    losses.watch(&clusters(&nodes), "a silent death", Duration::from_secs(10), |node| sees(node, left - 1)).await;
    losses.show("a silent death, 150 nodes");

    for (what, times) in [("joins", &mut joins), ("leaves", &mut leaves)] {
        assert!(times.quantile(0.99) < Duration::from_secs(1), "{what}: {:?}", times.quantile(0.99));
    }
}

/// Gossip at the pace that nodes have by default; other tests hurry it.
fn as_by_default(config: &mut Config) {
    config.gossip_interval = DEFAULT_GOSSIP_INTERVAL;
}

/// A node behind a listener: over which kind of stream is its caller's choice.
type Start<'a> = &'a dyn Fn(TcpListener, &str, &[SocketAddr]) -> Node;

/// Bounds are for a machine that does other things too; what is promised for one at rest is measured by the benchmark.
async fn joins_and_leaves_over_streams(start: Start<'_>) {
    let bound = Duration::from_secs(300);
    let clusters = |nodes: &[Node]| nodes.iter().map(|node| node.cluster.clone()).collect::<Vec<_>>();
    let mut listeners = Vec::new();
    for _ in 0..SOME {
        listeners.push(bind_at(CERTIFIED_HOST).await.0);
    }
    let peers: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let mut nodes: Vec<_> = listeners.into_iter().zip(0..).map(|(listener, index)| start(listener, &name(index), &peers)).collect();
    let mut cold = Sightings::default();
    cold.watch(&clusters(&nodes), "a fleet starts", bound, |node| sees(node, SOME)).await;
    cold.show("cold start of 40");

    nodes.push(start(bind_at(CERTIFIED_HOST).await.0, &name(200), &peers[..3]));
    let mut join = Sightings::default();
    join.watch(&clusters(&nodes), "a join", bound, |node| sees(node, SOME + 1)).await;
    join.show("a join, 40 nodes");

    let leaver = nodes.remove(7);
    let staying = clusters(&nodes);
    let mut leave = Sightings::default();
    let watching = leave.watch(&staying, "a leave", bound, |node| sees(node, SOME));
    let (report, ()) = tokio::join!(leaver.cluster.leave(bound), watching);
    assert!(report.drained);
    leave.show("a planned leave, 40 nodes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_nodes_over_plain_http2_see_joins_and_leaves() {
    joins_and_leaves_over_streams(&|listener, name, peers| Node::start_on(listener, name, peers, as_by_default)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_nodes_over_tls_see_joins_and_leaves() {
    let authority = Authority::new();
    let papers = Papers::new(&authority.sign("127.0.0.1"), &[&authority]);
    joins_and_leaves_over_streams(&|listener, name, peers| Node::start_tls_on(listener, name, peers, &papers, as_by_default)).await;
}
