//! Native histograms, exemplars and start times on their way from a visitor's calls into batches.

use exposition::Visitor;
use model::{Details, Exemplar, Histogram, ResetHint, Span};

use super::super::details::emptied;
use super::super::visit::Visit;
use super::*;

fn histogram(count: u64) -> Histogram {
    Histogram {
        schema: 3,
        zero_threshold: 1e-128,
        sum: count as f64,
        counts: model::Counts::Integer { count, zero_count: 0, positive: Box::new([count as i64]), negative: Box::default() },
        positive_spans: Box::new([Span { offset: 0, length: 1 }]),
        negative_spans: Box::default(),
        custom_values: Box::default(),
        reset_hint: ResetHint::Unknown,
    }
}

fn exemplar(trace: &str, timestamp: Option<i64>) -> Exemplar {
    Exemplar { labels: [("trace_id", trace)].into_iter().collect(), value: 1.0, timestamp }
}

impl Target {
    /// A scrape whose body is told by `tell`, which is given the row of each series of `body` in its order. The samples of `body` are
    /// not taken.
    fn tell(&mut self, body: &str, tell: impl FnOnce(&mut Teller<'_, '_>, &[u32])) -> Scraped {
        self.now += 1000;
        let mut session = self.series.begin(self.now, Format::PrometheusText, &mut self.scratch);
        let mut rows = Rows { visit: session.visit(), rows: Vec::new() };
        let mut parser = exposition::Parser::default();
        parser.feed(body.as_bytes(), &mut rows).unwrap();
        let rows = rows.rows;
        tell(&mut Teller(session.visit()), &rows);
        session.finish().unwrap()
    }
}

/// Tells a visit what no text of the plain format can say.
struct Teller<'a, 'b>(&'a mut Visit<'b>);

impl Teller<'_, '_> {
    fn sample(&mut self, row: u32, value: f64, timestamp: Option<i64>) {
        self.0.sample(row, value, timestamp).unwrap();
    }

    fn histogram(&mut self, row: u32, histogram: Histogram, timestamp: Option<i64>) {
        self.0.histogram(row, histogram, timestamp).unwrap();
    }

    fn exemplar(&mut self, row: u32, exemplar: Exemplar) {
        self.0.exemplar(row, exemplar);
    }

    fn created(&mut self, row: u32, created: i64) {
        self.0.created(row, created);
    }
}

/// Learns the series of a body and keeps their rows.
struct Rows<'a, V> {
    visit: &'a mut V,
    rows: Vec<u32>,
}

impl<V: Visitor> Visitor for Rows<'_, V> {
    type Error = V::Error;

    fn find(&mut self, text: &[u8]) -> Option<u32> {
        self.visit.find(text)
    }

    fn learn(&mut self, series: exposition::Series<'_>) -> Result<u32, V::Error> {
        self.visit.learn(series)
    }

    fn sample(&mut self, row: u32, _: f64, _: Option<i64>) -> Result<(), V::Error> {
        self.rows.push(row);
        Ok(())
    }
}

fn details(batch: &Batch) -> &Details {
    batch.details.as_ref().unwrap()
}

/// Row and trace of all exemplars.
fn traces(batch: &Batch) -> Vec<(u32, String)> {
    details(batch).exemplars.iter().map(|(row, exemplar)| (*row, exemplar.labels.get("trace_id").unwrap().to_owned())).collect()
}

#[test]
fn a_histogram_stands_where_its_series_stands() {
    let mut target = Target::new(Rules::default());
    let scraped = target.tell("a 0\nh 0\nb 0\n", |visit, rows| {
        visit.sample(rows[0], 1.0, None);
        visit.histogram(rows[1], histogram(7), None);
        visit.sample(rows[2], 2.0, None);
    });
    assert_eq!(scraped.batches.len(), 1);
    let batch = &scraped.batches[0];
    assert_eq!((details(batch).histogram(1), details(batch).histograms.len()), (Some(&histogram(7)), 1));
    assert_eq!(batch.values[..], [1.0, 7.0, 2.0]);
    assert_eq!((scraped.counts.scraped, scraped.counts.taken), (3, 3));
}

#[test]
fn a_histogram_ends_with_the_marker_of_a_float() {
    let mut target = Target::new(Rules::default());
    target.tell("h 0\n", |visit, rows| visit.histogram(rows[0], histogram(7), None));
    let scraped = target.scrape("a 1\n");
    assert_eq!(lines(&scraped.batches), ["a @2000 1", "h @2000 stale"]);
    assert!(scraped.batches[1].details.is_none());
}

#[test]
fn a_sum_that_is_no_number_is_no_marker() {
    let mut target = Target::new(Rules::default());
    for bits in [model::stale::STALE_NAN_BITS, 0x7ff8_dead_dead_dead] {
        let sum = f64::from_bits(bits);
        let scraped = target.tell("h 0\n", |visit, rows| visit.histogram(rows[0], Histogram { sum, ..histogram(7) }, None));
        let batch = &scraped.batches[0];
        let sums = [batch.values[0], details(batch).histogram(0).unwrap().sum];
        assert_eq!(sums.map(f64::to_bits), [model::stale::NORMAL_NAN_BITS; 2]);
    }
}

