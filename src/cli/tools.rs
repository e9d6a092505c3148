//! `collector tools`: chores for people who work on the collector. Hidden from the help.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use crate::registry;

#[derive(Args)]
pub struct Tools {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Write a reference page for each component
    Reference {
        /// Where to write them
        folder: PathBuf,
    },
}

impl Tools {
    pub fn execute(self) -> Result<ExitCode> {
        let Tool::Reference { folder } = self.tool;
        std::fs::create_dir_all(&folder)?;
        for registration in registry::all() {
            let page = folder.join(format!("{}.md", registration.name));
            std::fs::write(&page, registry::reference::page(registration)).with_context(|| format!("can't write {}", page.display()))?;
        }
        std::fs::write(folder.join("README.md"), registry::reference::index())?;
        Ok(ExitCode::SUCCESS)
    }
}
