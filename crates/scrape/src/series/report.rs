//! The series that a scrape reports about itself: `up` and its like.

use std::sync::Arc;

use model::{Batch, Chunk, Labels, Layout, LayoutBuilder, Metadata, MetricType, SeriesRef, labels::METRIC_NAME, stale::STALE_NAN};

use super::layouts;

/// Name, help and unit, in the order of [`Report`]'s fields. The last three only with `extra_metrics`.
const SERIES: [(&str, &str, &str); 8] = [
    ("up", "Whether the last scrape of the target was good: 1, or 0 if it failed.", "targets"),
    ("scrape_duration_seconds", "How long the last scrape took.", "seconds"),
    ("scrape_samples_scraped", "Samples that the target exposed in the last scrape.", "samples"),
    ("scrape_samples_post_metric_relabeling", "Samples that were left after relabelling.", "samples"),
    ("scrape_series_added", "Series that the scrape before did not have.", "series"),
    ("scrape_timeout_seconds", "How long a scrape of the target may take.", "seconds"),
    ("scrape_sample_limit", "How many samples a scrape may bring; 0 if there is no limit.", "samples"),
    ("scrape_body_size_bytes", "Size of the last body; -1 if it was larger than allowed, 0 if the scrape failed otherwise.", "bytes"),
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
    /// Report series with the target's labels; eight instead of five with `extra`. With `metadata` they have their own.
    #[must_use]
    pub fn new(source: u64, labels: &Labels, extra: bool, metadata: bool) -> Self {
        let mut builder = LayoutBuilder::default();
        for (name, help, unit) in SERIES.into_iter().take(if extra { SERIES.len() } else { BASIC }) {
            let mut set = labels.to_builder();
            set.set(METRIC_NAME, name);
            let said = || Metadata { family: name.into(), kind: MetricType::Gauge, help: help.into(), unit: unit.into() }.shared();
            // A target with more labels than a chunk holds was refused when it was built.
            let pushed = builder.push_with(set.iter(), metadata.then(said).as_ref());
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
            let batch = ReportSeries::new(1, &labels(), extra, false).batch(1000, &REPORT);
            batch.iter().map(|(series, at, value)| (series.metric_name().to_owned(), at, value)).collect::<Vec<_>>()
        };
        let values = [1.0, 0.25, 7.0, 6.0, 5.0, 10.0, 100.0, -1.0];
        let expected: Vec<_> = SERIES.iter().zip(values).map(|((name, ..), value)| ((*name).to_owned(), 1000, value)).collect();
        assert_eq!(of(true), expected);
        assert_eq!(of(false), expected[..5]);
    }

    #[test]
    fn every_report_has_the_same_layout_with_the_targets_labels() {
        let mut series = ReportSeries::new(7, &labels(), false, false);
        let (one, two) = (series.batch(1, &REPORT), series.batch(2, &REPORT));
        assert!(Arc::ptr_eq(&one.layout, &two.layout));
        assert_eq!(one.layout.iter().next().unwrap().to_labels().to_string(), r#"{__name__="up", instance="i", job="j"}"#);
        assert_eq!(one.source, 7);
    }

    #[test]
    fn report_series_say_what_they_are_only_if_they_are_asked() {
        let told = |metadata| {
            let series = ReportSeries::new(1, &labels(), true, metadata);
            series
                .layout()
                .iter()
                .filter_map(|series| Some((series.metadata()?.family.to_string(), series.metadata()?.kind)))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(true), SERIES.map(|(name, ..)| (name.to_owned(), MetricType::Gauge)));
        assert!(told(false).is_empty());
    }

    #[test]
    fn reports_end_once() {
        let mut series = ReportSeries::new(7, &labels(), false, false);
        assert!(series.end(1).is_none(), "there was no report");
        series.batch(1, &REPORT);
        assert!(series.end(2).unwrap().values.iter().all(|value| is_stale(*value)));
        assert!(series.end(3).is_none());
    }
}
