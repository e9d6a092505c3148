//! What stands in records: chunks (the labels of series) and batches (columns over chunks). A segment is read without any other, so each
//! repeats the chunks that its batches use, under numbers that count from zero in each segment.
//!
//! ```text
//! chunk  1 │ number u32 │ snappy( symbols u32, (length varint, text)…; series u16, (labels u16, (name u16, value u16)…)… )
//! batch  2 │ record u64 │ samples u32 │ source u64 │ timestamp i64 │ own timestamps u8 │ chunks u32, number u32… │ snappy( columns )
//! ```
//! Numbers are little-endian. Columns are stored plane by plane (all first bytes, then all second bytes, …): neighbours have the same
//! exponents and, being mostly whole numbers, the same zeros, which snappy finds only so.

use std::sync::Arc;

use model::{Batch, Chunk, ChunkBuilder, Layout};

use crate::encode::put_varint;

const CHUNK: u8 = 1;
const BATCH: u8 = 2;
/// Nothing that is unpacked is larger; a chunk's symbols and a batch's columns are far below.
const MAX_UNPACKED: usize = 1 << 30;

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
    source: u64,
    timestamp: i64,
    own_timestamps: bool,
    chunks: Vec<u32>,
    columns: Vec<u8>,
}

/// A record can't be read although its checksum is right: it was written by something else, or wrongly.
#[derive(Debug, thiserror::Error)]
#[error("the content of a record is malformed")]
pub(super) struct Malformed;

/// The number of the chunk if the content is one: known before it is unpacked.
pub(super) fn chunk_number(content: &[u8]) -> Option<u32> {
    let mut input = Input(content);
    (input.u8().ok()? == CHUNK).then(|| input.u32().ok())?
}

/// Reads a record's content.
pub(super) fn read(content: &[u8]) -> Result<Content, Malformed> {
    let mut input = Input(content);
    match input.u8()? {
        CHUNK => Ok(Content::Chunk(input.u32()?, read_chunk(&unpack(input.0)?)?)),
        BATCH => read_batch(input).map(Content::Batch),
        _ => Err(Malformed),
    }
}

/// Appends the content of a chunk's record.
pub(super) fn put_chunk(out: &mut Vec<u8>, number: u32, chunk: &Chunk) {
    let mut plain = Vec::with_capacity(chunk.heap_bytes());
    plain.extend_from_slice(&(chunk.symbol_count() as u32).to_le_bytes());
    for symbol in 0..chunk.symbol_count() {
        let text = chunk.symbol(symbol as u16); // there are at most 65 535
        put_varint(&mut plain, text.len() as u64);
        plain.extend_from_slice(text.as_bytes());
    }
    plain.extend_from_slice(&(chunk.len() as u16).to_le_bytes());
    for series in chunk.iter() {
        plain.extend_from_slice(&(series.symbols().len() as u16).to_le_bytes());
        for (name, value) in series.symbols() {
            plain.extend_from_slice(&name.to_le_bytes());
            plain.extend_from_slice(&value.to_le_bytes());
        }
    }
    out.push(CHUNK);
    out.extend_from_slice(&number.to_le_bytes());
    pack(out, &plain);
}

/// Appends the content of a batch's record; `chunks` are the numbers of its layout's chunks.
pub(super) fn put_batch(out: &mut Vec<u8>, record: u64, batch: &Batch, chunks: &[u32]) {
    out.push(BATCH);
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
    pack(out, &planes);
}

impl PackedBatch {
    /// The numbers of the chunks that the batch uses.
    pub fn chunks(&self) -> &[u32] {
        &self.chunks
    }

    /// Unpacks the batch over its chunks.
    pub fn unpack(&self, chunks: Vec<Arc<Chunk>>) -> Result<Batch, Malformed> {
        let layout = Layout::new(chunks);
        let planes = unpack(&self.columns)?;
        let rows = self.samples as usize;
        let column = size_of::<f64>() * rows;
        if layout.len() != rows || planes.len() != column * if self.own_timestamps { 2 } else { 1 } {
            return Err(Malformed);
        }
        let values: Vec<f64> = planes_to_words(&planes[..column], rows).map(f64::from_bits).collect();
        let mut batch = Batch::new(self.source, Arc::new(layout), self.timestamp, values);
        batch.timestamps = self.own_timestamps.then(|| planes_to_words(&planes[column..], rows).map(|word| word as i64).collect());
        Ok(batch)
    }
}

fn read_batch(mut input: Input<'_>) -> Result<PackedBatch, Malformed> {
    let (record, samples, source) = (input.u64()?, input.u32()?, input.u64()?);
    let (timestamp, own_timestamps) = (input.u64()? as i64, input.u8()? != 0);
    let count = input.u32()? as usize;
    let numbers = input.take(count.checked_mul(4).ok_or(Malformed)?)?; // bounded by what is there
    let chunks = numbers.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    Ok(PackedBatch { record, samples, source, timestamp, own_timestamps, chunks, columns: input.0.to_vec() })
}

