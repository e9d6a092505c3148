//! What was scraped is delivered, whatever happens to the receiver, the collector and its disk: real processes, and a comparison of what
//! the targets served with what the receiver got.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::path::PathBuf;
use std::time::Duration;

use loadtest::clock::now_ms;
use loadtest::fleet::metric_sum;
use loadtest::judge::Report;
use loadtest::receiver::{Failure, Lasts};
use support::calm::calmly;
use support::pipe::{INTERVAL, Pipe, TARGETS};
use support::{PATIENCE, pause, until};

const DOWN: Failure = Failure { status: 503, retry_after: None };
/// Slots that a second may cost each target: those within it, and the one under way.
const A_SECOND: u64 = TARGETS as u64 * (1000 / INTERVAL.as_millis() as u64 + 1);

/// Nothing that was scraped is missing, and all of it came in order.
fn whole(report: &Report) {
    whole_but_for(0, report);
}

/// The same, with so many ends of the collector within the time that is judged: a target may have answered without being heard.
fn whole_but_for(ends: u64, report: &Report) {
    in_order(report);
    assert!(report.lost <= ends * TARGETS as u64 && report.partial == 0, "{report:#?}");
    // A slow machine scrapes late, and so misses a slot now and then; whoever stops scraping misses most.
    assert!(report.filled > 20, "{report:#?}");
}

fn in_order(report: &Report) {
    assert_eq!((report.totals.disorders, report.totals.conflicts), (0, 0), "{report:#?}");
}

