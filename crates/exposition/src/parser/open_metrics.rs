//! Leading the visitor through the lines of OpenMetrics.

use memchr::{memchr, memchr2, memrchr};

use super::Parser;
use crate::error::{Error, Reason};
use crate::number::read_value;
use crate::open_metrics::comment::{self, Comment};
use crate::open_metrics::starts::{begins_created, counts, is_created};
use crate::open_metrics::tail::{self, ExemplarTail, Tail, begins_exemplar, milliseconds, read_exemplar};
use crate::series::Series;
use crate::visitor::{Comments, Visitor};

/// What the part of the body that is parsed just now holds from some line on.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Line<'a> {
    fn rest(self) -> &'a [u8] {
        &self.text[self.at..]
    }
}

impl Parser {
    /// Parses all complete lines of `text` and returns how many bytes they took.
    pub(super) fn open_metrics_lines<V: Visitor>(&mut self, text: &[u8], visitor: &mut V) -> Result<usize, Error<V::Error>> {
        let mut at = 0;
        while at < text.len() && !self.ended {
            let line = Line { text, at };
            let used = match text[at] {
                b'#' => self.families(line.rest(), visitor)?,
                0 if self.help_line == Some(self.line) => 1,
                _ => match self.expected_sample(line, visitor)? {
                    Some(used) => {
                        self.line += 1;
                        used
                    }
                    None => self.any_sample(line, visitor)?.unwrap_or(0),
                },
            };
            if used == 0 {
                break;
            }
            self.in_comments = text[at] == b'#';
            at += used;
        }
        self.starts.keep(text);
        if self.ended {
            self.after_end(&text[at..])?;
            return Ok(text.len());
        }
        Ok(at)
    }

    /// A run of lines about families, as far as they are complete: how many bytes they took.
    fn families<V: Visitor>(&mut self, text: &[u8], visitor: &mut V) -> Result<usize, Error<V::Error>> {
        // A NUL behind the run may be a part of it, so what follows has to be there.
        let known = visitor.expected_comments(text).filter(|known| text.get(known.len).is_some_and(|next| *next != 0));
        if let Some(known) = known {
            self.kind = known.kind.unwrap_or(self.kind);
            self.line += known.lines;
            if self.skip_created {
                self.starts.family(last_family_len(&text[..known.len]));
            }
            return Ok(known.len);
        }
        let first_line = self.line;
        self.typed = false;
        let mut len = 0;
        while text.get(len) == Some(&b'#') && !self.ended {
            let Some(used) = self.family(&text[len..], visitor)? else { return Ok(len) };
            len += used;
        }
        if len < text.len() && !self.ended && !self.in_comments {
            let kind = self.typed.then_some(self.kind);
            visitor.learn_comments(&text[..len], Comments { len, lines: self.line - first_line, kind });
        }
        Ok(len)
    }

    fn family<V: Visitor>(&mut self, rest: &[u8], visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let Some(newline) = self.newline(rest)? else { return Ok(None) };
        let about = match comment::read(self.view(rest), newline, visitor.wants_metadata()) {
            Ok(Comment::About(about)) => about,
            Ok(Comment::Eof { end }) => {
                self.ended = true;
                return self.complete(rest, Ok(end));
            }
            Err(stop) => return self.complete(rest, Err(stop)),
        };
        let used = self.complete(rest, Ok(about.end))?;
        self.kind = about.kind.unwrap_or(self.kind);
        self.typed |= about.kind.is_some();
        self.help_line = about.is_help.then_some(self.line);
        self.starts.family(about.family_len);
        if let Some(entry) = about.entry {
            visitor.metadata(entry);
        }
        Ok(used)
    }

    /// The fast way: the visitor's expected series, a plain number, perhaps a plain timestamp and an exemplar, and the newline.
    #[inline]
    fn expected_sample<V: Visitor>(&mut self, line: Line<'_>, visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let (len, rest) = (visitor.expected_len(), line.rest());
        if len == 0 || rest.get(len) != Some(&b' ') {
            return Ok(None);
        }
        let Some(row) = visitor.expected(&rest[..len]) else { return Ok(None) };
        let Some((value, used)) = read_value(&rest[len + 1..]) else { return Ok(None) };
        let mut end = len + 1 + used;
        let mut timestamp = None;
        if rest[end] == b' ' && rest.get(end + 1) != Some(&b'#') {
            let Some((seconds, used)) = read_value(&rest[end + 1..]) else { return Ok(None) };
            timestamp = milliseconds(seconds);
            end += 1 + used;
            if timestamp.is_none() {
                return Ok(None);
            }
        }
        let mut exemplar = None;
        if rest[end] == b' ' {
            exemplar = self.expected_exemplar(rest, end);
            end = exemplar.as_ref().map_or(end, |exemplar| exemplar.end);
        }
        if rest[end] != b'\n' || end > self.max_line || (self.skip_created && counts(self.kind) && is_created(&rest[..len])) {
            return Ok(None);
        }
        self.tell(line, len, row, &Tail { value, timestamp, exemplar, end }, visitor)?;
        Ok(Some(end + 1))
    }

