//! A chunk: up to 512 series whose labels share one table of symbols. It is immutable and shared, and the unit on which everything that
//! depends on labels alone is cached (relabelling, encoded templates), so a change of one series costs one chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::labels::{self, Labels};
use crate::metadata::Metadata;

/// At most this many series share a chunk: small enough that replacing one is cheap, large enough that its fixed cost vanishes.
pub const MAX_CHUNK_SERIES: usize = 512;

/// Symbols are addressed with 16 bits; a chunk is full before they run out.
const MAX_SYMBOLS: usize = u16::MAX as usize;
/// A builder keeps no more bytes of text than this, …
const MAX_KEPT_TEXT: usize = 256 << 10;
/// … and no more pairs, for the next chunk: twice what 512 series of 30 labels need.
const MAX_KEPT_PAIRS: usize = 32 << 10;

/// Chunk numbers are unique in a process, so a cache may be keyed on them without keeping the chunk alive.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Up to [`MAX_CHUNK_SERIES`] series.
pub struct Chunk {
    id: u64,
    /// Symbol texts end to end; symbol `s` is `text[ends[s-1]..ends[s]]`.
    text: Box<str>,
    symbol_ends: Box<[u32]>,
    /// (name symbol, value symbol) of all series end to end.
    pairs: Box<[(u16, u16)]>,
    series_ends: Box<[u32]>,
    /// What the target says about the families that the series belong to.
    families: Box<[Arc<Metadata>]>,
    /// One more than the index in `families` per row, 0 if nothing is known of it; empty if nothing is known of any.
    family_of: Box<[u16]>,
}

impl Chunk {
    /// The chunk's number, unique in this process and never used again.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series_ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series_ends.is_empty()
    }

    /// The series in `row`. Panics if there is no such row, like indexing.
    #[must_use]
    pub fn series(&self, row: usize) -> SeriesRef<'_> {
        let start = if row == 0 { 0 } else { self.series_ends[row - 1] };
        SeriesRef { chunk: self, row: row as u16, pairs: &self.pairs[start as usize..self.series_ends[row] as usize] }
    }

    /// What the target says about the family that the series in `row` belongs to, if it says anything.
    #[must_use]
    pub fn metadata(&self, row: usize) -> Option<&Arc<Metadata>> {
        let number = usize::from(*self.family_of.get(row)?);
        self.families.get(number.checked_sub(1)?)
    }

    /// What the target says about all families that series of the chunk belong to, each once.
    #[must_use]
    pub fn families(&self) -> &[Arc<Metadata>] {
        &self.families
    }

    /// All series in row order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SeriesRef<'_>> {
        (0..self.len()).map(|row| self.series(row))
    }

    /// How many different strings the chunk holds; symbols are `0..symbol_count()`.
    #[must_use]
    pub fn symbol_count(&self) -> usize {
        self.symbol_ends.len()
    }

    /// The text of a symbol. Panics if there is none, like indexing.
    #[must_use]
    pub fn symbol(&self, symbol: u16) -> &str {
        let at = usize::from(symbol);
        let start = if at == 0 { 0 } else { self.symbol_ends[at - 1] };
        &self.text[start as usize..self.symbol_ends[at] as usize]
    }

    /// Bytes of heap that the chunk holds; metadata are shared with others and not counted.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let words = 4 * (self.symbol_ends.len() + self.pairs.len() + self.series_ends.len());
        self.text.len() + words + size_of::<Arc<Metadata>>() * self.families.len() + 2 * self.family_of.len()
    }
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|series| series.to_labels())).finish()
    }
}

/// One series of a chunk: its labels in name order.
#[derive(Clone, Copy)]
pub struct SeriesRef<'a> {
    chunk: &'a Chunk,
    row: u16,
    pairs: &'a [(u16, u16)],
}

