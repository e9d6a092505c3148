//! The queue as a state machine: order, limits, the ways through memory and disk.

mod holding;

use std::sync::Arc;

use model::{Layout, LayoutBuilder};

use super::*;

const DEADLINE: Duration = Duration::from_secs(5);
const SPILL: Duration = Duration::from_millis(500);

fn layout(series: usize) -> Arc<Layout> {
    let mut builder = LayoutBuilder::default();
    for i in 0..series {
        builder.push([("__name__", format!("m{i}").as_str())].into_iter()).unwrap();
    }
    Arc::new(builder.finish())
}

/// A batch of `rows` rows whose timestamp tells it apart; the layout is held elsewhere, as a scraper does.
struct Source {
    layout: Arc<Layout>,
}

impl Source {
    fn new(rows: usize) -> Self {
        Self { layout: layout(rows) }
    }

    fn batch(&self, source: u64, timestamp: i64) -> Batch {
        Batch::new(source, self.layout.clone(), timestamp, vec![0.0; self.layout.len()])
    }
}

fn limits(front_batches: usize, total_batches: usize, disk: bool) -> Limits {
    let batch = BATCH_OVERHEAD + 10 * 8;
    let front = front_batches * batch;
    Limits { front, front_while_failing: front, total: total_batches * batch, deadline: DEADLINE, spill_after: SPILL, disk }
}

fn memory(total_batches: usize) -> Queue {
    Queue::new(limits(total_batches, total_batches, false), 1, 100)
}

/// A queue with a disk on which nothing is left from before.
fn with_disk(front_batches: usize, now: Instant) -> Queue {
    let mut queue = Queue::new(limits(front_batches, 100, true), 1, 100);
    queue.settle(false, now);
    queue
}

/// What a lane holds, in order.
fn lane(queue: &mut Queue, lane: usize) -> Vec<i64> {
    let all = (0..).map_while(|nth| queue.peek(lane, nth)).map(|(batch, _)| batch.timestamp).collect();
    queue.lanes[lane].under_way = 0;
    all
}

fn stamps(items: &[Write]) -> Vec<i64> {
    items.iter().map(|item| item.batch.timestamp).collect()
}

/// Writes to "disk" whatever is to be written, with records counted from `record`.
fn write(queue: &mut Queue, now: Instant, record: &mut u64) -> Vec<Write> {
    let items = queue.begin_write(now, false, usize::MAX);
    let again = queue.begin_write(now, false, usize::MAX);
    queue.written(items.into_iter().map(|item| {
        *record += 1;
        (item, *record)
    }));
    again
}

#[test]
fn a_full_queue_refuses_and_takes_again_when_something_was_acknowledged() {
    let (mut queue, source, now) = (memory(2), Source::new(10), Instant::now());
    assert!(queue.enqueue(source.batch(1, 1), now).is_ok());
    assert!(queue.enqueue(source.batch(1, 2), now).is_ok());
    assert_eq!(queue.enqueue(source.batch(1, 3), now), Err(Refused::Full));
    queue.peek(0, 0);
    queue.complete(0, 1, 0, now);
    assert!(queue.enqueue(source.batch(1, 4), now).is_ok());
    assert_eq!(lane(&mut queue, 0), [2, 4]);
}

#[test]
fn a_batch_larger_than_the_queue_is_taken_when_nothing_else_is_there() {
    let (mut queue, now) = (memory(2), Instant::now());
    assert!(queue.enqueue(Source::new(10_000).batch(1, 1), now).is_ok());
    assert_eq!(queue.enqueue(Source::new(1).batch(1, 2), now), Err(Refused::Full));
}

#[test]
fn series_that_nobody_else_holds_count_against_the_limit() {
    let mut batch = Source::new(10).batch(1, 1);
    let pushed = cost(&batch);
    let held = batch.layout.clone();
    assert!(pushed > cost(&batch));
    batch.timestamps = Some(vec![0; 10].into());
    assert_eq!(cost(&batch), BATCH_OVERHEAD + 160);
    // As it comes back from disk: a layout of its own made of chunks that the scraper still has.
    let read = Batch::new(1, Arc::new(Layout::new(held.chunks().to_vec())), 1, vec![0.0; 10]);
    assert_eq!(cost(&read), BATCH_OVERHEAD + 80);
}

