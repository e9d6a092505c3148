//! Places in a source text. Leaves the texts themselves to [`crate::Sources`].

use std::fmt;

/// A place between two bytes of a source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Bytes before this place, from 0.
    pub offset: u32,
    /// Line, from 1; 0 means "nowhere" (a value that no source wrote).
    pub line: u32,
    /// Column in **bytes**, from 1, as Alloy counts.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A half-open stretch of source text: `end` is just behind the last byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: Position,
    /// Just behind the last byte.
    pub end: Position,
}

impl Span {
    /// The stretch from `start` up to `end`.
    #[must_use]
    pub const fn new(start: Position, end: Position) -> Self {
        Self { start, end }
    }

    /// The smallest stretch that covers both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    /// Byte offsets, for slicing the source.
    #[must_use]
    pub fn range(self) -> std::ops::Range<usize> {
        self.start.offset as usize..self.end.offset as usize
    }
}
