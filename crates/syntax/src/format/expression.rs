//! The tree to pieces: expressions. Lists keep their line breaks.

use super::pieces::Space;
use super::walk::{Walker, after, before};
use crate::ast::{Expr, ExprKind, Literal, LiteralKind, ObjectField};
use crate::lexer::portable_string;
use crate::position::{Position, Span};

impl Walker<'_> {
    pub(super) fn expression(&mut self, expr: &Expr) {
        let Span { start, end } = expr.span;
        match &expr.kind {
            ExprKind::Identifier(name) => self.pieces.text(&**name, start, end),
            ExprKind::Literal(literal) => self.pieces.text(literal_text(literal), start, end),
            ExprKind::Array(items) => self.array(items, expr.span),
            ExprKind::Object(fields) => self.object(fields, expr.span),
            ExprKind::Access(value, name) => {
                self.expression(value);
                self.keep_apart_from_dot(value);
                self.pieces.glued(".");
                self.pieces.text(&*name.name, name.span.start, name.span.end);
            }
            ExprKind::Index(value, index) => {
                self.expression(value);
                self.pieces.glued("[");
                self.expression(index);
                self.closer("]", expr.span);
            }
            ExprKind::Call(function, arguments) => {
                self.expression(function);
                self.arguments(arguments, function.span.end, expr.span);
            }
            ExprKind::Unary(operator, operand) => {
                self.pieces.text(operator.as_str(), start, after(start));
                self.expression(operand);
            }
            ExprKind::Binary(binary) => {
                self.expression(&binary.left);
                self.pieces.space(Space::Blank);
                let operator = binary.operator_span;
                self.pieces.text(binary.operator.as_str(), operator.start, operator.end);
                self.pieces.space(Space::Blank);
                self.expression(&binary.right);
            }
            ExprKind::Paren(inner) => {
                self.pieces.text("(", start, after(start));
                self.expression(inner);
                self.closer(")", expr.span);
            }
        }
    }

    /// `1 .x` must not become the float `1.`.
    fn keep_apart_from_dot(&mut self, value: &Expr) {
        if matches!(&value.kind, ExprKind::Literal(Literal { kind: LiteralKind::Number, .. })) {
            self.pieces.space(Space::Blank);
        }
    }

    fn array(&mut self, items: &[Expr], span: Span) {
        self.pieces.text("[", span.start, after(span.start));
        let mut line = span.start.line;
        for (index, item) in items.iter().enumerate() {
            let breaks = item.span.start.line != line;
            line = item.span.end.line;
            if breaks {
                // The indentation comes first, so that comments in front of the line break have it.
                self.pieces.space(Space::Indent);
                self.pieces.space(Space::Break);
            } else if index > 0 {
                self.pieces.space(Space::Blank);
            }
            self.expression(item);
            if index + 1 < items.len() {
                self.pieces.glued(",");
            }
            if breaks {
                self.pieces.space(Space::Unindent);
            }
        }
        if !items.is_empty() && before(span.end).line != line {
            self.pieces.glued(",");
            self.pieces.space(Space::Indent);
            self.pieces.space(Space::Break);
            self.pieces.space(Space::Unindent);
        }
        self.closer("]", span);
    }

    fn object(&mut self, fields: &[ObjectField], span: Span) {
        self.pieces.text("{", span.start, after(span.start));
        self.pieces.space(Space::Indent);
        let mut line = span.start.line;
        let mut previous: Option<&ObjectField> = None;
        for (index, field) in fields.iter().enumerate() {
            let key = field.key.span;
            if key.start.line != line {
                // Columns do not reach over values that take several lines.
                let short = previous.is_some_and(|previous| !self.takes_lines(&previous.value));
                self.pieces.space(if short { Space::Line } else { Space::Break });
            } else if index > 0 {
                self.pieces.space(Space::Blank);
            }
            line = key.end.line;
            self.field(field);
            if index + 1 < fields.len() {
                self.pieces.glued(",");
            }
            previous = Some(field);
        }
        if !fields.is_empty() && before(span.end).line != line {
            self.pieces.glued(",");
            self.pieces.space(Space::Break);
        }
        self.pieces.space(Space::Unindent);
        self.closer("}", span);
    }

    fn field(&mut self, field: &ObjectField) {
        let key = field.literal.as_ref().map_or_else(|| field.key.name.to_string(), |literal| key_text(literal));
        self.pieces.text(key, field.key.span.start, field.key.span.end);
        self.pieces.space(Space::Cell);
        self.pieces.glued("=");
        self.pieces.space(Space::Blank);
        self.expression(&field.value);
    }

    fn arguments(&mut self, arguments: &[Expr], open: Position, span: Span) {
        self.pieces.glued("(");
        let mut line = open.line;
        for (index, argument) in arguments.iter().enumerate() {
            let breaks = argument.span.start.line != line;
            line = argument.span.end.line;
            if breaks {
                self.pieces.space(Space::Break);
                self.pieces.space(Space::Indent);
            }
            self.expression(argument);
            if index + 1 < arguments.len() {
                self.pieces.glued(",");
                self.pieces.space(Space::Blank);
            }
            if breaks {
                self.pieces.space(Space::Unindent);
            }
        }
        if !arguments.is_empty() && before(span.end).line != line {
            self.pieces.glued(",");
            self.pieces.space(Space::Break);
        }
        self.closer(")", span);
    }

    /// Whether the formatted expression takes several lines.
    pub(super) fn takes_lines(&self, expr: &Expr) -> bool {
        self.comment_breaks(expr.span) || breaks(expr)
    }
}

fn breaks(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Identifier(_) => false,
        ExprKind::Literal(literal) => literal.text.contains('\n'),
        ExprKind::Array(items) => list_breaks(expr.span.start.line, items, expr.span),
        ExprKind::Call(function, arguments) => breaks(function) || list_breaks(function.span.end.line, arguments, expr.span),
        ExprKind::Object(fields) => object_breaks(fields, expr.span),
        ExprKind::Access(inner, _) | ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => breaks(inner),
        ExprKind::Index(value, index) => breaks(value) || breaks(index),
        ExprKind::Binary(binary) => breaks(&binary.left) || breaks(&binary.right),
    }
}

fn list_breaks(mut line: u32, items: &[Expr], span: Span) -> bool {
    for item in items {
        if item.span.start.line != line || breaks(item) {
            return true;
        }
        line = item.span.end.line;
    }
    !items.is_empty() && span.end.line != line
}

fn object_breaks(fields: &[ObjectField], span: Span) -> bool {
    let mut line = span.start.line;
    for field in fields {
        if field.key.span.start.line != line || breaks(&field.value) {
            return true;
        }
        line = field.key.span.end.line;
    }
    !fields.is_empty() && span.end.line != line
}

fn literal_text(literal: &Literal) -> String {
    match literal.kind {
        LiteralKind::String => string_text(&literal.text),
        _ => literal.text.to_string(),
    }
}

/// A string literal as it is, except for single quotes; carriage returns mean nothing and go.
fn string_text(literal: &str) -> String {
    let portable = if literal.starts_with('\'') { portable_string(literal) } else { literal.to_owned() };
    portable.replace('\r', "")
}

/// A quoted key: in double quotes, unless something in it would then need escapes, which keys do not have.
fn key_text(literal: &str) -> String {
    match literal.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        Some(inner) if !inner.contains(['"', '\\', '\n', '\r']) => format!("\"{inner}\""),
        _ => string_text(literal),
    }
}
