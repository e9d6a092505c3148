//! Histogram messages: what they say in total, their classic buckets, and the native histogram in them.

use model::{Counts, Histogram, ResetHint, Span};

use super::error::{Malformed, ProtobufReason};
use super::metric::{Exemplar, Time, field, merge_time};
use super::wire::{BYTES, Cursor, FIXED64, Tag, VARINT, find, zigzag};
use crate::number::normal;

/// Buckets or spans of one sign beyond which a message is refused. The finest schema has 256 buckets per power of two and 64-bit floats
/// have 2098 powers of two: no histogram can use more than half of this. What bytes of a message become is so bounded before it is made.
pub(super) const MAX_BUCKETS: usize = 1 << 20;

/// Buckets beyond which classic histograms are read twice instead of being listed: they have tens.
const MAX_LISTED: usize = 1 << 10;

/// What a histogram message says, and how many buckets it has.
#[derive(Debug, Default)]
pub(super) struct HistogramFields {
    count: u64,
    count_float: f64,
    pub(super) sum: f64,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    pub(super) created: Option<Time>,
    pub(super) has_exemplars: bool,
    /// The first buckets: their bounds and counts.
    pub(super) buckets: Vec<(f64, f64)>,
    /// There are more buckets than are listed, or some with exemplars.
    pub(super) is_intricate: bool,
    positive: Side,
    negative: Side,
}

/// How much there is on one side of zero.
#[derive(Debug, Default)]
struct Side {
    spans: usize,
    /// Buckets that the spans name.
    needed: u64,
    deltas: usize,
    counts: usize,
}

/// Which side of zero.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sign {
    Positive,
    Negative,
}

/// What stands in a histogram message.
#[derive(Debug)]
pub(super) enum Item<'a> {
    Count(u64),
    CountFloat(f64),
    Sum(f64),
    Bucket(&'a [u8]),
    Schema(i32),
    ZeroThreshold(f64),
    ZeroCount(u64),
    ZeroCountFloat(f64),
    Span(Sign, &'a [u8]),
    Delta(Sign, i64),
    BucketCount(Sign, f64),
    Created(&'a [u8]),
    Exemplar(&'a [u8]),
}

/// Goes through all histogram messages of a metric, which together are one. Whoever reads again reads with this too: as in Prometheus'
/// decoder the last one of packed numbers may reach over the end of its field, and what follows depends on that.
#[derive(Debug)]
pub(super) struct Items<'a> {
    metric: Cursor<'a>,
    histogram: Cursor<'a>,
    /// The field of the packed numbers that go on up to a place.
    packed: u32,
    packed_end: usize,
}

impl<'a> Items<'a> {
    pub(super) fn of_metric(metric: &'a [u8]) -> Self {
        Self { metric: Cursor::new(metric), histogram: Cursor::new(&[]), packed: 0, packed_end: 0 }
    }

    fn of_message(histogram: &'a [u8]) -> Self {
        Self { histogram: Cursor::new(histogram), ..Self::of_metric(&[]) }
    }

    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<Item<'a>>, Malformed> {
        if self.histogram.at() < self.packed_end {
            return self.number(self.packed).map(Some);
        }
        self.next_field()
    }

    fn next_field(&mut self) -> Result<Option<Item<'a>>, Malformed> {
        loop {
            if self.histogram.at() < self.packed_end {
                return self.number(self.packed).map(Some);
            }
            if let Some(tag) = self.histogram.tag()? {
                if let Some(item) = self.item(tag)? {
                    return Ok(Some(item));
                }
            } else {
                let Some(message) = find(&mut self.metric, field::HISTOGRAM)? else { return Ok(None) };
                (self.histogram, self.packed_end) = (Cursor::new(message), 0);
            }
        }
    }

    /// The bucket that is next, unless it has to be looked for.
    #[inline(always)]
    fn bucket(&mut self) -> Option<&'a [u8]> {
        let within = self.histogram.at() < self.packed_end;
        if within { None } else { self.histogram.piece((field::BUCKET << 3) as u8 | BYTES) }
    }

    fn item(&mut self, tag: Tag) -> Result<Option<Item<'a>>, Malformed> {
        let cursor = &mut self.histogram;
        Ok(Some(match tag.field {
            1 => Item::Count(cursor.number(tag)?),
            2 => Item::Sum(cursor.double(tag)?),
            field::BUCKET => Item::Bucket(cursor.bytes(tag)?),
            4 => Item::CountFloat(cursor.double(tag)?),
            5 => Item::Schema(zigzag32(cursor.number(tag)?)),
            6 => Item::ZeroThreshold(cursor.double(tag)?),
            7 => Item::ZeroCount(cursor.number(tag)?),
            8 => Item::ZeroCountFloat(cursor.double(tag)?),
            9 => Item::Span(Sign::Negative, cursor.bytes(tag)?),
            12 => Item::Span(Sign::Positive, cursor.bytes(tag)?),
            10 | 13 if tag.wire == VARINT => self.number(tag.field)?,
            11 | 14 if tag.wire == FIXED64 => self.number(tag.field)?,
            10 | 11 | 13 | 14 if tag.wire == BYTES => {
                let length = cursor.length()?;
                (self.packed, self.packed_end) = (tag.field, cursor.at() + length);
                return Ok(None);
            }
            10 | 11 | 13 | 14 => return Err(Malformed::WireType { field: tag.field }),
            15 => Item::Created(cursor.bytes(tag)?),
            16 => Item::Exemplar(cursor.bytes(tag)?),
            _ => {
                cursor.skip(tag)?;
                return Ok(None);
            }
        }))
    }

    /// One of the numbers of `field`.
    #[inline(always)]
    fn number(&mut self, field: u32) -> Result<Item<'a>, Malformed> {
        let sign = if field > 12 { Sign::Positive } else { Sign::Negative };
        Ok(match field {
            10 | 13 => Item::Delta(sign, zigzag(self.histogram.varint()?)),
            _ => Item::BucketCount(sign, f64::from_bits(self.histogram.fixed64()?)),
        })
    }
}

