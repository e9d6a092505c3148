//! The judge on scripted streams of samples: each kind of flaw, alone.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that can't go on has failed

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use loadtest::judge::{Judge, JudgeOptions, Report, Window};
use loadtest::receiver::{Accept as _, Refused};
use prost::Message as _;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};

const I: i64 = 10_000;
/// Any time with an odd phase; slot n of a script is at `T + n * I`.
const T: i64 = 1_760_000_003_210;

/// Plays a fleet: sends samples of `up`, `probe_seq` and one more series per target.
struct Script {
    judge: Arc<Judge>,
    served: HashMap<String, u64>,
}

fn judged(options: JudgeOptions) -> Script {
    Script { judge: Judge::new(options), served: HashMap::new() }
}

fn script() -> Script {
    judged(options())
}

fn options() -> JudgeOptions {
    JudgeOptions::new(Duration::from_millis(I as u64))
}

fn series(metric: &str, target: &str, ts: i64, value: f64) -> TimeSeries {
    let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
    TimeSeries {
        labels: vec![label("__name__", metric), label("instance", target), label("job", "probe")],
        samples: vec![Sample { value, timestamp: ts }],
        ..TimeSeries::default()
    }
}

impl Script {
    fn send(&self, series: Vec<TimeSeries>) -> Result<(), Refused> {
        let arrival = series.iter().flat_map(|s| &s.samples).map(|s| s.timestamp).max().unwrap_or(0) + 250;
        self.judge.accept(&WriteRequest { timeseries: series, metadata: vec![] }.encode_to_vec(), arrival).map(|_| ())
    }

    /// The target answers; the samples don't arrive.
    fn serve(&mut self, target: &str) -> f64 {
        let seq = self.served.entry(target.to_owned()).or_default();
        *seq += 1;
        *seq as f64
    }

    /// A scrape at a time, as it should be.
    fn scrape_at(&mut self, target: &str, ts: i64) {
        let seq = self.serve(target);
        let all = vec![series("up", target, ts, 1.0), series("probe_seq", target, ts, seq), series("other", target, ts, 5.0)];
        self.send(all).expect("nothing to refuse");
    }

    /// Scrapes in the middle of slots.
    fn scrape(&mut self, target: &str, slots: impl IntoIterator<Item = i64>) {
        for slot in slots {
            self.scrape_at(target, T + slot * I);
        }
    }

    fn report(&self, slots: std::ops::Range<i64>) -> Report {
        let window = Window { from_ms: T + slots.start * I - I / 2, to_ms: T + slots.end * I - I / 2 };
        self.judge.report(window, |target| self.served.get(target).copied())
    }
}

#[test]
fn one_sample_a_slot_is_flawless_for_every_target() {
    let mut script = script();
    script.scrape("a", 0..10);
    for slot in 0..10 {
        script.scrape_at("b", T + slot * I + 7777);
    }
    let report = script.report(0..10);
    assert_eq!((report.targets, report.gaps, report.duplicates, report.partial), (2, 0, 0, 0));
    assert_eq!((report.expected, report.filled, report.completeness), (19, 19, 1.0), "b's last slot lies beyond the window");
    assert_eq!((report.totals.series, report.totals.samples, report.totals.gaps), (6, 60, 0));
    assert_eq!((report.deviation_ms, report.lag_ms, report.missing_stale), (0, 250, 0));
    assert!(report.worst.is_empty());
}

#[test]
fn jitter_within_half_an_interval_is_no_flaw_but_is_told() {
    let mut script = script();
    for (slot, jitter) in [0, 30, -40, 4000, 0, -3000, 0, 0].into_iter().enumerate() {
        script.scrape_at("a", T + slot as i64 * I + jitter);
    }
    let report = script.report(0..8);
    assert_eq!((report.gaps, report.duplicates, report.expected), (0, 0, 8));
    assert_eq!(report.deviation_ms, 4000);
}

