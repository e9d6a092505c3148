//! The table of keys that have a node by name: what it holds, which of two counts, and its bytes.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use crate::ownership::Name;

/// Most keys in a table: 25 bytes each on the wire. A fleet of 150 nodes needs ten for each of them.
pub(crate) const MAX_PLACES: usize = 1 << 17;

/// Which table it is. Of two the greater counts, on every node; the one before the first is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Grows by one with each table that is written.
    pub epoch: u64,
    /// Hash of the content: tells apart what two authors wrote who did not see each other.
    pub digest: u64,
}

/// Where a key is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the node's name.
    pub(crate) node: u32,
    /// Index of the node that is to have it while the first one is not in the ring.
    pub(crate) backup: u32,
    /// What it weighed when the table was written, see [`super::Weighed`].
    pub(crate) weight: u64,
}

/// A table as its author wrote it. Immutable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    version: Version,
    author: String,
    nodes: Vec<Name>,
    places: BTreeMap<Name, HashMap<u64, Place>>,
    /// As it came, so that it goes on with the same digest whatever a later version has put into it.
    encoded: Bytes,
}

/// Why bytes are no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TableError {
    #[error("they do not decode")]
    Malformed,
    #[error("its lists have different lengths, or name a node that is not listed")]
    Inconsistent,
    #[error("it has more than {MAX_PLACES} keys")]
    TooLarge,
}

impl Table {
    /// The table that follows `previous`. Places refer to `nodes` by index.
    pub(crate) fn following(previous: Version, author: &str, nodes: Vec<Name>, places: BTreeMap<Name, HashMap<u64, Place>>) -> Self {
        let encoded = Bytes::from(to_wire(author, &nodes, &places).encode_to_vec());
        let version = Version { epoch: previous.epoch + 1, digest: xxh3_64(&encoded) };
        Self { version, author: author.to_owned(), nodes, places, encoded }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The name of the node that wrote it; empty before the first one.
    pub(crate) fn author(&self) -> &str {
        &self.author
    }

    /// The names that places refer to.
    pub(crate) fn nodes(&self) -> &[Name] {
        &self.nodes
    }

    /// Keys in the table.
    pub(crate) fn len(&self) -> usize {
        self.places.values().map(HashMap::len).sum()
    }

    /// The places of each domain.
    pub(crate) fn domains(&self) -> impl Iterator<Item = (&Name, &HashMap<u64, Place>)> {
        self.places.iter()
    }

    pub(crate) fn place(&self, domain: &str, key: u64) -> Option<&Place> {
        self.places.get(domain)?.get(&key)
    }

    /// Whether two tables say the same, whoever wrote them and when.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let named = |table: &Self| -> BTreeMap<(Name, u64), (Name, Name)> {
            let of = |index: u32| table.nodes[index as usize].clone();
            let places = table.places.iter().flat_map(|(domain, places)| places.iter().map(move |(key, place)| (domain, *key, place)));
            places.map(|(domain, key, place)| ((domain.clone(), key), (of(place.node), of(place.backup)))).collect()
        };
        named(self) == named(other)
    }

    /// Its bytes, without the version.
    pub(crate) fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Reads a table of an epoch. Its digest is computed, not believed.
    pub(crate) fn decode(epoch: u64, encoded: Bytes) -> Result<Self, TableError> {
        let wire = wire::Table::decode(encoded.clone()).map_err(|_| TableError::Malformed)?;
        if wire.domains.iter().map(|domain| domain.keys.len()).sum::<usize>() > MAX_PLACES {
            return Err(TableError::TooLarge);
        }
        let nodes: Vec<Name> = wire.nodes.iter().map(|name| Name::from(name.as_str())).collect();
        let domains = wire.domains.iter().map(|domain| Ok((Name::from(domain.name.as_str()), domain.places(nodes.len())?)));
        let places = domains.collect::<Result<_, _>>()?;
        Ok(Self { version: Version { epoch, digest: xxh3_64(&encoded) }, author: wire.author, nodes, places, encoded })
    }
}

