//! What is held back: it waits, is bounded, outlives the process, and keeps its order.

use super::*;

#[test]
fn a_held_source_waits_while_others_pass() {
    let (mut queue, source, now) = (memory(10), Source::new(1), Instant::now());
    queue.hold(7);
    assert_eq!(queue.enqueue(source.batch(7, 1), now).unwrap(), Wake::default());
    queue.enqueue(source.batch(8, 2), now).unwrap();
    assert_eq!((lane(&mut queue, 0), queue.usage().held_rows), (vec![2], 1));
    assert!(queue.is_acknowledged(7), "of what came before");
    queue.hold(7);
    assert!(!queue.is_acknowledged(7), "others wait for it now");
    queue.release(7);
    queue.enqueue(source.batch(7, 3), now).unwrap();
    assert_eq!((lane(&mut queue, 0), queue.usage().held_rows), (vec![2, 1, 3], 0));
    queue.complete(0, 3, 0, now);
    assert!(queue.is_acknowledged(7) && queue.is_acknowledged(8));
}

#[test]
fn what_is_held_counts_against_the_limit() {
    let (mut queue, source, now) = (memory(2), Source::new(10), Instant::now());
    queue.hold(7);
    assert!(queue.enqueue(source.batch(7, 1), now).is_ok());
    assert!(queue.enqueue(source.batch(7, 2), now).is_ok());
    assert_eq!(queue.enqueue(source.batch(8, 3), now), Err(Refused::Full));
}

#[test]
fn what_is_held_is_written_in_time_and_what_does_not_fit_goes_over_the_disk_in_order() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(2, now), Source::new(10));
    queue.hold(7);
    for at in 1..=4 {
        queue.enqueue(source.batch(7, at), now).unwrap();
    }
    assert_eq!(queue.usage().held_rows, 20, "two are kept, two are in the back");
    let mut record = 0;
    assert_eq!(stamps(&write(&mut queue, now, &mut record)), [1, 2, 3, 4]);
    queue.settle(true, now);
    assert!(queue.room() > 0, "what is held does not keep others from being read");
    queue.feed(vec![(3, source.batch(7, 3)), (4, source.batch(7, 4))], now);
    queue.settle(false, now);
    assert!(lane(&mut queue, 0).is_empty());
    assert!(queue.release(7).all_lanes);
    assert_eq!(lane(&mut queue, 0), [1, 2, 3, 4]);
    queue.peek(0, 3);
    queue.complete(0, 4, 0, now);
    assert_eq!(queue.take_acknowledged(), [1, 2, 3, 4], "each with its record");
    assert!(queue.is_empty() && queue.is_acknowledged(7));
}

#[test]
fn what_is_let_go_while_it_is_being_written_keeps_its_record() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(10, now), Source::new(10));
    queue.hold(7);
    queue.enqueue(source.batch(7, 1), now).unwrap();
    queue.enqueue(source.batch(8, 2), now).unwrap();
    let items = queue.begin_write(now + SPILL, false, usize::MAX);
    queue.release(7);
    queue.written(items.into_iter().map(|item| {
        let record = 10 + item.batch.timestamp as u64;
        (item, record)
    }));
    queue.settle(false, now);
    assert!(queue.take_acknowledged().is_empty(), "nobody has acknowledged anything");
    assert_eq!(lane(&mut queue, 0), [2, 1]);
    queue.peek(0, 1);
    queue.complete(0, 2, 0, now);
    assert_eq!(queue.take_acknowledged(), [12, 11]);
}

#[test]
fn a_backlog_of_one_source_says_nothing_of_another() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(1, now), Source::new(10));
    for at in 1..=3 {
        queue.enqueue(source.batch(1, at), now).unwrap();
    }
    write(&mut queue, now, &mut 0);
    queue.settle(true, now);
    assert!(!queue.is_acknowledged(1) && queue.is_acknowledged(2));
    let mut inheriting = Queue::new(limits(1, 100, true), 1, 100);
    assert!(!inheriting.is_acknowledged(2), "what is on disk from before is not known");
    inheriting.settle(false, now);
    assert!(inheriting.is_acknowledged(2));
}

#[test]
fn a_source_is_held_for_a_minute_in_which_the_receiver_works() {
    let (mut queue, source, now) = (memory(10), Source::new(1), Instant::now());
    queue.hold(7);
    queue.enqueue(source.batch(7, 1), now).unwrap();
    queue.note_failing();
    assert_eq!(queue.age_holds(10 * MAX_HOLD).0, 0, "the other node can't send either");
    queue.enqueue(source.batch(8, 2), now).unwrap();
    queue.peek(0, 0);
    queue.complete(0, 1, 0, now);
    assert_eq!(queue.age_holds(MAX_HOLD).0, 0);
    assert_eq!(queue.age_holds(Duration::from_secs(1)).0, 1);
    assert_eq!(lane(&mut queue, 0), [1]);
}

