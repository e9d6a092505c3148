//! Alloy's configuration language: parse, format, evaluate, decode into Rust structs, and say clearly what is wrong.
//!
//! The crate knows nothing of components, telemetry or asynchronous runtimes. Which facts it follows is written in
//! `spec/language.md` §1 and §2; where it departs from Alloy, the item's documentation says so.

extern crate self as syntax;

pub mod ast;
mod block;
mod convert;
#[doc(hidden)]
pub mod derived;
mod diagnostics;
mod eval;
mod excerpt;
mod format;
pub mod json;
mod lexer;
mod literal;
mod parser;
mod position;
mod references;
mod scope;
mod source;
pub mod stdlib;
mod suggest;
mod token;
mod value;

pub use block::{Block, BlockEnum, Decoder, Field, FieldKind, Schema, Statement, check, check_block, check_component, decode_str};
pub use convert::{
    FromValue, PathSegment, Shape, ToValue, TypeInfo, ValueError, capsule_from_value, format_duration, parse_duration, text_from_value,
};
pub use diagnostics::{Diagnostic, Diagnostics, Severity, Sources};
pub use eval::eval;
pub use format::format;
pub use lexer::is_identifier;
pub use parser::parse;
pub use position::{Position, Span};
pub use references::{Reference, references, references_in_body};
pub use scope::{Scope, Warnings};
pub use source::{MAX_SOURCE_BYTES, source_from_bytes};
pub use stdlib::{Stability, StdlibOptions};
pub use syntax_derive::{Block, BlockEnum, Object};
pub use value::{CallError, Capsule, Function, Number, Object, OptionalSecret, Secret, Value};
