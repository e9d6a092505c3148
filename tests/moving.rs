//! Targets that move while the receiver is down or slow: every sample arrives, once, and in order.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::sync::Arc;
use std::time::Duration;

use loadtest::alloy::Pipeline;
use loadtest::clock::now_ms;
use loadtest::fleet::{Fleet, FleetOptions, metric_sum};
use loadtest::judge::{Judge, JudgeOptions, Report, Window};
use loadtest::receiver::{Failure, Lasts, Receiver};
use loadtest::targets::{TargetOptions, Targets};
use support::calm::calmly;
use support::{collector, metrics, pause, until};

const TARGETS: usize = 24;
const INTERVAL: Duration = Duration::from_secs(1);
const DOWN: Failure = Failure { status: 503, retry_after: None };

/// A fleet between targets and a judge that refuses what Prometheus refuses.
struct Stage {
    targets: Targets,
    judge: Arc<Judge>,
    receiver: Receiver,
    fleet: Fleet,
    began_ms: i64,
}

impl Stage {
    async fn start(nodes: usize) -> Self {
        let options = TargetOptions { targets: TARGETS, series: 20, tick: INTERVAL, ..TargetOptions::default() };
        let targets = Targets::start(options).await.unwrap();
        let judge = Judge::new(JudgeOptions::new(INTERVAL));
        let receiver = Receiver::start(judge.clone()).await.unwrap();
        let deadline = Some(Duration::from_millis(200));
        let pipeline = Pipeline { batch_deadline: deadline, ..Pipeline::new(targets.sd_url(), receiver.url(), INTERVAL) };
        let options = FleetOptions { nodes, ..FleetOptions::new(collector(), pipeline.to_string()) };
        let fleet = Fleet::start(options).await.unwrap();
        let stage = Self { targets, judge, receiver, fleet, began_ms: now_ms() };
        stage.flows().await;
        Self { began_ms: now_ms(), ..stage }
    }

    /// Waits until samples of every target have arrived that are newer than now.
    async fn flows(&self) {
        let since = now_ms();
        until("new samples of all targets arrive", Duration::from_secs(60), || async {
            let live = self.judge.live();
            live.len() == TARGETS && live.values().all(|live| live.newest_ms > since)
        })
        .await;
    }

    async fn sum(&self, node: usize, metric: &str) -> f64 {
        metric_sum(&metrics(&self.fleet.node(node).unwrap()).await, metric).unwrap_or_default()
    }

    /// SIGTERM, and its storage is gone after that. Returns what it left to others.
    async fn stop_for_good(&self, node: usize, others: &[usize]) {
        let before = self.taken(others).await;
        let stopped = self.fleet.stop(node).await.unwrap();
        assert!(stopped.status.success() && stopped.took < Duration::from_secs(25), "{stopped:?}");
        std::fs::remove_dir_all(self.fleet.node(node).unwrap().dir().join("data")).unwrap();
        assert!(self.taken(others).await > before, "{}", self.fleet.node(node).unwrap().log_tail());
    }

    /// Samples that these nodes took over from leavers.
    async fn taken(&self, nodes: &[usize]) -> f64 {
        let mut all = 0.0;
        for node in nodes {
            all += self.sum(*node, "collector_remote_write_backlog_taken_samples_total").await;
        }
        all
    }

    /// The receiver works again; returns when nothing is held back or late any more.
    async fn heal(&self, nodes: &[usize]) {
        self.receiver.faults().heal();
        until("nothing is held back any more", Duration::from_secs(30), || async {
            let mut held = 0.0;
            for node in nodes {
                held += self.sum(*node, "collector_remote_write_held_samples").await;
            }
            held == 0.0
        })
        .await;
        self.flows().await;
        pause(3).await;
        for node in nodes {
            assert!(self.sum(*node, "collector_remote_write_holds_expired_total").await == 0.0);
        }
    }

    fn report(&self) -> Report {
        // The last slots may be on their way.
        let window = Window { from_ms: self.began_ms, to_ms: now_ms() - 3_000 };
        self.judge.report(window, |instance| Some(self.targets.served(self.targets.by_instance(instance)?)))
    }
}

/// Nothing that was scraped is missing or refused. On a busy machine a slot may be missed now and then.
fn whole(report: &Report) {
    let totals = &report.totals;
    assert_eq!((report.lost, report.partial, report.duplicates), (0, 0, 0), "{report:#?}");
    assert_eq!((totals.disorders, totals.conflicts, totals.resends, totals.refused_samples), (0, 0, 0, 0), "{report:#?}");
    assert!(report.gaps * 20 <= report.expected, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_while_the_receiver_is_down_waits_for_those_who_had_its_targets() {
    calmly(async || {
        let stage = Stage::start(2).await;
        stage.receiver.faults().fail(DOWN, Lasts::UntilHealed);
        pause(4).await;
        stage.fleet.join().await.unwrap();
        until("the newcomer holds back what it scrapes", Duration::from_secs(20), || async {
            stage.sum(2, "collector_remote_write_held_samples").await > 0.0
        })
        .await;
        pause(4).await;
        stage.heal(&[0, 1, 2]).await;
        assert!(stage.sum(2, "collector_cluster_moves_in_total").await > 0.0);
        whole(&stage.report());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_while_the_receiver_is_down_leaves_its_samples_to_those_who_take_its_targets() {
    calmly(async || {
        let stage = Stage::start(3).await;
        stage.receiver.faults().fail(DOWN, Lasts::UntilHealed);
        pause(4).await;
        stage.stop_for_good(1, &[0, 2]).await;
        pause(2).await;
        stage.heal(&[0, 2]).await;
        whole(&stage.report());
    })
    .await;
}

/// The second has samples of the first, and of what the third scraped meanwhile: all of it goes to the one that stays, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_grows_and_shrinks_while_the_receiver_is_down_loses_nothing() {
    calmly(async || {
        let stage = Stage::start(2).await;
        stage.receiver.faults().fail(DOWN, Lasts::UntilHealed);
        pause(2).await;
        stage.fleet.join().await.unwrap();
        until("the newcomer holds back what it scrapes", Duration::from_secs(20), || async {
            stage.sum(2, "collector_remote_write_held_samples").await > 0.0
        })
        .await;
        stage.stop_for_good(2, &[0, 1]).await;
        pause(2).await;
        stage.stop_for_good(1, &[0]).await;
        pause(2).await;
        stage.heal(&[0]).await;
        whole(&stage.report());
    })
    .await;
}
