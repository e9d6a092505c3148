//! The messages of the format, read field by field: everything is checked, and of what repeats only the number is kept, so that reading
//! takes no memory. What repeats is read again by whoever wants it ([`Nested`]).

use super::error::{Malformed, ProtobufReason};
use super::histogram::HistogramFields;
use super::wire::{BYTES, Cursor, FIXED64, Nested, find};

/// The fields of a [`Metric`] and of the messages in it that are read again.
pub(super) mod field {
    pub(in super::super) const LABEL: u32 = 1;
    pub(in super::super) const GAUGE: u32 = 2;
    pub(in super::super) const COUNTER: u32 = 3;
    pub(in super::super) const COUNTER_EXEMPLAR: u32 = 2;
    pub(in super::super) const SUMMARY: u32 = 4;
    pub(in super::super) const QUANTILE: u32 = 3;
    pub(in super::super) const UNTYPED: u32 = 5;
    pub(in super::super) const HISTOGRAM: u32 = 7;
    pub(in super::super) const BUCKET: u32 = 3;
    pub(in super::super) const BUCKET_EXEMPLAR: u32 = 3;
}

/// The tag of a message's first field if that is a float.
const DOUBLE: u8 = 1 << 3 | FIXED64;

/// A metric family without its metrics.
#[derive(Debug, Default)]
pub(super) struct Family<'a> {
    pub(super) name: &'a [u8],
    pub(super) help: &'a [u8],
    pub(super) kind: i32,
    pub(super) unit: &'a [u8],
    /// The message from its first metric on, if it has any.
    pub(super) metrics: Option<&'a [u8]>,
}

impl<'a> Family<'a> {
    pub(super) const METRIC: u32 = 4;

    /// Reads `message` into `self`, so that what was read before an error is there for the message about it.
    pub(super) fn read(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(message);
        loop {
            let start = cursor.at();
            let Some(tag) = cursor.tag()? else { return Ok(()) };
            match tag.field {
                1 => self.name = cursor.bytes(tag)?,
                2 => self.help = cursor.bytes(tag)?,
                3 => self.kind = cursor.number(tag)? as i32,
                Self::METRIC => {
                    cursor.bytes(tag)?;
                    self.metrics.get_or_insert(&message[start..]);
                    while cursor.piece((Self::METRIC << 3) as u8 | BYTES).is_some() {}
                }
                5 => self.unit = cursor.bytes(tag)?,
                _ => cursor.skip(tag)?,
            }
        }
    }
}

/// A time as the format writes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Time {
    seconds: i64,
    nanos: i32,
}

impl Time {
    fn merge(into: &mut Option<Self>, message: &[u8]) -> Result<(), Malformed> {
        let time = into.get_or_insert_default();
        let mut cursor = Cursor::new(message);
        while let Some(tag) = cursor.tag()? {
            match tag.field {
                1 => time.seconds = cursor.number(tag)? as i64,
                2 => time.nanos = cursor.number(tag)? as i32,
                _ => cursor.skip(tag)?,
            }
        }
        Ok(())
    }

    /// Milliseconds since the epoch; wraps around as in Go if they are more than 64 bits.
    pub(super) fn millis(self) -> i64 {
        self.seconds.wrapping_mul(1000).wrapping_add(i64::from(self.nanos / 1_000_000))
    }
}

/// One metric. Only the field that belongs to the family's type counts, but all are checked.
#[derive(Debug, Default)]
pub(super) struct Metric {
    pub(super) labels: Labels,
    pub(super) timestamp: i64,
    pub(super) gauge: f64,
    pub(super) untyped: f64,
    pub(super) counter: Counter,
    pub(super) summary: Summary,
    pub(super) histogram: HistogramFields,
    /// There are a summary or a histogram, which take a while to be forgotten.
    is_large: bool,
}

/// Where the labels of a metric lie in its message, tags and all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Something else lies between them.
    pub(super) scattered: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counter {
    pub(super) value: f64,
    pub(super) has_exemplar: bool,
    pub(super) created: Option<Time>,
}

#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) created: Option<Time>,
}

