//! Series of the text format: every way to write one, and what is none.

use super::*;

fn labels_of(text: &str, kind: MetricType) -> Vec<(String, String)> {
    let mut buffer = LabelBuffer::default();
    parse_series(text.as_bytes(), kind, &mut buffer).unwrap_or_else(|error| panic!("{text}: {error}")).unwrap();
    buffer.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn reason_of(text: &[u8]) -> Reason {
    parse_series(text, MetricType::Unknown, &mut LabelBuffer::default()).expect_err(&String::from_utf8_lossy(text)).reason
}

#[test]
fn labels_are_found_in_every_way_of_writing_them() {
    let plain = [("__name__", "m"), ("a", "b"), ("q", "1.0")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    for text in [
        r#"m{q="1.0",a="b"}"#,
        r#"m{q="1.0",a="b",}"#,
        r#"m{ q="1.0", a="b" }"#,
        r#"m { q = "1.0" , a = "b" , }"#,
        r#"m{q="1.0" a="b"}"#,
        "m\t{\tq=\t\"1.0\",\ta=\"b\"\t}",
        r#"{"m",q="1.0",a="b"}"#,
        r#"{q="1.0","m",a="b"}"#,
        r#"{q="1.0",a="b","m"}"#,
        r#"{ "m" , "q" = "1.0", "a"="b", }"#,
        r#"  {"m",q="1.0",a="b"}"#,
    ] {
        assert_eq!(labels_of(text, MetricType::Unknown), plain, "{text}");
    }
}

#[test]
fn names_and_values_may_hold_what_the_format_allows() {
    let cases: [(&str, &[(&str, &str)]); 12] = [
        ("up", &[("__name__", "up")]),
        ("some:aggregate:rate5m", &[("__name__", "some:aggregate:rate5m")]),
        ("m{}", &[("__name__", "m")]),
        (r#"m{a=""}"#, &[("__name__", "m"), ("a", "")]),
        (r#"m{a="x\"y\\z\n"}"#, &[("__name__", "m"), ("a", "x\"y\\z\n")]),
        ("m{a=\"two\nlines }\"}", &[("__name__", "m"), ("a", "two\nlines }")]),
        ("m{a=\"n\0l\"}", &[("__name__", "m"), ("a", "n\0l")]),
        ("m{a= \0 \"b\"\0}", &[("__name__", "m"), ("a", "b\"")]),
        ("m{a=\"b\\\0\"c\"\0\0 }", &[("__name__", "m"), ("a", "b\\\0\"c\"\0")]),
        (r#"m{a="{}=,"}"#, &[("__name__", "m"), ("a", "{}=,")]),
        (r#"{"näme with \"quotes\"","läbel \\"="ü"}"#, &[("__name__", "näme with \"quotes\""), ("läbel \\", "ü")]),
        ("  m", &[("__name__", "  m")]),
    ];
    for (text, expected) in cases {
        let got = labels_of(text, MetricType::Unknown);
        assert!(got.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(expected.iter().copied()), "{text}: {got:?}");
    }
}

#[test]
fn what_is_no_series_is_refused_with_its_reason() {
    let cases: [(&[u8], Reason); 28] = [
        (b"9m", Reason::Start),
        (b"-m", Reason::Start),
        (b"m{b='c'}", Reason::LabelValue),
        (b"m{b=\n", Reason::LabelValue),
        (b"m{b=c}", Reason::LabelValue),
        (b"m{\xff=\"x\"}", Reason::LabelName),
        (b"m{b=\"\xff\"}", Reason::ValueUtf8),
        (b"m{\"\xff\"=\"b\"}", Reason::NameUtf8),
        (b"{\"\xff\"}", Reason::NameUtf8),
        (b"{\"a\", \"b = \"c\"}", Reason::Equal),
        (b"{\"a\",b\\nc=\"d\"}", Reason::LabelName),
        (b"m{a=\"x", Reason::Unterminated),
        (b"m{a=\"x\\", Reason::Unterminated),
        (b"m{a=\"x\\\n\"}", Reason::Unterminated),
        (b"m{", Reason::Unterminated),
        (b"m{=\"\"}", Reason::LabelName),
        (b"m{,a=\"b\"}", Reason::LabelName),
        (b"m{a=\"b\",,}", Reason::LabelName),
        (b"m{9a=\"b\"}", Reason::LabelName),
        (b"m{a:b=\"c\"}", Reason::LabelName),
        (b"{A}", Reason::Equal),
        (b"{a=\"ok\"}", Reason::NoName),
        (b"{}", Reason::NoName),
        (b"m{\"n\"}", Reason::SecondName),
        (b"{\"m\",\"n\"}", Reason::SecondName),
        (b"m{b\0=\"hi\"}", Reason::Nul),
        (b"m{b=\0\"hi\"}", Reason::LabelValue),
        (b"m{b=\"x\\\0\n\"}", Reason::Unterminated),
    ];
    for (text, reason) in cases {
        let got = reason_of(text);
        // `a:b` and the like stop where the next token should be: both reasons name the same place.
        let near = matches!((reason, got), (Reason::LabelName, Reason::Equal) | (Reason::Equal, Reason::LabelName));
        assert!(got == reason || near, "{:?}: {got:?}", String::from_utf8_lossy(text));
    }
    assert_eq!(reason_of(b"{\"a\0\"}"), Reason::Nul);
    assert_eq!(reason_of(b"m{a=\"b\"} 1"), Reason::Value);
}

#[test]
fn floats_in_le_and_quantile_take_the_form_of_open_metrics() {
    let value = |text: &str, kind| labels_of(text, kind).remove(1).1;
    assert_eq!(value(r#"m{le="1"}"#, MetricType::Histogram), "1.0");
    assert_eq!(value(r#"m{le="+Inf"}"#, MetricType::Histogram), "+Inf");
    assert_eq!(value(r#"m{le="1000000"}"#, MetricType::Histogram), "1e+06");
    assert_eq!(value(r#"m{le="x"}"#, MetricType::Histogram), "x");
    assert_eq!(value(r#"m{le="1"}"#, MetricType::Gauge), "1");
    assert_eq!(value(r#"m{quantile="0"}"#, MetricType::Summary), "0.0");
    assert_eq!(value(r#"m{quantile="0"}"#, MetricType::Histogram), "0");
}

#[test]
fn a_label_twice_is_the_callers_to_judge() {
    let mut buffer = LabelBuffer::default();
    let twice = parse_series(br#"m{a="1",a="2"}"#, MetricType::Unknown, &mut buffer).unwrap();
    assert_eq!(twice.unwrap_err().name.as_ref(), "a");
    let name = parse_series(br#"m{__name__="n"}"#, MetricType::Unknown, &mut buffer).unwrap();
    assert_eq!(name.unwrap_err().name.as_ref(), "__name__");
}
