//! `#[derive(Block)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{DeriveInput, Error, Result};

use crate::attributes::{Container, FieldSpec, Kind, doc, fields, inner};

pub fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let container = Container::parse(input)?;
    let specs = fields(input)?;
    let parts = specs.iter().map(Part::new).collect::<Result<Vec<_>>>()?;

    let ident = &input.ident;
    let doc = doc(&input.attrs);
    let schema = parts.iter().map(|part| &part.schema);
    let decode = decode(&container, &specs, &parts);
    let defaults = defaults(&specs, &parts);
    let statements = parts.iter().map(|part| &part.statements);
    let object = parts.iter().map(|part| &part.object);
    let label = label(&specs);
    Ok(quote! {
        #[automatically_derived]
        impl ::syntax::Block for #ident {
            fn schema() -> &'static ::syntax::Schema {
                static SCHEMA: ::std::sync::OnceLock<::syntax::Schema> = ::std::sync::OnceLock::new();
                SCHEMA.get_or_init(|| {
                    #[allow(unused_mut)]
                    let mut fields = ::std::vec::Vec::new();
                    #(#schema)*
                    ::syntax::Schema { doc: #doc, fields, map_of: ::core::option::Option::None }
                })
            }

            #[allow(unused_variables)]
            fn decode_fields(decoder: &mut ::syntax::Decoder<'_>) -> ::core::option::Option<Self> {
                #decode
            }

            #[allow(clippy::unnecessary_wraps)]
            fn defaults() -> ::core::option::Option<Self> {
                #defaults
            }

            #[allow(unused_variables)]
            fn write_statements(&self, body: &mut ::std::vec::Vec<::syntax::Statement>) {
                #(#statements)*
            }

            #[allow(unused_variables)]
            fn write_object(&self, object: &mut ::syntax::Object) {
                #(#object)*
            }

            #label
        }
    })
}

/// The code that one field contributes.
struct Part {
    /// Adds to `fields`.
    schema: TokenStream,
    /// `Option` of what `build` takes, from `decoder`.
    decode: TokenStream,
    /// The field from the decoded variable, inside of a function that returns an `Option`.
    build: TokenStream,
    /// The field of an absent block; nothing if it cannot be absent.
    default: Option<TokenStream>,
    /// Adds to `body`.
    statements: TokenStream,
    /// Adds to `object`.
    object: TokenStream,
}

impl Part {
    fn new(spec: &FieldSpec<'_>) -> Result<Self> {
        match spec.kind {
            Kind::Attribute => Ok(Self::attribute(spec)),
            Kind::Label => Ok(Self::label(spec)),
            Kind::Squash => Ok(Self::squash(spec)),
            Kind::Blocks => Self::blocks(spec),
            Kind::Block => Ok(match (inner(spec.ty, "Option"), inner(spec.ty, "Vec")) {
                (Some(ty), _) if !spec.required && spec.default.is_none() => Self::optional_block(spec, ty),
                (_, Some(ty)) => Self::repeated_block(spec, ty),
                _ => Self::block(spec),
            }),
        }
    }

