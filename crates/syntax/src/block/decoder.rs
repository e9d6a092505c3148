//! Takes typed fields out of a body and notes everything that is wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::literal_error;
use super::structure::{Structure, label_error};
use super::{Block, BlockEnum, Schema};
use crate::ast;
use crate::convert::{FromValue, TypeInfo};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::eval;
use crate::position::Span;
use crate::scope::Scope;
use crate::value::Value;

/// Takes typed fields out of a body. Code that the derive writes calls it; nobody else needs to.
pub struct Decoder<'a> {
    structure: Structure<'a>,
    scope: &'a Scope,
    label: Option<&'a ast::Ident>,
    file: &'a Arc<str>,
    /// Where errors about the whole block point.
    header: Span,
    /// What is missing, or what validation says: after all errors of statements.
    late: Vec<Diagnostic>,
    /// Errors from inside of nested blocks, in the order of the blocks.
    nested: Vec<(u32, Diagnostics)>,
    /// Something depends on a value that is not known yet, so there is no outcome, though nothing may be wrong.
    undetermined: bool,
}

impl<'a> Decoder<'a> {
    /// Checks the statements of a body against a schema.
    pub(super) fn new(schema: &Schema, body: &'a ast::Body, scope: &'a Scope) -> Self {
        Self {
            structure: Structure::new(schema, body),
            scope,
            label: None,
            file: &body.file,
            header: Span::new(body.span.start, body.span.start),
            late: Vec::new(),
            nested: Vec::new(),
            undetermined: false,
        }
    }

    pub(super) fn with_header(mut self, block: &'a ast::Block) -> Self {
        self.header = block.header_span();
        self
    }

    /// Checks the label, too.
    pub(super) fn with_label(mut self, schema: &Schema, block: &'a ast::Block) -> Self {
        self.label = block.label.as_ref();
        self.structure.errors.extend(label_error(schema, block));
        self
    }

    pub(super) fn run<T: Block>(mut self) -> Result<T, Diagnostics> {
        let decoded = T::decode_fields(&mut self);
        let failed = self.failed();
        match decoded {
            Some(value) if !failed => Ok(value),
            _ => Err(self.into_diagnostics()),
        }
    }

