//! `cargo bench --bench agents`: the collector, Debian's vmagent and Debian's Prometheus agent scrape the same 500 targets × 1000 series
//! every 10 s and write to the same sink, one after the other in one call. Prints CPU µs per sample, bytes of RSS per series and bytes on
//! the wire per sample. Figures are ratios within a run; what is behind `--` goes to the comparison (`--help` lists it).

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let collector = env!("CARGO_BIN_EXE_collector");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let cargo = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(root);
        command
    };
    let brought = cargo().args(["run", "--quiet", "--package", "xtask", "--", "debian", "victoria-metrics", "prometheus"]).status();
    if !brought.is_ok_and(|status| status.success()) {
        eprintln!("Debian's packages victoria-metrics and prometheus could not be brought");
        return ExitCode::FAILURE;
    }
    let debian = target.join("debian/usr/bin");
    let mut compare = cargo();
    compare.args(["run", "--quiet", "--release", "--package", "loadtest", "--bin", "compare", "--"]);
    compare.arg("--collector").arg(collector).arg("--vmagent").arg(debian.join("vmagent"));
    compare.arg("--prometheus").arg(debian.join("prometheus"));
    // cargo bench adds --bench to what the user gives.
    compare.args(std::env::args_os().skip(1).filter(|argument| argument != "--bench"));
    match compare.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
