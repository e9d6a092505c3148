//! The innermost loop of the whole collector: values, and timestamps where rows have their own, written into the holes of a copied block.
//! Whether each value still has the bytes that the block takes for granted is checked on the way; it costs less than the writing.

use super::value::Hole;
use super::wire::{self, STAMP};

/// A hole in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes from the begin of the hole before to this one's, the first from the start of the block.
    gap: u16,
    /// The row that fills it, counted from the fragment's first.
    pub row: u16,
    /// The value's highest byte, if it is not open, else zero.
    top: u8,
    /// The [`Shape`], or [`STAMP_KIND`].
    kind: u8,
}

/// Rows that follow each other and always have this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Constant {
    /// The first row, counted from the fragment's first.
    pub row: u16,
    /// How many rows.
    pub count: u16,
    bits: [u8; 8],
}

/// More kinds of places than there are holes, and a power of two.
const KINDS: usize = 32;
/// A hole that takes the row's timestamp.
const STAMP_KIND: u8 = KINDS as u8 - 1;
/// No hole: leads on to a place that is too far away for one gap.
const BRIDGE_KIND: u8 = KINDS as u8 - 2;
/// Bytes that are written at once, whatever the hole's size: so many must stand behind the last hole.
pub(super) const SLACK: usize = 8;
/// Where the top byte stands in a value.
const TOP_SHIFT: u32 = 56;

/// What is to be done for one kind of [`Hole`].
#[derive(Clone, Copy)]
struct Shape {
    shift: u32,
    /// The bits of a written word that belong to the hole.
    open: u64,
    /// The bits of a value that are fixed.
    fixed: u64,
}

/// By kind of place; those that are no holes in values change nothing.
const SHAPES: [Shape; KINDS] = {
    let mut shapes = [Shape { shift: 0, open: 0, fixed: 0 }; KINDS];
    let mut kind = 0;
    while kind < Hole::NUMBERS {
        let hole = Hole::numbered(kind);
        let open = !hole.fixed();
        let shift = if open == 0 { 0 } else { open.trailing_zeros() };
        shapes[kind] = Shape { shift, open: open >> shift, fixed: !open };
        kind += 1;
    }
    shapes
};

impl Place {
    /// A place for the bytes in `hole` of values that are otherwise as `bits`.
    pub fn of_value(gap: u16, row: u16, hole: Hole, bits: u64) -> Self {
        Self { gap, row, top: ((bits & hole.fixed()) >> TOP_SHIFT) as u8, kind: hole.number() }
    }

    /// A place for a timestamp.
    pub fn of_stamp(gap: u16, row: u16) -> Self {
        Self { gap, row, top: 0, kind: STAMP_KIND }
    }

    /// Brings the next place nearer by `gap`, but takes nothing.
    pub fn bridge(gap: u16) -> Self {
        Self { gap, row: 0, top: 0, kind: BRIDGE_KIND }
    }

    /// Bytes to the begin of the hole.
    pub fn gap(self) -> usize {
        usize::from(self.gap)
    }

    /// Bytes of the hole.
    pub fn len(self) -> usize {
        if self.kind == STAMP_KIND { STAMP } else { self.hole().map_or(0, Hole::len) }
    }

    /// Which bytes of a value are open; none if it takes no value.
    pub fn hole(self) -> Option<Hole> {
        (usize::from(self.kind) < Hole::NUMBERS).then(|| Hole::numbered(usize::from(self.kind)))
    }

    /// What is fixed of the value.
    pub fn fixed_bits(self) -> u64 {
        u64::from(self.top) << TOP_SHIFT
    }

    /// Whether the block says something else of `value` than it is.
    pub fn contradicts(self, value: f64) -> bool {
        self.hole().is_some_and(|hole| value.to_bits() & hole.fixed() != self.fixed_bits())
    }
}

impl Constant {
    pub fn new(row: u16, bits: u64) -> Self {
        Self { row, count: 1, bits: bits.to_le_bytes() }
    }

    /// Takes in the next row, if it is one that follows and has the same value.
    pub fn extend(&mut self, row: u16, bits: u64) -> bool {
        let next = self.row + self.count == row && self.bits() == bits;
        self.count += u16::from(next);
        next
    }

    pub fn bits(&self) -> u64 {
        u64::from_le_bytes(self.bits)
    }

    pub fn rows(&self) -> std::ops::Range<usize> {
        usize::from(self.row)..usize::from(self.row) + usize::from(self.count)
    }
}

/// Whether every row of `constants` has its value.
pub(super) fn are_constant(constants: &[Constant], values: &[f64]) -> bool {
    let differs = constants.iter().fold(0, |differs, constant| {
        let bits = constant.bits();
        values[constant.rows()].iter().fold(differs, |differs, value| differs | (value.to_bits() ^ bits))
    });
    differs == 0
}

