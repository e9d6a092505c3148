//! Who scrapes a key: a sans-IO machine that claims keys which the ring proposes, takes them over from their holders and
//! hands them on. Events and time go in, actions come out; gossip, streams and scrape loops belong to the driver.

mod action;
mod codec;
mod machine;
mod message;
mod view;

pub use action::{
    Action, Counters, Holder, LATENCY_BOUNDS_MS, Move, Phase, Start, StartReason, StopReason, Stopped,
};
pub use codec::DecodeError;
pub use machine::Ownership;
pub use message::{
    Answer, Envelope, Grant, MAX_FRAME_BYTES, MAX_KEYS, MAX_NAME_BYTES, MAX_POINTERS, MAX_STATE_BYTES, Message, Pointer,
};
pub use view::{KeySpec, Member, MemberState, Name, Now, Settings, View};
