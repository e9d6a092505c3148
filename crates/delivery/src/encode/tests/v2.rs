//! Remote write 2.0: requests keep the rules of the message, and metadata and start times arrive.

use std::collections::HashSet;

use model::{Details, Exemplar, Metadata, MetricType};
use proto::prometheus as v1;
use proto::write_v2 as message;

use super::*;

/// The request of version 1 that says the same as this one, which must keep the rules of version 2.
pub(super) fn read(plain: &[u8]) -> WriteRequest {
    let request = decode_v2(plain);
    let symbols = &request.symbols;
    let labels = |refs: &[u32]| -> Vec<v1::Label> {
        let pairs = refs.chunks(2).map(|pair| (&symbols[pair[0] as usize], &symbols[pair[1] as usize]));
        pairs.map(|(name, value)| v1::Label { name: name.clone(), value: value.clone() }).collect()
    };
    let exemplar = |exemplar: &message::Exemplar| v1::Exemplar {
        labels: labels(&exemplar.labels_refs),
        value: exemplar.value,
        timestamp: exemplar.timestamp,
    };
    let series = request.timeseries.iter().map(|series| v1::TimeSeries {
        labels: labels(&series.labels_refs),
        samples: series.samples.iter().map(|sample| v1::Sample { value: sample.value, timestamp: sample.timestamp }).collect(),
        exemplars: series.exemplars.iter().map(exemplar).collect(),
        histograms: series.histograms.iter().map(|h| v1::Histogram { sum: h.sum, timestamp: h.timestamp, ..Default::default() }).collect(),
    });
    WriteRequest { timeseries: series.collect(), metadata: Vec::new() }
}

/// Decodes and checks what the specification says of every request.
fn decode_v2(plain: &[u8]) -> message::Request {
    let request = message::Request::decode(plain).expect("a request");
    let symbols = &request.symbols;
    assert_eq!(symbols[0], "");
    assert_eq!(symbols.iter().collect::<HashSet<_>>().len(), symbols.len(), "each string once");
    assert!(keys(plain).is_sorted(), "strings before series");
    for series in &request.timeseries {
        let refs = &series.labels_refs;
        assert!(!refs.is_empty() && refs.len() % 2 == 0 && refs.iter().all(|&at| at > 0 && (at as usize) < symbols.len()));
        let names: Vec<&String> = refs.iter().step_by(2).map(|&at| &symbols[at as usize]).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        assert_eq!(series.samples.len() + series.histograms.len(), 1, "one of either");
        if let Some(metadata) = &series.metadata {
            assert!((metadata.help_ref.max(metadata.unit_ref) as usize) < symbols.len());
        }
    }
    request
}

/// The keys of a message's fields, all of which have a length.
fn keys(mut plain: &[u8]) -> Vec<u8> {
    let mut keys = Vec::new();
    while let Some((&key, mut rest)) = plain.split_first() {
        let len = prost::encoding::decode_varint(&mut rest).unwrap();
        (plain, _) = (&rest[len as usize..], keys.push(key));
    }
    keys
}

fn v2(max_samples: usize) -> Encoder {
    let content = Content { exemplars: true, native_histograms: true };
    Encoder::new(Labels::empty(), None, content, Message::V2, max_samples)
}

/// Sends a batch and gives what arrives of it, request by request.
fn send_v2(encoder: &Encoder, batch: &Batch) -> Vec<message::Request> {
    let requests = encode(encoder, std::slice::from_ref(batch), i64::MIN);
    let decode = |body: &bytes::Bytes| decode_v2(&snap::raw::Decoder::new().decompress_vec(body).unwrap());
    finish(requests).iter().map(decode).collect()
}

/// Two families of twenty series each, one of them with a unit, and twenty series of which nothing is known.
fn with_metadata() -> Arc<Layout> {
    let family =
        |name: &str, kind, help: &str, unit: &str| Metadata { family: name.into(), kind, help: help.into(), unit: unit.into() }.shared();
    let families = [
        Some(family("requests", MetricType::Counter, "Requests that came.", "")),
        Some(family("duration_seconds", MetricType::Gauge, "How long\nit took.", "seconds")),
        None,
    ];
    let mut builder = LayoutBuilder::default();
    for (at, family) in families.iter().enumerate() {
        for series in 0..20 {
            let (name, path) = (format!("m{at}"), format!("/{series}"));
            builder.push_with([("__name__", name.as_str()), ("path", &path)].into_iter(), family.as_ref()).unwrap();
        }
    }
    Arc::new(builder.finish())
}

