//! Measures what a receiver that is down costs the collector: `cargo bench --bench outage`. Prints the figures as JSON; what happens
//! meanwhile goes to standard error.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use loadtest::clock::parse_duration;
use loadtest::load::{Basis, Load};
use loadtest::measure::{Agent, CompareOptions, withstand};
use loadtest::process::interrupted;

/// What is measured where the options say nothing.
const BASIS: Basis = Basis { targets: 500, series: 1000, interval: Duration::from_secs(10) };

/// Runs the collector through an outage of its receiver.
/// Without options: 500 targets of 1000 series every 10 s.
#[derive(Debug, Parser)]
struct Options {
    /// The collector's binary.
    #[arg(long)]
    collector: PathBuf,
    #[command(flatten)]
    load: Load,
    /// Time from the start to the outage.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    warmup: Duration,
    /// Length of the outage.
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    outage: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let Options { warmup, outage, .. } = options;
    let load = CompareOptions::new(options.load.targets(BASIS), options.load.interval(BASIS), warmup, Duration::ZERO);
    let agent = Agent::collector(&options.collector);
    let withstood = tokio::select! {
        withstood = withstand(&agent, &load, outage, |line| eprintln!("{line}")) => withstood,
        () = interrupted() => return ExitCode::FAILURE,
    };
    let json =
        withstood.map_err(|error| error.to_string()).and_then(|figures| serde_json::to_string_pretty(&figures).map_err(|e| e.to_string()));
    match json {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("outage: {error}");
            ExitCode::FAILURE
        }
    }
}
