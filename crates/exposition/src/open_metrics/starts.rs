//! Which series a `_created` line tells the start of. It stands behind the samples of its metric, so what came before it is remembered
//! until it comes.
//!
//! Prometheus looks ahead from each sample (`OpenMetricsParser.StartTimestamp`): the first `_created` line of the family behind it is
//! the right one, or none is. Right is one whose name without its suffix is the first part of the sample's name, as long as the family's
//! name, and whose labels are written alike, in the same order, but for the `le` of histograms and the `quantile` of summaries. Seen
//! from the `_created` line: it speaks for those samples since the last one, or since the last line about a family, that it fits. What
//! is compared are texts that were read before, so nothing is checked here.

use std::ops::Range;

use model::MetricType;

use super::tail::milliseconds;
use crate::series::{quoted_end, skip_while, value_end};

/// So many samples may stand between a series and its `_created` line; a histogram of the usual size has twenty.
const MAX_PENDING: usize = 4096;

/// So many bytes may the texts of these series have.
const MAX_PENDING_BYTES: usize = 1 << 20;

const SUFFIX: &[u8] = b"_created";

/// Whether the samples of a type have a time at which counting began.
pub(crate) fn counts(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
}

/// Whether a line with this series is a `_created` line, if its type counts. The text may be anything.
pub(crate) fn is_created(series: &[u8]) -> bool {
    name(series).ends_with(SUFFIX)
}

/// The samples that wait for their `_created` line.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// The length of the name of the family that was told last.
    family_len: usize,
    /// Rows and the places of their texts: the first `kept` ones in `texts`, the others in what is parsed just now.
    pending: Vec<(u32, Range<usize>)>,
    kept: usize,
    texts: Vec<u8>,
    bytes: usize,
    /// The type and time of the `_created` line that spoke for the sample before: it does so for those that follow, if it fits.
    last: Option<(MetricType, i64)>,
    last_text: Vec<u8>,
}

impl Starts {
    pub(crate) fn reset(&mut self) {
        self.forget();
        self.last = None;
        self.family_len = 0;
    }

    /// A line about a family whose name is so long.
    pub(crate) fn family(&mut self, len: usize) {
        self.forget();
        self.family_len = len;
    }

    /// A sample of a type that doesn't count.
    #[inline]
    pub(crate) fn skip(&mut self) {
        self.last = None;
    }

    /// A sample whose series stands at `series` in `text`, the part of the body that is parsed just now. Returns when its counting
    /// began if that was told before.
    pub(crate) fn sample(&mut self, row: u32, text: &[u8], series: Range<usize>, kind: MetricType) -> Option<i64> {
        if let Some((last_kind, at)) = self.last {
            let last = Created::new(&self.last_text, last_kind);
            if last.is_some_and(|last| last.fits(&text[series.clone()], kind, self.family_len)) {
                return Some(at);
            }
            self.last = None;
        }
        if self.pending.len() == MAX_PENDING || self.bytes + series.len() > MAX_PENDING_BYTES {
            self.forget();
        }
        self.bytes += series.len();
        self.pending.push((row, series));
        None
    }

    /// Where the series of a `_created` line ends, if it is written like the sample before it: so it needs no lexing.
    pub(crate) fn known_end(&self, text: &[u8], line: &[u8]) -> Option<usize> {
        let (_, place) = self.pending.last()?;
        let before = self.text(self.pending.len() - 1, place, text);
        let (family, before) = before.split_at_checked(self.family_len)?;
        let labels = &before[memchr::memchr(b'{', before).unwrap_or(before.len())..];
        let bare = !family.is_empty() && !family.contains(&b'{');
        let rest = line.strip_prefix(family).filter(|_| bare)?.strip_prefix(SUFFIX)?.strip_prefix(labels)?;
        (rest.first() == Some(&b' ')).then(|| line.len() - rest.len())
    }

    /// A `_created` line with this series and value: tells the rows that it speaks for.
    pub(crate) fn created(&mut self, text: &[u8], series: &[u8], kind: MetricType, seconds: f64, mut tell: impl FnMut(u32, i64)) {
        let Some(created) = Created::new(series, kind) else { return };
        let at = milliseconds(seconds).unwrap_or(0);
        let mut fitted = None;
        for (number, (row, place)) in self.pending.iter().enumerate() {
            let fit = created.fits(self.text(number, place, text), kind, self.family_len);
            if fit && at != 0 {
                tell(*row, at);
            }
            fitted = Some(fit);
        }
        if let Some(fitted) = fitted {
            self.last = (fitted && at > 0).then_some((kind, at));
            self.last_text.clear();
            self.last_text.extend_from_slice(series);
        }
        self.forget();
    }

