//! The slow path of OpenMetrics: a series' text, or an exemplar's labels, taken apart into spans.

use crate::error::Reason;
use crate::series::{Span, Spans, Stop, check_utf8, continues_label, continues_metric, quoted_end, skip_while, span, value_end};
use crate::series::{starts_label, starts_metric};

/// The places of a label's name and value, without quotes.
pub(crate) type LabelSpans = Vec<(Span, Span)>;

impl Spans {
    /// As [`Spans::lex`], for OpenMetrics.
    pub(crate) fn lex_open_metrics(&mut self, text: &[u8]) -> Result<usize, Stop> {
        self.metric = None;
        self.labels.clear();
        let mut at = 0;
        let first = *text.first().ok_or(Stop::More)?;
        if starts_metric(first) {
            at = skip_while(text, 1, continues_metric);
            self.metric = Some(span(0, at));
            if text.get(at) != Some(&b'{') {
                return Ok(at);
            }
        } else if first != b'{' {
            return Err(Reason::Start.into());
        }
        let mut list = List { text, labels: &mut self.labels, metric: Some(&mut self.metric) };
        let end = list.lex(at + 1)?;
        if self.metric.is_none() {
            return Err(Reason::NoName.into());
        }
        Ok(end)
    }
}

/// Takes apart the labels of an exemplar, behind the opening brace at `at - 1`, and returns where they end.
pub(crate) fn exemplar_labels(text: &[u8], at: usize, labels: &mut LabelSpans) -> Result<usize, Stop> {
    labels.clear();
    List { text, labels, metric: None }.lex(at)
}

/// What stands between braces.
struct List<'a> {
    text: &'a [u8],
    labels: &'a mut LabelSpans,
    /// Where a quoted name without a value goes; exemplars have none.
    metric: Option<&'a mut Option<Span>>,
}

impl List<'_> {
    fn lex(&mut self, mut at: usize) -> Result<usize, Stop> {
        loop {
            if self.byte(at)? == b'}' {
                return Ok(at + 1);
            }
            let (name, end) = self.name(at)?;
            let quoted = self.text[at] == b'"';
            let mut next = self.byte(end)?;
            at = end + 1;
            if quoted && matches!(next, b',' | b'}') {
                let metric = self.metric.as_deref_mut().ok_or(Reason::Equal)?;
                if metric.replace(name).is_some() {
                    return Err(Reason::SecondName.into());
                }
            } else if next == b'=' {
                let end = self.value(at)?;
                self.labels.push((name, span(at + 1, end - 1)));
                next = self.byte(end)?;
                at = end + 1;
            } else {
                return Err(Reason::Equal.into());
            }
            match next {
                b',' => {}
                b'}' => return Ok(at),
                _ => return Err(Reason::Comma.into()),
            }
        }
    }

    fn name(&self, at: usize) -> Result<(Span, usize), Stop> {
        match self.byte(at)? {
            b'"' => {
                let end = quoted_end(self.text, at)?;
                if self.metric.is_none() {
                    one_line(&self.text[at..end])?;
                } else {
                    // Prometheus refuses these names too, though not in its parser.
                    check_utf8(&self.text[at..end], Reason::NameUtf8)?;
                }
                Ok((span(at + 1, end - 1), end))
            }
            byte if starts_label(byte) => {
                let end = skip_while(self.text, at, continues_label);
                Ok((span(at, end), end))
            }
            0 => Err(Reason::Nul.into()),
            _ => Err(Reason::LabelName.into()),
        }
    }

    /// Where the value that begins at `at` ends.
    fn value(&self, at: usize) -> Result<usize, Stop> {
        if self.byte(at)? != b'"' {
            return Err(Reason::LabelValue.into());
        }
        let end = if self.metric.is_some() {
            value_end::<false>(self.text, at)?
        } else {
            let end = quoted_end(self.text, at)?;
            one_line(&self.text[at..end])?;
            end
        };
        check_utf8(&self.text[at..end], Reason::ValueUtf8)?;
        Ok(end)
    }

    fn byte(&self, at: usize) -> Result<u8, Stop> {
        self.text.get(at).copied().ok_or(Stop::More)
    }
}

