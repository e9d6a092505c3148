//! `collector demo`: the default scenario of `collector loadtest` with fewer options, to see a fleet at work.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use loadtest::engine::EngineOptions;
use loadtest::load::Load;
use loadtest::scenario::Scenario;

use super::flags::go_duration;
use super::loadtest::{engine_options, play};

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
        let (targets, series, interval) = (Some(self.targets), Some(self.series), Some(self.interval));
        let load = Load { targets, series, interval, ..Load::default() };
        let scenario = Scenario { name: "demo".to_owned(), load, ..Scenario::story(self.nodes, Some(self.for_)) };
        play(EngineOptions { cluster_name: "demo".to_owned(), plain: self.plain, ..engine_options()? }, scenario)
    }
}
