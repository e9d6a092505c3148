//! An endpoint with a disk: what a slow, absent or returning receiver, restarts, damage and a full disk do to samples.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions only

mod receiver;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use delivery::{Config, Delivery, DiskConfig, Drained, Metrics, StartError};
use model::Batch;
use prometheus::Registry;
use receiver::{Answer, NOW, Receiver, Target, config, metric, start};
use tokio::runtime::Handle;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const SPILLED: &str = "collector_remote_write_spilled_samples_total";
const REPLAYED: &str = "collector_remote_write_replayed_samples_total";
const PENDING: &str = "prometheus_remote_storage_samples_pending";

fn with_disk(directory: &Path, change: impl FnOnce(&mut Config)) -> Config {
    config(|config| {
        config.buffer.disk = Some(DiskConfig { directory: directory.join("endpoint"), max_bytes: Some(1 << 30), fsync: false });
        change(config);
    })
}

/// Memory for about eight batches of 1 000 samples on their way, and as much again seven times for a disk that fails.
fn little_memory(config: &mut Config) {
    (config.queue.capacity, config.queue.max_shards) = (1000, 1);
    config.buffer.memory_bytes = 8 * 8 * 8400;
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory.join("endpoint")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "v1")).collect();
    segments.sort();
    segments
}

fn down() -> Receiver {
    let receiver = Receiver::default();
    receiver.otherwise(Answer::Status(503));
    receiver
}

/// Every series of `receiver` got these scrapes, in order.
fn assert_scrapes(receiver: &Receiver, series: usize, scrapes: impl IntoIterator<Item = i64>) {
    let expected: Vec<i64> = scrapes.into_iter().map(|scrape| NOW + scrape).collect();
    let by_series = receiver.by_series();
    assert_eq!(by_series.len(), series);
    by_series.iter().for_each(|(series, timestamps)| assert_eq!(timestamps, &expected, "{series}"));
}

