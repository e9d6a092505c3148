//! The answer to "who should hold this key": the table where it names a member, the ring otherwise.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;

use super::Table;
use crate::ownership::Name;
use crate::ring::Ring;

/// What a proposal rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The key's place on the ring.
    Ring,
    /// The table names this node.
    Table,
    /// The table names a node that is not there, and this one for that case.
    Backup,
    /// The node that should hold it does not know it, and this one is the next that does.
    Fallback,
}

/// A member by its index in the ring, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    member: u32,
    basis: Basis,
}

/// Ring and table for one set of members.
#[derive(Debug)]
pub(crate) struct Proposal {
    ring: Ring,
    spots: HashMap<Name, HashMap<u64, Spot>>,
}

impl Proposal {
    pub(crate) fn new(ring: Ring, table: &Table) -> Self {
        let index = |name: &Name| ring.members().binary_search(name).ok().and_then(|index| u32::try_from(index).ok());
        let members: Vec<Option<u32>> = table.nodes().iter().map(index).collect();
        let spots = table.domains().map(|(domain, places)| {
            let spots = places.iter().filter_map(|(key, place)| {
                let named = members[place.node as usize].map(|member| Spot { member, basis: Basis::Table });
                let backup = || members[place.backup as usize].map(|member| Spot { member, basis: Basis::Backup });
                Some((*key, named.or_else(backup)?))
            });
            (domain.clone(), spots.collect())
        });
        let spots = spots.collect();
        Self { spots, ring }
    }

    /// The members that it speaks of.
    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Hash of the members' names: two nodes with the same see the same ring.
    pub(crate) fn members_hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for name in self.ring.members() {
            hash.update(name.as_bytes());
            hash.update(&[0xff]);
        }
        hash.digest()
    }

    /// Index of the member that should hold a key, unless there is none.
    pub(crate) fn owner(&self, domain: &str, key: u64) -> Option<u32> {
        match self.spot(domain, key) {
            Some(spot) => Some(spot.member),
            None => self.ring.owner_index(key).and_then(|index| u32::try_from(index).ok()),
        }
    }

    /// The same by name.
    pub(crate) fn owner_name(&self, domain: &str, key: u64) -> Option<&Name> {
        self.owner(domain, key).map(|member| &self.ring.members()[member as usize])
    }

    /// What that rests on.
    pub(crate) fn basis(&self, domain: &str, key: u64) -> Basis {
        self.spot(domain, key).map_or(Basis::Ring, |spot| spot.basis)
    }

    fn spot(&self, domain: &str, key: u64) -> Option<Spot> {
        // Most fleets have few keys in the table, and many none.
        if self.spots.is_empty() {
            return None;
        }
        self.spots.get(domain)?.get(&key).copied()
    }
}
