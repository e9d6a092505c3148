//! The verdict of a demo: what the planned changes and the crash have cost, and whether that is as promised.

use std::time::Duration;

use serde_json::{Value, json};

use super::DemoOptions;
use super::timeline::Event;
use crate::clock::millis;
use crate::judge::{Report, TargetScore, Totals};
use crate::receiver::Received;

/// How a demo ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether everything was as promised; false if it was interrupted.
    pub passed: bool,
    /// Whether it was broken off.
    pub interrupted: bool,
    /// What was printed.
    pub text: String,
    /// The reports behind it.
    pub json: Value,
}

/// What a verdict is founded on.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    /// The time of the planned changes.
    pub(crate) planned: Report,
    /// All series, until the crash.
    pub(crate) before_crash: Totals,
    /// From the crash on; its totals are those of the whole demo.
    pub(crate) after_crash: Report,
    pub(crate) killed: String,
    pub(crate) events: Vec<Event>,
    pub(crate) received: Received,
}

impl Verdict {
    pub(crate) fn interrupted() -> Self {
        Self { passed: false, interrupted: true, text: String::new(), json: Value::Null }
    }
}

/// Weighs the evidence: planned changes must have cost nothing, the crash at most the slots that fit into the detection time, and no
/// duplicate at any time, since who takes over begins after the one that died.
pub(crate) fn judge(evidence: &Evidence, options: &DemoOptions) -> Verdict {
    let allowed = slots(options.detection, options.interval);
    let (planned_ok, planned) = planned(evidence);
    let (crash_ok, crash) = crash(evidence, options, allowed);
    let passed = planned_ok && crash_ok;
    let totals = &evidence.after_crash.totals;
    let mut text = vec![
        format!(
            "{} samples of {} series received in {} requests, {:.1} bytes a sample",
            evidence.received.samples,
            totals.series,
            evidence.received.accepted,
            evidence.received.wire_bytes as f64 / evidence.received.samples.max(1) as f64
        ),
        planned,
        crash,
    ];
    text.extend(evidence.planned.worst.iter().chain(&evidence.after_crash.worst).take(6).map(worst));
    text.push(if passed { "PASSED".to_owned() } else { "FAILED".to_owned() });
    let events: Vec<Value> = evidence.events.iter().map(|e| json!({ "at_ms": millis(e.at), "text": e.text })).collect();
    let json = json!({
        "passed": passed,
        "planned": evidence.planned.to_json(),
        "crash": evidence.after_crash.to_json(),
        "crash_allowed_slots": allowed,
        "killed": evidence.killed,
        "events": events,
    });
    Verdict { passed, interrupted: false, text: text.join("\n"), json }
}

/// ⌈detection / interval⌉
fn slots(detection: Duration, interval: Duration) -> u64 {
    let slots = detection.as_nanos().div_ceil(interval.as_nanos().max(1));
    u64::try_from(slots).unwrap_or(u64::MAX)
}

fn planned(evidence: &Evidence) -> (bool, String) {
    let (report, all) = (&evidence.planned, &evidence.before_crash);
    let flaws = [
        ("gaps", report.gaps.max(all.gaps)),
        ("duplicates", report.duplicates.max(all.duplicates)),
        ("partial scrapes", report.partial),
        ("false staleness markers", all.false_stale),
        ("conflicts", all.conflicts),
        ("samples out of order", all.disorders),
        ("refused requests", all.refused_requests),
    ];
    // A window without slots would show no gap either.
    let ok = report.expected > 0 && flaws.iter().all(|(_, count)| *count == 0);
    let named: Vec<String> = flaws
        .iter()
        .enumerate()
        .filter(|(at, (_, count))| *at < 2 || *count > 0)
        .map(|(_, (name, count))| format!("{count} {name}"))
        .collect();
    let mut text = format!("planned changes (join, leave): {} slots of {} targets, {}", report.expected, report.targets, named.join(", "));
    if report.gaps > 0 {
        text += &format!("; of the gaps {} never scraped, {} scraped and lost", report.never_scraped, report.lost);
    }
    (ok, text + if ok { ": as promised" } else { ": NOT as promised, 0 gaps and 0 duplicates" })
}

