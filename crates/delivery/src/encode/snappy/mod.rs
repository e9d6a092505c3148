//! A compressor to snappy's block format for texts with holes: places whose bytes are filled in later, each time anew. It is run once per
//! chunk of series, so it may search longer than a general compressor (`matcher`), and it keeps two rules that a general one can't:
//! holes always end up in literals at known offsets, and nothing is ever copied from or across a hole. A text in which a byte turns out to
//! change after all is not compressed again: `splice` opens the hole in what is there.
//! Format: <https://github.com/google/snappy/blob/main/format_description.txt>. Only elements are written; the leading length is the
//! caller's, so that blocks can be put end to end (copies are relative).

mod matcher;
mod splice;
#[cfg(test)]
mod tests;

use matcher::Matcher;
pub(super) use splice::{Opened, open};

/// Copies with two bytes of offset reach this far back; longer ones cost five bytes and gain nothing here.
const WINDOW: usize = 65_535;
/// Shortest text that is looked up; snappy's shortest copy that saves anything.
const MIN_MATCH: usize = 4;
/// A copy takes at most this many bytes.
const MAX_COPY: usize = 64;
/// The short form of a copy: two bytes, for 4 to 11 bytes not further back than this.
const SHORT_COPY: (std::ops::RangeInclusive<usize>, usize) = (4..=11, 2048);

/// A byte of the text, or a place that is filled in later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol(u32);

/// What a [`Symbol`] is beside its number, in the bits above it.
const KIND: u32 = 0xff00_0000;
const STAMP: u32 = 0x0100_0000;
const NUMBER: u32 = 0x0200_0000;

impl Symbol {
    /// A byte that differs each time and everywhere: never copied.
    pub const HOLE: Self = Self(0x0300_0000);

    /// A byte of the text.
    pub fn byte(byte: u8) -> Self {
        Self(u32::from(byte))
    }

    /// Byte `index` (below 256) of a stamp: differs each time, but is the same at every place of a text, so it may be copied from another
    /// place with the same index.
    pub fn stamp(index: u8) -> Self {
        Self(STAMP | u32::from(index))
    }

    /// The two bytes of a number that is known when the text is sent: the same wherever `of` is the same.
    pub fn number(of: u16) -> [Self; NUMBER_BYTES] {
        [0, 1].map(|byte| Self(NUMBER | u32::from(of) << 1 | byte))
    }

    fn kind(self) -> u32 {
        self.0 & KIND
    }

    /// Which byte of which number it is.
    fn number_byte(self) -> Option<(u16, u8)> {
        (self.kind() == NUMBER).then_some(((self.0 >> 1) as u16, (self.0 & 1) as u8))
    }
}

/// Bytes of a [`Symbol::number`].
pub(super) const NUMBER_BYTES: usize = 2;

/// A compressed text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Snappy elements, zero where something is to be filled in.
    pub elements: Vec<u8>,
    /// Position and length of each run of [`Symbol::HOLE`], in order.
    pub holes: Vec<(usize, usize)>,
    /// Where stamp bytes are to be filled in: (position, index), in order.
    pub stamps: Vec<(usize, u8)>,
    /// Where numbers are to be filled in: (position of the first byte, which one), in order.
    pub numbers: Vec<(usize, u16)>,
}

/// Compresses `text` (below 4 GiB).
pub(super) fn compress(text: &[Symbol]) -> Block {
    let mut block = Block::default();
    let mut matcher = Matcher::new(text);
    let (mut at, mut literal) = (0, 0);
    while at < text.len() {
        let Some(found) = matcher.find(at) else {
            matcher.insert(at);
            at += 1;
            continue;
        };
        block.put_literal(&text[literal..at]);
        block.put_copy(found);
        (at..at + found.len).for_each(|inside| matcher.insert(inside));
        at += found.len;
        literal = at;
    }
    block.put_literal(&text[literal..]);
    block
}

/// `len` symbols that also stand `offset` symbols before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    offset: usize,
    len: usize,
}

impl Match {
    /// Bytes that it saves over a literal.
    fn gain(self) -> isize {
        self.len as isize - copy_cost(self.offset, self.len) as isize
    }
}

fn is_short(offset: usize, len: usize) -> bool {
    SHORT_COPY.0.contains(&len) && offset < SHORT_COPY.1
}

fn copy_cost(offset: usize, len: usize) -> usize {
    let rest = len % MAX_COPY;
    3 * (len / MAX_COPY) + if rest == 0 { 0 } else { 3 - usize::from(is_short(offset, rest)) }
}

impl Block {
    fn put_literal(&mut self, text: &[Symbol]) {
        let Some(last) = text.len().checked_sub(1) else { return };
        match last {
            0..60 => self.elements.push((last as u8) << 2),
            60..0x100 => self.elements.extend_from_slice(&[60 << 2, last as u8]),
            0x100..0x1_0000 => self.elements.extend_from_slice(&[61 << 2, last as u8, (last >> 8) as u8]),
            _ => {
                self.elements.push(63 << 2);
                self.elements.extend_from_slice(&(last as u32).to_le_bytes());
            }
        }
        let mut in_hole = false;
        for &symbol in text {
            let at = self.elements.len();
            match (symbol.kind(), symbol.number_byte()) {
                (STAMP, _) => self.stamps.push((at, symbol.0 as u8)),
                (_, Some((of, 0))) => self.numbers.push((at, of)),
                _ if symbol == Symbol::HOLE => match self.holes.last_mut() {
                    Some((_, len)) if in_hole => *len += 1,
                    _ => self.holes.push((at, 1)),
                },
                _ => {}
            }
            in_hole = symbol == Symbol::HOLE;
            self.elements.push(if symbol.kind() == 0 { symbol.0 as u8 } else { 0 });
        }
    }

    fn put_copy(&mut self, found: Match) {
        let mut left = found.len;
        while left > 0 {
            let len = left.min(MAX_COPY);
            if is_short(found.offset, len) {
                self.elements.push((((found.offset >> 8) as u8) << 5) | (((len - 4) as u8) << 2) | 1);
                self.elements.push(found.offset as u8);
            } else {
                self.elements.push((((len - 1) as u8) << 2) | 2);
                self.elements.extend_from_slice(&(found.offset as u16).to_le_bytes());
            }
            left -= len;
        }
    }
}
