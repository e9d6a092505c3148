//! What a sample costs on its way from a pushed request into a batch: series that came before, series that are new, and requests that begin
//! elsewhere every time. A request is what a collector pushes: 2000 series of two targets. Compare the `fastest` column: the machine may
//! be shared.
#![allow(clippy::unwrap_used)] // a benchmark stops at the first surprise

use divan::Bencher;
use divan::counter::ItemsCount;
use prometheus_components::receive_http::intake::{Intake, Options, Packing, Refusals, Version};
use prost::Message;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use proto::write_v2;

const NOW: i64 = 1_763_637_480_000;
/// What `prometheus.remote_write` sends at most.
const PER_REQUEST: usize = 2000;

fn main() {
    // Whoever asks for one benchmark, as under a profiler, wants only that.
    if std::env::args().skip(1).all(|argument| argument.starts_with("--")) {
        shifting();
    }
    divan::main();
}

/// Labels of the `n`th of a target's 1000 series, shaped like those of a node exporter.
fn labels(target: usize, n: usize) -> Vec<(String, String)> {
    let modes = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
    let pair = |name: &str, value: String| (name.to_owned(), value);
    vec![
        pair("__name__", format!("node_{}_seconds_total", ["cpu", "disk_io", "network_receive", "systemd_unit"][n / 250])),
        pair("cluster", "production-eu-1".into()),
        pair("cpu", (n / 8 % 48).to_string()),
        pair("device", format!("nvme{}n1", n % 3)),
        pair("instance", format!("10.0.{}.{}:9100", target / 250, target % 250)),
        pair("job", "integrations/node_exporter".into()),
        pair("mode", modes[n % 8].into()),
        pair("number", n.to_string()),
    ]
}

fn series(at: usize) -> TimeSeries {
    let labels = labels(at / 1000, at % 1000).into_iter().map(|(name, value)| Label { name, value });
    let sample = Sample { value: at as f64 * 1.25, timestamp: NOW + (at / 1000) as i64 };
    TimeSeries { labels: labels.collect(), samples: vec![sample], ..TimeSeries::default() }
}

fn v1(from: usize, to: usize) -> Vec<u8> {
    WriteRequest { timeseries: (from..to).map(series).collect(), metadata: vec![] }.encode_to_vec()
}

fn sample(at: usize) -> write_v2::Sample {
    let Sample { value, timestamp } = series(at).samples[0];
    write_v2::Sample { value, timestamp, start_timestamp: 0 }
}

fn v2(from: usize, to: usize) -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut numbers = std::collections::HashMap::new();
    let mut number = |text: String| {
        *numbers.entry(text.clone()).or_insert_with(|| {
            symbols.push(text);
            symbols.len() as u32 - 1
        })
    };
    let all = (from..to).map(|at| {
        let series = series(at);
        let labels_refs = series.labels.into_iter().flat_map(|label| [label.name, label.value]).map(&mut number).collect();
        write_v2::TimeSeries { labels_refs, samples: vec![sample(at)], ..write_v2::TimeSeries::default() }
    });
    let timeseries = all.collect();
    write_v2::Request { symbols, timeseries }.encode_to_vec()
}

fn packed(request: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(request).unwrap()
}

fn intake() -> Intake {
    Intake::new(Options::default())
}

fn take(intake: &Intake, body: &[u8], version: Version) -> usize {
    let taken = intake.take(divan::black_box(body), Packing::Snappy, version, NOW, &mut Refusals::default()).unwrap();
    taken.batches.iter().map(model::Batch::len).sum()
}

/// How many series are recognised when a stream of 200 targets of 847 series is cut every 2000, beginning elsewhere in each round.
fn shifting() {
    let intake = intake();
    let all: Vec<TimeSeries> = (0..200).flat_map(|target| (0..847).map(move |n| series(target * 1000 + n))).collect();
    for round in 0..6 {
        let before = intake.stats();
        let (mut at, mut next) = (0, 400 * round + 1);
        while at < all.len() {
            let end = next.min(all.len());
            let request = WriteRequest { timeseries: all[at..end].to_vec(), metadata: vec![] };
            intake.take_plain(&request.encode_to_vec(), Version::V1, NOW, &mut Refusals::default()).unwrap();
            (at, next) = (end, end + PER_REQUEST);
        }
        let now = intake.stats();
        let known = (now.known - before.known) as f64 / all.len() as f64;
        println!("round {round}: {:.1} % of series known, {:.1} B per series kept", 100.0 * known, now.bytes as f64 / all.len() as f64);
    }
}

/// Unpacking alone, which all others have in them.
#[divan::bench]
fn unpack_v1(bencher: Bencher<'_, '_>) {
    let body = packed(&v1(0, PER_REQUEST));
    let mut buffer = vec![0; snap::raw::decompress_len(&body).unwrap()];
    bencher
        .counter(ItemsCount::new(PER_REQUEST))
        .bench_local(|| snap::raw::Decoder::new().decompress(divan::black_box(&body), &mut buffer).unwrap());
}

#[divan::bench]
fn unpack_v2(bencher: Bencher<'_, '_>) {
    let body = packed(&v2(0, PER_REQUEST));
    let mut buffer = vec![0; snap::raw::decompress_len(&body).unwrap()];
    bencher
        .counter(ItemsCount::new(PER_REQUEST))
        .bench_local(|| snap::raw::Decoder::new().decompress(divan::black_box(&body), &mut buffer).unwrap());
}

/// The usual way: generated types. Without unpacking, and without making anything of them.
#[divan::bench]
fn generated_types_v1(bencher: Bencher<'_, '_>) {
    let request = v1(0, PER_REQUEST);
    bencher.counter(ItemsCount::new(PER_REQUEST)).bench_local(|| WriteRequest::decode(divan::black_box(&request[..])).unwrap());
}

#[divan::bench]
fn known_v1(bencher: Bencher<'_, '_>) {
    known(bencher, &packed(&v1(0, PER_REQUEST)), Version::V1);
}

#[divan::bench]
fn known_v2(bencher: Bencher<'_, '_>) {
    known(bencher, &packed(&v2(0, PER_REQUEST)), Version::V2);
}

fn known(bencher: Bencher<'_, '_>, body: &[u8], version: Version) {
    let intake = intake();
    for _ in 0..3 {
        take(&intake, body, version);
    }
    bencher.counter(ItemsCount::new(PER_REQUEST)).bench_local(|| take(&intake, body, version));
}

#[divan::bench]
fn new_v1(bencher: Bencher<'_, '_>) {
    new(bencher, &packed(&v1(0, PER_REQUEST)), Version::V1);
}

#[divan::bench]
fn new_v2(bencher: Bencher<'_, '_>) {
    new(bencher, &packed(&v2(0, PER_REQUEST)), Version::V2);
}

fn new(bencher: Bencher<'_, '_>, body: &[u8], version: Version) {
    bencher.counter(ItemsCount::new(PER_REQUEST)).with_inputs(intake).bench_local_refs(|intake| take(intake, body, version));
}
