//! What is known about the series of one target, and how a body is turned into batches over it. No I/O, no clock: bytes and times come
//! in, batches go out. Fetching the body and deciding when belong to `fetch` and the engine.
//!
//! Per series there are 14 bytes next to its labels in the layout: the hash of its text as the target writes it (8), the length of that
//! text (2), and a hash of its final labels (4). The first two recognise a line at its expected place without lexing it; the third finds
//! series that are written in two ways. Only where a target writes lines in changing order, or gives timestamps, there are some more.

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
