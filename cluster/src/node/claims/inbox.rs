//! Events on their way to a component, bounded by the number of its keys: what cancels out before the component has looked is
//! never seen by it. What the events mean is `claims`.

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{ClaimEvent, StartEvent, StopEvent};
use crate::ownership::StartReason;

/// Events of one domain that its component has not taken yet: at most a stop and a start per key.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(super) state: Mutex<InboxState>,
    wake: Notify,
}

#[derive(Default)]
pub(super) struct InboxState {
    pub(super) stops: HashMap<u64, StopEvent>,
    pub(super) starts: HashMap<u64, StartEvent>,
    /// Keys in the order of their events; a key may be left here whose events cancelled each other out.
    pub(super) order: VecDeque<u64>,
    queued: HashSet<u64>,
    closed: bool,
}

impl Inbox {
    /// Tells of a start; a stop of the same key that was not taken yet comes before it.
    pub(crate) fn start(&self, mut start: StartEvent) {
        let mut state = self.state.lock();
        if let Some(unseen) = state.starts.remove(&start.key)
            && start.reason == StartReason::Rescheduled
        {
            // To the component it is a start like the one that it has not seen.
            (start.reason, start.state) = (unseen.reason, unseen.state);
        }
        state.enqueue(start.key);
        state.starts.insert(start.key, start);
        drop(state);
        self.wake.notify_one();
    }

    /// Tells of a stop. A component that has not seen the start needs to see neither: then the start's state goes back with
    /// the key.
    pub(crate) fn stop(&self, mut stop: StopEvent) {
        let mut state = self.state.lock();
        if let Some(unseen) = state.starts.remove(&stop.key)
            && unseen.reason != StartReason::Rescheduled
        {
            drop(state);
            if let Some(handover) = &mut stop.handover {
                handover.state = unseen.state;
            }
            return;
        }
        state.enqueue(stop.key);
        state.stops.insert(stop.key, stop);
        drop(state);
        self.wake.notify_one();
    }

    /// No events follow.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// The next event; `None` after the last one of a closed inbox. Cancel-safe.
    pub(super) async fn next(&self) -> Option<ClaimEvent> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(event) = state.pop() {
                    return Some(event);
                }
                if state.closed {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }
}

impl InboxState {
    fn enqueue(&mut self, key: u64) {
        if self.queued.insert(key) {
            self.order.push_back(key);
        }
    }

    fn pop(&mut self) -> Option<ClaimEvent> {
        while let Some(key) = self.order.pop_front() {
            if let Some(stop) = self.stops.remove(&key) {
                if self.starts.contains_key(&key) {
                    self.order.push_front(key);
                } else {
                    self.queued.remove(&key);
                }
                return Some(ClaimEvent::Stop(stop));
            }
            self.queued.remove(&key);
            if let Some(start) = self.starts.remove(&key) {
                return Some(ClaimEvent::Start(start));
            }
        }
        None
    }
}
