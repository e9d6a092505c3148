//! Bodies in the protobuf format: native histograms, exemplars, start times, bucket limits.

use model::{Counts as Buckets, Histogram, MetricType, Span};
use prost::Message;
use proto::client::{self, BucketSpan, Counter, Exemplar, Gauge, LabelPair, Metric, MetricFamily, Timestamp};

use super::*;
use crate::series::HistogramForms;

fn native() -> Rules {
    Rules { histograms: HistogramForms { native: true, ..HistogramForms::default() }, ..Rules::default() }
}

fn label(name: &str, value: &str) -> LabelPair {
    LabelPair { name: name.to_owned(), value: value.to_owned() }
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn exemplar(trace: &str, seconds: i64) -> Exemplar {
    Exemplar { label: vec![label("trace_id", trace)], value: 0.5, timestamp: at(seconds) }
}

fn family(name: &str, kind: client::MetricType, metric: Metric) -> MetricFamily {
    MetricFamily {
        name: name.to_owned(),
        help: format!("Help {name}."),
        r#type: kind as i32,
        metric: vec![metric],
        ..MetricFamily::default()
    }
}

fn gauge(name: &str, value: f64) -> MetricFamily {
    family(name, client::MetricType::Gauge, Metric { gauge: Some(Gauge { value }), ..Metric::default() })
}

fn counter(name: &str, value: f64, created: i64) -> MetricFamily {
    let counter = Counter { value, exemplar: Some(exemplar("c", 1)), start_timestamp: at(created) };
    family(name, client::MetricType::Counter, Metric { counter: Some(counter), ..Metric::default() })
}

/// A histogram with both forms: eight buckets of schema 3 with one observation each, or one classic bucket.
fn histogram(name: &str) -> MetricFamily {
    let histogram = client::Histogram {
        sample_count: 8,
        sample_sum: 10.0,
        schema: 3,
        zero_threshold: 1e-128,
        positive_span: vec![BucketSpan { offset: 1, length: 8 }],
        positive_delta: vec![1, 0, 0, 0, 0, 0, 0, 0],
        bucket: vec![client::Bucket { cumulative_count: 3, upper_bound: 1.0, ..client::Bucket::default() }],
        exemplars: vec![exemplar("h", 1)],
        ..client::Histogram::default()
    };
    family(name, client::MetricType::Histogram, Metric { histogram: Some(histogram), ..Metric::default() })
}

fn body(families: &[MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

impl Target {
    fn read(&mut self, families: &[MetricFamily]) -> Scraped {
        self.try_read(Format::Protobuf, &body(families)).unwrap_or_else(|(error, _)| panic!("{error}"))
    }
}

fn histograms(batch: &Batch) -> Vec<(u32, Histogram)> {
    batch.details.as_ref().map_or(Vec::new(), |details| details.histograms.to_vec())
}

#[test]
fn what_a_message_says_comes_with_the_batch() {
    let mut target = Target::new(Rules { honor_metadata: true, ..native() });
    let families = [gauge("a", 1.0), counter("c_total", 2.0, 0), histogram("h"), gauge("b", 3.0)];
    let scraped = target.read(&families);
    assert_eq!(lines(&scraped.batches), ["a @1000 1", "c_total @1000 2", "h @1000 10", "b @1000 3"]);
    let details = scraped.batches[0].details.clone().unwrap();
    let (row, native) = &details.histograms[0];
    assert_eq!((*row, native.schema, native.counts.buckets()), (2, 3, 8));
    let traces: Vec<_> = details.exemplars.iter().map(|(row, exemplar)| (*row, exemplar.labels.get("trace_id").unwrap())).collect();
    assert_eq!(traces, [(1, "c"), (2, "h")]);
    let said = scraped.batches[0].layout.iter().map(|series| series.metadata().unwrap().kind).collect::<Vec<_>>();
    assert_eq!(said, [MetricType::Gauge, MetricType::Counter, MetricType::Histogram, MetricType::Gauge]);
    for _ in 0..3 {
        let again = target.read(&families);
        assert!(Arc::ptr_eq(&again.batches[0].layout, &scraped.batches[0].layout));
        let details = again.batches[0].details.clone().unwrap();
        assert_eq!((details.histograms.len(), details.exemplars.len()), (1, 0), "exemplars come once");
    }
}

#[test]
fn which_forms_of_a_histogram_come_is_the_rules_choice() {
    let forms = |native, keep_classic, convert_classic| {
        let histograms = HistogramForms { native, keep_classic, convert_classic };
        let mut target = Target::new(Rules { histograms, ..Rules::default() });
        let scraped = target.read(&[histogram("h")]);
        let schemas: Vec<i32> = histograms_of(&scraped).iter().map(|histogram| histogram.schema).collect();
        (scraped.batches[0].layout.iter().map(|series| series.metric_name().to_owned()).collect::<Vec<_>>().join(" "), schemas)
    };
    let classic = "h_count h_sum h_bucket h_bucket";
    assert_eq!(forms(false, false, false), (classic.to_owned(), vec![]));
    assert_eq!(forms(true, false, false), ("h".to_owned(), vec![3]));
    assert_eq!(forms(true, true, false), (format!("h {classic}"), vec![3]));
    assert_eq!(forms(false, false, true), ("h".to_owned(), vec![model::CUSTOM_BUCKETS_SCHEMA]));
    assert_eq!(forms(false, true, true), (format!("{classic} h"), vec![model::CUSTOM_BUCKETS_SCHEMA]));
}

fn histograms_of(scraped: &Scraped) -> Vec<Histogram> {
    scraped.batches.iter().flat_map(histograms).map(|(_, histogram)| histogram).collect()
}

#[test]
fn histograms_are_made_as_coarse_as_they_have_to_be() {
    let reduced = |rules: Rules| histograms_of(&Target::new(rules).read(&[histogram("h")])).remove(0);
    let limited = reduced(Rules { bucket_limit: 4, ..native() });
    assert_eq!((limited.schema, limited.counts.buckets()), (2, 4));
    assert_eq!(limited.positive_spans[..], [Span { offset: 1, length: 4 }]);
    let Buckets::Integer { count, positive, .. } = limited.counts else { panic!() };
    assert_eq!((count, &positive[..]), (8, &[2, 0, 0, 0][..]));
    assert_eq!(reduced(Rules { max_schema: 1, ..native() }).schema, 1);
    assert_eq!(reduced(Rules { max_schema: 1, bucket_limit: 4, ..native() }).schema, 1, "the factor comes first");
    assert_eq!(reduced(Rules { bucket_limit: 8, ..native() }).schema, 3);
}

#[test]
fn a_histogram_that_stays_too_fine_fails_the_scrape_at_its_end() {
    let mut target = Target::new(Rules { bucket_limit: 1, ..native() });
    target.read(&[gauge("a", 1.0)]);
    let custom = HistogramForms { convert_classic: true, ..HistogramForms::default() };
    let mut target = Target::new(Rules { bucket_limit: 1, histograms: custom, ..Rules::default() });
    let (error, counts) = target.try_read(Format::Protobuf, &body(&[histogram("h"), gauge("a", 1.0)])).unwrap_err();
    let text = "native_histogram_bucket_limit exceeded (series: {__name__=\"h\", job=\"j\"}, buckets: 2, limit: 1)";
    assert_eq!((error.to_string(), counts.scraped), (text.to_owned(), 2), "and everything was counted");
    let mut both = Target::new(Rules { sample_limit: 1, ..Rules::clone(target.series.rules()) });
    let (error, _) = both.try_read(Format::Protobuf, &body(&[histogram("h"), gauge("a", 1.0), gauge("b", 1.0)])).unwrap_err();
    assert!(matches!(error, SeriesError::SampleLimit { .. }), "{error}");
}

#[test]
fn a_histogram_that_contradicts_itself_fails_the_scrape() {
    let mut target = Target::new(native());
    let mut wrong = histogram("h");
    wrong.metric[0].histogram.as_mut().unwrap().sample_count = 7;
    for known in [false, true] {
        if known {
            target.read(&[histogram("h")]);
        }
        let (error, _) = target.try_read(Format::Protobuf, &body(std::slice::from_ref(&wrong))).unwrap_err();
        let text = "series {__name__=\"h\", job=\"j\"}: 8 observations found in buckets, but the Count field is 7";
        assert_eq!(error.to_string(), text);
        assert_eq!(target.series.end(target.now).len(), usize::from(known));
    }
}

#[test]
fn a_target_that_changes_its_format_keeps_its_series() {
    let mut target = Target::new(Rules { honor_metadata: true, ..native() });
    let families = [gauge("a", 1.0), gauge("b", 2.0)];
    let text = "# HELP a Help a.\n# TYPE a gauge\na 1\n# HELP b Help b.\n# TYPE b gauge\nb 2\n";
    let first = target.scrape(text);
    for _ in 0..3 {
        for batches in [target.read(&families).batches, target.read(&families).batches, target.scrape(text).batches] {
            assert_eq!(batches.len(), 1, "no marker");
            assert!(Arc::ptr_eq(&batches[0].layout, &first.batches[0].layout));
            assert_eq!(batches[0].values[..], [1.0, 2.0]);
        }
    }
}

#[test]
fn start_times_mark_the_beginning_with_a_zero() {
    let mut target = Target::new(Rules { start_zeros: true, ..native() });
    target.now = 100_000;
    let scraped = target.read(&[counter("c_total", 5.0, 99)]);
    assert_eq!(lines(&scraped.batches), ["c_total @99000 0", "c_total @101000 5"]);
    assert_eq!(scraped.batches[1].details.as_ref().unwrap().created(0), Some(99_000));
    assert_eq!(lines(&target.read(&[counter("c_total", 6.0, 99)]).batches), ["c_total @102000 6"]);
}

#[test]
fn what_is_no_message_fails_the_scrape() {
    let mut target = Target::new(native());
    let (error, _) = target.try_read(Format::Protobuf, b"a 1\nb 2\n").unwrap_err();
    assert!(matches!(error, SeriesError::Protobuf(_)), "{error}");
    assert!(error.to_string().starts_with("the target's answer can't be parsed: "), "{error}");
}

#[test]
fn histograms_and_exemplars_have_a_bound_of_memory_too() {
    let families: Vec<MetricFamily> = (0..100).map(|n| histogram(&format!("h{n}"))).collect();
    let counters: Vec<MetricFamily> = (0..100).map(|n| counter(&format!("c{n}"), 1.0, 0)).collect();
    let mut target = Target::new(native());
    target.read(&families);
    let mut counting = Target::new(native());
    counting.read(&counters);
    for (target, families) in [(&mut target, families), (&mut counting, counters)] {
        let mut scrape = |max: usize| {
            target.now += 1000;
            let mut session = target.series.begin(target.now, Format::Protobuf, &mut target.scratch).with_max_memory(max);
            session.feed(&body(&families)).and_then(|()| session.finish().map(drop).map_err(|(error, _)| error))
        };
        assert_eq!(scrape(4000), Err(SeriesError::Memory { limit: 4000 }), "though no series is new");
        assert_eq!(scrape(1_000_000), Ok(()));
    }
}
