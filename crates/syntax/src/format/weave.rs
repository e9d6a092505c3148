//! Puts comments between the pieces and cuts the text into rows and cells.

use super::pieces::{Cell, Piece, Row, Space};
use crate::ast::Comment;

/// One blank line at most.
const MAX_LINE_FEEDS: u32 = 2;

/// Rows of all pieces, with every comment where the source has it.
pub(super) fn weave(pieces: Vec<Piece>, comments: &[Comment]) -> Vec<Row> {
    let mut weaver = Weaver::default();
    let mut comments = comments.iter().peekable();
    for piece in pieces {
        let mut gap = Gap { space: piece.space, next_line: Some(piece.start.line), entered: false };
        let mut last = None;
        while let Some(comment) = comments.next_if(|comment| comment.span.start.offset < piece.start.offset) {
            weaver.before_comment(&mut gap, comment);
            weaver.comment(comment);
            last = Some(comment);
        }
        match last {
            Some(comment) => weaver.after_comment(&gap, comment, piece.start.line),
            None => gap.space.into_iter().for_each(|space| weaver.space(space)),
        }
        weaver.text(&piece.text, piece.end.line);
    }
    let mut gap = Gap { space: Vec::new(), next_line: None, entered: false };
    for comment in comments {
        weaver.before_comment(&mut gap, comment);
        weaver.comment(comment);
    }
    weaver.finish()
}

/// The space between two pieces, into which comments fall.
struct Gap {
    space: Vec<Space>,
    /// Source line of the second piece; none at the end of the file.
    next_line: Option<u32>,
    /// Whether a comment on a line of its own was put in.
    entered: bool,
}

impl Gap {
    /// For the first comment on a line of its own: the indentation in front of the first blank or line break, which
    /// holds for the comment as well. That blank or line break gives way to the comment's own.
    fn enter(&mut self) -> Vec<Space> {
        let first = self.space.iter().position(|space| !is_indentation(*space));
        match first {
            Some(first) if !std::mem::replace(&mut self.entered, true) => {
                let mut taken: Vec<Space> = self.space.drain(..=first).collect();
                taken.pop();
                taken
            }
            _ => Vec::new(),
        }
    }
}

#[derive(Default)]
struct Weaver {
    rows: Vec<Row>,
    row: Row,
    cell: Cell,
    /// Whether the row has nothing, not even its indentation.
    fresh: bool,
    started: bool,
    indent: usize,
    /// The source line on which the last text ended.
    line: u32,
}

impl Weaver {
    /// Space between the text before a comment and the comment.
    fn before_comment(&mut self, gap: &mut Gap, comment: &Comment) {
        if !self.started {
            return;
        }
        let line = comment.span.start.line;
        if line == self.line {
            // Trailing comments are aligned, comments within a line are not.
            if gap.next_line == Some(line) {
                self.space(Space::Blank)
            } else {
                self.end_cell(true)
            }
            return;
        }
        gap.enter().into_iter().for_each(|space| self.space(space));
        self.line_feeds(line.saturating_sub(self.line), true);
    }

    fn comment(&mut self, comment: &Comment) {
        let text = match comment.text.strip_prefix('#') {
            Some(text) => format!("//{text}"),
            None => comment.text.to_string(),
        };
        self.text(&text, comment.span.end.line);
    }

    /// Space between a comment and the piece after it.
    fn after_comment(&mut self, gap: &Gap, comment: &Comment, next_line: u32) {
        if comment.text.starts_with("/*") && next_line == comment.span.end.line {
            self.space(Space::Blank);
        }
        gap.space.iter().filter(|space| is_indentation(**space)).for_each(|space| self.space(*space));
        self.line_feeds(next_line.saturating_sub(self.line), gap.space.contains(&Space::Break));
    }

    fn line_feeds(&mut self, count: u32, ends_columns: bool) {
        for _ in 0..count.min(MAX_LINE_FEEDS) {
            self.end_row(ends_columns);
        }
    }

    fn space(&mut self, space: Space) {
        match space {
            Space::Blank => {
                self.indented();
                self.cell.text.push(' ');
            }
            Space::Cell => self.end_cell(false),
            Space::Line => self.end_row(false),
            Space::Break => self.end_row(true),
            Space::Indent => self.indent += 1,
            Space::Unindent => self.indent = self.indent.saturating_sub(1),
        }
    }

    /// Writes the indentation if nothing is on the row yet.
    fn indented(&mut self) {
        if std::mem::take(&mut self.fresh) || !self.started {
            self.started = true;
            for _ in 0..self.indent {
                self.row.cells.push(Cell { text: String::new(), counts_if_empty: true });
            }
        }
    }

    fn text(&mut self, text: &str, end_line: u32) {
        self.indented();
        self.cell.text.push_str(text);
        self.line = end_line;
    }

    fn end_cell(&mut self, counts_if_empty: bool) {
        self.indented();
        let cell = std::mem::take(&mut self.cell);
        self.row.cells.push(Cell { counts_if_empty, ..cell });
    }

    fn end_row(&mut self, ends_columns: bool) {
        let cell = std::mem::take(&mut self.cell);
        self.row.cells.push(cell);
        self.row.ends_columns = ends_columns;
        self.rows.push(std::mem::take(&mut self.row));
        self.fresh = true;
    }

    fn finish(mut self) -> Vec<Row> {
        self.end_row(true);
        self.rows
    }
}

const fn is_indentation(space: Space) -> bool {
    matches!(space, Space::Indent | Space::Unindent)
}
