//! The right to scrape a key: a cell that a scrape loop asks before each scrape and that a handover closes, under one lock; and
//! the fence that keeps a node which was late from scraping what others may have taken over. Who gets a hold is decided by the
//! ownership machine.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use prometheus::IntCounter;

use super::clock::Clock;

/// Until when slots may be begun at all; shared by all holds of a node.
#[derive(Clone)]
pub(crate) struct Fence {
    clock: Clock,
    until_ms: Arc<AtomicU64>,
    refused: Option<IntCounter>,
}

impl Fence {
    /// A fence that is shut until it is moved.
    pub(crate) fn new(clock: Clock, refused: IntCounter) -> Self {
        Self { clock, until_ms: Arc::default(), refused: Some(refused) }
    }

    /// A fence that never shuts.
    pub(crate) fn open(clock: Clock) -> Self {
        Self { clock, until_ms: Arc::new(AtomicU64::new(u64::MAX)), refused: None }
    }

    /// Slots may be begun before this reading of the monotonic clock.
    pub(crate) fn move_to(&self, until_ms: u64) {
        self.until_ms.store(until_ms, Ordering::Release);
    }

    fn is_passed(&self) -> bool {
        self.clock.mono_ms() >= self.until_ms.load(Ordering::Acquire)
    }
}

/// The right to scrape one key, for as long as it lasts. Clones share it.
#[derive(Clone)]
pub struct Hold {
    cell: Arc<Mutex<Cell>>,
    fence: Fence,
}

struct Cell {
    open: bool,
    /// The next slot that may begin.
    next: u64,
    last: Option<u64>,
}

impl Hold {
    pub(crate) fn new(fence: Fence, first_slot: u64) -> Self {
        Self { cell: Arc::new(Mutex::new(Cell { open: true, next: first_slot, last: None })), fence }
    }

    /// Begins a slot: to be asked right before its scrape. `false` if the key is no longer held, if the slot (or a later one)
    /// was begun before or lies before the first one, or if this node was late and others may hold the key by now. Costs an
    /// uncontended lock and a look at the clock.
    #[must_use]
    pub fn begin(&self, slot: u64) -> bool {
        self.begin_if(slot, |cell| slot >= cell.next)
    }

    /// The same for one of several scrapes that a key stands for: the last slot that was begun may be begun again, as long as the key
    /// is held. That none of them takes a slot twice is the caller's to see to.
    #[must_use]
    pub fn begin_shared(&self, slot: u64) -> bool {
        self.begin_if(slot, |cell| slot >= cell.next || cell.last == Some(slot))
    }

    fn begin_if(&self, slot: u64, fits: impl FnOnce(&Cell) -> bool) -> bool {
        let mut cell = self.cell.lock();
        // Within the lock: a loop that was stopped between the two looks must not pass.
        let begins = cell.open && fits(&cell) && !self.fence.is_passed();
        if begins {
            cell.next = slot.saturating_add(1);
            cell.last = Some(slot);
        } else if let Some(refused) = &self.fence.refused {
            refused.inc();
        }
        begins
    }

    /// Whether the key is still held. It may be lost right after; only [`Self::begin`] decides.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.cell.lock().open && !self.fence.is_passed()
    }

    /// From now on no slot begins; the last one that did.
    pub(crate) fn close(&self) -> Option<u64> {
        let mut cell = self.cell.lock();
        cell.open = false;
        cell.last
    }
}
