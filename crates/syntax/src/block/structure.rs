//! What can be told about statements without their values: names, kinds, counts, labels. Decoding and the static
//! check share it.

use std::collections::HashSet;

use super::{FieldKind, Schema};
use crate::ast::{Attribute, Block, Body, Stmt};
use crate::diagnostics::Diagnostic;
use crate::suggest::did_you_mean;

/// The statements that are worth looking into, and what is wrong with the others.
pub(super) struct Structure<'a> {
    pub attributes: Vec<&'a Attribute>,
    pub blocks: Vec<(String, &'a Block)>,
    pub errors: Vec<Diagnostic>,
    /// Names that are there, but as the wrong kind of statement.
    pub misused: Vec<String>,
}

impl<'a> Structure<'a> {
    pub fn new(schema: &Schema, body: &'a Body) -> Self {
        let mut this = Self { attributes: Vec::new(), blocks: Vec::new(), errors: Vec::new(), misused: Vec::new() };
        let mut seen = HashSet::new();
        for statement in &body.statements {
            match statement {
                Stmt::Attribute(attribute) => this.attribute(schema, attribute, &mut seen),
                Stmt::Block(block) => this.block(schema, block, &mut seen),
            }
        }
        this
    }

    fn attribute(&mut self, schema: &Schema, attribute: &'a Attribute, seen: &mut HashSet<String>) {
        let name = &*attribute.name.name;
        let message = if !seen.insert(name.to_owned()) {
            format!("attribute {name:?} may only be provided once")
        } else {
            match schema.field(name) {
                Some(field) if field.kind == FieldKind::Attribute => return self.attributes.push(attribute),
                None if schema.map_of.is_some() => return self.attributes.push(attribute),
                Some(_) => {
                    self.misused.push(name.to_owned());
                    format!("{name:?} must be a block, but is used as an attribute")
                }
                None => {
                    let diagnostic = error(attribute, format!("unrecognized attribute name {name:?}"));
                    return self.errors.push(diagnostic.with_help(suggestion(schema, name)));
                }
            }
        };
        self.errors.push(error(attribute, message));
    }

    fn block(&mut self, schema: &Schema, block: &'a Block, seen: &mut HashSet<String>) {
        let name = block.full_name();
        let errors = &mut self.errors;
        let mut fail = |message: String, help: Option<String>| {
            errors.push(Diagnostic::error(block.file(), block.header_span(), message).with_help(help));
        };
        match schema.field(&name) {
            None if schema.map_of.is_some() => fail("nested blocks not supported here".to_owned(), None),
            None => fail(format!("unrecognized block name {name:?}"), suggestion(schema, &name)),
            Some(field) if field.kind != FieldKind::Block => {
                fail(format!("{name:?} must be an attribute, but is used as a block"), None);
                self.misused.push(name);
            }
            Some(field) if !field.repeated && !seen.insert(format!("{name} {{}}")) => {
                fail(format!("block {name:?} may only be specified once"), None);
            }
            Some(_) => self.blocks.push((name, block)),
        }
    }
}

fn error(attribute: &Attribute, message: String) -> Diagnostic {
    Diagnostic::error(&attribute.file, attribute.name.span, message)
}

fn suggestion(schema: &Schema, name: &str) -> Option<String> {
    did_you_mean(name, schema.fields.iter().map(|field| field.name.as_str()))
}

/// What is wrong with a block's label.
pub(super) fn label_error(schema: &Schema, block: &Block) -> Option<Diagnostic> {
    let name = block.full_name();
    let message = match (block.label(), schema.label(), &schema.map_of) {
        (Some(_), _, Some(_)) => format!("block {name:?} requires empty label"),
        (Some(_), None, _) => format!("block {name:?} does not support specifying labels"),
        (None, Some(_), _) => format!("block {name:?} requires non-empty label"),
        _ => return None,
    };
    Some(Diagnostic::error(block.file(), block.header_span(), message))
}
