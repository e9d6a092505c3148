//! One attempt at a stream to a peer: connect, shake hands, pump until it breaks. Whether and when to try again is the node's
//! decision; it learns the outcome as events.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prost::Message;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    ConnectError, Connector, DialError, Event, Events, IDLE_TIMEOUT, Local, PING_INTERVAL,
    frame::{FrameError, FrameReader, Kind},
    handshake::{self, Session},
    outbox::{End, Outbox},
    wire::{Intent, Response},
};
use crate::{membership::Identity, node::requests::Pending};

/// How long the queue of a stream that is ended on purpose may take to drain.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the peer may then take to close its side.
const LINGER: Duration = Duration::from_secs(1);

/// A running attempt. Dropping it ends the stream.
pub(crate) struct Link {
    /// Tells attempts at the same address apart.
    pub(crate) session: u64,
    /// Where messages for the peer go; they are sent once the stream is open.
    pub(crate) outbox: Outbox,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What an attempt needs.
pub(crate) struct Dial {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) local: Local,
    pub(crate) addr: SocketAddr,
    pub(crate) session: u64,
    pub(crate) events: Events,
    pub(crate) pending: Pending,
    /// Set once the node shuts down: what is queued is sent, then the stream ends.
    pub(crate) closing: watch::Receiver<bool>,
}

impl Link {
    /// Starts an attempt on the current runtime.
    pub(crate) fn start(dial: Dial) -> Self {
        let outbox = Outbox::new(dial.local.metrics.clone());
        let session = dial.session;
        let task = tokio::spawn(run(dial, outbox.clone())).abort_handle();
        Self { session, outbox, task }
    }
}

async fn run(dial: Dial, outbox: Outbox) {
    let error = match connect(&*dial.connector, &dial.local, dial.addr, Intent::Link).await {
        Ok(session) => attend(&dial, &outbox, session).await,
        Err(error) => error,
    };
    outbox.end(End::Closed);
    let event = Event::LinkDown { addr: dial.addr, session: dial.session, error };
    // The node may have stopped listening because it shuts down.
    drop(dial.events.send(event).await);
}

/// Connects and shakes hands.
pub(crate) async fn connect(connector: &dyn Connector, local: &Local, addr: SocketAddr, intent: Intent) -> Result<Session, DialError> {
    let pipe = match timeout(super::CONNECT_TIMEOUT, connector.connect(addr)).await {
        Ok(pipe) => pipe?,
        Err(_) => return Err(ConnectError::TimedOut.into()),
    };
    handshake::open(pipe, local, intent).await
}

async fn attend(dial: &Dial, outbox: &Outbox, session: Session) -> DialError {
    let Session { mut reader, mut writer, peer, members, .. } = session;
    let identity = peer.identity.clone();
    let up = Event::LinkUp { addr: dial.addr, session: dial.session, peer, members };
    if dial.events.send(up).await.is_err() {
        return FrameError::Closed.into();
    }
    let _open = dial.local.metrics.open_stream();
    let ended = tokio::select! {
        error = read(&mut reader, dial, &identity) => return error,
        ended = outbox.write_to(&mut writer) => ended,
        () = ping(outbox, &dial.local) => return FrameError::Closed.into(),
        () = finish(&dial.closing, outbox) => return FrameError::Closed.into(),
    };
    match ended {
        Ok(End::Overflow) => DialError::Overflow,
        Ok(End::Finish) => {
            // The last words are on their way; the peer closes its side once it has read them.
            drop(writer);
            match timeout(LINGER, read(&mut reader, dial, &identity)).await {
                Ok(error) => error,
                Err(_) => FrameError::Closed.into(),
            }
        }
        Ok(End::Closed) => FrameError::Closed.into(),
        Err(error) => error.into(),
    }
}

/// Reads answers until the stream breaks or nothing comes any more.
async fn read(reader: &mut FrameReader, dial: &Dial, peer: &Identity) -> DialError {
    loop {
        let frame = match timeout(IDLE_TIMEOUT, reader.next()).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return FrameError::Closed.into(),
            Ok(Err(error)) => {
                if error.is_violation() {
                    dial.local.metrics.unread(Kind::Response).inc();
                }
                return error.into();
            }
            Err(_) => return DialError::Silent,
        };
        dial.local.pulses.beat(peer);
        dial.local.metrics.received(frame.kind).inc();
        dial.local.metrics.received_bytes(frame.kind).inc_by(frame.payload.len() as u64);
        match frame.kind {
            Kind::Pong => dial.local.skews.answered(peer, frame.payload),
            Kind::Response => match Response::decode(frame.payload) {
                Ok(response) => dial.pending.answer(dial.session, response),
                Err(_) => return FrameError::Nonsense(Kind::Response).into(),
            },
            kind => return FrameError::UnknownKind(kind as u8).into(),
        }
    }
}

/// Keeps asking whether the peer is there; its answers are what [`read`] waits for.
async fn ping(outbox: &Outbox, local: &Local) {
    let mut interval = interval(PING_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        outbox.push(Kind::Ping, local.skews.ping());
    }
}

/// When the node shuts down: lets the queue drain, bounded.
async fn finish(closing: &watch::Receiver<bool>, outbox: &Outbox) {
    let mut closing = closing.clone();
    if closing.wait_for(|closing| *closing).await.is_err() {
        // The node is gone altogether.
        return;
    }
    let deadline = Instant::now() + FINISH_TIMEOUT;
    outbox.end(End::Finish);
    tokio::time::sleep_until(deadline).await;
}
