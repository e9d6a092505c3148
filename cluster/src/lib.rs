//! Who is in the fleet and who owns a key. [`Cluster`] is a node: it finds its peers, keeps streams to them over the
//! collector's own listener, and tells components which of their keys to scrape; [`Claims`] is what a component holds. Nothing
//! here knows what a key stands for or what a scrape is.
//!
//! Layers, each of which uses only those before it: `slots`, `ring` and `placement` (arithmetic), `quorum` (who may work while the fleet is
//! split) and `ownership` (the handover), machines without IO, `auth`, `resolve` and `discovery` (where to look), `transport` (streams),
//! `membership` (the table of members, gossip), `node` (the actor that
//! drives them all).
//!
//! How the product uses it:
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use cluster::{ClaimEvent, Cluster, Config, Key, ownership::KeySpec};
//! # async fn start(
//! #     control: tokio::runtime::Handle,
//! #     registry: prometheus::Registry,
//! #     request: http::Request<hyper::body::Incoming>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! // 1. The listener is bound (its address may be advertised), then the node starts on the control runtime.
//! let mut config = Config::new("collector-0", "10.0.0.1:12345".parse()?).joining(["dns+collector-cluster"])?;
//! config.cluster_name = "production".into();
//! config.key = Some(Key::new(&std::fs::read("/etc/collector/cluster.key")?)?);
//! let cluster = Cluster::start(config, &registry, &control)?;
//! let mut narration = cluster.join_events();
//! // 2. The listener hands requests over whose path `cluster::takes`; peers dial back while this node joins.
//! let response = cluster.serve(request);
//! // 3. Components claim as they are built; once the configuration is loaded the node may own keys.
//! let mut claims = cluster.claims("prometheus.scrape.default");
//! claims.set_keys(vec![KeySpec { key: 7, interval_ms: 15_000 }]);
//! cluster.set_config_hash("sha256…");
//! cluster.participate();
//! while let Some(event) = claims.next_event().await {
//!     match event {
//!         // The loop scrapes slot k at `claims.slots(spec).instant(k)` if `start.hold.begin(k)` says so right before.
//!         ClaimEvent::Start(start) => drop((start.key, start.first_slot, start.hold, start.state)),
//!         ClaimEvent::Stop(stop) => {
//!             // Ends its loop; on a handover says what the next holder needs once the last scrape is done.
//!             if let Some(handover) = stop.handover {
//!                 handover.with_state(b"layouts".as_slice().into());
//!             }
//!         }
//!     }
//! }
//! // 4. At the end, while the listener still serves and components still take events:
//! cluster.drain(Duration::from_secs(10)).await;
//! // What components still have to give to those who took their keys goes in between, by `cluster.request`.
//! cluster.farewell().await;
//! # Ok(())
//! # }
//! ```
//!
//! # A component that shares its work
//!
//! Whatever is pulled once per interval can be shared: [`Claims`], [`KeySpec`](ownership::KeySpec), [`ClaimEvent`] and [`Hold`] are all that
//! a component sees, whether there is a fleet ([`Cluster::claims`]) or not ([`Claims::standalone`]). It owes four things:
//!
//! 1. Keys that are the same on every node that discovers the same thing: a stable hash of what is asked, not of what the node calls it.
//! 2. A question to the hold right before each pull, and no pull without its consent. [`Hold::begin`] if a key is one pull, else
//!    [`Hold::begin_shared`].
//! 3. On a stop no further pull. On one with a handover, an answer when the last pull is done and its data is on its way.
//! 4. On a start with a state, to go on from there.
//!
//! Here each of some databases is asked for its new rows, by one node at a time, and the next node goes on after the last row:
//!
//! ```
//! use std::{collections::HashMap, time::Duration};
//! use cluster::{ClaimEvent, Claims, Clock, Hold, ownership::KeySpec, slots::SlotClock};
//! use tokio::{sync::{mpsc, watch}, task::JoinHandle};
//!
//! /// How often a database is asked, in milliseconds.
//! const INTERVAL_MS: u64 = 20;
//!
//! /// What makes a database the same on every node: its address, not how it is labelled here.
//! fn spec(address: &str) -> KeySpec {
//!     KeySpec { key: xxhash_rust::xxh3::xxh3_64(address.as_bytes()), interval_ms: INTERVAL_MS }
//! }
//!
//! /// Asks one database in each slot that the hold consents to. Returns the last row that it has seen.
//! async fn ask(
//!     (hold, clock, slots): (Hold, Clock, SlotClock), first_slot: u64, mut last_row: u64,
//!     mut stop: watch::Receiver<bool>, rows: mpsc::Sender<u64>,
//! ) -> u64 {
//!     let mut slot = first_slot;
//!     loop {
//!         let wait = slots.instant(slot).saturating_sub(clock.now().wall_ms);
//!         tokio::select! {
//!             _ = stop.wait_for(|stop| *stop) => return last_row,
//!             () = tokio::time::sleep(Duration::from_millis(wait)) => {}
//!         }
//!         if hold.begin(slot) {
//!             last_row += 1; // Here it asks `SELECT … WHERE id > last_row` and hands the rows on.
//!             if rows.send(last_row).await.is_err() {
//!                 return last_row;
//!             }
//!         }
//!         slot = slots.next_after(clock.now().wall_ms).max(slot + 1);
//!     }
//! }
//!
//! /// Shares the databases with the other nodes until the node has left its fleet.
//! async fn share(mut claims: Claims, databases: &[&str], rows: mpsc::Sender<u64>) {
//!     // Again, with all of them, whenever a discovery brings another list.
//!     claims.set_keys(databases.iter().map(|address| spec(address)).collect());
//!     let mut running: HashMap<u64, (watch::Sender<bool>, JoinHandle<u64>)> = HashMap::new();
//!     while let Some(event) = claims.next_event().await {
//!         match event {
//!             ClaimEvent::Start(start) => {
//!                 let (stop, stopped) = watch::channel(false);
//!                 let slots = claims.slots(KeySpec { key: start.key, interval_ms: INTERVAL_MS });
//!                 // The previous holder's last row; bytes of a peer, so they may be anything.
//!                 let state = start.state.and_then(|state| state[..].try_into().ok()).map_or(0, u64::from_le_bytes);
//!                 let asking = (start.hold, claims.clock().clone(), slots);
//!                 let task = tokio::spawn(ask(asking, start.first_slot, state, stopped, rows.clone()));
//!                 // If it was running already, its interval has changed, and the old hold begins nothing any more.
//!                 running.insert(start.key, (stop, task));
//!             }
//!             ClaimEvent::Stop(order) => {
//!                 let Some((stop, task)) = running.remove(&order.key) else { continue };
//!                 stop.send_replace(true);
//!                 // Waits for the question that is under way in a task of its own: other keys have their own events.
//!                 tokio::spawn(async move {
//!                     if let (Ok(last_row), Some(handover)) = (task.await, order.handover) {
//!                         handover.with_state(last_row.to_le_bytes().to_vec().into());
//!                     }
//!                 });
//!             }
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (rows, mut seen) = mpsc::channel(16);
//! // Without a fleet; with one: `cluster.claims("sql.query.default")`, the component's ID.
//! let sharing = tokio::spawn(async move { share(Claims::standalone("production"), &["db-1:5432"], rows).await });
//! assert_eq!((seen.recv().await, seen.recv().await), (Some(1), Some(2)));
//! sharing.abort();
//! # }
//! ```