#[test]
fn a_lane_is_sent_when_it_fills_or_its_first_batch_is_due_or_flushed() {
    let (mut queue, source, now) = (memory(100), Source::new(10), Instant::now());
    assert_eq!(queue.step(0, now), Step::Wait(None));
    let wake = queue.enqueue(source.batch(1, 0), now).unwrap();
    assert_eq!(wake.lane, Some(0), "to set the clock");
    assert_eq!(queue.step(0, now), Step::Wait(Some(now + DEADLINE)));
    assert_eq!(queue.step(0, now + DEADLINE), Step::Send);
    for at in 1..9 {
        assert_eq!(queue.enqueue(source.batch(1, at), now).unwrap(), Wake::default());
    }
    assert_eq!(queue.enqueue(source.batch(1, 9), now).unwrap().lane, Some(0), "a hundred rows");
    assert_eq!(queue.step(0, now), Step::Send);
    queue.peek(0, 9);
    assert!(queue.complete(0, 10, 0, now).idle);

    queue.enqueue(source.batch(1, 10), now).unwrap();
    assert!(queue.flush().all_lanes);
    assert_eq!(queue.step(0, now), Step::Send);
    queue.complete(0, 1, 0, now);
    queue.enqueue(source.batch(1, 11), now).unwrap();
    assert_eq!(queue.step(0, now), Step::Wait(Some(now + DEADLINE)), "a flush is for what is there");
}

#[test]
fn a_batch_that_takes_several_requests_goes_on_where_it_stopped() {
    let (mut queue, now) = (memory(100), Instant::now());
    queue.enqueue(Source::new(250).batch(1, 1), now).unwrap();
    assert_eq!(queue.peek(0, 0).unwrap().1, 0);
    queue.complete(0, 0, 100, now);
    assert_eq!(queue.peek(0, 0).unwrap().1, 100);
    assert_eq!(queue.step(0, now), Step::Send, "150 rows are left");
    queue.complete(0, 0, 200, now);
    assert_eq!(queue.step(0, now), Step::Wait(Some(now + DEADLINE)));
    assert!(queue.complete(0, 1, 0, now).idle);
    assert_eq!(queue.usage(), Usage { bytes: 0, pending: Tally::default(), held_rows: 0 });
}

#[test]
fn what_failed_without_an_end_is_there_again() {
    let (mut queue, source, now) = (memory(100), Source::new(10), Instant::now());
    queue.enqueue(source.batch(1, 1), now).unwrap();
    queue.peek(0, 0);
    queue.complete(0, 0, 0, now);
    assert_eq!(lane(&mut queue, 0), [1]);
}

#[test]
fn lanes_change_only_between_requests_and_every_source_keeps_its_order() {
    let (mut queue, source, now) = (memory(1000), Source::new(1), Instant::now());
    for at in 0..60 {
        queue.enqueue(source.batch(at % 6, at as i64), now).unwrap();
    }
    queue.peek(0, 0);
    assert!(!queue.set_lanes(4).all_lanes, "a request is under way");
    assert_eq!(queue.step(0, now + DEADLINE), Step::Wait(None), "and no other begins");
    assert!(queue.complete(0, 1, 0, now).all_lanes);
    assert_eq!(queue.lanes(), 4);
    queue.enqueue(source.batch(3, 63), now).unwrap();

    let mut lanes: Vec<Vec<i64>> = (0..4).map(|at| lane(&mut queue, at)).collect();
    assert!(lanes.iter().filter(|lane| !lane.is_empty()).count() > 1, "sources spread");
    for source in 0..6 {
        let of_source = |lane: &Vec<i64>| lane.iter().copied().filter(|at| at % 6 == source).collect::<Vec<_>>();
        let homes: Vec<Vec<i64>> = lanes.iter().map(of_source).filter(|lane| !lane.is_empty()).collect();
        assert_eq!(homes.len(), 1, "a source has one lane");
        assert!(homes[0].is_sorted());
        assert_eq!(homes[0].len(), 10 - usize::from(source == 0) + usize::from(source == 3));
    }
    assert!(queue.set_lanes(1).all_lanes);
    let mut all: Vec<i64> = lanes.drain(..).flatten().collect();
    all.sort_unstable();
    assert_eq!(lane(&mut queue, 0), all, "back in the order in which they came");
}

#[test]
fn a_change_of_lanes_that_cannot_begin_is_given_up() {
    let (mut queue, source, now) = (memory(10), Source::new(1), Instant::now());
    queue.enqueue(source.batch(1, 1), now).unwrap();
    queue.peek(0, 0);
    queue.set_lanes(2);
    assert!(queue.cancel_move());
    queue.complete(0, 1, 0, now);
    assert_eq!(queue.lanes(), 1);
}

#[test]
fn a_closed_queue_refuses_and_everything_in_it_is_due() {
    let (mut queue, source, now) = (memory(10), Source::new(1), Instant::now());
    queue.enqueue(source.batch(1, 1), now).unwrap();
    queue.hold(2);
    queue.enqueue(source.batch(2, 2), now).unwrap();
    assert!(!queue.close().idle);
    assert_eq!(queue.step(0, now), Step::Send);
    assert_eq!(lane(&mut queue, 0), [1, 2], "nothing is held back at the end");
    assert_eq!(queue.enqueue(source.batch(1, 3), now), Err(Refused::Closed));
    assert!(queue.complete(0, 2, 0, now).idle);
}

