//! What nodes tell each other to notice that they have discovered different keys: a number that is the same for the same keys of the same
//! domains, whatever their order, and that is kept up to date key by key. Comparing it is the node's business.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::machine::Ownership;

/// A set of keys of any number of domains, in short. Two sets that differ have the same digest only by a chance of 2⁻⁶⁴.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeysDigest {
    /// How many keys there are.
    pub count: u64,
    /// The sum modulo 2⁶⁴ of the keys' hashes: of each the 64-bit xxh3 of its eight bytes, lowest first, whose seed is the 64-bit xxh3 (of
    /// seed 0) of its domain's name.
    pub sum: u64,
}

impl KeysDigest {
    /// The digest of two sets that have no key of the same domain in common.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { count: self.count.wrapping_add(other.count), sum: self.sum.wrapping_add(other.sum) }
    }
}

/// The digest of one domain's keys.
#[derive(Debug)]
pub(super) struct DomainDigest {
    seed: u64,
    keys: KeysDigest,
}

impl DomainDigest {
    pub(super) fn new(domain: &str) -> Self {
        Self { seed: xxh3_64(domain.as_bytes()), keys: KeysDigest::default() }
    }

    /// A key that was not in the set is now.
    pub(super) fn add(&mut self, key: u64) {
        self.keys = self.keys.and(KeysDigest { count: 1, sum: self.hash(key) });
    }

    /// A key that was in the set is not any more.
    pub(super) fn remove(&mut self, key: u64) {
        self.keys = self.keys.and(KeysDigest { count: u64::MAX, sum: self.hash(key).wrapping_neg() });
    }

    fn hash(&self, key: u64) -> u64 {
        xxh3_64_with_seed(&key.to_le_bytes(), self.seed)
    }
}

impl Ownership {
    /// The keys that this node has discovered, in all domains.
    #[must_use]
    pub fn keys_digest(&self) -> KeysDigest {
        self.domains.values().fold(KeysDigest::default(), |sum, domain| sum.and(domain.digest.keys))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ownership::{KeySpec, Now, Settings};

    const NOW: Now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };

    fn empty() -> Ownership {
        Ownership::new(Settings::new("test", "a", 1), NOW)
    }

    fn set(machine: &mut Ownership, domain: &str, keys: &[u64]) {
        let specs: Vec<KeySpec> = keys.iter().map(|key| KeySpec { key: *key, interval_ms: 1_000 }).collect();
        drop(machine.set_keys(NOW, domain, &specs));
    }

    #[test]
    fn digests_are_fixed_for_all_time() {
        let mut machine = empty();
        assert_eq!(machine.keys_digest(), KeysDigest::default());
        set(&mut machine, "prometheus.scrape.a", &[1]);
        // Computed with another implementation of xxh3: nodes of all versions and architectures must come to the same.
        assert_eq!(machine.keys_digest(), KeysDigest { count: 1, sum: ONE });
        set(&mut machine, "prometheus.scrape.a", &[u64::MAX, 1, 1]);
        assert_eq!(machine.keys_digest(), KeysDigest { count: 2, sum: TWO });
    }

    const ONE: u64 = 6_732_370_012_066_546_525;
    const TWO: u64 = 16_565_456_204_773_565_401;

    #[test]
    fn the_same_keys_of_another_domain_are_others() {
        let (mut one, mut other) = (empty(), empty());
        set(&mut one, "a", &[1, 2]);
        set(&mut other, "b", &[1, 2]);
        assert_ne!(one.keys_digest(), other.keys_digest());
        set(&mut other, "a", &[1, 2]);
        set(&mut other, "b", &[]);
        assert_eq!(one.keys_digest(), other.keys_digest());
    }

    proptest! {
        #[test]
        fn the_digest_is_that_of_the_last_keys_whatever_came_before(
            steps in prop::collection::vec((prop::bool::ANY, prop::collection::vec(0..20_u64, 0..12)), 1..20)
        ) {
            let (mut machine, mut fresh, mut last) = (empty(), empty(), [vec![], vec![]]);
            for (second, keys) in steps {
                set(&mut machine, ["a", "b"][usize::from(second)], &keys);
                last[usize::from(second)] = keys;
            }
            last[0].reverse();
            set(&mut fresh, "b", &last[1]);
            set(&mut fresh, "a", &last[0]);
            prop_assert_eq!(machine.keys_digest(), fresh.keys_digest());
        }
    }
}
