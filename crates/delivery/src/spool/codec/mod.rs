//! What stands in records: chunks (the labels of series) and batches (columns over chunks). A segment is read without any other, so each
//! repeats the chunks that its batches use, under numbers that count from zero in each segment.
//!
//! ```text
//! chunk  1 │ number u32 │ snappy( symbols u32, (length varint, text)…; series u16, (labels u16, (name u16, value u16)…)… )
//! batch  2 │ record u64 │ samples u32 │ source u64 │ timestamp i64 │ own timestamps u8 │ chunks u32, number u32… │ snappy( columns )
//! chunk  3   as 1, with what is known of families behind the series:
//!            families varint, (kind u8, name, help and unit, each with its length)…; one more than the family's index u16, per series
//! batch  4   as 2, with details: … │ length of the columns u32 │ snappy( columns ) │ snappy( details )
//! ```
//! Numbers are little-endian. Who has no families or details writes what it always wrote, and that is always read. Columns are stored plane by plane (all first bytes, then all second bytes, …): neighbours have the same
//! exponents and, being mostly whole numbers, the same zeros, which snappy finds only so.

mod details;
pub(super) mod input;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::{Batch, Chunk, ChunkBuilder, Layout, Metadata, MetricType};

use crate::encode::put_varint;
use details::put_text;
use input::Input;

const CHUNK: u8 = 1;
const BATCH: u8 = 2;
const CHUNK_WITH_FAMILIES: u8 = 3;
const BATCH_WITH_DETAILS: u8 = 4;
/// By number, as they are written.
const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];
/// Nothing on disk that is unpacked is larger; a chunk's symbols and a batch's columns are far below.
const MAX_UNPACKED: usize = 1 << 30;
/// Snappy's format has at most 64 bytes for 3.
const MAX_RATIO: usize = 22;
/// A chunk numbers its symbols with 16 bits.
const MAX_SYMBOLS: usize = 1 << 16;

/// A record's content.
pub(super) enum Content {
    /// A chunk and its number in the segment.
    Chunk(u32, Chunk),
    /// A batch.
    Batch(PackedBatch),
}

/// A batch whose columns are not unpacked yet: whoever skips or counts it need not.
pub(super) struct PackedBatch {
    /// The record's number, unique in a queue.
    pub record: u64,
    /// How many samples it has.
    pub samples: u32,
    /// Where it came from.
    pub source: u64,
    /// Its time, milliseconds since the epoch.
    pub timestamp: i64,
    own_timestamps: bool,
    chunks: Vec<u32>,
    columns: Vec<u8>,
    details: Option<Vec<u8>>,
}

/// Bytes that may still be unpacked: checked against what a record says of itself, before there is room for it.
pub(super) struct Budget(pub usize);

impl Budget {
    /// For a record that this program wrote to its own disk.
    pub fn of_disk() -> Self {
        Self(MAX_UNPACKED)
    }
}

/// A record can't be read although its checksum is right: it was written by something else, or wrongly.
#[derive(Debug, thiserror::Error)]
#[error("the content of a record is malformed")]
pub(crate) struct Malformed;

/// The number of the chunk if the content is one: known before it is unpacked.
pub(super) fn chunk_number(content: &[u8]) -> Option<u32> {
    let mut input = Input(content);
    [CHUNK, CHUNK_WITH_FAMILIES].contains(&input.u8().ok()?).then(|| input.u32().ok())?
}

/// Reads a record's content; a chunk is unpacked.
pub(super) fn read(content: &[u8], budget: &mut Budget) -> Result<Content, Malformed> {
    let mut input = Input(content);
    match input.u8()? {
        kind @ (CHUNK | CHUNK_WITH_FAMILIES) => {
            Ok(Content::Chunk(input.u32()?, read_chunk(&unpack(input.0, budget)?, kind == CHUNK_WITH_FAMILIES)?))
        }
        kind @ (BATCH | BATCH_WITH_DETAILS) => read_batch(input, kind == BATCH_WITH_DETAILS).map(Content::Batch),
        _ => Err(Malformed),
    }
}

