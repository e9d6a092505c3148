//! Layouts made of other layouts' series, sharing the chunks that come out as they were.

use std::sync::Arc;

use model::{Chunk, Layout, LayoutBuilder, MAX_CHUNK_SERIES, Metadata, SeriesRef};

/// The layout without some rows (ascending). Chunks that lose none are shared.
pub(super) fn without(layout: &Arc<Layout>, rows: &[u32]) -> Arc<Layout> {
    if rows.is_empty() {
        return layout.clone();
    }
    let mut builder = LayoutBuilder::default();
    let (mut start, mut rest) = (0, rows);
    for chunk in layout.chunks() {
        let end = start + chunk.len();
        let (here, after) = rest.split_at(rest.partition_point(|row| (*row as usize) < end));
        rest = after;
        if here.is_empty() {
            builder.push_chunk(chunk.clone());
        } else {
            let keep = (0..chunk.len()).filter(|at| here.binary_search(&((start + at) as u32)).is_err());
            keep.for_each(|at| push(&mut builder, chunk.series(at)));
            builder.cut();
        }
        start = end;
    }
    Arc::new(builder.finish())
}

/// Adds a series that has been in a chunk before, and so fits into one.
pub(super) fn push(builder: &mut LayoutBuilder, series: SeriesRef<'_>) {
    let pushed = builder.push_with(series.iter(), series.metadata());
    debug_assert!(pushed.is_ok());
}

/// Finds series by their row.
pub(super) struct Finder<'a> {
    layout: &'a Layout,
    /// The first row of each chunk.
    starts: Vec<usize>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(layout: &'a Layout) -> Self {
        let starts = layout.chunks().iter().scan(0, |next, chunk| Some(std::mem::replace(next, *next + chunk.len()))).collect();
        Self { layout, starts }
    }

    /// The series of a row of the layout. Panics if there is none, like indexing.
    pub(super) fn series(&self, row: usize) -> SeriesRef<'a> {
        let chunk = self.starts.partition_point(|start| *start <= row) - 1;
        self.layout.chunks()[chunk].series(row - self.starts[chunk])
    }
}

/// Finds series of one layout by rows that mostly ascend. What it keeps is only good for that layout.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The first row of each chunk; empty before the first use.
    starts: Vec<usize>,
    /// The chunk that was looked into last.
    chunk: usize,
}

impl Cursor {
    /// Makes it ready for another layout.
    pub(super) fn reset(&mut self) {
        self.starts.clear();
        self.chunk = 0;
    }

    /// The series of a row, if the layout has it.
    pub(super) fn series<'a>(&mut self, layout: &'a Layout, row: usize) -> Option<SeriesRef<'a>> {
        if row >= layout.len() {
            return None;
        }
        if self.starts.is_empty() {
            self.starts.extend(layout.chunks().iter().scan(0, |next, chunk| Some(std::mem::replace(next, *next + chunk.len()))));
        }
        let in_chunk = |chunk: usize| self.starts[chunk] <= row && self.starts.get(chunk + 1).is_none_or(|next| row < *next);
        if !in_chunk(self.chunk) {
            self.chunk = self.starts.partition_point(|start| *start <= row) - 1;
        }
        Some(layout.chunks()[self.chunk].series(row - self.starts[self.chunk]))
    }
}

/// The layout with something else said about the families of some rows (ascending, each once). Chunks without such a row are shared.
pub(super) fn retold(layout: &Layout, changed: &[(u32, Arc<Metadata>)]) -> Layout {
    let (mut builder, mut start, mut rest) = (LayoutBuilder::default(), 0, changed);
    for chunk in layout.chunks() {
        let end = start + chunk.len();
        let (here, after) = rest.split_at(rest.partition_point(|(row, _)| (*row as usize) < end));
        rest = after;
        if here.is_empty() {
            builder.push_chunk(chunk.clone());
        } else {
            for (row, series) in (start..).zip(chunk.iter()) {
                let said = here.binary_search_by_key(&row, |(changed, _)| *changed as usize).ok().map(|at| &here[at].1);
                let pushed = builder.push_with(series.iter(), said.or(series.metadata()));
                debug_assert!(pushed.is_ok());
            }
            builder.cut();
        }
        start = end;
    }
    builder.finish()
}

/// Neighbours are put together up to this many series.
const MERGED_SERIES: usize = 256;

