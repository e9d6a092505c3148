//! Requests that come again. A sender that got no answer, or was told to come again, sends the same bytes once more; what was handed on
//! before must not be handed on twice.
//!
//! Two cases: all of it was taken, but the answer was lost; or a receiver further down refused a part of it. Both are remembered by a hash
//! of the body, so many as fit into a bound; the oldest are forgotten first.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Requests that are remembered: those of some minutes for a few senders, in half a megabyte.
const MAX_KNOWN: usize = 8192;

/// How many samples of a request were written, as remote write 2.0 tells its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
}

/// Which receivers have which batches: by routing key, one bit for each receiver.
pub(super) type Progress = HashMap<u64, u64>;

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Taken(Written),
    /// The bits are those of the receivers of this generation.
    Unfinished(u64, Progress),
}

/// See the module.
pub(super) struct Repeats {
    seed: u64,
    known: Mutex<Known>,
    /// How many of the known ones are unfinished: mostly none, and then nobody has to ask.
    unfinished: AtomicUsize,
}

#[derive(Default)]
struct Known {
    fates: HashMap<u128, Fate>,
    order: VecDeque<u128>,
}

impl Repeats {
    pub fn new() -> Self {
        Self { seed: rand::random(), known: Mutex::default(), unfinished: AtomicUsize::new(0) }
    }

    /// The name of a request among others.
    pub fn key(&self, body: &[u8]) -> u128 {
        xxh3_128_with_seed(body, self.seed)
    }

    /// What was written of a request, if all of it was taken before.
    pub fn taken(&self, key: u128) -> Option<Written> {
        match self.known.lock().fates.get(&key)? {
            Fate::Taken(written) => Some(*written),
            Fate::Unfinished(..) => None,
        }
    }

    /// How far a request came with the receivers of `generation`; nowhere if it is not known.
    pub fn progress(&self, key: u128, generation: u64) -> Progress {
        if self.unfinished.load(Relaxed) == 0 {
            return Progress::new();
        }
        match self.known.lock().fates.get(&key) {
            Some(Fate::Unfinished(of, progress)) if *of == generation => progress.clone(),
            _ => Progress::new(),
        }
    }

    pub fn note_taken(&self, key: u128, written: Written) {
        self.note(key, Fate::Taken(written));
    }

    pub fn note_unfinished(&self, key: u128, generation: u64, progress: Progress) {
        if progress.values().any(|taken| *taken != 0) {
            self.note(key, Fate::Unfinished(generation, progress));
        }
    }

    fn note(&self, key: u128, fate: Fate) {
        let mut known = self.known.lock();
        if matches!(fate, Fate::Unfinished(..)) {
            self.unfinished.fetch_add(1, Relaxed);
        }
        let before = known.fates.insert(key, fate);
        if before.is_none() {
            known.order.push_back(key);
        }
        let evicted = if known.order.len() > MAX_KNOWN { known.order.pop_front() } else { None };
        let evicted = evicted.and_then(|oldest| known.fates.remove(&oldest));
        for gone in [before, evicted].into_iter().flatten() {
            if matches!(gone, Fate::Unfinished(..)) {
                self.unfinished.fetch_sub(1, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: Written = Written { samples: 1, histograms: 2, exemplars: 3 };

    #[test]
    fn what_was_taken_is_remembered_and_told_apart() {
        let repeats = Repeats::new();
        let (a, b) = (repeats.key(b"a"), repeats.key(b"b"));
        assert_ne!(a, b);
        repeats.note_taken(a, WRITTEN);
        assert_eq!((repeats.taken(a), repeats.taken(b)), (Some(WRITTEN), None));
        assert!(repeats.progress(a, 0).is_empty());
    }

    #[test]
    fn progress_goes_on_until_the_request_is_taken_or_the_receivers_are_others() {
        let repeats = Repeats::new();
        repeats.note_unfinished(1, 4, Progress::from([(7, 0b01)]));
        repeats.note_unfinished(2, 4, Progress::from([(7, 0b10)]));
        repeats.note_unfinished(3, 4, Progress::from([(7, 0)]));
        assert_eq!(repeats.unfinished.load(Relaxed), 2, "where nothing was taken there is nothing to remember");
        assert_eq!(repeats.progress(1, 4), Progress::from([(7, 0b01)]));
        assert!(repeats.progress(1, 5).is_empty(), "the bits would be those of others");
        assert_eq!(repeats.taken(1), None);
        repeats.note_taken(1, WRITTEN);
        repeats.note_unfinished(2, 4, Progress::from([(7, 0b11)]));
        assert!(repeats.progress(1, 4).is_empty());
        assert_eq!((repeats.progress(2, 4), repeats.unfinished.load(Relaxed)), (Progress::from([(7, 0b11)]), 1));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let repeats = Repeats::new();
        repeats.note_unfinished(0, 0, Progress::from([(7, 1)]));
        for key in 1..=MAX_KNOWN as u128 {
            repeats.note_taken(key, WRITTEN);
        }
        assert_eq!((repeats.unfinished.load(Relaxed), repeats.taken(1)), (0, Some(WRITTEN)));
        repeats.note_taken(1 << 64, WRITTEN);
        assert_eq!(repeats.taken(1), None);
        let known = repeats.known.lock();
        assert_eq!((known.fates.len(), known.order.len()), (MAX_KNOWN, MAX_KNOWN));
    }
}
