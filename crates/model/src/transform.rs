//! Edits of labels by chunk and by layout. Whatever depends on labels alone is done once per chunk and kept as long as the chunk lives;
//! per batch there is only the gathering of the values whose series are left. What the edit is (relabelling, external labels) is the
//! caller's affair.
//!
//! Edits may make two series equal. Both rows stay, as in Prometheus, where the same sample is appended twice and the receiver decides
//! (it rejects the second as a duplicate).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::chunk::{Chunk, ChunkBuilder, Full};
use crate::{Batch, Details, LabelsBuilder, Layout, Metadata};

/// An edit of one label set; `false` drops the series.
pub type Edit<'e> = dyn FnMut(&mut LabelsBuilder) -> bool + 'e;

/// What became of a chunk.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// The edited series. None if all were dropped; more than one chunk only if the edit made so many new strings that one cannot hold
    /// them.
    pub chunks: Box<[Arc<Chunk>]>,
    /// Which rows of the original are left, in order; `None` if all are.
    pub rows: Option<Box<[u16]>>,
    /// Whether nothing changed. `chunks` is the original itself then.
    pub unchanged: bool,
    /// How many series the edit kept but no chunk can hold, as they have more than 32 767 labels. They are dropped.
    pub too_wide: u32,
}

/// Applies `edit` to every series of `chunk`.
#[must_use]
pub fn map_chunk(chunk: &Arc<Chunk>, edit: &mut Edit<'_>) -> Mapped {
    let mut output = Output::default();
    let mut labels = LabelsBuilder::default();
    let mut unchanged = true;
    for (row, series) in chunk.iter().enumerate() {
        labels.clear();
        for (name, value) in series.iter() {
            labels.set(name, value);
        }
        if edit(&mut labels) {
            unchanged &= labels.iter().eq(series.iter());
            output.push(row as u16, &labels, series.metadata()); // a chunk has at most 512 rows
        }
    }
    if unchanged && output.rows.len() == chunk.len() {
        return Mapped { chunks: Box::new([chunk.clone()]), rows: None, unchanged: true, too_wide: 0 };
    }
    output.finish(chunk.len())
}

#[derive(Default)]
struct Output {
    done: Vec<Arc<Chunk>>,
    open: ChunkBuilder,
    rows: Vec<u16>,
    too_wide: u32,
}

impl Output {
    fn push(&mut self, row: u16, labels: &LabelsBuilder, metadata: Option<&Arc<Metadata>>) {
        let added = self.open.push_with(labels.iter(), metadata).or_else(|Full| {
            self.cut();
            self.open.push_with(labels.iter(), metadata)
        });
        match added {
            Ok(()) => self.rows.push(row),
            Err(Full) => self.too_wide += 1,
        }
    }

    fn cut(&mut self) {
        if !self.open.is_empty() {
            self.done.push(Arc::new(self.open.finish()));
        }
    }

    fn finish(mut self, len: usize) -> Mapped {
        self.cut();
        let rows = (self.rows.len() < len).then(|| self.rows.into_boxed_slice());
        Mapped { chunks: self.done.into_boxed_slice(), rows, unchanged: false, too_wide: self.too_wide }
    }
}

/// How a [`LayoutMapper`] is doing. Counters never go back, sizes do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapperStats {
    /// Series of batches whose edit was known.
    pub hits: u64,
    /// Series of batches that had to be edited.
    pub misses: u64,
    /// Series whose edits were forgotten because their chunk is gone or the mapper was emptied.
    pub deletes: u64,
    /// Series whose edits are known.
    pub size: usize,
    /// Series that were dropped because no chunk can hold them.
    pub too_wide: u64,
}

/// Applies one edit to batches and remembers per chunk and per layout what came out, so that unchanged layouts come out as the same
/// layouts. An entry lives as long as its chunk (dead ones are swept whenever the number of entries has doubled). Shared by reference;
/// calls of several threads wait for each other only while they look up.
///
/// When the bound is reached, chunks that are not known are edited anew for each batch while those that are known stay: scrapes come
/// round in a circle, and evicting the oldest would make every lookup fail.
pub struct LayoutMapper {
    max_series: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By chunk number, which is never used again.
    chunks: HashMap<u64, KnownChunk>,
    /// By address; the weak reference keeps the address from being used again.
    layouts: HashMap<usize, KnownLayout>,
    sweep_chunks_at: usize,
    sweep_layouts_at: usize,
    /// How many more chunks are refused for want of room before it is worth looking for dead ones again.
    refusals_to_sweep: usize,
    stats: MapperStats,
}

