//! Classic histograms of a text format that become native ones with custom buckets.

use super::*;
use crate::series::HistogramForms;

fn converting(keep_classic: bool) -> Target {
    let histograms = HistogramForms { convert_classic: true, keep_classic, ..HistogramForms::default() };
    Target::new(Rules { histograms, ..Rules::default() })
}

fn body(le_1: u32, count: u32) -> String {
    format!(
        "a 1\n# TYPE h histogram\nh_bucket{{le=\"1\"}} {le_1}\nh_bucket{{le=\"+Inf\"}} {count}\nh_sum 9\nh_count {count}\n# TYPE b gauge\nb 2\n"
    )
}

fn names(scraped: &Scraped) -> String {
    let series = scraped.batches.iter().flat_map(|batch| batch.layout.iter());
    series.map(|series| series.metric_name().to_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_classic_histogram_becomes_one_series() {
    let mut target = converting(false);
    let first = target.scrape(&body(3, 5));
    assert_eq!(names(&first), "a h b");
    assert_eq!(first.counts.scraped, 3, "what is hidden is not counted, as in Prometheus");
    for count in 6..10 {
        let scraped = target.scrape(&body(3, count));
        assert!(Arc::ptr_eq(&scraped.batches[0].layout, &first.batches[0].layout));
        let histogram = scraped.batches[0].details.as_ref().unwrap().histogram(1).unwrap().clone();
        assert_eq!((histogram.schema, &histogram.custom_values[..], histogram.sum), (model::CUSTOM_BUCKETS_SCHEMA, &[1.0][..], 9.0));
        let expected = [3, i64::from(count) - 6];
        let model::Counts::Integer { positive, .. } = &histogram.counts else { panic!() };
        assert_eq!(positive[..], expected);
    }
}

#[test]
fn the_classic_series_may_stay() {
    let mut target = converting(true);
    for _ in 0..3 {
        assert_eq!(names(&target.scrape(&body(3, 5))), "a h_bucket h_bucket h_sum h_count h b");
    }
}

#[test]
fn the_converted_series_knows_its_family() {
    let mut target = converting(false);
    target.series.set_rules(Arc::new(Rules { honor_metadata: true, ..Rules::clone(target.series.rules()) }));
    for _ in 0..3 {
        target.scrape(&body(3, 5));
        let said: Vec<_> = target.series.layout().iter().map(|series| Some(series.metadata()?.family.to_string())).collect();
        assert_eq!(said, [None, Some("h".to_owned()), Some("b".to_owned())]);
    }
}

#[test]
fn a_histogram_that_can_t_be_converted_is_counted_and_ends() {
    let mut target = converting(false);
    target.scrape(&body(3, 5));
    let scraped = target.scrape(&body(7, 5));
    assert_eq!((names(&scraped).as_str(), scraped.dropped.not_converted), ("a b h", 1));
    assert!(is_stale(*scraped.batches[1].values.last().unwrap()));
}

#[test]
fn a_failed_scrape_does_no_harm() {
    let mut target = converting(false);
    let first = target.scrape(&body(3, 5));
    target.fail(&format!("{}!\n", body(3, 6)));
    {
        let mut session = target.series.begin(2500, Format::PrometheusText, &mut target.scratch);
        session.feed(&body(3, 6).as_bytes()[..40]).unwrap();
    }
    let scraped = target.scrape(&body(3, 7));
    assert!(Arc::ptr_eq(&scraped.batches[0].layout, &first.batches[0].layout));
    assert_eq!(scraped.batches[0].details.as_ref().unwrap().histograms.len(), 1);
}

#[test]
fn the_state_that_converting_needs_is_counted() {
    let (mut plain, mut converted) = (Target::new(Rules::default()), converting(false));
    let numbered = |n: u32| body(3, 5).replace("h_", &format!("h{n}_")).replace("TYPE h ", &format!("TYPE h{n} "));
    let body: String = (0..100).map(numbered).collect();
    for _ in 0..3 {
        plain.scrape(&body);
        converted.scrape(&body);
    }
    assert!(converted.series.heap_bytes() > plain.series.heap_bytes());
}
