//! Lines of OpenMetrics that begin with `#`: HELP, TYPE, UNIT and EOF, and no others.

use model::MetricType;

use crate::error::Reason;
use crate::series::{Stop, continues_metric, quoted_end, skip_nul, skip_while, starts_metric};
use crate::visitor::Entry;

/// What a line that begins with `#` turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Comment<'a> {
    /// Something about a family.
    About(About<'a>),
    /// The end of the body; the newline is at `end`.
    Eof { end: usize },
}

/// What is said about a family.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct About<'a> {
    pub(crate) kind: Option<MetricType>,
    /// There if it was asked for and its texts are UTF-8.
    pub(crate) entry: Option<Entry<'a>>,
    /// The length of the family's name as it is written.
    pub(crate) family_len: usize,
    pub(crate) is_help: bool,
    /// Where the newline is.
    pub(crate) end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyword {
    Help,
    Type,
    Unit,
}

/// Reads the comment at the beginning of `text`. Its line's newline is at `newline`, but a quoted family name may reach over it.
pub(crate) fn read(text: &[u8], newline: usize, want: bool) -> Result<Comment<'_>, Stop> {
    if !text.starts_with(b"# ") {
        return Err(Reason::Comment.into());
    }
    let (keyword, name) = match text.get(2..7) {
        Some(b"HELP ") => (Keyword::Help, 7),
        Some(b"TYPE ") => (Keyword::Type, 7),
        Some(b"UNIT ") => (Keyword::Unit, 7),
        _ => match keyword(&text[2..=newline]) {
            Some((Some(keyword), len)) => (keyword, 2 + len),
            Some((None, len)) if 2 + len == newline => return Ok(Comment::Eof { end: newline }),
            Some((None, _)) => return Err(Reason::AfterEof.into()),
            None => return Err(Reason::Comment.into()),
        },
    };
    about(text, keyword, skip_nul(text, name), want).map(Comment::About)
}

/// The keyword, `None` for EOF, and its length, where NULs stand between its letters or behind it.
fn keyword(line: &[u8]) -> Option<(Option<Keyword>, usize)> {
    let words: [(&[u8], _); 4] =
        [(b"EOF", None), (b"HELP ", Some(Keyword::Help)), (b"TYPE ", Some(Keyword::Type)), (b"UNIT ", Some(Keyword::Unit))];
    words.into_iter().find_map(|(word, keyword)| {
        let len = word.iter().try_fold(0, |at, letter| (line.get(at) == Some(letter)).then(|| skip_nul(line, at + 1)))?;
        Some((keyword, len))
    })
}

fn about(text: &[u8], keyword: Keyword, name: usize, want: bool) -> Result<About<'_>, Stop> {
    let (family, name_end) = match text.get(name).copied().ok_or(Stop::More)? {
        b'"' => {
            let end = quoted_end(text, name)?;
            (&text[name + 1..end - 1], end)
        }
        first if starts_metric(first) => {
            let end = skip_while(text, name, continues_metric);
            (&text[name..end], end)
        }
        _ => return Err(Reason::FamilyName.into()),
    };
    if *text.get(name_end).ok_or(Stop::More)? != b' ' {
        return Err(Reason::FamilyText.into());
    }
    let end = name_end + memchr::memchr(b'\n', &text[name_end..]).ok_or(Stop::More)?;
    let said = &text[name_end + 1..end];
    let (kind, entry) = judge(keyword, family, said)?;
    Ok(About { kind, entry: entry.filter(|_| want), family_len: family.len(), is_help: keyword == Keyword::Help, end })
}

fn judge<'a>(keyword: Keyword, family: &'a [u8], said: &'a [u8]) -> Result<(Option<MetricType>, Option<Entry<'a>>), Stop> {
    let name = simdutf8::basic::from_utf8(family).ok();
    match keyword {
        Keyword::Help => {
            let text = simdutf8::basic::from_utf8(said).map_err(|_| Reason::HelpUtf8)?;
            Ok((None, name.map(|family| Entry::Help { family, text })))
        }
        Keyword::Type => {
            let kind = metric_type(said).ok_or(Reason::OpenMetricsType)?;
            Ok((Some(kind), name.map(|family| Entry::Type { family, kind })))
        }
        Keyword::Unit => {
            let fits = said.is_empty() || family.strip_suffix(said).is_some_and(|rest| rest.ends_with(b"_"));
            let unit = if fits { simdutf8::basic::from_utf8(said).ok() } else { return Err(Reason::Unit.into()) };
            Ok((None, name.zip(unit).map(|(family, unit)| Entry::Unit { family, unit })))
        }
    }
}

