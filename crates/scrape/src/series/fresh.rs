//! Series that a scrape brings and the target's state doesn't know yet, in the order of the body.

use std::sync::Arc;

use exposition::LabelBuffer;
use hashbrown::HashTable;
use model::{Chunk, ChunkBuilder, Metadata, SeriesRef, labels::hash_pairs};
use xxhash_rust::xxh3::xxh3_64;

use super::error::SeriesError;

/// What a series takes beside its labels: 18 bytes in columns and 5 in a table, with room to grow.
const SERIES_BYTES: usize = 40;

/// Series in chunks of their own, so that the first scrape of a target takes them over as they are.
#[derive(Default)]
pub(super) struct Fresh {
    open: ChunkBuilder,
    chunks: Vec<Arc<Chunk>>,
    /// The number of the first series of each chunk.
    starts: Vec<u32>,
    /// Numbers by their texts' hashes.
    known: HashTable<u32>,
    /// Heap of the finished chunks.
    chunk_bytes: usize,
    pub(super) texts: Vec<u64>,
    pub(super) lens: Vec<u16>,
    pub(super) ids: Vec<u32>,
    /// The row of the target's layout before which the series was found.
    pub(super) before: Vec<u32>,
}

impl Fresh {
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    pub(super) fn find(&self, text: u64) -> Option<u32> {
        self.known.find(text, |number| self.texts[*number as usize] == text).copied()
    }

    /// Adds a series that was found before row `before`, with what is known of its family. `len` is the length by which its text may be
    /// expected, 0 if it can't be.
    pub(super) fn push(
        &mut self,
        (text, len): (&[u8], u16),
        labels: &LabelBuffer,
        before: u32,
        family: Option<&Arc<Metadata>>,
    ) -> Result<(), SeriesError> {
        let number = self.len() as u32;
        if self.open.push_with(labels.iter(), family).is_err() {
            self.cut();
            // Label counts are bounded, so an empty chunk has room for any series.
            self.open.push_with(labels.iter(), family).map_err(|_| SeriesError::TooManySeries)?;
        }
        let hash = xxh3_64(text);
        self.texts.push(hash);
        let texts = &self.texts;
        self.known.insert_unique(hash, number, |number| texts[*number as usize]);
        self.lens.push(len);
        self.ids.push(id(labels.iter()));
        self.before.push(before);
        Ok(())
    }

    /// Closes the last chunk, so that all series can be read.
    pub(super) fn finish(&mut self) {
        self.cut();
    }

    /// The chunks; only after [`Fresh::finish`].
    pub(super) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// A series by its number; only after [`Fresh::finish`].
    pub(super) fn series(&self, number: u32) -> SeriesRef<'_> {
        let chunk = self.starts.partition_point(|start| *start <= number) - 1;
        self.chunks[chunk].series((number - self.starts[chunk]) as usize)
    }

    pub(super) fn clear(&mut self) {
        self.cut();
        self.chunks.clear();
        self.chunk_bytes = 0;
        self.starts.clear();
        self.known.clear();
        self.texts.clear();
        self.lens.clear();
        self.ids.clear();
        self.before.clear();
    }

    fn cut(&mut self) {
        if !self.open.is_empty() {
            self.starts.push((self.len() - self.open.len()) as u32);
            let chunk = self.open.finish();
            self.chunk_bytes += chunk.heap_bytes();
            self.chunks.push(Arc::new(chunk));
        }
    }

    /// Bytes that the series take, roughly, but for the labels of the chunk that is not finished. Memory that was there before them is
    /// theirs as far as they use it.
    pub(super) fn bytes(&self) -> usize {
        self.chunk_bytes + SERIES_BYTES * self.len()
    }
}

/// A short hash of a series' labels: equal labels have equal ones, and the few others that share it are told apart by comparing.
pub(super) fn id<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> u32 {
    hash_pairs(labels) as u32
}
