//! What a judge remembers of one target, and its score in a window: slots by the series that are followed closely.

use std::collections::{HashMap, VecDeque};

use super::history::{History, Sample};
use super::report::{TargetScore, Window};
use super::slots::Grid;
use crate::targets::PROBE_SEQ;

/// The series that tells whether a target answered.
pub(crate) const UP: &str = "up";
/// Gaps of one target that a score lists.
const MAX_LISTED: usize = 20;

/// One target.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// From when on it must be there; without it, from its first sample on.
    pub(crate) expected_from: Option<i64>,
    /// From when on it need not be there.
    pub(crate) retired_at: Option<i64>,
    /// Newest timestamp of any of its series.
    pub(crate) newest_ms: i64,
    pub(crate) live: Live,
    up: History,
    probe: History,
    /// Further followed series, by identity.
    others: HashMap<u64, History>,
    /// Samples per timestamp, oldest first.
    counts: VecDeque<(i64, u32)>,
    max: usize,
}

/// What a target has shown in passing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Samples of all its series.
    pub samples: u64,
    /// Gaps in `probe_seq`.
    pub gaps: u64,
    /// Duplicates in `probe_seq`.
    pub duplicates: u64,
    /// When its newest sample arrived, in Unix milliseconds; 0 before the first.
    pub last_arrival_ms: i64,
    /// The newest timestamp of its samples, in Unix milliseconds; 0 before the first.
    pub newest_ms: i64,
}

/// Further series that are followed per target.
const MAX_OTHERS: usize = 16;

/// Which history a series has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Up,
    Probe,
    /// Followed besides, under its identity.
    Other(u64),
    /// Only counted.
    Rest,
}

impl Role {
    /// For messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => UP,
            Self::Probe => PROBE_SEQ,
            Self::Other(_) | Self::Rest => "a series",
        }
    }
}

impl Target {
    pub(crate) fn new(name: &str, max: usize) -> Self {
        Self {
            name: name.to_owned(),
            expected_from: None,
            retired_at: None,
            newest_ms: i64::MIN,
            live: Live::default(),
            up: History::new(max),
            probe: History::new(max),
            others: HashMap::new(),
            counts: VecDeque::new(),
            max,
        }
    }

    /// The history of a role, if it has one.
    pub(crate) fn history(&self, role: Role) -> Option<&History> {
        match role {
            Role::Up => Some(&self.up),
            Role::Probe => Some(&self.probe),
            Role::Other(identity) => self.others.get(&identity),
            Role::Rest => None,
        }
    }

    /// Stores a sample.
    pub(crate) fn keep(&mut self, role: Role, sample: Sample) {
        self.newest_ms = self.newest_ms.max(sample.ts_ms);
        self.live.samples += 1;
        self.live.last_arrival_ms = sample.arrival_ms;
        self.live.newest_ms = self.newest_ms;
        if !sample.is_stale() {
            self.count(sample.ts_ms);
        }
        match role {
            Role::Up => self.up.keep(sample),
            Role::Probe => self.probe.keep(sample),
            Role::Other(identity) if self.others.contains_key(&identity) || self.others.len() < MAX_OTHERS => {
                self.others.entry(identity).or_insert_with(|| History::new(self.max)).keep(sample);
            }
            Role::Other(_) | Role::Rest => {}
        }
    }

    /// Whether it has answered and been received.
    pub(crate) fn seen(&self) -> bool {
        self.probe.real().next().is_some() || self.up.real().any(|s| s.value() == 1.0)
    }

    /// Whether it did not answer at a time, as its `up` says.
    pub(crate) fn was_silent(&self, ts_ms: i64) -> bool {
        self.up.at(ts_ms).is_some_and(|s| !s.is_stale() && s.value() == 0.0)
    }

    /// The first sample after a time that shows that somebody scraped it.
    pub(crate) fn first_after(&self, after_ms: i64) -> Option<i64> {
        let history = if self.up.real().next().is_some() { &self.up } else { &self.probe };
        history.real().map(|s| s.ts_ms).find(|ts| *ts > after_ms)
    }

