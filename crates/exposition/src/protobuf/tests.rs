//! Bodies as exporters write them, and bodies that are wrong, with the verdicts of Prometheus 3.

mod native;
mod wrong;

use prost::Message as _;
use proto::client::{
    Bucket, BucketSpan, Counter, Exemplar, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType as Kind, Quantile, Summary,
    Timestamp, Untyped,
};

use super::*;
use crate::recorder::{Recorder, Refused};

const CLASSIC: HistogramForms = HistogramForms { native: false, keep_classic: false, convert_classic: false };
const NATIVE: HistogramForms = HistogramForms { native: true, ..CLASSIC };
const BOTH: HistogramForms = HistogramForms { keep_classic: true, ..NATIVE };
const CONVERTED: HistogramForms = HistogramForms { convert_classic: true, ..NATIVE };

fn family(name: &str, kind: Kind, metric: Vec<Metric>) -> MetricFamily {
    MetricFamily { name: name.into(), help: String::new(), r#type: kind.into(), metric, unit: String::new() }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    pairs.iter().map(|(name, value)| LabelPair { name: (*name).into(), value: (*value).into() }).collect()
}

fn gauge(pairs: &[(&str, &str)], value: f64) -> Metric {
    Metric { label: labels(pairs), gauge: Some(Gauge { value }), ..Default::default() }
}

fn histogram(histogram: Histogram) -> Metric {
    Metric { histogram: Some(histogram), ..Default::default() }
}

fn bucket(upper_bound: f64, cumulative_count: u64) -> Bucket {
    Bucket { upper_bound, cumulative_count, ..Default::default() }
}

fn exemplar(value: f64, seconds: Option<i64>) -> Exemplar {
    let timestamp = seconds.map(|seconds| Timestamp { seconds, nanos: 1_999_999 });
    Exemplar { label: labels(&[("trace", "t")]), value, timestamp }
}

fn body(families: &[MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(MetricFamily::encode_length_delimited_to_vec).collect()
}

fn parse(parser: &mut ProtobufParser, body: &[u8], step: usize, recorder: &mut Recorder) -> Result<(), Error<Refused>> {
    parser.reset();
    body.chunks(step.max(1)).try_for_each(|bytes| parser.feed(bytes, recorder))?;
    parser.finish(recorder)
}

fn told(forms: HistogramForms, families: &[MetricFamily]) -> Vec<String> {
    let (mut parser, mut recorder, body) = (ProtobufParser::default(), Recorder::default(), body(families));
    parser.set_histograms(forms);
    parse(&mut parser, &body, body.len(), &mut recorder).unwrap();
    recorder.lines
}

/// Without metadata.
fn samples(forms: HistogramForms, family: MetricFamily) -> Vec<String> {
    told(forms, &[family]).into_iter().filter(|line| !line.starts_with('#')).collect()
}

fn reason(forms: HistogramForms, body: &[u8]) -> ProtobufReason {
    let mut parser = ProtobufParser::default();
    parser.set_histograms(forms);
    match parse(&mut parser, body, body.len(), &mut Recorder::default()) {
        Err(Error::Protobuf(error)) => error.reason,
        other => panic!("{other:?}"),
    }
}

/// A family message around raw metric bytes.
fn raw(kind: Kind, metric: &[u8]) -> Vec<u8> {
    let mut message = family("m", kind, vec![]).encode_to_vec();
    message.extend([0x22, metric.len() as u8]);
    message.extend(metric);
    [&[message.len() as u8][..], &message].concat()
}

fn native() -> Histogram {
    Histogram {
        sample_count: 9,
        sample_sum: 1.5,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 2,
        positive_span: vec![BucketSpan { offset: -1, length: 2 }, BucketSpan { offset: 3, length: 2 }],
        positive_delta: vec![1, 1, -2, 3],
        negative_span: vec![BucketSpan { offset: 0, length: 1 }],
        negative_delta: vec![1],
        ..Default::default()
    }
}

#[test]
fn plain_metrics_are_one_series_each() {
    let untyped = Metric { untyped: Some(Untyped { value: 1.5 }), timestamp_ms: 1234, ..Default::default() };
    let families = [
        family("up", Kind::Gauge, vec![gauge(&[], 1.0), gauge(&[("b", "2"), ("a", "x\"\n")], f64::INFINITY)]),
        family("my.metric", Kind::Untyped, vec![untyped]),
    ];
    let expected = [
        "# HELP up ",
        "# TYPE up Gauge",
        "up 1",
        "up{a=x\"\n,b=2} inf",
        "# HELP my.metric ",
        "# TYPE my.metric Unknown",
        "my.metric 1.5 @1234",
    ];
    assert_eq!(told(CLASSIC, &families), expected);
}

#[test]
fn counters_have_exemplars_and_start_times() {
    let counter = |exemplar, start_timestamp| Counter { value: 3.0, exemplar, start_timestamp };
    let of = |counter| samples(CLASSIC, family("c_total", Kind::Counter, vec![Metric { counter: Some(counter), ..Default::default() }]));
    let start = Some(Timestamp { seconds: 10, nanos: 2_500_000 });
    let got = of(counter(Some(exemplar(0.5, Some(7))), start));
    assert_eq!(got, ["c_total 3", "c_total created 10002", "c_total exemplar {trace=\"t\"} 0.5 @7001"]);
    assert_eq!(of(counter(Some(exemplar(0.5, None)), None)), ["c_total 3", "c_total exemplar {trace=\"t\"} 0.5"]);
    assert_eq!(of(counter(None, Some(Timestamp::default()))), ["c_total 3"], "0 is no time");
}

#[test]
fn summaries_have_count_sum_and_quantiles() {
    let quantile = vec![Quantile { quantile: 0.5, value: 4.0 }, Quantile { quantile: 1.0, value: f64::NAN }];
    let summary = Summary { sample_count: 7, sample_sum: 2.5, quantile, start_timestamp: None };
    let metric = |summary| Metric { label: labels(&[("a", "b")]), summary: Some(summary), ..Default::default() };
    let got = samples(CLASSIC, family("s", Kind::Summary, vec![metric(summary)]));
    assert_eq!(got, ["s_count{a=b} 7", "s_sum{a=b} 2.5", "s{a=b,quantile=0.5} 4", "s{a=b,quantile=1.0} NaN"]);
    assert_eq!(samples(CLASSIC, family("s", Kind::Summary, vec![metric(Summary::default())])), ["s_count{a=b} 0", "s_sum{a=b} 0"]);
}

#[test]
fn classic_histograms_have_count_sum_and_buckets() {
    let mut with_example = bucket(1.0, 2);
    with_example.exemplar = Some(exemplar(0.9, None));
    let start = Some(Timestamp { seconds: 1, nanos: 0 });
    let h = Histogram {
        sample_count: 3,
        sample_sum: 4.5,
        bucket: vec![with_example, bucket(1e6, 3)],
        start_timestamp: start,
        ..Default::default()
    };
    let expected = [
        "h_count 3",
        "h_count created 1000",
        "h_sum 4.5",
        "h_sum created 1000",
        "h_bucket{le=1.0} 2",
        "h_bucket{le=1.0} created 1000",
        "h_bucket{le=1.0} exemplar {trace=\"t\"} 0.9",
        "h_bucket{le=1e+06} 3",
        "h_bucket{le=1e+06} created 1000",
        "h_bucket{le=+Inf} 3",
        "h_bucket{le=+Inf} created 1000",
    ];
    for forms in [CLASSIC, NATIVE, BOTH] {
        assert_eq!(samples(forms, family("h", Kind::Histogram, vec![histogram(h.clone())])), expected, "{forms:?}");
    }
}

#[test]
fn the_infinite_bucket_is_the_last() {
    let h = Histogram { sample_count: 9, bucket: vec![bucket(f64::INFINITY, 8), bucket(1.0, 1)], ..Default::default() };
    let got = samples(CLASSIC, family("h", Kind::Histogram, vec![histogram(h)]));
    assert_eq!(got, ["h_count 9", "h_sum 0", "h_bucket{le=+Inf} 8"]);
}

#[test]
fn more_buckets_than_usual_are_told_all_the_same() {
    let many = |exemplar| {
        let mut buckets: Vec<Bucket> = (0..1100).map(|at| bucket(f64::from(at), u64::from(at as u32))).collect();
        buckets[0].exemplar = exemplar;
        histogram(Histogram { bucket: buckets, sample_count: 1099, ..Default::default() })
    };
    let few = histogram(Histogram { bucket: vec![bucket(1.0, 7)], ..Default::default() });
    for (first, lines) in [(None, 1103), (Some(exemplar(1.0, None)), 1104)] {
        let got = samples(CLASSIC, family("h", Kind::Histogram, vec![many(first), few.clone()]));
        assert_eq!(got.len(), lines + 4);
        assert_eq!(got[lines - 2..lines], ["h_bucket{le=1099.0} 1099", "h_bucket{le=+Inf} 1099"]);
        assert_eq!(got[lines + 2], "h_bucket{le=1.0} 7", "and leave nothing behind");
    }
    let converted = samples(CONVERTED, family("h", Kind::Histogram, vec![many(None)]));
    assert!(converted[0].contains(" count 1099 ") && converted[0].ends_with(" 1098.0, 1099.0]"), "{}", converted[0]);
}

#[test]
fn the_usual_way_of_writing_is_no_condition() {
    let value = |field: u8| [&[field << 3 | 2, 9, 9][..], &1.5_f64.to_le_bytes()].concat();
    let label = [0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b'];
    let unknown = [0x78, 1];
    let cases = [
        [&label[..], &value(2)].concat(),
        [&value(2)[..], &label].concat(),
        [&label[..], &unknown, &value(2)].concat(),
        [&label[..], &value(2), &unknown].concat(),
        [&label[..], &value(5), &value(2)].concat(),
        [&label[..], &value(2), &value(5)].concat(),
        [&value(2)[..], &label, &[0x12, 0]].concat(),
    ];
    for metric in cases {
        let (mut parser, mut recorder) = (ProtobufParser::default(), Recorder::default());
        parse(&mut parser, &raw(Kind::Gauge, &metric), 1000, &mut recorder).unwrap();
        assert_eq!(recorder.samples(), ["m{a=b} 1.5"], "{metric:02x?}");
    }
    let empty = raw(Kind::Gauge, &[&label[..], &[0x12, 0]].concat());
    let mut recorder = Recorder::default();
    parse(&mut ProtobufParser::default(), &[raw(Kind::Gauge, &value(2)), empty].concat(), 1000, &mut recorder).unwrap();
    assert_eq!(recorder.samples(), ["m 1.5", "m{a=b} 0"], "a value that is not there is 0, not the last one");
}

#[test]
fn float_counts_take_the_place_of_whole_ones_unless_zero() {
    let buckets = vec![Bucket { cumulative_count: 1, cumulative_count_float: 0.5, upper_bound: 1.0, exemplar: None }, bucket(2.0, 2)];
    let h = Histogram { sample_count: 3, sample_count_float: 2.5, bucket: buckets, ..Default::default() };
    let got = samples(CLASSIC, family("h", Kind::GaugeHistogram, vec![histogram(h)]));
    assert_eq!(got, ["h_count 2.5", "h_sum 0", "h_bucket{le=1.0} 0.5", "h_bucket{le=2.0} 2", "h_bucket{le=+Inf} 2.5"]);
}

#[test]
fn metadata_come_before_the_series() {
    let mut described = family("m_seconds", Kind::Gauge, vec![gauge(&[], 1.0)]);
    (described.help, described.unit) = ("a\\b\nc".into(), "seconds".into());
    let got = told(CLASSIC, &[described]);
    assert_eq!(got, ["# HELP m_seconds a\\\\b\\nc", "# UNIT m_seconds seconds", "# TYPE m_seconds Gauge", "m_seconds 1"]);
    assert_eq!(crate::unescape_help("a\\\\b\\nc"), "a\\b\nc");
}

#[test]
fn families_without_metrics_are_passed_over_whatever_they_say() {
    let nameless = MetricFamily { r#type: 77, ..Default::default() };
    assert_eq!(told(CLASSIC, &[nameless, family("m", Kind::Gauge, vec![])]), [""; 0]);
    assert_eq!(told(CLASSIC, &[]), [""; 0]);
}

#[test]
fn labels_are_taken_as_they_are_written() {
    let metric = Metric { histogram: Some(native()), label: labels(&[("le", "1")]), ..Default::default() };
    let got = samples(NATIVE, family("h", Kind::Histogram, vec![metric]));
    assert!(got[0].starts_with("h{le=1} "), "only the parser's own bounds are floats: {}", got[0]);
    let twice = gauge(&[("a", "1"), ("a", "2")], 1.0);
    assert_eq!(samples(CLASSIC, family("m", Kind::Gauge, vec![twice])), ["label \"a\" occurs twice{a=1,a=2} 1"], "the visitor's to judge");
}

#[test]
fn pieces_of_a_message_are_one_message() {
    let part = |h: Histogram| histogram(h).encode_to_vec();
    let metric = [
        part(Histogram { bucket: vec![bucket(1.0, 1)], sample_count: 5, ..Default::default() }),
        part(Histogram { bucket: vec![bucket(2.0, 2)], sample_sum: 3.0, ..Default::default() }),
    ]
    .concat();
    let (mut parser, mut recorder) = (ProtobufParser::default(), Recorder::default());
    parse(&mut parser, &raw(Kind::Histogram, &metric), 99, &mut recorder).unwrap();
    assert_eq!(recorder.samples(), ["m_count 5", "m_sum 3", "m_bucket{le=1.0} 1", "m_bucket{le=2.0} 2", "m_bucket{le=+Inf} 5"]);
}

#[test]
fn nan_never_looks_like_a_staleness_marker() {
    struct Bits(Vec<u64>);
    impl Visitor for Bits {
        type Error = Refused;
        fn learn(&mut self, _: crate::Series<'_>) -> Result<u32, Refused> {
            Ok(0)
        }
        fn sample(&mut self, _: u32, value: f64, _: Option<i64>) -> Result<(), Refused> {
            self.0.push(value.to_bits());
            Ok(())
        }
        fn histogram(&mut self, _: u32, histogram: model::Histogram, _: Option<i64>) -> Result<(), Refused> {
            self.0.push(histogram.sum.to_bits());
            Ok(())
        }
    }
    let stale = model::stale::STALE_NAN;
    let families = [
        family("m", Kind::Gauge, vec![gauge(&[], stale)]),
        family("h", Kind::Histogram, vec![histogram(Histogram { sample_sum: stale, ..native() })]),
    ];
    let (mut parser, mut bits) = (ProtobufParser::default(), Bits(Vec::new()));
    parser.set_histograms(NATIVE);
    parser.feed(&body(&families), &mut bits).unwrap();
    assert_eq!(bits.0, [model::stale::NORMAL_NAN_BITS; 2]);
}

#[test]
fn known_series_are_recognised_without_their_labels() {
    let series = |value| {
        let h = Histogram { sample_count: value, bucket: vec![bucket(1.0, 1), bucket(2.0, value)], ..Default::default() };
        let metric = Metric { label: labels(&[("a", "b")]), ..histogram(h) };
        body(&[family("h", Kind::Histogram, vec![metric.clone(), metric]), family("m", Kind::Gauge, vec![gauge(&[("c", "d")], 1.0)])])
    };
    let (mut parser, mut recorder) = (ProtobufParser::default(), Recorder::default());
    parse(&mut parser, &series(1), 1000, &mut recorder).unwrap();
    assert_eq!(recorder.learnt, 6, "the same metric twice is the same series");
    recorder.again();
    parse(&mut parser, &series(7), 1000, &mut recorder).unwrap();
    assert_eq!(recorder.learnt, 0);
    assert_eq!(recorder.samples()[4], "h_bucket{a=b,le=+Inf} 7");
}

#[test]
fn whatever_differs_is_another_series() {
    let families = [
        family("a", Kind::Gauge, vec![gauge(&[], 1.0), gauge(&[("b", "c")], 1.0), gauge(&[("b", "")], 1.0), gauge(&[("bc", "")], 1.0)]),
        family("ab", Kind::Gauge, vec![gauge(&[], 1.0)]),
        family("a_count", Kind::Gauge, vec![gauge(&[], 1.0)]),
        family("a", Kind::Summary, vec![Metric { summary: Some(Summary::default()), ..Default::default() }]),
    ];
    let (mut parser, mut recorder) = (ProtobufParser::default(), Recorder::default());
    parse(&mut parser, &body(&families), 1000, &mut recorder).unwrap();
    assert_eq!(recorder.learnt, 8);
    assert_eq!(recorder.samples()[6..], ["a_count 0", "a_sum 0"]);
}

#[test]
fn scattered_labels_are_those_of_the_metric_too() {
    let mut metric = gauge(&[("a", "1")], 2.0).encode_to_vec();
    metric.extend(gauge(&[("b", "2")], 3.0).encode_to_vec());
    let bytes = raw(Kind::Gauge, &metric);
    let (mut parser, mut recorder) = (ProtobufParser::default(), Recorder::default());
    for learnt in [1, 0] {
        recorder.again();
        parse(&mut parser, &bytes, 1000, &mut recorder).unwrap();
        assert_eq!((recorder.samples(), recorder.learnt), (vec!["m{a=1,b=2} 3"], learnt));
    }
}
