//! Source text to tokens.

/// Whether a text is a single identifier and no keyword.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && characters.all(|next| next == '_' || next.is_alphabetic() || next.is_numeric())
        && !matches!(text, "true" | "false" | "null")
}
