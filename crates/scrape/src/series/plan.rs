//! The layout after a change: what did not change stays in chunks of its own.
//!
//! Whatever depends on labels is paid once per chunk, so what counts is how many series get into new chunks. Targets mostly change at the
//! same places again and again (the pods of one deployment, the sessions of one server): a chunk that changes is cut there, so that the
//! next change finds a small chunk and leaves its neighbours alone.

use std::ops::Range;
use std::sync::Arc;

use model::{Chunk, Layout, LayoutBuilder, MAX_CHUNK_SERIES};

use super::layouts::{self, Finder};
use super::visit::Visit;

/// So many series in a row that did not change become a chunk of their own, or stay one. Fewer go with the change next to them: a chunk
/// costs about as much as thirty samples with every scrape, and its symbols once more.
const MIN_STABLE: usize = 64;

/// The new layout, and where its rows come from.
pub(super) struct Plan {
    pub(super) layout: Layout,
    /// Numbers in the columns, in the new order.
    pub(super) order: Vec<u32>,
}

impl Plan {
    /// The layout without what vanished and with what is new, each new series where it was found. `settled`: which of the new series, by
    /// number, are none.
    pub(super) fn new(visit: &Visit<'_>, settled: &[bool]) -> Self {
        let fresh = &visit.columns.fresh;
        let mut inserted: Vec<u32> = (0..settled.len() as u32).filter(|number| !settled[*number as usize]).collect();
        if visit.rows == 0 && inserted.len() == settled.len() {
            return Self { layout: Layout::new(fresh.chunks().to_vec()), order: inserted };
        }
        // Stable: series that were found before the same row stay in the body's order.
        inserted.sort_by_key(|number| fresh.before[*number as usize]);
        let mut draft = Draft::new(visit, &inserted);
        let mut start = 0;
        for chunk in visit.target.layout.chunks() {
            let end = start + chunk.len();
            draft.chunk(chunk, start..end);
            start = end;
        }
        draft.finish()
    }
}

/// A plan in the making.
struct Draft<'a, 'b> {
    visit: &'a Visit<'b>,
    finder: Finder<'a>,
    builder: LayoutBuilder,
    order: Vec<u32>,
    /// New series that have not found their place yet, in order.
    inserted: &'a [u32],
    /// Numbers of the series since the last stretch that was long enough.
    short: Vec<u32>,
    /// The chunks that they are, as long as nothing changed among them.
    chunks: Vec<Arc<Chunk>>,
    changed: bool,
}

impl<'a, 'b> Draft<'a, 'b> {
    fn new(visit: &'a Visit<'b>, inserted: &'a [u32]) -> Self {
        Self {
            visit,
            finder: Finder::new(&visit.target.layout),
            builder: LayoutBuilder::default(),
            order: Vec::with_capacity(visit.seen + inserted.len()),
            inserted,
            short: Vec::new(),
            chunks: Vec::new(),
            changed: false,
        }
    }

    /// Takes the stretches of a chunk, and what is new before each of its rows.
    fn chunk(&mut self, chunk: &Arc<Chunk>, rows: Range<usize>) {
        self.insert_before(rows.start);
        let mut from = rows.start;
        while from < rows.end {
            let to = self.stretch_end(from, rows.end);
            match from..to {
                whole if whole == rows => self.whole(chunk, whole),
                part => self.part(part),
            }
            from = to;
            while from < rows.end && !self.visit.columns.is_seen(from) {
                self.changed = true;
                from += 1;
            }
            if from < rows.end {
                self.insert_before(from);
            }
        }
    }

    /// Where the rows from `from` on that came without anything new between them end.
    fn stretch_end(&self, from: usize, end: usize) -> usize {
        let next = self.inserted.first().map_or(usize::MAX, |number| self.place(*number));
        (from..end.min(next)).find(|row| !self.visit.columns.is_seen(*row)).unwrap_or(end.min(next))
    }

    /// The row before which a new series was found.
    fn place(&self, number: u32) -> usize {
        self.visit.columns.fresh.before[number as usize] as usize
    }

    fn insert_before(&mut self, row: usize) {
        while let Some((number, rest)) = self.inserted.split_first().filter(|(number, _)| self.place(**number) <= row) {
            self.short.push(self.visit.rows as u32 + number);
            (self.changed, self.inserted) = (true, rest);
        }
    }

    fn whole(&mut self, chunk: &Arc<Chunk>, rows: Range<usize>) {
        if rows.len() < MIN_STABLE {
            self.chunks.push(chunk.clone());
            self.short.extend(rows.start as u32..rows.end as u32);
            return;
        }
        self.flush();
        self.builder.push_chunk(chunk.clone());
        self.order.extend(rows.start as u32..rows.end as u32);
    }

    fn part(&mut self, rows: Range<usize>) {
        let long = rows.len() >= MIN_STABLE;
        if long {
            self.flush();
        }
        self.short.extend(rows.start as u32..rows.end as u32);
        self.changed = true;
        if long {
            self.flush();
        }
    }

    /// Writes the series since the last stretch: their chunks if they did not change, else new ones of about equal size.
    fn flush(&mut self) {
        if std::mem::take(&mut self.changed) {
            let total = self.short.len();
            let size = total.div_ceil(total.div_ceil(MAX_CHUNK_SERIES).max(1)).max(1);
            self.builder.cut();
            for part in self.short.chunks(size) {
                part.iter().for_each(|row| layouts::push(&mut self.builder, self.visit.series(&self.finder, *row)));
                self.builder.cut();
            }
        } else {
            self.chunks.iter().for_each(|chunk| self.builder.push_chunk(chunk.clone()));
        }
        self.chunks.clear();
        self.order.append(&mut self.short);
    }

    fn finish(mut self) -> Plan {
        self.insert_before(usize::MAX);
        self.flush();
        Plan { layout: layouts::repacked(self.builder.finish()), order: self.order }
    }
}
