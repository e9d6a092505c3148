//! `cargo bench --bench cases`: what the collector's CPU per sample becomes when the load is not the plain one: changing layouts, long
//! labels, relabelling, distinct values, shuffled lines, turnover of series, several endpoints. Ratios to the plain case of the same run;
//! what is behind `--` goes to the measurement (`--help` lists it).

mod loadtest;

fn main() -> std::process::ExitCode {
    loadtest::run("cases")
}
