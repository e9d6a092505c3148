//! What batches have beside values: histograms and exemplars, through templates and without.

use model::{CUSTOM_BUCKETS_SCHEMA, Counts, Details, Exemplar, Histogram, ResetHint, Span};
use proto::prometheus as message;

use super::*;

const ALL: Content = Content { exemplars: true, native_histograms: true };

/// Everything in a request, each series with its name: samples, sums of histograms with their timestamps, exemplar values with theirs.
#[derive(Debug, Default, PartialEq)]
struct All {
    samples: Vec<Seen>,
    histograms: Vec<(String, i64, u64)>,
    exemplars: Vec<(String, i64, u64)>,
}

fn decode_all(message: Message, requests: Vec<Request>) -> All {
    let mut all = All::default();
    for body in finish(requests) {
        for series in read(message, &body).timeseries {
            let name = name_of(&series);
            assert!(series.samples.is_empty() || series.histograms.is_empty());
            all.histograms.extend(series.histograms.iter().map(|h| (name.clone(), h.timestamp, h.sum.to_bits())));
            all.exemplars.extend(series.exemplars.iter().map(|e| (name.clone(), e.timestamp, e.value.to_bits())));
            let labels: Vec<(String, String)> = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
            all.samples.extend(series.samples.iter().map(|s| (labels.clone(), s.timestamp, s.value.to_bits())));
        }
    }
    all
}

fn name_of(series: &message::TimeSeries) -> String {
    series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect::<Vec<_>>().join(",")
}

/// What should arrive of a batch when all kinds are sent. Version 2 sends no exemplar without its sample.
fn all_of(message: Message, batch: &Batch, oldest: i64) -> All {
    let details = batch.details.as_deref().cloned().unwrap_or_default();
    let name = |row: usize| {
        let pairs = batch.layout.iter().nth(row).unwrap();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    };
    let mut all = All { samples: expected(batch, &Labels::empty(), None, oldest), ..All::default() };
    for (row, histogram) in &details.histograms {
        let (row, timestamp) = (*row as usize, batch.timestamp_of(*row as usize));
        let labels: Vec<(String, String)> =
            batch.layout.iter().nth(row).unwrap().iter().map(|(name, value)| (name.into(), value.into())).collect();
        all.samples.retain(|sample| sample.0 != labels);
        if timestamp >= oldest {
            all.histograms.push((name(row), timestamp, histogram.sum.to_bits()));
        }
    }
    for (row, exemplar) in &details.exemplars {
        let timestamp = exemplar.timestamp.unwrap_or(batch.timestamp_of(*row as usize));
        let alone = batch.timestamp_of(*row as usize) < oldest;
        if timestamp >= oldest && !(alone && message == Message::V2) {
            all.exemplars.push((name(*row as usize), timestamp, exemplar.value.to_bits()));
        }
    }
    all
}

fn histogram(sum: f64) -> Histogram {
    Histogram {
        schema: 0,
        zero_threshold: 0.0,
        sum,
        counts: Counts::Integer { count: 2, zero_count: 0, positive: Box::new([1, 0]), negative: Box::new([]) },
        positive_spans: Box::new([Span { offset: 0, length: 2 }]),
        negative_spans: Box::new([]),
        custom_values: Box::new([]),
        reset_hint: ResetHint::Unknown,
    }
}

fn exemplar(value: f64, timestamp: Option<i64>) -> Exemplar {
    Exemplar { labels: [("trace_id", format!("{value}"))].into_iter().collect(), value, timestamp }
}

fn details(histograms: &[u32], exemplars: &[u32]) -> Details {
    Details {
        histograms: histograms.iter().map(|&row| (row, histogram(f64::from(row) + 0.5))).collect(),
        exemplars: exemplars.iter().map(|&row| (row, exemplar(f64::from(row), (row % 2 == 0).then_some(NOW - 7)))).collect(),
        created: Box::new([]),
    }
}

