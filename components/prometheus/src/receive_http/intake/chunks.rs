//! Chunks of series that were pushed before, so that a sender that pushes the same series again and again is as cheap further down as a
//! target that is scraped: relabelling and templates are cached against chunks.
//!
//! Requests are cut by their sender wherever they are full, so the same series come in requests that begin elsewhere every time. Where a
//! chunk ends is therefore decided by the series themselves: behind one whose key has certain bits, as in content-defined chunking. After a
//! cut in another place, the next chunk is again one that is known.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use model::{Chunk, Layout, MAX_CHUNK_SERIES};
use parking_lot::{Mutex, MutexGuard};

use super::identity::{Identity, SOURCES};
use super::parsed::{Row, Series};

/// A chunk does not end before it has so many series, unless the request does.
const MIN_SERIES: usize = 32;
/// Beyond that, one series in so many ends a chunk: it has 84 on average. Of targets that are cut in another place every time, 92 % of the
/// series are then in known chunks; chunks twice as long leave 87 %, and save one byte in twenty further on.
const END_MASK: u128 = 64 - 1;
/// Bytes that all known chunks may take; those beyond are built anew each time.
const MAX_BYTES: usize = 256 << 20;
/// What a known chunk takes beside its series: map entry, headers.
const OVERHEAD: usize = 160;
/// Chunks that did not come for so many ticks (minutes) are forgotten.
const IDLE_TICKS: u32 = 10;
/// Chunks that came once and are remembered by their keys, per source.
const MAX_SEEN: usize = 16 << 10;

/// Chunks that are known, of all sources.
pub(super) struct KnownChunks {
    sources: Box<[Mutex<Source>]>,
    bytes: AtomicUsize,
    now: AtomicU32,
    known_series: AtomicU64,
    new_series: AtomicU64,
}

/// How the recognition of chunks is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkStats {
    /// Series of requests that were in known chunks. Never goes back.
    pub known: u64,
    /// Series of requests whose chunks had to be built. Never goes back.
    pub new: u64,
    /// Bytes that known chunks take.
    pub bytes: usize,
}

/// Chunks of one source.
#[derive(Default)]
pub(super) struct Source {
    chunks: HashMap<u128, Known>,
    layouts: HashMap<u128, (Arc<Layout>, u32)>,
    /// Keys of chunks that came once: the edges of requests mostly never come again, so only the second time is worth the memory.
    seen: HashSet<u64>,
    seen_before: HashSet<u64>,
    swept: u32,
}

struct Known {
    chunks: Box<[Arc<Chunk>]>,
    bytes: usize,
    used: u32,
}

/// A run of rows that makes a chunk, and its key.
pub(super) struct Run {
    pub len: usize,
    pub key: u128,
}

/// Where the chunk that begins with the first of `rows` ends.
pub(super) fn cut(rows: &[u32], all: &[Row], series: &[Series], identity: &Identity) -> Run {
    let mut key = 0;
    for (at, row) in rows.iter().enumerate().take(MAX_CHUNK_SERIES) {
        let own = series[all[*row as usize].series as usize].key;
        key = identity.then(key, own);
        if at + 1 >= MIN_SERIES && (own >> 64) & END_MASK == 0 {
            return Run { len: at + 1, key };
        }
    }
    Run { len: rows.len().min(MAX_CHUNK_SERIES), key }
}

impl KnownChunks {
    pub fn new() -> Self {
        Self {
            sources: (0..SOURCES).map(|_| Mutex::default()).collect(),
            bytes: AtomicUsize::new(0),
            now: AtomicU32::new(0),
            known_series: AtomicU64::new(0),
            new_series: AtomicU64::new(0),
        }
    }

    pub fn stats(&self) -> ChunkStats {
        ChunkStats { known: self.known_series.load(Relaxed), new: self.new_series.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }

    /// A minute has passed: forgets what did not come for long.
    pub fn tick(&self) {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        for source in &self.sources {
            source.lock().sweep(now, &self.bytes);
        }
    }

    /// The chunks of one source, for one request.
    pub fn of(&self, source: u8) -> OfSource<'_> {
        OfSource { all: self, source: self.sources[usize::from(source)].lock(), now: self.now.load(Relaxed), all_known: true, key: 0 }
    }
}

impl Source {
    fn sweep(&mut self, now: u32, bytes: &AtomicUsize) {
        self.layouts.retain(|_, (_, used)| now.wrapping_sub(*used) < IDLE_TICKS);
        self.chunks.retain(|_, known| {
            let lives = now.wrapping_sub(known.used) < IDLE_TICKS;
            if !lives {
                bytes.fetch_sub(known.bytes, Relaxed);
            }
            lives
        });
        if now.wrapping_sub(self.swept) >= IDLE_TICKS {
            self.swept = now;
            self.seen_before = std::mem::take(&mut self.seen);
        }
    }

    /// Whether a chunk came before; notes that it came.
    fn is_second_sight(&mut self, key: u128) -> bool {
        let key = (key >> 64) as u64;
        if self.seen.remove(&key) || self.seen_before.remove(&key) {
            return true;
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen_before = std::mem::take(&mut self.seen);
        }
        self.seen.insert(key);
        false
    }
}

/// See [`KnownChunks::of`].
pub(super) struct OfSource<'k> {
    all: &'k KnownChunks,
    source: MutexGuard<'k, Source>,
    now: u32,
    /// Whether all chunks so far were known.
    all_known: bool,
    /// The key of the chunks so far.
    key: u128,
}

