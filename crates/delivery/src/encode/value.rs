//! What is known of a row's values: which of their eight bytes change from send to send. Those are left open in a template (a hole); the
//! others are part of its text and compressed with it. Half of what hosts expose never changes, and whole numbers end in zero bytes.

/// The bytes of a value (little-endian, so 0 is the lowest) that may change: from `first` up to `end`, or none. Below, all bytes are zero;
/// above, at most the [`TOP`] is fixed: more would seldom last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    first: u8,
    end: u8,
}

const BYTES: u8 = size_of::<f64>() as u8;
/// Sign and most of the exponent: what stays the same while a value grows. The byte below has the first bits of the fraction, which a
/// counter changes once in some thousand scrapes: too often among hundreds of counters.
const TOP: u8 = 1;

/// A value that ends in at least so many zero bits more than was seen is rare enough.
const LOW_BITS: u32 = 3;

impl Hole {
    /// The whole value.
    #[cfg(test)]
    pub const FULL: Self = Self { first: 0, end: BYTES };
    /// Nothing: the value is constant.
    pub const NONE: Self = Self { first: BYTES, end: BYTES };

    /// The hole for a value that is `bits` now and differed by `difference` (the exclusive or) before. It is larger than what changed by
    /// up to a byte at both ends: counters carry, and the last digits of a whole number are zero now and then.
    pub fn covering(bits: u64, difference: u64) -> Self {
        if difference == 0 {
            return Self::NONE;
        }
        let lowest = (bits | difference).trailing_zeros();
        let end = BYTES - (difference.leading_zeros() / 8) as u8;
        Self { first: (lowest.saturating_sub(LOW_BITS) / 8) as u8, end: (end + 1).clamp(BYTES - TOP, BYTES) }
    }

    /// The smallest hole that holds both, for a value that is `bits` now.
    pub fn with(self, other: Self) -> Self {
        match (self.is_none(), other.is_none()) {
            (true, _) => other,
            (_, true) => self,
            _ => Self { first: self.first.min(other.first), end: self.end.max(other.end) },
        }
    }

    /// Numbers of holes are below this.
    pub const NUMBERS: usize = 16;

    /// A number for what is open; not for [`Hole::NONE`].
    pub fn number(self) -> u8 {
        self.first * (TOP + 1) + self.end - (BYTES - TOP)
    }

    /// The hole with this number.
    pub const fn numbered(number: usize) -> Self {
        let (first, end) = (number as u8 / (TOP + 1), BYTES - TOP + number as u8 % (TOP + 1));
        if first < end { Self { first, end } } else { Self::NONE }
    }

    /// Whether nothing is open.
    pub fn is_none(self) -> bool {
        self.first == BYTES
    }

    /// How many bytes are open.
    pub fn len(self) -> usize {
        usize::from(self.end - self.first)
    }

    /// The first open byte.
    pub fn first(self) -> usize {
        usize::from(self.first)
    }

    /// Whether byte `index` is open.
    pub fn is_open(self, index: usize) -> bool {
        (self.first()..usize::from(self.end)).contains(&index)
    }

    /// The bits that are fixed.
    pub const fn fixed(self) -> u64 {
        if self.first == self.end {
            return u64::MAX;
        }
        let len = self.end - self.first;
        !(u64::MAX >> (u64::BITS - 8 * len as u32) << (8 * self.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covering(before: f64, now: f64) -> (usize, usize) {
        let hole = Hole::covering(now.to_bits(), before.to_bits() ^ now.to_bits());
        (hole.first(), hole.len())
    }

    #[test]
    fn a_value_that_did_not_change_is_constant() {
        assert!(Hole::covering(1.5_f64.to_bits(), 0).is_none());
        assert_eq!((Hole::NONE.len(), Hole::NONE.fixed()), (0, u64::MAX));
        assert_eq!((Hole::FULL.len(), Hole::FULL.fixed()), (8, 0));
    }

    #[test]
    fn whole_numbers_leave_their_zeros_and_their_exponent_out() {
        assert_eq!(covering(1_000_000.0, 1_004_208.0), (4, 3), "bytes 4 and 5 changed, 6 belongs to the fraction too, 7 is the exponent");
        assert_eq!(covering(0.0, 1.0), (6, 2));
        assert_eq!(covering(1.0, -1.0), (6, 2), "below, everything is zero in both");
        assert_eq!(covering(2_097_152.0, 2_097_154.0), (3, 4), "an odd number would have a bit in byte 3");
    }

    #[test]
    fn fractions_leave_out_the_exponent_alone() {
        assert_eq!(covering(1234.56, 1234.78), (0, 7));
        assert_eq!(covering(0.1, 0.7), (0, 8));
    }

    #[test]
    fn bytes_that_are_not_zero_are_open_although_they_did_not_change() {
        let bits = 0x4132_d687_0000_8000;
        assert_eq!(Hole::covering(bits, 0xff_0000_0000).first(), 1);
        assert_eq!(Hole::covering(bits, 0xff_0000_0000).len(), 6, "of the bytes above, one may be fixed");
    }

    #[test]
    fn a_hole_has_a_number() {
        for bits in [0_u64, 1 << 8, 1 << 33, 1 << 63] {
            let hole = Hole::covering(bits, bits | 1 << 40);
            assert_eq!(Hole::numbered(usize::from(hole.number())), hole);
        }
    }

    #[test]
    fn two_holes_become_one_that_holds_both() {
        let (low, high) = (Hole::covering(1, 1), Hole::covering(0x80 << 56, 0x80 << 56));
        assert_eq!(low.with(high), Hole::FULL);
        assert_eq!(high.with(Hole::NONE), high);
        assert_eq!(Hole::NONE.with(high), high);
        assert_eq!(low.fixed() & 0xffff_ffff_ffff, 0);
    }
}
