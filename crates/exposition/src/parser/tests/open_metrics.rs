//! OpenMetrics: splitting, memory, bounds. Verdicts on whole bodies are in `tests/open_metrics.rs`.

use proptest::prelude::*;

use super::record::Record;
use super::*;

const KEPT: Format = Format::OpenMetrics { skip_created: false };
const SKIPPED: Format = Format::OpenMetrics { skip_created: true };

const BODY: &str = "# HELP c Counts \\\"things\\\".\n# TYPE c counter\nc_total{a=\"1\"} 4.9351e-05 1520879607.789 # {id=\"x}\"} 0.5\n\
     c_created{a=\"1\"} 1520879600.5\nc_total{a=\"2\"} 7\nc_created{a=\"2\"} 1520879601\n# TYPE h_s histogram\n# UNIT h_s s\n\
     h_s_bucket{le=\"0.5\",b=\"#}\"} 3\nh_s_bucket{le=\"+Inf\",b=\"#}\"} 4 # {} 2 3.5\nh_s_count{b=\"#}\"} 4\nh_s_created{b=\"#}\"} 12\n\
     h_s_sum{b=\"#}\"} -1e3\n# TYPE \"q\nn\" counter\n{\"q\nn\",l=\"x\\\"y\"} NaN\n{\"q\nn_created\",l=\"x\\\"y\"} 9\n# HELP g x\n\
     # TYPE g gauge\ng 33 1e9\ng_created 5\n# TYPE s summary\ns{quantile=\"0\",} +Inf\ns_sum 1 # {id=\"1\",id=\"2\"} 1\ns_created 3\n# EOF\n";

/// What a body came to: the events, how many exemplars were refused, and how it ended.
type Outcome = (Vec<String>, u64, Result<(), Error<String>>);

fn feed<'a>(parser: &mut Parser, record: &mut Record, format: Format, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    parser.reset_for(format);
    record.next = 0;
    let fed = pieces.into_iter().try_for_each(|piece| parser.feed(piece, record));
    let result = fed.and_then(|()| parser.finish(record));
    (std::mem::take(&mut record.log), parser.refused_exemplars(), result)
}

fn run<'a>(format: Format, pieces: impl IntoIterator<Item = &'a [u8]>, max_line: usize) -> Outcome {
    feed(&mut Parser::new(max_line), &mut Record::default(), format, pieces)
}

fn events(format: Format, body: &str) -> Vec<String> {
    let (events, _, result) = run(format, [body.as_bytes()], DEFAULT_MAX_LINE);
    assert_eq!(result, Ok(()), "{body}");
    events
}

#[test]
fn a_visitor_with_a_memory_hears_the_same() {
    for format in [KEPT, SKIPPED] {
        let expected = run(format, [BODY.as_bytes()], DEFAULT_MAX_LINE);
        assert_eq!((&expected.2, expected.1), (&Ok(()), 1), "one exemplar has a label twice");
        for size in [1, 40, BODY.len()] {
            let (mut parser, mut record) = (Parser::default(), Record { memory: true, ..Record::default() });
            let _ = feed(&mut parser, &mut record, format, [BODY.as_bytes()]);
            let learnt = record.learnt.len();
            for round in 0..2 {
                let got = feed(&mut parser, &mut record, format, BODY.as_bytes().chunks(size));
                assert_eq!(got, expected, "round {round}, {size} bytes at once");
                assert_eq!(record.learnt.len(), learnt, "each series is learnt once");
            }
            assert!(record.skipped > 0, "known runs of comments are skipped");
        }
    }
}

#[test]
fn series_that_were_samples_are_none_when_created_lines_are_skipped() {
    let body = "# TYPE a counter\na_total 1\na_created 2\n# TYPE b counter\n{\"b\"} 1\n{\"b_created\"} 3\n# EOF\n";
    let (mut parser, mut record) = (Parser::default(), Record { memory: true, ..Record::default() });
    let (kept, ..) = feed(&mut parser, &mut record, KEPT, [body.as_bytes()]);
    assert_eq!(kept, ["a_total 1", "a_created 2", "{\"b\"} 1", "{\"b_created\"} 3"]);
    let (skipped, ..) = feed(&mut parser, &mut record, SKIPPED, [body.as_bytes()]);
    assert_eq!(skipped, ["a_total 1", "a_total since 2000", "{\"b\"} 1", "{\"b\"} since 3000"]);
    assert_eq!(record.order.len(), 4);
}

