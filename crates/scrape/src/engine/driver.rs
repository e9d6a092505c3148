//! The task that holds the schedule: takes orders, starts scrapes when their slots begin, and takes targets' states back.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::engine::entry::{Active, Entry, Leave, adopt};
use crate::engine::inbox::{Order, Released, Told};
use crate::engine::job::Job;
use crate::engine::leaving::Leaving;
use crate::engine::release::{Release, Releases};
use crate::engine::schedule::Schedule;
use crate::engine::set::of_key;
use crate::engine::work::{Work, consume};
use crate::engine::{Ending, Ownership, Shared};
use crate::handover::Handover;
use crate::target::Target;

/// Samples of scrapes that begin at most this late have their slot's nominal time (Prometheus: `ScrapeTimestampTolerance`) …
const TOLERANCE_MS: i64 = 2;
/// … unless this part of the interval is less.
const TOLERANCE_DIVISOR: i64 = 100;

/// The longest sleep: the wall clock may be slewed meanwhile, or jump.
const MAX_SLEEP_MS: i64 = 1000;

/// Targets that have left the set end their series at their next slot, but not later than this; in a fleet once nobody has taken them.
const MAX_LEAVING_MS: i64 = 60_000;

pub(super) struct Driver {
    shared: Arc<Shared>,
    job: Arc<Job>,
    /// The set, by key; entries that are leaving are not in it.
    targets: Arc<[Arc<Target>]>,
    /// By the targets' names.
    entries: HashMap<u64, Entry>,
    /// The keys that are this node's, whether their targets are in the set or not, with the first slot that none of these has begun.
    held: HashMap<u64, u64>,
    leaving: Leaving,
    releases: Releases,
    schedule: Schedule,
    running: JoinSet<Box<Active>>,
    /// Names and keys of the targets that are being scraped.
    tasks: HashMap<Id, (u64, u64)>,
    syncs: u64,
    /// The last generation that any entry got: none comes twice, though entries with the same name do.
    generations: u64,
    stopping: Option<Ending>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, job: Arc<Job>) -> Self {
        Self {
            shared,
            job,
            targets: Arc::default(),
            entries: HashMap::new(),
            held: HashMap::new(),
            leaving: Leaving::default(),
            releases: Releases::default(),
            schedule: Schedule::default(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            syncs: 0,
            generations: 0,
            stopping: None,
        }
    }

    /// Runs until it is told to stop and all scrapes have come to an end.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        while self.stopping.is_none() || !self.running.is_empty() {
            let wake = self.wake();
            tokio::select! {
                () = shared.inbox.news() => self.take_orders(),
                Some(finished) = self.running.join_next_with_id(), if !self.running.is_empty() => self.finished(finished),
                () = tokio::time::sleep_until(wake) => {}
            }
            self.start_due();
        }
        self.finish();
    }

    fn now(&self) -> i64 {
        self.shared.parts.clock.now_ms()
    }

    fn wake(&self) -> Instant {
        let wait = self.schedule.next().map_or(MAX_SLEEP_MS, |due| (due - self.now()).clamp(0, MAX_SLEEP_MS));
        Instant::now() + Duration::from_millis(wait.unsigned_abs())
    }

    fn take_orders(&mut self) {
        let told = self.shared.inbox.take();
        let Told { set, disown_all, orders, releases_before, releases, stop, .. } = told;
        if let Some(set) = set {
            self.set(set.job, set.targets);
        }
        if disown_all {
            let keys: Vec<u64> = self.held.keys().copied().collect();
            keys.into_iter().for_each(|key| self.disown(key));
        }
        for (key, release) in releases_before {
            self.release(key, release);
        }
        for (key, order) in orders {
            match order {
                Order::Own { first_slot, state } => self.own(key, first_slot, state.as_deref()),
                Order::Disown => self.disown(key),
                Order::Retire => self.retire(key),
            }
        }
        for (key, release) in releases {
            self.release(key, release);
        }
        if let Some(ending) = stop.filter(|_| self.stopping.is_none()) {
            self.stopping = Some(ending);
            self.schedule.clear();
            self.shared.cancel.cancel();
        }
    }

    fn set(&mut self, job: Arc<Job>, targets: Arc<[Arc<Target>]>) {
        self.syncs += 1;
        self.job = job;
        self.targets = targets.clone();
        let lost = targets.iter().filter(|target| self.add(target)).count();
        self.flush_after(lost);
        for key in self.leaving.orphaned_keys() {
            // What has come back goes on with what it had.
            if let known @ [_, ..] = of_key(&targets, key) {
                adopt(self.leaving.take_orphans(key), known, &mut self.entries, self.job.config.extra_metrics);
            }
        }
        let gone: Vec<u64> = self.entries.iter().filter(|(_, entry)| entry.sync != self.syncs).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.remove(id));
        let entries = &self.entries;
        self.schedule.tidy(entries.len(), |id, generation| entries.get(&id).is_some_and(|entry| entry.generation == generation));
    }

    /// Adds a target of the set, or takes over its new version. Whether it was given up for that.
    fn add(&mut self, target: &Arc<Target>) -> bool {
        let (id, slots) = (target.id, &*self.shared.parts.slots);
        let entry = self.entries.entry(id).or_insert_with(|| Entry::new(target.clone(), slots));
        entry.sync = self.syncs;
        let key = entry.target.key;
        let moved = entry.update(target.clone(), slots);
        let returned = entry.leaving.take().is_some();
        if returned {
            self.leaving.remove(key, id);
        }
        let held = self.held.get(&target.key).copied();
        let is_ours = self.job.config.ownership == Ownership::All || held.is_some();
        match (entry.owned, is_ours) {
            (true, true) if moved || returned => self.begin(id, None),
            (true, true) => target.status.lock().owned = true,
            (false, true) => self.begin(id, held),
            (true, false) => return self.give_up(id),
            // Whoever has it goes on with its series.
            (false, false) if returned => entry.forget(),
            (false, false) => {}
        }
        false
    }

    /// Takes a target out that has left the set.
    fn remove(&mut self, id: u64) {
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.leaving.is_some() {
            return;
        }
        if !entry.owned {
            // What a scrape may still bring belongs to whoever took it over.
            self.entries.remove(&id);
            return;
        }
        self.shared.parts.metrics.owned.dec();
        entry.target.status.lock().owned = false;
        if entry.has_nothing_to_end() {
            self.entries.remove(&id);
            return;
        }
        (entry.owned, entry.waiting) = (false, None);
        let (key, latest) = (entry.target.key, now + MAX_LEAVING_MS);
        let timestamp = entry.table.instant(entry.table.next_after(now)).min(latest);
        // Of a key that stays, nobody else gets what this node no longer knows.
        let waits = self.job.config.ownership == Ownership::Assigned && of_key(&self.targets, key).is_empty();
        if waits {
            self.leaving.add(key, id);
        }
        self.end_at(id, Leave { timestamp, due: if waits { latest } else { timestamp } });
    }

    fn end_at(&mut self, id: u64, leave: Leave) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.leaving = Some(leave);
        self.generations += 1;
        entry.generation = self.generations;
        self.schedule.add(leave.due, id, entry.generation);
    }

    /// Begins to scrape a target, at a slot or at the next one.
    fn begin(&mut self, id: u64, first: Option<u64>) {
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !std::mem::replace(&mut entry.owned, true) {
            self.shared.parts.metrics.owned.inc();
        }
        entry.target.status.lock().owned = true;
        let next = match first {
            // A first slot that has begun is the current one: at once.
            Some(first) if entry.table.instant(first) <= now => entry.table.slot_at(now),
            Some(first) => first,
            None => entry.table.next_after(now),
        };
        // No slot twice, however often a target comes and goes.
        entry.next = entry.begun.map_or(next, |begun| next.max(begun + 1));
        self.generations += 1;
        entry.generation = self.generations;
        self.schedule.add(entry.table.instant(entry.next), id, entry.generation);
    }

    fn own(&mut self, key: u64, first_slot: u64, state: Option<&[u8]>) {
        self.held.insert(key, first_slot);
        let left = state.map_or(Ok(Vec::new()), Handover::decode).unwrap_or_else(|error| {
            tracing::warn!(%error, key, "a target comes without the state of the node that had it");
            Vec::new()
        });
        let targets = self.targets.clone();
        let targets = of_key(&targets, key);
        if targets.is_empty() {
            return self.leaving.add_orphans(key, left);
        }
        adopt(left, targets, &mut self.entries, self.job.config.extra_metrics);
        targets.iter().for_each(|target| self.begin(target.id, Some(first_slot)));
    }

    fn disown(&mut self, key: u64) {
        self.held.remove(&key);
        self.leaving.take_entries(key, &mut self.entries);
        self.leaving.take_orphans(key);
        if self.job.config.ownership == Ownership::Assigned {
            self.give_up_key(key);
        }
    }

    /// Nobody has taken a key over that has left the set.
    fn retire(&mut self, key: u64) {
        let leaving = self.leaving.take(key);
        self.end_orphans(key);
        self.disown(key);
        for id in leaving {
            if let Some(Leave { timestamp, .. }) = self.entries.get(&id).and_then(|entry| entry.leaving) {
                self.end_at(id, Leave { timestamp, due: timestamp });
            }
        }
    }

    fn end_orphans(&mut self, key: u64) {
        for orphan in self.leaving.take_orphans(key) {
            consume(&self.shared, orphan.end(key, self.now(), &self.job));
        }
    }

    fn give_up_key(&mut self, key: u64) {
        let targets = self.targets.clone();
        let lost = of_key(&targets, key).iter().filter(|target| self.give_up(target.id)).count();
        self.flush_after(lost);
    }

    /// Stops scraping a target without a word about its series, if it is scraped here. To be followed by [`Self::flush_after`].
    fn give_up(&mut self, id: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.owned) else { return false };
        entry.forget();
        entry.target.status.lock().owned = false;
        self.shared.parts.metrics.owned.dec();
        self.shared.parts.metrics.moved.inc();
        true
    }

    /// Sends on what targets that were given up have brought.
    fn flush_after(&self, lost: usize) {
        if lost > 0 {
            self.shared.parts.sink.flush();
        }
    }

    fn release(&mut self, key: u64, asked: Released) {
        self.held.remove(&key);
        let mut release = Release::new(asked);
        // Where all targets are this node's, none is given to another.
        let assigned = self.job.config.ownership == Ownership::Assigned;
        if assigned {
            for mut entry in self.leaving.take_entries(key, &mut self.entries) {
                release.add(&mut entry);
            }
            release.left.extend(self.leaving.take_orphans(key));
            for target in of_key(&self.targets, key) {
                if let Some(entry) = self.entries.get_mut(&target.id).filter(|entry| entry.owned) {
                    release.add(entry);
                }
            }
        }
        self.releases.take(key, release);
        if assigned {
            self.give_up_key(key);
        }
    }

    fn start_due(&mut self) {
        loop {
            let now = self.now();
            let Some((id, generation)) = self.schedule.take(now) else { return };
            let Some(entry) = self.entries.get(&id).filter(|entry| entry.generation == generation) else { continue };
            if entry.leaving.is_some() {
                self.end(id);
            } else {
                self.slot(id, now);
            }
        }
    }

    /// Ends the series of a target that has left the set.
    fn end(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.running.is_none()) else { return };
        let Some(leave) = entry.leaving else { return };
        consume(&self.shared, entry.end(leave.timestamp, &self.job));
        self.leaving.remove(entry.target.key, id);
        self.entries.remove(&id);
    }

    /// A slot has begun.
    fn slot(&mut self, id: u64, now: i64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let slot = entry.table.slot_at(now).max(entry.next);
        let mut skipped = slot - entry.next;
        entry.next = slot + 1;
        self.schedule.add(entry.table.instant(entry.next), id, entry.generation);
        if entry.running.is_some() {
            skipped += u64::from(entry.waiting.replace(slot).is_some());
            self.shared.parts.metrics.skipped.inc_by(skipped);
        } else {
            self.shared.parts.metrics.skipped.inc_by(skipped);
            self.scrape(id, slot, now);
        }
    }

    fn scrape(&mut self, id: u64, slot: u64, now: i64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let key = entry.target.key;
        if !self.shared.parts.slots.begin(key, slot) {
            self.shared.parts.metrics.held_back.inc();
            return;
        }
        let mut active =
            entry.active.take().unwrap_or_else(|| Box::new(Active::new(entry.target.clone(), self.job.clone(), entry.handover.take())));
        let nominal = entry.table.instant(slot);
        let tolerance = TOLERANCE_MS.min(entry.table.interval_ms() / TOLERANCE_DIVISOR);
        let timestamp = if now - nominal <= tolerance { nominal } else { now };
        if timestamp <= active.last_timestamp {
            // Only after the other node's clock was ahead of ours: times of a series never go back.
            entry.active = Some(active);
            self.shared.parts.metrics.skipped.inc();
            return;
        }
        active.refit(&entry.target, &self.job);
        let forced = self.job.target_limit(self.targets.len());
        let work = Work { shared: self.shared.clone(), active, timestamp, forced };
        let task = self.running.spawn(work.run()).id();
        (entry.begun, entry.running) = (Some(slot), Some(task));
        self.tasks.insert(task, (id, key));
        if let Some(first) = self.held.get_mut(&key) {
            *first = slot.saturating_add(1).max(*first);
        }
    }

    fn finished(&mut self, finished: Result<(Id, Box<Active>), JoinError>) {
        let (task, active) = match finished {
            Ok((task, active)) => (task, Some(active)),
            Err(error) => {
                tracing::error!(%error, "a scrape has ended abnormally; its target begins anew");
                (error.id(), None)
            }
        };
        let Some((id, key)) = self.tasks.remove(&task) else { return };
        let now = self.now();
        self.releases.finished(key, task, active.as_deref());
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.running == Some(task)) else { return self.flush_after(1) };
        entry.running = None;
        if !entry.owned && entry.leaving.is_none() {
            // Given up meanwhile. What the scrape brought has been handed on after the flush.
            return self.flush_after(1);
        }
        entry.active = active;
        let waiting = entry.waiting.take();
        if entry.leaving.is_some_and(|leave| leave.due <= now) {
            // Its instant came while it was being scraped.
            self.end(id);
        } else if let Some(slot) = waiting {
            self.late(id, slot, now);
        }
    }

    /// A slot that had to wait for the scrape before: better late than never, as long as it lasts.
    fn late(&mut self, id: u64, slot: u64, now: i64) {
        let lasts = self.entries.get(&id).is_some_and(|entry| now < entry.table.instant(slot + 1));
        if lasts && self.stopping.is_none() {
            self.scrape(id, slot, now);
        } else {
            self.shared.parts.metrics.skipped.inc();
        }
    }

    /// The end of the engine.
    fn finish(mut self) {
        self.shared.inbox.close();
        if self.stopping == Some(Ending::Removed) {
            let now = self.now();
            for entry in self.entries.values_mut() {
                // One that had left before was missed then.
                let at = entry.leaving.map_or(now, |leave| leave.timestamp.min(now));
                consume(&self.shared, entry.end(at, &self.job));
            }
            for key in self.leaving.orphaned_keys() {
                self.end_orphans(key);
            }
        }
        self.shared.parts.metrics.owned.sub(self.entries.values().filter(|entry| entry.owned).count() as i64);
        self.shared.parts.sink.flush();
    }
}
