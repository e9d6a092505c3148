//! Reference pages out of the components' schemas, so that what is documented is what is decoded.

use std::fmt::Write as _;

use component::Registration;
use syntax::{Field, FieldKind, Schema};

/// The page of one component, in Markdown.
pub fn page(registration: &Registration) -> String {
    let mut page = format!("# {}\n\nStability: {}.\n", registration.name, registration.stability);
    let arguments = (registration.arguments)();
    let _ = writeln!(page, "\n## Usage\n\n```alloy\n{} \"LABEL\" {{", registration.name);
    for field in arguments.fields.iter().filter(|field| field.required) {
        let _ = match field.kind {
            FieldKind::Attribute => writeln!(page, "\t{} = …", field.name),
            _ => writeln!(page, "\t{} {{ … }}", field.name),
        };
    }
    page.push_str("}\n```\n");
    section(&mut page, "Arguments", arguments, "");
    blocks(&mut page, arguments, "");
    let exports = (registration.exports)();
    if !exports.fields.is_empty() {
        section(&mut page, "Exports", exports, "");
    }
    page
}

/// The list of all pages.
pub fn index() -> String {
    let mut index = "# Components\n\nWritten by `cargo xtask reference` from the components' schemas.\n\n".to_owned();
    for registration in super::all() {
        let _ = writeln!(index, "- [{0}]({0}.md)", registration.name);
    }
    index
}

fn section(page: &mut String, title: &str, schema: &Schema, path: &str) {
    let attributes: Vec<&Field> = schema.fields.iter().filter(|field| field.kind == FieldKind::Attribute).collect();
    if attributes.is_empty() {
        return;
    }
    let level = if path.is_empty() { "##" } else { "###" };
    let _ = writeln!(page, "\n{level} {title}\n\n| name | type | default | required | |\n|---|---|---|---|---|");
    for field in attributes {
        let default = field.default.as_ref().map(|default| format!("`{default}`")).unwrap_or_default();
        let required = if field.required { "yes" } else { "no" };
        let doc = field.doc.replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(page, "| `{}` | {} | {default} | {required} | {doc} |", field.name, field.type_name);
    }
}

fn blocks(page: &mut String, schema: &Schema, path: &str) {
    for field in schema.fields.iter() {
        let Some(nested) = field.nested.map(|nested| nested()) else { continue };
        let path = if path.is_empty() { field.name.clone() } else { format!("{path} > {}", field.name) };
        let required = if field.required { "required" } else { "optional" };
        let _ = writeln!(page, "\n## Block `{path}` ({required})\n\n{}", field.doc);
        section(page, "Arguments", nested, &path);
        blocks(page, nested, &path);
    }
}
