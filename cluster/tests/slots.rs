//! The promise as a whole, on the in-memory network under paused time: scrape loops that follow what they are told begin every
//! slot of every key exactly once while the fleet changes, and never twice when a node crashes.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

mod fleet;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cluster::{ClaimEvent, Claims, Clock, Hold, Protocols, StartEvent, memory::Network, ownership::KeySpec, slots::SlotClock};
use fleet::{MemoryNode, clock, memory_addr as addr, participants, within};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::{AbortHandle, JoinSet};

const INTERVAL_MS: u64 = 1_000;

/// By key and slot: the nodes that began it.
type Begun = BTreeMap<(u64, u64), Vec<String>>;

/// Who began which slot of which key, over all nodes.
#[derive(Clone, Default)]
struct Ledger {
    begun: Arc<Mutex<Begun>>,
}

impl Ledger {
    fn note(&self, key: u64, slot: u64, node: &str) {
        self.begun.lock().entry((key, slot)).or_default().push(node.to_owned());
    }

    /// Slots begun more than once.
    fn doubled(&self) -> Vec<((u64, u64), Vec<String>)> {
        let begun = self.begun.lock();
        begun.iter().filter(|(_, nodes)| nodes.len() > 1).map(|(slot, nodes)| (*slot, nodes.clone())).collect()
    }

    /// Slots between a key's first and last one that nobody began.
    fn missed(&self) -> Vec<(u64, u64)> {
        let begun = self.begun.lock();
        let mut by_key: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (key, slot) in begun.keys() {
            by_key.entry(*key).or_default().push(*slot);
        }
        let gaps = by_key.into_iter().flat_map(|(key, slots)| {
            let all = slots[0]..=slots[slots.len() - 1];
            all.filter(move |slot| slots.binary_search(slot).is_err()).map(move |slot| (key, slot))
        });
        gaps.collect()
    }

    fn len(&self) -> usize {
        self.begun.lock().len()
    }
}

/// Runs a loop per key that it is told to scrape, as a scrape component does. A scrape takes 300 ms.
async fn scrape(mut claims: Claims, name: String, ledger: Ledger) {
    let mut loops: HashMap<u64, AbortHandle> = HashMap::new();
    let mut tasks = JoinSet::new();
    while let Some(event) = claims.next_event().await {
        match event {
            ClaimEvent::Start(start) => {
                let slots = claims.slots(KeySpec { key: start.key, interval_ms: INTERVAL_MS });
                let key = start.key;
                let task = tasks.spawn(scrape_loop(start, slots, claims.clock().clone(), name.clone(), ledger.clone()));
                if let Some(old) = loops.insert(key, task) {
                    old.abort();
                }
            }
            ClaimEvent::Stop(stop) => {
                if let Some(task) = loops.remove(&stop.key) {
                    tasks.spawn(async move {
                        // A component may be slow to stop its loop: the hold must keep it from beginning anything.
                        tokio::time::sleep(Duration::from_millis(2_500)).await;
                        task.abort();
                    });
                }
                if let Some(handover) = stop.handover {
                    tasks.spawn(async move {
                        // The last scrape is still under way.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        handover.with_state(Bytes::from_static(b"layout"));
                    });
                }
            }
        }
    }
}

async fn scrape_loop(start: StartEvent, slots: SlotClock, clock: Clock, name: String, ledger: Ledger) {
    let mut slot = start.first_slot;
    loop {
        let wait = slots.instant(slot).saturating_sub(clock.now().wall_ms);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if begin(&start.hold, slot) {
            ledger.note(start.key, slot, &name);
        }
        slot = slots.next_after(clock.now().wall_ms).max(slot + 1);
    }
}

fn begin(hold: &Hold, slot: u64) -> bool {
    hold.begin(slot)
}

struct Fleet {
    network: Network,
    clock: Clock,
    ledger: Ledger,
    nodes: BTreeMap<u8, MemoryNode>,
    keys: Vec<u64>,
}

