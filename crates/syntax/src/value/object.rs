//! Values by name.

use std::collections::BTreeMap;
use std::collections::btree_map::{IntoIter, Iter};
use std::sync::Arc;

use super::Value;

/// Values by name, sorted by it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(BTreeMap<Arc<str>, Value>);

impl Object {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Sets a field; the last one set wins.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: Value) -> Option<Value> {
        self.0.insert(name.into(), value)
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// A field's value, for changing in place.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.get_mut(name)
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields sorted by name.
    pub fn iter(&self) -> Iter<'_, Arc<str>, Value> {
        self.0.iter()
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

impl<N: Into<Arc<str>>> FromIterator<(N, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(iter: I) -> Self {
        Self(iter.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl IntoIterator for Object {
    type Item = (Arc<str>, Value);
    type IntoIter = IntoIter<Arc<str>, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Object {
    type Item = (&'a Arc<str>, &'a Value);
    type IntoIter = Iter<'a, Arc<str>, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