/// The layout itself, or one in which small neighbours are put together if it has come to be made of too many: there are fewer than half
/// as many then, so that this happens seldom.
pub(super) fn repacked(layout: Layout) -> Layout {
    let needed = layout.len().div_ceil(MAX_CHUNK_SERIES);
    if layout.chunks().len() <= 8 * needed + 8 {
        return layout;
    }
    let (mut builder, mut group, mut series) = (LayoutBuilder::default(), Vec::<&Arc<Chunk>>::new(), 0);
    for chunk in layout.chunks() {
        if series + chunk.len() > MERGED_SERIES {
            merge(&mut builder, &mut group);
            series = 0;
        }
        group.push(chunk);
        series += chunk.len();
    }
    merge(&mut builder, &mut group);
    builder.finish()
}

/// Adds the series of chunks as one. A single one is shared.
fn merge(builder: &mut LayoutBuilder, group: &mut Vec<&Arc<Chunk>>) {
    match group.as_slice() {
        [chunk] => builder.push_chunk((*chunk).clone()),
        chunks => chunks.iter().flat_map(|chunk| chunk.iter()).for_each(|series| push(builder, series)),
    }
    builder.cut();
    group.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(chunks: &[&[&str]]) -> Arc<Layout> {
        let mut builder = LayoutBuilder::default();
        for names in chunks {
            names.iter().for_each(|name| builder.push([("__name__", *name)].into_iter()).unwrap());
            builder.cut();
        }
        Arc::new(builder.finish())
    }

    fn names(layout: &Layout) -> Vec<&str> {
        layout.iter().map(|series| series.metric_name()).collect()
    }

    #[test]
    fn only_chunks_that_lose_a_row_are_new() {
        let before = layout(&[&["a", "b"], &["c"], &["d", "e"]]);
        let after = without(&before, &[1, 2]);
        assert_eq!(names(&after), ["a", "d", "e"]);
        assert_eq!(after.chunks().len(), 2);
        assert!(Arc::ptr_eq(&after.chunks()[1], &before.chunks()[2]));
        assert!(Arc::ptr_eq(&without(&before, &[]), &before));
    }

    #[test]
    fn rows_are_found_across_chunks() {
        let layout = layout(&[&["a", "b"], &["c"]]);
        let finder = Finder::new(&layout);
        assert_eq!([0, 1, 2].map(|row| finder.series(row).metric_name()), ["a", "b", "c"]);
        let mut cursor = Cursor::default();
        let mut named = |row| cursor.series(&layout, row).map(|series| series.metric_name());
        assert_eq!([0, 2, 1, 2, 3].map(&mut named), [Some("a"), Some("c"), Some("b"), Some("c"), None]);
        assert!(cursor.series(&Layout::default(), 0).is_none());
    }

    #[test]
    fn only_chunks_with_a_row_of_which_something_else_is_said_are_new() {
        let before = layout(&[&["a", "b"], &["c"], &["d", "e"]]);
        let family = |name: &str| Metadata { family: name.into(), ..Metadata::default() }.shared();
        let after = retold(&before, &[(1, family("b")), (4, family("e"))]);
        let told = |layout: &Layout| layout.iter().map(|series| Some(series.metadata()?.family.to_string())).collect::<Vec<_>>();
        assert_eq!(told(&after), [None, Some("b".to_owned()), None, None, Some("e".to_owned())]);
        assert_eq!(names(&after), names(&before));
        let shared: Vec<bool> = after.chunks().iter().zip(before.chunks()).map(|(one, other)| Arc::ptr_eq(one, other)).collect();
        assert_eq!(shared, [false, true, false]);
        assert_eq!(told(&retold(&after, &[(0, family("a"))]))[1], Some("b".to_owned()), "what was said of others stays");
    }

    #[test]
    fn small_neighbours_are_put_together_where_there_are_too_many() {
        let names: Vec<String> = (0..600).map(|n| format!("m{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut pieces: Vec<&[&str]> = names[..300].chunks(10).collect();
        pieces.push(&names[300..]);
        let crumbs = layout(&pieces);
        let after = repacked(Layout::clone(&crumbs));
        assert_eq!(
            after.chunks().iter().map(|chunk| chunk.len()).collect::<Vec<_>>(),
            [250, 50, 300],
            "25 crumbs, 5 crumbs, and a large one"
        );
        assert!(after.iter().map(|series| series.metric_name()).eq(names.iter().copied()));
        let few = repacked(Layout::clone(&layout(&pieces[..16])));
        assert_eq!(few.chunks().len(), 16, "not too many");
    }
}
