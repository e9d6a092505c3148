//! `collector loadtest`: plays a scenario on a fleet on this machine and judges every sample; or serves only the targets, or only the judge,
//! for a fleet elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};
use loadtest::alone::{self, JudgeAlone};
use loadtest::engine::{self, EngineError, EngineOptions, Outcome};
use loadtest::load::Load;
use loadtest::scenario::{self, BASIS, NODES, Scenario};

use super::flags::go_duration;

/// Ended by Ctrl-C, as shells count it.
const INTERRUPTED: u8 = 130;
/// Wrong usage, as clap counts it.
const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  collector loadtest                                    60 targets of 500 series every 2 s; a node joins, one leaves, one is killed
  collector loadtest --targets 300 --mix 90%:500,9%:5000,1%:100000 --interval 15s --for 5m
  collector loadtest --scenario rolling-restart.yaml    what the file says; flags of the load go before it
  collector loadtest targets --listen 0.0.0.0:9100      only the targets, for a fleet elsewhere

Exit codes: 0 all promises kept, 1 one was broken or something could not run, 2 wrong usage or a broken scenario, 130 Ctrl-C.";

/// Without options: 60 targets of 500 series every 2 s, three nodes, and the story of `collector demo`
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Loadtest {
    #[command(subcommand)]
    alone: Option<Alone>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
pub struct Options {
    /// Collectors at the start [default: 3, or what the scenario says]
    #[arg(long, value_name = "COUNT")]
    nodes: Option<usize>,
    #[command(flatten)]
    load: Load,
    /// How long it runs from the first samples on [default: 60s, or what the scenario needs]
    #[arg(long = "for", value_parser = go_duration, value_name = "DURATION")]
    for_: Option<Duration>,
    /// What happens when, and what it may cost: a YAML file (docs/loadtest.md)
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Configuration of the nodes instead of a written one: {{SD_URL}}, {{WRITE_URL}} and {{INTERVAL}} in it are filled in
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One more argument for every node; may be repeated
    #[arg(long = "node-arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
    node_args: Vec<String>,
    /// One more environment variable for every node; may be repeated
    #[arg(long = "node-env", value_name = "NAME=VALUE", value_parser = variable)]
    node_env: Vec<(String, String)>,
    /// Keep configurations, logs and storage in this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// How the report is printed
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Print lines instead of a table that is redrawn
    #[arg(long)]
    plain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs; what goes on goes to standard error
    Json,
}

#[derive(Subcommand)]
enum Alone {
    /// Serve only the targets, listed for HTTP service discovery at /sd
    Targets {
        /// Where
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9800")]
        listen: SocketAddr,
        /// Where collectors reach them [default: where they asked for the list]
        #[arg(long, value_name = "HOST:PORT")]
        advertise: Option<String>,
        #[command(flatten)]
        load: Load,
    },
    /// Serve only the judge: remote write at /api/v1/write, its report at /report
    Receiver {
        /// Where
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9801")]
        listen: SocketAddr,
        /// The scrape interval of what it judges
        #[arg(long, value_name = "DURATION", value_parser = go_duration)]
        interval: Duration,
        /// Judge only series of this job [default: all]
        #[arg(long)]
        job: Option<String>,
        /// Where the targets are listed that must be there, such as http://targets:9800/sd
        #[arg(long, value_name = "URL")]
        expect: Option<String>,
        /// How long it judges [default: until Ctrl-C]
        #[arg(long = "for", value_parser = go_duration, value_name = "DURATION")]
        for_: Option<Duration>,
        /// How the report is printed
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

impl Loadtest {
    pub fn execute(self) -> Result<ExitCode> {
        match self.alone {
            None => self.options.execute(),
            Some(Alone::Targets { listen, advertise, load }) => {
                runtime()?.block_on(alone::targets(load.targets(BASIS), listen, advertise))?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Alone::Receiver { listen, interval, job, expect, for_, output }) => {
                let options = JudgeAlone { listen, interval, job, expect, length: for_, json: output == Output::Json };
                let judged = runtime()?.block_on(alone::judge(options))?;
                Ok(code(judged.interrupted, judged.passed))
            }
        }
    }
}

impl Options {
    fn execute(self) -> Result<ExitCode> {
        let (dir, plain, json) = (self.dir.clone(), self.plain, self.output == Output::Json);
        match self.scenario() {
            Ok(scenario) => play(EngineOptions { dir, plain, json, ..engine_options()? }, scenario),
            Err(error) => Ok(usage(&error)),
        }
    }

    /// The file's scenario, or the default story; what was given on the command line goes before what the file says.
    fn scenario(self) -> Result<Scenario, scenario::ScenarioError> {
        let mut scenario = match &self.scenario {
            Some(file) => scenario::read(file)?,
            None => Scenario::story(self.nodes.unwrap_or(NODES), self.for_),
        };
        scenario.load = self.load.over(&scenario.load);
        scenario.length = self.for_.or(scenario.length);
        scenario.fleet.nodes = self.nodes.or(scenario.fleet.nodes);
        scenario.fleet.config = self.config.or(scenario.fleet.config);
        scenario.fleet.arguments.extend(self.node_args);
        scenario.fleet.environment.extend(self.node_env);
        Ok(scenario)
    }
}

/// Runs the program itself, bound to this process.
pub(super) fn engine_options() -> Result<EngineOptions> {
    let binary = std::env::current_exe().context("can't find the running program")?;
    let runner = ["tools", "with-parent"].map(str::to_owned).into_iter().chain([std::process::id().to_string()]);
    let runner = [binary.display().to_string()].into_iter().chain(runner).collect();
    Ok(EngineOptions { runner, ..EngineOptions::new(binary) })
}

/// Plays a scenario and turns its outcome into an exit code.
pub(super) fn play(options: EngineOptions, scenario: Scenario) -> Result<ExitCode> {
    match runtime()?.block_on(engine::run(options, scenario)) {
        Ok(outcome) => Ok(code(outcome.interrupted, Outcome::passed(&outcome))),
        Err(error) if EngineError::is_usage(&error) => Ok(usage(&error)),
        Err(error) => Err(error.into()),
    }
}

fn code(interrupted: bool, passed: bool) -> ExitCode {
    match (interrupted, passed) {
        (true, _) => INTERRUPTED.into(),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    }
}

fn usage(error: &impl std::fmt::Display) -> ExitCode {
    eprintln!("Error: {error}");
    USAGE.into()
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write NAME=VALUE, such as RUST_BACKTRACE=1")?;
    Ok((name.to_owned(), value.to_owned()))
}
