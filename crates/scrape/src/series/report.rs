//! The series that a scrape reports about itself: `up` and its like.

use std::sync::Arc;

use model::{Batch, Chunk, Labels, Layout, LayoutBuilder, SeriesRef, labels::METRIC_NAME, stale::STALE_NAN};

use super::layouts;

/// In the order of [`Report`]'s fields. The last three only with `extra_metrics`.
const NAMES: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];
const BASIC: usize = 5;

/// What is reported about one scrape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// The scrape was good.
    pub up: bool,
    /// Seconds from the beginning to the end.
    pub duration: f64,
    /// Samples in the body.
    pub scraped: usize,
    /// Samples after relabelling; there is none within a scrape, so it is the same number.
    pub post_relabeling: usize,
    /// Series that are new.
    pub added: usize,
    /// Seconds that the scrape may take.
    pub timeout: f64,
    /// The sample limit, 0 if there is none.
    pub sample_limit: usize,
    /// Decoded bytes of the body; −1 if a size limit was breached, 0 if the scrape failed otherwise.
    pub body_size: i64,
}

/// The report series of one target.
#[derive(Debug)]
pub struct ReportSeries {
    source: u64,
    layout: Arc<Layout>,
    alive: bool,
}

impl ReportSeries {
    /// Report series with the target's labels; eight instead of five with `extra`.
    #[must_use]
    pub fn new(source: u64, labels: &Labels, extra: bool) -> Self {
        let mut builder = LayoutBuilder::default();
        for name in &NAMES[..if extra { NAMES.len() } else { BASIC }] {
            let mut set = labels.to_builder();
            set.set(METRIC_NAME, name);
            // A target with more labels than a chunk holds was refused when it was built.
            let pushed = builder.push(set.iter());
            debug_assert!(pushed.is_ok());
        }
        Self { source, layout: Arc::new(builder.finish()), alive: false }
    }

    /// The batch that tells a report.
    pub fn batch(&mut self, timestamp: i64, report: &Report) -> Batch {
        let all = [
            f64::from(u8::from(report.up)),
            report.duration,
            report.scraped as f64,
            report.post_relabeling as f64,
            report.added as f64,
            report.timeout,
            report.sample_limit as f64,
            report.body_size as f64,
        ];
        self.alive = true;
        Batch::new(self.source, self.layout.clone(), timestamp, &all[..self.layout.len()])
    }

    /// Staleness markers for the report series, if there were reports since the last ones.
    pub fn end(&mut self, timestamp: i64) -> Option<Batch> {
        let values: Arc<[f64]> = std::iter::repeat_n(STALE_NAN, self.layout.len()).collect();
        std::mem::take(&mut self.alive).then(|| Batch::new(self.source, self.layout.clone(), timestamp, values))
    }

    /// The report series that `next` doesn't have, and which need markers.
    #[must_use]
    pub fn vanishing(&self, next: &Self) -> Vec<Arc<Chunk>> {
        let mut builder = LayoutBuilder::default();
        let stays = |series: SeriesRef<'_>| next.layout.iter().any(|other| other.iter().eq(series.iter()));
        for series in self.layout.iter().filter(|series| self.alive && !stays(*series)) {
            layouts::push(&mut builder, series);
        }
        builder.finish().chunks().to_vec()
    }

    /// The layout that all reports have.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::stale::is_stale;

    const REPORT: Report =
        Report { up: true, duration: 0.25, scraped: 7, post_relabeling: 6, added: 5, timeout: 10.0, sample_limit: 100, body_size: -1 };

    fn labels() -> Labels {
        [("job", "j"), ("instance", "i")].into_iter().collect()
    }

    #[test]
    fn a_report_has_five_series_or_eight() {
        let of = |extra| {
            let batch = ReportSeries::new(1, &labels(), extra).batch(1000, &REPORT);
            batch.iter().map(|(series, at, value)| (series.metric_name().to_owned(), at, value)).collect::<Vec<_>>()
        };
        let values = [1.0, 0.25, 7.0, 6.0, 5.0, 10.0, 100.0, -1.0];
        let expected: Vec<_> = NAMES.iter().zip(values).map(|(name, value)| ((*name).to_owned(), 1000, value)).collect();
        assert_eq!(of(true), expected);
        assert_eq!(of(false), expected[..5]);
    }

    #[test]
    fn every_report_has_the_same_layout_with_the_targets_labels() {
        let mut series = ReportSeries::new(7, &labels(), false);
        let (one, two) = (series.batch(1, &REPORT), series.batch(2, &REPORT));
        assert!(Arc::ptr_eq(&one.layout, &two.layout));
        assert_eq!(one.layout.iter().next().unwrap().to_labels().to_string(), r#"{__name__="up", instance="i", job="j"}"#);
        assert_eq!(one.source, 7);
    }

    #[test]
    fn reports_end_once() {
        let mut series = ReportSeries::new(7, &labels(), false);
        assert!(series.end(1).is_none(), "there was no report");
        series.batch(1, &REPORT);
        assert!(series.end(2).unwrap().values.iter().all(|value| is_stale(*value)));
        assert!(series.end(3).is_none());
    }
}