    fn expected_exemplar(&mut self, rest: &[u8], at: usize) -> Option<ExemplarTail> {
        if begins_exemplar(rest, at) != Ok(true) {
            return None;
        }
        read_exemplar(rest, at, &mut self.exemplar_labels).ok()
    }

    /// Any sample: how many bytes its line took, or `None` if it isn't complete.
    fn any_sample<V: Visitor>(&mut self, line: Line<'_>, visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let rest = line.rest();
        let Some(newline) = self.newline(rest)? else { return Ok(None) };
        let view = self.view(rest);
        let skips = self.skip_created && counts(self.kind);
        let (known_end, row) = if skips && begins_created(rest) {
            (self.starts.known_end(line.text, view), None)
        } else if skips && rest[0] == b'{' {
            (None, None) // whether its name is that of a `_created` line is known when it is lexed
        } else {
            let end = guess_end(&rest[..newline]);
            let row = end.and_then(|end| visitor.find(&rest[..end]));
            (end.filter(|_| row.is_some()), row)
        };
        let end = known_end.map_or_else(|| self.spans.lex_open_metrics(view), Ok);
        let parts = end.and_then(|end| Ok((end, tail::read(view, end, &mut self.exemplar_labels)?)));
        let (end, tail) = match parts {
            Ok(parts) if parts.1.end <= self.max_line => parts,
            Ok(parts) => return self.complete(rest, Ok(parts.1.end)),
            Err(stop) => return self.complete(rest, Err(stop)),
        };
        let series = &view[..end];
        if skips && is_created(series) {
            self.starts.created(line.text, series, self.kind, tail.value, |row, at| visitor.created(row, at));
            return self.complete(rest, Ok(tail.end));
        }
        let row = match row.or_else(|| visitor.find(series)) {
            Some(row) => row,
            None => visitor.learn(Series::new(series, &self.spans, self.kind)).map_err(Error::Refused)?,
        };
        self.tell(line, end, row, &tail, visitor)?;
        self.complete(rest, Ok(tail.end))
    }

    /// Tells a sample, and what came with it. `len` is the length of its series.
    #[inline]
    fn tell<V: Visitor>(&mut self, line: Line<'_>, len: usize, row: u32, tail: &Tail, visitor: &mut V) -> Result<(), Error<V::Error>> {
        visitor.sample(row, tail.value, tail.timestamp).map_err(Error::Refused)?;
        if let Some(exemplar) = &tail.exemplar {
            match exemplar.build(line.rest(), &self.exemplar_labels) {
                Ok(exemplar) => visitor.exemplar(row, exemplar),
                Err(_) => self.refused_exemplars += 1,
            }
        }
        if self.skip_created {
            self.note_start(line, len, row, visitor);
        }
        Ok(())
    }

    fn note_start<V: Visitor>(&mut self, line: Line<'_>, len: usize, row: u32, visitor: &mut V) {
        if !counts(self.kind) {
            self.starts.skip();
        } else if let Some(at) = self.starts.sample(row, line.text, line.at..line.at + len, self.kind) {
            visitor.created(row, at);
        }
    }

    /// Where the first newline is, if it is there and within the bound.
    fn newline<E>(&self, rest: &[u8]) -> Result<Option<usize>, Error<E>> {
        match memchr(b'\n', rest) {
            Some(newline) if newline > self.max_line => Err(self.error(rest, Reason::TooLong { max: self.max_line })),
            newline => Ok(newline),
        }
    }
}

/// Where the series in a line ends, most likely: before the first space, or behind the last brace that is not an exemplar's.
fn guess_end(line: &[u8]) -> Option<usize> {
    let end = memchr2(b'{', b' ', line)?;
    if line[end] == b' ' {
        return Some(end);
    }
    let exemplar = memchr(b'#', line).and_then(|hash| hash.checked_sub(1)).filter(|at| begins_exemplar(line, *at) == Ok(true));
    memrchr(b'}', &line[..exemplar.unwrap_or(line.len())]).map(|brace| brace + 1)
}

/// The length of the family's name in the last line of a run that was read before.
fn last_family_len(mut run: &[u8]) -> usize {
    let mut len = 0;
    while let Some(newline) = memchr(b'\n', run)
        && let Ok(Comment::About(about)) = comment::read(run, newline, false)
    {
        len = about.family_len;
        run = &run[about.end + 1..];
    }
    len
}