#[test]
fn a_slot_that_nobody_scraped_is_a_gap_of_its_kind() {
    let mut script = script();
    script.scrape("a", (0..10).filter(|s| ![4, 5].contains(s)));
    let report = script.report(0..10);
    assert_eq!((report.gaps, report.never_scraped, report.lost, report.longest_gap), (2, 2, 0, 2));
    assert_eq!(report.worst[0].missing_at_ms, [T + 4 * I, T + 5 * I]);
    assert_eq!(report.completeness, 0.8);
    assert_eq!(report.totals.gaps, 6, "two slots of three series");
}

#[test]
fn a_hole_in_probe_seq_shows_that_a_scrape_was_lost() {
    let mut script = script();
    script.scrape("a", 0..4);
    script.serve("a");
    script.scrape("a", 6..8);
    let report = script.report(0..8);
    assert_eq!((report.gaps, report.lost, report.never_scraped), (2, 1, 1));
}

#[test]
fn gaps_at_the_end_are_told_apart_by_what_the_target_has_served() {
    let mut script = script();
    script.scrape("a", 0..4);
    script.serve("a");
    let report = script.report(0..6);
    assert_eq!((report.gaps, report.lost, report.never_scraped), (2, 1, 1));
}

#[test]
fn an_expected_target_that_never_came_is_all_gaps() {
    let mut script = script();
    script.judge.expect(["a".to_owned(), "b".to_owned()], T);
    script.scrape("a", 0..5);
    let report = script.report(0..5);
    assert_eq!((report.targets, report.worst[0].target.as_str()), (2, "b"));
    assert!(report.worst[0].gaps >= 4 && report.worst[0].gaps == report.gaps, "{report:?}");
    assert_eq!(script.judge.targets_seen(), 1);
}

#[test]
fn a_window_holds_only_its_own_slots() {
    let mut script = script();
    script.scrape("a", [0, 1, 2, 5, 6, 7, 8]);
    assert_eq!(script.report(0..3).gaps, 0);
    assert_eq!(script.report(3..5).gaps, 2);
    assert_eq!((script.report(5..9).gaps, script.report(5..9).expected), (0, 4));
}

#[test]
fn a_slot_in_which_the_target_did_not_answer_is_no_gap() {
    let mut script = script();
    script.scrape("a", 0..3);
    let stale = f64::from_bits(model::stale::STALE_NAN_BITS);
    let failed =
        vec![series("up", "a", T + 3 * I, 0.0), series("probe_seq", "a", T + 3 * I, stale), series("other", "a", T + 3 * I, stale)];
    script.send(failed).unwrap();
    script.scrape("a", 4..8);
    let report = script.report(0..8);
    assert_eq!((report.gaps, report.unanswered, report.filled, report.partial), (0, 1, 8, 0));
    assert_eq!(report.totals.markers, 2);
}

#[test]
fn a_second_timestamp_in_a_slot_is_a_duplicate() {
    let mut script = script();
    script.scrape("a", 0..3);
    script.scrape_at("a", T + 2 * I + 900);
    script.scrape("a", 3..6);
    let report = script.report(0..6);
    assert_eq!((report.duplicates, report.gaps), (1, 0));
    assert_eq!(report.totals.duplicates, 3, "of three series");
    assert_eq!(script.judge.live()["a"].duplicates, 1);
}

#[test]
fn the_same_sample_again_is_a_harmless_resend() {
    let mut script = script();
    script.scrape("a", 0..3);
    script.send(vec![series("up", "a", T + 2 * I, 1.0), series("other", "a", T + 2 * I, 5.0)]).unwrap();
    let report = script.report(0..3);
    assert_eq!((report.totals.resends, report.duplicates, report.totals.refused_requests), (2, 0, 0));
}

