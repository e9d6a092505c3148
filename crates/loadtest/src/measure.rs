//! Measuring agents: what a process costs, and [`compare`]: agents run against the same targets and sink, warmed up and measured.

mod agent;
mod cases;
mod compare;
mod outage;
mod stats;
mod table;

pub use agent::{Agent, Job};
pub use cases::{CASES, Case, Outcome, cases_table};
pub use compare::{CompareError, CompareOptions, Measured, compare};
pub use outage::{Withstood, withstand};
pub use stats::ProcessStats;
pub use table::table;