    /// Copies what is needed of `text`, which is parsed now and gone later.
    pub(crate) fn keep(&mut self, text: &[u8]) {
        for (_, place) in &mut self.pending[self.kept..] {
            let start = self.texts.len();
            self.texts.extend_from_slice(&text[place.clone()]);
            *place = start..self.texts.len();
        }
        self.kept = self.pending.len();
    }

    fn text<'a>(&'a self, number: usize, place: &Range<usize>, text: &'a [u8]) -> &'a [u8] {
        if number < self.kept { &self.texts[place.clone()] } else { &text[place.clone()] }
    }

    fn forget(&mut self) {
        self.pending.clear();
        self.texts.clear();
        (self.kept, self.bytes) = (0, 0);
    }
}

/// A `_created` line's series.
#[derive(Clone, Copy)]
struct Created<'a> {
    /// Its name without the suffix.
    family: &'a [u8],
    labels: Labels<'a>,
    /// Whether the name stands before the braces.
    bare: bool,
    kind: MetricType,
}

impl<'a> Created<'a> {
    fn new(series: &'a [u8], kind: MetricType) -> Option<Self> {
        Some(Self { family: name(series).strip_suffix(SUFFIX)?, labels: Labels::of(series), bare: is_bare(series), kind })
    }

    /// Whether it speaks for this series, which belongs to a family whose name is so long.
    fn fits(self, series: &[u8], kind: MetricType, family_len: usize) -> bool {
        if family_len != self.family.len() || !name(series).starts_with(self.family) {
            return false;
        }
        let (own, its) = (Labels::of(series), self.labels);
        if own.rest == its.rest {
            return true;
        }
        let differ = self.bare && is_bare(series) && surely_differ(own.rest, its.rest, part(kind));
        !differ && own.without(kind).eq(its.without(self.kind))
    }
}

fn is_bare(series: &[u8]) -> bool {
    series.first() != Some(&b'{')
}

/// Whether labels differ that are written like this, without taking them apart: the usual case is that of one value after another.
fn surely_differ(own: &[u8], its: &[u8], part: Option<&[u8]>) -> bool {
    let Some(at) = own.iter().zip(its).position(|(own, its)| own != its) else { return false };
    // Up to here they are the same, so both are within a name or both within a value; what tells ways of writing apart is none of these.
    if !own[at].is_ascii_alphanumeric() || !its[at].is_ascii_alphanumeric() {
        return false;
    }
    let Some(part) = part else { return true };
    // Within a value, unless that is the closing quote of one that ends with `=`.
    let Some(quote) = memchr::memrchr(b'"', &own[..at]) else { return false };
    let label = own[..quote].strip_suffix(b"=").filter(|_| !matches!(own[quote + 1], b',' | b'}'));
    // A quoted name is left to be taken apart.
    label.is_some_and(|label| !label.ends_with(part) && !label.ends_with(b"\""))
}

/// The label that tells the parts of a metric of this type apart.
fn part(kind: MetricType) -> Option<&'static [u8]> {
    match kind {
        MetricType::Histogram => Some(b"le"),
        MetricType::Summary => Some(b"quantile"),
        _ => None,
    }
}

/// A series' name as it is written, without quotes.
fn name(series: &[u8]) -> &[u8] {
    if is_bare(series) {
        return &series[..memchr::memchr(b'{', series).unwrap_or(series.len())];
    }
    let mut labels = Labels::of(series);
    labels.find(|(_, value)| value.is_none()).map_or(&[], |(name, _)| name)
}

