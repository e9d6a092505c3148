//! An endpoint in memory against a receiver that answers by script, in tokio's simulated time.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions only

mod receiver;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use delivery::Delivery;
use model::Refused;
use receiver::{Answer, Receiver, Target, config, decode, metric, start};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const SAMPLES: &str = "prometheus_remote_storage_samples_total";
const FAILED: &str = "prometheus_remote_storage_samples_failed_total";
const RETRIED: &str = "prometheus_remote_storage_samples_retried_total";
const DROPPED: &str = "prometheus_remote_storage_samples_dropped_total";

#[tokio::test(start_paused = true)]
async fn what_was_enqueued_arrives_with_the_headers_of_the_protocol() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 1000));
    let (delivery, registry) = start(config(|_| {}), &receiver);
    for scrape in 0..4 {
        delivery.consumer().consume(target.batch(scrape)).unwrap();
    }
    assert_eq!(receiver.taken(4000).await, (0..4).flat_map(|scrape| target.samples(scrape)).collect::<Vec<_>>());
    let headers = &receiver.got()[0].headers;
    for (name, value) in [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("user-agent", "collector/0.1.0"),
    ] {
        assert_eq!(headers.get(name).unwrap(), value);
    }
    assert!(headers.get("retry-attempt").is_none());
    assert_eq!(metric(&registry, SAMPLES, ""), 4000.0);
    assert_eq!(metric(&registry, "prometheus_remote_storage_samples_in_total", ""), 4000.0);
    assert_eq!(metric(&registry, "prometheus_remote_storage_highest_timestamp_in_seconds", ""), (receiver::NOW / 1000) as f64);
    assert_eq!(delivery.shutdown(SECOND).await.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_samples_until_the_deadline_and_goes_at_once_when_it_is_full() {
    let (receiver, target, began) = (Receiver::default(), Target::new(1, 1000), Instant::now());
    let (delivery, _) = start(config(|_| {}), &receiver);
    delivery.consumer().consume(target.batch(0)).unwrap();
    assert_eq!(receiver.requests(1).await[0].at - began, 5 * SECOND);
    let again = Instant::now();
    delivery.consumer().consume(target.batch(1)).unwrap();
    delivery.consumer().consume(target.batch(2)).unwrap();
    assert_eq!(receiver.requests(2).await[1].at, again, "2 000 samples are there");
}

#[tokio::test(start_paused = true)]
async fn a_flush_sends_what_is_there_without_waiting() {
    let (receiver, target, began) = (Receiver::default(), Target::new(1, 10), Instant::now());
    let (delivery, _) = start(config(|_| {}), &receiver);
    delivery.consumer().consume(target.batch(0)).unwrap();
    delivery.consumer().flush();
    assert_eq!(receiver.requests(1).await[0].at, began);
    assert!(delivery.shutdown(SECOND).await.lost == 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_a_request_is_spread_over_several() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 5000));
    let (delivery, _) = start(config(|_| {}), &receiver);
    for scrape in 0..3 {
        delivery.consumer().consume(target.batch(scrape)).unwrap();
    }
    assert_eq!(receiver.taken(15_000).await, (0..3).flat_map(|scrape| target.samples(scrape)).collect::<Vec<_>>());
    assert!(receiver.got().iter().all(|got| decode(&got.body).len() <= 2000));
    assert_eq!(receiver.most_under_way(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_in_trouble_gets_the_same_bytes_again_after_growing_pauses() {
    let trouble = [Answer::Status(503), Answer::Broken, Answer::Status(500), Answer::Status(429)];
    let (receiver, target) = (Receiver::answering(trouble), Target::new(1, 2000));
    let (delivery, registry) = start(config(|_| {}), &receiver);
    delivery.consumer().consume(target.batch(0)).unwrap();
    assert_eq!(receiver.taken(1999).await.len(), 2000);
    let got = receiver.got();
    assert!(got.iter().all(|one| one.body == got[0].body));
    let attempts: Vec<Option<&str>> = got.iter().map(|one| one.headers.get("retry-attempt").map(|value| value.to_str().unwrap())).collect();
    assert_eq!(attempts, [None, Some("1"), Some("2"), Some("3"), Some("4")]);
    for (pair, step) in got.windows(2).zip([30, 60, 120, 240]) {
        let pause = (pair[1].at - pair[0].at).as_millis();
        assert!((step / 2..=step + 1).contains(&pause), "{pause} ms where up to {step} ms are right");
    }
    assert_eq!(metric(&registry, RETRIED, ""), 8000.0);
    assert_eq!(metric(&registry, SAMPLES, ""), 10_000.0);
    assert_eq!(metric(&registry, "prometheus_remote_storage_sent_batch_duration_seconds", ""), 5.0);
    assert!(delivery.status().retrying.is_none() && delivery.status().delivered_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn pauses_end_at_the_maximum_so_that_recovery_is_seen_soon() {
    let receiver = Receiver::default();
    receiver.otherwise(Answer::Status(503));
    let (delivery, _) = start(config(|_| {}), &receiver);
    delivery.consumer().consume(Target::new(1, 2000).batch(0)).unwrap();
    let got = receiver.requests(20).await;
    assert!(got.windows(2).all(|pair| pair[1].at - pair[0].at <= Duration::from_millis(5001)));
    assert!(got[19].at - got[18].at >= Duration::from_millis(2500));
    assert!(delivery.status().retrying.is_some_and(|failure| failure.message.starts_with("status 503")));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_kept() {
    for status in [429, 503] {
        let receiver = Receiver::answering([Answer::RetryAfter(status, "7")]);
        let (delivery, _) = start(config(|_| {}), &receiver);
        delivery.consumer().consume(Target::new(1, 2000).batch(0)).unwrap();
        let got = receiver.requests(2).await;
        let pause = got[1].at - got[0].at;
        assert!((7 * SECOND..8 * SECOND).contains(&pause), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_answer_is_given_up_after_the_timeout_and_sent_again() {
    let receiver = Receiver::answering([Answer::Silence]);
    let (delivery, _) = start(config(|config| config.remote_timeout = 3 * SECOND), &receiver);
    delivery.consumer().consume(Target::new(1, 2000).batch(0)).unwrap();
    let got = receiver.requests(2).await;
    assert!((3 * SECOND..4 * SECOND).contains(&(got[1].at - got[0].at)));
    drop(delivery);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_dropped_alone_and_its_reason_is_kept() {
    let script = [Answer::Status(200), Answer::Text(400, "out of order sample"), Answer::Status(200)];
    let (receiver, target) = (Receiver::answering(script), Target::new(1, 2000));
    let (delivery, registry) = start(config(|_| {}), &receiver);
    for scrape in 0..3 {
        delivery.consumer().consume(target.batch(scrape)).unwrap();
    }
    let expected: Vec<_> = [0, 2].into_iter().flat_map(|scrape| target.samples(scrape)).collect();
    assert_eq!(receiver.requests(3).await.len(), 3);
    // The first request has 1 536 samples, for it is made of whole chunks of 512: compare what was rejected instead.
    let rejected = decode(&receiver.got()[1].body);
    let mut taken = receiver.taken(6000 - rejected.len()).await;
    taken.extend(rejected.iter().cloned());
    taken.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    let mut all: Vec<_> = expected.into_iter().chain(target.samples(1)).collect();
    all.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    assert_eq!(taken, all, "all but the rejected ones were taken, and nothing twice");
    assert_eq!(metric(&registry, FAILED, ""), rejected.len() as f64);
    assert_eq!(&*delivery.status().rejected.unwrap().message, "status 400: out of order sample");
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_is_a_rejection_if_it_is_not_to_be_retried() {
    let receiver = Receiver::answering([Answer::Status(429)]);
    let (delivery, registry) = start(config(|config| config.queue.retry_on_http_429 = false), &receiver);
    delivery.consumer().consume(Target::new(1, 100).batch(0)).unwrap();
    delivery.flush();
    tokio::time::sleep(SECOND).await;
    assert_eq!(receiver.got().len(), 1);
    assert_eq!(metric(&registry, FAILED, ""), 100.0);
}

#[tokio::test(start_paused = true)]
async fn series_keep_their_order_over_many_shards_and_failures() {
    let trouble = (0..200).map(|i| match i % 7 {
        0 => Answer::Status(503),
        1 => Answer::Slow(Duration::from_millis(i * 3 % 400)),
        2 => Answer::Broken,
        _ => Answer::Status(200),
    });
    let receiver = Receiver::answering(trouble);
    let (delivery, _) = start(config(|config| (config.queue.min_shards, config.queue.max_samples_per_send) = (4, 50)), &receiver);
    let targets: Vec<Target> = (0..10).map(|source| Target::new(source, 30)).collect();
    for scrape in 0..20 {
        for target in &targets {
            delivery.consumer().consume(target.batch(scrape)).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    delivery.flush();
    receiver.taken(10 * 20 * 30).await;
    let by_series = receiver.by_series();
    assert_eq!(by_series.len(), 300);
    let expected: Vec<i64> = (0..20).map(|scrape| receiver::NOW + scrape).collect();
    by_series.iter().for_each(|(series, timestamps)| assert_eq!(timestamps, &expected, "{series}"));
    assert!(receiver.most_under_way() > 1);
}

#[tokio::test(start_paused = true)]
async fn shards_grow_when_the_receiver_is_slow_and_order_is_kept() {
    let receiver = Receiver::default();
    receiver.otherwise(Answer::Slow(Duration::from_millis(500)));
    let (delivery, registry) = start(config(|config| config.queue.max_samples_per_send = 100), &receiver);
    let targets: Vec<Target> = (0..30).map(|source| Target::new(source * 7919, 50)).collect();
    // 1 500 samples a second come; a shard sends 200 a second.
    for scrape in 0..60 {
        for target in &targets {
            delivery.consumer().consume(target.batch(scrape)).unwrap();
        }
        tokio::time::sleep(SECOND).await;
    }
    assert!(metric(&registry, "prometheus_remote_storage_shards", "") >= 8.0, "{:?}", delivery.status());
    assert!(metric(&registry, "prometheus_remote_storage_shards_desired", "") >= 8.0);
    let drained = delivery.shutdown(300 * SECOND).await;
    assert_eq!(drained.lost, 0);
    let expected: Vec<i64> = (0..60).map(|scrape| receiver::NOW + scrape).collect();
    let by_series = receiver.by_series();
    assert_eq!(by_series.len(), 1500);
    by_series.values().for_each(|timestamps| assert_eq!(timestamps, &expected));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_recovers() {
    let receiver = Receiver::default();
    receiver.otherwise(Answer::Status(503));
    let small = config(|config| {
        (config.queue.capacity, config.queue.max_shards) = (100, 1);
        config.buffer.memory_bytes = 100_000;
    });
    let (delivery, registry) = start(small, &receiver);
    let (target, consumer) = (Target::new(1, 1000), delivery.consumer());
    let taken = (0..100).take_while(|&scrape| consumer.consume(target.batch(scrape)).is_ok()).count();
    assert_eq!(taken, 12, "8 KB each");
    assert_eq!(consumer.consume(target.batch(99)), Err(Refused::Full));
    assert_eq!(metric(&registry, "collector_remote_write_refused_samples_total", ""), 2000.0);
    assert_eq!(metric(&registry, "prometheus_remote_storage_samples_pending", ""), 12_000.0);
    receiver.otherwise(Answer::Status(200));
    assert_eq!(receiver.taken(12_000).await.len(), 12_000);
    assert!(consumer.consume(target.batch(100)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn shutting_down_sends_everything_at_once_and_then_refuses() {
    let (receiver, target, began) = (Receiver::default(), Target::new(1, 10), Instant::now());
    let (delivery, registry) = start(config(|_| {}), &receiver);
    let consumer = delivery.consumer();
    consumer.consume(target.batch(0)).unwrap();
    assert_eq!(delivery.shutdown(60 * SECOND).await.lost, 0);
    assert_eq!(receiver.samples(), target.samples(0));
    assert_eq!(Instant::now(), began);
    assert_eq!(consumer.consume(target.batch(1)), Err(Refused::Closed));
    assert!(registry.gather().iter().all(|family| family.get_metric().len() <= 1 && !family.name().ends_with("samples_total")));
}

#[tokio::test(start_paused = true)]
async fn shutting_down_gives_up_at_the_deadline_and_says_what_is_lost() {
    let (receiver, target, began) = (Receiver::default(), Target::new(1, 10), Instant::now());
    receiver.otherwise(Answer::Status(503));
    let (delivery, _) = start(config(|_| {}), &receiver);
    for scrape in 0..3 {
        delivery.consumer().consume(target.batch(scrape)).unwrap();
    }
    assert_eq!(delivery.shutdown(7 * SECOND).await.lost, 30);
    assert_eq!(Instant::now() - began, 7 * SECOND);
}

fn wall_clock() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn samples_that_are_too_old_are_dropped_unsent() {
    let (receiver, target, now) = (Receiver::default(), Target::new(1, 10), wall_clock());
    let (delivery, registry) = start(config(|config| config.queue.sample_age_limit = 3600 * SECOND), &receiver);
    for age_seconds in [7200, 1800, 0] {
        let mut batch = target.batch(0);
        batch.timestamp = now - age_seconds * 1000;
        delivery.consumer().consume(batch).unwrap();
    }
    delivery.flush();
    let taken = receiver.taken(20).await;
    assert!(taken.iter().all(|(_, timestamp, _)| *timestamp >= now - 1_800_000));
    tokio::time::sleep(SECOND).await;
    assert_eq!(metric(&registry, DROPPED, "reason=too_old"), 10.0);
}

#[tokio::test(start_paused = true)]
async fn samples_that_became_too_old_between_attempts_are_left_out_of_the_next_one() {
    let receiver = Receiver::answering([Answer::Later(Duration::from_millis(60))]);
    let (delivery, registry) = start(config(|config| config.queue.sample_age_limit = Duration::from_millis(50)), &receiver);
    let (target, now) = (Target::new(1, 10), wall_clock());
    for ahead_seconds in [0, 3600] {
        let mut batch = target.batch(0);
        batch.timestamp = now + ahead_seconds * 1000;
        delivery.consumer().consume(batch).unwrap();
    }
    delivery.flush();
    let taken = receiver.taken(10).await;
    assert!(taken.iter().all(|(_, timestamp, _)| *timestamp > now));
    tokio::time::sleep(SECOND).await;
    assert_eq!(metric(&registry, DROPPED, "reason=too_old"), 10.0);
}

#[tokio::test(start_paused = true)]
async fn write_relabelling_and_external_labels_apply_and_drops_are_counted() {
    let receiver = Receiver::default();
    let (delivery, registry) = start(
        config(|config| {
            config.external_labels = [("cluster", "eu")].into_iter().collect();
            config.relabel = Some(Arc::new(|labels| labels.get("__name__") == Some("metric_3_total")));
        }),
        &receiver,
    );
    let target = Target::new(1, 10);
    for scrape in 0..3 {
        delivery.consumer().consume(target.batch(scrape)).unwrap();
        delivery.flush();
        receiver.taken(scrape as usize + 1).await;
    }
    let series = "__name__=metric_3_total,cluster=eu,instance=t1,job=test".to_owned();
    assert_eq!(receiver.by_series(), [(series, vec![receiver::NOW, receiver::NOW + 1, receiver::NOW + 2])].into());
    tokio::task::yield_now().await;
    assert_eq!(metric(&registry, DROPPED, "reason=dropped_series"), 27.0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_series_are_all_dropped_sends_nothing_and_is_done() {
    let receiver = Receiver::default();
    let (delivery, _) = start(config(|config| config.relabel = Some(Arc::new(|_| false))), &receiver);
    delivery.consumer().consume(Target::new(1, 10).batch(0)).unwrap();
    assert_eq!(delivery.shutdown(SECOND).await.lost, 0);
    assert!(receiver.got().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_held_source_is_sent_after_its_release_and_acknowledgement_is_known() {
    let (receiver, held, free) = (Receiver::default(), Target::new(1, 5), Target::new(2, 5));
    let (delivery, registry) = start(config(|_| {}), &receiver);
    delivery.consumer().hold(1);
    delivery.consumer().consume(held.batch(0)).unwrap();
    delivery.consumer().consume(free.batch(0)).unwrap();
    assert_eq!(receiver.taken(5).await, free.samples(0));
    assert_eq!(metric(&registry, "collector_remote_write_held_samples", ""), 5.0);
    tokio::time::sleep(SECOND).await;
    assert!(delivery.consumer().is_acknowledged(2) && delivery.consumer().is_acknowledged(1), "nothing is left from before");
    delivery.consumer().hold(1);
    assert!(!delivery.consumer().is_acknowledged(1), "what is held is waited for in turn");
    delivery.consumer().release(1);
    delivery.flush();
    receiver.taken(10).await;
    tokio::time::sleep(SECOND).await;
    assert!(delivery.consumer().is_acknowledged(1));
}

#[tokio::test(start_paused = true)]
async fn metrics_name_the_endpoint_without_credentials_and_go_with_it() {
    let (delivery, registry) = start(config(|_| {}), &Receiver::default());
    assert_eq!(metric(&registry, "prometheus_remote_storage_shards_max", "url=http://receiver:9009/api/v1/push"), 50.0);
    assert_eq!(metric(&registry, "prometheus_remote_storage_shard_capacity", "remote_name=test"), 10_000.0);
    assert_eq!(metric(&registry, "prometheus_remote_storage_max_samples_per_send", ""), 2000.0);
    drop(delivery);
    assert!(registry.gather().iter().all(|family| family.name() != "prometheus_remote_storage_shards_max"));
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_columns_do_not_fit_is_dropped_and_harms_nobody() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 10));
    let (delivery, _) = start(config(|_| {}), &receiver);
    let mut broken = target.batch(0);
    broken.values = vec![1.0; 3].into();
    delivery.consumer().consume(broken).unwrap();
    delivery.consumer().consume(target.batch(1)).unwrap();
    delivery.shutdown(SECOND).await;
    assert_eq!(receiver.samples(), target.samples(1));
}

#[tokio::test]
async fn a_configuration_that_can_not_work_is_refused_at_the_start() {
    let metrics = delivery::Metrics::register(&prometheus::Registry::new()).unwrap();
    let wrong = config(|config| config.queue.min_shards = 100);
    let error = Delivery::start(wrong, Receiver::default(), &metrics, &tokio::runtime::Handle::current()).err().unwrap();
    assert_eq!(error.to_string(), "min_shards (100) must not be greater than max_shards (50)");
}
