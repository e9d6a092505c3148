//! The arrows between the workspace's crates only point down (docs/ARCHITECTURE.md). A crate that is not in a layer, or an arrow that
//! points up or sideways, is an error.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::run;

/// Crates by layer, lowest first, with what a layer may use. Members of `sideways` layers never use each other.
const LAYERS: &[Layer] = &[
    Layer { crates: &["syntax-derive"], uses: &[] },
    Layer { crates: &["proto", "model", "syntax"], uses: &["syntax-derive"] },
    Layer { crates: &["exposition"], uses: &["proto", "model"] },
    Layer { crates: &["net", "cluster", "watch"], uses: &["proto", "model", "syntax"] },
    Layer { crates: &["scrape", "delivery", "loadtest"], uses: &["proto", "model", "syntax", "exposition", "net", "cluster"] },
    Layer { crates: &["component"], uses: &["proto", "model", "syntax"] },
    Layer { crates: &["runtime"], uses: &["component", "syntax", "watch"] },
    Layer {
        crates: &["discovery-components", "local-components", "prometheus-components"],
        uses: &["proto", "model", "syntax", "exposition", "net", "cluster", "watch", "scrape", "delivery", "component", "watch"],
    },
];

/// The product may use everything; the chores use nothing of ours.
const PRODUCT: &str = "collector";
const CHORES: &str = "xtask";

struct Layer {
    crates: &'static [&'static str],
    uses: &'static [&'static str],
}

/// Checks every normal and build dependency between members.
///
/// # Errors
/// Lists each arrow that is not allowed.
pub fn check() -> Result<()> {
    let metadata = run::output(run::cargo().args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let from = package["name"].as_str().unwrap_or_default();
        let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
        for dependency in dependencies.iter().filter(|dependency| dependency["kind"] != "dev") {
            let to = dependency["name"].as_str().unwrap_or_default();
            if names.contains(&to) && !allowed(from, to) {
                wrong.push(format!("{from} → {to}"));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("arrows that docs/ARCHITECTURE.md does not allow:\n  {}", wrong.join("\n  "))
}

fn allowed(from: &str, to: &str) -> bool {
    if from == PRODUCT {
        return to != CHORES;
    }
    LAYERS.iter().any(|layer| layer.crates.contains(&from) && layer.uses.contains(&to))
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn arrows_point_down_only() {
        assert!(allowed("runtime", "component"));
        assert!(allowed("collector", "runtime"));
        assert!(!allowed("runtime", "discovery-components"));
        assert!(!allowed("discovery-components", "prometheus-components"));
        assert!(!allowed("model", "syntax"));
        assert!(!allowed("unknown", "model"));
    }

    #[test]
    fn the_workspace_keeps_its_arrows() {
        check().unwrap();
    }
}
