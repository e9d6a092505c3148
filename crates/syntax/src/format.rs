//! The formatter (`spec/language.md` §1.6), in three steps: the tree becomes pieces of text with the space between
//! them (`walk`), comments are woven in between (`weave`), and columns are aligned (`align`).

mod align;
mod expression;
mod pieces;
mod walk;
mod weave;

use crate::ast::Expr;
use crate::diagnostics::Diagnostics;
use walk::Walker;

/// Formats a file's text: tabs, aligned `=` and trailing comments, one newline at the end. What Alloy would not read
/// (`#` comments, single quotes) is rewritten in its portable spelling; all other literals stay as they are.
///
/// # Errors
/// The text does not parse. Warnings alone are no error.
pub fn format(file_name: &str, source: &str) -> Result<String, Diagnostics> {
    let (file, diagnostics) = crate::parse(file_name, source);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let pieces = Walker::file(&file);
    let rows = weave::weave(pieces, &file.comments);
    let mut text = align::align(rows);
    let length = text.trim_end_matches('\n').len();
    text.truncate(length);
    text.push('\n');
    Ok(text)
}

/// An expression's text for messages, without its comments.
pub(crate) fn expression_text(expr: &Expr) -> String {
    let rows = weave::weave(Walker::expression_alone(expr), &[]);
    align::align(rows).trim_end().to_owned()
}
