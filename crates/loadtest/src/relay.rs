//! Relays before the listeners of a fleet's nodes: each node advertises its relay's address, so that everything between nodes runs through
//! here, where it can be cut. Cut connections stall, as in a network that swallows packets, or are reset. What the nodes do with anybody
//! else (targets, receiver) is not touched.

mod dialler;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::http::LOOPBACK;

/// Connections that one relay carries; a node has a few to each peer.
const MAX_CONNECTIONS: usize = 4096;
/// Pause after a failed accept (out of descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What happens to what is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutMode {
    /// Nothing moves, and nobody is told.
    Stall,
    /// Connections are reset, also new ones.
    Reset,
}

/// A cut between some nodes and all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The nodes on one side, by name, with the ids of their processes.
    pub nodes: Vec<(String, u32)>,
    /// What happens to connections between the sides.
    pub mode: CutMode,
}

/// The cuts of a fleet; shared by its relays.
#[derive(Clone, Debug)]
pub(crate) struct Cuts(watch::Sender<Arc<Vec<(u64, Cut)>>>);

impl Default for Cuts {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }
}

impl Cuts {
    /// Cuts; the number is for [`Self::heal`].
    pub(crate) fn cut(&self, cut: Cut) -> u64 {
        let mut number = 0;
        self.0.send_modify(|cuts| {
            number = cuts.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
            Arc::make_mut(cuts).push((number, cut));
        });
        number
    }

    /// Ends all cuts.
    pub(crate) fn heal_all(&self) {
        self.0.send_modify(|cuts| Arc::make_mut(cuts).clear());
    }

    /// Ends one cut.
    pub(crate) fn heal(&self, number: u64) {
        self.0.send_modify(|cuts| Arc::make_mut(cuts).retain(|(other, _)| *other != number));
    }
}

