//! `docs/reference`: one page per component, written by the program itself from its schemas.

use std::path::Path;

use anyhow::{Result, bail};

use crate::run;

const FOLDER: &str = "docs/reference";

/// Writes the pages.
///
/// # Errors
/// The program can't be built or the pages can't be written.
pub fn write() -> Result<()> {
    write_to(&run::root().join(FOLDER))
}

/// Compares the pages with what the program would write.
///
/// # Errors
/// They differ, with the remedy.
pub fn check() -> Result<()> {
    let fresh = run::target_dir().join("reference-check");
    write_to(&fresh)?;
    let kept = run::root().join(FOLDER);
    let compare = run::output(std::process::Command::new("diff").arg("-r").arg(&kept).arg(&fresh));
    if let Err(difference) = compare {
        bail!("docs/reference is not what the schemas say; run `cargo xtask reference` and commit it\n{difference}");
    }
    Ok(())
}

fn write_to(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    run::succeed(run::cargo().args(["run", "--quiet", "--package", "collector", "--", "tools", "reference"]).arg(folder))
}