async fn consume(delivery: &Delivery, batch: Batch) {
    delivery.consumer().consume(batch).unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_the_receiver_keeps_up_the_disk_sees_nothing() {
    let (directory, receiver, target) = (tempfile::tempdir().unwrap(), Receiver::default(), Target::new(1, 2000));
    let (delivery, registry) = start(with_disk(directory.path(), |_| {}), &receiver);
    for scrape in 0..20 {
        consume(&delivery, target.batch(scrape)).await;
        delivery.flush();
        sleep(Duration::from_millis(400)).await;
    }
    assert_scrapes(&receiver, 2000, 0..20);
    assert_eq!(metric(&registry, SPILLED, ""), 0.0);
    assert_eq!(delivery.shutdown(SECOND).await, Drained::default());
    assert!(segments(directory.path()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_after_half_a_second_is_on_disk_until_it_is() {
    let (directory, receiver, target) = (tempfile::tempdir().unwrap(), down(), Target::new(1, 2000));
    let (delivery, registry) = start(with_disk(directory.path(), |_| {}), &receiver);
    consume(&delivery, target.batch(0)).await;
    sleep(Duration::from_millis(450)).await;
    assert_eq!(metric(&registry, SPILLED, ""), 0.0);
    sleep(Duration::from_millis(150)).await;
    assert_eq!(metric(&registry, SPILLED, ""), 2000.0);
    assert!(metric(&registry, "collector_remote_write_disk_bytes", "") > 0.0);
    receiver.otherwise(Answer::Status(200));
    receiver.taken(2000).await;
    assert_eq!(metric(&registry, REPLAYED, ""), 0.0, "it was in memory");
    assert_eq!(delivery.shutdown(SECOND).await, Drained::default());
    let (again, _) = start(with_disk(directory.path(), |_| {}), &receiver);
    assert_eq!(again.shutdown(SECOND).await, Drained::default());
    assert_scrapes(&receiver, 2000, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_survives_a_restart_and_goes_out_before_what_is_new() {
    let (directory, target, other) = (tempfile::tempdir().unwrap(), Target::new(1, 700), Target::new(2, 300));
    let (delivery, _) = start(with_disk(directory.path(), |config| config.queue.min_shards = 3), &down());
    for scrape in 0..10 {
        consume(&delivery, target.batch(scrape)).await;
        consume(&delivery, other.batch(scrape)).await;
        sleep(SECOND / 10).await;
    }
    assert_eq!(delivery.shutdown(2 * SECOND).await, Drained { lost: 0, on_disk: 10_000 });

    let receiver = Receiver::default();
    let (delivery, registry) = start(with_disk(directory.path(), |config| config.queue.min_shards = 2), &receiver);
    for scrape in 10..13 {
        consume(&delivery, target.batch(scrape)).await;
        consume(&delivery, other.batch(scrape)).await;
    }
    receiver.taken(13_000).await;
    assert_scrapes(&receiver, 1000, 0..13);
    assert!(metric(&registry, REPLAYED, "") >= 10_000.0);
    assert_eq!(delivery.shutdown(SECOND).await, Drained::default());
    assert!(segments(directory.path()).len() <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_costs_at_most_what_came_in_the_last_half_second() {
    let (directory, target) = (tempfile::tempdir().unwrap(), Target::new(1, 100));
    let (delivery, _) = start(with_disk(directory.path(), |_| {}), &down());
    for scrape in 0..20 {
        consume(&delivery, target.batch(scrape)).await;
        sleep(Duration::from_millis(240)).await;
    }
    drop(delivery);
    tokio::task::yield_now().await; // lets the task that wrote to disk go
    let receiver = Receiver::default();
    let (delivery, _) = start(with_disk(directory.path(), |_| {}), &receiver);
    assert_eq!(delivery.shutdown(10 * SECOND).await.lost, 0);
    assert_scrapes(&receiver, 100, 0..18);
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_before_a_restart_is_not_sent_again() {
    let (directory, receiver, target) = (tempfile::tempdir().unwrap(), down(), Target::new(1, 1000));
    let (delivery, _) = start(with_disk(directory.path(), |_| {}), &receiver);
    for scrape in 0..6 {
        consume(&delivery, target.batch(scrape)).await;
    }
    sleep(SECOND).await;
    receiver.next([Answer::Status(200), Answer::Status(200)]);
    receiver.taken(3000).await;
    let drained = delivery.shutdown(SECOND).await;
    assert!((1000..6000).contains(&drained.on_disk), "{drained:?}");
    receiver.otherwise(Answer::Status(200));
    let (delivery, _) = start(with_disk(directory.path(), |_| {}), &receiver);
    assert_eq!(delivery.shutdown(10 * SECOND).await, Drained::default());
    let mut timestamps: Vec<Vec<i64>> = receiver.by_series().into_values().collect();
    timestamps.iter_mut().for_each(Vec::dedup); // a batch that was sent in part is sent again as a whole
    assert!(timestamps.iter().all(|all| all == &(0..6).map(|scrape| NOW + scrape).collect::<Vec<_>>()));
    let samples = receiver.samples().len();
    assert!((6000..=7000).contains(&samples), "{samples}");
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_takes_disk_and_not_memory_and_ends_without_loss() {
    let (directory, receiver, target) = (tempfile::tempdir().unwrap(), down(), Target::new(1, 1000));
    let (delivery, registry) = start(with_disk(directory.path(), little_memory), &receiver);
    for scrape in 0..40 {
        consume(&delivery, target.batch(scrape)).await;
        sleep(SECOND).await;
        assert!(metric(&registry, PENDING, "") <= 9000.0);
    }
    assert!(metric(&registry, "collector_remote_write_disk_samples", "") >= 30_000.0);
    receiver.otherwise(Answer::Status(200));
    for scrape in 40..45 {
        consume(&delivery, target.batch(scrape)).await;
        sleep(SECOND).await;
    }
    delivery.flush();
    receiver.taken(45_000).await;
    assert_scrapes(&receiver, 1000, 0..45);
    sleep(2 * SECOND).await;
    assert_eq!(metric(&registry, "collector_remote_write_disk_samples", ""), 0.0);
    assert_eq!(metric(&registry, "prometheus_remote_storage_samples_dropped_total", ""), 0.0);
    let spilled = metric(&registry, SPILLED, "");
    consume(&delivery, target.batch(45)).await;
    delivery.flush();
    receiver.taken(46_000).await;
    assert_eq!(metric(&registry, SPILLED, ""), spilled, "after the backlog the disk rests");
    assert_eq!(delivery.shutdown(SECOND).await, Drained::default());
}

#[tokio::test(start_paused = true)]
async fn at_the_size_limit_the_oldest_samples_go_and_are_counted() {
    let (directory, receiver, target) = (tempfile::tempdir().unwrap(), down(), Target::new(1, 1000));
    let small = with_disk(directory.path(), |config| {
        little_memory(config);
        if let Some(disk) = &mut config.buffer.disk {
            disk.max_bytes = Some(1 << 20);
        }
    });
    let (delivery, registry) = start(small, &receiver);
    for scrape in 0..300 {
        let mut batch = target.batch(scrape);
        batch.values = (0..1000_u64)
            .map(|i| f64::from_bits((i + 1).wrapping_mul(scrape as u64 + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2))
            .collect();
        consume(&delivery, batch).await;
        sleep(SECOND / 20).await;
        assert!(metric(&registry, "collector_remote_write_disk_bytes", "") <= f64::from(1 << 20));
    }
    let dropped = metric(&registry, "prometheus_remote_storage_samples_dropped_total", "reason=disk_full");
    assert!(dropped >= 100_000.0, "{dropped}");
    receiver.otherwise(Answer::Status(200));
    receiver.taken(300_000 - dropped as usize).await;
    sleep(10 * SECOND).await;
    let timestamps = receiver.by_series().into_values().next().unwrap();
    assert_eq!(timestamps.len() * 1000 + dropped as usize, 300_000, "every sample arrived or was counted");
    assert!(timestamps.is_sorted());
    assert_eq!(timestamps.last(), Some(&(NOW + 299)));
    assert_eq!(delivery.shutdown(SECOND).await, Drained::default());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_an_alarm_and_memory_serves_until_it_heals() {
    let (directory, receiver, target) = (tempfile::tempdir().unwrap(), down(), Target::new(1, 1000));
    let (delivery, registry) = start(with_disk(directory.path(), little_memory), &receiver);
    let obstacle = directory.path().join("endpoint").join(format!("{:020}-{:020}.v1", 0, 0));
    fs::create_dir(&obstacle).unwrap(); // where the first segment's file would be
    for scrape in 0..20 {
        consume(&delivery, target.batch(scrape)).await;
        sleep(SECOND).await;
    }
    assert!(metric(&registry, "collector_remote_write_disk_errors_total", "") >= 10.0);
    assert!(delivery.status().disk.is_some());
    assert_eq!(metric(&registry, PENDING, ""), 20_000.0, "all in memory");

    fs::remove_dir(&obstacle).unwrap();
    sleep(3 * SECOND).await;
    assert!(delivery.status().disk.is_none());
    assert!(metric(&registry, PENDING, "") <= 9000.0);
    receiver.otherwise(Answer::Status(200));
    receiver.taken(20_000).await;
    assert_scrapes(&receiver, 1000, 0..20);
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_fails_a_returning_receiver_gets_everything_from_memory() {
    let (directory, receiver, target) = (tempfile::tempdir().unwrap(), down(), Target::new(1, 1000));
    let (delivery, _) = start(with_disk(directory.path(), little_memory), &receiver);
    fs::create_dir(directory.path().join("endpoint").join(format!("{:020}-{:020}.v1", 0, 0))).unwrap();
    for scrape in 0..20 {
        consume(&delivery, target.batch(scrape)).await;
        sleep(SECOND / 10).await;
    }
    receiver.otherwise(Answer::Status(200));
    assert_eq!(delivery.shutdown(60 * SECOND).await, Drained::default());
    assert_scrapes(&receiver, 1000, 0..20);
}

#[tokio::test(start_paused = true)]
async fn damage_on_disk_costs_the_damaged_record_alone_and_is_counted() {
    let (directory, target) = (tempfile::tempdir().unwrap(), Target::new(1, 100));
    let (delivery, _) = start(with_disk(directory.path(), |_| {}), &down());
    for scrape in 0..10 {
        consume(&delivery, target.batch(scrape)).await;
    }
    assert_eq!(delivery.shutdown(SECOND).await.on_disk, 1000);
    let path = segments(directory.path()).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() * 3 / 4;
    bytes[middle] ^= 0x20;
    fs::write(path, bytes).unwrap();

    let receiver = Receiver::default();
    let (delivery, registry) = start(with_disk(directory.path(), |_| {}), &receiver);
    receiver.taken(900).await;
    sleep(5 * SECOND).await;
    assert_eq!(metric(&registry, "collector_remote_write_corrupt_records_total", ""), 1.0);
    assert_eq!(receiver.samples().len(), 900);
    assert_eq!(delivery.shutdown(SECOND).await, Drained::default());
    assert!(segments(directory.path()).is_empty() || fs::metadata(&segments(directory.path())[0]).unwrap().len() < 10_000);
}

#[tokio::test(start_paused = true)]
async fn own_timestamps_and_staleness_markers_survive_the_disk() {
    let (directory, target) = (tempfile::tempdir().unwrap(), Target::new(1, 3));
    let (delivery, _) = start(with_disk(directory.path(), |_| {}), &down());
    let mut batch = target.batch(0);
    batch.values = vec![1.5, model::stale::STALE_NAN, f64::INFINITY].into();
    batch.timestamps = Some(vec![NOW - 7, NOW - 8, -9].into());
    consume(&delivery, batch).await;
    assert_eq!(delivery.shutdown(SECOND).await.on_disk, 3);
    let receiver = Receiver::default();
    let (delivery, _) = start(with_disk(directory.path(), |_| {}), &receiver);
    assert_eq!(delivery.shutdown(10 * SECOND).await, Drained::default());
    let samples: Vec<(i64, u64)> = receiver.samples().iter().map(|(_, timestamp, value)| (*timestamp, value.to_bits())).collect();
    assert_eq!(samples, [(NOW - 7, 1.5_f64.to_bits()), (NOW - 8, model::stale::STALE_NAN_BITS), (-9, f64::INFINITY.to_bits())]);
}

#[tokio::test]
async fn a_directory_that_can_not_be_used_is_an_error_that_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let (delivery, _) = start(with_disk(directory.path(), |_| {}), &Receiver::default());
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let again = |config| Delivery::start(config, Receiver::default(), &metrics, &Handle::current()).err().unwrap();
    let error = again(with_disk(directory.path(), |_| {}));
    assert!(matches!(error, StartError::Disk { .. }));
    assert!(error.to_string().contains("another process or endpoint uses it; it must be writable"), "{error}");

    fs::write(directory.path().join("file"), b"").unwrap();
    let error = again(with_disk(&directory.path().join("file"), |_| {}));
    assert!(error.to_string().contains("file/endpoint for the disk queue"), "{error}");
    drop(delivery);
}
