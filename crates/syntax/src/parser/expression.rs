//! Expressions by precedence climbing. Every tree is returned with its height, which is bounded: chains like
//! `a + b + …` nest to the left without any recursion of the parser.

use std::sync::Arc;

use super::{MAX_HEIGHT, Parser};
use crate::ast::{BinaryExpr, BinaryOp, Expr, ExprKind, Ident, Literal, LiteralKind, UnaryOp};
use crate::position::Span;
use crate::token::TokenKind;

/// A tree and how many levels it has.
pub(super) struct Tree {
    pub expr: Expr,
    pub height: usize,
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Expr {
        self.tree().expr
    }

    pub(super) fn tree(&mut self) -> Tree {
        self.nested(Self::placeholder, |parser| parser.binary(1))
    }

    /// What stands for an expression that could not be read.
    fn placeholder(&self) -> Tree {
        let literal = Literal { kind: LiteralKind::Null, text: "null".into() };
        let start = self.token.span.start;
        let expr = Expr { file: self.file.clone(), span: Span::new(start, start), kind: ExprKind::Literal(literal) };
        Tree { expr, height: 1 }
    }

    fn finish(&mut self, span: Span, kind: ExprKind, children: usize) -> Tree {
        let height = children + 1;
        if height > MAX_HEIGHT {
            self.error_here(format!("expression too long: more than {MAX_HEIGHT} operators in a row"));
            return self.placeholder();
        }
        Tree { expr: Expr { file: self.file.clone(), span, kind }, height }
    }

    /// Operators of at least this precedence, left to right.
    fn binary(&mut self, minimum: u8) -> Tree {
        let mut left = self.power();
        loop {
            let precedence = self.token.kind.precedence();
            let TokenKind::Binary(operator) = self.token.kind else { return left };
            if precedence < minimum {
                return left;
            }
            let operator_span = self.advance().span;
            let right = self.nested(Self::placeholder, |parser| parser.binary(precedence + 1));
            left = self.join(left, operator, operator_span, right);
        }
    }

    /// `^` right to left.
    fn power(&mut self) -> Tree {
        let left = self.unary();
        if !self.at(TokenKind::Binary(BinaryOp::Power)) {
            return left;
        }
        let operator_span = self.advance().span;
        let right = self.nested(Self::placeholder, Self::power);
        self.join(left, BinaryOp::Power, operator_span, right)
    }

    fn join(&mut self, left: Tree, operator: BinaryOp, operator_span: Span, right: Tree) -> Tree {
        let span = left.expr.span.to(right.expr.span);
        let height = left.height.max(right.height);
        let binary = BinaryExpr { left: left.expr, operator, operator_span, right: right.expr };
        self.finish(span, ExprKind::Binary(Box::new(binary)), height)
    }

    fn unary(&mut self) -> Tree {
        let operator = match self.token.kind {
            TokenKind::Not => UnaryOp::Not,
            TokenKind::Binary(BinaryOp::Subtract) => UnaryOp::Negate,
            _ => {
                let primary = self.primary();
                return self.suffixes(primary);
            }
        };
        let start = self.advance().span;
        let operand = self.nested(Self::placeholder, Self::unary);
        let span = start.to(operand.expr.span);
        self.finish(span, ExprKind::Unary(operator, Box::new(operand.expr)), operand.height)
    }

    /// `{ "." IDENT | "[" Expr "]" | "(" [Args] ")" }`
    fn suffixes(&mut self, mut tree: Tree) -> Tree {
        loop {
            let start = tree.expr.span;
            tree = match self.token.kind {
                TokenKind::Dot => {
                    self.advance();
                    let token = self.expect(TokenKind::Identifier);
                    let name = Ident { name: self.text(token).into(), span: token.span };
                    let span = start.to(name.span);
                    self.finish(span, ExprKind::Access(Box::new(tree.expr), name), tree.height)
                }
                TokenKind::LeftBracket => {
                    self.advance();
                    let index = self.tree();
                    let span = start.to(self.expect(TokenKind::RightBracket).span);
                    let height = tree.height.max(index.height);
                    self.finish(span, ExprKind::Index(Box::new(tree.expr), Box::new(index.expr)), height)
                }
                TokenKind::LeftParen => {
                    self.advance();
                    let (arguments, height) = self.expressions(TokenKind::RightParen);
                    let span = start.to(self.expect(TokenKind::RightParen).span);
                    let height = tree.height.max(height);
                    self.finish(span, ExprKind::Call(Box::new(tree.expr), arguments), height)
                }
                TokenKind::String | TokenKind::LeftBrace => {
                    if !self.block_as_value(start) {
                        return tree;
                    }
                    tree
                }
                _ => return tree,
            };
        }
    }

    /// `name "label" { … }` where a value belongs: reads it all to tell about it once. False if it is something else.
    fn block_as_value(&mut self, start: Span) -> bool {
        if self.at(TokenKind::String) {
            self.advance();
        }
        let is_block = self.at(TokenKind::LeftBrace);
        self.expect(TokenKind::LeftBrace);
        if !is_block {
            self.skip_balanced();
            return false;
        }
        self.nested(|_| Vec::new(), |parser| parser.statements(TokenKind::RightBrace));
        let closed = self.at(TokenKind::RightBrace);
        let close = self.expect(TokenKind::RightBrace);
        if !closed {
            self.skip_balanced();
            return false;
        }
        self.error(start.to(close.span), "cannot use a block as an expression");
        true
    }

    fn primary(&mut self) -> Tree {
        let kind = match self.token.kind {
            TokenKind::Identifier => {
                let token = self.advance();
                let name: Arc<str> = self.text(token).into();
                return self.finish(token.span, ExprKind::Identifier(name), 0);
            }
            TokenKind::LeftParen => return self.paren(),
            TokenKind::LeftBracket => return self.array(),
            TokenKind::LeftBrace => return self.object(),
            TokenKind::String => LiteralKind::String,
            TokenKind::Number => LiteralKind::Number,
            TokenKind::Float => LiteralKind::Float,
            TokenKind::Bool => LiteralKind::Bool,
            TokenKind::Null => LiteralKind::Null,
            other => {
                self.error_here(format!("expected expression, got {}", other.as_str()));
                let placeholder = self.placeholder();
                self.skip_until(ends_expression);
                return placeholder;
            }
        };
        let token = self.advance();
        let literal = Literal { kind, text: self.text(token).into() };
        self.finish(token.span, ExprKind::Literal(literal), 0)
    }

    fn paren(&mut self) -> Tree {
        let open = self.advance().span;
        let inner = self.tree();
        let span = open.to(self.expect(TokenKind::RightParen).span);
        self.finish(span, ExprKind::Paren(Box::new(inner.expr)), inner.height)
    }

    fn array(&mut self) -> Tree {
        let open = self.advance().span;
        let (items, height) = self.expressions(TokenKind::RightBracket);
        let span = open.to(self.expect(TokenKind::RightBracket).span);
        self.finish(span, ExprKind::Array(items), height)
    }

    fn object(&mut self) -> Tree {
        let open = self.advance().span;
        let (fields, height) = self.fields();
        let span = open.to(self.expect(TokenKind::RightBrace).span);
        self.finish(span, ExprKind::Object(fields), height)
    }
}

const fn ends_expression(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Terminator | TokenKind::RightParen | TokenKind::RightBrace | TokenKind::RightBracket | TokenKind::Comma)
}