fn one_line(text: &[u8]) -> Result<(), Stop> {
    if text.contains(&b'\n') { Err(Reason::Unterminated.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use model::MetricType;

    use super::*;
    use crate::buffer::LabelBuffer;
    use crate::series::Series;

    fn labels_of(text: &[u8], kind: MetricType) -> Result<Vec<(String, String)>, Stop> {
        let (mut spans, mut buffer) = (Spans::default(), LabelBuffer::default());
        assert_eq!(spans.lex_open_metrics(text)?, text.len(), "{:?}", String::from_utf8_lossy(text));
        Series::new(text, &spans, kind).labels(&mut buffer).unwrap();
        Ok(buffer.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    type Case<'a> = (&'a [u8], &'a [(&'a str, &'a str)]);

    #[test]
    fn every_way_to_write_a_series_is_read() {
        let cases: [Case<'_>; 15] = [
            (b"m", &[("__name__", "m")]),
            (b"a:b_C9", &[("__name__", "a:b_C9")]),
            (b"m{}", &[("__name__", "m")]),
            (b"m{a=\"b\",c=\"d\"}", &[("__name__", "m"), ("a", "b"), ("c", "d")]),
            (b"m{a=\"b\",}", &[("__name__", "m"), ("a", "b")]),
            (b"m{a=\"}{ =,# \"}", &[("__name__", "m"), ("a", "}{ =,# ")]),
            (b"m{a=\"\\\"\\\\\\n\\t\"}", &[("__name__", "m"), ("a", "\"\\\n\\t")]),
            (b"{\"m.n\"}", &[("__name__", "m.n")]),
            (b"{\"m.n\",}", &[("__name__", "m.n")]),
            (b"{\"m.n\",a=\"b\"}", &[("__name__", "m.n"), ("a", "b")]),
            (b"{a=\"b\",\"m\\\"n\"}", &[("__name__", "m\"n"), ("a", "b")]),
            (b"{\"two\nlines\",\"a\nb\"=\"c\"}", &[("__name__", "two\nlines"), ("a\nb", "c")]),
            (b"m{a=\"n\0l\"}", &[("__name__", "m"), ("a", "n\0l")]),
            (b"m{a=\"b\"\0,c=\"d\"}", &[("__name__", "m"), ("a", "b\""), ("c", "d")]),
            (b"m{a=\"b\\\0\"c\"}", &[("__name__", "m"), ("a", "b\\\0\"c")]),
        ];
        for (text, expected) in cases {
            let got = labels_of(text, MetricType::Unknown).unwrap();
            let got: Vec<(&str, &str)> = got.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(got, expected, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn le_and_quantile_take_the_form_of_open_metrics() {
        let value = |text: &str, kind| labels_of(text.as_bytes(), kind).unwrap().remove(1).1;
        assert_eq!(value(r#"m{le="1"}"#, MetricType::Histogram), "1.0");
        assert_eq!(value(r#"m{le="1"}"#, MetricType::GaugeHistogram), "1");
        assert_eq!(value(r#"m{quantile="1e2"}"#, MetricType::Summary), "100.0");
        assert_eq!(value(r#"m{quantile="1e2"}"#, MetricType::Info), "1e2");
    }

    #[test]
    fn what_is_no_series_is_refused_with_its_reason() {
        let cases: [(&[u8], Stop); 33] = [
            (b"9m", Reason::Start.into()),
            (b" m", Reason::Start.into()),
            (b"", Stop::More),
            (b"m{", Stop::More),
            (b"m{a", Stop::More),
            (b"m{a=", Stop::More),
            (b"m{a=\"b", Stop::More),
            (b"m{a=\"b\\", Stop::More),
            (b"m{a=\"b\\\0", Stop::More),
            (b"m{a=\"b\"", Stop::More),
            (b"m{a=\"b\"\0", Stop::More),
            (b"m{ a=\"b\"}", Reason::LabelName.into()),
            (b"m{a =\"b\"}", Reason::Equal.into()),
            (b"m{a= \"b\"}", Reason::LabelValue.into()),
            (b"m{a=\"b\" }", Reason::Comma.into()),
            (b"m{a=\"b\" c=\"d\"}", Reason::Comma.into()),
            (b"m{a=\"b\"c=\"d\"}", Reason::Comma.into()),
            (b"m{a=\"b\", c=\"d\"}", Reason::LabelName.into()),
            (b"m{a=\"b\",,c=\"d\"}", Reason::LabelName.into()),
            (b"m{,}", Reason::LabelName.into()),
            (b"m{a}", Reason::Equal.into()),
            (b"m{9=\"b\"}", Reason::LabelName.into()),
            (b"m{a:b=\"c\"}", Reason::Equal.into()),
            (b"m{a='c'}", Reason::LabelValue.into()),
            (b"m{a=\"b\nc\"}", Reason::Unterminated.into()),
            (b"m{a=\"b\\\nc\"}", Reason::Unterminated.into()),
            (b"m{a=\"\xff\"}", Reason::ValueUtf8.into()),
            (b"{\"\xff\"}", Reason::NameUtf8.into()),
            (b"{\"m\0\"}", Reason::Nul.into()),
            (b"m{\0a=\"b\"}", Reason::Nul.into()),
            (b"m{a=\0\"b\"}", Reason::LabelValue.into()),
            (b"{a=\"b\"}", Reason::NoName.into()),
            (b"m{\"n\"}", Reason::SecondName.into()),
        ];
        for (text, stop) in cases {
            assert_eq!(Spans::default().lex_open_metrics(text), Err(stop), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn an_exemplars_labels_have_rules_of_their_own() {
        let mut labels = Vec::new();
        assert_eq!(exemplar_labels(b"}", 0, &mut labels), Ok(1));
        assert_eq!(exemplar_labels(b"a=\"b\",\"c d\"=\"e\",} 1", 0, &mut labels), Ok(17));
        assert_eq!(labels, [(0..1, 3..4), (7..10, 13..14)]);
        let cases: [(&[u8], Stop); 7] = [
            (b"\"m\"}", Reason::Equal.into()),
            (b"\"m\",a=\"b\"}", Reason::Equal.into()),
            (b"\"a\nb\"=\"c\"}", Reason::Unterminated.into()),
            (b"a=\"b\nc\"}", Reason::Unterminated.into()),
            (b"a=\"b\0\"}", Reason::Nul.into()),
            (b"a=\"b\"\0}", Reason::Comma.into()),
            (b"a=\"\xff\"}", Reason::ValueUtf8.into()),
        ];
        for (text, stop) in cases {
            assert_eq!(exemplar_labels(text, 0, &mut labels), Err(stop), "{:?}", String::from_utf8_lossy(text));
        }
    }
}