impl HistogramFields {
    pub(super) fn merge(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let mut items = Items::of_message(message);
        loop {
            while let Some(bucket) = items.bucket() {
                self.add(bucket)?;
            }
            let Some(item) = items.next()? else { return Ok(()) };
            match item {
                Item::Count(count) => self.count = count,
                Item::CountFloat(count) => self.count_float = count,
                Item::Sum(sum) => self.sum = sum,
                Item::Bucket(bucket) => self.add(bucket)?,
                Item::Schema(schema) => self.schema = schema,
                Item::ZeroThreshold(threshold) => self.zero_threshold = threshold,
                Item::ZeroCount(count) => self.zero_count = count,
                Item::ZeroCountFloat(count) => self.zero_count_float = count,
                Item::Span(sign, span) => self.side(sign).add(span)?,
                Item::Delta(sign, _) => self.side(sign).deltas += 1,
                Item::BucketCount(sign, _) => self.side(sign).counts += 1,
                Item::Created(time) => merge_time(&mut self.created, time)?,
                Item::Exemplar(exemplar) => {
                    Exemplar::default().merge(exemplar, |_| ())?;
                    self.has_exemplars = true;
                }
            }
        }
    }

    /// Forgets everything and keeps the memory for buckets.
    pub(super) fn clear(&mut self) {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.clear();
        *self = Self { buckets, ..Self::default() };
    }

    fn add(&mut self, bucket: &[u8]) -> Result<(), Malformed> {
        let bucket = Bucket::read(bucket)?;
        if bucket.has_exemplar || self.buckets.len() == MAX_LISTED {
            self.is_intricate = true;
        }
        if self.buckets.len() < MAX_LISTED {
            self.buckets.push((bucket.upper_bound, bucket.count()));
        }
        Ok(())
    }

    fn side(&mut self, sign: Sign) -> &mut Side {
        match sign {
            Sign::Positive => &mut self.positive,
            Sign::Negative => &mut self.negative,
        }
    }

    /// Observations in total.
    pub(super) fn count(&self) -> f64 {
        if self.count_float == 0.0 { self.count as f64 } else { self.count_float }
    }

    /// Prometheus' rule (`isNativeHistogram`): there is a span, a zero threshold or a zero bucket. A native histogram without any
    /// observation and without a zero bucket has to have an empty span to be told from a classic one.
    pub(super) fn is_native(&self) -> bool {
        self.positive.spans > 0 || self.negative.spans > 0 || self.zero_threshold > 0.0 || self.zero_count > 0
    }

    fn is_float(&self) -> bool {
        self.count_float > 0.0 || self.zero_count_float > 0.0
    }

