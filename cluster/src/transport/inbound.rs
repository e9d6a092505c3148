//! Streams that peers open to this node: admitted or refused, then read until they break. Gossip goes straight to the gossip
//! loop, the rest to the node as events. A stream that waits, floods or talks nonsense holds up nobody but its own peer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use tokio::{
    sync::{Semaphore, oneshot, watch},
    time::timeout,
};

use super::{
    Event, Events, GossipInbox, IDLE_TIMEOUT, Local, Pipe, Reason,
    frame::{Frame, FrameError, FrameReader, Kind},
    handshake::{self, PeerHello, Refused, Session},
    outbox::{End, Outbox},
    places::Places,
    refusals::Refusals,
    standing,
    wire::{self, Intent, Members, Reject, Request, Response},
};
use crate::{
    membership::{Identity, intake},
    node::requests::Handlers,
    ownership::Envelope,
};

/// Handshakes under way at once: strangers must not hold more than this many half-open streams.
const MAX_HANDSHAKES: usize = 256;

/// Requests of one peer that are worked on at once.
const MAX_REQUESTS_PER_PEER: usize = 16;

/// How long a stream that was only opened to ask is kept for the answer to arrive.
const LINGER: Duration = Duration::from_secs(2);

/// Takes streams; clones share everything.
#[derive(Clone)]
pub(crate) struct Inbound {
    local: Local,
    events: Events,
    gossip: GossipInbox,
    handlers: Handlers,
    handshakes: Arc<Semaphore>,
    refusals: Refusals,
    streams: Places,
    closing: watch::Receiver<bool>,
    /// Whether streams are taken only over TLS with a verified certificate.
    pub(crate) needs_tls: bool,
}

impl Inbound {
    pub(crate) fn new(
        local: Local,
        events: Events,
        gossip: GossipInbox,
        handlers: Handlers,
        closing: watch::Receiver<bool>,
        needs_tls: bool,
    ) -> Self {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        let (refusals, streams) = (Refusals::default(), Places::default());
        Self { local, events, gossip, handlers, handshakes, refusals, streams, closing, needs_tls }
    }

    /// Counts and logs a peer that was refused before it could open a stream.
    pub(crate) fn refuse(&self, remote: Option<SocketAddr>, reason: Reason, detail: impl Into<String>) {
        self.refusals.refused(&self.local, remote, &Refused { reason, detail: detail.into(), claimed: None });
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
            Err(refused) => self.refusals.refused(&self.local, remote, &refused),
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
        let mut place = self.streams.enter(&identity);
        let error = tokio::select! {
            () = place.lost() => FrameError::Closed,
            error = self.read(&mut reader, &outbox, &identity) => error,
            ended = outbox.write_to(&mut writer) => ended.err().unwrap_or(FrameError::Closed),
        };
        outbox.end(End::Closed);
        if error.is_violation() {
            self.local.metrics.unread(Kind::Ownership).inc();
            let claimed = Some((identity.name.to_string(), identity.addr));
            let refused = Refused { reason: Reason::Protocol, detail: error.to_string(), claimed };
            self.refusals.refused(&self.local, remote, &refused);
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
                self.gossip(peer, frame.payload);
                return Ok(());
            }
            Kind::Ping => {
                outbox.push(Kind::Pong, self.local.skews.pong(&frame.payload));
                return Ok(());
            }
            Kind::Request => return self.respond(frame.payload, outbox, requests),
            Kind::Ownership => return self.ownership(peer, None, &frame.payload).await,
            Kind::Dated => {
                let (number, message) = standing::dated(frame.payload).ok_or(FrameError::Nonsense(Kind::Dated))?;
                return self.ownership(peer, Some(number), &message).await;
            }
            Kind::Standing => {
                let standing = standing::Standing::read(&frame.payload).ok_or(FrameError::Nonsense(Kind::Standing))?;
                Event::Standing { from, standing }
            }
            Kind::Members => Event::Members { from, members: wire::members(frame.payload).ok_or(FrameError::Nonsense(Kind::Members))? },
            kind => return Err(FrameError::UnknownKind(kind as u8)),
        };
        self.events.send(event).await.map_err(|_| FrameError::Closed)
    }

    fn gossip(&self, peer: &Identity, round: Bytes) {
        let metrics = &self.local.metrics;
        if let Err(error) = intake::check(&round) {
            return self.refusals.unread(&self.local, peer, Kind::Gossip, &error);
        }
        match self.gossip.try_send((peer.addr, round)) {
            Ok(()) => metrics.rx_queue_length.inc(),
            Err(_) => {
                metrics.gossip_dropped.inc();
                metrics.unread(Kind::Gossip).inc();
            }
        }
    }

    /// Hands an ownership message on; `dated` is this node's own number that shows its age.
    async fn ownership(&self, peer: &Identity, dated: Option<u64>, message: &[u8]) -> Result<(), FrameError> {
        match Envelope::decode(message) {
            Ok(envelope) => {
                let event = Event::Ownership { from: peer.clone(), dated, envelope };
                self.events.send(event).await.map_err(|_| FrameError::Closed)
            }
            // Perhaps of a later release, so the stream goes on.
            Err(error) => {
                self.refusals.unread(&self.local, peer, Kind::Ownership, &error);
                Ok(())
            }
        }
    }

    /// Works on a request beside the stream, so that a slow handler delays nothing else.
    fn respond(&self, payload: Bytes, outbox: &Outbox, requests: &Arc<Semaphore>) -> Result<(), FrameError> {
        let request = Request::decode(payload).map_err(|_| FrameError::Nonsense(Kind::Request))?;
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
