//! An endpoint that ends for good while its receiver takes nothing: other endpoints deliver what it had, once and in order.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions only

mod receiver;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delivery::{Adopter, Backlog, Config, Delivery, DiskConfig, NotTaken, Shipped, Successors, TakeError, Taken};
use parking_lot::Mutex;
use receiver::{Answer, NOW, Receiver, Target, config, metric, start};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const SHIPPED: &str = "collector_remote_write_backlog_shipped_samples_total";
const TAKEN: &str = "collector_remote_write_backlog_taken_samples_total";
const MALFORMED: &str = "collector_remote_write_backlog_malformed_total";

fn with_disk(directory: &Path, change: impl FnOnce(&mut Config)) -> Config {
    config(|config| {
        config.buffer.disk = Some(DiskConfig { directory: directory.join("endpoint"), max_bytes: Some(1 << 30), fsync: false });
        change(config);
    })
}

fn down() -> Receiver {
    let receiver = Receiver::default();
    receiver.otherwise(Answer::Status(503));
    receiver
}

/// An endpoint that took these scrapes of `targets` and could send none.
async fn left_behind(directory: &Path, targets: &[&Target], scrapes: std::ops::Range<i64>) -> Backlog {
    let (delivery, _) = start(with_disk(directory, |_| {}), &down());
    take(&delivery, targets, scrapes).await;
    delivery.shutdown_for_others(SECOND).await
}

async fn take(delivery: &Delivery, targets: &[&Target], scrapes: std::ops::Range<i64>) {
    for scrape in scrapes {
        targets.iter().for_each(|target| delivery.consumer().consume(target.batch(scrape)).unwrap());
        sleep(SECOND / 10).await;
    }
}

/// Every series of `receiver` got these scrapes, in order.
fn assert_scrapes(receiver: &Receiver, series: usize, scrapes: impl IntoIterator<Item = i64>) {
    let expected: Vec<i64> = scrapes.into_iter().map(|scrape| NOW + scrape).collect();
    let by_series = receiver.by_series();
    assert_eq!(by_series.len(), series);
    by_series.iter().for_each(|(series, timestamps)| assert_eq!(timestamps, &expected, "{series}"));
}

/// Nodes by name; a source goes to the one that its number counts to among those that are left.
#[derive(Default)]
struct Fleet {
    nodes: BTreeMap<Arc<str>, Node>,
    /// Frames that came, by node.
    frames: Mutex<Vec<(Arc<str>, Bytes)>>,
    /// So many answers get lost.
    lost_answers: Mutex<usize>,
}

enum Node {
    Takes(Adopter),
    Refuses,
}

impl Fleet {
    fn of(nodes: Vec<(&str, Node)>) -> Self {
        Self { nodes: nodes.into_iter().map(|(name, node)| (name.into(), node)).collect(), ..Self::default() }
    }
}

impl Successors for Fleet {
    fn of(&self, source: u64, failed: &BTreeSet<Arc<str>>) -> Option<Arc<str>> {
        let left: Vec<_> = self.nodes.keys().filter(|node| !failed.contains(*node)).collect();
        left.get(source as usize % left.len().max(1)).map(|node| Arc::clone(node))
    }

    async fn ship(&self, node: &str, frame: Bytes) -> Result<(), NotTaken> {
        self.frames.lock().push((node.into(), frame.clone()));
        let Node::Takes(adopter) = &self.nodes[node] else { return Err(NotTaken::Refused("not here".into())) };
        let taken = adopter.take(frame).await;
        if std::mem::replace(&mut *self.lost_answers.lock(), 0) > 0 {
            return Err(NotTaken::Later("no answer".into()));
        }
        match taken {
            Ok(Taken::All) => Ok(()),
            Ok(Taken::Later) => Err(NotTaken::Later("full".into())),
            Err(error) => Err(NotTaken::Refused(error.to_string())),
        }
    }
}

fn soon() -> Instant {
    Instant::now() + 10 * SECOND
}