struct KnownChunk {
    chunk: Weak<Chunk>,
    len: usize,
    edited: Edited,
}

/// What is remembered of a chunk. An unchanged one is not referred to, or it would live for ever.
#[derive(Clone)]
enum Edited {
    Unchanged,
    Changed(Arc<Mapped>),
}

impl Edited {
    /// Which rows are left; `None` if all are.
    fn rows(&self) -> Option<&[u16]> {
        match self {
            Self::Unchanged => None,
            Self::Changed(mapped) => mapped.rows.as_deref(),
        }
    }
}

struct KnownLayout {
    layout: Weak<Layout>,
    mapped: Arc<MappedLayout>,
}

/// What became of a layout.
struct MappedLayout {
    layout: Arc<Layout>,
    /// Per chunk its length and what became of it; `None` if all rows of all chunks are left.
    gather: Option<Box<[(usize, Edited)]>>,
    unchanged: bool,
}

/// Fewer entries than this are never swept.
const MIN_SWEEP: usize = 64;

impl LayoutMapper {
    /// A mapper that remembers at most `max_series` series, by whole chunks. At 0 it remembers nothing.
    #[must_use]
    pub fn new(max_series: usize) -> Self {
        let state = State { sweep_chunks_at: MIN_SWEEP, sweep_layouts_at: MIN_SWEEP, ..State::default() };
        Self { max_series, state: Mutex::new(state) }
    }

    /// The batch after the edit; `None` if no series is left. `edit` must always do the same to the same labels: if the rules change,
    /// [`clear`](Self::clear) the mapper or take a new one.
    pub fn map(&self, batch: Batch, edit: &mut Edit<'_>) -> Option<Batch> {
        let mapped = match self.known_layout(&batch.layout) {
            Some(mapped) => mapped,
            None => self.map_layout(&batch.layout, edit),
        };
        if mapped.unchanged {
            return Some(batch);
        }
        if mapped.layout.is_empty() {
            return None;
        }
        let Some(gather) = &mapped.gather else { return Some(Batch { layout: mapped.layout.clone(), ..batch }) };
        let len = mapped.layout.len();
        let timestamps = batch.timestamps.as_deref().map(|all| gathered(all, gather, len));
        let values = gathered(&batch.values, gather, len);
        let details = batch.details.as_deref().map(|details| moved(details, gather)).filter(|details| !details.is_empty());
        Some(Batch { values, timestamps, details: details.map(Arc::new), layout: mapped.layout.clone(), ..batch })
    }

    /// Counters and sizes.
    #[must_use]
    pub fn stats(&self) -> MapperStats {
        self.state().stats
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut state = self.state();
        state.layouts.clear();
        state.chunks.clear();
        state.stats.deletes += state.stats.size as u64;
        state.stats.size = 0;
    }

    /// Forgets what belongs to chunks and layouts that are gone. Happens by itself as entries are added; call it where memory should not
    /// wait for that.
    pub fn sweep(&self) {
        self.state().sweep();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete before the next can panic, so a poisoned state is still sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_layout(&self, layout: &Arc<Layout>) -> Option<Arc<MappedLayout>> {
        let mut state = self.state();
        let mapped = state.layouts.get(&address(layout))?.mapped.clone();
        state.stats.hits += layout.len() as u64;
        Some(mapped)
    }

    fn map_layout(&self, layout: &Arc<Layout>, edit: &mut Edit<'_>) -> Arc<MappedLayout> {
        let mut parts = Vec::with_capacity(layout.chunks().len());
        let mut admitted = true;
        for chunk in layout.chunks() {
            let (edited, known) = self.edited(chunk, edit);
            admitted &= known;
            parts.push((chunk.len(), edited));
        }
        let mapped = Arc::new(assemble(layout, parts));
        if admitted {
            self.state().remember_layout(layout, &mapped);
        }
        mapped
    }

    /// What becomes of a chunk, and whether that is remembered.
    fn edited(&self, chunk: &Arc<Chunk>, edit: &mut Edit<'_>) -> (Edited, bool) {
        if let Some(edited) = self.state().known_chunk(chunk) {
            return (edited, true);
        }
        let mapped = map_chunk(chunk, edit);
        let mut state = self.state();
        state.stats.misses += chunk.len() as u64;
        state.stats.too_wide += u64::from(mapped.too_wide);
        let edited = if mapped.unchanged { Edited::Unchanged } else { Edited::Changed(Arc::new(mapped)) };
        state.remember_chunk(chunk, edited, self.max_series)
    }
}

impl State {
    fn known_chunk(&mut self, chunk: &Arc<Chunk>) -> Option<Edited> {
        let edited = self.chunks.get(&chunk.id())?.edited.clone();
        self.stats.hits += chunk.len() as u64;
        Some(edited)
    }