#[test]
fn histograms_and_exemplars_arrive_beside_samples_that_are_sent_by_template() {
    let layout = node_like(600);
    let encoder = Encoder::new(Labels::empty(), None, ALL, Message::V1, 2000);
    for scrape in 0..5 {
        let values = values(&layout, 1.5 + scrape as f64);
        let details = details(&[3, 511, 512], &[0, 0, 4, 5, 599]);
        let batch = Batch::new(1, layout.clone(), NOW + scrape * 15_000, values).with_details(details);
        let requests = encode(&encoder, std::slice::from_ref(&batch), i64::MIN);
        assert_eq!(requests[0].counted.sent, Tally { samples: 597, histograms: 3, exemplars: 5 });
        assert_eq!(decode_all(Message::V1, requests), all_of(Message::V1, &batch, i64::MIN), "scrape {scrape}");
        assert_eq!(encoder.template_usage().built, if scrape == 0 { 0 } else { 2 });
    }
}

#[test]
fn a_row_with_a_histogram_is_no_sample_even_if_histograms_are_not_sent() {
    let layout = node_like(20);
    let encoder = Encoder::new(Labels::empty(), None, Content { exemplars: false, native_histograms: false }, Message::V1, 2000);
    for scrape in 0..4 {
        let batch = Batch::new(1, layout.clone(), NOW + scrape, values(&layout, 1.0)).with_details(details(&[3], &[3, 4]));
        let requests = encode(&encoder, std::slice::from_ref(&batch), i64::MIN);
        assert_eq!(requests[0].counted.sent, Tally { samples: 19, ..Tally::default() });
        assert_eq!(requests[0].counted.dropped, Tally::default());
        let arrived = decode_all(Message::V1, requests);
        assert_eq!(arrived.samples, all_of(Message::V1, &batch, i64::MIN).samples);
        assert!(arrived.histograms.is_empty() && arrived.exemplars.is_empty());
    }
}

#[test]
fn histograms_with_custom_buckets_are_counted_and_not_sent() {
    let layout = node_like(20);
    let encoder = Encoder::new(Labels::empty(), None, ALL, Message::V1, 2000);
    let mut details = details(&[3, 5], &[3]);
    details.histograms[0].1.schema = CUSTOM_BUCKETS_SCHEMA;
    let batch = Batch::new(1, layout.clone(), NOW, values(&layout, 1.0)).with_details(details);
    let request = encode(&encoder, &[batch], i64::MIN).pop().unwrap();
    assert_eq!(request.counted.sent, Tally { samples: 18, histograms: 1, exemplars: 1 });
    assert_eq!(request.counted.unsupported, 1);
}

#[test]
fn a_series_that_becomes_a_histogram_and_back_is_sent_as_what_it_is() {
    let layout = node_like(40);
    let encoder = Encoder::new(Labels::empty(), None, ALL, Message::V1, 2000);
    for scrape in 0..120 {
        let histograms: &[u32] = if (30..80).contains(&scrape) { &[7, 8] } else { &[7] };
        let batch =
            Batch::new(1, layout.clone(), NOW + scrape, values(&layout, 1.0 + scrape as f64)).with_details(details(histograms, &[]));
        let requests = encode(&encoder, std::slice::from_ref(&batch), i64::MIN);
        assert_eq!(decode_all(Message::V1, requests), all_of(Message::V1, &batch, i64::MIN), "scrape {scrape}");
    }
    assert_eq!(encoder.template_usage().built, 3, "for each of the three times");
}

