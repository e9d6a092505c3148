//! Why a body can't be taken. Each of these fails the scrape: nothing of it is kept, and the previous series go stale.

use exposition::{ProtobufError, SyntaxError};
use model::InvalidHistogram;

use super::labels::MAX_LABELS;

/// Why a scrape failed although its body arrived.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SeriesError {
    /// The body is not in the format.
    #[error("the target's answer can't be parsed: {0}")]
    Syntax(#[from] SyntaxError),
    /// The body is not in the protobuf format.
    #[error("the target's answer can't be parsed: {0}")]
    Protobuf(#[from] ProtobufError),
    /// A label twice in one series.
    #[error("series {series}: label {name:?} occurs twice")]
    DuplicateLabel {
        /// How the series begins.
        series: Box<str>,
        /// The label.
        name: Box<str>,
    },
    /// A metric whose quoted name is empty.
    #[error("missing metric name (__name__ label)")]
    NoName,
    /// A name that `metric_name_validation_scheme` doesn't allow.
    #[error("invalid metric name or label names: {series}")]
    InvalidName {
        /// How the series begins.
        series: Box<str>,
    },
    /// `sample_limit` is breached.
    #[error("sample_limit exceeded (samples: {samples}, limit: {limit})")]
    SampleLimit {
        /// Samples in the body.
        samples: usize,
        /// The limit.
        limit: usize,
    },
    /// A native histogram that contradicts itself.
    #[error("series {series}: {reason}")]
    Histogram {
        /// How the series begins.
        series: Box<str>,
        /// What is wrong.
        reason: InvalidHistogram,
    },
    /// `native_histogram_bucket_limit` is breached by a histogram that can't be made coarser.
    #[error("native_histogram_bucket_limit exceeded (series: {series}, buckets: {buckets}, limit: {limit})")]
    BucketLimit {
        /// How the series begins.
        series: Box<str>,
        /// Its buckets, at the lowest resolution.
        buckets: usize,
        /// The limit.
        limit: usize,
    },
    /// `label_limit` is breached.
    #[error("label_limit exceeded (metric: {metric}, number of labels: {labels}, limit: {limit})")]
    LabelLimit {
        /// How the metric's name begins.
        metric: Box<str>,
        /// The series' labels.
        labels: usize,
        /// The limit.
        limit: usize,
    },
    /// `label_name_length_limit` is breached.
    #[error("label_name_length_limit exceeded (metric: {metric}, label name: {name}, length: {length}, limit: {limit})")]
    LabelNameLength {
        /// How the metric's name begins.
        metric: Box<str>,
        /// How the label's name begins.
        name: Box<str>,
        /// Bytes of the name.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// `label_value_length_limit` is breached.
    #[error("label_value_length_limit exceeded (metric: {metric}, label name: {name}, value: {value:?}, length: {length}, limit: {limit})")]
    LabelValueLength {
        /// How the metric's name begins.
        metric: Box<str>,
        /// How the label's name begins.
        name: Box<str>,
        /// How the value begins.
        value: Box<str>,
        /// Bytes of the value.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A series that no chunk can hold.
    #[error("series {series}: {labels} labels, at most {} are possible", MAX_LABELS)]
    TooManyLabels {
        /// How the series begins.
        series: Box<str>,
        /// The series' labels.
        labels: usize,
    },
    /// New series, histograms and exemplars for which the process has no memory.
    #[error("new series, histograms and exemplars take more than {limit} bytes of memory (--scrape.max-body-size)")]
    Memory {
        /// The bound in bytes.
        limit: usize,
    },
    /// More series than rows can be numbered.
    #[error("the target exposes more than 4 294 967 294 series")]
    TooManySeries,
}

impl SeriesError {
    /// Whether a sample is the cause, which then is one that was scraped and not taken.
    #[must_use]
    pub fn is_of_sample(&self) -> bool {
        match self {
            Self::DuplicateLabel { .. } | Self::NoName | Self::InvalidName { .. } | Self::Histogram { .. } => true,
            Self::TooManyLabels { .. } | Self::TooManySeries | Self::Memory { .. } => true,
            Self::LabelLimit { .. } | Self::LabelNameLength { .. } | Self::LabelValueLength { .. } => true,
            Self::Syntax(_) | Self::Protobuf(_) | Self::SampleLimit { .. } | Self::BucketLimit { .. } => false,
        }
    }

    /// Whether one of the three label limits is breached.
    #[must_use]
    pub fn is_label_limit(&self) -> bool {
        matches!(self, Self::LabelLimit { .. } | Self::LabelNameLength { .. } | Self::LabelValueLength { .. })
    }
}

/// At most the first 50 characters, as much as Prometheus shows of a text in these errors.
pub(super) fn beginning(text: &str) -> Box<str> {
    text.chars().take(50).collect()
}
