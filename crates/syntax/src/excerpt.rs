//! Diagnostics drawn over excerpts of their sources, in Alloy's layout (`spec/language.md` §1.5).

use std::collections::HashMap;
use std::fmt::{self, Write};

use crate::diagnostics::{Diagnostic, Diagnostics, Severity, Sources};

/// How many lines to show before and after the offending ones.
const CONTEXT_LINES: usize = 1;

/// What a tab becomes.
const TAB: &str = "    ";

/// Lines are cut behind this many bytes, marks included: minified sources have lines of megabytes.
const MAX_LINE_BYTES: usize = 400;

/// See [`Diagnostics::render`].
pub(crate) fn render(diagnostics: &Diagnostics, sources: &Sources, colour: bool) -> String {
    // Cut into lines once, however many diagnostics a file has.
    let mut lines: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut text = String::new();
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let cut = || sources.get(&diagnostic.file).map(|source| source.split('\n').collect()).unwrap_or_default();
        let excerpt = Excerpt::new(diagnostic, lines.entry(&diagnostic.file).or_insert_with(cut));
        // Writing to a string cannot fail.
        let _ = write_diagnostic(&mut text, diagnostic, excerpt.as_ref(), colour);
    }
    text
}

fn write_diagnostic(out: &mut String, diagnostic: &Diagnostic, excerpt: Option<&Excerpt<'_>>, colour: bool) -> fmt::Result {
    let (word, code) = match diagnostic.severity {
        Severity::Error => ("Error", 31),
        Severity::Warning => ("Warning", 33),
    };
    if colour {
        writeln!(out, "\u{1b}[{code};1m{word}: \u{1b}[0m\u{1b}[1m{diagnostic}\u{1b}[0m")?;
    } else {
        writeln!(out, "{word}: {diagnostic}")?;
    }
    if let Some(excerpt) = excerpt {
        excerpt.write(out)?;
    }
    match (&diagnostic.help, excerpt) {
        (Some(help), Some(excerpt)) => writeln!(out, "{:width$} = help: {help}", "", width = excerpt.number_width),
        (Some(help), None) => writeln!(out, "  help: {help}"),
        (None, _) => Ok(()),
    }
}

/// The lines around a span, and which part of them is meant. Lines and columns count from 1, ends are included.
struct Excerpt<'a> {
    lines: Vec<(usize, &'a str)>,
    start: (usize, usize),
    end: (usize, usize),
    number_width: usize,
}

impl<'a> Excerpt<'a> {
    /// `None` if there is no place, or no such line: then these are not the lines that were parsed.
    fn new(diagnostic: &Diagnostic, lines: &[&'a str]) -> Option<Self> {
        let position = |position: crate::Position| (position.line as usize, position.column as usize);
        let start = position(diagnostic.span.start);
        // The span's end is behind the last character; an empty span shows the character at its start.
        let (end_line, end_column) = position(diagnostic.span.end);
        let end = if (end_line, end_column) <= start { start } else { (end_line, end_column.saturating_sub(1)) };
        if start.0 == 0 || end.0 > lines.len() {
            return None;
        }
        let first = start.0.saturating_sub(CONTEXT_LINES).max(1);
        let last = (end.0 + CONTEXT_LINES).min(lines.len());
        let lines = lines.get(first - 1..last)?.iter().zip(first..).map(|(line, number)| (number, *line)).collect();
        Some(Self { lines, start, end, number_width: last.to_string().len() })
    }

    const fn multiline(&self) -> bool {
        self.end.0 > self.start.0
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        out.push('\n');
        for (number, line) in &self.lines {
            let gutter = match self.multiline() {
                false => "",
                true if *number > self.start.0 && *number <= self.end.0 => "| ",
                true => "  ",
            };
            let shown = shown(line);
            let padding = if shown.is_empty() { gutter.trim_end() } else { gutter };
            let text = format!("{number:width$} | {padding}{shown}", width = self.number_width);
            writeln!(out, "{}", text.trim_end())?;
            if *number == self.start.0 || (self.multiline() && *number == self.end.0) {
                self.write_marks(out, *number, line)?;
            }
        }
        Ok(())
    }

    /// The row of marks below a line.
    fn write_marks(&self, out: &mut String, number: usize, line: &str) -> fmt::Result {
        let (lead, blank) = match self.multiline() {
            false => ("", ' '),
            true if number == self.start.0 => (" _", '_'),
            true => ("|_", '_'),
        };
        let from = if number == self.start.0 { self.start.1 } else { 1 };
        let to = if number == self.end.0 { self.end.1 } else { usize::MAX };
        let mut marks = String::new();
        for (index, character) in clipped(line).char_indices().take_while(|(index, _)| *index < to) {
            match character {
                '\r' => {}
                '\t' | '\u{b}' => marks.extend(std::iter::repeat_n(blank, TAB.len())),
                _ if index + 1 >= from => marks.push('^'),
                _ => marks.push(blank),
            }
        }
        // What ends the line is marked behind it.
        if !marks.contains('^') && !self.multiline() {
            marks.push('^');
        }
        writeln!(out, "{:width$} | {lead}{marks}", "", width = self.number_width)
    }
}

/// A line as it is printed.
fn shown(line: &str) -> String {
    let text = clipped(line).replace('\r', "").replace(['\t', '\u{b}'], TAB);
    if clipped(line).len() < line.len() { format!("{text} …") } else { text }
}

fn clipped(line: &str) -> &str {
    let mut end = line.len().min(MAX_LINE_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}
