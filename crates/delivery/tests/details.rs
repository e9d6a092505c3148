//! Histograms and exemplars on their way through an endpoint: counted by kind, kept on disk, sent again as they were.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions only

mod receiver;

use std::sync::Arc;
use std::time::Duration;

use delivery::{Config, Content, DiskConfig, Drained};
use model::{Batch, Counts, Details, Exemplar, Histogram, ResetHint, Span};
use prometheus::Registry;
use receiver::{Answer, NOW, Receiver, Target, config, message, metric, start};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const KINDS: [&str; 3] = ["samples", "histograms", "exemplars"];

fn everything(config: &mut Config) {
    config.content = Content { exemplars: true, native_histograms: true };
}

/// One metric of each kind.
fn by_kind(registry: &Registry, what: &str) -> [f64; 3] {
    KINDS.map(|kind| metric(registry, &format!("prometheus_remote_storage_{kind}_{what}"), ""))
}

fn histogram(sum: f64) -> Histogram {
    Histogram {
        schema: 0,
        zero_threshold: 0.0,
        sum,
        counts: Counts::Integer { count: 2, zero_count: 0, positive: Box::new([1, 0]), negative: Box::new([]) },
        positive_spans: Box::new([Span { offset: 0, length: 2 }]),
        negative_spans: Box::new([]),
        custom_values: Box::new([]),
        reset_hint: ResetHint::Unknown,
    }
}

/// A scrape of ten series, two of them histograms, with three exemplars.
fn batch(target: &Target, scrape: i64) -> Batch {
    let exemplar = |value: f64| Exemplar { labels: [("trace_id", "x")].into_iter().collect(), value, timestamp: None };
    target.batch(scrape).with_details(Details {
        histograms: Box::new([(2, histogram(2.5)), (7, histogram(scrape as f64))]),
        exemplars: Box::new([(0, exemplar(0.5)), (0, exemplar(0.75)), (2, exemplar(2.0))]),
        created: Box::new([(1, NOW - 1000)]),
    })
}

/// What a receiver took: samples, histograms, exemplars.
fn taken(receiver: &Receiver) -> [usize; 3] {
    let got = receiver.got();
    let series = got.iter().filter(|got| got.status == 200).flat_map(|got| message(&got.body).timeseries);
    series.fold([0; 3], |[samples, histograms, exemplars], series| {
        [samples + series.samples.len(), histograms + series.histograms.len(), exemplars + series.exemplars.len()]
    })
}

#[tokio::test(start_paused = true)]
async fn samples_histograms_and_exemplars_are_counted_apart() {
    let (receiver, target) = (Receiver::answering([Answer::Status(503), Answer::Status(400)]), Target::new(1, 10));
    let (delivery, registry) = start(config(everything), &receiver);
    delivery.consumer().consume(batch(&target, 0)).unwrap();
    assert_eq!(by_kind(&registry, "in_total"), [8.0, 2.0, 3.0]);
    assert_eq!(by_kind(&registry, "pending"), [8.0, 2.0, 3.0]);
    delivery.flush();
    receiver.requests(2).await;
    sleep(SECOND).await;
    assert_eq!(by_kind(&registry, "total"), [16.0, 4.0, 6.0]);
    assert_eq!(by_kind(&registry, "retried_total"), [8.0, 2.0, 3.0]);
    assert_eq!(by_kind(&registry, "failed_total"), [8.0, 2.0, 3.0]);
    assert_eq!(by_kind(&registry, "pending"), [0.0; 3]);
    let got = receiver.got();
    assert_eq!(got[0].body, got[1].body, "sent again as it was");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_sent_is_neither_sent_nor_counted() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 10));
    let (delivery, registry) = start(config(|_| {}), &receiver);
    delivery.consumer().consume(batch(&target, 0)).unwrap();
    assert_eq!(by_kind(&registry, "in_total"), [8.0, 0.0, 3.0]);
    assert_eq!(by_kind(&registry, "pending"), [8.0, 0.0, 3.0]);
    assert_eq!(delivery.shutdown(SECOND).await, Drained::default());
    assert_eq!(taken(&receiver), [8, 0, 3]);
}

#[tokio::test(start_paused = true)]
async fn everything_survives_a_restart_on_disk() {
    let (directory, target) = (tempfile::tempdir().unwrap(), Target::new(1, 10));
    let with_disk = || {
        config(|config| {
            everything(config);
            config.buffer.disk = Some(DiskConfig { directory: directory.path().join("endpoint"), max_bytes: Some(1 << 30), fsync: false });
        })
    };
    let down = Receiver::default();
    down.otherwise(Answer::Status(503));
    let (delivery, _) = start(with_disk(), &down);
    for scrape in 0..3 {
        delivery.consumer().consume(batch(&target, scrape)).unwrap();
    }
    assert_eq!(delivery.shutdown(SECOND).await, Drained { lost: 0, on_disk: 30 });
    let up = Receiver::default();
    let (delivery, _) = start(with_disk(), &up);
    up.taken(24).await;
    assert_eq!(taken(&up), [24, 6, 9]);
    let sums =
        up.got().iter().flat_map(|got| message(&got.body).timeseries).flat_map(|series| series.histograms).map(|h| h.sum).sum::<f64>();
    assert_eq!(sums, 3.0 * 2.5 + 1.0 + 2.0);
    assert_eq!(delivery.shutdown(SECOND).await, Drained::default());
}

#[tokio::test(start_paused = true)]
async fn details_count_against_the_memory() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 10));
    receiver.otherwise(Answer::Status(503));
    let small = config(|config| {
        (config.queue.capacity, config.queue.max_shards) = (100, 1);
        config.buffer.memory_bytes = 100_000;
    });
    let (delivery, _) = start(small, &receiver);
    let large = Histogram {
        counts: Counts::Float { count: 1.0, zero_count: 0.0, positive: vec![1.0; 3000].into(), negative: Box::new([]) },
        ..histogram(1.0)
    };
    let details = Details { histograms: Box::new([(0, large)]), ..Details::default() };
    let batch = |scrape| Batch { details: Some(Arc::new(details.clone())), ..target.batch(scrape) };
    let taken = (0..100).take_while(|&scrape| delivery.consumer().consume(batch(scrape)).is_ok()).count();
    assert_eq!(taken, 4, "24 KB each");
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_details_do_not_fit_is_dropped_and_harms_nobody() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 10));
    let (delivery, _) = start(config(everything), &receiver);
    let created: [Box<[(u32, i64)]>; 3] = [Box::new([(10, 1)]), Box::new([(3, 1), (2, 1)]), Box::new([(3, 1), (3, 2)])];
    for created in created {
        let details = Details { created, ..Details::default() };
        delivery.consumer().consume(target.batch(0).with_details(details)).unwrap();
    }
    delivery.consumer().consume(batch(&target, 1)).unwrap();
    delivery.flush();
    receiver.taken(8).await;
    assert_eq!(taken(&receiver), [8, 2, 3]);
}
