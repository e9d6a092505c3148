//! Streaming gunzip into a callback. Members may follow each other, checksums are verified, and the state is used again from body to
//! body: that is why the framing is done here, as the library can reset only bare streams.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// The best size of an output buffer: large enough that most bodies need one step, as each but the last copies 32 KiB of history.
pub(crate) const OUTPUT: usize = 256 * 1024;

/// A body that is no gzip, or is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GzipError {
    /// It doesn't begin like gzip.
    #[error("gzip: invalid header")]
    Header,
    /// The compressed data is damaged.
    #[error("gzip: corrupt data")]
    Data,
    /// The data is not what was compressed.
    #[error("gzip: invalid checksum")]
    Checksum,
    /// The body ends too early.
    #[error("gzip: unexpected end of the body")]
    Truncated,
}

/// Magic number, and the one compression method that there is.
pub(super) const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
pub(super) const FLAG_HEADER_CRC: u8 = 2;
pub(super) const FLAG_EXTRA: u8 = 4;
pub(super) const FLAG_NAME: u8 = 8;
pub(super) const FLAG_COMMENT: u8 = 16;

/// Where in a member (RFC 1952) the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a member.
    Start,
    /// In the first ten bytes, of which so many have come.
    Fixed(u8),
    /// In the two bytes of the extra field's length.
    ExtraLen(u8, u16),
    /// In the extra field, of which so much is to come.
    Extra(u16),
    Name,
    Comment,
    /// In the two bytes of the header's checksum, of which so many have come.
    HeaderCrc(u8),
    Data,
    /// In the eight bytes of the trailer, of which so many have come.
    Trailer(u8),
}

/// A gunzip state: about 50 KiB. The output buffer is lent to it, as it holds nothing between two calls.
pub(crate) struct Gunzip {
    inflate: Decompress,
    crc: Crc,
    place: Place,
    flags: u8,
    trailer: [u8; 8],
    /// Members that are complete.
    members: u64,
}

impl Gunzip {
    pub(crate) fn new() -> Self {
        Self { inflate: Decompress::new(false), crc: Crc::new(), place: Place::Start, flags: 0, trailer: [0; 8], members: 0 }
    }

    /// Makes the state ready for another body.
    pub(crate) fn reset(&mut self) {
        self.begin_member();
        self.place = Place::Start;
        self.members = 0;
    }

    fn begin_member(&mut self) {
        self.inflate.reset(false);
        self.crc.reset();
    }

    /// Decompresses the next bytes of the body, through `output`, which must not be empty.
    pub(crate) fn feed<E: From<GzipError>>(
        &mut self,
        mut input: &[u8],
        output: &mut [u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            if self.place == Place::Data {
                // Also without input: there may be more output than the last step had room for.
                input = self.data(input, output, &mut sink)?;
                if self.place == Place::Data {
                    return Ok(());
                }
            }
            let Some((byte, rest)) = input.split_first() else { return Ok(()) };
            self.frame(*byte)?;
            input = rest;
        }
    }

    /// Notes the end of the body.
    pub(crate) fn finish(&self) -> Result<(), GzipError> {
        if self.place == Place::Start && self.members > 0 { Ok(()) } else { Err(GzipError::Truncated) }
    }

