//! chitchat over the peers' streams: it spreads every member's record and heartbeat, so that news which a stream lost still
//! arrives, and its failure detector gives a second opinion on silent members. Joins and changes don't wait for it; they are
//! pushed over the streams. It is version 0.11.2, the last one that lets a transport of its own carry its messages.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, Deserializable, FailureDetectorConfig, NodeState, Serializable,
    spawn_chitchat,
    transport::{Socket, Transport},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    Identity, MAX_NAME_BYTES, Phase, Record, State,
    guard::{Guard, Verdict},
    table::MEMORY,
};
use crate::{
    metrics::Metrics,
    ownership::KeysDigest,
    placement::Version,
    transport::{frame::Kind, outbox::Outbox, wire::clean},
};

/// Heartbeats that must be missing, in means of their intervals; chitchat's default.
const PHI: f64 = 8.0;

/// Intervals that the failure detector averages over; chitchat's default.
const SAMPLING_WINDOW: usize = 1000;

/// Longer intervals are outages, not samples.
const MAX_INTERVAL: Duration = Duration::from_secs(5);

/// Gossip that may wait to be read.
pub(crate) const INBOX: usize = 256;

/// What one name costs in gossip's digest beyond its bytes (length, generation, address, heartbeat, versions).
const DIGEST_BYTES_PER_NODE: usize = 2 + 8 + 19 + 24;

/// What the digest may take of a message of 65,507 bytes. This chitchat subtracts unchecked, so the digest must leave room;
/// what is left carries changes.
const MAX_DIGEST_BYTES: usize = 48 * 1024;

/// Bytes that processes of these names take in the digest.
pub(crate) fn digest_bytes<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.len() + DIGEST_BYTES_PER_NODE).sum()
}

/// Whether the digest has room for another name beside what it holds.
pub(crate) fn has_room(digest_bytes: usize, name: &str) -> bool {
    digest_bytes + name.len() + DIGEST_BYTES_PER_NODE <= MAX_DIGEST_BYTES
}

/// The streams that messages for an advertised address can take.
pub(crate) type Routes = Arc<Mutex<HashMap<SocketAddr, Outbox>>>;

/// What gossip knows of a process.
pub(crate) struct Seen {
    pub(crate) identity: Identity,
    pub(crate) heartbeat: u64,
    pub(crate) live: bool,
    /// Its record, once it has arrived completely.
    pub(crate) record: Option<Record>,
}

type Inbox = Arc<tokio::sync::Mutex<mpsc::Receiver<(SocketAddr, Bytes)>>>;

/// A running gossip loop. Dropping it ends the loop.
pub(crate) struct Gossip {
    handle: ChitchatHandle,
    parts: Parts,
}

/// What it takes to start the loop, and to start it again.
#[derive(Clone)]
pub(crate) struct Parts {
    cluster: Arc<str>,
    interval: Duration,
    wire: Wire,
}

impl Parts {
    pub(crate) fn new(
        cluster: Arc<str>,
        interval: Duration,
        routes: Routes,
        inbox: mpsc::Receiver<(SocketAddr, Bytes)>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let wire = Wire { routes, inbox: Arc::new(tokio::sync::Mutex::new(inbox)), metrics, guard: Guard::default() };
        Self { cluster, interval, wire }
    }

    /// Starts gossiping as the process of `record`.
    pub(crate) async fn start(&self, record: &Record) -> anyhow::Result<Gossip> {
        self.start_with(&record.identity, key_values(record)).await
    }

    async fn start_with(&self, identity: &Identity, values: Vec<(String, String)>) -> anyhow::Result<Gossip> {
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(identity.name.clone(), identity.generation, identity.addr),
            cluster_id: self.cluster.to_string(),
            gossip_interval: self.interval,
            listen_addr: identity.addr,
            // Peers are given by address once a stream to them is open.
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: PHI,
                sampling_window_size: SAMPLING_WINDOW,
                max_interval: MAX_INTERVAL,
                initial_interval: self.interval * 2,
                dead_node_grace_period: MEMORY,
            },
            marked_for_deletion_grace_period: MEMORY,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let wire = Wire { guard: self.wire.guard.renewed(), ..self.wire.clone() };
        let handle = spawn_chitchat(config, values, &wire).await?;
        wire.guard.watch(handle.chitchat());
        Ok(Gossip { handle, parts: Self { wire, ..self.clone() } })
    }
}

impl Gossip {
    /// Spreads the own record from now on. If the loop has ended (a peer's message can make this chitchat panic), a new one
    /// takes over where it was.
    pub(crate) async fn publish(&mut self, record: &Record) -> anyhow::Result<()> {
        if self.has_ended() {
            self.restart(record).await?;
        }
        let values = key_values(record);
        self.handle
            .with_chitchat(|chitchat| {
                for (key, value) in &values {
                    chitchat.self_node_state().set(key, value);
                }
            })
            .await;
        Ok(())
    }

