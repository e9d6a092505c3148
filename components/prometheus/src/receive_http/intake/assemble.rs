//! From rows to batches: one for each way through the collector, its series in the order in which they came.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Batch, Chunk, Details, Exemplar, LayoutBuilder, Metadata};

use super::chunks::{self, KnownChunks, Run};
use super::identity::{Identity, SOURCES, routing_key};
use super::labels::Texts;
use super::parsed::{Parsed, Row, Said, Series, reset};
use super::v2::NOTHING;
use super::wire::{Malformed, Reader};
use super::{Options, Refusals, Rejected, Version, v1};

/// Labels of all rows together, counting those of a series as often as it has rows: a chunk has four bytes for each.
const MAX_ROW_LABELS: usize = 8 << 20;
/// A row whose series is refused.
const LEFT_OUT: u32 = u32::MAX;

/// What was made of a request.
#[derive(Debug, Default)]
pub struct Taken {
    /// What to hand on, one for each routing key.
    pub batches: Vec<Batch>,
    /// Float samples in them.
    pub samples: u64,
    /// Native histograms in them.
    pub histograms: u64,
    /// Exemplars in them.
    pub exemplars: u64,
    /// Exemplars that Prometheus would drop as well, or whose series has no sample in the request.
    pub dropped_exemplars: u64,
}

/// Memory that is used again.
#[derive(Default)]
pub(super) struct Scratch {
    /// Rows by source.
    order: Vec<u32>,
    /// Rows of one source that are left.
    kept: Vec<u32>,
    /// By row, its place in its batch.
    places: Vec<u32>,
}

/// All that is needed to assemble a request.
pub(super) struct Assembly<'a> {
    pub texts: Texts<'a>,
    pub parsed: &'a Parsed,
    pub identity: &'a Identity,
    pub known: &'a KnownChunks,
    pub options: &'a Options,
    /// The latest timestamp that is taken, in milliseconds.
    pub newest: i64,
}

impl<'a> Assembly<'a> {
    pub fn run(&self, scratch: &mut Scratch, refusals: &mut Refusals) -> Result<Taken, Rejected> {
        let Parsed { rows, histograms, created, exemplars, .. } = self.parsed;
        let has_details = !(histograms.is_empty() && created.is_empty() && exemplars.is_empty());
        let mut taken = Taken::default();
        let mut building = Building::default();
        scratch.places.clear();
        scratch.places.resize(if has_details { rows.len() } else { 0 }, LEFT_OUT);
        let ends = self.by_source(&mut scratch.order);
        let order = std::mem::take(&mut scratch.order);
        let mut start = 0;
        for (source, end) in ends.into_iter().enumerate() {
            let of_source = &order[start..end];
            start = end;
            if of_source.is_empty() {
                continue;
            }
            scratch.kept.clear();
            let batch = self.batch(source as u8, of_source, &mut scratch.kept, &mut building, refusals)?;
            if has_details {
                scratch.kept.iter().zip(0..).for_each(|(row, place)| scratch.places[*row as usize] = place);
            }
            if !batch.is_empty() {
                taken.samples += batch.len() as u64;
                taken.batches.push(batch);
            }
        }
        scratch.order = order;
        if has_details {
            self.details(&scratch.places, &mut taken, refusals)?;
        }
        [&mut scratch.order, &mut scratch.kept, &mut scratch.places].into_iter().for_each(reset);
        Ok(taken)
    }

    fn series_of(&self, row: u32) -> &Series {
        &self.parsed.series[self.parsed.rows[row as usize].series as usize]
    }

    /// Sorts the rows by source, keeping their order; where the rows of each source end.
    fn by_source(&self, order: &mut Vec<u32>) -> [usize; SOURCES] {
        let mut ends = [0; SOURCES];
        let rows = self.parsed.rows.len() as u32;
        for row in 0..rows {
            ends[usize::from(self.series_of(row).source)] += 1;
        }
        let mut next = 0;
        let mut starts = ends.map(|count| {
            next += count;
            next - count
        });
        order.clear();
        order.resize(rows as usize, 0);
        for row in 0..rows {
            let start = &mut starts[usize::from(self.series_of(row).source)];
            order[*start] = row;
            *start += 1;
        }
        starts
    }

