//! Nodes for tests: over HTTP/2 on loopback and on the in-memory network, with a component that takes what it is given.

#![allow(dead_code, reason = "every test file uses its part")]
#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

pub mod papers;

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cluster::{
    Channel, ClaimEvent, Claims, Clock, Cluster, Config, Hold, Key, Peer, State, Stopping, memory::Network, ownership::KeySpec,
    resolve::Dns,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use papers::Papers;
use parking_lot::Mutex;
use prometheus::{Registry, TextEncoder};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

/// A node behind a listener on loopback.
pub struct Node {
    pub cluster: Cluster,
    pub addr: SocketAddr,
    pub registry: Registry,
    listener: AbortHandle,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The host that certificates of these tests are signed for.
pub const CERTIFIED_HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Takes an address without serving there yet. No other node of the process gets its host: fleets of tests that run beside each other have
/// one name, and the port of a node that was killed is free for the next one who asks.
pub async fn bind() -> (TcpListener, SocketAddr) {
    static HOSTS: AtomicU16 = AtomicU16::new(1);
    let [high, low] = HOSTS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    bind_at(Ipv4Addr::new(127, 77, high, low)).await
}

/// The same at a certain host.
pub async fn bind_at(host: Ipv4Addr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

impl Node {
    pub async fn start(name: &str, peers: &[SocketAddr]) -> Self {
        Self::start_with(name, peers, |_| {}).await
    }

    pub async fn start_with(name: &str, peers: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(bind().await.0, name, peers, change)
    }

    pub fn start_on(listener: TcpListener, name: &str, peers: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Self {
        let addr = listener.local_addr().unwrap();
        let registry = Registry::new();
        let mut config = config(name, addr, peers);
        change(&mut config);
        let cluster = Cluster::start(config, &registry, &Handle::current()).unwrap();
        cluster.participate();
        let listener = tokio::spawn(serve(listener, cluster.clone(), None)).abort_handle();
        Self { cluster, addr, registry, listener }
    }

    /// A node that speaks TLS as `papers` say.
    pub async fn start_tls(name: &str, peers: &[SocketAddr], papers: &Arc<Papers>, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_tls_on(bind_at(CERTIFIED_HOST).await.0, name, peers, papers, change)
    }

    pub fn start_tls_on(
        listener: TcpListener,
        name: &str,
        peers: &[SocketAddr],
        papers: &Arc<Papers>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let addr = listener.local_addr().unwrap();
        let registry = Registry::new();
        let mut config = config(name, addr, peers);
        config.tls = Some(papers.clone());
        change(&mut config);
        let cluster = Cluster::start(config, &registry, &Handle::current()).unwrap();
        cluster.participate();
        let listener = tokio::spawn(serve(listener, cluster.clone(), Some(papers.clone()))).abort_handle();
        Self { cluster, addr, registry, listener }
    }

    /// With name servers of the test's own.
    pub fn start_resolving(listener: TcpListener, config: Config, dns: Arc<dyn Dns>) -> Self {
        let (addr, registry) = (config.advertise_addr, Registry::new());
        let cluster = Cluster::start_with_dns(config, dns, &registry, &Handle::current()).unwrap();
        cluster.participate();
        let listener = tokio::spawn(serve(listener, cluster.clone(), None)).abort_handle();
        Self { cluster, addr, registry, listener }
    }

    /// The process is gone: listener, streams and all.
    pub fn kill(&self) {
        self.listener.abort();
        self.cluster.shutdown();
    }

    pub fn metric(&self, line_start: &str) -> Option<f64> {
        metric(&self.registry, line_start)
    }
}

async fn serve(listener: TcpListener, cluster: Cluster, papers: Option<Arc<Papers>>) {
    // Connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, remote)) = listener.accept().await else { return };
        let (cluster, papers) = (cluster.clone(), papers.clone());
        connections.spawn(async move {
            let Some(papers) = papers else { return answer(socket, remote, Channel::Plain, cluster).await };
            // As the product's listener, this one takes both.
            let mut first = [0];
            if socket.peek(&mut first).await.is_ok() && first != [0x16] {
                return answer(socket, remote, Channel::Plain, cluster).await;
            }
            match TlsAcceptor::from(papers.server()).accept(socket).into_fallible().await {
                Ok(stream) => {
                    let shown = stream.get_ref().1.peer_certificates().is_some();
                    answer(stream, remote, if shown { Channel::Verified } else { Channel::Encrypted }, cluster).await;
                }
                Err((error, mut socket)) => {
                    cluster.refuse_tls(remote, &error.to_string());
                    drop(socket.shutdown().await);
                    drop(tokio::time::timeout(Duration::from_secs(1), tokio::io::copy(&mut socket, &mut tokio::io::sink())).await);
                }
            }
        });
    }
}

async fn answer<S>(stream: S, remote: SocketAddr, channel: Channel, cluster: Cluster)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(remote);
        request.extensions_mut().insert(channel);
        let response = cluster.serve(request);
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

/// A configuration for tests: gossip at 200 ms.
pub fn config(name: &str, addr: SocketAddr, peers: &[SocketAddr]) -> Config {
    let peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
    let mut config = Config::new(name, addr).joining(peers.iter().map(String::as_str)).unwrap();
    config.cluster_name = "test".into();
    config.gossip_interval = Duration::from_millis(200);
    config
}

pub fn key(text: &str) -> Option<Key> {
    Some(Key::new(text.as_bytes()).unwrap())
}

/// A node on the in-memory network.
pub struct MemoryNode {
    pub cluster: Cluster,
    pub addr: SocketAddr,
    pub registry: Registry,
    network: Network,
}

pub const fn memory_addr(last: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 12345)
}

/// A clock that all nodes of a test may share.
pub fn clock() -> Clock {
    Clock::virtual_from(Duration::from_secs(1_700_000_000))
}

impl MemoryNode {
    pub fn start(network: &Network, clock: &Clock, name: &str, addr: SocketAddr, peers: &[SocketAddr]) -> Self {
        Self::start_with(network, clock, name, addr, peers, |_| {})
    }

    pub fn start_with(
        network: &Network,
        clock: &Clock,
        name: &str,
        addr: SocketAddr,
        peers: &[SocketAddr],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let node = Self::start_idle(network, clock, name, addr, peers, change);
        node.cluster.participate();
        node
    }

    /// A node whose configuration is not loaded yet.
    pub fn start_idle(
        network: &Network,
        clock: &Clock,
        name: &str,
        addr: SocketAddr,
        peers: &[SocketAddr],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config(name, addr, peers);
        config.gossip_interval = Duration::from_millis(500);
        change(&mut config);
        let registry = Registry::new();
        let cluster = Cluster::start_in_memory(config, network, clock.clone(), &registry, &Handle::current()).unwrap();
        Self { cluster, addr, registry, network: network.clone() }
    }

    /// The process is gone.
    pub fn crash(&self) {
        self.network.crash(self.addr);
        self.cluster.shutdown();
    }

    pub fn metric(&self, line_start: &str) -> Option<f64> {
        metric(&self.registry, line_start)
    }
}

/// The value of the first exposed line that starts so.
pub fn metric(registry: &Registry, line_start: &str) -> Option<f64> {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let line = text.lines().find(|line| line.starts_with(line_start))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Waits until `condition` holds; `what` is said if it does not within `bound`.
pub async fn within(bound: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < bound, "not within {bound:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

/// A thread that does not run for so long may find the bounds of its nodes passed, of which that of a connection is the shortest (2 s), and
/// makes them fence after 3 s: as they must, since their peers may have missed them.
const STANDSTILL: Duration = Duration::from_millis(1_900);

thread_local! {
    static STANDSTILLS: Cell<u32> = const { Cell::new(0) };
}

/// Watches from now on whether this thread gets to run. For tests whose nodes all run on it.
pub fn watch_for_standstills() {
    tokio::spawn(async {
        let (mut looked, mut worked) = (std::time::Instant::now(), time_at_work());
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let (pause, work) = (looked.elapsed(), time_at_work() - worked);
            (looked, worked) = (std::time::Instant::now(), time_at_work());
            // One that was busy all the time stood still for a reason that the nodes have to answer for.
            if pause >= STANDSTILL && work < pause / 2 {
                STANDSTILLS.set(STANDSTILLS.get() + 1);
            }
        }
    });
}

/// How often the machine did not let this thread run, as far as it is watched.
pub fn standstills() -> u32 {
    STANDSTILLS.get()
}

/// What this thread has spent on a processor.
fn time_at_work() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

/// Names of the participants that a node sees.
pub fn participants(cluster: &Cluster) -> Vec<String> {
    names(cluster, |peer| peer.state == State::Participant)
}

pub fn names(cluster: &Cluster, filter: impl Fn(&Peer) -> bool) -> Vec<String> {
    cluster.peers().iter().filter(|peer| filter(peer)).map(|peer| peer.name.clone()).collect()
}

/// A component that holds what it is given and notes what happened.
#[derive(Clone, Default)]
pub struct Component {
    pub state: Arc<Mutex<Held>>,
}

#[derive(Default)]
pub struct Held {
    pub holds: BTreeMap<u64, (Hold, u64)>,
    pub states: BTreeMap<u64, Bytes>,
    pub stops: Vec<(u64, Stopping)>,
    pub ended: bool,
}

impl Component {
    /// Claims `keys` in `domain`; the returned setter's task ends with the claims.
    pub fn claim(cluster: &Cluster, domain: &str, keys: &[u64], interval_ms: u64) -> Self {
        Self::run(cluster.claims(domain), keys, interval_ms).0
    }

    pub fn run(mut claims: Claims, keys: &[u64], interval_ms: u64) -> (Self, AbortHandle) {
        claims.set_keys(keys.iter().map(|key| KeySpec { key: *key, interval_ms }).collect());
        let component = Self::default();
        let state = component.state.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = claims.next_event().await {
                state.lock().take(event);
            }
            state.lock().ended = true;
        });
        (component, task.abort_handle())
    }

    /// Claims for a component that is known already.
    pub fn run_as(component: Self, mut claims: Claims, keys: &[u64], interval_ms: u64) -> Self {
        claims.set_keys(keys.iter().map(|key| KeySpec { key: *key, interval_ms }).collect());
        let state = component.state.clone();
        tokio::spawn(async move {
            while let Some(event) = claims.next_event().await {
                state.lock().take(event);
            }
            state.lock().ended = true;
        });
        component
    }

    pub fn keys(&self) -> Vec<u64> {
        let state = self.state.lock();
        state.holds.iter().filter(|(_, (hold, _))| hold.is_held()).map(|(key, _)| *key).collect()
    }
}

impl Held {
    fn take(&mut self, event: ClaimEvent) {
        match event {
            ClaimEvent::Start(start) => {
                if let Some(state) = start.state {
                    self.states.insert(start.key, state);
                }
                self.holds.insert(start.key, (start.hold, start.first_slot));
            }
            ClaimEvent::Stop(stop) => {
                self.holds.remove(&stop.key);
                self.stops.push((stop.key, stop.reason));
                if let Some(handover) = stop.handover {
                    handover.with_state(Bytes::from(format!("state of {}", stop.key)));
                }
            }
        }
    }
}

/// Whether each of `keys` is held by exactly one of the components.
pub fn each_held_once(components: &[&Component], keys: &[u64]) -> bool {
    let held: Vec<_> = components.iter().map(|component| component.keys()).collect();
    keys.iter().all(|key| held.iter().filter(|held| held.contains(key)).count() == 1)
}
