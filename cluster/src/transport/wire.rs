//! What the small frames say, as protobuf messages, so that a later version can add fields that this one ignores. Ownership
//! messages and gossip have formats of their own and pass through here as bytes.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use prost::{
    Message,
    encoding::{DecodeContext, decode_key, skip_field},
};

use crate::membership::{Identity, MAX_NAME_BYTES, Phase, Record, State};
use crate::ownership::KeysDigest;
use crate::placement::Version;
use crate::quorum::PartitionPolicy;

/// Longest free text taken from a peer (versions, hashes, details of a refusal), bytes.
const MAX_TEXT_BYTES: usize = 512;

/// Most members that one message may carry; beyond it gossip fills in the rest.
pub(crate) const MAX_RECORDS: usize = 1000;

/// A process of the fleet as it describes itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Member {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint64, tag = "2")]
    pub(crate) generation: u64,
    #[prost(string, tag = "3")]
    pub(crate) addr: String,
    #[prost(uint32, tag = "4")]
    pub(crate) state: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) phase: u32,
    #[prost(bool, tag = "6")]
    pub(crate) ready: bool,
    #[prost(uint64, tag = "7")]
    pub(crate) counter: u64,
    #[prost(string, tag = "8")]
    pub(crate) version: String,
    #[prost(string, tag = "9")]
    pub(crate) config_hash: String,
    #[prost(bool, tag = "10")]
    pub(crate) left: bool,
    #[prost(uint64, tag = "11")]
    pub(crate) placement_epoch: u64,
    #[prost(fixed64, tag = "12")]
    pub(crate) placement_digest: u64,
    #[prost(uint64, tag = "13")]
    pub(crate) load: u64,
    #[prost(string, tag = "20")]
    pub(crate) zone: String,
    #[prost(message, optional, tag = "14")]
    pub(crate) targets_digest: Option<Digest>,
    /// [`crate::PartitionPolicy`]; a release without policies does not say it.
    #[prost(uint32, tag = "15")]
    pub(crate) policy: u32,
}

/// The keys that a process has discovered, see [`KeysDigest`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Digest {
    #[prost(uint64, tag = "1")]
    pub(crate) count: u64,
    #[prost(fixed64, tag = "2")]
    pub(crate) sum: u64,
}

/// Which process of which name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Process {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint64, tag = "2")]
    pub(crate) generation: u64,
    #[prost(string, tag = "3")]
    pub(crate) addr: String,
}

/// Opens a stream.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Hello {
    /// The newest version of the protocol that the opener speaks, see [`super::protocol`]. Peers without a common version are refused: a
    /// handover between two readings of the same message would lose or double targets.
    #[prost(uint32, tag = "1")]
    pub(crate) protocol: u32,
    #[prost(string, tag = "2")]
    pub(crate) cluster: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) sender: Option<Member>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) nonce: Vec<u8>,
    #[prost(bool, tag = "5")]
    pub(crate) keyed: bool,
    #[prost(uint32, tag = "6")]
    pub(crate) intent: u32,
    /// Hash of whom the opener holds for alive, see [`super::Company`]; 0 if it can't tell.
    #[prost(fixed64, tag = "7")]
    pub(crate) company: u64,
    /// Ways of compression that the opener knows, as bits: [`SQUEEZE`]. Earlier releases know none.
    #[prost(uint32, tag = "8")]
    pub(crate) compression: u32,
    /// The oldest version that the opener speaks; 0 if it is the newest as well.
    #[prost(uint32, tag = "9")]
    pub(crate) oldest_protocol: u32,
}

/// Compression against the message before, see [`super::squeeze`].
pub(crate) const SQUEEZE: u32 = 1;

/// Answers a hello whose version and cluster name fit.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Challenge {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) nonce: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub(crate) keyed: bool,
    /// Those of the opener's ways of compression that both sides will use.
    #[prost(uint32, tag = "3")]
    pub(crate) compression: u32,
    /// The version that the stream uses; 0 is the first.
    #[prost(uint32, tag = "4")]
    pub(crate) protocol: u32,
}

