//! Weighs a run: cuts it into stretches at its moments, counts in each, and holds that against what the steps that are going on may cost.

use std::collections::HashMap;

use super::{Figures, NodeCost, Promise, Report, StepReport};
use crate::clock::millis;
use crate::engine::{Done, Event, Mark, Moment};
use crate::judge::{Judge, TargetScore, Window};
use crate::receiver::Received;
use crate::scenario::{Action, Allow, Limit, Scenario};
use crate::targets::Targets;

/// Targets that a report names.
const MAX_WORST: usize = 10;

/// What a report is founded on.
pub(crate) struct Evidence<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) judge: &'a Judge,
    pub(crate) targets: &'a Targets,
    pub(crate) received: Received,
    pub(crate) begun_ms: i64,
    /// In order of time; the last is the end.
    pub(crate) moments: Vec<Moment>,
    pub(crate) done: Vec<Done>,
    pub(crate) events: Vec<Event>,
    pub(crate) nodes: Vec<NodeCost>,
    pub(crate) stood_still_ms: u64,
}

impl Report {
    /// Weighs the evidence.
    pub(crate) fn of(evidence: &Evidence<'_>) -> Self {
        let mut steps: Vec<StepReport> = Vec::new();
        let mut active: Vec<usize> = Vec::new();
        for pair in evidence.moments.windows(2) {
            match pair[0].mark {
                Mark::Over(number) => active.retain(|other| *other != number),
                Mark::Step(number) => active.push(number),
                _ => {}
            }
            if !matches!(pair[0].mark, Mark::Over(_)) {
                steps.push(evidence.opened(&pair[0]));
            }
            if let Some(step) = steps.last_mut() {
                evidence.stretch(step, &pair[0], &pair[1], &active);
            }
        }
        let mut total = Figures::default();
        steps.iter().for_each(|step| total.add(&step.figures));
        let end_ms = evidence.moments.last().map_or(evidence.begun_ms, |m| m.at_ms);
        let totals = evidence.judge.totals();
        Self {
            scenario: evidence.scenario.name.clone(),
            // A run without slots would show no gap either.
            passed: total.slots > 0 && steps.iter().all(StepReport::kept),
            interrupted: false,
            error: None,
            seconds: (end_ms - evidence.begun_ms) as f64 / 1000.0,
            interval_ms: millis(evidence.scenario.interval()),
            targets: evidence.targets.announced(),
            series: totals.series,
            unjudged_samples: totals.unjudged_series_samples,
            total,
            steps,
            nodes: evidence.nodes.clone(),
            stood_still_ms: evidence.stood_still_ms,
            receiver: evidence.received,
            worst: worst(evidence.scores(evidence.begun_ms, end_ms)),
            events: evidence.events.clone(),
        }
    }
}

impl Evidence<'_> {
    /// The report of a step without what is counted.
    fn opened(&self, moment: &Moment) -> StepReport {
        let Mark::Step(number) = moment.mark else {
            let start = || "start".to_owned();
            return StepReport { step: start(), what: start(), ..StepReport::default() };
        };
        let (step, done) = (&self.scenario.steps[number], &self.done[number]);
        let first = |target: &String| self.judge.first_after(target, done.at_ms);
        // In a cut the old holders go on.
        let share = done.share.as_ref().filter(|_| !matches!(step.action, Action::Cut(..)));
        let after: Vec<i64> = share.into_iter().flatten().filter_map(first).collect();
        StepReport {
            step: step.action.word().to_owned(),
            what: step.action.what(),
            at_ms: moment.at_ms - self.begun_ms,
            nodes: done.nodes.clone(),
            took_ms: done.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            first_scrape_ms: after.iter().min().map(|ts| ts - done.at_ms),
            all_scraped_ms: after.iter().max().map(|ts| ts - done.at_ms),
            ..StepReport::default()
        }
    }

    /// Counts in a stretch, and holds it against its promises.
    fn stretch(&self, step: &mut StepReport, from: &Moment, to: &Moment, active: &[usize]) {
        let scores = self.scores(from.slots_ms, to.slots_ms);
        let mut figures = Figures { moved: to.moves - from.moves, ..Figures::default() };
        figures.add_scores(&scores, millis(self.scenario.interval()));
        figures.add_totals(&from.totals, &to.totals);
        figures.missing_markers = to.missing_stale.saturating_sub(from.missing_stale);
        let allow = active.iter().fold(Allow::NOTHING, |allow, number| allow.or(self.scenario.allow(&self.scenario.steps[*number])));
        let (limit, share, others) = self.gaps(&scores, active);
        let markers = figures.missing_markers + figures.false_markers;
        // Half an interval is not much, but a second sample within it is one too many.
        let duplicates = figures.duplicates.max(figures.duplicate_samples);
        // Where no target may have gaps, none is another one.
        let mut found = match limit {
            Limit::AtMost(0) => vec![("gaps", limit, others)],
            limit => vec![("gaps of a target that is hit", limit, share), ("gaps of all other targets", Limit::AtMost(0), others)],
        };
        found.extend([
            ("duplicates", allow.duplicates, duplicates),
            ("refused", allow.refused, figures.refused_samples),
            ("markers", allow.markers, markers),
            ("moved", allow.moved, figures.moved),
        ]);
        let (from_ms, to_ms) = (from.at_ms - self.begun_ms, to.at_ms - self.begun_ms);
        let promise =
            |(of, limit, found): (&'static str, Limit, u64)| Promise { of, from_ms, to_ms, limit, found, kept: limit.permits(found) };
        step.promises.extend(found.into_iter().map(promise));
        step.figures.add(&figures);
    }

    /// How many gaps those targets may have that may have some, the most that one of them has, and the gaps of all others; of these a scrape
    /// that came in part is one too.
    fn gaps(&self, scores: &[TargetScore], active: &[usize]) -> (Limit, u64, u64) {
        let none = Limit::AtMost(0);
        let (mut hit, mut of_all): (HashMap<&str, Limit>, Limit) = (HashMap::new(), none);
        for number in active {
            let step = &self.scenario.steps[*number];
            let gaps = self.scenario.allow(step).gaps;
            match &self.done[*number].share {
                // Both sides of a cut scrape all targets, and get in each other's way.
                Some(share) if !matches!(step.action, Action::Cut(..)) => share.iter().for_each(|target| {
                    let limit = hit.entry(target).or_insert(none);
                    *limit = limit.or(gaps);
                }),
                _ => of_all = of_all.or(gaps),
            }
        }
        let (mut widest, mut most, mut others) = (of_all, 0, 0);
        for score in scores {
            let limit = hit.get(score.target.as_str()).copied().unwrap_or(none).or(of_all);
            widest = widest.or(limit);
            if limit == none {
                others += score.gaps + score.partial;
            } else {
                most = most.max(score.gaps);
            }
        }
        (widest, most, others)
    }

    fn scores(&self, from_ms: i64, to_ms: i64) -> Vec<TargetScore> {
        let served = |instance: &str| self.targets.by_instance(instance).map(|t| self.targets.served(t));
        self.judge.scores(Window { from_ms, to_ms }, served)
    }
}

/// The worst targets, by gaps and duplicates.
fn worst(mut scores: Vec<TargetScore>) -> Vec<TargetScore> {
    let flaws = |s: &TargetScore| s.gaps + s.duplicates + s.partial;
    scores.retain(|s| flaws(s) > 0);
    scores.sort_by(|a, b| flaws(b).cmp(&flaws(a)).then(a.target.cmp(&b.target)));
    scores.truncate(MAX_WORST);
    scores
}
