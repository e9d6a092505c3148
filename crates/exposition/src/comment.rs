//! Lines that begin with `#`: comments, and what they say about families. Only HELP and TYPE can be wrong.

use model::MetricType;

use crate::error::Reason;
use crate::series::{Stop, continues_metric, is_space, quoted_end, skip_nul, skip_spaces, skip_while, starts_metric};
use crate::visitor::Entry;

/// What a line that begins with `#` turned out to be, with its length up to and without the newline that ends it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Comment<'a> {
    /// Nothing that anyone needs to know.
    Plain(usize),
    /// Something about a family. The entry is there if it was asked for and its texts are UTF-8.
    About { kind: Option<MetricType>, entry: Option<Entry<'a>>, end: usize },
    /// Prometheus takes a NUL in a comment without a space after `#` for the end of the body.
    EndOfBody,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyword {
    Help,
    Type,
    Unit,
}

/// Reads the comment whose `#` is at `hash`; the line's newline is at `newline`, but a quoted family name may reach over it.
pub(crate) fn read(text: &[u8], hash: usize, newline: usize, want: bool) -> Result<Comment<'_>, Stop> {
    let word = skip_spaces(text, hash + 1);
    if word == hash + 1 {
        let nul = memchr::memchr(0, &text[word..newline]).is_some();
        return Ok(if nul { Comment::EndOfBody } else { Comment::Plain(newline) });
    }
    let (keyword, len) = match text.get(word..word + 5) {
        Some([b'H', b'E', b'L', b'P', b' ' | b'\t']) => (Keyword::Help, 5),
        Some([b'T', b'Y', b'P', b'E', b' ' | b'\t']) => (Keyword::Type, 5),
        Some([b'U', b'N', b'I', b'T', b' ' | b'\t']) => (Keyword::Unit, 5),
        _ if text.get(word) == Some(&0) => return Ok(Comment::EndOfBody),
        _ => match keyword_with_nuls(&text[word..newline]) {
            Some(found) => found,
            None => return Ok(Comment::Plain(newline)),
        },
    };
    let name = skip_while(text, word + len, |byte| is_space(byte) || byte == 0);
    if keyword == Keyword::Unit {
        let entry = if want { unit(&text[name..newline]) } else { None };
        return Ok(Comment::About { kind: None, entry, end: newline });
    }
    about(text, keyword, name, newline, want)
}

/// The keyword and its length where NULs stand between its letters: Prometheus skips them.
fn keyword_with_nuls(line: &[u8]) -> Option<(Keyword, usize)> {
    let words: [(&[u8], _); 2] = [(b"HELP", Keyword::Help), (b"TYPE", Keyword::Type)];
    words.into_iter().find_map(|(word, keyword)| {
        let len = word.iter().try_fold(0, |at, letter| (line.get(at) == Some(letter)).then(|| skip_nul(line, at + 1)))?;
        is_space(*line.get(len)?).then_some((keyword, len + 1))
    })
}

fn about(text: &[u8], keyword: Keyword, name: usize, newline: usize, want: bool) -> Result<Comment<'_>, Stop> {
    let first = text.get(name).copied().unwrap_or(b'\n');
    let (family, name_end) = if first == b'"' {
        let end = quoted_end(text, name)?;
        (&text[name + 1..end - 1], end)
    } else if starts_metric(first) {
        if keyword == Keyword::Help && !want {
            // Where the name ends changes no verdict, as anything may follow it.
            return help_of(text, name, newline);
        }
        if let Some(kind) = plain_type(&text[name..newline]).filter(|_| !want) {
            return Ok(Comment::About { kind: Some(kind), entry: None, end: newline });
        }
        let end = skip_while(text, name, continues_metric);
        (&text[name..end], end)
    } else {
        return Err(Reason::FamilyName.into());
    };
    let end = line_end(text, name_end, newline)?;
    if text.get(name_end) == Some(&0) {
        return Err(Reason::Nul.into());
    }
    let said = rest_of(&text[name_end..end]);
    let family = want.then(|| simdutf8::basic::from_utf8(family).ok()).flatten();
    if keyword == Keyword::Help {
        let text = simdutf8::basic::from_utf8(said).map_err(|_| Reason::HelpUtf8)?;
        return Ok(Comment::About { kind: None, entry: family.map(|family| Entry::Help { family, text }), end });
    }
    let kind = metric_type(said).ok_or(Reason::Type)?;
    Ok(Comment::About { kind: Some(kind), entry: family.map(|family| Entry::Type { family, kind }), end })
}

