//! Remembers the runs of HELP, TYPE and other comments between a target's series by their hashes, so that an unchanged run is skipped
//! instead of read: exporters write about as many of these lines as samples.

use exposition::Comments;
use model::MetricType;
use xxhash_rust::xxh3::xxh3_64;

/// One run; 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    hash: u64,
    /// The row that follows.
    row: u32,
    len: u16,
    lines: u8,
    kind: Option<MetricType>,
}

/// The runs of a target in row order, at most one before each row.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
}

impl Runs {
    /// The run before `row`, if `rest` begins with it. `next` is where to look first, and is moved on.
    #[inline]
    pub(super) fn expect(&self, row: u32, rest: &[u8], next: &mut usize) -> Option<Comments> {
        let mut run = self.runs.get(*next)?;
        if run.row != row {
            *next = self.runs.binary_search_by_key(&row, |run| run.row).ok()?;
            run = &self.runs[*next];
        }
        let len = usize::from(run.len);
        if xxh3_64(rest.get(..len)?) != run.hash {
            return None;
        }
        *next = (*next + 1) % self.runs.len();
        Some(Comments { len, lines: u64::from(run.lines), kind: run.kind })
    }

    /// Takes over runs that were read in the order of a body.
    pub(super) fn learn(&mut self, learnt: &mut Vec<Run>) {
        if learnt.is_empty() {
            return;
        }
        let known = std::mem::take(&mut self.runs);
        self.runs = learnt.drain(..).chain(known).collect();
        // Stable: what was learnt now stands before what was known of the same row.
        self.runs.sort_by_key(|run| run.row);
        self.runs.dedup_by_key(|run| run.row);
        self.runs.shrink_to_fit();
    }

    /// Follows the rows to another layout: `place` says, for each of its `rows`, the row of the old one that it is, or before which it was
    /// found; it never falls. A run goes to the first row that may follow it. If that is wrong, the run is not recognised there, and read.
    pub(super) fn renumber(&mut self, rows: usize, place: impl Fn(usize) -> u32) {
        let mut at = 0;
        self.runs.retain_mut(|run| {
            while at < rows && place(at) < run.row {
                at += 1;
            }
            run.row = at as u32;
            at < rows
        });
        // Of several the last: those before it belonged to series that are gone.
        self.runs.reverse();
        self.runs.dedup_by_key(|run| run.row);
        self.runs.reverse();
    }

    pub(super) fn clear(&mut self) {
        self.runs = Vec::new();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

impl Run {
    /// `None` if the run is too long to be worth it.
    pub(super) fn new(row: u32, text: &[u8], comments: Comments) -> Option<Self> {
        let (len, lines) = (u16::try_from(comments.len).ok()?, u8::try_from(comments.lines).ok()?);
        Some(Self { hash: xxh3_64(text), row, len, lines, kind: comments.kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(row: u32, text: &str) -> Run {
        let comments = Comments { len: text.len(), lines: 1, kind: Some(MetricType::Gauge) };
        Run::new(row, text.as_bytes(), comments).unwrap()
    }

    #[test]
    fn a_run_is_recognised_before_its_row_wherever_one_comes_from() {
        let mut runs = Runs::default();
        runs.learn(&mut vec![run(0, "# a\n"), run(5, "# b\n"), run(7, "# c\n")]);
        let mut next = 0;
        for (row, text, known) in [(0, "# a\nx", true), (5, "# b\n", true), (7, "# x\n", false), (0, "# a\n", true), (6, "# a\n", false)] {
            assert_eq!(runs.expect(row, text.as_bytes(), &mut next).is_some(), known, "{row}");
        }
        assert!(runs.expect(7, b"# c", &mut next).is_none(), "not complete");
    }

    #[test]
    fn runs_follow_their_rows_to_another_layout() {
        let mut runs = Runs::default();
        runs.learn(&mut vec![run(0, "# a\n"), run(1, "# b\n"), run(3, "# c\n"), run(4, "# d\n"), run(5, "# e\n")]);
        // Row 1 is another one, a new one is before row 2, and rows 3 and 5 are gone.
        let places = [0, 1, 2, 2, 4];
        runs.renumber(places.len(), |row| places[row]);
        let mut next = 0;
        for (row, text, known) in [(0, "# a\n", true), (1, "# b\n", true), (4, "# d\n", true), (4, "# c\n", false), (5, "# e\n", false)] {
            assert_eq!(runs.expect(row, text.as_bytes(), &mut next).is_some(), known, "{text}");
        }
        assert_eq!(runs.runs.len(), 3);
    }

    #[test]
    fn what_is_learnt_anew_replaces_what_was_known() {
        let mut runs = Runs::default();
        runs.learn(&mut vec![run(5, "# b\n"), run(0, "# a\n")]);
        runs.learn(&mut vec![run(5, "# new\n"), run(9, "# d\n")]);
        let mut next = 0;
        assert!(runs.expect(5, b"# b\n", &mut next).is_none());
        assert_eq!(runs.expect(5, b"# new\n", &mut next).unwrap().len, 6);
        assert_eq!(runs.runs.len(), 3);
        assert_eq!(size_of::<Run>(), 16);
    }
}
