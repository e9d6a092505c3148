//! Bodies that are wrong, too large, refused, or cut anywhere.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_not_in_the_format_is_refused_with_its_reason() {
    let of = |pairs: &[(&str, &str)], what: &[u8], with: &[u8]| {
        let described = MetricFamily { help: "hh".into(), ..family("mm", Kind::Gauge, vec![gauge(pairs, 1.0)]) };
        replaced(body(&[described]), what, with)
    };
    let cases: [(Vec<u8>, ProtobufReason); 13] = [
        (of(&[], b"mm", b"m\xff"), ProtobufReason::MetricName),
        (of(&[], b"\x0a\x02mm", b"\x5a\x02mm"), ProtobufReason::MetricName),
        (of(&[], b"hh", b"h\xff"), ProtobufReason::HelpUtf8),
        (of(&[], b"\x18\x01", b"\x18\x06"), ProtobufReason::MetricType(6)),
        (of(&[("aa", "b")], b"aa", b"a\xff"), ProtobufReason::LabelName),
        (of(&[("aa", "b")], b"\x02aa\x12\x01b", b"\x00\x12\x03bbb"), ProtobufReason::LabelName),
        (of(&[("a", "bb")], b"bb", b"b\xff"), ProtobufReason::ValueUtf8),
        (raw(Kind::Gauge, &[0x12, 2, 0x08, 1]), Malformed::WireType { field: 1 }.into()),
        (raw(Kind::Gauge, &[0x1a, 2, 0x08, 1]), Malformed::WireType { field: 1 }.into()), // a counter, which nobody asks for
        (raw(Kind::Gauge, &[0x12, 9, 0x09, 1]), Malformed::Truncated.into()),
        (raw(Kind::Gauge, &[0x12]), Malformed::Truncated.into()),
        (vec![5, 0x0a, 1, b'm'], Malformed::Truncated.into()),
        (vec![0xff, 0xff, 0xff, 0xff, 0xff, 0x01], ProtobufReason::Length),
    ];
    for (bytes, expected) in cases {
        assert_eq!(reason(CLASSIC, &bytes), expected, "{bytes:02x?}");
    }
}

/// `bytes` with the first `what` in it replaced; the lengths around it stay.
fn replaced(mut bytes: Vec<u8>, what: &[u8], with: &[u8]) -> Vec<u8> {
    let at = bytes.windows(what.len()).position(|window| window == what).unwrap();
    bytes.splice(at..at + what.len(), with.iter().copied());
    bytes
}

#[test]
fn spans_have_to_fit_the_buckets_of_every_native_histogram() {
    let wrong = Histogram { positive_delta: vec![1], ..native() };
    let of = family;
    let family = of("h", Kind::Histogram, vec![histogram(native()), histogram(wrong)]);
    assert_eq!(reason(NATIVE, &body(std::slice::from_ref(&family))), ProtobufReason::Buckets { side: "positive", needed: 4, buckets: 1 });
    assert_eq!(samples(CLASSIC, family).len(), 6, "nobody looks if only classic ones are asked for");
    let huge = vec![BucketSpan { offset: 0, length: u32::MAX }; 3];
    let lying = histogram(Histogram { negative_span: huge, ..native() });
    let needed = 3 * u64::from(u32::MAX);
    let bytes = body(&[of("h", Kind::Histogram, vec![lying])]);
    assert_eq!(reason(NATIVE, &bytes), ProtobufReason::Buckets { side: "negative", needed, buckets: 1 });
}

#[test]
fn native_histograms_beyond_any_use_are_refused_before_they_are_made() {
    let spans = vec![BucketSpan::default(); histogram::MAX_BUCKETS + 1];
    let bytes = body(&[family("h", Kind::Histogram, vec![histogram(Histogram { positive_span: spans, ..Default::default() })])]);
    assert_eq!(reason(NATIVE, &bytes), ProtobufReason::TooManyBuckets { max: histogram::MAX_BUCKETS });
}

#[test]
fn an_error_says_which_message_and_family_it_is() {
    let good = family("good", Kind::Gauge, vec![gauge(&[], 1.0)]);
    let bad = family("bad", Kind::Gauge, vec![gauge(&[("aa", "b")], 1.0)]);
    let bytes = replaced(body(&[good, bad]), b"aa", b"a\xff");
    for step in [1, 3, 1000] {
        let (mut parser, mut recorder) = (ProtobufParser::default(), Recorder::default());
        let error = parse(&mut parser, &bytes, step, &mut recorder).unwrap_err();
        assert_eq!(shown(&error), "message 2 (family \"bad\"): invalid label name");
        assert_eq!(recorder.samples(), ["good 1"]);
    }
}

