//! Streams that peers open to this node: admitted or refused, then read until they break. Gossip goes straight to the gossip
//! loop, the rest to the node as events. A stream that waits, floods or talks nonsense holds up nobody but its own peer.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use tokio::{
    sync::{Semaphore, oneshot, watch},
    time::{Instant, timeout},
};

use super::{
    Event, Events, GossipInbox, IDLE_TIMEOUT, Local, Pipe, Reason,
    frame::{Frame, FrameError, FrameReader, Kind},
    handshake::{self, PeerHello, Refused, Session},
    outbox::{End, Outbox},
    standing,
    wire::{Intent, Members, Reject, Request, Response},
};
use crate::{membership::Identity, node::requests::Handlers};

/// Handshakes under way at once: strangers must not hold more than this many half-open streams.
const MAX_HANDSHAKES: usize = 256;

/// Requests of one peer that are worked on at once.
const MAX_REQUESTS_PER_PEER: usize = 16;

/// How long a stream that was only opened to ask is kept for the answer to arrive.
const LINGER: Duration = Duration::from_secs(2);

/// How long the same refusal of the same peer stays quiet in the log.
const QUIET: Duration = Duration::from_secs(3600);

/// Peers whose refusals are remembered.
const MAX_REMEMBERED: usize = 1024;

/// Takes streams; clones share everything.
#[derive(Clone)]
pub(crate) struct Inbound {
    local: Local,
    events: Events,
    gossip: GossipInbox,
    handlers: Handlers,
    handshakes: Arc<Semaphore>,
    refusals: Refusals,
    closing: watch::Receiver<bool>,
}

impl Inbound {
    pub(crate) fn new(local: Local, events: Events, gossip: GossipInbox, handlers: Handlers, closing: watch::Receiver<bool>) -> Self {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        Self { local, events, gossip, handlers, handshakes, refusals: Refusals::default(), closing }
    }

    /// Whether the node still takes streams and another handshake may begin.
    pub(crate) fn has_room(&self) -> bool {
        !*self.closing.borrow() && self.handshakes.available_permits() > 0
    }

    /// Serves one stream to its end. `remote` is where it comes from, if that is known.
    pub(crate) async fn serve(self, pipe: Pipe, remote: Option<SocketAddr>) {
        let Ok(permit) = self.handshakes.clone().try_acquire_owned() else {
            return;
        };
        let mut closing = self.closing.clone();
        let admitted = handshake::accept(pipe, &self.local, |hello| self.admit(hello)).await;
        drop(permit);
        match admitted {
            Ok(session) => tokio::select! {
                () = self.attend(session, remote) => {}
                _ = closing.wait_for(|closing| *closing) => {}
            },
            Err(refused) => self.refusals.note(&self.local, remote, &refused),
        }
    }

    async fn admit(&self, hello: PeerHello) -> Result<Members, Reject> {
        let (verdict, answer) = oneshot::channel();
        let unavailable = || Reason::Unavailable.reject("the peer is shutting down");
        self.events.send(Event::Admit { hello, verdict }).await.map_err(|_| unavailable())?;
        answer.await.map_err(|_| unavailable())?
    }

    async fn attend(&self, session: Session, remote: Option<SocketAddr>) {
        let Session { mut reader, mut writer, peer, intent, .. } = session;
        if intent != Intent::Link {
            // The opener closes once it has read the answer.
            drop(timeout(LINGER, writer.closed()).await);
            return;
        }
        let identity = peer.identity.clone();
        if self.events.send(Event::InboundUp { peer }).await.is_err() {
            return;
        }
        let _open = self.local.metrics.open_stream();
        let outbox = Outbox::new(self.local.metrics.clone());
        let error = tokio::select! {
            error = self.read(&mut reader, &outbox, &identity) => error,
            ended = outbox.write_to(&mut writer) => ended.err().unwrap_or(FrameError::Closed),
        };
        outbox.end(End::Closed);
        if error.is_violation() {
            let claimed = Some((identity.name.to_string(), identity.addr));
            let refused = Refused { reason: Reason::Protocol, detail: error.to_string(), claimed };
            self.refusals.note(&self.local, remote, &refused);
        }
        // Nobody listens any more if the node shuts down.
        drop(self.events.send(Event::InboundDown { peer: identity }).await);
    }

