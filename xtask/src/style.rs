//! What no lint sees: every source file says what it is for, files stay short, no room is called after nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::run;

/// A file beyond this is a place to look; the few that are really one thing are listed in [`LONG`].
const MAX_LINES: usize = 700;
/// Files that may be longer, each with its reason.
const LONG: &[&str] = &[];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "manager", "helpers", "misc"];

/// Checks every Rust file that is kept in the repository.
///
/// # Errors
/// Lists every finding.
pub fn check() -> Result<()> {
    let mut findings = Vec::new();
    let listed = run::output(std::process::Command::new("git").current_dir(run::root()).args(["ls-files", "*.rs"]))?;
    for name in listed.lines() {
        let path = run::root().join(name);
        // A file may be deleted and not yet committed.
        if let Ok(source) = fs::read_to_string(&path) {
            findings.extend(look(&PathBuf::from(name), &source));
        }
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!("style:\n  {}", findings.join("\n  "))
}

fn look(name: &Path, source: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let shown = name.display();
    let generated = source.starts_with("// @generated") || source.contains("// @generated");
    if !source.starts_with("//!") && !generated {
        findings.push(format!("{shown}: opens without a `//!` that says what it is for"));
    }
    let lines = source.lines().count();
    if lines > MAX_LINES && !generated && !LONG.contains(&shown.to_string().as_str()) {
        findings.push(format!("{shown}: {lines} lines; is it one thing?"));
    }
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    if EMPTY_NAMES.contains(&&*stem) {
        findings.push(format!("{shown}: `{stem}` says nothing about what is inside"));
    }
    findings
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn findings_name_the_file() {
        assert!(look(Path::new("a.rs"), "//! Says it.\n").is_empty());
        assert_eq!(look(Path::new("a.rs"), "fn main() {}\n").len(), 1);
        assert_eq!(look(Path::new("util.rs"), "//! x\n").len(), 1);
        assert_eq!(look(Path::new("a.rs"), &format!("//! x\n{}", "\n".repeat(MAX_LINES))).len(), 1);
    }

    #[test]
    fn the_workspace_keeps_its_style() {
        check().unwrap();
    }
}
