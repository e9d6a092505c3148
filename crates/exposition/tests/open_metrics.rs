//! Whole bodies of OpenMetrics with Prometheus' verdict on them: what comes out of the good ones, and that the bad ones fail. All
//! verdicts were compared with `model/textparse` of Prometheus 3.13 and its scrape loop's checks of labels and exemplars.

#![allow(clippy::unwrap_used)] // helpers outside #[test] functions

#[path = "open_metrics/bad.rs"]
mod bad;
#[path = "open_metrics/good.rs"]
mod good;

use exposition::{Entry, Error, Format, LabelBuffer, Parser, Series, Visitor};
use model::Exemplar;

/// Writes down what comes out, a line for each event.
#[derive(Default)]
struct Events {
    format: Format,
    series: Vec<String>,
    lines: Vec<String>,
}

impl Events {
    fn push(&mut self, row: u32, what: String, at: Option<i64>) {
        let at = at.map_or(String::new(), |at| format!(" @{at}"));
        self.lines.push(format!("{} {what}{at}", self.series[row as usize]));
    }
}

impl Visitor for Events {
    type Error = String;

    fn learn(&mut self, series: Series<'_>) -> Result<u32, String> {
        let mut labels = LabelBuffer::default();
        series.labels(&mut labels).map_err(|error| error.to_string())?;
        let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        self.series.push(pairs.join(" ").replace("__name__", "name"));
        Ok(self.series.len() as u32 - 1)
    }

    fn sample(&mut self, row: u32, value: f64, timestamp: Option<i64>) -> Result<(), String> {
        self.push(row, format!("= {value}"), timestamp);
        Ok(())
    }

    fn exemplar(&mut self, row: u32, exemplar: Exemplar) {
        self.push(row, format!("# {} {}", exemplar.labels, exemplar.value), exemplar.timestamp);
    }

    fn created(&mut self, row: u32, created: i64) {
        self.push(row, format!("since {created}"), None);
    }

    fn metadata(&mut self, entry: Entry<'_>) {
        self.lines.push(match entry {
            Entry::Help { family, text } => format!("help {family} {:?}", self.format.unescape_help(text)),
            Entry::Type { family, kind } => format!("type {family} {kind:?}"),
            Entry::Unit { family, unit } => format!("unit {family} {unit:?}"),
        });
    }
}

fn read(body: &[u8], skip_created: bool) -> (Vec<String>, Result<(), Error<String>>) {
    let format = Format::OpenMetrics { skip_created };
    let (mut parser, mut events) = (Parser::default(), Events { format, ..Events::default() });
    parser.reset_for(format);
    let result = parser.feed(body, &mut events).and_then(|()| parser.finish(&mut events));
    (events.lines, result)
}

#[test]
fn good_bodies_come_out_as_in_prometheus() {
    for (body, expected) in good::BODIES {
        let (lines, result) = read(body.as_bytes(), false);
        assert_eq!(result, Ok(()), "{body}");
        assert_eq!(lines, *expected, "{body}");
    }
}

#[test]
fn start_times_belong_to_the_series_that_prometheus_gives_them() {
    for (body, expected) in good::CREATED {
        let (lines, result) = read(body.as_bytes(), true);
        assert_eq!(result, Ok(()), "{body}");
        let told: Vec<&String> = lines.iter().filter(|line| line.contains(" since ") || line.contains("_created")).collect();
        assert_eq!(told, *expected, "{body}");
    }
}

#[test]
fn start_times_are_samples_unless_they_are_skipped() {
    let body = "# TYPE a counter\na_total 1\na_created 2.5\n# EOF\n";
    let sum = |skip| read(body.as_bytes(), skip).0[1..].join("; ");
    assert_eq!(sum(false), r#"name="a_total" = 1; name="a_created" = 2.5"#);
    assert_eq!(sum(true), r#"name="a_total" = 1; name="a_total" since 2500"#);
}

#[test]
fn bad_bodies_are_refused_with_a_line_and_a_reason() {
    for (body, expected) in bad::BODIES {
        for skip_created in [false, true] {
            let (_, result) = read(body, skip_created);
            let error = result.expect_err(&String::from_utf8_lossy(body)).to_string();
            assert!(error.starts_with(expected), "{:?}: {error}", String::from_utf8_lossy(body));
        }
    }
}

#[test]
fn a_body_that_is_cut_anywhere_is_refused() {
    for (body, _) in good::BODIES.iter().chain(good::CREATED) {
        let end = body.rfind("# EOF").unwrap();
        // Without anything a body is a good one: the target has no series.
        for cut in (1..end + 5).filter(|cut| body.is_char_boundary(*cut)) {
            assert!(read(&body.as_bytes()[..cut], false).1.is_err(), "{}", &body[..cut]);
        }
        assert_eq!(read(&body.as_bytes()[..end + 5], false).1, Ok(()), "the last newline may be missing: {body}");
    }
    assert_eq!(read(b"", false).1, Ok(()));
}
