//! Source text to tokens, one at a time (`spec/language.md` §1.1). Finds out where statements end; knows no grammar.

mod literals;

use std::sync::Arc;

use crate::ast::BinaryOp;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::position::{Position, Span};
use crate::token::{Token, TokenKind};

pub(crate) use literals::{number_value, portable_string, string_value};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Whether a text is a single identifier and no keyword.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(starts_identifier) && characters.all(continues_identifier) && !matches!(text, "true" | "false" | "null")
}

fn starts_identifier(character: char) -> bool {
    character == '_' || character.is_alphabetic()
}

fn continues_identifier(character: char) -> bool {
    starts_identifier(character) || character.is_ascii_digit() || (!character.is_ascii() && character.is_numeric())
}

/// Reads tokens off a source text. Errors go to `diagnostics`; reading always goes on.
pub(crate) struct Lexer<'a> {
    source: &'a str,
    file: Arc<str>,
    offset: usize,
    line: u32,
    line_start: usize,
    /// Whether the next line feed ends a statement.
    pending_terminator: bool,
    pub diagnostics: Diagnostics,
}

impl<'a> Lexer<'a> {
    /// The source must be shorter than 4 GiB; [`crate::parse`] sees to that.
    pub fn new(file: Arc<str>, source: &'a str) -> Self {
        let mut lexer =
            Self { source, file, offset: 0, line: 1, line_start: 0, pending_terminator: false, diagnostics: Diagnostics::new() };
        lexer.report_forbidden_characters();
        if source.starts_with(BYTE_ORDER_MARK) {
            lexer.offset = BYTE_ORDER_MARK.len_utf8();
        }
        lexer
    }

    /// NUL and stray byte order marks are wrong everywhere, even in strings and comments.
    fn report_forbidden_characters(&mut self) {
        let (mut line, mut line_start) = (1, 0);
        for (offset, character) in self.source.char_indices() {
            let message = match character {
                '\n' => {
                    (line, line_start) = (line + 1, offset + 1);
                    continue;
                }
                '\0' => "illegal character NUL",
                BYTE_ORDER_MARK if offset > 0 => "illegal byte order mark",
                _ => continue,
            };
            let start = position(offset, line, line_start);
            let end = position(offset + character.len_utf8(), line, line_start);
            self.diagnostics.push(Diagnostic::error(&self.file, Span::new(start, end), message));
        }
    }

    fn rest(&self) -> &'a str {
        self.source.get(self.offset..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn position(&self) -> Position {
        position(self.offset, self.line, self.line_start)
    }

    /// Takes one character.
    fn bump(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.offset += character.len_utf8();
        if character == '\n' {
            self.line += 1;
            self.line_start = self.offset;
        }
        Some(character)
    }

    fn bump_while(&mut self, accept: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&accept) {
            self.bump();
        }
    }

