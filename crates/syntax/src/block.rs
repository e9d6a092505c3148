//! Blocks as Rust structs: one derive gives decoding, the schema, and rendering (`spec/language.md` §1.4).
//!
//! [`Block`] is implemented by `#[derive(syntax::Block)]`; everything else here serves the code that the derive writes.

mod check;
mod decoder;
mod map;
mod schema;
mod statement;
mod structure;

use std::sync::Arc;

pub use check::{check, check_block, check_component};
pub use decoder::Decoder;
pub use schema::{Field, FieldKind, Schema};
pub use statement::Statement;

use crate::ast;
use crate::diagnostics::Diagnostics;
use crate::scope::Scope;
use crate::value::{Object, Value};

/// A struct that a block's body decodes into. Derive it; see the crate's documentation for the attributes.
pub trait Block: Sized {
    /// The fields, squashed ones included.
    fn schema() -> &'static Schema;

    /// Takes the fields out of a decoder that has checked the statements against [`Block::schema`]. `None` if any
    /// of them is in error: the decoder has noted why.
    fn decode_fields(decoder: &mut Decoder<'_>) -> Option<Self>;

    /// What an absent block means; `None` if the block cannot be absent because it has required fields.
    fn defaults() -> Option<Self>;

    /// Adds the fields to the statements of a body: required ones always, others where they differ from the default.
    fn write_statements(&self, body: &mut Vec<Statement>);

    /// Adds all fields to an object, capsules untouched.
    fn write_object(&self, object: &mut Object);

    /// Decodes a body. Errors that concern the whole body point at its beginning.
    ///
    /// # Errors
    /// Everything that is wrong with the body: first the statements in source order, then what is missing, then
    /// what the validation hook says.
    fn decode(body: &ast::Body, scope: &Scope) -> Result<Self, Diagnostics> {
        Decoder::new(Self::schema(), body, scope).run()
    }

    /// Decodes the body of a block whose label is its caller's business: a component, a service. Errors that
    /// concern the whole block point at its header.
    ///
    /// # Errors
    /// As [`Block::decode`].
    fn decode_component(block: &ast::Block, scope: &Scope) -> Result<Self, Diagnostics> {
        Decoder::new(Self::schema(), &block.body, scope).with_header(block).run()
    }

    /// Decodes a block within another one: its label must be there exactly if the struct has a field for it.
    ///
    /// # Errors
    /// As [`Block::decode`].
    fn decode_block(block: &ast::Block, scope: &Scope) -> Result<Self, Diagnostics> {
        Decoder::new(Self::schema(), &block.body, scope).with_header(block).with_label(Self::schema(), block).run()
    }

    /// The body as the UI and the converters show it: optional fields equal to their defaults left out.
    fn to_body(&self) -> Vec<Statement> {
        let mut body = Vec::new();
        self.write_statements(&mut body);
        body
    }

    /// The object value: what a reference to a component's exports yields.
    fn to_value(&self) -> Value {
        let mut object = Object::new();
        self.write_object(&mut object);
        Value::object(object)
    }

    /// The label field's text, if the struct has one.
    fn label_text(&self) -> Option<String> {
        None
    }
}

/// An enum whose variants each hold one [`Block`], for lists of differently named blocks (`stage.*`) that keep their
/// order. Derive it with `#[derive(syntax::BlockEnum)]`.
pub trait BlockEnum: Sized {
    /// One repeated block field per variant.
    fn variants() -> Vec<Field>;

    /// Decodes the variant that is named like the block; `None` if there is none.
    fn decode_variant(name: &str, block: &ast::Block, scope: &Scope) -> Option<Result<Self, Diagnostics>>;

    /// The block statement.
    fn to_statement(&self) -> Statement;

    /// The variant's block name and its object value.
    fn to_named_value(&self) -> (&'static str, Value);
}

/// Decodes a source text as the body of a `T`, for tests and for small configurations of our own.
///
/// # Errors
/// What parsing or decoding finds; warnings alone are no error.
///
/// ```
/// # use std::time::Duration;
/// #[derive(syntax::Block, Debug)]
/// struct Arguments {
///     #[syntax(default = Duration::from_secs(60))]
///     scrape_interval: Duration,
/// }
/// let scope = syntax::Scope::new();
/// let arguments: Arguments = syntax::decode_str(r#"scrape_interval = "15s""#, &scope)?;
/// assert_eq!(arguments.scrape_interval, Duration::from_secs(15));
/// # Ok::<(), syntax::Diagnostics>(())
/// ```
pub fn decode_str<T: Block>(source: &str, scope: &Scope) -> Result<T, Diagnostics> {
    let (file, diagnostics) = crate::parse("", source);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    T::decode(&file.body, scope)
}

/// Boxes break the size of recursive blocks.
impl<T: Block> Block for Box<T> {
    fn schema() -> &'static Schema {
        T::schema()
    }

    fn decode_fields(decoder: &mut Decoder<'_>) -> Option<Self> {
        T::decode_fields(decoder).map(Self::new)
    }

    fn defaults() -> Option<Self> {
        T::defaults().map(Self::new)
    }

    fn write_statements(&self, body: &mut Vec<Statement>) {
        (**self).write_statements(body);
    }

    fn write_object(&self, object: &mut Object) {
        (**self).write_object(object);
    }

    fn label_text(&self) -> Option<String> {
        (**self).label_text()
    }
}

/// As for boxes.
impl<T: Block> Block for Arc<T> {
    fn schema() -> &'static Schema {
        T::schema()
    }

    fn decode_fields(decoder: &mut Decoder<'_>) -> Option<Self> {
        T::decode_fields(decoder).map(Self::new)
    }

    fn defaults() -> Option<Self> {
        T::defaults().map(Self::new)
    }

    fn write_statements(&self, body: &mut Vec<Statement>) {
        (**self).write_statements(body);
    }

    fn write_object(&self, object: &mut Object) {
        (**self).write_object(object);
    }

    fn label_text(&self) -> Option<String> {
        (**self).label_text()
    }
}

/// No fields: the exports of a component that has none.
impl Block for () {
    fn schema() -> &'static Schema {
        static EMPTY: Schema = Schema { doc: "", fields: Vec::new(), map_of: None };
        &EMPTY
    }

    fn decode_fields(_: &mut Decoder<'_>) -> Option<Self> {
        Some(())
    }

    fn defaults() -> Option<Self> {
        Some(())
    }

    fn write_statements(&self, _: &mut Vec<Statement>) {}

    fn write_object(&self, _: &mut Object) {}
}
