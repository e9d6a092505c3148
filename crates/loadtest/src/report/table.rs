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
    }
    lines.push(verdict(report));
    lines.join("\n")
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
    let total = StepReport { step: "total".to_owned(), figures: report.total.clone(), ..StepReport::default() };
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
        step.step.clone() + &who,
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
        step.step,
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
