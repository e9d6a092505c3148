//! The formats that bodies come in, each with its parser. The only place that knows how many there are.

use exposition::{Error, Parser};

use super::error::SeriesError;
use super::visit::Visit;

/// A format that bodies are read in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, 0.0.4 and 1.0.0.
    #[default]
    PrometheusText,
}

/// A parser per format, made ready when it is needed.
#[derive(Default)]
pub(super) struct Parsers {
    format: Format,
    text: Parser,
}

impl Parsers {
    /// Parsers that refuse lines or messages of more than `max_item` bytes.
    pub(super) fn new(max_item: usize) -> Self {
        Self { format: Format::default(), text: Parser::new(max_item) }
    }

    /// Makes the parser of a format ready for a body.
    pub(super) fn reset(&mut self, format: Format) {
        self.format = format;
        match format {
            Format::PrometheusText => self.text.reset(),
        }
    }

    /// Parses the next bytes of the body.
    ///
    /// # Errors
    /// [`SeriesError`]: the scrape has failed.
    pub(super) fn feed(&mut self, bytes: &[u8], visit: &mut Visit<'_>) -> Result<(), SeriesError> {
        match self.format {
            Format::PrometheusText => self.text.feed(bytes, visit).map_err(flat),
        }
    }

    /// Parses what is left at the end of the body.
    ///
    /// # Errors
    /// As [`Parsers::feed`].
    pub(super) fn finish(&mut self, visit: &mut Visit<'_>) -> Result<(), SeriesError> {
        match self.format {
            Format::PrometheusText => self.text.finish(visit).map_err(flat),
        }
    }
}

fn flat(error: Error<SeriesError>) -> SeriesError {
    match error {
        Error::Syntax(error) => error.into(),
        Error::Refused(error) => error,
    }
}
