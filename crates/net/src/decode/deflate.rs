//! Inflating with flate2's bare streams, and `deflate` bodies. Used directly, as the ready-made writers take a body that breaks off for a
//! whole one and can't be reset.

use flate2::{Decompress, FlushDecompress, Status};

use super::{DecodeError, Encoding};

/// Inflates until input or stream end. Returns what is left of the input and whether the stream has ended.
pub(super) fn inflate<'a, E: From<DecodeError>>(
    state: &mut Decompress,
    encoding: Encoding,
    mut input: &'a [u8],
    output: &mut [u8],
    sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(&'a [u8], bool), E> {
    loop {
        let (before_in, before_out) = (state.total_in(), state.total_out());
        let status = state.decompress(input, output, FlushDecompress::None).map_err(|_| DecodeError::Data(encoding))?;
        let used = (state.total_in() - before_in) as usize;
        let made = (state.total_out() - before_out) as usize;
        input = &input[used..];
        if made > 0 {
            sink(&output[..made])?;
        }
        if status == Status::StreamEnd {
            return Ok((input, true));
        }
        if made < output.len() && input.is_empty() {
            return Ok((input, false));
        }
        if used == 0 && made == 0 {
            return Err(DecodeError::Data(encoding).into());
        }
    }
}

/// A `deflate` body.
pub(super) struct Inflate {
    state: Decompress,
    place: Place,
}

/// Where in a body the next byte is.
#[derive(Clone, Copy)]
enum Place {
    /// Before the two bytes that tell which kind it is, of which some have come.
    Start(Option<u8>),
    Data,
    /// Behind the stream; what follows is not looked at.
    End,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self { state: Decompress::new(true), place: Place::Start(None) }
    }

    pub(super) fn reset(&mut self) {
        self.place = Place::Start(None);
    }

    pub(super) fn is_whole(&self) -> bool {
        // An empty body is what servers send where there is nothing.
        matches!(self.place, Place::Start(None) | Place::End)
    }

    pub(super) fn feed<E: From<DecodeError>>(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match (self.place, input) {
            (_, []) | (Place::End, _) => Ok(()),
            (Place::Data, _) => self.data(input, output, sink),
            (Place::Start(None), [first]) => {
                self.place = Place::Start(Some(*first));
                Ok(())
            }
            (Place::Start(None), [first, second, ..]) => {
                self.begin(*first, *second);
                self.data(input, output, sink)
            }
            (Place::Start(Some(first)), [second, ..]) => {
                self.begin(first, *second);
                self.data(&[first], output, sink)?;
                self.data(input, output, sink)
            }
        }
    }

    /// RFC 1950 §2.2; some servers send deflate data without that header.
    fn begin(&mut self, first: u8, second: u8) {
        let is_zlib = first & 0x0f == 8 && (u16::from(first) << 8 | u16::from(second)) % 31 == 0;
        self.state.reset(is_zlib);
        self.place = Place::Data;
    }

    fn data<E: From<DecodeError>>(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (_, has_ended) = inflate(&mut self.state, Encoding::Deflate, input, output, sink)?;
        if has_ended {
            self.place = Place::End;
        }
        Ok(())
    }
}
