//! Requests are decoded by `snap` and `prost` and compared with what a plain reading of the rules gives.

use model::{LabelsBuilder, Layout, LayoutBuilder, stale};
use proptest::prelude::*;
use prost::Message as _;
use proto::prometheus::WriteRequest;

use super::*;

mod details;
mod v2;

/// A sample as it is compared: labels, timestamp, bits of the value.
type Seen = (Vec<(String, String)>, i64, u64);

fn decode(body: &[u8]) -> Vec<Seen> {
    samples_of(read(Message::V1, body))
}

fn samples_of(request: WriteRequest) -> Vec<Seen> {
    let series = request.timeseries.into_iter().map(|series| {
        assert_eq!(series.samples.len(), 1);
        let labels = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
        (labels, series.samples[0].timestamp, series.samples[0].value.to_bits())
    });
    series.collect()
}

/// The request in a body; one of version 2 as the request of version 1 that says the same.
fn read(message: Message, body: &[u8]) -> WriteRequest {
    let plain = snap::raw::Decoder::new().decompress_vec(body).expect("a snappy block");
    match message {
        Message::V1 => WriteRequest::decode(&plain[..]).expect("a write request"),
        Message::V2 => v2::read(&plain),
    }
}

/// An encoder of version 1 that changes no labels.
fn plain(max_samples: usize) -> Encoder {
    Encoder::new(Labels::empty(), None, Content::default(), Message::V1, max_samples)
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![Just(Message::V1), Just(Message::V2)]
}

/// What should arrive of a batch.
fn expected(batch: &Batch, external: &Labels, relabel: Option<&Relabel>, oldest: i64) -> Vec<Seen> {
    let mut all = Vec::new();
    for (series, timestamp, value) in batch.iter() {
        let mut labels: LabelsBuilder = external.to_builder();
        for (name, value) in series.iter() {
            labels.set(name, value);
        }
        let keep = relabel.is_none_or(|relabel| relabel(&mut labels));
        if keep && !labels.is_empty() && timestamp >= oldest {
            let labels = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            all.push((labels, timestamp, value.to_bits()));
        }
    }
    all
}

/// Encodes `batches` one after another into as many requests as it takes.
fn encode(encoder: &Encoder, batches: &[Batch], oldest: i64) -> Vec<Request> {
    let mut scratch = Scratch::default();
    let mut requests = vec![encoder.request(0, &mut scratch)];
    for batch in batches {
        let mut row = 0;
        while row < batch.len() {
            let request = requests.last_mut().unwrap();
            row = encoder.add(request, batch, row, oldest, &mut scratch);
            if row < batch.len() {
                requests.push(encoder.request(0, &mut scratch));
            }
        }
    }
    requests
}

fn finish(requests: Vec<Request>) -> Vec<bytes::Bytes> {
    requests.into_iter().map(|request| request.finish(&mut Scratch::default())).collect()
}

fn layout(series: &[Vec<(String, String)>]) -> Arc<Layout> {
    let mut builder = LayoutBuilder::default();
    for labels in series {
        builder.push(labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))).unwrap();
    }
    Arc::new(builder.finish())
}

/// Series as node_exporter gives them: few names, values that count up.
fn node_like(count: usize) -> Arc<Layout> {
    let names = ["node_cpu_seconds_total", "node_disk_read_bytes_total", "node_network_receive_packets_total"];
    let series: Vec<Vec<(String, String)>> = (0..count)
        .map(|i| {
            let pairs = [("__name__", names[i / 40 % 3].into()), ("cpu", (i / 8).to_string()), ("instance", "10.0.0.1:9100".into())];
            pairs.into_iter().chain([("mode", format!("m{}", i % 8))]).map(|(name, value): (&str, String)| (name.into(), value)).collect()
        })
        .collect();
    layout(&series)
}

fn values(layout: &Layout, seed: f64) -> Vec<f64> {
    (0..layout.len()).map(|i| i as f64 * seed).collect()
}

