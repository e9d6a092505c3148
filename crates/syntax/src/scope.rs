//! The names that expressions can refer to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ast::Expr;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::references::references;
use crate::value::{Object, Value};

/// Names and their values, over a parent that is asked for what is not found here. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    names: Arc<HashMap<Arc<str>, Entry>>,
    parent: Option<Arc<Scope>>,
    warnings: Option<Warnings>,
    pending: Option<Arc<HashSet<Arc<str>>>>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Value,
    /// For a name that should no longer be used: the one to use instead.
    replacement: Option<&'static str>,
}

impl Scope {
    /// A scope without names and parent; usually [`crate::stdlib::root`] is where to start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty scope over this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { parent: Some(Arc::new(self.clone())), ..Self::default() }
    }

    /// Declares that these dotted names (`prometheus.remote_write.default`) will have values that are not known yet. Blocks can be decoded
    /// all the same, see [`crate::FromValue::stand_in`]; evaluating an expression that needs one by itself is an error.
    #[must_use]
    pub fn awaiting(mut self, names: impl IntoIterator<Item = Arc<str>>) -> Self {
        self.pending = Some(Arc::new(names.into_iter().collect()));
        self
    }

    /// Whether an expression needs a value that is not known yet.
    pub(crate) fn awaits(&self, expr: &Expr) -> bool {
        let Some(pending) = &self.pending else { return self.parent.as_ref().is_some_and(|parent| parent.awaits(expr)) };
        references(expr).iter().any(|reference| {
            let dotted = reference.dotted();
            let ends = dotted.match_indices('.').map(|(end, _)| end).chain([dotted.len()]);
            ends.into_iter().any(|end| pending.contains(&dotted[..end]))
        })
    }

    /// Adds or replaces a name.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, value: Value) -> Self {
        self.insert(name, value);
        self
    }

    /// Adds or replaces a name.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: Value) {
        self.put(name.into(), Entry { value, replacement: None });
    }

    /// Adds a value under a path: the exports of `prometheus.remote_write.default` become an object inside of
    /// objects. Objects on the way are extended; anything else on the way is replaced. An empty path does nothing.
    pub fn insert_path(&mut self, path: &[&str], value: Value) {
        let Some((head, rest)) = path.split_first() else { return };
        // Taken out, not copied: what nobody else holds is then extended in place.
        let old = Arc::make_mut(&mut self.names).remove(*head).map_or(Value::Null, |entry| entry.value);
        self.insert(*head, nested(old, rest, value));
    }

    pub(crate) fn insert_deprecated(&mut self, name: &'static str, value: Value, replacement: &'static str) {
        self.put(name.into(), Entry { value, replacement: Some(replacement) });
    }

    fn put(&mut self, name: Arc<str>, entry: Entry) {
        Arc::make_mut(&mut self.names).insert(name, entry);
    }

    /// The value of a name, here or in a parent.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<&Value> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// What to use in place of a deprecated name of the standard library.
    #[must_use]
    pub fn replacement(&self, name: &str) -> Option<&'static str> {
        self.entry(name)?.replacement
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.names.get(name).or_else(|| self.parent.as_ref()?.entry(name))
    }

    /// All visible names, for suggestions.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.names.keys().map(|name| &**name).collect();
        if let Some(parent) = &self.parent {
            names.extend(parent.names());
        }
        names
    }

    /// Makes evaluations in this scope and its children put their warnings into `warnings`.
    #[must_use]
    pub fn collecting(mut self, warnings: &Warnings) -> Self {
        self.warnings = Some(warnings.clone());
        self
    }

    pub(crate) fn warn(&self, diagnostic: Diagnostic) {
        match (&self.warnings, &self.parent) {
            (Some(warnings), _) => warnings.push(diagnostic),
            (None, Some(parent)) => parent.warn(diagnostic),
            (None, None) => {}
        }
    }
}

/// `old` with `value` put under `path`.
fn nested(old: Value, path: &[&str], value: Value) -> Value {
    let Some((head, rest)) = path.split_first() else { return value };
    let mut object = match old {
        Value::Object(object) => Arc::unwrap_or_clone(object),
        _ => Object::new(),
    };
    let inner = object.remove(head).unwrap_or_default();
    object.insert(*head, nested(inner, rest, value));
    Value::object(object)
}

/// Warnings kept until they are taken: evaluations repeat for as long as the process runs.
const MAX_WARNINGS: usize = 1000;

/// Where evaluation puts its warnings (deprecated names). Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Diagnostics>>);

impl Warnings {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn push(&self, diagnostic: Diagnostic) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < MAX_WARNINGS {
            warnings.push(diagnostic);
        }
    }

    /// Takes what has been collected so far.
    #[must_use]
    pub fn take(&self) -> Diagnostics {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
