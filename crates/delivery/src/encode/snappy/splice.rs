//! Opens holes in a compressed text without compressing it again, which would cost fifty times as much. The elements are gone through,
//! copies are cut where they give or take a byte that is open now, and all others are taken over as they are.

use std::ops::Range;

use super::{Block, Match, NUMBER_BYTES, Symbol};

/// Bytes of the text that become a hole, and what they were.
#[derive(Clone, Debug)]
pub(in crate::encode) struct Opened {
    /// Where they are in the text.
    pub range: Range<usize>,
    /// What they were, from the range's start on.
    pub bytes: [u8; 8],
}

/// `block` with `opened` (in order, apart from each other, none of them a stamp or a number) open.
pub(in crate::encode) fn open(block: &Block, opened: &[Opened]) -> Block {
    let mut splicer = Splicer::new(block, opened);
    let (mut from, mut at) = (0, 0);
    while let Some(element) = Element::read(&block.elements, from) {
        let text = at..at + element.len();
        (from, at) = (element.bytes.end, text.end);
        splicer.take(element, text);
    }
    splicer.finish()
}

/// What is opened, so that most places are seen to be far from any of it at a glance.
struct Openings<'a> {
    opened: &'a [Opened],
    /// Whether anything is opened in these [`CELL`] bytes.
    cells: Vec<bool>,
}

/// A copy, which is at most 64 bytes, touches two cells at most.
const CELL: usize = 64;

impl<'a> Openings<'a> {
    fn new(opened: &'a [Opened]) -> Self {
        let mut cells = vec![false; opened.last().map_or(0, |last| last.range.end.div_ceil(CELL))];
        opened.iter().for_each(|one| cells[one.range.start / CELL..one.range.end.div_ceil(CELL)].fill(true));
        Self { opened, cells }
    }

    /// Those that have a byte in `range`, which is not empty.
    #[inline]
    fn near(&self, range: Range<usize>) -> &'a [Opened] {
        let is_near = |cell: usize| self.cells.get(cell).is_some_and(|near| *near);
        let (first, last) = (range.start / CELL, (range.end - 1) / CELL);
        if is_near(first) || is_near(last) || last > first + 1 && (first..last).any(is_near) { self.search(range) } else { &[] }
    }

    fn search(&self, range: Range<usize>) -> &'a [Opened] {
        let first = self.opened.partition_point(|one| one.range.end <= range.start);
        let count = self.opened[first..].iter().take_while(|one| one.range.start < range.end).count();
        &self.opened[first..first + count]
    }
}

/// An element of a block.
struct Element {
    /// Where it is in the block.
    bytes: Range<usize>,
    kind: Kind,
}

enum Kind {
    /// With its bytes behind the tag.
    Literal(Range<usize>),
    Copy(Match),
}

impl Element {
    /// The element that begins at `from`; none at the end. Blocks are our own, so what can't be in one ends it.
    fn read(elements: &[u8], from: usize) -> Option<Self> {
        let (&tag, rest) = elements.get(from..)?.split_first()?;
        let extra = |count: usize| rest.iter().take(count).rev().fold(0, |number, &byte| number << 8 | usize::from(byte));
        let packed = usize::from(tag >> 2);
        let copy = |header: usize, copy| Some(Self { bytes: from..from + header, kind: Kind::Copy(copy) });
        let (header, len) = match tag & 3 {
            0 if packed < 60 => (1, packed + 1),
            0 => (packed - 58, extra(packed - 59) + 1),
            1 => return copy(2, Match { offset: usize::from(tag >> 5) << 8 | extra(1), len: (packed & 7) + 4 }),
            _ => return copy(3, Match { offset: extra(2), len: packed + 1 }),
        };
        let end = (from + header + len).min(elements.len());
        Some(Self { bytes: from..end, kind: Kind::Literal(from + header..end) })
    }

    /// Bytes of text that it stands for.
    fn len(&self) -> usize {
        match &self.kind {
            Kind::Literal(content) => content.len(),
            Kind::Copy(copy) => copy.len,
        }
    }
}

/// Puts the new block together: runs of elements as they are, and between them edits. An edit takes in the literals before and after it,
/// so that no hole is in two literals.
struct Splicer<'a> {
    old: &'a Block,
    opened: Openings<'a>,
    new: Block,
    /// Elements that stay as they are, not taken over yet; empty during an edit.
    kept: Range<usize>,
    /// Where the last of them begins and what it holds, if it is a literal.
    last_literal: Option<(usize, Range<usize>)>,
    editing: bool,
    /// What the edit comes to so far: symbols, then part of a copy.
    literal: Vec<Symbol>,
    copy: Option<Match>,
    /// How many of the old block's holes, stamps and numbers were taken over.
    marks: (usize, usize, usize),
}

impl<'a> Splicer<'a> {
    fn new(old: &'a Block, opened: &'a [Opened]) -> Self {
        let mut new = Block::default();
        new.elements.reserve(old.elements.len() + 16 * opened.len());
        let opened = Openings::new(opened);
        Self { old, opened, new, kept: 0..0, last_literal: None, editing: false, literal: Vec::new(), copy: None, marks: (0, 0, 0) }
    }

