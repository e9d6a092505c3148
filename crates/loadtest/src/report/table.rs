//! The report for people: a row for each step and each node, then what was not as promised. At most 100 columns.

use std::time::Duration;

use super::{NodeCost, Promise, Report, StepReport};
use crate::judge::TargetScore;

/// Targets that are named where a promise was broken.
const WORST: usize = 5;

/// The whole report as text, without a newline at its end.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut lines = vec![head(report)];
    lines.extend(steps(report));
    lines.push(String::new());
    lines.extend(nodes(&report.nodes));
    if report.unjudged_samples > 0 {
        lines.push(format!("{} samples were not judged: more series than can be remembered; lower --churn", report.unjudged_samples));
    }
    let broken: Vec<String> =
        report.steps.iter().flat_map(|step| step.promises.iter().filter(|p| !p.kept).map(|p| broken(step, p))).collect();
    if !broken.is_empty() {
        lines.push(String::new());
        lines.extend(broken);
        lines.extend(report.worst.iter().take(WORST).map(worst));
        lines.extend(standstill(report));
    }
    lines.push(verdict(report));
    lines.join("\n")
}

/// What is worth knowing before the fleet is blamed.
fn standstill(report: &Report) -> Option<String> {
    let seconds = seconds(report.stood_still_ms as f64);
    let much = 3 * report.stood_still_ms as i64 > report.interval_ms && report.stood_still_ms > 0;
    much.then(|| format!("this machine was too busy: a process waited {seconds} for a processor, which may be why"))
}

fn head(report: &Report) -> String {
    let received = &report.receiver;
    let per_sample = received.wire_bytes as f64 / received.samples.max(1) as f64;
    format!(
        "{}: {:.0} s, {} targets, {} series, {} samples in {} requests, {per_sample:.1} bytes a sample\n",
        report.scenario, report.seconds, report.targets, report.series, received.samples, received.accepted
    )
}

fn steps(report: &Report) -> Vec<String> {
    let head = ["step", "at", "took", "taken over", "slots", "gaps", "worst", "double", "refused", "markers", "moved", ""];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(report.steps.iter().map(step));
    let total = StepReport { what: "total".to_owned(), figures: report.total.clone(), ..StepReport::default() };
    rows.push(step(&total));
    if let Some(last) = rows.last_mut() {
        last[1].clear();
        last[11].clear();
    }
    columns(&rows)
}

fn step(step: &StepReport) -> [String; 12] {
    let figures = &step.figures;
    let dash = || "-".to_owned();
    let who = match &step.nodes[..] {
        [one] => format!(" {one}"),
        [] => String::new(),
        more => format!(" {} nodes", more.len()),
    };
    [
        step.what.clone() + &who,
        clock(Duration::from_millis(u64::try_from(step.at_ms).unwrap_or(0))),
        step.took_ms.filter(|_| step.step != "kill").map_or_else(dash, |ms| seconds(ms as f64)),
        step.first_scrape_ms.map_or_else(dash, |ms| seconds(ms as f64)),
        figures.slots.to_string(),
        figures.gaps.to_string(),
        if figures.longest_gap_ms == 0 { dash() } else { seconds(figures.longest_gap_ms as f64) },
        figures.duplicates.max(figures.duplicate_samples).to_string(),
        figures.refused_samples.to_string(),
        (figures.missing_markers + figures.false_markers).to_string(),
        figures.moved.to_string(),
        if step.kept() { "kept".to_owned() } else { "BROKEN".to_owned() },
    ]
}

