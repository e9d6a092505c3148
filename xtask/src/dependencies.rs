//! What we link: licences, banned crates and duplicate versions, read from `cargo metadata`. cargo-deny says more, but building it takes
//! longer than the whole test suite; advisories are left to the release job.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::run;

/// Licences that may be linked into an Apache-2.0 program without further duties than naming them.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "BSL-1.0",
    "CC0-1.0",
    "Unlicense",
    "0BSD",
    "CDLA-Permissive-2.0",
];

/// Crates that must not come in, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "two TLS providers make rustls panic at first use; ring is ours"),
    ("openssl-sys", "TLS is rustls with ring"),
    ("native-tls", "TLS is rustls with ring"),
    ("serde_yaml", "unmaintained; serde-saphyr is ours"),
    ("serde_yml", "RUSTSEC-2025-0068"),
];

/// Crates that must come in one version only: two copies would not understand each other.
const SINGLE: &[&str] =
    &["hyper", "h2", "http", "http-body", "tokio", "rustls", "prost", "bytes", "tracing", "prometheus", "regex", "ring"];

/// Checks every package of the lock file.
///
/// # Errors
/// Lists every finding.
pub fn check() -> Result<()> {
    let metadata: Value = serde_json::from_str(&run::output(run::cargo().args(["metadata", "--format-version", "1", "--locked"]))?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        versions.entry(name).or_default().push(package["version"].as_str().unwrap_or_default());
        if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            findings.push(format!("{name} is banned: {reason}"));
        }
        let licence = package["license"].as_str().unwrap_or("none given");
        if !acceptable(licence) {
            findings.push(format!("{name}: licence {licence} is not on the list"));
        }
    }
    for name in SINGLE {
        if let Some(several) = versions.get(name).filter(|versions| versions.len() > 1) {
            findings.push(format!("{name} comes in {} versions: {}", several.len(), several.join(", ")));
        }
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!("dependencies (docs/dependencies.md):\n  {}", findings.join("\n  "))
}

/// Whether an SPDX expression leaves a choice that is on the list. `AND` needs all of its parts, `OR` and `/` one.
fn acceptable(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    expression.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn an_expression_needs_one_acceptable_choice_in_each_part() {
        assert!(acceptable("MIT OR Apache-2.0"));
        assert!(acceptable("MIT/Apache-2.0"));
        assert!(acceptable("GPL-3.0 OR MIT"));
        assert!(acceptable("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!acceptable("MPL-2.0"));
        assert!(!acceptable("MIT AND GPL-3.0"));
    }
}
