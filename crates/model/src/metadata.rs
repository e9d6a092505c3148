//! What targets say about metric families. Thousands of targets say the same, so equal metadata are one value in memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// What kind of metric a family is, as exposition formats name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are those of the exposition formats
pub enum MetricType {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

/// What a target says about a metric family in `# TYPE`, `# HELP` and `# UNIT`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The family's name.
    pub family: Box<str>,
    /// The family's type.
    pub kind: MetricType,
    /// The help text, unescaped.
    pub help: Box<str>,
    /// The unit, empty if none.
    pub unit: Box<str>,
}

impl Metadata {
    /// The one shared value that equals this one. It lives as long as somebody holds it.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        // A panic cannot leave the table half changed.
        INTERNED.lock().unwrap_or_else(PoisonError::into_inner).intern(self)
    }
}

static INTERNED: LazyLock<Mutex<Interned>> = LazyLock::new(Mutex::default);

/// Fewer entries than this are never swept.
const MIN_SWEEP: usize = 1024;

#[derive(Default)]
struct Interned {
    hasher: RandomState,
    /// By hash; of two different ones with one hash, the later is simply not shared.
    known: HashMap<u64, Weak<Metadata>>,
    sweep_at: usize,
}

impl Interned {
    fn intern(&mut self, metadata: Metadata) -> Arc<Metadata> {
        let hash = self.hasher.hash_one(&metadata);
        if let Some(known) = self.known.get(&hash).and_then(Weak::upgrade) {
            return if *known == metadata { known } else { Arc::new(metadata) };
        }
        if self.known.len() >= self.sweep_at.max(MIN_SWEEP) {
            self.known.retain(|_, weak| weak.strong_count() > 0);
            self.sweep_at = 2 * self.known.len();
        }
        let new = Arc::new(metadata);
        self.known.insert(hash, Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(family: &str) -> Metadata {
        Metadata { family: family.into(), kind: MetricType::Gauge, help: "h".into(), unit: "".into() }
    }

    #[test]
    fn equal_metadata_are_one_value() {
        let (a, b, c) = (named("a").shared(), named("a").shared(), named("c").shared());
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    }

    #[test]
    fn what_nobody_holds_is_swept() {
        let mut table = Interned::default();
        for n in 0..10 * MIN_SWEEP {
            drop(table.intern(named(&n.to_string())));
        }
        assert!(table.known.len() <= MIN_SWEEP + 1, "{}", table.known.len());
    }
}
