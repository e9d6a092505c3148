//! `cargo bench --bench outage`: what a receiver that is down for ten minutes costs the collector in memory and disk, and how soon it has
//! caught up. What is behind `--` goes to the measurement (`--help` lists it).

mod loadtest;

fn main() -> std::process::ExitCode {
    loadtest::run("outage")
}
