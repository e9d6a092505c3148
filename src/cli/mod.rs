//! The command line. One file per subcommand; this one only lists them and turns their outcome into an exit code: 0 for success, 1 for a
//! failure, 2 for wrong usage.

mod cluster;
mod demo;
mod flags;
mod fmt;
mod join;
mod loadtest;
mod run;
mod tools;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use flags::{ClusterFlags, RunFlags};
pub use run::colour;

/// What `--version` and `User-Agent` say.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const EXAMPLES: &str = "\
Examples:
  collector run config.alloy                        run one collector
  collector join --peers 10.0.0.1:12345 config.alloy  run a member of a fleet that shares the scraping
  collector cluster nodes                           see who is in the fleet of the node on this machine
  collector demo                                    see a fleet at work, without any configuration
  collector loadtest --targets 500 --interval 15s   see what a load costs, and what changes of the fleet do to it

Every flag can be given as an environment variable: --server.http.listen-addr is COLLECTOR_SERVER_HTTP_LISTEN_ADDR.";

#[derive(Parser)]
#[command(name = "collector", version, about = "A telemetry collector: a drop-in for Grafana Alloy with a clustered scraping service")]
#[command(after_help = EXAMPLES, max_term_width = 110, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the configuration in a file or folder
    Run(run::Run),
    /// Run as a member of a fleet: the same as `run --cluster.enabled --cluster.join-addresses=…`
    Join(join::Join),
    /// Ask a fleet who is in it and who scrapes what
    Cluster(cluster::Cluster),
    /// Start a fleet on this machine, with targets and a receiver, change it, and judge every sample
    Demo(demo::Demo),
    /// Play a scenario on a fleet on this machine and judge every sample: to size a fleet, or to see what a change costs
    Loadtest(Box<loadtest::Loadtest>),
    /// Format a configuration
    #[command(alias = "format")]
    Fmt(fmt::Fmt),
    /// Check a configuration without running it
    Validate(validate::Validate),
    /// Chores for people who work on the collector
    #[command(hide = true)]
    Tools(tools::Tools),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => run.execute(),
        Command::Join(join) => join.execute(),
        Command::Cluster(cluster) => cluster.execute(),
        Command::Demo(demo) => demo.execute(),
        Command::Loadtest(loadtest) => loadtest.execute(),
        Command::Fmt(fmt) => fmt.execute(),
        Command::Validate(validate) => validate.execute(),
        Command::Tools(tools) => tools.execute(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_flag_is_answered_with_the_nearest_one() {
        let error = Cli::try_parse_from(["collector", "run", "--cluster.enable", "x.alloy"]).err().unwrap().to_string();
        assert!(error.contains("--cluster.enabled"), "{error}");
    }
}
