//! Scrapes that fail, and limits.

use super::*;

#[test]
fn a_parse_error_keeps_nothing_and_ends_all_series() {
    let mut target = Target::new(Rules::default());
    let first = target.scrape("a 1\nb 2\n");
    let (error, stale) = target.fail("a 1\nnew 1\nb 2\nc{\n");
    assert_eq!(error.to_string(), "the target's answer can't be parsed: line 4: expected a label name in \"c{\"");
    assert_eq!(stale, ["a @2000 stale", "b @2000 stale"]);
    assert!(target.fail("!").1.is_empty(), "and they end once");
    let back = target.scrape("a 3\nb 4\n");
    assert_eq!(lines(&back.batches), ["a @4000 3", "b @4000 4"]);
    assert!(Arc::ptr_eq(&back.batches[0].layout, &first.batches[0].layout));
    assert_eq!(back.counts.added, 0, "series that come again after a failure are not new");
}

#[test]
fn series_that_vanish_while_scrapes_fail_are_not_ended_twice() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1\nb 2\n");
    target.fail("!");
    assert_eq!(lines(&target.scrape("b 2\n").batches), ["b @3000 2"]);
}

#[test]
fn a_dropped_session_changes_nothing() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1\n");
    {
        let mut session = target.series.begin(1500, Format::PrometheusText, &mut target.scratch);
        session.feed(b"b 1\nc 1\n").unwrap();
    }
    assert_eq!(lines(&target.scrape("a 1\n").batches), ["a @2000 1"]);
}

#[test]
fn more_samples_than_the_limit_fail_the_scrape() {
    let mut target = Target::new(Rules { sample_limit: 3, ..Rules::default() });
    assert_eq!(target.scrape("a 1\nb 1\nc 1\na 1\n").counts.scraped, 4, "duplicates don't count against the limit");
    let (error, counts) = target.try_scrape("a 1\nb 1\nc 1\nd 1\ne 1\n").unwrap_err();
    assert_eq!(error, SeriesError::SampleLimit { samples: 5, limit: 3 });
    assert_eq!(counts.scraped, 5, "all samples are counted");
    assert_eq!(lines(&target.series.end(target.now)).len(), 3);
    assert_eq!(target.scrape("a 1\nb 1\ne 1\n").counts.added, 1);
    assert!(matches!(target.try_scrape("a 1\nb 1\nc 1\nd 1\n!\n"), Err((SeriesError::Syntax(_), _))), "the rest is still parsed");
}

#[test]
fn label_limits_fail_the_scrape() {
    let rules = |labels, name, value| Rules {
        label_limit: labels,
        label_name_length_limit: name,
        label_value_length_limit: value,
        ..Rules::default()
    };
    for (rules, body) in [
        (rules(3, 0, 0), "a{x=\"1\"} 1\nb{x=\"1\",y=\"2\"} 1\n"),
        (rules(0, 8, 0), "a{x=\"1\"} 1\na{longer_than_8=\"1\"} 1\n"),
        (rules(0, 0, 8), "a{x=\"12345678\"} 1\na{x=\"123456789\"} 1\n"),
    ] {
        let mut target = Target::new(rules);
        let good = format!("{}\n", body.lines().next().unwrap());
        target.scrape(&good);
        let (error, stale) = target.fail(body);
        assert!(error.is_label_limit(), "{error}");
        assert_eq!(stale.len(), 1);
        target.scrape(&good);
    }
}

#[test]
fn wrong_names_fail_the_scrape() {
    let mut target = Target::new(Rules::default());
    for (body, text) in [
        ("{\"a.b\"} 1\n", "invalid metric name or label names: {__name__=\"a.b\", job=\"j\"}"),
        (" a 1\n", "invalid metric name or label names: {__name__=\" a\", job=\"j\"}"),
        ("{\"\"} 1\n", "missing metric name (__name__ label)"),
        ("a{x=\"1\",x=\"2\"} 1\n", "series a{x=\"1\",x=\"2\"}: label \"x\" occurs twice"),
        ("a{__name__=\"b\"} 1\n", "series a{__name__=\"b\"}: label \"__name__\" occurs twice"),
    ] {
        assert_eq!(target.fail(body).0.to_string(), text);
    }
    let mut target = Target::new(Rules { names: super::super::NameValidation::Utf8, ..Rules::default() });
    assert_eq!(lines(&target.scrape("{\"a.b\",\"c d\"=\"ü\"} 1\n").batches), ["a.b c d=ü @1000 1"]);
}

#[test]
fn the_end_of_a_target_ends_its_series_once() {
    let mut target = Target::new(Rules::default());
    assert!(target.series.end(500).is_empty(), "there are none yet");
    target.scrape("a 1\nb 2\n");
    assert_eq!(target.series.live().len(), 2);
    assert_eq!(lines(&target.series.end(1500)), ["a @1500 stale", "b @1500 stale"]);
    assert!(target.series.end(1600).is_empty());
    assert!(target.series.live().is_empty());
}

#[test]
fn new_series_have_a_bound_of_memory_and_known_ones_have_none() {
    let body = plain("m", 5000).concat();
    let mut target = Target::new(Rules::default());
    let mut scrape = |max: usize| {
        target.now += 1000;
        let mut session = target.series.begin(target.now, Format::PrometheusText, &mut target.scratch).with_max_memory(max);
        session.feed(body.as_bytes()).map(|()| session.finish().unwrap().counts.added)
    };
    let error = scrape(50_000).unwrap_err();
    assert_eq!(error, SeriesError::Memory { limit: 50_000 });
    assert!(error.to_string().contains("--scrape.max-body-size"));
    assert_eq!(scrape(1_000_000), Ok(5000));
    assert_eq!(scrape(50_000), Ok(0));
}