    fn attribute(spec: &FieldSpec<'_>) -> Self {
        let FieldSpec { ident, ty, name, doc, required, .. } = spec;
        let variable = variable(spec);
        let value = quote!(::syntax::ToValue::to_value(&self.#ident));
        let object = quote!(object.insert(#name, #value););
        if *required {
            return Self {
                schema: quote!(fields.push(::syntax::Field::attribute::<#ty>(#name, None, #doc));),
                decode: quote!(decoder.required_attribute::<#ty>(#name)),
                build: quote!(#variable?),
                default: None,
                statements: quote!(body.push(::syntax::Statement::attribute(#name, #value));),
                object,
            };
        }
        let default = spec.default_value();
        let default_field = quote!({ let default: #ty = #default; default });
        Self {
            schema: quote!(fields.push(::syntax::Field::attribute::<#ty>(#name, Some(#default_field), #doc));),
            decode: quote!(decoder.attribute::<#ty>(#name)),
            build: quote!(#variable.unwrap_or_else(|| #default_field)),
            statements: quote! {
                ::syntax::derived::push_attribute(body, #name, #value, &::syntax::ToValue::to_value(&#default_field));
            },
            default: Some(default_field),
            object,
        }
    }

    fn label(spec: &FieldSpec<'_>) -> Self {
        let FieldSpec { ty, doc, .. } = spec;
        let variable = variable(spec);
        Self {
            schema: quote!(fields.push(::syntax::Field::label::<#ty>(#doc));),
            decode: quote!(decoder.label::<#ty>()),
            build: quote!(#variable?),
            default: None,
            statements: TokenStream::new(),
            object: TokenStream::new(),
        }
    }

    fn squash(spec: &FieldSpec<'_>) -> Self {
        let FieldSpec { ident, ty, .. } = spec;
        let variable = variable(spec);
        Self {
            schema: quote!(fields.extend(<#ty as ::syntax::Block>::schema().fields.iter().cloned());),
            decode: quote!(<#ty as ::syntax::Block>::decode_fields(decoder)),
            build: quote!(#variable?),
            default: Some(quote!(<#ty as ::syntax::Block>::defaults()?)),
            statements: quote!(::syntax::Block::write_statements(&self.#ident, body);),
            object: quote!(::syntax::Block::write_object(&self.#ident, object);),
        }
    }

    fn block(spec: &FieldSpec<'_>) -> Self {
        let FieldSpec { ident, ty, name, doc, required, .. } = spec;
        let variable = variable(spec);
        let default = match &spec.default {
            Some(default) => quote!(::core::option::Option::<#ty>::Some(#default)),
            None => quote!(<#ty as ::syntax::Block>::defaults()),
        };
        let (decode, build) = match &spec.default {
            Some(default) => (quote!(decoder.optional_block::<#ty>(#name)), quote!(#variable?.unwrap_or_else(|| #default))),
            None => (quote!(decoder.block::<#ty>(#name, #required)), quote!(#variable?)),
        };
        let shown_default = if *required { quote!(::core::option::Option::<#ty>::None) } else { default.clone() };
        Self {
            schema: quote! {
                fields.push(::syntax::Field::block::<#ty>(#name, #required || #default.is_none(), #doc));
            },
            decode,
            build,
            default: (!required).then(|| quote!(#default?)),
            statements: quote!(::syntax::derived::push_block(body, #name, &self.#ident, #shown_default);),
            object: quote!(object.insert(#name, ::syntax::Block::to_value(&self.#ident));),
        }
    }

    fn optional_block(spec: &FieldSpec<'_>, ty: &syn::Type) -> Self {
        let FieldSpec { ident, name, doc, .. } = spec;
        let variable = variable(spec);
        Self {
            schema: quote!(fields.push(::syntax::Field::block::<#ty>(#name, false, #doc));),
            decode: quote!(decoder.optional_block::<#ty>(#name)),
            build: quote!(#variable?),
            default: Some(quote!(::core::option::Option::None)),
            statements: quote! {
                if let ::core::option::Option::Some(block) = &self.#ident {
                    ::syntax::derived::push_block(body, #name, block, ::core::option::Option::None);
                }
            },
            object: quote! {
                if let ::core::option::Option::Some(block) = &self.#ident {
                    object.insert(#name, ::syntax::Block::to_value(block));
                }
            },
        }
    }

    fn repeated_block(spec: &FieldSpec<'_>, ty: &syn::Type) -> Self {
        let FieldSpec { ident, name, doc, required, .. } = spec;
        let variable = variable(spec);
        Self {
            schema: quote!(fields.push(::syntax::Field::blocks::<#ty>(#name, #required, #doc));),
            decode: quote!(decoder.repeated_block::<#ty>(#name, #required)),
            build: quote!(#variable?),
            default: (!required).then(|| quote!(::std::vec::Vec::new())),
            statements: quote! {
                for block in &self.#ident {
                    ::syntax::derived::push_block(body, #name, block, ::core::option::Option::None);
                }
            },
            object: quote! {
                let blocks = self.#ident.iter().map(::syntax::Block::to_value).collect();
                object.insert(#name, ::syntax::Value::array(blocks));
            },
        }
    }

    fn blocks(spec: &FieldSpec<'_>) -> Result<Self> {
        let FieldSpec { ident, name, .. } = spec;
        let Some(ty) = inner(spec.ty, "Vec") else {
            return Err(Error::new_spanned(spec.ty, "the field must be a Vec of an enum with #[derive(BlockEnum)]"));
        };
        let variable = variable(spec);
        Ok(Self {
            schema: quote!(fields.extend(<#ty as ::syntax::BlockEnum>::variants());),
            decode: quote!(decoder.enum_blocks::<#ty>()),
            build: quote!(#variable?),
            default: Some(quote!(::std::vec::Vec::new())),
            statements: quote!(body.extend(self.#ident.iter().map(::syntax::BlockEnum::to_statement));),
            object: quote!(object.insert(#name, ::syntax::derived::enum_blocks_value(&self.#ident));),
        })
    }
}

fn variable(spec: &FieldSpec<'_>) -> syn::Ident {
    format_ident!("field_{}", spec.name.replace('.', "_"))
}

/// All fields are decoded before the first failure returns, so that every error is noted.
fn decode(container: &Container, specs: &[FieldSpec<'_>], parts: &[Part]) -> TokenStream {
    let variables = specs.iter().map(variable);
    let decoded = parts.iter().map(|part| &part.decode);
    let idents = specs.iter().map(|spec| spec.ident);
    let builds = parts.iter().map(|part| &part.build);
    let validated = container.validate.as_ref().map(|path| {
        quote! {
            let result: ::core::result::Result<(), ::std::string::String> = #path(&value);
            let value = decoder.validated(value, result)?;
        }
    });
    quote! {
        #(let #variables = #decoded;)*
        if decoder.failed() {
            return ::core::option::Option::None;
        }
        let value = Self { #(#idents: #builds),* };
        #validated
        ::core::option::Option::Some(value)
    }
}

fn defaults(specs: &[FieldSpec<'_>], parts: &[Part]) -> TokenStream {
    if parts.iter().any(|part| part.default.is_none()) {
        return quote!(::core::option::Option::None);
    }
    let idents = specs.iter().map(|spec| spec.ident);
    let values = parts.iter().map(|part| &part.default);
    quote!(::core::option::Option::Some(Self { #(#idents: #values),* }))
}

fn label(specs: &[FieldSpec<'_>]) -> Option<TokenStream> {
    let spec = specs.iter().find(|spec| spec.kind == Kind::Label)?;
    let ident = spec.ident;
    Some(quote! {
        fn label_text(&self) -> ::core::option::Option<::std::string::String> {
            ::syntax::ToValue::to_value(&self.#ident).as_str().map(::std::borrow::ToOwned::to_owned)
        }
    })
}
