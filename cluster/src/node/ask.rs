//! Asking other members, from any task: finds the stream to a member, or this node's own handlers, and waits for the answer.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use prost::Message;

use super::{
    MAX_BODY_BYTES, Peer, RequestError,
    links::Directory,
    requests::{Handlers, Pending},
};
use crate::transport::{frame::Kind, outbox::Pushed, wire};

/// Asks members by name. Clones share what waits.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(super) me: Arc<str>,
    pub(super) peers: Arc<ArcSwap<Vec<Peer>>>,
    pub(super) directory: Directory,
    pub(super) pending: Pending,
    pub(super) handlers: Handlers,
}

impl Asker {
    /// See [`super::Cluster::request`].
    pub(crate) async fn request(&self, peer: &str, kind: &str, body: Bytes) -> Result<Bytes, RequestError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(RequestError::TooLarge(body.len()));
        }
        if peer == &*self.me {
            return self.handlers.handle(kind, body).await.map_err(RequestError::Failed);
        }
        let stream = self.directory.lock().get(peer).cloned();
        let Some((session, outbox)) = stream else {
            let known = self.peers.load().iter().any(|known| known.name == peer);
            return Err(if known { RequestError::NotConnected(peer.into()) } else { RequestError::UnknownPeer(peer.into()) });
        };
        let waiting = self.pending.register(session)?;
        let request = wire::Request { id: waiting.id, kind: kind.to_owned(), body };
        match outbox.push(Kind::Request, request.encode_to_vec().into()) {
            Pushed::Queued | Pushed::DroppedOldest => waiting.answer().await,
            Pushed::Overflow | Pushed::Closed => Err(RequestError::NotConnected(peer.into())),
        }
    }
}
