//! An in-memory network with faults, for tests of whatever lives on top of the cluster: links can be cut, nodes crashed or
//! stalled, bytes delayed. It carries the same bytes as HTTP/2 does, so handshakes, frames and MACs are the real ones. Runs
//! under tokio's paused time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::{ConnectError, Connector, PIPE_CHUNKS, Pipe};

/// Streams that may wait to be accepted.
const BACKLOG: usize = 64;

/// A network; clones are the same one.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Pipe>>,
    cut: BTreeSet<(SocketAddr, SocketAddr)>,
    stalled: BTreeSet<SocketAddr>,
    delay: Duration,
    pumps: Vec<(SocketAddr, SocketAddr, AbortHandle)>,
    /// With so many pumps it is worth looking for those that have ended.
    next_sweep: usize,
}

impl Default for Network {
    fn default() -> Self {
        Self { state: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl Network {
    /// A network without nodes and faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The way into the network for the node at `addr`.
    pub(crate) fn connector(&self, addr: SocketAddr) -> Arc<dyn Connector> {
        Arc::new(Endpoint { network: self.clone(), addr })
    }

    /// Streams that others open to `addr`, until the receiver is dropped or the node crashes.
    pub(crate) fn listen(&self, addr: SocketAddr) -> mpsc::Receiver<Pipe> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.state.lock().listeners.insert(addr, sender);
        receiver
    }

    /// Swallows everything between two nodes, in both directions, without breaking their streams.
    pub fn cut(&self, one: SocketAddr, other: SocketAddr) {
        self.change(|state| state.cut.extend([(one, other), (other, one)]));
    }

    /// Lets bytes pass again; those that were sent meanwhile arrive now.
    pub fn heal(&self, one: SocketAddr, other: SocketAddr) {
        self.change(|state| {
            state.cut.remove(&(one, other));
            state.cut.remove(&(other, one));
        });
    }

    /// The node's process is gone: its streams break and its address refuses connections until it listens again.
    pub fn crash(&self, addr: SocketAddr) {
        self.change(|state| {
            state.listeners.remove(&addr);
            state.stalled.remove(&addr);
            state.reset(|one, other| one == addr || other == addr);
        });
    }

    /// The node's process stands still: it says nothing, and what is sent to it waits.
    pub fn stall(&self, addr: SocketAddr) {
        self.change(|state| {
            state.stalled.insert(addr);
        });
    }

    /// It goes on.
    pub fn resume(&self, addr: SocketAddr) {
        self.change(|state| {
            state.stalled.remove(&addr);
        });
    }

    /// Breaks the streams between two nodes; new ones may be opened at once.
    pub fn reset(&self, one: SocketAddr, other: SocketAddr) {
        self.change(|state| state.reset(|from, to| (from, to) == (one, other) || (from, to) == (other, one)));
    }

    /// Holds every chunk back for so long.
    pub fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.send_modify(|version| *version += 1);
    }

    fn passes(&self, from: SocketAddr, to: SocketAddr) -> Option<Duration> {
        let state = self.state.lock();
        let held = state.cut.contains(&(from, to)) || state.stalled.contains(&from) || state.stalled.contains(&to);
        (!held).then_some(state.delay)
    }

    /// Waits until bytes pass from one node to another, and as long as they take.
    async fn passage(&self, from: SocketAddr, to: SocketAddr) {
        let mut changed = self.changed.subscribe();
        loop {
            match self.passes(from, to) {
                Some(Duration::ZERO) => return,
                Some(delay) => return tokio::time::sleep(delay).await,
                None => {}
            }
            if changed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn one_way(&self, from: SocketAddr, to: SocketAddr) -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
        let (sender, mut sent) = mpsc::channel(PIPE_CHUNKS);
        let (delivered, receiver) = mpsc::channel(PIPE_CHUNKS);
        let network = self.clone();
        let pump = tokio::spawn(async move {
            loop {
                let chunk = tokio::select! {
                    chunk = sent.recv() => chunk,
                    // A closed reader is news for the writer, as a reset would be.
                    () = delivered.closed() => return,
                };
                network.passage(from, to).await;
                let Some(chunk) = chunk else { return };
                if delivered.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        self.state.lock().add((from, to, pump.abort_handle()));
        (sender, receiver)
    }
}

impl State {
    /// Remembers a pump, and now and then forgets those that have ended: looking through all for each new one would take a fleet of 150
    /// longer than all else.
    fn add(&mut self, pump: (SocketAddr, SocketAddr, AbortHandle)) {
        if self.pumps.len() >= self.next_sweep {
            self.pumps.retain(|(_, _, pump)| !pump.is_finished());
            self.next_sweep = (2 * self.pumps.len()).max(BACKLOG);
        }
        self.pumps.push(pump);
    }

    fn reset(&mut self, matches: impl Fn(SocketAddr, SocketAddr) -> bool) {
        self.pumps.retain(|(from, to, pump)| {
            let hit = matches(*from, *to);
            if hit {
                pump.abort();
            }
            !hit
        });
    }
}

struct Endpoint {
    network: Network,
    addr: SocketAddr,
}

#[async_trait]
impl Connector for Endpoint {
    async fn connect(&self, addr: SocketAddr) -> Result<Pipe, ConnectError> {
        self.network.passage(self.addr, addr).await;
        self.network.passage(addr, self.addr).await;
        let listener = self.network.state.lock().listeners.get(&addr).cloned().ok_or(ConnectError::Refused)?;
        let (outgoing, theirs) = self.network.one_way(self.addr, addr);
        let (their_outgoing, incoming) = self.network.one_way(addr, self.addr);
        let accepted = Pipe { outgoing: their_outgoing, incoming: chunks(theirs) };
        listener.send(accepted).await.map_err(|_| ConnectError::Refused)?;
        Ok(Pipe { outgoing, incoming: chunks(incoming) })
    }
}

fn chunks(receiver: mpsc::Receiver<Bytes>) -> super::frame::Chunks {
    Box::pin(stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|chunk| (Ok(chunk), receiver))))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::time::{Instant, timeout};

    use super::*;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1))
    }

