//! What the UI shows of a running `prometheus.scrape`.

use std::collections::BTreeMap;
use std::time::Duration;

use scrape::Engine;
use syntax::Block;

/// Targets that are shown at most: the UI must stay usable with ten thousand of them.
const SHOWN: usize = 1000;

/// The debug info.
#[derive(Block, Clone, Debug, PartialEq)]
pub(super) struct DebugInfo {
    #[syntax(block)]
    target: Vec<TargetInfo>,
}

#[derive(Block, Clone, Debug, PartialEq)]
struct TargetInfo {
    job: String,
    url: String,
    health: String,
    labels: BTreeMap<String, String>,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: Duration,
}

/// The targets that this node scrapes.
pub(super) fn info<'a>(engines: impl Iterator<Item = &'a Engine>, job: &str) -> DebugInfo {
    let targets: Vec<_> = engines.flat_map(|engine| engine.targets().to_vec()).collect();
    let owned = targets.iter().map(|target| (target, target.status())).filter(|(_, status)| status.owned);
    let shown = owned.take(SHOWN).map(|(target, status)| TargetInfo {
        job: target.labels.get("job").unwrap_or(job).to_owned(),
        url: target.url.to_string(),
        health: status.health.as_str().to_owned(),
        labels: target.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        last_error: status.last_error.to_string(),
        last_scrape: jiff::Timestamp::from_millisecond(status.last_scrape).map(|at| at.to_string()).unwrap_or_default(),
        last_scrape_duration: status.last_duration,
    });
    DebugInfo { target: shown.collect() }
}
