//! Seeded simulation of fleets of ownership machines: virtual time, modelled gossip and streams, simulated scrape loops. A run
//! is a pure function of its seed. What real transports and membership do is tested where they are.
//!
//! `SIM_SEEDS=n` runs n seeds instead of the usual number, `SIM_FIRST=f` begins with seed f, `SIM_SEED=s` replays one and prints
//! its log. `SIM_MAJORITY_SEEDS=n` is the number for the policy `majority`.

mod fleet;
mod gossip;
mod judge;
mod majority;
mod network;
mod node;
mod run;
mod script;
mod tables;
mod tests;