const NOW: i64 = 1_763_637_480_123;

#[test]
fn a_scrape_that_comes_again_goes_out_the_same_by_template_as_without() {
    let layout = node_like(1000);
    let encoder = plain(2000);
    for scrape in 0..4 {
        let mut values = values(&layout, 1.5 + scrape as f64);
        values[7] = stale::STALE_NAN;
        values[8] = f64::from_bits(stale::NORMAL_NAN_BITS);
        let batch = Batch::new(1, layout.clone(), NOW + scrape * 15_000, values);
        let requests = encode(&encoder, std::slice::from_ref(&batch), i64::MIN);
        assert_eq!(requests.len(), 1);
        assert_eq!((requests[0].counted.sent.samples, requests[0].counted.latest), (1000, batch.timestamp));
        assert_eq!(
            decode(&requests.into_iter().next().unwrap().finish(&mut Scratch::default())),
            expected(&batch, &Labels::empty(), None, i64::MIN)
        );
        assert_eq!(encoder.template_usage().built, if scrape == 0 { 0 } else { 2 }, "made for both chunks at the second sight");
    }
}

#[test]
fn a_template_serves_every_timestamp_and_others_are_encoded_without() {
    let layout = node_like(20);
    let encoder = plain(2000);
    let timestamps = [NOW, NOW + 1, 1 << 35, (1 << 42) - 1, 0, -1, i64::MIN, i64::MAX, (1 << 35) - 1, 1 << 42, 5, NOW + 2];
    for timestamp in timestamps {
        let batch = Batch::new(1, layout.clone(), timestamp, values(&layout, 0.1));
        let request = encode(&encoder, std::slice::from_ref(&batch), i64::MIN).pop().unwrap();
        assert_eq!(decode(&request.finish(&mut Scratch::default())), expected(&batch, &Labels::empty(), None, i64::MIN), "{timestamp}");
    }
}

#[test]
fn requests_are_cut_between_fragments_and_nothing_is_lost_or_sent_twice() {
    let layout = node_like(600);
    for max_samples in [1, 7, 100, 511, 512, 513, 1024] {
        let encoder = plain(max_samples);
        for _ in 0..3 {
            let batches =
                [Batch::new(1, layout.clone(), NOW, values(&layout, 3.0)), Batch::new(1, layout.clone(), NOW + 1, values(&layout, 4.0))];
            let requests = encode(&encoder, &batches, i64::MIN);
            assert!(requests.iter().all(|request| request.counted.sent.samples <= max_samples));
            let arrived: Vec<Seen> = requests.into_iter().flat_map(|request| decode(&request.finish(&mut Scratch::default()))).collect();
            let all: Vec<Seen> = batches.iter().flat_map(|batch| expected(batch, &Labels::empty(), None, i64::MIN)).collect();
            assert_eq!(arrived, all, "at most {max_samples}");
        }
    }
}

#[test]
fn dropped_series_and_old_samples_are_counted_apart() {
    let layout = node_like(600);
    let keep_some: Relabel = Arc::new(|labels| labels.get("mode") == Some("m1"));
    let encoder = Encoder::new(Labels::empty(), Some(keep_some), Content::default(), Message::V1, 2000);
    for _ in 0..3 {
        let batch = Batch::new(1, layout.clone(), NOW, values(&layout, 1.0));
        let request = encode(&encoder, &[batch], NOW).pop().unwrap();
        assert_eq!((request.counted.sent.samples, request.counted.dropped.samples, request.counted.too_old.samples), (75, 525, 0));
        let batch = Batch::new(1, layout.clone(), NOW, values(&layout, 1.0));
        let request = encode(&encoder, &[batch], NOW + 1).pop().unwrap();
        assert_eq!((request.counted.sent.samples, request.counted.dropped.samples, request.counted.too_old.samples), (0, 525, 75));
        assert!(decode(&request.finish(&mut Scratch::default())).is_empty());
    }
}

