//! Diagnostics drawn over excerpts of their sources.

use crate::diagnostics::{Diagnostics, Severity, Sources};

/// See [`Diagnostics::render`].
pub(crate) fn render(diagnostics: &Diagnostics, _sources: &Sources, _colour: bool) -> String {
    let lines = diagnostics.iter().map(|diagnostic| match diagnostic.severity {
        Severity::Error => format!("Error: {diagnostic}\n"),
        Severity::Warning => format!("Warning: {diagnostic}\n"),
    });
    lines.collect::<Vec<_>>().join("\n")
}
