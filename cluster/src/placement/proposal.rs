//! The answer to "who should hold this key": the table where it names a member, the ring otherwise; for the second and third copy of
//! a key, somebody else than for the ones before.

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{Rank, Table};
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

/// Where a key is to be. Looked up when ring or table change: a lookup in a large ring misses the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Index of the member that should hold it, unless there is none.
    pub(crate) owner: Option<u32>,
    /// Members that should hold other copies of it: they hold this one never.
    pub(crate) others: Box<[u32]>,
    /// Which copy this is.
    rank: u32,
}

/// Ring and table for one set of members.
#[derive(Debug)]
pub(crate) struct Proposal {
    ring: Ring,
    /// The zone of each of the ring's members, if it has told one.
    zones: Vec<Option<Name>>,
    spots: HashMap<Name, HashMap<u64, Spot>>,
}

impl Proposal {
    pub(crate) fn new(ring: Ring, zones: &BTreeMap<Name, Name>, table: &Table) -> Self {
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
        let zones = ring.members().iter().map(|name| zones.get(name).cloned()).collect();
        Self { zones, spots, ring }
    }

    /// The members that it speaks of.
    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Where members are, by name.
    pub(crate) fn zones(&self) -> BTreeMap<Name, Name> {
        let named = self.ring.members().iter().zip(&self.zones);
        named.filter_map(|(name, zone)| Some((name.clone(), zone.clone()?))).collect()
    }

    /// Hash of the members' names and zones: two nodes with the same propose the same by the same table.
    pub(crate) fn members_hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for (name, zone) in self.ring.members().iter().zip(&self.zones) {
            hash.update(name.as_bytes());
            hash.update(&[0xff]);
            hash.update(zone.as_deref().unwrap_or_default().as_bytes());
            hash.update(&[0xff]);
        }
        hash.digest()
    }

    /// Where a key is to be.
    pub(crate) fn seat(&self, domain: &str, key: u64) -> Seat {
        let rank = Rank::of(domain);
        if rank.number == 0 {
            return Seat { owner: self.choose(domain, key, 0, &[]).map(|spot| spot.member), ..Seat::default() };
        }
        let mut others = Vec::with_capacity(rank.number as usize);
        for lower in 0..rank.number {
            others.extend(self.choose(&rank.sibling(lower), key, lower, &others).map(|spot| spot.member));
        }
        let owner = self.choose(domain, key, rank.number, &others).map(|spot| spot.member);
        Seat { owner, others: others.into(), rank: rank.number }
    }

    /// Index of the member that should hold a key, unless there is none.
    pub(crate) fn owner(&self, domain: &str, key: u64) -> Option<u32> {
        self.seat(domain, key).owner
    }

    /// The same by name.
    pub(crate) fn owner_name(&self, domain: &str, key: u64) -> Option<&Name> {
        self.owner(domain, key).map(|member| &self.ring.members()[member as usize])
    }

    /// What that rests on.
    pub(crate) fn basis(&self, domain: &str, key: u64) -> Basis {
        let seat = self.seat(domain, key);
        self.choose(domain, key, seat.rank, &seat.others).map_or(Basis::Ring, |spot| spot.basis)
    }

    /// The first member that `accepts` lets through, beginning with the one whose seat it is.
    pub(crate) fn first_accepted(&self, key: u64, seat: &Seat, accepts: impl Fn(usize) -> bool) -> Option<usize> {
        let free = |index: usize| !seat.others.iter().any(|other| *other as usize == index) && accepts(index);
        self.ring.first_accepted_after(seat.owner? as usize, salted(key, seat.rank), free)
    }

    /// All members that may hold a key, in the order in which they should.
    pub(crate) fn line(&self, key: u64, seat: &Seat) -> Vec<usize> {
        let Some(owner) = seat.owner else { return Vec::new() };
        let mut line = self.ring.preference(owner as usize, salted(key, seat.rank));
        line.retain(|index| !seat.others.iter().any(|other| *other as usize == *index));
        line
    }

    /// Whether two members are known to be in one zone.
    pub(crate) fn share_a_zone(&self, one: usize, other: usize) -> bool {
        self.zones[one].is_some() && self.zones[one] == self.zones[other]
    }

    /// Who should hold a copy, if these hold the ones before: not one of them, and in a zone of its own if there is one.
    fn choose(&self, domain: &str, key: u64, rank: u32, others: &[u32]) -> Option<Spot> {
        let free = |index: usize| !others.iter().any(|other| *other as usize == index);
        if let Some(spot) = self.spot(domain, key).filter(|spot| free(spot.member as usize)) {
            return Some(spot);
        }
        let key = salted(key, rank);
        let owner = self.ring.owner_index(key)?;
        let apart = |index: usize| free(index) && !others.iter().any(|other| self.share_a_zone(*other as usize, index));
        let chosen = self.ring.first_accepted_after(owner, key, apart).or_else(|| self.ring.first_accepted_after(owner, key, free))?;
        Some(Spot { member: u32::try_from(chosen).ok()?, basis: Basis::Ring })
    }

    fn spot(&self, domain: &str, key: u64) -> Option<Spot> {
        // Most fleets have few keys in the table, and many none.
        if self.spots.is_empty() {
            return None;
        }
        self.spots.get(domain)?.get(&key).copied()
    }
}

/// The key by which a copy is placed: each copy has a place of its own on the ring, so that one that moves leaves the others alone.
fn salted(key: u64, rank: u32) -> u64 {
    if rank == 0 {
        return key;
    }
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&key.to_le_bytes());
    bytes[8..].copy_from_slice(&rank.to_le_bytes());
    xxh3_64(&bytes)
}