    /// Inflates until the input or the member ends; what follows the member is returned.
    fn data<'a, E: From<GzipError>>(
        &mut self,
        mut input: &'a [u8],
        output: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<&'a [u8], E> {
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, output, FlushDecompress::None).map_err(|_| GzipError::Data)?;
            let used = (self.inflate.total_in() - before_in) as usize;
            let made = (self.inflate.total_out() - before_out) as usize;
            input = &input[used..];
            if made > 0 {
                self.crc.update(&output[..made]);
                sink(&output[..made])?;
            }
            if status == Status::StreamEnd {
                self.place = Place::Trailer(0);
                return Ok(input);
            }
            if made < output.len() && input.is_empty() {
                return Ok(input);
            }
            if used == 0 && made == 0 {
                return Err(GzipError::Data.into());
            }
        }
    }

    /// One byte of header or trailer.
    fn frame(&mut self, byte: u8) -> Result<(), GzipError> {
        self.place = match self.place {
            Place::Start => self.fixed(0, byte)?,
            Place::Fixed(at) => self.fixed(at, byte)?,
            Place::ExtraLen(0, _) => Place::ExtraLen(1, u16::from(byte)),
            Place::ExtraLen(_, low) => match low | (u16::from(byte) << 8) {
                0 => self.after(FLAG_EXTRA),
                len => Place::Extra(len),
            },
            Place::Extra(1) => self.after(FLAG_EXTRA),
            Place::Extra(left) => Place::Extra(left - 1),
            Place::Name if byte == 0 => self.after(FLAG_NAME),
            Place::Comment if byte == 0 => self.after(FLAG_COMMENT),
            Place::HeaderCrc(0) => Place::HeaderCrc(1),
            Place::HeaderCrc(_) => Place::Data,
            Place::Trailer(at) => {
                self.trailer[usize::from(at)] = byte;
                if at < 7 { Place::Trailer(at + 1) } else { self.end_member()? }
            }
            inside @ (Place::Name | Place::Comment | Place::Data) => inside,
        };
        Ok(())
    }

    fn fixed(&mut self, at: u8, byte: u8) -> Result<Place, GzipError> {
        if MAGIC.get(usize::from(at)).is_some_and(|expected| *expected != byte) {
            return Err(GzipError::Header);
        }
        if at == 3 {
            self.flags = byte;
        }
        Ok(if at < 9 { Place::Fixed(at + 1) } else { self.after(0) })
    }

    /// The field that follows the one with this flag; 0 is the fixed part.
    fn after(&self, flag: u8) -> Place {
        let fields = [(FLAG_EXTRA, Place::ExtraLen(0, 0)), (FLAG_NAME, Place::Name), (FLAG_COMMENT, Place::Comment)];
        let next = fields.into_iter().find(|(field, _)| *field > flag && self.flags & field != 0);
        match next {
            Some((_, place)) => place,
            // Its flag is the smallest, and its field the last.
            None if self.flags & FLAG_HEADER_CRC != 0 => Place::HeaderCrc(0),
            None => Place::Data,
        }
    }

    fn end_member(&mut self) -> Result<Place, GzipError> {
        let [c0, c1, c2, c3, s0, s1, s2, s3] = self.trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc.sum() || u32::from_le_bytes([s0, s1, s2, s3]) != self.crc.amount() {
            return Err(GzipError::Checksum);
        }
        self.begin_member();
        self.members += 1;
        Ok(Place::Start)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(state: &mut Gunzip, body: &[u8], step: usize) -> Result<Vec<u8>, GzipError> {
        let mut out = Vec::new();
        // A small buffer now and then: output has to be taken in many steps.
        let mut output = vec![0; if step == 1000 { 100 } else { OUTPUT }];
        state.reset();
        for piece in body.chunks(step) {
            state.feed::<GzipError>(piece, &mut output, |bytes| {
                out.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        state.finish().map(|()| out)
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).flat_map(|n| format!("metric_{} {n}\n", n % 97).into_bytes()).collect()
    }

    #[test]
    fn bodies_come_out_whole_in_whatever_pieces_and_again_and_again() {
        let mut state = Gunzip::new();
        for len in [0, 1, 500, 6_000] {
            let (plain, body) = (text(len), gzip(&text(len)));
            for step in [1, 1000, body.len()] {
                assert_eq!(gunzip(&mut state, &body, step).as_ref(), Ok(&plain), "{len} in steps of {step}");
            }
        }
    }

    #[test]
    fn members_may_follow_each_other() {
        let body = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
        for step in [1, 7, 1000] {
            assert_eq!(gunzip(&mut Gunzip::new(), &body, step).as_deref(), Ok(&b"one two"[..]));
        }
    }

    #[test]
    fn every_field_of_a_header_is_skipped() {
        let builder = GzBuilder::new().extra(vec![1, 2, 3]).filename("name").comment("comment");
        let mut encoder = builder.write(Vec::new(), Compression::fast());
        encoder.write_all(b"text").unwrap();
        let mut body = encoder.finish().unwrap();
        for step in [1, 1000] {
            assert_eq!(gunzip(&mut Gunzip::new(), &body, step).as_deref(), Ok(&b"text"[..]));
        }
        // With a header checksum behind the other fields, which nobody checks.
        body[3] |= FLAG_HEADER_CRC;
        let end = body.windows(8).position(|bytes| bytes == b"comment\0").unwrap() + 8;
        body.splice(end..end, [0xaa, 0xbb]);
        assert_eq!(gunzip(&mut Gunzip::new(), &body, 1).as_deref(), Ok(&b"text"[..]));
    }

    #[test]
    fn damage_is_noticed() {
        let whole = gzip(&text(100));
        let mut state = Gunzip::new();
        assert_eq!(gunzip(&mut state, b"plain text", 3), Err(GzipError::Header));
        assert_eq!(gunzip(&mut state, b"", 3), Err(GzipError::Truncated));
        for cut in [1, 9, 10, 20, whole.len() - 8, whole.len() - 1] {
            assert_eq!(gunzip(&mut state, &whole[..cut], 1000), Err(GzipError::Truncated), "{cut}");
        }
        let damaged = |at: usize| {
            let mut body = whole.clone();
            body[at] ^= 0x55;
            body
        };
        assert_eq!(gunzip(&mut state, &damaged(whole.len() - 1), 1000), Err(GzipError::Checksum));
        assert_eq!(gunzip(&mut state, &damaged(whole.len() - 5), 1000), Err(GzipError::Checksum));
        assert!(gunzip(&mut state, &damaged(whole.len() / 2), 1000).is_err());
        assert_eq!(gunzip(&mut state, &[&whole[..], b"garbage"].concat(), 1000), Err(GzipError::Header));
        assert!(gunzip(&mut state, &whole, 1000).is_ok(), "and the state is good for the next body");
    }

    #[test]
    fn the_sink_may_stop_it() {
        let result = Gunzip::new().feed(&gzip(&text(100)), &mut [0; 100], |_| Err(GzipError::Checksum));
        assert_eq!(result, Err(GzipError::Checksum));
    }
}
