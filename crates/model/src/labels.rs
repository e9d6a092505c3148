//! A sorted label set in one shared allocation, and the builder that edits one. Used for targets and wherever a single set travels;
//! series of a scrape live in a [`crate::Chunk`] instead, where labels share their symbols.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// Byte that separates names and values in hashes: it can't occur in UTF-8, so no two sets run together.
const SEPARATOR: u8 = 0xff;

/// An immutable label set: names unique and in byte order, values never empty (an empty value means "no such label").
/// Cloning is a reference count.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels {
    pairs: Arc<[(Box<str>, Box<str>)]>,
}

impl Labels {
    /// The set without labels.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The value of `name`, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.pairs.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(&self.pairs[at].1)
    }

    /// All pairs in name order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|(n, v)| (&**n, &**v))
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// A hash that is the same on every node and in every version.
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        hash_pairs(self.iter())
    }

    /// A stable hash of the labels whose names pass `keep`.
    #[must_use]
    pub fn stable_hash_of(&self, keep: impl Fn(&str) -> bool) -> u64 {
        hash_pairs(self.iter().filter(|(name, _)| keep(name)))
    }

    /// A builder that starts from this set.
    #[must_use]
    pub fn to_builder(&self) -> LabelsBuilder {
        self.iter().collect()
    }
}

/// The stable hash of pairs that come in name order.
pub fn hash_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut hasher = Xxh3Default::new();
    for (name, value) in pairs {
        hasher.update(name.as_bytes());
        hasher.update(&[SEPARATOR]);
        hasher.update(value.as_bytes());
        hasher.update(&[SEPARATOR]);
    }
    hasher.digest()
}

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(iter: T) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in iter {
            builder.pairs.push((name.into(), value.into()));
        }
        builder.normalise();
        builder.build()
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.stable_hash());
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

/// An editable label set, always in name order. Setting an empty value removes the label, as in Prometheus.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct LabelsBuilder {
    pairs: Vec<(Box<str>, Box<str>)>,
}

impl LabelsBuilder {
    /// The value of `name`, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).ok().map(|at| &*self.pairs[at].1)
    }

    /// Sets `name`; an empty `value` removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.position(name) {
            Ok(at) if value.is_empty() => drop(self.pairs.remove(at)),
            Ok(at) => self.pairs[at].1 = value.into(),
            Err(_) if value.is_empty() => {}
            Err(at) => self.pairs.insert(at, (name.into(), value.into())),
        }
        self
    }

    /// Removes `name` if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// Keeps the labels whose (name, value) pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.pairs.retain(|(name, value)| keep(name, value));
    }

    /// All pairs in name order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|(n, v)| (&**n, &**v))
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Empties the builder, keeping its memory.
    pub fn clear(&mut self) {
        self.pairs.clear();
    }

    /// The finished set.
    #[must_use]
    pub fn build(self) -> Labels {
        Labels { pairs: self.pairs.into() }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(n, _)| (**n).cmp(name))
    }

    /// Restores order after pairs were pushed: the last of equal names wins, empty values go.
    fn normalise(&mut self) {
        self.pairs.reverse();
        self.pairs.sort_by(|a, b| a.0.cmp(&b.0));
        self.pairs.dedup_by(|later, first| later.0 == first.0);
        self.pairs.retain(|(_, value)| !value.is_empty());
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for LabelsBuilder {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(iter: T) -> Self {
        let pairs = iter.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        let mut builder = Self { pairs };
        builder.normalise();
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abc() -> Labels {
        [("b", "2"), ("a", "1"), ("c", ""), ("b", "3")].into_iter().collect()
    }

    #[test]
    fn collecting_sorts_drops_empty_values_and_lets_the_last_win() {
        assert_eq!(abc().iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        assert_eq!(abc().get("b"), Some("3"));
        assert_eq!(abc().get("c"), None);
    }

    #[test]
    fn the_stable_hash_depends_on_every_byte_and_on_borders() {
        let one: Labels = [("ab", "c")].into_iter().collect();
        let other: Labels = [("a", "bc")].into_iter().collect();
        assert_ne!(one.stable_hash(), other.stable_hash());
        assert_eq!(abc().stable_hash(), abc().to_builder().build().stable_hash());
        assert_eq!(abc().stable_hash_of(|name| name == "a"), [("a", "1")].into_iter().collect::<Labels>().stable_hash());
    }

    #[test]
    fn the_stable_hash_is_the_same_in_every_version() {
        // A fixed vector: nodes of different versions must agree on keys.
        let labels: Labels = [("__address__", "10.0.0.1:9100"), ("job", "node")].into_iter().collect();
        assert_eq!(labels.stable_hash(), 2_476_564_684_013_150_019);
    }

    #[test]
    fn setting_an_empty_value_removes() {
        let mut builder = abc().to_builder();
        builder.set("a", "").set("z", "26").set("b", "4");
        assert_eq!(builder.iter().collect::<Vec<_>>(), [("b", "4"), ("z", "26")]);
    }

    #[test]
    fn display_quotes_values() {
        let labels: Labels = [("a", "x\"y")].into_iter().collect();
        assert_eq!(labels.to_string(), r#"{a="x\"y"}"#);
    }
}