/// Sorted by key, so that the same table has the same bytes.
fn to_wire(author: &str, nodes: &[Name], places: &BTreeMap<Name, HashMap<u64, Place>>) -> wire::Table {
    let domains = places.iter().map(|(name, places)| {
        let mut sorted: Vec<_> = places.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| **key);
        wire::Domain {
            name: name.to_string(),
            keys: sorted.iter().map(|(key, _)| **key).collect(),
            nodes: sorted.iter().map(|(_, place)| place.node).collect(),
            backups: sorted.iter().map(|(_, place)| place.backup).collect(),
            weights: sorted.iter().map(|(_, place)| place.weight).collect(),
        }
    });
    wire::Table { author: author.to_owned(), nodes: nodes.iter().map(ToString::to_string).collect(), domains: domains.collect() }
}

mod wire {
    use std::collections::HashMap;

    use super::{Place, TableError};

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Table {
        #[prost(string, tag = "1")]
        pub(super) author: String,
        #[prost(string, repeated, tag = "2")]
        pub(super) nodes: Vec<String>,
        #[prost(message, repeated, tag = "3")]
        pub(super) domains: Vec<Domain>,
    }

    /// One place for each key, field by field.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Domain {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(fixed64, repeated, tag = "2")]
        pub(super) keys: Vec<u64>,
        #[prost(uint32, repeated, tag = "3")]
        pub(super) nodes: Vec<u32>,
        #[prost(uint32, repeated, tag = "4")]
        pub(super) backups: Vec<u32>,
        #[prost(uint64, repeated, tag = "5")]
        pub(super) weights: Vec<u64>,
    }

    impl Domain {
        pub(super) fn places(&self, nodes: usize) -> Result<HashMap<u64, Place>, TableError> {
            let count = self.keys.len();
            let listed = |indices: &[u32]| indices.len() == count && indices.iter().all(|index| (*index as usize) < nodes);
            if !listed(&self.nodes) || !listed(&self.backups) || self.weights.len() != count {
                return Err(TableError::Inconsistent);
            }
            let place = |at: usize| Place { node: self.nodes[at], backup: self.backups[at], weight: self.weights[at] };
            Ok(self.keys.iter().enumerate().map(|(at, key)| (*key, place(at))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let places = |count: u64| (0..count).map(|key| (key, Place { node: (key % 2) as u32, backup: 1, weight: key * 100 })).collect();
        let domains = [(Name::from("a"), places(3)), (Name::from("b"), places(50))];
        Table::following(Version { epoch: 6, digest: 1 }, "n0", vec![Name::from("n0"), Name::from("n1")], domains.into())
    }

    #[test]
    fn a_table_survives_the_wire_with_its_version() {
        let table = table();
        assert_eq!((table.version().epoch, table.len()), (7, 53));
        assert_eq!(Table::decode(7, table.encoded().clone()).unwrap(), table);
        assert_eq!(table.place("b", 49), Some(&Place { node: 1, backup: 1, weight: 4_900 }));
        assert_eq!(table.place("c", 0), None);
    }

    #[test]
    fn the_later_epoch_counts_and_of_two_authors_one() {
        let first = table();
        let next = Table::following(first.version(), "n1", Vec::new(), BTreeMap::new());
        let other = Table::following(first.version(), "n2", Vec::new(), BTreeMap::new());
        assert!(next.version() > first.version() && other.version() > first.version());
        assert_ne!(next.version(), other.version());
    }

    #[test]
    fn bytes_that_are_no_table_are_refused() {
        assert_eq!(Table::decode(1, Bytes::from_static(b"\xff\xff")), Err(TableError::Malformed));
        let spoilt = |spoil: fn(&mut wire::Table)| {
            let mut wire = wire::Table::decode(table().encoded().clone()).unwrap();
            spoil(&mut wire);
            Table::decode(7, wire.encode_to_vec().into())
        };
        assert_eq!(spoilt(|wire| wire.domains[0].nodes[0] = 2), Err(TableError::Inconsistent));
        assert_eq!(spoilt(|wire| wire.domains[0].backups.clear()), Err(TableError::Inconsistent));
        assert_eq!(spoilt(|wire| wire.domains[1].weights.push(1)), Err(TableError::Inconsistent));
        assert_eq!(spoilt(|wire| wire.domains[1].keys = vec![0; MAX_PLACES + 1]), Err(TableError::TooLarge));
    }
}
