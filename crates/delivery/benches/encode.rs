//! What a sample costs on its way into a request, in time, bytes on the wire and memory: filled into a template, against encoded and
//! compressed the ordinary way. The tables at the start compare with requests as Prometheus makes them.

mod host;

use std::time::{Duration, Instant};

use bytes::Bytes;
use delivery::encode::{Content, Encoder, Message, Scratch};
use divan::Bencher;
use divan::counter::ItemsCount;
use host::Host;
use model::{Batch, Labels};
use prost::Message as _;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    match &arguments[..] {
        [] => {
            bytes_per_sample();
            seldom_changes();
            divan::main();
        }
        [count, version, timestamps, sends] if count == "count" => count_instructions(version, timestamps, sends.parse().unwrap_or(0)),
        _ => divan::main(),
    }
}

/// For `valgrind --tool=callgrind --toggle-collect='encode::request'`: the difference between two numbers of sends is what one costs, on a
/// machine however busy. `timestamps`: shared, own, or odd (without template).
fn count_instructions(version: &str, timestamps: &str, sends: u64) {
    let (host, mut scratch) = (Host::new(0, 0), Scratch::default());
    let encoder = encoder(if version == "2" { Message::V2 } else { Message::V1 });
    for tick in 0..20 + sends {
        let mut batch = host.batch(tick);
        match timestamps {
            "own" => batch.timestamps = Some((0..batch.len()).map(|i| batch.timestamp - i as i64).collect()),
            "odd" => batch.timestamp = 1 << 43,
            _ => {}
        }
        request(&encoder, &batch, &mut scratch);
    }
    println!("{} samples a send", host.layout.len());
}

/// Bytes on the wire and in memory per sample and series. In groups of one value each, targets differ in their instance alone.
fn bytes_per_sample() {
    println!(
        "                                      | bytes per sample: first send, fifth, last, and that with zstd | templates per series"
    );
    for (grouped, pods, max_samples, message) in [
        (false, 0, 500, Message::V1),
        (false, 0, 2000, Message::V1),
        (false, 0, 2000, Message::V2),
        (true, 0, 2000, Message::V1),
        (true, 0, 2000, Message::V2),
        (false, 40, 2000, Message::V1),
        (false, 40, 2000, Message::V2),
    ] {
        let hosts: Vec<Host> = (0..8).map(|number| Host::with_pods(number, if grouped { 0 } else { number }, pods)).collect();
        let encoder = Encoder::new(Labels::empty(), None, Content::default(), message, max_samples);
        let batches = |tick| -> Vec<Batch> { hosts.iter().map(|host| host.batch(tick)).collect() };
        let samples = samples(&batches(0));
        let mut sizes = Vec::new();
        for tick in 0..300 {
            sizes.push(total(&requests(&encoder, &batches(tick))) / samples);
        }
        let last = requests(&encoder, &batches(300));
        let mut scratch = Scratch::default();
        let zstd: Vec<Bytes> = last.iter().map(|body| scratch.to_zstd(body).unwrap_or_default()).collect();
        let usage = encoder.template_usage();
        println!(
            "{} values,{} {message:?}, {max_samples:4} a request: {:5.2} {:5.2} {:5.2} {:5.2} | {:4.1} B",
            if grouped { "the same" } else { " of their own" },
            if pods > 0 { " labels of pods," } else { "" },
            sizes[0],
            sizes[4],
            sizes[299],
            total(&zstd) / samples,
            usage.bytes as f64 / samples,
        );
        if message == Message::V1 {
            println!("  as Prometheus makes it: {:.2}", as_prometheus(&batches(300), max_samples));
        }
    }
}

fn total(bodies: &[Bytes]) -> f64 {
    bodies.iter().map(Bytes::len).sum::<usize>() as f64
}

/// What values cost that change seldom: each constant one with this probability per tick.
fn seldom_changes() {
    println!("values that change seldom:");
    for every in [100, 1000, 10_000] {
        let (host, encoder, mut scratch) = (Host::new(0, 0), encoder(Message::V1), Scratch::default());
        let (mut spent, mut bytes, ticks) = (Duration::ZERO, 0, 2000);
        let mut offsets = vec![0.0; host.layout.len()];
        for tick in 0..ticks {
            let mut batch = host.batch(tick);
            for (row, offset) in offsets.iter_mut().enumerate() {
                *offset += f64::from(u8::from(host::mix(row as u64, tick).is_multiple_of(every)));
            }
            batch.values = batch.values.iter().zip(&offsets).map(|(value, offset)| value + offset).collect();
            let began = Instant::now();
            bytes += request(&encoder, &batch, &mut scratch).len();
            spent += began.elapsed();
        }
        let (usage, samples) = (encoder.template_usage(), ticks as f64 * host.layout.len() as f64);
        println!(
            "  once in {every}: {:.1} ns/sample, {:.2} B/sample; per chunk and 1000 sends {:.1} made, {:.1} widened",
            spent.as_nanos() as f64 / samples,
            bytes as f64 / samples,
            usage.built as f64 / 2.0 / 2.0,
            usage.widened as f64 / 2.0 / 2.0,
        );
    }
}

/// Adds one to the values of the rows that are `meant`.
fn change(batch: &mut Batch, meant: impl Fn(usize, f64) -> bool) {
    let values = batch.values.iter().enumerate().map(|(row, &value)| if meant(row, value) { value + 1.0 } else { value });
    batch.values = values.collect();
}

