//! The parser as a whole: verdicts, splitting, chunking, memory.

mod open_metrics;
mod record;

use model::stale::NORMAL_NAN_BITS;
use proptest::prelude::*;

use self::record::Record;
use super::*;

/// What a body came to: the samples, entries and learnt labels, and how it ended.
type Outcome = (Vec<(String, u64, Option<i64>)>, Vec<String>, Vec<String>, Result<(), Error<String>>);

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max_line: usize) -> Outcome {
    let (mut parser, mut record) = (Parser::new(max_line), Record::default());
    let fed = pieces.into_iter().try_for_each(|piece| parser.feed(piece, &mut record));
    let result = fed.and_then(|()| parser.finish(&mut record));
    (record.samples, record.entries, record.learnt, result)
}

fn samples(body: &str) -> Vec<(String, f64, Option<i64>)> {
    let (samples, _, _, result) = run([body.as_bytes()], DEFAULT_MAX_LINE);
    result.unwrap_or_else(|error| panic!("{body:?}: {error}"));
    samples.into_iter().map(|(text, bits, at)| (text, f64::from_bits(bits), at)).collect()
}

fn reason(body: &[u8]) -> (Reason, u64) {
    match run([body], DEFAULT_MAX_LINE).3 {
        Err(Error::Syntax(error)) => (error.reason, error.line),
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(body)),
    }
}

