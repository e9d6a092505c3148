//! Samples with timestamps of their own.

use super::*;

fn tracked() -> Rules {
    Rules { track_timestamps_staleness: true, ..Rules::default() }
}

#[test]
fn timestamps_are_taken_if_they_are_honoured() {
    let mut target = Target::new(Rules::default());
    assert_eq!(lines(&target.scrape("a 1 500\nb 2\n").batches), ["a @500 1", "b @1000 2"]);
    let mut target = Target::new(Rules { honor_timestamps: false, ..Rules::default() });
    let scraped = target.scrape("a 1 500\nb 2\na 3 600\n");
    assert_eq!(lines(&scraped.batches), ["a @1000 1", "b @1000 2"]);
    assert!(scraped.batches[0].timestamps.is_none());
    assert_eq!(scraped.counts.duplicates, 1);
}

#[test]
fn series_with_timestamps_get_markers_only_if_tracked() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1 500\nb 2\n");
    assert_eq!(lines(&target.scrape("c 1\n").batches), ["c @2000 1", "b @2000 stale"]);
    let mut target = Target::new(tracked());
    target.scrape("a 1 500\nb 2\n");
    assert_eq!(lines(&target.scrape("c 1\n").batches), ["c @2000 1", "a @2000 stale", "b @2000 stale"]);
}

#[test]
fn a_failed_scrape_ends_series_with_timestamps_only_if_tracked() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1 500\nb 2\n");
    assert_eq!(target.series.live().len(), 1);
    assert_eq!(target.fail("!").1, ["b @2000 stale"]);
    let mut target = Target::new(tracked());
    target.scrape("a 1 500\nb 2\n");
    assert_eq!(target.fail("!").1, ["a @2000 stale", "b @2000 stale"]);
    let mut target = Target::new(Rules::default());
    target.scrape("a 1 500\n");
    assert!(target.fail("!").1.is_empty());
}

#[test]
fn the_last_scrape_decides_whether_a_series_has_timestamps() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1 500\n");
    target.scrape("a 1\n");
    assert_eq!(lines(&target.scrape("").batches), ["a @3000 stale"]);
}

#[test]
fn samples_of_one_series_at_different_times_are_all_kept() {
    let mut target = Target::new(Rules::default());
    let scraped = target.scrape("a 1 100\nb 5\na 2 200\na 3 300\n");
    assert_eq!(scraped.batches.len(), 2);
    assert_eq!(lines(&scraped.batches), ["a @100 1", "b @1000 5", "a @200 2", "a @300 3"]);
    // Those before the last one are too late the next time.
    let scraped = target.scrape("a 1 250\nb 5\na 4 400\n");
    assert_eq!(lines(&scraped.batches), ["b @2000 5", "a @400 4"]);
    assert_eq!(scraped.counts.out_of_order, 1);
}

#[test]
fn timestamps_of_a_series_never_go_back() {
    let mut target = Target::new(Rules::default());
    let first = target.scrape("a 1 500\nb 2\nc 3 500\n");
    let scraped = target.scrape("a 1 499\nb 2\nc 3 501\n");
    assert_eq!(lines(&scraped.batches), ["b @2000 2", "c @501 3"]);
    assert_eq!((scraped.counts.out_of_order, scraped.counts.scraped), (1, 3));
    let again = target.scrape("a 1 500\nb 2\nc 3 502\n");
    assert_eq!(lines(&again.batches), ["a @500 1", "b @3000 2", "c @502 3"], "the same time again is no step back");
    assert!(Arc::ptr_eq(&first.batches[0].layout, &again.batches[0].layout));
}

#[test]
fn times_within_a_scrape_are_judged_too() {
    let mut target = Target::new(Rules::default());
    let scraped = target.scrape("a 1 100\na 2 50\na 1 100\na 3 100\na 4\n");
    assert_eq!(lines(&scraped.batches), ["a @100 1"]);
    assert_eq!((scraped.counts.out_of_order, scraped.counts.duplicates), (1, 2), "the same value at the same time is no conflict");
}

#[test]
fn times_far_in_the_future_are_refused() {
    let mut target = Target::new(Rules::default());
    let (near, far) = (1000 + 600_000, 1000 + 600_001);
    let scraped = target.scrape(&format!("a 1 {near}\nb 2 {far}\nc 3\n"));
    assert_eq!(lines(&scraped.batches), [format!("a @{near} 1"), "c @1000 3".to_owned()]);
    assert_eq!(scraped.counts.out_of_bounds, 1);
    assert_eq!(lines(&target.scrape("b 2 2000\nc 3\n").batches), ["b @2000 2", "c @2000 3"], "the series itself is known");
}

#[test]
fn new_rows_keep_columns_and_timestamps_together() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1 10\nb 2\nd 4 40\n");
    let scraped = target.scrape("a 1 11\nc 3 30\nb 2\nd 4 39\nd 5 50\n");
    assert_eq!(lines(&scraped.batches), ["a @11 1", "c @30 3", "b @2000 2", "d @50 5"]);
    let scraped = target.scrape("a 1 11\nc 3 29\nb 2\nd 4 50\n");
    assert_eq!(lines(&scraped.batches), ["a @11 1", "b @3000 2", "d @50 4"]);
}
