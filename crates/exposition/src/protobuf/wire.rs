//! The wire format below the messages: tags, numbers, and fields that nobody asks for. Accepts and refuses exactly what the decoder does
//! that Prometheus is generated with (gogo/protobuf), its leniency included: numbers of more than 64 bits lose the upper ones, unknown
//! fields and groups are passed over, and end marks of groups are not compared.

use super::error::Malformed;

pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const BYTES: u8 = 2;

/// How a field is introduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) field: u32,
    pub(super) wire: u8,
}

/// A place in a message.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Bytes of the message.
    len: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// Bytes behind the cursor.
    pub(super) fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The next field's tag, `None` at the end of the message.
    #[inline(always)]
    pub(super) fn tag(&mut self) -> Result<Option<Tag>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let (field, wire) = ((tag >> 3) as i32, (tag & 7) as u8);
        if wire == 4 || field <= 0 {
            return Err(Malformed::Tag);
        }
        Ok(Some(Tag { field: field as u32, wire }))
    }

    /// Steps over the next field if its tag is the byte `tag`, which has to be one of bytes, and its length has at most two bytes: the
    /// fast way through what repeats. `None` decides nothing.
    #[inline(always)]
    pub(super) fn piece(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (length, start) = match *self.rest {
            [first, length, ..] if first == tag && length < 0x80 => (usize::from(length), 2),
            [first, low, high, ..] if first == tag && high < 0x80 => (usize::from(low & 0x7f) | usize::from(high) << 7, 3),
            _ => return None,
        };
        let (piece, rest) = self.rest[start..].split_at_checked(length)?;
        self.rest = rest;
        Some(piece)
    }

    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Varint)
    }

    #[inline(always)]
    pub(super) fn fixed64(&mut self) -> Result<u64, Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// The number of a field that has to be one.
    #[inline(always)]
    pub(super) fn number(&mut self, tag: Tag) -> Result<u64, Malformed> {
        tag.expect(VARINT)?;
        self.varint()
    }

    /// The float of a field that has to be one.
    #[inline(always)]
    pub(super) fn double(&mut self, tag: Tag) -> Result<f64, Malformed> {
        tag.expect(FIXED64)?;
        self.fixed64().map(f64::from_bits)
    }

    /// The bytes of a field that has to be a text or a message.
    #[inline(always)]
    pub(super) fn bytes(&mut self, tag: Tag) -> Result<&'a [u8], Malformed> {
        tag.expect(BYTES)?;
        self.sized()
    }

    /// Reads a length and what has it.
    #[inline(always)]
    fn sized(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads the length of what follows.
    #[inline(always)]
    pub(super) fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.varint()?;
        if length > self.rest.len() as u64 { Err(Malformed::Truncated) } else { Ok(length as usize) }
    }

    /// Passes over a field whose tag was read.
    #[inline(always)]
    pub(super) fn skip(&mut self, tag: Tag) -> Result<(), Malformed> {
        if tag.wire == BYTES {
            return self.sized().map(drop);
        }
        self.skip_any(tag.wire)
    }

    fn skip_any(&mut self, mut wire: u8) -> Result<(), Malformed> {
        let mut depth = 0_usize;
        loop {
            match wire {
                VARINT => drop(self.varint()?),
                FIXED64 => drop(self.fixed64()?),
                BYTES => drop(self.sized()?),
                3 => depth += 1,
                4 => depth = depth.checked_sub(1).ok_or(Malformed::Tag)?,
                5 => self.rest = self.rest.get(4..).ok_or(Malformed::Truncated)?,
                _ => return Err(Malformed::Tag),
            }
            if depth == 0 {
                return Ok(());
            }
            wire = (self.varint()? & 7) as u8;
        }
    }
}

impl Tag {
    #[inline(always)]
    fn expect(self, wire: u8) -> Result<(), Malformed> {
        if self.wire == wire { Ok(()) } else { Err(Malformed::WireType { field: self.field }) }
    }
}

/// A signed number that was written zigzag.
#[inline(always)]
pub(super) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The occurrences of a repeated field in a message that may itself occur several times, which is then one message: all pieces of
/// `field` within all pieces of `outer`.
#[derive(Debug, Clone)]
pub(super) struct Nested<'a> {
    outside: Cursor<'a>,
    outer: u32,
    inside: Cursor<'a>,
    field: u32,
}

