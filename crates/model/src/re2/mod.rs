//! Regular expressions as Go's `regexp` package reads them (RE2 syntax), translated into the dialect of the `regex` crate, so that a
//! pattern that was written for Prometheus or Alloy means the same here: ASCII `\d \w \s \b`, `\Q..\E`, octal escapes, `[[]`, no set
//! operations in `[a&&b]`, literal braces where they are no repetition, and the same refusals with the same words. Both engines match
//! leftmost-first, so only syntax has to be translated. What is matched with it is the caller's affair (see `relabel`).
//!
//! The one known width: a script or category name is taken if either table knows it, whatever Unicode version it came with.

mod class;
mod escape;
mod parser;

use regex::{Regex, RegexBuilder};

/// A compiled program may take this much; Go bounds it at 128 MiB. Far above any pattern that was written by hand.
const MAX_PROGRAM_BYTES: usize = 32 << 20;

/// How deep groups may nest (Go: 1000 levels of its tree, where a group costs two to three).
const MAX_NESTING: usize = 300;

/// How deep the translated pattern may nest: each construct is wrapped in at most two groups of its own.
const MAX_TRANSLATED_NESTING: u32 = 3 * MAX_NESTING as u32 + 10;

/// What is wrong with a pattern, in the words of Go's `regexp/syntax`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A range ends before it begins, or a class name is unknown.
    #[error("invalid character class range")]
    CharRange,
    /// `\` before a character that has no meaning after it, back references among them.
    #[error("invalid escape sequence")]
    Escape,
    /// `(?P<name>` without an end or with other characters than letters, digits and `_`.
    #[error("invalid named capture")]
    NamedCapture,
    /// `(?` with flags that are not there, look-around among them.
    #[error("invalid or unsupported Perl syntax")]
    PerlSyntax,
    /// `a**`
    #[error("invalid nested repetition operator")]
    RepeatOperator,
    /// More than 1000 repetitions, or the upper bound below the lower.
    #[error("invalid repeat count")]
    RepeatCount,
    /// `[` without `]`.
    #[error("missing closing ]")]
    MissingBracket,
    /// `(` without `)`.
    #[error("missing closing )")]
    MissingParen,
    /// A repetition of nothing.
    #[error("missing argument to repetition operator")]
    MissingArgument,
    /// The pattern ends with `\`.
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    /// `)` without `(`.
    #[error("unexpected )")]
    UnexpectedParen,
    /// Groups in groups beyond 300 levels.
    #[error("expression nests too deeply")]
    NestingDepth,
    /// The compiled program would be larger than 32 MiB.
    #[error("expression too large")]
    TooLarge,
}

/// A pattern was refused: what is wrong, and with which part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {fault}: `{part}`")]
pub struct SyntaxError {
    /// What is wrong.
    pub fault: Fault,
    /// The part of the pattern that is wrong.
    pub part: Box<str>,
}

impl SyntaxError {
    fn new(fault: Fault, part: &str) -> Self {
        Self { fault, part: part.into() }
    }
}

/// A pattern in the dialect of the `regex` crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The translated pattern. Its groups have the numbers of the original and no names: Go allows names that Rust does not.
    pub pattern: String,
    /// The name of each group by number; `[0]`, the whole match, has none.
    pub group_names: Vec<Option<Box<str>>>,
}

impl Translation {
    /// Compiles the pattern.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] if the program would take more than 32 MiB.
    pub fn compile(&self) -> Result<Regex, SyntaxError> {
        RegexBuilder::new(&self.pattern)
            .size_limit(MAX_PROGRAM_BYTES)
            .nest_limit(MAX_TRANSLATED_NESTING)
            .build()
            .map_err(|_| SyntaxError::new(Fault::TooLarge, &self.pattern))
    }

    /// The syntax tree of the pattern, to find out what it can match without running it.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] if the tree is refused, which no translated pattern should be.
    pub(crate) fn hir(&self) -> Result<regex_syntax::hir::Hir, SyntaxError> {
        let mut parser = regex_syntax::ParserBuilder::new().nest_limit(MAX_TRANSLATED_NESTING).build();
        parser.parse(&self.pattern).map_err(|_| SyntaxError::new(Fault::TooLarge, &self.pattern))
    }
}

/// Translates a pattern that Go's `regexp.Compile` would take.
///
/// # Errors
/// [`SyntaxError`] if Go would refuse it.
pub fn translate(pattern: &str) -> Result<Translation, SyntaxError> {
    parser::Parser::new(pattern).run()
}

/// Translates a pattern as Prometheus compiles relabel rules and matchers: it must match the whole text, and a dot matches newlines.
///
/// # Errors
/// [`SyntaxError`] if Go would refuse it.
pub fn translate_anchored(pattern: &str) -> Result<Translation, SyntaxError> {
    // Wrapped as text, like there: what an unbalanced pattern means depends on it.
    translate(&format!("^(?s:{pattern})$"))
}
