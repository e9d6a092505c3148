//! `#[derive(Object)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Result};

use crate::attributes::{Container, FieldSpec, Kind, fields};

pub fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let container = Container::parse(input)?;
    let specs = fields(input)?;
    if let Some(spec) = specs.iter().find(|spec| spec.kind != Kind::Attribute) {
        return Err(Error::new_spanned(spec.ident, "fields of an object are attributes"));
    }
    let ident = &input.ident;
    let type_name = container.type_name.unwrap_or_else(|| "object".to_owned());
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let reads = specs.iter().map(read);
    let writes = specs.iter().map(|FieldSpec { ident, name, .. }| quote!(object.insert(#name, ::syntax::ToValue::to_value(&self.#ident));));
    let validated = container.validate.as_ref().map(|path| {
        quote! {
            let result: ::core::result::Result<(), ::std::string::String> = #path(&value);
            result.map_err(::syntax::ValueError::custom)?;
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl ::syntax::FromValue for #ident {
            fn from_value(value: &::syntax::Value) -> ::core::result::Result<Self, ::syntax::ValueError> {
                let object = ::syntax::derived::object_of(value, &[#(#names),*])?;
                let value = Self { #(#reads),* };
                #validated
                ::core::result::Result::Ok(value)
            }

            fn type_name() -> ::std::string::String {
                ::std::string::ToString::to_string(#type_name)
            }
        }

        #[automatically_derived]
        impl ::syntax::ToValue for #ident {
            fn to_value(&self) -> ::syntax::Value {
                let mut object = ::syntax::Object::new();
                #(#writes)*
                ::syntax::Value::object(object)
            }
        }
    })
}

fn read(spec: &FieldSpec<'_>) -> TokenStream {
    let FieldSpec { ident, ty, name, required, .. } = spec;
    let absent = if *required {
        quote! {
            return ::core::result::Result::Err(::syntax::ValueError::custom(
                ::std::format!("is missing the required field {:?}", #name)
            ))
        }
    } else {
        let default = spec.default_value();
        quote!({ let default: #ty = #default; default })
    };
    quote! {
        #ident: match object.get(#name) {
            ::core::option::Option::Some(field) => <#ty as ::syntax::FromValue>::from_value(field)
                .map_err(|error| error.in_field(#name))?,
            ::core::option::Option::None => #absent,
        }
    }
}