/// Sends `columns` one after the other, checks what arrives, and says what the templates come to after each.
fn send(encoder: &Encoder, layout: &Arc<Layout>, columns: impl IntoIterator<Item = Vec<f64>>) -> Vec<TemplateUsage> {
    let send = |(scrape, values): (i64, Vec<f64>)| {
        let batch = Batch::new(1, layout.clone(), NOW + scrape * 15_000, values);
        let request = encode(encoder, std::slice::from_ref(&batch), i64::MIN).pop().unwrap();
        assert_eq!(decode(&request.finish(&mut Scratch::default())), expected(&batch, &Labels::empty(), None, i64::MIN), "scrape {scrape}");
        encoder.template_usage()
    };
    (0_i64..).zip(columns).map(send).collect()
}

/// Values of which every other one is constant.
fn half_constant(layout: &Layout, scrape: usize) -> Vec<f64> {
    (0..layout.len()).map(|row| if row % 2 == 0 { (row % 7) as f64 } else { (row * 5000 + scrape * 37) as f64 + 500.37 }).collect()
}

fn bytes_of(encoder: &Encoder, layout: &Arc<Layout>, values: Vec<f64>) -> usize {
    encode(encoder, &[Batch::new(1, layout.clone(), NOW, values)], i64::MIN).pop().unwrap().finish(&mut Scratch::default()).len()
}

#[test]
fn values_that_stay_the_same_take_no_room() {
    let layout = node_like(500);
    let (constant, changing) = (plain(2000), plain(2000));
    for scrape in 0..3 {
        bytes_of(&constant, &layout, half_constant(&layout, scrape));
        bytes_of(&changing, &layout, values(&layout, 1.1 + scrape as f64));
    }
    let (few, many) = (bytes_of(&constant, &layout, half_constant(&layout, 3)), bytes_of(&changing, &layout, values(&layout, 4.1)));
    assert!(few + 3 * 500 < many, "{few} and {many} bytes");
}

#[test]
fn a_value_that_was_constant_may_change_and_change_back() {
    let (layout, encoder) = (node_like(300), plain(2000));
    let change = |row: usize, to: f64| {
        move |mut values: Vec<f64>| {
            values[row] = to;
            values
        }
    };
    let columns = (0..40).map(|scrape| {
        let values = half_constant(&layout, scrape);
        match scrape {
            10 | 30 => change(120, 77.5)(values),
            11 => change(0, -1.0)(values),
            20 => change(298, f64::from_bits(stale::NORMAL_NAN_BITS))(values),
            21 => change(299, -1e300)(values), // not constant, but its sign was
            _ => values,
        }
    });
    let usage = send(&encoder, &layout, columns);
    let widened_at: Vec<usize> = (1..40).filter(|&at| usage[at].widened > usage[at - 1].widened).collect();
    assert_eq!(widened_at, [10, 11, 20, 21], "once for each of them; row 120 has its place at 30");
    assert!(usage.iter().all(|usage| usage.built <= 1));
}

#[test]
fn a_target_that_restarts_gets_a_new_template_and_one_that_is_away_keeps_it() {
    let (layout, encoder) = (node_like(300), plain(2000));
    let columns = (0..80).map(|scrape| match scrape {
        20 => vec![stale::STALE_NAN; layout.len()],
        25.. => half_constant(&layout, scrape - 25).iter().map(|value| value + 1000.0).collect(),
        _ => half_constant(&layout, scrape),
    });
    let usage = send(&encoder, &layout, columns);
    let built: Vec<u64> = usage.iter().map(|usage| usage.built).collect();
    assert_eq!(built[1..26], [1; 25], "made once, kept while the target is away, and given up when all values change");
    assert_eq!(built[26..], [2; 54]);
    assert_eq!(usage[79].widened, 0);
}

