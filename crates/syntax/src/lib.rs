//! Alloy's configuration language: parse, format, evaluate, decode into Rust structs, and say clearly what is wrong.
//!
//! The crate knows nothing of components, telemetry or asynchronous runtimes. Its words and messages are Alloy's
//! (commit 66ebea85); where it departs from Alloy, the item's documentation says so.
//!
//! # From text to struct
//!
//! ```
//! use std::time::Duration;
//! use syntax::{Block as _, Scope, Secret, StdlibOptions, Value, stdlib};
//!
//! /// Fetches a page now and then.
//! #[derive(syntax::Block, Clone, Debug, PartialEq)]
//! struct Arguments {
//!     /// Where from.
//!     #[syntax(required)]
//!     url: String,
//!     /// How often.
//!     #[syntax(default = Duration::from_secs(60))]
//!     interval: Duration,
//!     #[syntax(block)]
//!     basic_auth: Option<BasicAuth>,
//! }
//!
//! #[derive(syntax::Block, Clone, Debug, PartialEq)]
//! #[syntax(validate = "BasicAuth::check")]
//! struct BasicAuth {
//!     #[syntax(required)]
//!     username: String,
//!     password: Secret,
//! }
//!
//! impl BasicAuth {
//!     fn check(&self) -> Result<(), String> {
//!         if self.username.is_empty() { Err("username must not be empty".to_owned()) } else { Ok(()) }
//!     }
//! }
//!
//! let source = r#"fetch "page" { url = "http://" + host }"#;
//! let (file, diagnostics) = syntax::parse("config.alloy", source);
//! assert!(!diagnostics.has_errors());
//! let Some(block) = file.body.blocks().next() else { unreachable!() };
//! assert_eq!(syntax::references_in_body(&block.body)[0].dotted(), "host");
//! assert!(syntax::check_component(Arguments::schema(), block).is_empty());
//!
//! let scope = stdlib::root(&StdlibOptions::default()).child().with("host", Value::String("localhost".into()));
//! let arguments = Arguments::decode_component(block, &scope)?;
//! assert_eq!(arguments.url, "http://localhost");
//! assert_eq!(syntax::json::statements(&arguments.to_body())[0]["value"]["value"], "http://localhost");
//! # Ok::<(), syntax::Diagnostics>(())
//! ```
//!
//! # The derives
//!
//! `#[derive(syntax::Block)]` on a struct with named fields. Of the struct, it asks for no other trait; of an
//! attribute's type, [`FromValue`] and [`ToValue`]. Doc comments become the reference's text.
//!
//! | on a field | meaning |
//! |---|---|
//! | nothing, or `attr` | an optional attribute whose default is `Default::default()` |
//! | `required` | the attribute or block must be there |
//! | `default = EXPR` | the default of an attribute or block; a string literal is converted with `Into` |
//! | `name = "…"` | the name in the language, if it is not the field's |
//! | `block` | a nested block: `Option<T>`; `Vec<T>` for several, in source order; `T`, which has its own defaults when absent and is required if it has none. `BTreeMap<String, V>` takes any attributes |
//! | `blocks` | `Vec<E>` of differently named blocks in source order, where `E` derives [`BlockEnum`](derive@BlockEnum) |
//! | `squash` | the fields of another block as if they were written here |
//! | `label` | the block's label |
//!
//! `#[syntax(validate = "path::to::fn")]` on the struct names a `fn(&Self) -> Result<(), String>` that runs once all
//! fields are there.
//!
//! `#[derive(syntax::BlockEnum)]` on an enum whose variants each hold one block: `Variant(T)` or `Variant(Box<T>)`.
//! A variant is named by `#[syntax(name = "…")]`, else by its own name in snake case, behind the enum's
//! `#[syntax(prefix = "stage")]` and a dot.
//!
//! `#[derive(syntax::Object)]` on a struct that attributes take as an object `{ key = value }`: [`FromValue`] and
//! [`ToValue`], with `required`, `default` and `name` as above.
//!
//! Types that are written as strings: [`text_enum!`] and [`impl_text_value!`]. Capsules (receivers, targets):
//! [`Capsule`] and [`capsule_from_value`].

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
pub use suggest::nearest;
pub use syntax_derive::{Block, BlockEnum, Object};
pub use value::{CallError, Capsule, Function, Number, Object, OptionalSecret, Secret, Value};