/// Appends the content of a chunk's record.
pub(super) fn put_chunk(out: &mut Vec<u8>, number: u32, chunk: &Chunk) {
    let mut plain = Vec::with_capacity(chunk.heap_bytes());
    plain.extend_from_slice(&(chunk.symbol_count() as u32).to_le_bytes());
    for symbol in 0..chunk.symbol_count() {
        put_text(&mut plain, chunk.symbol(symbol as u16)); // there are at most 65 535
    }
    plain.extend_from_slice(&(chunk.len() as u16).to_le_bytes());
    for series in chunk.iter() {
        plain.extend_from_slice(&(series.symbols().len() as u16).to_le_bytes());
        for (name, value) in series.symbols() {
            plain.extend_from_slice(&name.to_le_bytes());
            plain.extend_from_slice(&value.to_le_bytes());
        }
    }
    if !chunk.families().is_empty() {
        put_families(&mut plain, chunk);
    }
    out.push(if chunk.families().is_empty() { CHUNK } else { CHUNK_WITH_FAMILIES });
    out.extend_from_slice(&number.to_le_bytes());
    pack(out, &plain);
}

fn put_families(plain: &mut Vec<u8>, chunk: &Chunk) {
    let families = chunk.families();
    put_varint(plain, families.len() as u64);
    for family in families {
        plain.push(TYPES.iter().position(|kind| *kind == family.kind).unwrap_or_default() as u8);
        [&family.family, &family.help, &family.unit].into_iter().for_each(|text| put_text(plain, text));
    }
    for row in 0..chunk.len() {
        let index = chunk.metadata(row).and_then(|of_row| families.iter().position(|family| Arc::ptr_eq(family, of_row)));
        plain.extend_from_slice(&index.map_or(0, |index| index as u16 + 1).to_le_bytes()); // a chunk has at most 512 families
    }
}

/// Appends the content of a batch's record; `chunks` are the numbers of its layout's chunks.
pub(super) fn put_batch(out: &mut Vec<u8>, record: u64, batch: &Batch, chunks: &[u32]) {
    out.push(if batch.details.is_some() { BATCH_WITH_DETAILS } else { BATCH });
    out.extend_from_slice(&record.to_le_bytes());
    out.extend_from_slice(&(batch.len() as u32).to_le_bytes());
    out.extend_from_slice(&batch.source.to_le_bytes());
    out.extend_from_slice(&batch.timestamp.to_le_bytes());
    out.push(u8::from(batch.timestamps.is_some()));
    out.extend_from_slice(&(chunks.len() as u32).to_le_bytes());
    chunks.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    let mut planes = Vec::with_capacity(2 * size_of::<f64>() * batch.len());
    put_planes(&mut planes, batch.len(), |row| batch.values[row].to_bits());
    if let Some(timestamps) = &batch.timestamps {
        put_planes(&mut planes, batch.len(), |row| timestamps[row] as u64);
    }
    let Some(details) = &batch.details else { return pack(out, &planes) };
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    pack(out, &planes);
    let len = (out.len() - at - 4) as u32; // columns of at most 2³² samples, which records can't hold more of
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
    let mut plain = Vec::new();
    details::put(&mut plain, details);
    pack(out, &plain);
}

impl PackedBatch {
    /// The numbers of the chunks that the batch uses.
    pub fn chunks(&self) -> &[u32] {
        &self.chunks
    }

    /// Unpacks the batch over its chunks.
    pub fn unpack(&self, chunks: Vec<Arc<Chunk>>, budget: &mut Budget) -> Result<Batch, Malformed> {
        let layout = Layout::new(chunks);
        let planes = unpack(&self.columns, budget)?;
        let rows = self.samples as usize;
        let column = size_of::<f64>() * rows;
        if layout.len() != rows || planes.len() != column * if self.own_timestamps { 2 } else { 1 } {
            return Err(Malformed);
        }
        let values: Vec<f64> = planes_to_words(&planes[..column], rows).map(f64::from_bits).collect();
        let mut batch = Batch::new(self.source, Arc::new(layout), self.timestamp, values);
        batch.timestamps = self.own_timestamps.then(|| planes_to_words(&planes[column..], rows).map(|word| word as i64).collect());
        match &self.details {
            Some(packed) => Ok(batch.with_details(details::read(&mut Input(&unpack(packed, budget)?), self.samples)?)),
            None => Ok(batch),
        }
    }
}