    async fn read(&self, reader: &mut FrameReader, outbox: &Outbox, peer: &Identity) -> FrameError {
        let requests = Arc::new(Semaphore::new(MAX_REQUESTS_PER_PEER));
        loop {
            let frame = match timeout(IDLE_TIMEOUT, reader.next()).await {
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) => return FrameError::Closed,
                Ok(Err(error)) => return error,
                Err(_) => return FrameError::Broken("nothing was heard".into()),
            };
            self.local.pulses.beat(peer);
            self.local.metrics.received(frame.kind).inc();
            self.local.metrics.received_bytes(frame.kind).inc_by(frame.payload.len() as u64);
            if let Err(error) = self.take(frame, outbox, peer, &requests).await {
                return error;
            }
        }
    }

    async fn take(&self, frame: Frame, outbox: &Outbox, peer: &Identity, requests: &Arc<Semaphore>) -> Result<(), FrameError> {
        let from = peer.clone();
        let event = match frame.kind {
            Kind::Gossip => {
                if self.gossip.try_send((peer.addr, frame.payload)).is_err() {
                    self.local.metrics.gossip_dropped.inc();
                }
                return Ok(());
            }
            Kind::Ping => {
                outbox.push(Kind::Pong, Bytes::new());
                return Ok(());
            }
            Kind::Request => return self.respond(frame.payload, outbox, requests),
            Kind::Ownership => Event::Ownership { from, dated: None, message: frame.payload },
            Kind::Dated => {
                let (number, message) = standing::dated(frame.payload).ok_or(FrameError::UnknownKind(Kind::Dated as u8))?;
                Event::Ownership { from, dated: Some(number), message }
            }
            Kind::Standing => {
                let standing = standing::Standing::read(&frame.payload).ok_or(FrameError::UnknownKind(Kind::Standing as u8))?;
                Event::Standing { from, standing }
            }
            Kind::Members => {
                let members = Members::decode(frame.payload).map_err(|_| FrameError::UnknownKind(Kind::Members as u8))?;
                Event::Members { from, members }
            }
            kind => return Err(FrameError::UnknownKind(kind as u8)),
        };
        self.events.send(event).await.map_err(|_| FrameError::Closed)
    }

    /// Works on a request beside the stream, so that a slow handler delays nothing else.
    fn respond(&self, payload: Bytes, outbox: &Outbox, requests: &Arc<Semaphore>) -> Result<(), FrameError> {
        let request = Request::decode(payload).map_err(|_| FrameError::UnknownKind(Kind::Request as u8))?;
        let (id, outbox, handlers) = (request.id, outbox.clone(), self.handlers.clone());
        let Ok(permit) = requests.clone().try_acquire_owned() else {
            let error = format!("more than {MAX_REQUESTS_PER_PEER} requests at once");
            outbox.push(Kind::Response, Response { id, error, body: Bytes::new() }.encode_to_vec().into());
            return Ok(());
        };
        tokio::spawn(async move {
            let response = match handlers.handle(&request.kind, request.body).await {
                Ok(body) => Response { id, error: String::new(), body },
                Err(error) => Response { id, error, body: Bytes::new() },
            };
            outbox.push(Kind::Response, response.encode_to_vec().into());
            drop(permit);
        });
        Ok(())
    }
}

/// Counts refusals and logs each once per peer and reason, with what to do about it.
#[derive(Clone, Default)]
struct Refusals {
    logged: Arc<Mutex<HashMap<(String, Reason), Instant>>>,
}

impl Refusals {
    fn note(&self, local: &Local, remote: Option<SocketAddr>, refused: &Refused) {
        local.metrics.rejected(refused.reason).inc();
        let (name, claimed_addr) = match &refused.claimed {
            Some((name, addr)) => (name.as_str(), Some(*addr)),
            None => ("unknown", None),
        };
        let address = remote.map(|remote| remote.ip()).or(claimed_addr.map(|addr| addr.ip()));
        let address = address.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
        let quiet = refused.reason == Reason::Unavailable || !self.first(address.clone(), refused.reason);
        if quiet {
            tracing::debug!(%address, node = name, reason = refused.reason.as_str(), "refused a peer again");
            return;
        }
        tracing::warn!(
            %address,
            node = name,
            reason = refused.reason.as_str(),
            cause = %refused.detail,
            remedy = refused.reason.remedy(),
            "refused a peer"
        );
    }

    fn first(&self, address: String, reason: Reason) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_logged_once_per_peer_and_reason_and_again_after_an_hour() {
        let refusals = Refusals::default();
        assert!(refusals.first("10.0.0.1".into(), Reason::Key));
        assert!(!refusals.first("10.0.0.1".into(), Reason::Key));
        assert!(refusals.first("10.0.0.1".into(), Reason::Name));
        assert!(refusals.first("10.0.0.2".into(), Reason::Key));
        tokio::time::advance(QUIET).await;
        assert!(refusals.first("10.0.0.1".into(), Reason::Key));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_with_ever_new_addresses_fill_neither_memory_nor_log() {
        let refusals = Refusals::default();
        let logged = (0..10 * MAX_REMEMBERED).filter(|index| refusals.first(index.to_string(), Reason::Key)).count();
        assert_eq!(logged, MAX_REMEMBERED);
        assert_eq!(refusals.logged.lock().len(), MAX_REMEMBERED);
    }
}
