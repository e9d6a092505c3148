//! Remote write 1.0.

use model::stale::{STALE_NAN, STALE_NAN_BITS};
use model::{Counts, ResetHint, Span};
use proto::prometheus::{BucketSpan, Exemplar, Histogram, MetricMetadata, histogram};

use super::*;

fn taken(timeseries: Vec<TimeSeries>) -> Taken {
    let (taken, refusals) = take(&request(timeseries), Version::V1);
    assert_eq!(refusals.count, 0, "{}", refusals.text());
    taken.unwrap()
}

#[test]
fn samples_become_batches_with_sorted_labels_and_their_own_times() {
    let taken = taken(vec![
        series(&[("job", "j"), ("__name__", "up"), ("empty", "")], &[(1.0, NOW)]),
        series(&[("__name__", "x"), ("job", "j")], &[(-0.5, NOW - 7), (f64::INFINITY, NOW)]),
    ]);
    assert_eq!(
        sorted_lines(&taken.batches),
        ["{__name__=\"up\", job=\"j\"} 1 0", "{__name__=\"x\", job=\"j\"} -0.5 -7", "{__name__=\"x\", job=\"j\"} inf 0"]
    );
    assert_eq!((taken.samples, taken.histograms, taken.exemplars), (3, 0, 0));
}

#[test]
fn a_target_is_one_batch_with_one_time() {
    let target = |name: &str| series(&[("__name__", name), ("instance", "i"), ("job", "j")], &[(1.0, NOW)]);
    let taken = taken(vec![target("a"), target("b"), target("c")]);
    assert_eq!(taken.batches.len(), 1);
    assert_eq!((taken.batches[0].timestamp, &taken.batches[0].timestamps), (NOW, &None));
}

#[test]
fn a_series_keeps_its_source_and_the_order_of_its_samples() {
    let one = |instance: &str, value: f64| series(&[("__name__", "m"), ("instance", instance)], &[(value, NOW + value as i64)]);
    let names: Vec<String> = (0..200).map(|n| format!("i{n}")).collect();
    let rounds = (0..3).flat_map(|round| names.iter().map(move |name| one(name, f64::from(round))));
    let taken = taken(rounds.collect());
    assert!(taken.batches.len() > 10, "targets spread over the ways");
    for name in &names {
        let holds = |batch: &&Batch| batch.layout.iter().any(|series| series.get("instance") == Some(name));
        let [batch] = taken.batches.iter().filter(holds).collect::<Vec<_>>()[..] else { panic!("{name} is in several batches") };
        let of_series = batch.iter().filter(|(series, ..)| series.get("instance") == Some(name)).map(|(.., value)| value);
        assert_eq!(of_series.collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
    }
}

#[test]
fn staleness_markers_keep_their_bits_and_other_nan_theirs() {
    let other = f64::from_bits(0x7ff8_0000_0000_0001);
    let taken = taken(vec![series(&[("__name__", "m")], &[(STALE_NAN, NOW), (other, NOW + 1)])]);
    let bits: Vec<u64> = taken.batches[0].values.iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [STALE_NAN_BITS, other.to_bits()]);
}

#[test]
fn series_with_impossible_labels_are_left_out_and_the_rest_is_taken() {
    let bad = [&[("a", "1")][..], &[("__name__", "m"), ("a", "1"), ("a", "2")], &[("__name__", "m"), ("", "1")]];
    let mut all: Vec<TimeSeries> = bad.iter().map(|labels| series(labels, &[(1.0, NOW), (2.0, NOW + 1)])).collect();
    all.insert(1, series(&[("__name__", "good")], &[(3.0, NOW)]));
    let (taken, refusals) = take(&request(all), Version::V1);
    assert_eq!(lines(&taken.unwrap().batches), ["{__name__=\"good\"} 3 0"]);
    assert_eq!((refusals.count, refusals.invalid_samples), (3, 6));
}

#[test]
fn labels_that_are_not_utf8_are_left_out() {
    let mut bytes = request(vec![series(&[("__name__", "m"), ("a", "ZZ")], &[(1.0, NOW)])]).encode_to_vec();
    let at = bytes.windows(2).position(|two| two == b"ZZ").unwrap();
    bytes[at] = 0xff;
    let mut refusals = Refusals::default();
    let taken = intake().take_plain(&bytes, Version::V1, NOW, &mut refusals).unwrap();
    assert!(taken.batches.is_empty());
    assert_eq!(refusals.invalid_samples, 1);
}

