//! The ring: which member should own a key. A pure function of the members' names, equal on every node, version and
//! architecture. Who is a member, and who really holds a key, is decided elsewhere.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use hashring::HashRing;
use xxhash_rust::xxh3::xxh3_64;

use crate::ownership::Name;

/// Tokens per member: load max/mean is about 1.1 at ten members; Alloy has as many.
pub const TOKENS: u32 = 512;

/// An immutable ring. Build a new one when the members change: 3 ms for 150 members, less from the one before.
#[derive(Debug, Clone)]
pub struct Ring {
    members: Vec<Name>,
    /// Hashes of the members' names, for the order of fallbacks.
    hashes: Vec<u64>,
    tokens: HashRing<Token, Identity>,
    /// The same tokens, in order, to make the next ring of: 16 bytes each.
    sorted: Arc<[Token]>,
}

impl Ring {
    /// A ring of the given members; order and duplicates do not matter.
    #[must_use]
    pub fn new<I>(members: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Name>,
    {
        Self::with_tokens(members.into_iter().map(Into::into).collect(), TOKENS)
    }

    /// The same with another number of tokens per member. All nodes of a fleet must agree on it.
    pub(crate) fn with_tokens(mut members: Vec<Name>, count: u32) -> Self {
        members.sort_unstable();
        members.dedup();
        let tokens = tokens_of(&members, count, token_hash);
        Self::of(members, tokens)
    }

    fn of(members: Vec<Name>, sorted: Vec<Token>) -> Self {
        let mut tokens = HashRing::with_hasher(Identity);
        tokens.batch_add(sorted.clone());
        Self { hashes: members.iter().map(|name| xxh3_64(name.as_bytes())).collect(), members, tokens, sorted: sorted.into() }
    }

    /// The ring of other members, made out of this one: most of the tokens stay in their order. It equals one that is built anew.
    pub(crate) fn changed_to(&self, mut members: Vec<Name>, count: u32) -> Self {
        members.sort_unstable();
        members.dedup();
        let place = |name: &Name| members.binary_search(name).ok().and_then(|index| u32::try_from(index).ok());
        let places: Vec<Option<u32>> = self.members.iter().map(place).collect();
        // With equal tokens, one of which is not in this ring, or nobody in common, there is nothing to build on.
        if self.sorted.len() != self.members.len() * count as usize || places.iter().all(Option::is_none) {
            return Self::with_tokens(members, count);
        }
        let staying = self.sorted.iter().filter_map(|token| Some(Token { member: places[token.member as usize]?, ..*token }));
        let mut tokens: Vec<Token> = staying.collect();
        let newcomers = members.iter().zip(0..).filter(|(name, _)| self.members.binary_search(name).is_err());
        for (name, member) in newcomers {
            let mut own: Vec<Token> = (0..count).map(|index| Token { hash: token_hash(name, index), member }).collect();
            own.sort_unstable_by_key(|token| token.hash);
            tokens.extend(own);
        }
        // Stable sorting merges runs that are in order.
        tokens.sort_by_key(|token| (token.hash, token.member));
        tokens.dedup_by_key(|token| token.hash);
        Self::of(members, tokens)
    }

    /// The members, sorted by name.
    #[must_use]
    pub fn members(&self) -> &[Name] {
        &self.members
    }

    /// The member that should own `key`, unless the ring is empty.
    #[must_use]
    pub fn owner(&self, key: u64) -> Option<&str> {
        self.owner_index(key).map(|index| &*self.members[index])
    }

    /// The same as an index into [`Self::members`].
    #[must_use]
    pub fn owner_index(&self, key: u64) -> Option<usize> {
        // Keys are hashes already, but of the same family as tokens: hashing again keeps them apart.
        let point = Point(xxh3_64(&key.to_le_bytes()));
        self.tokens.get(&point).map(|token| token.member as usize)
    }

    /// The first member in `key`'s order of preference that `accepts` lets through, as an index into [`Self::members`]. The
    /// owner comes first, then the others in an order of their own for each key, so that what one member can't take spreads
    /// over all the rest.
    #[must_use]
    pub fn first_accepted(&self, key: u64, accepts: impl Fn(usize) -> bool) -> Option<usize> {
        self.first_accepted_after(self.owner_index(key)?, key, accepts)
    }

    /// All members in `key`'s order of preference, `owner` first.
    pub(crate) fn preference(&self, owner: usize, key: u64) -> Vec<usize> {
        let mut others: Vec<usize> = (0..self.members.len()).filter(|index| *index != owner).collect();
        others.sort_unstable_by_key(|index| (fallback_rank(self.hashes[*index], key), *index));
        std::iter::once(owner).chain(others).collect()
    }

    /// The same for a caller that has the owner's index at hand.
    pub(crate) fn first_accepted_after(&self, owner: usize, key: u64, accepts: impl Fn(usize) -> bool) -> Option<usize> {
        if accepts(owner) {
            return Some(owner);
        }
        (0..self.members.len())
            .filter(|index| *index != owner && accepts(*index))
            .min_by_key(|index| (fallback_rank(self.hashes[*index], key), *index))
    }
}

/// The tokens of sorted members. Of tokens with equal hashes only that of the first name stays: the ring's binary search
/// would find any of them.
fn tokens_of(members: &[Name], count: u32, hash: impl Fn(&str, u32) -> u64) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::with_capacity(members.len() * count as usize);
    for (member, name) in (0_u32..).zip(members) {
        tokens.extend((0..count).map(|index| Token { hash: hash(name, index), member }));
    }
    tokens.sort_unstable_by_key(|token| (token.hash, token.member));
    tokens.dedup_by_key(|token| token.hash);
    tokens
}

