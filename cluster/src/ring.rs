//! The ring: which member should own a key. A pure function of the members' names, equal on every node, version and
//! architecture. Who is a member, and who really holds a key, is decided elsewhere.

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use xxhash_rust::xxh3::xxh3_64;

use crate::ownership::Name;

/// Tokens per member: load max/mean is about 1.1 at ten members; Alloy has as many.
pub const TOKENS: u32 = 512;

/// An immutable ring. Build a new one when the members change: 3 ms for 150 members.
#[derive(Debug, Clone)]
pub struct Ring {
    members: Vec<Name>,
    /// Hashes of the members' names, for the order of fallbacks.
    hashes: Vec<u64>,
    tokens: HashRing<Token, Identity>,
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
        let mut tokens = HashRing::with_hasher(Identity);
        tokens.batch_add(tokens_of(&members, count, token_hash));
        Self { hashes: members.iter().map(|name| xxh3_64(name.as_bytes())).collect(), members, tokens }
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
        let owner = self.owner_index(key)?;
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
