//! Rows encoded one by one: what comes once, what no template holds, and the details that templates leave out.

use std::ops::Range;

use model::{CUSTOM_BUCKETS_SCHEMA, Exemplar, Histogram, SeriesRef};

use super::request::{Counted, Scratch};
use super::symbols::Symbols;
use super::wire::{self, v2};
use super::{Encoder, Message, Part};

/// What of the rows is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything.
    All,
    /// Histograms and exemplars: the samples are sent by template.
    Details,
}

/// A row with what is known of it.
struct Row<'a> {
    series: SeriesRef<'a>,
    value: f64,
    timestamp: i64,
    histogram: Option<&'a Histogram>,
    exemplars: &'a [(u32, Exemplar)],
    created: Option<i64>,
    oldest: i64,
}

/// What a row has to be sent.
enum Point<'a> {
    Sample,
    Histogram(&'a Histogram),
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
        mut symbols: Option<&mut Symbols>,
    ) -> (usize, Counted) {
        scratch.plain.clear();
        let (mut counted, mut done) = (Counted::default(), rows.start);
        let before = symbols.as_ref().map_or(0, |symbols| symbols.fields().len());
        for row in rows {
            let strings = symbols.as_ref().map_or(0, |symbols| symbols.fields().len() - before);
            if scratch.plain.len() + strings >= max_bytes {
                break;
            }
            done = row + 1;
            if wanted == Wanted::All || part.extras.has(row) {
                self.encode_row(&part.row(row, self.content.exemplars), wanted, scratch, symbols.as_deref_mut(), &mut counted);
            }
        }
        (done, counted)
    }

    fn encode_row(&self, row: &Row<'_>, wanted: Wanted, scratch: &mut Scratch, symbols: Option<&mut Symbols>, counted: &mut Counted) {
        scratch.labels.clear();
        match symbols {
            None => {
                if !self.outgoing.labels(row.series, |name, value| wire::put_label(&mut scratch.labels, name, value)) {
                    return self.count_dropped(row, wanted, counted);
                }
                let point = self.point(row, wanted, counted);
                row.put_v1(point, scratch, counted);
            }
            Some(symbols) => {
                let mark = symbols.mark();
                let put = |name: &str, value: &str| put_refs(&mut scratch.labels, symbols, [name, value]);
                if !self.outgoing.labels(row.series, put) {
                    return self.count_dropped(row, wanted, counted);
                }
                match self.point(row, wanted, counted) {
                    Some(point) => row.put_v2(&point, scratch, symbols, counted),
                    None => symbols.rewind(mark),
                }
            }
        }
    }

    fn count_dropped(&self, row: &Row<'_>, wanted: Wanted, counted: &mut Counted) {
        let is_histogram = row.histogram.is_some();
        counted.dropped.samples += usize::from(!is_histogram && wanted == Wanted::All);
        counted.dropped.histograms += usize::from(is_histogram && self.content.native_histograms);
        counted.dropped.exemplars += row.exemplars.len();
    }

    /// What the row has to be sent, if anything; counts it.
    fn point<'a>(&self, row: &Row<'a>, wanted: Wanted, counted: &mut Counted) -> Option<Point<'a>> {
        let is_old = row.timestamp < row.oldest;
        let point = match row.histogram {
            None if wanted == Wanted::Details => return None,
            Some(_) if !self.content.native_histograms => return None,
            // Receivers of 1.0 don't know them, and refuse all that comes with them: as Prometheus does, they are not sent.
            Some(histogram) if histogram.schema == CUSTOM_BUCKETS_SCHEMA && self.message == Message::V1 => {
                counted.unsupported += 1;
                return None;
            }
            None if is_old => {
                counted.too_old.samples += 1;
                return None;
            }
            Some(_) if is_old => {
                counted.too_old.histograms += 1;
                return None;
            }
            None => {
                counted.sent.samples += 1;
                Point::Sample
            }
            Some(histogram) => {
                counted.sent.histograms += 1;
                Point::Histogram(histogram)
            }
        };
        counted.latest = counted.latest.max(row.timestamp);
        Some(point)
    }
}

impl<'a> Part<'a> {
    fn row(&self, row: usize, exemplars: bool) -> Row<'a> {
        Row {
            series: self.chunk.series(row),
            value: self.values[row],
            timestamp: self.timestamps.map_or(self.timestamp, |timestamps| timestamps[row]),
            histogram: self.extras.histogram(row),
            exemplars: if exemplars { self.extras.exemplars_of(row) } else { &[] },
            created: self.extras.created(row),
            oldest: self.oldest,
        }
    }
}

impl Row<'_> {
    /// Appends what is in `scratch.labels` with `point`; exemplars get a series of their own, as Prometheus sends them: the one with the
    /// sample may come out of a template.
    fn put_v1(&self, point: Option<Point<'_>>, scratch: &mut Scratch, counted: &mut Counted) {
        let Scratch { plain, labels, .. } = scratch;
        match point {
            None => {}
            Some(Point::Sample) => wire::put_series(plain, labels, self.value, self.timestamp),
            Some(Point::Histogram(histogram)) => {
                wire::put_series_with(plain, labels, |out| wire::put_histogram_field(out, histogram, self.timestamp));
            }
        }
        if self.count_exemplars(counted) > 0 {
            wire::put_series_with(plain, labels, |out| {
                self.young().for_each(|exemplar| wire::put_exemplar_field(out, exemplar, self.timestamp));
            });
        }
    }

    /// Appends what is in `scratch.labels` with `point`, exemplars and metadata: 2.0 has no series without a sample or histogram.
    fn put_v2(&self, point: &Point<'_>, scratch: &mut Scratch, symbols: &mut Symbols, counted: &mut Counted) {
        let Scratch { plain, labels, exemplar: refs, .. } = scratch;
        let metadata = self.series.metadata().map(|metadata| v2::MetadataRefs {
            kind: metadata.kind,
            help: symbols.place(&metadata.help),
            unit: symbols.place(&metadata.unit),
        });
        self.count_exemplars(counted);
        v2::put_series(plain, labels, metadata, |out| {
            match point {
                Point::Sample => v2::put_sample(out, self.value, self.timestamp, self.created),
                Point::Histogram(histogram) => v2::put_histogram_field(out, histogram, self.timestamp, self.created),
            }
            for exemplar in self.young() {
                refs.clear();
                exemplar.labels.iter().for_each(|(name, value)| put_refs(refs, symbols, [name, value]));
                v2::put_exemplar_field(out, refs, exemplar, self.timestamp);
            }
        });
    }

    /// Exemplars that are sent.
    fn young(&self) -> impl Iterator<Item = &Exemplar> {
        let is_young = |exemplar: &&Exemplar| exemplar.timestamp.unwrap_or(self.timestamp) >= self.oldest;
        self.exemplars.iter().map(|(_, exemplar)| exemplar).filter(is_young)
    }

    /// Counts the exemplars; gives how many are sent.
    fn count_exemplars(&self, counted: &mut Counted) -> usize {
        let young = self.young().count();
        counted.sent.exemplars += young;
        counted.too_old.exemplars += self.exemplars.len() - young;
        young
    }
}

/// Appends the places of texts.
fn put_refs(out: &mut Vec<u8>, symbols: &mut Symbols, texts: [&str; 2]) {
    texts.into_iter().for_each(|text| wire::put_varint(out, u64::from(symbols.place(text))));
}
