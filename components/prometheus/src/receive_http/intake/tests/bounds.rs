//! Hostile bytes: refused before memory is taken for them, and never a panic.

use proptest::prelude::*;
use proto::prometheus::Histogram;

use super::messages::{Histogram as Histogram2, Sample as Sample2, Symbols, TimeSeries as TimeSeries2};
use super::*;

fn rejected(body: &[u8], version: Version) -> String {
    intake().take(body, Packing::Snappy, version, NOW, &mut Refusals::default()).unwrap_err().0
}

fn plain(request: &[u8], version: Version) -> Result<Taken, Rejected> {
    intake().take_plain(request, version, NOW, &mut Refusals::default())
}

#[test]
fn a_block_that_declares_too_much_is_refused_by_its_declaration() {
    let mut body = Vec::new();
    let mut len = MAX_REQUEST as u64 + 1;
    while len >= 0x80 {
        body.push(len as u8 | 0x80);
        len >>= 7;
    }
    body.push(len as u8);
    assert!(rejected(&body, Version::V1).contains("exceeds the 33554432 bytes limit"));
    assert!(rejected(&[0xff; 10], Version::V1).contains("no snappy block"));
    assert!(rejected(&[], Version::V1).contains("no snappy block"));
    assert!(rejected(b"garbage that is no snappy at all", Version::V2).contains("no snappy block"));
}

#[test]
fn a_bomb_of_zeros_costs_its_limit_and_no_more() {
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; MAX_REQUEST]).unwrap();
    assert!(bomb.len() < MAX_REQUEST / 16);
    let intake = intake();
    assert!(intake.take(&bomb, Packing::Snappy, Version::V1, NOW, &mut Refusals::default()).is_err());
    assert!(intake.idle.lock().iter().all(|memory| memory.unpacked.capacity() <= MAX_KEPT_BYTES), "given back");
}

#[test]
fn zstd_is_bounded_too() {
    let mut refusals = Refusals::default();
    let bomb = zstd::bulk::compress(&vec![0; MAX_REQUEST + 1], 1).unwrap();
    assert!(bomb.len() < 10_000);
    let error = intake().take(&bomb, Packing::Zstd, Version::V1, NOW, &mut refusals).unwrap_err().0;
    assert!(error.contains("exceeds the 33554432 bytes limit"), "{error}");
    let whole = zstd::bulk::compress(&request(vec![series(&[("__name__", "m")], &[(1.0, NOW)])]).encode_to_vec(), 1).unwrap();
    assert_eq!(intake().take(&whole, Packing::Zstd, Version::V1, NOW, &mut refusals).unwrap().samples, 1);
    for broken in [&whole[..whole.len() - 1], b"garbage", &[]] {
        assert!(intake().take(broken, Packing::Zstd, Version::V1, NOW, &mut refusals).is_err(), "{broken:?}");
    }
}

/// One field with this number, holding `message` as often as given, within a series or at the top.
fn repeated(tag: u8, message: &[u8], count: usize) -> Vec<u8> {
    let mut one = vec![tag, message.len() as u8];
    one.extend(message);
    one.repeat(count)
}

fn message(tag: u8, content: Vec<u8>) -> Vec<u8> {
    let mut bytes = vec![tag];
    let mut len = content.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend(content);
    bytes
}

#[test]
fn samples_of_two_bytes_are_bounded_in_number() {
    let name = TimeSeries { labels: vec![label("__name__", "m")], ..TimeSeries::default() }.encode_to_vec();
    let samples = |count| message(0x0a, [name.clone(), repeated(0x12, &[], count)].concat());
    assert_eq!(plain(&samples(10_000), Version::V1).unwrap().samples, 10_000);
    assert!(plain(&samples(parsed::MAX_ROWS + 1), Version::V1).unwrap_err().0.contains("1048576 samples"));
}

#[test]
fn many_samples_times_many_labels_are_bounded() {
    let names: Vec<String> = (0..20_000).map(|n| format!("n{n}")).collect();
    let labels: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).chain([("__name__", "m")]).collect();
    let wide = |samples: usize| request(vec![series(&labels, &vec![(1.0, NOW); samples])]);
    assert_eq!(take(&wide(2), Version::V1).0.unwrap().samples, 2);
    let error = take(&wide(512), Version::V1).0.map(|taken| taken.samples).unwrap_err().0;
    assert!(error.contains("8388608 labels"), "{error}");
}

#[test]
fn a_series_with_very_many_samples_shares_its_chunks() {
    let intake = intake();
    let long = series(&[("__name__", "m")], &vec![(1.0, NOW); 50_000]);
    assert_eq!(take_by(&intake, &request(vec![long]), Version::V1).0.unwrap().samples, 50_000);
    assert!(intake.stats().known > 40_000);
}

#[test]
fn a_series_without_a_name_is_read_once_however_many_samples_it_has() {
    // Reading it once for each chunk would take minutes.
    let one = message(0x0a, repeated(0x12, &[], 1 << 20));
    let mut refusals = Refusals::default();
    assert!(intake().take_plain(&one, Version::V1, NOW, &mut refusals).unwrap().batches.is_empty());
    assert_eq!(refusals.invalid_samples, 1 << 20);
}