/// Answers a challenge; empty without a key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Proof {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) tag: Vec<u8>,
}

/// Ends a handshake: who answers, and whom it knows. `body` is an encoded [`Members`], apart so that the proof covers its
/// bytes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Accept {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) body: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) tag: Vec<u8>,
}

/// Ends a handshake with the check that failed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Reject {
    #[prost(uint32, tag = "1")]
    pub(crate) reason: u32,
    #[prost(string, tag = "2")]
    pub(crate) detail: String,
    /// With [`super::Reason::Generation`]: the generation that is known, to be exceeded.
    #[prost(uint64, tag = "3")]
    pub(crate) generation: u64,
}

/// What the sender knows: its own record, perhaps others' (those that it holds for alive), and whom it can no longer reach.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Members {
    #[prost(message, optional, tag = "1")]
    pub(crate) sender: Option<Member>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) others: Vec<Member>,
    /// Processes whose stream to the sender broke and whose address refuses connections.
    #[prost(message, repeated, tag = "3")]
    pub(crate) refused: Vec<Process>,
    /// The sender's Lamport time.
    #[prost(uint64, tag = "4")]
    pub(crate) lamport: u64,
}

/// A question to one peer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Request {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) kind: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) body: Bytes,
}

/// Its answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Response {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// Empty if it worked.
    #[prost(string, tag = "2")]
    pub(crate) error: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) body: Bytes,
}

/// Longest encoded [`Members`], bytes: [`MAX_RECORDS`] records with all texts as long as they may be.
pub(crate) const MAX_MEMBERS_BYTES: usize = MAX_RECORDS * 2048;

/// Reads what a peer knows of the members. Counted first: an empty record takes two bytes on the wire and a hundred times as
/// much in memory.
pub(crate) fn members(payload: Bytes) -> Option<Members> {
    let fits = payload.len() <= MAX_MEMBERS_BYTES && fields(&payload)? <= 2 * MAX_RECORDS;
    fits.then(|| Members::decode(payload).ok())?
}

/// How many fields a message has, without those of its parts.
fn fields(mut message: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !message.is_empty() {
        let (tag, kind) = decode_key(&mut message).ok()?;
        skip_field(kind, tag, &mut message, DecodeContext::default()).ok()?;
        count += 1;
    }
    Some(count)
}

/// Why a stream is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// To say who I am, learn who is there, and close again.
    Join,
    /// To stay and send.
    Link,
    /// To see which process answers at this address; changes nothing on the other side.
    Check,
}

impl Intent {
    pub(crate) fn to_wire(self) -> u32 {
        match self {
            Self::Join => 0,
            Self::Link => 1,
            Self::Check => 2,
        }
    }

    pub(crate) fn from_wire(number: u32) -> Option<Self> {
        [Self::Join, Self::Link, Self::Check].into_iter().find(|intent| intent.to_wire() == number)
    }
}

/// Text of a peer, cut at a bound, without control characters: it ends in logs and pages.
pub(crate) fn clean(text: &str) -> String {
    cleaned(text, MAX_TEXT_BYTES / 4)
}

/// The same for a sentence: why a peer refuses this node, and what it would do about it.
pub(crate) fn clean_detail(text: &str) -> String {
    cleaned(text, MAX_TEXT_BYTES)
}

fn cleaned(text: &str, characters: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(characters).collect()
}

impl Process {
    /// The process meant, if the fields make sense.
    pub(crate) fn identity(&self) -> Option<Identity> {
        identity(&self.name, self.generation, &self.addr)
    }
}

impl From<&Identity> for Process {
    fn from(identity: &Identity) -> Self {
        Self { name: identity.name.to_string(), generation: identity.generation, addr: identity.addr.to_string() }
    }
}