/// Writes the open bytes of `values` (by row) into `block`, and `timestamps` (by row, within the range of templates) where places take
/// them. False if a value has other fixed bytes than the block; what was written is of no use then.
pub(super) fn fill(block: &mut [u8], places: &[Place], values: &[f64], timestamps: Option<&[i64]>) -> bool {
    let (mut at, mut differs) = (0, 0);
    for place in places {
        at += place.gap();
        let row = usize::from(place.row);
        let Some(word) = block.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else { return false };
        if let (STAMP_KIND, Some(timestamps)) = (place.kind, timestamps) {
            word[..STAMP].copy_from_slice(&wire::stamp(timestamps[row]));
            continue;
        }
        let shape = &SHAPES[usize::from(place.kind) % KINDS];
        let bits = values[row].to_bits();
        differs |= (bits & shape.fixed) ^ place.fixed_bits();
        let kept = u64::from_le_bytes(*word) & !shape.open;
        *word = (kept | bits >> shape.shift & shape.open).to_le_bytes();
    }
    differs == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The holes of values that changed in ever more bytes.
    fn holes() -> impl Iterator<Item = (u64, Hole)> {
        let bits = 0x4132_d687_0000_0000_u64;
        let changes = (0..8).flat_map(|from| (from..8).map(move |to| (0..=to - from).fold(0, |all, i| all | 1_u64 << (8 * (from + i)))));
        changes.map(move |change| (bits, Hole::covering(bits, change)))
    }

    #[test]
    fn a_hole_of_every_kind_takes_its_bytes_and_touches_no_others() {
        for (bits, hole) in holes() {
            let places = [Place::of_value(3, 0, hole, bits), Place::of_value(hole.len() as u16 + 1, 1, hole, bits)];
            let mut block = [0xee; 32];
            let value = |open: u64| f64::from_bits(bits & hole.fixed() | open & !hole.fixed());
            let (first, second) = (value(0x1122_3344_5566_7788), value(0x99aa_bbcc_ddee_ff10));
            assert!(fill(&mut block, &places, &[first, second], None), "{hole:?}");
            let bytes = |value: f64| value.to_le_bytes()[hole.first()..hole.first() + hole.len()].to_vec();
            let expected = [vec![0xee; 3], bytes(first), vec![0xee], bytes(second)].concat();
            assert_eq!(block[..expected.len()], expected, "{hole:?}");
            assert!(block[expected.len()..].iter().all(|&byte| byte == 0xee), "{hole:?}");
            assert!(!places[0].contradicts(first));
        }
    }

    #[test]
    fn a_value_with_another_fixed_byte_is_noticed() {
        for (bits, hole) in holes() {
            let place = Place::of_value(0, 0, hole, bits);
            for byte in (0..8).filter(|&byte| !hole.is_open(byte)) {
                let other = f64::from_bits(bits ^ 1 << (8 * byte));
                assert!(!fill(&mut [0; 16], &[place], &[other], None), "{hole:?}, byte {byte}");
                assert!(place.contradicts(other));
            }
        }
    }

    #[test]
    fn a_bridge_takes_nothing() {
        let places = [Place::bridge(4), Place::of_value(2, 1, Hole::FULL, 0)];
        let mut block = [9; 20];
        assert!(fill(&mut block, &places, &[1.0, 2.0], None));
        assert_eq!(block[..6], [9; 6]);
        assert_eq!(block[6..14], 2.0_f64.to_le_bytes());
        assert_eq!((places[0].len(), places[0].hole(), places[0].contradicts(1.0)), (0, None, false));
    }

    #[test]
    fn timestamps_go_where_they_belong() {
        let (hole, stamp) = (Hole::covering(1, 1), 1_763_637_480_123);
        let places = [Place::of_value(0, 0, hole, 1), Place::of_stamp(9, 0)];
        let mut block = [0; 24];
        assert!(fill(&mut block, &places, &[f64::from_bits(5)], Some(&[stamp])));
        assert_eq!((block[0], &block[9..15]), (5, &wire::stamp(stamp)[..]));
        assert!(block[15..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn rows_with_one_value_are_one_constant_and_any_other_value_is_noticed() {
        let mut constant = Constant::new(2, 7);
        assert!(constant.extend(3, 7) && !constant.extend(5, 7) && !constant.extend(4, 8) && constant.extend(4, 7));
        assert_eq!(constant.rows(), 2..5);
        let values = |bits: [u64; 6]| bits.map(f64::from_bits);
        assert!(are_constant(&[constant], &values([1, 2, 7, 7, 7, 3])));
        for row in 2..5 {
            let mut bits = [7; 6];
            bits[row] = 6;
            assert!(!are_constant(&[constant], &values(bits)), "row {row}");
        }
    }
}
