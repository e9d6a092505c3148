//! The tree to pieces: statements. Expressions are in `expression`.

use super::pieces::{Piece, Pieces, Space};
use crate::ast::{Attribute, Block, Body, Comment, Expr, File, Stmt};
use crate::position::{Position, Span};

pub(super) struct Walker<'a> {
    pub pieces: Pieces,
    comments: &'a [Comment],
}

impl<'a> Walker<'a> {
    pub fn file(file: &'a File) -> Vec<Piece> {
        let mut walker = Self { pieces: Pieces::default(), comments: &file.comments };
        walker.statements(&file.body);
        walker.pieces.list
    }

    pub fn expression_alone(expr: &Expr) -> Vec<Piece> {
        let mut walker = Walker { pieces: Pieces::default(), comments: &[] };
        walker.expression(expr);
        walker.pieces.list
    }

    fn statements(&mut self, body: &Body) {
        let mut previous: Option<&Stmt> = None;
        for statement in &body.statements {
            if let Some(previous) = previous {
                let blank_in_source = statement.span().start.line > last_line(previous.span()) + 1;
                if blank_in_source || matches!(statement, Stmt::Block(_)) {
                    self.pieces.space(Space::Break);
                }
            }
            let long = match statement {
                Stmt::Attribute(attribute) => self.attribute(attribute),
                Stmt::Block(block) => self.block(block),
            };
            // Columns do not reach over what takes several lines.
            self.pieces.space(if long { Space::Break } else { Space::Line });
            previous = Some(statement);
        }
    }

    /// Whether the attribute takes several lines.
    fn attribute(&mut self, attribute: &Attribute) -> bool {
        let name = &attribute.name;
        self.pieces.text(&*name.name, name.span.start, name.span.end);
        self.pieces.space(Space::Cell);
        self.pieces.glued("=");
        self.pieces.space(Space::Blank);
        self.expression(&attribute.value);
        self.takes_lines(&attribute.value)
    }

    /// Whether the block takes several lines.
    fn block(&mut self, block: &Block) -> bool {
        for (index, part) in block.name.iter().enumerate() {
            if index > 0 {
                self.pieces.glued(".");
            }
            self.pieces.text(&*part.name, part.span.start, part.span.end);
        }
        if let Some(label) = &block.label {
            self.pieces.space(Space::Blank);
            self.pieces.text(format!("\"{}\"", label.name), label.span.start, label.span.end);
        }
        self.pieces.space(Space::Blank);
        let open = block.body.span.start;
        self.pieces.text("{", open, after(open));
        self.pieces.space(Space::Indent);
        let empty = block.body.statements.is_empty();
        if empty {
            self.pieces.space(Space::Blank);
        } else {
            self.pieces.space(Space::Break);
            self.statements(&block.body);
        }
        self.pieces.space(Space::Unindent);
        self.closer("}", block.body.span);
        !empty || self.comment_breaks(block.body.span)
    }

    /// The last character of a span.
    pub fn closer(&mut self, text: &str, span: Span) {
        self.pieces.text(text, before(span.end), span.end);
    }

    /// Whether a comment within the span makes it take several lines.
    pub fn comment_breaks(&self, span: Span) -> bool {
        let first = self.comments.partition_point(|comment| comment.span.start < span.start);
        self.comments
            .iter()
            .skip(first)
            .take_while(|comment| comment.span.start < span.end)
            .any(|comment| !comment.text.starts_with("/*") || comment.text.contains('\n'))
    }
}

/// The line on which the last character is.
pub(super) fn last_line(span: Span) -> u32 {
    span.end.line
}

pub(super) fn after(position: Position) -> Position {
    Position { offset: position.offset + 1, column: position.column + 1, ..position }
}

pub(super) fn before(position: Position) -> Position {
    Position { offset: position.offset.saturating_sub(1), column: position.column.saturating_sub(1), ..position }
}