fn metric_type(text: &[u8]) -> Option<MetricType> {
    match text {
        b"counter" => Some(MetricType::Counter),
        b"gauge" => Some(MetricType::Gauge),
        b"histogram" => Some(MetricType::Histogram),
        b"gaugehistogram" => Some(MetricType::GaugeHistogram),
        b"summary" => Some(MetricType::Summary),
        b"info" => Some(MetricType::Info),
        b"stateset" => Some(MetricType::StateSet),
        b"unknown" => Some(MetricType::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &[u8]) -> Result<Comment<'_>, Stop> {
        read(line, memchr::memchr(b'\n', line).unwrap(), true)
    }

    fn help<'a>(family: &'a str, text: &'a str) -> Entry<'a> {
        Entry::Help { family, text }
    }

    fn unit<'a>(family: &'a str, unit: &'a str) -> Entry<'a> {
        Entry::Unit { family, unit }
    }

    #[test]
    fn help_type_and_unit_are_read() {
        let kind = |family, kind| Entry::Type { family, kind };
        let cases: [(&str, Entry<'_>, usize); 19] = [
            ("# HELP a Some text.\n", help("a", "Some text."), 1),
            ("# HELP a \n", help("a", ""), 1),
            ("# HELP a  x \n", help("a", " x "), 1),
            ("# HELP a x\0y\n", help("a", "x\0y"), 1),
            ("# HELP \"a.b\" x\n", help("a.b", "x"), 3),
            ("# HELP \"a\nb\" x\n", help("a\nb", "x"), 3),
            ("# H\0E\0\0LP\0 \0a x\n", help("a", "x"), 1),
            ("# TYPE a counter\n", kind("a", MetricType::Counter), 1),
            ("# TYPE a gauge\n", kind("a", MetricType::Gauge), 1),
            ("# TYPE a histogram\n", kind("a", MetricType::Histogram), 1),
            ("# TYPE a gaugehistogram\n", kind("a", MetricType::GaugeHistogram), 1),
            ("# TYPE a summary\n", kind("a", MetricType::Summary), 1),
            ("# TYPE a info\n", kind("a", MetricType::Info), 1),
            ("# TYPE a stateset\n", kind("a", MetricType::StateSet), 1),
            ("# TYPE \"a b\" unknown\n", kind("a b", MetricType::Unknown), 3),
            ("# UNIT a_seconds seconds\n", unit("a_seconds", "seconds"), 9),
            ("# UNIT \"a.b_s\" s\n", unit("a.b_s", "s"), 5),
            ("# UNIT a \n", unit("a", ""), 1),
            ("# UNIT _s s\n", unit("_s", "s"), 2),
        ];
        for (line, entry, family_len) in cases {
            let Ok(Comment::About(about)) = read_line(line.as_bytes()) else { panic!("{line:?}") };
            assert_eq!(about.entry, Some(entry), "{line:?}");
            assert_eq!(about.kind, if let Entry::Type { kind, .. } = entry { Some(kind) } else { None }, "{line:?}");
            assert_eq!((about.family_len, about.end), (family_len, line.len() - 1), "{line:?}");
            let Ok(Comment::About(unwanted)) = read(line.as_bytes(), line.find('\n').unwrap(), false) else { panic!("{line:?}") };
            assert_eq!(unwanted, About { entry: None, ..about }, "{line:?}");
        }
    }

    #[test]
    fn the_end_of_the_body_is_read() {
        for line in ["# EOF\n", "# EOF\0\0\n", "# E\0OF\n"] {
            assert_eq!(read_line(line.as_bytes()), Ok(Comment::Eof { end: line.len() - 1 }), "{line:?}");
        }
    }

    #[test]
    fn texts_that_are_not_utf8_are_not_told() {
        for line in [&b"# TYPE \"\xff\" gauge\n"[..], b"# UNIT \"a_\xff\" \xff\n"] {
            let Ok(Comment::About(about)) = read_line(line) else { panic!("{:?}", String::from_utf8_lossy(line)) };
            assert_eq!(about.entry, None);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let cases: [(&[u8], Reason); 27] = [
            (b"#\n", Reason::Comment),
            (b"# \n", Reason::Comment),
            (b"#EOF\n", Reason::Comment),
            (b"#  EOF\n", Reason::Comment),
            (b"#\tEOF\n", Reason::Comment),
            (b"# \0EOF\n", Reason::Comment),
            (b"# EO\n", Reason::Comment),
            (b"# eof\n", Reason::Comment),
            (b"# a comment\n", Reason::Comment),
            (b"# HELP\n", Reason::Comment),
            (b"# HELP\ta b\n", Reason::Comment),
            (b"# EOF \n", Reason::AfterEof),
            (b"# EOFx\n", Reason::AfterEof),
            (b"# HELP  a b\n", Reason::FamilyName),
            (b"# HELP \n", Reason::FamilyName),
            (b"# TYPE 9 gauge\n", Reason::FamilyName),
            (b"# HELP a\n", Reason::FamilyText),
            (b"# TYPE a-b gauge\n", Reason::FamilyText),
            (b"# TYPE a\0 gauge\n", Reason::FamilyText),
            (b"# HELP \"a\"b\n", Reason::FamilyText),
            (b"# HELP a \xff\n", Reason::HelpUtf8),
            (b"# TYPE a untyped\n", Reason::OpenMetricsType),
            (b"# TYPE a \n", Reason::OpenMetricsType),
            (b"# TYPE a gauge \n", Reason::OpenMetricsType),
            (b"# UNIT a seconds\n", Reason::Unit),
            (b"# UNIT s s\n", Reason::Unit),
            (b"# UNIT a_seconds second\n", Reason::Unit),
        ];
        for (line, reason) in cases {
            assert_eq!(read_line(line), Err(Stop::Bad(reason)), "{:?}", String::from_utf8_lossy(line));
        }
        assert_eq!(read_line(b"# HELP \"a\n"), Err(Stop::More));
        assert_eq!(read_line(b"# HELP \"a\n\" b"), Err(Stop::More));
        assert_eq!(read_line(b"# HELP \"a\0\" b\n"), Err(Stop::Bad(Reason::Nul)));
    }
}
