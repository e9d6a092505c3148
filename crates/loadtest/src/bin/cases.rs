//! Measures the collector on loads that differ from the plain one in one respect each: `cargo bench --bench cases`. Prints a table; what
//! happens meanwhile goes to standard error. Exits with 1 if a case costs more than its bound.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use loadtest::clock::parse_duration;
use loadtest::load::{Basis, Load};
use loadtest::measure::{Agent, CASES, Case, CompareError, CompareOptions, Outcome, cases_table, compare};
use loadtest::process::interrupted;

/// What is measured where the options say nothing.
const BASIS: Basis = Basis { targets: 200, series: 1000, interval: Duration::from_secs(2) };

/// Runs the collector on each case in turn.
/// Without options: 200 targets of 1000 series every 2 s.
#[derive(Debug, Parser)]
struct Options {
    /// The collector's binary.
    #[arg(long)]
    collector: PathBuf,
    /// Only these cases, besides `plain`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    load: Load,
    /// Time from the start to the measurement.
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    warmup: Duration,
    /// Length of each measurement.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    measure: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(unknown) = options.only.iter().find(|name| Case::named(name).is_none()) {
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        eprintln!("cases: there is no case {unknown:?}; there are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let outcome = tokio::select! {
        outcome = run(&options) => outcome,
        () = interrupted() => return ExitCode::FAILURE,
    };
    match outcome {
        Ok(within) if within => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cases: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all cases are within their bounds.
async fn run(options: &Options) -> Result<bool, CompareError> {
    let wanted = |case: &&Case| case.name == "plain" || options.only.is_empty() || options.only.iter().any(|name| name == case.name);
    let mut outcomes = Vec::new();
    for case in CASES.iter().filter(wanted) {
        eprintln!("{}: {}", case.name, case.about);
        let plain = CompareOptions::new(options.load.targets(BASIS), options.load.interval(BASIS), options.warmup, options.measure);
        let load = case.load(plain);
        let agent = Agent::collector(&options.collector);
        for measured in compare(&[agent], &load, |line| eprintln!("  {line}")).await? {
            outcomes.push(Outcome { case, measured, endpoints: load.endpoints });
        }
    }
    print!("{}", cases_table(&outcomes));
    let plain = outcomes.first().map_or(f64::NAN, Outcome::cpu_us);
    Ok(outcomes.iter().all(|outcome| outcome.cpu_us() <= plain * outcome.case.bound))
}
