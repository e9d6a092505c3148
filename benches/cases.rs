//! `cargo bench --bench cases`: what the collector's CPU per sample becomes when the load is not the plain one: changing layouts, long
//! labels, relabelling, distinct values, shuffled lines, turnover of series, several endpoints. Ratios to the plain case of the same run;
//! what is behind `--` goes to the measurement (`--help` lists it).

use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut cases = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cases.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    cases.args(["run", "--quiet", "--release", "--package", "loadtest", "--bin", "cases", "--"]);
    cases.arg("--collector").arg(env!("CARGO_BIN_EXE_collector"));
    // cargo bench adds --bench to what the user gives.
    cases.args(std::env::args_os().skip(1).filter(|argument| argument != "--bench"));
    match cases.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
