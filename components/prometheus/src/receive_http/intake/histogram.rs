//! Native histograms: the message is the same in both versions (`prompb/types.proto`, `write/v2/types.proto`). What Prometheus refuses
//! (`model/histogram`, `Validate`) is refused here; resolutions beyond 8 are reduced as it does.

use model::stale::{STALE_NAN, is_stale};
use model::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, ResetHint, Span};

use super::parsed::Parsed;
use super::wire::{Malformed, Reader, Value, signed};

/// The resolutions that are kept as they are.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// Finer ones that are known, and reduced to 8.
const FINE_SCHEMAS: std::ops::RangeInclusive<i32> = 9..=52;

/// Why a histogram is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Flaw {
    #[error("the histogram has schema {0}, which must be -4 to 8, or -53 for custom buckets")]
    Schema(i32),
    #[error("the histogram's spans have {spans} buckets, but {buckets} are there")]
    Buckets { spans: u64, buckets: usize },
    #[error("the histogram has a span whose offset is negative")]
    Offset,
    #[error("the histogram has a bucket whose count is negative")]
    Negative,
    #[error("the histogram's buckets have {buckets} observations, but its count is {count}")]
    Count { buckets: u64, count: u64 },
    #[error("the histogram's custom bounds must be finite and strictly increasing, and enough for its spans")]
    Bounds,
    #[error("a histogram with custom buckets must have neither a zero bucket nor negative ones, and others no custom bounds")]
    Custom,
}

/// A histogram with the times that belong to it.
pub(super) struct Timed {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// When the counting began; 0 if that is not known.
    pub start: i64,
    /// Or why it is refused.
    pub histogram: Result<Histogram, Flaw>,
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
    fn finish(mut self) -> Result<Histogram, Flaw> {
        if FINE_SCHEMAS.contains(&self.schema) {
            self.reduce()?;
        }
        self.check()?;
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
        Ok(Histogram {
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
        })
    }

    fn check(&self) -> Result<(), Flaw> {
        let is_float = self.count_float.is_some();
        self.positive.check_spans(is_float, false)?;
        self.negative.check_spans(is_float, false)?;
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            self.check_custom(is_float)?;
        } else if !SCHEMAS.contains(&self.schema) {
            return Err(Flaw::Schema(self.schema));
        } else if !self.custom_values.is_empty() {
            return Err(Flaw::Custom);
        }
        match self.count_float {
            Some(count) => self.check_floats(count),
            None => self.check_integers(),
        }
    }

    fn check_custom(&self, is_float: bool) -> Result<(), Flaw> {
        let zero = if is_float { self.zero_float } else { self.zero_int as f64 };
        let negative = &self.negative;
        if zero != 0.0 || self.zero_threshold != 0.0 || !negative.spans.is_empty() || negative.buckets(is_float) > 0 {
            return Err(Flaw::Custom);
        }
        let increasing = self.custom_values.windows(2).all(|pair| pair[0] < pair[1]);
        let finite = self.custom_values.iter().all(|bound| !bound.is_nan()) && self.custom_values.last() != Some(&f64::INFINITY);
        self.positive.check_spans(is_float, true)?;
        let reach: u64 = self.positive.spans.iter().map(|span| u64::from(span.length) + span.offset.unsigned_abs() as u64).sum();
        if increasing && finite && reach <= self.custom_values.len() as u64 + 1 { Ok(()) } else { Err(Flaw::Bounds) }
    }

    fn check_floats(&self, count: f64) -> Result<(), Flaw> {
        let mut counts = self.positive.counts.iter().chain(&self.negative.counts).chain([&count, &self.zero_float]);
        if counts.any(|count| *count < 0.0) { Err(Flaw::Negative) } else { Ok(()) }
    }

    fn check_integers(&self) -> Result<(), Flaw> {
        let total = self.positive.total()?.wrapping_add(self.negative.total()?).wrapping_add(self.zero_int);
        let fits = if self.sum.is_nan() { total <= self.count_int } else { total == self.count_int };
        if fits { Ok(()) } else { Err(Flaw::Count { buckets: total, count: self.count_int }) }
    }

    /// Joins buckets until the resolution is 8 (native histograms, "Bucket Layout": bucket `i` of a resolution goes into `ceil(i / 2)` of
    /// the one below).
    fn reduce(&mut self) -> Result<(), Flaw> {
        let is_float = self.count_float.is_some();
        let steps = (self.schema - *SCHEMAS.end()) as u32;
        for side in [&mut self.positive, &mut self.negative] {
            side.check_spans(is_float, false)?;
            side.reduce(is_float, steps);
        }
        self.schema = *SCHEMAS.end();
        Ok(())
    }
}

impl Side {
    fn buckets(&self, is_float: bool) -> usize {
        if is_float { self.counts.len() } else { self.deltas.len() }
    }

    fn check_spans(&self, is_float: bool, custom: bool) -> Result<(), Flaw> {
        if self.spans.iter().skip(usize::from(!custom)).any(|span| span.offset < 0) {
            return Err(Flaw::Offset);
        }
        let (spans, buckets) = (self.spans.iter().map(|span| u64::from(span.length)).sum(), self.buckets(is_float));
        if spans == buckets as u64 { Ok(()) } else { Err(Flaw::Buckets { spans, buckets }) }
    }

    /// All observations of integer buckets.
    fn total(&self) -> Result<u64, Flaw> {
        let (mut count, mut total) = (0_i64, 0_u64);
        for delta in &self.deltas {
            count = count.wrapping_add(*delta);
            let observed = u64::try_from(count).map_err(|_| Flaw::Negative)?;
            total = total.wrapping_add(observed);
        }
        Ok(total)
    }

    /// See [`Fields::reduce`]. The spans are right.
    fn reduce(&mut self, is_float: bool, steps: u32) {
        let mut joined: Vec<(i64, f64, i64)> = Vec::with_capacity(self.buckets(is_float));
        let (mut index, mut at, mut count) = (0_i64, 0, 0_i64);
        for span in std::mem::take(&mut self.spans) {
            index += i64::from(span.offset);
            for _ in 0..span.length {
                let new = ((index - 1) >> steps) + 1;
                let float = if is_float { self.counts[at] } else { 0.0 };
                count = if is_float { 0 } else { count.wrapping_add(self.deltas[at]) };
                match joined.last_mut() {
                    Some((last, floats, integers)) if *last == new => {
                        *floats += float;
                        *integers = integers.wrapping_add(count);
                    }
                    _ => joined.push((new, float, count)),
                }
                index += 1;
                at += 1;
            }
        }
        self.refill(&joined, is_float);
    }

    /// Makes spans and buckets of (index, float count, integer count).
    fn refill(&mut self, joined: &[(i64, f64, i64)], is_float: bool) {
        self.counts.clear();
        self.deltas.clear();
        let (mut next, mut before) = (0_i64, 0_i64);
        for &(index, float, integer) in joined {
            match self.spans.last_mut() {
                Some(span) if index == next => span.length += 1,
                _ => self.spans.push(Span { offset: (index - next) as i32, length: 1 }), // no larger than it was before
            }
            next = index + 1;
            if is_float {
                self.counts.push(float);
            } else {
                self.deltas.push(integer.wrapping_sub(before));
                before = integer;
            }
        }
    }
}
