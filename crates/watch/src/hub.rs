//! The one connection to the system's facility, and who wants to know of which folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Who is told.
#[derive(Debug, Default)]
pub(crate) struct Subscriber(Notify);

impl Subscriber {
    pub(crate) async fn changed(&self) {
        self.0.notified().await;
    }
}

/// By folder. Locked by the thread that brings events: nobody may hold it while calling into the facility, which waits for that thread.
static SUBSCRIBERS: LazyLock<Mutex<HashMap<PathBuf, Vec<Arc<Subscriber>>>>> = LazyLock::new(Mutex::default);

/// Made when it is first needed, and tried again after a failure, as limits may have been raised.
static FACILITY: LazyLock<Mutex<Option<RecommendedWatcher>>> = LazyLock::new(Mutex::default);

/// Tells `subscriber` of changes in `folder` from now on.
pub(crate) fn subscribe(folder: &Path, subscriber: &Arc<Subscriber>) -> Result<(), String> {
    {
        let mut all = SUBSCRIBERS.lock();
        let list = all.entry(folder.to_owned()).or_default();
        if !list.iter().any(|known| Arc::ptr_eq(known, subscriber)) {
            list.push(subscriber.clone());
        }
    }
    let mut facility = FACILITY.lock();
    let watcher = match &mut *facility {
        Some(watcher) => watcher,
        none => none.insert(notify::recommended_watcher(on_event).map_err(|error| error.to_string())?),
    };
    watcher.watch(folder, RecursiveMode::NonRecursive).map_err(|error| error.to_string())
}

/// No longer tells `subscriber` of changes in `folder`.
pub(crate) fn unsubscribe(folder: &Path, subscriber: &Arc<Subscriber>) {
    // Held throughout, lest the folder be taken up by another between the two steps and then dropped.
    let mut facility = FACILITY.lock();
    let is_last = {
        let mut all = SUBSCRIBERS.lock();
        let Some(list) = all.get_mut(folder) else { return };
        list.retain(|known| !Arc::ptr_eq(known, subscriber));
        let is_last = list.is_empty();
        if is_last {
            all.remove(folder);
        }
        is_last
    };
    if let Some(watcher) = facility.as_mut().filter(|_| is_last) {
        // It is not watched any more if it was removed; then there is nothing to do.
        let _ = watcher.unwatch(folder);
    }
}

fn on_event(event: notify::Result<Event>) {
    let all = SUBSCRIBERS.lock();
    let event = match event {
        Ok(event) if !event.need_rescan() => event,
        // Something was lost, nobody knows what: all have to look.
        _ => return all.values().flatten().for_each(|subscriber| subscriber.0.notify_one()),
    };
    if is_reading(event.kind) {
        return;
    }
    for path in &event.paths {
        for folder in [Some(path.as_path()), path.parent()].into_iter().flatten() {
            all.get(folder).into_iter().flatten().for_each(|subscriber| subscriber.0.notify_one());
        }
    }
}

/// Looking at a file must not count as a change, or whoever looks would never rest.
fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
