//! Where an endpoint takes what the same endpoint of a node that left had not delivered.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use model::Refused;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::shared::{Shared, check};
use crate::spool::frame::{self, Head, Malformed};

/// Shipments that are remembered: as many nodes as can leave at the same time.
const MAX_SHIPMENTS: usize = 1024;

/// Takes frames for an endpoint, one at a time. Clones share it.
#[derive(Clone)]
pub struct Adopter(Arc<Intake>);

struct Intake {
    shared: Arc<Shared>,
    shipments: Mutex<Shipments>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The endpoint has it, now or since before.
    All,
    /// There is no room for it; there will be.
    Later,
}

/// Why a frame is not taken, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// It can't be read.
    #[error("what came of a node that leaves is malformed; is it a later version?")]
    Malformed,
    /// Frames before it were not taken here.
    #[error("frames before this one have not come; this node has started anew")]
    OutOfTurn,
    /// The endpoint has ended.
    #[error("the endpoint takes nothing more; its node leaves as well")]
    Closed,
}

impl Adopter {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Intake { shared, shipments: Mutex::default() }))
    }

    /// Takes a frame; one that comes again is not taken twice. What it holds goes before what is held back of the same sources.
    ///
    /// # Errors
    /// [`TakeError`]; it makes no sense to send the frame again.
    pub async fn take(&self, frame: Bytes) -> Result<Taken, TakeError> {
        let Intake { shared, shipments } = &*self.0;
        let mut shipments = shipments.lock().await;
        let malformed = |_: Malformed| {
            shared.metrics.backlog_malformed.inc();
            TakeError::Malformed
        };
        let head = frame::head(&frame).map_err(malformed)?;
        if shipments.is_known(head)? {
            return Ok(Taken::All);
        }
        // Unpacking takes a while. If its thread is gone, the process ends.
        let batches = spawn_blocking(move || frame::read(&frame)).await.map_err(|_| TakeError::Closed)?.map_err(malformed)?;
        if batches.iter().any(|batch| check(batch).is_err()) {
            return Err(malformed(Malformed));
        }
        match shared.adopt(batches) {
            Ok(()) => {
                shipments.note(head);
                Ok(Taken::All)
            }
            Err(Refused::Closed) => Err(TakeError::Closed),
            Err(_) => Ok(Taken::Later),
        }
    }
}

/// Shipments and their next frames.
#[derive(Default)]
struct Shipments(VecDeque<(u64, u32)>);

impl Shipments {
    /// Whether this frame was taken before.
    fn is_known(&self, head: Head) -> Result<bool, TakeError> {
        let next = self.0.iter().find(|(shipment, _)| *shipment == head.shipment).map_or(0, |(_, next)| *next);
        if head.number > next { Err(TakeError::OutOfTurn) } else { Ok(head.number < next) }
    }

    fn note(&mut self, head: Head) {
        let next = head.number.saturating_add(1);
        if let Some(known) = self.0.iter_mut().find(|(shipment, _)| *shipment == head.shipment) {
            known.1 = next;
            return;
        }
        if self.0.len() >= MAX_SHIPMENTS {
            self.0.pop_front();
        }
        self.0.push_back((head.shipment, next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_in_turn_and_once() {
        let mut shipments = Shipments::default();
        let head = |shipment, number| Head { shipment, number };
        assert_eq!(shipments.is_known(head(7, 0)), Ok(false));
        shipments.note(head(7, 0));
        assert_eq!(shipments.is_known(head(7, 0)), Ok(true));
        assert_eq!(shipments.is_known(head(7, 1)), Ok(false));
        assert_eq!(shipments.is_known(head(7, 2)), Err(TakeError::OutOfTurn));
        assert_eq!(shipments.is_known(head(8, 1)), Err(TakeError::OutOfTurn));
    }

    #[test]
    fn shipments_that_are_remembered_are_bounded() {
        let mut shipments = Shipments::default();
        (0..2 * MAX_SHIPMENTS as u64).for_each(|shipment| shipments.note(Head { shipment, number: 0 }));
        assert_eq!(shipments.0.len(), MAX_SHIPMENTS);
    }
}
