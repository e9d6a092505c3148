//! How batches are handed on: a synchronous call with an owned batch. Transforms run in the caller's task; only named boundaries queue.

use crate::Batch;

/// Why a receiver did not take a batch. The source decides what that means: a scrape loop skips and counts, a push server answers 429 or
/// 503, a file tail waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A bounded queue on the way is full.
    #[error("a queue on the way is full")]
    Full,
    /// The receiver has stopped and will not come back in this form.
    #[error("the receiver has stopped")]
    Closed,
}

/// Takes batches of metrics.
pub trait ConsumeMetrics: Send + Sync {
    /// Takes the batch or refuses it as a whole. Never blocks.
    ///
    /// # Errors
    /// [`Refused`] if the batch was not taken; nothing of it has been kept then.
    fn consume(&self, batch: Batch) -> Result<(), Refused>;

    /// Asks to send on what was taken so far without waiting for more: given when a target's ownership moves away and when the process
    /// stops. A hint; returns at once.
    fn flush(&self) {}

    /// Asks to keep back what comes from `source` from now on, until [`ConsumeMetrics::release`]: another node still has to send earlier
    /// samples of its series, and receivers refuse what comes out of order. Given again while it is kept back, it says that what came so
    /// far is now waited for in turn: [`ConsumeMetrics::is_acknowledged`] tells of it. Who sends nothing has nothing to keep back.
    fn hold(&self, source: u64) {
        let _ = source;
    }

    /// Lets go what was kept back of `source`.
    fn release(&self, source: u64) {
        let _ = source;
    }

    /// Whether everything that came from `source` has been judged by those whom it was for, beside what came since the last
    /// [`ConsumeMetrics::hold`] and is kept back. Yes, where nothing is kept.
    fn is_acknowledged(&self, source: u64) -> bool {
        let _ = source;
        true
    }
}
