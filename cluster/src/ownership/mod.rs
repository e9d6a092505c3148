//! Who scrapes a key: a sans-IO machine that claims keys which the ring proposes, takes them over from their holders and
//! hands them on. Events and time go in, actions come out; gossip, streams and scrape loops belong to the driver.
//!
//! Each key has one *token*, the right to scrape it. The ring only says who *should* have it. The parts: `machine` takes the
//! inputs, `domain` looks after keys, `claim` asks for tokens, `handover` gives and takes them, `knowledge` finds out who knows
//! a key, `digest` puts all keys in short; `peers` and `entry` hold what is noted, `outbox` packs messages, `codec` makes bytes of them.

mod action;
mod claim;
mod codec;
mod context;
mod digest;
mod domain;
mod entry;
mod handover;
mod knowledge;
mod machine;
mod message;
mod mutant;
mod outbox;
mod peers;
mod report;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
mod view;

pub use action::{
    Action, Candidacy, Counters, GAP_BOUNDS, Holder, LATENCY_BOUNDS_MS, MAX_CANDIDATES, Move, Phase, Start, StartReason, StopReason,
    Stopped,
};
pub use codec::DecodeError;
pub use digest::KeysDigest;
pub use machine::Ownership;
pub use message::{Answer, Envelope, Grant, MAX_FRAME_BYTES, MAX_KEYS, MAX_NAME_BYTES, MAX_POINTERS, MAX_STATE_BYTES, Message, Pointer};
pub use view::{KeySpec, Member, MemberState, Name, Now, Settings, View};
