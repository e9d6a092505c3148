//! Remote write 2.0.

use super::messages::{Exemplar, Histogram, Metadata, Request, Sample, Symbols, TimeSeries, histogram};
use super::*;
use model::MetricType;

fn sample(value: f64, timestamp: i64) -> Sample {
    Sample { value, timestamp, start_timestamp: 0 }
}

fn one(symbols: &mut Symbols, labels: &[(&str, &str)], samples: Vec<Sample>) -> TimeSeries {
    TimeSeries { labels_refs: symbols.labels(labels), samples, ..TimeSeries::default() }
}

fn taken_by(intake: &Intake, request: &Request) -> Taken {
    let (taken, refusals) = take_by(intake, request, Version::V2);
    assert_eq!(refusals.count, 0, "{}", refusals.text());
    taken.unwrap()
}

fn taken(request: &Request) -> Taken {
    taken_by(&intake(), request)
}

#[test]
fn symbols_become_labels_and_start_times_go_with_their_samples() {
    let mut symbols = Symbols::default();
    let first = one(&mut symbols, &[("job", "j"), ("__name__", "m"), ("empty", "")], vec![sample(1.0, NOW)]);
    let second = one(
        &mut symbols,
        &[("__name__", "c"), ("job", "j")],
        vec![sample(2.0, NOW), Sample { value: 3.0, timestamp: NOW + 1, start_timestamp: NOW - 9 }],
    );
    let taken = taken(&symbols.request(vec![first, second]));
    let expected = ["{__name__=\"c\", job=\"j\"} 2 0", "{__name__=\"c\", job=\"j\"} 3 1", "{__name__=\"m\", job=\"j\"} 1 0"];
    assert_eq!(sorted_lines(&taken.batches), expected);
    let starts: Vec<i64> = taken.batches.iter().filter_map(|b| b.details.as_ref()).flat_map(|d| d.created.iter().map(|c| c.1)).collect();
    assert_eq!(starts, [NOW - 9]);
}

#[test]
fn a_series_goes_the_same_way_in_both_versions() {
    let labels = [("__name__", "m"), ("instance", "10.0.0.7:9100"), ("job", "node")];
    let mut symbols = Symbols::default();
    let second = one(&mut symbols, &labels, vec![sample(1.0, NOW)]);
    let second = taken(&symbols.request(vec![second]));
    let (first, _) = take(&request(vec![series(&labels, &[(1.0, NOW)])]), Version::V1);
    assert_eq!(first.unwrap().batches[0].source, second.batches[0].source);
}

#[test]
fn references_need_not_be_packed_and_symbols_may_come_last() {
    // Series: labels_refs 1, 2 one by one; a sample without fields (0 at 0). Then symbols "", "__name__", "m".
    let bytes = [
        0x2a, 6, 0x08, 1, 0x08, 2, 0x12, 0, // timeseries
        0x22, 0, 0x22, 8, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_', 0x22, 1, b'm',
    ];
    let taken = intake().take_plain(&bytes, Version::V2, NOW, &mut Refusals::default()).unwrap();
    assert_eq!(lines(&taken.batches), [format!("{{__name__=\"m\"}} 0 {}", -NOW)]);
}