#[test]
fn labels_in_any_place_of_the_message_are_found() {
    // Label, sample, label: written as two fields 1 with a field 2 between them.
    let head = TimeSeries { labels: vec![label("__name__", "m")], ..TimeSeries::default() };
    let middle = series(&[], &[(5.0, NOW)]);
    let tail = TimeSeries { labels: vec![label("a", "1")], ..TimeSeries::default() };
    let message = [head.encode_to_vec(), middle.encode_to_vec(), tail.encode_to_vec()].concat();
    let mut bytes = vec![0x0a, message.len() as u8];
    bytes.extend(message);
    let taken = intake().take_plain(&bytes, Version::V1, NOW, &mut Refusals::default()).unwrap();
    assert_eq!(lines(&taken.batches), ["{__name__=\"m\", a=\"1\"} 5 0"]);
}

#[test]
fn a_label_that_is_broken_inside_refuses_the_request() {
    for broken in [&[0x0a, 9, b'a', 0x12, 1, b'b'][..], &[0x0a, 1, b'a', 0x12, 9], &[0x0a, 1, b'a', 0x13], &[0x0a, 3, b'j', b'o']] {
        let mut message = series(&[("__name__", "m")], &[]).encode_to_vec();
        message.extend([0x0a, broken.len() as u8]);
        message.extend(broken);
        message.extend([0x12, 0]);
        let mut bytes = vec![0x0a, message.len() as u8];
        bytes.extend(message);
        let taken = intake().take_plain(&bytes, Version::V1, NOW, &mut Refusals::default());
        assert!(taken.is_err(), "{broken:?}");
    }
}

#[test]
fn a_time_far_ahead_refuses_the_whole_request() {
    let ahead = series(&[("__name__", "m")], &[(1.0, NOW + MAX_AHEAD_MS + 1)]);
    let (rejected, _) = take(&request(vec![series(&[("__name__", "good")], &[(1.0, NOW)]), ahead]), Version::V1);
    assert!(rejected.unwrap_err().0.contains("too far in the future"));
    taken(vec![series(&[("__name__", "m")], &[(1.0, NOW + MAX_AHEAD_MS)])]);
}

#[test]
fn metadata_entries_and_unknown_fields_are_read_over() {
    let metadata = MetricMetadata { metric_family_name: "m".into(), help: "h".into(), ..MetricMetadata::default() };
    let message = WriteRequest { timeseries: vec![series(&[("__name__", "m")], &[(1.0, NOW)])], metadata: vec![metadata] };
    let mut bytes = message.encode_to_vec();
    bytes.extend([0xf8, 0x01, 7, 0x25, 1, 2, 3, 4]); // field 31, a varint, and field 4, four bytes
    let taken = intake().take_plain(&bytes, Version::V1, NOW, &mut Refusals::default()).unwrap();
    assert_eq!(taken.samples, 1);
}

fn native() -> Histogram {
    Histogram {
        count: Some(histogram::Count::CountInt(6)),
        sum: 18.4,
        schema: 1,
        zero_threshold: 1e-10,
        zero_count: Some(histogram::ZeroCount::ZeroCountInt(1)),
        positive_spans: vec![BucketSpan { offset: -1, length: 2 }, BucketSpan { offset: 3, length: 1 }],
        positive_deltas: vec![1, 1, -1],
        negative_spans: vec![BucketSpan { offset: 0, length: 1 }],
        negative_deltas: vec![1],
        reset_hint: histogram::ResetHint::No.into(),
        timestamp: NOW,
        ..Histogram::default()
    }
}

fn with_histogram(histogram: Histogram) -> TimeSeries {
    TimeSeries { labels: vec![label("__name__", "h")], histograms: vec![histogram], ..TimeSeries::default() }
}

