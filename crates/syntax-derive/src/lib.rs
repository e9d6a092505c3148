//! The derives of the `syntax` crate: `Block`, `BlockEnum` and `Object`. Their meaning and attributes are documented
//! there; this crate only writes the code that calls into it.

mod attributes;
mod block;
mod block_enum;
mod object;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `syntax::Block` for a struct with named fields.
#[proc_macro_derive(Block, attributes(syntax))]
pub fn derive_block(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    block::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Implements `syntax::BlockEnum` for an enum whose variants each hold one block.
#[proc_macro_derive(BlockEnum, attributes(syntax))]
pub fn derive_block_enum(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    block_enum::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Implements `syntax::FromValue` and `syntax::ToValue` for a struct that is written as an object `{ key = value }`.
#[proc_macro_derive(Object, attributes(syntax))]
pub fn derive_object(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    object::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
