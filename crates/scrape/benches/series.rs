//! A body into batches: the cost of a sample, and what a series costs while it is known. Compare the `fastest` column: the machine may
//! be shared.

#![allow(clippy::unwrap_used)] // a benchmark stops at the first surprise

#[allow(dead_code)] // each bench uses some of its bodies
#[path = "../../exposition/benches/corpus/mod.rs"]
mod corpus;
#[allow(dead_code)] // each bench uses some of its bodies
#[path = "../../exposition/benches/variants/mod.rs"]
mod variants;

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use model::Labels;
use scrape::series::{Format, Rules, Scratch, TargetSeries};

fn main() {
    let (mut target, mut scratch) = (target(), Scratch::default());
    for seed in 1..4 {
        scrape(&mut target, &mut scratch, &corpus::body(seed));
    }
    let series = target.layout().len();
    let layout: usize = target.layout().chunks().iter().map(|chunk| chunk.heap_bytes()).sum();
    let (state, fixed) = (target.heap_bytes(), size_of::<TargetSeries>());
    println!(
        "{series} series: layout {:.1} B/series, state {:.1} B/series, and {fixed} B per target",
        per(layout, series),
        per(state, series)
    );
    divan::main();
}

fn per(bytes: usize, series: usize) -> f64 {
    bytes as f64 / series as f64
}

fn target() -> TargetSeries {
    target_by(Rules::default())
}

fn target_by(rules: Rules) -> TargetSeries {
    let labels: Labels = [("instance", "10.0.12.34:9100"), ("job", "integrations/node_exporter")].into_iter().collect();
    TargetSeries::new(1, labels, Arc::new(rules))
}

fn scrape(target: &mut TargetSeries, scratch: &mut Scratch, body: &str) -> usize {
    let format = if body.ends_with("# EOF\n") { Format::OpenMetrics } else { Format::PrometheusText };
    let mut session = target.begin(1_700_000_000_000, format, scratch);
    // As they come out of an inflater.
    for piece in body.as_bytes().chunks(32 * 1024) {
        session.feed(divan::black_box(piece)).unwrap();
    }
    session.finish().map_err(|(error, _)| error).unwrap().batches.iter().map(|batch| batch.values.len()).sum()
}

fn samples(body: &str) -> usize {
    body.lines().filter(|line| !line.starts_with('#')).count()
}

fn repeat(bencher: Bencher, bodies: Vec<String>) {
    repeat_by(Rules::default(), bencher, bodies);
}

fn repeat_by(rules: Rules, bencher: Bencher, bodies: Vec<String>) {
    let (mut target, mut scratch) = (target_by(rules), Scratch::default());
    for body in &bodies {
        scrape(&mut target, &mut scratch, body);
    }
    let mut turn = 0;
    bencher.counter(BytesCount::of_str(&bodies[0])).counter(ItemsCount::new(samples(&bodies[0]))).bench_local(|| {
        turn = (turn + 1) % bodies.len();
        scrape(&mut target, &mut scratch, &bodies[turn])
    });
}

#[divan::bench]
fn unchanged(bencher: Bencher) {
    repeat(bencher, (1..9).map(corpus::body).collect());
}

#[divan::bench]
fn unchanged_with_metadata(bencher: Bencher) {
    let rules = Rules { honor_metadata: true, ..Rules::default() };
    repeat_by(rules, bencher, (1..9).map(corpus::body).collect());
}

#[divan::bench]
fn unchanged_open_metrics(bencher: Bencher) {
    repeat(bencher, (1..9).map(|seed| variants::open_metrics(&corpus::body(seed))).collect());
}

#[divan::bench]
fn shuffled(bencher: Bencher) {
    let body = corpus::body(1);
    let shuffle = |by: usize| {
        let mut lines: Vec<&str> = body.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_by_key(|line| line.bytes().fold(by, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())).wrapping_mul(by));
        lines.join("\n") + "\n"
    };
    repeat(bencher, [3, 1009, 77_777].map(shuffle).to_vec());
}

#[divan::bench]
fn one_series_comes_and_goes(bencher: Bencher) {
    let body = corpus::body(1);
    let with = body.replacen("node_cpu_seconds_total{cpu=\"7\"", "extra 1\nnode_cpu_seconds_total{cpu=\"7\"", 1);
    repeat(bencher, vec![body, with]);
}

#[divan::bench]
fn first_scrape(bencher: Bencher) {
    let body = corpus::body(1);
    let mut scratch = Scratch::default();
    bencher
        .counter(BytesCount::of_str(&body))
        .counter(ItemsCount::new(samples(&body)))
        .bench_local(|| scrape(&mut target(), &mut scratch, &body));
}
