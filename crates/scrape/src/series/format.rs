//! The formats that bodies come in, each with its parser. The only place that knows how many there are.

use exposition::{Error, HistogramForms, Parser, ProtobufParser, Visitor};

use super::error::SeriesError;
use super::visit::Visit;

/// A format that bodies are read in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, 0.0.4 and 1.0.0.
    #[default]
    PrometheusText,
    /// Length-delimited messages of `io.prometheus.client.MetricFamily`.
    Protobuf,
}

/// A parser per format, made ready when it is needed.
#[derive(Default)]
pub(super) struct Parsers {
    format: Format,
    text: Parser,
    protobuf: ProtobufParser,
}

impl Parsers {
    /// Makes the parser of a format ready for a body.
    pub(super) fn reset(&mut self, format: Format, histograms: HistogramForms) {
        self.format = format;
        match format {
            Format::PrometheusText => self.text.reset(),
            Format::Protobuf => {
                self.protobuf.reset();
                self.protobuf.set_histograms(histograms);
            }
        }
    }

    /// Parses the next bytes of the body.
    ///
    /// # Errors
    /// [`SeriesError`]: the scrape has failed.
    pub(super) fn feed(&mut self, bytes: &[u8], visit: &mut Visit<'_>) -> Result<(), SeriesError> {
        self.parse(visit, Piece::Bytes(bytes))
    }

    /// Parses what is left at the end of the body.
    ///
    /// # Errors
    /// As [`Parsers::feed`].
    pub(super) fn finish(&mut self, visit: &mut Visit<'_>) -> Result<(), SeriesError> {
        self.parse(visit, Piece::End)?;
        if let Some(mut classic) = visit.target.classic.take() {
            visit.counts.not_converted = classic.finish(visit)? as usize;
            visit.target.classic = Some(classic);
        }
        Ok(())
    }

    fn parse(&mut self, visit: &mut Visit<'_>, piece: Piece<'_>) -> Result<(), SeriesError> {
        let keep = visit.target.rules.histograms.keep_classic;
        // What converts is between parser and visitor, and belongs to the target.
        let Some(mut classic) = visit.target.classic.take() else { return self.tell(visit, piece).map_err(flat) };
        let parsed = classic.around(keep, visit, |converting| self.tell(converting, piece));
        visit.target.classic = Some(classic);
        parsed.map_err(flat)
    }

    fn tell<V: Visitor>(&mut self, visitor: &mut V, piece: Piece<'_>) -> Result<(), Error<V::Error>> {
        match (self.format, piece) {
            (Format::PrometheusText, Piece::Bytes(bytes)) => self.text.feed(bytes, visitor),
            (Format::PrometheusText, Piece::End) => self.text.finish(visitor),
            (Format::Protobuf, Piece::Bytes(bytes)) => self.protobuf.feed(bytes, visitor),
            (Format::Protobuf, Piece::End) => self.protobuf.finish(visitor),
        }
    }
}

/// A piece of a body.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Bytes(&'a [u8]),
    End,
}

fn flat(error: Error<SeriesError>) -> SeriesError {
    match error {
        Error::Syntax(error) => error.into(),
        Error::Protobuf(error) => error.into(),
        Error::Refused(error) => error,
    }
}