#[test]
fn a_body_comes_out_line_by_line() {
    let body = "# HELP a Some help.\n# TYPE a counter\na{b=\"c\"} 1.5 1700000000123\n\n  \n# a comment\na 2\n\tx  3 \t\nlast{} +Inf";
    let (got, entries, _, result) = run([body.as_bytes()], DEFAULT_MAX_LINE);
    assert_eq!(result, Ok(()));
    let expected = [("a{b=\"c\"}", 1.5, Some(1_700_000_000_123)), ("a", 2.0, None), ("\tx", 3.0, None), ("last{}", f64::INFINITY, None)];
    assert_eq!(got, expected.map(|(text, value, at)| (text.to_owned(), value.to_bits(), at)));
    assert_eq!(entries, [r#"Help { family: "a", text: "Some help." }"#, r#"Type { family: "a", kind: Counter }"#]);
}

#[test]
fn samples_are_split_as_prometheus_splits_them() {
    let cases: [(&str, &str, f64, Option<i64>); 13] = [
        ("m 1", "m", 1.0, None),
        ("m{a=\"b\"}1", "m{a=\"b\"}", 1.0, None),
        ("m+1", "m", 1.0, None),
        ("m{a=\"x y\"} 1", "m{a=\"x y\"}", 1.0, None),
        ("m{a=\"} 7\"} 1", "m{a=\"} 7\"}", 1.0, None),
        ("m{a=\"x} 7\n\"} 1", "m{a=\"x} 7\n\"}", 1.0, None),
        ("m { a=\"b\" }\t1\t5\t", "m { a=\"b\" }", 1.0, Some(5)),
        ("m 1 0005", "m", 1.0, Some(5)),
        ("m 1 9223372036854775807", "m", 1.0, Some(i64::MAX)),
        ("{\"m.n\"} 1", "{\"m.n\"}", 1.0, None),
        ("m .5", "m", 0.5, None),
        ("m 1e3\n", "m", 1000.0, None),
        ("m -Inf\n", "m", f64::NEG_INFINITY, None),
    ];
    for (body, text, value, at) in cases {
        assert_eq!(samples(body), [(text.to_owned(), value, at)], "{body:?}");
    }
    assert_eq!(run([&b"m nan\n"[..]], 100).0, [("m".to_owned(), NORMAL_NAN_BITS, None)]);
}

#[test]
fn wrong_lines_are_refused_with_reason_and_number() {
    use crate::number::NumberError::{Range, Syntax, Unsupported};
    let cases: [(&[u8], Reason, u64); 25] = [
        (b"a", Reason::Value, 1),
        (b"a \n", Reason::Value, 1),
        (b"a\n", Reason::Value, 1),
        (b"ok 1\n\nok 2\na{b='c'} 1\n", Reason::LabelValue, 4),
        (b"a{b=\"x\ny\"} 1\nb{\n", Reason::LabelName, 3),
        (b"a true\n", Reason::Number(Syntax), 1),
        (b"a 1\r\n", Reason::Number(Syntax), 1),
        (b"a 1_2\n", Reason::Number(Unsupported), 1),
        (b"a 0x1p-3\n", Reason::Number(Unsupported), 1),
        (b"a 1e999\n", Reason::Number(Range), 1),
        (b"a 0 1_2\n", Reason::End, 1),
        (b"a 0 1 2\n", Reason::End, 1),
        (b"a 0 -1\n", Reason::Timestamp, 1),
        (b"a 0 x\n", Reason::Timestamp, 1),
        (b"a 0 1.5\n", Reason::End, 1),
        (b"a 0 9223372036854775808\n", Reason::TimestampRange, 1),
        (b"a 0{\n", Reason::Timestamp, 1),
        (b"a{b=\"c\"}{d=\"e\"} 1\n", Reason::Value, 1),
        (b"{a=\"ok\"} 1", Reason::NoName, 1),
        (b"something_weird{problem=\"", Reason::Unterminated, 1),
        (b"a\0{b=\"d\"} 1", Reason::Value, 1),
        (b"a 0 1\0", Reason::End, 1),
        (b"1a 1\n", Reason::Start, 1),
        (b"# TYPE a gauges\n", Reason::Type, 1),
        (b"# HELP \"a", Reason::Unterminated, 1),
    ];
    for (body, expected, line) in cases {
        assert_eq!(reason(body), (expected, line), "{:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_nul_at_a_line_start_ends_the_body() {
    assert_eq!(samples("a 1\n\0 this is not looked at\n"), [("a".to_owned(), 1.0, None)]);
    assert_eq!(samples("a 1\n#\0\nnor this"), [("a".to_owned(), 1.0, None)]);
    let mut parser = Parser::default();
    let mut record = Record::default();
    parser.feed(b"a 1\n\0", &mut record).unwrap();
    parser.feed(b"\n!!!\n", &mut record).unwrap();
    parser.finish(&mut record).unwrap();
    parser.reset();
    parser.feed(b"b 2\n", &mut record).unwrap();
    assert_eq!(record.samples.len(), 2, "and the next body is parsed again");
}

#[test]
fn labels_take_the_type_that_was_said_last() {
    let body = "h{le=\"1\"} 1\n# TYPE h histogram\nh{le=\"2\"} 1\n# TYPE s summary\ns{quantile=\"1\"} 2\n# TYPE g gauge\ng{le=\"1\"} 1\n";
    let (_, _, learnt, result) = run([body.as_bytes()], 100);
    assert_eq!(result, Ok(()));
    let expected = [r#"__name__="h" le="1" "#, r#"__name__="h" le="2.0" "#, r#"__name__="s" quantile="1.0" "#, r#"__name__="g" le="1" "#];
    assert_eq!(learnt, expected);
}

#[test]
fn lines_are_bounded_however_they_arrive() {
    let exact = format!("m{{a=\"{}\"}} 1", "x".repeat(101 - 9));
    assert_eq!(exact.len(), 101);
    let too_long = |body: &str, max: usize| {
        for size in [1, 7, 1000] {
            let (.., result) = run(body.as_bytes().chunks(size), max);
            match result {
                Ok(()) => return false,
                Err(Error::Syntax(error)) => assert_eq!(error.reason, Reason::TooLong { max }),
                Err(other) => panic!("{other}"),
            }
        }
        true
    };
    assert!(!too_long(&exact, 101));
    assert!(too_long(&exact, 100));
    assert!(too_long(&format!("{exact}\n"), 100));
    assert!(too_long(&format!("# {}\n", "c".repeat(99)), 100));
    assert!(!too_long(&format!("# {}\n", "c".repeat(98)), 100));
    assert!(too_long(&format!("m{{a=\"{}", "\n".repeat(200)), 100), "lines within a quoted text count together");
    assert!(!too_long(&"short 1\n".repeat(1000), 7));
}

#[test]
fn a_quoted_text_over_very_many_lines_costs_no_square() {
    // A million newlines one by one: quadratic work would take minutes.
    let (mut parser, mut record) = (Parser::new(2 << 20), Record::default());
    parser.feed(b"m{a=\"", &mut record).unwrap();
    for _ in 0..1_000_000 {
        parser.feed(b"\n", &mut record).unwrap();
    }
    parser.feed(b"\"} 1\nn 2", &mut record).unwrap();
    parser.finish(&mut record).unwrap();
    assert_eq!(record.samples.len(), 2);
}

#[test]
fn a_visitor_that_refuses_ends_the_parsing() {
    let (.., result) = run([&b"m{a=\"1\",a=\"2\"} 1\n"[..]], 100);
    assert_eq!(result, Err(Error::Refused("label \"a\" occurs twice".to_owned())));
}

const BODY: &str = "# HELP go_gc A summary.\n# TYPE go_gc summary\ngo_gc{quantile=\"0\"} 4.9351e-05\ngo_gc{quantile=\"0.25\",} 7.424100000000001e-05\n\
     go_gc { quantile = \"1.0\", a = \"b\" } 8.3835e-05 123123\n# \"comment\nwind{A=\"2\",c=\"}\"} -12345\n{\"näme\",l=\"x\\\"y\nz\"} NaN\n\
     # TYPE \"q\nn\" gauge\n\nplain 33  \t123\nbig 123456789012345678901234567890\nlast{a=\"\"} 1e-3";

#[test]
fn a_visitor_with_a_memory_hears_the_same_samples() {
    let (expected, _, learnt, result) = run([BODY.as_bytes()], DEFAULT_MAX_LINE);
    assert_eq!(result, Ok(()));
    let mut record = Record { memory: true, ..Record::default() };
    let mut parser = Parser::default();
    for round in 0..3 {
        record.samples.clear();
        record.next = 0;
        parser.reset();
        parser.feed(BODY.as_bytes(), &mut record).unwrap();
        parser.finish(&mut record).unwrap();
        assert_eq!(record.samples, expected, "round {round}");
        assert_eq!(record.learnt, learnt, "each series is learnt once");
    }
    assert_eq!(record.skipped, 2 * 5, "runs of comments before a sample are not read again; the quoted name spans two lines");
    parser.reset();
    let result = parser.feed(format!("{BODY}\nwrong\n").as_bytes(), &mut record);
    let Err(Error::Syntax(error)) = result else { panic!("{result:?}") };
    assert_eq!(error.line as usize, BODY.lines().count() + 1, "skipped lines are counted");
}

#[test]
fn only_whole_runs_of_comments_are_learnt() {
    let body = b"# HELP a b\n# TYPE a gauge\na 1\n# x\n# y\nb 2\n";
    for cut in 0..body.len() {
        let mut record = Record { memory: true, ..Record::default() };
        let mut parser = Parser::default();
        parser.feed(&body[..cut], &mut record).unwrap();
        parser.feed(&body[cut..], &mut record).unwrap();
        let runs = ["# HELP a b\n# TYPE a gauge\n", "# x\n# y\n"];
        assert!(record.comments.keys().all(|run| runs.iter().any(|whole| whole.as_bytes() == run)), "cut at {cut}");
    }
}

#[test]
fn comments_that_are_skipped_still_set_the_type() {
    let mut record = Record { memory: true, ..Record::default() };
    let mut parser = Parser::default();
    parser.feed(b"# TYPE h histogram\nh{le=\"1\"} 1\n# TYPE g gauge\n# x\ng 1\n", &mut record).unwrap();
    parser.reset();
    parser.feed(b"# TYPE h histogram\nh{le=\"2\"} 1\n# TYPE g gauge\n# x\ng{le=\"3\"} 1\n", &mut record).unwrap();
    assert_eq!(record.skipped, 3);
    assert_eq!(record.learnt[2..], [r#"__name__="h" le="2.0" "#, r#"__name__="g" le="3" "#]);
}

#[test]
fn a_known_series_with_a_wrong_value_is_still_an_error() {
    let mut record = Record { memory: true, ..Record::default() };
    let mut parser = Parser::default();
    parser.feed(b"a 1\nb{c=\"d\"} 2\n", &mut record).unwrap();
    for body in ["a x\n", "a 1\nb{c=\"d\"} 1e999\n", "a 1\nb{c=\"d\"}\n", "a 1 5 5\n", "a1\n"] {
        parser.reset();
        record.next = 0;
        let result = parser.feed(body.as_bytes(), &mut record);
        assert!(matches!(result, Err(Error::Syntax(_))), "{body:?}: {result:?}");
    }
    // A longer name that begins like the expected one is another series.
    parser.reset();
    record.next = 0;
    parser.feed(b"ab 1\n", &mut record).unwrap();
    assert_eq!(record.learnt.last().unwrap(), "__name__=\"ab\" ");
}

/// Pieces of bodies, good and bad, that meet each other in every order.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(BODY.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>()),
        4 => "[a-c]\\{d=\"[a-z\\\\\n]{0,4}\"\\} [0-9.e+-]{1,5}( [0-9]{1,3})?\n",
        2 => "[a-c\"{}=,# \t\n]{0,8}",
        1 => Just("# HELP a b\0c\n".to_owned()),
        1 => Just("\0".to_owned()),
        1 => Just("x".repeat(150)),
    ]
}

proptest! {
    #[test]
    fn chunking_changes_nothing(pieces in prop::collection::vec(piece(), 0..12), cuts in prop::collection::vec(0_usize..600, 0..40)) {
        let body = pieces.concat().into_bytes();
        let whole = run([&body[..]], 120);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).chain([0, body.len()]).collect();
        cuts.sort_unstable();
        let chunked = run(cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]), 120);
        prop_assert_eq!(&chunked, &whole);
        let bytewise = run(body.chunks(1), 120);
        prop_assert_eq!(&bytewise, &whole);
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = run([&body[..]], 64);
        let _ = run(body.chunks(3), 64);
    }
}