mod auth;
mod discovery;
mod membership;
mod metrics;
mod node;
pub mod ownership;
mod placement;
mod quorum;
pub mod resolve;
pub mod ring;
pub mod slots;
mod transport;

pub use auth::{Key, KeyError, MAX_KEY_BYTES, MAX_KEYS, MIN_KEY_BYTES};
pub use discovery::{DiscoveryError, PeerDiscovery};
pub use membership::{MAX_NAME_BYTES, State};
pub use node::{
    ClaimEvent, Claims, Clock, Cluster, Config, ConfigError, DEFAULT_FORGET_AFTER, DEFAULT_GOSSIP_INTERVAL, DEFAULT_MAX_JOIN_PEERS,
    DEFAULT_REJOIN_INTERVAL, ForecastError, HANDOVER_TIMEOUT, Handover, Hold, Insight, JoinEvent, KeySetter, LeaveReport, MAX_BODY_BYTES,
    Peer, REQUEST_TIMEOUT, RequestError, StartError, StartEvent, StopEvent, Stopping, Succession,
};
pub use placement::{Basis, Forecast, MAX_RANKS, Move as PlannedMove, Version as PlacementVersion, domain_of_rank};
pub use quorum::PartitionPolicy;
pub use transport::{Channel, PeerTls, STREAM_PATH, Step, StreamBody, memory, protocol::Protocols, takes};
