//! Requests made with generated or hand-written message types, and what becomes of them.

mod bounds;
mod known;
mod messages;
mod v1;
mod v2;

use model::Batch;
use prost::Message;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};

use super::*;

const NOW: i64 = 1_763_637_480_000;

fn packed(message: &impl Message) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

fn intake() -> Intake {
    Intake::new(Options::default())
}

fn take(message: &impl Message, version: Version) -> (Result<Taken, Rejected>, Refusals) {
    take_by(&intake(), message, version)
}

fn take_by(intake: &Intake, message: &impl Message, version: Version) -> (Result<Taken, Rejected>, Refusals) {
    let mut refusals = Refusals::default();
    let taken = intake.take(&packed(message), Packing::Snappy, version, NOW, &mut refusals);
    (taken, refusals)
}

fn label(name: &str, value: &str) -> Label {
    Label { name: name.into(), value: value.into() }
}

/// A series of `name{a="b",…}` with samples.
fn series(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> TimeSeries {
    TimeSeries {
        labels: labels.iter().map(|(name, value)| label(name, value)).collect(),
        samples: samples.iter().map(|&(value, timestamp)| Sample { value, timestamp }).collect(),
        ..TimeSeries::default()
    }
}

fn request(timeseries: Vec<TimeSeries>) -> WriteRequest {
    WriteRequest { timeseries, metadata: vec![] }
}

/// All samples of all batches as `labels value time`, batches of one source in order.
fn lines(batches: &[Batch]) -> Vec<String> {
    let of = |batch: &Batch| {
        let line =
            |(series, timestamp, value): (model::SeriesRef<'_>, i64, f64)| format!("{} {value} {}", series.to_labels(), timestamp - NOW);
        batch.iter().map(line).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

fn sorted_lines(batches: &[Batch]) -> Vec<String> {
    let mut lines = lines(batches);
    lines.sort();
    lines
}
