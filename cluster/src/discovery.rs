//! Peers from a source that is asked instead of DNS (`--cluster.discover-peers`): what the node needs of it. Which sources
//! there are, and how they are asked, is the caller's part.

use std::{borrow::Cow, fmt, net::IpAddr};

use async_trait::async_trait;

/// A source of addresses, asked before each round of dialling.
#[async_trait]
pub trait PeerDiscovery: fmt::Debug + Send + Sync + 'static {
    /// What it is called in messages: `k8s`. Not its arguments, which may hold secrets.
    fn name(&self) -> &str;

    /// Where peers may be now, this node included if the source lists it; with a port if the source knows one.
    ///
    /// # Errors
    /// The source could not be asked, or its answer makes no sense. Finding nobody is not an error here; the node takes it for one, as a
    /// source that works lists at least the node itself.
    async fn peers(&self) -> Result<Vec<(IpAddr, Option<u16>)>, DiscoveryError>;
}

/// Why a source gave no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct DiscoveryError {
    /// What was seen. No secrets.
    pub cause: String,
    /// What an operator can do.
    pub remedy: Cow<'static, str>,
}