#[test]
fn another_value_for_a_time_is_a_conflict_and_refused_wholly() {
    let mut script = script();
    script.scrape("a", 0..3);
    let refused = script.send(vec![series("up", "b", T + 3 * I, 1.0), series("other", "a", T + 2 * I, 6.0)]).unwrap_err();
    assert!(refused.to_string().contains("another value for a time that has one: a series of a at"), "{refused}");
    let totals = script.judge.totals();
    assert_eq!((totals.conflicts, totals.refused_requests, totals.refused_samples), (1, 1, 2));
    assert_eq!(totals.samples, 9, "nothing of a refused request is stored");
}

#[test]
fn an_older_sample_is_disorder_and_refused() {
    let mut script = script();
    script.scrape("a", 0..3);
    let refused = script.send(vec![series("up", "a", T + I + 5, 1.0)]).unwrap_err();
    assert!(refused.to_string().contains("out of order: up of a at"), "{refused}");
    assert_eq!((script.judge.totals().disorders, script.judge.totals().refused_requests), (1, 1));
}

#[test]
fn an_older_sample_that_was_received_before_is_a_resend_and_refused_as_prometheus_does() {
    let mut script = script();
    script.scrape("a", 0..3);
    script.send(vec![series("up", "a", T + I, 1.0)]).unwrap_err();
    let totals = script.judge.totals();
    assert_eq!((totals.resends, totals.disorders, totals.refused_requests), (1, 0, 1));
}

#[test]
fn a_lenient_judge_takes_disorder_into_account_and_fills_the_slot() {
    let mut script = judged(JudgeOptions { strict: false, ..options() });
    script.scrape("a", [0, 1, 3, 4]);
    let seq = script.serve("a");
    script.send(vec![series("up", "a", T + 2 * I, 1.0), series("probe_seq", "a", T + 2 * I, seq)]).unwrap();
    let report = script.report(0..5);
    assert_eq!((report.gaps, report.totals.disorders, report.totals.refused_requests), (0, 2, 0));
}

#[test]
fn disorder_within_one_request_is_counted() {
    let script = script();
    script.send(vec![series("other", "a", T + I, 1.0), series("other", "a", T, 1.0)]).unwrap();
    assert_eq!((script.judge.totals().disorders, script.judge.totals().samples), (1, 1));
}

#[test]
fn a_marker_before_the_next_sample_is_false_stale() {
    let mut script = script();
    let stale = f64::from_bits(model::stale::STALE_NAN_BITS);
    script.scrape("a", 0..3);
    script.send(vec![series("other", "a", T + 2 * I + 100, stale)]).unwrap();
    script.scrape("a", 3..6);
    assert_eq!(script.report(0..6).totals.false_stale, 1);
}

#[test]
fn a_series_that_ends_without_a_marker_is_missing_one() {
    let mut script = script();
    script.scrape("a", 0..3);
    let stale = f64::from_bits(model::stale::STALE_NAN_BITS);
    script.send(vec![series("gone", "a", T + 2 * I, 1.0), series("ended", "a", T + 2 * I, 1.0)]).unwrap();
    script.scrape("a", 3..4);
    script.send(vec![series("ended", "a", T + 3 * I, stale)]).unwrap();
    script.scrape("a", 4..8);
    assert_eq!(script.report(0..8).missing_stale, 1);
}

#[test]
fn a_retired_target_owes_markers_and_no_more_samples() {
    let mut script = script();
    script.scrape("a", 0..4);
    script.scrape("b", 0..8);
    script.judge.retire("a", T + 4 * I - 1);
    let report = script.report(0..8);
    assert_eq!((report.gaps, report.expected, report.missing_stale), (0, 12, 3));
    let stale = f64::from_bits(model::stale::STALE_NAN_BITS);
    script.send(["up", "probe_seq", "other"].map(|m| series(m, "a", T + 5 * I, stale)).to_vec()).unwrap();
    assert_eq!(script.report(0..8).missing_stale, 0);
}