    async fn pair(network: &Network) -> (Pipe, Pipe) {
        let mut listener = network.listen(addr(2));
        let dialled = network.connector(addr(1)).connect(addr(2)).await.unwrap();
        (dialled, listener.recv().await.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_holds_bytes_back_and_a_heal_delivers_them() {
        let network = Network::new();
        let (dialled, mut accepted) = pair(&network).await;
        network.cut(addr(1), addr(2));
        dialled.outgoing.send(Bytes::from_static(b"late")).await.unwrap();
        assert!(timeout(Duration::from_secs(60), accepted.incoming.next()).await.is_err());
        network.heal(addr(2), addr(1));
        assert_eq!(accepted.incoming.next().await, Some(Ok(Bytes::from_static(b"late"))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_breaks_streams_and_refuses_new_ones() {
        let network = Network::new();
        let (mut dialled, _accepted) = pair(&network).await;
        network.crash(addr(2));
        assert_eq!(dialled.incoming.next().await, None);
        let error = network.connector(addr(1)).connect(addr(2)).await.err();
        assert_eq!(error, Some(ConnectError::Refused));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_node_answers_nobody_until_it_goes_on() {
        let network = Network::new();
        let _listener = network.listen(addr(2));
        network.stall(addr(2));
        let connector = network.connector(addr(1));
        assert!(timeout(Duration::from_secs(5), connector.connect(addr(2))).await.is_err());
        network.resume(addr(2));
        assert!(connector.connect(addr(2)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_as_long_as_the_delay() {
        let network = Network::new();
        let (dialled, mut accepted) = pair(&network).await;
        network.delay(Duration::from_millis(70));
        let start = Instant::now();
        dialled.outgoing.send(Bytes::from_static(b"x")).await.unwrap();
        accepted.incoming.next().await.unwrap().unwrap();
        assert_eq!(start.elapsed().as_millis(), 70);
    }
}
