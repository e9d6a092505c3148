//! Unchanged bodies in the protobuf format, parsed and identified: the series of the text benchmark, classic histograms, native ones.
//! Beside them decoding with prost, which is what a parser over generated types would pay before it begins, and the conversion of classic
//! histograms, in both formats. Compare the `fastest` column: the machine may be shared.

#![allow(clippy::unwrap_used)] // a benchmark stops at the first surprise

#[allow(dead_code)] // each bench uses some of its bodies
mod corpus;

use std::convert::Infallible;
use std::fmt::Write as _;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use exposition::{ClassicHistograms, Comments, HistogramForms, Parser, ProtobufParser, Series, Visitor};
use prost::Message as _;
use proto::client::{Bucket, BucketSpan, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType, Untyped};
use xxhash_rust::xxh3::xxh3_64;

fn main() {
    divan::main();
}

/// What a scrape does to recognise its series: a hash of the text at the expected place, else the next one.
#[derive(Default)]
struct Positional {
    texts: Vec<u64>,
    lens: Vec<u16>,
    next: usize,
    values: Vec<f64>,
    samples: usize,
    comments: Vec<(u64, Comments)>,
    next_comments: usize,
}

impl Positional {
    fn again(&mut self) {
        (self.next, self.next_comments, self.samples) = (0, 0, 0);
    }
}

impl Visitor for Positional {
    type Error = Infallible;

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

    fn learn(&mut self, series: Series<'_>) -> Result<u32, Infallible> {
        self.texts.push(xxh3_64(series.text()));
        self.lens.push(if series.text().contains(&b'\n') { 0 } else { series.text().len() as u16 });
        self.values.push(0.0);
        Ok(self.texts.len() as u32 - 1)
    }

    #[inline]
    fn sample(&mut self, row: u32, value: f64, _: Option<i64>) -> Result<(), Infallible> {
        self.values[row as usize] = value;
        self.next = row as usize + 1;
        self.samples += 1;
        Ok(())
    }

    fn histogram(&mut self, row: u32, histogram: model::Histogram, timestamp: Option<i64>) -> Result<(), Infallible> {
        self.sample(row, divan::black_box(histogram).sum, timestamp)
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

/// The families of the text benchmark's body.
fn plain(seed: u64) -> Vec<u8> {
    let mut families: Vec<MetricFamily> = Vec::new();
    for line in corpus::body(seed).lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            families.push(MetricFamily { name: name.into(), help: help.into(), ..Default::default() });
            continue;
        }
        let family = families.last_mut().unwrap();
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            family.r#type = match kind.rsplit(' ').next().unwrap() {
                "counter" => MetricType::Counter,
                "gauge" => MetricType::Gauge,
                _ => MetricType::Untyped,
            }
            .into();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        family.metric.push(metric(family.r#type(), series, value.parse().unwrap()));
    }
    encode(&families)
}

fn metric(kind: MetricType, series: &str, value: f64) -> Metric {
    let labels = series.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
    let pairs = labels.split("\",").filter_map(|pair| pair.trim_end_matches('"').split_once("=\""));
    let mut metric = Metric { label: pairs.map(|(name, value)| label(name, value)).collect(), ..Default::default() };
    match kind {
        MetricType::Counter => metric.counter = Some(Counter { value, ..Default::default() }),
        MetricType::Gauge => metric.gauge = Some(Gauge { value }),
        _ => metric.untyped = Some(Untyped { value }),
    }
    metric
}

fn label(name: &str, value: &str) -> LabelPair {
    LabelPair { name: name.into(), value: value.into() }
}

fn encode(families: &[MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(MetricFamily::encode_length_delimited_to_vec).collect()
}

/// Ten families of ten histograms each, as web servers expose them.
fn histograms(fill: impl Fn(u64) -> Histogram) -> Vec<u8> {
    let family = |number: u64| MetricFamily {
        name: format!("http_server_request_duration_{number}_seconds"),
        help: "How long requests took.".into(),
        r#type: MetricType::Histogram.into(),
        metric: (0..10)
            .map(|handler| Metric {
                label: vec![label("code", "200"), label("handler", &format!("/api/v1/resource/{handler}")), label("method", "get")],
                histogram: Some(fill(number * 10 + handler)),
                ..Default::default()
            })
            .collect(),
        unit: String::new(),
    };
    encode(&(0..10).map(family).collect::<Vec<_>>())
}

const BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];

fn classic(seed: u64) -> Histogram {
    let count = |at: usize| (at as u64 + 1) * (1000 + seed);
    let bucket = |(at, upper_bound)| Bucket { cumulative_count: count(at), upper_bound, ..Default::default() };
    let bucket = BOUNDS.into_iter().enumerate().map(bucket).collect();
    Histogram { sample_count: count(11), sample_sum: 1.5, bucket, ..Default::default() }
}

/// 40 buckets in four spans.
fn native(seed: u64) -> Histogram {
    Histogram {
        sample_count: 100 + seed,
        sample_sum: 1.5,
        schema: 3,
        zero_threshold: 1e-128,
        positive_span: (0..4).map(|at| BucketSpan { offset: if at == 0 { -20 } else { 2 }, length: 10 }).collect(),
        positive_delta: (0..40).map(|at| if at % 2 == 0 { 300 + seed as i64 } else { -200 }).collect(),
        ..Default::default()
    }
}

/// The classic histograms as text.
fn classic_text() -> String {
    let mut out = String::new();
    for number in 0..10 {
        let name = format!("http_server_request_duration_{number}_seconds");
        let _ = writeln!(out, "# HELP {name} How long requests took.\n# TYPE {name} histogram");
        for handler in 0..10 {
            let labels = format!("code=\"200\",handler=\"/api/v1/resource/{handler}\",method=\"get\"");
            for (at, le) in BOUNDS.into_iter().enumerate() {
                let le = if le.is_infinite() { "+Inf".to_owned() } else { le.to_string() };
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{le}\"}} {}", (at + 1) * 1000);
            }
            let _ = writeln!(out, "{name}_sum{{{labels}}} 1.5\n{name}_count{{{labels}}} 12000");
        }
    }
    out
}

