//! The formats that bodies come in, each with its parser. The only place that knows how many there are.

use std::borrow::Cow;

use exposition::{Error, Parser, ProtobufParser, Visitor};

use super::error::SeriesError;
use super::rules::Rules;
use super::visit::Visit;

/// A format that bodies are read in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, 0.0.4 and 1.0.0.
    #[default]
    PrometheusText,
    /// OpenMetrics as text, 0.0.1 and 1.0.0.
    OpenMetrics,
    /// Length-delimited messages of `io.prometheus.client.MetricFamily`.
    Protobuf,
}

impl Format {
    /// The text of a HELP entry with its escapes resolved.
    pub(super) fn unescape_help(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::OpenMetrics => exposition::Format::OpenMetrics { skip_created: false }.unescape_help(text),
            // Protobuf has no escapes; its parser writes help as text does.
            Self::PrometheusText | Self::Protobuf => exposition::unescape_help(text),
        }
    }
}

/// A parser per format, made ready when it is needed.
#[derive(Default)]
pub(super) struct Parsers {
    format: Format,
    text: Parser,
    protobuf: ProtobufParser,
}

impl Parsers {
    /// Makes the parser of a format ready for a body that is read by these rules.
    pub(super) fn reset(&mut self, format: Format, rules: &Rules) {
        self.format = format;
        match format {
            Format::PrometheusText => self.text.reset(),
            // As in Prometheus: only who makes something else of them loses the series of start times.
            Format::OpenMetrics => self.text.reset_for(exposition::Format::OpenMetrics { skip_created: rules.start_zeros }),
            Format::Protobuf => {
                self.protobuf.reset();
                self.protobuf.set_histograms(rules.histograms);
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
        visit.dropped.exemplars_refused += self.text.refused_exemplars() as usize;
        if let Some(mut classic) = visit.target.classic.take() {
            visit.dropped.not_converted = classic.finish(visit)? as usize;
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
            (Format::PrometheusText | Format::OpenMetrics, Piece::Bytes(bytes)) => self.text.feed(bytes, visitor),
            (Format::PrometheusText | Format::OpenMetrics, Piece::End) => self.text.finish(visitor),
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