#[test]
fn details_that_are_old_or_dropped_are_counted_by_kind() {
    let layout = node_like(16);
    let keep: Relabel = Arc::new(|labels| labels.get("mode") != Some("m1"));
    let encoder = Encoder::new(Labels::empty(), Some(keep), ALL, Message::V1, 2000);
    for scrape in 0..4 {
        let batch = Batch::new(1, layout.clone(), NOW + scrape, values(&layout, 1.0)).with_details(details(&[1, 2], &[2, 3, 9]));
        let request = encode(&encoder, std::slice::from_ref(&batch), NOW).pop().unwrap();
        // Rows 1 and 9 have the mode m1; the exemplar of row 2 is seven milliseconds too old.
        assert_eq!(request.counted.dropped, Tally { samples: 1, histograms: 1, exemplars: 1 });
        assert_eq!(request.counted.too_old, Tally { exemplars: 1, ..Tally::default() });
        assert_eq!(request.counted.sent, Tally { samples: 13, histograms: 1, exemplars: 1 });
        let request = encode(&encoder, &[batch], NOW + 10).pop().unwrap();
        assert_eq!(request.counted.too_old, Tally { samples: 13, histograms: 1, exemplars: 2 });
        assert_eq!(request.counted.sent, Tally::default());
    }
}

#[test]
fn details_count_against_the_size_of_requests() {
    let layout = node_like(100);
    let encoder = Encoder::new(Labels::empty(), None, ALL, Message::V1, 150);
    let rows: Vec<u32> = (0..100).collect();
    for scrape in 0..4 {
        let batch = |at| Batch::new(1, layout.clone(), NOW + at, values(&layout, 1.0)).with_details(details(&[], &rows));
        let batches = [batch(scrape), batch(scrape + 100)];
        let requests = encode(&encoder, &batches, i64::MIN);
        assert_eq!(requests.len(), 2);
        let arrived = decode_all(Message::V1, requests);
        assert_eq!((arrived.samples.len(), arrived.exemplars.len()), (200, 200));
    }
}

#[test]
fn details_too_large_for_one_request_are_spread_over_several() {
    let layout = node_like(30);
    let encoder = Encoder { max_plain: 16 << 10, ..Encoder::new(Labels::empty(), None, ALL, Message::V1, 2000) };
    let large = |row: u32| Histogram {
        counts: Counts::Float { count: 1.0, zero_count: 0.0, positive: vec![0.1; 200].into(), negative: Box::new([]) },
        ..histogram(f64::from(row))
    };
    for scrape in 0..3 {
        let details = Details { histograms: (0..20).map(|row| (row, large(row))).collect(), ..Details::default() };
        let batch = Batch::new(1, layout.clone(), NOW + scrape, values(&layout, 1.0)).with_details(details);
        let requests = encode(&encoder, std::slice::from_ref(&batch), i64::MIN);
        assert_eq!(requests.len(), 3, "32 KB of histograms");
        assert_eq!(decode_all(Message::V1, requests), all_of(Message::V1, &batch, i64::MIN));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn details_arrive_whatever_they_do(
        rows in 10_u32..40,
        scrapes in prop::collection::vec((prop::collection::btree_set(0_u32..3, 0..3), prop::collection::vec(0_u32..10, 0..5), 0_i64..3), 1..40),
        max_samples in 1_usize..60,
        oldest in prop_oneof![Just(i64::MIN), Just(NOW - 3), Just(NOW + 15_000)],
        message in any_message(),
    ) {
        let (layout, encoder) = (node_like(rows as usize), Encoder::new(Labels::empty(), None, ALL, message, max_samples));
        for (scrape, (histograms, mut exemplars, seed)) in (0..).zip(scrapes) {
            exemplars.sort_unstable();
            let histograms: Vec<u32> = histograms.into_iter().collect();
            let batch = Batch::new(1, layout.clone(), NOW + 15_000 * scrape, values(&layout, seed as f64)).with_details(details(&histograms, &exemplars));
            let requests = encode(&encoder, std::slice::from_ref(&batch), oldest);
            let sent = requests.iter().fold(Tally::default(), |mut all, request| {
                all += request.counted.sent;
                all
            });
            let arrived = decode_all(message, requests);
            prop_assert_eq!(sent, Tally { samples: arrived.samples.len(), histograms: arrived.histograms.len(), exemplars: arrived.exemplars.len() });
            prop_assert_eq!(arrived, all_of(message, &batch, oldest));
        }
    }
}