fn samples(batches: &[Batch]) -> f64 {
    batches.iter().map(Batch::len).sum::<usize>() as f64
}

/// Compressed bytes per sample of the requests that Prometheus makes of these batches.
fn as_prometheus(batches: &[Batch], max_samples: usize) -> f64 {
    let all: Vec<TimeSeries> = batches
        .iter()
        .flat_map(|batch| {
            batch.iter().map(|(series, timestamp, value)| TimeSeries {
                labels: series.iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect(),
                samples: vec![Sample { value, timestamp }],
                ..TimeSeries::default()
            })
        })
        .collect();
    let sizes = all.chunks(max_samples).map(|timeseries| {
        let request = WriteRequest { timeseries: timeseries.to_vec(), metadata: Vec::new() };
        snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).map_or(0, |packed| packed.len())
    });
    sizes.sum::<usize>() as f64 / samples(batches)
}

/// Series sent by template.
#[divan::bench(args = [Message::V1, Message::V2])]
fn template(bencher: Bencher<'_, '_>, message: Message) {
    bench_ticks(bencher, message, |_| {});
}

/// Series sent by template with a timestamp of their own each.
#[divan::bench]
fn template_with_own_timestamps(bencher: Bencher<'_, '_>) {
    let own = |batch: &mut Batch| batch.timestamps = Some((0..batch.len()).map(|i| batch.timestamp - i as i64).collect());
    bench_ticks(bencher, Message::V1, own);
}

/// What zstd adds to a request.
#[divan::bench(args = [Message::V1, Message::V2])]
fn zstd(bencher: Bencher<'_, '_>, message: Message) {
    let (encoder, host, mut scratch) = (encoder(message), Host::new(0, 0), Scratch::default());
    let body = (0..3).map(|tick| request(&encoder, &host.batch(tick), &mut scratch)).next_back().unwrap_or_default();
    bencher.counter(ItemsCount::new(host.layout.len())).bench_local(|| scratch.to_zstd(&body));
}

/// A send in which a value changes per chunk that had been constant: the template is widened.
#[divan::bench]
fn widening_templates(bencher: Bencher<'_, '_>) {
    let (host, mut scratch) = (Host::new(0, 0), Scratch::default());
    let mut batch = host.batch(2);
    change(&mut batch, |row, value| value == 0.0 && row % 256 == 200);
    let with_templates = || {
        let encoder = encoder(Message::V1);
        (0..2).for_each(|tick| drop(request(&encoder, &host.batch(tick), &mut Scratch::default())));
        encoder
    };
    bencher
        .counter(ItemsCount::new(batch.len()))
        .with_inputs(with_templates)
        .bench_local_refs(|encoder| request(encoder, &batch, &mut scratch));
}

/// Series encoded and compressed for this request.
#[divan::bench(args = [Message::V1, Message::V2])]
fn ordinary(bencher: Bencher<'_, '_>, message: Message) {
    bench_ticks(bencher, message, |batch| batch.timestamp = 1 << 43); // no template holds it
}

/// The second sight of a target, which makes its templates.
#[divan::bench(args = [Message::V1, Message::V2])]
fn making_templates(bencher: Bencher<'_, '_>, message: Message) {
    let (host, mut scratch) = (Host::new(0, 0), Scratch::default());
    let batch = host.batch(1);
    let seen_once = || {
        let encoder = encoder(message);
        request(&encoder, &host.batch(0), &mut Scratch::default());
        encoder
    };
    bencher.counter(ItemsCount::new(batch.len())).with_inputs(seen_once).bench_local_refs(|encoder| request(encoder, &batch, &mut scratch));
}

/// Scrape after scrape of one host, each changed by `edit`.
fn bench_ticks(bencher: Bencher<'_, '_>, message: Message, mut edit: impl FnMut(&mut Batch)) {
    let (encoder, host, mut scratch) = (encoder(message), Host::new(0, 0), Scratch::default());
    let batches: Vec<Batch> = (0..64)
        .map(|tick| {
            let mut batch = host.batch(tick);
            edit(&mut batch);
            batch
        })
        .collect();
    for batch in &batches {
        request(&encoder, batch, &mut scratch);
    }
    let mut tick = 0;
    bencher.counter(ItemsCount::new(host.layout.len())).bench_local(|| {
        tick += 1;
        request(&encoder, &batches[tick % batches.len()], &mut scratch)
    });
}

fn encoder(message: Message) -> Encoder {
    Encoder::new(Labels::empty(), None, Content::default(), message, 2000)
}

#[inline(never)] // where `callgrind --toggle-collect` counts
fn request(encoder: &Encoder, batch: &Batch, scratch: &mut Scratch) -> Bytes {
    let mut request = encoder.request(32 << 10, scratch);
    let row = encoder.add(&mut request, batch, 0, i64::MIN, scratch);
    assert_eq!(row, batch.len());
    request.finish(scratch)
}

/// The requests that shards would make of these batches.
fn requests(encoder: &Encoder, batches: &[Batch]) -> Vec<Bytes> {
    let (mut done, mut scratch) = (Vec::new(), Scratch::default());
    let mut open = encoder.request(0, &mut scratch);
    for batch in batches {
        let mut row = 0;
        while row < batch.len() {
            row = encoder.add(&mut open, batch, row, i64::MIN, &mut scratch);
            if row < batch.len() {
                done.push(std::mem::replace(&mut open, encoder.request(0, &mut scratch)).finish(&mut scratch));
            }
        }
    }
    done.push(open.finish(&mut scratch));
    done
}