fn nodes(nodes: &[NodeCost]) -> Vec<String> {
    let head = ["node", "at the end", "targets", "samples/s", "CPU s", "µs/sample", "cores", "RSS", "peak"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(nodes.iter().map(node));
    columns(&rows)
}

fn node(node: &NodeCost) -> [String; 9] {
    let dash = || "-".to_owned();
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    [
        node.name.clone(),
        node.state.clone(),
        node.targets.map_or_else(dash, |t| t.to_string()),
        node.samples_per_second.map_or_else(dash, short),
        format!("{:.2}", node.cpu_seconds),
        node.cpu_us_per_sample.map_or_else(dash, |us| format!("{us:.2}")),
        if node.seconds > 0.0 { format!("{:.3}", node.cpu_seconds / node.seconds) } else { dash() },
        mib(node.rss_bytes),
        mib(node.peak_rss_bytes),
    ]
}

/// Rows under each other: the first column to the left, all others to the right.
fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn broken(step: &StepReport, promise: &Promise) -> String {
    format!(
        "{} at {}: {} {}, {} allowed, from {:.1} s to {:.1} s",
        step.what,
        clock(Duration::from_millis(u64::try_from(step.at_ms).unwrap_or(0))),
        promise.found,
        promise.of,
        promise.limit,
        promise.from_ms as f64 / 1000.0,
        promise.to_ms as f64 / 1000.0
    )
}

fn worst(score: &TargetScore) -> String {
    format!(
        "  {}: {} gaps ({} never scraped, {} lost), {} duplicates, {} partial; missed at {:?}",
        score.target,
        score.gaps,
        score.never_scraped,
        score.lost,
        score.duplicates,
        score.partial,
        score.missing_at_ms.iter().take(WORST).collect::<Vec<_>>()
    )
}

fn verdict(report: &Report) -> String {
    let promises = report.steps.iter().flat_map(|step| &step.promises);
    let (all, kept) = (promises.clone().count(), promises.filter(|p| p.kept).count());
    let far = if report.interrupted { ", as far as it went: it was interrupted" } else { "" };
    if let Some(error) = &report.error {
        return format!("FAILED: {kept} of {all} promises kept until it broke off: {error}");
    }
    match (report.passed, report.total.slots) {
        (_, 0) => format!("FAILED: nothing was scraped{far}"),
        (true, _) => format!("PASSED: {kept} of {all} promises kept{far}"),
        (false, _) => format!("FAILED: {kept} of {all} promises kept{far}"),
    }
}

/// `1.2 s`, out of milliseconds.
fn seconds(ms: f64) -> String {
    format!("{:.1} s", ms / 1000.0)
}

/// `01:05`
pub(crate) fn clock(duration: Duration) -> String {
    format!("{:02}:{:02}", duration.as_secs() / 60, duration.as_secs() % 60)
}

/// A rate in few characters.
pub(crate) fn short(rate: f64) -> String {
    match rate {
        r if r >= 999_950.0 => format!("{:.1}M", r / 1e6),
        r if r >= 10_000.0 => format!("{:.1}k", r / 1e3),
        r => format!("{r:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Figures;
    use crate::scenario::Limit;

    fn promise(of: &'static str, found: u64) -> Promise {
        Promise { of, from_ms: 45_000, to_ms: 52_000, limit: Limit::AtMost(3), found, kept: found <= 3 }
    }

    fn report() -> Report {
        let figures =
            |gaps| Figures { slots: 900, gaps, most_gaps: gaps, longest_gap_ms: 2000 * gaps as i64, moved: 20, ..Figures::default() };
        let start =
            StepReport { what: "start".to_owned(), figures: figures(0), promises: vec![promise("duplicates", 0)], ..StepReport::default() };
        let kill = StepReport {
            step: "kill".to_owned(),
            what: "kill".to_owned(),
            at_ms: 45_000,
            nodes: vec!["node-1".to_owned()],
            took_ms: Some(0),
            first_scrape_ms: Some(1340),
            figures: figures(4),
            promises: vec![promise("gaps of a target that is hit", 4), promise("duplicates", 0)],
            ..StepReport::default()
        };
        let node = NodeCost {
            name: "node-1".to_owned(),
            state: "killed".to_owned(),
            seconds: 45.0,
            samples: 450_000,
            samples_per_second: Some(10_000.0),
            cpu_seconds: 0.9,
            cpu_us_per_sample: Some(2.0),
            rss_bytes: 21 << 20,
            peak_rss_bytes: 22 << 20,
            ..NodeCost::default()
        };
        let worst = TargetScore {
            target: "target-00007".to_owned(),
            gaps: 4,
            never_scraped: 4,
            missing_at_ms: vec![5, 6],
            ..TargetScore::default()
        };
        Report {
            scenario: "kill".to_owned(),
            seconds: 60.0,
            targets: 60,
            series: 30_300,
            total: figures(4),
            steps: vec![start, kill],
            nodes: vec![node],
            worst: vec![worst],
            ..Report::default()
        }
    }

    #[test]
    fn what_was_broken_is_told_with_the_worst_targets() {
        let expected = "\
kill: 60 s, 60 targets, 30300 series, 0 samples in 0 requests, 0.0 bytes a sample

step            at  took  taken over  slots  gaps  worst  double  refused  markers  moved
start        00:00     -           -    900     0      -       0        0        0     20    kept
kill node-1  00:45     -       1.3 s    900     4  8.0 s       0        0        0     20  BROKEN
total                  -           -    900     4  8.0 s       0        0        0     20

node    at the end  targets  samples/s  CPU s  µs/sample  cores     RSS    peak
node-1      killed        -      10.0k   0.90       2.00  0.020  21 MiB  22 MiB

kill at 00:45: 4 gaps of a target that is hit, 3 allowed, from 45.0 s to 52.0 s
  target-00007: 4 gaps (4 never scraped, 0 lost), 0 duplicates, 0 partial; missed at [5, 6]
FAILED: 2 of 3 promises kept";
        assert_eq!(table(&report()), expected);
        let busy = Report { interval_ms: 1_000, stood_still_ms: 1_234, ..report() };
        let text = table(&busy);
        let [.., why, _] = &text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert_eq!(*why, "this machine was too busy: a process waited 1.2 s for a processor, which may be why");
    }

    #[test]
    fn an_interrupted_run_and_one_without_slots_say_so() {
        let mut report = report();
        report.steps.pop();
        (report.passed, report.interrupted) = (true, true);
        assert!(table(&report).ends_with("PASSED: 1 of 1 promises kept, as far as it went: it was interrupted"));
        (report.passed, report.interrupted, report.total) = (false, false, Figures::default());
        assert!(table(&report).ends_with("FAILED: nothing was scraped"));
        report.error = Some("node-2: still running".to_owned());
        assert!(table(&report).ends_with("FAILED: 1 of 1 promises kept until it broke off: node-2: still running"));
    }

    #[test]
    fn rates_are_short() {
        assert_eq!([0.0, 9_999.0, 15_120.0, 2_500_000.0].map(short), ["0", "9999", "15.1k", "2.5M"]);
    }
}
