//! A cross-check against the crate `prometheus-parse`, within the part of the grammar that it reads: bare names, labels without
//! escapes, every sample of a type of its own. Beyond that it loses samples, so it can't be the judge.

#![allow(clippy::unwrap_used)] // helpers outside #[test] functions

use std::collections::BTreeMap;

use exposition::{LabelBuffer, Parser, Series, Visitor};
use proptest::prelude::*;

type Samples = Vec<(BTreeMap<String, String>, f64, Option<i64>)>;

#[derive(Default)]
struct Collect {
    rows: Vec<BTreeMap<String, String>>,
    samples: Samples,
}

impl Visitor for Collect {
    type Error = std::convert::Infallible;

    fn learn(&mut self, series: Series<'_>) -> Result<u32, Self::Error> {
        let mut labels = LabelBuffer::default();
        series.labels(&mut labels).unwrap();
        self.rows.push(labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        Ok(self.rows.len() as u32 - 1)
    }

    fn sample(&mut self, row: u32, value: f64, timestamp: Option<i64>) -> Result<(), Self::Error> {
        self.samples.push((self.rows[row as usize].clone(), value, timestamp));
        Ok(())
    }
}

fn ours(body: &str) -> Samples {
    let (mut parser, mut collect) = (Parser::default(), Collect::default());
    parser.feed(body.as_bytes(), &mut collect).unwrap();
    parser.finish(&mut collect).unwrap();
    collect.samples
}

fn theirs(body: &str) -> Samples {
    // Without a timestamp it takes the time given here.
    let unset = 12_345;
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_millis(unset);
    let scrape = prometheus_parse::Scrape::parse_at(body.lines().map(|line| Ok(line.to_owned())), now.into()).unwrap();
    let samples = scrape.samples.into_iter().map(|sample| {
        let mut labels: BTreeMap<String, String> = sample.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        labels.insert("__name__".to_owned(), sample.metric);
        let (prometheus_parse::Value::Untyped(value) | prometheus_parse::Value::Gauge(value) | prometheus_parse::Value::Counter(value)) =
            sample.value
        else {
            panic!("only plain values were written")
        };
        let timestamp = sample.timestamp.timestamp_millis();
        (labels, value, (timestamp != unset as i64).then_some(timestamp))
    });
    samples.collect()
}

fn sample_line() -> impl Strategy<Value = String> {
    let labels = prop::collection::btree_map("[a-z_]{1,6}", "[a-zA-Z0-9 /.:-]{1,10}", 0..4);
    let value =
        prop_oneof![any::<i32>().prop_map(|n| n.to_string()), (-1e9..1e9_f64).prop_map(|n: f64| n.to_string()), Just("+Inf".to_owned())];
    ("[a-z_][a-z0-9_]{0,12}", labels, value, prop::option::of(20_000_i64..2_000_000_000_000)).prop_map(|(name, labels, value, at)| {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        format!("{name}{labels} {value}{}\n", at.map_or(String::new(), |at| format!(" {at}")))
    })
}

proptest! {
    #[test]
    fn plain_bodies_are_read_alike(lines in prop::collection::vec(sample_line(), 1..20)) {
        let body = lines.concat();
        prop_assert_eq!(ours(&body), theirs(&body), "{}", body);
    }
}
