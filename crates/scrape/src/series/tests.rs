//! The series of a target through many scrapes, without I/O. What the tests share is here.

mod changes;
mod conversion;
mod details;
mod failures;
mod families;
mod open_metrics;
mod protobuf;
mod random;
mod steady;
mod timestamps;

use std::sync::Arc;

use model::{Batch, Labels, stale::is_stale};

use super::{Counts, Format, Rules, Scraped, Scratch, SeriesError, TargetSeries};

/// A target with `job="j"` and whatever the last scrapes left in its scratch.
struct Target {
    series: TargetSeries,
    scratch: Scratch,
    now: i64,
}

impl Target {
    fn new(rules: Rules) -> Self {
        Self::with_labels(&[("job", "j")], rules)
    }

    fn with_labels(labels: &[(&str, &str)], rules: Rules) -> Self {
        let labels: Labels = labels.iter().copied().collect();
        Self { series: TargetSeries::new(42, labels, Arc::new(rules)), scratch: Scratch::default(), now: 0 }
    }

    /// A scrape one second after the last one.
    fn try_scrape(&mut self, body: &str) -> Result<Scraped, (SeriesError, Counts)> {
        self.try_read(Format::PrometheusText, body.as_bytes())
    }

    fn try_read(&mut self, format: Format, body: &[u8]) -> Result<Scraped, (SeriesError, Counts)> {
        self.now += 1000;
        let mut session = self.series.begin(self.now, format, &mut self.scratch);
        // In two pieces: nothing may depend on the whole body being there.
        let (one, two) = body.split_at(body.len() / 2);
        for piece in [one, two] {
            if let Err(error) = session.feed(piece) {
                return Err((error, session.counts()));
            }
        }
        session.finish()
    }

    fn scrape(&mut self, body: &str) -> Scraped {
        self.try_scrape(body).unwrap_or_else(|(error, _)| panic!("{error}"))
    }

    /// A scrape that must fail, and the markers that it causes.
    fn fail(&mut self, body: &str) -> (SeriesError, Vec<String>) {
        let (error, _) = self.try_scrape(body).expect_err("must fail");
        (error, lines(&self.series.end(self.now)))
    }
}

/// The samples of batches, one line each: labels without the target's, timestamp, value or `stale`.
fn lines(batches: &[Batch]) -> Vec<String> {
    let of = |batch: &Batch| {
        assert_eq!(batch.source, 42);
        assert_eq!(batch.values.len(), batch.layout.len());
        assert!(!batch.is_empty());
        let line = |(series, at, value): (model::SeriesRef<'_>, i64, f64)| {
            let labels: String = series.iter().filter(|(name, _)| *name != "job").map(|(name, value)| format!("{name}={value} ")).collect();
            let labels = labels.trim_start_matches("__name__=").to_owned();
            if is_stale(value) { format!("{labels}@{at} stale") } else { format!("{labels}@{at} {value}") }
        };
        batch.iter().map(line).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

/// A body of `count` plain series that begin with `name`.
fn plain(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}_{n} {n}\n")).collect()
}