    /// The batch of one source; `kept` is filled with the rows that are left.
    fn batch(
        &self,
        source: u8,
        rows: &[u32],
        kept: &mut Vec<u32>,
        building: &mut Building<'a>,
        refusals: &mut Refusals,
    ) -> Result<Batch, Rejected> {
        let mut chunks = Vec::new();
        let mut known = self.known.of(source);
        let mut rest = rows;
        while !rest.is_empty() {
            let run = chunks::cut(rest, &self.parsed.rows, &self.parsed.series, self.identity);
            let (of_run, after) = rest.split_at(run.len);
            rest = after;
            if known.find(&run, self.identity, &mut chunks) {
                kept.extend_from_slice(of_run);
                continue;
            }
            let built = self.build(of_run, kept, building, refusals)?;
            if built.is_whole {
                known.keep(&Run { len: run.len, key: run.key }, &built.chunks);
            }
            chunks.extend(built.chunks);
        }
        let layout = known.layout(chunks);
        drop(known);
        let all: &[Row] = &self.parsed.rows;
        let values: Arc<[f64]> = kept.iter().map(|row| all[*row as usize].value).collect();
        let first = kept.first().map_or(0, |row| all[*row as usize].timestamp);
        let is_one_time = kept.iter().all(|row| all[*row as usize].timestamp == first);
        let timestamps = (!is_one_time).then(|| kept.iter().map(|row| all[*row as usize].timestamp).collect());
        Ok(Batch { timestamps, ..Batch::new(routing_key(source), layout, first, values) })
    }

    /// Builds the chunks of a run that is not known.
    fn build(&self, rows: &[u32], kept: &mut Vec<u32>, building: &mut Building<'a>, refusals: &mut Refusals) -> Result<Built, Rejected> {
        let mut layout = LayoutBuilder::default();
        let mut is_whole = true;
        let mut rest = rows;
        while let Some(&row) = rest.first() {
            // Several samples of a series come one after the other.
            let number = self.parsed.rows[row as usize].series;
            let count = rest.iter().take_while(|other| self.parsed.rows[**other as usize].series == number).count();
            let (of_series, after) = rest.split_at(count);
            rest = after;
            if building.number != Some(number) {
                building.look_at(number, self)?;
            }
            let labels = match &building.labels {
                Ok(labels) => labels,
                Err(reason) => {
                    is_whole = false;
                    refusals.invalid(count, || reason.clone());
                    continue;
                }
            };
            building.row_labels += labels.len() * count;
            if building.row_labels > MAX_ROW_LABELS {
                return Err(Malformed("the samples of the request have more than 8388608 labels together; send several requests").into());
            }
            for row in of_series {
                // It fits: labels were counted.
                if layout.push_with(labels.iter().copied(), building.metadata.as_ref()).is_ok() {
                    kept.push(*row);
                }
            }
        }
        Ok(Built { chunks: layout.finish().chunks().to_vec(), is_whole })
    }

