//! Who is in the fleet: what members say of themselves, the table that merges it with what is seen of them, and gossip
//! (chitchat) as the anti-entropy below both. Opening streams, joining and owning are other modules' work.

pub(crate) mod gossip;
mod guard;
pub(crate) mod intake;
mod member;
pub(crate) mod table;

pub(crate) use member::{Identity, Phase, Record};
pub use member::{MAX_NAME_BYTES, State};
