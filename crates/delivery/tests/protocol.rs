//! What the specifications of remote write ask of every sender, for both versions, and the metrics that Prometheus' users look at.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions only

mod receiver;

use std::sync::Arc;
use std::time::Duration;

use delivery::{Config, Message, Relabel};
use model::{Batch, LayoutBuilder, stale};
use receiver::{Answer, NOW, Receiver, config, metric, start};

const BOTH: [Message; 2] = [Message::V1, Message::V2];

fn speaking(message: Message, change: impl FnOnce(&mut Config)) -> Config {
    config(|config| {
        config.dialect.message = message;
        change(config);
    })
}

/// Names and values.
type Labels = Vec<(String, String)>;
/// Timestamps and the bits of values.
type Samples = Vec<(i64, u64)>;

/// Every series that a receiver got, with its samples.
fn series(receiver: &Receiver) -> Vec<(Labels, Samples)> {
    let messages = receiver.got().into_iter().flat_map(|got| got.message().timeseries);
    messages
        .map(|series| {
            let labels = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
            (labels, series.samples.iter().map(|sample| (sample.timestamp, sample.value.to_bits())).collect())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn labels_are_sorted_unique_and_never_empty_whatever_is_added_to_them() {
    for message in BOTH {
        let receiver = Receiver::default();
        receiver.otherwise(Answer::Taken);
        let relabel: Relabel = Arc::new(|labels| {
            labels.set("aaa", "first").set("zzz", "last").set("job", "").set("region", "renamed");
            true
        });
        let odd = |config: &mut Config| {
            config.external_labels = [("region", "eu"), ("cluster", "a"), ("instance", "external")].into_iter().collect();
            config.relabel = Some(relabel);
        };
        let (delivery, _) = start(speaking(message, odd), &receiver);
        let mut builder = LayoutBuilder::default();
        builder.push([("__name__", "m"), ("instance", "own"), ("job", "j")].into_iter()).unwrap();
        builder.push([("Upper", "u"), ("__name__", "m"), ("_", "underscore"), ("métrique", "é")].into_iter()).unwrap();
        let layout = Arc::new(builder.finish());
        for scrape in 0..3 {
            delivery.consumer().consume(Batch::new(1, layout.clone(), NOW + scrape, vec![1.0, 2.0])).unwrap();
            delivery.flush();
            receiver.taken(2 * (scrape as usize + 1)).await;
        }
        for (labels, _) in series(&receiver) {
            assert!(labels.is_sorted_by(|a, b| a.0.as_bytes() < b.0.as_bytes()), "{labels:?}");
            assert!(labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{labels:?}");
            assert!(labels.iter().any(|label| *label == ("__name__".to_owned(), "m".to_owned())));
        }
        let first: Vec<(String, String)> = series(&receiver).remove(0).0;
        let expected = [("__name__", "m"), ("aaa", "first"), ("cluster", "a"), ("instance", "own"), ("region", "renamed"), ("zzz", "last")];
        assert_eq!(first, expected.map(|(name, value)| (name.to_owned(), value.to_owned())), "a series' own label beats the external one");
    }
}

#[tokio::test(start_paused = true)]
async fn staleness_markers_keep_their_bits() {
    for message in BOTH {
        let receiver = Receiver::default();
        receiver.otherwise(Answer::Taken);
        let (delivery, _) = start(speaking(message, |_| {}), &receiver);
        let mut builder = LayoutBuilder::default();
        (0..3).for_each(|i| builder.push([("__name__", format!("m{i}").as_str())].into_iter()).unwrap());
        let layout = Arc::new(builder.finish());
        let scrapes = [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0], [1.0, 2.0, 5.0], [stale::STALE_NAN, f64::NAN, stale::STALE_NAN], [1.0, 2.0, 6.0]];
        for (scrape, values) in (0..).zip(scrapes) {
            delivery.consumer().consume(Batch::new(1, layout.clone(), NOW + scrape, values.to_vec())).unwrap();
            delivery.flush();
            receiver.taken(3 * (scrape as usize + 1)).await;
        }
        let bits: Vec<u64> = series(&receiver).into_iter().flat_map(|(_, samples)| samples).map(|(_, bits)| bits).collect();
        assert_eq!(bits, scrapes.concat().iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        assert_eq!(bits[9], 0x7ff0_0000_0000_0002);
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_has_more_than_it_may() {
    for message in BOTH {
        let receiver = Receiver::default();
        receiver.otherwise(Answer::Taken);
        let (delivery, _) = start(speaking(message, |config| config.queue.max_samples_per_send = 300), &receiver);
        let target = receiver::Target::new(1, 1000);
        for scrape in 0..3 {
            delivery.consumer().consume(target.batch(scrape)).unwrap();
        }
        delivery.flush();
        receiver.taken(3000).await;
        let sizes: Vec<usize> = receiver.got().iter().map(|got| got.tally().samples).collect();
        assert!(sizes.iter().all(|size| *size <= 300) && sizes.iter().sum::<usize>() == 3000, "{sizes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_answers_the_same_twice_gets_every_sample_once() {
    let answers = [
        Answer::Status(500),
        Answer::RetryAfter(429, "1"),
        Answer::Broken,
        Answer::RetryAfter(503, "Fri, 31 Dec 1999 23:59:59 GMT"),
        Answer::Slow(Duration::from_millis(700)),
        Answer::Status(502),
        Answer::RetryAfter(504, "soon"),
    ];
    let receiver = Receiver::answering(answers.iter().cycle().take(70).cloned());
    let (delivery, registry) = start(config(|config| config.queue.min_shards = 3), &receiver);
    let targets: Vec<receiver::Target> = (0..7).map(|source| receiver::Target::new(source * 31, 40)).collect();
    for scrape in 0..10 {
        targets.iter().for_each(|target| delivery.consumer().consume(target.batch(scrape)).unwrap());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    delivery.flush();
    receiver.taken(7 * 40 * 10).await;
    let expected: Vec<i64> = (0..10).map(|scrape| NOW + scrape).collect();
    let by_series = receiver.by_series();
    assert_eq!(by_series.len(), 7 * 40);
    by_series.values().for_each(|timestamps| assert_eq!(timestamps, &expected));
    assert_eq!(metric(&registry, "prometheus_remote_storage_samples_failed_total", ""), 0.0);
}

/// The names in Prometheus' `storage/remote/queue_manager.go` and `write.go`, without their common prefix.
const PROMETHEUS: [&str; 35] = [
    "samples_total",
    "exemplars_total",
    "histograms_total",
    "metadata_total",
    "samples_failed_total",
    "exemplars_failed_total",
    "histograms_failed_total",
    "metadata_failed_total",
    "samples_retried_total",
    "exemplars_retried_total",
    "histograms_retried_total",
    "metadata_retried_total",
    "samples_dropped_total",
    "exemplars_dropped_total",
    "histograms_dropped_total",
    "enqueue_retries_total",
    "sent_batch_duration_seconds",
    "queue_highest_timestamp_seconds",
    "queue_highest_sent_timestamp_seconds",
    "samples_pending",
    "exemplars_pending",
    "histograms_pending",
    "shard_capacity",
    "shards",
    "shards_max",
    "shards_min",
    "shards_desired",
    "bytes_total",
    "metadata_bytes_total",
    "max_samples_per_send",
    "samples_in_total",
    "exemplars_in_total",
    "histograms_in_total",
    "highest_timestamp_in_seconds",
    "samples_dropped_total",
];

#[tokio::test(start_paused = true)]
async fn metrics_have_prometheus_names_and_an_endpoint_of_their_own() {
    let receiver = Receiver::default();
    let (delivery, registry) = start(config(|_| {}), &receiver);
    let whole = ["samples_in_total", "exemplars_in_total", "histograms_in_total", "highest_timestamp_in_seconds"];
    let families = registry.gather();
    for name in PROMETHEUS {
        let family = families.iter().find(|family| family.name() == format!("prometheus_remote_storage_{name}"));
        let family = family.unwrap_or_else(|| panic!("no metric {name} before anything happened"));
        let mut labels: Vec<&str> = family.get_metric()[0].get_label().iter().map(|pair| pair.name()).collect();
        labels.retain(|label| *label != "reason");
        assert_eq!(labels, if whole.contains(&name) { vec![] } else { vec!["remote_name", "url"] }, "{name}");
    }
    let others = families.iter().filter(|family| !family.name().starts_with("prometheus_remote_storage_"));
    assert!(others.into_iter().all(|family| family.name().starts_with("collector_remote_write_")), "what is ours says so");
    drop(delivery);
    let left: Vec<String> =
        registry.gather().iter().filter(|family| !family.get_metric().is_empty()).map(|f| f.name().to_owned()).collect();
    assert_eq!(left.len(), whole.len(), "{left:?}");
}
