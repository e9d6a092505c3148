//! The judge of a fleet: takes remote-write requests and tells whether every series got exactly one sample per interval, as defined in
//! spec/reliability.md §8. It refuses what Prometheus refuses (samples out of order, other values for a time that is taken). Memory is
//! bounded: `up`, `probe_seq` and a few series per target are kept sample by sample, every other series by its newest sample.

mod history;
mod ledger;
mod report;
mod slots;
mod target;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::clock::millis;
use crate::receiver::wire::{self, Counts, Malformed, Series};
use crate::receiver::{Accept, Refused};
use history::{Known, Sample};
pub use ledger::Totals;
use ledger::{Ledger, Order};
pub use report::{Report, TargetScore, Window};
pub use slots::Grid;
pub use target::Live;
use target::{Role, Target, role};

/// What is judged.
#[derive(Clone, Debug)]
pub struct JudgeOptions {
    /// The scrape interval, at least 1 ms.
    pub interval: Duration,
    /// Whether to refuse (400) requests with samples that Prometheus would refuse; otherwise they are counted and taken.
    pub strict: bool,
    /// Metrics followed sample by sample besides `up` and `probe_seq` (at most 16 series per target).
    pub follow: Vec<String>,
    /// Judge only series of this job.
    pub job: Option<String>,
    /// Most series that are judged; samples of further ones are only counted. Each costs about 50 bytes.
    pub max_series: usize,
    /// Most targets.
    pub max_targets: usize,
    /// Samples kept per followed series; older ones are forgotten.
    pub max_samples: usize,
}

impl JudgeOptions {
    /// The usual for an interval.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, strict: true, follow: Vec::new(), job: None, max_series: 2_000_000, max_targets: 100_000, max_samples: 4096 }
    }
}

/// Judges what it receives; share it with a [`crate::receiver::Receiver`].
#[derive(Debug)]
pub struct Judge {
    options: JudgeOptions,
    interval_ms: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    targets: Vec<Target>,
    by_name: HashMap<String, u32>,
    ledger: Ledger,
    totals: Totals,
    pending: Vec<Pending>,
}

/// A sample of a request that is being looked at.
#[derive(Clone, Copy, Debug)]
struct Pending {
    identity: u64,
    target: u32,
    role: Role,
    ts_ms: i64,
    bits: u64,
    /// Whether it has been counted as a flaw already.
    objected: bool,
}

impl Judge {
    /// A judge that has seen nothing.
    #[must_use]
    pub fn new(options: JudgeOptions) -> Arc<Self> {
        let interval_ms = millis(options.interval).max(1);
        let state = State {
            targets: Vec::new(),
            by_name: HashMap::new(),
            ledger: Ledger::new(options.max_series, interval_ms),
            totals: Totals::default(),
            pending: Vec::new(),
        };
        Arc::new(Self { options, interval_ms, state: Mutex::new(state) })
    }

    /// From `from_ms` (Unix milliseconds) on, these targets (by `instance`) must be there: what was never received counts as gaps.
    pub fn expect(&self, targets: impl IntoIterator<Item = String>, from_ms: i64) {
        let mut state = self.state.lock();
        for name in targets {
            if let Some(number) = state.target(&name, &self.options) {
                let target = &mut state.targets[number as usize];
                target.expected_from = Some(from_ms);
                target.retired_at = None;
            }
        }
    }

    /// From `at_ms` on, a target need not be there; its series must end with markers within two intervals.
    pub fn retire(&self, target: &str, at_ms: i64) {
        let mut state = self.state.lock();
        if let Some(number) = state.by_name.get(target).copied() {
            state.targets[number as usize].retired_at = Some(at_ms);
        }
    }

    /// How many targets have been scraped and received at least once.
    #[must_use]
    pub fn targets_seen(&self) -> usize {
        self.state.lock().targets.iter().filter(|t| t.seen()).count()
    }

    /// What each target has shown in passing, by `instance`.
    #[must_use]
    pub fn live(&self) -> HashMap<String, Live> {
        self.state.lock().targets.iter().map(|t| (t.name.clone(), t.live)).collect()
    }

