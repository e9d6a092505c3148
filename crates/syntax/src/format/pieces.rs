//! What goes between the steps of the formatter.

use crate::position::Position;

/// Space in front of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Blank,
    /// The end of a cell whose column is aligned.
    Cell,
    /// A line feed after which columns go on.
    Line,
    /// A line feed that ends all columns.
    Break,
    Indent,
    Unindent,
}

/// A piece of text with the space in front of it.
#[derive(Debug)]
pub(super) struct Piece {
    pub space: Vec<Space>,
    pub text: String,
    /// Where the source has it; decides which comments come before it.
    pub start: Position,
    pub end: Position,
}

/// A line of output, cut into cells.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// All cells but the last are terminated: their column is aligned.
    pub cells: Vec<Cell>,
    /// Whether the columns above and below have nothing to do with each other.
    pub ends_columns: bool,
}

/// A stretch of a line.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub text: String,
    /// For a terminated cell without text: whether its column counts nevertheless (indentation).
    pub counts_if_empty: bool,
}

/// Collects pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub list: Vec<Piece>,
    space: Vec<Space>,
}

impl Pieces {
    pub fn space(&mut self, space: Space) {
        self.space.push(space);
    }

    /// Text with a known place.
    pub fn text(&mut self, text: impl Into<String>, start: Position, end: Position) {
        self.list.push(Piece { space: std::mem::take(&mut self.space), text: text.into(), start, end });
    }

    /// Text that follows immediately on the piece before.
    pub fn glued(&mut self, text: &str) {
        let end = self.list.last().map_or_else(Position::default, |piece| piece.end);
        self.text(text, end, end);
    }
}
