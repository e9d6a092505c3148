//! Targets that have left the set and whose keys are still this node's: another node may have discovered them later, and go on with them.

use hashbrown::HashMap;

use crate::engine::entry::Entry;
use crate::handover::Handover;

#[derive(Default)]
pub(super) struct Leaving {
    /// Names of targets, by key.
    targets: HashMap<u64, Vec<u64>>,
    /// What other nodes left of targets that are not in the set, by key.
    orphans: HashMap<u64, Vec<Handover>>,
}

impl Leaving {
    pub(super) fn add(&mut self, key: u64, id: u64) {
        self.targets.entry(key).or_default().push(id);
    }

    pub(super) fn add_orphans(&mut self, key: u64, left: Vec<Handover>) {
        if !left.is_empty() {
            self.orphans.insert(key, left);
        }
    }

    /// What others left of a key, which from now on is the caller's.
    pub(super) fn take_orphans(&mut self, key: u64) -> Vec<Handover> {
        self.orphans.remove(&key).unwrap_or_default()
    }

    /// The keys of which others have left something.
    pub(super) fn orphaned_keys(&self) -> Vec<u64> {
        self.orphans.keys().copied().collect()
    }

    /// A target has come back, or has ended.
    pub(super) fn remove(&mut self, key: u64, id: u64) {
        if let Some(ids) = self.targets.get_mut(&key) {
            ids.retain(|leaving| *leaving != id);
            if ids.is_empty() {
                self.targets.remove(&key);
            }
        }
    }

    /// The targets of a key: what becomes of them has been decided.
    pub(super) fn take(&mut self, key: u64) -> Vec<u64> {
        self.targets.remove(&key).unwrap_or_default()
    }

    /// The same, out of the schedule too.
    pub(super) fn take_entries(&mut self, key: u64, entries: &mut HashMap<u64, Entry>) -> Vec<Entry> {
        self.take(key).into_iter().filter_map(|id| entries.remove(&id)).collect()
    }
}
