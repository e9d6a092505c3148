//! What a node needs to be told: names, addresses, patience. Reading flags and files, and deciding when a key is required, is
//! the caller's part.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    auth::Key,
    discovery::PeerDiscovery,
    membership::MAX_NAME_BYTES,
    quorum::PartitionPolicy,
    resolve::{JoinAddress, JoinAddressError, Source},
    transport::{PeerTls, protocol::Protocols},
};

/// Alloy's default of `--cluster.rejoin-interval`.
pub const DEFAULT_REJOIN_INTERVAL: Duration = Duration::from_secs(60);

/// Alloy's default of `--cluster.max-join-peers`.
pub const DEFAULT_MAX_JOIN_PEERS: usize = 5;

/// Pause between rounds of gossip. At 200 ms a node that is short of CPU declares healthy peers dead.
pub const DEFAULT_GOSSIP_INTERVAL: Duration = Duration::from_millis(500);

/// After how long an absent elector is given up by a majority of the others.
pub const DEFAULT_FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Who this node is and how it finds its fleet. [`Config::new`] has Alloy's defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// Unique in the fleet; the host name by default.
    pub node_name: String,
    /// Nodes of other names are refused (`--cluster.name`). Part of every key's phase.
    pub cluster_name: String,
    /// Where peers reach this node's listener. Neither the IP nor the port may be unspecified.
    pub advertise_addr: SocketAddr,
    /// Port for join addresses without one: the own listen port.
    pub default_port: u16,
    /// Where to look for peers; none makes a fleet of one that others may join.
    pub join_addresses: Vec<JoinAddress>,
    /// A source that is asked for peers besides.
    pub discovery: Option<Arc<dyn PeerDiscovery>>,
    /// How often join addresses are looked at again while in a fleet; zero never does.
    pub rejoin_interval: Duration,
    /// Most join addresses that are dialled in one round; zero dials all.
    pub max_join_peers: usize,
    /// Members that a new fleet waits for before it works; a running fleet never stops for it. Zero and one wait for nobody.
    pub wait_for_size: usize,
    /// How long it waits at most; zero waits for ever.
    pub wait_timeout: Duration,
    /// Where this node is (`--cluster.zone`): copies of a target go to different zones. Empty says nothing.
    pub zone: String,
    /// The key that all members share, if any. It can be renewed, see [`super::Cluster::renew_key`].
    pub key: Option<Key>,
    /// TLS towards peers. With it, streams are taken from peers only over TLS and with a verified certificate
    /// ([`crate::Channel::Verified`]).
    pub tls: Option<Arc<dyn PeerTls>>,
    /// Pause between rounds of gossip.
    pub gossip_interval: Duration,
    /// The versions of the protocol between peers: [`Protocols::SPOKEN`]. Others are for tests of fleets that are upgraded.
    pub protocols: Protocols,
    /// This program's version, for the list of peers.
    pub version: String,
    /// What the sides of a split fleet do. In force once all live members have the same.
    pub partition_policy: PartitionPolicy,
    /// Under [`PartitionPolicy::Majority`]: after how long a member that is gone without a goodbye no longer counts; zero for never.
    pub forget_after: Duration,
}

/// A configuration that no node can start with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The name is empty, too long or not printable.
    #[error(
        "the node name has {0} bytes or unprintable characters, 1 to {MAX_NAME_BYTES} printable bytes are allowed: set --cluster.node-name"
    )]
    NodeName(usize),
    /// The cluster name is not printable or too long.
    #[error(
        "the cluster name has {0} bytes or unprintable characters, at most {MAX_NAME_BYTES} printable bytes are allowed: set --cluster.name"
    )]
    ClusterName(usize),
    /// The zone is not printable or too long.
    #[error("the zone has {0} bytes or unprintable characters, at most {MAX_NAME_BYTES} printable bytes are allowed: set --cluster.zone")]
    Zone(usize),
    /// Peers can't dial this.
    #[error("peers can't reach this node at {0}: set --cluster.advertise-address to an IP and port of this node")]
    AdvertiseAddress(SocketAddr),
    /// Gossip at this pace is none.
    #[error("the gossip interval of {0:?} is outside 50 ms to 2 s")]
    GossipInterval(Duration),
}