#[test]
fn only_what_is_not_acknowledged_in_time_is_written() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(100, now), Source::new(10));
    queue.enqueue(source.batch(1, 1), now).unwrap();
    queue.enqueue(source.batch(1, 2), now + SPILL / 2).unwrap();
    assert!(queue.begin_write(now + SPILL / 2, false, usize::MAX).is_empty());
    assert_eq!(queue.next_write(now), Some(now + SPILL));
    let mut record = 100;
    assert_eq!(stamps(&write(&mut queue, now + SPILL, &mut record)), [1]);
    assert_eq!(queue.next_write(now), Some(now + SPILL / 2 + SPILL));
    queue.peek(0, 1);
    queue.complete(0, 2, 0, now + SPILL);
    assert_eq!(queue.take_acknowledged(), [101], "the other one never saw the disk");
    assert_eq!(queue.next_write(now), None);
}

#[test]
fn who_sleeps_without_a_time_is_woken_by_the_next_batch_and_by_acknowledgements() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(100, now), Source::new(10));
    assert_eq!(queue.next_write(now), None);
    assert!(queue.enqueue(source.batch(1, 1), now).unwrap().spool);
    assert!(!queue.enqueue(source.batch(1, 2), now).unwrap().spool, "once is enough");
    write(&mut queue, now + SPILL, &mut 0);
    queue.settle(false, now);
    assert_eq!(queue.next_write(now), None);
    queue.peek(0, 0);
    assert!(queue.complete(0, 1, 0, now).spool);
}

#[test]
fn a_batch_acknowledged_while_it_is_being_written_is_acknowledged_on_disk_too() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(100, now), Source::new(10));
    queue.enqueue(source.batch(1, 1), now).unwrap();
    let items = queue.begin_write(now + SPILL, false, usize::MAX);
    queue.peek(0, 0);
    queue.complete(0, 1, 0, now);
    queue.written(items.into_iter().map(|item| (item, 5)));
    assert_eq!(queue.take_acknowledged(), [5]);
}

#[test]
fn when_the_front_is_full_batches_go_over_the_disk_and_come_back_in_order() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(2, now), Source::new(10));
    for at in 1..=4 {
        let wake = queue.enqueue(source.batch(1, at), now).unwrap();
        assert_eq!(wake.spool, at > 2, "the back is for the disk at once");
    }
    assert_eq!(lane(&mut queue, 0), [1, 2]);
    let mut record = 0;
    assert_eq!(stamps(&write(&mut queue, now, &mut record)), [1, 2, 3, 4], "the front first, for it is older");
    queue.settle(true, now);
    queue.enqueue(source.batch(1, 5), now).unwrap();
    assert_eq!(queue.step(0, now), Step::Send, "a backlog waits for nothing");
    queue.peek(0, 1);
    assert!(queue.complete(0, 2, 0, now).spool, "to read");
    assert!(lane(&mut queue, 0).is_empty(), "5 must not overtake what is on disk");
    assert!(queue.room() > 0 && !queue.is_empty() && !queue.is_acknowledged(1));

    queue.feed(vec![(3, source.batch(1, 3)), (4, source.batch(1, 4))], now);
    queue.settle(false, now);
    queue.peek(0, 1);
    queue.complete(0, 2, 0, now);
    assert_eq!(lane(&mut queue, 0), [5], "straight from memory, as the disk has nothing older");
    queue.complete(0, 1, 0, now);
    assert_eq!(queue.take_acknowledged(), [1, 2, 3, 4]);
    assert!(queue.is_empty());
    assert_eq!(queue.usage(), Usage { bytes: 0, pending: Tally::default(), held_rows: 0 });
}

#[test]
fn while_the_receiver_takes_nothing_little_stays_in_memory() {
    let (now, source) = (Instant::now(), Source::new(10));
    let small = limits(2, 100, true).front;
    let mut queue = Queue::new(Limits { front_while_failing: small, ..limits(10, 100, true) }, 1, 100);
    queue.settle(false, now);
    for at in 1..=3 {
        queue.enqueue(source.batch(1, at), now).unwrap();
    }
    queue.note_failing();
    queue.enqueue(source.batch(1, 4), now).unwrap();
    assert_eq!(lane(&mut queue, 0), [1, 2, 3], "what is there stays");
    let written = queue.begin_write(now, false, usize::MAX);
    assert_eq!(stamps(&written), [1, 2, 3, 4]);
    queue.written(written.into_iter().zip(0..));
    queue.settle(true, now);
    assert_eq!(queue.room(), 0, "nothing is read back");
    queue.complete(0, 2, 0, now);
    assert_eq!(queue.room(), 9 * (small / 2), "it takes something again");
    queue.note_failing();
    assert_eq!(queue.room(), small / 2);
}

