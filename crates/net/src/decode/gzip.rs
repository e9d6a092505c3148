//! `gzip` bodies. Members may follow each other and checksums are verified. The framing is done here, as the library can reset only bare
//! streams.

use flate2::{Crc, Decompress};

use super::deflate::inflate;
use super::{DecodeError, Encoding};

const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;

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

/// A gunzip state.
pub(super) struct Gunzip {
    inflate: Decompress,
    crc: Crc,
    place: Place,
    flags: u8,
    trailer: [u8; 8],
    /// Members that are complete.
    members: u64,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self { inflate: Decompress::new(false), crc: Crc::new(), place: Place::Start, flags: 0, trailer: [0; 8], members: 0 }
    }

    /// Makes the state ready for another body.
    pub(super) fn reset(&mut self) {
        self.begin_member();
        self.place = Place::Start;
        self.members = 0;
    }

    fn begin_member(&mut self) {
        self.inflate.reset(false);
        self.crc.reset();
    }

    /// Decompresses the next bytes of the body, through `output`, which must not be empty.
    pub(super) fn feed<E: From<DecodeError>>(
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

    pub(super) fn is_whole(&self) -> bool {
        self.place == Place::Start && self.members > 0
    }

    /// Inflates until the input or the member ends; what follows the member is returned.
    fn data<'a, E: From<DecodeError>>(
        &mut self,
        input: &'a [u8],
        output: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<&'a [u8], E> {
        let crc = &mut self.crc;
        let mut checked = |made: &[u8]| {
            crc.update(made);
            sink(made)
        };
        let (rest, has_ended) = inflate(&mut self.inflate, Encoding::Gzip, input, output, &mut checked)?;
        if has_ended {
            self.place = Place::Trailer(0);
        }
        Ok(rest)
    }

    /// One byte of header or trailer.
    fn frame(&mut self, byte: u8) -> Result<(), DecodeError> {
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

    fn fixed(&mut self, at: u8, byte: u8) -> Result<Place, DecodeError> {
        // Magic number and the one compression method that there is.
        if [0x1f, 0x8b, 8].get(usize::from(at)).is_some_and(|expected| *expected != byte) {
            return Err(DecodeError::Header(Encoding::Gzip));
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

    fn end_member(&mut self) -> Result<Place, DecodeError> {
        let [c0, c1, c2, c3, s0, s1, s2, s3] = self.trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc.sum() || u32::from_le_bytes([s0, s1, s2, s3]) != self.crc.amount() {
            return Err(DecodeError::Checksum(Encoding::Gzip));
        }
        self.begin_member();
        self.members += 1;
        Ok(Place::Start)
    }
}
