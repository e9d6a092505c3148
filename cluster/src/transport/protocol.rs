//! Which versions of the protocol between peers a program speaks, and which one a stream uses. A release that reads a message differently
//! gets a new version and speaks the one before as well, so that a fleet can be upgraded node by node; one release later the old
//! one may go.

use std::fmt;

/// Versions from the oldest to the newest that a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    oldest: u32,
    newest: u32,
}

impl Protocols {
    /// What this program speaks.
    pub const SPOKEN: Self = Self { oldest: 1, newest: 1 };

    /// All versions between two, these included. The greater one is the newest.
    #[must_use]
    pub const fn new(one: u32, other: u32) -> Self {
        if one < other { Self { oldest: one, newest: other } } else { Self { oldest: other, newest: one } }
    }

    /// What a message of the handshake says; a release that knew one version alone did not say the oldest.
    pub(crate) const fn from_wire(oldest: u32, newest: u32) -> Self {
        Self::new(if oldest == 0 { newest } else { oldest }, newest)
    }

    pub(crate) const fn oldest(self) -> u32 {
        self.oldest
    }

    pub(crate) const fn newest(self) -> u32 {
        self.newest
    }

    /// The newest version that both speak.
    pub(crate) fn common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }

    /// Whether this is one of them.
    pub(crate) const fn contains(self, version: u32) -> bool {
        self.oldest <= version && version <= self.newest
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest == self.newest {
            true => write!(f, "{}", self.newest),
            false => write!(f, "{} to {}", self.oldest, self.newest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_use_the_newest_version_that_both_speak() {
        let [first, both, second, later] = [(1, 1), (1, 2), (2, 2), (2, 3)].map(|(oldest, newest)| Protocols::new(oldest, newest));
        assert_eq!(first.common(both), Some(1));
        assert_eq!(both.common(both), Some(2));
        assert_eq!(later.common(both), Some(2));
        assert_eq!(second.common(first), None);
        assert_eq!(first.common(later), None);
    }

    #[test]
    fn who_says_one_version_speaks_no_other() {
        assert_eq!(Protocols::from_wire(0, 1), Protocols::new(1, 1));
        assert_eq!(Protocols::from_wire(3, 2), Protocols::new(2, 3));
        assert_eq!((Protocols::new(1, 1).to_string(), Protocols::new(1, 2).to_string()), ("1".to_owned(), "1 to 2".to_owned()));
    }
}