#[test]
fn what_this_node_had_before_the_hold_is_not_held() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(1, now), Source::new(10));
    for at in 1..=3 {
        queue.enqueue(source.batch(7, at), now).unwrap();
    }
    let mut record = 0;
    write(&mut queue, now, &mut record);
    queue.settle(true, now);
    queue.hold(7);
    queue.enqueue(source.batch(7, 4), now).unwrap();
    queue.peek(0, 0);
    queue.complete(0, 1, 0, now);
    queue.feed(vec![(2, source.batch(7, 2)), (3, source.batch(7, 3))], now);
    queue.settle(false, now);
    assert_eq!(lane(&mut queue, 0), [2, 3], "the other node waits for them");
    queue.peek(0, 1);
    queue.complete(0, 2, 0, now);
    assert!(queue.is_acknowledged(7) && queue.usage().held_rows == 10, "they have gone, and what is held is newer");
    queue.release(7);
    assert_eq!(lane(&mut queue, 0), [4]);
}

#[test]
fn what_a_leaver_gives_goes_before_what_is_held_in_the_order_of_its_times() {
    let (mut queue, source, now) = (memory(10), Source::new(1), Instant::now());
    queue.enqueue(source.batch(7, 1), now).unwrap();
    queue.hold(7);
    queue.enqueue(source.batch(7, 10), now).unwrap();
    queue.adopt(vec![source.batch(7, 4), source.batch(8, 2)], now).unwrap();
    queue.adopt(vec![source.batch(7, 2), source.batch(7, 3)], now).unwrap();
    assert_eq!(lane(&mut queue, 0), [1, 2], "another node may have what goes between");
    queue.release(7);
    assert_eq!(lane(&mut queue, 0), [1, 2, 2, 3, 4, 10]);
    queue.adopt(vec![source.batch(9, 5)], now).unwrap();
    assert_eq!(lane(&mut queue, 0), [1, 2, 2, 3, 4, 10, 5], "a source that nobody holds back");
}

#[test]
fn what_is_held_waits_for_what_was_adopted_and_is_on_disk() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(2, now), Source::new(10));
    queue.enqueue(source.batch(1, 0), now).unwrap();
    queue.hold(7);
    queue.enqueue(source.batch(7, 10), now).unwrap();
    queue.adopt(vec![source.batch(7, 1), source.batch(7, 2)], now).unwrap();
    queue.enqueue(source.batch(7, 11), now).unwrap();
    let mut record = 0;
    assert_eq!(stamps(&write(&mut queue, now, &mut record)), [0, 10, 1, 2, 11]);
    queue.settle(true, now);
    assert!(!queue.is_acknowledged(7), "some is on disk");
    queue.release(7);
    assert_eq!(lane(&mut queue, 0), [0], "the rest is behind what is on disk");
    assert!(!queue.is_acknowledged(7));
    queue.feed(vec![(3, source.batch(7, 1))], now);
    assert_eq!(lane(&mut queue, 0), [0, 1]);
    queue.feed(vec![(4, source.batch(7, 2)), (5, source.batch(7, 11))], now);
    queue.settle(false, now);
    assert_eq!(lane(&mut queue, 0), [0, 1, 2, 10, 11]);
    queue.peek(0, 4);
    queue.complete(0, 5, 0, now);
    assert_eq!(queue.take_acknowledged(), [1, 3, 4, 2, 5]);
    assert!(queue.is_empty() && queue.is_acknowledged(7));
}

#[test]
fn adopted_records_that_are_lost_are_not_waited_for() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(1, now), Source::new(10));
    queue.hold(7);
    queue.enqueue(source.batch(7, 10), now).unwrap();
    queue.adopt(vec![source.batch(7, 1)], now).unwrap();
    write(&mut queue, now, &mut 0);
    queue.settle(true, now);
    queue.release(7);
    assert!(lane(&mut queue, 0).is_empty());
    queue.settle(false, now);
    assert_eq!(lane(&mut queue, 0), [10]);
}

#[test]
fn all_of_a_gift_is_taken_or_nothing_and_a_closed_queue_takes_none() {
    let (mut queue, source, now) = (memory(3), Source::new(10), Instant::now());
    queue.enqueue(source.batch(1, 1), now).unwrap();
    let three = || (2..5).map(|at| source.batch(7, at)).collect();
    assert_eq!(queue.adopt(three(), now), Err(Refused::Full));
    assert_eq!(lane(&mut queue, 0), [1]);
    queue.complete(0, 1, 0, now);
    assert!(queue.adopt(three(), now).is_ok());
    queue.close();
    assert_eq!(queue.adopt(three(), now), Err(Refused::Closed));
}

#[test]
fn a_queue_that_is_given_away_keeps_what_is_held_and_is_empty_without_it() {
    let now = Instant::now();
    let (mut queue, source) = (with_disk(10, now), Source::new(10));
    queue.hold(7);
    queue.enqueue(source.batch(7, 1), now).unwrap();
    queue.enqueue(source.batch(8, 2), now).unwrap();
    assert!(!queue.close_holding().idle);
    assert_eq!(lane(&mut queue, 0), [2]);
    queue.peek(0, 0);
    assert!(queue.complete(0, 1, 0, now).idle);
    assert_eq!(stamps(&queue.begin_write(now, true, usize::MAX)), [1], "it is written for whoever gets it");
    queue.close();
    assert_eq!(lane(&mut queue, 0), [1]);
}