/// A HELP line whose bare name nobody asks for.
fn help_of(text: &[u8], name: usize, newline: usize) -> Result<Comment<'_>, Stop> {
    if is_plain(&text[name..newline]) {
        return Ok(Comment::About { kind: None, entry: None, end: newline });
    }
    let name_end = skip_while(text, name, continues_metric);
    if text[name_end] == 0 {
        return Err(Reason::Nul.into());
    }
    simdutf8::basic::from_utf8(rest_of(&text[name_end..newline])).map_err(|_| Reason::HelpUtf8)?;
    Ok(Comment::About { kind: None, entry: None, end: newline })
}

/// The type in a line of a bare name, a space and a type.
fn plain_type(line: &[u8]) -> Option<MetricType> {
    let space = memchr::memrchr(b' ', line)?;
    let kind = metric_type(&line[space + 1..])?;
    let other = |bytes: &[u8]| bytes.iter().fold(false, |other, &byte| other | !is_metric_byte(byte));
    let (blocks, rest) = line[..space].as_chunks::<16>();
    (!blocks.iter().any(|block| other(block)) && !other(rest)).then_some(kind)
}

/// As [`continues_metric`], by comparisons: those compile to vector instructions, a table doesn't.
fn is_metric_byte(byte: u8) -> bool {
    ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 11) | (byte == b'_')
}

/// Whether all bytes are ASCII and none is NUL. Without an early end within a block, so that it compiles to vector instructions.
fn is_plain(text: &[u8]) -> bool {
    let odd = |bytes: &[u8]| bytes.iter().fold(false, |odd, byte| odd | (byte.wrapping_sub(1) >= 0x7f));
    let (blocks, rest) = text.as_chunks::<32>();
    !blocks.iter().any(|block| odd(block)) && !odd(rest)
}

/// The end of the line that `from` lies in, which is not the first one if a quoted name reached over it.
fn line_end(text: &[u8], from: usize, newline: usize) -> Result<usize, Stop> {
    if from <= newline {
        return Ok(newline);
    }
    memchr::memchr(b'\n', &text[from..]).map(|at| from + at).ok_or(Stop::More)
}

/// What follows a family's name: without the one character that separates it, nothing if it is all space and NULs.
fn rest_of(text: &[u8]) -> &[u8] {
    if text.iter().all(|&byte| is_space(byte) || byte == 0) {
        return &[];
    }
    &text[1..]
}

fn metric_type(text: &[u8]) -> Option<MetricType> {
    match text {
        b"counter" => Some(MetricType::Counter),
        b"gauge" => Some(MetricType::Gauge),
        b"histogram" => Some(MetricType::Histogram),
        b"summary" => Some(MetricType::Summary),
        b"untyped" => Some(MetricType::Unknown),
        _ => None,
    }
}

