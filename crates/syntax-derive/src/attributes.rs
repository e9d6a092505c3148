//! Reads `#[syntax(…)]` and doc comments of structs, fields and variants.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Ident, Lit, LitStr, Path, Result, Type};

/// What a field is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `name = value`
    Attribute,
    /// A nested block: `T`, `Option<T>` or `Vec<T>`.
    Block,
    /// `Vec` of an enum of blocks.
    Blocks,
    /// The fields of another block, as if they were written here.
    Squash,
    /// The block's label.
    Label,
}

/// A field with its options.
pub struct FieldSpec<'a> {
    pub ident: &'a Ident,
    pub ty: &'a Type,
    pub name: String,
    pub doc: String,
    pub kind: Kind,
    pub required: bool,
    pub default: Option<Expr>,
}

/// Options of the struct or enum itself.
#[derive(Default)]
pub struct Container {
    pub validate: Option<Path>,
    pub prefix: Option<String>,
    pub type_name: Option<String>,
}

impl Container {
    pub fn parse(input: &DeriveInput) -> Result<Self> {
        if !input.generics.params.is_empty() {
            return Err(Error::new_spanned(&input.generics, "blocks cannot be generic"));
        }
        let mut this = Self::default();
        each_option(&input.attrs, |meta| {
            if meta.path.is_ident("validate") {
                this.validate = Some(meta.value()?.parse::<LitStr>()?.parse()?);
            } else if meta.path.is_ident("prefix") {
                this.prefix = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.path.is_ident("type_name") {
                this.type_name = Some(meta.value()?.parse::<LitStr>()?.value());
            } else {
                return Err(meta.error("expected validate, prefix or type_name"));
            }
            Ok(())
        })?;
        Ok(this)
    }
}

/// The fields of a struct with named fields.
pub fn fields(input: &DeriveInput) -> Result<Vec<FieldSpec<'_>>> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => fields.named.iter().map(FieldSpec::parse).collect(),
            Fields::Unit => Ok(Vec::new()),
            Fields::Unnamed(fields) => Err(Error::new_spanned(fields, "the fields must have names")),
        },
        _ => Err(Error::new_spanned(&input.ident, "only structs with named fields can be derived")),
    }
}

impl<'a> FieldSpec<'a> {
    fn parse(field: &'a Field) -> Result<Self> {
        let Some(ident) = &field.ident else {
            return Err(Error::new_spanned(field, "the field must have a name"));
        };
        let mut this = Self {
            ident,
            ty: &field.ty,
            name: ident.to_string().trim_start_matches("r#").to_owned(),
            doc: doc(&field.attrs),
            kind: Kind::Attribute,
            required: false,
            default: None,
        };
        each_option(&field.attrs, |meta| this.option(&meta))?;
        this.checked()
    }

    fn option(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(option) = meta.path.get_ident().map(ToString::to_string) else {
            return Err(meta.error("expected an identifier"));
        };
        match option.as_str() {
            "attr" => self.kind = Kind::Attribute,
            "block" => self.kind = Kind::Block,
            "blocks" => self.kind = Kind::Blocks,
            "squash" => self.kind = Kind::Squash,
            "label" => self.kind = Kind::Label,
            "required" => self.required = true,
            "default" => self.default = Some(meta.value()?.parse()?),
            "name" => self.name = meta.value()?.parse::<LitStr>()?.value(),
            _ => {
                return Err(meta.error("expected attr, block, blocks, squash, label, required, default or name"));
            }
        }
        Ok(())
    }

    fn checked(self) -> Result<Self> {
        if self.required && self.default.is_some() {
            return Err(Error::new_spanned(self.ident, "a required field has no default"));
        }
        if self.default.is_some() && !matches!(self.kind, Kind::Attribute | Kind::Block) {
            return Err(Error::new_spanned(self.ident, "only attributes and blocks can have a default"));
        }
        Ok(self)
    }

    /// The default as an expression of the field's type. A string literal is converted with `Into`.
    pub fn default_value(&self) -> TokenStream {
        match &self.default {
            None => quote!(::core::default::Default::default()),
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => quote!(::core::convert::Into::into(#text)),
            Some(expr) => quote!(#expr),
        }
    }
}

/// The lines of a doc comment.
pub fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| {
        match &attribute.meta.require_name_value().ok()?.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        }
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Calls `visit` for each option in each `#[syntax(…)]`.
pub fn each_option(attributes: &[Attribute], mut visit: impl FnMut(ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("syntax"))
        .try_for_each(|attribute| attribute.parse_nested_meta(&mut visit))
}

/// `T` of `Wrapper<T>`, told by the written name.
pub fn inner<'a>(ty: &'a Type, wrapper: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == wrapper)?;
    let syn::PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first()? {
        syn::GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}
