//! A compressor to snappy's block format for texts with holes: places whose bytes are filled in later, each time anew. It is run once per
//! chunk of series, so it may search longer than a general compressor, and it keeps two rules that a general one can't:
//! holes always end up in literals at known offsets, and nothing is ever copied from or across a hole.
//! Format: <https://github.com/google/snappy/blob/main/format_description.txt>. Only elements are written; the leading length is the
//! caller's, so that blocks can be put end to end (copies are relative).

/// Copies with two bytes of offset reach this far back; longer ones cost five bytes and gain nothing here.
const WINDOW: usize = 65_535;
/// Shortest text that is looked up; snappy's shortest copy that saves anything.
const MIN_MATCH: usize = 4;
/// A copy takes at most this many bytes.
const MAX_COPY: usize = 64;
/// The short form of a copy: two bytes, for 4 to 11 bytes not further back than this.
const SHORT_COPY: (std::ops::RangeInclusive<usize>, usize) = (4..=11, 2048);
/// How many earlier places with the same four bytes are compared. Series repeat each other in runs, so the best one is near; more steps
/// gain less than 1 % on node_exporter's output.
const MAX_STEPS: usize = 12;
/// A match that long is taken without looking further.
const GOOD_MATCH: usize = 48;
/// A copy must save this much, for it cuts a literal in two, which costs a byte.
const MIN_GAIN: isize = 2;
const HASH_BITS: u32 = 14;

/// A byte of the text, or a place that is filled in later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol(u16);

impl Symbol {
    /// A byte that differs each time and everywhere: never copied.
    pub const HOLE: Self = Self(0x200);

    /// A byte of the text.
    pub fn byte(byte: u8) -> Self {
        Self(u16::from(byte))
    }

    /// Byte `index` (below 256) of a stamp: differs each time, but is the same at every place of a text, so it may be copied from another
    /// place with the same index.
    pub fn stamp(index: u8) -> Self {
        Self(0x100 | u16::from(index))
    }

    fn stamp_index(self) -> Option<u8> {
        (self.0 & 0x100 != 0).then_some(self.0 as u8)
    }
}

/// A compressed text.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Snappy elements, zero where something is to be filled in.
    pub elements: Vec<u8>,
    /// Where each run of [`Symbol::HOLE`] begins, in order.
    pub holes: Vec<usize>,
    /// Where stamp bytes are to be filled in: (position, index), in order.
    pub stamps: Vec<(usize, u8)>,
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
#[derive(Clone, Copy)]
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

/// Finds earlier places by hash chains over four symbols.
struct Matcher<'a> {
    text: &'a [Symbol],
    /// Last place of each hash plus one; zero is none.
    heads: Vec<u32>,
    /// The place before with the same hash plus one, per place.
    chain: Vec<u32>,
}

impl<'a> Matcher<'a> {
    fn new(text: &'a [Symbol]) -> Self {
        Self { text, heads: vec![0; 1 << HASH_BITS], chain: vec![0; text.len()] }
    }