    fn remember_chunk(&mut self, chunk: &Arc<Chunk>, edited: Edited, max_series: usize) -> (Edited, bool) {
        if let Some(known) = self.chunks.get(&chunk.id()) {
            return (known.edited.clone(), true); // another thread was faster: all hand on the same chunks
        }
        let has_room = |state: &Self| state.stats.size + chunk.len() <= max_series;
        if self.chunks.len() >= self.sweep_chunks_at {
            self.sweep();
        }
        if !has_room(self) {
            self.refusals_to_sweep = self.refusals_to_sweep.saturating_sub(1);
            if self.refusals_to_sweep == 0 {
                self.sweep();
                self.refusals_to_sweep = self.chunks.len();
            }
        }
        if !has_room(self) {
            return (edited, false);
        }
        self.stats.size += chunk.len();
        self.chunks.insert(chunk.id(), KnownChunk { chunk: Arc::downgrade(chunk), len: chunk.len(), edited: edited.clone() });
        (edited, true)
    }

    fn remember_layout(&mut self, layout: &Arc<Layout>, mapped: &Arc<MappedLayout>) {
        if self.layouts.len() >= self.sweep_layouts_at {
            self.sweep();
        }
        self.layouts.insert(address(layout), KnownLayout { layout: Arc::downgrade(layout), mapped: mapped.clone() });
    }

    fn sweep(&mut self) {
        self.layouts.retain(|_, known| known.layout.strong_count() > 0);
        let stats = &mut self.stats;
        self.chunks.retain(|_, known| {
            let lives = known.chunk.strong_count() > 0;
            if !lives {
                stats.size -= known.len;
                stats.deletes += known.len as u64;
            }
            lives
        });
        self.sweep_chunks_at = (2 * self.chunks.len()).max(MIN_SWEEP);
        self.sweep_layouts_at = (2 * self.layouts.len()).max(MIN_SWEEP);
    }
}

fn address(layout: &Arc<Layout>) -> usize {
    Arc::as_ptr(layout).addr()
}

fn assemble(layout: &Layout, parts: Vec<(usize, Edited)>) -> MappedLayout {
    if parts.iter().all(|(_, edited)| matches!(edited, Edited::Unchanged)) {
        return MappedLayout { layout: Arc::new(Layout::default()), gather: None, unchanged: true };
    }
    let mut chunks = Vec::with_capacity(parts.len());
    for (chunk, (_, edited)) in layout.chunks().iter().zip(&parts) {
        match edited {
            Edited::Unchanged => chunks.push(chunk.clone()),
            Edited::Changed(mapped) => chunks.extend_from_slice(&mapped.chunks),
        }
    }
    let all_left = parts.iter().all(|(_, edited)| edited.rows().is_none());
    MappedLayout { layout: Arc::new(Layout::new(chunks)), gather: (!all_left).then(|| parts.into_boxed_slice()), unchanged: false }
}

/// The values of the rows that are left, in order.
/// The details of the rows that are left.
fn moved(details: &Details, gather: &[(usize, Edited)]) -> Details {
    let starts: Vec<(usize, usize)> = gather
        .iter()
        .scan((0, 0), |next, (chunk_len, edited)| {
            let left = edited.rows().map_or(*chunk_len, <[u16]>::len);
            Some(std::mem::replace(next, (next.0 + chunk_len, next.1 + left)))
        })
        .collect();
    details.moved(|row| {
        let chunk = starts.partition_point(|(start, _)| *start <= row as usize).checked_sub(1)?;
        let (old_start, new_start) = starts[chunk];
        let within = row as usize - old_start;
        let new = match gather[chunk].1.rows() {
            None => within,
            Some(rows) => rows.binary_search(&u16::try_from(within).ok()?).ok()?,
        };
        Some((new_start + new) as u32)
    })
}

fn gathered<T: Copy>(all: &[T], gather: &[(usize, Edited)], len: usize) -> Arc<[T]> {
    let mut kept = Vec::with_capacity(len);
    let mut rest = all;
    for (chunk_len, edited) in gather {
        let (column, after) = rest.split_at(*chunk_len);
        match edited.rows() {
            None => kept.extend_from_slice(column),
            Some(rows) => kept.extend(rows.iter().map(|row| column[usize::from(*row)])),
        }
        rest = after;
    }
    kept.into()
}
