//! Bodies of text, with the verdicts of Prometheus 3, and what is remembered from one to the next.

use super::*;
use crate::Parser;
use crate::recorder::{Recorder, Refused};

const LATENCY: &str = "\
# HELP lat Latency.
# TYPE lat histogram
lat_bucket{a=\"b\",le=\"0.5\"} 1
lat_bucket{a=\"b\",le=\"1\"} 3
lat_bucket{a=\"b\",le=\"+Inf\"} 4
lat_sum{a=\"b\"} 2.5
lat_count{a=\"b\"} 4
";
const CONVERTED: &str = "lat{a=b} schema -53 sum 2.5 count 4 zero 0 [0:3] [1, 1, -1] [] [] bounds [0.5, 1.0]";

/// A target that is scraped.
#[derive(Default)]
struct Target {
    state: ClassicHistograms,
    recorder: Recorder,
    keep: bool,
}

impl Target {
    fn scrape(&mut self, body: &str) -> Result<u64, Error<Refused>> {
        let mut parser = Parser::default();
        let Self { state, recorder, keep } = self;
        recorder.again();
        state.begin();
        for piece in body.as_bytes().chunks(11) {
            state.around(*keep, recorder, |visitor| parser.feed(piece, visitor))?;
        }
        state.around(*keep, recorder, |visitor| parser.finish(visitor))?;
        state.finish(recorder).map_err(Error::Refused)
    }

    fn lines(&self) -> Vec<&str> {
        self.recorder.samples()
    }
}

fn converted(body: &str) -> Vec<String> {
    let mut target = Target::default();
    target.scrape(body).unwrap();
    target.lines().into_iter().map(str::to_owned).collect()
}

#[test]
fn the_lines_of_a_histogram_become_one() {
    assert_eq!(converted(LATENCY), [CONVERTED]);
    let bare = LATENCY.replace("{a=\"b\"}", "").replace("a=\"b\",", "");
    assert_eq!(converted(&bare), [CONVERTED.replace("{a=b}", "")]);
}

#[test]
fn classic_series_are_kept_if_asked_for() {
    let mut target = Target { keep: true, ..Target::default() };
    target.scrape(LATENCY).unwrap();
    let classic =
        ["lat_bucket{a=b,le=0.5} 1", "lat_bucket{a=b,le=1.0} 3", "lat_bucket{a=b,le=+Inf} 4", "lat_sum{a=b} 2.5", "lat_count{a=b} 4"];
    assert_eq!(target.lines(), [&classic[..], &[CONVERTED]].concat());
}

#[test]
fn each_label_set_is_a_histogram_of_its_own() {
    let body =
        "# TYPE h histogram\nh_bucket{a=\"1\",le=\"1\"} 1\nh_count{a=\"1\"} 1\nh_bucket{le=\"1\",a=\"2\"} 2\nh_count{a=\"2\"} 2\nh_sum 9\n";
    let expected = [
        "h{a=1} schema -53 sum 0 count 1 zero 0 [0:1] [1] [] [] bounds [1.0]",
        "h{a=2} schema -53 sum 0 count 2 zero 0 [0:1] [2] [] [] bounds [1.0]",
        "h schema -53 sum 9 count 0 zero 0 [] [] [] []",
    ];
    assert_eq!(converted(body), expected);
}

#[test]
fn what_is_no_line_of_a_histogram_is_told_as_it_is() {
    let body = "\
x_count 1
# TYPE x gauge
x_bucket{le=\"1\"} 1
# TYPE h histogram
h 2
h_bucket 3
h_bucket{le=\"x\"} 4
h_bucket{le=\"NaN\"} 5
h_created 6
x_sum 7
# TYPE s summary
s_sum 8
";
    let expected = [
        "x_count 1",
        "x_bucket{le=1} 1",
        "h 2",
        "h_bucket 3",
        "h_bucket{le=x} 4",
        "h_bucket{le=NaN} 5",
        "h_created 6",
        "x_sum 7",
        "s_sum 8",
    ];
    assert_eq!(converted(body), expected);
}

#[test]
fn a_histogram_ends_with_another_series_or_a_comment() {
    let sum_of =
        |body: &str| -> Vec<String> { converted(body).iter().map(|line| line.split(" zero").next().unwrap().to_owned()).collect() };
    let start = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\n";
    let one = "h schema -53 sum 0 count 1";
    assert_eq!(sum_of(&format!("{start}other 5\nh_count 2\n")), [one, "other 5", "h schema -53 sum 0 count 2"]);
    assert_eq!(sum_of(&format!("{start}# comment\nh_count 2\n")), [one, "h schema -53 sum 0 count 2"]);
    assert_eq!(sum_of(&format!("{start}h 5\nh_count 2\n")), ["h 5", "h schema -53 sum 0 count 2"], "the same labels are no other series");
    assert_eq!(sum_of(&format!("{start}h_bucket{{le=\"x\"}} 5\nh_count 2\n")), ["h_bucket{le=x} 5", "h schema -53 sum 0 count 2"]);
}

#[test]
fn what_cannot_be_converted_is_counted_and_its_classic_series_stay() {
    let falling = LATENCY.replace("} 3", "} 0");
    let total_too_low = "# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_count 2\nh_sum{a=\"1\"} 0\n";
    for (body, told) in [(&*falling, 0), (total_too_low, 1)] {
        for keep in [false, true] {
            let mut target = Target { keep, ..Target::default() };
            assert_eq!(target.scrape(body), Ok(1));
            let histograms = target.lines().iter().filter(|line| line.contains("schema")).count();
            assert_eq!(histograms, told, "the next histogram is not swallowed");
            assert_eq!(target.lines().len() > told, keep);
        }
    }
}

#[test]
fn timestamps_are_those_of_the_histograms_lines() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 1 70\nh_count 1 70\nother 1 99\n";
    assert_eq!(converted(body), ["h schema -53 sum 0 count 1 zero 0 [0:1] [1] [] [] bounds [1.0] @70", "other 1 @99"]);
}

#[test]
fn names_may_need_quotes() {
    let body =
        "# TYPE \"my.\\\"lat\" histogram\n{\"my.\\\"lat_bucket\",\"x.y\"=\"\\n\",le=\"1\"} 1\n{\"my.\\\"lat_count\",\"x.y\"=\"\\n\"} 1\n";
    let mut target = Target::default();
    for learnt in [1, 0] {
        target.scrape(body).unwrap();
        assert_eq!(target.lines(), ["my.\"lat{x.y=\n} schema -53 sum 0 count 1 zero 0 [0:1] [1] [] [] bounds [1.0]"]);
        assert_eq!(target.recorder.learnt, learnt);
    }
}

#[test]
fn a_second_scrape_recognises_everything_where_it_is_expected() {
    let body = |n: u32| {
        LATENCY.replace("} 4", &format!("}} {n}")) + "# TYPE g gauge\ng{x=\"y\"} 1\n" + &LATENCY.replace("lat", "other") + "other 1\nup 1\n"
    };
    for keep in [false, true] {
        let mut target = Target { keep, ..Target::default() };
        target.recorder.skips_comments = true;
        target.scrape(&body(4)).unwrap();
        let lines = target.state.lines.len();
        target.scrape(&body(5)).unwrap();
        assert_eq!((target.recorder.learnt, target.state.lines.len()), (0, lines));
        assert!(target.state.lines.is_unindexed(), "no line was looked for");
        assert!(
            target.lines().contains(&&*CONVERTED.replace("count 4", "count 5").replace("[1, 1, -1]", "[1, 1, 0]")),
            "{:?}",
            target.lines()
        );
        assert_eq!(target.lines().iter().filter(|line| line.contains("schema")).count(), 2);
        assert!(target.lines().contains(&"up 1"));
    }
}

#[test]
fn lines_in_another_order_are_found_and_vanished_ones_forgotten() {
    let reversed = |body: &str| {
        let (comments, lines): (Vec<&str>, Vec<&str>) = body.lines().partition(|line| line.starts_with('#'));
        comments.into_iter().chain(lines.into_iter().rev()).fold(String::new(), |body, line| body + line + "\n")
    };
    let mut target = Target::default();
    target.scrape(&(LATENCY.to_owned() + &LATENCY.replace("lat", "other"))).unwrap();
    assert_eq!(target.state.lines.len(), 10);
    for body in [reversed(LATENCY), LATENCY.to_owned(), LATENCY.to_owned()] {
        target.scrape(&body).unwrap();
        assert_eq!(target.lines(), [CONVERTED]);
        assert_eq!((target.state.lines.len(), target.recorder.learnt), (5, 0));
    }
    assert!(target.state.lines.is_unindexed());
    target.scrape("").unwrap();
    assert_eq!((target.state.lines.len(), target.lines().len()), (0, 0));
    target.scrape(LATENCY).unwrap();
    assert_eq!((target.lines(), target.recorder.learnt), (vec![CONVERTED], 0), "the visitor still knows it");
}

#[test]
fn a_text_means_what_its_section_says() {
    let mut target = Target::default();
    target.recorder.skips_comments = true;
    let body = "# TYPE a histogram\na_sum 1\n# TYPE b histogram\na_sum 2\nb_count 1\nb 5\n# TYPE a histogram\na 3\n# HELP c x\na_count 1\n";
    for _ in 0..2 {
        target.scrape(body).unwrap();
        let lines = target.lines();
        let expected =
            ["a schema -53 sum 1 count 0 zero 0 [] [] [] []", "a_sum 2", "b 5", "b schema -53 sum 0 count 1 zero 0 [0:1] [1] [] []", "a 3"];
        assert_eq!(lines[..5], expected);
        assert_eq!(lines[5..], ["a schema -53 sum 0 count 1 zero 0 [0:1] [1] [] []"], "HELP changes no section");
    }
}

#[test]
fn a_scrape_that_fails_leaves_nothing_behind() {
    let mut target = Target::default();
    target.scrape(LATENCY).unwrap();
    let broken = LATENCY.replace("lat", "new") + "}\n";
    assert!(target.scrape(&broken).is_err());
    target.scrape(LATENCY).unwrap();
    assert_eq!((target.lines(), target.state.lines.len()), (vec![CONVERTED], 5));
    assert!((5 * 32..2000).contains(&target.state.heap_bytes()), "{}", target.state.heap_bytes());
}

#[test]
fn a_visitor_that_refuses_a_histogram_ends_the_scrape() {
    let next = LATENCY.to_owned() + "# TYPE g gauge\ng 1\n";
    for body in [LATENCY, &next] {
        let mut target = Target::default();
        target.recorder.refuse_at = Some(0);
        assert_eq!(target.scrape(body), Err(Error::Refused(Refused)));
        assert!(target.lines().is_empty());
    }
}

#[test]
fn exemplars_and_start_times_go_to_the_histogram() {
    let exemplar = |timestamp| Exemplar { labels: Default::default(), value: 0.5, timestamp };
    for keep in [false, true] {
        let (mut state, mut recorder, mut parser) = (ClassicHistograms::default(), Recorder::default(), Parser::default());
        let told = state.around(keep, &mut recorder, |visitor| {
            parser.feed(b"# TYPE h histogram\nh_bucket{le=\"1\"} 1\n", visitor)?;
            visitor.exemplar(0, exemplar(Some(3)));
            visitor.exemplar(0, exemplar(None));
            visitor.created(0, 7);
            parser.feed(b"# TYPE g gauge\ng 2\n", visitor)?;
            visitor.exemplar(1, exemplar(Some(4)));
            visitor.created(1, 8);
            Ok(())
        });
        assert_eq!(told, Ok(()));
        state.finish(&mut recorder).unwrap();
        let classic = ["h_bucket{le=1.0} 1", "h_bucket{le=1.0} exemplar {} 0.5", "h_bucket{le=1.0} created 7"];
        let histogram = ["h schema -53 sum 0 count 1 zero 0 [0:1] [1] [] [] bounds [1.0]", "h created 7", "h exemplar {} 0.5 @3", "g 2"];
        let lines = recorder.samples();
        assert_eq!(lines[..lines.len() - 2], [if keep { &classic[..] } else { &[] }, &histogram].concat());
    }
}

#[test]
fn the_family_is_read_from_comments_that_were_recognised() {
    let cases: [(&[u8], Option<&str>); 6] = [
        (b"# HELP a x\n# TYPE a histogram\n", Some("a")),
        (b"# TYPE a histogram\n# TYPE b histogram\n# HELP c TYPE\n#\n# x\n", Some("b")),
        (b"#\tTYPE  a\thistogram\n", Some("a")),
        (b"# TYPE \"a b\\\"\" histogram\n", Some("a b\\\"")),
        (b"# TYPEa histogram\n", None),
        (b"#\n", None),
    ];
    for (comments, family) in cases {
        assert_eq!(last_family(comments), family, "{}", String::from_utf8_lossy(comments));
    }
}