    /// The native histogram in `metric`, the message that this was read from, without empty buckets.
    pub(super) fn native(&self, metric: &[u8], reset_hint: ResetHint) -> Result<Histogram, ProtobufReason> {
        self.positive.check("positive", self.is_float())?;
        self.negative.check("negative", self.is_float())?;
        let mut sides = [&self.positive, &self.negative].map(|side| Parts::new(side, self.is_float()));
        let mut items = Items::of_metric(metric);
        while let Some(item) = items.next()? {
            match item {
                Item::Span(sign, span) => sides[sign as usize].spans.push(read_span(span)?),
                Item::Delta(sign, delta) if !self.is_float() => sides[sign as usize].deltas.push(delta),
                Item::BucketCount(sign, count) if self.is_float() => sides[sign as usize].counts.push(count),
                _ => {}
            }
        }
        let [positive, negative] = sides;
        let counts = if self.is_float() {
            let (positive, negative) = (positive.counts.into_boxed_slice(), negative.counts.into_boxed_slice());
            Counts::Float { count: self.count_float, zero_count: self.zero_count_float, positive, negative }
        } else {
            let (positive, negative) = (positive.deltas.into_boxed_slice(), negative.deltas.into_boxed_slice());
            Counts::Integer { count: self.count, zero_count: self.zero_count, positive, negative }
        };
        let mut histogram = Histogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            sum: normal(self.sum),
            counts,
            positive_spans: positive.spans.into_boxed_slice(),
            negative_spans: negative.spans.into_boxed_slice(),
            custom_values: Box::new([]),
            reset_hint,
        };
        histogram.compact(0);
        Ok(histogram)
    }
}

/// One side of a native histogram while it is put together.
struct Parts {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Parts {
    /// With as much room as is needed; the numbers were checked.
    fn new(side: &Side, float: bool) -> Self {
        let (deltas, counts) = if float { (0, side.counts) } else { (side.deltas, 0) };
        Self { spans: Vec::with_capacity(side.spans), deltas: Vec::with_capacity(deltas), counts: Vec::with_capacity(counts) }
    }
}

impl Side {
    fn add(&mut self, span: &[u8]) -> Result<(), Malformed> {
        self.spans += 1;
        self.needed += u64::from(read_span(span)?.length);
        Ok(())
    }

    fn check(&self, side: &'static str, float: bool) -> Result<(), ProtobufReason> {
        let buckets = if float { self.counts } else { self.deltas };
        if self.needed != buckets as u64 {
            return Err(ProtobufReason::Buckets { side, needed: self.needed, buckets });
        }
        if buckets.max(self.spans) > MAX_BUCKETS {
            return Err(ProtobufReason::TooManyBuckets { max: MAX_BUCKETS });
        }
        Ok(())
    }
}

/// The tags of the fields that most buckets have.
const COUNT: u8 = 1 << 3 | VARINT;
const BOUND: u8 = 2 << 3 | FIXED64;

/// A classic bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    cumulative: u64,
    cumulative_float: f64,
    pub(super) upper_bound: f64,
    pub(super) has_exemplar: bool,
}

impl Bucket {
    #[inline(always)]
    pub(super) fn read(message: &[u8]) -> Result<Self, Malformed> {
        match Self::plain(message) {
            Some(bucket) => Ok(bucket),
            None => Self::any(message),
        }
    }

    /// A bucket that is written as most are: a count of few bytes and a bound.
    #[inline(always)]
    fn plain(message: &[u8]) -> Option<Self> {
        let (rest, bound) = message.split_last_chunk::<8>()?;
        let [COUNT, count @ .., BOUND] = rest else { return None };
        let (last, others) = count.split_last()?;
        if *last >= 0x80 || others.len() > 4 || others.iter().any(|byte| *byte < 0x80) {
            return None;
        }
        let cumulative = count.iter().rev().fold(0, |count, byte| count << 7 | u64::from(byte & 0x7f));
        Some(Self { cumulative, upper_bound: f64::from_le_bytes(*bound), ..Self::default() })
    }

    fn any(message: &[u8]) -> Result<Self, Malformed> {
        let mut bucket = Self::default();
        let mut cursor = Cursor::new(message);
        while let Some(tag) = cursor.tag()? {
            match tag.field {
                1 => bucket.cumulative = cursor.number(tag)?,
                2 => bucket.upper_bound = cursor.double(tag)?,
                field::BUCKET_EXEMPLAR => {
                    Exemplar::default().merge(cursor.bytes(tag)?, |_| ())?;
                    bucket.has_exemplar = true;
                }
                4 => bucket.cumulative_float = cursor.double(tag)?,
                _ => cursor.skip(tag)?,
            }
        }
        Ok(bucket)
    }

    /// Observations up to the bound.
    pub(super) fn count(&self) -> f64 {
        if self.cumulative_float == 0.0 { self.cumulative as f64 } else { self.cumulative_float }
    }
}

fn read_span(message: &[u8]) -> Result<Span, Malformed> {
    let mut span = Span { offset: 0, length: 0 };
    let mut cursor = Cursor::new(message);
    while let Some(tag) = cursor.tag()? {
        match tag.field {
            1 => span.offset = zigzag32(cursor.number(tag)?),
            2 => span.length = cursor.number(tag)? as u32,
            _ => cursor.skip(tag)?,
        }
    }
    Ok(span)
}

fn zigzag32(value: u64) -> i32 {
    zigzag(u64::from(value as u32)) as i32
}