#[test]
fn native_histograms_go_to_the_details_of_their_rows() {
    let taken = taken(vec![series(&[("__name__", "h")], &[(1.0, NOW - 1)]), with_histogram(native())]);
    assert_eq!((taken.samples, taken.histograms), (1, 1));
    let batch = &taken.batches[0];
    assert_eq!(*batch.values, [1.0, 18.4]);
    let details = batch.details.as_ref().unwrap();
    assert!(details.histogram(0).is_none());
    let read = details.histogram(1).unwrap();
    assert_eq!((read.schema, read.sum, read.zero_threshold, read.reset_hint), (1, 18.4, 1e-10, ResetHint::No));
    assert_eq!(*read.positive_spans, [Span { offset: -1, length: 2 }, Span { offset: 3, length: 1 }]);
    let counts = Counts::Integer { count: 6, zero_count: 1, positive: [1, 1, -1].into(), negative: [1].into() };
    assert_eq!(read.counts, counts);
}

#[test]
fn float_histograms_and_custom_buckets_are_read() {
    let custom = Histogram {
        count: Some(histogram::Count::CountFloat(2.5)),
        zero_count: Some(histogram::ZeroCount::ZeroCountFloat(0.0)),
        schema: model::CUSTOM_BUCKETS_SCHEMA,
        positive_spans: vec![BucketSpan { offset: 0, length: 2 }],
        positive_counts: vec![1.0, 1.5],
        custom_values: vec![0.5],
        timestamp: NOW,
        ..Histogram::default()
    };
    let taken = taken(vec![with_histogram(custom)]);
    let details = taken.batches[0].details.clone().unwrap();
    let read = details.histogram(0).unwrap();
    assert_eq!(*read.custom_values, [0.5]);
    assert_eq!(read.counts, Counts::Float { count: 2.5, zero_count: 0.0, positive: [1.0, 1.5].into(), negative: [].into() });
}

#[test]
fn a_stale_histogram_is_a_staleness_marker_like_others() {
    let taken = taken(vec![with_histogram(Histogram { sum: STALE_NAN, timestamp: NOW, ..Histogram::default() })]);
    assert_eq!((taken.samples, taken.histograms), (1, 0));
    assert!(model::stale::is_stale(taken.batches[0].values[0]) && taken.batches[0].details.is_none());
}

#[test]
fn finer_resolutions_are_reduced_to_eight() {
    // Resolution 9: buckets 1 and 2 make 1, 3 and 4 make 2, 7 makes 4.
    let fine = Histogram {
        schema: 9,
        count: Some(histogram::Count::CountInt(15)),
        positive_spans: vec![BucketSpan { offset: 1, length: 4 }, BucketSpan { offset: 2, length: 1 }],
        positive_deltas: vec![1, 1, 1, 1, 1],
        sum: 1.0,
        timestamp: NOW,
        ..Histogram::default()
    };
    let taken = taken(vec![with_histogram(fine)]);
    let details = taken.batches[0].details.clone().unwrap();
    let read = details.histogram(0).unwrap();
    assert_eq!(read.schema, 8);
    assert_eq!(*read.positive_spans, [Span { offset: 1, length: 2 }, Span { offset: 1, length: 1 }]);
    assert_eq!(read.counts, Counts::Integer { count: 15, zero_count: 0, positive: [3, 4, -2].into(), negative: [].into() });
}

#[test]
fn histograms_that_contradict_themselves_refuse_the_request() {
    let good = native();
    for (bad, part) in [
        (Histogram { schema: -5, ..good.clone() }, "got -5"),
        (Histogram { schema: 53, ..good.clone() }, "got 53"),
        (Histogram { count: Some(histogram::Count::CountInt(7)), ..good.clone() }, "6 observations"),
        (Histogram { count: Some(histogram::Count::CountInt(5)), sum: f64::NAN, ..good.clone() }, "6 observations"),
        (Histogram { positive_deltas: vec![1, -2, 1], ..good.clone() }, "negative"),
        (Histogram { positive_deltas: vec![1], ..good.clone() }, "need 3 buckets, have 1"),
        (
            Histogram { positive_spans: vec![BucketSpan { offset: 0, length: 2 }, BucketSpan { offset: -1, length: 1 }], ..good.clone() },
            "offset",
        ),
        (Histogram { custom_values: vec![1.0], ..good.clone() }, "custom bounds"),
        (Histogram { schema: model::CUSTOM_BUCKETS_SCHEMA, ..good.clone() }, "offset"),
        (Histogram { schema: model::CUSTOM_BUCKETS_SCHEMA, zero_threshold: 1.0, ..Histogram::default() }, "custom buckets"),
        (Histogram { positive_spans: vec![BucketSpan { offset: 0, length: u32::MAX }], ..good.clone() }, "need 4294967295 buckets"),
    ] {
        let (rejected, _) = take(&request(vec![with_histogram(bad)]), Version::V1);
        let error = rejected.unwrap_err().0;
        assert!(error.contains(part), "{part}: {error}");
    }
    taken(vec![with_histogram(Histogram { count: Some(histogram::Count::CountInt(9)), sum: f64::NAN, ..good })]);
}