#[tokio::test(start_paused = true)]
async fn others_deliver_what_was_left_and_a_restart_does_not_send_it_again() {
    let (leaving, staying) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (Target::new(1, 700), Target::new(2, 300));
    let backlog = left_behind(leaving.path(), &[&one, &two], 0..10).await;
    assert_eq!(backlog.drained().on_disk, 10_000);
    let (receiver, other) = (Receiver::default(), Receiver::default());
    let (a, a_metrics) = start(with_disk(staying.path(), |_| {}), &receiver);
    let (b, b_metrics) = start(config(|_| {}), &other);
    let fleet = Fleet::of(vec![("a", Node::Takes(a.adopter())), ("b", Node::Takes(b.adopter()))]);
    assert_eq!(backlog.ship(&fleet, soon()).await, Shipped { samples: 10_000, left: 0 });
    assert_eq!((metric(&a_metrics, TAKEN, ""), metric(&b_metrics, TAKEN, "")), (3_000.0, 7_000.0), "each source has its node");
    a.shutdown(SECOND).await;
    b.shutdown(SECOND).await;
    assert_scrapes(&receiver, 300, 0..10);
    assert_scrapes(&other, 700, 0..10);

    let receiver = Receiver::default();
    let (again, _) = start(with_disk(leaving.path(), |_| {}), &receiver);
    assert_eq!(again.shutdown(SECOND).await, delivery::Drained::default());
    assert!(receiver.by_series().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_stays_on_disk() {
    let (directory, target) = (tempfile::tempdir().unwrap(), Target::new(1, 700));
    let nobody = left_behind(directory.path(), &[&target], 0..2).await;
    assert_eq!(nobody.ship(&Fleet::default(), soon()).await, Shipped { samples: 0, left: 1_400 });
    let refused = left_behind(directory.path(), &[&target], 2..3).await;
    let fleet = Fleet::of(vec![("a", Node::Refuses), ("b", Node::Refuses)]);
    assert_eq!(refused.ship(&fleet, soon()).await, Shipped { samples: 0, left: 2_100 });
    assert_eq!(fleet.frames.lock().len(), 2, "each was asked once");
    let late = left_behind(directory.path(), &[&target], 3..4).await;
    assert_eq!(late.ship(&fleet, Instant::now()).await, Shipped { samples: 0, left: 2_800 });

    let receiver = Receiver::default();
    let (again, _) = start(with_disk(directory.path(), |_| {}), &receiver);
    receiver.taken(2_800).await;
    assert_scrapes(&receiver, 700, 0..4);
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn what_one_refuses_goes_to_another() {
    let (leaving, target, receiver) = (tempfile::tempdir().unwrap(), Target::new(0, 700), Receiver::default());
    let (b, _) = start(config(|_| {}), &receiver);
    let fleet = Fleet::of(vec![("a", Node::Refuses), ("b", Node::Takes(b.adopter()))]);
    let backlog = left_behind(leaving.path(), &[&target], 0..3).await;
    assert_eq!(backlog.ship(&fleet, soon()).await, Shipped { samples: 2_100, left: 0 });
    b.shutdown(SECOND).await;
    assert_scrapes(&receiver, 700, 0..3);
}

#[tokio::test(start_paused = true)]
async fn a_frame_whose_answer_got_lost_is_not_taken_twice() {
    let (leaving, target, receiver) = (tempfile::tempdir().unwrap(), Target::new(1, 700), Receiver::default());
    let (a, metrics) = start(config(|_| {}), &receiver);
    let fleet = Fleet { lost_answers: Mutex::new(1), ..Fleet::of(vec![("a", Node::Takes(a.adopter()))]) };
    let backlog = left_behind(leaving.path(), &[&target], 0..3).await;
    assert_eq!(backlog.ship(&fleet, soon()).await, Shipped { samples: 2_100, left: 0 });
    assert_eq!((fleet.frames.lock().len(), metric(&metrics, TAKEN, "")), (2, 2_100.0));
    a.shutdown(SECOND).await;
    assert_scrapes(&receiver, 700, 0..3);
}

#[tokio::test(start_paused = true)]
async fn a_successor_without_room_is_waited_for() {
    let (leaving, target, receiver) = (tempfile::tempdir().unwrap(), Target::new(1, 1000), down());
    let backlog = left_behind(leaving.path(), &[&target], 0..3).await;
    let memory = |config: &mut Config| {
        (config.queue.capacity, config.queue.max_shards, config.buffer.memory_bytes) = (1000, 1, 8 * 3000);
        config.queue.max_backoff = SECOND;
    };
    let (full, _) = start(config(memory), &receiver);
    let other = Target::new(2, 1000);
    full.consumer().consume(other.batch(0)).unwrap();
    full.flush();
    let fleet = Fleet::of(vec![("a", Node::Takes(full.adopter()))]);
    let healing = async {
        sleep(2 * SECOND).await;
        receiver.otherwise(Answer::Status(200));
    };
    let (shipped, ()) = tokio::join!(backlog.ship(&fleet, soon()), healing);
    assert_eq!(shipped, Shipped { samples: 3_000, left: 0 });
    assert!(fleet.frames.lock().len() > 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_held_back_goes_along_and_before_what_the_next_one_holds_back() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = Target::new(1, 50);
    // The first has the scrapes 0 to 2, hands over and leaves; the second has scraped 3 to 5 by then, and leaves as well.
    let (a, _) = start(with_disk(first.path(), |_| {}), &down());
    take(&a, &[&target], 0..3).await;
    let (b, _) = start(with_disk(second.path(), |_| {}), &down());
    b.consumer().hold(target.source);
    take(&b, &[&target], 3..6).await;
    sleep(SECOND).await;
    let to_b = Fleet::of(vec![("b", Node::Takes(b.adopter()))]);
    assert_eq!(a.shutdown_for_others(SECOND).await.ship(&to_b, soon()).await, Shipped { samples: 150, left: 0 });
    let receiver = Receiver::default();
    let (c, _) = start(config(|_| {}), &receiver);
    c.consumer().hold(target.source);
    take(&c, &[&target], 6..8).await;
    let to_c = Fleet::of(vec![("c", Node::Takes(c.adopter()))]);
    assert_eq!(b.shutdown_for_others(SECOND).await.ship(&to_c, soon()).await, Shipped { samples: 300, left: 0 });
    c.consumer().release(target.source);
    c.shutdown(SECOND).await;
    assert_scrapes(&receiver, 50, 0..8);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_under_way_at_the_end_is_not_given_away_as_well() {
    let (directory, target, slow) = (tempfile::tempdir().unwrap(), Target::new(1, 1000), Receiver::default());
    slow.otherwise(Answer::Slow(3 * SECOND / 2));
    let (delivery, _) = start(with_disk(directory.path(), |config| config.queue.max_samples_per_send = 1000), &slow);
    (0..4).for_each(|scrape| delivery.consumer().consume(target.batch(scrape)).unwrap());
    let backlog = delivery.shutdown_for_others(2 * SECOND).await;
    let receiver = Receiver::default();
    let (a, _) = start(config(|_| {}), &receiver);
    let fleet = Fleet::of(vec![("a", Node::Takes(a.adopter()))]);
    assert_eq!(backlog.ship(&fleet, soon()).await, Shipped { samples: 2_000, left: 0 });
    a.shutdown(SECOND).await;
    assert_scrapes(&slow, 1000, 0..2);
    assert_scrapes(&receiver, 1000, 2..4);
}

#[tokio::test(start_paused = true)]
async fn series_keep_the_external_labels_of_the_endpoint_that_left() {
    let (leaving, target, receiver) = (tempfile::tempdir().unwrap(), Target::new(1, 1), Receiver::default());
    let replica = |name: &'static str| move |config: &mut Config| config.external_labels = [("replica", name)].into_iter().collect();
    let (delivery, metrics) = start(with_disk(leaving.path(), replica("a")), &down());
    take(&delivery, &[&target], 0..1).await;
    let backlog = delivery.shutdown_for_others(SECOND).await;
    let (b, _) = start(config(replica("b")), &receiver);
    let fleet = Fleet::of(vec![("b", Node::Takes(b.adopter()))]);
    b.consumer().consume(target.batch(5)).unwrap();
    assert_eq!(backlog.ship(&fleet, soon()).await.samples, 1);
    b.shutdown(SECOND).await;
    let names: Vec<String> = receiver.by_series().into_keys().collect();
    assert_eq!(names.iter().map(|name| name.rsplit(',').next().unwrap()).collect::<Vec<_>>(), ["replica=a", "replica=b"]);
    assert_eq!(metrics.gather().iter().filter(|family| family.name() == SHIPPED).count(), 0, "what has ended shows nothing");
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_counted() {
    let (a, metrics) = start(config(|_| {}), &Receiver::default());
    for garbage in ["", "\u{1}", "garbage that is as long as the head of a frame and longer"] {
        assert_eq!(a.adopter().take(Bytes::from(garbage)).await, Err(TakeError::Malformed));
    }
    assert_eq!(metric(&metrics, MALFORMED, ""), 3.0);
    let adopter = a.adopter();
    a.shutdown(SECOND).await;
    let empty = Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(adopter.take(empty).await, Err(TakeError::Closed));
}
