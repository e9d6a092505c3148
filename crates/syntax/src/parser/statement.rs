//! Attributes and blocks.

use super::Parser;
use crate::ast::{Attribute, Block, Body, Ident, Stmt};
use crate::lexer::is_identifier;
use crate::position::Span;
use crate::token::TokenKind;

/// What a statement begins with: `name.of.block "label"`, or the name of an attribute.
struct Header {
    name: Vec<Ident>,
    label: Option<Ident>,
    /// Where a label is written, even an empty one.
    label_span: Option<Span>,
}

impl Parser<'_> {
    /// The statements up to `until` or the end of the file, neither of which is taken.
    pub(super) fn statements(&mut self, until: TokenKind) -> Vec<Stmt> {
        let mut statements = Vec::new();
        while !self.at(until) && !self.at(TokenKind::Eof) {
            statements.extend(self.statement());
            if self.at(until) {
                break;
            }
            if !self.at(TokenKind::Terminator) {
                self.error_here(format!("expected TERMINATOR, got {}", self.token.kind.as_str()));
                self.skip_statement();
            }
            self.advance();
        }
        statements
    }

    /// Skips the rest of a statement with all brackets that it opens.
    fn skip_statement(&mut self) {
        let mut open = 0_isize;
        while !self.at(TokenKind::Eof) {
            match self.token.kind {
                TokenKind::LeftBrace | TokenKind::LeftBracket | TokenKind::LeftParen => open += 1,
                TokenKind::RightBrace | TokenKind::RightBracket | TokenKind::RightParen => open -= 1,
                TokenKind::Terminator if open <= 0 => return,
                _ => {}
            }
            self.advance();
        }
    }

    fn statement(&mut self) -> Option<Stmt> {
        let Some(header) = self.header() else {
            self.skip_until(|kind| kind == TokenKind::Identifier);
            return None;
        };
        match self.token.kind {
            TokenKind::Assign => self.attribute(header).map(Stmt::Attribute),
            TokenKind::LeftBrace => Some(Stmt::Block(self.block(header))),
            other => {
                let wanted =
                    if header.name.len() == 1 && header.label.is_none() { "attribute assignment or block body" } else { "block body" };
                self.error_here(format!("expected {wanted}, got {}", other.as_str()));
                self.skip_until(|kind| kind == TokenKind::Identifier);
                None
            }
        }
    }

    /// `IDENT { "." IDENT } [ STRING ]`
    fn header(&mut self) -> Option<Header> {
        if !self.at(TokenKind::Identifier) {
            self.error_here(format!("expected identifier, got {}", self.token.kind.as_str()));
            return None;
        }
        let mut header = Header { name: vec![self.ident()], label: None, label_span: None };
        while self.at(TokenKind::Dot) {
            self.advance();
            if !self.at(TokenKind::Identifier) {
                self.error_here(format!("expected identifier, got {}", self.token.kind.as_str()));
            }
            header.name.push(self.ident());
        }
        match self.token.kind {
            TokenKind::Assign | TokenKind::LeftBrace => {}
            TokenKind::String => self.label(&mut header),
            other => {
                self.error_here(format!("expected block label, got {}", other.as_str()));
                self.advance();
            }
        }
        Some(header)
    }

    /// Takes the next token as an identifier, whatever it is.
    pub(super) fn ident(&mut self) -> Ident {
        let token = self.advance();
        Ident { name: self.text(token).into(), span: token.span }
    }

    fn label(&mut self, header: &mut Header) {
        let literal = self.text(self.token);
        // Single quotes are tolerated here as everywhere.
        if literal.starts_with('`') {
            self.error_here(format!("expected block label to be a double quoted string, but got {literal:?}"));
        }
        let name = literal.get(1..literal.len() - 1).unwrap_or_default();
        if !name.is_empty() {
            if !is_identifier(name) {
                self.error_here(format!("expected block label to be a valid identifier, but got {name:?}"));
            }
            header.label = Some(Ident { name: name.into(), span: self.token.span });
        }
        header.label_span = Some(self.token.span);
        self.advance();
    }

    fn attribute(&mut self, header: Header) -> Option<Attribute> {
        self.advance();
        let span = header.name.first().zip(header.name.last()).map(|(first, last)| first.span.to(last.span));
        if header.name.len() > 1 {
            let message = "attribute names may only consist of a single identifier with no \".\"";
            self.error(span.unwrap_or_default(), message);
        } else if let Some(span) = header.label_span {
            self.error(span, "attribute names may not have labels");
        }
        let value = self.expression();
        let name = header.name.into_iter().next()?;
        Some(Attribute { file: self.file.clone(), name, value })
    }

    fn block(&mut self, header: Header) -> Block {
        let open = self.expect(TokenKind::LeftBrace);
        let statements = self.nested(|_| Vec::new(), |parser| parser.statements(TokenKind::RightBrace));
        let close = self.expect(TokenKind::RightBrace);
        let span = open.span.to(close.span);
        Block { name: header.name, label: header.label, body: Body { file: self.file.clone(), statements, span } }
    }
}
