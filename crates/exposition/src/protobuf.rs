//! The protobuf exposition format (`application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited`) as a
//! push parser: bytes go in as they inflate, each message is gone through as soon as it is whole. Series, values, order and verdicts are
//! those of Prometheus' own parser (`model/textparse`: `ProtobufParser`). Reading is by hand, over the bytes: an unchanged body costs no
//! allocation, but for native histograms and exemplars, which are handed on.
//!
//! The labels of a metric are decoded only for series that the visitor doesn't know. It recognises series by 16 bytes: a hash of the
//! family's name and of the labels as they lie in the message, and which of the metric's series it is.
//!
//! Where Prometheus has lapses, this parser has none: an untyped metric without a value is 0, not what the one before was; each native
//! histogram of a family has its exemplars, not only the first; whether a histogram is native is told of each one, not of a family;
//! spans that don't fit their buckets are refused in every metric, not only in the first of a family.

mod error;
mod histogram;
mod metric;
mod tell;
mod wire;

pub use error::{Malformed, ProtobufError, ProtobufReason};

use metric::{Family, text};
use tell::{FamilySeries, Halt, Scratch};
use wire::{Cursor, find};

use std::borrow::Cow;

use model::MetricType;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;
use crate::visitor::{Entry, Visitor};

/// The default bound of a message: the default bound of a whole body, as a target may have one family that makes up most of it.
pub const DEFAULT_MAX_MESSAGE: usize = 256 << 20;

/// More memory than this is not kept for the next body.
const MAX_KEPT_CARRY: usize = 64 << 10;

/// A length may have this many bytes (Go: `binary.MaxVarintLen32`).
const MAX_LENGTH_BYTES: usize = 5;

/// Which forms of a histogram are told. The default is that of Alloy: classic ones, whatever a target has beside them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistogramForms {
    /// `scrape_native_histograms`: native histograms are told, and their classic series are not, unless asked for. Otherwise all
    /// histograms are classic ones.
    pub native: bool,
    /// `scrape_classic_histograms`: classic series are told beside native histograms and converted ones.
    pub keep_classic: bool,
    /// `convert_classic_histograms_to_nhcb`: classic histograms become native ones with custom buckets.
    pub convert_classic: bool,
}

/// A push parser for one body at a time.
///
/// Of a metric it tells the same series every time, in the order `_count`, `_sum`, `_bucket`s or quantiles; a native histogram comes
/// before its classic series, a converted one after. Visitors recognise series by what [`crate::Series::text`] says, which is no text.
#[derive(Debug)]
pub struct ProtobufParser {
    /// The incomplete message at the end of what was fed, with its length.
    carry: Vec<u8>,
    max_message: usize,
    forms: HistogramForms,
    /// Messages behind the parser.
    messages: u64,
    scratch: Scratch,
}

impl Default for ProtobufParser {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_MESSAGE)
    }
}

