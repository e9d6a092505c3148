//! Runs a measurement of the crate `loadtest` on the collector that was built for this benchmark.

use std::path::Path;
use std::process::{Command, ExitCode};

/// Runs the program `measurement`; it gets what stands behind `--`.
pub fn run(measurement: &str) -> ExitCode {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command.args(["run", "--quiet", "--release", "--package", "loadtest", "--bin", measurement, "--"]);
    command.arg("--collector").arg(env!("CARGO_BIN_EXE_collector"));
    // cargo bench adds --bench to what the user gives.
    command.args(std::env::args_os().skip(1).filter(|argument| argument != "--bench"));
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