impl Fleet {
    async fn start(size: u8, keys: u64) -> Self {
        let (network, clock, ledger) = (Network::new(), clock(), Ledger::default());
        network.delay(Duration::from_millis(3));
        let keys = (0..keys).map(|key| key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let mut fleet = Self { network, clock, ledger, nodes: BTreeMap::new(), keys };
        for last in 1..=size {
            fleet.join(last);
        }
        fleet.settled().await;
        fleet
    }

    fn join(&mut self, last: u8) {
        let peers: Vec<_> = (1..=8).map(addr).collect();
        self.join_with(last, &peers, |_| {});
    }

    /// A process of a release that speaks these versions of the protocol.
    fn join_speaking(&mut self, last: u8, oldest: u32, newest: u32) {
        let peers: Vec<_> = (1..=8).map(addr).collect();
        self.join_with(last, &peers, |config| config.protocols = Protocols::new(oldest, newest));
    }

    fn join_at(&mut self, last: u8, peers: &[SocketAddr], rejoin_interval: Duration) {
        self.join_with(last, peers, |config| config.rejoin_interval = rejoin_interval);
    }

    fn join_with(&mut self, last: u8, peers: &[SocketAddr], change: impl FnOnce(&mut cluster::Config)) {
        let name = format!("node-{last:03}");
        let node = MemoryNode::start_with(&self.network, &self.clock, &name, addr(last), peers, change);
        let claims = node.cluster.claims("prometheus.scrape.default");
        claims.set_keys(self.keys.iter().map(|key| KeySpec { key: *key, interval_ms: INTERVAL_MS }).collect());
        tokio::spawn(scrape(claims, name, self.ledger.clone()));
        self.nodes.insert(last, node);
    }

    /// Waits until all see all.
    async fn settled(&self) {
        let count = self.nodes.len();
        within(Duration::from_secs(20), "all see all", || self.nodes.values().all(|node| participants(&node.cluster).len() == count)).await;
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    async fn leave(&mut self, last: u8) {
        let node = self.nodes.remove(&last).unwrap();
        let report = node.cluster.leave(Duration::from_secs(30)).await;
        assert!(report.drained && report.keys_left == 0, "{report:?}");
        node.crash();
    }
}

#[tokio::test(start_paused = true)]
async fn every_slot_is_begun_once_while_nodes_join_and_leave() {
    let mut fleet = Fleet::start(3, 60).await;
    fleet.pass(5).await;
    let start = fleet.ledger.len();
    for last in 4..=6 {
        fleet.join(last);
        fleet.pass(2).await;
    }
    for last in [2, 5, 1] {
        fleet.leave(last).await;
        fleet.pass(1).await;
    }
    fleet.join(1);
    fleet.pass(5).await;
    assert_eq!(fleet.ledger.doubled(), []);
    assert_eq!(fleet.ledger.missed(), []);
    assert!(fleet.ledger.len() >= start + 60 * 13, "the fleet has worked all the time");
    let moved: f64 = fleet.nodes.values().filter_map(|node| node.metric("collector_cluster_moves_in_total")).sum();
    assert!(moved > 20.0, "keys have moved: {moved}");
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_loses_and_doubles_nothing() {
    let mut fleet = Fleet::start(4, 40).await;
    fleet.pass(3).await;
    for last in [4, 3, 2, 1] {
        fleet.leave(last).await;
        fleet.pass(1).await;
        fleet.join(last);
        fleet.settled().await;
        fleet.pass(2).await;
    }
    assert_eq!(fleet.ledger.doubled(), []);
    assert_eq!(fleet.ledger.missed(), []);
}

#[tokio::test(start_paused = true)]
async fn a_rolling_upgrade_across_protocol_versions_loses_and_doubles_nothing() {
    let mut fleet = Fleet::start(4, 40).await;
    fleet.pass(3).await;
    // The release that speaks the next version too comes first, then the one that no longer speaks this one.
    for (oldest, newest) in [(1, 2), (2, 2)] {
        for last in [4, 3, 2, 1] {
            fleet.leave(last).await;
            fleet.join_speaking(last, oldest, newest);
            fleet.settled().await;
            fleet.pass(2).await;
        }
    }
    assert_eq!(fleet.ledger.doubled(), []);
    assert_eq!(fleet.ledger.missed(), []);
    let refusals = "collector_cluster_rejected_peers_total{cluster_name=\"test\",reason=\"version\"}";
    let refused: f64 = fleet.nodes.values().map(|node| node.metric(refusals).unwrap()).sum();
    assert_eq!(refused, 0.0, "nobody has met a node that it does not understand");
}

#[tokio::test(start_paused = true)]
async fn a_crash_doubles_nothing_and_costs_at_most_the_detection_time() {
    let mut fleet = Fleet::start(4, 60).await;
    fleet.pass(5).await;
    assert_eq!((fleet.ledger.doubled().len(), fleet.ledger.missed().len()), (0, 0));
    fleet.nodes.remove(&2).unwrap().crash();
    fleet.pass(10).await;
    assert_eq!(fleet.ledger.doubled(), []);
    let missed = fleet.ledger.missed();
    let most = missed.iter().fold(BTreeMap::<u64, usize>::new(), |mut by_key, (key, _)| {
        *by_key.entry(*key).or_default() += 1;
        by_key
    });
    assert!(most.values().all(|count| *count <= 2), "a key misses at most two slots of one second: {most:?}");
}

#[tokio::test(start_paused = true)]
async fn broken_streams_lose_and_double_nothing() {
    let mut fleet = Fleet::start(4, 60).await;
    fleet.pass(3).await;
    for (one, other) in [(1, 2), (3, 4), (2, 3), (1, 4)] {
        fleet.join(5);
        tokio::time::sleep(Duration::from_millis(40)).await;
        fleet.network.reset(addr(one), addr(other));
        fleet.network.reset(addr(one), addr(5));
        fleet.pass(3).await;
        fleet.leave(5).await;
        fleet.pass(1).await;
    }
    assert_eq!(fleet.ledger.doubled(), []);
    assert_eq!(fleet.ledger.missed(), []);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_found_by_the_fleet_knows_all_members_before_it_claims() {
    let mut fleet = Fleet::start(2, 60).await;
    fleet.join_at(3, &[addr(1), addr(9)], Duration::from_secs(4));
    fleet.settled().await;
    fleet.pass(4).await;
    // It looks where nobody answers; of the fleet only the third node looks for it.
    fleet.network.stall(addr(200));
    fleet.join_at(9, &[addr(200)], Duration::from_secs(60));
    fleet.settled().await;
    fleet.pass(5).await;
    assert_eq!(fleet.ledger.doubled(), []);
    assert_eq!(fleet.ledger.missed(), []);
}

/// Changes in an order drawn from a seed, some at the same time: joins, leaves, broken streams, and crashes if wanted.
async fn changes(seed: u64, with_crashes: bool) -> Fleet {
    let mut random = StdRng::seed_from_u64(seed);
    let mut fleet = Fleet::start(4, 40).await;
    fleet.pass(2).await;
    for _ in 0..10 {
        let present: Vec<u8> = fleet.nodes.keys().copied().collect();
        let absent: Vec<u8> = (1..=8).filter(|last| !present.contains(last)).collect();
        let one = present[random.random_range(0..present.len())];
        let other = present[random.random_range(0..present.len())];
        match random.random_range(0..5) {
            0 if present.len() > 2 => fleet.leave(one).await,
            1 if present.len() > 2 && with_crashes => fleet.nodes.remove(&one).unwrap().crash(),
            2 | 3 if !absent.is_empty() => fleet.join(absent[random.random_range(0..absent.len())]),
            _ => fleet.network.reset(addr(one), addr(other)),
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..2_500))).await;
    }
    fleet.settled().await;
    fleet.pass(12).await;
    fleet
}

/// Seeds to try: a few, or as many as the variable says.
fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("CLUSTER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2)
}

#[tokio::test(start_paused = true)]
async fn planned_changes_in_any_order_lose_and_double_nothing() {
    for seed in seeds() {
        let fleet = changes(seed, false).await;
        assert_eq!(fleet.ledger.doubled(), [], "seed {seed}");
        assert_eq!(fleet.ledger.missed(), [], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_among_other_changes_double_nothing() {
    for seed in seeds() {
        let fleet = changes(seed, true).await;
        assert_eq!(fleet.ledger.doubled(), [], "seed {seed}");
    }
}
