//! Any line of OpenMetrics.

use memchr::{memchr, memchr2, memrchr};

use super::Parser;
use super::lines::{Known, Line};
use crate::error::Error;
use crate::open_metrics::comment::{self, Comment};
use crate::open_metrics::starts::{counts, is_created};
use crate::open_metrics::tail::{self, Tail, begins_exemplar, read_exemplar};
use crate::series::Series;
use crate::visitor::Visitor;

impl Parser {
    /// A line about a family, or the end of the body: how many bytes it took, or `None` if it isn't complete.
    pub(super) fn family<V: Visitor>(&mut self, rest: &[u8], visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let Some(newline) = self.newline(rest)? else { return Ok(None) };
        let about = match comment::read(self.view(rest), newline, visitor.wants_metadata()) {
            Ok(Comment::About(about)) => about,
            Ok(Comment::Eof { end }) => {
                self.ended = true;
                return self.complete(rest, Ok(end));
            }
            Err(stop) => return self.complete(rest, Err(stop)),
        };
        let used = self.complete_at(rest, newline, about.end)?;
        self.kind = about.kind.unwrap_or(self.kind);
        self.typed |= about.kind.is_some();
        self.help_line = about.is_help.then_some(self.line);
        self.starts.family(about.family_len);
        if let Some(entry) = about.entry {
            visitor.metadata(entry);
        }
        Ok(used)
    }

    /// What follows the expected series with this value and timestamp, up to the end of the line.
    pub(super) fn expected_tail<V: Visitor>(
        &mut self,
        line: Line<'_>,
        series: Known,
        value: f64,
        timestamp: Option<i64>,
        mut end: usize,
        visitor: &mut V,
    ) -> Result<Option<usize>, Error<V::Error>> {
        let rest = line.rest();
        if self.skip_created && counts(self.kind) && is_created(&rest[..series.len]) {
            return Ok(None);
        }
        let mut exemplar = None;
        if rest[end] == b' ' && begins_exemplar(rest, end) == Ok(true) {
            exemplar = read_exemplar(rest, end, &mut self.exemplar_labels).ok();
            end = exemplar.as_ref().map_or(end, |exemplar| exemplar.end);
        }
        if rest[end] != b'\n' || end > self.max_line {
            return Ok(None);
        }
        self.tell(line, series, &Tail { value, timestamp, exemplar, end }, visitor)?;
        Ok(Some(end + 1))
    }

    /// Any sample: how many bytes its line took, or `None` if it isn't complete.
    pub(super) fn any_sample<V: Visitor>(&mut self, line: Line<'_>, visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let rest = line.rest();
        if rest[0] == 0 && self.help_line == Some(self.line) {
            return Ok(Some(1));
        }
        let Some(newline) = self.newline(rest)? else { return Ok(None) };
        let view = self.view(rest);
        let skips = self.skip_created && counts(self.kind);
        let guess = guess_end(&rest[..newline]);
        let (known_end, row) = if skips && guess.is_some_and(|end| is_created(&rest[..end])) {
            (self.starts.known_end(line.text, view), None)
        } else {
            let row = guess.and_then(|end| visitor.find(&rest[..end]));
            (guess.filter(|_| row.is_some()), row)
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
            return self.complete_at(rest, newline, tail.end);
        }
        let row = match row.or_else(|| visitor.find(series)) {
            Some(row) => row,
            None => visitor.learn(Series::new(series, &self.spans, self.kind)).map_err(Error::Refused)?,
        };
        self.tell(line, Known { row, len: end }, &tail, visitor)?;
        self.complete_at(rest, newline, tail.end)
    }

    /// Tells a sample, and what came with it.
    fn tell<V: Visitor>(&mut self, line: Line<'_>, series: Known, tail: &Tail, visitor: &mut V) -> Result<(), Error<V::Error>> {
        let Known { row, len } = series;
        visitor.sample(row, tail.value, tail.timestamp).map_err(Error::Refused)?;
        if let Some(exemplar) = &tail.exemplar {
            match exemplar.build(line.rest(), &self.exemplar_labels) {
                Ok(exemplar) => visitor.exemplar(row, exemplar),
                Err(_) => self.refused_exemplars += 1,
            }
        }
        if !self.skip_created {
            return Ok(());
        }
        if !counts(self.kind) {
            self.starts.skip();
        } else if let Some(at) = self.starts.sample(row, line.text, line.at..line.at + len, self.kind) {
            visitor.created(row, at);
        }
        Ok(())
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
pub(super) fn last_family_len(mut run: &[u8]) -> usize {
    if memchr2(b'"', 0, run).is_none() {
        let line = memrchr(b'\n', &run[..run.len().saturating_sub(1)]).map_or(0, |newline| newline + 1);
        let name = run.get(line + b"# TYPE ".len()..).unwrap_or_default();
        return memchr(b' ', name).unwrap_or(0);
    }
    let mut len = 0;
    while let Some(newline) = memchr(b'\n', run)
        && let Ok(Comment::About(about)) = comment::read(run, newline, false)
    {
        len = about.family_len;
        run = &run[about.end + 1..];
    }
    len
}
