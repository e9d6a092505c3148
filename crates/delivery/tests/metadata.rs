//! Metadata beside remote write 1.0.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions only

mod receiver;

use std::sync::Arc;
use std::time::Duration;

use delivery::{Compression, Config, Message, MetadataConfig};
use model::{Batch, Layout, LayoutBuilder, Metadata, MetricType};
use prometheus::Registry;
use receiver::{Answer, NOW, Receiver, config, metric, start};
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

fn with_metadata(change: impl FnOnce(&mut Config)) -> Config {
    config(|config| {
        config.metadata = Some(MetadataConfig::default());
        change(config);
    })
}

/// A target with one series in each of `count` families.
fn layout(count: usize) -> Arc<Layout> {
    let mut builder = LayoutBuilder::default();
    for i in 0..count {
        let (name, help) = (format!("family_{i:04}"), format!("What {i} is."));
        let metadata = Metadata { family: name.as_str().into(), kind: MetricType::Histogram, help: help.into(), unit: "seconds".into() };
        builder.push_with([("__name__", name.as_str())].into_iter(), Some(&metadata.shared())).unwrap();
    }
    Arc::new(builder.finish())
}

fn batch(layout: &Arc<Layout>, scrape: i64) -> Batch {
    Batch::new(1, layout.clone(), NOW + scrape, vec![1.0; layout.len()])
}

/// Requests with metadata: when they came, and for which families.
fn metadata(receiver: &Receiver) -> Vec<(Instant, Vec<String>)> {
    let got = receiver.got();
    let all = got.iter().filter(|got| !got.is_v2()).map(|got| (got.at, got.message().metadata));
    all.filter(|(_, metadata)| !metadata.is_empty())
        .map(|(at, metadata)| (at, metadata.into_iter().map(|metadata| metadata.metric_family_name).collect()))
        .collect()
}

fn counted(registry: &Registry) -> [f64; 3] {
    ["total", "retried_total", "failed_total"].map(|what| metric(registry, &format!("prometheus_remote_storage_metadata_{what}"), ""))
}

#[tokio::test(start_paused = true)]
async fn what_targets_say_is_sent_every_minute_as_long_as_they_are_there() {
    let (receiver, began) = (Receiver::default(), Instant::now());
    let (delivery, registry) = start(with_metadata(|_| {}), &receiver);
    let layout = layout(3);
    for scrape in 0..16 {
        delivery.consumer().consume(batch(&layout, scrape)).unwrap();
        sleep(MINUTE / 4).await;
    }
    sleep(Duration::from_secs(1)).await;
    let sent = metadata(&receiver);
    assert_eq!(sent.iter().map(|(at, _)| (*at - began).as_secs()).collect::<Vec<_>>(), [60, 120, 180, 240]);
    assert!(sent.iter().all(|(_, families)| families == &["family_0000", "family_0001", "family_0002"]));
    let told = receiver.got().into_iter().flat_map(|got| got.message().metadata).next().unwrap();
    assert_eq!((told.r#type, told.help.as_str(), told.unit.as_str()), (3, "What 0 is.", "seconds"));
    assert_eq!(counted(&registry), [12.0, 0.0, 0.0]);
    assert!(metric(&registry, "prometheus_remote_storage_metadata_bytes_total", "") > 100.0);
    drop(layout);
    sleep(2 * MINUTE).await;
    assert_eq!(metadata(&receiver).len(), 4, "nobody has these series any more");
}

#[tokio::test(start_paused = true)]
async fn many_families_take_several_requests_one_after_the_other() {
    let receiver = Receiver::default();
    let (delivery, _) = start(with_metadata(|config| config.metadata.as_mut().unwrap().max_per_send = 400), &receiver);
    let layout = layout(1000);
    delivery.consumer().consume(batch(&layout, 0)).unwrap();
    sleep(MINUTE + MINUTE / 2).await;
    assert_eq!(metadata(&receiver).iter().map(|(_, families)| families.len()).collect::<Vec<_>>(), [400, 400, 200]);
}

#[tokio::test(start_paused = true)]
async fn metadata_is_sent_again_until_the_receiver_has_judged_it() {
    let receiver = Receiver::default();
    let (delivery, registry) = start(with_metadata(|_| {}), &receiver);
    let layout = layout(2);
    delivery.consumer().consume(batch(&layout, 0)).unwrap();
    delivery.flush();
    receiver.requests(1).await;
    receiver.next([Answer::Status(503), Answer::RetryAfter(429, "7"), Answer::Status(400), Answer::Status(200)]);
    sleep(3 * MINUTE).await;
    let got = &receiver.got()[1..];
    assert!(got[..3].iter().all(|one| one.body == got[0].body));
    assert_eq!(got[..3].iter().map(|one| one.header("retry-attempt")).collect::<Vec<_>>(), ["", "1", "2"]);
    assert!(got[2].at - got[1].at >= Duration::from_secs(7));
    assert_eq!(counted(&registry), [2.0, 4.0, 2.0], "rejected at first, taken a minute later");
    assert_eq!(metric(&registry, "prometheus_remote_storage_samples_retried_total", ""), 0.0);
}

#[tokio::test(start_paused = true)]
async fn with_2_0_there_is_none_until_the_receiver_turns_out_not_to_know_it() {
    let receiver = Receiver::default();
    receiver.otherwise(Answer::Taken);
    let v2 = || with_metadata(|config| config.dialect.message = Message::V2);
    let (delivery, _) = start(v2(), &receiver);
    let layout = layout(2);
    delivery.consumer().consume(batch(&layout, 0)).unwrap();
    sleep(2 * MINUTE).await;
    assert!(metadata(&receiver).is_empty() && receiver.got().len() == 1);
    let old = Receiver::default();
    old.otherwise(Answer::OnlyV1);
    let (delivery, _) = start(v2(), &old);
    delivery.consumer().consume(batch(&layout, 0)).unwrap();
    sleep(MINUTE + MINUTE / 2).await;
    assert_eq!(metadata(&old).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn metadata_is_compressed_as_samples_are() {
    let receiver = Receiver::default();
    let (delivery, _) = start(with_metadata(|config| config.dialect.compression = Compression::Zstd), &receiver);
    let layout = layout(2);
    delivery.consumer().consume(batch(&layout, 0)).unwrap();
    sleep(MINUTE + MINUTE / 2).await;
    assert_eq!(receiver.got().last().unwrap().header("content-encoding"), "zstd");
    assert_eq!(metadata(&receiver).len(), 1);
}