    /// Takes `expected` if it comes next.
    fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.bump();
        }
        found
    }

    /// An error from `start` up to here; on one line.
    fn error(&mut self, start: Position, message: impl Into<String>) {
        let here = self.position();
        let end = if here.line == start.line { here.max(start) } else { start };
        self.diagnostics.push(Diagnostic::error(&self.file, Span::new(start, end), message));
    }

    /// The text of a token.
    pub fn text(&self, token: Token) -> &'a str {
        self.source.get(token.span.range()).unwrap_or_default()
    }

    /// The next token; [`TokenKind::Eof`] for ever at the end.
    pub fn next_token(&mut self) -> Token {
        self.skip_whitespace();
        let start = self.position();
        let kind = match self.peek() {
            None => self.end_of_file(),
            Some('\n') => self.terminator(true),
            Some('/') if self.rest().starts_with("//") || self.rest().starts_with("/*") => self.comment(start),
            Some('#') => self.comment(start),
            Some(character) => {
                let kind = self.word(character, start);
                // An illegal character changes nothing about where the statement ends.
                if kind != TokenKind::Illegal {
                    self.pending_terminator = kind.ends_statement();
                }
                kind
            }
        };
        // A line feed is told at the end of its line, not over two lines.
        let end = if kind == TokenKind::Terminator { start } else { self.position() };
        Token { kind, span: Span::new(start, end) }
    }

    fn skip_whitespace(&mut self) {
        let pending = self.pending_terminator;
        self.bump_while(|character| matches!(character, ' ' | '\t' | '\r') || (character == '\n' && !pending));
    }

    fn end_of_file(&mut self) -> TokenKind {
        if self.pending_terminator { self.terminator(false) } else { TokenKind::Eof }
    }

    fn terminator(&mut self, consume: bool) -> TokenKind {
        if consume {
            self.bump();
        }
        self.pending_terminator = false;
        TokenKind::Terminator
    }

    /// A comment, or the terminator that belongs in front of it because the line ends with the comment.
    fn comment(&mut self, start: Position) -> TokenKind {
        if self.pending_terminator && comments_end_line(self.rest()) {
            return self.terminator(false);
        }
        self.pending_terminator = false;
        if self.rest().starts_with("/*") {
            match self.rest().get(2..).and_then(|rest| rest.find("*/")) {
                Some(length) => self.bump_to(self.offset + 2 + length + 2),
                None => {
                    self.bump_to(self.source.len());
                    self.error(start, "block comment not terminated");
                }
            }
            return TokenKind::Comment;
        }
        let hash = self.peek() == Some('#');
        let length = self.rest().find('\n').unwrap_or(self.rest().len());
        let text = self.rest().get(..length).unwrap_or_default().trim_end_matches('\r');
        let portable = text.strip_prefix('#').map(|text| format!("write //{text}, which Alloy understands as well"));
        self.bump_to(self.offset + text.len());
        if hash {
            let span = Span::new(start, self.position());
            let message = "comments that begin with # are not portable; use //";
            self.diagnostics.push(Diagnostic::warning(&self.file, span, message).with_help(portable));
        }
        TokenKind::Comment
    }

    fn bump_to(&mut self, offset: usize) {
        while self.offset < offset && self.bump().is_some() {}
    }

    fn word(&mut self, first: char, start: Position) -> TokenKind {
        match first {
            _ if starts_identifier(first) => self.identifier(),
            '0'..='9' => self.number(start),
            '.' if self.rest().chars().nth(1).is_some_and(|next| next.is_ascii_digit()) => self.number(start),
            '"' | '\'' | '`' => self.string(start),
            _ => self.operator(first, start),
        }
    }

    fn identifier(&mut self) -> TokenKind {
        let start = self.offset;
        self.bump_while(continues_identifier);
        match self.source.get(start..self.offset).unwrap_or_default() {
            "true" | "false" => TokenKind::Bool,
            "null" => TokenKind::Null,
            _ => TokenKind::Identifier,
        }
    }

    fn operator(&mut self, first: char, start: Position) -> TokenKind {
        use BinaryOp as Op;
        self.bump();
        match first {
            '|' => self.doubled('|', "missing second | in ||", Op::Or),
            '&' => self.doubled('&', "missing second & in &&", Op::And),
            '!' => self.with_equals(TokenKind::Not, Op::NotEqual),
            '=' => self.with_equals(TokenKind::Assign, Op::Equal),
            '<' => self.with_equals(TokenKind::Binary(Op::Less), Op::LessOrEqual),
            '>' => self.with_equals(TokenKind::Binary(Op::Greater), Op::GreaterOrEqual),
            '+' => TokenKind::Binary(Op::Add),
            '-' => TokenKind::Binary(Op::Subtract),
            '*' => TokenKind::Binary(Op::Multiply),
            '/' => TokenKind::Binary(Op::Divide),
            '%' => TokenKind::Binary(Op::Modulo),
            '^' => TokenKind::Binary(Op::Power),
            '{' => TokenKind::LeftBrace,
            '}' => TokenKind::RightBrace,
            '(' => TokenKind::LeftParen,
            ')' => TokenKind::RightParen,
            '[' => TokenKind::LeftBracket,
            ']' => TokenKind::RightBracket,
            ',' => TokenKind::Comma,
            '.' => TokenKind::Dot,
            '\0' | BYTE_ORDER_MARK => TokenKind::Illegal,
            other => {
                self.error(start, format!("illegal character {}", described(other)));
                TokenKind::Illegal
            }
        }
    }

    fn doubled(&mut self, second: char, message: &str, operator: BinaryOp) -> TokenKind {
        if !self.eat(second) {
            self.error(self.position(), message);
        }
        TokenKind::Binary(operator)
    }

    fn with_equals(&mut self, alone: TokenKind, with: BinaryOp) -> TokenKind {
        if self.eat('=') { TokenKind::Binary(with) } else { alone }
    }
}

/// `U+0040 '@'`
fn described(character: char) -> String {
    let code = u32::from(character);
    if character.is_control() { format!("U+{code:04X}") } else { format!("U+{code:04X} '{character}'") }
}

/// The source is shorter than `u32::MAX`, so nothing is cut off.
fn position(offset: usize, line: u32, line_start: usize) -> Position {
    let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Position { offset: narrow(offset), line, column: narrow(offset - line_start + 1) }
}

/// Whether nothing but comments and blanks is left on the line on which `text` begins with a comment.
fn comments_end_line(mut text: &str) -> bool {
    loop {
        text = text.trim_start_matches([' ', '\t', '\r']);
        if text.is_empty() || text.starts_with(['\n', '#']) || text.starts_with("//") {
            return true;
        }
        let Some(inner) = text.strip_prefix("/*") else { return false };
        let Some((comment, rest)) = inner.split_once("*/") else { return true };
        if comment.contains('\n') {
            return true;
        }
        text = rest;
    }
}
