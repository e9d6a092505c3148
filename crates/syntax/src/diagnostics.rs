//! What is wrong with a configuration, where, and what would help. Drawing source excerpts is left to `excerpt`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::position::{Position, Span};

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Loads, but should be changed.
    Warning,
    /// Does not load.
    Error,
}

/// One finding about a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Name of the file; empty if no source wrote it.
    pub file: Arc<str>,
    /// The offending text. A start on line 0 means "no place".
    pub span: Span,
    /// What is wrong, in Alloy's words where it has them.
    pub message: String,
    /// What would help: the nearest known name, the portable spelling.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(file: &Arc<str>, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, file: file.clone(), span, message: message.into(), help: None }
    }

    /// A warning.
    pub fn warning(file: &Arc<str>, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, span, message) }
    }

    /// Adds what would help.
    #[must_use]
    pub fn with_help(mut self, help: Option<impl Into<String>>) -> Self {
        self.help = help.map(Into::into);
        self
    }

    /// The first byte of the offending text.
    #[must_use]
    pub fn start(&self) -> Position {
        self.span.start
    }
}

/// `file:line:col: message`; the parts that are unknown are left out.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place(), self.message)
    }
}

impl Diagnostic {
    fn place(&self) -> String {
        match (self.file.is_empty(), self.span.start.line) {
            (true, 0) => String::new(),
            (false, 0) => format!("{}: ", self.file),
            (true, _) => format!("{}: ", self.span.start),
            (false, _) => format!("{}:{}: ", self.file, self.span.start),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// Findings in the order in which they are to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Nothing found.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one finding at the end.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many findings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether any finding is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The findings in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Splits into errors and warnings, each in order.
    #[must_use]
    pub fn split(self) -> (Self, Self) {
        let (errors, warnings) = self.0.into_iter().partition(|d| d.severity == Severity::Error);
        (Self(errors), Self(warnings))
    }

    /// Sorts by place within each file; files keep the order of their first finding.
    pub fn sort_by_place(&mut self) {
        let mut order: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for diagnostic in &self.0 {
            let next = order.len();
            order.entry(diagnostic.file.clone()).or_insert(next);
        }
        self.0.sort_by_key(|diagnostic| (order.get(&diagnostic.file).copied(), diagnostic.span.start.offset));
    }

    /// `Ok(value)` if no finding is an error.
    ///
    /// # Errors
    /// All findings, if any of them is an error.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.has_errors() { Err(self) } else { Ok(value) }
    }

    /// Draws every finding with an excerpt of its source: one context line on each side, a blank line between
    /// findings (`spec/language.md` §1.5). A file that `sources` does not know is shown without excerpt.
    #[must_use]
    pub fn render(&self, sources: &Sources, colour: bool) -> String {
        crate::excerpt::render(self, sources, colour)
    }
}

/// The first finding, and how many more there are.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("no errors"),
            [only] => only.fmt(f),
            [first, rest @ ..] => write!(f, "{first} (and {} more diagnostics)", rest.len()),
        }
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, iter: I) {
        self.0.extend(iter);
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Source texts by file name, for drawing excerpts.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<Arc<str>, Arc<str>>);

impl Sources {
    /// No sources.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds or replaces a file's text.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) {
        self.0.insert(name.into(), text.into());
    }

    /// A file's text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| &**text)
    }

    /// All files, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (&**name, &**text))
    }
}

impl<N: Into<Arc<str>>, T: Into<Arc<str>>> FromIterator<(N, T)> for Sources {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(iter: I) -> Self {
        Self(iter.into_iter().map(|(name, text)| (name.into(), text.into())).collect())
    }
}
