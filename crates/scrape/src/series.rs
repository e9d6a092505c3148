//! What is known about the series of one target, and how a body is turned into batches over it. No I/O, no clock: bytes and times come
//! in, batches go out. Fetching the body and deciding when belong to `fetch` and the engine.
//!
//! Per series there are 10 bytes next to its labels in the layout: the hash of its text as the target writes it (8) and the length of that
//! text (2), which recognise a line at its expected place without lexing it. Only while series come and go, lines change their order, or
//! where a target gives timestamps, there are some more.

mod columns;
mod comments;
mod commit;
mod details;
mod error;
mod exemplars;
mod families;
mod format;
mod fresh;
mod index;
mod labels;
mod layouts;
mod plan;
mod reconcile;
mod report;
mod rules;
mod session;
mod state;
#[cfg(test)]
mod tests;
mod visit;

pub use error::SeriesError;
pub use exposition::HistogramForms;
pub use format::Format;
pub use report::{Report, ReportSeries};
pub use rules::{NameValidation, Rules};
pub use session::{Counts, Dropped, Scraped, Scratch, Session};
pub use state::TargetSeries;
