//! Keys on their way to another node: what their targets leave is gathered until the last scrape is done.

use hashbrown::HashMap;
use tokio::task::Id;

use crate::engine::Released as State;
use crate::engine::entry::{Active, Entry};
use crate::engine::inbox::Released;
use crate::handover::Handover;

/// What the targets of a key leave.
pub(super) struct Release {
    asked: Released,
    last_slot: Option<u64>,
    pub(super) left: Vec<Handover>,
    /// Scrapes that are under way.
    running: Vec<Id>,
}

impl Release {
    pub(super) fn new(asked: Released) -> Self {
        Self { asked, last_slot: None, left: Vec::new(), running: Vec::new() }
    }

    /// Takes what a target leaves, now or when its scrape is done.
    pub(super) fn add(&mut self, entry: &mut Entry) {
        self.last_slot = self.last_slot.max(entry.begun);
        match entry.running {
            Some(task) => self.running.push(task),
            None => self.left.extend(entry.active.as_ref().map(|active| active.handover()).or_else(|| entry.handover.take())),
        }
    }

    /// Takes what the end of a scrape left. Whether all are done.
    fn finished(&mut self, task: Id, active: Option<&Active>) -> bool {
        if let Some(at) = self.running.iter().position(|running| *running == task) {
            self.running.swap_remove(at);
            self.left.extend(active.map(Active::handover));
        }
        self.running.is_empty()
    }

    fn answer(self) {
        let state = if self.left.is_empty() { None } else { Handover::encode(&self.left, self.asked.max_state) };
        // Who asked may have gone.
        let _ = self.asked.reply.send(State { last_slot: self.last_slot, state });
    }
}

/// Releases that wait for scrapes, by key.
#[derive(Default)]
pub(super) struct Releases(HashMap<u64, Vec<Release>>);

impl Releases {
    /// Answers a release, or keeps it until its last scrape is done.
    pub(super) fn take(&mut self, key: u64, release: Release) {
        if release.running.is_empty() {
            release.answer();
        } else {
            self.0.entry(key).or_default().push(release);
        }
    }

    /// A scrape of a target of the key has come to its end; `None` if it ended abnormally.
    pub(super) fn finished(&mut self, key: u64, task: Id, active: Option<&Active>) {
        let Some(waiting) = self.0.get_mut(&key) else { return };
        waiting.extract_if(.., |release| release.finished(task, active)).for_each(Release::answer);
        if waiting.is_empty() {
            self.0.remove(&key);
        }
    }
}