    /// Whether anything was wrong so far, or can't be decided yet.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.undetermined || !(self.structure.errors.is_empty() && self.late.is_empty() && self.nested.is_empty())
    }

    /// Statement errors and those of nested blocks by place, then the late ones.
    fn into_diagnostics(self) -> Diagnostics {
        let mut groups = self.nested;
        groups.extend(self.structure.errors.into_iter().map(|error| (error.span.start.offset, error.into())));
        groups.sort_by_key(|(offset, _)| *offset);
        groups.into_iter().flat_map(|(_, group)| group).chain(self.late).collect()
    }

    /// An optional attribute: `None` if it is absent, in error, or null where the type has no zero value.
    pub fn attribute<T: FromValue>(&mut self, name: &str) -> Option<T> {
        let attribute = self.find(name)?;
        self.convert(attribute, false)
    }

    /// An attribute that must be there.
    pub fn required_attribute<T: FromValue>(&mut self, name: &str) -> Option<T> {
        match self.find(name) {
            Some(attribute) => self.convert(attribute, true),
            None => {
                self.missing("attribute", name);
                None
            }
        }
    }

    /// Every attribute of a body that is a map.
    pub(super) fn all_attributes<T: FromValue>(&mut self) -> Option<BTreeMap<String, T>> {
        let attributes = self.structure.attributes.clone();
        let decoded: Vec<Option<(String, T)>> =
            attributes.into_iter().map(|attribute| Some((attribute.name.name.to_string(), self.convert(attribute, true)?))).collect();
        decoded.into_iter().collect()
    }

    fn find(&self, name: &str) -> Option<&'a ast::Attribute> {
        self.structure.attributes.iter().find(|attribute| &*attribute.name.name == name).copied()
    }

    fn convert<T: FromValue>(&mut self, attribute: &ast::Attribute, required: bool) -> Option<T> {
        if self.scope.awaits(&attribute.value) {
            return self.stand_in(attribute);
        }
        let value = match eval::evaluate(&attribute.value, self.scope) {
            Ok(value) => value,
            Err(diagnostic) => {
                self.structure.errors.push(*diagnostic);
                return None;
            }
        };
        match T::from_value(&value) {
            Ok(converted) => Some(converted),
            Err(_) if value.is_null() && !required => None,
            Err(error) => {
                let info = TypeInfo::of::<T>();
                self.structure.errors.push(match info.is_secret() {
                    true => eval::secret_error(&attribute.name.name, &attribute.value, &error),
                    false => eval::conversion_error(&attribute.value, &error),
                });
                None
            }
        }
    }

    /// For an attribute whose value is not known yet: what its literals already tell is checked.
    fn stand_in<T: FromValue>(&mut self, attribute: &ast::Attribute) -> Option<T> {
        self.structure.errors.extend(literal_error(attribute, &TypeInfo::of::<T>()));
        let stand_in = T::stand_in();
        self.undetermined |= stand_in.is_none();
        stand_in
    }

    fn missing(&mut self, kind: &str, name: &str) {
        if !self.structure.misused.iter().any(|misused| misused == name) {
            let message = format!("missing required {kind} {name:?}");
            self.late.push(Diagnostic::error(self.file, self.header, message));
        }
    }

    /// A block that may occur once; when absent it has its defaults, or is missing if it has none.
    pub fn block<T: Block>(&mut self, name: &str, required: bool) -> Option<T> {
        match self.optional_block(name)? {
            Some(block) => Some(block),
            None => {
                let defaults = if required { None } else { T::defaults() };
                if defaults.is_none() {
                    self.missing("block", name);
                }
                defaults
            }
        }
    }

    /// A block that may occur once: `Some(None)` if it is absent, `None` if it is in error.
    pub fn optional_block<T: Block>(&mut self, name: &str) -> Option<Option<T>> {
        match self.structure.blocks.iter().find(|(found, _)| found == name).map(|(_, block)| *block) {
            Some(block) => self.nested(block, T::decode_block).map(Some),
            None => Some(None),
        }
    }

    /// Blocks of one name in source order.
    pub fn repeated_block<T: Block>(&mut self, name: &str, required: bool) -> Option<Vec<T>> {
        let blocks: Vec<&ast::Block> = self.structure.blocks.iter().filter(|(found, _)| found == name).map(|(_, block)| *block).collect();
        if blocks.is_empty() && required {
            self.missing("block", name);
            return None;
        }
        let decoded: Vec<Option<T>> = blocks.into_iter().map(|block| self.nested(block, T::decode_block)).collect();
        decoded.into_iter().collect()
    }

    /// Blocks of differing names in source order.
    pub fn enum_blocks<T: BlockEnum>(&mut self) -> Option<Vec<T>> {
        let mut decoded = Vec::new();
        for (name, block) in self.structure.blocks.clone() {
            if let Some(result) = T::decode_variant(&name, block, self.scope) {
                decoded.push(self.note(block, result));
            }
        }
        decoded.into_iter().collect()
    }

    fn nested<T>(&mut self, block: &ast::Block, decode: impl Fn(&ast::Block, &Scope) -> Result<T, Diagnostics>) -> Option<T> {
        let result = decode(block, self.scope);
        self.note(block, result)
    }

    fn note<T>(&mut self, block: &ast::Block, result: Result<T, Diagnostics>) -> Option<T> {
        result.map_err(|errors| self.nested.push((block.span().start.offset, errors))).ok()
    }

    /// The label.
    pub fn label<T: FromValue>(&mut self) -> Option<T> {
        let label = self.label?;
        T::from_value(&Value::String(label.name.clone()))
            .map_err(|error| {
                self.structure.errors.push(Diagnostic::error(self.file, label.span, format!("label {error}")));
            })
            .ok()
    }

    /// Notes what a validation hook says.
    pub fn validated<T>(&mut self, value: T, result: Result<(), String>) -> Option<T> {
        match result {
            Ok(()) => Some(value),
            Err(message) => {
                self.late.push(Diagnostic::error(self.file, self.header, message));
                None
            }
        }
    }
}