#[test]
fn details_follow_series_that_are_found_among_others() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1\nb 1\nd 1\n");
    let scraped = target.tell("c 0\nb 0\nd 0\n", |visit, rows| {
        rows.iter().for_each(|row| visit.sample(*row, 1.0, None));
        visit.histogram(3 + 1, histogram(9), None); // no such row: beyond all
        for (row, trace) in rows.iter().zip(["c", "b", "d"]) {
            visit.exemplar(*row, exemplar(trace, Some(5)));
            visit.created(*row, 10 + i64::from(*row));
        }
    });
    let batch = &scraped.batches[0];
    let names: Vec<String> = batch.layout.iter().map(|series| series.metric_name().to_owned()).collect();
    assert_eq!(names, ["c", "b", "d"]);
    assert_eq!(traces(batch), [(0, "c".to_owned()), (1, "b".to_owned()), (2, "d".to_owned())]);
    assert_eq!(details(batch).created[..], [(0, 13), (1, 11), (2, 12)]);
}

#[test]
fn samples_that_are_refused_take_their_details_with_them() {
    let mut target = Target::new(Rules::default());
    let scraped = target.tell("a 0\nb 0\nc 0\n", |visit, rows| {
        for row in rows {
            visit.histogram(*row, histogram(u64::from(*row)), (*row == 1).then_some(10_000_000));
            visit.exemplar(*row, exemplar(&row.to_string(), Some(1)));
            visit.created(*row, 1);
        }
    });
    let batch = &scraped.batches[0];
    assert_eq!((batch.len(), scraped.counts.out_of_bounds), (2, 1));
    assert_eq!(details(batch).histogram(1), Some(&histogram(2)), "of the series that has taken the place");
    assert_eq!(traces(batch), [(0, "0".to_owned()), (1, "2".to_owned())]);
    assert_eq!(details(batch).created[..], [(0, 1), (1, 1)]);
}

#[test]
fn exemplars_are_handed_on_once() {
    let mut target = Target::new(Rules::default());
    let mut scrape = |body: &str, timestamp: i64| {
        let tell = |visit: &mut Teller<'_, '_>, rows: &[u32]| {
            rows.iter().for_each(|row| visit.sample(*row, 1.0, None));
            visit.exemplar(*rows.last().unwrap(), exemplar("x", Some(timestamp)));
        };
        let scraped = target.tell(body, tell);
        (scraped.batches[0].details.clone().map(|details| details.exemplars.len()), scraped.dropped.exemplars_out_of_order)
    };
    assert_eq!(scrape("a 0\nb 0\n", 500), (Some(1), 0));
    assert_eq!(scrape("a 0\nb 0\n", 500), (None, 0));
    assert_eq!(scrape("new 0\nb 0\n", 500), (None, 0), "also when the rows are others");
    assert_eq!(scrape("new 0\nb 0\n", 400), (None, 1));
    assert_eq!(scrape("new 0\nb 0\n", 600), (Some(1), 0));
}

#[test]
fn exemplars_of_histograms_need_a_time_and_none_may_be_long() {
    let mut target = Target::new(Rules::default());
    let scraped = target.tell("a 0\nh 0\n", |visit, rows| {
        visit.sample(rows[0], 1.0, None);
        visit.exemplar(rows[0], exemplar("of a float", None));
        visit.exemplar(rows[0], exemplar(&"x".repeat(200), None));
        visit.histogram(rows[1], histogram(7), None);
        visit.exemplar(rows[1], exemplar("of a histogram", None));
        visit.exemplar(rows[1], exemplar("of a time", Some(5)));
    });
    assert_eq!(traces(&scraped.batches[0]), [(0, "of a float".to_owned()), (1, "of a time".to_owned())]);
}

#[test]
fn a_failed_scrape_takes_no_exemplar() {
    let mut target = Target::new(Rules::default());
    target.scrape("a 1\n");
    {
        target.now += 1000;
        let mut session = target.series.begin(target.now, Format::PrometheusText, &mut target.scratch);
        session.feed(b"a 1\n").unwrap();
        Teller(session.visit()).exemplar(0, exemplar("x", Some(5)));
        session.feed(b"!\n").unwrap_err();
    }
    let scraped = target.tell("a 0\n", |visit, rows| {
        visit.sample(rows[0], 1.0, None);
        visit.exemplar(rows[0], exemplar("x", Some(5)));
    });
    assert_eq!(traces(&scraped.batches[0]), [(0, "x".to_owned())]);
}

#[test]
fn histograms_of_one_series_at_different_times_are_all_kept() {
    let mut target = Target::new(Rules::default());
    let scraped = target.tell("h 0\na 0\n", |visit, rows| {
        visit.histogram(rows[0], histogram(1), Some(100));
        visit.histogram(rows[0], histogram(2), Some(200));
        visit.sample(rows[1], 5.0, None);
        visit.histogram(rows[0], histogram(3), Some(300));
        visit.histogram(rows[0], histogram(4), Some(300));
        visit.histogram(rows[0], histogram(5), None);
    });
    let [main, extras] = &scraped.batches[..] else { panic!("{scraped:?}") };
    assert_eq!(details(main).histograms[..], [(0, histogram(1))]);
    assert_eq!(details(extras).histograms[..], [(0, histogram(2)), (1, histogram(3))]);
    assert_eq!(lines(&scraped.batches), ["h @100 1", "a @1000 5", "h @200 2", "h @300 3"]);
    assert_eq!(scraped.counts.duplicates, 2);
}

