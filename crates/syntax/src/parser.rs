//! Tokens to the tree (`spec/language.md` §1.2). Always goes on after an error, so that all of them are told at once.

mod expression;
mod list;
mod statement;

use std::sync::Arc;

use crate::ast::{Body, Comment, File};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::lexer::Lexer;
use crate::position::{Position, Span};
use crate::source::too_long;
use crate::token::{Token, TokenKind};

/// Deepest nesting of blocks, brackets and operators. Handwritten configurations stay below 20; the bound keeps the
/// parser's recursion within a thread's 2 MiB of stack.
pub(crate) const MAX_DEPTH: usize = 128;

/// Highest tree of an expression, in which chains like `a + b + …` count as well: whoever walks the tree may recurse.
pub(crate) const MAX_HEIGHT: usize = 512;

/// A file with more errors than this is something else than a configuration.
const MAX_DIAGNOSTICS: usize = 1000;

/// Parses a file. Never fails: what cannot be read is left out of the tree, and the diagnostics tell why, all errors
/// at once. Comments with `#` and single-quoted strings, which Alloy refuses, are read with a warning.
#[must_use]
pub fn parse(file_name: &str, source: &str) -> (File, Diagnostics) {
    let file: Arc<str> = file_name.into();
    if let Err(diagnostics) = too_long(&file, source.len()) {
        return (File { body: Body::empty(file.clone()), name: file, comments: Vec::new() }, diagnostics);
    }
    Parser::new(file, source).file()
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    file: Arc<str>,
    /// The next token that is no comment.
    token: Token,
    /// The end of the token before.
    previous_end: Position,
    comments: Vec<Comment>,
    errors: Diagnostics,
    /// Later errors on the same line are mostly consequences of the first.
    last_error_line: u32,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(file: Arc<str>, source: &'a str) -> Self {
        let lexer = Lexer::new(file.clone(), source);
        let token = Token { kind: TokenKind::Eof, span: Span::default() };
        let mut parser = Self {
            lexer,
            file,
            token,
            previous_end: Position { offset: 0, line: 1, column: 1 },
            comments: Vec::new(),
            errors: Diagnostics::new(),
            last_error_line: 0,
            depth: 0,
        };
        parser.advance();
        parser
    }

    fn file(mut self) -> (File, Diagnostics) {
        let start = self.previous_end;
        let statements = self.statements(TokenKind::Eof);
        let span = Span::new(start, self.token.span.end);
        let body = Body { file: self.file.clone(), statements, span };
        let mut diagnostics: Diagnostics = self.lexer.diagnostics.into_iter().chain(self.errors).collect();
        diagnostics.sort_by_place();
        (File { name: self.file, body, comments: self.comments }, bounded(diagnostics))
    }

    /// Steps to the next token that is no comment.
    fn advance(&mut self) -> Token {
        let taken = self.token;
        self.previous_end = taken.span.end.max(self.previous_end);
        loop {
            self.token = self.lexer.next_token();
            if self.token.kind != TokenKind::Comment {
                return taken;
            }
            let text = self.lexer.text(self.token).replace('\r', "");
            self.comments.push(Comment { span: self.token.span, text: text.into() });
        }
    }

    fn at(&self, kind: TokenKind) -> bool {
        self.token.kind == kind
    }

    fn text(&self, token: Token) -> &'a str {
        self.lexer.text(token)
    }

    /// Steps over the next token, which should be `kind`. Never steps over the end of a statement, so that the next
    /// one is read whatever is wrong with this one.
    fn expect(&mut self, kind: TokenKind) -> Token {
        if !self.at(kind) {
            self.error_here(format!("expected {}, got {}", kind.as_str(), self.token.kind.as_str()));
            if self.at(TokenKind::Terminator) {
                return self.token;
            }
        }
        self.advance()
    }

    /// An error at the next token, unless there was one on its line already.
    fn error_here(&mut self, message: impl Into<String>) {
        let line = self.token.span.start.line;
        if self.last_error_line != line {
            self.last_error_line = line;
            self.error(self.token.span, message);
        }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(Diagnostic::error(&self.file, span, message));
    }

    /// Runs `parse` one level deeper, or skips what is nested too deeply.
    fn nested<T>(&mut self, otherwise: impl FnOnce(&Self) -> T, parse: impl FnOnce(&mut Self) -> T) -> T {
        if self.depth >= MAX_DEPTH {
            self.error_here(format!("nested too deeply: more than {MAX_DEPTH} levels"));
            let otherwise = otherwise(self);
            self.skip_balanced();
            return otherwise;
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Skips to the end of the statement or of the surrounding brackets; brackets on the way are skipped as wholes.
    fn skip_balanced(&mut self) {
        let mut open = 0_usize;
        while !self.at(TokenKind::Eof) {
            match self.token.kind {
                TokenKind::LeftBrace | TokenKind::LeftBracket | TokenKind::LeftParen => open += 1,
                TokenKind::RightBrace | TokenKind::RightBracket | TokenKind::RightParen if open == 0 => return,
                TokenKind::RightBrace | TokenKind::RightBracket | TokenKind::RightParen => open -= 1,
                TokenKind::Terminator if open == 0 => return,
                _ => {}
            }
            self.advance();
        }
    }

    fn skip_until(&mut self, stop: impl Fn(TokenKind) -> bool) {
        while !self.at(TokenKind::Eof) && !stop(self.token.kind) {
            self.advance();
        }
    }
}

fn bounded(diagnostics: Diagnostics) -> Diagnostics {
    let surplus = diagnostics.len().saturating_sub(MAX_DIAGNOSTICS);
    if surplus == 0 {
        return diagnostics;
    }
    // Errors must not be lost behind warnings.
    let (errors, warnings) = diagnostics.split();
    errors.into_iter().chain(warnings).take(MAX_DIAGNOSTICS).collect()
}