impl<'a> SeriesRef<'a> {
    /// All labels in name order, `__name__` among them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let chunk = self.chunk;
        self.pairs.iter().map(move |&(name, value)| (chunk.symbol(name), chunk.symbol(value)))
    }

    /// The (name, value) symbols of the labels in name order.
    #[must_use]
    pub fn symbols(&self) -> &'a [(u16, u16)] {
        self.pairs
    }

    /// What the target says about the series' family, if it says anything.
    #[must_use]
    pub fn metadata(&self) -> Option<&'a Arc<Metadata>> {
        self.chunk.metadata(usize::from(self.row))
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The metric's name, empty if it has none.
    #[must_use]
    pub fn metric_name(&self) -> &'a str {
        self.get(labels::METRIC_NAME).unwrap_or_default()
    }

    /// A hash of the labels that is the same on every node and in every version.
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        labels::hash_pairs(self.iter())
    }

    /// The labels as a set of their own.
    #[must_use]
    pub fn to_labels(&self) -> Labels {
        self.iter().collect()
    }
}

/// A series did not fit: the chunk is full, finish it and put the series into the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Builds a chunk series by series.
#[derive(Default)]
pub struct ChunkBuilder {
    text: String,
    symbol_ends: Vec<u32>,
    /// Texts to symbols; open addressing over `symbol_ends` would save little, as builders are short-lived.
    lookup: hashbrown::HashMap<Box<str>, u16>,
    pairs: Vec<(u16, u16)>,
    series_ends: Vec<u32>,
    families: Vec<Arc<Metadata>>,
    /// Shorter than the series while none of the last ones has metadata.
    family_of: Vec<u16>,
}

impl ChunkBuilder {
    /// Adds a series. Labels must come in name order, names unique, values not empty.
    ///
    /// # Errors
    /// [`Full`] if the chunk has no room for it; nothing was added then. A series that does not fit into an empty chunk (more than
    /// 32 767 labels) never fits: callers bound label counts before.
    pub fn push<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Result<(), Full> {
        let new_symbols = 2 * labels.clone().count();
        if self.series_ends.len() >= MAX_CHUNK_SERIES || self.symbol_ends.len() + new_symbols > MAX_SYMBOLS {
            return Err(Full);
        }
        for (name, value) in labels {
            let pair = (self.symbol(name), self.symbol(value));
            self.pairs.push(pair);
        }
        self.series_ends.push(self.pairs.len() as u32);
        Ok(())
    }

