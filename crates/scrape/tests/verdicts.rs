//! The verdicts of a real Prometheus, as a table: what it scraped is scraped here, what it refused is refused, and as many samples are
//! counted until then.

#![allow(clippy::unwrap_used)] // helpers outside #[test] functions

use std::sync::Arc;

use model::Labels;
use scrape::series::{Format, Rules, Scratch, TargetSeries};

const VERDICTS: &str = include_str!("prometheus-2.42-verdicts.tsv");

/// The bytes of a body as the table writes them.
fn body(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// Whether a body is taken, and the samples that are counted, when it comes in pieces of so many bytes.
fn scrape(target: &mut TargetSeries, scratch: &mut Scratch, body: &[u8], piece: usize) -> (bool, usize) {
    let mut session = target.begin(1_795_180_000_000, Format::PrometheusText, scratch);
    for bytes in body.chunks(piece) {
        if session.feed(bytes).is_err() {
            return (false, session.counts().scraped);
        }
    }
    match session.finish() {
        Ok(scraped) => (true, scraped.counts.scraped),
        Err((_, counts)) => (false, counts.scraped),
    }
}

#[test]
fn bodies_get_the_verdict_of_prometheus() {
    let labels: Labels = [("job", "j")].into_iter().collect();
    let mut scratch = Scratch::default();
    let (mut cases, mut good) = (0, 0);
    for line in VERDICTS.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.splitn(3, '\t');
        let up = fields.next().unwrap() == "1";
        let samples: usize = fields.next().unwrap().parse().unwrap();
        let body = body(fields.next().unwrap());
        let mut target = TargetSeries::new(1, labels.clone(), Arc::new(Rules::default()));
        // Whole, again with the series known, and byte by byte.
        for piece in [usize::MAX, usize::MAX, 1] {
            let got = scrape(&mut target, &mut scratch, &body, piece);
            assert_eq!(got, (up, samples), "{line}");
        }
        cases += 1;
        good += usize::from(up);
    }
    assert_eq!((cases, good), (1499, 296), "the table is whole");
}