#[test]
fn what_stopped_changing_becomes_constant_again_after_many_sends() {
    let (layout, encoder) = (node_like(300), plain(2000));
    let usage = send(&encoder, &layout, (0..80).map(|scrape| half_constant(&layout, scrape.min(20))));
    assert_eq!((usage[30].built, usage[79].built), (1, 2));
    let now = bytes_of(&encoder, &layout, half_constant(&layout, 20));
    let other = plain(2000);
    send(&other, &layout, (0..5).map(|scrape| half_constant(&layout, scrape)));
    let before = bytes_of(&other, &layout, half_constant(&layout, 20));
    assert!(now + 4 * 150 <= before, "{now} and {before} bytes");
}

#[test]
fn a_chunk_that_is_too_large_for_a_request_is_spread_over_several() {
    let long = |i: usize| char::from(b'a' + i as u8).to_string().repeat(1 << 10);
    let series: Vec<Vec<(String, String)>> =
        (0..20).map(|i| vec![("__name__".to_owned(), format!("m{i}")), ("long".to_owned(), long(i))]).collect();
    let layout = layout(&series);
    let encoder = Encoder { max_plain: 16 << 10, ..plain(2000) };
    for scrape in 0..3 {
        let batch = Batch::new(1, layout.clone(), NOW + scrape, values(&layout, 1.0));
        let requests = encode(&encoder, std::slice::from_ref(&batch), i64::MIN);
        if scrape == 0 {
            assert_eq!(requests.len(), 2);
            assert!(requests.iter().all(|request| request.plain_len() < (16 << 10) + (2 << 10)));
        }
        let arrived: Vec<Seen> = finish(requests).iter().flat_map(|body| decode(body)).collect();
        assert_eq!(arrived, expected(&batch, &Labels::empty(), None, i64::MIN));
    }
}

#[test]
fn series_too_long_for_a_template_still_go_out() {
    let long = "x".repeat(200_000);
    let series: Vec<Vec<(String, String)>> = (0..3)
        .map(|i| {
            vec![("__name__".to_owned(), format!("m{i}")), ("long".to_owned(), long.chars().map(|_| ('a'..='z').nth(i).unwrap()).collect())]
        })
        .collect();
    let random: String =
        (0..90_000_u64).map(|i| char::from(33 + (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 13) as u8 % 90)).collect();
    let layout = layout(&[series, vec![vec![("__name__".to_owned(), random)]]].concat());
    let encoder = plain(2000);
    for _ in 0..3 {
        let batch = Batch::new(1, layout.clone(), NOW, values(&layout, 1.0));
        let request = encode(&encoder, std::slice::from_ref(&batch), i64::MIN).pop().unwrap();
        assert_eq!(decode(&request.finish(&mut Scratch::default())), expected(&batch, &Labels::empty(), None, i64::MIN));
    }
}

#[test]
fn a_node_exporter_sized_template_costs_little_memory() {
    let layout = node_like(1000);
    let encoder = plain(2000);
    for _ in 0..2 {
        encode(&encoder, &[Batch::new(1, layout.clone(), NOW, values(&layout, 1.0))], i64::MIN);
    }
    let per_series = encoder.template_usage().bytes / layout.len();
    assert!(per_series <= 35, "{per_series} bytes a series");
}

#[test]
fn templates_go_when_their_layout_goes() {
    let encoder = plain(2000);
    {
        let layout = node_like(600);
        for _ in 0..2 {
            encode(&encoder, &[Batch::new(1, layout.clone(), NOW, values(&layout, 1.0))], i64::MIN);
        }
    }
    assert!(encoder.template_usage().bytes > 0);
    encoder.sweep();
    assert_eq!(encoder.template_usage().bytes, 0);
}

fn any_label() -> impl Strategy<Value = (String, String)> {
    ("[a-e]{1,2}", prop_oneof!["[x-z]{1,3}", "[a-z/]{20,90}", "\\PC{1,200}"])
}

