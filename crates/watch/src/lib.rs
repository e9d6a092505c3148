//! Says that something in a folder has changed; what it was, the caller finds out by looking. Folders are watched rather than files, as
//! files are replaced by renaming, and Kubernetes swaps links beside them.
//!
//! All watchers of a process share one instance of the system's facility, of which Linux grants a user 128. Events may be missing
//! (network file systems, limits, folders that come later), so callers also look at intervals of their own and call
//! [`Watcher::watch`] again then.

mod hub;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hub::Subscriber;

/// A folder for which no events will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    /// The folder.
    pub folder: PathBuf,
    /// Why.
    pub cause: String,
}

/// Watches a set of folders until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    subscriber: Arc<Subscriber>,
    folders: BTreeSet<PathBuf>,
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Watcher {
    /// A watcher that watches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { subscriber: Arc::default(), folders: BTreeSet::new() }
    }

    /// Watches exactly these folders, not what is below them. Folders that were watched before are taken up again, as they may have been
    /// removed and made anew in the meantime. Gives those for which no events will come.
    pub fn watch(&mut self, folders: impl IntoIterator<Item = PathBuf>) -> Vec<Blind> {
        let folders: BTreeSet<PathBuf> = folders.into_iter().collect();
        for gone in self.folders.difference(&folders) {
            hub::unsubscribe(gone, &self.subscriber);
        }
        let failed = |folder: &PathBuf| Some(Blind { cause: hub::subscribe(folder, &self.subscriber).err()?, folder: folder.clone() });
        let blind = folders.iter().filter_map(failed).collect();
        self.folders = folders;
        blind
    }

    /// Waits until something has changed since the last call. Many changes may be told at once. Cancel-safe.
    pub async fn changed(&self) {
        self.subscriber.changed().await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        for folder in &self.folders {
            hub::unsubscribe(folder, &self.subscriber);
        }
    }
}

/// The folder to watch for changes of a file.
#[must_use]
pub fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