    /// Gives batches their histograms, start times and exemplars.
    fn details(&self, places: &[u32], taken: &mut Taken, refusals: &mut Refusals) -> Result<(), Rejected> {
        let mut of_source: Vec<Collected> = (0..SOURCES).map(|_| Collected::default()).collect();
        let place = |row: u32| (usize::from(self.series_of(row).source), places[row as usize]);
        for (row, histogram) in &self.parsed.histograms {
            let (source, place) = place(*row);
            if place != LEFT_OUT {
                of_source[source].histograms.push((place, histogram.clone()));
                taken.histograms += 1;
                taken.samples -= 1;
            }
        }
        for (row, start) in &self.parsed.created {
            let (source, place) = place(*row);
            if place != LEFT_OUT {
                of_source[source].created.push((place, *start));
            }
        }
        let elsewhere = self.rows_elsewhere();
        for (series, from, to) in &self.parsed.exemplars {
            let series = &self.parsed.series[*series as usize];
            let Some(row) = series.last_row.or_else(|| elsewhere.get(&series.key).copied()) else {
                taken.dropped_exemplars += 1;
                if self.texts.version == Version::V2 {
                    refusals.add(|| NOTHING.to_owned());
                }
                continue;
            };
            let (source, place) = place(row);
            match self.exemplar(Reader::part(self.texts.request, *from as usize, *to as usize))? {
                Some(exemplar) if place != LEFT_OUT => {
                    of_source[source].exemplars.push((place, exemplar));
                    taken.exemplars += 1;
                }
                _ => taken.dropped_exemplars += 1,
            }
        }
        for batch in &mut taken.batches {
            let source = (0..SOURCES).find(|source| routing_key(*source as u8) == batch.source);
            let collected = source.map(|source| std::mem::take(&mut of_source[source])).unwrap_or_default();
            batch.details = Some(collected.finish()).filter(|details| !details.is_empty()).map(Arc::new);
        }
        Ok(())
    }

    /// Prometheus sends exemplars apart from their samples: by key, the last row of series that exemplars came for without a sample.
    fn rows_elsewhere(&self) -> HashMap<u128, u32> {
        let series = &self.parsed.series;
        if self.parsed.exemplars.iter().all(|(of, ..)| series[*of as usize].last_row.is_some()) {
            return HashMap::new();
        }
        series.iter().filter_map(|series| Some((series.key, series.last_row?))).collect()
    }

    fn exemplar(&self, message: Reader<'_>) -> Result<Option<Exemplar>, Malformed> {
        let (value, timestamp) = v1::exemplar(message)?;
        if timestamp > self.newest {
            return Ok(None);
        }
        let labels = self.texts.of_exemplar(Reader::part(self.texts.request, message.position(), message.end()))?;
        Ok(labels.map(|labels| Exemplar { labels, value, timestamp: (timestamp != 0).then_some(timestamp) }))
    }
}

/// The series that is being built, whose rows may be in several runs: its message is read once.
struct Building<'a> {
    number: Option<u32>,
    labels: Result<Vec<(&'a str, &'a str)>, String>,
    metadata: Option<Arc<Metadata>>,
    /// What `metadata` was made of.
    said: (Said, &'a str),
    /// See [`MAX_ROW_LABELS`].
    row_labels: usize,
}

impl Default for Building<'_> {
    fn default() -> Self {
        Self { number: None, labels: Ok(Vec::new()), metadata: None, said: (Said::default(), ""), row_labels: 0 }
    }
}

impl<'a> Building<'a> {
    fn look_at(&mut self, number: u32, assembly: &Assembly<'a>) -> Result<(), Malformed> {
        let Options { append_metadata, type_and_unit_labels } = *assembly.options;
        let series = &assembly.parsed.series[number as usize];
        self.number = Some(number);
        self.labels = assembly.texts.of_series(series, type_and_unit_labels)?;
        if let (true, Ok(labels)) = (append_metadata, &self.labels) {
            let name = labels.iter().find(|(name, _)| *name == model::labels::METRIC_NAME).map_or("", |(_, value)| value);
            if self.said != (series.said, name) {
                self.said = (series.said, name);
                self.metadata = assembly.texts.metadata(series.said, name);
            }
        }
        Ok(())
    }
}

/// What was built of a run.
struct Built {
    chunks: Vec<Arc<Chunk>>,
    /// Whether all of its rows are in it.
    is_whole: bool,
}

/// Details of a batch, while they are collected.
#[derive(Default)]
struct Collected {
    histograms: Vec<(u32, model::Histogram)>,
    exemplars: Vec<(u32, Exemplar)>,
    created: Vec<(u32, i64)>,
}

impl Collected {
    fn finish(mut self) -> Details {
        // Those that came apart from their samples are not in row order.
        self.exemplars.sort_by_key(|(place, _)| *place);
        Details { histograms: self.histograms.into(), exemplars: self.exemplars.into(), created: self.created.into() }
    }
}