impl<'a> Nested<'a> {
    pub(super) fn new(message: &'a [u8], outer: u32, field: u32) -> Self {
        Self { outside: Cursor::new(message), outer, inside: Cursor::new(&[]), field }
    }

    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        loop {
            if let Some(bytes) = find(&mut self.inside, self.field)? {
                return Ok(Some(bytes));
            }
            match find(&mut self.outside, self.outer)? {
                Some(message) => self.inside = Cursor::new(message),
                None => return Ok(None),
            }
        }
    }
}

/// The next occurrence of a field of bytes.
#[inline(always)]
pub(super) fn find<'a>(cursor: &mut Cursor<'a>, field: u32) -> Result<Option<&'a [u8]>, Malformed> {
    // Tags of higher fields have two bytes.
    if field < 16
        && let Some(piece) = cursor.piece((field << 3) as u8 | BYTES)
    {
        return Ok(Some(piece));
    }
    while let Some(tag) = cursor.tag()? {
        if tag.field == field {
            return cursor.bytes(tag).map(Some);
        }
        cursor.skip(tag)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<u64, Malformed> {
        Cursor::new(bytes).varint()
    }

    #[test]
    fn numbers_have_at_most_ten_bytes() {
        assert_eq!(varint(&[0x7f]), Ok(127));
        assert_eq!(varint(&[0xac, 0x02]), Ok(300));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(u64::MAX));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), Ok(u64::MAX), "bits beyond 64 are lost");
        assert_eq!(varint(&[0x80; 10]), Err(Malformed::Varint));
        assert_eq!(varint(&[0x80; 9]), Err(Malformed::Truncated));
        assert_eq!(varint(&[]), Err(Malformed::Truncated));
    }

    #[test]
    fn zigzag_numbers_alternate() {
        assert_eq!([0, 1, 2, 3, u64::MAX].map(zigzag), [0, -1, 1, -2, i64::MIN]);
    }

    #[test]
    fn fields_that_nobody_asks_for_are_passed_over() {
        #[rustfmt::skip]
        let bytes = [
            0x78, 0x96, 0x01,                                  // 15: number
            0x79, 1, 2, 3, 4, 5, 6, 7, 8,                      // 15: eight bytes
            0x7a, 2, 0xff, 0xff,                               // 15: bytes
            0x7b, 0x08, 5, 0x0b, 0x0a, 1, 9, 0x14, 0x7c,       // 15: a group with a group whose end has another number
            0x7d, 1, 2, 3, 4,                                  // 15: four bytes
            0x0a, 1, b'x',
        ];
        assert_eq!(find(&mut Cursor::new(&bytes), 1), Ok(Some(&b"x"[..])));
        assert_eq!(find(&mut Cursor::new(&bytes), 2), Ok(None));
    }

    #[test]
    fn broken_fields_are_refused() {
        use Malformed::{Tag, Truncated, WireType};
        let cases: [(&[u8], Malformed); 12] = [
            (&[0x00], Tag),
            (&[0x0c], Tag),
            (&[0x7e], Tag),
            (&[0x7f], Tag),
            (&[0x80, 0x80, 0x80, 0x80, 0x40], Tag), // a field number that is negative in 32 bits
            (&[0x7a, 2, 1], Truncated),
            (&[0x7a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Truncated),
            (&[0x79, 1, 2, 3], Truncated),
            (&[0x7d, 1, 2, 3], Truncated),
            (&[0x7b, 0x08, 1], Truncated),
            (&[0x7b, 0x7e], Tag),
            (&[0x08, 1], WireType { field: 1 }),
        ];
        for (bytes, reason) in cases {
            assert_eq!(find(&mut Cursor::new(bytes), 1), Err(reason), "{bytes:02x?}");
        }
    }

    #[test]
    fn nested_pieces_are_found_across_all_outer_ones() {
        let bytes = [0x3a, 6, 0x1a, 1, b'a', 0x1a, 1, b'b', 0x08, 1, 0x3a, 0, 0x3a, 3, 0x1a, 1, b'c'];
        let mut nested = Nested::new(&bytes, 7, 3);
        let mut found = Vec::new();
        while let Some(piece) = nested.next().unwrap() {
            found.extend_from_slice(piece);
        }
        assert_eq!(found, b"abc");
    }
}
