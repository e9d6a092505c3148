//! The lines that follow TYPE lines of histograms: what each is part of, found by its text, first at the place where it is expected.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::render::SeriesText;

/// What a line is to its histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// A bucket with its upper bound.
    Bucket(f64),
    Sum,
    Count,
    /// Of no use to a histogram, though it stands among its lines.
    Other,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// Of its text and its section.
    key: u64,
    /// Bytes of the text; 0 if it goes over several lines.
    len: u32,
    /// The histogram; [`NO_GROUP`] if it has to do with none.
    pub(super) group: u32,
    pub(super) part: Part,
}

const NO_GROUP: u32 = u32::MAX;

/// A histogram.
#[derive(Debug)]
struct Group {
    hash: u64,
    text: Box<[u8]>,
}

/// All lines of a target's histogram sections, in the order in which the last scrape had them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    groups: Vec<Group>,
    group_index: HashMap<u64, u32>,
    /// Made when a line is not where it is expected.
    index: Option<HashMap<u64, u32>>,
    /// The line that is expected next.
    next: usize,
    /// How many lines of this scrape came in the known order, counted from the first.
    in_order: usize,
    /// The lines that came after those.
    order: Vec<u32>,
    /// Lines and groups that earlier scrapes had.
    kept: (usize, usize),
    text: SeriesText,
}

impl Lines {
    pub(super) fn begin(&mut self) {
        if (self.lines.len(), self.groups.len()) != self.kept {
            self.lines.truncate(self.kept.0);
            self.groups.truncate(self.kept.1);
            self.index = None;
            self.index_groups();
        }
        (self.next, self.in_order) = (0, 0);
        self.order.clear();
    }

    pub(super) fn get(&self, at: usize) -> Line {
        self.lines[at]
    }

    /// The text of a histogram's series.
    pub(super) fn text(&self, group: u32) -> &[u8] {
        &self.groups[group as usize].text
    }

    pub(super) fn expected_len(&self) -> usize {
        self.lines.get(self.next).map_or(0, |line| line.len as usize)
    }

    #[inline]
    pub(super) fn expected(&self, text: &[u8], section: u64) -> Option<usize> {
        (self.lines.get(self.next)?.key == key(text, section)).then_some(self.next)
    }

    pub(super) fn find(&mut self, text: &[u8], section: u64) -> Option<usize> {
        let key = key(text, section);
        if self.lines.get(self.next).is_some_and(|line| line.key == key) {
            return Some(self.next);
        }
        let lines = &self.lines;
        let index = self.index.get_or_insert_with(|| lines.iter().map(|line| line.key).zip(0..).collect());
        index.get(&key).map(|at| *at as usize)
    }

    /// Adds a line that was not found. `render` writes the text of its histogram's series, if that is not known.
    pub(super) fn push(
        &mut self,
        text: &[u8],
        section: u64,
        part: Part,
        group: Option<u64>,
        render: impl FnOnce(&mut SeriesText),
    ) -> usize {
        let at = self.lines.len();
        let key = key(text, section);
        let group = group.map_or(NO_GROUP, |hash| self.group(hash, render));
        let len = if text.contains(&b'\n') { 0 } else { text.len() as u32 };
        self.lines.push(Line { key, len, group, part });
        if let Some(index) = &mut self.index {
            index.insert(key, at as u32);
        }
        at
    }

    fn group(&mut self, hash: u64, render: impl FnOnce(&mut SeriesText)) -> u32 {
        let (groups, text) = (&mut self.groups, &mut self.text);
        *self.group_index.entry(hash).or_insert_with(|| {
            render(text);
            groups.push(Group { hash, text: text.bytes().into() });
            groups.len() as u32 - 1
        })
    }

    /// Goes past a line.
    #[inline]
    pub(super) fn pass(&mut self, at: usize) -> Line {
        if at == self.in_order && self.order.is_empty() {
            self.in_order += 1;
        } else {
            self.order.push(at as u32);
        }
        self.next = at + 1;
        self.lines[at]
    }

    /// Keeps what the scrape had, in its order.
    pub(super) fn finish(&mut self) {
        if self.in_order < self.lines.len() || !self.order.is_empty() {
            self.rebuild();
        } else {
            self.index = None;
        }
        self.kept = (self.lines.len(), self.groups.len());
    }

    fn rebuild(&mut self) {
        let mut taken = vec![false; self.lines.len()];
        let mut new_group: Vec<Option<u32>> = vec![None; self.groups.len()];
        let mut groups = Vec::with_capacity(self.groups.len());
        let mut lines = Vec::with_capacity(self.in_order + self.order.len());
        for at in (0..self.in_order).chain(self.order.drain(..).map(|at| at as usize)) {
            if std::mem::replace(&mut taken[at], true) {
                continue;
            }
            let mut line = self.lines[at];
            if line.group != NO_GROUP {
                let (hash, text) = (self.groups[line.group as usize].hash, &mut self.groups[line.group as usize].text);
                line.group = *new_group[line.group as usize].get_or_insert_with(|| {
                    groups.push(Group { hash, text: std::mem::take(text) });
                    groups.len() as u32 - 1
                });
            }
            lines.push(line);
        }
        groups.shrink_to_fit();
        lines.shrink_to_fit();
        (self.lines, self.groups, self.index) = (lines, groups, None);
        self.order.shrink_to(0);
        self.index_groups();
    }

    fn index_groups(&mut self) {
        self.group_index = self.groups.iter().map(|group| group.hash).zip(0..).collect();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether all lines were where they were expected.
    #[cfg(test)]
    pub(super) fn is_unindexed(&self) -> bool {
        self.index.is_none()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, HashMap::capacity) + self.group_index.capacity();
        let texts: usize = self.groups.iter().map(|group| group.text.len()).sum();
        self.lines.capacity() * size_of::<Line>()
            + self.groups.capacity() * size_of::<Group>()
            + self.order.capacity() * size_of::<u32>()
            + index * size_of::<(u64, u32)>()
            + texts
    }
}

/// The same text in another section is another line. A text that is the section's name must not cancel it out.
fn key(text: &[u8], section: u64) -> u64 {
    xxh3_64(text) ^ section.rotate_left(32)
}