    /// What was seen over all series so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let state = self.state.lock();
        Totals { series: state.ledger.len() as u64, ..state.totals }
    }

    /// The score of a window. `served` tells the newest `probe_seq` that a target (by `instance`) has answered with, so that a gap at the
    /// end can be told apart as well: never scraped or lost. Ask late enough: what is still on its way at the window's end is a gap.
    #[must_use]
    pub fn report(&self, window: Window, served: impl Fn(&str) -> Option<u64>) -> Report {
        let scores = self.scores(window, served);
        Report::of(window, self.interval_ms, scores, self.totals(), self.missing_stale(window.to_ms))
    }

    /// The scores of all targets in a window (see [`Judge::report`]).
    #[must_use]
    pub fn scores(&self, window: Window, served: impl Fn(&str) -> Option<u64>) -> Vec<TargetScore> {
        let state = self.state.lock();
        state.targets.iter().map(|t| t.score(self.interval_ms, window, served(&t.name))).collect()
    }

    /// How many series have ended without a marker, of all that there ever were, as seen at a time (Unix milliseconds).
    #[must_use]
    pub fn missing_stale(&self, at_ms: i64) -> u64 {
        let state = self.state.lock();
        state.ledger.missing_stale(|entry| {
            let target = &state.targets[entry.target as usize];
            let now = target.retired_at.map_or(target.newest_ms, |_| at_ms);
            now - entry.last_ms > 2 * self.interval_ms
        })
    }

    /// The timestamp of a target's first sample after a time, Unix milliseconds.
    #[must_use]
    pub fn first_after(&self, target: &str, after_ms: i64) -> Option<i64> {
        let state = self.state.lock();
        let number = *state.by_name.get(target)?;
        state.targets[number as usize].first_after(after_ms)
    }

    /// The score of one target in a window (see [`Judge::report`]); `None` for an unknown target.
    #[must_use]
    pub fn score(&self, target: &str, window: Window, served: Option<u64>) -> Option<TargetScore> {
        let state = self.state.lock();
        let number = *state.by_name.get(target)?;
        Some(state.targets[number as usize].score(self.interval_ms, window, served))
    }
}

impl Accept for Judge {
    fn accept(&self, request: &[u8], arrival_ms: i64) -> Result<Counts, Refused> {
        let mut state = self.state.lock();
        state.pending.clear();
        let mut counts = Counts::default();
        let mut labels = 0;
        let mut foreign = 0;
        for series in wire::series(request) {
            let (samples, known) = state.read(series?, &self.options, &mut labels)?;
            counts.series += 1;
            counts.samples += samples;
            foreign += if known { 0 } else { samples };
        }
        state.totals.bad_labels += labels;
        if let Some(refusal) = state.object(self.options.strict) {
            state.totals.refused_requests += 1;
            state.totals.refused_samples += counts.samples;
            return Err(Refused::Samples(refusal));
        }
        state.totals.foreign += foreign;
        state.store(arrival_ms);
        Ok(counts)
    }
}

impl State {
    /// The number of a target, new or known; `None` when there are too many.
    fn target(&mut self, name: &str, options: &JudgeOptions) -> Option<u32> {
        if let Some(number) = self.by_name.get(name) {
            return Some(*number);
        }
        if self.targets.len() >= options.max_targets {
            return None;
        }
        let number = u32::try_from(self.targets.len()).ok()?;
        self.targets.push(Target::new(name, options.max_samples));
        self.by_name.insert(name.to_owned(), number);
        Some(number)
    }

    /// Adds a series' samples to those that are looked at; returns how many and whether the series belongs to a target that is judged.
    fn read(&mut self, series: Series<'_>, options: &JudgeOptions, bad: &mut u64) -> Result<(u64, bool), Malformed> {
        let described = Described::read(&series)?;
        *bad += u64::from(!described.in_order);
        let ours = options.job.as_deref().is_none_or(|job| described.job == job);
        let instance = described.instance.filter(|_| ours);
        let target = instance.and_then(|instance| self.target(instance, options));
        let mut samples = 0;
        for sample in series.samples() {
            let sample = sample?;
            samples += 1;
            if let Some(target) = target {
                let role = role(described.metric, described.identity, &options.follow);
                let identity = described.identity;
                self.pending.push(Pending { identity, target, role, ts_ms: sample.ts_ms, bits: sample.bits, objected: false });
            }
        }
        Ok((samples, target.is_some()))
    }