/// Goes through the braces of a series that was lexed before: names with values; the metric's name, if it stands here, without one.
#[derive(Clone, Copy)]
struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Labels<'a> {
    fn of(series: &'a [u8]) -> Self {
        Self { rest: &series[memchr::memchr(b'{', series).map_or(series.len(), |brace| brace + 1)..] }
    }

    /// The labels alone, without those that tell the parts of a metric of this type apart.
    fn without(self, kind: MetricType) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let part = part(kind);
        self.filter(move |(name, value)| value.is_some() && Some(*name) != part)
    }

    fn take(&mut self, end: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = match self.rest.first()? {
            b'}' => return None,
            b'"' => unquoted(self.take(quoted_end(self.rest, 0).ok()?)?),
            _ => self.take(skip_while(self.rest, 0, |byte| byte != b'='))?,
        };
        let mut value = None;
        if self.rest.starts_with(b"=\"") {
            self.rest = &self.rest[1..];
            value = Some(unquoted(self.take(value_end::<false>(self.rest, 0).ok()?)?));
        }
        match self.rest.split_first() {
            Some((b',', rest)) => self.rest = rest,
            Some((b'}', _)) => {}
            _ => return None, // no series
        }
        Some((name, value))
    }
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.get(1..text.len() - 1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found_wherever_they_stand() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"a_b", b"a_b"),
            (b"a{b=\"{\"}", b"a"),
            (b"{\"a.b\"}", b"a.b"),
            (b"{c=\"d\",\"a\\\"b\",}", b"a\\\"b"),
            (b"{\"c\"=\"}\",\"a{b\"}", b"a{b"),
            (b"{\"a\",c=\"d\"}", b"a"),
        ];
        for (series, expected) in cases {
            assert_eq!(name(series), expected, "{}", String::from_utf8_lossy(series));
        }
    }

    #[test]
    fn created_lines_are_known_by_the_end_of_their_names() {
        for series in ["a_created", "_created{}", "a_created{b=\"c\"}", "{\"a_created\"}", "{b=\"c\",\"a.b_created\"}"] {
            assert!(is_created(series.as_bytes()), "{series}");
        }
        for series in ["created", "a_created_at", "a{b=\"_created\"}", "{\"a\",b=\"_created\"}", "{\"a_created\"=\"b\",\"a\"}"] {
            assert!(!is_created(series.as_bytes()), "{series}");
        }
        for text in ["", "{", "{\"", "{\"a", "{a", "{a=", "{a=b", "{a=\"", "{a=\"b\"", "{}", "{=,=}"] {
            assert!(!is_created(text.as_bytes()), "not even what is no series: {text}");
        }
    }

    #[test]
    fn a_created_line_needs_no_lexing_behind_its_like() {
        let end = |before: &str, family: usize, line: &str| {
            let mut starts = Starts::default();
            starts.family(family);
            starts.sample(0, before.as_bytes(), 0..before.len(), MetricType::Counter);
            starts.known_end(before.as_bytes(), line.as_bytes())
        };
        assert_eq!(end("a_total{b=\"c\"}", 1, "a_created{b=\"c\"} 1\n"), Some(16));
        assert_eq!(end("a_total", 1, "a_created 1\n"), Some(9));
        for (before, family, line) in [
            ("a_total{b=\"c\"}", 1, "a_created{b=\"d\"} 1\n"),
            ("a_total{b=\"c\"}", 1, "a_created{b=\"c\"}1\n"),
            ("a_total{b=\"c\"}", 1, "b_created{b=\"c\"} 1\n"),
            ("a_total{b=\"c\"}", 2, "a_created{b=\"c\"} 1\n"),
            ("a_total{b=\"c\"}", 9, "a_created{b=\"c\"} 1\n"),
            ("a_total{b=\"c\"}", 0, "_created{b=\"c\"} 1\n"),
            ("{\"a\"}", 1, "{_created 1\n"),
            ("a_total", 1, "a_created{} 1\n"),
        ] {
            assert_eq!(end(before, family, line), None, "{before} {line}");
        }
    }

    #[test]
    fn what_is_kept_of_one_part_of_the_body_is_found_in_the_next() {
        let mut starts = Starts::default();
        starts.family(1);
        starts.sample(3, b"xx a_x{b=\"c\"} 1\n", 3..13, MetricType::Counter);
        starts.keep(b"xx a_x{b=\"c\"} 1\n");
        starts.sample(4, b"a_y{b=\"c\"} 1\n", 0..10, MetricType::Counter);
        let mut told = Vec::new();
        starts.created(b"a_y{b=\"c\"} 1\n", b"a_created{b=\"c\"}", MetricType::Counter, 1.5, |row, at| told.push((row, at)));
        assert_eq!(told, [(3, 1500), (4, 1500)]);
    }

    fn labels() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec!["a", "le", "\"le\"", "le2", "xle", "\"a\""]);
        let value = prop::sample::select(vec!["", "1", "2", "12", "=", ",", "}", "\\\"", "1=", "a=\\\"2"]);
        prop::collection::vec((name, value), 0..4).prop_map(|labels| {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            labels.join(",") + "}"
        })
    }

    #[test]
    fn a_value_is_told_from_a_name_by_its_quote() {
        let differ = |own: &str, its: &str| surely_differ(own.as_bytes(), its.as_bytes(), part(MetricType::Histogram));
        assert!(differ("a=\"1\",le=\"2\"}", "a=\"2\"}"));
        assert!(differ("a=\"b=1\"}", "a=\"b=2\"}"));
        // Here the names differ, and only because of `le`.
        assert!(!differ("a=\"b=\",le=\"1\",m=\"2\"}", "a=\"b=\",m=\"2\"}"));
        assert!(!differ("\"le\"=\"1\"}", "\"le\"=\"2\"}"));
        assert!(!differ("le=\"1\"}", "le=\"2\"}"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_surely_differs_does_when_it_is_taken_apart(own in labels(), its in labels(), counter in any::<bool>()) {
            let kind = if counter { MetricType::Counter } else { MetricType::Histogram };
            if surely_differ(own.as_bytes(), its.as_bytes(), part(kind)) {
                let (own, its) = (Labels { rest: own.as_bytes() }, Labels { rest: its.as_bytes() });
                prop_assert!(!own.without(kind).eq(its.without(kind)));
            }
        }
    }
}