    /// The slot of the four symbols at `at`; none at the end and where a hole is among them.
    fn slot(&self, at: usize) -> Option<usize> {
        let four: &[Symbol; MIN_MATCH] = self.text.get(at..)?.first_chunk()?;
        if four.contains(&Symbol::HOLE) {
            return None;
        }
        let key = four.iter().fold(0_u64, |key, symbol| key << 16 | u64::from(symbol.0));
        Some((key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASH_BITS)) as usize) // Fibonacci hashing
    }

    fn insert(&mut self, at: usize) {
        if let Some(slot) = self.slot(at) {
            self.chain[at] = self.heads[slot];
            self.heads[slot] = at as u32 + 1;
        }
    }

    /// The earlier place that saves most, if any saves enough.
    fn find(&self, at: usize) -> Option<Match> {
        let mut next = self.heads[self.slot(at)?];
        let mut best = Match { offset: WINDOW, len: 0 };
        for _ in 0..MAX_STEPS {
            let Some(place) = (next as usize).checked_sub(1).filter(|place| at - place <= WINDOW) else { break };
            let found = Match { offset: at - place, len: self.common(place, at, best.len) };
            if found.len > 0 && found.gain() > best.gain() {
                best = found;
            }
            if best.len >= GOOD_MATCH {
                break;
            }
            next = self.chain[place];
        }
        (best.len >= MIN_MATCH && best.gain() >= MIN_GAIN).then_some(best)
    }

    /// How many symbols are the same at both places, up to the first hole; zero if not more than `beat`.
    fn common(&self, earlier: usize, later: usize, beat: usize) -> usize {
        if self.text.get(later + beat) != self.text.get(earlier + beat) {
            return 0;
        }
        let pairs = self.text[earlier..].iter().zip(&self.text[later..]);
        pairs.take_while(|(a, b)| a == b && **b != Symbol::HOLE).count()
    }
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
            if let Some(index) = symbol.stamp_index() {
                self.stamps.push((at, index));
            } else if symbol == Symbol::HOLE && !in_hole {
                self.holes.push(at);
            }
            in_hole = symbol == Symbol::HOLE;
            self.elements.push(if symbol.0 < 0x100 { symbol.0 as u8 } else { 0 });
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a decoder makes of the block after `hole` was written into every hole and `stamp` into every stamp.
    fn decode(text: &[Symbol], mut block: Block, hole: impl Fn(usize) -> u8, stamp: impl Fn(u8) -> u8) -> Vec<u8> {
        for (&start, (from, len)) in block.holes.iter().zip(hole_runs(text)) {
            (0..len).for_each(|i| block.elements[start + i] = hole(from + i));
        }
        for &(at, index) in &block.stamps {
            block.elements[at] = stamp(index);
        }
        let mut whole = Vec::new();
        super::super::wire::put_varint(&mut whole, text.len() as u64);
        whole.extend_from_slice(&block.elements);
        snap::raw::Decoder::new().decompress_vec(&whole).unwrap()
    }

    /// (start, length) of the runs of holes in `text`.
    fn hole_runs(text: &[Symbol]) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (at, _) in text.iter().enumerate().filter(|(_, symbol)| **symbol == Symbol::HOLE) {
            match runs.last_mut() {
                Some((start, len)) if *start + *len == at => *len += 1,
                _ => runs.push((at, 1)),
            }
        }
        runs
    }

    fn expected(text: &[Symbol], hole: impl Fn(usize) -> u8, stamp: impl Fn(u8) -> u8) -> Vec<u8> {
        let fill = |(at, symbol): (usize, &Symbol)| match symbol {
            &Symbol::HOLE => hole(at),
            symbol => symbol.stamp_index().map_or(symbol.0 as u8, &stamp),
        };
        text.iter().enumerate().map(fill).collect()
    }

    fn check(text: &[Symbol]) -> usize {
        let block = compress(text);
        let len = block.elements.len();
        assert_eq!(block.holes.len(), hole_runs(text).len(), "every hole is a literal");
        let (hole, stamp) = (|at: usize| (at * 37 % 251) as u8, |index: u8| index.wrapping_mul(3));
        assert_eq!(decode(text, block, hole, stamp), expected(text, hole, stamp));
        len
    }

    fn symbols(text: &str) -> Vec<Symbol> {
        text.bytes().map(Symbol::byte).collect()
    }

    #[test]
    fn text_that_repeats_shrinks_and_comes_back() {
        assert!(check(&symbols(&"node_cpu_seconds_total ".repeat(40))) < 100);
        assert_eq!(check(&[]), 0);
        check(&symbols("a"));
        check(&symbols("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    }

    #[test]
    fn literals_of_every_length_form_come_back() {
        for len in [59, 60, 61, 62, 255, 256, 257, 65_535, 65_536, 65_537, 70_000] {
            // Stamps with a running index never repeat within four symbols at a distance below 256.
            let text: Vec<Symbol> = (0..len).map(|i| if i % 3 == 0 { Symbol::HOLE } else { Symbol::stamp((i % 251) as u8) }).collect();
            assert!(check(&text) >= len);
        }
    }

    #[test]
    fn copies_of_every_length_and_distance_come_back() {
        for distance in [8, 100, 2047, 2048, 2049, 65_535, 65_536, 70_000] {
            for len in [4, 5, 11, 12, 63, 64, 65, 67, 68, 128, 129, 200] {
                let mut text: Vec<Symbol> = (0..len).map(|i| Symbol::stamp((i % 250) as u8)).collect();
                text.resize(distance.max(len), Symbol::HOLE);
                text.extend((0..len).map(|i| Symbol::stamp((i % 250) as u8)));
                check(&text);
            }
        }
    }

    #[test]
    fn nothing_is_copied_from_a_hole_even_where_bytes_are_the_same() {
        let run = [Symbol::byte(1), Symbol::HOLE, Symbol::HOLE, Symbol::byte(2), Symbol::byte(3)];
        check(&run.repeat(50));
    }

    proptest! {
        #[test]
        fn any_text_comes_back(parts in prop::collection::vec((0_u16..6, 1_usize..40), 0..200)) {
            let mut text = Vec::new();
            for (kind, len) in parts {
                for i in 0..len {
                    text.push(match kind {
                        0 => Symbol::HOLE,
                        1 => Symbol::stamp((i % 6) as u8),
                        2 => Symbol::byte((i * 7) as u8),
                        3 => Symbol::byte(b'a' + (i % 3) as u8),
                        4 => Symbol::byte(0),
                        _ => Symbol::byte(0xff),
                    });
                }
            }
            check(&text);
        }
    }
}
