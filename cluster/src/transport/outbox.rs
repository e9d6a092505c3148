//! The bounded queue of one stream: news first, then gossip, then bulk in pieces, so that a long handover never holds up a
//! sign of life. Gossip is dropped when it piles up, since a later round says the same. An ownership message is never dropped
//! silently: if there is no room the whole queue is given up and its stream with it, and both sides synchronise anew.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::frame::{FrameError, FrameWriter, Kind};
use crate::metrics::Metrics;

/// Rounds of gossip that may wait. At three peers per round and 500 ms this is seconds old already.
const MAX_GOSSIP: usize = 16;

/// News and pings that may wait; they are small. More means that the peer takes nothing.
const MAX_CONTROL: usize = 1024;

/// Bulk messages that may wait.
const MAX_BULK: usize = 4096;

/// Bytes of bulk that may wait.
const MAX_BULK_BYTES: usize = 128 * 1024 * 1024;

/// What happened to a message that was to be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits for its turn.
    Queued,
    /// It was queued at the price of an older round of gossip.
    DroppedOldest,
    /// There was no room: the stream is being given up.
    Overflow,
    /// The stream is gone already.
    Closed,
}

/// A stream's queue; clones share it.
#[derive(Clone)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    queues: Mutex<Queues>,
    wake: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Queues {
    control: VecDeque<(Kind, Bytes)>,
    gossip: VecDeque<Bytes>,
    bulk: VecDeque<(Kind, Bytes)>,
    bulk_bytes: usize,
    end: Option<End>,
}

/// Why nothing more is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A message found no room.
    Overflow,
    /// What is queued is still sent, then the stream ends.
    Finish,
    /// The stream ends at once.
    Closed,
}

enum Next {
    Whole(Kind, Bytes),
    Piece(Kind, Bytes),
    End(End),
    Wait,
}

impl Outbox {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { shared: Arc::new(Shared { queues: Mutex::default(), wake: Notify::new(), metrics }) }
    }

    /// Queues a message.
    pub(crate) fn push(&self, kind: Kind, payload: Bytes) -> Pushed {
        let pushed = self.shared.queues.lock().push(kind, payload);
        match pushed {
            Pushed::Queued => self.shared.metrics.tx_queue_length.inc(),
            Pushed::DroppedOldest | Pushed::Overflow | Pushed::Closed => self.shared.metrics.unsent(kind).inc(),
        }
        self.shared.wake.notify_one();
        pushed
    }

    /// Ends the stream: at once, or after what is queued.
    pub(crate) fn end(&self, end: End) {
        let mut queues = self.shared.queues.lock();
        if queues.end.is_none() || end == End::Closed {
            queues.end = Some(end);
        }
        self.shared.wake.notify_one();
    }

    /// Writes what is queued until the stream ends. Nothing to say is no reason to end.
    pub(crate) async fn write_to(&self, writer: &mut FrameWriter) -> Result<End, FrameError> {
        loop {
            let next = self.shared.queues.lock().pop();
            match next {
                Next::Whole(kind, payload) => {
                    self.shared.metrics.tx_queue_length.dec();
                    self.count(kind, payload.len());
                    writer.send(kind, payload).await?;
                }
                Next::Piece(kind, mut payload) => {
                    self.shared.metrics.tx_queue_length.dec();
                    let before = payload.len();
                    let more = writer.send_piece(kind, &mut payload).await?;
                    self.count_bytes(kind, before - payload.len());
                    self.put_back(kind, payload, more);
                }
                Next::End(end) => return Ok(end),
                Next::Wait => self.shared.wake.notified().await,
            }
        }
    }

    fn put_back(&self, kind: Kind, rest: Bytes, more: bool) {
        if more {
            self.shared.metrics.tx_queue_length.inc();
            self.shared.queues.lock().bulk.push_front((kind, rest));
        } else {
            self.count(kind, 0);
        }
    }

    fn count(&self, kind: Kind, bytes: usize) {
        self.shared.metrics.sent(kind).inc();
        self.count_bytes(kind, bytes);
    }

    fn count_bytes(&self, kind: Kind, bytes: usize) {
        self.shared.metrics.sent_bytes(kind).inc_by(bytes as u64);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let queues = self.queues.get_mut();
        let messages = queues.control.len() + queues.bulk.len();
        self.metrics.unsent(Kind::Gossip).inc_by(queues.gossip.len() as u64);
        self.metrics.unsent(Kind::Ownership).inc_by(messages as u64);
        self.metrics.tx_queue_length.sub((messages + queues.gossip.len()) as i64);
    }
}

