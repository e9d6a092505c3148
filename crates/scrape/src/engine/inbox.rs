//! What the driver is told to do. Not a queue but a state: what is told twice before the driver looks is done once, so it can't grow
//! beyond the number of keys.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::engine::job::Job;
use crate::engine::{Ending, Released as State};
use crate::target::Target;

/// What becomes of a key.
#[derive(Debug)]
pub(super) enum Order {
    Own { first_slot: u64, state: Option<Bytes> },
    Disown,
    Retire,
}

/// Who waits for a key's release.
#[derive(Debug)]
pub(super) struct Released {
    pub(super) max_state: usize,
    pub(super) reply: oneshot::Sender<State>,
}

/// A job's arguments and targets.
pub(super) struct Set {
    pub(super) job: Arc<Job>,
    pub(super) targets: Arc<[Arc<Target>]>,
}

#[derive(Default)]
pub(super) struct Told {
    pub(super) set: Option<Set>,
    /// Before [`Told::orders`].
    pub(super) disown_all: bool,
    pub(super) orders: HashMap<u64, Order>,
    /// Told before an order of the same key came: to be done before [`Told::orders`].
    pub(super) releases_before: Vec<(u64, Released)>,
    /// After [`Told::orders`].
    pub(super) releases: Vec<(u64, Released)>,
    pub(super) stop: Option<Ending>,
    /// Nobody takes orders any more.
    closed: bool,
}

#[derive(Default)]
pub(super) struct Inbox {
    told: Mutex<Told>,
    news: Notify,
}

impl Inbox {
    pub(super) fn set(&self, job: Arc<Job>, targets: Arc<[Arc<Target>]>) {
        self.tell(|told| told.set = Some(Set { job, targets }));
    }

    pub(super) fn order(&self, key: u64, order: Order) {
        self.tell(|told| {
            let (before, after) = std::mem::take(&mut told.releases).into_iter().partition(|(released, _)| *released == key);
            told.releases = after;
            told.releases_before.extend::<Vec<_>>(before);
            told.orders.insert(key, order);
        });
    }

    pub(super) fn disown_all(&self) {
        self.tell(|told| {
            told.orders.clear();
            told.disown_all = true;
        });
    }

    pub(super) fn release(&self, key: u64, released: Released) {
        self.tell(|told| {
            // Dropped, it is answered with nothing.
            if !told.closed {
                told.releases.push((key, released));
            }
        });
    }

    /// Answers what is not answered yet with nothing, and what comes from now on.
    pub(super) fn close(&self) {
        let mut told = self.told.lock();
        *told = Told { closed: true, ..Told::default() };
    }

    /// The first ending counts.
    pub(super) fn stop(&self, ending: Ending) {
        self.tell(|told| told.stop = told.stop.or(Some(ending)));
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock());
        self.news.notify_one();
    }

    /// Waits until there is something new.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    pub(super) fn take(&self) -> Told {
        let mut told = self.told.lock();
        let closed = told.closed;
        std::mem::replace(&mut *told, Told { closed, ..Told::default() })
    }
}
