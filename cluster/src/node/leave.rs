//! The way out: hand over, wait for whoever still needs the fleet, say goodbye, go. The handover itself is the ownership machine's, which
//! sees this node terminating.

use tokio::{sync::oneshot, time::Instant};

use super::{LeaveReport, driver::Driver};
use crate::{
    membership::{Phase, State},
    transport::frame::Kind,
};

/// How long the goodbye may take to reach all peers.
pub(super) const FAREWELL: std::time::Duration = std::time::Duration::from_secs(3);

/// A node on its way out.
pub(crate) struct Leaving {
    deadline: Instant,
    /// Those who wait for the handover to end.
    done: Vec<oneshot::Sender<LeaveReport>>,
    drained: bool,
    /// The goodbye may be said, and who waits for it.
    released: Option<oneshot::Sender<()>>,
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
        self.state.leaving = Some(Leaving { deadline, done: vec![done], drained: false, released: None, farewell: None, keys_left: 0 });
    }

    /// Nobody needs the fleet any more: the goodbye may be said, after a handover that is under way. A node that was not told to hand over
    /// does so without patience.
    pub(super) fn may_go(&mut self, gone: oneshot::Sender<()>) {
        if self.state.leaving.is_none() {
            self.begin_to_leave(Instant::now(), oneshot::channel().0);
        }
        if let Some(leaving) = &mut self.state.leaving {
            leaving.released = Some(gone);
        }
    }

    pub(super) fn drained(&mut self) {
        if let Some(leaving) = &mut self.state.leaving {
            leaving.drained = true;
        }
    }

    /// Ends the handover once nothing is left to hand over, or patience is, and then says goodbye as soon as that is allowed.
    pub(super) fn leave_if_done(&mut self, now: Instant) {
        let (needed, held) = (self.is_needed(), self.owner.held());
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
        leaving.end_handover(held);
        if leaving.released.is_some() {
            if needed {
                tracing::warn!("the deadline passed before the others agreed to do without this node: it counts as crashed");
            }
            leaving.farewell = Some(now + FAREWELL);
            self.say_goodbye();
        }
    }

    fn say_goodbye(&mut self) {
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
        tracing::info!(drained = leaving.drained, keys_left = leaving.keys_left, "this node has left");
        if let Some(gone) = leaving.released.take() {
            // Whoever asked may have gone.
            let _gone = gone.send(());
        }
    }
}

impl Leaving {
    /// Tells those who wait how the handover went. `held`: what is left.
    fn end_handover(&mut self, held: usize) {
        self.keys_left = held;
        // A node that is alone keeps its keys: nobody is there to take them.
        if held > 0 && !self.drained && !self.done.is_empty() {
            tracing::warn!(keys = held, "the deadline passed before all keys were handed over");
        }
        let report = LeaveReport { drained: self.drained, keys_left: held };
        for done in self.done.drain(..) {
            // Whoever asked may have gone.
            let _gone = done.send(report);
        }
    }
}
