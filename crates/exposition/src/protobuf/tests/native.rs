//! Native histograms, and classic ones beside them or turned into them.

use super::*;

#[test]
fn native_histograms_are_told_without_empty_buckets() {
    let got = samples(NATIVE, family("h", Kind::Histogram, vec![histogram(native())]));
    assert_eq!(got, ["h schema 3 sum 1.5 count 9 zero 2 [-1:2 4:1] [1, 1, 1] [0:1] [1] threshold 0.001"]);
    let gauge = samples(NATIVE, family("h", Kind::GaugeHistogram, vec![histogram(native())]));
    assert_eq!(gauge, [format!("{} hint Gauge", got[0])]);
}

#[test]
fn native_histograms_of_floats_have_their_own_counts() {
    let h = Histogram {
        sample_count_float: 3.5,
        zero_count_float: 0.5,
        positive_span: vec![BucketSpan { offset: 1, length: 3 }],
        positive_count: vec![1.0, 0.0, 2.0],
        ..Default::default()
    };
    let got = samples(NATIVE, family("h", Kind::Histogram, vec![histogram(h)]));
    assert_eq!(got, ["h schema 0 sum 0 count 3.5 zero 0.5 [1:1 1:1] [1.0, 2.0] [] []"]);
}

#[test]
fn an_empty_span_a_threshold_or_a_zero_count_make_a_histogram_native() {
    let empty = BucketSpan::default();
    let cases = [
        (Histogram::default(), false),
        (Histogram { schema: 3, zero_count_float: 1.0, ..Default::default() }, false),
        (Histogram { positive_span: vec![empty], ..Default::default() }, true),
        (Histogram { negative_span: vec![empty], ..Default::default() }, true),
        (Histogram { zero_threshold: 1e-128, ..Default::default() }, true),
        (Histogram { zero_count: 1, ..Default::default() }, true),
    ];
    for (h, native) in cases {
        let got = samples(NATIVE, family("h", Kind::Histogram, vec![histogram(h.clone())]));
        assert_eq!(got[0].starts_with("h schema"), native, "{h:?}");
        let ignored = samples(CLASSIC, family("h", Kind::Histogram, vec![histogram(h)]));
        assert_eq!(ignored.len(), 3, "count, sum and the infinite bucket");
    }
}

#[test]
fn classic_series_beside_native_histograms_are_told_if_asked_for() {
    let h = Histogram { bucket: vec![bucket(1.0, 4)], ..native() };
    let one = |forms| samples(forms, family("h", Kind::Histogram, vec![histogram(h.clone())]));
    assert_eq!(one(NATIVE).len(), 1);
    let both = one(BOTH);
    assert_eq!(both[0], one(NATIVE)[0]);
    assert_eq!(both[1..], ["h_count 9", "h_sum 1.5", "h_bucket{le=1.0} 4", "h_bucket{le=+Inf} 9"]);
    assert_eq!(samples(BOTH, family("h", Kind::Histogram, vec![histogram(native())])).len(), 1, "without buckets there are none");
}

#[test]
fn each_histogram_of_a_family_is_judged_for_itself() {
    let classic = histogram(Histogram { sample_count: 1, ..Default::default() });
    let got = samples(NATIVE, family("h", Kind::Histogram, vec![classic.clone(), histogram(native()), classic]));
    assert!(got[3].starts_with("h schema"), "{got:?}");
    assert_eq!(got.len(), 7);
}

#[test]
fn native_histograms_have_only_exemplars_with_timestamps() {
    let timed = |own: &[Option<i64>], buckets: &[Option<i64>]| {
        let bucket = |seconds: &Option<i64>| Bucket { exemplar: Some(exemplar(2.0, *seconds)), ..bucket(1.0, 1) };
        let exemplars = own.iter().map(|seconds| exemplar(1.0, *seconds)).collect();
        histogram(Histogram { exemplars, bucket: buckets.iter().map(bucket).collect(), ..native() })
    };
    let of = |metrics: Vec<Metric>| -> Vec<String> {
        let lines = samples(NATIVE, family("h", Kind::Histogram, metrics)).into_iter();
        lines.filter(|line| line.contains("exemplar")).map(|line| line.replace("h exemplar {trace=\"t\"} ", "")).collect()
    };
    assert_eq!(of(vec![timed(&[None, Some(1), None, Some(2)], &[Some(3)])]), ["1 @1001", "1 @2001"], "their own come first");
    assert_eq!(of(vec![timed(&[], &[None, Some(3)])]), ["2 @3001"], "those of buckets stand in");
    assert_eq!(of(vec![timed(&[None], &[Some(3)])]), [""; 0]);
    assert_eq!(of(vec![timed(&[Some(1)], &[]), timed(&[Some(2)], &[])]), ["1 @1001", "1 @2001"], "each metric has its own");
}

#[test]
fn classic_histograms_are_converted_if_asked_for() {
    let mut buckets = vec![bucket(0.5, 1), bucket(1.0, 1), bucket(2.0, 4)];
    buckets[2].exemplar = Some(exemplar(1.5, Some(4)));
    let h = Histogram { sample_count: 6, sample_sum: 3.0, bucket: buckets, ..Default::default() };
    let of = |forms, kind| samples(forms, family("h", kind, vec![histogram(h.clone())]));
    let converted = "h schema -53 sum 3 count 6 zero 0 [0:4] [1, -1, 3, -1] [] [] bounds [0.5, 1.0, 2.0]";
    let exemplar = "h exemplar {trace=\"t\"} 1.5 @4001";
    assert_eq!(of(CONVERTED, Kind::Histogram), [converted, exemplar]);
    assert_eq!(of(CONVERTED, Kind::GaugeHistogram)[0], format!("{converted} hint Gauge"));
    let kept = of(HistogramForms { keep_classic: true, ..CONVERTED }, Kind::Histogram);
    assert_eq!(kept.len(), 6 + 1 + 2, "six series, an exemplar in one of them, and the histogram with its own");
    assert_eq!(kept[7..], [converted, exemplar]);
    assert_eq!(samples(CONVERTED, family("h", Kind::Histogram, vec![histogram(native())])).len(), 1, "native ones stay as they are");
    let ignored = HistogramForms { native: false, ..CONVERTED };
    assert!(samples(ignored, family("h", Kind::Histogram, vec![histogram(native())]))[0].starts_with("h schema -53"));
}

#[test]
fn a_histogram_that_cannot_be_converted_fails_the_body() {
    let h = Histogram { sample_count: 1, bucket: vec![bucket(1.0, 2), bucket(2.0, 1)], ..Default::default() };
    let bytes = body(&[family("h", Kind::Histogram, vec![histogram(h)])]);
    assert_eq!(reason(CONVERTED, &bytes), ProtobufReason::Convert(crate::ConvertError::NotCumulative { le: "2.0".into() }));
}
