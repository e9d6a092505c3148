//! Native histograms as targets expose them and receivers take them: sparse buckets, integer or float; how they are judged, compacted
//! and made coarser. Reading belongs to `exposition`, writing to `delivery`, which limits hold to `scrape`.

mod buckets;
mod compact;
mod resolution;
mod validate;

pub use resolution::{BucketLimit, max_schema};
pub use validate::InvalidHistogram;

/// The schema number of histograms whose bucket bounds are listed ([`Histogram::custom_values`]) instead of computed.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// The schemas of exponential buckets: bounds grow by 2^(2^-schema) (Prometheus `model/histogram`: `ExponentialSchemaMin`, `-Max`).
pub const EXPONENTIAL_SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Buckets between the end of the last span and this one; for the first one, the index of its first bucket. Never negative but there.
    pub offset: i32,
    /// How many buckets it has.
    pub length: u32,
}

/// What a histogram's counts may be compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Nothing is known: readers find out by comparing.
    #[default]
    Unknown,
    /// It was reset since the one before.
    Yes,
    /// It was not.
    No,
    /// It may go down: there is nothing to be reset.
    Gauge,
}

/// Counts of a histogram: whole numbers with buckets as differences to the one before (as they are exposed), or floats as they are.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the fields are explained with the variants
pub enum Counts {
    /// `positive` and `negative` hold differences: the first bucket's count, then what each has more than the one before.
    Integer { count: u64, zero_count: u64, positive: Box<[i64]>, negative: Box<[i64]> },
    /// `positive` and `negative` hold absolute counts.
    Float { count: f64, zero_count: f64, positive: Box<[f64]>, negative: Box<[f64]> },
}

impl Counts {
    /// How many buckets are listed, positive and negative ones together.
    #[must_use]
    pub fn buckets(&self) -> usize {
        match self {
            Self::Integer { positive, negative, .. } => positive.len() + negative.len(),
            Self::Float { positive, negative, .. } => positive.len() + negative.len(),
        }
    }

    fn positive_len(&self) -> usize {
        match self {
            Self::Integer { positive, .. } => positive.len(),
            Self::Float { positive, .. } => positive.len(),
        }
    }

    fn negative_len(&self) -> usize {
        self.buckets() - self.positive_len()
    }
}

/// A native histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// -4 to 8: bucket bounds grow by 2^(2^-schema). [`CUSTOM_BUCKETS_SCHEMA`]: the bounds are [`Histogram::custom_values`].
    pub schema: i32,
    /// Absolute values up to this are in the zero bucket.
    pub zero_threshold: f64,
    /// The sum of all observations.
    pub sum: f64,
    /// Counts in total, in the zero bucket, and per bucket.
    pub counts: Counts,
    /// Which buckets the positive counts belong to.
    pub positive_spans: Box<[Span]>,
    /// Which buckets the negative counts belong to; empty for custom buckets.
    pub negative_spans: Box<[Span]>,
    /// Upper bounds of custom buckets, ascending, without the last one, which is infinite. Empty for other schemas.
    pub custom_values: Box<[f64]>,
    /// What the counts may be compared with.
    pub reset_hint: ResetHint,
}

impl Histogram {
    /// Bytes of heap that the histogram holds.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        8 * (self.counts.buckets() + self.positive_spans.len() + self.negative_spans.len() + self.custom_values.len())
    }
}
