//! Who should hold a key: the ring, corrected by a small table that weighs. The ring spreads keys evenly by number, which says
//! little where one target has 500 samples and another 100,000. So the table names a node for each key that is heavy, and for
//! as many light ones as it takes to even out the rest. All of it is a pure function of what goes in; who writes the table and
//! how it travels is `node::balance`, and that a changed proposal loses and doubles nothing is the work of `ownership`.
//!
//! `table` is the table itself, `rank` tells copies of a key apart, `proposal` asks table and ring, `report` tells what a node holds and what it weighs, `plan`
//! writes the next table, `forecast` says what would become of a fleet of other members.

mod forecast;
mod plan;
mod proposal;
mod rank;
mod report;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use forecast::forecast;
pub use forecast::{Forecast, Move};
pub(crate) use plan::{Refusals, plan};
pub use proposal::Basis;
pub(crate) use proposal::{Proposal, Seat};
pub(crate) use rank::Rank;
pub use rank::{MAX_RANKS, domain_of_rank};
pub(crate) use report::{HEAVIEST, Report, Weighed};
#[cfg(test)]
pub(crate) use table::Place;
pub(crate) use table::Table;
pub use table::Version;