#[test]
fn a_scrape_of_which_a_part_is_missing_is_partial() {
    let mut script = script();
    script.scrape("a", 0..4);
    let seq = script.serve("a");
    script.send(vec![series("up", "a", T + 4 * I, 1.0), series("probe_seq", "a", T + 4 * I, seq)]).unwrap();
    script.scrape("a", 5..8);
    let report = script.report(0..8);
    assert_eq!((report.partial, report.gaps, report.worst[0].partial), (1, 0, 1));
}

#[test]
fn a_followed_series_has_gaps_of_its_own() {
    let mut script = judged(JudgeOptions { follow: vec!["other".to_owned()], ..options() });
    script.scrape("a", 0..4);
    let seq = script.serve("a");
    script.send(vec![series("up", "a", T + 4 * I, 1.0), series("probe_seq", "a", T + 4 * I, seq)]).unwrap();
    script.scrape("a", 5..8);
    let report = script.report(0..8);
    assert_eq!((report.gaps, report.lost, report.never_scraped), (1, 1, 0));
}

#[test]
fn only_series_of_the_job_are_judged() {
    let mut script = judged(JudgeOptions { job: Some("other".to_owned()), ..options() });
    script.scrape("a", [0, 5]);
    let report = script.report(0..6);
    assert_eq!((report.targets, report.gaps, report.totals.foreign), (0, 0, 6));
}

#[test]
fn labels_in_another_order_are_the_same_series_and_counted_as_bad() {
    let script = script();
    let mut turned = series("up", "a", T, 1.0);
    script.send(vec![turned.clone()]).unwrap();
    turned.labels.reverse();
    script.send(vec![turned]).unwrap();
    let totals = script.judge.totals();
    assert_eq!((totals.series, totals.resends, totals.bad_labels), (1, 1, 1));
}

#[test]
fn bounds_hold_and_what_lies_beyond_is_counted() {
    let bounded = JudgeOptions { max_series: 4, max_targets: 2, max_samples: 3, ..options() };
    let mut script = judged(bounded);
    script.scrape("a", 0..6);
    script.scrape("b", 0..6);
    script.scrape("c", 0..6);
    let report = script.report(0..6);
    assert_eq!((report.targets, report.totals.series), (2, 4));
    assert_eq!((report.totals.unjudged_series_samples, report.totals.foreign), (12, 18));
}

#[test]
fn a_report_is_json_with_its_sums() {
    let mut script = script();
    script.scrape("a", [0, 2]);
    let json = script.report(0..3).to_json();
    assert_eq!((json["gaps"].as_u64(), json["worst"][0]["target"].as_str()), (Some(1), Some("a")));
    assert_eq!(json["totals"]["samples"].as_u64(), Some(6));
}

#[test]
fn series_that_end_because_their_target_did_not_answer_end_rightly() {
    let mut script = script();
    script.scrape("a", 0..3);
    let stale = f64::from_bits(model::stale::STALE_NAN_BITS);
    let fails = |ts| vec![series("up", "a", ts, 0.0), series("probe_seq", "a", ts, stale), series("other", "a", ts, stale)];
    script.send(fails(T + 3 * I)).unwrap();
    script.scrape("a", 4..6);
    let report = script.report(0..6);
    assert_eq!((report.gaps, report.unanswered, report.totals.false_stale), (0, 1, 0));
}

#[test]
fn samples_are_counted_against_what_a_scrape_brings_usually() {
    let mut script = script();
    script.scrape("a", (0..8).filter(|s| *s != 4));
    let scores = script.judge.scores(Window { from_ms: T - I / 2, to_ms: T + 8 * I - I / 2 }, |_| None);
    assert_eq!((scores[0].expected_samples, scores[0].samples, scores[0].gaps), (24, 21, 1));
    assert_eq!(script.judge.first_after("a", T + 3 * I), Some(T + 5 * I));
    assert_eq!(script.judge.first_after("nobody", T), None);
}
