//! `collector tools`: chores for people who work on the collector. Hidden from the help.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
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
    /// Become another program that is killed when its parent ends, however that ends
    WithParent {
        /// The parent's process id
        parent: u32,
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        program: Vec<OsString>,
    },
}

impl Tools {
    pub fn execute(self) -> Result<ExitCode> {
        match self.tool {
            Tool::Reference { folder } => reference(&folder),
            Tool::WithParent { parent, program } => with_parent(parent, program),
        }
    }
}

fn reference(folder: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(folder)?;
    for registration in registry::all() {
        let page = folder.join(format!("{}.md", registration.name));
        std::fs::write(&page, registry::reference::page(registration)).with_context(|| format!("can't write {}", page.display()))?;
    }
    std::fs::write(folder.join("README.md"), registry::reference::index())?;
    Ok(ExitCode::SUCCESS)
}

/// The kernel keeps the wish over the change of programs, so that the program need not know of it.
fn with_parent(parent: u32, program: Vec<OsString>) -> Result<ExitCode> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended before the wish was heard.
    if std::os::unix::process::parent_id() != parent {
        bail!("the parent {parent} has ended");
    }
    let mut words = program.into_iter();
    let program = words.next().unwrap_or_default();
    let error = std::process::Command::new(&program).args(words).exec();
    Err(error).with_context(|| format!("can't start {}", program.display()))
}
