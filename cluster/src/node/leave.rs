//! The way out: hand over, say goodbye, go. The handover itself is the ownership machine's, which sees this node terminating.

use tokio::{sync::oneshot, time::Instant};

use super::{LeaveReport, driver::Driver};
use crate::{
    membership::{Phase, State},
    transport::frame::Kind,
};

/// How long the goodbye may take to reach all peers.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(3);

/// A node on its way out.
pub(crate) struct Leaving {
    deadline: Instant,
    done: Vec<oneshot::Sender<LeaveReport>>,
    drained: bool,
    /// The goodbye was said; when to stop waiting for it to arrive.
    farewell: Option<Instant>,
    keys_left: usize,
}

impl Driver {
    pub(super) fn begin_to_leave(&mut self, deadline: Instant, done: oneshot::Sender<LeaveReport>) {
        if let Some(leaving) = &mut self.state.leaving {
            leaving.done.push(done);
            leaving.deadline = leaving.deadline.min(deadline);
            return;
        }
        tracing::info!(keys = self.owner.held(), "this node hands over what it holds and leaves");
        self.state.leaving = Some(Leaving { deadline, done: vec![done], drained: false, farewell: None, keys_left: 0 });
    }

    pub(super) fn drained(&mut self) {
        if let Some(leaving) = &mut self.state.leaving {
            leaving.drained = true;
        }
    }

    /// Says goodbye once nothing is left to hand over, or patience is.
    pub(super) fn leave_if_done(&mut self, now: Instant) {
        let needed = self.is_needed();
        let Some(leaving) = &mut self.state.leaving else { return };
        let (told, joined) = {
            let record = self.local.record.lock();
            (record.state == State::Terminating, record.phase == Phase::Formed)
        };
        // A node that never joined has nothing to hand over.
        leaving.drained |= !joined;
        if leaving.farewell.is_some() || !told || !((leaving.drained && !needed) || now >= leaving.deadline) {
            return;
        }
        if needed {
            tracing::warn!("the deadline passed before the others agreed to do without this node: it counts as crashed");
        }
        leaving.keys_left = self.owner.held();
        leaving.farewell = Some(now + FAREWELL);
        // A node that is alone keeps its keys: nobody is there to take them.
        if leaving.keys_left > 0 && !leaving.drained {
            tracing::warn!(keys = leaving.keys_left, "the deadline passed before all keys were handed over");
        }
        self.change_record(|record| record.left = true);
        let news = self.news(Vec::new(), Vec::new());
        self.links.broadcast(Kind::Members, &news);
        // Streams send what is queued and end.
        self.closing.send_replace(true);
    }

    /// Whether streams are being ended.
    pub(super) fn says_goodbye(&self) -> bool {
        self.state.leaving.as_ref().is_some_and(|leaving| leaving.farewell.is_some())
    }

    pub(super) fn has_left(&self) -> bool {
        let Some(farewell) = self.state.leaving.as_ref().and_then(|leaving| leaving.farewell) else {
            return false;
        };
        self.links.open() == 0 || Instant::now() >= farewell
    }

    pub(super) fn farewell(&mut self) {
        let Some(leaving) = &mut self.state.leaving else { return };
        let report = LeaveReport { drained: leaving.drained, keys_left: leaving.keys_left };
        tracing::info!(drained = report.drained, keys_left = report.keys_left, "this node has left");
        for done in leaving.done.drain(..) {
            // Whoever asked may have gone.
            let _gone = done.send(report);
        }
    }
}
