//! Series that come and go.

use super::*;

#[test]
fn a_vanished_series_gets_one_marker() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1\nb 2\nc 3\n");
    let scraped = target.scrape("a 1\nc 3\n");
    assert_eq!(lines(&scraped.batches), ["a @2000 1", "c @2000 3", "b @2000 stale"]);
    assert_eq!(lines(&target.scrape("a 1\nc 3\n").batches), ["a @3000 1", "c @3000 3"]);
    let back = target.scrape("a 1\nb 4\nc 3\n");
    assert_eq!(lines(&back.batches), ["a @4000 1", "b @4000 4", "c @4000 3"]);
    assert_eq!(back.counts.added, 1);
}

#[test]
fn an_empty_body_ends_all_series() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1\nb 2\n");
    assert_eq!(lines(&target.scrape("").batches), ["a @2000 stale", "b @2000 stale"]);
    assert!(target.scrape("# nothing\n").batches.is_empty());
}

/// Which chunks of the first layout are in the second.
fn shared(before: &Batch, after: &Batch) -> Vec<bool> {
    before.layout.chunks().iter().map(|chunk| after.layout.chunks().iter().any(|other| Arc::ptr_eq(chunk, other))).collect()
}

#[test]
fn one_series_more_replaces_one_chunk() {
    let mut target = Target::new(Rules::default());
    let mut body = plain("m", 2000);
    let first = target.scrape(&body.concat()).batches.remove(0);
    assert_eq!(first.layout.chunks().iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), [512, 512, 512, 464]);
    body.insert(700, "new 7\n".to_owned());
    let scraped = target.scrape(&body.concat());
    assert_eq!(shared(&first, &scraped.batches[0]), [true, false, true, true]);
    let names: Vec<_> = scraped.batches[0].iter().map(|(series, ..)| series.metric_name().to_owned()).collect();
    assert_eq!(names[699..702], ["m_699", "new", "m_700"], "in the order of the body");
    assert_eq!(scraped.batches[0].layout.chunks().iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), [512, 188, 1, 324, 512, 464]);
    assert_eq!((scraped.counts.added, scraped.batches.len()), (1, 1));
    let next = target.scrape(&body.concat()).batches.remove(0);
    assert!(Arc::ptr_eq(&next.layout, &scraped.batches[0].layout));
}

#[test]
fn the_next_change_at_a_place_leaves_its_neighbours_alone() {
    let mut target = Target::new(Rules::default());
    let body = plain("m", 1000);
    let with = |name: &str| [&body[..300], &[format!("{name} 1\n")], &body[300..]].concat().concat();
    target.scrape(&with("new_1"));
    let second = target.scrape(&with("new_2")).batches.remove(0);
    assert_eq!(second.layout.chunks().iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), [300, 1, 211, 489]);
    let third = target.scrape(&with("new_3")).batches;
    assert_eq!(shared(&second, &third[0]), [true, false, true, true]);
    assert_eq!(lines(&third[1..]), ["new_2 @3000 stale"]);
    let names: Vec<_> = third[0].iter().map(|(series, ..)| series.metric_name().to_owned()).collect();
    assert_eq!(names[299..302], ["m_299", "new_3", "m_300"]);
}

#[test]
fn series_that_come_one_after_the_other_share_a_chunk() {
    let mut target = Target::new(Rules::default());
    let mut body = plain("m", 600);
    for n in 0..5 {
        body.insert(300 + n, format!("n{n} 1\n"));
        target.scrape(&body.concat());
    }
    let batch = target.scrape(&body.concat()).batches.remove(0);
    assert_eq!(batch.layout.chunks().iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), [301, 4, 211, 89]);
}

#[test]
fn one_series_less_replaces_one_chunk() {
    let mut target = Target::new(Rules::default());
    let mut body = plain("m", 2000);
    let first = target.scrape(&body.concat()).batches.remove(0);
    body.remove(1100);
    let scraped = target.scrape(&body.concat());
    assert_eq!(shared(&first, &scraped.batches[0]), [true, true, false, true]);
    assert_eq!(lines(&scraped.batches[1..]), ["m_1100 @2000 stale"]);
}

#[test]
fn series_behind_the_last_one_fill_the_last_chunk_and_then_a_new_one() {
    let mut target = Target::new(Rules::default());
    let body = plain("m", 1024);
    let full = target.scrape(&body.concat()).batches.remove(0);
    let more = target.scrape(&(body.concat() + "new_1 1\n")).batches.remove(0);
    assert_eq!(shared(&full, &more), [true, true], "full chunks are left alone");
    let most = target.scrape(&(body.concat() + "new_1 1\nnew_2 2\n")).batches.remove(0);
    assert_eq!(shared(&more, &most), [true, true, false]);
    assert_eq!(most.layout.chunks().len(), 3);
}

#[test]
fn a_new_series_among_shuffled_ones_is_found_again() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1\nb 2\nc 3\n");
    let scraped = target.scrape("c 3\nd 4\na 1\nb 2\n");
    let mut got = lines(&scraped.batches);
    got.sort();
    assert_eq!(got, ["a @2000 1", "b @2000 2", "c @2000 3", "d @2000 4"]);
    let again = target.scrape("d 4\nb 2\na 1\nc 3\n");
    assert!(Arc::ptr_eq(&again.batches[0].layout, &scraped.batches[0].layout));
}

#[test]
fn chunks_don_t_crumble_for_ever() {
    let mut target = Target::new(Rules::default());
    let mut body = plain("m", 1500);
    target.scrape(&body.concat());
    for round in 0..80 {
        // Each round splits or thins some chunk.
        let at = (round * 37) % (body.len() - 20);
        body.drain(at..at + 10);
        body.insert((round * 91) % body.len(), format!("n{round} 1\n"));
        target.scrape(&body.concat());
    }
    let chunks = target.series.layout().chunks().len();
    let needed = body.len().div_ceil(model::MAX_CHUNK_SERIES);
    assert!(chunks <= 8 * needed + 8, "{chunks} chunks where {needed} would do");
}

#[test]
fn inherited_series_that_don_t_come_get_markers() {
    let mut before = Target::new(Rules::default());
    before.scrape("a 1\nb 2\nc{x=\"y\"} 3\n");
    let mut after = Target::new(Rules::default());
    after.series.inherit(before.series.live(), 0);
    assert_eq!(after.series.live().len(), 3, "handed on as it is before the first scrape");
    let scraped = after.scrape("a 1\nd 4\n");
    assert_eq!(lines(&scraped.batches), ["a @1000 1", "d @1000 4", "b @1000 stale", "c x=y @1000 stale"]);
    assert_eq!(lines(&after.scrape("a 1\nd 4\n").batches), ["a @2000 1", "d @2000 4"]);
}

#[test]
fn inherited_series_end_with_a_failed_first_scrape() {
    let mut before = Target::new(Rules::default());
    before.scrape("a 1\n");
    let mut after = Target::new(Rules::default());
    after.series.inherit(before.series.live(), 0);
    assert_eq!(after.fail("!\n").1, ["a @1000 stale"]);
    assert!(after.series.live().is_empty());
}