fn read_chunk(plain: &[u8]) -> Result<Chunk, Malformed> {
    let mut input = Input(plain);
    let count = input.u32()? as usize;
    let mut symbols = Vec::with_capacity(count.min(plain.len())); // every symbol takes a byte at least
    for _ in 0..count {
        let len = usize::try_from(input.varint()?).map_err(|_| Malformed)?;
        symbols.push(std::str::from_utf8(input.take(len)?).map_err(|_| Malformed)?);
    }
    let mut builder = ChunkBuilder::default();
    for _ in 0..input.u16()? {
        let labels = usize::from(input.u16()?);
        let pairs = input.take(4 * labels)?.as_chunks::<4>().0;
        let pairs = pairs.iter().map(|[n0, n1, v0, v1]| (u16::from_le_bytes([*n0, *n1]), u16::from_le_bytes([*v0, *v1])));
        let symbol = |at: u16| symbols.get(usize::from(at)).copied();
        if !pairs.clone().all(|(name, value)| symbol(name).is_some() && symbol(value).is_some()) {
            return Err(Malformed);
        }
        let texts = pairs.map(|(name, value)| (symbol(name).unwrap_or_default(), symbol(value).unwrap_or_default()));
        builder.push(texts).map_err(|_| Malformed)?;
    }
    Ok(builder.finish())
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

fn unpack(packed: &[u8]) -> Result<Vec<u8>, Malformed> {
    match snap::raw::decompress_len(packed) {
        Ok(len) if len <= MAX_UNPACKED => snap::raw::Decoder::new().decompress_vec(packed).map_err(|_| Malformed),
        _ => Err(Malformed),
    }
}

/// Bytes that are read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use model::LayoutBuilder;
    use proptest::prelude::*;

    use super::*;

    fn layout(series: &[Vec<(String, String)>]) -> Arc<Layout> {
        let mut builder = LayoutBuilder::default();
        for labels in series {
            builder.push(labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))).unwrap();
        }
        Arc::new(builder.finish())
    }

    type Sample<'a> = (Vec<(&'a str, &'a str)>, i64, u64);

    fn series(batch: &Batch) -> Vec<Sample<'_>> {
        batch.iter().map(|(labels, timestamp, value)| (labels.iter().collect(), timestamp, value.to_bits())).collect()
    }

    /// Writes a batch with its chunks and reads it again.
    fn round_trip(batch: &Batch) -> Batch {
        let (mut chunks, mut numbers) = (Vec::new(), Vec::new());
        for (number, chunk) in batch.layout.chunks().iter().enumerate() {
            let mut out = Vec::new();
            put_chunk(&mut out, number as u32, chunk);
            assert_eq!(chunk_number(&out), Some(number as u32));
            let Ok(Content::Chunk(_, chunk)) = read(&out) else { panic!("a chunk") };
            chunks.push(Arc::new(chunk));
            numbers.push(number as u32);
        }
        let mut out = Vec::new();
        put_batch(&mut out, 7, batch, &numbers);
        assert_eq!(chunk_number(&out), None);
        let Ok(Content::Batch(packed)) = read(&out) else { panic!("a batch") };
        assert_eq!((packed.record, packed.samples as usize, packed.chunks()), (7, batch.len(), &numbers[..]));
        packed.unpack(chunks).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_batch_comes_back_as_it_was_written(
            series_labels in prop::collection::vec(prop::collection::btree_map("[a-z]{1,3}", "\\PC{1,20}", 1..5), 0..30),
            source: u64, timestamp: i64,
            values in prop::collection::vec(any::<u64>(), 30),
            timestamps in prop::option::of(prop::collection::vec(any::<i64>(), 30)),
        ) {
            let labels: Vec<Vec<(String, String)>> = series_labels.into_iter().map(|labels| labels.into_iter().collect()).collect();
            let values: Vec<f64> = values.into_iter().map(f64::from_bits).take(labels.len()).collect();
            let mut batch = Batch::new(source, layout(&labels), timestamp, values);
            batch.timestamps = timestamps.map(|all| all[..batch.len()].into());
            let back = round_trip(&batch);
            prop_assert_eq!((back.source, back.timestamp), (source, timestamp));
            prop_assert_eq!(series(&back), series(&batch));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 1_u8..3) {
            let content = [&[kind][..], &bytes].concat();
            if let Ok(Content::Batch(packed)) = read(&content) {
                drop(packed.unpack(Vec::new()));
            }
        }
    }

    #[test]
    fn counters_and_zeros_take_little_space() {
        let labels: Vec<Vec<(String, String)>> = (0..512).map(|i| vec![("__name__".to_owned(), format!("m{i}"))]).collect();
        let values: Vec<f64> = (0..512).map(|i| if i % 3 == 0 { 0.0 } else { f64::from(i * 37) }).collect();
        let mut out = Vec::new();
        put_batch(&mut out, 1, &Batch::new(1, layout(&labels), 0, values), &[0]);
        assert!(out.len() < 4 * 512, "{} bytes", out.len());
    }

    #[test]
    fn a_batch_whose_chunks_have_another_size_is_refused() {
        let batch = Batch::new(1, layout(&[vec![("a".into(), "b".into())]]), 0, vec![1.0]);
        let mut out = Vec::new();
        put_batch(&mut out, 1, &batch, &[0]);
        let Ok(Content::Batch(packed)) = read(&out) else { panic!("a batch") };
        assert!(packed.unpack(Vec::new()).is_err());
    }
}