/// Series with sorted, unique, non-empty labels.
fn any_series() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(any_label(), 1..8).prop_map(|pairs| {
        let labels: Labels = pairs.into_iter().collect();
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    })
}

fn any_timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![6 => NOW - 100_000..NOW, 1 => any::<i64>(), 1 => -300_i64..300]
}

/// Drops, renames, adds and removes, depending on what is there.
fn edit(labels: &mut LabelsBuilder) -> bool {
    if let Some(value) = labels.get("a").map(str::to_owned) {
        labels.set("renamed", &value).remove("a");
    }
    if labels.get("bb").is_some() {
        labels.clear();
    }
    labels.get("c").is_none_or(|value| value.len() % 2 == 0)
}

/// What a series' value becomes from one scrape to the next.
fn next_value(before: f64, habit: u8) -> f64 {
    match habit % 16 {
        0 => before + 1.0,
        1 => before * 1.7 - 3.0,
        2 => stale::STALE_NAN,
        3 => 0.0,
        4 => f64::NAN,
        5 => 1e300,
        _ => before,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn values_arrive_whatever_they_do(
        rows in 1_usize..40,
        first in prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), any::<f64>()], 40),
        scrapes in prop::collection::vec((prop::bool::weighted(0.2), prop::collection::vec(any::<u8>(), 40)), 1..60),
        max_samples in 1_usize..60,
        message in any_message(),
    ) {
        let (layout, encoder) = (node_like(rows), Encoder::new(Labels::empty(), None, Content::default(), message, max_samples));
        let mut values = first[..rows].to_vec();
        for (scrape, (own, habits)) in scrapes.into_iter().enumerate() {
            let mut batch = Batch::new(1, layout.clone(), NOW + scrape as i64 * 15_000, values.clone());
            batch.timestamps = own.then(|| (0..rows as i64).map(|row| NOW - row).collect());
            let requests = encode(&encoder, std::slice::from_ref(&batch), i64::MIN);
            let arrived: Vec<Seen> = finish(requests).iter().flat_map(|body| samples_of(read(message, body))).collect();
            prop_assert_eq!(arrived, expected(&batch, &Labels::empty(), None, i64::MIN));
            values.iter_mut().zip(habits).for_each(|(value, habit)| *value = next_value(*value, habit));
        }
    }

    #[test]
    fn whatever_is_sent_arrives_as_it_should(
        series in prop::collection::vec(any_series(), 0..40),
        external in prop::collection::vec(any_label(), 0..3),
        relabelled: bool,
        scrapes in prop::collection::vec((any_timestamp(), any::<f64>(), prop::option::weighted(0.4, prop::collection::vec(any_timestamp(), 40))), 1..5),
        max_samples in 1_usize..60,
        oldest in prop_oneof![Just(i64::MIN), Just(NOW - 50_000)],
        message in any_message(),
    ) {
        let layout = layout(&series);
        let external: Labels = external.into_iter().collect();
        let relabel: Option<Relabel> = relabelled.then(|| Arc::new(edit) as Relabel);
        let encoder = Encoder::new(external.clone(), relabel.clone(), Content::default(), message, max_samples);
        for (timestamp, seed, timestamps) in scrapes {
            let mut batch = Batch::new(1, layout.clone(), timestamp, values(&layout, seed));
            batch.timestamps = timestamps.map(|all| all[..layout.len()].into());
            let requests = encode(&encoder, std::slice::from_ref(&batch), oldest);
            let wanted = expected(&batch, &external, relabel.as_ref(), oldest);
            prop_assert_eq!(requests.iter().map(|request| request.counted.sent.samples).sum::<usize>(), wanted.len());
            let arrived: Vec<Seen> = finish(requests).iter().flat_map(|body| samples_of(read(message, body))).collect();
            prop_assert_eq!(arrived, wanted);
        }
    }
}
