//! Compares agents on one load: `cargo run --release -p loadtest --bin compare -- --collector PATH --vmagent PATH --prometheus PATH`.
//! Prints a table and the same figures as JSON; what happens meanwhile goes to standard error.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use loadtest::clock::parse_duration;
use loadtest::load::{Basis, Load};
use loadtest::measure::{Agent, CompareError, CompareOptions, compare, table};
use loadtest::process::interrupted;

/// What is measured where the options say nothing.
const BASIS: Basis = Basis { targets: 500, series: 1000, interval: Duration::from_secs(10) };

/// Runs collector, vmagent and Prometheus agent against the same synthetic targets and sink; each agent whose path is given.
/// Without options: 500 targets of 1000 series every 10 s.
#[derive(Debug, Parser)]
struct Options {
    /// The collector's binary.
    #[arg(long)]
    collector: Option<PathBuf>,
    /// One more argument for the collector; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    collector_arg: Vec<String>,
    /// The binary of vmagent (Debian: package victoria-metrics).
    #[arg(long)]
    vmagent: Option<PathBuf>,
    /// The binary of Prometheus, run in agent mode (Debian: package prometheus).
    #[arg(long)]
    prometheus: Option<PathBuf>,
    #[command(flatten)]
    load: Load,
    /// Time from an agent's start to its measurement.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    warmup: Duration,
    /// Length of each measurement.
    #[arg(long, default_value = "90s", value_parser = parse_duration)]
    measure: Duration,
    /// Run the agents side by side instead of one after the other.
    #[arg(long)]
    parallel: bool,
    /// Write the JSON to this file instead of standard output.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = tokio::select! {
        outcome = run(&options) => outcome,
        () = interrupted() => return ExitCode::FAILURE,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), CompareError> {
    let measured = compare(&agents(options), &load(options), |line| eprintln!("{line}")).await?;
    println!("{}", table(&measured));
    let json = serde_json::to_string(&measured).unwrap_or_default();
    match &options.json {
        Some(path) => {
            let what = || format!("can't write {}", path.display());
            std::fs::write(path, json).map_err(|source| CompareError::System { what: what(), source })?;
        }
        None => println!("{json}"),
    }
    Ok(())
}

fn agents(options: &Options) -> Vec<Agent> {
    let collector = options.collector.as_deref().map(|path| Agent { extra: options.collector_arg.clone(), ..Agent::collector(path) });
    let vmagent = options.vmagent.as_deref().map(Agent::vmagent);
    let prometheus = options.prometheus.as_deref().map(Agent::prometheus);
    [collector, vmagent, prometheus].into_iter().flatten().collect()
}

fn load(options: &Options) -> CompareOptions {
    let (targets, interval) = (options.load.targets(BASIS), options.load.interval(BASIS));
    CompareOptions { parallel: options.parallel, ..CompareOptions::new(targets, interval, options.warmup, options.measure) }
}
