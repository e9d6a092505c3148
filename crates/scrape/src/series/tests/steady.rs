//! Scrapes that bring the same series again, in whatever form.

use super::*;
use model::stale::NORMAL_NAN_BITS;

const BODY: &str = "# HELP a Help.\n# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\n# TYPE b gauge\nb 3\n";

#[test]
fn a_scrape_becomes_a_batch_with_the_targets_labels() {
    let mut target = Target::new(Rules::default());
    let scraped = target.scrape(BODY);
    assert_eq!(lines(&scraped.batches), ["a x=1 @1000 1", "a x=2 @1000 2", "b @1000 3"]);
    assert_eq!(scraped.counts, Counts { scraped: 3, added: 3, taken: 3, ..Counts::default() });
    let first = scraped.batches[0].layout.iter().next().unwrap().to_labels();
    assert_eq!(first.to_string(), r#"{__name__="a", job="j", x="1"}"#);
}

#[test]
fn the_same_series_make_the_same_layout() {
    let mut target = Target::new(Rules::default());
    let first = target.scrape(BODY);
    for round in 2..6 {
        let again = target.scrape(&BODY.replace(" 3\n", &format!(" {round}\n")));
        assert!(Arc::ptr_eq(&first.batches[0].layout, &again.batches[0].layout));
        assert_eq!(again.batches.len(), 1);
        assert_eq!(again.counts.added, 0);
        assert_eq!(again.batches[0].values[..], [1.0, 2.0, f64::from(round)]);
    }
}

#[test]
fn another_order_makes_no_new_layout() {
    let mut target = Target::new(Rules::default());
    let body = plain("m", 1200);
    let first = target.scrape(&body.concat());
    let mut order: Vec<&String> = body.iter().collect();
    for round in 0..5_usize {
        // Every second one from another place: no line where it is expected.
        order.rotate_left(7 * round + 1);
        order.reverse();
        let shuffled: String = order.iter().map(|line| line.as_str()).collect();
        let again = target.scrape(&shuffled);
        assert!(Arc::ptr_eq(&first.batches[0].layout, &again.batches[0].layout));
        assert_eq!(first.batches[0].values, again.batches[0].values, "values go to their series");
        assert_eq!(again.batches.len(), 1);
    }
}

#[test]
fn the_index_goes_when_the_order_is_steady_again() {
    let mut target = Target::new(Rules::default());
    let mut body = plain("m", 100);
    target.scrape(&body.concat());
    let small = target.series.heap_bytes();
    body.reverse();
    target.scrape(&body.concat());
    assert!(target.series.heap_bytes() > small);
    body.reverse();
    for _ in 0..20 {
        target.scrape(&body.concat());
    }
    assert_eq!(target.series.heap_bytes(), small);
}

#[test]
fn comments_may_change_without_consequence() {
    let mut target = Target::new(Rules::default());
    let first = target.scrape(BODY);
    target.scrape(BODY);
    for body in [BODY.replace("Help.", "Other help."), BODY.replace("# TYPE b gauge\n", ""), format!("# new\n{BODY}"), BODY.to_owned()] {
        let again = target.scrape(&body);
        assert_eq!(again.batches[0].values, first.batches[0].values, "{body}");
        assert!(Arc::ptr_eq(&first.batches[0].layout, &again.batches[0].layout));
    }
    assert!(target.try_scrape(&BODY.replace("gauge", "gouge")).is_err(), "and wrong ones are found");
}

#[test]
fn a_type_is_known_to_new_series_behind_comments_that_were_skipped() {
    let mut target = Target::new(Rules::default());
    let body = "a 1\n# TYPE h histogram\nh_sum 1\n";
    target.scrape(body);
    target.scrape(body);
    let scraped = target.scrape("a 1\n# TYPE h histogram\nh{le=\"1\"} 0\nh_sum 1\n");
    assert_eq!(lines(&scraped.batches), ["a @3000 1", "h le=1.0 @3000 0", "h_sum @3000 1"]);
}

#[test]
fn every_nan_is_an_ordinary_one() {
    let mut target = Target::new(Rules::default());
    for _ in 0..2 {
        let scraped = target.scrape("a NaN\nb nan\n");
        assert!(scraped.batches[0].values.iter().all(|value| value.to_bits() == NORMAL_NAN_BITS));
    }
}

#[test]
fn the_first_of_two_samples_counts() {
    let mut target = Target::new(Rules::default());
    for round in 1..4 {
        let scraped = target.scrape("a 1\na 2\nb 3\na 1\n");
        assert_eq!(lines(&scraped.batches), [format!("a @{round}000 1"), format!("b @{round}000 3")]);
        assert_eq!((scraped.counts.duplicates, scraped.counts.scraped), (2, 4));
    }
}

#[test]
fn two_spellings_of_one_series_are_one_series() {
    let mut target = Target::new(Rules::default());
    let body = "a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\na{x=\"1\",y=\"2\",z=\"\"} 3\nb 4\n";
    let mut layout = None;
    for round in 1..5 {
        let scraped = target.scrape(body);
        assert_eq!(lines(&scraped.batches), [format!("a x=1 y=2 @{round}000 1"), format!("b @{round}000 4")]);
        assert_eq!(scraped.counts.duplicates, 2);
        let layout = layout.get_or_insert_with(|| scraped.batches[0].layout.clone());
        assert!(Arc::ptr_eq(layout, &scraped.batches[0].layout));
    }
    // The other spelling alone is still that series.
    let scraped = target.scrape("a{y=\"2\",x=\"1\"} 7\nb 4\n");
    assert_eq!(lines(&scraped.batches), ["a x=1 y=2 @5000 7", "b @5000 4"]);
}

#[test]
fn a_target_that_spells_all_series_anew_keeps_its_layout() {
    let mut target = Target::new(Rules::default());
    let first = target.scrape("a{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n");
    for body in ["a{x=\"1\",} 1\na{x=\"2\",} 2\nb{} 3\n", "a { x=\"1\" } 1\na { x=\"2\" } 2\nb 3\n"] {
        for _ in 0..2 {
            let again = target.scrape(body);
            assert!(Arc::ptr_eq(&first.batches[0].layout, &again.batches[0].layout));
            assert_eq!(again.batches.len(), 1, "nothing goes stale");
            assert_eq!(again.batches[0].values[..], [1.0, 2.0, 3.0]);
            assert_eq!(again.counts.added, 0);
        }
    }
}

#[test]
fn honoured_labels_reach_the_series() {
    let labels = [("job", "j"), ("x", "target")];
    let mut renamed = Target::with_labels(&labels, Rules::default());
    assert_eq!(lines(&renamed.scrape("a{x=\"own\"} 1\n").batches), ["a exported_x=own x=target @1000 1"]);
    let mut honoured = Target::with_labels(&labels, Rules { honor_labels: true, ..Rules::default() });
    assert_eq!(
        lines(&honoured.scrape("a{x=\"own\"} 1\nb{x=\"\"} 2\nc 3\n").batches),
        ["a x=own @1000 1", "b @1000 2", "c x=target @1000 3"]
    );
}

#[test]
fn a_steady_target_costs_few_bytes_per_series() {
    let mut target = Target::new(Rules::default());
    let body = plain("some_metric_with_a_name", 1000).concat();
    for _ in 0..10 {
        target.scrape(&body);
    }
    assert!(target.series.heap_bytes() <= 14 * 1000 + 64, "{}", target.series.heap_bytes());
}
