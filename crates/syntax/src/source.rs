//! Bytes to source text.

use std::sync::Arc;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::position::{Position, Span};

/// Longest source text that is read: far above any configuration, far below what offsets of 32 bits can address.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024 * 1024;

/// What files of other encodings begin with. UTF-32 comes first: its mark begins with UTF-16's.
const FOREIGN_MARKS: [(&[u8], &str); 4] =
    [(&[0xff, 0xfe, 0x00, 0x00], "UTF-32"), (&[0x00, 0x00, 0xfe, 0xff], "UTF-32"), (&[0xff, 0xfe], "UTF-16"), (&[0xfe, 0xff], "UTF-16")];

/// Reads a file's bytes as source text.
///
/// # Errors
/// The text is longer than [`MAX_SOURCE_BYTES`], is marked as UTF-16 or UTF-32, or is not valid UTF-8.
pub fn source_from_bytes<'a>(file_name: &str, bytes: &'a [u8]) -> Result<&'a str, Diagnostics> {
    let file: Arc<str> = file_name.into();
    too_long(&file, bytes.len())?;
    if let Some((_, encoding)) = FOREIGN_MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        let error = Diagnostic::error(&file, Span::default(), format!("the file is encoded in {encoding}"));
        return Err(error.with_help(Some("save it as UTF-8")).into());
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let place = position_at(bytes, error.valid_up_to());
        let error = Diagnostic::error(&file, Span::new(place, place), "illegal UTF-8 encoding");
        error.with_help(Some("save the file as UTF-8")).into()
    })
}

pub(crate) fn too_long(file: &Arc<str>, length: usize) -> Result<(), Diagnostics> {
    if length <= MAX_SOURCE_BYTES {
        return Ok(());
    }
    let message = format!("the file has {length} bytes; at most {MAX_SOURCE_BYTES} are read");
    Err(Diagnostic::error(file, Span::default(), message).into())
}

/// `offset` is below [`MAX_SOURCE_BYTES`], so nothing is cut off.
fn position_at(bytes: &[u8], offset: usize) -> Position {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
    let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Position { offset: narrow(offset), line: narrow(lines + 1), column: narrow(column + 1) }
}