#[test]
fn known_lines_with_new_ends_are_judged_anew() {
    let (mut parser, mut record) = (Parser::default(), Record { memory: true, ..Record::default() });
    let _ = feed(&mut parser, &mut record, KEPT, [&b"a{b=\"c\"} 1\n# EOF\n"[..]]);
    let mut verdict = |line: &str| feed(&mut parser, &mut record, KEPT, [format!("{line}\n# EOF\n").as_bytes()]);
    for (end, told) in [
        (" 2", "a{b=\"c\"} 2"),
        (" 2 3", "a{b=\"c\"} 2 @3000"),
        (" 2 # {x=\"}\"} 1", "a{b=\"c\"} 2;a{b=\"c\"} # {x=\"}\"} 1"),
        (" 2 3 # {} 1 2", "a{b=\"c\"} 2 @3000;a{b=\"c\"} # {} 1 @2000"),
    ] {
        let (events, _, result) = verdict(&format!("a{{b=\"c\"}}{end}"));
        assert_eq!((events.join(";").as_str(), result), (told, Ok(())), "{end}");
    }
    for end in ["", " ", " x", " 1 x", " 1 NaN", " 1 2 3", " 1 2 ", " 1 # {} x", " 1 # {}", " 1 # x", " 1\0", "1"] {
        assert!(matches!(verdict(&format!("a{{b=\"c\"}}{end}")).2, Err(Error::Syntax(_))), "{end:?}");
    }
}

#[test]
fn comments_that_are_skipped_still_say_whose_start_times_follow() {
    let body =
        "# TYPE counter_a counter\ncounter_a_total 1\ncounter_a_created 2\n# HELP b x\n# TYPE b counter\nb_total 1\nb_created 2\n# EOF\n";
    let (mut parser, mut record) = (Parser::default(), Record { memory: true, ..Record::default() });
    let first = feed(&mut parser, &mut record, SKIPPED, [body.as_bytes()]);
    assert_eq!(first.0.iter().filter(|event| event.contains("since")).count(), 2);
    assert_eq!(feed(&mut parser, &mut record, SKIPPED, [body.as_bytes()]), first);
    assert_eq!(record.skipped, 3);
}

#[test]
fn a_nul_behind_a_known_help_line_changes_no_verdict() {
    for (first, then, good) in
        [("# HELP a b\na 1\n", "# HELP a b\n\0a 1\n", true), ("# TYPE a gauge\na 1\n", "# TYPE a gauge\n\0a 1\n", false)]
    {
        let (mut parser, mut record) = (Parser::default(), Record { memory: true, ..Record::default() });
        let _ = feed(&mut parser, &mut record, KEPT, [format!("{first}# EOF\n").as_bytes()]);
        for size in [1, 12, 100] {
            let body = format!("{then}# EOF\n");
            assert_eq!(feed(&mut parser, &mut record, KEPT, body.as_bytes().chunks(size)).2.is_ok(), good, "{then:?} by {size}");
        }
    }
}

#[test]
fn start_times_wait_for_a_bounded_number_of_samples() {
    let told = |samples: usize, value: &str| {
        let lines: String = (0..samples).map(|le| format!("h_bucket{{le=\"{le}\",v=\"{value}\"}} 1\n")).collect();
        let body = format!("# TYPE h histogram\n{lines}h_created{{v=\"{value}\"}} 5\n# EOF\n");
        events(SKIPPED, &body).len() - samples
    };
    assert_eq!(told(4096, "x"), 4096);
    assert_eq!(told(4097, "x"), 1, "what was before is forgotten");
    let long = "x".repeat(300_000);
    assert_eq!(told(3, &long), 3);
    assert_eq!(told(4, &long), 1, "as it is when it takes too much memory");
}

#[test]
fn the_end_may_come_in_pieces_and_nothing_after_it() {
    let end = |pieces: &[&str]| run(KEPT, pieces.iter().map(|piece| piece.as_bytes()), 100).2;
    for pieces in [&["a 1\n# E", "OF", "\n"][..], &["a 1\n# EOF"], &["# EOF\0", "\0\n\0", "\0"], &["", "# EOF\n", ""], &[]] {
        assert_eq!(end(pieces), Ok(()), "{pieces:?}");
    }
    for name in ["a\n# EOF\n".to_owned(), "x".repeat(40) + "\n"] {
        let quoted = format!("{{\"{name}\"}} 1\n# EOF\n");
        assert_eq!(run(KEPT, quoted.as_bytes().chunks(1), 100).2, Ok(()), "what is in quotes is none");
    }
    for (pieces, reason) in [
        (&["# EOF\n", "\0", "a"][..], Reason::AfterEof),
        (&["# EOF", " "], Reason::AfterEof),
        (&["# EO", "F", "F\n"], Reason::AfterEof),
        (&["a 1\n"], Reason::NoEof),
        (&["a 1"], Reason::NoEof),
        (&["# EO"], Reason::Comment),
        (&["{\"a\n"], Reason::Unterminated),
    ] {
        let Err(Error::Syntax(error)) = end(pieces) else { panic!("{pieces:?}") };
        assert_eq!(error.reason, reason, "{pieces:?}");
    }
}

