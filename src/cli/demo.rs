//! `collector demo`: a fleet on this machine with everything that it needs, changed on the way, and judged.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use loadtest::demo::{self, DemoOptions};

use super::flags::go_duration;

/// Ended by Ctrl-C, as shells count it.
const INTERRUPTED: u8 = 130;

#[derive(Args)]
pub struct Demo {
    /// Collectors at the start; a fourth joins, one leaves, one is killed on the way
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Synthetic targets
    #[arg(long, default_value_t = 60)]
    targets: usize,
    /// Series of each target
    #[arg(long, default_value_t = 500)]
    series: usize,
    /// How often each target is scraped
    #[arg(long, default_value = "2s", value_parser = go_duration, value_name = "DURATION")]
    interval: Duration,
    /// How long it runs
    #[arg(long = "for", default_value = "60s", value_parser = go_duration, value_name = "DURATION")]
    for_: Duration,
    /// Print lines instead of a table that is redrawn
    #[arg(long)]
    plain: bool,
}

impl Demo {
    pub fn execute(self) -> Result<ExitCode> {
        let binary = std::env::current_exe().context("can't find the running program")?;
        let options = DemoOptions {
            nodes: self.nodes,
            targets: self.targets,
            series: self.series,
            interval: self.interval,
            for_: self.for_,
            plain: self.plain,
            ..DemoOptions::new(binary)
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let verdict = runtime.block_on(demo::run(options))?;
        Ok(match verdict {
            verdict if verdict.interrupted => INTERRUPTED.into(),
            verdict if verdict.passed => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}