fn unit(line: &[u8]) -> Option<Entry<'_>> {
    let (family, unit) = simdutf8::basic::from_utf8(line).ok()?.split_once([' ', '\t'])?;
    Some(Entry::Unit { family, unit })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &[u8]) -> Result<Comment<'_>, Stop> {
        let newline = memchr::memchr(b'\n', line).unwrap();
        let wanted = read(line, 0, newline, true);
        // Whether anyone wants the entry changes no verdict.
        match (&wanted, read(line, 0, newline, false)) {
            (Ok(Comment::About { kind, end, .. }), Ok(other)) => {
                assert_eq!(other, Comment::About { kind: *kind, entry: None, end: *end }, "{:?}", String::from_utf8_lossy(line));
            }
            (one, other) => assert_eq!(*one, other, "{:?}", String::from_utf8_lossy(line)),
        }
        wanted
    }

    #[test]
    fn help_and_type_are_read() {
        let help = |family, text| Some(Entry::Help { family, text });
        let cases: [(&str, Option<Entry<'_>>); 16] = [
            ("# HELP a Some text.\n", help("a", "Some text.")),
            ("# HELP a\n", help("a", "")),
            ("# HELP a \n", help("a", "")),
            ("# HELP a \0 \n", help("a", "")),
            ("# HELP a \t x\n", help("a", "\t x")),
            ("#\tHELP\ta\tx\n", help("a", "x")),
            ("# HELP a-b c\n", help("a", "b c")),
            ("# HELP \"a.b\" x\n", help("a.b", "x")),
            ("# HELP \"a\nb\" x\n", help("a\nb", "x")),
            ("# HELP a x\0y\n", help("a", "x\0y")),
            ("# H\0\0ELP\0\t\0 a x\n", help("a", "x")),
            ("# TYPE a counter\n", Some(Entry::Type { family: "a", kind: MetricType::Counter })),
            ("# TYPE a untyped\n", Some(Entry::Type { family: "a", kind: MetricType::Unknown })),
            ("#   TYPE   a\tsummary\n", Some(Entry::Type { family: "a", kind: MetricType::Summary })),
            ("# TYPE \"a.b\" histogram\n", Some(Entry::Type { family: "a.b", kind: MetricType::Histogram })),
            ("# UNIT a_seconds seconds\n", Some(Entry::Unit { family: "a_seconds", unit: "seconds" })),
        ];
        for (line, expected) in cases {
            let Ok(Comment::About { entry, end, .. }) = read_line(line.as_bytes()) else { panic!("{line:?}") };
            assert_eq!(entry, expected, "{line:?}");
            assert_eq!(end, line.len() - 1, "{line:?}");
        }
    }

    #[test]
    fn both_ways_to_tell_a_names_bytes_agree() {
        for byte in 0..=255 {
            assert_eq!(is_metric_byte(byte), continues_metric(byte), "{byte}");
        }
    }

    #[test]
    fn anything_else_is_a_comment() {
        for line in [
            "#\n",
            "# \n",
            "#HELP a b\n",
            "# HELP\n",
            "# HELPa b\n",
            "# TYPE\n",
            "# EOF\n",
            "# help a b\n",
            "# a\0b\n",
            "# H\0ELPx a\n",
            "# \u{fc}\n",
        ] {
            assert_eq!(read_line(line.as_bytes()), Ok(Comment::Plain(line.len() - 1)), "{line:?}");
        }
        assert_eq!(read_line(b"#\xff\n"), Ok(Comment::Plain(2)));
        assert_eq!(read_line(b"# UNIT\n"), Ok(Comment::Plain(6)));
    }

    #[test]
    fn wrong_help_and_type_are_refused() {
        let cases: [(&[u8], Reason); 12] = [
            (b"# HELP \n", Reason::FamilyName),
            (b"# HELP #\n", Reason::FamilyName),
            (b"# TYPE #\n", Reason::FamilyName),
            (b"# TYPE 9a counter\n", Reason::FamilyName),
            (b"# HELP a \xff\n", Reason::HelpUtf8),
            (b"# HELP a\0b\n", Reason::Nul),
            (b"# TYPE a\n", Reason::Type),
            (b"# TYPE a Counter\n", Reason::Type),
            (b"# TYPE a counter \n", Reason::Type),
            (b"# TYPE a  counter\n", Reason::Type),
            (b"# TYPE a counter\r\n", Reason::Type),
            (b"# TYPE a unknown\n", Reason::Type),
        ];
        for (line, reason) in cases {
            assert_eq!(read_line(line), Err(Stop::Bad(reason)), "{:?}", String::from_utf8_lossy(line));
        }
        assert_eq!(read_line(b"# HELP \"a\n"), Err(Stop::More));
    }

    #[test]
    fn a_nul_right_after_the_hash_ends_the_body() {
        assert_eq!(read_line(b"#x\0y\n"), Ok(Comment::EndOfBody));
        assert_eq!(read_line(b"# \0\n"), Ok(Comment::EndOfBody));
    }
}