impl Config {
    /// A node with Alloy's defaults, alone: the other fields can be set afterwards.
    #[must_use]
    pub fn new(node_name: impl Into<String>, advertise_addr: SocketAddr) -> Self {
        Self {
            node_name: node_name.into(),
            cluster_name: String::new(),
            advertise_addr,
            default_port: advertise_addr.port(),
            join_addresses: Vec::new(),
            discovery: None,
            rejoin_interval: DEFAULT_REJOIN_INTERVAL,
            max_join_peers: DEFAULT_MAX_JOIN_PEERS,
            wait_for_size: 0,
            wait_timeout: Duration::ZERO,
            zone: String::new(),
            key: None,
            tls: None,
            gossip_interval: DEFAULT_GOSSIP_INTERVAL,
            protocols: Protocols::SPOKEN,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            partition_policy: PartitionPolicy::default(),
            forget_after: DEFAULT_FORGET_AFTER,
        }
    }

    /// The same, looking for peers at `addresses` (see [`JoinAddress`]).
    ///
    /// # Errors
    /// The first address that can't be meant.
    pub fn joining<'a>(mut self, addresses: impl IntoIterator<Item = &'a str>) -> Result<Self, JoinAddressError> {
        self.join_addresses = addresses.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Where to look for peers.
    pub(super) fn sources(&self) -> Vec<Source> {
        let addresses = self.join_addresses.iter().cloned().map(Source::Address);
        addresses.chain(self.discovery.clone().map(Source::Discovery)).collect()
    }

    /// Checks what types can't.
    ///
    /// # Errors
    /// The first field that can't work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let printable = |text: &str| text.len() <= MAX_NAME_BYTES && !text.contains(char::is_control);
        if self.node_name.is_empty() || !printable(&self.node_name) {
            return Err(ConfigError::NodeName(self.node_name.len()));
        }
        if !printable(&self.cluster_name) {
            return Err(ConfigError::ClusterName(self.cluster_name.len()));
        }
        if !printable(&self.zone) {
            return Err(ConfigError::Zone(self.zone.len()));
        }
        if self.advertise_addr.ip().is_unspecified() || self.advertise_addr.port() == 0 {
            return Err(ConfigError::AdvertiseAddress(self.advertise_addr));
        }
        if !(Duration::from_millis(50)..=Duration::from_secs(2)).contains(&self.gossip_interval) {
            return Err(ConfigError::GossipInterval(self.gossip_interval));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new("a", "10.0.0.1:12345".parse().unwrap())
    }

    #[test]
    fn the_defaults_are_a_valid_configuration() {
        assert_eq!(config().check(), Ok(()));
        assert_eq!(config().joining(["dns+peers", "10.0.0.2:99"]).unwrap().join_addresses.len(), 2);
        assert!(config().joining(["ok", "not ok"]).is_err());
    }

    #[test]
    fn what_no_node_can_start_with_is_refused_with_the_flag_to_set() {
        type Spoil = fn(&mut Config);
        let cases: [(Spoil, &str); 6] = [
            (|config| config.node_name.clear(), "--cluster.node-name"),
            (|config| config.node_name = "x".repeat(MAX_NAME_BYTES + 1), "--cluster.node-name"),
            (|config| config.cluster_name = "a\nb".into(), "--cluster.name"),
            (|config| config.advertise_addr = "0.0.0.0:1".parse().unwrap(), "--cluster.advertise-address"),
            (|config| config.advertise_addr.set_port(0), "--cluster.advertise-address"),
            (|config| config.gossip_interval = Duration::from_secs(60), "gossip interval"),
        ];
        for (spoil, part) in cases {
            let mut config = config();
            spoil(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