fn crash(evidence: &Evidence, options: &DemoOptions, allowed: u64) -> (bool, String) {
    let report = &evidence.after_crash;
    let ok = report.expected > 0 && report.most_gaps <= allowed && report.duplicates == 0;
    let text = format!(
        "crash of {}: {} slots missed, at most {} of a target; {} allowed = {:?} detection / {:?}, rounded up; {} duplicates",
        evidence.killed, report.gaps, report.most_gaps, allowed, options.detection, options.interval, report.duplicates
    );
    (ok, text + if ok { ": as promised" } else { ": NOT as promised" })
}

fn worst(score: &TargetScore) -> String {
    format!(
        "  {}: {} gaps ({} never scraped, {} lost), {} duplicates, {} partial; missed at {:?}",
        score.target, score.gaps, score.never_scraped, score.lost, score.duplicates, score.partial, score.missing_at_ms
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> DemoOptions {
        DemoOptions::new("collector".into())
    }

    fn evidence() -> Evidence {
        let report = Report { expected: 1000, filled: 1000, targets: 60, ..Report::default() };
        Evidence {
            planned: report.clone(),
            before_crash: Totals::default(),
            after_crash: Report { gaps: 40, most_gaps: 4, ..report },
            killed: "node-1".to_owned(),
            events: vec![],
            received: Received::default(),
        }
    }

    #[test]
    fn slots_that_fit_into_the_detection_time_are_rounded_up() {
        let s = Duration::from_secs;
        assert_eq!([slots(s(8), s(2)), slots(s(8), s(3)), slots(s(8), s(15)), slots(s(0), s(2))], [4, 3, 1, 0]);
    }

    #[test]
    fn a_crash_may_cost_the_slots_of_its_detection_and_no_more() {
        let verdict = judge(&evidence(), &options());
        assert!(verdict.passed, "{}", verdict.text);
        assert!(verdict.text.contains("40 slots missed, at most 4 of a target; 4 allowed = 8s detection / 2s"), "{}", verdict.text);
        let mut worse = evidence();
        worse.after_crash.most_gaps = 5;
        let verdict = judge(&worse, &options());
        assert!(!verdict.passed && verdict.text.ends_with("FAILED"), "{}", verdict.text);
    }

    #[test]
    fn every_flaw_of_a_planned_change_fails() {
        let flaws: [fn(&mut Evidence); 8] = [
            |e| e.planned.gaps = 1,
            |e| e.planned.duplicates = 1,
            |e| e.planned.partial = 1,
            |e| e.before_crash.gaps = 1,
            |e| e.before_crash.duplicates = 1,
            |e| e.before_crash.false_stale = 1,
            |e| e.before_crash.refused_requests = 1,
            |e| e.planned.expected = 0,
        ];
        for (number, flaw) in flaws.into_iter().enumerate() {
            let mut evidence = evidence();
            flaw(&mut evidence);
            assert!(!judge(&evidence, &options()).passed, "flaw {number}");
        }
    }

    #[test]
    fn a_duplicate_after_the_crash_fails() {
        let mut evidence = evidence();
        evidence.after_crash.duplicates = 1;
        assert!(!judge(&evidence, &options()).passed);
    }

    #[test]
    fn the_worst_targets_are_named() {
        let mut evidence = evidence();
        let score = TargetScore {
            target: "target-00007".to_owned(),
            gaps: 2,
            never_scraped: 2,
            missing_at_ms: vec![5, 6],
            ..TargetScore::default()
        };
        evidence.planned.worst.push(score);
        evidence.planned.gaps = 2;
        let verdict = judge(&evidence, &options());
        assert!(verdict.text.contains("target-00007: 2 gaps (2 never scraped, 0 lost)"), "{}", verdict.text);
    }
}
