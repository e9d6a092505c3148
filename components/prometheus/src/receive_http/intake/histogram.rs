//! Native histograms: the message is the same in both versions (`prompb/types.proto`, `write/v2/types.proto`). What Prometheus refuses is
//! refused here; resolutions that are too fine are reduced as it does.

use model::stale::{STALE_NAN, is_stale};
use model::{Counts, EXPONENTIAL_SCHEMAS, Histogram, InvalidHistogram, ResetHint, Span};

use super::parsed::Parsed;
use super::wire::{Malformed, Reader, Value, signed};

/// Resolutions that are finer than what is kept, and known (Prometheus `model/histogram`, `ExponentialSchemaMaxReserved`).
const FINE_SCHEMAS: std::ops::RangeInclusive<i32> = *EXPONENTIAL_SCHEMAS.end() + 1..=52;

/// A histogram with the times that belong to it.
pub(super) struct Timed {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// When the counting began; 0 if that is not known.
    pub start: i64,
    /// Or why it is refused.
    pub histogram: Result<Histogram, InvalidHistogram>,
}

impl Timed {
    /// Makes it a row of the series that is being read. A staleness marker is a float sample, like all others.
    pub fn push(self, into: &mut Parsed) -> Result<(), super::Rejected> {
        let histogram = self.histogram?;
        let stale = is_stale(histogram.sum);
        let row = into.push_row(if stale { STALE_NAN } else { histogram.sum }, self.timestamp)?;
        if !stale {
            into.push_histogram(row, histogram);
        }
        if self.start != 0 {
            into.created.push((row, self.start));
        }
        Ok(())
    }
}

/// The fields of the message.
#[derive(Default)]
struct Fields {
    count_int: u64,
    count_float: Option<f64>,
    sum: f64,
    schema: i32,
    zero_threshold: f64,
    zero_int: u64,
    zero_float: f64,
    negative: Side,
    positive: Side,
    hint: u64,
    custom_values: Vec<f64>,
}

#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// Reads a `Histogram` message. Memory for it is counted before it is taken.
pub(super) fn read(mut message: Reader<'_>, memory: &mut Parsed) -> Result<Timed, Malformed> {
    let mut fields = Fields::default();
    let (mut timestamp, mut start) = (0, 0);
    memory.details(size_of::<Histogram>())?;
    while let Some((number, value)) = message.field()? {
        match number {
            1 => (fields.count_int, fields.count_float) = (value.varint()?, None),
            2 => fields.count_float = Some(value.double()?),
            3 => fields.sum = value.double()?,
            4 => fields.schema = signed(value.varint()?) as i32, // sint32: the upper half says nothing
            5 => fields.zero_threshold = value.double()?,
            6 => fields.zero_int = value.varint()?,
            7 => fields.zero_float = value.double()?,
            8 => spans(value, &mut fields.negative, memory)?,
            9 => deltas(value, &mut fields.negative, memory)?,
            10 => doubles(value, &mut fields.negative.counts, memory)?,
            11 => spans(value, &mut fields.positive, memory)?,
            12 => deltas(value, &mut fields.positive, memory)?,
            13 => doubles(value, &mut fields.positive.counts, memory)?,
            14 => fields.hint = value.varint()?,
            15 => timestamp = value.varint()? as i64,
            16 => doubles(value, &mut fields.custom_values, memory)?,
            17 => start = value.varint()? as i64,
            _ => {}
        }
    }
    Ok(Timed { timestamp, start, histogram: fields.finish() })
}

fn spans(value: Value<'_>, side: &mut Side, memory: &mut Parsed) -> Result<(), Malformed> {
    let mut message = value.bytes()?;
    memory.details(size_of::<Span>())?;
    let mut span = Span { offset: 0, length: 0 };
    while let Some((number, value)) = message.field()? {
        match number {
            1 => span.offset = signed(value.varint()?) as i32,
            2 => span.length = value.varint()? as u32,
            _ => {}
        }
    }
    side.spans.push(span);
    Ok(())
}

/// Packed or one by one: readers must take both.
fn deltas(value: Value<'_>, side: &mut Side, memory: &mut Parsed) -> Result<(), Malformed> {
    if let Value::Varint(number) = value {
        memory.details(size_of::<i64>())?;
        side.deltas.push(signed(number));
        return Ok(());
    }
    let mut packed = value.bytes()?;
    memory.details(size_of::<i64>() * packed.rest().len())?; // a delta has at least one byte
    while !packed.is_empty() {
        side.deltas.push(signed(packed.varint()?));
    }
    Ok(())
}

fn doubles(value: Value<'_>, all: &mut Vec<f64>, memory: &mut Parsed) -> Result<(), Malformed> {
    if let Value::Fixed64(bits) = value {
        memory.details(size_of::<f64>())?;
        all.push(f64::from_bits(bits));
        return Ok(());
    }
    let mut packed = value.bytes()?;
    memory.details(packed.rest().len())?;
    while !packed.is_empty() {
        all.push(packed.double()?);
    }
    Ok(())
}

impl Fields {
    fn finish(self) -> Result<Histogram, InvalidHistogram> {
        let counts = match self.count_float {
            None => Counts::Integer {
                count: self.count_int,
                zero_count: self.zero_int,
                positive: self.positive.deltas.into(),
                negative: self.negative.deltas.into(),
            },
            Some(count) => Counts::Float {
                count,
                zero_count: self.zero_float,
                positive: self.positive.counts.into(),
                negative: self.negative.counts.into(),
            },
        };
        let mut histogram = Histogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            sum: self.sum,
            counts,
            positive_spans: self.positive.spans.into(),
            negative_spans: self.negative.spans.into(),
            custom_values: self.custom_values.into(),
            reset_hint: match self.hint {
                1 => ResetHint::Yes,
                2 => ResetHint::No,
                3 => ResetHint::Gauge,
                _ => ResetHint::Unknown,
            },
        };
        if FINE_SCHEMAS.contains(&histogram.schema) {
            histogram.reduce_resolution(*EXPONENTIAL_SCHEMAS.end())?;
        }
        histogram.validate()?;
        Ok(histogram)
    }
}
