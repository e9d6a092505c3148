//! Lists of expressions and of object fields.

use super::Parser;
use crate::ast::{Expr, Ident, ObjectField};
use crate::token::TokenKind;

impl Parser<'_> {
    /// `[ Expr {"," Expr} [","] ]` up to `until`, which is not taken; and the greatest height among them.
    pub(super) fn expressions(&mut self, until: TokenKind) -> (Vec<Expr>, usize) {
        let mut height = 0;
        let expressions = self.list(until, "missing ',' in expression list", |parser| {
            let tree = parser.tree();
            height = height.max(tree.height);
            tree.expr
        });
        (expressions, height)
    }

    /// `[ Key "=" Expr {"," …} [","] ]` up to `}`, which is not taken; and the greatest height among the values.
    pub(super) fn fields(&mut self) -> (Vec<ObjectField>, usize) {
        let mut height = 0;
        let fields = self.list(TokenKind::RightBrace, "missing ',' in field list", |parser| {
            let (key, literal) = parser.key();
            parser.expect(TokenKind::Assign);
            let tree = parser.tree();
            height = height.max(tree.height);
            ObjectField { key, literal, value: tree.expr }
        });
        (fields, height)
    }

    fn list<T>(&mut self, until: TokenKind, no_comma: &str, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.at(until) && !self.at(TokenKind::Eof) {
            items.push(item(self));
            if self.at(until) {
                break;
            }
            if !self.at(TokenKind::Comma) {
                self.error_here(no_comma);
            }
            self.advance();
        }
        items
    }

    /// A key and, if it is quoted, its literal. What is between the quotes is taken as it is.
    fn key(&mut self) -> (Ident, Option<std::sync::Arc<str>>) {
        match self.token.kind {
            TokenKind::Identifier => (self.ident(), None),
            TokenKind::String => {
                let mut key = self.ident();
                let literal = key.name.clone();
                key.name = literal.get(1..literal.len() - 1).unwrap_or_default().into();
                (key, Some(literal))
            }
            other => {
                self.error_here(format!("expected field name (string or identifier), got {}", other.as_str()));
                let key = Ident { name: "".into(), span: self.token.span };
                self.skip_until(|kind| kind == TokenKind::Assign);
                (key, None)
            }
        }
    }
}
