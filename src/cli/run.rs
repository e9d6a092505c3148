//! `collector run`: the program as a service.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::RunFlags;
use crate::app;

#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    pub flags: RunFlags,
    /// File, or folder whose *.alloy files are one configuration
    #[arg(value_name = "FILE|DIR")]
    config: PathBuf,
    /// Tell on stderr how the joining goes
    #[arg(skip)]
    narrate: bool,
}

impl Run {
    /// The same, telling how the joining goes.
    pub fn narrate(self) -> Self {
        Self { narrate: true, ..self }
    }

    pub fn execute(self) -> Result<ExitCode> {
        self.flags.check()?;
        app::run(app::Options { flags: self.flags, config: self.config, narrate: self.narrate })
    }
}

/// Whether diagnostics on stderr may use colour.
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
