//! Series that come again are recognised, and only those.

use super::messages::{Sample as Sample2, Symbols, TimeSeries as TimeSeries2};
use super::*;

/// A push of a collector: the `from`th to `to`th series of a target.
fn push(from: usize, to: usize, value: f64) -> WriteRequest {
    let one = |n: usize| {
        let path = format!("/p{n}");
        series(&[("__name__", "http_requests_total"), ("instance", "i:1"), ("job", "j"), ("path", &path)], &[(value, NOW)])
    };
    request((from..to).map(one).collect())
}

fn chunk_ids(taken: &Taken) -> Vec<u64> {
    taken.batches.iter().flat_map(|batch| batch.layout.chunks().iter().map(|chunk| chunk.id())).collect()
}

#[test]
fn the_same_series_are_the_same_chunks_and_layout_from_the_third_push_on() {
    let intake = intake();
    let pushes: Vec<Taken> = (0..4).map(|n| take_by(&intake, &push(0, 2000, f64::from(n)), Version::V1).0.unwrap()).collect();
    assert_eq!(chunk_ids(&pushes[2]), chunk_ids(&pushes[3]));
    assert!(std::sync::Arc::ptr_eq(&pushes[2].batches[0].layout, &pushes[3].batches[0].layout));
    assert!(pushes[3].batches[0].values.iter().all(|value| *value == 3.0));
    assert_eq!(intake.stats().known, 4000);
    let series: usize = pushes[3].batches.iter().map(|batch| batch.len()).sum();
    assert_eq!(series, 2000);
}

#[test]
fn a_request_that_begins_elsewhere_finds_the_chunks_in_its_middle() {
    let intake = intake();
    for _ in 0..2 {
        take_by(&intake, &push(0, 20_000, 1.0), Version::V1).0.unwrap();
    }
    let before = intake.stats();
    let taken = take_by(&intake, &push(5_000, 15_000, 2.0), Version::V1).0.unwrap();
    let known = intake.stats().known - before.known;
    // Where the ends of chunks meet again is chance; a few hundred series on average.
    assert!(known > 5_000, "{known}");
    let labels: Vec<String> = taken.batches[0].layout.iter().map(|series| series.get("path").unwrap().to_owned()).collect();
    assert!(labels.iter().map(String::as_str).eq((5_000..15_000).map(|n| format!("/p{n}")).collect::<Vec<_>>().iter().map(String::as_str)));
}

#[test]
fn a_series_that_is_left_out_leaves_the_others_their_values() {
    let intake = intake();
    for value in 0..4 {
        let mut request = push(0, 300, f64::from(value));
        request.timeseries[70].labels.remove(0);
        let (taken, refusals) = take_by(&intake, &request, Version::V1);
        assert_eq!(refusals.invalid_samples, 1);
        let taken = taken.unwrap();
        assert_eq!(taken.samples, 299);
        for batch in &taken.batches {
            assert!(batch.values.iter().all(|v| *v == f64::from(value)));
            assert!(batch.layout.iter().all(|series| series.get("path") != Some("/p70")));
            assert_eq!(batch.layout.len(), batch.len());
        }
    }
}

#[test]
fn labels_that_differ_in_one_byte_are_other_series() {
    let intake = intake();
    for _ in 0..3 {
        take_by(&intake, &push(0, 100, 1.0), Version::V1).0.unwrap();
    }
    let mut other = push(0, 100, 1.0);
    other.timeseries[50].labels[3].value = "/q50".into();
    let taken = take_by(&intake, &other, Version::V1).0.unwrap();
    let paths: Vec<&str> = taken.batches[0].layout.iter().map(|series| series.get("path").unwrap()).collect();
    assert_eq!((paths[50], paths[51]), ("/q50", "/p51"));
}

#[test]
fn what_came_long_ago_is_forgotten() {
    let intake = intake();
    for _ in 0..3 {
        take_by(&intake, &push(0, 1000, 1.0), Version::V1).0.unwrap();
    }
    assert!(intake.stats().bytes > 0);
    (0..10).for_each(|_| intake.tick());
    assert_eq!(intake.stats().bytes, 0);
}

#[test]
fn symbols_of_another_order_are_the_same_series() {
    let intake = intake();
    let push = |decoys: usize| {
        let mut symbols = Symbols::default();
        for n in 0..decoys {
            symbols.of(&format!("decoy{n}"));
        }
        let one = |n: usize| {
            let path = format!("/p{n}");
            let labels_refs = symbols.labels(&[("__name__", "m"), ("instance", "i"), ("path", &path)]);
            TimeSeries2 { labels_refs, samples: vec![Sample2 { value: 1.0, timestamp: NOW, start_timestamp: 0 }], ..TimeSeries2::default() }
        };
        let all = (0..200).map(one).collect();
        symbols.request(all)
    };
    let ids: Vec<_> = (0..4).map(|decoys| chunk_ids(&take_by(&intake, &push(decoys), Version::V2).0.unwrap())).collect();
    assert_eq!(ids[2], ids[3]);
    assert_ne!(ids[0], ids[2], "kept from the second sight on");
}

#[test]
fn a_series_with_several_samples_comes_back_as_it_was() {
    let intake = intake();
    for round in 0..4 {
        let samples: Vec<(f64, i64)> = (0..3).map(|n| (f64::from(n), NOW + i64::from(10 * round + n))).collect();
        let message = request(vec![series(&[("__name__", "m")], &samples), series(&[("__name__", "m"), ("a", "1")], &samples)]);
        let taken = take_by(&intake, &message, Version::V1).0.unwrap();
        let batch = &taken.batches[0];
        assert_eq!(*batch.values, [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
        let with_a: Vec<bool> = batch.layout.iter().map(|series| series.get("a").is_some()).collect();
        assert_eq!(with_a, [false, false, false, true, true, true]);
    }
}