impl ProtobufParser {
    /// A parser that refuses messages of more than `max_message_bytes`. It holds at most one message that is not complete.
    #[must_use]
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            carry: Vec::new(),
            // Escaped texts of a message have to fit into 32 bits.
            max_message: max_message_bytes.min(u32::MAX as usize / 4),
            forms: HistogramForms::default(),
            messages: 0,
            scratch: Scratch::default(),
        }
    }

    /// Sets which forms of histograms are told from now on.
    pub fn set_histograms(&mut self, forms: HistogramForms) {
        self.forms = forms;
    }

    /// Makes the parser ready for another body. Keeps its memory, unless that was for an unusually long message.
    pub fn reset(&mut self) {
        self.carry.clear();
        self.carry.shrink_to(MAX_KEPT_CARRY);
        self.scratch.shrink(MAX_KEPT_CARRY);
        self.messages = 0;
    }

    /// Goes through the messages that `bytes` complete.
    ///
    /// # Errors
    /// [`Error`] at the first message that is wrong or refused. The parser is of no use then until [`ProtobufParser::reset`].
    pub fn feed<V: Visitor>(&mut self, mut bytes: &[u8], visitor: &mut V) -> Result<(), Error<V::Error>> {
        while !self.carry.is_empty() {
            // Either the rest of the length, byte by byte, or the rest of the message.
            let (start, end) = match self.frame(&self.carry)? {
                Some((start, end)) => (start, end),
                None => (0, self.carry.len() + 1),
            };
            let missing = (end - self.carry.len()).min(bytes.len());
            self.carry.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.carry.len() < end {
                return Ok(());
            }
            if start > 0 {
                let mut carry = std::mem::take(&mut self.carry);
                self.message(&carry[start..], visitor)?;
                carry.clear();
                self.carry = carry;
            }
        }
        while let Some((start, end)) = self.frame(bytes)?.filter(|(_, end)| *end <= bytes.len()) {
            self.message(&bytes[start..end], visitor)?;
            bytes = &bytes[end..];
        }
        self.carry.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// [`Error`] if the last message is not complete.
    pub fn finish<V: Visitor>(&mut self, _visitor: &mut V) -> Result<(), Error<V::Error>> {
        if self.carry.is_empty() { Ok(()) } else { Err(self.error(b"", Malformed::Truncated.into())) }
    }

    /// Where the message at the beginning of `bytes` begins and ends; `None` if even its length isn't complete.
    fn frame<E>(&self, bytes: &[u8]) -> Result<Option<(usize, usize)>, Error<E>> {
        let mut length = 0;
        for (at, byte) in bytes.iter().take(MAX_LENGTH_BYTES).enumerate() {
            length |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                if length > self.max_message as u64 {
                    return Err(self.error(b"", ProtobufReason::TooLong { length, max: self.max_message }));
                }
                return Ok(Some((at + 1, at + 1 + length as usize)));
            }
        }
        if bytes.len() < MAX_LENGTH_BYTES { Ok(None) } else { Err(self.error(b"", ProtobufReason::Length)) }
    }

    fn message<V: Visitor>(&mut self, message: &[u8], visitor: &mut V) -> Result<(), Error<V::Error>> {
        let mut family = Family::default();
        let told = family.read(message).map_err(Halt::from).and_then(|()| self.family(&family, visitor));
        told.map_err(|halt| match halt {
            Halt::Bad(reason) => self.error(family.name, reason),
            Halt::Refused(error) => Error::Refused(error),
        })?;
        self.messages += 1;
        Ok(())
    }

    fn family<V: Visitor>(&mut self, family: &Family<'_>, visitor: &mut V) -> Result<(), Halt<V::Error>> {
        // As in Prometheus, nothing about a family without metrics is looked at.
        let Some(metrics) = family.metrics else { return Ok(()) };
        if family.name.is_empty() || !is_text(family.name) {
            return Err(ProtobufReason::MetricName.into());
        }
        if !is_text(family.help) {
            return Err(ProtobufReason::HelpUtf8.into());
        }
        let kind = metric_type(family.kind).ok_or(ProtobufReason::MetricType(family.kind))?;
        if visitor.wants_metadata() {
            tell_metadata(family, kind, visitor);
        }
        let series = FamilySeries { name: family.name, hash: xxh3_64(family.name), kind, forms: self.forms };
        let mut metrics = Cursor::new(metrics);
        while let Some(metric) = find(&mut metrics, Family::METRIC)? {
            series.tell(metric, &mut self.scratch, visitor)?;
        }
        Ok(())
    }

    fn error<E>(&self, family: &[u8], reason: ProtobufReason) -> Error<E> {
        ProtobufError::new(self.messages + 1, family, reason).into()
    }
}

/// ASCII is told faster than UTF-8.
fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || text(bytes).is_some()
}

/// Tells what a family says about itself, in Prometheus' order. A unit that is not UTF-8 is passed over: Prometheus doesn't look at it.
fn tell_metadata<V: Visitor>(family: &Family<'_>, kind: MetricType, visitor: &mut V) {
    let name = text(family.name).unwrap_or_default();
    visitor.metadata(Entry::Help { family: name, text: &escape_help(text(family.help).unwrap_or_default()) });
    if let Some(unit) = text(family.unit).filter(|unit| !unit.is_empty()) {
        visitor.metadata(Entry::Unit { family: name, unit });
    }
    visitor.metadata(Entry::Type { family: name, kind });
}

fn metric_type(number: i32) -> Option<MetricType> {
    Some(match number {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        3 => MetricType::Unknown,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        _ => return None,
    })
}

/// Help text as the text format writes it, which is how visitors take it.
fn escape_help(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\\', b'\n', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('\\', "\\\\").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests;
