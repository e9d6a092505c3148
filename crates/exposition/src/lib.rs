//! Prometheus' text exposition formats (0.0.4, and 1.0.0 with quoted UTF-8 names) and OpenMetrics (0.0.1 and 1.0.0) as a push parser:
//! bytes go in as they inflate, one event comes out per line. Verdicts are those of Prometheus' own text parsers: what it scrapes is scraped here, what it rejects is
//! rejected here. Pure: no I/O, no clock. Which series a line belongs to, limits, staleness and target labels belong to `scrape`.
//!
//! The parser asks its [`Visitor`] first whether it knows the series text at the place where it expects it; labels are parsed only for
//! texts that nobody knows ([`Visitor::learn`]). A text that was learnt once always ends where it ended then, since lexing depends on
//! nothing but the text: so recognising it by a hash replaces lexing it.
//!
//! The protobuf format has a parser of its own ([`ProtobufParser`]) that tells the same things.

mod buffer;
mod comment;
mod error;
mod exemplar;
mod float;
mod format;
mod nhcb;
mod number;
mod open_metrics;
mod parser;
mod protobuf;
#[cfg(test)]
mod recorder;
mod render;
mod series;
mod visitor;

pub use buffer::{DuplicateLabel, LabelBuffer};
pub use error::{Error, Reason, SyntaxError};
pub use exemplar::{MAX_EXEMPLAR_CHARS, RefusedExemplar, exemplar_of};
pub use float::open_metrics_float;
pub use format::Format;
pub use nhcb::{ClassicHistograms, ConvertError, Converting};
pub use number::{NumberError, parse_value};
pub use parser::{DEFAULT_MAX_LINE, Parser};
pub use protobuf::{DEFAULT_MAX_MESSAGE, HistogramForms, Malformed, ProtobufError, ProtobufParser, ProtobufReason};
pub use series::{Series, parse_series};
pub use visitor::{Comments, Entry, Visitor, unescape_help};