#[test]
fn what_one_lane_can_t_get_rid_of_does_not_stop_the_others() {
    let (now, source) = (Instant::now(), Source::new(10));
    let small = limits(1, 100, true).front;
    let mut queue = Queue::new(Limits { front_while_failing: small, ..limits(10, 100, true) }, 2, 100);
    queue.settle(false, now);
    let other = (2..).find(|other| queue.lane_of(*other) != queue.lane_of(1)).unwrap();
    for at in 1..=3 {
        queue.enqueue(source.batch(1, at), now).unwrap();
    }
    queue.note_failing();
    queue.enqueue(source.batch(other, 4), now).unwrap();
    let its = queue.lane_of(other);
    assert_eq!(lane(&mut queue, its), [4]);
}

#[test]
fn a_small_batch_does_not_overtake_a_large_one_that_found_no_room() {
    let now = Instant::now();
    let (mut queue, small, large) = (with_disk(2, now), Source::new(10), Source::new(50));
    queue.enqueue(small.batch(1, 1), now).unwrap();
    queue.enqueue(large.batch(1, 2), now).unwrap();
    queue.enqueue(small.batch(1, 3), now).unwrap();
    assert_eq!(lane(&mut queue, 0), [1]);
    queue.complete(0, 1, 0, now);
    assert_eq!(lane(&mut queue, 0), [2], "though it is larger than the front: nothing else is there");
    queue.complete(0, 1, 0, now);
    assert_eq!(lane(&mut queue, 0), [3]);
}

#[test]
fn while_the_disk_fails_batches_stay_in_memory_up_to_the_limit_and_go_on_in_order() {
    let now = Instant::now();
    let (source, mut queue) = (Source::new(10), Queue::new(limits(1, 3, true), 1, 100));
    queue.settle(false, now);
    for at in 1..=3 {
        queue.enqueue(source.batch(1, at), now).unwrap();
    }
    assert_eq!(queue.enqueue(source.batch(1, 4), now), Err(Refused::Full));
    let failed = queue.begin_write(now, false, usize::MAX);
    assert_eq!(failed.len(), 3);
    queue.peek(0, 0);
    queue.complete(0, 1, 0, now);
    assert!(lane(&mut queue, 0).is_empty(), "the back stays while it is being written");
    queue.settle(false, now);
    assert_eq!(lane(&mut queue, 0), [2]);
    queue.complete(0, 1, 0, now);
    assert_eq!(lane(&mut queue, 0), [3]);
}

#[test]
fn with_a_disk_nothing_new_is_sent_before_what_an_earlier_process_left() {
    let now = Instant::now();
    let (mut queue, source) = (Queue::new(limits(10, 100, true), 1, 100), Source::new(10));
    queue.enqueue(source.batch(1, 9), now).unwrap();
    assert!(lane(&mut queue, 0).is_empty());
    let mut record = 50;
    write(&mut queue, now, &mut record);
    queue.feed(vec![(1, source.batch(1, 1)), (51, source.batch(1, 9))], now);
    queue.settle(false, now);
    assert_eq!(lane(&mut queue, 0), [1, 9]);
}

#[test]
fn what_is_written_at_once_is_bounded() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(100, now), Source::new(10));
    (1..=5).for_each(|at| drop(queue.enqueue(source.batch(1, at), now)));
    let two = 2 * (BATCH_OVERHEAD + 80);
    assert_eq!(stamps(&queue.begin_write(now, true, two)), [1, 2]);
    assert_eq!(queue.begin_write(now, true, 1).len(), 1, "one at least");
}

#[test]
fn a_lane_waits_for_more_rows_if_write_relabelling_drops_most() {
    let (mut queue, source, now) = (memory(1000), Source::new(10), Instant::now());
    (0..100).for_each(|_| queue.note_kept(50, 100));
    (0..19).for_each(|at| drop(queue.enqueue(source.batch(1, at), now)));
    assert_eq!(queue.step(0, now), Step::Wait(Some(now + DEADLINE)));
    (0..3).for_each(|at| drop(queue.enqueue(source.batch(1, at), now)));
    assert_eq!(queue.step(0, now), Step::Send);
    (0..100).for_each(|_| queue.note_kept(0, 100));
    assert_eq!(queue.ready_rows, 1600, "but not for ever more");
}