#[test]
fn of_a_series_in_two_spellings_the_first_one_counts_with_its_details() {
    let mut target = Target::new(Rules::default());
    let tell = |visit: &mut Teller<'_, '_>, rows: &[u32]| {
        for (row, n) in rows.iter().zip(1..) {
            visit.histogram(*row, histogram(n), None);
            visit.created(*row, n as i64);
        }
    };
    for _ in 0..3 {
        let scraped = target.tell("h{x=\"1\",y=\"2\"} 0\nb 0\nh{y=\"2\",x=\"1\"} 0\n", tell);
        assert_eq!(details(&scraped.batches[0]).histograms[..], [(0, histogram(1)), (1, histogram(2))]);
        assert_eq!(details(&scraped.batches[0]).created[..], [(0, 1), (1, 2)]);
    }
    let scraped = target.tell("h{x=\"1\",y=\"2\",} 0\nb{} 0\n", tell);
    assert_eq!(details(&scraped.batches[0]).histograms[..], [(0, histogram(1)), (1, histogram(2))], "all spelt anew");
    assert_eq!(scraped.counts.added, 0);
}

#[test]
fn beyond_the_sample_limit_nothing_is_kept() {
    let mut target = Target::new(Rules { sample_limit: 1, ..Rules::default() });
    let mut session = target.series.begin(1000, Format::PrometheusText, &mut target.scratch);
    session.feed(b"a 1\n").unwrap();
    let mut visit = Teller(session.visit());
    visit.histogram(u32::MAX, histogram(1), None);
    visit.exemplar(u32::MAX, exemplar("x", Some(5)));
    visit.created(u32::MAX, 5);
    assert!(visit.0.columns.details.is_empty());
    assert_eq!(session.finish().unwrap_err().0, SeriesError::SampleLimit { samples: 2, limit: 1 });
}

#[test]
fn counting_that_begins_is_marked_with_a_zero_once() {
    let mut target = Target::new(Rules { start_zeros: true, ..Rules::default() });
    let mut scrape = |created: i64| {
        let scraped = target.tell("a 0\nc 0\nh 0\n", |visit, rows| {
            visit.sample(rows[0], 1.0, None);
            visit.sample(rows[1], 2.0, None);
            visit.created(rows[1], created);
            visit.histogram(rows[2], histogram(3), None);
            visit.created(rows[2], created);
        });
        assert_eq!(details(scraped.batches.last().unwrap()).created[..], [(1, created), (2, created)]);
        (lines(&scraped.batches), details(&scraped.batches[0]).histograms.clone())
    };
    let (first, histograms) = scrape(500);
    assert_eq!(first, ["c @500 0", "h @500 0", "a @1000 1", "c @1000 2", "h @1000 3"]);
    assert_eq!(histograms[..], [(1, emptied(&histogram(3)))]);
    assert_eq!(histograms[0].1.reset_hint, ResetHint::Yes);
    assert_eq!(scrape(500).0.len(), 3, "it has had its zero");
    assert_eq!(scrape(2500).0[..2], ["c @2500 0", "h @2500 0"], "a reset since the last scrape");
    assert_eq!(scrape(2500).0.len(), 3);
    assert_eq!(scrape(9999).0.len(), 3, "not later than the sample");
}

#[test]
fn a_zero_never_comes_before_what_was_sent() {
    let created = |visit: &mut Teller<'_, '_>, rows: &[u32]| {
        visit.sample(rows[0], 1.0, None);
        visit.created(rows[0], 1200);
    };
    let rules = || Rules { start_zeros: true, ..Rules::default() };
    let mut target = Target::new(rules());
    target.scrape("c 1\n");
    target.scrape("");
    assert_eq!(lines(&target.tell("c 0\n", created).batches), ["c @3000 1"], "its marker is later than 1200");
    let mut after = Target::new(rules());
    after.series.inherit(target.series.live(), 1500);
    after.now = 2000;
    assert_eq!(lines(&after.tell("c 0\n", created).batches), ["c @3000 1"], "the node before has written later than that");
    let mut timed = Target::new(rules());
    timed.tell("c 0\n", |visit, rows| visit.sample(rows[0], 1.0, Some(1300)));
    let scraped = timed.tell("c 0\n", |visit, rows| {
        visit.sample(rows[0], 1.0, Some(1400));
        visit.created(rows[0], 1200);
    });
    assert_eq!(lines(&scraped.batches), ["c @1400 1"]);
    let mut off = Target::new(Rules::default());
    off.now = 5000;
    assert_eq!(lines(&off.tell("c 0\n", created).batches), ["c @6000 1"], "only if it is asked for");
}
