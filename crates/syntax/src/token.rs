//! The words of the language.

use crate::ast::BinaryOp;
use crate::position::Span;

/// A word with its place. Its text is the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

/// The kinds of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Reported by the lexer already.
    Illegal,
    Eof,
    Comment,
    Identifier,
    Number,
    Float,
    /// In double quotes, backticks or, tolerated, single quotes.
    String,
    Bool,
    Null,
    Binary(BinaryOp),
    Not,
    Assign,
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    Comma,
    Dot,
    /// The end of a statement: a line feed, or the end of the file.
    Terminator,
}

impl TokenKind {
    /// As messages name it, in Alloy's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Illegal => "ILLEGAL",
            Self::Eof => "EOF",
            Self::Comment => "COMMENT",
            Self::Identifier => "IDENT",
            Self::Number => "NUMBER",
            Self::Float => "FLOAT",
            Self::String => "STRING",
            Self::Bool => "BOOL",
            Self::Null => "NULL",
            Self::Binary(operator) => operator.as_str(),
            Self::Not => "!",
            Self::Assign => "=",
            Self::LeftBrace => "{",
            Self::RightBrace => "}",
            Self::LeftParen => "(",
            Self::RightParen => ")",
            Self::LeftBracket => "[",
            Self::RightBracket => "]",
            Self::Comma => ",",
            Self::Dot => ".",
            Self::Terminator => "TERMINATOR",
        }
    }

    /// Whether a line feed behind this word ends the statement.
    pub const fn ends_statement(self) -> bool {
        matches!(
            self,
            Self::Identifier
                | Self::Number
                | Self::Float
                | Self::String
                | Self::Bool
                | Self::Null
                | Self::RightBrace
                | Self::RightParen
                | Self::RightBracket
        )
    }

    /// How tightly a binary operator binds; 0 for everything else. `^` associates to the right.
    pub const fn precedence(self) -> u8 {
        use BinaryOp as Op;
        let Self::Binary(operator) = self else { return 0 };
        match operator {
            Op::Or => 1,
            Op::And => 2,
            Op::Equal | Op::NotEqual | Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => 3,
            Op::Add | Op::Subtract => 4,
            Op::Multiply | Op::Divide | Op::Modulo => 5,
            Op::Power => 6,
        }
    }
}
