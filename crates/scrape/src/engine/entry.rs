//! One target in the schedule: whose it is, when it is due, and the state that its scrapes share.

use std::sync::Arc;

use hashbrown::HashMap;
use http::Uri;
use model::{Batch, Layout};
use prometheus::Histogram;
use tokio::task::Id;
use tokio::time::Instant;

use crate::engine::job::Job;
use crate::fetch::RequestParts;
use crate::handover::Handover;
use crate::series::{ReportSeries, Rules, TargetSeries};
use crate::slots::{Slots, Timetable};
use crate::target::Target;

/// A target of the set, or one that has left it and still has to end its series.
pub(super) struct Entry {
    pub(super) target: Arc<Target>,
    pub(super) table: Timetable,
    /// This node scrapes it.
    pub(super) owned: bool,
    /// It has left the set.
    pub(super) leaving: Option<Leave>,
    /// Instants of other generations are void; of 0 there are none.
    pub(super) generation: u64,
    /// The next slot.
    pub(super) next: u64,
    /// The last slot that a scrape was begun in, by this timetable.
    pub(super) begun: Option<u64>,
    /// There if it has been scraped here and no scrape is under way.
    pub(super) active: Option<Box<Active>>,
    /// The scrape that is under way.
    pub(super) running: Option<Id>,
    /// A slot that began while a scrape was under way.
    pub(super) waiting: Option<u64>,
    /// What another node left, until the first scrape.
    pub(super) handover: Option<Handover>,
    /// The sync that last saw it.
    pub(super) sync: u64,
}

/// How a target that has left the set ends its series. Both in milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leave {
    /// The time of the staleness markers: when it would have been scraped next.
    pub(super) timestamp: i64,
    /// When they are sent, unless another node has taken the target.
    pub(super) due: i64,
}

impl Entry {
    pub(super) fn new(target: Arc<Target>, slots: &dyn Slots) -> Self {
        Self {
            table: table(&target, slots),
            target,
            owned: false,
            leaving: None,
            generation: 0,
            next: 0,
            begun: None,
            active: None,
            running: None,
            waiting: None,
            handover: None,
            sync: 0,
        }
    }

    /// Takes over another version of the target. Whether its slots are others now.
    pub(super) fn update(&mut self, target: Arc<Target>, slots: &dyn Slots) -> bool {
        let table = table(&target, slots);
        self.target = target;
        let moved = std::mem::replace(&mut self.table, table) != table;
        if moved {
            self.begun = None;
        }
        moved
    }

    /// Nothing was scraped here that a scrape would have to end or go on with.
    pub(super) fn is_fresh(&self) -> bool {
        self.active.is_none() && self.running.is_none()
    }

    /// Nobody has to end anything of it here.
    pub(super) fn has_nothing_to_end(&self) -> bool {
        self.is_fresh() && self.handover.is_none()
    }

    /// Staleness markers for all series, also for those that another node has left and that were not scraped here.
    pub(super) fn end(&mut self, timestamp: i64, job: &Arc<Job>) -> Vec<Batch> {
        let inherited = self.handover.take().map(|left| left.end(self.target.key, timestamp, job));
        let own = self.active.take().map(|mut active| active.end(timestamp.max(active.last_timestamp.saturating_add(1))));
        own.or(inherited).unwrap_or_default()
    }

    /// Forgets everything but the target itself.
    pub(super) fn forget(&mut self) {
        self.generation = 0;
        (self.owned, self.waiting, self.active, self.handover) = (false, None, None, None);
    }
}

fn table(target: &Target, slots: &dyn Slots) -> Timetable {
    let interval = target.interval_ms();
    Timetable::new(slots.phase_ms(target.key, interval), interval)
}

/// What the scrapes of a target share.
pub(super) struct Active {
    pub(super) target: Arc<Target>,
    pub(super) job: Arc<Job>,
    pub(super) series: TargetSeries,
    pub(super) report: ReportSeries,
    pub(super) request: RequestParts,
    /// Of the last scrape's samples.
    pub(super) last_timestamp: i64,
    pub(super) last_start: Option<Instant>,
    /// The interval as it is shown, and where its actual length is told; from the second scrape on.
    pub(super) interval_length: Option<(Box<str>, Histogram)>,
}

impl Active {
    pub(super) fn new(target: Arc<Target>, job: Arc<Job>, handover: Option<Handover>) -> Self {
        let mut series = TargetSeries::new(target.key, target.labels.clone(), rules(&target, &job));
        let last_timestamp = handover.as_ref().map_or(i64::MIN, |handover| handover.last_timestamp);
        if let Some(handover) = handover {
            series.inherit(handover.live, last_timestamp);
        }
        Self {
            series,
            report: report(&target, &job),
            request: request(&target, &job),
            last_timestamp,
            last_start: None,
            interval_length: None,
            target,
            job,
        }
    }