fn parse(bencher: Bencher, body: &[u8], forms: HistogramForms) {
    let (mut parser, mut visitor) = (ProtobufParser::default(), Positional::default());
    parser.set_histograms(forms);
    parser.feed(body, &mut visitor).unwrap();
    let (samples, known) = (visitor.samples, visitor.texts.len());
    bencher.counter(BytesCount::of_slice(body)).counter(ItemsCount::new(samples)).bench_local(|| {
        visitor.again();
        parser.reset();
        parser.feed(divan::black_box(body), &mut visitor).unwrap();
        parser.finish(&mut visitor).unwrap();
        assert_eq!((visitor.texts.len(), visitor.samples), (known, samples));
    });
}

const CLASSIC: HistogramForms = HistogramForms { native: false, keep_classic: false, convert_classic: false };

#[divan::bench]
fn plain_series(bencher: Bencher) {
    parse(bencher, &plain(7), CLASSIC);
}

#[divan::bench]
fn plain_series_learnt(bencher: Bencher) {
    let body = plain(7);
    bencher.counter(BytesCount::of_slice(&body)).bench_local(|| {
        let (mut parser, mut visitor) = (ProtobufParser::default(), Positional::default());
        parser.feed(divan::black_box(&body), &mut visitor).unwrap();
        visitor.samples
    });
}

#[divan::bench]
fn plain_series_decoded_by_prost(bencher: Bencher) {
    let body = plain(7);
    bencher.counter(BytesCount::of_slice(&body)).counter(ItemsCount::new(1013_usize)).bench_local(|| {
        let mut rest = divan::black_box(&body[..]);
        let mut metrics = 0;
        while !rest.is_empty() {
            metrics += MetricFamily::decode_length_delimited(&mut rest).unwrap().metric.len();
        }
        metrics
    });
}

#[divan::bench]
fn classic_histograms(bencher: Bencher) {
    parse(bencher, &histograms(classic), CLASSIC);
}

#[divan::bench]
fn native_histograms(bencher: Bencher) {
    parse(bencher, &histograms(native), HistogramForms { native: true, ..CLASSIC });
}

#[divan::bench]
fn classic_histograms_converted(bencher: Bencher) {
    parse(bencher, &histograms(classic), HistogramForms { convert_classic: true, ..CLASSIC });
}

#[divan::bench]
fn text_of_classic_histograms(bencher: Bencher) {
    let body = classic_text();
    let (mut parser, mut visitor) = (Parser::default(), Positional::default());
    parser.feed(body.as_bytes(), &mut visitor).unwrap();
    bencher.counter(BytesCount::of_str(&body)).counter(ItemsCount::new(visitor.samples)).bench_local(|| {
        visitor.again();
        parser.reset();
        parser.feed(divan::black_box(body.as_bytes()), &mut visitor).unwrap();
        visitor.samples
    });
}

#[divan::bench(args = [false, true])]
fn text_of_classic_histograms_converted(bencher: Bencher, keep: bool) {
    let body = classic_text();
    let (mut parser, mut visitor, mut state) = (Parser::default(), Positional::default(), ClassicHistograms::default());
    let mut scrape = || {
        visitor.again();
        parser.reset();
        state.begin();
        state.around(keep, &mut visitor, |visitor| parser.feed(divan::black_box(body.as_bytes()), visitor)).unwrap();
        state.finish(&mut visitor).unwrap();
        visitor.texts.len()
    };
    let known = scrape();
    bencher
        .counter(BytesCount::of_str(&body))
        .counter(ItemsCount::new(1400_usize))
        .bench_local(|| assert_eq!(scrape(), known, "nothing is learnt again"));
}