impl OfSource<'_> {
    /// Appends the chunks of a run if it is known.
    pub fn find(&mut self, run: &Run, identity: &Identity, to: &mut Vec<Arc<Chunk>>) -> bool {
        let Some(known) = self.source.chunks.get_mut(&run.key) else {
            self.all_known = false;
            self.all.new_series.fetch_add(run.len as u64, Relaxed);
            return false;
        };
        known.used = self.now;
        to.extend_from_slice(&known.chunks);
        self.key = identity.then(self.key, run.key);
        self.all.known_series.fetch_add(run.len as u64, Relaxed);
        true
    }

    /// Remembers what a run was built to, if it is worth it.
    pub fn keep(&mut self, run: &Run, chunks: &[Arc<Chunk>]) {
        if !self.source.is_second_sight(run.key) {
            return;
        }
        let bytes = OVERHEAD + chunks.iter().map(|chunk| size_of::<Chunk>() + chunk.heap_bytes()).sum::<usize>();
        if self.all.bytes.load(Relaxed) + bytes > MAX_BYTES {
            return;
        }
        self.all.bytes.fetch_add(bytes, Relaxed);
        if let Some(before) = self.source.chunks.insert(run.key, Known { chunks: chunks.into(), bytes, used: self.now }) {
            self.all.bytes.fetch_sub(before.bytes, Relaxed);
        }
    }

    /// The layout of these chunks: one that is shared with the last request that had the same, if all of them are known.
    pub fn layout(&mut self, chunks: Vec<Arc<Chunk>>) -> Arc<Layout> {
        if !self.all_known {
            return Arc::new(Layout::new(chunks));
        }
        let entry = self.source.layouts.entry(self.key).or_insert_with(|| (Arc::new(Layout::new(chunks)), 0));
        entry.1 = self.now;
        entry.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parsed::Said;
    use super::*;
    use model::LayoutBuilder;

    fn run(key: u128) -> Run {
        Run { len: 1, key }
    }

    fn chunk() -> Arc<Chunk> {
        let mut builder = LayoutBuilder::default();
        builder.push([("__name__", "up")].into_iter()).unwrap();
        builder.finish().chunks()[0].clone()
    }

    /// Asks for a run; builds it if it is not known.
    fn ask(known: &KnownChunks, key: u128) -> (Arc<Chunk>, Arc<Layout>) {
        let identity = Identity::random();
        let mut chunks = Vec::new();
        let mut of = known.of(3);
        if !of.find(&run(key), &identity, &mut chunks) {
            chunks.push(chunk());
            of.keep(&run(key), &chunks);
        }
        (chunks[0].clone(), of.layout(chunks))
    }

    #[test]
    fn a_chunk_is_kept_from_its_second_sight_on() {
        let known = KnownChunks::new();
        let key = 7 << 64;
        let chunks: Vec<_> = (0..4).map(|_| ask(&known, key)).collect();
        assert_ne!(chunks[0].0.id(), chunks[1].0.id());
        assert_eq!(chunks[1].0.id(), chunks[2].0.id());
        assert_eq!(chunks[2].0.id(), chunks[3].0.id());
        assert_eq!((known.stats().known, known.stats().new), (2, 2));
        assert!(known.stats().bytes > OVERHEAD);
    }

    #[test]
    fn what_does_not_come_for_long_is_forgotten() {
        let known = KnownChunks::new();
        for _ in 0..3 {
            ask(&known, 7 << 64);
        }
        for _ in 0..IDLE_TICKS - 1 {
            known.tick();
        }
        ask(&known, 7 << 64);
        for _ in 0..IDLE_TICKS - 1 {
            known.tick();
        }
        assert!(known.stats().bytes > 0, "it came in between");
        known.tick();
        assert_eq!(known.stats().bytes, 0);
        assert!(known.of(3).source.layouts.is_empty());
    }

    #[test]
    fn edges_that_never_come_again_do_not_pile_up() {
        let known = KnownChunks::new();
        for key in 0..3 * MAX_SEEN as u128 {
            ask(&known, key << 64);
        }
        assert_eq!(known.stats().bytes, 0);
        let of = known.of(3);
        assert!(of.source.seen.len() <= MAX_SEEN && of.source.seen_before.len() <= MAX_SEEN);
    }

    /// The keys of the chunks into which a sequence of series is cut, from the `from`th on.
    fn keys(series: &[Series], identity: &Identity, from: usize) -> Vec<(usize, u128)> {
        let rows: Vec<Row> = (0..series.len()).map(|at| Row { value: 0.0, timestamp: 0, series: at as u32 }).collect();
        let order: Vec<u32> = (0..series.len() as u32).collect();
        let (mut at, mut keys) = (from, Vec::new());
        while at < order.len() {
            let run = cut(&order[at..], &rows, series, identity);
            at += run.len;
            keys.push((run.len, run.key));
        }
        keys
    }

    #[test]
    fn after_a_cut_in_another_place_the_chunks_are_known_again() {
        let identity = Identity::random();
        let series =
            |n: u32| Series { key: identity.of(&n.to_le_bytes()), from: 0, to: 0, said: Said::default(), last_row: None, source: 0 };
        let all: Vec<Series> = (0..20_000).map(series).collect();
        let whole = keys(&all, &identity, 0);
        assert!(whole.iter().all(|(len, _)| *len <= MAX_CHUNK_SERIES));
        assert!(whole[..whole.len() - 1].iter().all(|(len, _)| *len >= MIN_SERIES));
        let later = keys(&all, &identity, 777);
        let common = later.iter().filter(|key| whole.contains(key)).count();
        // They meet again at the first end that both have; a chance of one in a million would be too much for a test.
        assert!(common * 10 >= later.len() * 5, "{common} of {} chunks", later.len());
    }
}
