//! Protobuf in place: fields of a message one after the other, nothing copied, no length believed before it was compared with what is
//! there (<https://protobuf.dev/programming-guides/encoding/>). What the fields mean is left to `v1` and `v2`.

/// The bytes are not the message that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// A field's value, as far as the wire type tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number; what it means depends on the field.
    Varint(u64),
    /// Eight bytes, little-endian: a double.
    Fixed64(u64),
    /// A text, a message, or packed numbers.
    Bytes(Reader<'a>),
    /// Four bytes; no field that is read has them.
    Fixed32,
}

impl<'a> Value<'a> {
    /// The bytes of a text or message.
    ///
    /// # Errors
    /// The field has another wire type.
    pub fn bytes(self) -> Result<Reader<'a>, Malformed> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed("a field has the wrong wire type: expected bytes")) }
    }

    /// The number of a varint field.
    ///
    /// # Errors
    /// The field has another wire type.
    pub fn varint(self) -> Result<u64, Malformed> {
        if let Self::Varint(number) = self { Ok(number) } else { Err(Malformed("a field has the wrong wire type: expected a varint")) }
    }

    /// A double.
    ///
    /// # Errors
    /// The field has another wire type.
    pub fn double(self) -> Result<f64, Malformed> {
        if let Self::Fixed64(bits) = self {
            Ok(f64::from_bits(bits))
        } else {
            Err(Malformed("a field has the wrong wire type: expected a double"))
        }
    }
}

/// Zigzag, as `sint32` and `sint64` are written.
#[must_use]
pub fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// The rest of a message that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Where the message ends in the request.
    end: usize,
}

impl<'a> Reader<'a> {
    /// A whole request.
    #[must_use]
    pub fn new(request: &'a [u8]) -> Self {
        Self { rest: request, end: request.len() }
    }

    /// A part of a request that was read before.
    #[must_use]
    pub fn part(request: &'a [u8], from: usize, to: usize) -> Self {
        Self { rest: request.get(from..to).unwrap_or_default(), end: to }
    }

    /// Where the next byte is in the request.
    #[must_use]
    pub fn position(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Where the message ends in the request.
    #[must_use]
    pub fn end(&self) -> usize {
        self.end
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field; `None` at the message's end.
    ///
    /// # Errors
    /// It is cut off, or of a wire type that is not used any more.
    #[inline]
    pub fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed("a field number is too large"))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.bytes()?),
            5 => {
                self.array::<4>()?;
                Value::Fixed32
            }
            _ => return Err(Malformed("a field has an unknown wire type")),
        };
        if number == 0 {
            return Err(Malformed("a field has number 0"));
        }
        Ok(Some((number, value)))
    }

    /// The next number.
    ///
    /// # Errors
    /// It is cut off, or has more than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("a number is cut off or too long"))
    }

    /// The next double of a packed field.
    ///
    /// # Errors
    /// It is cut off.
    pub fn double(&mut self) -> Result<f64, Malformed> {
        self.array().map(f64::from_le_bytes)
    }

    /// Bytes with their length before them.
    ///
    /// # Errors
    /// They are cut off.
    #[inline]
    pub fn bytes(&mut self) -> Result<Self, Malformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed("a length is too large"))?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Malformed("a field is cut off"))?;
        self.rest = rest;
        Ok(Self { rest: bytes, end: self.position() })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed("a field is cut off"))?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_their_places() {
        let request = [0x0a, 3, 0x08, 0xac, 0x02, 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x1d, 1, 2, 3, 4];
        let mut reader = Reader::new(&request);
        let (number, value) = reader.field().unwrap().unwrap();
        let mut inner = value.bytes().unwrap();
        assert_eq!((number, inner.position(), inner.end()), (1, 2, 5));
        assert_eq!(inner.field().unwrap().unwrap(), (1, Value::Varint(300)));
        assert_eq!(inner.field().unwrap(), None);
        assert_eq!(reader.position(), 5);
        let (number, value) = reader.field().unwrap().unwrap();
        assert_eq!((number, value.double().unwrap()), (2, 1.0));
        assert_eq!(reader.field().unwrap().unwrap(), (3, Value::Fixed32));
        assert!(reader.is_empty());
        assert_eq!(Reader::part(&request, 2, 5).field().unwrap().unwrap(), (1, Value::Varint(300)));
    }

    #[test]
    fn what_is_cut_off_or_absurd_is_an_error() {
        for bytes in [
            &[0x0a][..],
            &[0x0a, 5, 1],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0xff; 16],
            &[0x08],
            &[0x09, 1, 2, 3],
            &[0x0b],
            &[0x0c],
            &[0x0d, 1],
            &[0x00, 1],
            &[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1],
        ] {
            assert!(Reader::new(bytes).field().is_err(), "{bytes:?}");
        }
        assert!(Value::Varint(1).bytes().is_err() && Value::Fixed32.varint().is_err() && Value::Varint(1).double().is_err());
    }

    #[test]
    fn zigzag_numbers_have_their_sign() {
        assert_eq!([0, 1, 2, 3, u64::MAX].map(signed), [0, -1, 1, -2, i64::MIN]);
    }
}
