//! Who is in the fleet and who owns a key. [`Cluster`] is a node: it finds its peers, keeps streams to them over the
//! collector's own listener, and tells components which of their keys to scrape; [`Claims`] is what a component holds. Nothing
//! here knows what a key stands for or what a scrape is.
//!
//! Layers, each of which uses only those before it: `slots`, `ring` and `placement` (arithmetic), `ownership` (the handover, a machine
//! without IO), `auth`, `resolve`, `transport` (streams), `membership` (the table of members, gossip), `node` (the actor that
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
//! // 2. The listener's router hands requests on `cluster::STREAM_PATH` over; peers dial back while this node joins.
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

mod auth;
mod membership;
mod metrics;
mod node;
pub mod ownership;
mod placement;
pub mod resolve;
pub mod ring;
pub mod slots;
mod transport;

pub use auth::{Key, KeyError, MAX_KEY_BYTES, MIN_KEY_BYTES};
pub use membership::{MAX_NAME_BYTES, State};
pub use node::{
    ClaimEvent, Claims, Clock, Cluster, Config, ConfigError, DEFAULT_GOSSIP_INTERVAL, DEFAULT_MAX_JOIN_PEERS, DEFAULT_REJOIN_INTERVAL,
    ForecastError, HANDOVER_TIMEOUT, Handover, Hold, Insight, JoinEvent, KeySetter, LeaveReport, MAX_BODY_BYTES, Peer, REQUEST_TIMEOUT,
    RequestError, StartError, StartEvent, StopEvent, Stopping, Succession,
};
pub use placement::{Basis, Forecast, MAX_RANKS, Move as PlannedMove, Version as PlacementVersion, domain_of_rank};
pub use transport::{STREAM_PATH, Step, StreamBody, memory};