fn described(append_metadata: bool, type_and_unit_labels: bool) -> Taken {
    let mut symbols = Symbols::default();
    let (help_ref, unit_ref) = (symbols.of("How long."), symbols.of("seconds"));
    let mut all = Vec::new();
    for name in ["t_seconds_bucket", "t_seconds_count"] {
        let mut series = one(&mut symbols, &[("__name__", name), ("__type__", "mine")], vec![sample(1.0, NOW)]);
        series.metadata = Some(Metadata { r#type: 3, help_ref, unit_ref });
        all.push(series);
    }
    all.push(one(&mut symbols, &[("__name__", "plain"), ("__type__", "kept")], vec![sample(1.0, NOW)]));
    taken_by(&Intake::new(Options { append_metadata, type_and_unit_labels }), &symbols.request(all))
}

fn metadata_of(taken: &Taken) -> Vec<Option<(String, MetricType, String, String)>> {
    let series = taken.batches.iter().flat_map(|batch| batch.layout.iter());
    let mut all: Vec<_> = series
        .map(|series| {
            (
                series.metric_name().to_owned(),
                series.metadata().map(|m| (m.family.to_string(), m.kind, m.help.to_string(), m.unit.to_string())),
            )
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, metadata)| metadata).collect()
}

#[test]
fn metadata_goes_on_only_if_it_is_wanted() {
    assert_eq!(metadata_of(&described(false, false)), [None, None, None]);
    let family = Some(("t_seconds".to_owned(), MetricType::Histogram, "How long.".to_owned(), "seconds".to_owned()));
    assert_eq!(metadata_of(&described(true, false)), [None, family.clone(), family]);
}

#[test]
fn type_and_unit_replace_labels_of_their_names_where_something_is_said() {
    let taken = described(false, true);
    assert_eq!(
        sorted_lines(&taken.batches),
        [
            "{__name__=\"plain\", __type__=\"kept\"} 1 0",
            "{__name__=\"t_seconds_bucket\", __type__=\"histogram\", __unit__=\"seconds\"} 1 0",
            "{__name__=\"t_seconds_count\", __type__=\"histogram\", __unit__=\"seconds\"} 1 0",
        ]
    );
    assert_eq!(metadata_of(&taken), [None, None, None]);
}

#[test]
fn metadata_that_changes_is_not_hidden_by_what_was_known() {
    let intake = Intake::new(Options { append_metadata: true, type_and_unit_labels: false });
    let with_help = |help: &str| {
        let mut symbols = Symbols::default();
        let help_ref = symbols.of(help);
        let mut series = one(&mut symbols, &[("__name__", "m")], vec![sample(1.0, NOW)]);
        series.metadata = Some(Metadata { r#type: 2, help_ref, unit_ref: 0 });
        let taken = taken_by(&intake, &symbols.request(vec![series]));
        metadata_of(&taken)[0].clone().unwrap().2
    };
    for help in ["old", "old", "old", "new", "old"] {
        assert_eq!(with_help(help), help);
    }
}

#[test]
fn histograms_and_exemplars_are_read() {
    let mut symbols = Symbols::default();
    let labels_refs = symbols.labels(&[("trace_id", "abc")]);
    let native = Histogram {
        count: Some(histogram::Count::CountInt(1)),
        zero_count: Some(histogram::ZeroCount::ZeroCountInt(1)),
        sum: 0.0,
        timestamp: NOW,
        ..Histogram::default()
    };
    let series = TimeSeries {
        labels_refs: symbols.labels(&[("__name__", "h")]),
        histograms: vec![native],
        exemplars: vec![Exemplar { labels_refs, value: 4.0, timestamp: NOW }],
        ..TimeSeries::default()
    };
    let taken = taken(&symbols.request(vec![series]));
    assert_eq!((taken.samples, taken.histograms, taken.exemplars), (0, 1, 1));
    let details = taken.batches[0].details.clone().unwrap();
    assert!(details.histogram(0).is_some());
    assert_eq!(details.exemplars(0)[0].1.labels.get("trace_id"), Some("abc"));
}

#[test]
fn what_is_wrong_with_one_series_costs_only_that_series() {
    let mut symbols = Symbols::default();
    let good = one(&mut symbols, &[("__name__", "good")], vec![sample(1.0, NOW)]);
    let name_refs = good.labels_refs.clone();
    let bad = |change: &dyn Fn(&mut TimeSeries)| {
        let mut series = TimeSeries { labels_refs: name_refs.clone(), samples: vec![sample(2.0, NOW)], ..TimeSeries::default() };
        change(&mut series);
        series
    };
    let cases: Vec<(TimeSeries, &str)> = vec![
        (bad(&|s| s.labels_refs.push(0)), "without a value"),
        (bad(&|s| s.labels_refs = vec![1, 99]), "symbols 1 and 99"),
        (bad(&|s| s.labels_refs.clear()), "no metric name"),
        (bad(&|s| s.labels_refs.extend(name_refs.clone())), "comes twice"),
        (bad(&|s| s.metadata = Some(Metadata { r#type: 1, help_ref: 77, unit_ref: 0 })), "symbols 77"),
        (bad(&|s| s.samples.clear()), "at least one sample"),
        (bad(&|s| s.samples = vec![sample(1.0, NOW + MAX_AHEAD_MS + 1)]), "too far in the future"),
        (bad(&|s| (s.samples, s.histograms) = (vec![], vec![Histogram { schema: 99, ..Histogram::default() }])), "got 99"),
    ];
    for (series, part) in &cases {
        let request =
            Request { symbols: vec![String::new(), "__name__".into(), "good".into()], timeseries: vec![series.clone(), good.clone()] };
        let (taken, refusals) = take(&request, Version::V2);
        assert_eq!(lines(&taken.unwrap().batches), ["{__name__=\"good\"} 1 0"], "{part}");
        assert!(refusals.text().contains(part), "{part}: {}", refusals.text());
    }
    let all = cases.into_iter().map(|(series, _)| series).chain(vec![good; 20]).collect();
    let request = Request { symbols: vec![String::new(), "__name__".into(), "good".into()], timeseries: all };
    let (taken, _) = take(&request, Version::V2);
    assert_eq!(taken.unwrap().samples, 20);
}

#[test]
fn an_exemplar_alone_is_refused_unless_its_sample_is_there() {
    let mut symbols = Symbols::default();
    let labels_refs = symbols.labels(&[("trace_id", "abc")]);
    let apart = |symbols: &mut Symbols, name: &str| TimeSeries {
        labels_refs: symbols.labels(&[("__name__", name)]),
        exemplars: vec![Exemplar { labels_refs: labels_refs.clone(), value: 4.0, timestamp: NOW }],
        ..TimeSeries::default()
    };
    let all = vec![apart(&mut symbols, "a"), one(&mut symbols, &[("__name__", "a")], vec![sample(1.0, NOW)]), apart(&mut symbols, "b")];
    let (taken, refusals) = take(&symbols.request(all), Version::V2);
    assert_eq!(taken.unwrap().exemplars, 1);
    assert_eq!((refusals.count, refusals.invalid_samples), (1, 0));
    assert!(refusals.text().contains("at least one sample"));
}

#[test]
fn the_answer_names_some_refusals_and_counts_the_rest() {
    let mut symbols = Symbols::default();
    let bad = (0..1000).map(|_| one(&mut symbols, &[("a", "1")], vec![sample(1.0, NOW)])).collect();
    let (_, refusals) = take(&symbols.request(bad), Version::V2);
    let text = refusals.text();
    assert!(text.ends_with("and 990 more") && text.len() < 2000, "{text}");
    assert_eq!((refusals.count, refusals.invalid_samples), (1000, 1000));
}

#[test]
fn a_message_of_the_other_version_is_empty() {
    let message = request(vec![series(&[("__name__", "m")], &[(1.0, NOW)])]);
    let (taken, refusals) = take(&message, Version::V2);
    assert!(taken.unwrap().batches.is_empty() && refusals.count == 0, "field numbers are apart for this");
}