    /// Adapts to a target or job that has changed since the last scrape. Series that will be others are ended by the next scrape.
    pub(super) fn refit(&mut self, target: &Arc<Target>, job: &Arc<Job>) {
        if Arc::ptr_eq(&self.target, target) && Arc::ptr_eq(&self.job, job) {
            return;
        }
        let same_target = self.target.labels == target.labels && self.target.histograms == target.histograms;
        let same_job = Arc::ptr_eq(&self.job, job);
        if same_target && (same_job || self.job.config.keeps_series(&job.config)) {
            self.series.set_rules(rules(target, job));
        } else {
            let mut chunks = self.series.live().chunks().to_vec();
            let mut series = TargetSeries::new(target.key, target.labels.clone(), rules(target, job));
            let report = report(target, job);
            chunks.extend(self.report.vanishing(&report));
            series.inherit(Arc::new(Layout::new(chunks)), self.last_timestamp);
            (self.series, self.report) = (series, report);
        }
        self.request = request(target, job);
        self.interval_length = None;
        (self.target, self.job) = (target.clone(), job.clone());
    }

    /// Staleness markers for all series.
    pub(super) fn end(&mut self, timestamp: i64) -> Vec<Batch> {
        let mut batches = self.series.end(timestamp);
        batches.extend(self.report.end(timestamp));
        batches
    }

    /// What another node needs to go on.
    pub(super) fn handover(&self) -> Handover {
        let Target { id, labels, .. } = &*self.target;
        Handover { id: *id, labels: labels.clone(), live: self.series.live(), last_timestamp: self.last_timestamp }
    }
}

/// Gives the targets of a key what another node left of them, unless they have been scraped here since. What it left of targets that are
/// not known here, because their labels differ, is ended by one that is: nobody else would.
pub(super) fn adopt(left: Vec<Handover>, targets: &[Arc<Target>], entries: &mut HashMap<u64, Entry>, extra_metrics: bool) {
    let mut orphans: Vec<Handover> = Vec::new();
    for handover in left {
        let known = targets.iter().any(|target| target.id == handover.id);
        match entries.get_mut(&handover.id).filter(|_| known) {
            Some(entry) if entry.is_fresh() => entry.handover = Some(handover),
            Some(_) => {}
            None => orphans.push(handover),
        }
    }
    let fresh = targets.iter().find(|target| entries.get(&target.id).is_some_and(Entry::is_fresh));
    let Some(heir) = fresh.filter(|_| !orphans.is_empty()).and_then(|target| entries.get_mut(&target.id)) else { return };
    let Target { id, labels, .. } = &*heir.target;
    let none = || Handover { id: *id, labels: labels.clone(), live: Arc::default(), last_timestamp: i64::MIN };
    let own = heir.handover.take().unwrap_or_else(none);
    heir.handover = Some(orphans.iter().fold(own, |own, orphan| own.with_orphan(orphan, extra_metrics)));
}

impl Handover {
    /// Staleness markers for all series of what nobody scrapes any more, those of the report included.
    pub(super) fn end(&self, key: u64, timestamp: i64, job: &Job) -> Vec<Batch> {
        let all = Self { live: Arc::default(), ..self.clone() }.with_orphan(self, job.config.extra_metrics);
        let mut series = TargetSeries::new(key, self.labels.clone(), job.rules.clone());
        series.inherit(all.live, self.last_timestamp);
        series.end(timestamp.max(self.last_timestamp.saturating_add(1)))
    }

    /// This target's state with the series of another one, to be ended by its next scrape.
    fn with_orphan(self, orphan: &Self, extra_metrics: bool) -> Self {
        let report = ReportSeries::new(0, &orphan.labels, extra_metrics, false);
        let layouts = [&*self.live, &*orphan.live, &**report.layout()];
        let chunks = layouts.into_iter().flat_map(|layout| layout.chunks().iter().cloned()).collect();
        Self { live: Arc::new(Layout::new(chunks)), last_timestamp: self.last_timestamp.max(orphan.last_timestamp), ..self }
    }
}

/// The job's rules, unless the target wants other forms of histograms.
fn rules(target: &Target, job: &Job) -> Arc<Rules> {
    if target.histograms == job.rules.histograms {
        return job.rules.clone();
    }
    Arc::new(Rules { histograms: target.histograms, ..Rules::clone(&job.rules) })
}

fn report(target: &Target, job: &Job) -> ReportSeries {
    ReportSeries::new(target.key, &target.labels, job.config.extra_metrics, job.rules.honor_metadata)
}

fn request(target: &Target, job: &Job) -> RequestParts {
    // The URL was parsed when the target was built.
    let uri = Uri::try_from(&*target.url).unwrap_or_default();
    RequestParts::new(uri, job.headers.clone(), target.timeout)
}
