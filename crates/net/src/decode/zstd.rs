//! `zstd` bodies, frame after frame, with a bound on the window, which a frame's header asks for before any data comes.

use ::zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use ::zstd::zstd_safe::DParameter;

use super::{DecodeError, Encoding};

/// 8 MiB: as much as a receiver must take (RFC 8878 §3.1.1.1.2) and as an HTTP body may ask for (RFC 9659).
const MAX_WINDOW_LOG: u32 = 23;

/// A zstd state.
pub(super) struct Unzstd {
    /// None if the library could not allocate it, which ends every body.
    state: Option<Decoder<'static>>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first frame.
    Start,
    Inside,
    /// Behind a frame; another one may follow.
    Between,
}

impl Unzstd {
    pub(super) fn new() -> Self {
        let state = Decoder::new().and_then(|mut state| {
            state.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
            Ok(state)
        });
        Self { state: state.ok(), place: Place::Start }
    }

    pub(super) fn reset(&mut self) {
        if self.state.as_mut().is_none_or(|state| state.reinit().is_err()) {
            *self = Self::new();
        }
        self.place = Place::Start;
    }

    pub(super) fn is_whole(&self) -> bool {
        self.place == Place::Between
    }

    pub(super) fn feed<E: From<DecodeError>>(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(state) = &mut self.state else { return Err(DecodeError::Memory(Encoding::Zstd).into()) };
        let mut input = InBuffer::around(input);
        loop {
            let (used_before, mut room) = (input.pos(), OutBuffer::around(output));
            if used_before == input.src.len() && self.place == Place::Between {
                return Ok(());
            }
            let hint = state.run(&mut input, &mut room).map_err(|error| verdict(&error))?;
            let (made, is_full) = (room.pos(), room.pos() == room.capacity());
            if made > 0 {
                sink(&room.as_slice()[..made])?;
            }
            if hint == 0 {
                self.place = Place::Between;
            } else if input.pos() > used_before {
                self.place = Place::Inside;
            }
            if input.pos() == input.src.len() && !is_full {
                return Ok(());
            }
        }
    }
}

/// The library tells its errors in words.
fn verdict(error: &std::io::Error) -> DecodeError {
    match error.to_string().as_str() {
        "Unknown frame descriptor" => DecodeError::Header(Encoding::Zstd),
        "Restored data doesn't match checksum" => DecodeError::Checksum(Encoding::Zstd),
        "Frame requires too much memory for decoding" | "Allocation error : not enough memory" => DecodeError::Memory(Encoding::Zstd),
        _ => DecodeError::Data(Encoding::Zstd),
    }
}
