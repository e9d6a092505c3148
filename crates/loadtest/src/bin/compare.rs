//! Compares agents on one load: `cargo run --release -p loadtest --bin compare -- --collector PATH --vmagent PATH --prometheus PATH`.
//! Prints a table and the same figures as JSON; what happens meanwhile goes to standard error.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use loadtest::clock::parse_duration;
use loadtest::measure::{Agent, CompareError, CompareOptions, compare, table};
use loadtest::process::interrupted;
use loadtest::targets::{Churn, TargetOptions};

/// Runs collector, vmagent and Prometheus agent against the same synthetic targets and sink; each agent whose path is given.
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
    /// Targets.
    #[arg(long, default_value_t = 500)]
    targets: usize,
    /// Series of each target.
    #[arg(long, default_value_t = 1000)]
    series: usize,
    /// How often each target is scraped.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    interval: Duration,
    /// Time from an agent's start to its measurement.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    warmup: Duration,
    /// Length of each measurement.
    #[arg(long, default_value = "90s", value_parser = parse_duration)]
    measure: Duration,
    /// Run the agents side by side instead of one after the other.
    #[arg(long)]
    parallel: bool,
    /// Let lines change places from scrape to scrape.
    #[arg(long)]
    shuffle: bool,
    /// Share of the series (0 to 1) that get a new identity every ten minutes.
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
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
    let churn = Churn { fraction: options.churn, every: Duration::from_secs(600), targets: 1.0 };
    let targets = TargetOptions {
        targets: options.targets,
        series: options.series,
        tick: options.interval,
        shuffle: options.shuffle,
        churn: (options.churn > 0.0).then_some(churn),
        log_per_target: 0,
        ..TargetOptions::default()
    };
    CompareOptions { parallel: options.parallel, ..CompareOptions::new(targets, options.interval, options.warmup, options.measure) }
}