/// Hash of a member's token: xxh3 over the name, a byte that UTF-8 never has, and the little-endian index.
fn token_hash(name: &str, index: u32) -> u64 {
    let mut bytes = Vec::with_capacity(name.len() + 5);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0xff);
    bytes.extend_from_slice(&index.to_le_bytes());
    xxh3_64(&bytes)
}

/// A member's rank for a key among the fallbacks; lower is preferred (rendezvous hashing).
fn fallback_rank(member_hash: u64, key: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&member_hash.to_le_bytes());
    bytes[8..].copy_from_slice(&key.to_le_bytes());
    xxh3_64(&bytes)
}

/// A member's point on the ring, hashed beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    hash: u64,
    member: u32,
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A key's point on the ring, hashed beforehand.
struct Point(u64);

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Hands hashes through, because the standard library's hashing of integers depends on the machine's byte order.
#[derive(Debug, Clone, Copy, Default)]
struct Identity;

impl BuildHasher for Identity {
    type Hasher = Passed;

    fn build_hasher(&self) -> Passed {
        Passed(0)
    }
}

/// The hash that was handed through.
struct Passed(u64);

impl Hasher for Passed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn names(count: usize) -> Vec<Name> {
        (0..count).map(|index| Name::from(format!("collector-{index}"))).collect()
    }

    fn loads(ring: &Ring, keys: u64) -> BTreeMap<String, u64> {
        let mut loads = BTreeMap::new();
        for key in 0..keys {
            *loads.entry(ring.owner(key).unwrap().to_owned()).or_default() += 1;
        }
        loads
    }

    #[test]
    fn owners_are_fixed_for_all_time() {
        // Computed with another implementation of xxh3: nodes of all versions and architectures must come to the same.
        let ring = Ring::new(["a", "b", "c"]);
        let owners: String = (0..32).map(|key| ring.owner(key).unwrap()).collect();
        assert_eq!(owners, "aabbaaaaacbbcccababcaacaaaccbacb");
        assert_eq!(token_hash("collector-0", 511), 9_382_489_410_827_566_991);
        let fallbacks: String = (0..16).map(|key| &*ring.members()[ring.first_accepted(key, |index| index > 0).unwrap()]).collect();
        assert_eq!(fallbacks, "ccbbbbccccbbcccb");
    }

    #[test]
    fn order_and_duplicates_of_members_do_not_matter() {
        let (one, other) = (Ring::new(["c", "a", "b", "a"]), Ring::new(["a", "b", "c"]));
        assert_eq!(one.members(), other.members());
        assert!((0..1_000).all(|key| one.owner(key) == other.owner(key)));
    }

    #[test]
    fn a_ring_made_out_of_another_equals_one_built_anew() {
        let mut ring = Ring::new(names(5));
        let steps: [&[usize]; 6] = [&[0, 1, 2, 3, 4, 5], &[0, 2, 3, 5], &[10, 2, 3, 7], &[2], &[], &[1, 3, 12]];
        for step in steps {
            let members: Vec<Name> = step.iter().map(|index| names(13)[*index].clone()).collect();
            ring = ring.changed_to(members.clone(), TOKENS);
            let anew = Ring::new(members);
            assert_eq!((&ring.members, &ring.hashes, &ring.sorted), (&anew.members, &anew.hashes, &anew.sorted), "{step:?}");
        }
    }

    #[test]
    fn an_empty_ring_owns_nothing() {
        let ring = Ring::new(Vec::<Name>::new());
        assert_eq!((ring.owner(1), ring.first_accepted(1, |_| true)), (None, None));
    }

    #[test]
    fn load_is_spread_within_a_fifth_of_the_mean() {
        for (key, load) in loads(&Ring::new(names(10)), 50_000) {
            assert!((4_000..=6_000).contains(&load), "{key} has {load} of 50000 keys, the mean is 5000");
        }
    }

    #[test]
    fn a_newcomer_takes_its_share_and_nothing_else_moves() {
        let (before, after) = (Ring::new(names(10)), Ring::new(names(11)));
        let moved: Vec<u64> = (0..20_000).filter(|key| before.owner(*key) != after.owner(*key)).collect();
        assert!(moved.iter().all(|key| after.owner(*key) == Some("collector-10")));
        assert!((1_400..=2_300).contains(&moved.len()), "{} of 20000 keys moved, a share is 1818", moved.len());
    }

    #[test]
    fn of_equal_tokens_the_first_name_keeps_its_own() {
        let clash = |_: &str, index: u32| u64::from(index);
        let tokens = tokens_of(&[Name::from("a"), Name::from("b")], 8, clash);
        assert_eq!(tokens.len(), 8);
        assert!(tokens.iter().all(|token| token.member == 0));
    }

    #[test]
    fn fallbacks_come_after_the_owner_and_spread_over_all_others() {
        let ring = Ring::new(names(5));
        let mut loads = BTreeMap::new();
        for key in 0..5_000 {
            let owner = ring.owner_index(key).unwrap();
            assert_eq!(ring.first_accepted(key, |_| true), Some(owner));
            if owner == 0 {
                *loads.entry(ring.first_accepted(key, |index| index != owner).unwrap()).or_insert(0) += 1;
            }
            assert_eq!(ring.first_accepted(key, |index| index == 3), Some(3), "the order reaches everybody");
            assert_eq!(ring.first_accepted(key, |_| false), None);
        }
        assert!(loads.len() == 4 && loads.values().all(|load| *load > 150), "{loads:?}");
    }

    #[test]
    fn fallbacks_do_not_depend_on_who_else_is_a_member() {
        let (large, small) = (Ring::new(names(6)), Ring::new(names(5)));
        for key in 0..1_000 {
            let without = |ring: &Ring, excluded: &[usize]| ring.first_accepted(key, |index| !excluded.contains(&index));
            let (Some(a), Some(b)) = (large.owner_index(key), small.owner_index(key)) else { panic!() };
            if a == b {
                let (first, second) = (without(&large, &[a]), without(&small, &[a]));
                assert!(first == second || first == Some(5));
            }
        }
    }
}