    /// Takes an element that stands for this range of the text.
    fn take(&mut self, element: Element, text: Range<usize>) {
        let here = self.opened.near(text.clone());
        match element.kind {
            Kind::Literal(content) if self.editing || !here.is_empty() => {
                self.begin_edit(element.bytes.start);
                self.end_copy();
                let from = self.literal.len();
                self.lift(content);
                for one in here {
                    let inside = one.range.start.max(text.start)..one.range.end.min(text.end);
                    self.literal[from + inside.start - text.start..from + inside.end - text.start].fill(Symbol::HOLE);
                }
            }
            Kind::Copy(copy) if !here.is_empty() || !self.opened.near(text.start - copy.offset..text.end - copy.offset).is_empty() => {
                self.begin_edit(element.bytes.start);
                text.for_each(|place| self.take_copied(place, copy.offset));
            }
            Kind::Literal(content) => {
                self.last_literal = Some((element.bytes.start, content));
                self.kept.end = element.bytes.end;
            }
            Kind::Copy(_) => {
                if self.editing {
                    self.end_edit();
                    self.kept = element.bytes.clone();
                }
                self.last_literal = None;
                self.kept.end = element.bytes.end;
            }
        }
    }

    /// Takes one byte of a copy.
    fn take_copied(&mut self, place: usize, offset: usize) {
        let is_open = |place: usize| self.opened.near(place..place + 1).first();
        let symbol = match (is_open(place), is_open(place - offset)) {
            (Some(_), _) => Symbol::HOLE,
            (None, Some(source)) => Symbol::byte(source.bytes[place - offset - source.range.start]),
            (None, None) => return self.extend_copy(offset),
        };
        self.end_copy();
        self.literal.push(symbol);
    }

    fn extend_copy(&mut self, offset: usize) {
        match &mut self.copy {
            Some(copy) if copy.offset == offset => copy.len += 1,
            _ => {
                self.end_copy();
                self.copy = Some(Match { offset, len: 1 });
            }
        }
    }

    /// Writes the symbols and the copy behind them, if there is one; without it, more symbols may follow.
    fn end_copy(&mut self) {
        if let Some(copy) = self.copy.take() {
            self.new.put_literal(&self.literal);
            self.new.put_copy(copy);
            self.literal.clear();
        }
    }

    fn begin_edit(&mut self, at: usize) {
        if self.editing {
            return;
        }
        let literal = self.last_literal.take();
        self.kept.end = literal.as_ref().map_or(at, |(start, _)| *start);
        self.keep();
        self.editing = true;
        if let Some((_, content)) = literal {
            self.lift(content);
        }
    }

    fn end_edit(&mut self) {
        self.end_copy();
        self.new.put_literal(&self.literal);
        self.literal.clear();
        self.editing = false;
    }

    /// Takes over the elements that stay as they are.
    fn keep(&mut self) {
        let (Range { start, end }, Block { elements, holes, stamps, numbers }) = (self.kept.clone(), self.old);
        let to = self.new.elements.len();
        let place = |at: usize| at - start + to;
        let (of_holes, of_stamps, of_numbers) = self.marks_before(end);
        self.new.holes.extend(holes[of_holes].iter().map(|&(at, len)| (place(at), len)));
        self.new.stamps.extend(stamps[of_stamps].iter().map(|&(at, index)| (place(at), index)));
        self.new.numbers.extend(numbers[of_numbers].iter().map(|&(at, of)| (place(at), of)));
        self.new.elements.extend_from_slice(&elements[start..end]);
        self.kept = end..end;
    }

    /// Appends what a literal of the old block holds to the edit.
    fn lift(&mut self, content: Range<usize>) {
        let from = self.literal.len();
        let place = |at: usize| at - content.start + from;
        let (of_holes, of_stamps, of_numbers) = self.marks_before(content.end);
        let Block { elements, holes, stamps, numbers } = self.old;
        self.literal.extend(elements[content.clone()].iter().map(|&byte| Symbol::byte(byte)));
        holes[of_holes].iter().for_each(|&(at, len)| self.literal[place(at)..][..len].fill(Symbol::HOLE));
        stamps[of_stamps].iter().for_each(|&(at, index)| self.literal[place(at)] = Symbol::stamp(index));
        numbers[of_numbers].iter().for_each(|&(at, of)| self.literal[place(at)..][..NUMBER_BYTES].copy_from_slice(&Symbol::number(of)));
    }

    /// The holes, stamps and numbers that were not taken over and lie before `end`: they are now.
    fn marks_before(&mut self, end: usize) -> (Range<usize>, Range<usize>, Range<usize>) {
        let (holes, stamps, numbers) = self.marks;
        let count = |places: &mut dyn Iterator<Item = usize>| places.take_while(|&at| at < end).count();
        self.marks.0 += count(&mut self.old.holes[holes..].iter().map(|(at, _)| *at));
        self.marks.1 += count(&mut self.old.stamps[stamps..].iter().map(|(at, _)| *at));
        self.marks.2 += count(&mut self.old.numbers[numbers..].iter().map(|(at, _)| *at));
        (holes..self.marks.0, stamps..self.marks.1, numbers..self.marks.2)
    }

    fn finish(mut self) -> Block {
        if self.editing {
            self.end_edit();
        } else {
            self.keep();
        }
        self.new
    }
}