/// The relay of one node; dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    upstream: Arc<Mutex<SocketAddr>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Listens on a loopback port that the system gives, for the node of this name, whose listener is told by [`Self::lead_to`].
    pub(crate) fn start(node: &str, cuts: &Cuts) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(LOOPBACK)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let upstream = Arc::new(Mutex::new(address));
        let way = Way { node: node.to_owned(), relay: address, upstream: Arc::clone(&upstream), cuts: cuts.0.subscribe() };
        Ok(Self { address, upstream, accepting: tokio::spawn(accept(listener, way)) })
    }

    /// The address that its node advertises.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections to the listener at this address.
    pub(crate) fn lead_to(&self, upstream: SocketAddr) {
        *self.upstream.lock() = upstream;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What a connection has to know.
#[derive(Clone, Debug)]
struct Way {
    node: String,
    relay: SocketAddr,
    upstream: Arc<Mutex<SocketAddr>>,
    cuts: watch::Receiver<Arc<Vec<(u64, Cut)>>>,
}

async fn accept(listener: TcpListener, way: Way) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let way = way.clone();
                connections.spawn(async move {
                    carry(stream, from, way).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Carries one connection to its end; a side that breaks off is its own affair.
async fn carry(mut near: TcpStream, from: SocketAddr, mut way: Way) {
    if !way.opened(from).await {
        let _ = near.set_zero_linger();
        return;
    }
    let upstream = *way.upstream.lock();
    let Ok(mut far) = TcpStream::connect(upstream).await else { return };
    let _ = near.set_nodelay(true).and(far.set_nodelay(true));
    if !flow(&mut near, &mut far, from, &mut way).await {
        let _ = near.set_zero_linger().and(far.set_zero_linger());
    }
}

/// Copies to and fro while there is no cut; false if the connection is to be reset.
async fn flow(near: &mut TcpStream, far: &mut TcpStream, from: SocketAddr, way: &mut Way) -> bool {
    // One future for all of the time: what it has read and not yet written must not be lost in a stall.
    let mut copied = pin!(copy_bidirectional(near, far));
    loop {
        if !way.opened(from).await {
            return false;
        }
        tokio::select! {
            _ = &mut copied => return true,
            changed = way.cuts.changed() => if changed.is_err() { return true },
        }
    }
}

impl Way {
    /// Waits until the connection from an address may be used; false if it is to be reset.
    async fn opened(&mut self, from: SocketAddr) -> bool {
        loop {
            let cuts = self.cuts.borrow_and_update().clone();
            match self.between(&cuts, from).await {
                None => return true,
                Some(CutMode::Reset) => return false,
                Some(CutMode::Stall) => {
                    if self.cuts.changed().await.is_err() {
                        return false;
                    }
                }
            }
        }
    }

    /// Whether a cut lies between this relay's node and whoever dials from an address. Who is no node is not on the cut side.
    async fn between(&self, cuts: &[(u64, Cut)], from: SocketAddr) -> Option<CutMode> {
        for (_, cut) in cuts {
            let here = cut.nodes.iter().any(|(name, _)| *name == self.node);
            let pids: HashSet<u32> = cut.nodes.iter().map(|(_, pid)| *pid).collect();
            let relay = self.relay;
            // Reads files of the kernel, which takes milliseconds where processes have thousands of descriptors.
            let looked = tokio::task::spawn_blocking(move || dialler::is_one_of(&pids, from, relay)).await;
            if looked.unwrap_or(false) != here {
                return Some(cut.mode);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server that sends back what it gets, and a relay before it.
    async fn echo() -> (Relay, Cuts) {
        let cuts = Cuts::default();
        let relay = Relay::start("node-1", &cuts).unwrap();
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        relay.lead_to(listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        (relay, cuts)
    }

    async fn say(stream: &mut TcpStream, word: &[u8; 4]) -> std::io::Result<[u8; 4]> {
        stream.write_all(word).await?;
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await?;
        Ok(heard)
    }

    fn cut(name: &str, pid: u32, mode: CutMode) -> Cut {
        Cut { nodes: vec![(name.to_owned(), pid)], mode }
    }

    #[tokio::test]
    async fn a_stalled_connection_goes_on_where_it_was_when_the_cut_heals() {
        let (relay, cuts) = echo().await;
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        assert_eq!(&say(&mut stream, b"ping").await.unwrap(), b"ping");
        let number = cuts.cut(cut("node-1", u32::MAX, CutMode::Stall));
        stream.write_all(b"late").await.unwrap();
        let mut heard = [0; 4];
        let silence = Duration::from_millis(100);
        assert!(tokio::time::timeout(silence, stream.read_exact(&mut heard)).await.is_err(), "nothing moves");
        let mut another = TcpStream::connect(relay.address()).await.unwrap();
        assert!(tokio::time::timeout(silence, say(&mut another, b"new!")).await.is_err(), "new ones neither");
        cuts.heal(number);
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"late");
    }

    #[tokio::test]
    async fn a_reset_cut_ends_connections_and_takes_none() {
        let (relay, cuts) = echo().await;
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        say(&mut stream, b"ping").await.unwrap();
        let number = cuts.cut(cut("node-1", u32::MAX, CutMode::Reset));
        let mut heard = [0; 4];
        assert!(stream.read_exact(&mut heard).await.is_err());
        assert!(say(&mut TcpStream::connect(relay.address()).await.unwrap(), b"ping").await.is_err());
        cuts.heal(number);
        assert_eq!(&say(&mut TcpStream::connect(relay.address()).await.unwrap(), b"ping").await.unwrap(), b"ping");
    }

    #[tokio::test]
    async fn both_on_one_side_still_hear_each_other_and_others_too() {
        let (relay, cuts) = echo().await;
        // This process dials, and is the one that is cut off together with node-1.
        cuts.cut(Cut { nodes: vec![("node-1".to_owned(), u32::MAX), ("node-2".to_owned(), std::process::id())], mode: CutMode::Reset });
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        assert_eq!(&say(&mut stream, b"ping").await.unwrap(), b"ping");
        // Cut off alone, it reaches node-1 no more.
        cuts.cut(cut("node-2", std::process::id(), CutMode::Reset));
        let mut heard = [0; 4];
        assert!(stream.read_exact(&mut heard).await.is_err());
    }
}
