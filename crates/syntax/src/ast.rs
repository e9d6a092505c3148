//! The tree that the parser yields. It is plain data: evaluation, formatting and reference walking live elsewhere.
//!
//! Every node that can be in error carries its file's name, so that parts of several files (modules) can be mixed.

use std::sync::Arc;

use crate::position::Span;

/// A parsed file. Statements that could not be read are left out of `body`; the diagnostics of
/// [`crate::parse`] tell about them.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// The name given to [`crate::parse`], as it appears in diagnostics.
    pub name: Arc<str>,
    /// The statements at top level.
    pub body: Body,
    /// All comments in source order; no other node refers to them.
    pub comments: Vec<Comment>,
}

/// A comment with its markers, carriage returns taken out.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    /// From the first marker to the end of the text (for `//` without the line feed).
    pub span: Span,
    /// `// …`, `/* … */` or, tolerated with a warning, `# …`.
    pub text: Arc<str>,
}

/// Statements of a file or between the braces of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// The file's name.
    pub file: Arc<str>,
    /// In source order.
    pub statements: Vec<Stmt>,
    /// Of a block: from `{` to `}`, both included. Of a file: all of it.
    pub span: Span,
}

impl Body {
    /// A body without statements, for decoding defaults.
    #[must_use]
    pub fn empty(file: Arc<str>) -> Self {
        Self { file, statements: Vec::new(), span: Span::default() }
    }

    /// The blocks among the statements.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.statements.iter().filter_map(|stmt| match stmt {
            Stmt::Block(block) => Some(block),
            Stmt::Attribute(_) => None,
        })
    }

    /// The attributes among the statements.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.statements.iter().filter_map(|stmt| match stmt {
            Stmt::Attribute(attribute) => Some(attribute),
            Stmt::Block(_) => None,
        })
    }
}

/// One statement of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// `name = value`
    Attribute(Attribute),
    /// `name.of.block "label" { … }`
    Block(Block),
}

impl Stmt {
    /// The whole statement.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Attribute(attribute) => attribute.span(),
            Self::Block(block) => block.span(),
        }
    }
}

/// An identifier with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident {
    /// The text.
    pub name: Arc<str>,
    /// Its place.
    pub span: Span,
}

/// `name = value`
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// The file's name.
    pub file: Arc<str>,
    /// What is assigned to.
    pub name: Ident,
    /// What is assigned.
    pub value: Expr,
}

impl Attribute {
    /// From the name to the end of the value.
    #[must_use]
    pub fn span(&self) -> Span {
        self.name.span.to(self.value.span)
    }
}

/// `name.of.block "label" { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The fragments between the dots; never empty.
    pub name: Vec<Ident>,
    /// The label; `""` in the source counts as none.
    pub label: Option<Ident>,
    /// What is between the braces.
    pub body: Body,
}

impl Block {
    /// The fragments joined by dots: `prometheus.scrape`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let parts: Vec<&str> = self.name.iter().map(|part| &*part.name).collect();
        parts.join(".")
    }

    /// The local ID: the name, and the label if there is one: `prometheus.scrape.default`.
    #[must_use]
    pub fn id(&self) -> String {
        match &self.label {
            Some(label) => format!("{}.{}", self.full_name(), label.name),
            None => self.full_name(),
        }
    }

    /// The label's text.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_ref().map(|label| &*label.name)
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &Arc<str> {
        &self.body.file
    }

    /// Where the name is written.
    #[must_use]
    pub fn name_span(&self) -> Span {
        match (self.name.first(), self.name.last()) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => self.body.span,
        }
    }

    /// Name and label: what diagnostics about the whole block point at.
    #[must_use]
    pub fn header_span(&self) -> Span {
        let name = self.name_span();
        self.label.as_ref().map_or(name, |label| name.to(label.span))
    }

    /// From the name to the closing brace.
    #[must_use]
    pub fn span(&self) -> Span {
        self.name_span().to(self.body.span)
    }
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// The file's name.
    pub file: Arc<str>,
    /// All of its text.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `name`
    Identifier(Arc<str>),
    /// A number, string, bool or null, verbatim.
    Literal(Literal),
    /// `[a, b]`
    Array(Vec<Expr>),
    /// `{ key = value }`
    Object(Vec<ObjectField>),
    /// `value.name`
    Access(Box<Expr>, Ident),
    /// `value[index]`
    Index(Box<Expr>, Box<Expr>),
    /// `function(argument, …)`
    Call(Box<Expr>, Vec<Expr>),
    /// `!value`, `-value`
    Unary(UnaryOp, Box<Expr>),
    /// `left operator right`
    Binary(Box<BinaryExpr>),
    /// `( value )`
    Paren(Box<Expr>),
}

/// `left operator right`
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// Left operand.
    pub left: Expr,
    /// The operator.
    pub operator: BinaryOp,
    /// Where the operator is written.
    pub operator_span: Span,
    /// Right operand.
    pub right: Expr,
}

/// `key = value` in an object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectField {
    /// The key: for a quoted one, the text between the quotes, not unescaped (as Alloy does).
    pub key: Ident,
    /// A quoted key as it was written, quotes included.
    pub literal: Option<Arc<str>>,
    /// The value.
    pub value: Expr,
}

/// A literal, verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// Which kind of literal.
    pub kind: LiteralKind,
    /// As written, quotes included.
    pub text: Arc<str>,
}

/// The kinds of literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiteralKind {
    /// `null`
    Null,
    /// `true`, `false`
    Bool,
    /// Digits only.
    Number,
    /// With a dot or an exponent.
    Float,
    /// `"…"`, `` `…` `` or, tolerated with a warning, `'…'`.
    String,
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `!`
    Not,
    /// `-`
    Negate,
}

/// Operators between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the operators")]
pub enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

impl BinaryOp {
    /// As written in the source.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "^",
        }
    }
}

impl UnaryOp {
    /// As written in the source.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Not => "!",
            Self::Negate => "-",
        }
    }
}
