//! The test bench of the fleet: synthetic scrape targets, a remote-write receiver with a judge that looks for gaps and duplicates, fleets of
//! real collector processes, an engine that plays scenarios on them, and a comparison of agents. `collector loadtest`, `collector demo`, the
//! end-to-end tests and the benchmarks are built from it. It knows the collector only as a binary with flags and an HTTP API, never as a library.

pub mod alloy;
pub mod alone;
pub mod clock;
pub mod engine;
pub mod fleet;
pub mod judge;
pub mod load;
pub mod measure;
pub mod process;
pub mod receiver;
pub mod relay;
pub mod report;
pub mod scenario;
pub mod targets;

mod http;