/// A pipeline at work, whose receiver has been down for so many seconds.
async fn in_an_outage(seconds: u64) -> Pipe {
    let pipe = Pipe::start("").await;
    pipe.flows().await;
    pipe.receiver.faults().fail(DOWN, Lasts::UntilHealed);
    pause(seconds).await;
    pipe
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_receiver_costs_nothing_and_live_data_follows_the_backlog() {
    calmly(async || {
        let mut pipe = in_an_outage(6).await;
        pipe.receiver.faults().heal();
        let healed = now_ms();
        until("the backlog and what came meanwhile are there", PATIENCE, || async { pipe.newest_ms() > healed }).await;
        pause(2).await;
        let report = pipe.end().await;
        whole(&report);
        assert!(report.gaps <= report.expected / 4, "scraping went on: {report:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polite_restart_during_an_outage_loses_nothing() {
    calmly(async || {
        let mut pipe = in_an_outage(3).await;
        pipe.stop().await;
        assert!(pipe.disk_bytes() > 0, "what could not be sent is on disk");
        pipe.restart().await;
        pause(2).await;
        pipe.receiver.faults().heal();
        pipe.flows().await;
        whole_but_for(1, &pipe.end().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_an_outage_loses_a_second_at_most() {
    calmly(async || {
        let mut pipe = in_an_outage(4).await;
        pipe.kill().await;
        pipe.restart().await;
        pause(1).await;
        pipe.receiver.faults().heal();
        pipe.flows().await;
        let report = pipe.end().await;
        in_order(&report);
        assert!(report.lost <= A_SECOND, "{report:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_the_receiver_works_loses_a_second_at_most() {
    calmly(async || {
        let mut pipe = Pipe::start("").await;
        for _ in 0..3 {
            pipe.flows().await;
            pipe.kill().await;
            pipe.restart().await;
        }
        pipe.flows().await;
        let report = pipe.end().await;
        in_order(&report);
        assert!(report.lost <= 3 * A_SECOND, "{report:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_skipped_and_counted_and_the_rest_is_delivered() {
    calmly(async || {
        let mut pipe = in_an_outage(5).await;
        pipe.kill().await;
        damage(&pipe.segments());
        pipe.restart().await;
        pipe.receiver.faults().heal();
        pipe.flows().await;
        let metrics = pipe.metrics().await;
        let skipped = metric_sum(&metrics, "collector_remote_write_corrupt_records_total").unwrap_or_default();
        assert!(skipped >= 1.0, "{metrics}");
        let report = pipe.end().await;
        in_order(&report);
        // One scrape of one target, and what the kill may cost.
        assert!((1..=1 + A_SECOND).contains(&report.lost), "{report:#?}");
        assert!(report.filled > report.lost, "{report:#?}");
    })
    .await;
}

/// Turns a byte in the middle of the largest segment.
fn damage(segments: &[PathBuf]) {
    let largest = segments.iter().max_by_key(|path| path.metadata().unwrap().len()).expect("an outage fills a segment");
    let mut bytes = std::fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(largest, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_cap_drops_the_oldest_and_counts_it() {
    calmly(async || {
        // Wide targets, so that a few seconds fill the smallest cap.
        let mut pipe = Pipe::with_series(10_000, "disk_queue {\n\t\t\tmax_bytes = 1048576\n\t\t}").await;
        pipe.flows().await;
        pipe.receiver.faults().fail(DOWN, Lasts::UntilHealed);
        until("the cap is reached", PATIENCE, || async { pipe.dropped("disk_full").await > 0.0 }).await;
        assert!(pipe.disk_bytes() <= 1_048_576 + 4096, "{}", pipe.disk_bytes());
        pipe.kill().await;
        pipe.restart().await;
        let healed = now_ms();
        pipe.receiver.faults().heal();
        until("the newest is delivered", PATIENCE, || async { pipe.newest_ms() > healed }).await;
        let report = pipe.end().await;
        assert_eq!((report.totals.disorders, report.totals.conflicts), (0, 0), "{report:#?}");
        assert!(report.lost > 0, "the oldest is gone: {report:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_ridden_out_in_memory_and_used_again_when_there_is_room() {
    calmly(async || {
        let mut pipe = Pipe::on_small_disk("4m").await;
        pipe.flows().await;
        let ballast = pipe.fill_disk();
        pipe.receiver.faults().fail(DOWN, Lasts::UntilHealed);
        until("the component says that the disk is full", PATIENCE, || async {
            pipe.get("/-/healthy").await.1.contains("No space left") || pipe.log().contains("No space left")
        })
        .await;
        pause(3).await;
        pipe.receiver.faults().heal();
        pipe.flows().await;
        pipe.free_disk(&ballast);
        pipe.receiver.faults().fail(DOWN, Lasts::UntilHealed);
        until("it is written to again", PATIENCE, || async {
            metric_sum(&pipe.metrics().await, "collector_remote_write_disk_bytes").unwrap_or_default() > 0.0
        })
        .await;
        pipe.receiver.faults().heal();
        pipe.flows().await;
        let report = pipe.end().await;
        whole(&report);
        assert!(report.gaps <= report.expected / 4, "scraping went on: {report:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_is_stepped_neither_loses_nor_reorders_samples() {
    calmly(async || {
        let clock = tempfile::NamedTempFile::new().unwrap();
        let step = |offset: &str| std::fs::write(clock.path(), offset).unwrap();
        step("+0");
        let mut pipe = Pipe::under_clock(clock.path()).await;
        pipe.flows().await;
        for offset in ["+30", "-20", "+0"] {
            step(offset);
            pause(3).await;
        }
        until("the step is seen", PATIENCE, || async { pipe.log().contains("clock stepped") }).await;
        pipe.flows().await;
        whole_but_for(1, &pipe.end().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_receiver_asks_for_is_kept_a_pause_is_waited_for_and_one_refused_request_costs_only_itself() {
    calmly(async || {
        let mut pipe = Pipe::start("").await;
        pipe.flows().await;
        pipe.receiver.faults().fail(Failure { status: 429, retry_after: Some(Duration::from_secs(3)) }, Lasts::Requests(1));
        pause(6).await;
        let answers = pipe.receiver.answers();
        let asked = answers.iter().position(|answer| answer.status == 429).expect("one request was put off");
        let next = answers.get(asked + 1).expect("it was sent again");
        assert!(next.at_ms - answers[asked].at_ms >= 2900, "{answers:?}");
        pipe.receiver.faults().fail(Failure { status: 400, retry_after: None }, Lasts::Requests(1));
        pause(4).await;
        assert_eq!(pipe.receiver.answers().iter().filter(|answer| answer.status == 400).count(), 1, "it is not sent again");
        let failed = metric_sum(&pipe.metrics().await, "prometheus_remote_storage_samples_failed_total").unwrap_or_default();
        assert!(failed > 0.0);
        let report = pipe.end().await;
        in_order(&report);
        assert!((1..=A_SECOND).contains(&report.lost), "{report:#?}");
    })
    .await;
}

/// The counterpart: what the tests above look for would be seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_taken_away_is_noticed() {
    calmly(async || {
        let mut pipe = in_an_outage(4).await;
        pipe.kill().await;
        std::fs::remove_dir_all(pipe.queue_folder()).unwrap();
        pipe.restart().await;
        pipe.receiver.faults().heal();
        pipe.flows().await;
        let report = pipe.end().await;
        assert!(report.lost > A_SECOND, "{report:#?}");
    })
    .await;
}
