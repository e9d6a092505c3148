//! Native histograms, which both versions of remote write send the same way, and exemplars of 1.0.

use model::{Counts, Exemplar, Histogram, ResetHint, Span};

use super::{put_labels, put_message, put_tagged, put_varint};

/// Key of `TimeSeries.exemplars` (field 3, length-delimited) in 1.0.
const EXEMPLAR: u8 = 0x1a;
/// Key of `TimeSeries.histograms` (field 4, length-delimited) in 1.0.
const HISTOGRAM: u8 = 0x22;
/// Keys of `Exemplar`: value (field 2, 64 bits) and timestamp (field 3, varint).
const EXEMPLAR_VALUE: u8 = 0x11;
const EXEMPLAR_TIMESTAMP: u8 = 0x18;

/// Keys of `Histogram`: field numbers 1 to 17 with their kinds.
mod key {
    pub const COUNT_INT: u32 = 0x08;
    pub const COUNT_FLOAT: u32 = 0x11;
    pub const SUM: u32 = 0x19;
    pub const SCHEMA: u32 = 0x20;
    pub const ZERO_THRESHOLD: u32 = 0x29;
    pub const ZERO_COUNT_INT: u32 = 0x30;
    pub const ZERO_COUNT_FLOAT: u32 = 0x39;
    pub const NEGATIVE: Side = Side { spans: 0x42, deltas: 0x4a, counts: 0x52 };
    pub const POSITIVE: Side = Side { spans: 0x5a, deltas: 0x62, counts: 0x6a };
    pub const RESET_HINT: u32 = 0x70;
    pub const TIMESTAMP: u32 = 0x78;
    pub const CUSTOM_VALUES: u32 = 0x82;
    pub const START_TIMESTAMP: u32 = 0x88;

    /// Keys of one side's buckets.
    pub struct Side {
        pub spans: u32,
        pub deltas: u32,
        pub counts: u32,
    }
}

/// Appends the `TimeSeries.histograms` field of 1.0.
pub(in crate::encode) fn put_histogram_field(out: &mut Vec<u8>, histogram: &Histogram, timestamp: i64) {
    put_message(out, HISTOGRAM, |out| put_histogram(out, histogram, timestamp, None));
}

/// Appends the `TimeSeries.exemplars` field of 1.0; `timestamp` is for an exemplar without one.
pub(in crate::encode) fn put_exemplar_field(out: &mut Vec<u8>, exemplar: &Exemplar, timestamp: i64) {
    put_message(out, EXEMPLAR, |out| {
        put_labels(out, exemplar.labels.iter());
        put_exemplar_value(out, exemplar, timestamp);
    });
}

/// Appends the fields of an exemplar that are the same in both versions.
pub(in crate::encode) fn put_exemplar_value(out: &mut Vec<u8>, exemplar: &Exemplar, timestamp: i64) {
    out.push(EXEMPLAR_VALUE);
    out.extend_from_slice(&exemplar.value.to_le_bytes());
    out.push(EXEMPLAR_TIMESTAMP);
    put_varint(out, exemplar.timestamp.unwrap_or(timestamp) as u64);
}

/// Appends the fields of a `Histogram`. `start` is a field of 2.0 alone.
pub(in crate::encode) fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram, timestamp: i64, start: Option<i64>) {
    match &histogram.counts {
        Counts::Integer { count, .. } => put_tagged(out, key::COUNT_INT, *count),
        Counts::Float { count, .. } => put_double(out, key::COUNT_FLOAT, *count),
    }
    put_double(out, key::SUM, histogram.sum);
    put_tagged(out, key::SCHEMA, zigzag(i64::from(histogram.schema)));
    put_double(out, key::ZERO_THRESHOLD, histogram.zero_threshold);
    match &histogram.counts {
        Counts::Integer { zero_count, negative, positive, .. } => {
            put_tagged(out, key::ZERO_COUNT_INT, *zero_count);
            put_spans(out, key::NEGATIVE.spans, &histogram.negative_spans);
            put_deltas(out, key::NEGATIVE.deltas, negative);
            put_spans(out, key::POSITIVE.spans, &histogram.positive_spans);
            put_deltas(out, key::POSITIVE.deltas, positive);
        }
        Counts::Float { zero_count, negative, positive, .. } => {
            put_double(out, key::ZERO_COUNT_FLOAT, *zero_count);
            put_spans(out, key::NEGATIVE.spans, &histogram.negative_spans);
            put_doubles(out, key::NEGATIVE.counts, negative);
            put_spans(out, key::POSITIVE.spans, &histogram.positive_spans);
            put_doubles(out, key::POSITIVE.counts, positive);
        }
    }
    let hint = match histogram.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Yes => 1,
        ResetHint::No => 2,
        ResetHint::Gauge => 3,
    };
    if hint > 0 {
        put_tagged(out, key::RESET_HINT, hint);
    }
    put_tagged(out, key::TIMESTAMP, timestamp as u64);
    put_doubles(out, key::CUSTOM_VALUES, &histogram.custom_values);
    if let Some(start) = start {
        put_tagged(out, key::START_TIMESTAMP, start as u64);
    }
}

