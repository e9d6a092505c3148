//! The families that an endpoint's series belong to, as chunks bring them: those of scraped targets for as long as their chunks live, those
//! of pushed series until they were sent.

use std::sync::{Arc, Weak};

use hashbrown::{HashMap, HashSet};
use model::{Chunk, Layout, Metadata};
use parking_lot::Mutex;

/// Families that are sent at most, and bytes of their texts: far more than a fleet has whose targets are alike. What is beyond is counted.
const MAX_FAMILIES: usize = 100_000;
/// See [`MAX_FAMILIES`].
const MAX_BYTES: usize = 32 << 20;
/// The table of chunks is not swept for less than this.
const MIN_SWEEP: usize = 1024;

/// See the module.
#[derive(Default)]
pub(crate) struct Families {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    chunks: HashMap<u64, Weak<Chunk>>,
    sweep_at: usize,
    /// What came since the last look, whether or not its chunk still lives.
    recent: Collected,
}

/// Families without a double, up to the limits.
#[derive(Default)]
struct Collected {
    families: HashSet<Arc<Metadata>>,
    bytes: usize,
    dropped: usize,
}

impl Families {
    /// Notes the families of a layout. Chunks that are known already cost a look-up each.
    pub fn note(&self, layout: &Layout) {
        let mut table = self.table.lock();
        for chunk in layout.chunks().iter().filter(|chunk| !chunk.families().is_empty()) {
            table.note(chunk);
        }
    }

    /// All families that are known, and how many more there were than the limits allow.
    pub fn collect(&self) -> (Vec<Arc<Metadata>>, usize) {
        let mut table = self.table.lock();
        table.sweep();
        let mut all = std::mem::take(&mut table.recent);
        for chunk in table.chunks.values().filter_map(Weak::upgrade) {
            all.extend(&chunk);
        }
        let mut families: Vec<Arc<Metadata>> = all.families.into_iter().collect();
        families.sort_unstable_by(|a, b| a.family.cmp(&b.family).then_with(|| a.help.cmp(&b.help)));
        (families, all.dropped)
    }
}

impl Table {
    fn note(&mut self, chunk: &Arc<Chunk>) {
        if self.chunks.contains_key(&chunk.id()) {
            return;
        }
        if self.chunks.len() >= self.sweep_at.max(MIN_SWEEP) {
            self.sweep();
            self.sweep_at = 2 * self.chunks.len();
        }
        self.chunks.insert(chunk.id(), Arc::downgrade(chunk));
        self.recent.extend(chunk);
    }

    fn sweep(&mut self) {
        self.chunks.retain(|_, chunk| chunk.strong_count() > 0);
    }
}

impl Collected {
    fn extend(&mut self, chunk: &Chunk) {
        for family in chunk.families() {
            if self.families.contains(family) {
                continue;
            }
            let bytes = family.family.len() + family.help.len() + family.unit.len();
            if self.families.len() < MAX_FAMILIES && self.bytes + bytes <= MAX_BYTES {
                self.bytes += bytes;
                self.families.insert(family.clone());
            } else {
                self.dropped += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{LayoutBuilder, MetricType};

    use super::*;

    fn layout(families: &[(&str, &str)]) -> Layout {
        let mut builder = LayoutBuilder::default();
        for (family, help) in families {
            let metadata = Metadata { family: (*family).into(), kind: MetricType::Gauge, help: (*help).into(), unit: "".into() };
            builder.push_with([("__name__", *family)].into_iter(), Some(&metadata.shared())).unwrap();
        }
        builder.finish()
    }

    fn names(families: &Families) -> Vec<String> {
        families.collect().0.iter().map(|family| format!("{}: {}", family.family, family.help)).collect()
    }

    #[test]
    fn what_targets_say_is_known_as_long_as_their_series_live() {
        let families = Families::default();
        let first = layout(&[("up", "Whether."), ("cpu", "Seconds.")]);
        let second = layout(&[("up", "Whether."), ("cpu", "Seconds of another version.")]);
        for _ in 0..3 {
            families.note(&first);
            families.note(&second);
        }
        for _ in 0..2 {
            assert_eq!(names(&families), ["cpu: Seconds of another version.", "cpu: Seconds.", "up: Whether."]);
        }
        drop(second);
        assert_eq!(names(&families), ["cpu: Seconds.", "up: Whether."]);
    }

    #[test]
    fn what_was_pushed_and_is_gone_is_told_once() {
        let families = Families::default();
        families.note(&layout(&[("pushed", "Once.")]));
        assert_eq!(names(&families), ["pushed: Once."]);
        assert!(names(&families).is_empty());
    }

    #[test]
    fn there_is_a_limit_and_what_is_beyond_is_counted() {
        let help = "x".repeat(MAX_BYTES / 3);
        let families = Families::default();
        let layout = layout(&[("a", &help), ("b", &help), ("c", &help), ("d", "short")]);
        families.note(&layout);
        let (known, dropped) = families.collect();
        assert_eq!((known.iter().map(|family| &*family.family).collect::<Vec<_>>(), dropped), (vec!["a", "b", "d"], 2));
    }

    #[test]
    fn chunks_that_are_gone_do_not_pile_up() {
        let families = Families::default();
        (0..5 * MIN_SWEEP).for_each(|_| families.note(&layout(&[("pushed", "Once.")])));
        assert!(families.table.lock().chunks.len() <= MIN_SWEEP + 1);
    }
}