/// The labels and the value of a metric that is written as most are: labels, then the message of `field` with nothing but a float.
#[inline]
pub(super) fn plain(message: &[u8], field: u32) -> Option<(&[u8], f64)> {
    let mut cursor = Cursor::new(message);
    while cursor.piece((field::LABEL << 3) as u8 | BYTES).is_some() {}
    let (labels, value) = message.split_at_checked(cursor.at())?;
    match value {
        [tag, 9, DOUBLE, bits @ ..] if *tag == (field << 3) as u8 | BYTES => Some((labels, f64::from_le_bytes(bits.try_into().ok()?))),
        _ => None,
    }
}

impl Metric {
    /// Forgets everything and reads `message`.
    pub(super) fn read(&mut self, message: &[u8]) -> Result<(), Malformed> {
        self.clear();
        let mut cursor = Cursor::new(message);
        loop {
            let start = cursor.at();
            if cursor.piece((field::LABEL << 3) as u8 | BYTES).is_some() {
                self.labels.add(start, cursor.at());
                continue;
            }
            let Some(tag) = cursor.tag()? else { return Ok(()) };
            match tag.field {
                field::LABEL => {
                    cursor.bytes(tag)?;
                    self.labels.add(start, cursor.at());
                }
                field::GAUGE => read_value(&mut self.gauge, cursor.bytes(tag)?)?,
                field::COUNTER => self.counter.merge(cursor.bytes(tag)?)?,
                field::SUMMARY => {
                    self.is_large = true;
                    self.summary.merge(cursor.bytes(tag)?)?;
                }
                field::UNTYPED => read_value(&mut self.untyped, cursor.bytes(tag)?)?,
                6 => self.timestamp = cursor.number(tag)? as i64,
                field::HISTOGRAM => {
                    self.is_large = true;
                    self.histogram.merge(cursor.bytes(tag)?)?;
                }
                _ => cursor.skip(tag)?,
            }
        }
    }

    fn clear(&mut self) {
        (self.labels, self.timestamp, self.gauge, self.untyped) = (Labels::default(), 0, 0.0, 0.0);
        self.counter = Counter::default();
        if self.is_large {
            self.summary = Summary::default();
            self.histogram.clear();
            self.is_large = false;
        }
    }
}

impl Labels {
    fn add(&mut self, start: usize, end: usize) {
        if self.end == 0 {
            self.start = start;
        } else {
            self.scattered |= start != self.end;
        }
        self.end = end;
    }
}

/// A gauge or an untyped metric.
fn read_value(into: &mut f64, message: &[u8]) -> Result<(), Malformed> {
    if let [DOUBLE, bits @ ..] = message
        && let Ok(bits) = bits.try_into()
    {
        *into = f64::from_le_bytes(bits);
        return Ok(());
    }
    let mut cursor = Cursor::new(message);
    while let Some(tag) = cursor.tag()? {
        match tag.field {
            1 => *into = cursor.double(tag)?,
            _ => cursor.skip(tag)?,
        }
    }
    Ok(())
}

impl Counter {
    fn merge(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(message);
        while let Some(tag) = cursor.tag()? {
            match tag.field {
                1 => self.value = cursor.double(tag)?,
                field::COUNTER_EXEMPLAR => {
                    Exemplar::default().merge(cursor.bytes(tag)?, |_| ())?;
                    self.has_exemplar = true;
                }
                3 => merge_time(&mut self.created, cursor.bytes(tag)?)?,
                _ => cursor.skip(tag)?,
            }
        }
        Ok(())
    }
}

impl Summary {
    fn merge(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(message);
        while let Some(tag) = cursor.tag()? {
            match tag.field {
                1 => self.count = cursor.number(tag)?,
                2 => self.sum = cursor.double(tag)?,
                field::QUANTILE => {
                    Quantile::read(cursor.bytes(tag)?)?;
                }
                4 => merge_time(&mut self.created, cursor.bytes(tag)?)?,
                _ => cursor.skip(tag)?,
            }
        }
        Ok(())
    }
}

pub(super) fn merge_time(into: &mut Option<Time>, message: &[u8]) -> Result<(), Malformed> {
    Time::merge(into, message)
}

#[derive(Debug, Default)]
pub(super) struct Quantile {
    pub(super) quantile: f64,
    pub(super) value: f64,
}

