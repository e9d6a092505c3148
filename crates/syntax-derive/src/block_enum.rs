//! `#[derive(BlockEnum)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Type, Variant};

use crate::attributes::{Container, doc, each_option};

pub fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let container = Container::parse(input)?;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "only enums can be derived"));
    };
    let ident = &input.ident;
    let variants = data
        .variants
        .iter()
        .map(|variant| Ok((&variant.ident, name(variant, &container)?, held(variant)?, doc(&variant.attrs))))
        .collect::<Result<Vec<_>>>()?;

    let fields = variants.iter().map(|(_, name, ty, doc)| quote!(::syntax::Field::blocks::<#ty>(#name, false, #doc)));
    let decodes = variants.iter().map(|(variant, name, ty, _)| {
        quote!(#name => ::core::option::Option::Some(<#ty as ::syntax::Block>::decode_block(block, scope).map(Self::#variant)))
    });
    let statements = variants.iter().map(|(variant, name, ..)| {
        quote! {
            Self::#variant(block) => ::syntax::Statement::block(
                #name, ::syntax::Block::label_text(block), ::syntax::Block::to_body(block),
            )
        }
    });
    let values = variants.iter().map(|(variant, name, ..)| quote!(Self::#variant(block) => (#name, ::syntax::Block::to_value(block))));
    Ok(quote! {
        #[automatically_derived]
        impl ::syntax::BlockEnum for #ident {
            fn variants() -> ::std::vec::Vec<::syntax::Field> {
                ::std::vec![#(#fields),*]
            }

            fn decode_variant(
                name: &str,
                block: &::syntax::ast::Block,
                scope: &::syntax::Scope,
            ) -> ::core::option::Option<::core::result::Result<Self, ::syntax::Diagnostics>> {
                match name {
                    #(#decodes,)*
                    _ => ::core::option::Option::None,
                }
            }

            fn to_statement(&self) -> ::syntax::Statement {
                match self { #(#statements),* }
            }

            fn to_named_value(&self) -> (&'static str, ::syntax::Value) {
                match self { #(#values),* }
            }
        }
    })
}

/// `#[syntax(name = "…")]`, else the prefix and the variant's name in snake case.
fn name(variant: &Variant, container: &Container) -> Result<String> {
    let mut name = None;
    each_option(&variant.attrs, |meta| {
        if !meta.path.is_ident("name") {
            return Err(meta.error("expected name"));
        }
        name = Some(meta.value()?.parse::<LitStr>()?.value());
        Ok(())
    })?;
    let own = name.unwrap_or_else(|| snake_case(&variant.ident.to_string()));
    Ok(container.prefix.as_ref().map_or_else(|| own.clone(), |prefix| format!("{prefix}.{own}")))
}

fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    for (index, character) in camel.char_indices() {
        if index > 0 && character.is_uppercase() {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

fn held(variant: &Variant) -> Result<&Type> {
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok(&fields.unnamed[0].ty),
        _ => Err(Error::new_spanned(variant, "each variant must hold one block: Variant(Block)")),
    }
}