#[test]
fn resetting_forgets_the_body_before() {
    let mut parser = Parser::default();
    let mut record = Record::default();
    let body = &b"# HELP aaaa x\n# TYPE aaaa counter\naaaa 1 # {a=\"1\",a=\"2\"} 1\naaaa_created 5\n# EOF\n"[..];
    assert_eq!(feed(&mut parser, &mut record, SKIPPED, [body]).1, 1);
    let (events, refused, result) = feed(&mut parser, &mut record, SKIPPED, [&b"aaaa 1\naaaa_created 5\n\0# EOF\n"[..]]);
    assert_eq!((events.len(), refused), (2, 0), "no type, no start times, nothing refused");
    assert!(result.is_err(), "no HELP line, no NUL");
    let mut end_of = |bodies: [&[u8]; 2]| {
        let [_, last] = bodies.map(|body| feed(&mut parser, &mut record, SKIPPED, [body]));
        last
    };
    let (events, ..) = end_of([b"# TYPE a counter\na 1\na_created 5\n# EOF\n", b"# TYPE a counter\na 1\n# EOF\n"]);
    assert_eq!(events, ["a 1"]);
    let (.., result) = end_of([b"# HELP a x\n# EOF\n", b"a 1\n\0# EOF\n"]);
    assert!(result.is_err(), "no HELP line, no NUL");
    parser.reset();
    parser.feed(b"a 1\n\n# b\n", &mut record).unwrap();
    assert_eq!(parser.finish(&mut record), Ok(()), "the text format again");
}

#[test]
fn lines_are_bounded_however_they_arrive() {
    let exact = format!("m{{a=\"{}\"}} 1 # {{}} 2", "x".repeat(100 - 16));
    assert_eq!(exact.len(), 100);
    for (body, max, good) in [
        (format!("{exact}\n# EOF\n"), 100, true),
        (format!("{exact}\n# EOF\n"), 99, false),
        (format!("# HELP a {}\n# EOF\n", "x".repeat(91)), 100, true),
        (format!("# HELP a {}\n# EOF\n", "x".repeat(92)), 100, false),
        (format!("{{\"{}", "\n".repeat(200)), 100, false),
    ] {
        for size in [1, 7, 1000] {
            let (_, _, result) = run(KEPT, body.as_bytes().chunks(size), max);
            match result {
                Ok(()) => assert!(good, "{body}"),
                Err(Error::Syntax(error)) => assert_eq!((good, error.reason), (false, Reason::TooLong { max }), "{body}"),
                Err(other) => panic!("{other}"),
            }
        }
        let mut record = Record { memory: true, ..Record::default() };
        let known = feed(&mut Parser::default(), &mut record, KEPT, [body.as_bytes()]);
        let again = feed(&mut Parser::new(max), &mut record, KEPT, [body.as_bytes()]);
        assert_eq!(again.2.is_ok(), good && known.2.is_ok(), "{body}");
    }
}

/// Pieces of bodies, good and bad, that meet each other in every order.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(BODY.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>()),
        4 => "[a-c](_created)?\\{d=\"[a-z\\\\]{0,4}\"\\} [0-9.e+-]{1,5}( [0-9]{1,3})?( # \\{\\} [0-9])?\n",
        2 => "[a-c\"{}=,# \n\u{0}]{0,8}",
        2 => Just("# TYPE a counter\n".to_owned()),
        1 => Just("# HELP a b\0c\n\0".to_owned()),
        1 => Just("# EOF\n".to_owned()),
        1 => Just("x".repeat(150)),
    ]
}

proptest! {
    #[test]
    fn chunking_changes_nothing(
        pieces in prop::collection::vec(piece(), 0..14),
        eof in prop::bool::weighted(0.8),
        skip_created in any::<bool>(),
        cuts in prop::collection::vec(0_usize..700, 0..40),
    ) {
        let format = Format::OpenMetrics { skip_created };
        let body = [pieces.concat().as_bytes(), if eof { b"# EOF\n" } else { b"" }].concat();
        let whole = run(format, [&body[..]], 120);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).chain([0, body.len()]).collect();
        cuts.sort_unstable();
        let pieces = || cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]);
        prop_assert_eq!(&run(format, pieces(), 120), &whole);
        prop_assert_eq!(&run(format, body.chunks(1), 120), &whole);
        // And so it is for a visitor that recognises what it heard before.
        let (mut parser, mut record) = (Parser::new(120), Record { memory: true, ..Record::default() });
        prop_assert_eq!(&feed(&mut parser, &mut record, format, [&body[..]]), &whole);
        prop_assert_eq!(&feed(&mut parser, &mut record, format, pieces()), &whole);
        prop_assert_eq!(&feed(&mut parser, &mut record, format, [&body[..]]), &whole);
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300), skip_created in any::<bool>()) {
        let format = Format::OpenMetrics { skip_created };
        let _ = run(format, [&body[..]], 64);
        let _ = run(format, body.chunks(3), 64);
    }
}
