//! A receiver that is down for a while: what that costs an agent in memory and disk, and how soon it has caught up.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::agent::Agent;
use super::compare::{CompareError, CompareOptions, READY_WITHIN, STOP_WITHIN, start, stats, system};
use crate::receiver::{Failure, Lasts, Receiver, Sink};
use crate::targets::Targets;

/// Samples of the report that each scrape adds (`up` and the like).
const REPORT_SAMPLES: u64 = 5;
/// How often it is looked whether the agent has caught up.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What an outage came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Withstood {
    /// How long the receiver answered 503, in seconds.
    pub outage_seconds: f64,
    /// Samples that were scraped meanwhile.
    pub samples: u64,
    /// Resident memory at its beginning.
    pub rss_before_bytes: u64,
    /// Resident memory at its end.
    pub rss_after_bytes: u64,
    /// Bytes of the agent's files at its end.
    pub disk_bytes: u64,
    /// The same per sample.
    pub disk_bytes_per_sample: f64,
    /// Seconds from its end until everything that was scraped had come.
    pub recovery_seconds: f64,
    /// Samples that were scraped and had not come when the agent had ended; those of scrapes that its end broke off are among them. Markers of
    /// series that end come on top of what was scraped, so that churn makes it less.
    pub missing: i64,
}

/// Warms an agent up, lets its receiver fail for `outage`, and waits until it has caught up. `options.measure` does not matter.
///
/// # Errors
/// As [`super::compare()`], and an agent that does not catch up within ten times the outage.
pub async fn withstand(agent: &Agent, options: &CompareOptions, outage: Duration, progress: fn(&str)) -> Result<Withstood, CompareError> {
    let targets = Targets::start(options.targets.clone()).await?;
    let dir = tempfile::tempdir().map_err(|source| system("a temporary directory", source))?;
    let receiver = Receiver::start(Arc::new(Sink)).await.map_err(|source| system("a port for the sink", source))?;
    let process = start(agent, dir.path().to_owned(), &targets, &receiver, options).await?;
    progress(&format!("ready, warming up for {:?}", options.warmup));
    tokio::time::sleep(options.warmup).await;
    let per_scrape: Vec<u64> = (0..targets.len()).map(|t| targets.series(t) as u64 + REPORT_SAMPLES).collect();
    let scraped = || per_scrape.iter().enumerate().map(|(target, samples)| targets.served(target) * samples).sum::<u64>();
    let (before, scraped_before) = (stats(&process)?, scraped());
    progress(&format!("the receiver fails for {outage:?}"));
    receiver.faults().fail(Failure { status: 503, retry_after: None }, Lasts::UntilHealed);
    tokio::time::sleep(outage).await;
    let (after, samples) = (stats(&process)?, scraped() - scraped_before);
    let disk_bytes = bytes_below(dir.path()).map_err(|source| system("the agent's files", source))?;
    progress("the receiver is well again");
    receiver.faults().heal();
    let healed = Instant::now();
    // What one second brings may be under way.
    let under_way = (per_scrape.iter().sum::<u64>() as f64 / options.interval.as_secs_f64()) as u64;
    while receiver.received().samples + under_way < scraped() {
        if healed.elapsed() > READY_WITHIN + 10 * outage {
            let late = std::io::Error::other(format!("{} samples are missing", scraped() - receiver.received().samples));
            return Err(system("the agent did not catch up", late));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let recovery_seconds = healed.elapsed().as_secs_f64();
    process.stop(STOP_WITHIN).await?;
    Ok(Withstood {
        outage_seconds: outage.as_secs_f64(),
        samples,
        rss_before_bytes: before.rss_bytes,
        rss_after_bytes: after.rss_bytes,
        disk_bytes,
        disk_bytes_per_sample: disk_bytes as f64 / samples.max(1) as f64,
        recovery_seconds,
        missing: scraped() as i64 - receiver.received().samples as i64,
    })
}

/// The lengths of all files below a directory. Files that vanish meanwhile count for nothing.
fn bytes_below(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        bytes += match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => bytes_below(&path)?,
            Ok(found) => found.len(),
            Err(_) => 0,
        };
    }
    Ok(bytes)
}
