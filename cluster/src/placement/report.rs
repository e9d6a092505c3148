//! What a node tells the author of the table: the keys that it holds and what they weigh.

use prost::Message;

use super::Version;
use crate::ownership::Name;

/// Keys that a node lists at most for the author, its heaviest ones; the others are told as a sum. Enough to even a node out to a
/// thousandth, and a hundredth of a fleet of 150 nodes with 15,000 targets.
pub(crate) const HEAVIEST: usize = 1024;

/// A key that a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weighed {
    pub(crate) domain: Name,
    pub(crate) key: u64,
    /// Work in a minute, in units of the component's choice, the same on all nodes (samples, for scrapes). `None` if it has not been
    /// measured yet.
    pub(crate) weight: Option<u64>,
    /// Whether the holder should hold it by its own view. If another node should and has not taken it, it is on its way there.
    pub(crate) settled: bool,
}

/// What a node holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// The table that this node goes by.
    pub(crate) version: Version,
    /// Hash of the members of its ring.
    pub(crate) members: u64,
    /// The heaviest keys, and those without a weight.
    pub(crate) keys: Vec<Weighed>,
    /// Weight of all others together.
    pub(crate) rest: u64,
}

impl Report {
    /// A report of these keys, of which at most `limit` are listed.
    pub(crate) fn new(version: Version, members: u64, mut keys: Vec<Weighed>, limit: usize) -> Self {
        let mut rest = 0;
        if keys.len() > limit {
            keys.sort_unstable_by(|one, other| {
                let order = |key: &Weighed| (std::cmp::Reverse(key.weight.unwrap_or(0)), key.key);
                order(one).cmp(&order(other))
            });
            rest = keys.drain(limit..).filter_map(|key| key.weight).sum();
        }
        Self { version, members, keys, rest }
    }

    /// The weight of all that the node holds, as far as it was measured.
    pub(crate) fn load(&self) -> u64 {
        self.keys.iter().filter_map(|key| key.weight).sum::<u64>() + self.rest
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut domains: Vec<wire::Domain> = Vec::new();
        for key in &self.keys {
            let at = domains.iter().position(|domain| *domain.name == *key.domain).unwrap_or_else(|| {
                domains.push(wire::Domain { name: key.domain.to_string(), ..wire::Domain::default() });
                domains.len() - 1
            });
            domains[at].keys.push(key.key);
            // 0 stands for what was not measured: a weight of nothing is told as 1.
            domains[at].weights.push(key.weight.map_or(0, |weight| weight.max(1)));
            domains[at].settled.push(key.settled);
        }
        let Version { epoch, digest } = self.version;
        wire::Report { epoch, digest, members: self.members, domains, rest: self.rest }.encode_to_vec()
    }

    /// `None` if the bytes make no sense.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let wire = wire::Report::decode(bytes).ok()?;
        let mut keys = Vec::with_capacity(wire.domains.iter().map(|domain| domain.keys.len()).sum());
        for domain in wire.domains {
            if domain.weights.len() != domain.keys.len() || domain.settled.len() != domain.keys.len() {
                return None;
            }
            let name = Name::from(domain.name);
            for ((key, weight), settled) in domain.keys.into_iter().zip(domain.weights).zip(domain.settled) {
                keys.push(Weighed { domain: name.clone(), key, weight: (weight > 0).then_some(weight), settled });
            }
        }
        Some(Self { version: Version { epoch: wire.epoch, digest: wire.digest }, members: wire.members, keys, rest: wire.rest })
    }
}

mod wire {
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Report {
        #[prost(uint64, tag = "1")]
        pub(super) epoch: u64,
        #[prost(fixed64, tag = "2")]
        pub(super) digest: u64,
        #[prost(fixed64, tag = "3")]
        pub(super) members: u64,
        #[prost(message, repeated, tag = "4")]
        pub(super) domains: Vec<Domain>,
        #[prost(uint64, tag = "5")]
        pub(super) rest: u64,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Domain {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(fixed64, repeated, tag = "2")]
        pub(super) keys: Vec<u64>,
        #[prost(uint64, repeated, tag = "3")]
        pub(super) weights: Vec<u64>,
        #[prost(bool, repeated, tag = "4")]
        pub(super) settled: Vec<bool>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighed(domain: &str, key: u64, weight: Option<u64>) -> Weighed {
        Weighed { domain: Name::from(domain), key, weight, settled: key.is_multiple_of(2) }
    }

    #[test]
    fn a_report_survives_the_wire() {
        let keys = vec![weighed("a", 1, Some(5)), weighed("a", 2, None), weighed("b", 1, Some(7))];
        let report = Report { version: Version { epoch: 3, digest: 4 }, members: 9, keys, rest: 11 };
        assert_eq!(Report::decode(&report.encode()), Some(report));
        assert_eq!(Report::decode(b"\x07"), None);
    }

    #[test]
    fn beyond_its_limit_the_light_keys_are_told_as_a_sum() {
        let keys = (0..10).map(|key| weighed("a", key, Some(key + 1))).collect();
        let report = Report::new(Version::default(), 0, keys, 3);
        assert_eq!(report.keys.iter().map(|key| key.key).collect::<Vec<_>>(), [9, 8, 7]);
        assert_eq!((report.rest, report.load()), (28, 55));
    }
}
