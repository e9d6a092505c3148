//! Targets that have left the set and whose keys are still this node's: another node may have discovered them later, and go on with them.

use hashbrown::HashMap;

use crate::engine::entry::Entry;

/// Names of targets, by key.
#[derive(Default)]
pub(super) struct Leaving(HashMap<u64, Vec<u64>>);

impl Leaving {
    pub(super) fn add(&mut self, key: u64, id: u64) {
        self.0.entry(key).or_default().push(id);
    }

    /// A target has come back, or has ended.
    pub(super) fn remove(&mut self, key: u64, id: u64) {
        if let Some(ids) = self.0.get_mut(&key) {
            ids.retain(|leaving| *leaving != id);
            if ids.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    /// The targets of a key: what becomes of them has been decided.
    pub(super) fn take(&mut self, key: u64) -> Vec<u64> {
        self.0.remove(&key).unwrap_or_default()
    }

    /// The same, out of the schedule too.
    pub(super) fn take_entries(&mut self, key: u64, entries: &mut HashMap<u64, Entry>) -> Vec<Entry> {
        self.take(key).into_iter().filter_map(|id| entries.remove(&id)).collect()
    }
}