    /// Counts the samples that can't be stored; if they are to be refused, says why.
    fn object(&mut self, strict: bool) -> Option<String> {
        let mut refusal = None;
        for pending in &mut self.pending {
            let target = &self.targets[pending.target as usize];
            pending.objected = self.ledger.order(pending.identity, pending.ts_ms, pending.bits) != Order::Newer;
            let Some(kind) = flaw(&self.ledger, target, pending, &mut self.totals) else { continue };
            refusal.get_or_insert_with(|| format!("{kind}: {} of {} at {}", pending.role.name(), target.name, pending.ts_ms));
        }
        refusal.filter(|_| strict)
    }

    /// Stores the samples that are looked at, except those that are known or, without a history, too old.
    fn store(&mut self, arrival_ms: i64) {
        let mut pending = std::mem::take(&mut self.pending);
        for one in pending.drain(..) {
            self.store_one(&one, arrival_ms);
        }
        self.pending = pending;
    }

    fn store_one(&mut self, one: &Pending, arrival_ms: i64) {
        let target = &mut self.targets[one.target as usize];
        let sample = Sample { ts_ms: one.ts_ms, bits: one.bits, arrival_ms };
        if self.ledger.order(one.identity, one.ts_ms, one.bits) != Order::Newer {
            // Either taken although it is flawed, or at odds with a sample of the same request.
            if !one.objected {
                flaw(&self.ledger, target, one, &mut self.totals);
            }
            if target.history(one.role).is_some_and(|h| h.know(one.ts_ms, one.bits) == Known::New) {
                target.keep(one.role, sample);
            }
            return;
        }
        let Some(mut found) = self.ledger.write(one.identity, one.target, one.ts_ms, one.bits) else {
            self.totals.unjudged_series_samples += 1;
            return;
        };
        target.keep(one.role, sample);
        // All series of a target end when it does not answer.
        found.false_stale &= !target.was_silent(found.marker_ms);
        if one.role == Role::Probe {
            target.live.gaps += found.gaps;
            target.live.duplicates += u64::from(found.duplicate);
        }
        self.totals.add(found, sample.is_stale());
    }
}

/// Counts what is wrong with a sample's place in its series, and names it unless it is a harmless resend of the newest. Where the series is
/// followed, an older sample that was received before is recognised.
fn flaw(ledger: &Ledger, target: &Target, sample: &Pending, totals: &mut Totals) -> Option<&'static str> {
    let order = ledger.order(sample.identity, sample.ts_ms, sample.bits);
    let known = target.history(sample.role).map(|h| h.know(sample.ts_ms, sample.bits));
    match (order, known) {
        (Order::Newer, _) => None,
        (Order::Same, _) => {
            totals.resends += 1;
            None
        }
        (Order::Older, Some(Known::Same)) => {
            totals.resends += 1;
            Some("out of order, a sample that was received before")
        }
        (Order::Conflict, _) | (Order::Older, Some(Known::Other)) => {
            totals.conflicts += 1;
            Some("another value for a time that has one")
        }
        (Order::Older, _) => {
            totals.disorders += 1;
            Some("out of order")
        }
    }
}

/// What a series' labels say.
struct Described<'a> {
    /// The same for the same labels in any order.
    identity: u64,
    metric: &'a str,
    instance: Option<&'a str>,
    job: &'a str,
    /// Whether the labels are sorted and unique.
    in_order: bool,
}

impl<'a> Described<'a> {
    fn read(series: &Series<'a>) -> Result<Self, Malformed> {
        let mut described = Self { identity: 0, metric: "", instance: None, job: "", in_order: true };
        let mut last = "";
        for label in series.labels() {
            let (name, value) = label?;
            described.identity = described.identity.wrapping_add(xxh3_64_with_seed(value.as_bytes(), xxh3_64(name.as_bytes())));
            described.in_order &= last < name;
            last = name;
            match name {
                "__name__" => described.metric = value,
                "instance" => described.instance = Some(value),
                "job" => described.job = value,
                _ => {}
            }
        }
        Ok(described)
    }
}
