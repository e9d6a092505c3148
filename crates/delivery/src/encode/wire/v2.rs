//! Pieces of remote write 2.0 requests, which name strings by their places. Field numbers: `proto/prometheus/write_v2.proto`.

use model::{Exemplar, Histogram, MetricType};

use super::details::{put_exemplar_value, put_histogram};
use super::{put_message, put_tagged, put_text, put_varint};

/// Key of `Request.symbols` (field 4, length-delimited).
const SYMBOL: u8 = 0x22;
/// Key of `Request.timeseries` (field 5, length-delimited).
pub(in crate::encode) const SERIES: u8 = 0x2a;
/// Key of `TimeSeries.labels_refs` and `Exemplar.labels_refs` (field 1, packed).
pub(in crate::encode) const REFS: u8 = 0x0a;
/// Key of `TimeSeries.samples` (field 2, length-delimited).
pub(in crate::encode) const SAMPLE: u8 = 0x12;
/// Key of `TimeSeries.histograms` (field 3, length-delimited).
const HISTOGRAM: u8 = 0x1a;
/// Key of `TimeSeries.exemplars` (field 4, length-delimited).
const EXEMPLAR: u8 = 0x22;
/// Key of `TimeSeries.metadata` (field 5, length-delimited).
pub(in crate::encode) const METADATA: u8 = 0x2a;
/// Key of `Sample.start_timestamp` (field 3, varint).
pub(in crate::encode) const START: u8 = 0x18;
/// Keys of `Metadata`: type (field 1), help (field 3) and unit (field 4), all varints.
pub(in crate::encode) const TYPE: u8 = 0x08;
/// See [`TYPE`].
pub(in crate::encode) const HELP: u8 = 0x18;
/// See [`TYPE`].
pub(in crate::encode) const UNIT: u8 = 0x20;

/// What is said of a series' family: its type, and the places of help and unit, zero if there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::encode) struct MetadataRefs {
    pub kind: MetricType,
    pub help: u32,
    pub unit: u32,
}

/// Appends a string.
pub(in crate::encode) fn put_symbol(out: &mut Vec<u8>, text: &str) {
    put_text(out, SYMBOL, text);
}

/// Appends a whole `Request.timeseries` field: `refs` are encoded places of the labels, and `put` appends what happened to the series.
pub(in crate::encode) fn put_series(out: &mut Vec<u8>, refs: &[u8], metadata: Option<MetadataRefs>, put: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, SERIES, |out| {
        put_refs(out, refs);
        put(out);
        if let Some(metadata) = metadata {
            put_metadata(out, metadata);
        }
    });
}

fn put_refs(out: &mut Vec<u8>, refs: &[u8]) {
    if !refs.is_empty() {
        out.push(REFS);
        put_varint(out, refs.len() as u64);
        out.extend_from_slice(refs);
    }
}

/// Appends a sample.
pub(in crate::encode) fn put_sample(out: &mut Vec<u8>, value: f64, timestamp: i64, created: Option<i64>) {
    put_message(out, SAMPLE, |out| {
        out.push(super::VALUE);
        out.extend_from_slice(&value.to_le_bytes());
        put_tagged(out, super::TIMESTAMP.into(), timestamp as u64);
        if let Some(start) = start(created) {
            put_tagged(out, START.into(), start as u64);
        }
    });
}

/// Appends a histogram.
pub(in crate::encode) fn put_histogram_field(out: &mut Vec<u8>, histogram: &Histogram, timestamp: i64, created: Option<i64>) {
    put_message(out, HISTOGRAM, |out| put_histogram(out, histogram, timestamp, start(created)));
}

/// Appends an exemplar; `refs` are encoded places of its labels, `timestamp` is for one without.
pub(in crate::encode) fn put_exemplar_field(out: &mut Vec<u8>, refs: &[u8], exemplar: &Exemplar, timestamp: i64) {
    put_message(out, EXEMPLAR, |out| {
        put_refs(out, refs);
        put_exemplar_value(out, exemplar, timestamp);
    });
}

fn put_metadata(out: &mut Vec<u8>, metadata: MetadataRefs) {
    put_message(out, METADATA, |out| {
        put_tagged(out, TYPE.into(), type_number(metadata.kind).into());
        for (key, place) in [(HELP, metadata.help), (UNIT, metadata.unit)] {
            if place > 0 {
                put_tagged(out, key.into(), place.into());
            }
        }
    });
}

/// A start time as it is sent: zero means that it is not known, so that the epoch itself is a millisecond later.
pub(in crate::encode) fn start(created: Option<i64>) -> Option<i64> {
    created.map(|created| if created == 0 { 1 } else { created })
}

/// The number of a type in both versions.
pub(in crate::encode) fn type_number(kind: MetricType) -> u8 {
    match kind {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    }
}
