//! What a scenario came to: per step and altogether what was expected, what arrived, and whether the promises were kept; per node what it did
//! and cost. Plain data that prints itself as JSON (docs/loadtest.md describes the fields) and, in `table`, for people.

mod figures;
mod table;
mod weigh;

use serde::Serialize;

use crate::engine::Event;
use crate::judge::TargetScore;
use crate::receiver::Received;
use crate::scenario::Limit;
pub use figures::Figures;
pub use table::table;
pub(crate) use table::{clock, short};
pub(crate) use weigh::Evidence;

/// The whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// Whether all promises were kept, as far as it went.
    pub passed: bool,
    /// Whether it was broken off before its end.
    pub interrupted: bool,
    /// Why it broke off by itself: a step that could not be done.
    pub error: Option<String>,
    /// How long it took, from the first samples on, in seconds.
    pub seconds: f64,
    /// Scrape interval in milliseconds.
    pub interval_ms: i64,
    /// Targets at the end.
    pub targets: usize,
    /// Series that the receiver has seen, all that have ended included.
    pub series: u64,
    /// Samples of series beyond what the judge can remember: they were only counted.
    pub unjudged_samples: u64,
    /// Everything together.
    pub total: Figures,
    /// The time before the first step, then each step with the time until the next.
    pub steps: Vec<StepReport>,
    /// The nodes, in the order of their joining.
    pub nodes: Vec<NodeCost>,
    /// The longest that a node, or the load test itself, was kept from running within one second although it was ready to, in milliseconds: the
    /// sum over its threads. More than a third of an interval may break promises on its own.
    pub stood_still_ms: u64,
    /// What the receiver has taken.
    pub receiver: Received,
    /// The worst targets (up to 10), by gaps and duplicates over the whole time; targets without a flaw are left out.
    pub worst: Vec<TargetScore>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepReport {
    /// `start`, or what was done: `join`, `leave`, `kill` and so on.
    pub step: String,
    /// The same with what is special about it: `receiver down`, `targets +20`.
    pub what: String,
    /// When it began, in milliseconds from the first samples on.
    pub at_ms: i64,
    /// The nodes that it happened to.
    pub nodes: Vec<String>,
    /// How long it took until it was done, in milliseconds: for `join` until all were ready, for `leave` until all had ended; `null` if it was
    /// not done.
    pub took_ms: Option<u64>,
    /// After a kill or a pause: from its beginning to the next scrape of one of the node's targets, by whoever took over or by itself, in
    /// milliseconds.
    pub first_scrape_ms: Option<i64>,
    /// The same until all of its targets were scraped again.
    pub all_scraped_ms: Option<i64>,
    /// What was counted from this step until the next.
    pub figures: Figures,
    /// What was promised, and whether it was kept.
    pub promises: Vec<Promise>,
}

/// One promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Promise {
    /// What there may be only so much of: `gaps` altogether, or where a step may cost some, `gaps of a target that is hit` and `gaps of all other
    /// targets`; `duplicates`, `refused`, `markers`, `moved`.
    pub of: &'static str,
    /// From when to when, in milliseconds from the first samples on.
    pub from_ms: i64,
    /// The end of that time.
    pub to_ms: i64,
    /// How much there may be: a number or `any`.
    pub limit: Limit,
    /// How much there was.
    pub found: u64,
    /// Whether it was kept.
    pub kept: bool,
}

/// What a node has done and cost since the story began, as it was last seen to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeCost {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub state: String,
    /// Targets that it held at the end; `null` if it did not answer.
    pub targets: Option<usize>,
    /// How long it was watched, in seconds.
    pub seconds: f64,
    /// Samples that it sent.
    pub samples: u64,
    /// The same per second.
    pub samples_per_second: Option<f64>,
    /// CPU time, user and system, in seconds.
    pub cpu_seconds: f64,
    /// CPU time per sample that it sent, in microseconds.
    pub cpu_us_per_sample: Option<f64>,
    /// Resident memory when it was last seen.
    pub rss_bytes: u64,
    /// The most it ever was.
    pub peak_rss_bytes: u64,
}

impl StepReport {
    /// Whether all of its promises were kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.promises.iter().all(|promise| promise.kept)
    }
}

impl Report {
    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
