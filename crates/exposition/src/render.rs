//! Series written as text, for those that come from no text: what their labels are read from, and what messages show.

use model::MetricType;

use crate::series::{Series, Span, Spans, continues_metric, starts_metric};

/// The text of one series at a time, in reused memory.
#[derive(Debug, Default)]
pub(crate) struct SeriesText {
    bytes: Vec<u8>,
    spans: Spans,
    braced: bool,
}

impl SeriesText {
    /// Begins the series whose name is `name` and `suffix` together.
    pub(crate) fn begin(&mut self, name: &str, suffix: &str) {
        self.bytes.clear();
        self.spans.labels.clear();
        // A suffix changes nothing about whether a name needs quotes.
        self.braced = !is_plain(name, |byte| byte == b':');
        if self.braced {
            self.bytes.extend_from_slice(b"{\"");
        }
        let start = self.bytes.len();
        self.escaped(name);
        self.bytes.extend_from_slice(suffix.as_bytes());
        self.spans.metric = Some(self.span(start));
        if self.braced {
            self.bytes.push(b'"');
        }
    }

    /// Adds a label, whatever is there already.
    pub(crate) fn label(&mut self, name: &str, value: &str) {
        self.bytes.push(if self.braced { b',' } else { b'{' });
        self.braced = true;
        let quote = !is_plain(name, |_| false);
        self.bytes.extend(quote.then_some(b'"'));
        let start = self.bytes.len();
        self.escaped(name);
        let name = self.span(start);
        self.bytes.extend(quote.then_some(b'"'));
        self.bytes.extend_from_slice(b"=\"");
        let start = self.bytes.len();
        self.escaped(value);
        let value = self.span(start);
        self.bytes.push(b'"');
        self.spans.labels.push((name, value));
    }

    /// Ends the series.
    pub(crate) fn end(&mut self) {
        if self.braced {
            self.bytes.push(b'}');
        }
    }

    /// The text; whole after [`SeriesText::end`].
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The series, recognised by `id`.
    pub(crate) fn series<'a>(&'a self, id: &'a [u8], kind: MetricType) -> Series<'a> {
        Series::rendered(id, &self.bytes, &self.spans, kind)
    }

    /// Gives memory back that was for an unusually long series.
    pub(crate) fn shrink(&mut self, max: usize) {
        if self.bytes.capacity() > max {
            *self = Self::default();
        }
    }

    fn escaped(&mut self, mut text: &str) {
        while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', text.as_bytes()) {
            self.bytes.extend_from_slice(&text.as_bytes()[..at]);
            self.bytes.extend_from_slice(match text.as_bytes()[at] {
                b'\\' => b"\\\\",
                b'"' => b"\\\"",
                _ => b"\\n",
            });
            text = &text[at + 1..];
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn span(&self, start: usize) -> Span {
        start as u32..self.bytes.len() as u32 // messages and lines are bounded to a quarter of 4 GiB, escapes at most double them
    }
}

/// Whether a name needs no quotes.
fn is_plain(name: &str, also: impl Fn(u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    let allowed = |byte: u8| byte != b':' || also(byte);
    bytes.first().is_some_and(|&first| starts_metric(first)) && bytes.iter().all(|&byte| continues_metric(byte) && allowed(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LabelBuffer, parse_series};

    fn rendered(name: &str, suffix: &str, labels: &[(&str, &str)]) -> SeriesText {
        let mut text = SeriesText::default();
        text.begin("before", "");
        text.label("x", "y");
        text.begin(name, suffix);
        labels.iter().for_each(|(name, value)| text.label(name, value));
        text.end();
        text
    }

    #[test]
    fn series_are_written_as_an_exporter_would() {
        type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
        let cases: [Case<'_>; 6] = [
            ("up", "", &[], "up"),
            ("a:b", "_count", &[("c", "d")], r#"a:b_count{c="d"}"#),
            ("m", "", &[("a", "1"), ("b", "")], r#"m{a="1",b=""}"#),
            ("m", "", &[("a", "x\"y\\z\n"), ("b.c", "ü"), ("d:e", "")], r#"m{a="x\"y\\z\n","b.c"="ü","d:e"=""}"#),
            ("my.metric", "_sum", &[], r#"{"my.metric_sum"}"#),
            ("1\"", "", &[("", "x")], r#"{"1\"",""="x"}"#),
        ];
        for (name, suffix, labels, expected) in cases {
            assert_eq!(String::from_utf8_lossy(rendered(name, suffix, labels).bytes()), expected);
        }
    }

    #[test]
    fn what_is_written_means_what_it_was_written_from() {
        let cases: [(&str, &[(&str, &str)]); 3] =
            [("up", &[]), ("m\\n\n", &[("a", "x\"y\\z\n\\n"), ("b.\"c\\", "ü")]), ("m", &[("le", "1"), ("quantile", "1")])];
        for (name, labels) in cases {
            let text = rendered(name, "_s", labels);
            let (mut direct, mut parsed) = (LabelBuffer::default(), LabelBuffer::default());
            text.series(b"id", MetricType::Histogram).labels(&mut direct).unwrap();
            parse_series(text.bytes(), MetricType::Unknown, &mut parsed).unwrap().unwrap();
            assert!(direct.iter().eq(parsed.iter()), "{direct:?} {parsed:?}");
            assert_eq!(direct.get("__name__"), Some(&*format!("{name}_s")));
            assert!(labels.iter().all(|(name, value)| direct.get(name) == Some(value)), "{direct:?}");
        }
    }

    #[test]
    fn a_series_knows_its_identity_and_its_text() {
        let text = rendered("m", "", &[]);
        let series = text.series(b"id", MetricType::Counter);
        assert_eq!((series.text(), series.shown(), series.kind()), (&b"id"[..], &b"m"[..], MetricType::Counter));
    }
}
