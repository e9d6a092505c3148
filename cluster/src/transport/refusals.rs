//! What peers did that is not taken from them: counted each time, logged once per address and reason with what to do about it.
//! What is remembered for that is bounded, whoever comes from wherever.

use std::{borrow::Cow, collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Local, Reason, frame::Kind, handshake::Refused};
use crate::membership::Identity;

/// How long the same offence of the same peer stays quiet in the log.
const QUIET: Duration = Duration::from_secs(3600);

/// Offences that are remembered.
const MAX_REMEMBERED: usize = 1024;

/// Whose it was, and what.
type Offence = (String, Cow<'static, str>);

/// Counts offences and logs each once; clones share the memory.
#[derive(Clone, Default)]
pub(crate) struct Refusals {
    logged: Arc<Mutex<HashMap<Offence, Instant>>>,
}

impl Refusals {
    /// A stream was refused, or ended for what came over it.
    pub(crate) fn refused(&self, local: &Local, remote: Option<SocketAddr>, refused: &Refused) {
        local.metrics.rejected(refused.reason).inc();
        let (name, claimed_addr) = match &refused.claimed {
            Some((name, addr)) => (name.as_str(), Some(*addr)),
            None => ("unknown", None),
        };
        let address = shown(remote.or(claimed_addr));
        let reason = refused.reason.as_str();
        if refused.reason == Reason::Unavailable || !self.first(address.clone(), reason.into()) {
            tracing::debug!(%address, node = name, reason, "refused a peer again");
            return;
        }
        tracing::warn!(%address, node = name, reason, cause = %refused.detail, remedy = refused.reason.remedy(), "refused a peer");
    }

    /// A member sent a message that is dropped.
    pub(crate) fn unread(&self, local: &Local, peer: &Identity, kind: Kind, cause: &dyn std::fmt::Display) {
        local.metrics.unread(kind).inc();
        let address = shown(Some(peer.addr));
        if !self.first(address.clone(), format!("{kind:?}").into()) {
            tracing::debug!(%address, node = %peer.name, ?kind, %cause, "dropped a member's message again");
            return;
        }
        let remedy = Reason::Protocol.remedy();
        tracing::warn!(%address, node = %peer.name, ?kind, %cause, remedy, "dropped a member's message");
    }

    fn first(&self, address: String, reason: Cow<'static, str>) -> bool {
        let now = Instant::now();
        let mut logged = self.logged.lock();
        logged.retain(|_, instant| now.duration_since(*instant) < QUIET);
        if logged.len() >= MAX_REMEMBERED {
            // Strangers with ever new addresses: the counter tells of them, the log has told of enough.
            return false;
        }
        logged.insert((address, reason), now).is_none()
    }
}

/// The host alone: each connection has a port of its own.
fn shown(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), |address| address.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_offence_is_logged_once_per_peer_and_reason_and_again_after_an_hour() {
        let refusals = Refusals::default();
        assert!(refusals.first("10.0.0.1".into(), "key".into()));
        assert!(!refusals.first("10.0.0.1".into(), "key".into()));
        assert!(refusals.first("10.0.0.1".into(), "name".into()));
        assert!(refusals.first("10.0.0.2".into(), "key".into()));
        tokio::time::advance(QUIET).await;
        assert!(refusals.first("10.0.0.1".into(), "key".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_with_ever_new_addresses_fill_neither_memory_nor_log() {
        let refusals = Refusals::default();
        let logged = (0..10 * MAX_REMEMBERED).filter(|index| refusals.first(index.to_string(), "key".into())).count();
        assert_eq!(logged, MAX_REMEMBERED);
        assert_eq!(refusals.logged.lock().len(), MAX_REMEMBERED);
    }
}