    fn count(&mut self, ts_ms: i64) {
        match self.counts.binary_search_by_key(&ts_ms, |(ts, _)| *ts) {
            Ok(at) => self.counts[at].1 += 1,
            Err(at) => {
                self.counts.insert(at, (ts_ms, 1));
                if self.counts.len() > self.max {
                    self.counts.pop_front();
                }
            }
        }
    }

    /// The score in a window; `served` is the newest `probe_seq` that the target has answered with, where it is known.
    pub(crate) fn score(&self, interval_ms: i64, window: Window, served: Option<u64>) -> TargetScore {
        let learned = if self.up.real().next().is_some() { &self.up } else { &self.probe };
        let grid = Grid::learn(interval_ms, learned.real().map(|s| s.ts_ms));
        let mut score = TargetScore { target: self.name.clone(), ..TargetScore::default() };
        let Some((first, end)) = self.slots(grid, window) else { return score };
        let slots = Slots::fill(self, grid, first, end);
        slots.count(&mut score, grid);
        score.lost = slots.lost(&self.probe, grid, served).min(score.gaps);
        score.never_scraped = score.gaps - score.lost;
        let inside = |s: &&Sample| (first..end).contains(&grid.slot(s.ts_ms));
        score.deviation_ms = self.up.real().filter(inside).map(|s| grid.deviation(s.ts_ms)).max().unwrap_or(0);
        score.lag_ms = self.probe.real().filter(inside).map(|s| s.arrival_ms - s.ts_ms).max().unwrap_or(0);
        self.weigh(&mut score, grid, first, end);
        score
    }

    /// The slots of a window in which it must be there.
    fn slots(&self, grid: Grid, window: Window) -> Option<(i64, i64)> {
        let begun = match self.expected_from {
            Some(from) => grid.first_from(from),
            None => grid.slot(self.up.real().chain(self.probe.real()).map(|s| s.ts_ms).min()?),
        };
        let first = begun.max(grid.first_from(window.from_ms));
        let end = grid.first_from(self.retired_at.map_or(window.to_ms, |at| at.min(window.to_ms)));
        (first < end).then_some((first, end))
    }

    /// How many samples the window's scrapes brought, and which of them brought fewer than most, though the target answered.
    fn weigh(&self, score: &mut TargetScore, grid: Grid, first: i64, end: i64) {
        let answered = |ts: i64| self.probe.has_real(ts);
        let mut frequency: HashMap<u32, u32> = HashMap::new();
        for (ts, count) in &self.counts {
            if answered(*ts) {
                *frequency.entry(*count).or_default() += 1;
            }
        }
        let Some((usual, _)) = frequency.into_iter().max_by_key(|(count, times)| (*times, *count)) else { return };
        let inside = |(ts, _): &&(i64, u32)| answered(*ts) && (first..end).contains(&grid.slot(*ts));
        for (_, count) in self.counts.iter().filter(inside) {
            score.samples += u64::from(*count);
            score.partial += u64::from(*count < usual);
        }
        score.expected_samples = (score.expected - score.unanswered) * u64::from(usual);
    }
}

/// What each slot of a window holds.
struct Slots {
    first: i64,
    up: Vec<u32>,
    probe: Vec<u32>,
    /// Slots whose only `up` says that the target did not answer.
    silent: Vec<bool>,
    /// Whether another followed series lacks its sample.
    other_gap: Vec<bool>,
    other_extra: u64,
}