fn shown(error: &Error<Refused>) -> String {
    match error {
        Error::Protobuf(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_longer_than_the_bound_is_refused_by_its_length_alone() {
    let bytes = body(&[family("m", Kind::Gauge, vec![gauge(&[("a", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")], 1.0)])]);
    let length = bytes.len() as u64 - 1;
    let mut parser = ProtobufParser::new(length as usize - 1);
    let error = parser.feed(&bytes[..1], &mut Recorder::default()).unwrap_err();
    assert_eq!(shown(&error), format!("message 1: message has {length} bytes, more than {}", length - 1));
    let mut parser = ProtobufParser::new(length as usize);
    assert!(parse(&mut parser, &bytes, 7, &mut Recorder::default()).is_ok());
}

#[test]
fn the_carry_holds_no_more_than_was_fed() {
    let mut parser = ProtobufParser::default();
    parser.feed(&[0x80, 0x80, 0x80, 0x40, b'x'], &mut Recorder::default()).unwrap();
    assert!(parser.carry.capacity() < 1000, "a length of 128 MiB is only a promise: {}", parser.carry.capacity());
    parser.feed(&vec![0; 1 << 20], &mut Recorder::default()).unwrap();
    parser.reset();
    assert!(parser.carry.capacity() <= MAX_KEPT_CARRY);
}

#[test]
fn a_visitor_that_refuses_ends_the_body() {
    let (mut parser, mut recorder) = (ProtobufParser::default(), Recorder::default());
    recorder.refuse_at = Some(1);
    let bytes = body(&[family("m", Kind::Gauge, vec![gauge(&[], 1.0), gauge(&[("a", "b")], 2.0)])]);
    assert_eq!(parse(&mut parser, &bytes, 5, &mut recorder), Err(Error::Refused(Refused)));
    assert_eq!(recorder.samples(), ["m 1"]);
}

fn many() -> Vec<u8> {
    let classic = Histogram {
        sample_count: 3,
        bucket: vec![bucket(1.0, 2), bucket(2.0, 3)],
        exemplars: vec![exemplar(1.0, Some(1))],
        ..Default::default()
    };
    body(&[
        family("a", Kind::Gauge, vec![gauge(&[("b", "c")], 1.0), gauge(&[("b", "d"), ("e", "f")], 2.0)]),
        family(
            "h",
            Kind::Histogram,
            vec![histogram(classic), histogram(Histogram { exemplars: vec![exemplar(1.0, Some(1))], ..native() })],
        ),
        family(
            "c",
            Kind::Counter,
            vec![Metric {
                counter: Some(Counter { value: 1.0, exemplar: Some(exemplar(1.0, None)), start_timestamp: None }),
                ..Default::default()
            }],
        ),
    ])
}

proptest! {
    #[test]
    fn where_a_body_is_cut_does_not_matter(step in 1_usize..200) {
        let (mut parser, mut whole, mut cut) = (ProtobufParser::default(), Recorder::default(), Recorder::default());
        parser.set_histograms(BOTH);
        parse(&mut parser, &many(), usize::MAX, &mut whole).unwrap();
        parse(&mut parser, &many(), step, &mut cut).unwrap();
        prop_assert_eq!(whole.lines, cut.lines);
    }

    #[test]
    fn broken_bodies_have_one_verdict_however_they_come(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), step in 1_usize..50, native in any::<bool>(),
    ) {
        let mut bytes = many();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut parser = ProtobufParser::default();
        parser.set_histograms(HistogramForms { native, keep_classic: true, convert_classic: true });
        let (mut whole, mut cut) = (Recorder::default(), Recorder::default());
        let verdict = parse(&mut parser, &bytes, usize::MAX, &mut whole);
        prop_assert_eq!(&parse(&mut parser, &bytes, step, &mut cut), &verdict);
        prop_assert_eq!(&whole.lines, &cut.lines);
        // What was learnt of a body changes nothing about it.
        whole.again();
        prop_assert_eq!(&parse(&mut parser, &bytes, step, &mut whole), &verdict);
        prop_assert_eq!(whole.lines, cut.lines);
    }
}