#[test]
fn histograms_and_exemplars_are_bounded_in_memory() {
    let histograms = message(0x0a, repeated(0x22, &[], 600_000));
    assert!(plain(&histograms, Version::V1).unwrap_err().0.contains("64 MiB"));
    let exemplars = message(0x0a, repeated(0x1a, &[], 2 << 20));
    assert!(plain(&exemplars, Version::V1).unwrap_err().0.contains("64 MiB"));
    let deltas = message(0x0a, message(0x22, message(0x62, vec![0; 9 << 20])));
    assert!(plain(&deltas, Version::V1).unwrap_err().0.contains("64 MiB"));
}

#[test]
fn symbols_and_empty_series_are_bounded() {
    assert!(plain(&repeated(0x22, &[], (1 << 20) + 1), Version::V2).unwrap_err().0.contains("1048576 symbols"));
    let empty = repeated(0x2a, &[], 1 << 20);
    let mut refusals = Refusals::default();
    intake().take_plain(&empty, Version::V2, NOW, &mut refusals).unwrap();
    assert_eq!(refusals.count, 1 << 20);
    assert!(refusals.text().len() < 4096);
}

#[test]
fn a_series_of_too_many_labels_is_left_out() {
    let labels = repeated(0x0a, &[], 1 << 18);
    let one = message(0x0a, [labels, vec![0x12, 0]].concat());
    let mut refusals = Refusals::default();
    let taken = intake().take_plain(&one, Version::V1, NOW, &mut refusals).unwrap();
    assert!(taken.batches.is_empty());
    assert!(refusals.text().contains("more than 32767 labels"), "{}", refusals.text());
}

#[test]
fn every_cut_of_a_request_is_an_error_or_a_whole_prefix() {
    let mut with_all = series(&[("__name__", "m"), ("job", "j")], &[(1.0, NOW)]);
    with_all.histograms = vec![Histogram { timestamp: NOW, ..Histogram::default() }];
    with_all.exemplars = vec![proto::prometheus::Exemplar { labels: vec![label("t", "1")], value: 1.0, timestamp: NOW }];
    let bytes = request(vec![with_all.clone(), with_all]).encode_to_vec();
    let half = bytes.len() / 2;
    for end in 0..bytes.len() {
        assert_eq!(plain(&bytes[..end], Version::V1).is_ok(), end == 0 || end == half, "cut at {end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), second in any::<bool>()) {
        let version = if second { Version::V2 } else { Version::V1 };
        let _ = plain(&bytes, version);
        for packing in [Packing::Snappy, Packing::Zstd] {
            let _ = intake().take(&bytes, packing, version, NOW, &mut Refusals::default());
        }
    }

    #[test]
    fn flipped_bytes_are_never_a_panic(at in any::<prop::sample::Index>(), to in any::<u8>(), second in any::<bool>()) {
        let mut bytes = if second {
            let mut symbols = Symbols::default();
            let sample = Sample2 { value: 1.0, timestamp: NOW, start_timestamp: 5 };
            let native = Histogram2 { positive_deltas: vec![1, 2], ..Histogram2::default() };
            let one = TimeSeries2 { labels_refs: symbols.labels(&[("__name__", "m")]), samples: vec![sample], histograms: vec![native], ..TimeSeries2::default() };
            symbols.request(vec![one.clone(), one]).encode_to_vec()
        } else {
            request(vec![series(&[("__name__", "m"), ("instance", "i")], &[(1.0, NOW), (2.0, NOW)])]).encode_to_vec()
        };
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(taken) = plain(&bytes, if second { Version::V2 } else { Version::V1 }) {
            for batch in taken.batches {
                prop_assert_eq!(batch.layout.len(), batch.len());
            }
        }
    }

    #[test]
    fn what_is_written_is_read(values in proptest::collection::vec((0_u8..5, 0_u8..5, -1e9..1e9_f64, 0_i64..1000), 0..200)) {
        let all = values.iter().map(|(instance, name, value, time)| {
            let (instance, name) = (format!("i{instance}"), format!("m{name}"));
            series(&[("__name__", &name), ("instance", &instance)], &[(*value, NOW + time)])
        });
        let message = request(all.collect());
        let intake = intake();
        let expected = sorted_lines(&take_by(&intake, &message, Version::V1).0.unwrap().batches);
        let mut written: Vec<String> = message.timeseries.iter().map(|series| {
            format!("{{__name__={:?}, instance={:?}}} {} {}", series.labels[0].value, series.labels[1].value, series.samples[0].value, series.samples[0].timestamp - NOW)
        }).collect();
        written.sort();
        prop_assert_eq!(&expected, &written);
        for _ in 0..2 {
            prop_assert_eq!(&sorted_lines(&take_by(&intake, &message, Version::V1).0.unwrap().batches), &written, "known or not");
        }
    }
}