    /// Whether the loop has stopped, or takes nothing more.
    pub(crate) fn has_ended(&self) -> bool {
        use futures_util::FutureExt;
        self.parts.wire.guard.is_overrun() || self.handle.termination_watcher().now_or_never().is_some()
    }

    async fn restart(&mut self, record: &Record) -> anyhow::Result<()> {
        let (version, heartbeat) = self
            .handle
            .with_chitchat(|chitchat| {
                let state = chitchat.self_node_state();
                (state.max_version(), state.heartbeat())
            })
            .await;
        let fresh = self.parts.start_with(&record.identity, Vec::new()).await?;
        fresh
            .handle
            .with_chitchat(|chitchat| {
                // Peers ignore versions and heartbeats that they have seen: what is set from here on is newer.
                let state = chitchat.self_node_state();
                state.set_max_version(version);
                state.try_set_heartbeat(heartbeat);
            })
            .await;
        *self = fresh;
        Ok(())
    }

    /// Exchanges a round with the member at `addr` as soon as possible.
    pub(crate) fn talk_to(&self, addr: SocketAddr) {
        if let Err(error) = self.handle.gossip(addr) {
            tracing::debug!(%error, %addr, "the gossip loop takes no commands");
        }
    }

    /// All processes that gossip knows, without the own.
    pub(crate) async fn seen(&self) -> Vec<Seen> {
        let chitchat = self.handle.chitchat();
        let chitchat = chitchat.lock().await;
        let live: std::collections::HashSet<_> = chitchat.live_nodes().collect();
        let me = chitchat.self_chitchat_id();
        let others = chitchat.node_states().iter().filter(|(id, _)| *id != me);
        others.map(|(id, state)| seen(id, state, live.contains(id))).collect()
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

fn seen(id: &ChitchatId, state: &NodeState, live: bool) -> Seen {
    let identity = Identity { name: id.node_id.clone(), generation: id.generation_id, addr: id.gossip_advertise_addr };
    let record = record(identity.clone(), state);
    Seen { identity, heartbeat: state.heartbeat().into(), live, record }
}

fn key_values(record: &Record) -> Vec<(String, String)> {
    let targets = record.targets.map(|targets| ("targets", format!("{}:{:016x}", targets.count, targets.sum)));
    // The counter comes last: gossip spreads values in the order in which they were set.
    let others = [
        ("state", record.state.as_str().to_owned()),
        ("phase", record.phase.number().to_string()),
        ("ready", record.ready.to_string()),
        ("left", record.left.to_string()),
        ("version", record.version.clone()),
        ("config_hash", record.config_hash.clone()),
        ("placement", format!("{} {}", record.placement.epoch, record.placement.digest)),
        ("load", record.load.to_string()),
        ("zone", record.zone.clone()),
        ("policy", record.policy.to_string()),
        ("counter", record.counter.to_string()),
    ];
    targets.into_iter().chain(others).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What `key_values` made of a digest.
fn digest(text: &str) -> Option<KeysDigest> {
    let (count, sum) = text.split_once(':')?;
    Some(KeysDigest { count: count.parse().ok()?, sum: u64::from_str_radix(sum, 16).ok()? })
}

fn record(identity: Identity, state: &NodeState) -> Option<Record> {
    if identity.name.is_empty() || identity.name.len() > MAX_NAME_BYTES {
        return None;
    }
    let named = state.get("state")?;
    Some(Record {
        identity,
        state: State::ALL.into_iter().find(|state| state.as_str() == named)?,
        phase: Phase::from_number(state.get("phase")?.parse().ok()?)?,
        ready: state.get("ready")? == "true",
        left: state.get("left")? == "true",
        counter: state.get("counter")?.parse().ok()?,
        version: clean(state.get("version")?),
        config_hash: clean(state.get("config_hash")?),
        placement: state.get("placement").and_then(placement).unwrap_or_default(),
        load: state.get("load").and_then(|load| load.parse().ok()).unwrap_or_default(),
        zone: state.get("zone").map(clean).unwrap_or_default(),
        targets: state.get("targets").and_then(digest),
        policy: state.get("policy").and_then(|policy| policy.parse().ok()).unwrap_or_default(),
    })
}

fn placement(text: &str) -> Option<Version> {
    let (epoch, digest) = text.split_once(' ')?;
    Some(Version { epoch: epoch.parse().ok()?, digest: digest.parse().ok()? })
}

/// chitchat's transport: sending means queueing, which never waits; receiving skips what makes no sense, since an error would
/// end the loop.
#[derive(Clone)]
struct Wire {
    routes: Routes,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    guard: Guard,
}

#[async_trait]
impl Transport for Wire {
    async fn open(&self, _listen_addr: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Socket for Wire {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let route = self.routes.lock().get(&to).cloned();
        match route {
            Some(outbox) => {
                outbox.push(Kind::Gossip, message.serialize_to_vec().into());
            }
            None => self.metrics.unsent(Kind::Gossip).inc(),
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        let mut inbox = self.inbox.lock().await;
        loop {
            let Some((from, payload)) = inbox.recv().await else {
                // The node is gone; its drop ends this loop.
                return std::future::pending().await;
            };
            self.metrics.rx_queue_length.dec();
            match self.guard.judge(from, &payload).await {
                Verdict::Take => {}
                Verdict::Drop => {
                    self.metrics.unread(Kind::Gossip).inc();
                    continue;
                }
                Verdict::Stop => return std::future::pending().await,
            }
            let mut bytes = &payload[..];
            match ChitchatMessage::deserialize(&mut bytes) {
                Ok(message) if bytes.is_empty() => return Ok((from, message)),
                _ => {
                    self.metrics.gossip_event("unknown_message");
                    self.metrics.unread(Kind::Gossip).inc();
                    tracing::debug!(%from, "a message of gossip makes no sense");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::frame::{FrameReader, FrameWriter};

    fn record(name: &str, last: u8) -> Record {
        Record {
            identity: Identity { name: name.into(), generation: 1, addr: SocketAddr::from(([10, 0, 0, last], 1)) },
            state: State::Participant,
            phase: Phase::Formed,
            ready: true,
            left: false,
            counter: 1,
            version: "0.1.0".into(),
            config_hash: "abc".into(),
            placement: Version { epoch: 3, digest: u64::MAX },
            load: 7,
            zone: "north".into(),
            targets: Some(KeysDigest { count: 7, sum: u64::MAX }),
            policy: crate::quorum::PartitionPolicy::Majority,
        }
    }

    struct Node {
        gossip: Gossip,
        record: Record,
        routes: Routes,
        inbox: mpsc::Sender<(SocketAddr, Bytes)>,
    }

    impl Node {
        async fn start(name: &str, last: u8) -> Self {
            let metrics = metrics();
            let (inbox, receiver) = mpsc::channel(INBOX);
            let routes = Routes::default();
            let parts = Parts::new("test".into(), Duration::from_millis(500), routes.clone(), receiver, metrics);
            let record = record(name, last);
            Self { gossip: parts.start(&record).await.unwrap(), record, routes, inbox }
        }

        /// A stream from this node to another.
        fn link(&self, to: &Self) {
            let (sender, receiver) = mpsc::channel(16);
            let outbox = Outbox::new(metrics());
            let queued = outbox.clone();
            tokio::spawn(async move { outbox.write_to(&mut FrameWriter::new(sender)).await });
            let chunks = futures_util::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
                receiver.recv().await.map(|chunk| (Ok(chunk), receiver))
            });
            let mut reader = FrameReader::new(Box::pin(chunks), crate::transport::frame::MAX_PAYLOAD);
            let (inbox, from) = (to.inbox.clone(), self.record.identity.addr);
            tokio::spawn(async move {
                while let Ok(Some(frame)) = reader.next().await {
                    drop(inbox.send((from, frame.payload)).await);
                }
            });
            self.routes.lock().insert(to.record.identity.addr, queued);
        }

        async fn sees(&self, other: &Record) -> bool {
            self.gossip.seen().await.iter().any(|seen| seen.live && seen.record.as_ref() == Some(other))
        }
    }

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new("test", &prometheus::Registry::new()).unwrap())
    }

    async fn until_seen(by: &Node, other: &Record) {
        let waiting = async {
            while !by.sees(other).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the record arrives");
    }

    #[tokio::test(start_paused = true)]
    async fn records_arrive_whole_and_changes_follow() {
        let (mut a, b) = (Node::start("a", 1).await, Node::start("b", 2).await);
        a.link(&b);
        b.link(&a);
        a.gossip.talk_to(b.record.identity.addr);
        until_seen(&b, &a.record).await;
        until_seen(&a, &b.record).await;
        a.record.state = State::Terminating;
        a.record.counter += 1;
        a.gossip.publish(&a.record).await.unwrap();
        until_seen(&b, &a.record).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_ended_is_started_again_and_peers_go_on_believing_it() {
        let (mut a, b) = (Node::start("a", 1).await, Node::start("b", 2).await);
        a.link(&b);
        b.link(&a);
        a.gossip.talk_to(b.record.identity.addr);
        until_seen(&b, &a.record).await;
        a.gossip.handle.abort();
        while !a.gossip.has_ended() {
            tokio::task::yield_now().await;
        }
        a.record.config_hash = "new".into();
        a.record.counter += 1;
        a.gossip.publish(&a.record).await.unwrap();
        assert!(!a.gossip.has_ended());
        a.gossip.talk_to(b.record.identity.addr);
        until_seen(&b, &a.record).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(b.sees(&a.record).await, "its heartbeats count");
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_no_sense_ends_nothing() {
        let (a, b) = (Node::start("a", 1).await, Node::start("b", 2).await);
        for garbage in [&b""[..], b"garbage", &[0x53, 0xb0, 0, 0, 0xff, 0xff]] {
            let from = a.record.identity.addr;
            b.inbox.send((from, Bytes::from_static(garbage))).await.unwrap();
        }
        a.link(&b);
        b.link(&a);
        a.gossip.talk_to(b.record.identity.addr);
        until_seen(&b, &a.record).await;
    }

    /// A message from `from` with a digest of these names, and nothing else.
    fn digest(names: impl Iterator<Item = String>) -> Bytes {
        let names: Vec<_> = names.collect();
        let mut message = vec![0x53, 0xb0, 0, 0];
        message.extend((names.len() as u16).to_le_bytes());
        for name in names {
            message.extend((name.len() as u16).to_le_bytes());
            message.extend(name.as_bytes());
            message.extend(1_u64.to_le_bytes());
            message.extend([4, 10, 9, 9, 9, 1, 0]);
            message.extend([1; 24]);
        }
        message.extend([4, 0]);
        message.extend(b"test");
        message.into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_invents_nodes_without_end_fills_nothing_and_stops_nothing() {
        let (a, b) = (Node::start("a", 1).await, Node::start("b", 2).await);
        a.link(&b);
        b.link(&a);
        for round in 0..50 {
            let invented = (0..500).map(|index| format!("ghost-{round}-{index}"));
            b.inbox.send((a.record.identity.addr, digest(invented))).await.unwrap();
        }
        a.gossip.talk_to(b.record.identity.addr);
        until_seen(&b, &a.record).await;
        let known = b.gossip.seen().await;
        assert!(known.len() >= 500, "gossip is taken while there is room");
        assert!(digest_bytes(known.iter().map(|seen| &*seen.identity.name)) <= MAX_DIGEST_BYTES);
        assert!(!b.gossip.has_ended());
    }

    /// A message with a delta that sets ten values of 5 kB of a process, as versions from `first` on.
    fn delta(of: &Identity, first: u64) -> Bytes {
        let text = |text: &str| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
        let SocketAddr::V4(addr) = of.addr else { panic!("{of:?}") };
        let mut blocks = vec![vec![0], text(&of.name), of.generation.to_le_bytes().into(), vec![4]];
        blocks.extend([addr.ip().octets().into(), addr.port().to_le_bytes().into(), vec![0; 8], (first - 1).to_le_bytes().into()]);
        let mut blocks = vec![blocks.concat()];
        for version in first..first + 10 {
            blocks.push([&[1][..], &text(&format!("absurd-{version}")), &text(&"x".repeat(5_000)), &version.to_le_bytes(), &[0]].concat());
        }
        let mut message = vec![0x53, 0xb0, 0, 2];
        for block in blocks {
            message.push(2);
            message.extend((block.len() as u16).to_le_bytes());
            message.extend(block);
        }
        message.push(0);
        message.into()
    }

    #[tokio::test(start_paused = true)]
    async fn values_that_pile_up_end_with_the_loop_and_their_sender_is_not_heard() {
        let (a, mut b) = (Node::start("a", 1).await, Node::start("b", 2).await);
        a.link(&b);
        b.link(&a);
        a.gossip.talk_to(b.record.identity.addr);
        until_seen(&b, &a.record).await;
        let from = a.record.identity.addr;
        for round in 0..100 {
            b.inbox.send((from, delta(&a.record.identity, 8 + 10 * round))).await.unwrap();
        }
        let ended = async {
            while !b.gossip.has_ended() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the bound is reached");
        b.gossip.publish(&b.record.clone()).await.unwrap();
        a.gossip.talk_to(b.record.identity.addr);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(!b.sees(&a.record).await && !b.gossip.has_ended(), "nothing of it is taken any more");
    }

    #[test]
    fn the_digest_takes_some_hundred_names_of_usual_length_and_then_no_more() {
        let names: Vec<_> = (0..500).map(|index| format!("collector-{index:03}.collector-cluster")).collect();
        assert!(has_room(digest_bytes(names.iter().map(String::as_str)), "collector-500.collector-cluster"));
        let long: Vec<_> = (0..300).map(|index| format!("{index:0>128}")).collect();
        assert!(!has_room(digest_bytes(long.iter().map(String::as_str)), "x"));
    }
}