impl Quantile {
    pub(super) fn read(message: &[u8]) -> Result<Self, Malformed> {
        let mut quantile = Self::default();
        let mut cursor = Cursor::new(message);
        while let Some(tag) = cursor.tag()? {
            match tag.field {
                1 => quantile.quantile = cursor.double(tag)?,
                2 => quantile.value = cursor.double(tag)?,
                _ => cursor.skip(tag)?,
            }
        }
        Ok(quantile)
    }
}

/// A label, checked by whoever needs it: Prometheus checks those of metrics and takes those of exemplars as they are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct LabelPair<'a> {
    /// `None` if the field is not there: that is checked by nobody.
    pub(super) name: Option<&'a [u8]>,
    pub(super) value: &'a [u8],
}

impl<'a> LabelPair<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut pair = Self::default();
        let mut cursor = Cursor::new(message);
        while let Some(tag) = cursor.tag()? {
            match tag.field {
                1 => pair.name = Some(cursor.bytes(tag)?),
                2 => pair.value = cursor.bytes(tag)?,
                _ => cursor.skip(tag)?,
            }
        }
        Ok(pair)
    }

    /// The texts of a metric's label.
    pub(super) fn checked(message: &'a [u8]) -> Result<(&'a str, &'a str), ProtobufReason> {
        let mut pair = ("", "");
        let mut cursor = Cursor::new(message);
        while let Some(tag) = cursor.tag()? {
            match tag.field {
                1 => pair.0 = text(cursor.bytes(tag)?).filter(|name| !name.is_empty()).ok_or(ProtobufReason::LabelName)?,
                2 => pair.1 = text(cursor.bytes(tag)?).ok_or(ProtobufReason::ValueUtf8)?,
                _ => cursor.skip(tag)?,
            }
        }
        Ok(pair)
    }
}

pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    simdutf8::basic::from_utf8(bytes).ok()
}

/// An exemplar; its labels go to whoever reads it.
#[derive(Debug, Default)]
pub(super) struct Exemplar {
    value: f64,
    pub(super) time: Option<Time>,
}

impl Exemplar {
    pub(super) fn merge<'a>(&mut self, message: &'a [u8], mut label: impl FnMut(LabelPair<'a>)) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(message);
        while let Some(tag) = cursor.tag()? {
            match tag.field {
                1 => label(LabelPair::read(cursor.bytes(tag)?)?),
                2 => self.value = cursor.double(tag)?,
                3 => merge_time(&mut self.time, cursor.bytes(tag)?)?,
                _ => cursor.skip(tag)?,
            }
        }
        Ok(())
    }

    /// The exemplar of which `pieces` holds the parts. `None` if there are none, or if labels are not UTF-8: an exemplar is not worth a
    /// scrape.
    pub(super) fn read(pieces: &mut Pieces<'_>) -> Result<Option<model::Exemplar>, Malformed> {
        let mut exemplar = Self::default();
        let (mut labels, mut seen) = (Vec::new(), false);
        while let Some(piece) = pieces.next()? {
            exemplar.merge(piece, |pair| labels.push(pair))?;
            seen = true;
        }
        let texts = |pair: &LabelPair<'_>| Some((text(pair.name.unwrap_or_default())?.into(), text(pair.value)?.into()));
        let labels: Option<Vec<(Box<str>, Box<str>)>> = labels.iter().map(texts).collect();
        Ok(labels.filter(|_| seen).map(|labels| model::Exemplar {
            labels: labels.into_iter().collect(),
            value: exemplar.value,
            timestamp: exemplar.time.map(Time::millis),
        }))
    }
}

/// Where the pieces of one exemplar lie: a message that occurs more than once where one belongs is all of them together.
pub(super) enum Pieces<'a> {
    /// In these bytes and nowhere else.
    One(Option<&'a [u8]>),
    /// In a message's field.
    Field(Cursor<'a>, u32),
    /// In a field of messages.
    Nested(Nested<'a>),
}

impl<'a> Pieces<'a> {
    fn next(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self {
            Self::One(piece) => Ok(piece.take()),
            Self::Field(cursor, field) => find(cursor, *field),
            Self::Nested(nested) => nested.next(),
        }
    }
}