impl Member {
    /// The record meant, if the fields make sense.
    pub(crate) fn record(&self) -> Option<Record> {
        Some(Record {
            identity: identity(&self.name, self.generation, &self.addr)?,
            state: State::from_number(self.state)?,
            phase: Phase::from_number(self.phase)?,
            ready: self.ready,
            left: self.left,
            counter: self.counter,
            version: clean(&self.version),
            config_hash: clean(&self.config_hash),
            placement: Version { epoch: self.placement_epoch, digest: self.placement_digest },
            load: self.load,
            zone: clean(&self.zone),
            targets: self.targets_digest.map(|Digest { count, sum }| KeysDigest { count, sum }),
            policy: PartitionPolicy::from_number(self.policy),
        })
    }
}

impl From<&Record> for Member {
    fn from(record: &Record) -> Self {
        Self {
            name: record.identity.name.to_string(),
            generation: record.identity.generation,
            addr: record.identity.addr.to_string(),
            state: record.state.number(),
            phase: record.phase.number(),
            ready: record.ready,
            counter: record.counter,
            version: record.version.clone(),
            config_hash: record.config_hash.clone(),
            left: record.left,
            placement_epoch: record.placement.epoch,
            placement_digest: record.placement.digest,
            load: record.load,
            zone: record.zone.clone(),
            targets_digest: record.targets.map(|KeysDigest { count, sum }| Digest { count, sum }),
            policy: record.policy.number(),
        }
    }
}

fn identity(name: &str, generation: u64, addr: &str) -> Option<Identity> {
    let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control);
    let addr: SocketAddr = addr.parse().ok()?;
    (fits && addr.port() != 0 && !addr.ip().is_unspecified()).then(|| Identity { name: Arc::from(name), generation, addr })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Member {
        Member {
            name: "node-a".into(),
            generation: 7,
            addr: "10.0.0.1:12345".into(),
            state: State::Participant.number(),
            phase: Phase::Formed.number(),
            ready: true,
            counter: 3,
            version: "0.1.0".into(),
            config_hash: "abc".into(),
            left: false,
            placement_epoch: 3,
            placement_digest: 4,
            load: 5,
            zone: "north".into(),
            targets_digest: Some(Digest { count: 3, sum: 1 << 63 }),
            policy: PartitionPolicy::Majority.number(),
        }
    }

    #[test]
    fn a_record_survives_the_wire() {
        let record = member().record().unwrap();
        assert_eq!(Member::from(&record), member());
        let silent = Member { targets_digest: None, ..member() };
        assert_eq!(Member::from(&silent.record().unwrap()), silent);
    }

    #[test]
    fn a_full_list_of_members_is_read_and_one_of_countless_empty_records_is_not() {
        let text = "é".repeat(MAX_TEXT_BYTES / 4);
        let long = Member { name: "x".repeat(MAX_NAME_BYTES), version: text.clone(), config_hash: text, ..member() };
        let full = Members { others: vec![long; MAX_RECORDS], ..Members::default() };
        assert_eq!(members(full.encode_to_vec().into()), Some(full));
        let empty = Members { others: vec![Member::default(); 2 * MAX_RECORDS + 1], ..Members::default() };
        assert_eq!(members(empty.encode_to_vec().into()), None);
        assert_eq!(members(Bytes::from_static(b"\xff")), None);
        assert_eq!(members(Bytes::from(vec![0; MAX_MEMBERS_BYTES + 1])), None);
    }

    #[test]
    fn records_that_make_no_sense_are_not_taken() {
        let broken: [fn(&mut Member); 7] = [
            |member| member.name.clear(),
            |member| member.name = "x".repeat(MAX_NAME_BYTES + 1),
            |member| member.name = "a\nb".into(),
            |member| member.addr = "somewhere".into(),
            |member| member.addr = "0.0.0.0:12345".into(),
            |member| member.addr = "10.0.0.1:0".into(),
            |member| member.state = 99,
        ];
        for (index, break_it) in broken.into_iter().enumerate() {
            let mut member = member();
            break_it(&mut member);
            assert_eq!(member.record(), None, "case {index}");
        }
    }

    #[test]
    fn text_of_a_peer_is_bounded_and_has_no_control_characters() {
        let text = clean(&format!("a\u{1b}[31m\n{}", "b".repeat(5000)));
        assert!(text.starts_with("a[31mb"));
        assert!(text.len() <= MAX_TEXT_BYTES);
    }
}