fn put_spans(out: &mut Vec<u8>, key: u32, spans: &[Span]) {
    for span in spans {
        put_varint(out, u64::from(key));
        let offset = zigzag(i64::from(span.offset));
        let len = 2 + super::varint_len(offset) + super::varint_len(u64::from(span.length));
        put_varint(out, len as u64);
        put_tagged(out, 0x08, offset);
        put_tagged(out, 0x10, u64::from(span.length));
    }
}

fn put_deltas(out: &mut Vec<u8>, key: u32, deltas: &[i64]) {
    if !deltas.is_empty() {
        put_varint(out, u64::from(key));
        put_varint(out, deltas.iter().map(|&delta| super::varint_len(zigzag(delta))).sum::<usize>() as u64);
        deltas.iter().for_each(|&delta| put_varint(out, zigzag(delta)));
    }
}

fn put_doubles(out: &mut Vec<u8>, key: u32, values: &[f64]) {
    if !values.is_empty() {
        put_varint(out, u64::from(key));
        put_varint(out, size_of_val(values) as u64);
        values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }
}

fn put_double(out: &mut Vec<u8>, key: u32, value: f64) {
    put_varint(out, u64::from(key));
    out.extend_from_slice(&value.to_le_bytes());
}

/// Protobuf's `sint`: small numbers of either sign are short.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use proto::prometheus;

    use super::*;

    fn spans(spans: &[(i32, u32)]) -> Box<[Span]> {
        spans.iter().map(|&(offset, length)| Span { offset, length }).collect()
    }

    fn message_spans(spans: &[Span]) -> Vec<prometheus::BucketSpan> {
        spans.iter().map(|span| prometheus::BucketSpan { offset: span.offset, length: span.length }).collect()
    }

    /// The message that a histogram should become.
    fn message(histogram: &Histogram, timestamp: i64) -> prometheus::Histogram {
        use prometheus::histogram::{Count, ZeroCount};
        let mut message = prometheus::Histogram {
            sum: histogram.sum,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            negative_spans: message_spans(&histogram.negative_spans),
            positive_spans: message_spans(&histogram.positive_spans),
            reset_hint: histogram.reset_hint as i32,
            timestamp,
            custom_values: histogram.custom_values.to_vec(),
            ..Default::default()
        };
        match &histogram.counts {
            Counts::Integer { count, zero_count, positive, negative } => {
                (message.count, message.zero_count) = (Some(Count::CountInt(*count)), Some(ZeroCount::ZeroCountInt(*zero_count)));
                (message.positive_deltas, message.negative_deltas) = (positive.to_vec(), negative.to_vec());
            }
            Counts::Float { count, zero_count, positive, negative } => {
                (message.count, message.zero_count) = (Some(Count::CountFloat(*count)), Some(ZeroCount::ZeroCountFloat(*zero_count)));
                (message.positive_counts, message.negative_counts) = (positive.to_vec(), negative.to_vec());
            }
        }
        message
    }

    fn integer() -> Histogram {
        Histogram {
            schema: 3,
            zero_threshold: 1e-128,
            sum: -17.5,
            counts: Counts::Integer {
                count: 300,
                zero_count: 2,
                positive: Box::new([1, -1, 300]),
                negative: Box::new([i64::MIN, i64::MAX]),
            },
            positive_spans: spans(&[(-4, 2), (1000, 1)]),
            negative_spans: spans(&[(0, 2)]),
            custom_values: Box::new([]),
            reset_hint: ResetHint::Gauge,
        }
    }

    #[test]
    fn histograms_of_every_kind_decode_to_what_they_were() {
        let float = Histogram {
            counts: Counts::Float { count: 7.5, zero_count: 0.25, positive: Box::new([0.5, 1.5, 2.0]), negative: Box::new([3.0, 0.0]) },
            reset_hint: ResetHint::No,
            ..integer()
        };
        let custom = Histogram {
            schema: model::CUSTOM_BUCKETS_SCHEMA,
            counts: Counts::Integer { count: 3, zero_count: 0, positive: Box::new([2, -1]), negative: Box::new([]) },
            positive_spans: spans(&[(0, 2)]),
            negative_spans: spans(&[]),
            custom_values: Box::new([0.1, 0.5, 2.5]),
            reset_hint: ResetHint::Unknown,
            ..integer()
        };
        for histogram in [integer(), float, custom, Histogram { reset_hint: ResetHint::Yes, ..integer() }] {
            let mut out = Vec::new();
            put_histogram_field(&mut out, &histogram, 1_763_637_480_123);
            let series = prometheus::TimeSeries::decode(&out[..]).unwrap();
            assert_eq!(series.histograms, [message(&histogram, 1_763_637_480_123)]);
        }
    }

    #[test]
    fn an_exemplar_without_a_timestamp_gets_that_of_its_sample() {
        let label = |name: &str, value: &str| prometheus::Label { name: name.into(), value: value.into() };
        let long = "x".repeat(300);
        let labels = [("span_id", "b"), ("trace_id", long.as_str())];
        for (own, expected) in [(None, 42), (Some(-7), -7)] {
            let mut out = Vec::new();
            put_exemplar_field(&mut out, &Exemplar { labels: labels.into_iter().collect(), value: 0.5, timestamp: own }, 42);
            let series = prometheus::TimeSeries::decode(&out[..]).unwrap();
            let labels = vec![label("span_id", "b"), label("trace_id", &long)];
            assert_eq!(series.exemplars, [prometheus::Exemplar { labels, value: 0.5, timestamp: expected }]);
        }
    }
}
