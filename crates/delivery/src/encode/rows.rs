//! Rows encoded one by one: what comes once, what no template holds, and the details that templates leave out.

use std::ops::Range;

use model::{CUSTOM_BUCKETS_SCHEMA, Exemplar};

use super::request::{Counted, Scratch};
use super::{Encoder, Part, wire};

/// What of the rows is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything.
    All,
    /// Histograms and exemplars: the samples are sent by template.
    Details,
}

impl Encoder {
    /// Appends the fields of `rows` to `scratch.plain`, which is emptied before. Stops when it has `max_bytes`; says up to which row it got.
    pub(super) fn encode_rows(
        &self,
        part: &Part<'_>,
        rows: Range<usize>,
        wanted: Wanted,
        max_bytes: usize,
        scratch: &mut Scratch,
    ) -> (usize, Counted) {
        scratch.plain.clear();
        let (mut counted, mut done) = (Counted::default(), rows.start);
        for row in rows {
            if scratch.plain.len() >= max_bytes {
                break;
            }
            done = row + 1;
            if wanted == Wanted::All || part.extras.has(row) {
                self.encode_row(part, row, wanted, scratch, &mut counted);
            }
        }
        (done, counted)
    }

    fn encode_row(&self, part: &Part<'_>, row: usize, wanted: Wanted, scratch: &mut Scratch, counted: &mut Counted) {
        let exemplars = if self.content.exemplars { part.extras.exemplars_of(row) } else { &[] };
        let histogram = part.extras.histogram(row);
        let timestamp = part.timestamps.map_or(part.timestamp, |timestamps| timestamps[row]);
        let Some(labels) = self.outgoing.labels(part.chunk.series(row), &mut scratch.labels) else {
            let is_histogram = histogram.is_some();
            counted.dropped.samples += usize::from(!is_histogram && wanted == Wanted::All);
            counted.dropped.histograms += usize::from(is_histogram && self.content.native_histograms);
            counted.dropped.exemplars += exemplars.len();
            return;
        };
        let out = &mut scratch.plain;
        match histogram {
            None if wanted == Wanted::Details => {}
            Some(_) if !self.content.native_histograms => {}
            // Receivers of 1.0 don't know them, and refuse all that comes with them: as Prometheus does, they are not sent.
            Some(histogram) if histogram.schema == CUSTOM_BUCKETS_SCHEMA => counted.unsupported += 1,
            None if timestamp < part.oldest => counted.too_old.samples += 1,
            Some(_) if timestamp < part.oldest => counted.too_old.histograms += 1,
            None => {
                wire::put_series(out, labels, part.values[row], timestamp);
                counted.sent.samples += 1;
                counted.latest = counted.latest.max(timestamp);
            }
            Some(histogram) => {
                wire::put_series_with(out, labels, |out| wire::put_histogram_field(out, histogram, timestamp));
                counted.sent.histograms += 1;
                counted.latest = counted.latest.max(timestamp);
            }
        }
        let is_old = |exemplar: &Exemplar| exemplar.timestamp.unwrap_or(timestamp) < part.oldest;
        let old = exemplars.iter().filter(|(_, exemplar)| is_old(exemplar)).count();
        counted.too_old.exemplars += old;
        counted.sent.exemplars += exemplars.len() - old;
        if exemplars.len() > old {
            // A series of its own, as Prometheus sends them: the one with the sample may come out of a template.
            wire::put_series_with(out, labels, |out| {
                let young = exemplars.iter().filter(|(_, exemplar)| !is_old(exemplar));
                young.for_each(|(_, exemplar)| wire::put_exemplar_field(out, exemplar, timestamp));
            });
        }
    }
}