fn read_batch(mut input: Input<'_>, with_details: bool) -> Result<PackedBatch, Malformed> {
    let (record, samples, source) = (input.u64()?, input.u32()?, input.u64()?);
    let (timestamp, own_timestamps) = (input.u64()? as i64, input.u8()? != 0);
    let count = input.u32()? as usize;
    let numbers = input.take(count.checked_mul(4).ok_or(Malformed)?)?; // bounded by what is there
    let chunks = numbers.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let len = if with_details { input.u32()? as usize } else { input.0.len() };
    let columns = input.take(len)?.to_vec();
    let details = with_details.then(|| input.0.to_vec());
    Ok(PackedBatch { record, samples, source, timestamp, own_timestamps, chunks, columns, details })
}

fn read_chunk(plain: &[u8], with_families: bool) -> Result<Chunk, Malformed> {
    let mut input = Input(plain);
    let count = input.u32()? as usize;
    if count > MAX_SYMBOLS {
        return Err(Malformed);
    }
    let mut symbols = Vec::with_capacity(count.min(plain.len())); // every symbol takes a byte at least
    for _ in 0..count {
        symbols.push(input.text()?);
    }
    let mut all = Vec::new();
    for _ in 0..input.u16()? {
        let labels = usize::from(input.u16()?);
        all.push(input.take(4 * labels)?.as_chunks::<4>().0);
    }
    let families = if with_families { read_families(&mut input, all.len())? } else { vec![None; all.len()] };
    let mut builder = ChunkBuilder::default();
    for (pairs, family) in all.into_iter().zip(families) {
        let pairs = pairs.iter().map(|[n0, n1, v0, v1]| (u16::from_le_bytes([*n0, *n1]), u16::from_le_bytes([*v0, *v1])));
        let symbol = |at: u16| symbols.get(usize::from(at)).copied();
        if !pairs.clone().all(|(name, value)| symbol(name).is_some() && symbol(value).is_some()) {
            return Err(Malformed);
        }
        let texts = pairs.map(|(name, value)| (symbol(name).unwrap_or_default(), symbol(value).unwrap_or_default()));
        builder.push_with(texts, family.as_ref()).map_err(|_| Malformed)?;
    }
    Ok(builder.finish())
}

/// What is known of the family of each of `series` series.
fn read_families(input: &mut Input<'_>, series: usize) -> Result<Vec<Option<Arc<Metadata>>>, Malformed> {
    let families = input.list(|input| {
        let kind = *TYPES.get(usize::from(input.u8()?)).ok_or(Malformed)?;
        let [family, help, unit] = [input.text()?, input.text()?, input.text()?].map(Into::into);
        Ok(Metadata { family, kind, help, unit }.shared())
    })?;
    let family = |_| match usize::from(input.u16()?) {
        0 => Ok(None),
        number => families.get(number - 1).cloned().map(Some).ok_or(Malformed),
    };
    (0..series).map(family).collect()
}

/// Appends the words of a column, plane by plane.
fn put_planes(out: &mut Vec<u8>, rows: usize, word: impl Fn(usize) -> u64) {
    for plane in 0..size_of::<u64>() {
        out.extend((0..rows).map(|row| (word(row) >> (8 * plane)) as u8));
    }
}

/// The words of a column of `rows` rows; `planes` has eight bytes for each.
fn planes_to_words(planes: &[u8], rows: usize) -> impl Iterator<Item = u64> {
    (0..rows).map(move |row| (0..size_of::<u64>()).fold(0, |word, plane| word | u64::from(planes[plane * rows + row]) << (8 * plane)))
}

fn pack(out: &mut Vec<u8>, plain: &[u8]) {
    let start = out.len();
    out.resize(start + snap::raw::max_compress_len(plain.len()), 0);
    // It fails only for buffers that are too small or texts beyond 4 GiB; an empty rest is malformed and skipped when it is read.
    let len = snap::raw::Encoder::new().compress(plain, &mut out[start..]).unwrap_or(0);
    out.truncate(start + len);
}

fn unpack(packed: &[u8], budget: &mut Budget) -> Result<Vec<u8>, Malformed> {
    let len = snap::raw::decompress_len(packed).map_err(|_| Malformed)?;
    if len > packed.len().saturating_mul(MAX_RATIO) {
        return Err(Malformed);
    }
    budget.0 = budget.0.checked_sub(len).ok_or(Malformed)?;
    snap::raw::Decoder::new().decompress_vec(packed).map_err(|_| Malformed)
}
