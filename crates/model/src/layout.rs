//! A layout: the immutable list of a target's series, in chunks. Two scrapes with the same series share one layout, and layouts that
//! differ in a few series share the chunks that do not differ.

use std::sync::Arc;

use crate::chunk::{Chunk, ChunkBuilder, Full, SeriesRef};
use crate::metadata::Metadata;

/// An immutable list of series. Cloning shares the chunks.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    chunks: Box<[Arc<Chunk>]>,
    len: usize,
}

impl Layout {
    /// A layout of these chunks, in this order.
    #[must_use]
    pub fn new(chunks: Vec<Arc<Chunk>>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len()).sum();
        Self { chunks: chunks.into_boxed_slice(), len }
    }

    /// How many series there are in all chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunks in order.
    #[must_use]
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// All series in order.
    pub fn iter(&self) -> impl Iterator<Item = SeriesRef<'_>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

/// Builds a layout series by series, cutting chunks as they fill.
#[derive(Default)]
pub struct LayoutBuilder {
    chunks: Vec<Arc<Chunk>>,
    open: ChunkBuilder,
}

impl LayoutBuilder {
    /// Adds a series. Labels must come in name order, names unique, values not empty.
    ///
    /// # Errors
    /// [`Full`] if the series alone is too wide for a chunk (more than 32 767 labels).
    pub fn push<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Result<(), Full> {
        self.push_with(labels, None)
    }

    /// Adds a series as [`LayoutBuilder::push`] does, with what its target says about its family.
    ///
    /// # Errors
    /// As [`LayoutBuilder::push`].
    pub fn push_with<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        metadata: Option<&Arc<Metadata>>,
    ) -> Result<(), Full> {
        if self.open.push_with(labels.clone(), metadata).is_ok() {
            return Ok(());
        }
        self.cut();
        self.open.push_with(labels, metadata)
    }

    /// Takes over a finished chunk as it is; series added before it stay before it.
    pub fn push_chunk(&mut self, chunk: Arc<Chunk>) {
        self.cut();
        self.chunks.push(chunk);
    }

    /// Ends the open chunk, so that the next series starts a new one.
    pub fn cut(&mut self) {
        if !self.open.is_empty() {
            self.chunks.push(Arc::new(self.open.finish()));
        }
    }

    /// The finished layout; the builder is empty afterwards.
    pub fn finish(&mut self) -> Layout {
        self.cut();
        Layout::new(std::mem::take(&mut self.chunks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::MAX_CHUNK_SERIES;

    #[test]
    fn series_keep_their_order_across_chunks() {
        let mut builder = LayoutBuilder::default();
        let names: Vec<String> = (0..MAX_CHUNK_SERIES + 3).map(|i| format!("m{i}")).collect();
        for name in &names {
            builder.push([("__name__", name.as_str())].into_iter()).unwrap();
        }
        let layout = builder.finish();
        assert_eq!(layout.len(), names.len());
        assert_eq!(layout.chunks().len(), 2);
        assert!(layout.iter().map(|series| series.metric_name()).eq(names.iter().map(String::as_str)));
    }

    #[test]
    fn a_chunk_is_taken_over_without_a_copy() {
        let mut builder = LayoutBuilder::default();
        builder.push([("__name__", "a")].into_iter()).unwrap();
        let first = builder.finish();
        builder.push([("__name__", "b")].into_iter()).unwrap();
        builder.push_chunk(first.chunks()[0].clone());
        let second = builder.finish();
        assert!(Arc::ptr_eq(&second.chunks()[1], &first.chunks()[0]));
        assert_eq!(second.iter().map(|s| s.metric_name()).collect::<Vec<_>>(), ["b", "a"]);
    }
}
