//! The holds of one component's keys, and those of keys that it no longer knows, which begin no slot until another node has taken them or they
//! have ended.

use std::collections::{HashMap, HashSet};

use super::hold::Hold;
use crate::ownership::KeySpec;

#[derive(Default)]
pub(super) struct Holds {
    /// The keys that the component has discovered.
    known: HashSet<u64>,
    open: HashMap<u64, Hold>,
    left: HashMap<u64, Hold>,
}

impl Holds {
    /// The component knows these keys and no others: the holds of others are shut.
    pub(super) fn know(&mut self, keys: &[KeySpec]) {
        self.known = keys.iter().map(|spec| spec.key).collect();
        let known = &self.known;
        let left = self.open.extract_if(|key, _| !known.contains(key)).inspect(|(_, hold)| {
            hold.close();
        });
        self.left.extend(left);
    }

    /// Takes a key's hold in place of an earlier one. That of a key which has come back and is not known any more is shut.
    pub(super) fn open(&mut self, key: u64, hold: Hold) {
        self.close(key);
        if self.known.contains(&key) {
            self.open.insert(key, hold);
        } else {
            hold.close();
            self.left.insert(key, hold);
        }
    }

    /// From here on no slot of the key begins; the last one that did.
    pub(super) fn close(&mut self, key: u64) -> Option<u64> {
        self.open.remove(&key).or_else(|| self.left.remove(&key))?.close()
    }

    /// No slot begins any more. The keys, in order.
    pub(super) fn close_all(&mut self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.open.keys().chain(self.left.keys()).copied().collect();
        keys.sort_unstable();
        for key in &keys {
            self.close(*key);
        }
        keys
    }

    /// How many keys may be scraped.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{clock::Clock, hold::Fence};

    fn hold() -> Hold {
        Hold::new(Fence::open(Clock::system()), 0)
    }

    fn spec(key: u64) -> KeySpec {
        KeySpec { key, interval_ms: 1_000 }
    }

    #[test]
    fn a_key_that_is_not_known_any_more_begins_no_slot_and_its_last_one_is_remembered() {
        let (mut holds, one, other) = (Holds::default(), hold(), hold());
        holds.know(&[spec(1), spec(2)]);
        holds.open(1, one.clone());
        holds.open(2, other.clone());
        assert!(one.begin(7) && holds.len() == 2);
        holds.know(&[spec(2)]);
        assert!(!one.begin(8) && other.begin(8));
        assert_eq!((holds.len(), holds.close(1), holds.close(1)), (1, Some(7), None));
    }

    #[test]
    fn what_comes_back_for_a_key_that_is_not_known_is_shut() {
        let (mut holds, one) = (Holds::default(), hold());
        holds.know(&[spec(2)]);
        holds.open(1, one.clone());
        assert!(!one.begin(1));
        assert_eq!((holds.len(), holds.close_all()), (0, vec![1]));
        assert!(holds.close_all().is_empty());
    }
}
