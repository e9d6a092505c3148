//! The node of the fleet as the command line describes it: name, addresses, where its peers are. Whom it trusts is in `trust`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use cluster::{Cluster, Config, State};
use net::MutualTls;
use prometheus::Registry;
use tokio::runtime::Handle;

use super::trust::Trust;
use super::{Options, discovery};
use crate::cli::{ClusterFlags, VERSION};

/// A node, and what the listener needs to accept its peers.
pub struct Fleet {
    /// The node.
    pub cluster: Cluster,
    /// TLS, if peers speak it.
    pub tls: Option<Arc<MutualTls>>,
}

/// Starts the node as a viewer; `None` if clustering is off. Runs on the present runtime, the control runtime.
///
/// # Errors
/// A flag that can't work, with its name.
pub fn start(options: &Options, listening: SocketAddr, registry: &Registry) -> Result<Option<Fleet>> {
    let flags = &options.flags.cluster;
    if !flags.enabled {
        return Ok(None);
    }
    let name = flags.node_name.clone().unwrap_or_else(hostname);
    let advertised = advertised(flags, listening)?;
    let mut trust = Trust::new(flags)?;
    let config = Config {
        cluster_name: flags.name.clone(),
        zone: flags.zone.clone(),
        default_port: listening.port(),
        rejoin_interval: flags.rejoin_interval,
        max_join_peers: flags.max_join_peers,
        wait_for_size: flags.wait_for_size,
        wait_timeout: flags.wait_timeout,
        key: trust.key()?,
        tls: trust.peers(),
        discovery: discovery::of(&flags.discover_peers)?,
        version: VERSION.to_owned(),
        partition_policy: flags.partition_policy,
        forget_after: flags.forget_after,
        ..Config::new(name, advertised)
    };
    let config = config.joining(flags.join_addresses.iter().map(String::as_str)).context("--cluster.join-addresses")?;
    let cluster = Cluster::start(config, registry, &Handle::current())?;
    let tls = trust.listener();
    trust.watch(cluster.clone(), registry)?;
    Ok(Some(Fleet { cluster, tls }))
}

/// Whether this node takes its share of the work.
pub fn is_admitting(cluster: &Cluster) -> bool {
    cluster.has_majority() && cluster.peers().iter().any(|peer| peer.is_self && peer.ready && peer.state == State::Participant)
}

fn hostname() -> String {
    let system = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match system.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// The address under which peers reach this node: the flag, else the address that the listener is bound to, else that of an interface.
fn advertised(flags: &ClusterFlags, listening: SocketAddr) -> Result<SocketAddr> {
    if let Some(given) = &flags.advertise_address {
        let parsed = given.parse().or_else(|_| given.parse().map(|ip: IpAddr| SocketAddr::new(ip, listening.port())));
        return parsed.with_context(|| format!("--cluster.advertise-address={given} is no IP address with an optional port"));
    }
    if !listening.ip().is_unspecified() {
        return Ok(listening);
    }
    let interfaces = if_addrs::get_if_addrs().context("can't list the network interfaces; set --cluster.advertise-address")?;
    match choose(&interfaces, &flags.advertise_interfaces) {
        Some(ip) => Ok(SocketAddr::new(ip, listening.port())),
        None => {
            let found: Vec<&str> =
                interfaces.iter().filter(|interface| !interface.is_loopback()).map(|interface| &*interface.name).collect();
            bail!(
                "none of the interfaces {} has an address to advertise (there are: {}); name one with --cluster.advertise-interfaces, or set \
                 --cluster.advertise-address",
                flags.advertise_interfaces.join(", "),
                if found.is_empty() { "none".to_owned() } else { found.join(", ") }
            )
        }
    }
}

/// The first address of the first interface in `wanted` that has one; `all` takes any that is no loopback. IPv4 goes before IPv6, and
/// link-local addresses, which need a zone to be reached, don't count.
fn choose(interfaces: &[if_addrs::Interface], wanted: &[String]) -> Option<IpAddr> {
    let usable = |interface: &&if_addrs::Interface| match interface.ip() {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    wanted.iter().find_map(|name| {
        let named = |interface: &&if_addrs::Interface| name == "all" || interface.name == *name;
        interfaces.iter().filter(named).filter(usable).map(if_addrs::Interface::ip).min_by_key(IpAddr::is_ipv6)
    })
}