#[test]
fn custom_bounds_must_increase_be_finite_and_be_enough() {
    let custom = |bounds: &[f64], length: u32| Histogram {
        schema: model::CUSTOM_BUCKETS_SCHEMA,
        positive_spans: vec![BucketSpan { offset: 0, length }],
        positive_deltas: vec![0; length as usize],
        custom_values: bounds.to_vec(),
        timestamp: NOW,
        ..Histogram::default()
    };
    for bad in [custom(&[1.0, 1.0], 1), custom(&[1.0, f64::INFINITY], 1), custom(&[f64::NAN], 1), custom(&[1.0], 3)] {
        let (rejected, _) = take(&request(vec![with_histogram(bad.clone())]), Version::V1);
        assert!(rejected.unwrap_err().0.contains("bounds must be finite"), "{bad:?}");
    }
    taken(vec![with_histogram(custom(&[f64::NEG_INFINITY, 1.0], 3))]);
}

fn exemplar(trace: &str, timestamp: i64) -> Exemplar {
    Exemplar { labels: vec![label("trace_id", trace)], value: 0.5, timestamp }
}

#[test]
fn exemplars_go_to_the_last_sample_of_their_series() {
    let mut with = series(&[("__name__", "m")], &[(1.0, NOW), (2.0, NOW + 1)]);
    with.exemplars = vec![exemplar("abc", NOW), exemplar("def", 0)];
    let taken = taken(vec![with]);
    assert_eq!((taken.exemplars, taken.dropped_exemplars), (2, 0));
    let details = taken.batches[0].details.clone().unwrap();
    let of_row: Vec<_> = details.exemplars(1).iter().map(|(_, e)| (e.labels.get("trace_id").unwrap(), e.timestamp)).collect();
    assert_eq!(of_row, [("abc", Some(NOW)), ("def", None)]);
}

#[test]
fn exemplars_that_come_apart_from_their_sample_find_it() {
    // As Prometheus sends them: a message of their own with the same labels, before or after.
    let apart =
        |name: &str| TimeSeries { labels: vec![label("__name__", name)], exemplars: vec![exemplar(name, NOW)], ..TimeSeries::default() };
    let sample = |name: &str| series(&[("__name__", name)], &[(1.0, NOW)]);
    let taken = taken(vec![apart("a"), sample("a"), sample("b"), apart("b"), apart("nowhere")]);
    assert_eq!((taken.samples, taken.exemplars, taken.dropped_exemplars), (2, 2, 1));
    for batch in &taken.batches {
        for (row, exemplar) in &batch.details.as_ref().unwrap().exemplars {
            let series = batch.layout.iter().nth(*row as usize).unwrap();
            assert_eq!(exemplar.labels.get("trace_id"), Some(series.metric_name()));
        }
    }
}

#[test]
fn exemplars_that_prometheus_drops_are_dropped_and_counted() {
    let mut with = series(&[("__name__", "m")], &[(1.0, NOW)]);
    with.exemplars = vec![exemplar(&"x".repeat(121), NOW), exemplar(&"x".repeat(120), NOW), exemplar("a", NOW + MAX_AHEAD_MS + 1)];
    let taken = taken(vec![with]);
    assert_eq!((taken.exemplars, taken.dropped_exemplars), (1, 2));
}

#[test]
fn details_of_left_out_series_are_left_out_too() {
    let mut bad = with_histogram(native());
    bad.labels.clear();
    bad.exemplars = vec![exemplar("a", NOW)];
    let (taken, refusals) = take(&request(vec![bad, with_histogram(native())]), Version::V1);
    let taken = taken.unwrap();
    assert_eq!((taken.samples, taken.histograms, taken.exemplars, taken.dropped_exemplars), (0, 1, 0, 1));
    assert_eq!(refusals.invalid_samples, 1);
}