#[test]
fn metadata_arrives_with_every_series_by_template_as_without() {
    let (layout, encoder) = (with_metadata(), v2(2000));
    for scrape in 0..4 {
        let batch = Batch::new(1, layout.clone(), NOW + scrape, values(&layout, 1.5 + scrape as f64));
        let request = send_v2(&encoder, &batch).pop().unwrap();
        let text = |at: u32| request.symbols[at as usize].as_str();
        let told: Vec<_> = request
            .timeseries
            .iter()
            .map(|series| series.metadata.map(|metadata| (metadata.r#type, text(metadata.help_ref), text(metadata.unit_ref))))
            .collect();
        assert_eq!(told[..20], [Some((message::metadata::MetricType::Counter as i32, "Requests that came.", "")); 20]);
        assert_eq!(told[20..40], [Some((message::metadata::MetricType::Gauge as i32, "How long\nit took.", "seconds")); 20]);
        assert_eq!(told[40..], [None; 20]);
        assert_eq!(encoder.template_usage().built, u64::from(scrape > 0));
    }
}

#[test]
fn start_times_arrive_and_a_restart_changes_them() {
    let (layout, encoder) = (with_metadata(), v2(2000));
    for scrape in 0..60 {
        let started = if scrape < 30 { NOW - 1000 } else { NOW - 10 };
        let details = Details { created: (0..20).map(|row| (row, if row == 7 { 0 } else { started })).collect(), ..Details::default() };
        let batch = Batch::new(1, layout.clone(), NOW + scrape, values(&layout, 1.5 + scrape as f64)).with_details(details);
        let request = send_v2(&encoder, &batch).pop().unwrap();
        let starts: Vec<i64> = request.timeseries.iter().map(|series| series.samples[0].start_timestamp).collect();
        let expected = |row| match row {
            7 => 1, // zero would mean unknown
            0..20 => started,
            _ => 0,
        };
        assert_eq!(starts, (0..60).map(expected).collect::<Vec<_>>(), "scrape {scrape}");
    }
    assert_eq!(encoder.template_usage().built, 2);
}

#[test]
fn exemplars_go_with_their_samples_and_custom_buckets_are_sent() {
    let (layout, encoder) = (with_metadata(), v2(2000));
    let custom = model::Histogram {
        schema: model::CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        sum: 3.5,
        counts: model::Counts::Integer { count: 2, zero_count: 0, positive: Box::new([1, 0]), negative: Box::new([]) },
        positive_spans: Box::new([model::Span { offset: 0, length: 2 }]),
        negative_spans: Box::new([]),
        custom_values: Box::new([0.5, 1.0]),
        reset_hint: model::ResetHint::Unknown,
    };
    for scrape in 0..4 {
        let exemplar = |value| Exemplar { labels: [("trace_id", "abc")].into_iter().collect(), value, timestamp: None };
        let exemplars: &[(u32, Exemplar)] = match scrape {
            3 => &[(5, exemplar(0.5))], // with the histogram alone: the others go by template
            _ => &[(3, exemplar(0.25)), (5, exemplar(0.5)), (5, exemplar(0.75))],
        };
        let details =
            Details { histograms: Box::new([(5, custom.clone())]), exemplars: exemplars.into(), created: Box::new([(5, NOW - 5)]) };
        let batch = Batch::new(1, layout.clone(), NOW + scrape, values(&layout, 1.5 + scrape as f64)).with_details(details);
        let request = send_v2(&encoder, &batch).pop().unwrap();
        let with_exemplars: Vec<_> = request.timeseries.iter().filter(|series| !series.exemplars.is_empty()).collect();
        assert_eq!(with_exemplars.iter().map(|series| series.exemplars.len()).sum::<usize>(), exemplars.len());
        assert!(with_exemplars.iter().flat_map(|series| &series.exemplars).all(|exemplar| exemplar.timestamp == batch.timestamp));
        let histograms: Vec<_> = request.timeseries.iter().flat_map(|series| &series.histograms).collect();
        assert_eq!((histograms.len(), histograms[0].start_timestamp), (1, NOW - 5));
        assert_eq!(histograms[0].custom_values, [0.5, 1.0]);
        assert_eq!(request.timeseries.iter().map(|series| series.samples.len()).sum::<usize>(), 59);
    }
}

#[test]
fn chunks_and_targets_share_the_strings_of_a_request() {
    let encoder = v2(5000);
    let targets: Vec<Arc<Layout>> = (0..3).map(|_| node_like(1000)).collect();
    for scrape in 0..4 {
        let batches: Vec<Batch> = targets.iter().map(|layout| Batch::new(1, layout.clone(), NOW + scrape, values(layout, 1.5))).collect();
        let mut requests = encode(&encoder, &batches, i64::MIN);
        assert_eq!(requests.len(), 1);
        let body = finish(vec![requests.remove(0)]).remove(0);
        let request = decode_v2(&snap::raw::Decoder::new().decompress_vec(&body).unwrap());
        // "", four names, one instance, three families, 125 processors, eight modes.
        assert_eq!(request.symbols.len(), 1 + 4 + 1 + 3 + 125 + 8);
        let expected: Vec<Seen> = batches.iter().flat_map(|batch| expected(batch, &Labels::empty(), None, i64::MIN)).collect();
        assert_eq!(samples_of(super::read(Message::V2, &body)), expected);
    }
}

#[test]
fn more_strings_than_templates_can_name_go_into_several_requests_or_without_template() {
    // 512 series with 40 strings of their own each: 20 480 in a chunk.
    let wide = |target: usize, labels: usize| {
        let series: Vec<Vec<(String, String)>> = (0..512)
            .map(|row| {
                let own = (0..labels).map(|label| (format!("l{label:03}"), format!("{target}-{row}-{label}")));
                [("__name__".to_owned(), "m".to_owned())].into_iter().chain(own).collect()
            })
            .collect();
        layout(&series)
    };
    let (encoder, too_wide) = (v2(5000), wide(0, 40));
    for scrape in 0..3 {
        let batch = Batch::new(1, too_wide.clone(), NOW + scrape, values(&too_wide, 1.0));
        assert_eq!(send_v2(&encoder, &batch)[0].symbols.len(), 1 + 42 + 512 * 40);
    }
    assert_eq!(encoder.template_usage().built, 0);
    // 10 240 each: two chunks don't share a request.
    let (encoder, targets) = (v2(5000), [wide(1, 20), wide(2, 20)]);
    for scrape in 0..3 {
        let batches = targets.each_ref().map(|layout| Batch::new(1, layout.clone(), NOW + scrape, values(layout, 1.0)));
        let requests = encode(&encoder, &batches, i64::MIN);
        assert_eq!(requests.len(), if scrape == 0 { 1 } else { 2 });
        let arrived: Vec<Seen> = finish(requests).iter().flat_map(|body| samples_of(super::read(Message::V2, body))).collect();
        let expected: Vec<Seen> = batches.iter().flat_map(|batch| expected(batch, &Labels::empty(), None, i64::MIN)).collect();
        assert_eq!(arrived, expected);
    }
    assert_eq!(encoder.template_usage().built, 2);
}

#[test]
fn a_template_of_version_2_costs_little_memory_and_fewer_bytes_than_version_1() {
    let layout = node_like(1000);
    let (one, two) = (plain(2000), v2(2000));
    let mut sizes = [0; 2];
    for scrape in 0..3 {
        let batch = Batch::new(1, layout.clone(), NOW, values(&layout, 1.5 + scrape as f64));
        sizes = [&one, &two].map(|encoder| finish(encode(encoder, std::slice::from_ref(&batch), i64::MIN))[0].len());
    }
    assert!(sizes[1] < sizes[0], "{sizes:?}");
    let per_series = two.template_usage().bytes / layout.len();
    assert!(per_series <= 35, "{per_series} bytes a series");
}
