//! See docs/ARCHITECTURE.md.

pub mod ownership;
pub mod ring;
pub mod slots;
