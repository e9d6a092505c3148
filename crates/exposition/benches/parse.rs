//! Parsing and identifying an unchanged body, next to a bare scan for newlines of the same body in the same run.
//! The goal is at least a quarter of the scan's speed. Compare the `fastest` column: the machine may be shared.

#![allow(clippy::unwrap_used)] // a benchmark stops at the first surprise

mod corpus;
mod variants;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use exposition::{Comments, Format, Parser, Series, Visitor};
use xxhash_rust::xxh3::xxh3_64;

fn main() {
    divan::main();
}

/// What a scrape does to recognise its series: a hash of the text at the expected place.
#[derive(Default)]
struct Positional {
    texts: Vec<u64>,
    lens: Vec<u16>,
    next: usize,
    values: Vec<f64>,
    comments: Vec<(u64, Comments)>,
    next_comments: usize,
}

impl Visitor for Positional {
    type Error = std::convert::Infallible;
    fn wants_metadata(&self) -> bool {
        false
    }

    #[inline]
    fn expected_len(&self) -> usize {
        self.lens.get(self.next).map_or(0, |len| usize::from(*len))
    }

    #[inline]
    fn expected(&mut self, text: &[u8]) -> Option<u32> {
        (xxh3_64(text) == self.texts[self.next]).then_some(self.next as u32)
    }

    fn find(&mut self, text: &[u8]) -> Option<u32> {
        (Some(&xxh3_64(text)) == self.texts.get(self.next)).then_some(self.next as u32)
    }

    fn learn(&mut self, series: Series<'_>) -> Result<u32, Self::Error> {
        self.texts.push(xxh3_64(series.text()));
        self.lens.push(series.text().len() as u16);
        self.values.push(0.0);
        Ok(self.texts.len() as u32 - 1)
    }

    #[inline]
    fn sample(&mut self, row: u32, value: f64, _timestamp: Option<i64>) -> Result<(), Self::Error> {
        self.values[row as usize] = value;
        self.next = row as usize + 1;
        Ok(())
    }

    #[inline]
    fn expected_comments(&mut self, rest: &[u8]) -> Option<Comments> {
        let (hash, comments) = self.comments.get(self.next_comments)?;
        (xxh3_64(rest.get(..comments.len)?) == *hash).then(|| {
            self.next_comments += 1;
            *comments
        })
    }

    fn learn_comments(&mut self, text: &[u8], comments: Comments) {
        self.comments.push((xxh3_64(text), comments));
        self.next_comments = self.comments.len();
    }
}

#[divan::bench]
fn newline_scan(bencher: Bencher) {
    let body = corpus::body(7);
    bencher
        .counter(BytesCount::of_str(&body))
        .bench(|| memchr::memchr_iter(b'\n', divan::black_box(body.as_bytes())).fold(0_usize, |sum, at| sum ^ at));
}

/// Parses bodies of the same series again and again, after the first of them was learnt.
fn identify(bencher: Bencher, format: Format, body: impl Fn(u64) -> String) {
    let (first, body) = (body(7), body(8));
    let (mut parser, mut visitor) = (Parser::default(), Positional::default());
    parser.reset_for(format);
    parser.feed(first.as_bytes(), &mut visitor).unwrap();
    let samples = visitor.texts.len();
    bencher.counter(BytesCount::of_str(&body)).counter(ItemsCount::new(samples)).bench_local(|| {
        (visitor.next, visitor.next_comments) = (0, 0);
        parser.reset_for(format);
        parser.feed(divan::black_box(body.as_bytes()), &mut visitor).unwrap();
        parser.finish(&mut visitor).unwrap();
        assert_eq!(visitor.texts.len(), samples);
    });
}

const OPEN_METRICS: Format = Format::OpenMetrics { skip_created: false };
const START_TIMES: Format = Format::OpenMetrics { skip_created: true };

#[divan::bench]
fn parse_and_identify(bencher: Bencher) {
    identify(bencher, Format::PrometheusText, corpus::body);
}

#[divan::bench]
fn parse_and_identify_timestamps(bencher: Bencher) {
    identify(bencher, Format::PrometheusText, |seed| variants::with_ends(&corpus::body(seed), 1, " 1700000000123"));
}

#[divan::bench]
fn open_metrics(bencher: Bencher) {
    identify(bencher, OPEN_METRICS, |seed| variants::open_metrics(&corpus::body(seed)));
}

#[divan::bench]
fn open_metrics_timestamps(bencher: Bencher) {
    identify(bencher, OPEN_METRICS, |seed| variants::with_ends(&variants::open_metrics(&corpus::body(seed)), 1, " 1700000000.123"));
}

#[divan::bench]
fn open_metrics_exemplar_in_ten(bencher: Bencher) {
    let exemplar = " # {trace_id=\"0123456789abcdef0123456789abcdef\"} 0.25 1700000000.123";
    identify(bencher, OPEN_METRICS, |seed| variants::with_ends(&variants::open_metrics(&corpus::body(seed)), 10, exemplar));
}

/// No `_created` lines, but looked for.
#[divan::bench]
fn start_times_none(bencher: Bencher) {
    identify(bencher, START_TIMES, |seed| variants::open_metrics(&corpus::body(seed)));
}

#[divan::bench]
fn start_times(bencher: Bencher) {
    identify(bencher, START_TIMES, |seed| variants::with_created(&variants::open_metrics(&corpus::body(seed))));
}

/// The same body with the `_created` lines as samples.
#[divan::bench]
fn start_times_as_samples(bencher: Bencher) {
    identify(bencher, OPEN_METRICS, |seed| variants::with_created(&variants::open_metrics(&corpus::body(seed))));
}

#[divan::bench]
fn open_metrics_learn(bencher: Bencher) {
    learn(bencher, OPEN_METRICS, &variants::open_metrics(&corpus::body(7)));
}

#[divan::bench]
fn parse_and_learn(bencher: Bencher) {
    learn(bencher, Format::PrometheusText, &corpus::body(7));
}

fn learn(bencher: Bencher, format: Format, body: &str) {
    bencher.counter(BytesCount::of_str(body)).bench_local(|| {
        let (mut parser, mut visitor) = (Parser::default(), Positional::default());
        parser.reset_for(format);
        parser.feed(divan::black_box(body.as_bytes()), &mut visitor).unwrap();
        visitor.values.len()
    });
}

#[divan::bench]
fn value_scan(bencher: Bencher) {
    let body = corpus::body(8);
    let values: Vec<&str> = body.lines().filter(|l| !l.starts_with('#')).map(|l| l.rsplit(' ').next().unwrap()).collect();
    bencher
        .counter(ItemsCount::new(values.len()))
        .bench(|| divan::black_box(&values).iter().map(|value| exposition::parse_value(value.as_bytes()).unwrap()).sum::<f64>());
}