impl Slots {
    fn fill(target: &Target, grid: Grid, first: i64, end: i64) -> Self {
        // A window of a year at 1 s would be 31 million slots: the histories bound what can be told anyway.
        let len = usize::try_from(end - first).unwrap_or(0).min(16 * target.max);
        let place = |s: &Sample| usize::try_from(grid.slot(s.ts_ms) - first).ok().filter(|at| *at < len);
        let mut slots =
            Self { first, up: vec![0; len], probe: vec![0; len], silent: vec![false; len], other_gap: vec![false; len], other_extra: 0 };
        for sample in target.up.real() {
            if let Some(at) = place(sample) {
                slots.silent[at] = sample.value() == 0.0;
                slots.up[at] += 1;
            }
        }
        for at in target.probe.real().filter_map(place) {
            slots.probe[at] += 1;
        }
        for history in target.others.values() {
            slots.add_other(history, grid);
        }
        slots
    }

    /// A series besides is owed a sample in each slot between two of its samples, unless it was ended between them.
    fn add_other(&mut self, history: &History, grid: Grid) {
        let mut last: Option<(i64, bool)> = None;
        for sample in history.all() {
            let slot = grid.slot(sample.ts_ms);
            if let Some((before, false)) = last {
                let from = before + 1 - self.first;
                for at in from.max(0)..(slot - self.first).min(self.other_gap.len() as i64) {
                    self.other_gap[at as usize] = true;
                }
                let inside = (0..self.other_gap.len() as i64).contains(&(slot - self.first));
                self.other_extra += u64::from(slot == before && !sample.is_stale() && inside);
            }
            last = Some((slot, sample.is_stale()));
        }
    }

    fn is_gap(&self, at: usize) -> bool {
        self.up[at] == 0 || (!self.silent[at] && (self.probe[at] == 0 || self.other_gap[at]))
    }

    fn count(&self, score: &mut TargetScore, grid: Grid) {
        let mut run = 0;
        for at in 0..self.up.len() {
            score.expected += 1;
            score.duplicates += u64::from(self.up[at].max(self.probe[at]).saturating_sub(1));
            if self.is_gap(at) {
                run += 1;
                score.gaps += 1;
                score.longest_gap = score.longest_gap.max(run);
                if score.missing_at_ms.len() < MAX_LISTED {
                    score.missing_at_ms.push(grid.middle(self.first + at as i64));
                }
                continue;
            }
            run = 0;
            score.filled += 1;
            score.unanswered += u64::from(self.silent[at]);
        }
        score.duplicates = score.duplicates.max(self.other_extra);
    }

    /// How many gaps were scraped, by the numbers that are missing in `probe_seq` and by slots in which only some series lack a sample.
    fn lost(&self, probe: &History, grid: Grid, served: Option<u64>) -> u64 {
        let in_part = (0..self.up.len()).filter(|at| self.is_gap(*at) && self.probe[*at] > 0).count() as u64;
        let mut lost = in_part;
        let mut last: Option<&Sample> = None;
        for sample in probe.real() {
            if let Some(before) = last {
                let answered = (sample.value() - before.value() - 1.0).max(0.0) as u64;
                lost += answered.min(self.empty(grid.slot(before.ts_ms) + 1, grid.slot(sample.ts_ms)));
            }
            last = Some(sample);
        }
        let end = self.first + self.up.len() as i64;
        let (seq, from) = last.map_or((0.0, self.first), |s| (s.value(), grid.slot(s.ts_ms) + 1));
        let answered = served.map_or(0, |served| served.saturating_sub(seq as u64));
        lost + answered.min(self.empty(from, end))
    }

    /// Gaps without `probe_seq` in a range of slots.
    fn empty(&self, from: i64, end: i64) -> u64 {
        let len = self.up.len() as i64;
        let range = (from - self.first).clamp(0, len)..(end - self.first).clamp(0, len);
        range.filter(|at| self.probe[*at as usize] == 0 && self.is_gap(*at as usize)).count() as u64
    }
}

/// Which role a metric plays; `others` are followed besides.
pub(crate) fn role(metric: &str, identity: u64, others: &[String]) -> Role {
    match metric {
        UP => Role::Up,
        PROBE_SEQ => Role::Probe,
        _ if others.iter().any(|o| o == metric) => Role::Other(identity),
        _ => Role::Rest,
    }
}
