//! Bodies in OpenMetrics: exemplars, start times, units, types that only it has.

use model::MetricType;

use super::*;

impl Target {
    fn open(&mut self, body: &str) -> Scraped {
        self.try_read(Format::OpenMetrics, body.as_bytes()).unwrap_or_else(|(error, _)| panic!("{error}"))
    }
}

const BODY: &str = "# HELP c Help \\\"c\\\".\n# TYPE c counter\n# UNIT c_seconds seconds\nc_seconds_total 1\n# EOF\n";

#[test]
fn a_body_must_have_its_end() {
    let mut target = Target::new(Rules::default());
    assert_eq!(lines(&target.open("a 1\n# EOF\n").batches), ["a @1000 1"]);
    assert!(matches!(target.try_read(Format::OpenMetrics, b"a 1\n"), Err((SeriesError::Syntax(_), _))));
    assert_eq!(lines(&target.series.end(target.now)), ["a @2000 stale"]);
    assert_eq!(lines(&target.open("a 1\n# EOF\n").batches), ["a @3000 1"]);
}

#[test]
fn exemplars_come_with_their_samples_and_once() {
    let mut target = Target::new(Rules::default());
    let body = |trace: &str, time: &str| format!("# TYPE c counter\na 1\nc_total 2 # {{trace_id=\"{trace}\"}} 0.5{time}\n# EOF\n");
    let mut scrape = |body: String| {
        let scraped = target.open(&body);
        let details = scraped.batches[0].details.clone();
        details.map(|details| details.exemplars.iter().map(|(row, e)| (*row, e.labels.to_string(), e.timestamp)).collect::<Vec<_>>())
    };
    assert_eq!(scrape(body("x", "")), Some(vec![(1, "{trace_id=\"x\"}".to_owned(), None)]));
    assert_eq!(scrape(body("x", "")), None);
    assert_eq!(scrape(body("x", " 2.5")), Some(vec![(1, "{trace_id=\"x\"}".to_owned(), Some(2500))]));
    assert_eq!(scrape(body("x", " 2.5")), None);
    let scraped = target.open(&body("old", " 1.5"));
    assert!(scraped.batches[0].details.is_none());
    assert_eq!(scraped.dropped.exemplars_out_of_order, 1);
    let scraped = target.open(&body(&"x".repeat(200), " 3.5"));
    assert!(scraped.batches[0].details.is_none());
    assert_eq!(scraped.dropped.exemplars_refused, 1);
}

#[test]
fn created_lines_are_series_unless_zeros_are_made_of_them() {
    let body = "# TYPE c counter\nc_total 5\nc_created 0.5\n# EOF\n";
    let mut plain = Target::new(Rules::default());
    assert_eq!(lines(&plain.open(body).batches), ["c_total @1000 5", "c_created @1000 0.5"]);
    let mut zeros = Target::new(Rules { start_zeros: true, ..Rules::default() });
    assert_eq!(lines(&zeros.open(body).batches), ["c_total @500 0", "c_total @1000 5"]);
    assert_eq!(lines(&zeros.open(body).batches), ["c_total @2000 5"]);
    let reset = zeros.open("# TYPE c counter\nc_total 1\nc_created 2.5\n# EOF\n");
    assert_eq!(lines(&reset.batches), ["c_total @2500 0", "c_total @3000 1"]);
}

#[test]
fn help_and_unit_are_read_as_open_metrics_writes_them() {
    let mut target = Target::new(Rules { honor_metadata: true, ..Rules::default() });
    let body = "# HELP c_seconds Help \\\"c\\\".\n# TYPE c_seconds counter\n# UNIT c_seconds seconds\nc_seconds_total 1\n# EOF\n";
    for _ in 0..3 {
        let scraped = target.open(body);
        let said = scraped.batches[0].layout.iter().next().unwrap().metadata().unwrap();
        assert_eq!((&*said.family, said.kind, &*said.help, &*said.unit), ("c_seconds", MetricType::Counter, "Help \"c\".", "seconds"));
    }
    assert!(target.try_read(Format::OpenMetrics, BODY.as_bytes()).is_ok(), "whatever the family");
}

#[test]
fn infos_and_state_sets_know_their_families() {
    let mut target = Target::new(Rules { honor_metadata: true, ..Rules::default() });
    target.open("# TYPE i info\ni_info{a=\"1\"} 1\n# TYPE s stateset\ns{s=\"on\"} 1\ns{s=\"off\"} 0\n# EOF\n");
    let kinds: Vec<_> = target.series.layout().iter().map(|series| series.metadata().unwrap().kind).collect();
    assert_eq!(kinds, [MetricType::Info, MetricType::StateSet, MetricType::StateSet]);
}

#[test]
fn type_and_unit_are_labels_if_they_are_wanted() {
    let mut target = Target::new(Rules { type_and_unit_labels: true, ..Rules::default() });
    let body = "# TYPE c_seconds counter\n# UNIT c_seconds seconds\nc_seconds_total 1\n# TYPE b gauge\nb 2\n# EOF\n";
    for round in 1..4 {
        // Prometheus' parser gives the unit to all that follows; here it is the family's.
        let expected =
            [format!("c_seconds_total __type__=counter __unit__=seconds @{round}000 1"), format!("b __type__=gauge @{round}000 2")];
        assert_eq!(lines(&target.open(body).batches), expected);
    }
}

#[test]
fn what_one_format_takes_is_not_taken_for_known_in_another() {
    let mut target = Target::new(Rules::default());
    let body = "# TYPE a untyped\na { x=\"1\" } 1\n";
    (0..3).for_each(|_| drop(target.scrape(body)));
    let error = target.try_read(Format::OpenMetrics, format!("{body}# EOF\n").as_bytes()).unwrap_err().0;
    assert!(error.to_string().contains("line 1"), "{error}");
    assert_eq!(lines(&target.scrape(body).batches), ["a x=1 @5000 1"]);
}

#[test]
fn converted_histograms_have_the_exemplars_and_start_times_of_their_lines() {
    let histograms = crate::series::HistogramForms { convert_classic: true, ..Default::default() };
    let mut target = Target::new(Rules { histograms, start_zeros: true, ..Rules::default() });
    let body =
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1 # {t=\"x\"} 0.5 2.5\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\nh_created 0.5\n# EOF\n";
    let scraped = target.open(body);
    assert_eq!(lines(&scraped.batches), ["h @500 0", "h @1000 3"]);
    let details = scraped.batches[1].details.as_ref().unwrap();
    assert_eq!((details.exemplars.len(), details.created(0), details.histograms.len()), (1, Some(500), 1));
    let zero = scraped.batches[0].details.as_ref().unwrap().histogram(0).unwrap();
    assert_eq!((&zero.custom_values[..], zero.reset_hint), (&[1.0][..], model::ResetHint::Yes));
}
