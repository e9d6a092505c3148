//! What ownership machines say to each other. The bytes are in `codec`, the meaning in the machine.
//!
//! A *token* is the right to scrape a key; there is one per key. `Want` asks for it, `Grant` carries it, `Ack` confirms it.
//! `Query` and `Status` tell who knows a key and who holds it; `Forgot` takes knowledge back.

use bytes::Bytes;

use super::view::Name;

/// Most keys in one frame: 128 KiB of keys.
pub const MAX_KEYS: usize = 16_384;
/// Longest state that is handed over with a key, in bytes.
pub const MAX_STATE_BYTES: usize = 4 << 20;
/// Longest encoded envelope in bytes. A transport must carry frames of this size.
pub const MAX_FRAME_BYTES: usize = 8 << 20;
/// Longest name of a node or a domain in bytes, bounded by its length field.
pub const MAX_NAME_BYTES: usize = u16::MAX as usize;
/// Most pointers in one answer: one per node that the answerer made a promise to.
pub const MAX_POINTERS: usize = 1_024;

/// A message with the lives of both nodes, so that nothing said to or by an earlier life counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Incarnation of the sender.
    pub from_incarnation: u64,
    /// Incarnation of the receiver as the sender knows it.
    pub to_incarnation: u64,
    /// Domain that the message is about.
    pub domain: Name,
    /// The message.
    pub message: Message,
}

/// What one machine says to another. Each kind holds at most [`MAX_KEYS`] keys in all.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The sender should own the keys by its view and asks for them.
    Want {
        /// Number of the question, growing with time, repeated in the answer.
        claim: u64,
        /// Keys asked for.
        keys: Vec<u64>,
    },
    /// The reply to a `Want`.
    Answer(Answer),
    /// The tokens of keys.
    Grant(Vec<Grant>),
    /// The reply to a `Grant`.
    Ack {
        /// (key, claim) of grants taken, now or earlier.
        taken: Vec<(u64, u64)>,
        /// (key, claim) of grants that the sender has not taken and never will.
        declined: Vec<(u64, u64)>,
    },
    /// Does the receiver, which the ring proposes, know and hold the keys?
    Query {
        /// Number of the question, growing with time, repeated in the status.
        round: u64,
        /// Keys asked about.
        keys: Vec<u64>,
    },
    /// The reply to a `Query`.
    Status {
        /// The query's number.
        round: u64,
        /// Keys that the sender holds, and should by its own view.
        held: Vec<u64>,
        /// Keys that it has discovered and does not hold, or not for good.
        known: Vec<u64>,
        /// Keys that it has not discovered or could not own.
        unknown: Vec<u64>,
    },
    /// The sender has no longer discovered the keys, which it had claimed to know.
    Forgot {
        /// The keys.
        keys: Vec<u64>,
    },
}

/// The reply to a `Want`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The want's number.
    pub claim: u64,
    /// Keys that the sender neither holds nor wants. Whoever `pointers` name must be asked as well.
    pub free: Vec<u64>,
    /// Keys that the sender holds or wants, or gave to a peer that has not confirmed yet.
    pub busy: Vec<u64>,
    /// Keys whose `Grant` to the asker is on its way or about to be.
    pub granting: Vec<u64>,
    /// (key, instant in ms since the epoch) of the last slot that the sender itself scraped, for free keys that it held lately.
    pub last: Vec<(u64, u64)>,
    /// Nodes that may hold some of the free keys.
    pub pointers: Vec<Pointer>,
}

/// A node that may hold keys, because the answerer gave or promised them to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pointer {
    /// The node.
    pub name: Name,
    /// Its incarnation.
    pub incarnation: u64,
    /// Whether it took the keys from the answerer (else it was only told that they are free). Then answers that the asker
    /// had from it earlier say nothing.
    pub taken: bool,
    /// The keys.
    pub keys: Vec<u64>,
}

/// A key's token on its way to the next holder.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The key.
    pub key: u64,
    /// Number of the want that it grants.
    pub claim: u64,
    /// Instant in ms since the epoch of the last slot begun; the receiver starts behind it.
    pub last_ms: u64,
    /// What the previous holder hands on.
    pub state: Option<Bytes>,
}