impl Queues {
    fn push(&mut self, kind: Kind, payload: Bytes) -> Pushed {
        if self.end.is_some() {
            return Pushed::Closed;
        }
        match kind {
            Kind::Gossip => {
                self.gossip.push_back(payload);
                if self.gossip.len() > MAX_GOSSIP {
                    self.gossip.pop_front();
                    return Pushed::DroppedOldest;
                }
            }
            Kind::Ownership | Kind::Dated | Kind::Request | Kind::Response => {
                if self.bulk.len() >= MAX_BULK || self.bulk_bytes + payload.len() > MAX_BULK_BYTES {
                    self.end = Some(End::Overflow);
                    return Pushed::Overflow;
                }
                self.bulk_bytes += payload.len();
                self.bulk.push_back((kind, payload));
            }
            _ => {
                if self.control.len() >= MAX_CONTROL {
                    self.end = Some(End::Overflow);
                    return Pushed::Overflow;
                }
                self.control.push_back((kind, payload));
            }
        }
        Pushed::Queued
    }

    fn pop(&mut self) -> Next {
        if let Some(end @ (End::Overflow | End::Closed)) = self.end {
            return Next::End(end);
        }
        if let Some((kind, payload)) = self.control.pop_front() {
            return Next::Whole(kind, payload);
        }
        if let Some(payload) = self.gossip.pop_front() {
            return Next::Whole(Kind::Gossip, payload);
        }
        if let Some((kind, payload)) = self.bulk.pop_front() {
            self.bulk_bytes -= payload.len().min(super::frame::MAX_PAYLOAD).min(self.bulk_bytes);
            return Next::Piece(kind, payload);
        }
        self.end.map_or(Next::Wait, Next::End)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;
    use crate::transport::frame::{FrameReader, MAX_PAYLOAD};

    fn outbox() -> Outbox {
        Outbox::new(Arc::new(Metrics::new("test", &prometheus::Registry::new()).unwrap()))
    }

    async fn sent(outbox: &Outbox) -> Vec<Kind> {
        let (sender, mut receiver) = mpsc::channel(4096);
        let mut writer = FrameWriter::new(sender);
        outbox.end(End::Finish);
        outbox.write_to(&mut writer).await.unwrap();
        drop(writer);
        let mut chunks = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            chunks.push(Ok(chunk));
        }
        let mut reader = FrameReader::new(Box::pin(futures_util::stream::iter(chunks)), MAX_PAYLOAD);
        let mut kinds = Vec::new();
        while let Some(frame) = reader.next().await.unwrap() {
            kinds.push(frame.kind);
        }
        kinds
    }

    #[tokio::test]
    async fn news_come_before_gossip_and_gossip_before_bulk() {
        let outbox = outbox();
        for kind in [Kind::Ownership, Kind::Gossip, Kind::Members, Kind::Response] {
            assert_eq!(outbox.push(kind, Bytes::from_static(b"x")), Pushed::Queued);
        }
        assert_eq!(sent(&outbox).await, [Kind::Members, Kind::Gossip, Kind::Ownership, Kind::Response]);
        assert_eq!(outbox.shared.metrics.tx_queue_length.get(), 0);
    }

    #[tokio::test]
    async fn gossip_that_piles_up_loses_its_oldest_round_and_is_counted() {
        let outbox = outbox();
        for _ in 0..MAX_GOSSIP {
            assert_eq!(outbox.push(Kind::Gossip, Bytes::new()), Pushed::Queued);
        }
        assert_eq!(outbox.push(Kind::Gossip, Bytes::new()), Pushed::DroppedOldest);
        assert_eq!(outbox.shared.metrics.unsent(Kind::Gossip).get(), 1);
        assert_eq!(sent(&outbox).await.len(), MAX_GOSSIP);
    }

    #[tokio::test]
    async fn an_ownership_message_without_room_gives_the_stream_up() {
        let outbox = outbox();
        let big = Bytes::from(vec![0; MAX_BULK_BYTES / 2]);
        assert_eq!(outbox.push(Kind::Ownership, big.clone()), Pushed::Queued);
        assert_eq!(outbox.push(Kind::Ownership, big), Pushed::Queued);
        assert_eq!(outbox.push(Kind::Ownership, Bytes::from_static(b"one more")), Pushed::Overflow);
        assert_eq!(outbox.push(Kind::Ping, Bytes::new()), Pushed::Closed);
        let (sender, _receiver) = mpsc::channel(1);
        assert_eq!(outbox.write_to(&mut FrameWriter::new(sender)).await, Ok(End::Overflow));
        let metrics = outbox.shared.metrics.clone();
        assert_eq!(metrics.unsent(Kind::Ownership).get(), 2, "two found no room");
        drop(outbox);
        assert_eq!((metrics.unsent(Kind::Ownership).get(), metrics.tx_queue_length.get()), (4, 0), "two were lost with their stream");
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_queue_waits_for_a_message() {
        let outbox = outbox();
        let (sender, mut receiver) = mpsc::channel(4);
        let task = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.write_to(&mut FrameWriter::new(sender)).await }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(receiver.try_recv().is_err());
        outbox.push(Kind::Ping, Bytes::new());
        assert!(receiver.recv().await.is_some());
        outbox.end(End::Closed);
        assert_eq!(task.await.unwrap(), Ok(End::Closed));
    }
}
