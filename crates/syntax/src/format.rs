//! The formatter.

use crate::diagnostics::Diagnostics;

/// Formats a file's text.
///
/// # Errors
/// The text does not parse.
pub fn format(file_name: &str, source: &str) -> Result<String, Diagnostics> {
    let (_, diagnostics) = crate::parse(file_name, source);
    diagnostics.into_result(source.to_owned())
}
