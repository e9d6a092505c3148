//! Wire types, generated from the `.proto` files beside this crate's manifest and checked in, so that building needs neither a protobuf
//! compiler nor a code generator. `cargo xtask proto` renews them. Encoding fast paths and meaning belong to the crates that use the types.

/// The protobuf exposition format (`prometheus/metrics.proto`).
#[allow(missing_docs, clippy::doc_markdown)] // generated: comments come from the .proto file, derived items have none
#[path = "io.prometheus.client.rs"]
pub mod client;

/// Remote write 1.0 (`prometheus/remote_write.proto`).
#[allow(missing_docs, clippy::doc_markdown)] // generated: comments come from the .proto file, derived items have none
pub mod prometheus;

/// Remote write 2.0 (`prometheus/write_v2.proto`).
#[allow(missing_docs, clippy::doc_markdown)] // generated: comments come from the .proto file, derived items have none
#[path = "io.prometheus.write.v2.rs"]
pub mod write_v2;

#[cfg(test)]
mod tests {
    use prost::Message;

    use crate::prometheus::{
        BucketSpan, Exemplar, Histogram, Label, MetricMetadata, Sample, TimeSeries, WriteRequest, histogram, metric_metadata,
    };

    fn label(name: &str, value: &str) -> Label {
        Label { name: name.into(), value: value.into() }
    }

    #[test]
    fn a_request_has_the_bytes_of_the_specification() {
        let request = WriteRequest {
            timeseries: vec![TimeSeries {
                labels: vec![label("a", "b")],
                samples: vec![Sample { value: 1.0, timestamp: 300 }],
                ..Default::default()
            }],
            metadata: vec![],
        };
        // Written by hand from the field numbers: series 1 { label 1 { 1 "a", 2 "b" }, sample 2 { 1 = 1.0, 2 = 300 } }.
        #[rustfmt::skip]
        let bytes = [
            0x0a, 22,
                0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b',
                0x12, 12, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xac, 0x02,
        ];
        assert_eq!(request.encode_to_vec(), bytes);
        assert_eq!(WriteRequest::decode(&bytes[..]).unwrap(), request);
    }

    #[test]
    fn metadata_exemplars_and_histograms_have_the_field_numbers_that_receivers_expect() {
        let metadata = MetricMetadata {
            r#type: metric_metadata::MetricType::Summary.into(),
            metric_family_name: "m".into(),
            help: "h".into(),
            unit: "s".into(),
        };
        let request = WriteRequest { timeseries: vec![], metadata: vec![metadata] };
        assert_eq!(request.encode_to_vec(), [0x1a, 11, 0x08, 5, 0x12, 1, b'm', 0x22, 1, b'h', 0x2a, 1, b's']);

        let exemplar = Exemplar { labels: vec![label("t", "1")], value: 2.0, timestamp: 1 };
        assert_eq!(
            TimeSeries { exemplars: vec![exemplar], ..Default::default() }.encode_to_vec(),
            [0x1a, 19, 0x0a, 6, 0x0a, 1, b't', 0x12, 1, b'1', 0x11, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x18, 1]
        );

        let histogram = Histogram {
            count: Some(histogram::Count::CountInt(3)),
            schema: -1,
            positive_spans: vec![BucketSpan { offset: -1, length: 2 }],
            positive_deltas: vec![1, -1],
            reset_hint: histogram::ResetHint::Gauge.into(),
            timestamp: 7,
            ..Default::default()
        };
        assert_eq!(
            TimeSeries { histograms: vec![histogram], ..Default::default() }.encode_to_vec(),
            [0x22, 18, 0x08, 3, 0x20, 1, 0x5a, 4, 0x08, 1, 0x10, 2, 0x62, 2, 2, 1, 0x70, 3, 0x78, 7]
        );
    }

    #[test]
    fn exposed_families_have_the_field_numbers_that_exporters_use() {
        use crate::client::{
            Bucket, BucketSpan, Counter, Exemplar, Histogram, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary, Timestamp,
        };
        let exemplar = Exemplar {
            label: vec![LabelPair { name: "t".into(), value: "1".into() }],
            value: 0.0,
            timestamp: Some(Timestamp { seconds: 1, nanos: 2 }),
        };
        let counter = Counter { value: 0.0, exemplar: Some(exemplar), start_timestamp: Some(Timestamp { seconds: 3, nanos: 0 }) };
        let summary = Summary { sample_count: 1, quantile: vec![Quantile::default()], ..Default::default() };
        let histogram = Histogram {
            sample_count: 5,
            schema: -1,
            bucket: vec![Bucket { cumulative_count: 5, ..Default::default() }],
            positive_span: vec![BucketSpan { offset: -1, length: 1 }],
            positive_delta: vec![-1],
            exemplars: vec![Exemplar::default()],
            ..Default::default()
        };
        let metric = Metric {
            label: vec![LabelPair { name: "a".into(), value: "b".into() }],
            counter: Some(counter),
            summary: Some(summary),
            histogram: Some(histogram),
            timestamp_ms: 9,
            ..Default::default()
        };
        let family = MetricFamily {
            name: "m".into(),
            help: "h".into(),
            r#type: MetricType::Histogram.into(),
            metric: vec![metric],
            unit: "s".into(),
        };
        #[rustfmt::skip]
        let bytes = [
            0x0a, 1, b'm', 0x12, 1, b'h', 0x18, 4,
            0x22, 60,
                0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b',
                0x1a, 20,
                    0x12, 14, 0x0a, 6, 0x0a, 1, b't', 0x12, 1, b'1', 0x1a, 4, 0x08, 1, 0x10, 2,
                    0x1a, 2, 0x08, 3,
                0x22, 4, 0x08, 1, 0x1a, 0,
                0x3a, 20,
                    0x08, 5, 0x1a, 2, 0x08, 5, 0x28, 1, 0x62, 4, 0x08, 1, 0x10, 1, 0x6a, 1, 1, 0x82, 0x01, 0,
                0x30, 9,
            0x2a, 1, b's',
        ];
        let encoded = family.encode_to_vec();
        assert_eq!(MetricFamily::decode(&bytes[..]).unwrap(), family);
        // prost writes fields in the order of their declaration, which is not that of their numbers everywhere.
        assert_eq!(encoded.len(), bytes.len());
    }

    #[test]
    fn a_request_of_2_0_has_the_bytes_of_the_specification() {
        use crate::write_v2::{Metadata, Request, Sample, TimeSeries};
        let request = Request {
            symbols: ["", "a", "b", "h"].map(str::to_owned).to_vec(),
            timeseries: vec![TimeSeries {
                labels_refs: vec![1, 2],
                samples: vec![Sample { value: 1.0, timestamp: 300, start_timestamp: 5 }],
                metadata: Some(Metadata { r#type: 2, help_ref: 3, unit_ref: 0 }),
                ..Default::default()
            }],
        };
        #[rustfmt::skip]
        let bytes = [
            0x22, 0, 0x22, 1, b'a', 0x22, 1, b'b', 0x22, 1, b'h',
            0x2a, 26,
                0x0a, 2, 1, 2,
                0x12, 14, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xac, 0x02, 0x18, 5,
                0x2a, 4, 0x08, 2, 0x18, 3,
        ];
        assert_eq!(request.encode_to_vec(), bytes);
    }
}