    /// Adds a series as [`ChunkBuilder::push`] does, with what its target says about its family.
    ///
    /// # Errors
    /// As [`ChunkBuilder::push`].
    pub fn push_with<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        metadata: Option<&Arc<Metadata>>,
    ) -> Result<(), Full> {
        self.push(labels)?;
        if let Some(metadata) = metadata {
            let family = self.family(metadata);
            self.family_of.resize(self.series_ends.len() - 1, 0);
            self.family_of.push(family);
        }
        Ok(())
    }

    /// How many series were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series_ends.len()
    }

    /// Whether none was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series_ends.is_empty()
    }

    /// The finished chunk; the builder is empty afterwards and can be used again.
    pub fn finish(&mut self) -> Chunk {
        if !self.families.is_empty() {
            self.family_of.resize(self.series_ends.len(), 0);
        }
        // Copied rather than boxed: an allocator need not give back the end of a vector that had room to grow, and the next chunk finds
        // the room already there.
        let chunk = Chunk {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            text: self.text.as_str().into(),
            symbol_ends: self.symbol_ends.as_slice().into(),
            pairs: self.pairs.as_slice().into(),
            series_ends: self.series_ends.as_slice().into(),
            families: self.families.drain(..).collect(),
            family_of: self.family_of.as_slice().into(),
        };
        self.clear();
        chunk
    }

    /// Begins anew, with the memory that it has, unless that was for unusually long or many labels.
    fn clear(&mut self) {
        let largest = self.pairs.capacity().max(self.symbol_ends.capacity());
        if self.text.capacity() > MAX_KEPT_TEXT || largest > MAX_KEPT_PAIRS {
            *self = Self::default();
        }
        self.text.clear();
        self.symbol_ends.clear();
        self.lookup.clear();
        self.pairs.clear();
        self.series_ends.clear();
        self.family_of.clear();
    }

    /// The number of a family. Series of one family usually stand together, so the last one is looked at first.
    fn family(&mut self, metadata: &Arc<Metadata>) -> u16 {
        let at = self.families.iter().rposition(|known| Arc::ptr_eq(known, metadata)).unwrap_or_else(|| {
            self.families.push(metadata.clone());
            self.families.len() - 1
        });
        at as u16 + 1 // a chunk has at most 512 series, so no more families
    }

    fn symbol(&mut self, text: &str) -> u16 {
        if let Some(&symbol) = self.lookup.get(text) {
            return symbol;
        }
        let symbol = self.symbol_ends.len() as u16; // bounded by MAX_SYMBOLS in `push`
        self.text.push_str(text);
        self.symbol_ends.push(self.text.len() as u32);
        self.lookup.insert(text.into(), symbol);
        symbol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [(&str, &str); 2] = [("__name__", "up"), ("job", "node")];
    const B: [(&str, &str); 3] = [("__name__", "cpu"), ("cpu", "0"), ("job", "node")];

    #[test]
    fn series_come_back_as_they_went_in_and_share_symbols() {
        let mut builder = ChunkBuilder::default();
        builder.push(A.into_iter()).unwrap();
        builder.push(B.into_iter()).unwrap();
        let chunk = builder.finish();
        assert_eq!(chunk.len(), 2);
        assert_eq!(chunk.series(0).iter().collect::<Vec<_>>(), A);
        assert_eq!(chunk.series(1).iter().collect::<Vec<_>>(), B);
        assert_eq!(chunk.series(1).metric_name(), "cpu");
        assert_eq!(chunk.symbol_count(), 6, "__name__, up, job, node, cpu, 0: `cpu` is one symbol as name and as value");
        assert_eq!(chunk.series(0).stable_hash(), chunk.series(0).to_labels().stable_hash());
        assert!(builder.is_empty());
    }

    #[test]
    fn a_full_chunk_refuses_and_stays_as_it_was() {
        let mut builder = ChunkBuilder::default();
        for _ in 0..MAX_CHUNK_SERIES {
            builder.push(A.into_iter()).unwrap();
        }
        assert_eq!(builder.push(B.into_iter()), Err(Full));
        assert_eq!(builder.finish().len(), MAX_CHUNK_SERIES);
    }

    #[test]
    fn symbols_never_overflow() {
        let mut builder = ChunkBuilder::default();
        let wide: Vec<(String, String)> = (0..20_000).map(|i| (format!("n{i:05}"), format!("v{i}"))).collect();
        let series = || wide.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        builder.push(series()).unwrap();
        assert_eq!(builder.push(series()), Err(Full), "bounded as if all symbols were new");
        assert_eq!(builder.finish().series(0).iter().count(), 20_000);
    }

    #[test]
    fn series_keep_what_is_said_about_their_families() {
        let family = |name: &str| Metadata { family: name.into(), ..Metadata::default() }.shared();
        let (up, cpu) = (family("up"), family("cpu"));
        let mut builder = ChunkBuilder::default();
        builder.push(A.into_iter()).unwrap();
        builder.push_with(B.into_iter(), Some(&cpu)).unwrap();
        builder.push_with(B.into_iter(), None).unwrap();
        builder.push_with(A.into_iter(), Some(&up)).unwrap();
        builder.push_with(B.into_iter(), Some(&cpu)).unwrap();
        builder.push(A.into_iter()).unwrap();
        let chunk = builder.finish();
        let told: Vec<Option<&str>> = chunk.iter().map(|series| Some(&*series.metadata()?.family)).collect();
        assert_eq!(told, [None, Some("cpu"), None, Some("up"), Some("cpu"), None]);
        assert_eq!(chunk.families().len(), 2);
        builder.push(A.into_iter()).unwrap();
        assert!(builder.finish().metadata(0).is_none(), "a builder begins anew");
    }

    #[test]
    fn chunk_numbers_are_unique() {
        let mut builder = ChunkBuilder::default();
        assert_ne!(builder.finish().id(), builder.finish().id());
    }
}
